"""Finds a face in thermal pictures and follows it: landmarks once, then ECC registration to a keyframe.

Landmarks of a visible-light model jitter by pixels on thermal pictures, and one pixel is worth .2 degC on a
face; registering each frame to the one the landmarks came from keeps every region on the same skin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from processing.thermal_refine import Surroundings, local_shifts, surroundings
from processing.thermal_regions import OUTER_EYE_CORNERS, REGIONS, RegionSamples, face_mask, region_samples

FindFace: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[Any] | None]
"""Takes an RGB rendering uint8 [height, width, 3]; returns the mesh [478, 2+] in its pixels, or None."""

MIN_CORRELATION = 0.85
"""Below this the face no longer is where, or as, the keyframe says."""

RETRY_S = 1.0
"""A failed search for a face costs as much as ten tracked frames: not more often than this."""

_RENDERED_WIDTH_PX = 640
_MIN_EYE_DISTANCE_PX = 12.0
_SKIN_CELSIUS = (25.0, 41.0)
_TRACKED_FACE_PX = 90.0
_SEARCH_MARGIN_PX = 12
_FINE_SIGMA_PX, _COARSE_SIGMA_PX, _COARSE_SIZE_PX = 1.0, 8.0, 33
_BAND_LIMIT_CELSIUS = 2.0
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-5)

Image: TypeAlias = NDArray[np.float32]


def band_pass(celsius: Image) -> Image:
    """Temperature without slow background and pixel noise, limited to +-2 degC [height, width]."""
    fine = cv2.GaussianBlur(celsius, (0, 0), _FINE_SIGMA_PX)
    coarse = cv2.GaussianBlur(celsius, (_COARSE_SIZE_PX, _COARSE_SIZE_PX), _COARSE_SIGMA_PX)
    band: Image = np.clip(fine - coarse, -_BAND_LIMIT_CELSIUS, _BAND_LIMIT_CELSIUS)
    return band


def render_for_landmarks(celsius: Image) -> tuple[NDArray[np.uint8], int]:
    """A picture in which a visible-light face model finds faces, and how many times larger it is.

    T - G8 + .35 (T - median), -2..2 degC to 0..255, enlarged by cubic interpolation (4 times at 160 x 120).
    """
    scale = max(1, round(_RENDERED_WIDTH_PX / celsius.shape[1]))
    coarse = cv2.GaussianBlur(celsius, (_COARSE_SIZE_PX, _COARSE_SIZE_PX), _COARSE_SIGMA_PX)
    contrast = celsius - coarse + 0.35 * (celsius - np.float32(np.median(celsius)))
    large = cv2.resize(contrast, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    grey = np.clip((large + 2.0) * 63.75, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2)), scale


@dataclass(frozen=True, eq=False)
class Keyframe:
    """The frame that later ones are registered to.

    Attributes:
        landmarks_px: float64 [478, 2] in pixels of the frame.
        samples: Where the regions are read.
        gradient: float64 [regions, 2], mean temperature gradient over each region, degC per px.
        reduction: How many times smaller than the frame the template is.
        template: Band-passed temperature around the face, reduced.
        mask: uint8, 255 on the face, of the template's shape.
        origin_px: Column and row of the template's corner in the reduced frame.
        surroundings: For the local registration of each region, on the reduced frame.
        contrast: Standard deviation of the template over its root-mean-square gradient, px of the frame: an
            unexplained share u of the template's variance looks like a shift by sqrt(u) times this.
    """

    landmarks_px: NDArray[np.float64]
    samples: RegionSamples
    gradient: NDArray[np.float64]
    reduction: int
    template: Image
    mask: NDArray[np.uint8]
    origin_px: tuple[int, int]
    contrast: float
    surroundings: Surroundings


@dataclass(frozen=True, eq=False)
class Registration:
    """Where the keyframe's face is in one frame.

    Attributes:
        keyframe: See `Keyframe`.
        warp: float64 [2, 3], keyframe pixels to frame pixels.
        shifts_px: float64 [regions, 2], local shift of each region in keyframe pixels, before the warp.
        correlation: Enhanced correlation coefficient within the face, 1 is identical.
        residual_px: Shift that would explain what is left unexplained: an upper bound of the error.
        renewed: This frame became the keyframe: regions may sit on slightly different skin than before.
    """

    keyframe: Keyframe
    warp: NDArray[np.float64]
    shifts_px: NDArray[np.float64]
    correlation: float
    residual_px: float
    renewed: bool


class FaceTracker:
    """Follows one face through thermal frames.

    Args:
        find_face: Finds the landmarks in a rendering; see `FindFace`.
    """

    def __init__(self, find_face: FindFace) -> None:
        self._find_face = find_face
        self.reset()

    def reset(self) -> None:
        """Forget the face."""
        self._keyframe: Keyframe | None = None
        self._warp: NDArray[np.float64] | None = None
        self._next_search_s = -np.inf
        self.correlation = float("nan")
        """Of the last attempt, successful or not."""

    @property
    def has_keyframe(self) -> bool:
        """Whether a face was ever found."""
        return self._keyframe is not None

    @property
    def landmarks_px(self) -> NDArray[np.float64] | None:
        """The face mesh [478, 2] in pixels of the last frame; None while the face is not tracked."""
        if self._keyframe is None or self._warp is None:
            return None
        return self._keyframe.landmarks_px @ self._warp[:, :2].T + self._warp[:, 2]

    def follow(self, celsius: Image, time_s: float) -> Registration | None:
        """Locate the face in the next frame; None when it is not there or no longer itself."""
        if self._keyframe is not None and self._warp is not None:
            found = self._register(self._keyframe, celsius, self._warp, search=True)
            if found is not None:
                return found
            self._warp = None
        if time_s < self._next_search_s:
            return None
        self._next_search_s = time_s + RETRY_S
        landmarks = self._search(celsius)
        if landmarks is None:
            return None
        if self._keyframe is not None:
            # The same face come back: keep its regions on the same skin rather than trust new landmarks.
            guess = _affine_between(self._keyframe.landmarks_px, landmarks)
            found = self._register(self._keyframe, celsius, guess, search=False)
            if found is not None:
                return found
        self._keyframe = make_keyframe(celsius, landmarks)
        self._warp = np.eye(2, 3)
        self.correlation = 1.0
        still = np.zeros((len(REGIONS), 2))
        return Registration(self._keyframe, self._warp, still, 1.0, 0.0, renewed=True)

    def _search(self, celsius: Image) -> NDArray[np.float64] | None:
        """Landmarks [478, 2] in pixels of the frame when a plausible face is found."""
        rendering, scale = render_for_landmarks(celsius)
        found = self._find_face(rendering)
        if found is None:
            return None
        # Cubic enlargement aligns the pictures' outer borders, not their first pixel centres.
        landmarks = (np.asarray(found, dtype=np.float64)[:, :2] + 0.5) / scale - 0.5
        right, left = landmarks[list(OUTER_EYE_CORNERS)]
        if not np.hypot(*(left - right)) >= _MIN_EYE_DISTANCE_PX:
            return None
        skin = celsius[face_mask(landmarks, *celsius.shape) > 0]
        if not skin.size or not _SKIN_CELSIUS[0] <= np.median(skin) <= _SKIN_CELSIUS[1]:
            return None
        return landmarks

    def _register(
        self, keyframe: Keyframe, celsius: Image, guess: NDArray[np.float64], search: bool
    ) -> Registration | None:
        """Refine `guess`; with `search` a sudden shift is looked for in the whole frame as well."""
        band = band_pass(reduced(celsius, keyframe.reduction))
        start = _scaled(guess, 1 / keyframe.reduction)
        warp, correlation = _refine(keyframe, band, start)
        if correlation < MIN_CORRELATION and search:
            warp, correlation = _refine(keyframe, band, _shifted(keyframe, band, start))
        self.correlation = correlation
        if correlation < MIN_CORRELATION or not _plausible(warp):
            return None
        self._warp = _scaled(warp, keyframe.reduction)
        residual_px = keyframe.contrast * float(np.sqrt(max(0.0, 1.0 - correlation**2)))
        shifts = np.zeros((len(REGIONS), 2))
        local_shifts(keyframe.surroundings, band, warp, shifts)
        shifts *= keyframe.reduction
        return Registration(keyframe, self._warp, shifts, correlation, residual_px, renewed=False)


def make_keyframe(celsius: Image, landmarks_px: NDArray[np.float64]) -> Keyframe:
    """Prepare a frame whose landmarks are known for registration and for reading its regions."""
    height, width = celsius.shape
    samples = region_samples(landmarks_px, height, width)
    extent = np.ptp(landmarks_px, axis=0).max()
    reduction = max(1, round(float(extent) / _TRACKED_FACE_PX))
    small = reduced(celsius, reduction)
    band = band_pass(small)
    mask = face_mask((landmarks_px + 0.5) / reduction - 0.5, *small.shape)
    left, top, columns, rows = cv2.boundingRect(mask)
    crop = np.s_[top : top + rows, left : left + columns]
    template, mask = np.ascontiguousarray(band[crop]), np.ascontiguousarray(mask[crop])
    slope_y, slope_x = _gradient(template)
    on_face = mask > 0
    steepness = np.sqrt(np.mean(slope_x[on_face] ** 2 + slope_y[on_face] ** 2))
    eye_distance = float(np.hypot(*np.subtract(*landmarks_px[list(OUTER_EYE_CORNERS)])))
    contrast = float(template[on_face].std() / max(steepness, 1e-6)) * reduction
    return Keyframe(
        landmarks_px,
        samples,
        _region_gradients(celsius, samples),
        reduction,
        template,
        mask,
        (int(left), int(top)),
        contrast,
        surroundings(band, (_centres(samples) + 0.5) / reduction - 0.5, eye_distance / reduction),
    )


def _centres(samples: RegionSamples) -> NDArray[np.float64]:
    """Centre [regions, 2] of each region, NaN where it has no points."""
    centres = np.full((len(samples.starts) - 1, 2), np.nan)
    for region, (a, b) in enumerate(zip(samples.starts, samples.starts[1:], strict=False)):
        if b > a:
            centres[region] = np.average(samples.points_px[a:b], axis=0, weights=samples.weights[a:b])
    return centres


def reduced(celsius: Image, times: int) -> Image:
    """The frame, smaller by a whole factor (area mean): large cameras cost no more than small ones."""
    if times == 1:
        return celsius
    height, width = celsius.shape[0] // times, celsius.shape[1] // times
    whole = celsius[: height * times, : width * times]
    return _image(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))


def _image(picture: Any) -> Image:
    return np.asarray(picture, dtype=np.float32)


def _gradient(image: Image) -> tuple[Image, Image]:
    """Central differences down and across the picture, per px."""
    down, across = np.gradient(image)
    return _image(down), _image(across)


def _affine_between(start_px: NDArray[np.float64], end_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine map [2, 3] that brings one set of points closest to another (least squares)."""
    design = np.column_stack([start_px, np.ones(len(start_px))])
    solution, *_ = np.linalg.lstsq(design, end_px, rcond=None)
    return np.ascontiguousarray(solution.T)


def _region_gradients(celsius: Image, samples: RegionSamples) -> NDArray[np.float64]:
    smooth = _image(cv2.GaussianBlur(celsius, (0, 0), _FINE_SIGMA_PX))
    slope_y, slope_x = _gradient(smooth)
    columns, rows = samples.points_px.astype(np.intp).T
    gradients = np.full((len(samples.starts) - 1, 2), np.nan)
    for region, (a, b) in enumerate(zip(samples.starts, samples.starts[1:], strict=False)):
        if b > a:
            weights = samples.weights[a:b]
            gradients[region, 0] = np.average(slope_x[rows[a:b], columns[a:b]], weights=weights)
            gradients[region, 1] = np.average(slope_y[rows[a:b], columns[a:b]], weights=weights)
    return gradients


def _refine(keyframe: Keyframe, band: Image, start: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """ECC-affine registration (Evangelidis & Psarakis 2008) of the template in a band-passed frame."""
    template, (left, top) = keyframe.template, keyframe.origin_px
    height, width = template.shape
    corners = np.add([[0, 0], [width, 0], [0, height], [width, height]], (left, top))
    moved = corners @ start[:, :2].T + start[:, 2]
    low = np.floor(moved.min(axis=0)).astype(int) - _SEARCH_MARGIN_PX
    high = np.ceil(moved.max(axis=0)).astype(int) + _SEARCH_MARGIN_PX
    x0, y0 = np.clip(low, 0, None)
    x1, y1 = np.minimum(high, band.shape[::-1])
    if x1 - x0 < width // 2 or y1 - y0 < height // 2:
        return start, 0.0
    window = np.ascontiguousarray(band[y0:y1, x0:x1])
    local = start.astype(np.float64).copy()
    local[:, 2] += start[:, :2] @ (left, top) - (x0, y0)
    try:
        correlation, found = cv2.findTransformECCWithMask(
            template,
            window,
            keyframe.mask,
            np.full(window.shape, 255, dtype=np.uint8),
            local.astype(np.float32),
            cv2.MOTION_AFFINE,
            _STOP,
            1,
        )
    except cv2.error:
        # Raised when the iteration diverges, that is, when there is nothing to register to.
        return start, 0.0
    warp = np.asarray(found, dtype=np.float64)
    warp[:, 2] += (x0, y0) - warp[:, :2] @ (left, top)
    return warp, float(correlation) if np.isfinite(correlation) else 0.0


def _shifted(keyframe: Keyframe, band: Image, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """`start`, moved to where the template correlates best in the whole frame (half resolution)."""
    height, width = keyframe.template.shape
    template = cv2.resize(keyframe.template, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    frame = cv2.resize(band, (band.shape[1] // 2, band.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if frame.shape[0] < template.shape[0] or frame.shape[1] < template.shape[1]:
        return start
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(frame, template, cv2.TM_CCOEFF_NORMED))
    warp = start.copy()
    warp[:, 2] = np.array([2.0 * x, 2.0 * y]) - warp[:, :2] @ keyframe.origin_px
    return warp


def _scaled(warp: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """The same map in pixels of a picture `factor` times larger; pixel centres are at whole numbers."""
    centre = (factor - 1) / 2
    scaled = np.asarray(warp, dtype=np.float64).copy()
    scaled[:, 2] = scaled[:, 2] * factor + centre - scaled[:, :2] @ (centre, centre)
    return scaled


def _plausible(warp: NDArray[np.float64]) -> bool:
    """A head that turned or came closer, not a picture torn apart."""
    stretch = np.linalg.svd(warp[:, :2], compute_uv=False)
    return bool(stretch[1] > 0.6 and stretch[0] < 1.6 and stretch[0] / stretch[1] < 1.5)
