"""What the monitor costs: the server's share of a core for three viewers, and a picture's age on the screen.

The cost is measured on a session that was processed beforehand and is fed to the server at its own pace, so
that nothing but the monitor runs in this process; the viewers are a process of their own and take 25 updates
per second. The age of pictures is measured in a real browser beside the live engine, all three modalities
running: a picture counts when the page reports that it was drawn, the report's way back included.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from websockets.sync.client import connect

from acquisition import network
from acquisition.clock import lsl_clock
from acquisition.inlet import StreamHealth
from acquisition.stream import Block, DeviceNotFound, Kind, StreamSpec
from hardware.simulated import Scenario
from zygoma.bench.latency import SEED, film
from zygoma.demo import DeviceProcesses, simulated_devices
from zygoma.monitor.access import Access
from zygoma.monitor.feed import Feed
from zygoma.monitor.live import Monitor, MonitorOptions
from zygoma.monitor.wire import unpack
from zygoma.options import errors
from zygoma.pipeline import SENSOR_KINDS, Pipeline
from zygoma.simulation import simulated_blocks
from zygoma.state import Snapshot, StreamState
from zygoma.warmup import warm_up

VIEWERS = 3
CAMERA_HZ = 30.0
CONTENT_S = 6.0
"""Length of the measured session that is fed again and again."""

START_TIMEOUT_S = 90.0
SETTLE_S = 5.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, eq=False)
class Face:
    """The face mesh of a picture, None without a face."""

    points_px: NDArray[np.floating] | None


@dataclass(frozen=True, eq=False)
class Shown:
    """What the engine shows its onlooker `at_s` after the session's start: a block, or the face in one."""

    at_s: float
    block: Block
    face: Face | None = None


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure and print a table.

    Args:
        quick: Shorter runs.

    Returns:
        ``server``: share of a core (percent) with no and with three viewers, their difference, updates and
        pictures per second and viewer. ``display_ms``: p50 and p95 from capture to screen and the slowest way
        of an event from LSL to a page, or None without a browser. ``machine``.
    """
    network.configure(lan=False)
    warm_up()
    seconds = 8.0 if quick else 30.0
    result: dict[str, object] = {
        "server": _server(seconds),
        "display_ms": _display(10.0 if quick else 40.0),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    _print(result)
    return result


# -- the server's share ----------------------------------------------------------------------------------


def _server(seconds: float) -> dict[str, float]:
    session, specs = _session()
    with TemporaryDirectory() as folder:
        options = MonitorOptions(port=0, access=Access.on_this_machine())
        with Monitor(options, recordings=Path(folder)) as monitor:
            health = StreamHealth(1000, 0, 0, 0, 0, CAMERA_HZ, 0.01, 0.0, lsl_clock())
            streams = tuple(StreamState(spec, health) for spec in specs)
            rows = {Kind.VALENCE: {"valence": 0.0}}

            def snapshot() -> Snapshot:
                return Snapshot(lsl_clock(), 0.0, streams, rows, {}, (), (), None, 0, None)

            server = monitor.serve(snapshot, lambda text: lsl_clock())
            with _playing(session, monitor.feed):
                time.sleep(1.0)
                idle = _share(seconds)
                with _viewers(server.port, seconds) as results:
                    busy = _share(seconds)
                counts = results()
    updates, pictures = (min(count[at] for count in counts) / seconds for at in (0, 1))
    return {
        "without_viewers_percent": round(100 * idle, 2),
        "with_three_viewers_percent": round(100 * busy, 2),
        "cost_percent": round(100 * (busy - idle), 2),
        "updates_hz": round(updates, 1),
        "pictures_hz": round(pictures, 1),
    }


def _session() -> tuple[list[Shown], list[StreamSpec]]:
    """What the engine would show, in order, from the simulated person's devices."""
    scenario = Scenario.demo(SEED, CONTENT_S)
    blocks = [
        block
        for device in ("camera", "emg", "thermal")
        for block in simulated_blocks(
            device, scenario, seed=SEED, rate_hz=CAMERA_HZ if device == "camera" else None
        )
    ]
    blocks.sort(key=lambda block: float(block.timestamps[-1]))
    start_s = float(blocks[0].timestamps[0])
    pipeline = Pipeline({block.spec.kind: block.spec for block in blocks})
    session: list[Shown] = []

    def add(block: Block) -> None:
        if len(block):
            session.append(Shown(at_s - start_s, block))

    for block in blocks:
        at_s = float(block.timestamps[-1])
        add(block)
        if block.spec.kind is Kind.CAMERA:
            faces = pipeline.face(block)
            add(faces.action_units)
            session.append(Shown(at_s - start_s, block, Face(faces.points[0])))
            pipeline.follow(faces)
        elif block.spec.kind is Kind.EMG:
            add(pipeline.emg(block)[0])
        else:
            add(pipeline.thermal(block))
            session.append(Shown(at_s - start_s, block, Face(pipeline.thermal_landmarks_px())))
        add(pipeline.drain(frozenset(SENSOR_KINDS)).valence)
    specs = list(pipeline.specs.values())
    pipeline.close()
    return session, specs


@contextmanager
def _playing(session: list[Shown], feed: Feed) -> Iterator[None]:
    """Show the session at its own pace, again and again."""
    stop = threading.Event()

    def play() -> None:
        begin_s = lsl_clock()
        while not stop.is_set():
            for shown in session:
                due_s = begin_s + shown.at_s
                wait_s = due_s - lsl_clock()
                if wait_s > 0 and stop.wait(wait_s):
                    return
                if shown.face is not None:
                    feed.face(shown.block.spec.kind, due_s, shown.face.points_px)
                else:
                    stamps = shown.block.timestamps - shown.block.timestamps[-1] + due_s
                    feed.block(replace(shown.block, timestamps=stamps))
            begin_s += CONTENT_S

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _share(seconds: float) -> float:
    """Share of a core that this process takes over the next seconds."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    return (time.process_time() - cpu_s) / (time.perf_counter() - wall_s)


@contextmanager
def _viewers(port: int, seconds: float) -> Iterator[Callable[[], list[tuple[int, int]]]]:
    """Viewers in a process of their own; yields what collects (row updates, pictures) of each."""
    context = multiprocessing.get_context("spawn")
    ready, counts = context.Barrier(2), context.Queue()
    process = context.Process(target=_watch, args=(port, seconds, ready, counts))
    process.start()
    ready.wait(START_TIMEOUT_S)
    try:
        yield lambda: counts.get(timeout=START_TIMEOUT_S)
    finally:
        process.join(START_TIMEOUT_S)


def _watch(port: int, seconds: float, ready: threading.Barrier, counts: object) -> None:
    """Body of the viewers' process."""
    found: list[tuple[int, int]] = []
    inside = threading.Barrier(VIEWERS + 1)

    def view() -> None:
        updates = pictures = 0
        with connect(f"ws://127.0.0.1:{port}/ws", max_size=None) as socket:
            inside.wait()
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                message = socket.recv(timeout=10)
                if isinstance(message, str):
                    continue
                head, _ = unpack(message)
                updates += head["kind"] == "rows"
                if head["kind"] == "picture":
                    pictures += 1
                    socket.send(json.dumps({"kind": "drawn", "stamp": head["stamp"]}))
        found.append((updates, pictures))

    threads = [threading.Thread(target=view) for _ in range(VIEWERS)]
    for thread in threads:
        thread.start()
    inside.wait()
    ready.wait()
    for thread in threads:
        thread.join()
    counts.put(found)  # type: ignore[attr-defined]


# -- age of the picture on the screen ----------------------------------------------------------------------


def _display(seconds: float) -> dict[str, float] | None:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        return None
    with TemporaryDirectory() as folder:
        clip = film(Path(folder), CAMERA_HZ)
        with _live(Path(folder)) as url:
            commands, _ = simulated_devices(seed=SEED, duration_s=0.0, camera_rate_hz=CAMERA_HZ)
            # A camera takes no share of the processor; neither does a clip that plays one.
            commands[0] = ["camera", "--file", str(clip), "--loop"]
            with DeviceProcesses(commands), _browsing(browser, url, Path(folder)):
                return _listen(url, SETTLE_S + seconds)


@contextmanager
def _live(folder: Path) -> Iterator[str]:
    """A live engine in a process of its own; yields the address of its page."""
    told = folder / "told.txt"
    with told.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "zygoma", "live", "--json", "--port", "0", "--recordings", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=sink,
            start_new_session=True,
        )
    try:
        end_s = time.monotonic() + START_TIMEOUT_S
        while (found := re.search(r"Monitor: (\S+)", told.read_text())) is None:
            if process.poll() is not None or time.monotonic() > end_s:
                raise DeviceNotFound("The live engine did not serve its page: run 'zygoma demo' to see why.")
            time.sleep(0.2)
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@contextmanager
def _browsing(browser: str, url: str, folder: Path) -> Iterator[None]:
    options = ["--headless", "--disable-gpu", "--disable-background-networking"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium insists, for root.
    profile = [f"--user-data-dir={folder / 'profile'}", "--window-size=1280,720", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [browser, *options, *profile, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def _listen(url: str, seconds: float) -> dict[str, float] | None:
    """What the server hears from the browser's page, and how long events take to a page, milliseconds."""
    shown: dict[str, float] | None = None
    waits_ms: list[float] = []
    end_s = time.monotonic() + seconds
    with connect(url.replace("http", "ws", 1) + "ws", max_size=None) as socket:
        while time.monotonic() < end_s:
            message = socket.recv(timeout=10)
            if not isinstance(message, str):
                continue
            told = json.loads(message)
            if told["kind"] == "status":
                shown = told["displayed"]
            elif told["kind"] == "event":
                waits_ms.append(1000 * (lsl_clock() - told["now"]))
    if shown is None:
        return None
    slowest_ms = max(waits_ms, default=float("nan"))
    return {
        "p50": round(shown["p50_ms"], 1),
        "p95": round(shown["p95_ms"], 1),
        "slowest_event": round(slowest_ms, 1),
    }


def _print(result: dict[str, object]) -> None:
    server, display = result["server"], result["display_ms"]
    assert isinstance(server, dict)
    table = Table(title=f"Monitor ({result['machine']})")
    for heading in ("figure", "measured", "aim"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    table.add_row("server, three viewers over none", f"{server['cost_percent']:.1f} % of a core", "<= 10 %")
    table.add_row("row updates per viewer", f"{server['updates_hz']:.1f} /s", "25 /s")
    table.add_row("pictures per viewer", f"{server['pictures_hz']:.1f} /s", "")
    if isinstance(display, dict):
        table.add_row("capture to display, p50", f"{display['p50']:.0f} ms", "")
        table.add_row("capture to display, p95", f"{display['p95']:.0f} ms", "<= 120 ms")
        table.add_row("event on LSL to page, slowest", f"{display['slowest_event']:.0f} ms", "<= 300 ms")
    else:
        table.add_row("capture to display", "no Chromium or Chrome is installed", "<= 120 ms")
    errors.print(table)
