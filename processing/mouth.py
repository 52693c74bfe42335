"""The mouth: lips apart (AU25), jaw dropped (AU26), mouth stretched (AU27), and what its corners tell apart.

The openings are grades of one (FACS manual, chapter 7): as the next grade rises the one before recedes. They
are measured from the gap between the lips and the fall of the chin, not from muscles: a jaw hangs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from processing.eyelids import rise

INNER_UPPER_LIP, INNER_LOWER_LIP = 13, 14

_CHIN = (199, 200, 175, 171, 396)
_LIP_PER_CHIN = 1.0 / 0.7
"""The lower lip falls farther than the chin's skin when the jaw drops."""


_LIP_JITTER = 2.0
"""How much more lips and chin tremble than canthi and bridge; see `processing.muscle_fields`."""

# Where each grade begins and is complete: gap of the lips, then fall of the jaw, IOD.
_PARTING, _DROPPING, _STRETCHING = (0.01, 0.13), (0.03, 0.27), (0.3, 0.4)


def jaw_drop(displacement: NDArray[np.float64]) -> float:
    """Fall of the jaw as the lower lip shows it, IOD, from the landmarks' displacement [478, 2]."""
    fall = 0.0
    for landmark in _CHIN:
        fall += float(displacement[landmark, 1])
    return max(0.0, _LIP_PER_CHIN * fall / len(_CHIN))


def lip_gap(displacement: NDArray[np.float64]) -> float:
    """Parting of the inner lips above neutral, IOD, from the landmarks' displacement [478, 2]."""
    return float(displacement[INNER_LOWER_LIP, 1]) - float(displacement[INNER_UPPER_LIP, 1])


_LIP_CENTRE, _NOSE_BASE, _CORNERS = 0, 2, (61, 291)
_CORNER_PER_JAW = 0.44
"""How far a corner of the mouth falls with the jaw; see `processing.muscle_fields.jaw_share`."""

_LEAST_LIFT_IOD = 0.01

_BEYOND_DIMPLES, _BEYOND_PRESSES = (0.065, 0.085), (0.115, 0.14)
"""Rise of a corner of the mouth, IOD, that no dimple, no pressed lips reach: where doubt begins, and ends."""


def _corner_rises(displacement: NDArray[np.float64], jaw: float) -> tuple[float, float]:
    base = float(displacement[_NOSE_BASE, 1])
    right, left = (base - float(displacement[corner, 1]) + _CORNER_PER_JAW * jaw for corner in _CORNERS)
    return right, left


def raised_corners(displacement: NDArray[np.float64], jaw: float) -> tuple[tuple[float, float], ...]:
    """Whether each corner of the mouth, right and left, is raised beyond a dimple, beyond pressed lips: 0-1.

    A dimple draws the corner back, pressed lips lift it a little, a smile draws it up (FACS manual, AU12, 14
    and 24).

    Args:
        displacement: Of the landmarks [478, 2], IOD.
        jaw: Its fall, see `jaw_drop`: it takes the corners down.
    """
    return tuple(
        (rise(height, *_BEYOND_DIMPLES), rise(height, *_BEYOND_PRESSES))
        for height in _corner_rises(displacement, jaw)
    )


def lifted_lip(displacement: NDArray[np.float64], jaw: float) -> tuple[float, float]:
    """Whether the upper lip is raised by its levator and not by a smile, 0-1, at the right corner, the left.

    The levator lifts the middle of the lip most, a smile its corners (FACS manual, AU10 and AU12).

    Args:
        displacement: Of the landmarks [478, 2], IOD.
        jaw: Its fall, see `jaw_drop`: it takes the corners down.
    """
    middle = float(displacement[_NOSE_BASE, 1]) - float(displacement[_LIP_CENTRE, 1])
    right, left = (max(_LEAST_LIFT_IOD, height) for height in _corner_rises(displacement, jaw))
    return rise(middle, right, 1.4 * right), rise(middle, left, 1.4 * left)


_WEAK_PRESS, _DIMPLED, _BESIDE_SMILE = (0.25, 0.35), (0.05, 0.1), (0.1, 0.2)


def dimple_shares(press: float, dimples: tuple[float, float], smile: float) -> tuple[float, float]:
    """Shares of pressed lips (AU24) that are a dimple (AU14) of the right corner, of the left.

    A dimple moves landmarks as half a press does, and is three times as common (BP4D, Zhang et al. 2014: AU14
    in 47 % of the frames, AU24 in 15 %): what is weak, and dimples a little, is one. Not beside a smile,
    which draws the corners itself.

    Args:
        press, smile: Strengths of AU24 and of AU12.
        dimples: Strength of AU14, right and left.
    """
    doubtful = (1.0 - rise(press, *_WEAK_PRESS)) * (1.0 - rise(smile, *_BESIDE_SMILE))
    right, left = (doubtful * rise(dimple, *_DIMPLED) for dimple in dimples)
    return right, left


_PARTED_BY_LIPS = 0.3
"""Share of a parting that muscles of the lips explain which is AU25 beside their own units: FACS codes every
parting, but in a raised or lowered lip it is the lesser sign."""

_BY_LIPS_ALONE = (0.16, 0.26)
"""Gap, IOD, that muscles of the lips still open by themselves, and from which it is the jaw's doing."""


def jaw_opened(gap: float) -> float:
    """Whether lips are parted so far, IOD above neutral, that the jaw must have fallen, 0-1."""
    return rise(gap, *_BY_LIPS_ALONE)


def mouth_opening(gap: float, explained: float, jaw: float) -> tuple[float, float, float]:
    """Intensities of AU25, AU26 and AU27.

    Args:
        gap: Parting of the inner lips, IOD above neutral.
        explained: What muscles of the lips part them by, IOD.
        jaw: Fall of the jaw measured at the lower lip, IOD below neutral.
    """
    by_lips = _PARTED_BY_LIPS * rise(gap, *_PARTING)
    gap -= explained
    # A falling jaw parts the lips; where they tell of a longer fall than the chin, each is half believed.
    jaw = max(jaw, 0.5 * (jaw + min(gap, 2.0 * jaw)))
    parted = max(by_lips, rise(gap, *_PARTING)) * (1.0 - 0.65 * rise(jaw, 0.1, 0.18))
    stretched = rise(jaw, *_STRETCHING)
    dropped = rise(jaw, *_DROPPING) * (1.0 - 0.6 * stretched)
    return parted, dropped, stretched


def opening_errors(error: float) -> tuple[float, float, float]:
    """Standard errors of AU25, AU26 and AU27 from that of a coordinate of canthi and bridge, IOD."""
    gap = error * _LIP_JITTER * math.sqrt(2.0)
    jaw = error * _LIP_JITTER * _LIP_PER_CHIN  # the landmarks of the chin err together
    return (
        gap / (_PARTING[1] - _PARTING[0]),
        jaw / (_DROPPING[1] - _DROPPING[0]),
        jaw / (_STRETCHING[1] - _STRETCHING[0]),
    )
