"""How long after its capture a frame has become valence on LSL, with all three modalities running.

Three devices and the live engine run as processes of their own; this process only listens. The camera plays a
Motion-JPEG clip of the simulated person, filmed beforehand, because a real camera takes no share of the
processor either. A frame's latency ends when its valence sample has arrived here, so LSL's own transport is
part of it.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from acquisition import network
from acquisition.clock import lsl_clock
from acquisition.inlet import LslInlet
from acquisition.matroska import FrameWriter
from acquisition.stream import DeviceNotFound, Kind
from hardware.simulated import Scenario
from zygoma.bench.face_landmarker import BareLandmarker
from zygoma.demo import DeviceProcesses, simulated_devices
from zygoma.options import errors
from zygoma.simulation import simulated_blocks
from zygoma.warmup import warm_up

SETTLE_S = 4.0
"""Left out at the start: the scenario has not begun, caches are cold."""

FIND_TIMEOUT_S = 90.0
CLIP_S = 20.0
BARE_S = 10.0
SEED = 3


def run(*, fps: float = 30.0, seconds: float = 30.0) -> dict[str, object]:
    """Measure and print a table.

    Args:
        fps: Rate of the simulated camera (VGA).
        seconds: Length of the measured stretch.

    Returns:
        ``camera_to_valence_ms`` and ``emg_to_activity_ms`` with p50, p95, p99; frames; skipped; machine.
    """
    network.configure(lan=False)
    warm_up()
    with TemporaryDirectory() as folder:
        clip = film(Path(folder), fps)
        bare = _bare_loop(clip, fps, min(seconds, BARE_S))
        camera, emg, frames = _measure(clip, fps, seconds)
    published = frames[1] - frames[0] + 1
    result: dict[str, object] = {
        "camera_to_valence_ms": {
            **_percentiles(camera),
            "frames": len(camera),
            "skipped": int(published - len(camera)),
        },
        "bare_face_landmarker_ms": {**_percentiles(bare), "frames": len(bare)},
        "emg_to_activity_ms": {**_percentiles(emg), "samples": len(emg)},
        "fps": len(camera) / seconds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    _print(result)
    return result


def _measure(
    clip: Path, fps: float, seconds: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, int]]:
    with _engine_process():
        # Only once the engine is warm do the devices start, so that no frame waits for the compiler.
        events = _find(Kind.FACE_EVENTS)
        events.close()
        commands, start_s = simulated_devices(seed=SEED, duration_s=0.0, camera_rate_hz=fps)
        commands[0] = ["camera", "--file", str(clip), "--loop"]
        with DeviceProcesses(commands):
            return _listen(start_s + SETTLE_S, start_s + SETTLE_S + seconds)


def _bare_loop(clip: Path, fps: float, seconds: float) -> NDArray[np.float64]:
    """The peer: latencies, seconds, of a loop that only decodes frames and calls FaceLandmarker."""
    latencies: list[float] = []
    with (
        BareLandmarker() as landmarker,
        DeviceProcesses([["camera", "--file", str(clip), "--loop"]]),
        closing(_find(Kind.CAMERA)) as inlet,
    ):
        end_s = lsl_clock() + SETTLE_S + seconds
        while lsl_clock() < end_s:
            block = inlet.read(0.1)
            for stamp, jpeg in zip(block.timestamps, block.data, strict=True):
                picture = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
                landmarker.find(np.asarray(picture, dtype=np.uint8), float(stamp))
                latencies.append(lsl_clock() - stamp)
    return np.array(latencies[int(SETTLE_S / 2 * fps) :])


def film(folder: Path, fps: float) -> Path:
    """A Motion-JPEG clip of the simulated person, `CLIP_S` long."""
    blocks = simulated_blocks("camera", Scenario.demo(SEED, CLIP_S), seed=SEED, rate_hz=fps)
    assert blocks[0].spec.frame is not None
    writer = FrameWriter(folder / "camera.mkv", blocks[0].spec.frame, rate_hz=fps)
    for block in blocks:
        writer.write(float(block.timestamps[0]), block.data[0])
    writer.close()
    return writer.path


@contextmanager
def _engine_process() -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "zygoma", "live", "--json", "--headless"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def _find(kind: Kind) -> LslInlet:
    found = network.resolve(kind=kind, minimum=1, timeout_s=FIND_TIMEOUT_S)
    if not found:
        raise DeviceNotFound(f"The engine did not publish its {kind} stream within {FIND_TIMEOUT_S:.0f} s.")
    inlet = LslInlet(found[0])
    inlet.open()
    return inlet


def _listen(start_s: float, end_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, int]]:
    """Latencies of valence and of muscle activity, seconds, and the first and last frame number seen.

    Each stream has a thread of its own, so that waiting for one never delays the arrival time of another.
    """
    heard: dict[Kind, list[tuple[float, float, int]]] = {}

    def hear(inlet: LslInlet, arrivals: list[tuple[float, float, int]]) -> None:
        while lsl_clock() < end_s + 0.5:
            block = inlet.read(0.1)
            now_s = lsl_clock()
            arrivals += [(stamp, now_s, block.first + index) for index, stamp in enumerate(block.timestamps)]

    inlets = [_find(kind) for kind in (Kind.CAMERA, Kind.MUSCLE_ACTIVITY, Kind.VALENCE)]
    threads = []
    for inlet in inlets:
        arrivals = heard.setdefault(inlet.spec.kind, [])
        threads.append(threading.Thread(target=hear, args=(inlet, arrivals), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join()
    for inlet in inlets:
        inlet.close()
    within = {
        kind: [arrival for arrival in arrivals if start_s <= arrival[0] < end_s]
        for kind, arrivals in heard.items()
    }
    if not all(within.values()):
        silent = ", ".join(kind for kind, arrivals in within.items() if not arrivals)
        raise DeviceNotFound(f"No {silent} arrived: run 'zygoma demo' to see what is wrong.")
    latencies = {
        kind: np.array([now - stamp for stamp, now, _ in arrivals]) for kind, arrivals in within.items()
    }
    numbers = [number for _, _, number in within[Kind.CAMERA]]
    return latencies[Kind.VALENCE], latencies[Kind.MUSCLE_ACTIVITY], (min(numbers), max(numbers))


def _percentiles(latencies_s: NDArray[np.float64]) -> dict[str, float]:
    values = np.percentile(latencies_s * 1e3, [50, 95, 99]) if len(latencies_s) else [float("nan")] * 3
    return {name: round(float(value), 2) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}


def _print(result: dict[str, object]) -> None:
    table = Table(title=f"Capture to output, ms ({result['machine']}, {result['fps']:.1f} frames/s)")
    for heading in ("path", "p50", "p95", "p99", "count", "skipped"):
        table.add_column(heading, justify="left" if heading == "path" else "right")
    bare = result["bare_face_landmarker_ms"]
    assert isinstance(bare, dict)
    for name in ("bare_face_landmarker_ms", "camera_to_valence_ms", "emg_to_activity_ms"):
        row = result[name]
        assert isinstance(row, dict)
        cells = [f"{row[key]:.1f}" for key in ("p50", "p95", "p99")]
        count = row.get("frames", row.get("samples"))
        table.add_row(name.removesuffix("_ms"), *cells, str(count), str(row.get("skipped", "")))
        if name == "camera_to_valence_ms":
            ratios = [f"{row[key] / bare[key]:.2f}" for key in ("p50", "p95", "p99")]
            table.add_row("camera_to_valence / bare", *ratios, "", "")
    errors.print(table)
