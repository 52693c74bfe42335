"""What turning the head leaves in landmarks and blendshapes once its rigid motion is taken out.

MediaPipe's depth is that of an average face, and its landmarks prefer faces seen from the front: a head that
nods or turns moves brows, lips and chin although nothing in the face has moved. The remainder is smooth in
the two angles; its linear and quadratic parts were fitted to faces at rest that were turned by known angles.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processing.landmarks import BLENDSHAPES, LANDMARK_COUNT

_UNIT_DEG = 20.0
"""The angle that the coefficients are given for."""

_FARTHEST_DEG = 30.0
"""Beyond the angles that were fitted the remainder is held, not extrapolated."""


@cache
def _coefficients() -> NDArray[np.float64]:
    """[1008, 5]: 478 landmarks' x and y, IOD, then 52 blendshapes; per pitch, yaw, their squares, product.

    Fitted on twenty rendered heads (MakeHuman's CC0 shapes with photographed skin), turned in steps of 10 deg
    to 20 deg, and on photographs of twenty people turned with MediaPipe's mean depth, each with its mirror
    image; ridge regression on the measured angles, relative to those of the same face unturned.
    """
    with (files("processing") / "data" / "head_turn.npz").open("rb") as file:
        stored = np.load(file)
        landmarks, blendshapes = stored["landmarks"], stored["blendshapes"]
    assert landmarks.shape == (5, LANDMARK_COUNT, 2) and blendshapes.shape == (5, len(BLENDSHAPES))
    both = np.concatenate([landmarks.reshape(5, -1), blendshapes], axis=1)
    return np.ascontiguousarray(both.T, dtype=np.float64)


@njit(cache=True, nogil=True)
def _subtract(
    coefficients: NDArray[np.float64],
    terms: NDArray[np.float64],
    face: NDArray[np.float64],
    shapes: NDArray[np.float64],
) -> None:
    points = face.shape[0]
    for i in range(coefficients.shape[0]):
        pretended = 0.0
        for k in range(terms.shape[0]):
            pretended += coefficients[i, k] * terms[k]
        if i < 2 * points:
            face[i // 2, i % 2] -= pretended
        else:
            shapes[i - 2 * points] -= pretended


def straighten(
    face: NDArray[np.float64], shapes: NDArray[np.float64], pitch_deg: float, yaw_deg: float
) -> None:
    """Take off, in place, what `turning` says.

    Args:
        face: Landmarks [478, 3] in face coordinates.
        shapes: Blendshapes [52].
        pitch_deg: Change of pitch since the neutral.
        yaw_deg: Change of yaw.
    """
    _subtract(_coefficients(), _terms(pitch_deg, yaw_deg), face, shapes)


def turning(pitch_deg: float, yaw_deg: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displacement [478, 2], IOD, and blendshapes [52] that a turn of the head pretends.

    Args:
        pitch_deg: Change of pitch since the neutral, see `processing.pose.HeadPose`.
        yaw_deg: Change of yaw.
    """
    face, shapes = np.zeros((LANDMARK_COUNT, 2)), np.zeros(len(BLENDSHAPES))
    straighten(face, shapes, pitch_deg, yaw_deg)
    return -face, -shapes


def _terms(pitch_deg: float, yaw_deg: float) -> NDArray[np.float64]:
    pitch = max(-_FARTHEST_DEG, min(_FARTHEST_DEG, pitch_deg)) / _UNIT_DEG
    yaw = max(-_FARTHEST_DEG, min(_FARTHEST_DEG, yaw_deg)) / _UNIT_DEG
    return np.array([pitch, yaw, pitch * pitch, yaw * yaw, pitch * yaw])
