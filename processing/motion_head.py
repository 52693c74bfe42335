"""Numba kernels of the head's own motion: where it must have carried each window, and what goes beyond it.

Motion is that of a rigid head under scaled orthography to first order: shift, scale, roll, and the parallax
of yaw and pitch by depth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processing.motion_kernel import Windows

F64 = NDArray[np.float64]


class Head(NamedTuple):
    """The rigid head since the keyframe.

    Attributes:
        references: How many windows move (almost) only with the head: the last ones.
        model: Place of every window relative to the middle of the references (x, y, z), px at the reference
            size [R, 3].
        pose: tx, ty, s, r, a, b of `fit_rigid`, same units [6].
        nonrigid: What every window did beyond the head, working px [R, 2].
        weights: Of the windows in the fit [R].
        matrix, right, sizes, trust, observed: Scratch [6, 6], [6], [R], [R], [R, 2].
    """

    references: int
    model: F64
    pose: F64
    nonrigid: F64
    weights: F64
    matrix: F64
    right: F64
    sizes: F64
    trust: F64
    observed: F64


def new_head(windows: int, references: int) -> Head:
    """A head that has not moved."""
    return Head(
        references=references,
        model=np.zeros((windows, 3)),
        pose=np.zeros(6),
        nonrigid=np.zeros((windows, 2)),
        weights=np.zeros(windows),
        matrix=np.zeros((6, 6)),
        right=np.zeros(6),
        sizes=np.zeros(windows),
        trust=np.zeros(windows),
        observed=np.zeros((windows, 2)),
    )


@njit(cache=True, nogil=True)
def _carried(head: Head, r: int) -> tuple[float, float]:
    """Displacement of window r by the head's motion, px at the reference size."""
    pose = head.pose
    x, y, z = head.model[r, 0], head.model[r, 1], head.model[r, 2]
    return (
        pose[0] + pose[2] * x - pose[3] * y + pose[4] * z,
        pose[1] + pose[3] * x + pose[2] * y + pose[5] * z,
    )


@njit(cache=True, nogil=True)
def predict(head: Head, windows: Windows, stable_then: F64, stable_now: F64, to_reference: float) -> None:
    """Set `windows.displacement` to where the search should start.

    The last pose is the better start unless the head jumped: landmarks carry jitter and may be a frame old.

    Args:
        head: As of the frame before.
        windows: Only `centers` are used.
        stable_then, stable_now: Landmarks that hardly move with expression, in the keyframe and now [M, 2].
        to_reference: Reference px per working px.
    """
    count = stable_then.shape[0]
    then_x = then_y = now_x = now_y = 0.0
    for i in range(count):
        then_x += stable_then[i, 0] / count
        then_y += stable_then[i, 1] / count
        now_x += stable_now[i, 0] / count
        now_y += stable_now[i, 1] / count
    # The similarity of the plane that takes one set to the other: factor (cos, sin) about the means.
    cos = sin = square = 0.0
    for i in range(count):
        px, py = stable_then[i, 0] - then_x, stable_then[i, 1] - then_y
        qx, qy = stable_now[i, 0] - now_x, stable_now[i, 1] - now_y
        cos += px * qx + py * qy
        sin += px * qy - py * qx
        square += px * px + py * py
    cos /= square
    sin /= square
    regions = windows.centers.shape[0]
    references = head.references
    jump_x = jump_y = 0.0
    for r in range(regions):
        px, py = windows.centers[r, 0] - then_x, windows.centers[r, 1] - then_y
        windows.displacement[r, 0] = now_x + cos * px - sin * py - windows.centers[r, 0]
        windows.displacement[r, 1] = now_y + sin * px + cos * py - windows.centers[r, 1]
        if r >= regions - references:
            dx, dy = _carried(head, r)
            jump_x += (windows.displacement[r, 0] - dx / to_reference) / references
            jump_y += (windows.displacement[r, 1] - dy / to_reference) / references
    jumped = np.sqrt(jump_x * jump_x + jump_y * jump_y) > 1.5
    for r in range(regions):
        if not jumped:
            dx, dy = _carried(head, r)
            windows.displacement[r, 0] = dx / to_reference
            windows.displacement[r, 1] = dy / to_reference
        windows.displacement[r, 0] += head.nonrigid[r, 0]
        windows.displacement[r, 1] += head.nonrigid[r, 1]


@njit(cache=True, nogil=True)
def beyond_head(
    head: Head,
    windows: Windows,
    to_reference: float,
    lowest_correlation: float,
    max_nonrigid_px: float,
    turn_ridge_px2: float,
) -> float:
    """Fit the head's motion to what goes along with it and note what every window did beyond it.

    Args:
        head: Updated. A window that was lost stays where it was on the head: better no movement than a wrong
            one.
        windows: As tracked.
        to_reference, lowest_correlation, max_nonrigid_px, turn_ridge_px2: See
            `processing.motion.MotionSettings`.

    Returns:
        Weighted root mean square misfit of the references, px; 99 when there are too few.
    """
    regions = windows.centers.shape[0]
    for r in range(regions):
        seen = windows.correlation[r]
        head.trust[r] = seen if seen > lowest_correlation else 0.0
        head.observed[r, 0] = windows.displacement[r, 0] * to_reference
        head.observed[r, 1] = windows.displacement[r, 1] * to_reference
    residual = fit_rigid(
        head.model,
        head.observed,
        head.trust,
        head.references,
        0.05,
        turn_ridge_px2,
        4,
        head.pose,
        head.weights,
        head.matrix,
        head.right,
        head.sizes,
    )
    limit = max_nonrigid_px / to_reference
    for r in range(regions):
        dx, dy = _carried(head, r)
        x = windows.displacement[r, 0] - dx / to_reference
        y = windows.displacement[r, 1] - dy / to_reference
        if windows.correlation[r] > lowest_correlation and abs(x) < limit and abs(y) < limit:
            head.nonrigid[r, 0] = x
            head.nonrigid[r, 1] = y
    return residual


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
    references: int,
    scale_floor_px: float,
    ridge: float,
    rounds: int,
    pose: F64,
    weights: F64,
    matrix: F64,
    right: F64,
    sizes: F64,
) -> float:
    """Robust head motion: shift, scale, roll, and the parallax of yaw and pitch.

    Iteratively re-weighted least squares with Cauchy weights (scale 1.5 median residual + floor) of
    ``dx = tx + s x - r y + a z`` and ``dy = ty + r x + s y + b z``: a similarity, and under scaled
    orthography the first order of a turn of the head, which shifts points by their depth z.

    The references alone decide the first round, and the scale of every round. From the second on each point
    counts that goes along with them: at any moment most of the face is at rest, its brows, lids and lips
    have more texture than the smooth skin of the references, and what few windows cannot tell of the head's
    motion would be noise that moves the whole face together.

    Args:
        points: [N, 3] relative to the face centre, px at IOD 100; the last ones are the references.
        displacement: Their displacements [N, 2], same units.
        trust: Prior weight of each [N]; 0 leaves it out.
        references: How many points are.
        scale_floor_px: Floor of the Cauchy scale.
        ridge: Penalty of a and b, in squared px of depth: how hard a turn of the head is to believe.
        rounds: Rounds of re-weighting.
        pose: Output [6]: tx, ty, s, r, a, b.
        weights: Output [N], the final Cauchy weights times `trust`.
        matrix, right, sizes: Scratch [6, 6], [6], [N].

    Returns:
        Weighted root mean square residual of the references, px; 99 when there are too few.
    """
    count = points.shape[0]
    first = count - references
    for i in range(count):
        weights[i] = trust[i] if i >= first else 0.0
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
            if i >= first:
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
            if i >= first:
                # Squared weights: what a moving reference does is not the head's misfit.
                square += weights[i] * weights[i] * sizes[i] * sizes[i]
                mass += weights[i] * weights[i]
        residual = np.sqrt(square / mass)
        scale = 1.5 * _median(sizes[first:], trust[first:]) + scale_floor_px
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
