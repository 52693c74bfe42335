"""How much zygomaticus and corrugator of a side work at once, 0 (one alone, or none) to 1 (both alike).

The share of the common activity, 2 min(a, b) / (a + b), of slow z above `WORKING_Z` (after Falconer &
Winter 1985, Electromyogr. Clin. Neurophysiol. 25). In units of each channel's own rest it depends neither
on gain nor on fatigue, which changes strength and spectrum of a contraction, not of rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from numba import njit

from acquisition.stream import Channel

WORKING_Z = 2.0
"""Slow activity below this many standard deviations of rest does not count."""

_SIDES = ("L", "R")


def pairs(labels: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Numbers of the zygomaticus and the corrugator channel of each side that has both."""
    return {
        side: (labels.index(f"ZYG_{side}"), labels.index(f"COR_{side}"))
        for side in _SIDES
        if f"ZYG_{side}" in labels and f"COR_{side}" in labels
    }


def coactivation_channels(labels: Sequence[str]) -> tuple[Channel, ...]:
    """Columns that follow those of the EMG channels `labels` in a MuscleActivity stream."""
    return tuple(Channel(f"coactivation_{side}", "normalized", "EMG") for side in pairs(labels))


@njit(nogil=True, forceinline=True)
def coactivation(zygomaticus_z: float, corrugator_z: float) -> float:
    """Co-activation of two slow z; NaN while one of them is not known."""
    if math.isnan(zygomaticus_z) or math.isnan(corrugator_z):
        return math.nan
    smile = max(zygomaticus_z - WORKING_Z, 0.0)
    frown = max(corrugator_z - WORKING_Z, 0.0)
    total = smile + frown
    return 2.0 * min(smile, frown) / total if total > 0.0 else 0.0
