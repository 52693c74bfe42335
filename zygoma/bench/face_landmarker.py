"""The peer of the camera chain: MediaPipe's FaceLandmarker alone, on the model that zygoma uses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from processing.face_model import find_face_model


class BareLandmarker:
    """One face in video mode, with blendshapes and pose; use as a context manager."""

    def __init__(self) -> None:
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(find_face_model())),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=1,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        self._landmarker: Any = vision.FaceLandmarker.create_from_options(options)

    def find(self, rgb: NDArray[np.uint8], stamp_s: float) -> None:
        """Look for the face in a picture [h, w, 3] of this stamp."""
        import mediapipe as mp

        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)
        self._landmarker.detect_for_video(image, int(stamp_s * 1000))

    def __enter__(self) -> BareLandmarker:
        return self

    def __exit__(self, *exception: object) -> None:
        self._landmarker.close()
