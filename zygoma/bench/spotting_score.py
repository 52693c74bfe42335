"""Scoring as in the MEGC challenges: found at IoU >= .5, each movement once, counts pooled over clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from zygoma.bench.clips import Clip, TrueEvent

Interval = tuple[float, float]
Scored = tuple[float, float, float]
"""Onset, offset, strength."""

Timed = tuple[float, float, float]
"""Onset, offset, apex."""

LOWEST_IOU = 0.5


def overlap(one: Interval, other: Interval) -> float:
    """Intersection over union of two stretches of time."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return max(shared, 0.0) / max(max(one[1], other[1]) - min(one[0], other[0]), 1e-9)


@dataclass
class Score:
    """Counts pooled over clips.

    Attributes:
        found, missed: True events.
        false: Movements that match none.
        matches: What each of `found` was found as, in the same order.
    """

    found: list[TrueEvent] = field(default_factory=list)
    missed: list[TrueEvent] = field(default_factory=list)
    false: int = 0
    matches: list[Interval | Timed] = field(default_factory=list)

    def add(self, events: Sequence[TrueEvent], intervals: Sequence[Interval | Timed]) -> None:
        """Match one clip's movements to its truth, best overlap first, each used once."""
        pairs = sorted(
            (
                (overlap((event.onset_s, event.offset_s), (interval[0], interval[1])), i, j)
                for i, event in enumerate(events)
                for j, interval in enumerate(intervals)
            ),
            reverse=True,
        )
        taken: dict[int, int] = {}
        for iou, i, j in pairs:
            if iou >= LOWEST_IOU and i not in taken and j not in taken.values():
                taken[i] = j
        for i, event in enumerate(events):
            (self.found if i in taken else self.missed).append(event)
        self.matches += [intervals[taken[i]] for i in sorted(taken)]
        self.false += len(intervals) - len(taken)

    @property
    def f1(self) -> float:
        total = 2 * len(self.found) + self.false + len(self.missed)
        return 2 * len(self.found) / total if total else 1.0

    @property
    def precision(self) -> float:
        return len(self.found) / max(len(self.found) + self.false, 1)

    @property
    def recall(self) -> float:
        return len(self.found) / max(len(self.found) + len(self.missed), 1)

    def recall_where(self, low: float, high: float, what: str) -> float | None:
        """Recall of events whose attribute `what` lies in [low, high); None without such events."""
        hits = sum(low <= getattr(event, what) < high for event in self.found)
        total = hits + sum(low <= getattr(event, what) < high for event in self.missed)
        return hits / total if total else None


def errors_ms(score: Score) -> dict[str, float]:
    """Median absolute error of onset, apex and offset of what was found as `Timed`; NaN without any."""
    rows = [
        (abs(move[0] - event.onset_s), abs(move[2] - event.apex_s), abs(move[1] - event.offset_s))
        for event, move in zip(score.found, score.matches, strict=True)
        if len(move) == 3
    ]
    medians = np.median(rows, axis=0) if rows else np.full(3, np.nan)
    return {name: 1e3 * float(each) for name, each in zip(("onset", "apex", "offset"), medians, strict=True)}


def score_of(clips: Iterable[Sequence[TrueEvent]], found: Iterable[Sequence[Interval | Timed]]) -> Score:
    """Pooled score of intervals per clip."""
    score = Score()
    for events, intervals in zip(clips, found, strict=True):
        score.add(events, intervals)
    return score


def micro(clip: Clip) -> list[TrueEvent]:
    """The micro-expressions of a clip."""
    return [event for event in clip.events if event.kind == "micro"]


def best_case(
    truth: Sequence[Sequence[TrueEvent]],
    intervals_at: Callable[[float], list[list[Interval]]],
    levels: Sequence[float],
) -> Score:
    """The score with the best F1 over thresholds tried on these very clips: the most a peer can reach."""
    return max((score_of(truth, intervals_at(level)) for level in levels), key=lambda score: score.f1)
