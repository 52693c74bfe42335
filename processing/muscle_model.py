"""Inverts the forward model of the facial muscles: displacement of the skin to muscle activations.

The fields of `processing.muscle_fields` are laid on a person's own neutral face, what a head motion leaves
behind is projected out, and per frame a non-negative least-squares problem is solved in numba.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processing.landmarks import BLENDSHAPES, LANDMARK_COUNT
from processing.mouth import INNER_LOWER_LIP, INNER_UPPER_LIP
from processing.muscle_fields import (
    BLENDSHAPE_NOISE,
    JAW,
    LANDMARK_NOISE_IOD,
    MUSCLES,
    OTHER_NOISE_IOD,
    UPPER_LIP,
    Muscle,
    Stroke,
    jaw_share,
)

_RIDGE = 2.0
_SPARSITY = 2.0
_WITNESSES = 10.0
_STEPS = 3000
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Activation:
    """One unknown of the inverse problem: a muscle on one side, or across the midline."""

    muscle: Muscle
    side: str  # left, right or both

    @property
    def name(self) -> str:
        """``zygomaticus_major_left``; midline muscles have no side."""
        return self.muscle.name if self.side == "both" else f"{self.muscle.name}_{self.side}"


def _activations() -> tuple[Activation, ...]:
    found = []
    for muscle in (*MUSCLES, JAW):
        sides = ("left", "right") if muscle.paired else ("both",)
        found += [Activation(muscle, side) for side in sides]
    return tuple(found)


ACTIVATIONS: tuple[Activation, ...] = _activations()
"""Columns of the model, in order."""

_JAW_INDEX = next(i for i, activation in enumerate(ACTIVATIONS) if activation.muscle is JAW)

USED_BLENDSHAPES: tuple[int, ...] = tuple(
    i
    for i, name in enumerate(BLENDSHAPES)
    if name.removesuffix("Left").removesuffix("Right") in BLENDSHAPE_NOISE
)

_USED = np.array(USED_BLENDSHAPES)


def landmark_noise() -> NDArray[np.float64]:
    """Standard deviation [478] of each landmark's misfit, IOD; infinite = not used."""
    noise = np.full(LANDMARK_COUNT, OTHER_NOISE_IOD)
    for group, deviation in LANDMARK_NOISE_IOD:
        noise[list(group)] = deviation
    return noise


def _mask(stroke: Stroke) -> NDArray[np.bool_]:
    mask = np.zeros(LANDMARK_COUNT, dtype=np.bool_)
    mask[list(stroke.only) or slice(None)] = True
    mask[list(stroke.spares)] = False
    return mask


@dataclass(frozen=True, eq=False)
class _Strokes:
    """All strokes of all activations as arrays, one row per pull on one side."""

    activation: NDArray[np.int64]
    anchor: NDArray[np.int64]
    pull: NDArray[np.float64]  # x right, y down, IOD
    reach: NDArray[np.float64]
    mask: NDArray[np.bool_]


def _strokes() -> _Strokes:
    rows = []
    for index, activation in enumerate(ACTIVATIONS):
        if activation.muscle is JAW:
            continue
        for stroke in activation.muscle.strokes:
            central = stroke.anchor[0] == stroke.anchor[1]
            for side, landmark in zip(("right", "left"), stroke.anchor, strict=True):
                # A midline muscle pulls on both sides, but on a point of the midline only once.
                if side == activation.side or (
                    activation.side == "both" and (side == "right" or not central)
                ):
                    outward = stroke.outward if side == "left" else -stroke.outward
                    rows.append((index, landmark, (outward, -stroke.up), stroke.reach, _mask(stroke)))
    activations, anchors, pulls, reaches, masks = (np.array(column) for column in zip(*rows, strict=True))
    return _Strokes(activations, anchors, pulls, reaches, masks)


_STROKES = _strokes()


@njit(cache=True, nogil=True)
def _lay(
    points: NDArray[np.float64],
    activation: NDArray[np.int64],
    anchor: NDArray[np.int64],
    pull: NDArray[np.float64],
    reach: NDArray[np.float64],
    mask: NDArray[np.bool_],
    out: NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    """Adds every stroke's Gaussian to out [activations, 478, 2]."""
    for s in range(activation.shape[0]):
        x0, y0 = points[anchor[s], 0], points[anchor[s], 1]
        field = out[activation[s]]
        for i in range(points.shape[0]):
            if mask[s, i]:
                dx, dy = (points[i, 0] - x0) / reach[s, 0], (points[i, 1] - y0) / reach[s, 1]
                squared = dx * dx + dy * dy
                if squared < 25.0:  # farther out lie denormal numbers, which are slow to reckon with
                    spread = np.exp(-0.5 * squared)
                    field[i, 0] += spread * pull[s, 0]
                    field[i, 1] += spread * pull[s, 1]


def _jaw_field(points: NDArray[np.float64]) -> NDArray[np.float64]:
    field = np.zeros((len(points), 2))
    field[:, 1] = -JAW.strokes[0].up * jaw_share(points)
    # An open mouth is narrower: its corners and the cheeks beside them are drawn in.
    x, y = points[:, 0], points[:, 1]
    beside = np.exp(-0.5 * (((np.abs(x) - 0.6) / 0.3) ** 2 + ((y - points[61, 1] - 0.1) / 0.3) ** 2))
    beside[list(UPPER_LIP)] = 0.0
    field[:, 0] = -0.05 * np.sign(x) * beside
    return field


def displacement_fields(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacement [activations, 478, 2] (x right, y down, IOD) of a face [478, 3] at full contraction."""
    out = np.zeros((len(ACTIVATIONS), len(points), 2))
    s = _STROKES
    _lay(np.ascontiguousarray(points, dtype=np.float64), s.activation, s.anchor, s.pull, s.reach, s.mask, out)
    out[_JAW_INDEX] = _jaw_field(points)
    return out


def displacement_field(activation: Activation, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacement [478, 2] of one muscle; see `displacement_fields`."""
    field: NDArray[np.float64] = displacement_fields(points)[ACTIVATIONS.index(activation)]
    return field


CROSS_TALK = 0.28
"""Share of a one-sided mouth movement that MediaPipe's blendshape of the other side reports."""


def _blendshape_column(activation: Activation) -> NDArray[np.float64]:
    column = np.zeros(len(USED_BLENDSHAPES))
    for row, index in enumerate(USED_BLENDSHAPES):
        stem, side = _stem_and_side(BLENDSHAPES[index])
        response = activation.muscle.blendshapes.get(stem, 0.0)
        if activation.side == "both" or side == activation.side:
            cross = CROSS_TALK if activation.side != "both" and stem.startswith("mouth") else 0.0
            column[row] = response * (1.0 - cross)
        elif side == "both":  # a midline blendshape: each side of a paired muscle carries half of it
            column[row] = 0.5 * response
        elif stem.startswith("mouth"):
            column[row] = response * CROSS_TALK
    return column


def _stem_and_side(blendshape: str) -> tuple[str, str]:
    for suffix, side in (("Left", "left"), ("Right", "right")):
        if blendshape.endswith(suffix):
            return blendshape.removesuffix(suffix), side
    return blendshape, "both"


_BLENDSHAPE_COLUMNS = np.stack([_blendshape_column(a) for a in ACTIVATIONS], axis=1)


def _head_motion(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What misplacing the head does to the landmarks [956, modes], and the modes' spread (sd, IOD)."""
    x, y, z = points.T
    one, nil = np.ones_like(x), np.zeros_like(x)
    bridge = np.exp(-0.5 * ((x / 0.2) ** 2 + ((y - points[6, 1]) / 0.25) ** 2))
    middle = np.exp(-0.5 * ((x / 0.45) ** 2 + ((y - points[4, 1]) / 0.6) ** 2))
    modes: list[tuple[NDArray[np.float64], NDArray[np.float64], float]] = [
        (one, nil, 0.03),
        (nil, one, 0.03),
        (-y, x, 0.01),  # roll
        (y, nil, 0.05),  # a tilted face seen turned: its depth is known least
        (x, nil, 0.005),  # width and
        (nil, y, 0.005),  # height: scale, and the foreshortening of yaw and pitch
        (nil, z, 0.02),  # pitch
        (z, nil, 0.03),  # yaw
        (nil, y * y, 0.003),  # curvature of the face in pitch
        (nil, x * x, 0.003),
        (x * y, nil, 0.003),
        (nil, middle, 0.02),  # MediaPipe slides the whole middle of the face when lids or lips move much
        (nil, bridge, 0.02),  # the bridge's landmarks slide along it: nothing in the picture holds them
    ]
    columns = np.stack([np.column_stack((dx, dy)).ravel() for dx, dy, _ in modes], axis=1)
    return columns, np.array([deviation for _, _, deviation in modes])


_WEIGHT = np.repeat(1.0 / landmark_noise() ** 2, 2) / _WITNESSES
"""Of each coordinate's misfit; neighbours err together: some ten are one witness."""

_SHAPE_WEIGHT = np.array(
    [
        1.0 / BLENDSHAPE_NOISE[BLENDSHAPES[i].removesuffix("Left").removesuffix("Right")] ** 2
        for i in USED_BLENDSHAPES
    ]
)


@dataclass(frozen=True, eq=False)
class InverseModel:
    """The least-squares problem for one neutral face.

    Attributes:
        gain: [activations, 956 + blendshapes], takes observations to the normal equations' right side.
        gram: [activations, activations], ridge included.
        penalty: [activations], the sparsity term.
        passed: [activations, 956], what each coordinate's error does to the unconstrained solution.
        lip_gap: [activations], opening between the inner lips at full contraction, IOD.
    """

    gain: NDArray[np.float64]
    gram: NDArray[np.float64]
    penalty: NDArray[np.float64]
    passed: NDArray[np.float64]
    lip_gap: NDArray[np.float64]

    def deviation_of(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard error [n] of sums of activations [n, activations], per IOD of landmark error."""
        through = sums @ self.passed
        # Jitter that neighbouring landmarks share passes the inverse as if there were fewer of them.
        deviation: NDArray[np.float64] = np.sqrt(_WITNESSES * (through * through).sum(axis=1))
        return deviation


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


def build_inverse(points: NDArray[np.float64]) -> InverseModel:
    """Lay the muscles on a neutral face [478, 3] and prepare the inversion."""
    fields = displacement_fields(points).reshape(len(ACTIVATIONS), -1)
    shapes = _BLENDSHAPE_COLUMNS.T
    motion, reach = _head_motion(points)
    # A prior keeps the head from explaining away real expressions.
    prior = np.diag(1.0 / reach**2)
    weighted = motion * _WEIGHT[:, None]
    inner = np.linalg.inv(motion.T @ weighted + prior)
    projected = fields * _WEIGHT - (fields @ weighted) @ inner @ weighted.T
    gain = np.concatenate([projected, shapes * _SHAPE_WEIGHT], axis=1)
    gram = _gram(projected, fields) + (shapes * _SHAPE_WEIGHT) @ shapes.T + _RIDGE * np.eye(len(fields))
    return InverseModel(
        gain,
        gram,
        np.full(len(gram), _SPARSITY),
        np.linalg.solve(gram, projected),
        fields[:, 2 * INNER_LOWER_LIP + 1] - fields[:, 2 * INNER_UPPER_LIP + 1],
    )


@njit(cache=True, nogil=True)
def solve_nonnegative(
    gram: NDArray[np.float64],
    right_side: NDArray[np.float64],
    penalty: NDArray[np.float64],
    steps: int,
    tolerance: float,
) -> NDArray[np.float64]:  # pragma: no cover - compiled
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
            gradient[j] += move * gram[j, best]
    return x


def invert(
    model: InverseModel, displacement: NDArray[np.float64], shapes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Activations, 0 = neutral, 1 = full contraction.

    Args:
        model: The person's.
        displacement: [478, 2] in face coordinates, from the neutral.
        shapes: [52] blendshapes minus the neutral's.
    """
    observed = np.concatenate((displacement.ravel(), shapes[_USED]))
    return solve_nonnegative(model.gram, model.gain @ observed, model.penalty, _STEPS, _TOLERANCE)


def activation_names(activations: Sequence[Activation] = ACTIVATIONS) -> tuple[str, ...]:
    """Names in the order of the solution."""
    return tuple(a.name for a in activations)
