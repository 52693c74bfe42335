"""The camera chain: JPEG or picture in; action units and face motion out, at the camera's own stamps.

One decode per frame serves landmarks (colour) and motion (gray). Whatever goes wrong
with a frame makes a row without a face, never a stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec
from processing.action_units import ActionUnitEstimator, action_unit_channels, no_face_row
from processing.landmarks import FaceMesh, FaceObservation
from processing.motion import RegionMotion
from processing.neutral import Neutral

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True, eq=False)
class CameraResult:
    """What the chain makes of one block of frames.

    Attributes:
        action_units: ActionUnits block, one row per frame.
        motion: FaceMotion block, one row per frame.
        points: Per frame the landmarks float32 [478, 3] in frame pixels, None without a face.
    """

    action_units: Block
    motion: Block
    points: tuple[NDArray[np.float32] | None, ...]


@dataclass(frozen=True, eq=False)
class Faces:
    """A block of frames half-way through the chain.

    Attributes:
        action_units: ActionUnits block, one row per frame.
        motion_spec: Of the FaceMotion stream to come.
        points: Per frame the landmarks float32 [478, 3] in frame pixels, None without a face.
        grays: Per frame the gray picture, None when it was damaged.
        broken: Per frame whether it does not follow the one before (lost frames, damage, a new size).
    """

    action_units: Block
    motion_spec: StreamSpec
    points: tuple[NDArray[np.float32] | None, ...]
    grays: tuple[NDArray[np.uint8] | None, ...]
    broken: tuple[bool, ...]


class CameraChain:
    """Decodes, finds the face, and measures action units and skin motion.

    Chunk-invariant: any cutting of the same frames into blocks gives the same rows. Lost frames (a block
    whose `first` is not the end of the one before) restart what is measured from frame to frame; the neutral
    stays.
    """

    def __init__(
        self,
        rest: tuple[float, float] | None = None,
        neutral: Neutral | None = None,
        model_path: Path | str | None = None,
        landmarks_every: int = 1,
    ) -> None:
        """Load the face model.

        Args:
            rest: Stretch of stamps (start, end) in which the person rests: the neutral is taken from it.
            neutral: A neutral measured earlier (`Neutral.from_arrays`); wins over `rest`.
            model_path: Another copy of the face model than the packaged one.
            landmarks_every: Look for landmarks in every n-th frame only; motion is measured in each, and the
                action units of the frames between repeat the last ones.

        Raises:
            DeviceNotFound, InvalidSignal: See `FaceMesh`.
        """
        if landmarks_every < 1:
            raise ValueError(f"landmarks_every must be at least 1, got {landmarks_every}")
        self.landmarks_every = landmarks_every
        self.corrupt_frames = 0
        """Frames that could not be decoded, since the start or the last reset."""
        self._mesh = FaceMesh("video", model_path)
        self._units = ActionUnitEstimator(rest, neutral)
        self._motion = RegionMotion()
        self._known: tuple[StreamSpec, tuple[StreamSpec, StreamSpec]] | None = None
        self._forget_frames()

    @property
    def neutral(self) -> Neutral | None:
        """The person's neutral in use, to be saved with `Neutral.to_arrays`."""
        return self._units.neutral

    def _forget_frames(self) -> None:
        self._end: int | None = None
        self._broken = False
        self._shape: tuple[int, int] | None = None
        self._since_landmarks = 0
        self._observation: FaceObservation | None = None
        self._row: NDArray[np.float32] | None = None

    def reset(self) -> None:
        """Start anew: face, neutral (unless given), motion and counters."""
        self._mesh.reset()
        self._units.reset()
        self._motion.reset()
        self.corrupt_frames = 0
        self._forget_frames()

    def close(self) -> None:
        """Free the face model."""
        self._mesh.close()

    def __enter__(self) -> CameraChain:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def spec_for(self, camera: StreamSpec) -> tuple[StreamSpec, StreamSpec]:
        """Specs of the ActionUnits and FaceMotion streams made from a camera stream."""

        def derived(kind: Kind, name: str, channels: tuple[Channel, ...]) -> StreamSpec:
            return StreamSpec(
                f"{camera.name}-{name}",
                kind,
                channels,
                camera.rate_hz,
                SampleType.FLOAT32,
                f"{camera.source_id}-{name}",
                metadata={"camera": camera.source_id},
            )

        return (
            derived(Kind.ACTION_UNITS, "action-units", action_unit_channels()),
            derived(Kind.FACE_MOTION, "face-motion", self._motion.channels),
        )

    def process(self, block: Block) -> CameraResult:
        """Measure a block of frames.

        Args:
            block: Camera block: JPEG bytes, or uint8 [height, width, 3] BGR arrays (codec ``BGR8``).

        Raises:
            InvalidSignal: The block is not a camera's.
        """
        faces = self.find_faces(block)
        return CameraResult(faces.action_units, self.follow_skin(faces), faces.points)

    def find_faces(self, block: Block) -> Faces:
        """The first half of `process`: landmarks and action units.

        A live run sends them on before it goes on with the same faces in `follow_skin`.

        Raises:
            InvalidSignal: The block is not a camera's.
        """
        if block.spec.kind is not Kind.CAMERA:
            raise InvalidSignal(f"{block.spec.name} is a {block.spec.kind} stream, not a camera.")
        units_spec, motion_spec = self._specs_of(block.spec)
        self._broken = self._end is not None and block.first != self._end
        self._end = block.end
        rows = np.empty((len(block), units_spec.channel_count), dtype=np.float32)
        grays: list[NDArray[np.uint8] | None] = []
        points: list[NDArray[np.float32] | None] = []
        broken: list[bool] = []
        for i, (frame, stamp) in enumerate(zip(block.data, block.timestamps, strict=True)):
            rows[i], gray = self._face(frame, float(stamp))
            grays.append(gray)
            points.append(self._observation.points_px if self._observation is not None else None)
            broken.append(self._broken)
            self._broken = False
        units = Block(units_spec, block.timestamps, rows, block.first)
        return Faces(units, motion_spec, tuple(points), tuple(grays), tuple(broken))

    def follow_skin(self, faces: Faces) -> Block:
        """The second half of `process`: FaceMotion rows of the same frames, in the same order."""
        stamps = faces.action_units.timestamps
        rows = np.full((len(stamps), faces.motion_spec.channel_count), np.nan, dtype=np.float32)
        for i, gray in enumerate(faces.grays):
            if faces.broken[i]:
                self._motion.reset()
            if gray is not None:
                rows[i] = self._motion.update(gray, faces.points[i], float(stamps[i]))
        return Block(faces.motion_spec, stamps, rows, faces.action_units.first)

    def _specs_of(self, camera: StreamSpec) -> tuple[StreamSpec, StreamSpec]:
        # Live blocks share one spec object, so this makes the derived specs once.
        if self._known is None or self._known[0] is not camera:
            self._known = (camera, self.spec_for(camera))
        return self._known[1]

    def _face(self, frame: Any, stamp_s: float) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        picture = frame if isinstance(frame, Picture) else decode(frame)
        shape = None if picture is None else (picture.gray.shape[0], picture.gray.shape[1])
        self._broken |= shape is None or (self._shape is not None and self._shape != shape)
        if self._broken:
            self._units.interrupt()
            self._since_landmarks = 0
        if picture is None:
            self.corrupt_frames += 1
            self._observation = None
            return no_face_row(), None
        self._shape = shape
        if self._since_landmarks % self.landmarks_every == 0 or self._row is None:
            self._observation = self._mesh.detect(picture.rgb, stamp_s)
            self._row = self._units.update(self._observation, stamp_s)
        self._since_landmarks += 1
        return self._row, picture.gray


class Picture(NamedTuple):
    """A decoded frame: `rgb` uint8 [height, width, 3] and `gray` uint8 [height, width]."""

    rgb: NDArray[np.uint8]
    gray: NDArray[np.uint8]


def predecoded(block: Block) -> Block:
    """The same camera block with `Picture`s in place of JPEGs, for a thread that decodes ahead.

    A damaged frame stays as it is, for the chain to count.
    """
    pictures = tuple(decode(frame) or frame for frame in block.data)
    return Block(block.spec, block.timestamps, pictures, block.first)


def decode(frame: bytes | NDArray[np.uint8]) -> Picture | None:
    """Decode a JPEG, or convert a BGR picture; None when it is damaged."""
    if isinstance(frame, np.ndarray):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
            return None
        rgb: Any = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    else:
        # A JPEG cut short decodes to a picture with a grey end: whole ones carry their end mark.
        if not frame.startswith(_JPEG_START) or frame.rfind(_JPEG_END) < 0:
            return None
        rgb = cv2.imdecode(np.frombuffer(frame, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
        if rgb is None:
            return None
    gray: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return Picture(rgb, gray)
