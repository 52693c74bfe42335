"""A simulated participant who does what the session asks for: poses, relaxes, and reacts to what is shown.

The devices run in a process of their own, as real ones do: drawing faces beside the engine would hold up the
threads that measure them.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType

import cv2

from acquisition import network
from acquisition.clock import Clock, lsl_clock
from acquisition.stream import Source, ZygomaError
from hardware.simulated import Scenario, ScriptedEvent, simulated_source
from zygoma.demo import START_DELAY_S, STOP_TIMEOUT_S
from zygoma.publish import publish

CAMERA_SIZE_PX = (480, 360)
"""Large enough for landmarks, and drawn in about half the time that VGA takes."""

REACTION_S = 0.35
REACTION_TO_STIMULUS_S = 1.0
LONGEST_REACTION_S = 3.0
LONGEST_SESSION_S = 3600.0

EXPRESSIONS: Mapping[str, Mapping[int, float]] = {
    "smile": {6: 0.7, 12: 1.0},
    "frown": {4: 1.0},
    "happiness": {6: 0.5, 12: 0.7},
    "positive": {12: 0.6},
    "surprise": {1: 0.7, 2: 0.7, 5: 0.5},
    "anger": {4: 0.7, 7: 0.3},
    "negative": {4: 0.6},
    "fear": {1: 0.6, 2: 0.4, 4: 0.5, 5: 0.5, 20: 0.4},
    "disgust": {4: 0.3, 9: 0.7, 10: 0.5},
    "sadness": {1: 0.6, 4: 0.3, 15: 0.7},
}
"""Action units of what is posed or felt; anything else leaves the face at rest."""


class ObedientScenario(Scenario):
    """A scenario that is still being written while it is played.

    The devices draw a moment at most 1.1 s ahead, so what is asked for later than that is played whole.
    """

    def perform(self, event: ScriptedEvent) -> None:
        """Add an event; devices that read at this moment see the script with it or without it, never half."""
        events = tuple(sorted((*self.events, event), key=lambda each: each.onset_s))
        fresh = Scenario(seed=self.seed, duration_s=self.duration_s, events=events, sway_px=self.sway_px)
        object.__setattr__(self, "events", events)
        # A frozen scenario keeps its tables; this one replaces them in one step.
        self.__dict__["_moving"] = fresh._moving


class SimulatedParticipant:
    """Camera, EMG and thermal camera of an obedient person on LSL; use as a context manager.

    Args:
        seed: Of the person's sway and the devices' noise.
        start_s: Stamp at which the devices begin, LSL clock.
        clock: LSL clock.
    """

    def __init__(self, *, seed: int = 0, start_s: float, clock: Clock = lsl_clock) -> None:
        self._start_s = start_s
        self._script = ObedientScenario(seed, LONGEST_SESSION_S, (), sway_px=0.8)
        self._asked = 0
        self._stop = threading.Event()
        self._sources = [
            simulated_source(
                kind,
                self._script,
                clock=clock,
                sleep=time.sleep,
                start_s=self._start_s,
                seed=seed,
                size_px=CAMERA_SIZE_PX,
            )
            for kind in ("camera", "emg", "thermal")
        ]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> SimulatedParticipant:
        for source in self._sources:
            thread = threading.Thread(
                target=self._publish, args=(source,), name=f"zygoma-simulated-{source.spec.kind}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _publish(self, source: Source) -> None:
        try:
            publish(source, until=self._stop.is_set)
        except ZygomaError:
            # The session sees the stream go silent, as it would with a real device.
            return

    def perform(self, expression: str, start_s: float, end_s: float) -> None:
        """Do what is asked for between two moments of the LSL clock: a pose, or a reaction to a stimulus."""
        units = EXPRESSIONS.get(expression)
        if units is None:
            return
        posed = expression in ("smile", "frown")
        onset_s = start_s - self._start_s + (REACTION_S if posed else REACTION_TO_STIMULUS_S)
        offset_s = end_s - self._start_s if posed else onset_s + LONGEST_REACTION_S
        offset_s = max(min(offset_s, end_s - self._start_s), onset_s + 0.6)
        self._asked += 1
        self._script.perform(
            ScriptedEvent(
                id=f"{expression}-{self._asked}",
                trial_type="macro_expression",
                onset_s=onset_s,
                apex_s=onset_s + 0.25,
                release_s=offset_s - 0.25,
                offset_s=offset_s,
                action_units=units,
                emotion="" if posed else expression,
            )
        )


class ParticipantProcess:
    """A `SimulatedParticipant` in a process of its own, which ends with this one; use as a context manager.

    Args:
        seed: As there.
        clock: LSL clock.
    """

    def __init__(self, *, seed: int = 0, clock: Clock = lsl_clock) -> None:
        context = multiprocessing.get_context("spawn")
        listening, self._asking = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_live,
            args=(listening, seed, clock() + START_DELAY_S),
            name="zygoma-simulated",
            daemon=True,
        )
        self._listening = listening

    def __enter__(self) -> ParticipantProcess:
        self._process.start()
        self._listening.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asking.close()
        self._process.join(STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def perform(self, expression: str, start_s: float, end_s: float) -> None:
        """See `SimulatedParticipant.perform`; one whose process has ended does nothing any more."""
        with suppress(OSError):
            self._asking.send((expression, start_s, end_s))


def _live(asked: Connection, seed: int, start_s: float) -> None:
    """What the process does until nobody can ask any more: its owner has closed the pipe, or is gone."""
    # A Ctrl-C is for the session, which then ends its participant in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A device has one core at most: the engine needs the others.
    cv2.setNumThreads(1)
    network.configure(lan=False)
    with SimulatedParticipant(seed=seed, start_s=start_s) as participant, suppress(EOFError):
        while True:
            participant.perform(*asked.recv())
