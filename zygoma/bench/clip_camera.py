"""How a clip is filmed: the head's motion, its depth, light, sensor noise and JPEG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bgr = NDArray[np.uint8]

FRAME_PX = 400
"""Width and height of a clip."""


@dataclass(frozen=True)
class Pose:
    """Where the head is: shift px, roll rad, scale, yaw and pitch (px of shift per px of depth)."""

    x: float
    y: float
    roll: float
    scale: float
    yaw: float
    pitch: float


def head_motion(rng: np.random.Generator, hard: bool) -> Callable[[float], Pose]:
    """Sum of slow sines per degree of freedom, larger and faster when `hard`."""
    largest = (7.0, 6.0, 0.035, 0.02, 0.06, 0.05) if hard else (3.0, 2.5, 0.012, 0.006, 0.015, 0.015)
    waves = []
    for size in largest:
        hz = rng.uniform(0.04, 0.45 if hard else 0.25, 4)
        amplitude = rng.dirichlet(np.ones(4)) * size * rng.uniform(0.5, 1.0)
        waves.append((amplitude, hz, rng.uniform(0, 2 * np.pi, 4)))

    def head(time_s: float) -> Pose:
        x, y, roll, scale, yaw, pitch = (
            float(np.sum(a * np.sin(2 * np.pi * hz * time_s + phase))) for a, hz, phase in waves
        )
        return Pose(x, y, roll, 1.0 + scale, yaw, pitch)

    return head


def depth_map(points: F64) -> NDArray[np.float32]:
    """Height of the face above its outline, px: an ellipsoid with a nose, unlike the landmarks' depth."""
    rows, columns = np.mgrid[0:FRAME_PX, 0:FRAME_PX].astype(np.float64)
    middle = points[[168, 1, 152, 10]].mean(axis=0)
    width = float(points[454, 0] - points[234, 0]) / 2
    height = float(points[152, 1] - points[10, 1]) / 2
    square = ((columns - middle[0]) / (1.15 * width)) ** 2 + ((rows - middle[1]) / (1.2 * height)) ** 2
    depth = 70.0 * np.sqrt(np.maximum(1.0 - square, 0.0))
    nose = points[1]
    bump = np.maximum(1.0 - ((columns - nose[0]) / 24) ** 2 - ((rows - nose[1] + 12) / 42) ** 2, 0.0)
    smooth = cv2.GaussianBlur(depth + 22.0 * bump, (0, 0), 6.0)
    return np.asarray(smooth - smooth[int(middle[1]), int(middle[0])] + 20.0, dtype=np.float32)


class Camera:
    """Films a scene: flicker, shot and read noise, JPEG.

    Args:
        rng: Draws the camera's own constants.
        hard: More of everything.
    """

    def __init__(self, rng: np.random.Generator, hard: bool) -> None:
        self._band_hz = float(rng.uniform(0.5, 9.0))
        self._flicker = float(rng.uniform(0.0, 0.04 if hard else 0.015))
        self._light = [(float(rng.uniform(0.03, 0.3)), float(rng.uniform(0, 6.28))) for _ in range(3)]
        self._read, self._shot = (2.5, 0.22) if hard else (1.2, 0.12)
        self._quality = int(rng.integers(78, 87)) if hard else 93

    def film(self, scene: Bgr, time_s: float, rng: np.random.Generator) -> Bgr:
        """One frame of a scene [h, w, 3], with noise drawn from `rng`."""
        height, width = scene.shape[:2]
        rows = np.arange(height, dtype=np.float32)[:, None, None] / height
        gain = 1.0 + self._flicker * np.sin(2 * np.pi * (self._band_hz * time_s + 0.8 * rows))
        gain = gain + 0.02 * sum(np.sin(2 * np.pi * hz * time_s + phase) for hz, phase in self._light)
        light = scene.astype(np.float32) * gain.astype(np.float32)
        # One draw for all three colours: a demosaiced picture's noise is mostly luminance.
        noise = rng.standard_normal((height, width, 1), dtype=np.float32)
        level = np.maximum(light.mean(axis=2, keepdims=True), 0.0)
        light += noise * np.sqrt(self._read**2 + self._shot**2 * level)
        noisy = np.clip(light + 0.5, 0, 255).astype(np.uint8)
        _, jpeg = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), dtype=np.uint8)
