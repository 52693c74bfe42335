"""Numba kernels that follow small windows from a keyframe: Lucas-Kanade translation of each.

Inverse-compositional Lucas-Kanade (Baker & Matthews 2004, Int. J. Comput. Vis. 56) of one translation per
window. Gain and bias are projected out of the steepest-descent images, so that a change of light moves
nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

LARGEST_HALF_PX = 31
_SMALLEST_HALF_PX = 4
_MAX_PIXELS = (2 * LARGEST_HALF_PX + 1) ** 2

MAX_ITERATIONS = 12
CONVERGED_PX = 0.006
MAX_STEP_PX = 2.5
LEARNING_STEP_PX = 0.02
MOST_RELAXATION = 1.6


class Windows(NamedTuple):
    """R windows and what is known of each.

    Attributes:
        centers: Template centres in the keyframe (x, y), whole px [R, 2].
        halves: Half windows, px [R, 2].
        templates: The windows less their means, row by row [R, pixels].
        gradients_x, gradients_y: Their gradients less the projections on the constant and on the window.
        hessians: sum gx^2, sum gx*gy, sum gy^2, sum template^2 [R, 4].
        relaxation: Factor on each step [R]. Noise makes a template's gradients look steeper than the
            picture is, hence steps too short; by how much shows in how they shrink.
        valid: False for windows that left the keyframe [R].
        displacement: Since the keyframe, px [R, 2].
        correlation: Zero-mean normalised correlation with the template [R]; 0 where tracking failed.
        scratch: One window's pixels.
    """

    centers: F64
    halves: I64
    templates: F32
    gradients_x: F32
    gradients_y: F32
    hessians: F64
    relaxation: F64
    valid: NDArray[np.bool_]
    displacement: F64
    correlation: F64
    scratch: F32


def new_windows(count: int) -> Windows:
    """Room for `count` windows."""
    return Windows(
        centers=np.zeros((count, 2)),
        halves=np.zeros((count, 2), np.int64),
        templates=np.zeros((count, _MAX_PIXELS), np.float32),
        gradients_x=np.zeros((count, _MAX_PIXELS), np.float32),
        gradients_y=np.zeros((count, _MAX_PIXELS), np.float32),
        hessians=np.zeros((count, 4)),
        relaxation=np.ones(count),
        valid=np.zeros(count, np.bool_),
        displacement=np.zeros((count, 2)),
        correlation=np.zeros(count),
        scratch=np.zeros(_MAX_PIXELS, np.float32),
    )


@njit(cache=True, nogil=True)
def span_around(places: F64, margin: int, size: int) -> tuple[int, int]:
    """First and end of the pixels of a picture's edge around some places [n], never fewer than 8.

    Args:
        places: Along the edge, px.
        margin: How far to reach beyond them, px.
        size: Length of the edge, px.
    """
    first = min(max(int(np.floor(places.min())) - margin, 0), max(size - 8, 0))
    end = min(max(int(np.ceil(places.max())) + margin, first + 8), max(size, 8))
    return first, end


@njit(cache=True, nogil=True)
def cut_windows(image: F32, origin: F64, nominal_px: F64, size: float, windows: Windows) -> None:
    """Cut every window out of a keyframe, at rest around `windows.centers`.

    Args:
        image: Smoothed grey levels [h, w].
        origin: Its upper left corner in the pixels of the centres.
        nominal_px: Half windows at the reference size [R, 2].
        size: Of the face, relative to the reference.
        windows: Filled.
    """
    height, width = image.shape
    for r in range(windows.centers.shape[0]):
        half_x = min(max(int(np.rint(nominal_px[r, 0] * size)), _SMALLEST_HALF_PX), LARGEST_HALF_PX)
        half_y = min(max(int(np.rint(nominal_px[r, 1] * size)), _SMALLEST_HALF_PX), LARGEST_HALF_PX)
        windows.halves[r, 0] = half_x
        windows.halves[r, 1] = half_y
        windows.displacement[r, 0] = 0.0
        windows.displacement[r, 1] = 0.0
        windows.correlation[r] = 1.0
        windows.relaxation[r] = 1.0
        cx = int(windows.centers[r, 0] - origin[0])
        cy = int(windows.centers[r, 1] - origin[1])
        windows.valid[r] = (
            cx - half_x >= 2 and cy - half_y >= 2 and cx + half_x <= width - 3 and cy + half_y <= height - 3
        )
        if windows.valid[r]:
            _make_template(
                image,
                cx,
                cy,
                half_x,
                half_y,
                windows.templates[r],
                windows.gradients_x[r],
                windows.gradients_y[r],
                windows.hessians[r],
            )


@njit(cache=True, nogil=True)
def _make_template(
    image: F32,
    cx: int,
    cy: int,
    half_x: int,
    half_y: int,
    template: F32,
    gradient_x: F32,
    gradient_y: F32,
    hessian: F64,
) -> None:
    """One window's template, steepest-descent images and Hessian."""
    n = 0
    mean = 0.0
    mean_x = 0.0
    mean_y = 0.0
    for y in range(cy - half_y, cy + half_y + 1):
        for x in range(cx - half_x, cx + half_x + 1):
            template[n] = image[y, x]
            # Five-point derivative (-1 8 0 -8 1) / 12: its error is far below that of a central difference.
            gradient_x[n] = (
                8.0 * (image[y, x + 1] - image[y, x - 1]) - (image[y, x + 2] - image[y, x - 2])
            ) / 12.0
            gradient_y[n] = (
                8.0 * (image[y + 1, x] - image[y - 1, x]) - (image[y + 2, x] - image[y - 2, x])
            ) / 12.0
            mean += template[n]
            mean_x += gradient_x[n]
            mean_y += gradient_y[n]
            n += 1
    mean /= n
    mean_x /= n
    mean_y /= n
    energy = 1e-6
    dot_x = 0.0
    dot_y = 0.0
    for k in range(n):
        template[k] -= mean
        gradient_x[k] -= mean_x
        gradient_y[k] -= mean_y
        energy += template[k] * template[k]
        dot_x += template[k] * gradient_x[k]
        dot_y += template[k] * gradient_y[k]
    hxx = 0.0
    hxy = 0.0
    hyy = 0.0
    for k in range(n):
        gradient_x[k] -= template[k] * dot_x / energy
        gradient_y[k] -= template[k] * dot_y / energy
        hxx += gradient_x[k] * gradient_x[k]
        hxy += gradient_x[k] * gradient_y[k]
        hyy += gradient_y[k] * gradient_y[k]
    hessian[0] = hxx
    hessian[1] = hxy
    hessian[2] = hyy
    hessian[3] = energy


@njit(cache=True, nogil=True)
def track_windows(image: F32, origin: F64, windows: Windows) -> None:
    """Find each window's template in a picture.

    Args:
        image: Smoothed grey levels [h, w].
        origin: Its upper left corner in the pixels of the centres.
        windows: `displacement` in: where to start, out: where it is, unchanged where tracking failed;
            `correlation` and `relaxation` are updated.
    """
    height, width = image.shape
    scratch = windows.scratch
    for r in range(windows.centers.shape[0]):
        windows.correlation[r] = 0.0
        if not windows.valid[r]:
            continue
        half_x = windows.halves[r, 0]
        half_y = windows.halves[r, 1]
        columns = 2 * half_x + 1
        rows = 2 * half_y + 1
        template = windows.templates[r]
        gradient_x = windows.gradients_x[r]
        gradient_y = windows.gradients_y[r]
        hxx, hxy, hyy = windows.hessians[r, 0], windows.hessians[r, 1], windows.hessians[r, 2]
        energy = windows.hessians[r, 3]
        # Damping only slows the direction along an edge, where the answer is noise; it does not bias it.
        damping = 0.002 * (hxx + hyy) + 1.0
        determinant = (hxx + damping) * (hyy + damping) - hxy * hxy
        left = windows.centers[r, 0] - origin[0] - half_x
        top = windows.centers[r, 1] - origin[1] - half_y
        px = windows.displacement[r, 0]
        py = windows.displacement[r, 1]
        ok = True
        found = 0.0
        last_x = 0.0
        last_y = 0.0
        for _ in range(MAX_ITERATIONS):
            ix = int(np.floor(left + px))
            iy = int(np.floor(top + py))
            if ix < 0 or iy < 0 or ix + columns + 1 > width or iy + rows + 1 > height:
                ok = False
                break
            n = _interpolate(image, ix, iy, left + px - ix, top + py - iy, rows, columns, scratch)
            total = 0.0
            square = 0.0
            along = 0.0
            bx = 0.0
            by = 0.0
            # About the first pixel, so that the sums keep their digits.
            first = scratch[0]
            for k in range(n):
                value = np.float64(scratch[k] - first)
                total += value
                square += value * value
                along += value * template[k]
                bx += value * gradient_x[k]
                by += value * gradient_y[k]
            gain = along / energy
            spread = square - total * total / n
            found = along / np.sqrt(max(spread, 1e-6) * energy)
            if found < 0.2:
                ok = False
                break
            bx /= gain
            by /= gain
            step_x = ((hyy + damping) * bx - hxy * by) / determinant
            step_y = ((hxx + damping) * by - hxy * bx) / determinant
            before = last_x * last_x + last_y * last_y
            if before > LEARNING_STEP_PX * LEARNING_STEP_PX:
                left_over = (step_x * last_x + step_y * last_y) / before
                better = windows.relaxation[r] / max(1.0 - left_over, 0.3)
                windows.relaxation[r] = min(max(better, 1.0), MOST_RELAXATION)
            last_x = step_x
            last_y = step_y
            step_x *= windows.relaxation[r]
            step_y *= windows.relaxation[r]
            length = np.sqrt(step_x * step_x + step_y * step_y)
            if length > MAX_STEP_PX:
                step_x *= MAX_STEP_PX / length
                step_y *= MAX_STEP_PX / length
                last_x = 0.0
                last_y = 0.0
            px -= step_x
            py -= step_y
            if length < CONVERGED_PX:
                break
        if ok:
            windows.displacement[r, 0] = px
            windows.displacement[r, 1] = py
            windows.correlation[r] = found


@njit(cache=True, nogil=True)
def _interpolate(
    image: F32, ix: int, iy: int, share_x: float, share_y: float, rows: int, columns: int, out: F32
) -> int:
    """Bilinear values of a window whose corner lies `share_x`, `share_y` beyond pixel (ix, iy)."""
    fx = np.float32(share_x)
    fy = np.float32(share_y)
    one = np.float32(1.0)
    w00 = (one - fx) * (one - fy)
    w01 = fx * (one - fy)
    w10 = (one - fx) * fy
    w11 = fx * fy
    n = 0
    for y in range(rows):
        # Slices have no negative indices to provide for, so that the inner loop becomes vector code.
        upper = image[iy + y, ix : ix + columns + 1]
        lower = image[iy + y + 1, ix : ix + columns + 1]
        row = out[n : n + columns]
        for x in range(columns):
            row[x] = w00 * upper[x] + w01 * upper[x + 1] + w10 * lower[x] + w11 * lower[x + 1]
        n += columns
    return n
