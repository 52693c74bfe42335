"""What landmarks tell beside the skin's motion: eye distance, the face's axes, gaze, open lids and lips."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from acquisition.stream import Block, Channel
from processing.motion_regions import EYE_LEFT, EYE_RIGHT, IOD_REFERENCE_PX

F64 = NDArray[np.float64]

_RIGHT_OUTER, _RIGHT_INNER = EYE_RIGHT
_LEFT_OUTER, _LEFT_INNER = EYE_LEFT
_IRIS_RIGHT, _IRIS_LEFT = 468, 473
_LID_RIGHT, _LID_LEFT, _LIPS = (159, 145), (386, 374), (13, 14)

CONTEXT_CHANNELS = (
    Channel("gaze_dx", "pixels", "Motion"),
    Channel("gaze_dy", "pixels", "Motion"),
    Channel("lid_gap_right", "pixels", "Motion"),
    Channel("lid_gap_left", "pixels", "Motion"),
    Channel("lip_gap", "pixels", "Motion"),
    Channel("head_dx", "pixels", "Motion"),
    Channel("head_dy", "pixels", "Motion"),
    Channel("brightness", "normalized", "Motion"),
    Channel("rigid_residual_px", "pixels", "Motion"),
    Channel("head_speed", "pixels/s", "Motion"),
    Channel("quality", "normalized", "Motion"),
)
"""What else happened in the frame: iris against the eye corners, gaps between lids and lips (from
landmarks), the head's position since tracking began, mean grey level 0-1, and how far the rows are to be
trusted."""

MOST_MISFIT_PX = 0.33
FASTEST_HEAD_PX_S = 25.0
"""Beyond this misfit of the rigid head, or this speed of it (px and px/s at IOD 100), what a region did
cannot be told from what the head did."""


def usable(motion: Block) -> NDArray[np.bool_]:
    """In which rows [n] of a FaceMotion block small movements of the skin can be told at all."""
    misfit_px, speed = motion.column("rigid_residual_px"), motion.column("head_speed")
    return np.asarray((misfit_px < MOST_MISFIT_PX) & (speed < FASTEST_HEAD_PX_S))


@njit(cache=True, nogil=True)
def eye_distance_px(points: F64) -> float:
    """Distance between the eyes' centres, in space, so that a turned head does not look smaller."""
    square = 0.0
    for axis in range(3):
        right = 0.5 * (points[_RIGHT_OUTER, axis] + points[_RIGHT_INNER, axis])
        left = 0.5 * (points[_LEFT_OUTER, axis] + points[_LEFT_INNER, axis])
        square += (left - right) ** 2
    return float(np.sqrt(square))


@njit(cache=True, nogil=True)
def eye_line(points: F64) -> tuple[float, float]:
    """Direction (cos, sin) in the picture from the right eye to the left: the face's x axis."""
    x = points[_LEFT_OUTER, 0] + points[_LEFT_INNER, 0] - points[_RIGHT_OUTER, 0] - points[_RIGHT_INNER, 0]
    y = points[_LEFT_OUTER, 1] + points[_LEFT_INNER, 1] - points[_RIGHT_OUTER, 1] - points[_RIGHT_INNER, 1]
    length = max(np.sqrt(x * x + y * y), 1e-9)
    return x / length, y / length


@njit(cache=True, nogil=True)
def eye_context_px(points: F64) -> tuple[float, float, float, float, float]:
    """Gaze x and y, lid gap right and left, lip gap; px at IOD 100, from landmarks [478, 3] alone."""
    scale = IOD_REFERENCE_PX / eye_distance_px(points)
    cos, sin = eye_line(points)
    gaze_x = 0.0
    gaze_y = 0.0
    for iris, outer, inner in (
        (_IRIS_RIGHT, _RIGHT_OUTER, _RIGHT_INNER),
        (_IRIS_LEFT, _LEFT_OUTER, _LEFT_INNER),
    ):
        x = points[iris, 0] - 0.5 * (points[outer, 0] + points[inner, 0])
        y = points[iris, 1] - 0.5 * (points[outer, 1] + points[inner, 1])
        gaze_x += 0.5 * scale * (cos * x + sin * y)
        gaze_y += 0.5 * scale * (cos * y - sin * x)
    return (
        gaze_x,
        gaze_y,
        scale * _gap(points, _LID_RIGHT, cos, sin),
        scale * _gap(points, _LID_LEFT, cos, sin),
        scale * _gap(points, _LIPS, cos, sin),
    )


@njit(cache=True, nogil=True)
def _gap(points: F64, pair: tuple[int, int], cos: float, sin: float) -> float:
    """How far the second landmark lies below the first, px along the face's y axis."""
    x = points[pair[1], 0] - points[pair[0], 0]
    y = points[pair[1], 1] - points[pair[0], 1]
    return float(cos * y - sin * x)
