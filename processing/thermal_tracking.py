"""Where the face is in a thermal picture: found by its landmarks, then registered to a keyframe.

Landmarks alone jitter by a pixel, which on the face's gradients is as large as the effects that are sought;
affine registration to one keyframe holds the regions on the same skin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

from processing.thermal_alignment import STILL, Placement, Template, align, make_template
from processing.thermal_face import FindFace, is_face, landmarks_in
from processing.thermal_refine import TURN_SHARE, Surroundings, local_shifts, surroundings
from processing.thermal_regions import (
    OUTER_EYE_CORNERS,
    REGIONS,
    RegionSamples,
    face_mask,
    misread_shares,
    region_samples,
)
from processing.thermal_rendering import RENDERINGS

MIN_CORRELATION = 0.85
"""Below this the face no longer is where, or as, the keyframe says."""

RETRY_S = 1.0
"""A failed search for a face costs as much as ten tracked frames: not more often than this ..."""

EAGER_RETRY_S, EAGER_S = 0.25, 3.0
"""... but for the first seconds after the face was lost, or the film began, which may be short."""

_RENDERINGS_PER_SEARCH = 2
_TRACKED_FACE_PX = 90.0
_RIM_SHARE = 0.04
"""Share of the face's extent left out along its outline: an outline is no skin, it slides over it as the head
turns, and its steep edges would outweigh the face. (Errors of a head that turns by 10 deg fall by 40 %.)"""

_FINE_SIGMA_PX, _COARSE_BOX_PX = 1.0, 19
_BAND_LIMIT_CELSIUS = 2.0

Image: TypeAlias = NDArray[np.float32]


def band_pass(celsius: Image) -> Image:
    """Temperature without slow background and pixel noise, limited to +-2 degC [height, width].

    What is slow is a twofold box mean, as good here as a Gaussian of 8 pixels and ten times faster.
    """
    box = (_COARSE_BOX_PX, _COARSE_BOX_PX)
    coarse = cv2.blur(cv2.blur(celsius, box), box)
    fine = cv2.GaussianBlur(celsius, (0, 0), _FINE_SIGMA_PX)
    band = cv2.subtract(fine, coarse)
    return np.asarray(np.clip(band, -_BAND_LIMIT_CELSIUS, _BAND_LIMIT_CELSIUS, out=band), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Keyframe:
    """The frame that later ones are registered to.

    Attributes:
        landmarks_px: float64 [478, 2] in pixels of the frame.
        samples: Where the regions are read.
        depths_px: float64 [points of the samples], as in `Template`, in pixels of the frame.
        steepness: float64 [regions], mean temperature gradient over each region, degC per px.
        misread: float64 [regions], see `misread_shares`.
        reduction: How many times smaller than the frame the template is.
        template: Band-passed temperature of the face, on the reduced frame.
        band: The reduced, band-passed frame around the face, for a search over the whole picture.
        origin_px: Column and row of its corner in the reduced frame.
        surroundings: For the local registration of each region, on the reduced frame.
    """

    landmarks_px: NDArray[np.float64]
    samples: RegionSamples
    depths_px: NDArray[np.float64]
    steepness: NDArray[np.float64]
    misread: NDArray[np.float64]
    reduction: int
    template: Template
    band: Image
    origin_px: tuple[int, int]
    surroundings: Surroundings


@dataclass(frozen=True, eq=False)
class Registration:
    """Where the keyframe's face is in one frame.

    Attributes:
        keyframe: See `Keyframe`.
        placement: Of the keyframe's points in this frame.
        shifts_px: float64 [regions, 2], local shift of each region in keyframe pixels, before the warp.
        correlation: Enhanced correlation coefficient within the face, 1 is identical.
        residual_px: Shift that would explain what is left unexplained: an upper bound of the error.
        renewed: This frame became the keyframe: regions may sit on slightly different skin than before.
        carried: The face's place came from the visible camera, not from the thermal picture itself.
    """

    keyframe: Keyframe
    placement: Placement
    shifts_px: NDArray[np.float64]
    correlation: float
    residual_px: float
    renewed: bool
    carried: bool = False

    @property
    def turned_px(self) -> float:
        """How far a region may lie off its place because the head has turned and no mesh has its relief."""
        eye_distance_px = self.keyframe.surroundings.eye_distance_px * self.keyframe.reduction
        return TURN_SHARE * eye_distance_px * math.hypot(*self.placement.parallax.tolist())


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
        self._placement: Placement | None = None
        self._next_search_s = -np.inf
        self._lost_s = float("nan")
        self._next_rendering = 0
        self.correlation = float("nan")
        """Of the last attempt, successful or not."""

    @property
    def has_keyframe(self) -> bool:
        """Whether a face was ever found."""
        return self._keyframe is not None

    @property
    def landmarks_px(self) -> NDArray[np.float64] | None:
        """The face mesh [478, 2] in pixels of the last frame; None while the face is not tracked."""
        if self._keyframe is None or self._placement is None:
            return None
        warp = self._placement.warp
        return self._keyframe.landmarks_px @ warp[:, :2].T + warp[:, 2]

    def follow(
        self, celsius: Image, time_s: float, carried_px: NDArray[np.float64] | None = None
    ) -> Registration | None:
        """Locate the face in the next frame; None when it is not there or no longer itself.

        Args:
            celsius: The frame, degC.
            time_s: Its stamp.
            carried_px: The face mesh [478, 2 or 3] as the visible camera saw it, in pixels of this frame;
                used when the thermal picture alone does not tell.
        """
        if self._keyframe is not None and self._placement is not None:
            found = self._register(self._keyframe, celsius, self._placement, search=True)
            if found is not None:
                self._lost_s = float("nan")
                return found
            self._placement = None
        if carried_px is not None and self._keyframe is not None:
            found = self._return(celsius, carried_px, carried=True)
            if found is not None:
                return found
        if math.isnan(self._lost_s):
            self._lost_s = self._next_search_s = time_s
        if time_s < self._next_search_s:
            return None
        self._next_search_s = time_s + (EAGER_RETRY_S if time_s - self._lost_s < EAGER_S else RETRY_S)
        landmarks = self._search(celsius)
        if landmarks is not None and self._keyframe is not None:
            # The same face come back: keep its regions on the same skin rather than trust new landmarks.
            found = self._return(celsius, landmarks, carried=False)
            if found is not None:
                return found
        carried = landmarks is None
        if carried and carried_px is not None and is_face(celsius, carried_px):
            landmarks = carried_px
        if landmarks is None:
            return None
        self._keyframe = make_keyframe(celsius, landmarks)
        self._placement = STILL
        self.correlation = 1.0
        still = np.zeros((len(REGIONS), 2))
        return Registration(self._keyframe, STILL, still, 1.0, 0.0, renewed=True, carried=carried)

    def _search(self, celsius: Image) -> NDArray[np.float64] | None:
        """Landmarks [478, 2 or 3] in pixels of the frame when a plausible face is found."""
        for _ in range(_RENDERINGS_PER_SEARCH):
            landmarks = landmarks_in(celsius, RENDERINGS[self._next_rendering], self._find_face)
            if landmarks is not None:
                return landmarks
            # The rendering that found a face is the first to be asked again.
            self._next_rendering = (self._next_rendering + 1) % len(RENDERINGS)
        return None

    def _return(
        self, celsius: Image, landmarks: NDArray[np.float64], *, carried: bool
    ) -> Registration | None:
        """The known face at new landmarks."""
        assert self._keyframe is not None
        guess = Placement(_affine_between(self._keyframe.landmarks_px, landmarks[:, :2]), np.zeros(2))
        return self._register(self._keyframe, celsius, guess, search=False, carried=carried)

    def _register(
        self,
        keyframe: Keyframe,
        celsius: Image,
        guess: Placement,
        *,
        search: bool,
        carried: bool = False,
    ) -> Registration | None:
        """Refine `guess`; with `search` a sudden shift is looked for in the whole frame as well."""
        band = band_pass(reduced(celsius, keyframe.reduction))
        start = guess.scaled(1 / keyframe.reduction)
        place, correlation = align(keyframe.template, band, start)
        if correlation < MIN_CORRELATION and search:
            place, correlation = align(keyframe.template, band, _shifted(keyframe, band, start))
        self.correlation = correlation
        if correlation < MIN_CORRELATION or not _plausible(place.warp):
            return None
        self._placement = place.scaled(keyframe.reduction)
        contrast_px = keyframe.template.contrast_px * keyframe.reduction
        residual_px = contrast_px * float(np.sqrt(max(0.0, 1.0 - correlation**2)))
        shifts = np.zeros((len(REGIONS), 2))
        local_shifts(keyframe.surroundings, band, place.warp, place.parallax, shifts)
        shifts *= keyframe.reduction
        return Registration(
            keyframe, self._placement, shifts, correlation, residual_px, renewed=False, carried=carried
        )


def make_keyframe(celsius: Image, mesh_px: NDArray[np.float64]) -> Keyframe:
    """Prepare a frame whose landmarks [478, 2 or 3] are known for registration and for reading regions."""
    height, width = celsius.shape
    landmarks_px = np.ascontiguousarray(mesh_px[:, :2])
    samples = region_samples(landmarks_px, height, width).without_glasses(celsius)
    extent = float(np.ptp(landmarks_px, axis=0).max())
    reduction = max(1, round(extent / _TRACKED_FACE_PX))
    small = reduced(celsius, reduction)
    band = band_pass(small)
    depth = relief(mesh_px, height, width)
    small_depth = np.asarray(reduced(depth, reduction), dtype=np.float64) / reduction
    columns_of, rows_of = samples.points_px.astype(np.intp).T
    mask = _within(
        face_mask((landmarks_px + 0.5) / reduction - 0.5, *small.shape), _RIM_SHARE * extent / reduction
    )
    left, top, columns, rows = cv2.boundingRect(mask)
    eye_distance = float(np.hypot(*np.subtract(*landmarks_px[list(OUTER_EYE_CORNERS)])))
    return Keyframe(
        landmarks_px,
        samples,
        depth[rows_of, columns_of].astype(np.float64),
        _steepness(celsius, samples),
        misread_shares(samples, float(np.ptp(landmarks_px[:, 0]))),
        reduction,
        make_template(band, mask, small_depth),
        np.ascontiguousarray(band[top : top + rows, left : left + columns]),
        (int(left), int(top)),
        surroundings(
            band, small_depth, (_centres(samples) + 0.5) / reduction - 0.5, eye_distance / reduction
        ),
    )


def _within(mask: NDArray[np.uint8], rim_px: float) -> NDArray[np.uint8]:
    """The mask without its rim; the picture's border is none."""
    size = 2 * max(1, round(rim_px)) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.ascontiguousarray(cv2.erode(mask, disk), dtype=np.uint8)


def relief(mesh_px: NDArray[np.float64], height: int, width: int) -> Image:
    """How far the skin lies behind the face's middle plane, pixels [height, width]; 0 off the face.

    From the mesh's third column, which grows away from the camera; 0 everywhere without it. The part that a
    plane explains is left out: the affine map knows it already.
    """
    depth = np.zeros((height, width), dtype=np.float32)
    if mesh_px.shape[1] < 3:
        return depth
    plane = np.column_stack([mesh_px[:, :2], np.ones(len(mesh_px))])
    behind = mesh_px[:, 2] - plane @ np.linalg.lstsq(plane, mesh_px[:, 2], rcond=None)[0]
    rows, columns = np.nonzero(face_mask(mesh_px[:, :2], height, width))
    values = LinearNDInterpolator(mesh_px[:, :2], behind)(columns, rows)
    depth[rows, columns] = np.nan_to_num(values)
    return depth


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


def _affine_between(start_px: NDArray[np.float64], end_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine map [2, 3] that brings one set of points closest to another (least squares)."""
    design = np.column_stack([start_px, np.ones(len(start_px))])
    solution, *_ = np.linalg.lstsq(design, end_px, rcond=None)
    return np.ascontiguousarray(solution.T)


def _steepness(celsius: Image, samples: RegionSamples) -> NDArray[np.float64]:
    """Size [regions] of each region's mean gradient, degC per px; NaN where it has no points."""
    smooth = _image(cv2.GaussianBlur(celsius, (0, 0), _FINE_SIGMA_PX))
    slope_y, slope_x = (np.asarray(slope) for slope in np.gradient(smooth))
    columns, rows = samples.points_px.astype(np.intp).T
    steepness = np.full(len(samples.starts) - 1, np.nan)
    for region, (a, b) in enumerate(zip(samples.starts, samples.starts[1:], strict=False)):
        if b > a:
            across, down = (
                float(np.average(slope[rows[a:b], columns[a:b]], weights=samples.weights[a:b]))
                for slope in (slope_x, slope_y)
            )
            steepness[region] = math.hypot(across, down)
    return steepness


def _shifted(keyframe: Keyframe, band: Image, start: Placement) -> Placement:
    """`start`, moved to where the template correlates best in the whole frame (half resolution)."""
    height, width = keyframe.band.shape
    template = cv2.resize(keyframe.band, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    frame = cv2.resize(band, (band.shape[1] // 2, band.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if frame.shape[0] < template.shape[0] or frame.shape[1] < template.shape[1]:
        return start
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(frame, template, cv2.TM_CCOEFF_NORMED))
    warp = start.warp.copy()
    warp[:, 2] = np.array([2.0 * x, 2.0 * y]) - warp[:, :2] @ keyframe.origin_px
    return Placement(warp, start.parallax)


def _plausible(warp: NDArray[np.float64]) -> bool:
    """A head that turned or came closer, not a picture torn apart: the stretches of the map are its singular
    values, which follow from its norm and determinant.
    """
    (a, b), (c, d) = warp[:, :2].tolist()
    norm, determinant = a * a + b * b + c * c + d * d, a * d - b * c
    if determinant <= 0:
        return False
    root = math.sqrt(max(0.0, norm * norm - 4 * determinant * determinant))
    longest, shortest = math.sqrt((norm + root) / 2), math.sqrt(max(0.0, (norm - root) / 2))
    return shortest > 0.6 and longest < 1.6 and longest < 1.5 * shortest
