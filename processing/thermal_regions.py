"""Where on the face temperatures are read: regions as landmark polygons, turned into weighted sample points.

A region is rasterised once, on the keyframe, with the share of each pixel that the polygon covers. Later
frames are sampled bilinearly at the registered positions of those same points with those same weights, so
that a shift by a fraction of a pixel changes no weight and adds no noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

REGIONS: tuple[str, ...] = (
    "nose_tip",
    "perinasal",
    "periorbital_left",
    "periorbital_right",
    "glabella",
    "cheek_left",
    "cheek_right",
    "forehead",
    "chin",
)
"""Names of the regions in output order; left and right are the subject's own."""

REFERENCE = REGIONS.index("forehead")
"""The region whose temperature is subtracted from the others: it drifts with the camera as they do."""

POLYGONS = MappingProxyType(
    {
        "nose_tip": (220, 134, 51, 5, 281, 363, 440, 274, 1, 44),
        "perinasal": (98, 97, 2, 326, 327, 391, 393, 164, 167, 165),
        "periorbital_left": (414, 413, 417, 465, 412, 357, 453, 463),
        "periorbital_right": (190, 189, 193, 245, 188, 128, 233, 243),
        "glabella": (107, 9, 336, 285, 417, 168, 193, 55),
        "cheek_left": (347, 330, 266, 426, 427, 411, 280, 346),
        "cheek_right": (118, 101, 36, 206, 207, 187, 50, 117),
        "forehead": (69, 108, 151, 337, 299, 296, 336, 9, 107, 66),
        "chin": (83, 18, 313, 421, 428, 396, 175, 171, 208, 201),
    }
)
"""Corners of each region as vertices of MediaPipe's 478-point face mesh, in drawing order."""

MUSCLES = MappingProxyType(
    {
        "glabella": ("corrugator supercilii", "both"),
        "cheek_left": ("zygomaticus major", "left"),
        "cheek_right": ("zygomaticus major", "right"),
        "periorbital_left": ("orbicularis oculi", "left"),
        "periorbital_right": ("orbicularis oculi", "right"),
        "perinasal": ("levator labii superioris", "both"),
        "chin": ("mentalis", "both"),
    }
)
"""The muscle under a region and its side (Jarlier et al. 2011 read warming over the muscle's belly)."""

BEHIND_GLASSES = ("periorbital_left", "periorbital_right", "glabella")
"""Regions that glasses may cover, in part or wholly."""

BESIDE = MappingProxyType(
    {
        "nose_tip": ("perinasal",),
        "perinasal": ("nose_tip",),
        "periorbital_left": ("glabella",),
        "periorbital_right": ("glabella",),
        "glabella": ("periorbital_left", "periorbital_right"),
        "forehead": ("glabella",),
    }
)
"""Regions so close that a misplaced one reads some of its neighbour."""

_MISPLACED_SHARE, _BEHIND_GLASSES_FACTOR = 0.025, 2.5
"""How far landmarks lie from the truth, over the face's width, and how much further when glasses hide the
eyes; fitted to the errors of delta on synthetic faces of eight kinds."""

_GLASSES_CELSIUS = 2.5
"""Colder than the forehead by this is not skin between the eyes: brows and lids lie within 2 degC."""

OUTER_EYE_CORNERS = (33, 263)
"""Mesh vertices of the outer eye corners: their distance is the face's scale in the picture."""

_COVERAGE_STEPS = 8
"""Sub-pixels per side when the coverage of a pixel by a polygon is measured."""


@dataclass(frozen=True, eq=False)
class RegionSamples:
    """Sample points of all regions on the keyframe.

    Attributes:
        points_px: float64 [n, 2], x and y of pixel centres, region after region.
        weights: float64 [n], share of the pixel inside its region, 0-1.
        starts: int64 [regions + 1]; region r has the points ``starts[r]:starts[r + 1]``.
        bare: bool [n], False where something else than skin is seen (glasses).
    """

    points_px: NDArray[np.float64]
    weights: NDArray[np.float64]
    starts: NDArray[np.int64]
    bare: NDArray[np.bool_]

    @property
    def area_px(self) -> NDArray[np.float64]:
        """Area [regions] of each region in pixels."""
        return np.array([self.weights[a:b].sum() for a, b in zip(self.starts, self.starts[1:], strict=False)])

    def without_glasses(self, celsius: NDArray[np.float32]) -> RegionSamples:
        """The same points, those under glasses marked on the keyframe `celsius` [height, width].

        Lenses and rims are degrees colder than the forehead, eye corners and glabella are not. Neighbours
        of what is cold are left out as well: optics blur an edge over them.
        """
        forehead = slice(*self.starts[REFERENCE : REFERENCE + 2])
        columns, rows = self.points_px.astype(np.intp).T
        if not self.weights[forehead].any():
            return self
        level = np.average(
            celsius[rows[forehead], columns[forehead]].astype(np.float64), weights=self.weights[forehead]
        )
        nearby = np.asarray(cv2.erode(celsius, np.ones((3, 3), np.uint8)))[rows, columns]
        bare = self.bare.copy()
        for name in BEHIND_GLASSES:
            region = slice(*self.starts[REGIONS.index(name) : REGIONS.index(name) + 2])
            bare[region] = nearby[region] > level - _GLASSES_CELSIUS
        return replace(self, bare=bare)


def region_samples(landmarks_px: NDArray[np.float64], height: int, width: int) -> RegionSamples:
    """Rasterise every region of a face.

    Args:
        landmarks_px: [478, 2], x and y in pixels of the picture; pixel centres are at whole numbers.
        height, width: Of the picture; parts of a region beyond its border get no points.
    """
    points, weights, starts = [], [], [0]
    for name in REGIONS:
        corners = landmarks_px[list(POLYGONS[name])]
        coverage, left, top = _coverage(corners)
        rows, columns = np.nonzero(coverage)
        x, y = columns + left, rows + top
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        points.append(np.column_stack([x, y])[inside].astype(np.float64))
        weights.append(coverage[rows, columns][inside])
        starts.append(starts[-1] + int(inside.sum()))
    return RegionSamples(
        np.ascontiguousarray(np.concatenate(points)),
        np.concatenate(weights),
        np.array(starts, dtype=np.int64),
        np.ones(starts[-1], dtype=np.bool_),
    )


def misread_shares(samples: RegionSamples, face_width_px: float) -> NDArray[np.float64]:
    """Share [regions] of a change that a region misses, or takes from beside it, as landmarks are misplaced.

    A square region of side a that lies p off its place loses p/a of a change that fills it.
    """
    bare = [
        samples.bare[slice(*samples.starts[i : i + 2])].mean()
        for i in map(REGIONS.index, BEHIND_GLASSES)
        if samples.starts[i + 1] > samples.starts[i]
    ]
    misplaced_px = _MISPLACED_SHARE * face_width_px
    if min(bare, default=1.0) < 0.9:
        misplaced_px *= _BEHIND_GLASSES_FACTOR
    return np.asarray(np.minimum(1.0, misplaced_px / np.sqrt(np.maximum(samples.area_px, 1.0))))


def face_mask(landmarks_px: NDArray[np.float64], height: int, width: int) -> NDArray[np.uint8]:
    """The face as seen by its mesh: uint8 [height, width], 255 inside the convex hull of the landmarks."""
    mask = np.zeros((height, width), dtype=np.uint8)
    hull = cv2.convexHull(landmarks_px.astype(np.float32)).reshape(-1, 2)
    cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 255)
    return mask


def _coverage(corners_px: NDArray[np.float64]) -> tuple[NDArray[np.float64], int, int]:
    """Share of each pixel inside a polygon, with the column and row of the first one."""
    left, top = np.floor(corners_px.min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(corners_px.max(axis=0)).astype(int) + 1
    columns, rows = int(right - left + 1), int(bottom - top + 1)
    # Pixel (0, 0) reaches from -0.5 to 0.5; its first sub-pixel centre lies half a sub-pixel inside.
    x = left - 0.5 + (np.arange(columns * _COVERAGE_STEPS) + 0.5) / _COVERAGE_STEPS
    y = top - 0.5 + (np.arange(rows * _COVERAGE_STEPS) + 0.5) / _COVERAGE_STEPS
    inside = np.zeros((len(y), len(x)), dtype=np.bool_)
    # Even-odd rule: a point is inside when a ray to the right crosses an odd number of edges.
    for (ax, ay), (bx, by) in zip(corners_px, np.roll(corners_px, -1, axis=0), strict=True):
        crosses = (ay > y) != (by > y)
        crossing_x = ax + (y[crosses] - ay) * (bx - ax) / (by - ay) if crosses.any() else np.empty(0)
        inside[crosses] ^= x < crossing_x[:, None]
    blocks = inside.reshape(rows, _COVERAGE_STEPS, columns, _COVERAGE_STEPS)
    return blocks.mean(axis=(1, 3), dtype=np.float64), int(left), int(top)
