"""Tells habits by their repetition: nobody sniffs or speaks a syllable just once.

The paper asks for habitual movements to be set aside (section 5). The first pulse of a sniff is a perfect
AU9, the first syllable a fair AU12; what gives them away is that the face does it again at once. So a
movement that follows one like it weighs less, and one that was confirmed is withdrawn when more follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processing.spotting_anatomy import CHEEK, JAW, MOUTH, NOSE, PART, REGIONS
from processing.spotting_context import Trail
from processing.spotting_types import Excursion, overlap_share

F64 = NDArray[np.float64]

SOONEST_S, LATEST_S = 0.08, 0.75
"""Time from peak to peak in which a movement repeats the one before: slow syllables and sniffs come about
twice a second."""

ALONE_S = 0.5
"""Time after its offset at which a movement of the nose that nothing has repeated is no sniff; fusion waits
longer before it reports one."""

_BEFORE_S, _MARGIN_S = 0.5, 0.02
_STILL_SHARE = 0.8
_CHANCE_COSINE = 0.3
_ALIKE = 0.35
_LOUD_Z = 5.0
_LOUD_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Seen:
    """A movement that was weighed.

    Attributes:
        best: Its strongest excursion.
        displacement: Of everything watched, px [W, 2].
        error: Standard error of that, px [W, 2].
    """

    best: Excursion
    displacement: F64
    error: F64


def repetition(now: Seen, earlier: Sequence[Seen]) -> float:
    """How much a movement is like one just before it, 0-1."""
    return max((_likeness(now, then) for then in earlier), default=0.0)


def _likeness(now: Seen, then: Seen) -> float:
    """Cosine of two patterns in units of noise, beyond what noise alone has; 0 unless one soon follows."""
    if not _follows(now.best, then.best):
        return 0.0
    count = len(REGIONS)
    a, b = ((seen.displacement[:count] / now.error[:count]).ravel() for seen in (now, then))
    squares = float(a @ a), float(b @ b)
    if not min(squares) > 0.09 * max(squares):
        return 0.0
    cosine = float(a @ b) / float(np.sqrt(squares[0] * squares[1]))
    return max((cosine - _CHANCE_COSINE) / (1.0 - _CHANCE_COSINE), 0.0)


def _follows(now: Excursion, then: Excursion) -> bool:
    """Whether one came soon after another, and is not part of it."""
    soon = SOONEST_S < now.peak_s - then.peak_s < LATEST_S
    return soon and overlap_share(then, now) <= 0.3


def habit(then: Seen, now: Seen) -> str:
    """What an earlier movement turns out to be part of now that another has come; empty for nothing."""
    best, part = now.best, PART[then.best.watched]
    if best.z < 4.0 or not _follows(best, then.best):
        return ""
    if _likeness(now, then) > _ALIKE:
        return {NOSE: "sniff", MOUTH: "speech", JAW: "speech"}.get(part, "ripple")
    loud = best.z > _LOUD_Z and best.height_px > _LOUD_SHARE * then.best.height_px
    goes_on = PART[best.watched] in (MOUTH, JAW) and part in (CHEEK, NOSE, MOUTH, JAW)
    return "speech" if loud and goes_on else ""


def stands_alone(seen: Seen, trail: Trail, now_s: float) -> bool:
    """Whether what moved kept still for half a second before, and has ever since.

    Args:
        seen: The movement.
        trail: How everything watched moved since a second before it.
        now_s: The newest stamp.
    """
    best = seen.best
    most_px = _STILL_SHARE * float(np.hypot(*seen.displacement[best.watched]))
    before = trail.range_px(best.onset_s - _BEFORE_S, best.onset_s - _MARGIN_S)
    after = trail.range_px(best.offset_s + _MARGIN_S, now_s)
    return max(float(before[best.watched]), float(after[best.watched])) < most_px
