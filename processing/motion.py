"""Movement of the face's skin, region by region, with the head's own motion removed.

`RegionMotion` follows about 26 small windows by Lucas-Kanade from a keyframe that is renewed about every
second, fits the head's rigid motion to seven of them and to those that go along, and reports what each did
beyond it. Landmarks only place the windows at a keyframe and start the search, so that their jitter does not
enter the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Channel
from processing.motion_context import (
    CONTEXT_CHANNELS,
    MOST_MISFIT_PX,
    eye_context_px,
    eye_distance_px,
    eye_line,
)
from processing.motion_head import beyond_head, new_head, predict
from processing.motion_kernel import cut_windows, new_windows, span_around, track_windows
from processing.motion_regions import EXPRESSIVE, IOD_REFERENCE_PX, RIGID, Region

_REGIONS: tuple[Region, ...] = EXPRESSIVE + RIGID
_EXPRESSIVE_COUNT = len(EXPRESSIVE)
_HALVES_PX = np.array([(region.half_width_px, region.half_height_px) for region in _REGIONS])

# Landmarks that hardly move with expression: eye corners, nose bridge, temples, upper forehead.
_STABLE = np.array([33, 133, 263, 362, 168, 6, 197, 195, 127, 356, 234, 454, 10, 151, 109, 338])


@dataclass(frozen=True)
class MotionSettings:
    """How windows are followed.

    Attributes:
        keyframe_s: Age at which the templates are renewed.
        keyframe_min_s: Age before which they are not, however much the head turned.
        keyframe_rotation_rad, keyframe_scale, keyframe_residual_px: Roll, size change or misfit of the rigid
            model that renews them early.
        blur_px: Gaussian smoothing of the grey levels, sigma.
        max_iod_px: Above this inter-ocular distance the picture is shrunk by a whole factor.
        lowest_correlation: A window that resembles its template less is not believed.
        max_nonrigid_px: Nor is one that left the head by more than this (px at IOD 100) since the keyframe.
        turn_ridge_px2: How hard a turn of the head out of the picture plane is to believe.
        max_gap_s: A longer pause between frames starts tracking afresh.
    """

    keyframe_s: float = 1.0
    keyframe_min_s: float = 0.2
    keyframe_rotation_rad: float = 0.03
    keyframe_scale: float = 0.03
    keyframe_residual_px: float = MOST_MISFIT_PX
    blur_px: float = 0.75
    max_iod_px: float = 130.0
    lowest_correlation: float = 0.5
    max_nonrigid_px: float = 9.0
    turn_ridge_px2: float = 500.0
    max_gap_s: float = 0.5


class RegionMotion:
    """Follows the face's regions from frame to frame.

    Rows hold `<region>_dx`, `<region>_dy` (px at an IOD of 100 px; x to the picture's right along the line
    of the eyes, y down the face) since tracking began, then `CONTEXT_CHANNELS`. Slow drift is part of them;
    users subtract a baseline. Deterministic, causal, no smoothing over time.

    Args:
        settings: See `MotionSettings`.
    """

    def __init__(self, settings: MotionSettings | None = None) -> None:
        self.settings = settings or MotionSettings()
        labels = [f"{region.name}_{axis}" for region in EXPRESSIVE for axis in ("dx", "dy")]
        self.channels: tuple[Channel, ...] = (
            *(Channel(label, "pixels", "Motion") for label in labels),
            *CONTEXT_CHANNELS,
        )
        self._members = _membership(_REGIONS)
        self._windows = new_windows(len(_REGIONS))
        self._head = new_head(len(_REGIONS), len(RIGID))
        self._blur = cv2.getGaussianKernel(5, self.settings.blur_px, cv2.CV_32F)
        self.reset()

    def reset(self) -> None:
        """Forget the face: the next frame starts at zero displacement."""
        self._tracking = False
        self._last_s = -np.inf
        self._head.nonrigid[:] = 0.0
        self._offset = np.zeros((_EXPRESSIVE_COUNT, 2))  # up to the keyframe, px at IOD 100, face axes
        self._head_offset = np.zeros(2)
        self._head_trail: list[tuple[float, float, float]] = []

    def update(
        self, gray: NDArray[np.uint8], points_px: NDArray[np.float32] | None, time_s: float
    ) -> NDArray[np.float32]:
        """Measure one frame.

        Args:
            gray: Grey levels [h, w].
            points_px: Landmarks [478, 3] of this frame in its pixels (z in the same scale), or of the frame
                before where landmarks are found on every second one; None without a face.
            time_s: Capture time.

        Returns:
            One value per channel; NaN without a face.
        """
        row = np.full(len(self.channels), np.nan, np.float32)
        if time_s - self._last_s > self.settings.max_gap_s:
            self.reset()
        if points_px is None:
            return row
        points = np.asarray(points_px, dtype=np.float64)
        if not self._tracking:
            iod_px = eye_distance_px(points)
            if not np.isfinite(iod_px) or iod_px < 12:
                return row
            self._shrink = max(1, int(np.ceil(iod_px / self.settings.max_iod_px)))
        image, origin = self._prepare(gray, self._predict(points))
        self._last_s = time_s
        if not self._tracking:
            self._set_keyframe(image, origin, points, time_s)
            self._tracking = True
            residual = 0.0
        else:
            residual = self._track(image, origin)
        self._fill(row, points, image, residual, time_s)
        if self._needs_keyframe(time_s, residual):
            self._bank()
            self._set_keyframe(image, origin, points, time_s)
        return row

    def _predict(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the windows should be now, working pixels [R, 2]; sets the start of the search."""
        if not self._tracking:
            return np.asarray(self._members @ (points[:, :2] / self._shrink))
        stable = points[_STABLE, :2] / self._shrink
        predict(self._head, self._windows, self._key_stable, stable, self._to_reference)
        return self._windows.centers + self._windows.displacement

    def _prepare(
        self, gray: NDArray[np.uint8], where: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Crop around the windows, shrink, smooth; returns the picture and its origin, working pixels."""
        factor = self._shrink
        height, width = gray.shape
        margin = 45 if not self._tracking else self._margin
        left, right = span_around(where[:, 0], margin, width // factor)
        top, bottom = span_around(where[:, 1], margin, height // factor)
        crop = gray[top * factor : bottom * factor, left * factor : right * factor]
        if factor > 1:
            size = (right - left, bottom - top)
            crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        image = cv2.sepFilter2D(crop, cv2.CV_32F, self._blur, self._blur, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(image, dtype=np.float32), np.array([left, top], dtype=np.float64)

    def _set_keyframe(
        self,
        image: NDArray[np.float32],
        origin: NDArray[np.float64],
        points: NDArray[np.float64],
        time_s: float,
    ) -> None:
        iod = eye_distance_px(points) / self._shrink
        positions = points[:, :2] / self._shrink
        self._key_s = time_s
        self._key_stable = positions[_STABLE]
        self._key_positions = self._members @ positions
        self._to_reference = IOD_REFERENCE_PX / iod
        cos, sin = eye_line(points)
        # From picture axes to the face's: x along the line of the eyes, y down the face.
        self._axes = np.array([[cos, sin], [-sin, cos]])
        windows, head = self._windows, self._head
        windows.centers[:] = np.round(self._key_positions)
        head.model[:, :2] = windows.centers
        head.model[:, 2] = self._members @ (points[:, 2] / self._shrink)
        head.model[:] -= head.model[_EXPRESSIVE_COUNT:].mean(axis=0)
        head.model[:] *= self._to_reference
        cut_windows(image, origin, _HALVES_PX, iod / IOD_REFERENCE_PX, windows)
        self._margin = int(windows.halves.max()) + 14
        head.nonrigid[:] = 0.0
        head.pose[:] = 0.0

    def _follow(self, image: NDArray[np.float32], origin: NDArray[np.float64]) -> None:
        """Displacement of every window since the keyframe, working pixels, and how well it resembles it."""
        track_windows(image, origin, self._windows)

    def _track(self, image: NDArray[np.float32], origin: NDArray[np.float64]) -> float:
        self._follow(image, origin)
        settings = self.settings
        return float(
            beyond_head(
                self._head,
                self._windows,
                self._to_reference,
                settings.lowest_correlation,
                settings.max_nonrigid_px,
                settings.turn_ridge_px2,
            )
        )

    def _needs_keyframe(self, time_s: float, residual: float) -> bool:
        settings = self.settings
        age = time_s - self._key_s
        if age >= settings.keyframe_s:
            return True
        turned = abs(self._head.pose[3]) > settings.keyframe_rotation_rad
        misfit = residual > settings.keyframe_residual_px
        grown = abs(self._head.pose[2]) > settings.keyframe_scale
        return age >= settings.keyframe_min_s and bool(turned or grown or misfit)

    def _bank(self) -> None:
        """Carry what was measured against the old keyframe over to the new one."""
        self._offset = self._moved()
        self._head_offset += self._head.pose[:2]

    def _moved(self) -> NDArray[np.float64]:
        """Displacement of the expressive regions since tracking began, px at IOD 100, face axes."""
        beyond = self._head.nonrigid[:_EXPRESSIVE_COUNT]
        return np.asarray(self._offset + beyond @ self._axes.T * self._to_reference)

    def _fill(
        self,
        row: NDArray[np.float32],
        points: NDArray[np.float64],
        image: NDArray[np.float32],
        residual: float,
        time_s: float,
    ) -> None:
        regions = 2 * _EXPRESSIVE_COUNT
        row[:regions] = self._moved().ravel()
        head = self._head_offset + self._head.pose[:2]
        speed = self._head_speed(head, time_s)
        # The middle one of an odd number of references.
        correlation = float(np.sort(self._windows.correlation[_EXPRESSIVE_COUNT:])[len(RIGID) // 2])
        quality = (
            max(correlation, 0.0) ** 2
            * min(1.0, MOST_MISFIT_PX / max(residual, 1e-6))
            / (1.0 + (speed / 50.0) ** 2)
        )
        row[regions:] = (
            *eye_context_px(points),
            *head,
            float(cv2.mean(image)[0]) / 255.0,
            residual,
            speed,
            quality,
        )

    def _head_speed(self, head: NDArray[np.float64], time_s: float) -> float:
        """Speed over the last 50 ms, px/s at IOD 100."""
        trail = self._head_trail
        trail.append((time_s, float(head[0]), float(head[1])))
        while len(trail) > 2 and time_s - trail[1][0] >= 0.05:
            trail.pop(0)
        then, x, y = trail[0]
        if time_s <= then:
            return 0.0
        return float(np.hypot(head[0] - x, head[1] - y) / (time_s - then))


def _membership(regions: Sequence[Region]) -> NDArray[np.float64]:
    """Matrix [R, 478] that averages each region's landmarks."""
    matrix = np.zeros((len(regions), 478))
    for r, region in enumerate(regions):
        matrix[r, list(region.landmarks)] = 1.0 / len(region.landmarks)
    return matrix
