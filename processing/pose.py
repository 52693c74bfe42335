"""Takes the head's motion out of the landmarks, so that what is left is the face's own movement.

Face coordinates: x to the picture's right (the subject's left), y downward, z away from the camera, origin at
the weighted centre of the stable points, unit = the neutral inter-ocular distance (IOD).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

RIGHT_EYE_CORNERS = (33, 133)
LEFT_EYE_CORNERS = (362, 263)

# Bone lies close under the skin here and few muscles insert: landmarks, weight. Lids, brows, alae, lips and
# jaw are left out; eye corners slide a little with AU6 and AU7, hence the modest weight of the outer ones.
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
        roll_deg: Positive = tilted to the subject's own right shoulder (counter-clockwise in the picture).
        iod_px: Inter-ocular distance (between the eyes' corner midpoints) in frame pixels, in three
            dimensions, so that turning the head leaves it alone.
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
    outer_right, inner_right = points[RIGHT_EYE_CORNERS[0]], points[RIGHT_EYE_CORNERS[1]]
    inner_left, outer_left = points[LEFT_EYE_CORNERS[0]], points[LEFT_EYE_CORNERS[1]]
    x, y, z = (0.5 * (inner_left + outer_left - outer_right - inner_right)).tolist()
    return math.sqrt(x * x + y * y + z * z)


@njit(cache=True, nogil=True)
def _fit(
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    weights: NDArray[np.float64],
    out: NDArray[np.float64],
) -> bool:
    """Fills out [13] = scale, rotation row by row, shift; False where no proper rotation fits."""
    n = source.shape[0]
    total = 0.0
    centre = np.zeros(6)
    for i in range(n):
        total += weights[i]
        for k in range(3):
            centre[k] += weights[i] * source[i, k]
            centre[3 + k] += weights[i] * target[i, k]
    centre /= total
    covariance = np.zeros((3, 3))
    spread = 0.0
    for i in range(n):
        for k in range(3):
            from_centre = source[i, k] - centre[k]
            spread += weights[i] * from_centre * from_centre
            for j in range(3):
                covariance[j, k] += weights[i] * (target[i, j] - centre[3 + j]) * from_centre
    # Polar decomposition by Newton's iteration (Higham 1986): the orthogonal factor is the best rotation.
    q = covariance / np.sqrt((covariance * covariance).sum() + 1e-300)
    cofactor = np.empty((3, 3))
    for _ in range(40):
        for j in range(3):
            j1, j2 = (j + 1) % 3, (j + 2) % 3
            for k in range(3):
                k1, k2 = (k + 1) % 3, (k + 2) % 3
                cofactor[j, k] = q[j1, k1] * q[j2, k2] - q[j1, k2] * q[j2, k1]
        determinant = q[0, 0] * cofactor[0, 0] + q[0, 1] * cofactor[0, 1] + q[0, 2] * cofactor[0, 2]
        if not determinant > 1e-12:
            return False
        # Scaling to determinant 1 first makes the iteration converge in a handful of steps.
        scale = determinant ** (-1.0 / 3.0)
        change = 0.0
        for j in range(3):
            for k in range(3):
                new = 0.5 * (scale * q[j, k] + cofactor[j, k] / (scale * determinant))
                change = max(change, abs(new - q[j, k]))
                q[j, k] = new
        if change < 1e-14:
            break
    stretch = 0.0
    for j in range(3):
        for k in range(3):
            stretch += q[j, k] * covariance[j, k]
            out[1 + 3 * j + k] = q[j, k]
    out[0] = stretch / spread if spread > 0.0 else 1.0
    for j in range(3):
        turned = q[j, 0] * centre[0] + q[j, 1] * centre[1] + q[j, 2] * centre[2]
        out[10 + j] = centre[3 + j] - out[0] * turned
    return True


def fit_similarity(
    source: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64]
) -> Similarity:
    """Weighted least-squares similarity that takes `source` [n, 3] to `target` [n, 3].

    Umeyama, IEEE PAMI 13 (1991) 376, eqs. 40-43. Reflections are excluded: where none but a reflection fits,
    which a face in sight never does, the rotation stays the identity.
    """
    out = np.zeros(13)
    if not _fit(source, target, weights, out):
        share = weights / weights.sum()
        return Similarity(1.0, np.eye(3), share @ target - share @ source)
    return Similarity(float(out[0]), out[1:10].reshape(3, 3), out[10:])


@njit(cache=True, nogil=True)
def mean_square_step(
    before: NDArray[np.float64], now: NDArray[np.float64], landmarks: NDArray[np.intp]
) -> float:
    """Mean squared length, in the picture's plane, of the steps that some of the points [478, 3] took."""
    total = 0.0
    for i in landmarks:
        x, y = now[i, 0] - before[i, 0], now[i, 1] - before[i, 1]
        total += x * x + y * y
    return float(total / landmarks.shape[0])


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
    r = transform[:3, :3].tolist()
    norm = math.sqrt(r[0][2] ** 2 + r[1][2] ** 2 + r[2][2] ** 2) or 1.0
    return HeadPose(
        math.degrees(math.asin(max(-1.0, min(1.0, -r[1][2] / norm)))),
        math.degrees(math.atan2(r[0][2], r[2][2])),
        math.degrees(math.atan2(r[1][0], r[1][1])),
        interocular(points_px),
    )


def to_face_coordinates(
    points_px: NDArray[np.float64] | NDArray[np.float32], transform: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Landmarks [478, 3] in face coordinates by the head's transform alone, before there is a neutral."""
    points = np.asarray(points_px, dtype=np.float64)
    upright = points @ head_rotation(transform)  # row vectors: x @ R is R^T x
    centre = (STABLE_WEIGHTS / STABLE_WEIGHTS.sum()) @ upright[STABLE_POINTS]
    face: NDArray[np.float64] = (upright - centre) / interocular(points)
    return face


@njit(cache=True, nogil=True)
def _align(
    points: NDArray[np.float64],
    neutral: NDArray[np.float64],
    stable: NDArray[np.intp],
    stable_weights: NDArray[np.float64],
    found: NDArray[np.float64],
    face: NDArray[np.float64],
) -> float:
    """Fills found [13] as `_fit` does, and face [478, 3]; returns the residual, -1 where no rotation fits."""
    n = stable.shape[0]
    source, target, weights = np.empty((n, 3)), np.empty((n, 3)), stable_weights.copy()
    for i in range(n):
        for k in range(3):
            source[i, k], target[i, k] = points[stable[i], k], neutral[stable[i], k]
    if not _fit(source, target, weights, found):
        return -1.0
    squares = np.zeros(n)
    total, weighted = 0.0, 0.0
    for i in range(n):
        for j in range(3):
            moved = found[10 + j] - target[i, j]
            for k in range(3):
                moved += found[0] * found[1 + 3 * j + k] * source[i, k]
            squares[i] += moved * moved
        total += weights[i]
        weighted += weights[i] * squares[i]
    # One reweighting: a stable point that an expression has moved after all must not drag the head along.
    mean = weighted / total
    for i in range(n):
        weights[i] *= (1e-4 + mean) / (1e-4 + mean + squares[i])
    if not _fit(source, target, weights, found):
        return -1.0
    for i in range(points.shape[0]):
        for j in range(3):
            moved = 0.0
            for k in range(3):
                moved += found[1 + 3 * j + k] * points[i, k]
            face[i, j] = found[0] * moved + found[10 + j]
    return float(np.sqrt(mean))


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
    points = np.ascontiguousarray(points_px, dtype=np.float64)
    target = np.ascontiguousarray(neutral, dtype=np.float64)
    found, face = np.zeros(13), np.empty_like(points)
    residual = _align(points, target, STABLE_POINTS, STABLE_WEIGHTS, found, face)
    if residual < 0.0:  # none but a reflection fits, which a face in sight never does
        share = STABLE_WEIGHTS / STABLE_WEIGHTS.sum()
        shift = share @ target[STABLE_POINTS] - share @ points[STABLE_POINTS]
        return points + shift, Similarity(1.0, np.eye(3), shift), math.inf
    return face, Similarity(float(found[0]), found[1:10].reshape(3, 3), found[10:]), residual
