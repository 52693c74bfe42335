"""Numba kernels of region motion: Lucas-Kanade translation per window, robust rigid head motion.

Inverse-compositional Lucas-Kanade (Baker & Matthews 2004, Int. J. Comput. Vis. 56) of one translation per
window. Gain and bias are projected out of the steepest-descent images, so that a change of light moves
nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

MAX_WINDOW_PIXELS = 4096
"""Capacity of a template; a window of 2 * half + 1 px each way must fit."""

MAX_ITERATIONS = 12
CONVERGED_PX = 0.003
MAX_STEP_PX = 2.5


@njit(cache=True, nogil=True)
def make_template(
    image: F32,
    center_x: float,
    center_y: float,
    half_x: int,
    half_y: int,
    template: F32,
    gradient_x: F32,
    gradient_y: F32,
    hessian: F64,
) -> bool:
    """Cut one window and prepare its steepest-descent images; False when it leaves the image.

    Args:
        image: Smoothed grey levels [h, w].
        center_x, center_y: Window centre, whole pixels.
        half_x, half_y: Half the window, px.
        template, gradient_x, gradient_y: Outputs [MAX_WINDOW_PIXELS]: the window less its mean, and its
            gradients less their projections on the constant and on the window.
        hessian: Output [4]: sum gx^2, sum gx*gy, sum gy^2, sum template^2.
    """
    height, width = image.shape
    cx = int(center_x)
    cy = int(center_y)
    if cx - half_x < 2 or cy - half_y < 2 or cx + half_x > width - 3 or cy + half_y > height - 3:
        return False
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
    return True


@njit(cache=True, nogil=True)
def track_windows(
    image: F32,
    centers: F64,
    halves: I64,
    templates: F32,
    gradients_x: F32,
    gradients_y: F32,
    hessians: F64,
    valid: NDArray[np.bool_],
    displacement: F64,
    correlation: F64,
    gain: F64,
    scratch: F32,
) -> None:
    """Find each window's template in `image`.

    Args:
        image: Smoothed grey levels [h, w].
        centers: Template centres [R, 2] (x, y) in this image's pixels.
        halves: Half windows [R, 2], px.
        templates, gradients_x, gradients_y, hessians, valid: As filled by `make_template`, [R, ...].
        displacement: [R, 2] px; in: where to start, out: where it is. Unchanged where tracking failed.
        correlation: Output [R], zero-mean normalised correlation at the answer; 0 where tracking failed.
        gain: Output [R], contrast relative to the template.
        scratch: [MAX_WINDOW_PIXELS].
    """
    height, width = image.shape
    for r in range(centers.shape[0]):
        correlation[r] = 0.0
        gain[r] = 1.0
        if not valid[r]:
            continue
        half_x = halves[r, 0]
        half_y = halves[r, 1]
        columns = 2 * half_x + 1
        hxx, hxy, hyy, energy = hessians[r, 0], hessians[r, 1], hessians[r, 2], hessians[r, 3]
        # Damping only slows the direction along an edge, where the answer is noise; it does not bias it.
        damping = 0.002 * (hxx + hyy) + 1.0
        determinant = (hxx + damping) * (hyy + damping) - hxy * hxy
        px = displacement[r, 0]
        py = displacement[r, 1]
        ok = True
        found = 0.0
        amount = 1.0
        for _ in range(MAX_ITERATIONS):
            x_start = centers[r, 0] + px - half_x
            y_start = centers[r, 1] + py - half_y
            ix = int(np.floor(x_start))
            iy = int(np.floor(y_start))
            if ix < 0 or iy < 0 or ix + columns + 1 > width or iy + 2 * half_y + 2 > height:
                ok = False
                break
            fx = np.float32(x_start - ix)
            fy = np.float32(y_start - iy)
            w00 = (np.float32(1.0) - fx) * (np.float32(1.0) - fy)
            w01 = fx * (np.float32(1.0) - fy)
            w10 = (np.float32(1.0) - fx) * fy
            w11 = fx * fy
            n = 0
            for y in range(iy, iy + 2 * half_y + 1):
                for x in range(columns):
                    scratch[n + x] = (
                        w00 * image[y, ix + x]
                        + w01 * image[y, ix + x + 1]
                        + w10 * image[y + 1, ix + x]
                        + w11 * image[y + 1, ix + x + 1]
                    )
                n += columns
            total = 0.0
            square = 0.0
            along = 0.0
            bx = 0.0
            by = 0.0
            # About the first pixel, so that the sums keep their digits.
            origin = scratch[0]
            for k in range(n):
                value = np.float64(scratch[k] - origin)
                total += value
                square += value * value
                along += value * templates[r, k]
                bx += value * gradients_x[r, k]
                by += value * gradients_y[r, k]
            amount = along / energy
            spread = square - total * total / n
            found = along / np.sqrt(max(spread, 1e-6) * energy)
            if found < 0.2:
                ok = False
                break
            bx /= amount
            by /= amount
            step_x = ((hyy + damping) * bx - hxy * by) / determinant
            step_y = ((hxx + damping) * by - hxy * bx) / determinant
            length = np.sqrt(step_x * step_x + step_y * step_y)
            if length > MAX_STEP_PX:
                step_x *= MAX_STEP_PX / length
                step_y *= MAX_STEP_PX / length
            px -= step_x
            py -= step_y
            if length < CONVERGED_PX:
                break
        if ok:
            displacement[r, 0] = px
            displacement[r, 1] = py
            correlation[r] = found
            gain[r] = amount


@njit(cache=True, nogil=True)
def solve_in_place(matrix: F64, right: F64) -> bool:
    """Gaussian elimination of a symmetric positive definite system; the answer replaces `right`."""
    n = right.shape[0]
    for i in range(n):
        pivot = matrix[i, i]
        if not pivot > 1e-12:
            return False
        for j in range(i + 1, n):
            factor = matrix[j, i] / pivot
            for k in range(i, n):
                matrix[j, k] -= factor * matrix[i, k]
            right[j] -= factor * right[i]
    for i in range(n - 1, -1, -1):
        value = right[i]
        for k in range(i + 1, n):
            value -= matrix[i, k] * right[k]
        right[i] = value / matrix[i, i]
    return True


@njit(cache=True, nogil=True)
def fit_rigid(
    points: F64,
    displacement: F64,
    trust: F64,
    scale_floor_px: float,
    ridge: float,
    rounds: int,
    pose: F64,
    weights: F64,
    matrix: F64,
    right: F64,
    sizes: F64,
) -> float:
    """Robust head motion from the references: shift, scale, roll, and the parallax of yaw and pitch.

    Iteratively re-weighted least squares with Cauchy weights (scale 1.5 median residual + floor) of
    ``dx = tx + s x - r y + a z`` and ``dy = ty + r x + s y + b z``: a similarity, and under scaled
    orthography the first order of a turn of the head, which shifts points by their depth z.

    Args:
        points: References [N, 3] relative to the face centre, px at IOD 100.
        displacement: Their displacements [N, 2], same units.
        trust: Prior weight of each [N]; 0 leaves it out.
        scale_floor_px: Floor of the Cauchy scale.
        ridge: Penalty of a and b, in squared px of depth: how hard a turn of the head is to believe.
        rounds: Rounds of re-weighting.
        pose: Output [6]: tx, ty, s, r, a, b.
        weights: Output [N], the final Cauchy weights times `trust`.
        matrix, right, sizes: Scratch [6, 6], [6], [N].

    Returns:
        Weighted root mean square residual, px; 99 when there are too few references.
    """
    count = points.shape[0]
    for i in range(count):
        weights[i] = trust[i]
    residual = 99.0
    for _ in range(rounds):
        for i in range(6):
            right[i] = 0.0
            for j in range(6):
                matrix[i, j] = 0.0
        total = 0.0
        for i in range(count):
            w = weights[i]
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            u, v = displacement[i, 0], displacement[i, 1]
            total += w
            matrix[0, 0] += w
            matrix[0, 2] += w * x
            matrix[0, 3] -= w * y
            matrix[0, 4] += w * z
            matrix[1, 1] += w
            matrix[1, 2] += w * y
            matrix[1, 3] += w * x
            matrix[1, 5] += w * z
            matrix[2, 2] += w * (x * x + y * y)
            matrix[2, 4] += w * x * z
            matrix[2, 5] += w * y * z
            matrix[3, 3] += w * (x * x + y * y)
            matrix[3, 4] -= w * y * z
            matrix[3, 5] += w * x * z
            matrix[4, 4] += w * z * z
            matrix[5, 5] += w * z * z
            right[0] += w * u
            right[1] += w * v
            right[2] += w * (x * u + y * v)
            right[3] += w * (x * v - y * u)
            right[4] += w * z * u
            right[5] += w * z * v
        if total < 2.0:
            return 99.0
        matrix[4, 4] += ridge
        matrix[5, 5] += ridge
        for i in range(6):
            for j in range(i):
                matrix[i, j] = matrix[j, i]
        if not solve_in_place(matrix, right):
            return 99.0
        for i in range(6):
            pose[i] = right[i]
        square = 0.0
        mass = 1e-9
        for i in range(count):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            u = displacement[i, 0] - (pose[0] + pose[2] * x - pose[3] * y + pose[4] * z)
            v = displacement[i, 1] - (pose[1] + pose[3] * x + pose[2] * y + pose[5] * z)
            sizes[i] = np.sqrt(u * u + v * v)
            # Squared weights: what a moving reference does is not the head's misfit.
            square += weights[i] * weights[i] * sizes[i] * sizes[i]
            mass += weights[i] * weights[i]
        residual = np.sqrt(square / mass)
        scale = 1.5 * _median(sizes, trust) + scale_floor_px
        for i in range(count):
            ratio = sizes[i] / scale
            weights[i] = trust[i] / (1.0 + ratio * ratio)
    return residual


@njit(cache=True, nogil=True)
def _median(values: F64, trust: F64) -> float:
    # Selection by counting: a handful of values, nothing to allocate.
    count = 0
    for i in range(values.shape[0]):
        if trust[i] > 0:
            count += 1
    for i in range(values.shape[0]):
        if trust[i] <= 0:
            continue
        below = 0
        for j in range(values.shape[0]):
            if trust[j] > 0 and (values[j] < values[i] or (values[j] == values[i] and j < i)):
                below += 1
        if below == count // 2:
            return float(values[i])
    return 0.0
