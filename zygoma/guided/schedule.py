"""The timetable of a running step: which part it is in, and which parts have begun since one last looked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from zygoma.guided.protocol import Mvc

READY_S = 2.0
"""The participant reads the instruction for so long before a pose or a rest begins."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a running step on the clock: ``ready``, ``rest``, ``contract``, ``relax`` or ``pause``."""

    what: str
    start_s: float
    end_s: float


class Schedule:
    """Segments that follow each other, and how far they have been entered."""

    def __init__(self, *segments: Segment) -> None:
        self.segments = segments
        self._entered = 0

    @classmethod
    def rest(cls, now_s: float, baseline_s: float) -> Self:
        """A moment to get ready, then the rest."""
        start_s = now_s + READY_S
        return cls(Segment("ready", now_s, start_s), Segment("rest", start_s, start_s + baseline_s))

    @classmethod
    def poses(cls, now_s: float, mvc: Mvc) -> Self:
        """A moment to get ready, then every contraction with the relaxation after it."""
        segments = [Segment("ready", now_s, now_s + READY_S)]
        for _ in range(mvc.repetitions):
            for what, length_s in (("contract", mvc.contract_s), ("relax", mvc.relax_s)):
                start_s = segments[-1].end_s
                segments.append(Segment(what, start_s, start_s + length_s))
        return cls(*segments)

    @classmethod
    def pause(cls, now_s: float, pause_s: float) -> Self:
        """The fixation cross before a stimulus."""
        return cls(Segment("pause", now_s, now_s + pause_s))

    def begun(self, now_s: float) -> Iterator[Segment]:
        """The segments that have begun since this was last asked, in order."""
        while self._entered < len(self.segments) and self.segments[self._entered].start_s <= now_s:
            self._entered += 1
            yield self.segments[self._entered - 1]

    def at(self, now_s: float) -> Segment:
        """The segment that a moment lies in; the last one afterwards."""
        return next((each for each in self.segments if now_s < each.end_s), self.segments[-1])

    def named(self, what: str) -> list[Segment]:
        """All segments of that name."""
        return [each for each in self.segments if each.what == what]

    @property
    def contractions_begun(self) -> int:
        """How many contractions have begun."""
        return sum(each.what == "contract" for each in self.segments[: self._entered])

    @property
    def end_s(self) -> float:
        """When the last segment ends."""
        return self.segments[-1].end_s
