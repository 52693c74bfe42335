"""Is the person speaking? Judged from how often the mouth moves, without sound.

Speech moves the mouth several times a second and again and again; an expression moves it once. Section 5 of
the paper asks for habitual behaviour to be set aside, and speech is the commonest.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from acquisition.stream import StreamSpec
from processing.findings import Movement

MOUTH_REGIONS = frozenset({"upper_lip", "lip_corner", "lower_lip", "chin", "nose_wing", "cheek"})
"""Regions that the mouth moves; speech reaches up to the cheek."""

LOWER_FACE_UNITS = frozenset({10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28})
"""AUs that a spoken syllable can look like."""

_CHAIN_S = 0.7
_LEAST_SYLLABLES = 3
_AGAIN = 2
_KEEP_S = 30.0
_SAME_S = 0.08
_OPENING_UNITS = (25, 26)
_OPENS_BY = 0.12
_LONGEST_S = 0.6


class Speech:
    """Mouth movements of the last half minute and the stretches of speech they make.

    They are taken from the opening of the mouth (AU25, AU26) and from movements that the spotter reports.

    Args:
        spec: The ActionUnits stream, None without one.
    """

    def __init__(self, spec: StreamSpec | None = None) -> None:
        labels = spec.labels if spec is not None else ()
        self._columns = tuple(labels.index(f"AU{unit}") for unit in _OPENING_UNITS if f"AU{unit}" in labels)
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._syllables: deque[tuple[float, float]] = deque()
        self._low, self._low_s = math.inf, math.nan
        self._high = -math.inf

    def see(self, time_s: float, row: Sequence[float] | None) -> None:
        """Take a row of action units: the mouth that opens and closes again speaks a syllable."""
        if row is None:
            self._low, self._high = math.inf, -math.inf
            return
        opening = 0.0
        for column in self._columns:
            if row[column] > 0.0:
                opening += row[column]
        if self._high == -math.inf:  # closed, or closing
            if opening <= self._low:
                self._low, self._low_s = opening, time_s
            elif opening > self._low + _OPENS_BY:
                self._high = opening
        elif opening > self._high:
            self._high = opening
        elif opening < self._high - 0.5 * (self._high - self._low):
            if time_s - self._low_s <= _LONGEST_S:
                self._append(self._low_s, time_s)
            self._low, self._low_s, self._high = opening, time_s, -math.inf

    def add(self, movement: Movement) -> None:
        """Take a confirmed movement; those that are not of the mouth do not count."""
        if movement.provisional or movement.region not in MOUTH_REGIONS:
            return
        self._append(movement.onset_s, movement.offset_s)

    def _append(self, onset: float, offset: float) -> None:
        if any(abs(start - onset) < _SAME_S for start, _ in self._syllables):
            return  # another region of the same syllable
        self._syllables.append((onset, offset))
        while self._syllables[0][1] < onset - _KEEP_S:
            self._syllables.popleft()

    def around(self, onset_s: float, before_s: float = 1.2, after_s: float = 0.9) -> int:
        """How many other mouth movements began around a movement's onset."""
        return sum(
            onset_s - before_s <= start <= onset_s + after_s and abs(start - onset_s) >= _SAME_S
            for start, _ in self._syllables
        )

    def goes_on(self, time_s: float) -> bool:
        """Whether the mouth moves again and again around a time."""
        return self.around(time_s) >= _AGAIN

    def share(self, start_s: float, end_s: float) -> float:
        """Share of a stretch of time that lies inside speech: chains of at least three syllables."""
        if end_s <= start_s:
            return 0.0
        spoken = 0.0
        chain: list[tuple[float, float]] = []
        for syllable in [*sorted(self._syllables), (float("inf"), float("inf"))]:
            if chain and syllable[0] - chain[-1][1] > _CHAIN_S:
                if len(chain) >= _LEAST_SYLLABLES:
                    first, last = chain[0][0] - 0.3, chain[-1][1] + 0.3
                    spoken += max(0.0, min(last, end_s) - max(first, start_s))
                chain = []
            chain.append(syllable)
        return spoken / (end_s - start_s)
