"""The forward model of the facial muscles: which displacement of the skin each would cause.

The fields of `processing.muscle_fields` are laid on a person's own neutral face; `processing.muscle_inverse`
turns displacement back into muscle activations.
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
    JAW_DROP_IOD,
    MUSCLES,
    TISSUES,
    UPPER_LIP,
    Course,
    Muscle,
    jaw_share,
)


@dataclass(frozen=True)
class Activation:
    """One unknown of the inverse problem: a course of a muscle on one side, or across the midline."""

    muscle: Muscle
    side: str  # left, right or both
    index: int = 0

    @property
    def course(self) -> Course:
        """The displacement field."""
        return self.muscle.courses[self.index]

    @property
    def name(self) -> str:
        """``zygomaticus_major_left``; midline muscles have no side; further courses are numbered from 2."""
        name = self.muscle.name if self.side == "both" else f"{self.muscle.name}_{self.side}"
        return f"{name}_{self.index + 1}" if self.index else name


def _activations() -> tuple[Activation, ...]:
    return tuple(
        Activation(muscle, side, index)
        for muscle in (*MUSCLES, JAW)
        for index in range(len(muscle.courses))
        for side in (("left", "right") if muscle.paired else ("both",))
    )


ACTIVATIONS: tuple[Activation, ...] = _activations()
"""Columns of the model, in order."""

USED_BLENDSHAPES: tuple[int, ...] = tuple(
    i
    for i, name in enumerate(BLENDSHAPES)
    if name.removesuffix("Left").removesuffix("Right") in BLENDSHAPE_NOISE
)


def activation_names(activations: Sequence[Activation] = ACTIVATIONS) -> tuple[str, ...]:
    """Names in the order of the solution."""
    return tuple(a.name for a in activations)


def _mask(tissue: str) -> NDArray[np.bool_]:
    mask = np.zeros(LANDMARK_COUNT, dtype=np.bool_)
    mask[list(TISSUES[tissue])] = True
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
        for stroke in activation.course.strokes:
            central = stroke.anchor[0] == stroke.anchor[1]
            for side, landmark in zip(("right", "left"), stroke.anchor, strict=True):
                # A midline muscle pulls on both sides, but on a point of the midline only once.
                if side == activation.side or (
                    activation.side == "both" and (side == "right" or not central)
                ):
                    outward = stroke.outward if side == "left" else -stroke.outward
                    rows.append((index, landmark, (outward, -stroke.up), stroke.reach, _mask(stroke.tissue)))
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
) -> None:
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
    """The mandible's fall as far as it goes."""
    field = np.zeros((len(points), 2))
    field[:, 1] = JAW_DROP_IOD * jaw_share(points)
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
    fall = _jaw_field(points)
    for field, activation in zip(out, ACTIVATIONS, strict=True):
        if activation.course.jaw:
            field += activation.course.jaw * fall
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
        response = activation.course.blendshapes.get(stem, 0.0)
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


BLENDSHAPE_COLUMNS = np.stack([_blendshape_column(a) for a in ACTIVATIONS], axis=1)
"""Response [used blendshapes, activations] of MediaPipe's blendshapes at full contraction."""
