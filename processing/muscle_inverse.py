"""Inverts the forward model of the facial muscles: displacement of the skin to muscle activations.

Misfits are weighed by `processing.face_variation`, and per frame a non-negative, sparse least-squares problem
is solved in numba.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processing.face_variation import face_variation
from processing.landmarks import BLENDSHAPES, LANDMARK_COUNT
from processing.mouth import INNER_LOWER_LIP, INNER_UPPER_LIP
from processing.muscle_fields import (
    BLENDSHAPE_JITTER_PER_IOD,
    BLENDSHAPE_NOISE,
    LANDMARK_JITTER,
    LANDMARK_NOISE_IOD,
    OTHER_NOISE_IOD,
)
from processing.muscle_model import ACTIVATIONS, BLENDSHAPE_COLUMNS, USED_BLENDSHAPES, displacement_fields

_RIDGE = 0.02
"""Of each muscle's own weight on the diagonal."""

_LEAST_EVIDENCE = 0.3
"""What a muscle has to explain before it counts, in standard deviations of the misfit, ..."""

_EVIDENCE_PER_DEG = 0.05
"""... more per degree that the head has turned since the neutral, ..."""

_LEAST_SHARE = 0.18
"""... or, if that is more, this share of what the one muscle of the same part of the face that explains most
does: a large movement has large misfits about it."""

_PAIR = 0.75
"""A paired muscle pays its price on both sides, one across the midline but once; this makes them even."""

_WITNESSES = 10.0
"""Neighbouring landmarks err together: so many are one witness of a misfit."""

_STEPS = 3000
_TOLERANCE = 1e-4

_USED = np.array(USED_BLENDSHAPES)


def landmark_noise() -> NDArray[np.float64]:
    """Standard deviation [478] of each landmark's misfit, IOD; infinite = not used."""
    noise = np.full(LANDMARK_COUNT, OTHER_NOISE_IOD)
    for group, deviation in LANDMARK_NOISE_IOD:
        noise[list(group)] = deviation
    return noise


_WEIGHT = np.repeat(1.0 / landmark_noise() ** 2, 2) / _WITNESSES
"""Of each coordinate's misfit; neighbours err together: some ten are one witness."""

_SHAPE_WEIGHT = np.array(
    [
        1.0 / BLENDSHAPE_NOISE[BLENDSHAPES[i].removesuffix("Left").removesuffix("Right")] ** 2
        for i in USED_BLENDSHAPES
    ]
)


_UPPER, _MIDDLE, _LOWER = 0, 1, 2
_PART_OF = dict.fromkeys((1, 2, 4, 5, 7, 43), _UPPER) | dict.fromkeys((6, 9, 10), _MIDDLE)
_PART = np.array([_PART_OF.get(a.muscle.action_unit, _LOWER) for a in ACTIVATIONS])
"""The part of the face that each muscle moves: brows and lids, the middle, or mouth and jaw. FACS tells upper
and lower face apart because they move by themselves: a fallen jaw makes no raised lid less likely."""

_PRICE = np.array([a.course.reluctance * (1.0 if a.side == "both" else _PAIR) for a in ACTIVATIONS])
_EVIDENCE = np.array([a.muscle.evidence for a in ACTIVATIONS])


@dataclass(frozen=True, eq=False)
class InverseModel:
    """The least-squares problem for one neutral face.

    Attributes:
        gain: float32 [956 + blendshapes, activations], takes observations to the normal equations' right
            side; single precision, because every frame reads all of it from memory.
        gram: [activations, activations], ridge included.
        strength: [activations], what a muscle's full contraction explains, in standard deviations.
        price: [activations], of a muscle, in the same unit; see `_LEAST_EVIDENCE`.
        noise: [activations, activations], covariance of the right side per squared IOD of jitter, that of
            canthi and bridge.
        lip_gap: [activations], opening between the inner lips at full contraction, IOD.
    """

    gain: NDArray[np.float32]
    gram: NDArray[np.float64]
    strength: NDArray[np.float64]
    price: NDArray[np.float64]
    noise: NDArray[np.float64]
    lip_gap: NDArray[np.float64]


@njit(cache=True, nogil=True)
def _gram(projected: NDArray[np.float64], fields: NDArray[np.float64]) -> NDArray[np.float64]:
    """projected [n, m] @ fields [n, m].T, symmetric: BLAS would wake its threads for it, which costs more."""
    n, m = projected.shape
    out = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            total = 0.0
            for k in range(m):
                total += projected[i, k] * fields[j, k]
            out[i, j] = out[j, i] = total
    return out


_SHAPE_JITTER = (BLENDSHAPE_JITTER_PER_IOD * _SHAPE_WEIGHT) ** 2


def _jitter_covariance(projected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance that trembling landmarks give the right side, from what each coordinate adds [n, 956]."""
    own = np.ones(LANDMARK_COUNT)
    shared = []
    for group, times, share in LANDMARK_JITTER:
        landmarks = sorted(group)
        own[landmarks] = times * math.sqrt(1.0 - share)
        together = projected.reshape(len(projected), LANDMARK_COUNT, 2)[:, landmarks].sum(axis=1)
        shared.append(times * math.sqrt(share) * together)
    alone = projected * np.repeat(own, 2)
    common = np.concatenate(shared, axis=1)
    covariance: NDArray[np.float64] = _gram(alone, alone) + common @ common.T
    return covariance


def build_inverse(points: NDArray[np.float64]) -> InverseModel:
    """Lay the muscles on a neutral face [478, 3] and prepare the inversion."""
    fields = displacement_fields(points).reshape(len(ACTIVATIONS), -1)
    shapes = BLENDSHAPE_COLUMNS.T
    modes, spread = face_variation(points)
    # A prior keeps the modes from explaining away real expressions.
    weighted = modes * _WEIGHT[:, None]
    inner = np.linalg.inv(modes.T @ weighted + np.diag(1.0 / spread**2))
    projected = fields * _WEIGHT - (fields @ weighted) @ inner @ weighted.T
    gram = _gram(projected, fields) + (shapes * _SHAPE_WEIGHT) @ shapes.T
    strength = np.sqrt(np.diag(gram))
    return InverseModel(
        np.ascontiguousarray(np.concatenate([projected, shapes * _SHAPE_WEIGHT], axis=1).T, dtype=np.float32),
        gram + _RIDGE * np.diag(strength**2),
        strength,
        _PRICE * strength,
        _jitter_covariance(projected) + (shapes * _SHAPE_JITTER) @ shapes.T,
        fields[:, 2 * INNER_LOWER_LIP + 1] - fields[:, 2 * INNER_UPPER_LIP + 1],
    )


@njit(cache=True, nogil=True)
def solve_nonnegative(
    gram: NDArray[np.float64],
    right_side: NDArray[np.float64],
    penalty: NDArray[np.float64],
    steps: int,
    tolerance: float,
) -> NDArray[np.float64]:
    """argmin over x >= 0 of x'Gx/2 - (b - penalty)'x by coordinate descent from zero, hence deterministic.

    The coordinate whose step lowers the cost most goes next (Gauss-Southwell): muscles overlap, and cyclic
    order would converge slowly.
    """
    n = gram.shape[0]
    x = np.zeros(n)
    gradient = penalty - right_side
    for _ in range(steps):
        best = -1
        best_gain = tolerance
        for i in range(n):
            move = max(-x[i], -gradient[i] / gram[i, i])
            gain = -move * (gradient[i] + 0.5 * move * gram[i, i])
            if gain > best_gain:
                best, best_gain = i, gain
        if best < 0:
            break
        move = max(-x[best], -gradient[best] / gram[best, best])
        x[best] += move
        for j in range(n):
            gradient[j] += move * gram[best, j]
    return x


@njit(cache=True, nogil=True)
def _invert(
    gain: NDArray[np.float32],
    gram: NDArray[np.float64],
    strength: NDArray[np.float64],
    price: NDArray[np.float64],
    share: NDArray[np.float64],
    part: NDArray[np.int64],
    displacement: NDArray[np.float64],
    shapes: NDArray[np.float64],
    used: NDArray[np.int64],
    evidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, points = gram.shape[0], displacement.shape[0]
    right_side = np.zeros(n)
    for i in range(points):
        for k in range(2):
            moved = displacement[i, k]
            row = gain[2 * i + k]
            for j in range(n):
                right_side[j] += moved * row[j]
    for i in range(used.shape[0]):
        row = gain[2 * points + i]
        for j in range(n):
            right_side[j] += shapes[used[i]] * row[j]
    most = np.zeros(3)
    for j in range(n):
        most[part[j]] = max(most[part[j]], right_side[j] / strength[j])
    upper, middle, lower = most
    most[_UPPER], most[_LOWER] = max(upper, middle), max(middle, lower)
    most[_MIDDLE] = max(upper, middle, lower)  # it borders on both
    penalty = np.maximum(evidence * share, _LEAST_SHARE * most[part]) * price
    x = solve_nonnegative(gram, right_side, penalty, _STEPS, _TOLERANCE)
    slack = penalty - right_side
    for i in range(n):
        if x[i] > 0.0:
            for j in range(n):
                slack[j] += x[i] * gram[i, j]
    return x, slack


@dataclass(frozen=True, eq=False)
class Solution:
    """What explains one frame.

    Attributes:
        activations: [activations], 0 = neutral, 1 = full contraction.
        slack: [activations], what an inactive muscle lacks to be believed in, in units of the right side.
    """

    activations: NDArray[np.float64]
    slack: NDArray[np.float64]


def invert(
    model: InverseModel,
    displacement: NDArray[np.float64],
    shapes: NDArray[np.float64],
    turned_deg: float = 0.0,
) -> Solution:
    """Explain a face by its muscles.

    Args:
        model: The person's.
        displacement: [478, 2] in face coordinates, from the neutral.
        shapes: [52] blendshapes minus the neutral's.
        turned_deg: How far the head has turned since the neutral: what turning leaves behind is no evidence.
    """
    evidence = _LEAST_EVIDENCE + _EVIDENCE_PER_DEG * turned_deg
    x, slack = _invert(
        model.gain,
        model.gram,
        model.strength,
        model.price,
        _EVIDENCE,
        _PART,
        displacement,
        shapes,
        _USED,
        evidence,
    )
    return Solution(x, slack)


_SWITCHING = 1.35
"""Jitter also makes similar muscles take turns, which the linear passage does not know of."""


@njit(cache=True, nogil=True)
def _deviations(
    gram: NDArray[np.float64],
    noise: NDArray[np.float64],
    x: NDArray[np.float64],
    slack: NDArray[np.float64],
    rows: NDArray[np.int64],
    jitter: float,
    out: NDArray[np.float64],
) -> None:
    """Fills out [rows] with standard errors; rows[i] is the sum that activation i belongs to."""
    active = np.nonzero(x > 0.0)[0]
    k = active.shape[0]
    out[:] = 0.0
    for j in range(x.shape[0]):
        # Jitter now and then lifts an inactive muscle over its price: root mean square of the excess.
        spread = jitter * np.sqrt(noise[j, j])
        if x[j] <= 0.0 and slack[j] < 4.0 * spread:
            t = slack[j] / spread
            density = np.exp(-0.5 * t * t) / np.sqrt(2.0 * np.pi)
            beyond = 0.5 * math.erfc(t / np.sqrt(2.0))
            excess = (1.0 + t * t) * beyond - t * density
            out[rows[j]] += max(0.0, excess) * (spread / gram[j, j]) ** 2
    if k > 0:
        own = np.empty((k, k))
        for a in range(k):
            for b in range(k):
                own[a, b] = gram[active[a], active[b]]
        inverse = np.linalg.inv(own)
        # Jitter reaches a sum through the inverse: weights of the right side in it.
        weights = np.zeros((out.shape[0], k))
        for a in range(k):
            for b in range(k):
                weights[rows[active[a]], b] += inverse[a, b]
        for r in range(out.shape[0]):
            total = 0.0
            for a in range(k):
                for b in range(k):
                    total += weights[r, a] * weights[r, b] * noise[active[a], active[b]]
            out[r] += jitter * jitter * total
    for r in range(out.shape[0]):
        out[r] = _SWITCHING * np.sqrt(out[r])


def standard_errors(
    model: InverseModel, solution: Solution, rows: NDArray[np.int64], count: int, landmark_error: float
) -> NDArray[np.float64]:
    """Standard errors [count] of sums of activations that the landmarks' jitter causes.

    Args:
        model: The person's.
        solution: Of this frame.
        rows: [activations], the sum that each belongs to.
        count: How many sums there are.
        landmark_error: Standard deviation of a coordinate of canthi and bridge, IOD.
    """
    out = np.empty(count)
    _deviations(model.gram, model.noise, solution.activations, solution.slack, rows, landmark_error, out)
    return out
