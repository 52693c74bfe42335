"""Muscles that fire without visible movement: EMG shows what is "even visually imperceptible" (section 6).

Conservative: a blink, speech, an expression or another burst of that muscle nearby explains a burst well
enough, and without a picture nothing can be called invisible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.candidates import MICRO_TOTAL_S
from fusion.emg_evidence import channel_parts
from processing.findings import Burst, Side

UNIT_OF_PREFIX = {"COR": 4, "ZYG": 12, "FRO": 2, "OOC": 6, "LEV": 10, "DAO": 15, "MEN": 17}
"""The AU that the muscle under a channel's electrodes makes."""

_SHORTEST_S = 0.04
_ALONE_S = 1.0
_TOGETHER_S = 0.12


@dataclass(frozen=True)
class Twitch:
    """A short contraction of one muscle, on one side or both.

    Attributes:
        unit: The AU it would have shown.
        bursts: One per side, the stronger first.
    """

    unit: int
    bursts: tuple[Burst, ...]

    @property
    def main(self) -> Burst:
        """The stronger burst."""
        return self.bursts[0]

    @property
    def side(self) -> Side:
        """The subject's own side."""
        sides = {channel_parts(burst.channel)[1] for burst in self.bursts}
        return next(iter(sides)) if len(sides) == 1 else "both"

    @property
    def onset_s(self) -> float:
        """Of the earlier side."""
        return min(burst.onset_s for burst in self.bursts)

    @property
    def offset_s(self) -> float:
        """Of the later side."""
        return max(burst.offset_s for burst in self.bursts)


def twitch_of(burst: Burst, recent: Sequence[Burst]) -> Twitch | None:
    """The twitch that a burst belongs to, None when the muscle was busy around it or it is no short one.

    Args:
        burst: Over, and at least a second ago.
        recent: Bursts of the last seconds, `burst` among them.
    """
    prefix = channel_parts(burst.channel)[0]
    unit = UNIT_OF_PREFIX.get(prefix)
    if unit is None:
        return None
    same = [other for other in recent if channel_parts(other.channel)[0] == prefix]
    twins = [other for other in same if abs(other.onset_s - burst.onset_s) <= _TOGETHER_S]
    twitch = Twitch(unit, tuple(sorted(twins, key=lambda each: (-each.peak_z, each.channel))))
    busy = any(
        other.onset_s < twitch.offset_s + _ALONE_S and other.offset_s > twitch.onset_s - _ALONE_S
        for other in same
        if other not in twins
    )
    duration = twitch.offset_s - twitch.onset_s
    return twitch if not busy and _SHORTEST_S <= duration <= MICRO_TOTAL_S else None
