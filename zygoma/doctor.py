"""Checks that an installation can do what zygoma promises, and says in one sentence how to mend it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SYSTEM_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
"""What mediapipe and opencv-python load at import, and the Debian/Ubuntu package that has it."""

PACKAGES = ("pylsl", "mediapipe", "opencv-python", "numba", "scipy", "brainflow", "numpy", "av", "pyarrow")
MINIMUM_PYTHON = (3, 11)
LOW_DISK_BYTES = 5 * 10**9


@dataclass(frozen=True)
class Check:
    """One thing looked at: `ok` None means it is worth knowing but stops nothing."""

    name: str
    ok: bool | None
    finding: str
    remedy: str = ""


def missing_system_libraries() -> list[str]:
    """Debian packages of the system libraries that cannot be loaded; empty when all is there.

    Only Linux is asked: the wheels for macOS and Windows bring theirs along.
    """
    if not sys.platform.startswith("linux"):
        return []
    missing = []
    for library, package in SYSTEM_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return missing


def system_library_sentence(packages: list[str]) -> str:
    """The one sentence that says what to install."""
    return f"System libraries are missing: run 'sudo apt-get install -y {' '.join(packages)}' and try again."


def examine() -> Iterator[Check]:
    """All checks, cheap ones first; each is done when it is asked for."""
    yield _python()
    missing = missing_system_libraries()
    if missing:
        yield Check(
            "system libraries", False, f"missing {', '.join(missing)}", system_library_sentence(missing)
        )
    else:
        yield Check("system libraries", True, "libEGL, libGLESv2, libGL and libgthread load")
    yield from _packages()
    if missing:
        return
    for name, look in _DEEP_CHECKS:
        try:
            yield look()
        except Exception as error:
            yield Check(name, False, f"{type(error).__name__}: {error}", "Reinstall with 'make setup'.")


def _python() -> Check:
    found = platform.python_version()
    if sys.version_info < MINIMUM_PYTHON:
        return Check("Python", False, found, "Install Python 3.11 or newer.")
    return Check("Python", True, f"{found} on {platform.platform(terse=True)}")


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, False, "not installed", "Install zygoma with 'make setup'.")
    plain, contrib = (
        next((d.version for d in importlib.metadata.distributions(name=name)), None)
        for name in ("opencv-python", "opencv-contrib-python")
    )
    if contrib is not None and plain != contrib:
        yield Check(
            "OpenCV",
            False,
            f"opencv-python {plain} beside opencv-contrib-python {contrib}",
            "Both write the same cv2: install one version of both, as the lock file does.",
        )


def _face_model() -> Check:
    from processing.face_model import find_face_model

    path = find_face_model()
    return Check("face model", True, f"{path.name}, checksum right ({path.stat().st_size / 1e6:.1f} MB)")


def _face_landmarker() -> Check:
    import cv2
    import numpy as np
    from skimage.data import astronaut

    from processing.landmarks import FaceMesh

    picture = np.asarray(cv2.resize(astronaut()[:240, 100:420], (640, 480)), dtype=np.uint8)
    mesh = FaceMesh()
    try:
        seen = mesh.detect(picture, 0.0)
    finally:
        mesh.close()
    if seen is None:
        return Check("face landmarks", False, "no face found in the test portrait", "Reinstall mediapipe.")
    return Check("face landmarks", True, f"{len(seen.points_px)} landmarks on the test portrait")


def _lab_streaming_layer() -> Check:
    import numpy as np

    from acquisition.clock import lsl_clock
    from acquisition.inlet import LslInlet
    from acquisition.network import resolve
    from acquisition.outlet import LslOutlet
    from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec

    spec = StreamSpec(
        "zygoma doctor", Kind.MARKERS, (Channel("text"),), 0.0, SampleType.STRING, f"doctor-{lsl_clock()}"
    )
    remedy = "A firewall may block loopback multicast: allow UDP 16571-16604 on this machine."
    with LslOutlet(spec) as outlet:
        found = resolve(source_id=spec.source_id, timeout_s=5.0)
        if not found:
            return Check("Lab Streaming Layer", False, "an outlet of our own was not found", remedy)
        with LslInlet(found[0]) as inlet:
            outlet.push(Block(spec, np.array([lsl_clock()]), ("hello",), 0))
            block = inlet.read(5.0)
    if tuple(block.data) != ("hello",):
        return Check("Lab Streaming Layer", False, "a sample sent on loopback did not come back", remedy)
    return Check("Lab Streaming Layer", True, "a sample went out and came back on loopback")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    if free < LOW_DISK_BYTES:
        return Check("disk", None, f"{free / 1e9:.1f} GB free", "A session takes about 0.3 GB per minute.")
    return Check("disk", True, f"{free / 1e9:.0f} GB free")


_DEEP_CHECKS: tuple[tuple[str, Callable[[], Check]], ...] = (
    ("face model", _face_model),
    ("face landmarks", _face_landmarker),
    ("Lab Streaming Layer", _lab_streaming_layer),
    ("disk", _disk),
)
