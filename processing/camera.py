"""The camera chain: JPEG or picture in; action units and face motion out, at the camera's own stamps.

One decode per frame serves landmarks (colour) and motion (gray). Whatever goes wrong
with a frame makes a row without a face, never a stop; whatever speaks against it is flagged in its row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec
from processing.action_units import ActionUnitEstimator
from processing.face_quality import FLAG_BITS, FaceFlag, FaceQuality, confidence_left
from processing.landmarks import FaceMesh, FaceObservation
from processing.motion import RegionMotion
from processing.neutral import Neutral
from processing.second_face import FaceFinder, SecondFace, Submit, at_once
from processing.unit_channels import FACS_LEVEL_WORDS, action_unit_channels, no_face_row

MIRRORED = "mirrored"
"""Metadata of a camera stream: ``true`` when its pictures are mirrored, as a selfie view is."""

MAX_GAP_S = 0.5
"""Speeds and closure times are taken over a few lost frames; after a longer pause they start anew."""

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True, eq=False)
class CameraResult:
    """What the chain makes of one block of frames.

    Attributes:
        action_units: ActionUnits block, one row per frame.
        motion: FaceMotion block, one row per frame.
        points: Per frame the landmarks float32 [478, 3] in pixels of the unmirrored frame, None without a
            face.
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
        points: Per frame the landmarks float32 [478, 3] in pixels of the unmirrored frame, None without a
            face.
        grays: Per frame the gray picture, None when it was damaged.
        mirrored: The frames came mirrored and were turned back.
        restarted: Per frame whether it cannot be compared with the one before (another size, a clock that
            stepped back). Lost frames alone do not count: what is measured goes by the stamps.
    """

    action_units: Block
    motion_spec: StreamSpec
    points: tuple[NDArray[np.float32] | None, ...]
    grays: tuple[NDArray[np.uint8] | None, ...]
    restarted: tuple[bool, ...]
    mirrored: bool = False

    def filmed_points(self, index: int) -> NDArray[np.float32] | None:
        """Landmarks of one frame in the pixels of the picture as it came, to be drawn over it."""
        points, gray = self.points[index], self.grays[index]
        if not self.mirrored or points is None or gray is None:
            return points
        flipped = points.copy()
        flipped[:, 0] = gray.shape[1] - flipped[:, 0]
        return flipped


class CameraChain:
    """Decodes, finds the face, and measures action units and skin motion.

    Chunk-invariant: any cutting of the same frames into blocks gives the same rows. A few lost frames leave
    no trace beyond their own rows; a pause of more than `MAX_GAP_S` restarts what is measured from frame to
    frame, and the neutral stays.
    """

    def __init__(
        self,
        rest: tuple[float, float] | None = None,
        neutral: Neutral | None = None,
        model_path: Path | str | None = None,
        landmarks_every: int = 1,
        mirrored: bool = False,
        submit: Submit = at_once,
    ) -> None:
        """Load the face model.

        Args:
            rest: Stretch of stamps (start, end) in which the person rests: the neutral is taken from it.
            neutral: A neutral measured earlier (`Neutral.from_arrays`); wins over `rest`.
            model_path: Another copy of the face model than the packaged one.
            landmarks_every: Look for landmarks in every n-th frame only; motion is measured in each, and the
                action units of the frames between repeat the last ones.
            mirrored: The pictures are mirrored, whatever the stream says: left and right are swapped back.
            submit: Where the rare look for a second face runs; see `processing.second_face`.

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
        self._quality = FaceQuality()
        self._second_face = SecondFace(FaceFinder(model_path), submit)
        self._mirrored = mirrored
        self._known: tuple[StreamSpec, tuple[StreamSpec, StreamSpec]] | None = None
        self._forget_frames()

    @property
    def neutral(self) -> Neutral | None:
        """The person's neutral in use, to be saved with `Neutral.to_arrays`."""
        return self._units.neutral

    def _forget_frames(self) -> None:
        self._shape: tuple[int, int] | None = None
        self._last_s = -math.inf
        self._since_landmarks = 0
        self._looked = False
        self._observation: FaceObservation | None = None
        self._row: NDArray[np.float32] | None = None

    def reset(self) -> None:
        """Start anew: face, neutral (unless given), motion and counters."""
        self._mesh.reset()
        self._units.reset()
        self._motion.reset()
        self._quality.reset()
        self._second_face.reset()
        self.corrupt_frames = 0
        self._forget_frames()

    def close(self) -> None:
        """Free the face models."""
        self._mesh.close()
        self._second_face.close()

    def __enter__(self) -> CameraChain:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def spec_for(self, camera: StreamSpec) -> tuple[StreamSpec, StreamSpec]:
        """Specs of the ActionUnits and FaceMotion streams made from a camera stream."""

        def derived(kind: Kind, name: str, channels: tuple[Channel, ...], **metadata: str) -> StreamSpec:
            return StreamSpec(
                f"{camera.name}-{name}",
                kind,
                channels,
                camera.rate_hz,
                SampleType.FLOAT32,
                f"{camera.source_id}-{name}",
                metadata={"camera": camera.source_id, **metadata},
            )

        return (
            derived(
                Kind.ACTION_UNITS,
                "action-units",
                action_unit_channels(),
                flag_bits=FLAG_BITS,
                facs_levels=FACS_LEVEL_WORDS,
            ),
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

        Args:
            block: As for `process`, or what `look` made of it.

        Raises:
            InvalidSignal: The block is not a camera's.
        """
        mirrored = self._mirrors(block.spec)
        units_spec, motion_spec = self._specs_of(block.spec)
        rows = np.empty((len(block), units_spec.channel_count), dtype=np.float32)
        grays: list[NDArray[np.uint8] | None] = []
        points: list[NDArray[np.float32] | None] = []
        restarted: list[bool] = []
        for i, (frame, stamp_s) in enumerate(zip(block.data, block.timestamps.tolist(), strict=True)):
            seen = frame if isinstance(frame, Seen) else self._look(frame, stamp_s, mirrored)
            rows[i] = self._face(seen, stamp_s, mirrored)
            grays.append(None if seen.picture is None else seen.picture.gray)
            points.append(self._observation.points_px if self._observation is not None else None)
            restarted.append(seen.restarted)
        units = Block(units_spec, block.timestamps, rows, block.first)
        return Faces(units, motion_spec, tuple(points), tuple(grays), tuple(restarted), mirrored)

    def look(self, block: Block) -> Block:
        """The first step of `find_faces`: landmarks, in a block with `Seen` in place of the frames.

        It depends on the frames alone: it may run ahead on a thread of its own.

        Args:
            block: As for `process`, or with `Picture`s in place of the frames.

        Raises:
            InvalidSignal: The block is not a camera's.
        """
        mirrored = self._mirrors(block.spec)
        stamped = zip(block.data, block.timestamps.tolist(), strict=True)
        seen = tuple(self._look(frame, stamp_s, mirrored) for frame, stamp_s in stamped)
        return Block(block.spec, block.timestamps, seen, block.first)

    def follow_skin(self, faces: Faces) -> Block:
        """The second half of `process`: FaceMotion rows of the same frames, in the same order."""
        stamps = faces.action_units.timestamps
        rows = np.full((len(stamps), faces.motion_spec.channel_count), np.nan, dtype=np.float32)
        for i, gray in enumerate(faces.grays):
            if faces.restarted[i]:
                self._motion.reset()
            if gray is not None:
                rows[i] = self._motion.update(gray, faces.points[i], float(stamps[i]))
        return Block(faces.motion_spec, stamps, rows, faces.action_units.first)

    def _mirrors(self, camera: StreamSpec) -> bool:
        if camera.kind is not Kind.CAMERA:
            raise InvalidSignal(f"{camera.name} is a {camera.kind} stream, not a camera.")
        return self._mirrored or is_mirrored(camera)

    def _specs_of(self, camera: StreamSpec) -> tuple[StreamSpec, StreamSpec]:
        # Live blocks share one spec object, so this makes the derived specs once.
        if self._known is None or self._known[0] is not camera:
            self._known = (camera, self.spec_for(camera))
        return self._known[1]

    def _look(self, frame: Any, stamp_s: float, mirrored: bool) -> Seen:
        """One frame of `look`."""
        picture = frame if isinstance(frame, Picture) else decode(frame, mirrored)
        shape = self._shape if picture is None else (picture.gray.shape[0], picture.gray.shape[1])
        resized = self._shape is not None and shape != self._shape
        pause_s = stamp_s - self._last_s
        restarted = resized or pause_s <= 0.0
        interrupted = restarted or pause_s > MAX_GAP_S
        if interrupted:
            self._since_landmarks = 0
        self._shape, self._last_s = shape, stamp_s
        if picture is None:
            self._looked = False
            return Seen(None, restarted, interrupted)
        due = self._since_landmarks % self.landmarks_every == 0 or not self._looked
        self._since_landmarks += 1
        if not due:
            return Seen(picture, restarted, interrupted)
        self._looked = True
        return Seen(picture, restarted, interrupted, True, self._mesh.detect(picture.rgb, stamp_s))

    def _face(self, seen: Seen, stamp_s: float, mirrored: bool) -> NDArray[np.float32]:
        """One row of action units."""
        if seen.interrupted:
            self._units.interrupt()
        told = FaceFlag.MIRRORED if mirrored else FaceFlag(0)
        if seen.picture is None:
            self.corrupt_frames += 1
            self._observation = self._row = None
            row = no_face_row()
            row[_FLAGS] = told | FaceFlag.LOST
            return row
        if seen.looked:
            self._observation = seen.face
            self._row = self._units.update(self._observation, stamp_s, seen.picture.gray)
            self._judge(self._row, seen.picture, stamp_s, told)
        assert self._row is not None, "a face is looked for in every first picture"
        return self._row

    def _judge(self, row: NDArray[np.float32], picture: Picture, stamp_s: float, told: FaceFlag) -> None:
        """Write flags, sharpness and brightness into a row, and take off the confidence what they cost."""
        points = None if self._observation is None else self._observation.points_px
        flags = told
        if self._second_face.update(picture.rgb, points, stamp_s):
            flags |= FaceFlag.SECOND_FACE
        if points is None:
            row[_FLAGS] = flags | FaceFlag.LOST
            return
        pitch_deg, yaw_deg, iod_px = row[_HEAD].tolist()
        seen = self._quality.update(picture.gray, points, pitch_deg, yaw_deg, iod_px, stamp_s)
        flags |= seen.flags
        row[_FLAGS], row[_SHARPNESS], row[_BRIGHTNESS] = flags, seen.sharpness, seen.brightness
        row[_CONFIDENCE] *= confidence_left(flags)


_LABELS = [channel.label for channel in action_unit_channels()]
_CONFIDENCE, _FLAGS, _SHARPNESS, _BRIGHTNESS = (
    _LABELS.index(label) for label in ("confidence", "flags", "sharpness", "brightness")
)
_HEAD = [_LABELS.index(label) for label in ("pitch_deg", "yaw_deg", "iod_px")]


def is_mirrored(spec: StreamSpec) -> bool:
    """Whether a camera stream declares its pictures mirrored."""
    return spec.metadata.get(MIRRORED, "").lower() in {"true", "1", "yes"}


class Picture(NamedTuple):
    """A decoded, unmirrored frame: `rgb` uint8 [height, width, 3] and `gray` uint8 [height, width]."""

    rgb: NDArray[np.uint8]
    gray: NDArray[np.uint8]


class Seen(NamedTuple):
    """A frame in which the face has been looked for.

    Attributes:
        picture: None when the frame was damaged.
        restarted: See `Faces`.
        interrupted: Restarted, or after a pause of more than `MAX_GAP_S`.
        looked: Landmarks were due in this frame.
        face: What was found then.
    """

    picture: Picture | None
    restarted: bool
    interrupted: bool
    looked: bool = False
    face: FaceObservation | None = None


def predecoded(block: Block, mirrored: bool = False) -> Block:
    """The same camera block with `Picture`s in place of JPEGs, for a thread that decodes ahead.

    A damaged frame stays as it is, for the chain to count. `mirrored` is as in `CameraChain`.
    """
    mirrored = mirrored or is_mirrored(block.spec)
    pictures = tuple(decode(frame, mirrored) or frame for frame in block.data)
    return Block(block.spec, block.timestamps, pictures, block.first)


def decode(frame: bytes | NDArray[np.uint8], mirrored: bool = False) -> Picture | None:
    """Decode a JPEG, or convert a BGR picture, and undo a mirror; None when it is damaged."""
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
    if mirrored:
        rgb = cv2.flip(rgb, 1)
    gray: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return Picture(rgb, gray)
