"""What two action units write into the skin where no landmark can follow: crow's feet and nose wrinkles.

Raised cheeks (AU6) fold the skin beside the outer corner of the eye, a wrinkled nose (AU9) that on the sides
of the nose (FACS manual, chapters 3 and 4): edges that lie across the pull grow stronger. Their strength is
read from two patches a side, placed and turned by the landmarks, relative to the contrast of the whole face,
so that neither gain nor offset of the picture matters, and compared with the same person at rest.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processing.brows import BROW_TAILS, rise_of
from processing.eyelids import rise
from processing.muscle_fields import IRISES, LIPS
from processing.pose import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS

# Subject's right, then left: landmark, offset outward and down, half width and half height, all in IOD.
_CROW_FEET = ((33, 263), (0.13, 0.03), (0.07, 0.12))
_NOSE_SIDE = ((198, 420), (0.0, 0.0), (0.07, 0.10))

_SAMPLES = 16
"""Samples along each edge of a patch: about a pixel apart in a VGA picture of a seated person."""

_CONTRAST_POINTS = np.array(sorted(set(range(468)) - IRISES - LIPS), dtype=np.int64)

_ANCHORS = np.array([*_CROW_FEET[0], *_NOSE_SIDE[0]], dtype=np.int64)
_OFFSETS = np.array(
    [(sign * patch[1][0], patch[1][1]) for patch in (_CROW_FEET, _NOSE_SIDE) for sign in (-1.0, 1.0)]
)
_HALVES = np.array([patch[2] for patch in (_CROW_FEET, _NOSE_SIDE) for _ in range(2)])

_EYES = np.array([*RIGHT_EYE_CORNERS, *LEFT_EYE_CORNERS], dtype=np.int64)


@njit(cache=True, nogil=True)
def _edges(
    gray: NDArray[np.uint8],
    points: NDArray[np.float64],
    eyes: NDArray[np.int64],
    contrast_points: NDArray[np.int64],
    anchors: NDArray[np.int64],
    offsets: NDArray[np.float64],
    halves: NDArray[np.float64],
    samples: int,
    out: NDArray[np.float64],
) -> None:
    """Fills out [patches] with the logarithm of the edge strength; NaN where a patch leaves the picture."""
    height, width = gray.shape
    across_x = 0.5 * (points[eyes[2], 0] + points[eyes[3], 0] - points[eyes[0], 0] - points[eyes[1], 0])
    across_y = 0.5 * (points[eyes[2], 1] + points[eyes[3], 1] - points[eyes[0], 1] - points[eyes[1], 1])
    total, squares, count = 0.0, 0.0, 0
    for i in contrast_points:
        x, y = int(points[i, 0]), int(points[i, 1])
        if 0 <= x < width and 0 <= y < height:
            total += gray[y, x]
            squares += float(gray[y, x]) ** 2
            count += 1
    out[:] = np.nan
    if count < contrast_points.shape[0] // 2:
        return
    contrast = squares / count - (total / count) ** 2 + 1.0
    patch = np.empty((samples, samples))
    for p in range(anchors.shape[0]):
        centre_x = points[anchors[p], 0] + offsets[p, 0] * across_x - offsets[p, 1] * across_y
        centre_y = points[anchors[p], 1] + offsets[p, 0] * across_y + offsets[p, 1] * across_x
        inside = True
        for i in range(samples):
            down = (2.0 * i / (samples - 1) - 1.0) * halves[p, 1]
            for j in range(samples):
                out_ward = (2.0 * j / (samples - 1) - 1.0) * halves[p, 0]
                x = centre_x + out_ward * across_x - down * across_y
                y = centre_y + out_ward * across_y + down * across_x
                column, row = int(np.floor(x)), int(np.floor(y))
                if column < 0 or row < 0 or column >= width - 1 or row >= height - 1:
                    inside = False
                    continue
                fx, fy = x - column, y - row
                top = gray[row, column] * (1.0 - fx) + gray[row, column + 1] * fx
                bottom = gray[row + 1, column] * (1.0 - fx) + gray[row + 1, column + 1] * fx
                patch[i, j] = top * (1.0 - fy) + bottom * fy
        if not inside:
            continue
        # Smoothed along the wrinkle, differenced across it.
        energy = 0.0
        for j in range(1, samples - 1):
            for i in range(1, samples - 1):
                below = patch[i + 1, j - 1] + 2.0 * patch[i + 1, j] + patch[i + 1, j + 1]
                above = patch[i - 1, j - 1] + 2.0 * patch[i - 1, j] + patch[i - 1, j + 1]
                energy += (0.125 * (below - above)) ** 2
        out[p] = 0.5 * np.log(energy / (samples - 2) ** 2 / contrast + 1e-6)


def wrinkle_edges(gray: NDArray[np.uint8], points_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the strength of the edges across the pull, relative to the face's contrast.

    Args:
        gray: uint8 [height, width].
        points_px: [478, 3] landmarks in its pixels.

    Returns:
        [4]: beside the right eye, beside the left; right side of the nose, left. NaN outside the picture.
    """
    out = np.empty(len(_ANCHORS))
    _edges(gray, points_px, _EYES, _CONTRAST_POINTS, _ANCHORS, _OFFSETS, _HALVES, _SAMPLES, out)
    return out


_COVERING_IOD = (0.02, 0.05)
"""Movement of a brow's tail from which it makes edges of its own beside the eye, and all of them."""


def bared_crow_feet(displacement: NDArray[np.float64]) -> tuple[float, float]:
    """Share of the change beside the right eye, the left, that is the skin's and not the moving brow's.

    Args:
        displacement: Of the landmarks [478, 2], IOD.
    """
    right, left = (
        abs(rise_of(displacement, tail) + float(displacement[canthus, 1]))
        for tail, canthus in zip(BROW_TAILS, _CROW_FEET[0], strict=True)
    )
    return 1.0 - rise(right, *_COVERING_IOD), 1.0 - rise(left, *_COVERING_IOD)


class Wrinkles:
    """Compares wrinkle edges with those of the same face at rest; causal."""

    _MEMORY_S = 20.0
    _LEAST_FRAMES = 5
    _DOUBT = 2.0
    """Standard deviations at rest that a change has to exceed before it counts."""

    def __init__(self) -> None:
        self._mean = np.zeros(len(_ANCHORS))
        self._variance = np.zeros(len(_ANCHORS))
        self._frames = 0
        self._time_s = math.nan

    def update(self, edges: NDArray[np.float64], resting: bool, time_s: float) -> list[float]:
        """Growth [4] of the edges since rest, natural logarithm, what may be noise taken off.

        Args:
            edges: From `wrinkle_edges`.
            resting: The face is near its neutral: learn from this frame.
            time_s: Its stamp.
        """
        step_s = time_s - self._time_s if time_s > self._time_s else 0.0
        self._time_s = time_s
        if not np.isfinite(edges).all():
            return [0.0] * len(edges)
        growth = edges - self._mean
        doubt = self._DOUBT * np.sqrt(self._variance)
        known = self._frames >= self._LEAST_FRAMES
        if resting:
            self._frames += 1
            share = max(1.0 / self._frames, min(1.0, step_s / self._MEMORY_S))
            self._variance += share * (growth * growth * (1.0 - share) - self._variance)
            self._mean += share * growth
        if not known:
            return [0.0] * len(edges)
        found: list[float] = (np.sign(growth) * np.maximum(np.abs(growth) - doubt, 0.0)).tolist()
        return found
