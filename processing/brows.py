"""Brows and the nose between them: how far they rise, and which action units that speaks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processing.eyelids import rise

_BROWS = ((107, 55, 105, 52), (336, 285, 334, 282))
"""Inner and middle brow above each eye, in the order of `SIDES`."""


def brow_rises(displacement: NDArray[np.float64]) -> tuple[float, float]:
    """Rise of the brow above each eye, IOD, from the landmarks' displacement [478, 2]; 0 where it falls."""
    right, left = (rise_of(displacement, brow) for brow in _BROWS)
    return max(0.0, right), max(0.0, left)


def rise_of(displacement: NDArray[np.float64], points: tuple[int, ...]) -> float:
    """Mean rise of some landmarks, IOD, from the displacement of all [478, 2]; negative where they fall."""
    return -sum(float(displacement[i, 1]) for i in points) / len(points)


_BROW_HEADS, BROW_TAILS = ((107, 55), (336, 285)), ((70, 46), (300, 276))
_WIDENED = (0.015, 0.023)
"""Rise of a brow's tail, IOD, that widening the eye (AU5) explains, and from which it does not any more."""

_HEAD_FULL, _TAIL_FULL, _TAIL_PER_HEAD = 0.058, 0.016, 0.4
"""Rise of the head at full AU1; of the tail, beyond its share of that, at full AU2."""


def raised_brows(displacement: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    """AU1 and AU2 of each eye, 0-1, as the brow alone shows them once it rises too far for widened eyes.

    Widening the eye moves the brow a little on some faces, and then takes brows that are raised for its own.

    Args:
        displacement: Of the landmarks [478, 2], IOD.
    """
    right, left = (
        _raised(rise_of(displacement, head), rise_of(displacement, tail))
        for head, tail in zip(_BROW_HEADS, BROW_TAILS, strict=True)
    )
    return right, left


def _raised(head: float, tail: float) -> tuple[float, float]:
    share = rise(tail, *_WIDENED)
    return share * rise(head, 0.0, _HEAD_FULL), share * rise(tail - _TAIL_PER_HEAD * head, 0.0, _TAIL_FULL)


_NOSE_WINGS = ((48, 64), (278, 294))


def nose_rises(displacement: NDArray[np.float64]) -> tuple[float, float]:
    """Rise of the wings of the nose, right and left, IOD, from the displacement [478, 2]."""
    right, left = (rise_of(displacement, wing) for wing in _NOSE_WINGS)
    return right, left
