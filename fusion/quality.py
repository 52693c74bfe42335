"""When the picture of the face becomes doubtful and when it is sound again, as events of type ``quality``.

What a thermal camera tells of itself (FFC, dead pixels, warming up, face lost) becomes such events as well.

The ``flags`` channel has a bit per doubt (`processing.face_quality`); here each bit becomes two events: one
when it has held for half a second, and one, with the whole stretch, when it has gone for as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acquisition.stream import Block
from fusion.events import FaceEvent
from processing.face_quality import FLAG_WORDS, FaceFlag, flags_in
from processing.thermal_model import ThermalEvent

HOLD_S = 0.5
"""A flag, or its absence, counts once it has lasted this long: single frames make no event."""

GAP_S = 1.0
"""Without a picture for this long, nothing is known: what was open ends with the last picture."""

BEGINS, ENDS = "begins", "ends"
"""Second remark of a quality event, after the flag's name."""


@dataclass
class _Stretch:
    """One flag: since when it has been up or down, and the event it opened."""

    up: bool = False
    since_s: float = 0.0
    number: int | None = None
    onset_s: float = 0.0


class QualityEvents:
    """Turns rows of action units into quality events; causal, by stamps alone."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._stretches = {flag: _Stretch() for flag in FaceFlag}
        self._previous = FaceFlag(0)
        self._last_s: float | None = None
        self._begun = 0

    def process(self, action_units: Block) -> list[FaceEvent]:
        """The events that a block of rows decides; none from a stream without flags."""
        if "flags" not in action_units.spec.labels:
            return []
        events: list[FaceEvent] = []
        column = action_units.column("flags").tolist()
        for time_s, value in zip(action_units.timestamps.tolist(), column, strict=True):
            events += self._step(time_s, flags_in(value))
        return events

    def flush(self) -> list[FaceEvent]:
        """The recording is over, or paused: close what is open."""
        last_s, self._last_s = self._last_s, None
        self._previous = FaceFlag(0)
        events = []
        for flag, stretch in self._stretches.items():
            if stretch.number is not None and last_s is not None:
                # What was going out when the pictures stopped ended where it was last seen.
                end_s = last_s if stretch.up else stretch.since_s
                events.append(_ended(flag, stretch.number, stretch.onset_s, end_s))
        self._stretches = {flag: _Stretch() for flag in FaceFlag}
        return events

    def _step(self, time_s: float, flags: FaceFlag) -> list[FaceEvent]:
        events: list[FaceEvent] = []
        if self._last_s is not None and not 0.0 < time_s - self._last_s <= GAP_S:
            events += self.flush()
        self._last_s = time_s
        if not (flags | self._previous) and all(s.number is None for s in self._stretches.values()):
            return events
        self._previous = flags
        for flag, stretch in self._stretches.items():
            up = bool(flags & flag)
            if up != stretch.up:
                stretch.up, stretch.since_s = up, time_s
            held = time_s - stretch.since_s >= HOLD_S
            if up and held and stretch.number is None:
                self._begun += 1
                stretch.number, stretch.onset_s = self._begun, stretch.since_s
                events.append(_begun(flag, self._begun, stretch.since_s))
            elif not up and held and stretch.number is not None:
                events.append(_ended(flag, stretch.number, stretch.onset_s, stretch.since_s))
                stretch.number = None
        return events


class ThermalQuality:
    """Turns what happened to the thermal signal into quality events, numbered through."""

    def __init__(self) -> None:
        self._told = 0

    def process(self, events: Sequence[ThermalEvent]) -> list[FaceEvent]:
        """One event, without duration, for each."""
        found = []
        for event in events:
            self._told += 1
            found.append(
                FaceEvent(
                    event.time_s,
                    0.0,
                    "quality",
                    event.time_s,
                    vetoes=(event.kind,),
                    confidence=1.0,
                    id=f"quality-thermal-{self._told}",
                    explanation=f"Thermal picture: {event.text}.",
                )
            )
        return found


def _begun(flag: FaceFlag, number: int, onset_s: float) -> FaceEvent:
    return FaceEvent(
        onset_s,
        0.0,
        "quality",
        onset_s,
        vetoes=(_name(flag), BEGINS),
        confidence=1.0,
        id=f"quality-{number}",
        explanation=f"Picture of the face: {FLAG_WORDS[flag]}.",
    )


def _ended(flag: FaceFlag, number: int, onset_s: float, end_s: float) -> FaceEvent:
    matter, _, _ = FLAG_WORDS[flag].partition(":")
    return FaceEvent(
        onset_s,
        end_s - onset_s,
        "quality",
        onset_s,
        vetoes=(_name(flag), ENDS),
        confidence=1.0,
        id=f"quality-{number}-end",
        explanation=f"Picture of the face: {matter}; over after {end_s - onset_s:.1f} s.",
    )


def _name(flag: FaceFlag) -> str:
    assert flag.name is not None
    return flag.name.lower()
