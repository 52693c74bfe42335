"""Eyelids: how far each eye is closed, and whether that is a blink, a closing or a tightening of the lids.

Heights are measured at the lid margins, in widths of the eye, so that no lid's shape has to be modelled.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

SIDES = ("right", "left")
"""Order of the eyes in `lid_heights`: the subject's own right, then left."""

_UPPER_LIDS = np.array([[160, 159, 158], [387, 386, 385]])
_LOWER_LIDS = np.array([[144, 145, 153], [373, 374, 380]])
_CORNERS = np.array([[33, 133], [263, 362]])
"""Outer and inner canthus of each eye."""

_CLOSED_SHARE = 0.2
"""Share of the neutral lid gap that MediaPipe still reports for a closed eye."""

_BLINK_SPEED = 6.0
"""Closures per second above which lids blink: a blink closes in about 100 ms, a squint does not."""

_BLINK_LONGEST_S = 0.5
"""A closure that lasts longer is AU43 however it began."""


def rise(value: float, start: float, end: float) -> float:
    """0 up to `start`, 1 from `end`, a line between."""
    if not value > start:  # NaN rises nowhere.
        return 0.0
    return 1.0 if value >= end else (value - start) / (end - start)


@njit(cache=True, nogil=True)
def _heights(
    points: NDArray[np.float64],
    corners: NDArray[np.int64],
    upper: NDArray[np.int64],
    lower: NDArray[np.int64],
) -> tuple[float, float, float, float]:
    found = np.zeros(4)
    for eye in range(2):
        outer, inner = points[corners[eye, 0]], points[corners[eye, 1]]
        dx, dy = inner[0] - outer[0], inner[1] - outer[1]
        sign = 1.0 if dx > 0.0 else -1.0
        per_squared = sign / (dx * dx + dy * dy)
        for k in range(3):
            u, w = points[upper[eye, k]], points[lower[eye, k]]
            found[2 * eye] += ((u[0] - outer[0]) * dy - (u[1] - outer[1]) * dx) * per_squared / 3.0
            found[2 * eye + 1] += ((w[0] - outer[0]) * dy - (w[1] - outer[1]) * dx) * per_squared / 3.0
    return found[0], found[1], found[2], found[3]


def lid_heights(points: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Height of the lid margins above the line between the eye's corners, in eye widths.

    Args:
        points: [478, 3] in face coordinates.

    Returns:
        (upper, lower) lid of the subject's right eye, then of the left.
    """
    a, b, c, d = _heights(points, _CORNERS, _UPPER_LIDS, _LOWER_LIDS)
    return (a, b), (c, d)


def lid_closure(lids: tuple[float, float], rest: tuple[float, float]) -> float:
    """Closure 0-1 of one eye against its lids at rest."""
    gap = max(rest[0] - rest[1], 1e-3)
    return min(1.0, max(0.0, (1.0 - (lids[0] - lids[1]) / gap) / (1.0 - _CLOSED_SHARE)))


def lid_gap(points: NDArray[np.float64], lids: tuple[tuple[float, float], tuple[float, float]]) -> float:
    """Mean gap between the lid margins of a face [478, 3], in the unit of its coordinates."""
    total = 0.0
    for (upper, lower), (outer, inner) in zip(lids, _CORNERS.tolist(), strict=True):
        across = math.hypot(*(points[inner, :2] - points[outer, :2]).tolist())
        total += 0.5 * (upper - lower) * across
    return max(total, 1e-3)


_LID_JITTER = 1.15
"""How much more the mean gap of three pairs of lid landmarks trembles than one coordinate of the canthi."""


def closure_error(error: float, gap: float) -> float:
    """Standard error of `lid_closure` from that of a coordinate of canthi and bridge, and the gap at rest."""
    return error * _LID_JITTER / (gap * (1.0 - _CLOSED_SHARE))


def lid_tightening_error(error: float, gap: float) -> float:
    """Standard error of `lid_tightening`, while it is neither nought nor full."""
    return closure_error(error, gap) / (_TIGHT - _SLACK)


_SLACK, _TIGHT = 0.03, 0.33
"""Closure at which AU7 begins and is full."""

_CLOSING = (0.12, 0.25)
"""Closure by the upper lid alone from which AU7 gives way to closing, and by which it has."""


def lid_tightening(lids: tuple[float, float], rest: tuple[float, float]) -> float:
    """AU7 of one eye, 0-1.

    Lids tighten by the lower lid's rise as well; when gaze falls, the upper lid falls alone. What falls far
    is an eye that closes.
    """
    risen, fallen = max(0.0, lids[1] - rest[1]), max(0.0, rest[0] - lids[0])
    shared = rise(risen / max(risen + fallen, 1e-6), 0.1, 0.35)
    closing = rise(lid_closure((rest[0] - fallen, rest[1]), rest), *_CLOSING)
    return rise(lid_closure(lids, rest), _SLACK, _TIGHT) * (1.0 - closing) * shared


_LID_PER_BROW = 0.15
"""Rise of an upper lid's margin, in widths of the eye, that a brow raised by an IOD takes along."""


def lid_opening(lids: tuple[float, float], rest: tuple[float, float], brow_rise: float) -> float:
    """Whether the eye is open wider than at rest, 0-1: without that there is no AU5.

    Landmarks put part of the widening below: the lower lid seems to fall.

    Args:
        lids: Heights of the eye's lids now, see `lid_heights`.
        rest: At rest.
        brow_rise: Of the brow above, see `processing.brows.brow_rises`: it lifts the lid a little without any
            AU5.
    """
    raised = lids[0] - rest[0] - _LID_PER_BROW * brow_rise
    return rise(raised + max(0.0, rest[1] - lids[1]), 0.005, 0.05)


class Blinking:
    """Tells a blink from a slow closing by its speed and duration; one per eye."""

    def __init__(self) -> None:
        self._closure = 0.0
        self._time_s = math.nan
        self._since_s = math.nan

    def update(self, closure: float, time_s: float) -> bool:
        """Take the closure of one frame in; True while a blink lasts."""
        step_s = time_s - self._time_s
        if step_s > 0.0 and (closure - self._closure) / step_s > _BLINK_SPEED and math.isnan(self._since_s):
            self._since_s = self._time_s
        if closure < 0.1 or time_s - self._since_s > _BLINK_LONGEST_S:
            self._since_s = math.nan
        self._closure, self._time_s = closure, time_s
        return not math.isnan(self._since_s)
