"""The mean face inside the landmark model: what faces are drawn on when nobody in particular is meant.

MediaPipe fits this mesh to every face to find the head's pose; its points are those of the landmarks.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from processing.face_model import find_face_model
from processing.landmarks import LANDMARK_COUNT
from processing.pose import to_face_coordinates

_GEOMETRY = "geometry_pipeline_metadata_landmarks.binarypb"
_MESH, _VERTICES, _TRIANGLES = 1, 3, 4
"""Field numbers in MediaPipe's geometry_pipeline_metadata.proto and mesh_3d.proto."""

_VERTEX_FLOATS = 5  # x, y, z, and two of texture
_MESH_POINTS = 468
_EYES = ((33, 133, 159, 145), (263, 362, 386, 374))
_IRIS_RADIUS = 0.2  # of an eye's width


@dataclass(frozen=True, eq=False)
class CanonicalFace:
    """A face at rest.

    Attributes:
        points: float64 [478, 3] in face coordinates (see `processing.pose`); irises, which the mesh lacks,
            lie in the middle of the eyes.
        triangles: int [898, 3], landmarks at the corners of each facet of the skin.
    """

    points: NDArray[np.float64]
    triangles: NDArray[np.intp]


@cache
def canonical_face() -> CanonicalFace:
    """Read the mean face from the packaged model.

    Raises:
        DeviceNotFound, InvalidSignal: See `find_face_model`.
    """
    with zipfile.ZipFile(find_face_model()) as bundle:
        metadata = bundle.read(_GEOMETRY)
    mesh = next(value for number, value in _fields(metadata) if number == _MESH and isinstance(value, bytes))
    vertices = b"".join(v for number, v in _fields(mesh) if number == _VERTICES and isinstance(v, bytes))
    corners = [v for number, v in _fields(mesh) if number == _TRIANGLES and isinstance(v, int)]
    points = np.zeros((LANDMARK_COUNT, 3))
    points[:_MESH_POINTS] = np.frombuffer(vertices, "<f4").reshape(-1, _VERTEX_FLOATS)[:, :3]
    points *= (1.0, -1.0, -1.0)  # from y up, z towards the camera
    for eye, first in zip(_EYES, (468, 473), strict=True):
        points[first : first + 5] = _iris(points[list(eye)])
    return CanonicalFace(
        to_face_coordinates(points, np.eye(4)), np.array(corners, dtype=np.intp).reshape(-1, 3)
    )


def _iris(eye: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre and four rim points [5, 3] of the iris of an eye [4, 3]: corners, upper and lower lid."""
    radius = _IRIS_RADIUS * float(np.hypot(*(eye[1] - eye[0])[:2]))
    rim = np.array([[0, 0, 0], [1, 0, 0], [0, -1, 0], [-1, 0, 0], [0, 1, 0]])
    iris: NDArray[np.float64] = eye.mean(axis=0) + radius * rim
    return iris


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and raw values of a protocol buffer message: integers, or bytes of the other kinds."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            yield number, varint()
            continue
        length = varint() if wire == 2 else {1: 8, 5: 4}[wire]
        yield number, message[at : at + length]
        at += length
