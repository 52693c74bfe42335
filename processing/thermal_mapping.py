"""From pixels of the visible camera to those of the thermal one: fitted to a board or a face, and applied.

Two cameras side by side see a plane through one homography and a face, which is nearly flat and moves little
in depth, through one affine map: fitted at the distance where the person sits. What parallax remains is
published as the residual (4.8 thermal pixels for a map fitted elsewhere than where the face is).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import InvalidSignal
from processing.thermal_rendering import RENDERED_WIDTH_PX, skin_level

FORMAT = "zygoma-thermal-mapping-1"
_MIN_FACES = 4
_MIN_BOARDS = 1
_OUTLIER_PX = 3.0
_MAX_RESIDUAL_SHARE = 0.06
"""A map that misses by more than this share of the thermal picture's width is refused."""


@dataclass(frozen=True, eq=False)
class ThermalMapping:
    """Where a point of the visible picture is in the thermal one.

    Attributes:
        homography: float64 [3, 3], visible pixels to thermal pixels; pixel centres at whole numbers.
        residual_px: Root-mean-square error on points that were not fitted, thermal pixels.
        camera_size, thermal_size: Width and height of the pictures it holds for.
        method: ``board`` or ``face``.
        samples: Boards or faces that it was fitted to.
    """

    homography: NDArray[np.float64]
    residual_px: float
    camera_size: tuple[int, int]
    thermal_size: tuple[int, int]
    method: str
    samples: int

    def to_thermal(self, points_px: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Thermal pixels [n, 2 or 3] of visible ones [n, 2 or 3]; a third column, depth, is scaled along."""
        points = np.asarray(points_px, dtype=np.float64)
        moved = np.column_stack([points[:, :2], np.ones(len(points))]) @ self.homography.T
        mapped = moved[:, :2] / moved[:, 2:]
        if points.shape[1] == 2:
            return np.asarray(mapped)
        scale = np.sqrt(np.ptp(mapped, axis=0).prod() / max(np.ptp(points[:, :2], axis=0).prod(), 1e-9))
        return np.column_stack([mapped, scale * points[:, 2]])

    def for_sizes(self, camera_size: tuple[int, int], thermal_size: tuple[int, int]) -> ThermalMapping:
        """The same map for pictures of another size but the same field of view.

        Raises:
            InvalidSignal: Their proportions differ from those it was made with.
        """
        visible, felt = (
            np.array(now) / np.array(then)
            for now, then in ((camera_size, self.camera_size), (thermal_size, self.thermal_size))
        )
        if max(abs(visible[0] / visible[1] - 1), abs(felt[0] / felt[1] - 1)) > 0.02:
            raise InvalidSignal(
                f"The thermal mapping was made with pictures of {self.camera_size} and {self.thermal_size}, "
                f"not {camera_size} and {thermal_size}: calibrate again with 'zygoma calibrate thermal'."
            )
        homography = _centred(felt) @ self.homography @ np.linalg.inv(_centred(visible))
        residual_px = self.residual_px * float(felt.mean())
        return replace(
            self,
            homography=homography,
            residual_px=residual_px,
            camera_size=camera_size,
            thermal_size=thermal_size,
        )

    def to_json(self) -> dict[str, Any]:
        """As it is kept in a file."""
        return {
            "format": FORMAT,
            "homography": self.homography.tolist(),
            "residual_px": round(self.residual_px, 3),
            "camera_size": list(self.camera_size),
            "thermal_size": list(self.thermal_size),
            "method": self.method,
            "samples": self.samples,
        }

    @classmethod
    def from_json(cls, text: str) -> ThermalMapping:
        """Read it back.

        Raises:
            InvalidSignal: Not such a file, or a damaged one.
        """
        try:
            values: Mapping[str, Any] = json.loads(text)
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']!r}")
            homography = np.array(values["homography"], dtype=np.float64)
            sizes = [tuple(int(n) for n in values[name]) for name in ("camera_size", "thermal_size")]
            if homography.shape != (3, 3) or not np.isfinite(homography).all():
                raise ValueError("no 3 x 3 matrix")
            return cls(
                homography,
                float(values["residual_px"]),
                (sizes[0][0], sizes[0][1]),
                (sizes[1][0], sizes[1][1]),
                str(values["method"]),
                int(values["samples"]),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidSignal(
                f"This is no thermal mapping ({error}): make one with 'zygoma calibrate thermal'."
            ) from None


Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The same points [n, 2] in visible and in thermal pixels."""


def fit_faces(
    pairs: Sequence[Pair], camera_size: tuple[int, int], thermal_size: tuple[int, int]
) -> ThermalMapping:
    """The map between two cameras that saw the same face for some seconds.

    A similarity, or an affine map where that predicts faces that were left out better; robust against wrong
    landmarks.

    Args:
        pairs: Face meshes of the same moments.
        camera_size, thermal_size: Width and height of the pictures.

    Raises:
        InvalidSignal: Too few faces, or they do not agree.
    """
    if len(pairs) < _MIN_FACES:
        raise InvalidSignal(
            f"Both cameras saw the face at {len(pairs)} moments only: face both frontally at arm's length, "
            "move the head slowly across the picture, and calibrate again."
        )
    fits = []
    for full in (False, True):
        halves = [_fit_affine(pairs[i::2], full=full) for i in range(2)]
        errors = np.concatenate([_errors(pairs[1 - i :: 2], half) for i, half in enumerate(halves)])
        fits.append((float(np.sqrt(np.median(errors**2) / np.log(2))), full))
    residual_px, full = min(fits)
    return _checked(_fit_affine(pairs, full=full), residual_px, camera_size, thermal_size, "face", len(pairs))


def fit_board(
    pairs: Sequence[Pair], camera_size: tuple[int, int], thermal_size: tuple[int, int]
) -> ThermalMapping:
    """The homography between two views of a flat board, held where the face will be.

    Args:
        pairs: Corners or circle centres of the same moments.
        camera_size, thermal_size: Width and height of the pictures.

    Raises:
        InvalidSignal: No board, or the views do not agree.
    """
    if len(pairs) < _MIN_BOARDS:
        raise InvalidSignal(
            "The board was not seen by both cameras at once: heat it (a lamp, a hair dryer), hold it where "
            "the face will be, and check its size (--board 7x5 counts inner corners or circles)."
        )
    homography = _homography(pairs)
    if homography is None:
        raise InvalidSignal(
            "The two views of the board fit no map: hold it flat and still, and calibrate again."
        )
    errors = _errors(pairs, homography)
    if len(pairs) > 1:
        halves = [_homography(pairs[i::2]) for i in range(2)]
        held_out = [_errors(pairs[1 - i :: 2], half) for i, half in enumerate(halves) if half is not None]
        errors = np.concatenate(held_out) if held_out else errors
    residual_px = float(np.sqrt(np.median(errors**2) / np.log(2)))
    return _checked(homography, residual_px, camera_size, thermal_size, "board", len(pairs))


def find_board(grey: NDArray[np.uint8], columns: int, rows: int) -> NDArray[np.float64] | None:
    """Corners of a chequered board, or centres of a grid of circles, in row order; None when not seen.

    Args:
        grey: uint8 [height, width].
        columns, rows: Inner corners, or circles, per row and column.
    """
    size = (columns, rows)
    thorough = cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
    for picture in (grey, cv2.bitwise_not(grey)):
        found, corners = cv2.findChessboardCornersSB(picture, size, flags=thorough)
        if not found:
            found, corners = cv2.findCirclesGrid(picture, size, flags=cv2.CALIB_CB_SYMMETRIC_GRID)
        if found and corners is not None:
            return _in_row_order(np.asarray(corners, dtype=np.float64).reshape(-1, 2), columns)
    return None


def render_for_board(celsius: NDArray[np.float32]) -> tuple[NDArray[np.uint8], int]:
    """A thermal picture in grey over its own range, and how many times larger it is."""
    scale = max(1, round(RENDERED_WIDTH_PX / celsius.shape[1]))
    large = cv2.resize(celsius, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    low, high = np.percentile(large, [1, 99])
    level = skin_level(celsius)
    low, high = min(float(low), level - 1.0), max(float(high), level + 1.0)
    return np.clip((large - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8), scale


def _centred(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels of a picture to those of a larger one; pixel centres are at whole numbers."""
    shift = (scale - 1) / 2
    return np.array([[scale[0], 0.0, shift[0]], [0.0, scale[1], shift[1]], [0.0, 0.0, 1.0]])


def _in_row_order(points: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """Begin at the upper left corner: the search may begin at any of a board's corners."""
    grid = points.reshape(-1, columns, 2)
    if grid[0, :, 0].mean() > grid[-1, :, 0].mean() + abs(np.ptp(grid[:, 0, 1])) and len(grid) == columns:
        grid = grid.transpose(1, 0, 2)
    if grid[:, 0, 0].mean() > grid[:, -1, 0].mean():
        grid = grid[:, ::-1]
    if grid[0, :, 1].mean() > grid[-1, :, 1].mean():
        grid = grid[::-1]
    return np.ascontiguousarray(grid.reshape(-1, 2))


def _fit_affine(pairs: Sequence[Pair], *, full: bool) -> NDArray[np.float64]:
    """Least-median-of-squares of all landmarks of all faces [3, 3]."""
    seen, felt = (np.concatenate([pair[side] for pair in pairs])[::4].astype(np.float64) for side in (0, 1))
    estimate = cv2.estimateAffine2D if full else cv2.estimateAffinePartial2D
    cv2.setRNGSeed(1)
    found, _ = estimate(seen, felt, method=cv2.RANSAC, ransacReprojThreshold=_OUTLIER_PX, maxIters=500)
    if found is None:
        raise InvalidSignal(
            "The face's places in the two pictures do not agree: check that both cameras see the same person "
            "and that neither picture is mirrored."
        )
    return np.vstack([found, [0.0, 0.0, 1.0]])


def _homography(pairs: Sequence[Pair]) -> NDArray[np.float64] | None:
    seen, felt = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    found, _ = cv2.findHomography(seen, felt, cv2.RANSAC, _OUTLIER_PX)
    return None if found is None else np.asarray(found, dtype=np.float64)


def _errors(pairs: Sequence[Pair], homography: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every point from where the map puts it, thermal pixels."""
    seen, felt = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    moved = np.column_stack([seen, np.ones(len(seen))]) @ homography.T
    return np.asarray(np.hypot(*(moved[:, :2] / moved[:, 2:] - felt).T))


def _checked(
    homography: NDArray[np.float64],
    residual_px: float,
    camera_size: tuple[int, int],
    thermal_size: tuple[int, int],
    method: str,
    samples: int,
) -> ThermalMapping:
    limit_px = _MAX_RESIDUAL_SHARE * thermal_size[0]
    if not residual_px <= limit_px or not np.linalg.det(homography[:2, :2]) > 0:
        raise InvalidSignal(
            f"The map misses by {residual_px:.1f} thermal pixels ({limit_px:.1f} are allowed) or is "
            "mirrored: face both cameras frontally, keep your distance, and calibrate again."
        )
    return ThermalMapping(homography, residual_px, camera_size, thermal_size, method, samples)
