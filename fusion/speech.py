"""Is the person speaking? Judged from how often the mouth moves, without sound.

Speech moves the mouth several times a second and again and again; an expression moves it once. Section 5 of
the paper asks for habitual behaviour to be set aside, and speech is the commonest.
"""

from __future__ import annotations

from collections import deque

from processing.findings import Movement

MOUTH_REGIONS = frozenset({"upper_lip", "lip_corner", "lower_lip", "chin", "nose_wing", "cheek"})
"""Regions that the mouth moves; speech reaches up to the cheek."""

LOWER_FACE_UNITS = frozenset({10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28})
"""AUs that a spoken syllable can look like."""

_CHAIN_S = 0.7
_LEAST_SYLLABLES = 3
_KEEP_S = 30.0
_SAME_S = 0.08


class Speech:
    """Mouth movements of the last half minute and the stretches of speech they make."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._syllables: deque[tuple[float, float]] = deque()

    def add(self, movement: Movement) -> None:
        """Take a confirmed movement; those that are not of the mouth do not count."""
        if movement.provisional or movement.region not in MOUTH_REGIONS:
            return
        onset, offset = movement.onset_s, movement.offset_s
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
