"""Local registration: a small shift of each region on top of the face's own motion.

Skin slides over the face when a muscle works, and no mesh fits a face exactly. Each region is therefore
shifted to where its surroundings match the keyframe best, held back by a prior around no shift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from processing.thermal_kernels import bilinear, is_inside
from processing.thermal_regions import REGIONS

_RADIUS = 0.25
"""Radius of a region's surroundings over the distance of the outer eye corners."""

_MISFIT_CELSIUS = 0.05
# Strict, with few steps: generous limits take the warming of the neighbour for motion. On simulated faces a
# prior of .2 px doubles the error beside a nose that cools, .07 px that of the brows of a head that turns.
_OUTLIER_CELSIUS = 0.04
_PRIOR_PX = 0.12

_MOBILE = MappingProxyType({"chin": (0.04, 0.15)})
"""What speech moves: the shift to be expected, as a share of the eye distance, and the misfit still counted,
degC. Takes a third off the noise of the chin on films of faces that move as a talking person's did. (The
lip's region would gain as much, but loses 15 mK to a nose that cools beside it.)"""

_EXPLAINED = 0.6
"""A mobile region's shift has to take away that share of the misfit of no shift: a patch that warms draws
the region along as well, but stays where it is and leaves most of the misfit."""

TURN_SHARE = 0.08
"""The more a head has turned since the keyframe, the worse any mesh's relief fits: the prior widens by this
share of the eye distance per unit of parallax. It takes a tenth off the error of turning heads."""

_MAX_SHIFT_SHARE = 0.1
"""Of the eye distance."""

_ITERATIONS = 4
_MANY_POINTS = 150


_MOBILITY_SHARE = np.array([_MOBILE.get(region, (0.0, 0.0))[0] for region in REGIONS])
_OUTLIERS_CELSIUS = np.array([_MOBILE.get(region, (0.0, _OUTLIER_CELSIUS))[1] for region in REGIONS])


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Sample points around each region on the keyframe, in pixels of its (reduced) band-passed picture.

    Attributes:
        points_px: float64 [n, 2]; starts: int64 [regions + 1], as in `RegionSamples`.
        weights: float64 [n], falling off from the region's centre.
        values: float64 [n], band-passed temperature there.
        gradients: float64 [n, 2], of it, degC per px.
        depths_px: float64 [n], see `processing.thermal_alignment.Template`.
        eye_distance_px: Distance of the outer eye corners.
    """

    points_px: NDArray[np.float64]
    starts: NDArray[np.int64]
    weights: NDArray[np.float64]
    values: NDArray[np.float64]
    gradients: NDArray[np.float64]
    depths_px: NDArray[np.float64]
    eye_distance_px: float


def surroundings(
    band: NDArray[np.float32],
    depth_px: NDArray[np.float64],
    centres_px: NDArray[np.float64],
    eye_distance_px: float,
) -> Surroundings:
    """Prepare the local registration.

    Args:
        band: Band-passed keyframe [height, width].
        depth_px: Of the skin, the same size.
        centres_px: [regions, 2], NaN for a region outside the picture.
        eye_distance_px: Distance of the outer eye corners.
    """
    down, across = np.gradient(cv2.GaussianBlur(band, (3, 3), 0.5))
    slope_y, slope_x = np.asarray(down, dtype=np.float64), np.asarray(across, dtype=np.float64)
    radius = max(4.0, _RADIUS * eye_distance_px)
    height, width = band.shape
    parts: list[NDArray[np.float64]] = []
    starts = [0]
    for x, y in centres_px:
        if np.isfinite(x) and np.isfinite(y):
            columns = np.arange(max(1, int(x - radius)), min(width - 1, int(x + radius) + 2))
            rows = np.arange(max(1, int(y - radius)), min(height - 1, int(y + radius) + 2))
            u, v = (grid.ravel() for grid in np.meshgrid(columns, rows))
            fall = np.exp(-0.5 * ((u - x) ** 2 + (v - y) ** 2) / (0.6 * radius) ** 2)
            near = (u - x) ** 2 + (v - y) ** 2 <= radius**2
            if near.sum() > _MANY_POINTS:
                near &= (u + v) % 2 == 0
            parts.append(
                np.column_stack(
                    [u, v, fall, band[v, u], slope_x[v, u], slope_y[v, u], depth_px[v, u]],
                )[near].astype(np.float64)
            )
        starts.append(sum(len(part) for part in parts))
    table = np.concatenate(parts) if parts else np.empty((0, 7))
    return Surroundings(
        np.ascontiguousarray(table[:, :2]),
        np.array(starts, dtype=np.int64),
        np.ascontiguousarray(table[:, 2]),
        np.ascontiguousarray(table[:, 3]),
        np.ascontiguousarray(table[:, 4:6]),
        np.ascontiguousarray(table[:, 6]),
        eye_distance_px,
    )


def local_shifts(
    around: Surroundings,
    band: NDArray[np.float32],
    warp: NDArray[np.float64],
    parallax: NDArray[np.float64],
    shifts: NDArray[np.float64],
) -> None:
    """Find the shift of each region, in keyframe pixels, before the warp is applied.

    Args:
        around: Of the keyframe.
        band: Band-passed frame.
        warp, parallax: See `processing.thermal_alignment.Placement`.
        shifts: Result [regions, 2].
    """
    turn_share = TURN_SHARE * math.hypot(*parallax.tolist())
    expected_px = np.hypot(_PRIOR_PX, around.eye_distance_px * np.hypot(turn_share, _MOBILITY_SHARE))
    _local_shifts(
        around.points_px,
        around.starts,
        around.weights,
        around.values,
        around.gradients,
        around.depths_px,
        band,
        np.ascontiguousarray(warp),
        parallax,
        (_MISFIT_CELSIUS / expected_px) ** 2,
        _OUTLIERS_CELSIUS,
        _MOBILITY_SHARE > 0.0,
        _MAX_SHIFT_SHARE * around.eye_distance_px,
        shifts,
    )


@njit(cache=True, nogil=True)
def _local_shifts(
    points: NDArray[np.float64],
    starts: NDArray[np.int64],
    weights: NDArray[np.float64],
    values: NDArray[np.float64],
    gradients: NDArray[np.float64],
    depths: NDArray[np.float64],
    band: NDArray[np.float32],
    warp: NDArray[np.float64],
    parallax: NDArray[np.float64],
    priors: NDArray[np.float64],
    outliers: NDArray[np.float64],
    mobile: NDArray[np.bool_],
    limit_px: float,
    shifts: NDArray[np.float64],
) -> None:
    """Gauss-Newton steps (inverse compositional, offset removed) with a Gaussian prior around no shift."""
    height, width = band.shape
    for region in range(len(starts) - 1):
        dx = 0.0
        dy = 0.0
        offset = 0.0
        prior = priors[region]
        for _ in range(_ITERATIONS):
            sw = se = sgx = sgy = 0.0
            hxx = hxy = hyy = bx = by = 0.0
            for i in range(starts[region], starts[region + 1]):
                px = points[i, 0] + dx + depths[i] * parallax[0]
                py = points[i, 1] + dy + depths[i] * parallax[1]
                x = warp[0, 0] * px + warp[0, 1] * py + warp[0, 2]
                y = warp[1, 0] * px + warp[1, 1] * py + warp[1, 2]
                if not is_inside(height, width, x, y):
                    continue
                error = values[i] - bilinear(band, x, y)
                gx = gradients[i, 0]
                gy = gradients[i, 1]
                # What warmed or cooled beside the region is no motion: misfits far above noise count little.
                surprise = (error - offset) / outliers[region]
                w = weights[i] / (1.0 + surprise * surprise)
                sw += w
                se += w * error
                sgx += w * gx
                sgy += w * gy
                hxx += w * gx * gx
                hxy += w * gx * gy
                hyy += w * gy * gy
                bx += w * gx * error
                by += w * gy * error
            if sw <= 0.0:
                break
            offset = se / sw
            # Without the mean: a region that warms as a whole has not moved.
            hxx += prior - sgx * sgx / sw
            hxy -= sgx * sgy / sw
            hyy += prior - sgy * sgy / sw
            bx += -sgx * se / sw - prior * dx
            by += -sgy * se / sw - prior * dy
            determinant = hxx * hyy - hxy * hxy
            if determinant <= 0.0:
                break
            dx = min(max(dx + (hyy * bx - hxy * by) / determinant, -limit_px), limit_px)
            dy = min(max(dy + (hxx * by - hxy * bx) / determinant, -limit_px), limit_px)
        if mobile[region]:
            piece = slice(starts[region], starts[region + 1])
            points_of, around = points[piece], (weights[piece], values[piece], depths[piece])
            moved = _misfit(points_of, around, band, warp, parallax, dx, dy)
            if moved > (1.0 - _EXPLAINED) * _misfit(points_of, around, band, warp, parallax, 0.0, 0.0):
                dx = dy = 0.0
        shifts[region, 0] = dx
        shifts[region, 1] = dy


@njit(cache=True, nogil=True)
def _misfit(
    points: NDArray[np.float64],
    around: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    band: NDArray[np.float32],
    warp: NDArray[np.float64],
    parallax: NDArray[np.float64],
    dx: float,
    dy: float,
) -> float:
    """Weighted variance of the differences to the keyframe (`around`: weights, values, depths) at a shift."""
    height, width = band.shape
    weights, values, depths = around
    sw = se = see = 0.0
    for i in range(len(weights)):
        px = points[i, 0] + dx + depths[i] * parallax[0]
        py = points[i, 1] + dy + depths[i] * parallax[1]
        x = warp[0, 0] * px + warp[0, 1] * py + warp[0, 2]
        y = warp[1, 0] * px + warp[1, 1] * py + warp[1, 2]
        if is_inside(height, width, x, y):
            error = values[i] - bilinear(band, x, y)
            sw += weights[i]
            se += weights[i] * error
            see += weights[i] * error * error
    return see / sw - (se / sw) ** 2 if sw > 0.0 else 0.0
