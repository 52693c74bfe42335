"""Whether somebody else is in the picture: a rare look for other faces beside the one that is tracked.

The tracker follows one face (see `processing.landmarks` why), so a second one would go unnoticed, or be taken
for the first. Every two seconds the detector inside the same model file searches a small copy of the picture:
about 3 ms, a fifth of a percent of a core.
"""

from __future__ import annotations

import math
import weakref
import zipfile
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processing.face_model import find_face_model, system_library_error
from processing.landmarks import without_chatter

LOOK_EVERY_S = 2.0
ANSWER_AFTER_S = 0.25
"""An answer counts from this long after its picture, so that a look may run beside the frames and the rows
still depend on the stamps alone."""

LEAST_SCORE = 0.6
SEARCHED_PX = 320
"""The picture is searched at this width at most; the detector itself sees 128 x 128."""

_DETECTOR = "face_detector.tflite"

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the picture."""

Submit = Callable[[Callable[[], bool]], "Future[bool]"]
"""Runs a piece of work at once or on another thread, as `concurrent.futures.Executor.submit` does."""


def at_once(work: Callable[[], bool]) -> Future[bool]:
    """Run `work` in place."""
    done: Future[bool] = Future()
    done.set_result(work())
    return done


class FaceFinder:
    """All faces in one picture, by the short-range detector that face_landmarker.task begins with."""

    def __init__(self, model_path: Path | str | None = None) -> None:
        """Load the detector.

        Raises:
            DeviceNotFound, InvalidSignal: See `find_face_model`.
        """
        with zipfile.ZipFile(find_face_model(model_path)) as bundle:
            detector = bundle.read(_DETECTOR)
        try:
            from mediapipe.tasks.python.core.base_options import BaseOptions
            from mediapipe.tasks.python.vision import face_detector
            from mediapipe.tasks.python.vision.core import image
        except (OSError, ImportError) as error:
            raise system_library_error(error) from error
        self._image = image

        class QuietDetector(face_detector.FaceDetector):  # type: ignore[misc]
            def __del__(self) -> None:
                # At interpreter exit MediaPipe's own parts are gone already, and it would print that.
                with suppress(Exception):
                    self.close()

        options = face_detector.FaceDetectorOptions(
            base_options=BaseOptions(model_asset_buffer=detector), min_detection_confidence=LEAST_SCORE
        )
        with without_chatter():
            self._detector: Any = QuietDetector.create_from_options(options)
            self.find(np.zeros((64, 64, 3), np.uint8))  # the first picture makes it talk
        self._closer = weakref.finalize(self, _close, self._detector)

    def find(self, rgb: NDArray[np.uint8]) -> list[Box]:
        """Boxes of the faces in uint8 [height, width, 3]."""
        height, width = rgb.shape[:2]
        picture = self._image.Image(self._image.ImageFormat.SRGB, np.ascontiguousarray(rgb))
        boxes = [found.bounding_box for found in self._detector.detect(picture).detections]
        return [
            (
                box.origin_x / width,
                box.origin_y / height,
                (box.origin_x + box.width) / width,
                (box.origin_y + box.height) / height,
            )
            for box in boxes
        ]

    def close(self) -> None:
        """Free the detector."""
        self._closer()


def _close(detector: Any) -> None:
    with suppress(Exception), without_chatter():
        detector.close()


class SecondFace:
    """Says, frame by frame, whether the last look found another face than the tracked one."""

    def __init__(self, finder: FaceFinder, submit: Submit = at_once) -> None:
        """Start without having looked.

        Args:
            finder: Finds the faces.
            submit: Where a look runs; at once and in place unless given.
        """
        self._finder = finder
        self._submit = submit
        self.reset()

    def reset(self) -> None:
        """Forget what was seen; the next frame is looked at."""
        self._seen = False
        self._look: Future[bool] | None = None
        self._looked_s = -math.inf

    def close(self) -> None:
        """Wait for a look under way and free the detector."""
        if self._look is not None:
            self._look.exception()
        self._finder.close()

    def update(self, rgb: NDArray[np.uint8], points_px: NDArray[np.float32] | None, time_s: float) -> bool:
        """Take one frame; true while there is a second face.

        Args:
            rgb: uint8 [height, width, 3]; must not change afterwards.
            points_px: Landmarks [478, 3] of the tracked face, px; None when it is lost.
            time_s: Stamp of the frame.
        """
        if time_s < self._looked_s:
            self.reset()  # the stream began again
        if self._look is not None and time_s >= self._looked_s + ANSWER_AFTER_S:
            self._seen = self._look.result()
            self._look = None
        if time_s >= self._looked_s + LOOK_EVERY_S:
            self._looked_s = time_s
            tracked = None if points_px is None else _box(points_px, rgb.shape[1], rgb.shape[0])
            self._look = self._submit(lambda: self._others(rgb, tracked))
        return self._seen

    def _others(self, rgb: NDArray[np.uint8], tracked: Box | None) -> bool:
        shrink = SEARCHED_PX / rgb.shape[1]
        if shrink < 1.0:
            size = (SEARCHED_PX, max(1, round(rgb.shape[0] * shrink)))
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        faces = self._finder.find(rgb)
        if tracked is None:
            return len(faces) > 1
        return any(not _holds(tracked, box) for box in faces)


def _box(points_px: NDArray[np.float32], width: int, height: int) -> Box:
    left, top = points_px[:, :2].min(axis=0)
    right, bottom = points_px[:, :2].max(axis=0)
    return float(left) / width, float(top) / height, float(right) / width, float(bottom) / height


def _holds(box: Box, other: Box) -> bool:
    """Whether the middle of `other` lies in `box`."""
    x, y = 0.5 * (other[0] + other[2]), 0.5 * (other[1] + other[3])
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
