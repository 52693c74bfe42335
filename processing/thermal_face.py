"""Finds a face mesh in one thermal picture, by a visible-light face model that looks at its renderings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from processing.canonical_face import canonical_face
from processing.thermal_regions import OUTER_EYE_CORNERS, face_mask
from processing.thermal_rendering import RENDERINGS, Image, Rendering

FindFace: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[Any] | None]
"""Takes an RGB rendering uint8 [height, width, 3]; returns the mesh [478, 2+] in its pixels, or None."""

_MIN_EYE_DISTANCE_PX = 12.0
_SKIN_CELSIUS = (25.0, 41.0)

_MAX_MIRRORED_SHARE = 0.045
"""Of the face's width: a mesh that lies further from that of the mirrored picture is no measurement.

On drawn-up faces of 24 kinds the two disagree by .6-3.8 % where the mesh is right within 3.5 %, and by
5.6-8.1 % where a cold nose has pulled it up by 8 to 10 %."""


def find_thermal_face(celsius: Image, find_face: FindFace) -> NDArray[np.float64] | None:
    """Landmarks [478, 2 or 3] of the face in a single picture, in its pixels; None when none is found."""
    found = (landmarks_in(celsius, rendering, find_face) for rendering in RENDERINGS)
    return next((landmarks for landmarks in found if landmarks is not None), None)


def landmarks_in(celsius: Image, rendering: Rendering, find_face: FindFace) -> NDArray[np.float64] | None:
    """Landmarks [478, 2 or 3] in pixels of the picture, as seen in one rendering; None without a face."""
    picture, scale = rendering(celsius)
    found = find_face(picture)
    if found is None:
        return None
    # Cubic enlargement aligns the pictures' outer borders, not their first pixel centres.
    landmarks = np.asarray(found, dtype=np.float64) / scale
    landmarks[:, :2] += 0.5 / scale - 0.5
    return landmarks if is_face(celsius, landmarks) else None


def is_face(celsius: Image, landmarks_px: NDArray[np.float64]) -> bool:
    """Large enough, mostly in the picture, and as warm as skin."""
    height, width = celsius.shape
    landmarks_px = landmarks_px[:, :2]
    right, left = landmarks_px[list(OUTER_EYE_CORNERS)]
    if not np.hypot(*(left - right)) >= _MIN_EYE_DISTANCE_PX:
        return False
    middle = landmarks_px.mean(axis=0)
    if not (0 <= middle[0] < width and 0 <= middle[1] < height):
        return False
    skin = celsius[face_mask(landmarks_px, height, width) > 0]
    return bool(skin.size and _SKIN_CELSIUS[0] <= np.median(skin) <= _SKIN_CELSIUS[1])


def packaged_face_finder() -> FindFace:
    """The packaged face model, loaded when the first face is looked for.

    A face has to be seen in the picture and in its mirror image alike; their mean is returned. A drawn oval
    without features passes for a face in one of them now and then.
    """
    mesh = None

    def find(rgb: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        nonlocal mesh
        if mesh is None:
            from processing.landmarks import FaceMesh

            mesh = FaceMesh("image")
        seen = mesh.detect(rgb, 0.0)
        mirrored = None if seen is None else mesh.detect(np.ascontiguousarray(rgb[:, ::-1]), 0.0)
        if seen is None or mirrored is None:
            return None
        return consensus(seen.points_px, mirrored.points_px, rgb.shape[1])

    return find


def consensus(
    points_px: NDArray[np.float32], mirrored_px: NDArray[np.float32], width: int
) -> NDArray[np.float32] | None:
    """Mean of a face mesh [478, 3] and that of the mirrored picture; None when they contradict each other.

    Args:
        points_px, mirrored_px: In pixels of the picture and of its mirror image.
        width: Of the picture.
    """
    back = mirrored_px[mirror_vertices()]
    back[:, 0] = width - 1 - back[:, 0]
    apart = np.hypot(*(points_px - back)[:, :2].T)
    if np.sqrt(np.mean(apart**2)) > _MAX_MIRRORED_SHARE * np.ptp(points_px[:, 0]):
        return None
    return np.asarray(0.5 * (points_px + back), dtype=np.float32)


@cache
def mirror_vertices() -> NDArray[np.intp]:
    """For each vertex [478] of the mesh the one on the other side of the face."""
    points = canonical_face().points
    apart = np.linalg.norm((points * (-1.0, 1.0, 1.0))[:, None] - points[None], axis=2)
    return np.asarray(apart.argmin(axis=1))
