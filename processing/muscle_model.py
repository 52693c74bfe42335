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
from processing.muscle_fields import (
    BLENDSHAPE_NOISE,
    JAW,
    LANDMARK_NOISE_IOD,
    MUSCLES,
    OTHER_NOISE_IOD,
    Muscle,
    Stroke,
    jaw_share,
)
from processing.pose import STABLE_POINTS

_RIDGE = 0.02
_SPARSITY = 0.02
_SWEEPS = 60
_TOLERANCE = 1e-5


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

USED_BLENDSHAPES: tuple[int, ...] = tuple(
    i
    for i, name in enumerate(BLENDSHAPES)
    if name.removesuffix("Left").removesuffix("Right") in BLENDSHAPE_NOISE
)


def landmark_noise() -> NDArray[np.float64]:
    """Standard deviation [478] of each landmark's misfit, IOD; infinite = not used."""
    noise = np.full(LANDMARK_COUNT, OTHER_NOISE_IOD)
    for group, deviation in LANDMARK_NOISE_IOD:
        noise[list(group)] = deviation
    return noise


def _stroke_field(stroke: Stroke, side: str, points: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    sides = ("right", "left") if side == "both" else (side,)
    if stroke.anchor[0] == stroke.anchor[1]:
        sides = ("right",)
    for one in sides:
        anchor = points[stroke.anchor[0] if one == "right" else stroke.anchor[1]]
        away = points[:, :2] - anchor[:2]
        spread = np.exp(-0.5 * ((away[:, 0] / stroke.reach[0]) ** 2 + (away[:, 1] / stroke.reach[1]) ** 2))
        if stroke.only:
            mask = np.zeros(len(points))
            mask[list(stroke.only)] = 1.0
            spread *= mask
        if stroke.spares:
            spread[list(stroke.spares)] = 0.0
        outward = stroke.outward if one == "left" else -stroke.outward
        out[:, 0] += spread * outward
        out[:, 1] -= spread * stroke.up


def displacement_field(activation: Activation, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacement [478, 2] (x right, y down, IOD) of a face `points` [478, 3] at full contraction."""
    out = np.zeros((len(points), 2))
    if activation.muscle is JAW:
        out[:, 1] = JAW.strokes[0].up * -jaw_share(points)
        return out
    for stroke in activation.muscle.strokes:
        _stroke_field(stroke, activation.side, points, out)
    return out


def _blendshape_column(activation: Activation) -> NDArray[np.float64]:
    column = np.zeros(len(USED_BLENDSHAPES))
    for row, index in enumerate(USED_BLENDSHAPES):
        name = BLENDSHAPES[index]
        for stem, response in activation.muscle.blendshapes.items():
            if name == stem:  # a midline blendshape: each side carries half of it
                column[row] = response * (1.0 if activation.side == "both" else 0.5)
            elif (name == f"{stem}Left" and activation.side in ("left", "both")) or (name == f"{stem}Right" and activation.side in ("right", "both")):
                column[row] = response
    return column


def _head_motion(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """What misplacing the head does to the landmarks [956, 7]: shifts, roll, scale, pitch, yaw, depth."""
    x, y, z = points.T
    one, nil = np.ones_like(x), np.zeros_like(x)
    modes = [(one, nil), (nil, one), (-y, x), (x, y), (nil, z), (z, nil), (nil, y)]
    return np.stack([np.column_stack(mode).ravel() for mode in modes], axis=1)


@dataclass(frozen=True, eq=False)
class InverseModel:
    """The least-squares problem for one neutral face.

    Attributes:
        gain: [activations, 956 + blendshapes], takes the observation vector to the normal equations' right side.
        gram: [activations, activations], ridge included.
        penalty: [activations], the sparsity term.
        deviation: [activations], standard error per unit of landmark noise.
    """

    gain: NDArray[np.float64]
    gram: NDArray[np.float64]
    penalty: NDArray[np.float64]
    deviation: NDArray[np.float64]


def build_inverse(points: NDArray[np.float64]) -> InverseModel:
    """Lay the muscles on a neutral face [478, 3] and prepare the inversion."""
    fields = np.stack([displacement_field(a, points).ravel() for a in ACTIVATIONS], axis=1)
    shapes = np.stack([_blendshape_column(a) for a in ACTIVATIONS], axis=1)
    weight = (
        np.repeat(1.0 / landmark_noise() ** 2, 2) / 60.0
    )  # neighbours err together: some 8 are one witness
    shape_weight = np.array(
        [
            1.0 / BLENDSHAPE_NOISE[BLENDSHAPES[i].removesuffix("Left").removesuffix("Right")] ** 2
            for i in USED_BLENDSHAPES
        ]
    )
    motion = _head_motion(points)
    # Misplacement of the head is small: a prior keeps it from explaining away real expressions.
    prior = np.diag(
        [1 / 0.01**2, 1 / 0.01**2, 1 / 0.01**2, 1 / 0.02**2, 1 / 0.04**2, 1 / 0.04**2, 1 / 0.02**2]
    )
    weighted = motion * weight[:, None]
    inner = np.linalg.inv(motion.T @ weighted + prior)
    projected = fields.T * weight - (fields.T @ weighted) @ inner @ weighted.T
    gain = np.concatenate([projected, shapes.T * shape_weight], axis=1)
    gram = projected @ fields + (shapes.T * shape_weight) @ shapes
    size = np.diag(gram).copy()
    gram += np.diag(_RIDGE * size + 1.0)
    covariance = np.linalg.inv(gram)
    return InverseModel(
        np.ascontiguousarray(gain),
        np.ascontiguousarray(0.5 * (gram + gram.T)),
        _SPARSITY * size,
        np.sqrt(np.diag(covariance)),
    )


@njit(cache=True, nogil=True)
def solve_nonnegative(
    gram: NDArray[np.float64],
    right_side: NDArray[np.float64],
    penalty: NDArray[np.float64],
    sweeps: int,
    tolerance: float,
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """argmin_x>=0 of x'Gx/2 - (b - penalty)'x by cyclic coordinate descent from zero: deterministic."""
    n = gram.shape[0]
    x = np.zeros(n)
    gradient = penalty - right_side
    for _ in range(sweeps):
        largest = 0.0
        for i in range(n):
            new = max(0.0, x[i] - gradient[i] / gram[i, i])
            step = new - x[i]
            if step != 0.0:
                x[i] = new
                for j in range(n):
                    gradient[j] += step * gram[j, i]
                largest = max(largest, abs(step))
        if largest < tolerance:
            break
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
    observed = np.concatenate([displacement.ravel(), shapes[list(USED_BLENDSHAPES)]])
    return solve_nonnegative(model.gram, model.gain @ observed, model.penalty, _SWEEPS, _TOLERANCE)


def activation_names(activations: Sequence[Activation] = ACTIVATIONS) -> tuple[str, ...]:
    """Names in the order of the solution."""
    return tuple(a.name for a in activations)


__all__ = [
    "ACTIVATIONS",
    "STABLE_POINTS",
    "Activation",
    "InverseModel",
    "activation_names",
    "build_inverse",
    "displacement_field",
    "invert",
    "landmark_noise",
    "solve_nonnegative",
]
