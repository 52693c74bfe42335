"""The whole chain of processors and fusion, fed with blocks; the same object live, in replay and offline.

It knows no device and no clock. Live, each input stream feeds it from a thread of its own: the heavy work of
a stream runs outside the lock, only the hand-over to fusion is serialised, and what comes out depends on the
stamps alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import IRREGULAR_RATE_HZ, Block, Kind, SampleType, StreamSpec
from fusion.events import FaceEvent
from fusion.fuse import Fused, Fusion, FusionSettings
from fusion.micro_expressions import MicroSettings
from fusion.quality import QualityEvents, ThermalQuality
from processing.camera import CameraChain, Faces
from processing.emg import MuscleActivity
from processing.emg_quality import ChannelQuality
from processing.envelope import EnvelopeActivity, is_envelope
from processing.findings import Burst
from processing.motion_context import usable
from processing.neutral import Neutral
from processing.spotting import MicroMovementSpotter
from processing.thermal import SkinTemperature
from processing.thermal_mapping import ThermalMapping
from processing.unit_channels import action_unit_channels

SENSOR_KINDS = (Kind.CAMERA, Kind.EMG, Kind.THERMAL)
"""Kinds the pipeline measures from; every other stream is carried along, not processed."""


LANDMARKS_AT_MOST_HZ = 45.0
"""Above this rate landmarks are found in every second (third ...) frame, the same live and offline."""


def landmarks_every(rate_hz: float) -> int:
    """Landmarks are found in every n-th frame of a camera: n."""
    return max(1, math.ceil(rate_hz / LANDMARKS_AT_MOST_HZ))


@dataclass(frozen=True)
class PipelineSettings:
    """What a run may choose.

    Attributes:
        rest: (start, end) in the seconds of the block stamps: neutral of the face, rest of the muscles and
            baseline of the temperatures. None: robust running estimates.
        me_threshold: Operating point of the micro-expression candidates, log-odds; None is the default,
            which aims at no more than one false candidate per usable minute.
        face_model: Another face_landmarker.task than the packaged one.
        calibration: Per-person values, by processor: ``neutral``, ``emg`` and ``valence``
            (`zygoma.calibration.Calibration.for_pipeline`).
        thermal_mapping: From the camera's pixels to the thermal camera's (`zygoma calibrate thermal`): the
            face is carried over where the thermal picture alone does not show it.
        mirrored: The camera's pictures are mirrored, whatever its stream says.
    """

    rest: tuple[float, float] | None = None
    me_threshold: float | None = None
    face_model: Path | None = None
    calibration: Mapping[str, Any] = field(default_factory=dict)
    mirrored: bool = False
    thermal_mapping: ThermalMapping | None = None


class Pipeline:
    """Camera, EMG and thermal blocks in; measurements, valence and events out.

    Args:
        specs: The sensor streams there are, by kind; any subset of `SENSOR_KINDS`. Streams may be added
            later with `attach`.
        settings: See `PipelineSettings`.
    """

    def __init__(self, specs: Mapping[Kind, StreamSpec], settings: PipelineSettings | None = None) -> None:
        # OpenCV's own threads wait for work by spinning: half a millisecond of a core per frame that the skin
        # could be followed in.
        cv2.setNumThreads(1)
        self.settings = settings or PipelineSettings()
        self.specs: dict[Kind, StreamSpec] = {}
        self._camera: CameraChain | None = None
        self._spotter: MicroMovementSpotter | None = None
        self._emg: MuscleActivity | EnvelopeActivity | None = None
        self._thermal: SkinTemperature | None = None
        self._lock = Lock()
        self._follower = ThreadPoolExecutor(1, "zygoma-skin")
        self._following: Future[None] | None = None
        self._frames_followed = self._frames_usable = 0
        self._quality = QualityEvents()
        self._thermal_quality = ThermalQuality()
        self._quality_events: list[FaceEvent] = []
        # One layout serves every camera, so that a camera that comes late finds fusion running.
        units = StreamSpec(
            "zygoma action units",
            Kind.ACTION_UNITS,
            action_unit_channels(),
            IRREGULAR_RATE_HZ,
            SampleType.FLOAT32,
            "zygoma-action-units",
        )
        weights = self.settings.calibration.get("valence")
        self._fusion = Fusion(units, _fusion_settings(self.settings), weights)
        for spec in specs.values():
            self.attach(spec)

    def attach(self, spec: StreamSpec) -> StreamSpec:
        """Build the processor of one sensor stream; returns the stream it will produce.

        Raises:
            ValueError: Not a sensor stream.
        """
        rest = self.settings.rest
        if spec.kind is Kind.CAMERA:
            self._camera = CameraChain(
                rest=rest,
                neutral=self.settings.calibration.get("neutral"),
                model_path=self.settings.face_model,
                # Skin motion needs every frame of a fast camera; landmarks, the dear part, do not.
                landmarks_every=landmarks_every(spec.rate_hz),
                mirrored=self.settings.mirrored,
                submit=self._follower.submit,
            )
            self._spotter = MicroMovementSpotter()
            output, _ = self._camera.spec_for(spec)
        elif spec.kind is Kind.EMG:
            chain = EnvelopeActivity if is_envelope(spec) else MuscleActivity
            self._emg = chain(calibration=self.settings.calibration.get("emg"), rest=rest)
            output = self._emg.spec_for(spec)
        elif spec.kind is Kind.THERMAL:
            self._thermal = SkinTemperature(rest=rest, mapping=self.settings.thermal_mapping)
            output = self._thermal.spec_for(spec)
        else:
            raise ValueError(
                f"{spec.name} is a {spec.kind} stream; the pipeline measures from {SENSOR_KINDS}"
            )
        self.specs[spec.kind] = spec
        return output

    def look(self, frame: Block) -> Block:
        """Find the landmarks of a frame, for `face` to go on with; may run ahead on a thread of its own."""
        assert self._camera is not None, "attach the camera stream first"
        return self._camera.look(frame)

    def face(self, frame: Block) -> Faces:
        """Measure the face in one frame and hand it to fusion; `follow` takes it from there.

        Two steps, because valence needs the first only and must not wait for the second.
        """
        assert self._camera is not None, "attach the camera stream first"
        faces = self._camera.find_faces(frame)
        # What moved in the frame before belongs to this frame's row: it has to be there first, or the
        # result would hang on the speed of threads.
        self._settle()
        self._carry_over(faces)
        with self._lock:
            self._fusion.push_camera(faces.action_units)
            self._quality_events += self._quality.process(faces.action_units)
        return faces

    def _carry_over(self, faces: Faces) -> None:
        """Tell the thermal processor where the camera saw the face."""
        if self._thermal is None or self.settings.thermal_mapping is None:
            return
        stamps = faces.action_units.timestamps.tolist()
        for stamp_s, points, gray in zip(stamps, faces.points, faces.grays, strict=True):
            if points is not None and gray is not None:
                self._thermal.carry_over(points, stamp_s, (gray.shape[1], gray.shape[0]))

    def follow(self, faces: Faces) -> None:
        """Follow the skin through the frame of `faces`, while the caller goes on to the next frame's face."""
        self._following = self._follower.submit(self._follow, faces)

    def _follow(self, faces: Faces) -> None:
        assert self._camera is not None and self._spotter is not None
        motion = self._camera.follow_skin(faces)
        self._frames_followed += len(motion)
        self._frames_usable += int(np.count_nonzero(usable(motion)))
        movements = self._spotter.process(motion, faces.action_units)
        with self._lock:
            self._fusion.push_movements(movements)

    def _settle(self) -> None:
        if self._following is not None:
            self._following.result()
            self._following = None

    def emg(self, block: Block) -> tuple[Block, Sequence[Burst]]:
        """Measure the samples of `block` and hand them to fusion."""
        assert self._emg is not None, "attach the EMG stream first"
        activity = self._emg.process(block)
        bursts = self._emg.take_bursts()
        with self._lock:
            self._fusion.push_emg(activity, bursts)
        return activity, bursts

    def thermal(self, block: Block) -> Block:
        """Measure the pictures of `block` and hand them to fusion."""
        assert self._thermal is not None, "attach the thermal stream first"
        skin = self._thermal.process(block)
        movements = self._thermal.take_movements()
        with self._lock:
            self._fusion.push_thermal(skin, movements)
            self._quality_events += self._thermal_quality.process(self._thermal.events())
        return skin

    def drain(self, alive: frozenset[Kind], *, flush: bool = False) -> Fused:
        """Everything that can be said by now.

        Args:
            alive: Sensor kinds that deliver at present; fusion waits for those and for no other.
            flush: The recording is over: close what is open.
        """
        if flush:
            self._settle()
        with self._lock:
            fused = self._fusion.drain(alive, flush=flush)
            doubts, self._quality_events = self._quality_events, []
            if flush:
                doubts += self._quality.flush()
        return replace(fused, events=[*fused.events, *doubts]) if doubts else fused

    def quality_words(self) -> dict[str, str]:
        """Sentences an assistant can act on, by EMG channel; empty without EMG."""
        return self._emg.quality_words() if self._emg is not None else {}

    def thermal_words(self) -> dict[str, str]:
        """What spoke against the thermal signal so far, under ``thermal``; empty without one."""
        words = self._thermal.quality_words() if self._thermal is not None else ""
        return {"thermal": words} if words else {}

    def emg_quality(self) -> dict[str, ChannelQuality]:
        """Quality indices by EMG channel; empty without EMG."""
        return self._emg.quality() if self._emg is not None else {}

    def thermal_landmarks_px(self) -> NDArray[np.float64] | None:
        """The face mesh [478, 2] in the newest thermal picture, for a display; None without a face."""
        return self._thermal.landmarks_px if self._thermal is not None else None

    @property
    def neutral(self) -> Neutral | None:
        """The person's neutral face in use; None without a face so far."""
        return None if self._camera is None else self._camera.neutral

    @property
    def followed_frames(self) -> tuple[int, int]:
        """Frames in which brief movements of the skin could be told, and all in which it was followed."""
        return self._frames_usable, self._frames_followed

    def close(self) -> None:
        """Free the face models and the follower's thread."""
        self._follower.shutdown()
        if self._camera is not None:
            self._camera.close()


def _fusion_settings(settings: PipelineSettings) -> FusionSettings:
    if settings.me_threshold is None:
        return FusionSettings()
    return FusionSettings(micro=MicroSettings(me_threshold=settings.me_threshold))
