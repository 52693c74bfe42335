"""`zygoma session`: the guided run with its pages, in the terminal, or by itself with a simulated person."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition import network
from acquisition.stream import Block, Kind
from fusion.events import FaceEvent
from zygoma.engine import Engine, EngineSettings
from zygoma.guided.drivers import AutoDriver, Driver, Nobody, TerminalDriver
from zygoma.guided.protocol import Protocol, load_protocol
from zygoma.guided.routes import session_router
from zygoma.guided.session import GuidedSession
from zygoma.guided.simulated import ParticipantProcess
from zygoma.guided.summary import summary_lines
from zygoma.monitor.live import Monitor, MonitorOptions
from zygoma.options import console, errors, print_json
from zygoma.signals import stop_signals
from zygoma.state import Onlooker

TICK_S = 0.05

LINGER_S = 3.0
"""The pages are served this long after the end at most, so that the operator's shows what it came to."""


@dataclass(frozen=True)
class SessionOptions:
    """Options of `zygoma session`.

    Attributes:
        recordings: Folder of all sessions.
        headless: Prompts in the terminal instead of pages.
        auto: Nobody is asked: every step is begun, and forms are filled in, by the program.
        simulate: A simulated participant sits in front of simulated devices.
        seed: Of the simulation.
        json: Print the summary for a program.
        lan: Use streams of other machines too.
        channels: EMG channel -> muscle_side, see `zygoma.channel_names`.
        monitor: How the pages are served.
    """

    recordings: Path = Path("recordings")
    headless: bool = False
    auto: bool = False
    simulate: bool = False
    seed: int = 0
    json: bool = False
    lan: bool = False
    channels: Mapping[str, str] = field(default_factory=dict)
    monitor: MonitorOptions = field(default_factory=MonitorOptions)


class Onlookers:
    """Shows one engine to several onlookers."""

    def __init__(self, onlookers: Sequence[Onlooker]) -> None:
        self._onlookers = tuple(onlookers)

    def block(self, block: Block) -> None:
        """See `Onlooker.block`."""
        for onlooker in self._onlookers:
            onlooker.block(block)

    def face(self, kind: Kind, stamp_s: float, points_px: NDArray[np.floating] | None) -> None:
        """See `Onlooker.face`."""
        for onlooker in self._onlookers:
            onlooker.face(kind, stamp_s, points_px)

    def event(self, event: FaceEvent) -> None:
        """See `Onlooker.event`."""
        for onlooker in self._onlookers:
            onlooker.event(event)


def run_session(path: Path, options: SessionOptions) -> dict[str, Any]:
    """Run the session of a protocol file to its end; Ctrl-C aborts it in order.

    Returns:
        The summary, as ``_summary.json`` has it.

    Raises:
        InvalidSignal: The protocol has mistakes.
    """
    protocol = load_protocol(path)
    network.configure(lan=options.lan)
    with stop_signals() as stop:
        _prepare(quiet=options.json)
        session = _run(protocol, options, stop)
    if options.json:
        print_json(session.summary)
    else:
        for line in summary_lines(session.summary):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if session.paths is not None:
            console.print(f"Recorded {session.paths.xdf}", highlight=False, soft_wrap=True)
    return session.summary


def _prepare(*, quiet: bool) -> None:
    from zygoma.warmup import get_ready

    if not quiet:
        console.print("Preparing the processors (the first time takes about a minute) ...")
    get_ready()


def _run(protocol: Protocol, options: SessionOptions, stop: threading.Event) -> GuidedSession:
    with ExitStack() as stack:
        perform: Callable[[str, float, float], None] = _nobody_obeys
        if options.simulate:
            perform = stack.enter_context(ParticipantProcess(seed=options.seed)).perform
        pages = not options.headless
        session = GuidedSession(
            protocol, options.recordings, needs_page=pages and not options.auto, perform=perform
        )
        onlookers: list[Onlooker] = [session]
        monitor = None
        if pages:
            monitor = stack.enter_context(
                Monitor(options.monitor, paths=lambda: session.paths, recordings=options.recordings)
            )
            onlookers.append(monitor.feed)
        names = {device.kind: device.name for device in protocol.devices if device.name is not None}
        engine = Engine(EngineSettings(names=names, channels=options.channels), onlooker=Onlookers(onlookers))
        with engine:
            session.attach(engine)
            try:
                if monitor is not None:
                    _serve(monitor, engine, session)
                driver = _driver(options, session)
                while engine.running and not stop.is_set() and not session.closed:
                    session.tick()
                    driver.drive()
                    stop.wait(TICK_S)
                if monitor is not None and session.closed:
                    session.summary_seen.wait(LINGER_S)
            finally:
                # Before the engine ends, so that the recording is whole.
                session.close("stopped by Ctrl-C" if stop.is_set() else "the program was stopped")
    return session


def _nobody_obeys(expression: str, start_s: float, end_s: float) -> None:
    """Real participants read the screen."""


def _serve(monitor: Monitor, engine: Engine, session: GuidedSession) -> None:
    server = monitor.serve(engine.snapshot, engine.mark, [session_router(session)])
    access = server.access
    pages = {
        "Operator": server.address("/session", access.token),
        "Participant": server.address("/participant", access.participant_token),
        "Monitor": server.url,
    }
    for name, address in pages.items():
        # On stderr, so that stdout stays a program's; with --lan the address carries the token.
        errors.print(f"{name + ':':<13}{address}", highlight=False, soft_wrap=True)


def _driver(options: SessionOptions, session: GuidedSession) -> Driver:
    if options.auto:
        return AutoDriver(session, tell=None if options.json else console.print)
    return TerminalDriver(session, console) if options.headless else Nobody()
