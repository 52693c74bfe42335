"""A real face for tests: the public-domain portrait in scikit-image, its landmarks, and moved copies."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, FrameFormat, Kind, SampleType, StreamSpec
from processing.landmarks import FaceMesh, FaceObservation
from processing.neutral import Neutral
from processing.pose import align_to_neutral, to_face_coordinates

WIDTH, HEIGHT = 320, 320


@lru_cache(maxsize=1)
def portrait() -> NDArray[np.uint8]:
    """RGB [HEIGHT, WIDTH, 3] with one face, inter-ocular distance about 75 px."""
    from skimage.data import astronaut

    face = np.ascontiguousarray(astronaut()[20:260, 100:340])
    return np.ascontiguousarray(cv2.resize(face, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))


@lru_cache(maxsize=1)
def observation() -> FaceObservation:
    """The portrait's face."""
    with FaceMesh("image") as mesh:
        found = mesh.detect(portrait(), 0.0)
    assert found is not None
    return found


@lru_cache(maxsize=1)
def neutral() -> Neutral:
    """The portrait's face taken as a neutral one."""
    found = observation()
    face = to_face_coordinates(found.points_px, found.transform)
    face = align_to_neutral(found.points_px, face)[0]
    return Neutral(face, found.blendshapes.astype(np.float64), 1)


def with_lip_corner_moved(up_px: float) -> NDArray[np.uint8]:
    """The portrait with the skin about the subject's left lip corner moved up."""
    x0, y0 = observation().points_px[291, :2]
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    spread = np.exp(-0.5 * (((x - x0) / 14.0) ** 2 + ((y - y0) / 14.0) ** 2))
    moved = cv2.remap(portrait(), x, (y + up_px * spread).astype(np.float32), cv2.INTER_CUBIC)
    return np.asarray(moved, dtype=np.uint8)


def camera_spec(codec: str = "MJPG", width: int = WIDTH, height: int = HEIGHT) -> StreamSpec:
    """Spec of a camera that shows the portrait."""
    return StreamSpec(
        "Cam",
        Kind.CAMERA,
        (Channel("jpeg"), Channel("frame_number")),
        30.0,
        SampleType.STRING,
        "cam-1",
        FrameFormat(width, height, codec),
    )


def jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """JPEG bytes at quality 95."""
    return bytes(
        cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    )


def camera_block(frames: tuple[bytes, ...], first: int = 0, spec: StreamSpec | None = None) -> Block:
    """A block of frames at 30 fps whose stamps follow their numbers."""
    stamps = 100.0 + (first + np.arange(len(frames))) / 30.0
    return Block(spec or camera_spec(), stamps, frames, first)
