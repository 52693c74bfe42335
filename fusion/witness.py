"""The action units as second witness: which of the muscles that could have moved a region did move it.

The spotter names muscles by where and in which direction the skin moved. A lip corner drawn outward may be
buccinator (AU14) or risorius (AU20); the shape of the whole face, which the action units read, tells more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from acquisition.stream import StreamSpec
from processing.findings import Movement

_KEEP_S = 3.0
_CLEARLY = 0.02
"""Intensity by which one AU must have risen more than another to take its place."""

_LEVEL_S = 0.2
"""So long the level before and after a movement is averaged over."""

_PAUSE_S = 0.15
"""A face that was seen so shortly before, or after, was there in between."""

_LEVEL = 0.05
"""Slope below which a movement counts as level."""


class UnitWitness:
    """Rows of action units of the last seconds.

    Args:
        spec: The ActionUnits stream, None without one.
    """

    def __init__(self, spec: StreamSpec | None = None) -> None:
        labels = spec.labels if spec is not None else ()
        self._columns = {label: column for column, label in enumerate(labels) if label.startswith("AU")}
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._stamps: list[float] = []
        self._rows: list[Sequence[float]] = []

    def see(self, time_s: float, row: Sequence[float] | None) -> None:
        """Take the row at `time_s`; None without a face."""
        if row is None:
            return
        self._stamps.append(time_s)
        self._rows.append(row)
        if self._stamps[0] < time_s - 2.0 * _KEEP_S:
            old = bisect_left(self._stamps, time_s - _KEEP_S)
            del self._stamps[:old], self._rows[:old]

    def saw(self, start_s: float, end_s: float) -> bool:
        """Whether there was a face to see all along, but for pauses of up to `_PAUSE_S`."""
        inside = bisect_left(self._stamps, start_s - _PAUSE_S), bisect_right(self._stamps, end_s + _PAUSE_S)
        stamps = self._stamps[slice(*inside)]
        if not stamps or stamps[0] > start_s + _PAUSE_S or stamps[-1] < end_s - _PAUSE_S:
            return False
        return all(later - earlier <= 2.0 * _PAUSE_S for earlier, later in pairwise(stamps))

    def rise(self, unit: int, movement: Movement) -> float:
        """By how much an AU rose at a movement's apex, above the mean of before and after; 0 if unknown.

        Of a movement on one side, that side's reading counts.
        """
        column = self._columns.get(f"AU{unit}_{movement.side}", self._columns.get(f"AU{unit}"))
        if column is None:
            return 0.0
        apex = self._mean(column, movement.apex_s - 0.05, movement.apex_s + 0.05)
        before = self._mean(column, movement.onset_s - 0.15, movement.onset_s)
        after = self._mean(column, movement.offset_s, movement.offset_s + 0.1)
        known = [each for each in (before, after) if each is not None]
        return apex - sum(known) / len(known) if apex is not None and known else 0.0

    def step(self, unit: int, movement: Movement) -> float:
        """By how much an AU stands higher after a movement than before; 0 if unknown."""
        column = self._columns.get(f"AU{unit}")
        if column is None:
            return 0.0
        before = self._mean(column, movement.onset_s - _LEVEL_S, movement.onset_s)
        after = self._mean(column, movement.offset_s, movement.offset_s + _LEVEL_S)
        return after - before if after is not None and before is not None else 0.0

    def best_unit(self, movement: Movement) -> int | None:
        """The AU that a movement stands for: the spotter's first, unless its second clearly rose more."""
        units = movement.action_units
        if len(units) < 2:
            return units[0] if units else None
        first, second = units[:2]
        if {first, second} == {4, 9} and movement.region == "nose_wing":
            return 9  # Corrugator supercilii ends above the nose (section 4.1).
        if {first, second} == {14, 20} and abs(movement.dy_px) > _LEVEL * abs(movement.dx_px):
            # Risorius and platysma draw the lip corner outward and down, buccinator straight back.
            return 20 if movement.dy_px > 0.0 else 14
        rivals = self.rise(second, movement) - max(0.0, self.rise(first, movement))
        return second if (first, second) in _ALIKE and rivals > _CLEARLY else first

    def units(self, movement: Movement) -> tuple[int, ...]:
        """`best_unit` with those of its pattern that moved the face along with it, each once.

        Of two AUs that look alike, the second is left out when the first alone rose.
        """
        unit = self.best_unit(movement)
        if unit is None:
            return ()
        others = movement.pattern if unit in movement.pattern else ()
        rise = self.rise(unit, movement)
        return (
            unit,
            *(
                other
                for other in others
                if other != unit
                and not ((unit, other) in _ALIKE and rise - self.rise(other, movement) > _CLEARLY)
            ),
        )

    def _mean(self, column: int, start_s: float, end_s: float) -> float | None:
        rows = self._rows[bisect_left(self._stamps, start_s) : bisect_right(self._stamps, end_s)]
        return sum(row[column] for row in rows) / len(rows) if rows else None


_ALIKE = frozenset({(14, 20), (20, 14), (10, 12), (12, 10)})
"""Pairs that move the skin alike where the spotter looks: only between them is the witness asked. Between AU6
and AU7, AU9 and AU10, AU17 and AU24 the spotter is right more often."""
