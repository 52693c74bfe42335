"""Movement of the face's skin, region by region, with the head's own motion removed.

`RegionMotion` follows about 26 small windows by Lucas-Kanade from a keyframe that is renewed about every
second, fits the head's rigid motion to seven of them, and reports what the others did beyond it. Landmarks
only place the windows at a keyframe and start the search, so that their jitter does not enter the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Channel
from processing import motion_kernel as kernel
from processing.motion_regions import EXPRESSIVE, EYE_LEFT, EYE_RIGHT, IOD_REFERENCE_PX, RIGID, Region

_REGIONS: tuple[Region, ...] = EXPRESSIVE + RIGID
_EXPRESSIVE_COUNT = len(EXPRESSIVE)

# Landmarks that hardly move with expression: eye corners, nose bridge, temples, upper forehead.
_STABLE = np.array([33, 133, 263, 362, 168, 6, 197, 195, 127, 356, 234, 454, 10, 151, 109, 338])
_IRIS_RIGHT, _IRIS_LEFT = 468, 473
_LID_RIGHT, _LID_LEFT, _LIPS = (159, 145), (386, 374), (13, 14)

CONTEXT_CHANNELS = (
    Channel("gaze_dx", "pixels", "Motion"),
    Channel("gaze_dy", "pixels", "Motion"),
    Channel("lid_gap_right", "pixels", "Motion"),
    Channel("lid_gap_left", "pixels", "Motion"),
    Channel("lip_gap", "pixels", "Motion"),
    Channel("head_dx", "pixels", "Motion"),
    Channel("head_dy", "pixels", "Motion"),
    Channel("brightness", "normalized", "Motion"),
    Channel("rigid_residual_px", "pixels", "Motion"),
    Channel("head_speed", "pixels/s", "Motion"),
    Channel("quality", "normalized", "Motion"),
)
"""What else happened in the frame: iris against the eye corners, gaps between lids and lips (from
landmarks), the head's position since tracking began, mean grey level 0-1, and how far the rows are to be
trusted."""


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
    keyframe_residual_px: float = 0.25
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
        count = len(_REGIONS)
        pixels = kernel.MAX_WINDOW_PIXELS
        self._members = _membership(_REGIONS)
        self._templates = np.zeros((count, pixels), np.float32)
        self._gradients_x = np.zeros((count, pixels), np.float32)
        self._gradients_y = np.zeros((count, pixels), np.float32)
        self._hessians = np.zeros((count, 4))
        self._valid = np.zeros(count, np.bool_)
        self._halves = np.zeros((count, 2), np.int64)
        self._centers = np.zeros((count, 2))
        self._displacement = np.zeros((count, 2))
        self._correlation = np.zeros(count)
        self._gain = np.ones(count)
        self._scratch = np.zeros(pixels, np.float32)
        self._model = np.zeros((count, 3))
        self._pose = np.zeros(6)
        self._weights = np.zeros(len(RIGID))
        self._matrix = np.zeros((6, 6))
        self._right = np.zeros(6)
        self._sizes = np.zeros(len(RIGID))
        self._blur = cv2.getGaussianKernel(5, self.settings.blur_px, cv2.CV_32F)
        self.reset()

    def reset(self) -> None:
        """Forget the face: the next frame starts at zero displacement."""
        self._tracking = False
        self._last_s = -np.inf
        self._nonrigid = np.zeros((len(_REGIONS), 2))  # since the keyframe, working pixels, picture axes
        self._offset = np.zeros((len(_REGIONS), 2))  # up to the keyframe, px at IOD 100, face axes
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
        positions = points[:, :2] / self._shrink
        image, origin = self._prepare(gray, self._predict(positions))
        self._last_s = time_s
        if not self._tracking:
            self._set_keyframe(image, origin, points, time_s)
            self._tracking = True
            residual = 0.0
            self._correlation[:] = 1.0
        else:
            residual = self._track(image, origin)
        self._fill(row, points, image, residual, time_s)
        if self._needs_keyframe(time_s, residual):
            self._bank()
            self._set_keyframe(image, origin, points, time_s)
        return row

    def _predict(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the windows should be now, working pixels; sets the start of the search."""
        if not self._tracking:
            return np.asarray(self._members @ positions)
        key = self._key_positions[_STABLE]
        seen = positions[_STABLE]
        similarity = _similarity(key, seen)
        rigid = self._rigid_displacement()
        by_landmarks = _apply(similarity, self._centers) - self._centers
        # The last pose is the better start unless the head jumped: landmarks carry jitter and may be a frame
        # old.
        jump = by_landmarks[_EXPRESSIVE_COUNT:].mean(axis=0) - rigid[_EXPRESSIVE_COUNT:].mean(axis=0)
        start = by_landmarks if np.hypot(*jump) > 1.5 else rigid
        self._displacement[:] = start + self._nonrigid
        return self._centers + self._displacement

    def _prepare(
        self, gray: NDArray[np.uint8], where: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Crop around the windows, shrink, smooth; returns the picture and its origin, working pixels."""
        factor = self._shrink
        height, width = gray.shape
        margin = 45 if not self._tracking else self._margin
        low = np.floor(where.min(axis=0)).astype(int) - margin
        high = np.ceil(where.max(axis=0)).astype(int) + margin
        low = np.clip(low, 0, [max(width // factor - 8, 0), max(height // factor - 8, 0)])
        high = np.clip(high, low + 8, [max(width // factor, 8), max(height // factor, 8)])
        crop = gray[low[1] * factor : high[1] * factor, low[0] * factor : high[0] * factor]
        if factor > 1:
            size = (int(high[0] - low[0]), int(high[1] - low[1]))
            crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        image = cv2.sepFilter2D(crop, cv2.CV_32F, self._blur, self._blur, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(image, dtype=np.float32), low.astype(np.float64)

    def _set_keyframe(
        self,
        image: NDArray[np.float32],
        origin: NDArray[np.float64],
        points: NDArray[np.float64],
        time_s: float,
    ) -> None:
        iod = eye_distance_px(points) / self._shrink
        self._key_s = time_s
        self._key_positions = points[:, :2] / self._shrink
        self._to_reference = IOD_REFERENCE_PX / iod
        self._axes = _face_axes(points)
        self._centers[:] = np.round(self._members @ self._key_positions)
        depth = self._members @ (points[:, 2] / self._shrink)
        self._model[:, :2] = self._centers
        self._model[:, 2] = depth
        self._model -= self._model[_EXPRESSIVE_COUNT:].mean(axis=0)
        self._model *= self._to_reference
        size = iod / IOD_REFERENCE_PX
        for r, region in enumerate(_REGIONS):
            half_x = min(max(round(region.half_width_px * size), 4), 31)
            half_y = min(max(round(region.half_height_px * size), 4), 31)
            self._halves[r] = half_x, half_y
            self._valid[r] = kernel.make_template(
                image,
                self._centers[r, 0] - origin[0],
                self._centers[r, 1] - origin[1],
                half_x,
                half_y,
                self._templates[r],
                self._gradients_x[r],
                self._gradients_y[r],
                self._hessians[r],
            )
        self._margin = int(self._halves.max()) + 14
        self._displacement[:] = 0.0
        self._nonrigid[:] = 0.0
        self._pose[:] = 0.0

    def _follow(self, image: NDArray[np.float32], origin: NDArray[np.float64]) -> None:
        """Displacement of every window since the keyframe, working pixels, and how well it resembles it."""
        kernel.track_windows(
            image,
            self._centers - origin,
            self._halves,
            self._templates,
            self._gradients_x,
            self._gradients_y,
            self._hessians,
            self._valid,
            self._displacement,
            self._correlation,
            self._gain,
            self._scratch,
        )

    def _track(self, image: NDArray[np.float32], origin: NDArray[np.float64]) -> float:
        self._follow(image, origin)
        trusted = np.where(self._correlation > self.settings.lowest_correlation, self._correlation, 0.0)
        scale = self._to_reference
        residual = kernel.fit_rigid(
            self._model[_EXPRESSIVE_COUNT:],
            self._displacement[_EXPRESSIVE_COUNT:] * scale,
            trusted[_EXPRESSIVE_COUNT:],
            0.05,
            self.settings.turn_ridge_px2,
            4,
            self._pose,
            self._weights,
            self._matrix,
            self._right,
            self._sizes,
        )
        beyond = self._displacement - self._rigid_displacement()
        limit = self.settings.max_nonrigid_px / scale
        believed = (trusted > 0) & (np.abs(beyond).max(axis=1) < limit)
        # A window that was lost stays where it was on the head: better no movement than a wrong one.
        self._nonrigid[believed] = beyond[believed]
        return residual

    def _rigid_displacement(self) -> NDArray[np.float64]:
        """Displacement of every window by head motion since the keyframe, working pixels [R, 2]."""
        tx, ty, s, r, a, b = self._pose
        x, y, z = self._model.T
        shift = np.stack((tx + s * x - r * y + a * z, ty + r * x + s * y + b * z), axis=1)
        return np.asarray(shift / self._to_reference)

    def _needs_keyframe(self, time_s: float, residual: float) -> bool:
        settings = self.settings
        age = time_s - self._key_s
        if age >= settings.keyframe_s:
            return True
        turned = abs(self._pose[3]) > settings.keyframe_rotation_rad
        misfit = residual > settings.keyframe_residual_px
        grown = abs(self._pose[2]) > settings.keyframe_scale
        return age >= settings.keyframe_min_s and bool(turned or grown or misfit)

    def _bank(self) -> None:
        """Carry what was measured against the old keyframe over to the new one."""
        self._offset += self._in_face_axes(self._nonrigid)
        self._head_offset += self._pose[:2]

    def _in_face_axes(self, displacement: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(displacement @ self._axes.T * self._to_reference)

    def _fill(
        self,
        row: NDArray[np.float32],
        points: NDArray[np.float64],
        image: NDArray[np.float32],
        residual: float,
        time_s: float,
    ) -> None:
        moved = self._offset + self._in_face_axes(self._nonrigid)
        regions = 2 * _EXPRESSIVE_COUNT
        row[:regions] = moved[:_EXPRESSIVE_COUNT].ravel()
        head = self._head_offset + self._pose[:2]
        speed = self._head_speed(head, time_s)
        # The middle one of an odd number of references.
        correlation = float(np.sort(self._correlation[_EXPRESSIVE_COUNT:])[len(RIGID) // 2])
        quality = (
            max(correlation, 0.0) ** 2 * min(1.0, 0.25 / max(residual, 1e-6)) / (1.0 + (speed / 50.0) ** 2)
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


def eye_distance_px(points: NDArray[np.float64]) -> float:
    """Distance between the centres of the eyes, in space, so that a turned head does not look smaller."""
    right, left = _eyes(points)
    apart = left - right
    return float(np.sqrt(apart @ apart))


def _eyes(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of the right and the left eye: the middle of their corners."""
    right, left = (0.5 * (points[outer] + points[inner]) for outer, inner in (EYE_RIGHT, EYE_LEFT))
    return right, left


def eye_context_px(points: NDArray[np.float64]) -> tuple[float, float, float, float, float]:
    """Gaze x and y, lid gap right and left, lip gap; px at IOD 100, from landmarks alone."""
    scale = IOD_REFERENCE_PX / eye_distance_px(points)
    axes = _face_axes(points)
    plane = points[:, :2] @ axes.T * scale
    right, left = _eyes(plane)
    gaze = 0.5 * (plane[_IRIS_RIGHT] - right + plane[_IRIS_LEFT] - left)
    gaps = [float(plane[low, 1] - plane[high, 1]) for high, low in (_LID_RIGHT, _LID_LEFT, _LIPS)]
    return float(gaze[0]), float(gaze[1]), gaps[0], gaps[1], gaps[2]


def _face_axes(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation [2, 2] from picture axes to the face's: x along the line of the eyes, y down the face."""
    right, left = _eyes(points)
    line = (left - right)[:2]
    line /= max(float(np.hypot(*line)), 1e-9)
    return np.array([[line[0], line[1]], [-line[1], line[0]]])


def _membership(regions: Sequence[Region]) -> NDArray[np.float64]:
    """Matrix [R, 478] that averages each region's landmarks."""
    matrix = np.zeros((len(regions), 478))
    for r, region in enumerate(regions):
        matrix[r, list(region.landmarks)] = 1.0 / len(region.landmarks)
    return matrix


def _similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[complex, complex]:
    """Least-squares similarity of the plane as ``target = a * source + b`` in complex numbers."""
    p = source[:, 0] + 1j * source[:, 1]
    q = target[:, 0] + 1j * target[:, 1]
    centered = p - p.mean()
    a = complex(np.vdot(centered, q) / np.vdot(centered, centered))
    return a, complex(q.mean() - a * p.mean())


def _apply(similarity: tuple[complex, complex], points: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = similarity[0] * (points[:, 0] + 1j * points[:, 1]) + similarity[1]
    return np.stack((moved.real, moved.imag), axis=1)
