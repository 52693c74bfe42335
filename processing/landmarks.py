"""478 face landmarks, 52 blendshapes and the head's transform per frame, by MediaPipe's FaceLandmarker.

MediaPipe smooths landmarks in video mode and converts its results slowly; here the hidden filter is switched
off and the native result is read in place, so that a 100 ms movement arrives whole and on time.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import InvalidSignal
from processing.face_model import find_face_model, system_library_error

LANDMARK_COUNT = 478
"""468 mesh points, then 5 of the right iris (468-472) and 5 of the left (473-477)."""

BLENDSHAPES: tuple[str, ...] = (
    "_neutral",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
)
"""Order of `FaceObservation.blendshapes`; left and right are the subject's own."""

TIME_STRETCH = 100_000
"""MediaPipe's one-euro filter (face_landmarker_graph.cc: min_cutoff .05, beta 80) runs whenever one face is
tracked in video mode and cannot be switched off. Its smoothing factor is 1 / (1 + tau / dt) with tau = 3.2 s:
timestamps stretched by this factor make it 1 to three digits, so that every frame passes unfiltered."""

# The filter counts int64 nanoseconds: beyond this a new graph starts its count again (about 25 hours).
_LAST_STAMP_MS = 2**63 // 10**6 - 10 * TIME_STRETCH
_LEAST_STEP_MS = TIME_STRETCH  # one real millisecond

_CHATTER = (
    b"Logging before InitGoogle",
    b"face_landmarker_graph.cc",
    b"inference_feedback_manager.cc",
    b"XNNPACK delegate",
    b"gl_context",
    b"landmark_projection_calculator.cc",
    b"inference_runner_litert.cc",
    b"environment.cc",
    b"accelerator_registry.cc",
    b"gpu_registry.cc",
    b"cpu_registry.cc",
    b"compiled_model.cc",
)


@dataclass(frozen=True, eq=False)
class FaceObservation:
    """One face in one frame.

    Attributes:
        points_px: float32 [478, 3]; x to the picture's right, y downward, z away from the camera (towards it
            is negative), all in frame pixels; z is relative to the head's centre.
        blendshapes: float32 [52], 0-1, in the order of `BLENDSHAPES`.
        transform: float64 [4, 4], canonical face (cm; y up, z towards the camera) to camera space.
    """

    points_px: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    transform: NDArray[np.float64]


@contextmanager
def without_chatter() -> Iterator[None]:
    """Hold back what MediaPipe prints when a graph starts or ends; other lines come through afterwards."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, ValueError, AttributeError):
        yield  # no standard error to keep clean
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not any(word in line for word in _CHATTER):
                    with suppress(OSError):
                        os.write(2, line)


class FaceMesh:
    """MediaPipe FaceLandmarker for one face, without hidden smoothing and with native results read in place.

    Not thread-safe: call one object from one thread at a time. Also a context manager.
    """

    def __init__(
        self, mode: Literal["video", "image"] = "video", model_path: Path | str | None = None
    ) -> None:
        """Load the model.

        Args:
            mode: ``video`` tracks the face from frame to frame; ``image`` looks for it anew each time.
            model_path: Another copy of the model than the packaged one.

        Raises:
            DeviceNotFound: The model or a system library is missing; the message says what to install.
            InvalidSignal: The model file is not the expected one.
        """
        self.mode = mode
        self._model = find_face_model(model_path)
        self._landmarker: Any = None
        self._fast: _NativeDetector | None = None
        self._closer: weakref.finalize[[Any], FaceMesh] | None = None
        self._start_graph()

    def _start_graph(self) -> None:
        self.close()
        try:
            # MediaPipe takes a second to import and is needed only where a face is.
            from mediapipe.tasks.python.core.base_options import BaseOptions
            from mediapipe.tasks.python.vision import face_landmarker
            from mediapipe.tasks.python.vision.core import image, vision_task_running_mode
        except (OSError, ImportError) as error:
            raise system_library_error(error) from error
        self._image = image
        running = vision_task_running_mode.VisionTaskRunningMode
        options = face_landmarker.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(self._model)),
            running_mode=running.VIDEO if self.mode == "video" else running.IMAGE,
            num_faces=1,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )

        class QuietLandmarker(face_landmarker.FaceLandmarker):  # type: ignore[misc]
            def __del__(self) -> None:
                # At interpreter exit MediaPipe's own parts are gone already, and it would print that.
                with suppress(Exception):
                    self.close()

        with without_chatter():
            try:
                self._landmarker = QuietLandmarker.create_from_options(options)
            except OSError as error:
                raise system_library_error(error) from error
        self._closer = weakref.finalize(self, _close_landmarker, self._landmarker)
        self._fast = _NativeDetector.of(self._landmarker, self.mode)
        self._first_s: float | None = None
        self._stamp_ms = 0
        self._shape: tuple[int, ...] | None = None
        self._fresh = True

    def _stamp(self, time_s: float) -> int:
        """Stretched, strictly increasing milliseconds for the graph."""
        if self._first_s is None:
            self._first_s = time_s
        wanted = round((time_s - self._first_s) * 1e3 * TIME_STRETCH) + 1
        if wanted > _LAST_STAMP_MS:
            self._start_graph()
            self._first_s, wanted = time_s, 1
        # A clock that stands still or steps back must neither stop the graph nor switch its filter on.
        self._stamp_ms = max(wanted, self._stamp_ms + _LEAST_STEP_MS)
        return self._stamp_ms

    def detect(self, rgb: NDArray[np.uint8], time_s: float) -> FaceObservation | None:
        """Find the face.

        Args:
            rgb: uint8 [height, width, 3], red first, C-contiguous.
            time_s: When it was taken; any origin. Not used in image mode.

        Returns:
            The face, or None when there is none.

        Raises:
            InvalidSignal: Not an 8-bit RGB picture.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise InvalidSignal(f"A picture must be uint8 [height, width, 3], not {rgb.dtype} {rgb.shape}.")
        if self._landmarker is None or (self._shape is not None and self._shape != rgb.shape):
            self._start_graph()  # the tracked place of the face means nothing in a picture of another size
        self._shape = rgb.shape
        stamp_ms = self._stamp(time_s) if self.mode == "video" else 0
        height, width = rgb.shape[:2]
        picture = self._image.Image(self._image.ImageFormat.SRGB, np.ascontiguousarray(rgb))
        if not self._fresh:
            return self._detect(picture, stamp_ms, width, height)
        self._fresh = False
        with without_chatter():
            return self._detect(picture, stamp_ms, width, height)

    def _detect(self, picture: Any, stamp_ms: int, width: int, height: int) -> FaceObservation | None:
        if self._fast is not None:
            return self._fast.detect(picture, stamp_ms, width, height)
        return self._detect_publicly(picture, stamp_ms, width, height)

    def _detect_publicly(
        self, picture: Any, stamp_ms: int, width: int, height: int
    ) -> FaceObservation | None:
        """The slower way through MediaPipe's public interface, should its inner names change."""
        found = (
            self._landmarker.detect_for_video(picture, stamp_ms)
            if self.mode == "video"
            else self._landmarker.detect(picture)
        )
        if not found.face_landmarks:
            return None
        points = np.array([(p.x, p.y, p.z) for p in found.face_landmarks[0]], dtype=np.float32)
        scores = np.array([c.score for c in found.face_blendshapes[0]], dtype=np.float32)
        transform = np.asarray(found.facial_transformation_matrixes[0], dtype=np.float64)
        return FaceObservation(_in_pixels(points, width, height), scores, transform)

    def reset(self) -> None:
        """Forget the tracked face: the next frame is searched anew."""
        self._start_graph()

    def close(self) -> None:
        """Free the graph; a later `detect` starts another."""
        self._landmarker, self._fast = None, None
        if self._closer is not None:
            self._closer()
            self._closer = None

    def __enter__(self) -> FaceMesh:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _close_landmarker(landmarker: Any) -> None:
    # At interpreter exit MediaPipe's own worker may be gone already: then the process frees the graph, and
    # its object must not try again from __del__, which would print a traceback.
    try:
        landmarker.close()
    except Exception:
        landmarker._handle = None


def _in_pixels(points: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    # MediaPipe scales z like x.
    return points * np.array([width, height, width], dtype=np.float32)


class _NativeDetector:
    """Calls the C interface and views its result structs as arrays: no Python object per landmark."""

    def __init__(self, landmarker: Any, mode: str, library: Any, result_type: Any, status: Any) -> None:
        self._handle = landmarker._handle
        self._video = mode == "video"
        self._library = library
        self._result_type = result_type
        self._handle_status = status

    @classmethod
    def of(cls, landmarker: Any, mode: str) -> _NativeDetector | None:
        """The native way into `landmarker`, or None when this MediaPipe has other inner names."""
        try:
            from mediapipe.tasks.python.components.containers import category_c, landmark_c
            from mediapipe.tasks.python.core import mediapipe_c_bindings, mediapipe_c_utils
            from mediapipe.tasks.python.vision import face_landmarker

            library = mediapipe_c_bindings.load_raw_library()
            name = "MpFaceLandmarkerDetectForVideo" if mode == "video" else "MpFaceLandmarkerDetectImage"
            known = (
                len(getattr(library, name).argtypes or ()) == (6 if mode == "video" else 5)
                and library.MpFaceLandmarkerCloseResult is not None
                and landmarker._handle
                and landmark_c.MpNormalizedLandmarkC.x.offset == 0
                and landmark_c.MpNormalizedLandmarkC.y.offset == 4
                and landmark_c.MpNormalizedLandmarkC.z.offset == 8
                and category_c.MpCategoryC.score.offset == 4
            )
            if not known:
                return None
            return cls(
                landmarker,
                mode,
                library,
                face_landmarker.MpFaceLandmarkerResultC,
                mediapipe_c_utils.handle_status,
            )
        except (ImportError, AttributeError):
            return None

    def detect(self, picture: Any, stamp_ms: int, width: int, height: int) -> FaceObservation | None:
        result, message = self._result_type(), ctypes.c_char_p()
        if self._video:
            status = self._library.MpFaceLandmarkerDetectForVideo(
                self._handle,
                picture._image_ptr,
                None,
                stamp_ms,
                ctypes.byref(result),
                ctypes.byref(message),
            )
        else:
            status = self._library.MpFaceLandmarkerDetectImage(
                self._handle, picture._image_ptr, None, ctypes.byref(result), ctypes.byref(message)
            )
        if status != 0:
            try:
                self._handle_status(status, message)
            finally:
                if message.value is not None:
                    self._library.MpErrorFree(message)
        try:
            return _observation(result, width, height)
        finally:
            self._library.MpFaceLandmarkerCloseResult(ctypes.byref(result))


def _floats(pointer: Any, count: int) -> NDArray[np.float32]:
    """An array of C structs, copied as float32 [count, floats per struct]."""
    raw = ctypes.string_at(pointer, count * ctypes.sizeof(pointer._type_))
    return np.frombuffer(raw, dtype=np.float32).reshape(count, -1)


def _observation(result: Any, width: int, height: int) -> FaceObservation | None:
    # After each search the caches hold MediaPipe's data: every further kind of step costs 10 us or more here.
    if result.face_landmarks_count == 0:
        return None
    landmarks = result.face_landmarks[0]
    points = _floats(landmarks.landmarks, landmarks.landmarks_count)[:, :3]
    scores = np.zeros(len(BLENDSHAPES), dtype=np.float32)
    if result.face_blendshapes_count:
        categories = result.face_blendshapes[0]
        scores = _floats(categories.categories, categories.categories_count)[:, 1].copy()
    transform = np.eye(4)
    if result.facial_transformation_matrixes_count:
        matrix = result.facial_transformation_matrixes[0]
        by_column = _floats(matrix.data, matrix.rows * matrix.cols).reshape(matrix.cols, matrix.rows)
        transform = by_column.T.astype(np.float64, order="C")
    return FaceObservation(_in_pixels(points, width, height), scores, transform)
