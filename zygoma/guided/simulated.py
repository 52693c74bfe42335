"""A simulated participant who does what the session asks for: poses, relaxes, and reacts to what is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from acquisition.clock import Clock, lsl_clock
from acquisition.stream import Source, ZygomaError
from hardware.simulated import Scenario, ScriptedEvent, simulated_source
from zygoma.publish import publish

CAMERA_SIZE_PX = (480, 360)
"""Drawn in the session's own process: 4 ms a frame, about half of what VGA takes."""

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
        clock: LSL clock.
    """

    def __init__(self, *, seed: int = 0, clock: Clock = lsl_clock) -> None:
        self._start_s = clock() + 0.5
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
