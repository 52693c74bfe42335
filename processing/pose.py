"""Takes the head's motion out of the landmarks, so that what is left is the face's own movement.

Face coordinates: x to the picture's right (the subject's left), y downward, z away from the camera, origin at
the weighted centre of the stable points, unit = the neutral inter-ocular distance (IOD).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RIGHT_EYE_CORNERS = (33, 133)
LEFT_EYE_CORNERS = (362, 263)

# Bone lies close under the skin here and few muscles insert: landmark, weight. Lids, brows, alae, lips and jaw
# are left out; eye corners slide a little with AU6 and AU7, hence the modest weight of the outer ones.
_STABLE: tuple[tuple[tuple[int, ...], float], ...] = (
    ((133, 362), 1.0),  # inner canthi
    ((33, 263), 0.6),  # outer canthi
    ((168, 6, 197, 195), 1.0),  # nasal bridge
    ((122, 351, 193, 417, 188, 412), 0.6),  # nasal side walls at the bones
    ((5, 4), 0.3),  # dorsum and tip
    ((127, 356, 234, 454), 0.5),  # before the ears
    ((162, 389, 139, 368, 34, 264), 0.4),  # temples
)
STABLE_POINTS: NDArray[np.intp] = np.array([i for group, _ in _STABLE for i in group], dtype=np.intp)
STABLE_WEIGHTS: NDArray[np.float64] = np.array([w for group, w in _STABLE for _ in group])


@dataclass(frozen=True)
class HeadPose:
    """Where the head points and how large it is in the picture.

    Attributes:
        pitch_deg: Positive = chin down towards the chest.
        yaw_deg: Positive = turned to the subject's own left (picture's right).
        roll_deg: Positive = tilted towards the subject's own right shoulder (counter-clockwise in the picture).
        iod_px: Inter-ocular distance (between the eyes' corner midpoints) in frame pixels, in three dimensions,
            so that turning the head leaves it alone.
    """

    pitch_deg: float
    yaw_deg: float
    roll_deg: float
    iod_px: float


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> scale * rotation @ x + shift."""

    scale: float
    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transform points [n, 3]."""
        moved: NDArray[np.float64] = points @ (self.scale * self.rotation.T)
        moved += self.shift
        return moved


def interocular(points: NDArray[np.float64] | NDArray[np.float32]) -> float:
    """Distance between the midpoints of the two eyes' corners; `points` is [478, 3]."""
    right = 0.5 * (points[RIGHT_EYE_CORNERS[0]] + points[RIGHT_EYE_CORNERS[1]])
    left = 0.5 * (points[LEFT_EYE_CORNERS[0]] + points[LEFT_EYE_CORNERS[1]])
    between = left - right
    return float(np.sqrt(between @ between))


def fit_similarity(
    source: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64]
) -> Similarity:
    """Weighted least-squares similarity that takes `source` [n, 3] to `target` [n, 3].

    Umeyama, IEEE PAMI 13 (1991) 376, eqs. 40-43. Reflections are excluded.
    """
    share = weights / weights.sum()
    source_mean, target_mean = share @ source, share @ target
    centred = source - source_mean
    covariance = (target - target_mean).T @ (centred * share[:, None])
    u, d, vt = np.linalg.svd(covariance)
    if np.linalg.det(u) * np.linalg.det(vt) < 0.0:
        u[:, 2] *= -1.0
        d[2] *= -1.0
    rotation = u @ vt
    spread = float(share @ (centred * centred).sum(axis=1))
    scale = float(d.sum()) / spread if spread > 0.0 else 1.0
    return Similarity(scale, rotation, target_mean - scale * (rotation @ source_mean))


def head_rotation(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation [3, 3] of the head in picture axes (x right, y down, z away) from MediaPipe's transform."""
    u, _, vt = np.linalg.svd(transform[:3, :3])
    flip = np.array([1.0, -1.0, -1.0])  # MediaPipe's camera space: y up, z towards the camera
    rotation: NDArray[np.float64] = (u @ vt) * flip[:, None] * flip[None, :]
    return rotation


def head_pose(
    points_px: NDArray[np.float64] | NDArray[np.float32], transform: NDArray[np.float64]
) -> HeadPose:
    """Angles from the transform, size from the landmarks."""
    r = transform[:3, :3]
    norm = float(np.sqrt((r[:, 2] ** 2).sum())) or 1.0
    pitch = np.arcsin(np.clip(-r[1, 2] / norm, -1.0, 1.0))
    yaw = np.arctan2(r[0, 2], r[2, 2])
    roll = np.arctan2(r[1, 0], r[1, 1])
    return HeadPose(
        float(np.degrees(pitch)), float(np.degrees(yaw)), float(np.degrees(roll)), interocular(points_px)
    )


def to_face_coordinates(
    points_px: NDArray[np.float64] | NDArray[np.float32], transform: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Landmarks [478, 3] in face coordinates by the head's transform alone, without a neutral to align with."""
    points = np.asarray(points_px, dtype=np.float64)
    upright = points @ head_rotation(transform)  # row vectors: x @ R is R^T x
    centre = (STABLE_WEIGHTS / STABLE_WEIGHTS.sum()) @ upright[STABLE_POINTS]
    face: NDArray[np.float64] = (upright - centre) / interocular(points)
    return face


def align_to_neutral(
    points_px: NDArray[np.float64] | NDArray[np.float32], neutral: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Similarity, float]:
    """Landmarks moved onto the neutral's stable points.

    Args:
        points_px: [478, 3] in frame pixels.
        neutral: [478, 3] in face coordinates.

    Returns:
        Landmarks [478, 3] in face coordinates; the similarity that brought them there; weighted root mean
        square residual of the stable points, IOD.
    """
    points = np.asarray(points_px, dtype=np.float64)
    source, target = points[STABLE_POINTS], neutral[STABLE_POINTS]
    similarity = fit_similarity(source, target, STABLE_WEIGHTS)
    miss = similarity.apply(source) - target
    squares = (miss * miss).sum(axis=1)
    # One reweighting: a stable point that an expression has moved after all must not drag the head along.
    scale = 1e-4 + float(STABLE_WEIGHTS @ squares / STABLE_WEIGHTS.sum())
    weights = STABLE_WEIGHTS * scale / (scale + squares)
    similarity = fit_similarity(source, target, weights)
    return similarity.apply(points), similarity, float(np.sqrt(scale - 1e-4))
