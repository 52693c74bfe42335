"""What turning the head leaves in landmarks and blendshapes once its rigid motion is taken out.

MediaPipe's depth is that of an average face, and its landmarks prefer faces seen from the front: a head that
nods or turns moves brows, lips and chin although nothing in the face has moved. The remainder is smooth in
the two angles; its linear and quadratic parts were fitted to faces at rest that were turned by known angles.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
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


def turning(pitch_deg: float, yaw_deg: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displacement [478, 2], IOD, and blendshapes [52] that a turn of the head pretends.

    Args:
        pitch_deg: Change of pitch since the neutral, see `processing.pose.HeadPose`.
        yaw_deg: Change of yaw.
    """
    pitch = max(-_FARTHEST_DEG, min(_FARTHEST_DEG, pitch_deg)) / _UNIT_DEG
    yaw = max(-_FARTHEST_DEG, min(_FARTHEST_DEG, yaw_deg)) / _UNIT_DEG
    pretended = _coefficients() @ np.array([pitch, yaw, pitch * pitch, yaw * yaw, pitch * yaw])
    cut = 2 * LANDMARK_COUNT
    return pretended[:cut].reshape(LANDMARK_COUNT, 2), pretended[cut:]
