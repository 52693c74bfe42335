"""The face that the simulated person wears: a public-domain portrait, enlarged, upright and at rest.

`skimage.data.astronaut()` (NASA, public domain) shows a smile with teeth. Here her mouth is closed and its
corners are lowered once, so that the simulation starts from a face that is close to neutral, and the teeth
are kept on a second sheet that shows wherever the lips part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MARGIN_PX = 64
"""The portrait reaches this far beyond the 640 x 480 reference picture, so that the head can sway."""

REFERENCE_WIDTH_PX, REFERENCE_HEIGHT_PX = 640, 480
EYE_MIDPOINT_PX = (320.0, 205.0)
"""Point halfway between the two eyes in the reference picture at rest."""

IOD_PX = 100.0
"""Distance between the eye centres (means of the two corners of each eye) in the reference picture."""

# Found once with MediaPipe FaceLandmarker on the original photograph.
_ASTRONAUT_EYE_MIDPOINT_PX = (225.22, 103.03)
_ASTRONAUT_IOD_PX = 41.60
_ASTRONAUT_ROLL_RAD = 0.05415

# Inner contours of the smiling lips (reference pixels), from the subject's right corner to her left.
_SMILE_UPPER = np.array(
    [
        (268.0, 297.0), (273.9, 297.1), (279.9, 297.5), (287.4, 298.3), (296.3, 299.2), (307.4, 300.6),
        (320.8, 301.5), (334.3, 300.2), (345.5, 298.2), (354.3, 296.6), (361.7, 295.3), (367.8, 294.5),
        (374.0, 294.0),
    ]
)  # fmt: skip
_SMILE_LOWER = np.array(
    [
        (268.0, 297.0), (273.9, 297.3), (281.8, 304.4), (288.1, 309.1), (297.0, 313.4), (307.5, 316.4),
        (320.3, 317.6), (333.1, 316.2), (344.0, 312.6), (352.9, 307.4), (359.6, 302.2), (367.8, 294.7),
        (374.0, 294.0),
    ]
)  # fmt: skip

MOUTH_CORNER_RIGHT_PX = (277.0, 309.0)
MOUTH_CORNER_LEFT_PX = (364.0, 308.0)


def seam_y(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height [px] of the line between the closed lips at column `x` of the reference picture."""
    middle = 0.5 * (MOUTH_CORNER_RIGHT_PX[0] + MOUTH_CORNER_LEFT_PX[0])
    half = 0.5 * (MOUTH_CORNER_LEFT_PX[0] - MOUTH_CORNER_RIGHT_PX[0])
    u = np.clip((x - middle) / half, -1.5, 1.5)
    # A shallow cupid's bow: the corners lie a little above the middle of each half.
    return np.asarray(
        308.5 - 0.5 * u + 1.2 * np.cos(2 * np.pi * np.clip(u, -1, 1)) * (1 - np.clip(u * u, 0, 1))
    )


# Where points of the smiling face (first pair) go in the resting face (second pair). The upper sheet is
# everything above the gap between the lips, the lower sheet everything below; both share the cheeks.
_SHARED_MOVES = (
    ((269.8, 296.0), (276.0, 309.0)), ((371.5, 293.1), (365.0, 308.0)),  # lip corners
    ((262.0, 292.0), (266.0, 303.5)), ((379.0, 290.0), (375.0, 302.5)),
    ((251.8, 263.7), (252.5, 268.0)), ((389.4, 263.5), (388.5, 267.5)),  # cheeks
    ((239.5, 249.3), (240.0, 252.0)), ((401.9, 249.0), (401.5, 251.5)),
    ((237.2, 226.3), (237.2, 227.3)), ((404.4, 226.1), (404.4, 227.1)),
    ((250.0, 300.0), (254.0, 308.0)), ((391.0, 299.0), (387.0, 307.0)),
    ((283.2, 259.5), (285.0, 259.8)), ((356.0, 259.0), (354.0, 259.3)),  # nose wings narrow
    ((288.6, 270.2), (290.5, 271.0)), ((350.4, 269.8), (348.5, 270.6)),
)  # fmt: skip
_STILL = (
    (319.1, 278.4), (318.7, 262.4), (318.9, 236.1), (319.1, 200.0), (269.8, 210.2), (370.7, 210.4),
    (248.1, 202.7), (392.7, 202.7), (214.0, 250.0), (429.5, 250.0), (217.0, 273.0), (427.0, 273.0),
    (222.3, 298.8), (421.6, 298.5), (231.0, 320.4), (412.3, 320.1), (255.7, 352.5), (386.2, 352.2),
    (319.9, 386.0), (290.0, 383.0), (350.0, 383.0), (211.7, 206.0), (430.4, 206.0), (319.0, 150.0),
    (200.0, 340.0), (440.0, 340.0), (319.0, 420.0), (180.0, 260.0), (460.0, 260.0),
)  # fmt: skip
_UPPER_LIP_MOVES = (
    ((292.1, 293.6), (295.0, 299.5)), ((305.6, 293.1), (307.5, 296.3)), ((320.7, 295.0), (320.5, 297.8)),
    ((335.7, 292.3), (333.5, 296.0)), ((349.3, 292.0), (346.0, 299.0)), ((282.7, 294.1), (286.5, 303.5)),
    ((359.0, 292.0), (355.0, 302.5)), ((320.0, 287.0), (320.0, 288.3)),
)  # fmt: skip
_LOWER_LIP_MOVES = (
    ((283.2, 314.9), (288.5, 317.5)), ((293.1, 323.4), (297.0, 323.0)), ((305.6, 328.6), (307.5, 326.3)),
    ((320.3, 330.2), (320.3, 327.0)), ((335.4, 328.1), (333.0, 326.0)), ((348.1, 322.2), (344.0, 322.5)),
    ((358.1, 313.2), (353.0, 316.8)), ((320.0, 342.3), (320.0, 338.5)), ((319.9, 355.0), (319.9, 354.0)),
    ((290.0, 341.0), (293.0, 340.0)), ((350.0, 341.0), (347.0, 340.0)),
)  # fmt: skip

# Creases from nose wing to lip corner that only the smile has: softened in the resting face.
_SMILE_FOLDS = (
    ((279.0, 260.0), (262.0, 278.0), (256.0, 294.0)),
    ((361.0, 258.0), (377.0, 277.0), (385.0, 293.0)),
)


@dataclass(frozen=True, eq=False)
class Portrait:
    """The resting face and what lies behind its lips.

    Attributes:
        skin: uint8 [608, 768, 3] BGR; reference pixel (x, y) is at ``skin[y + MARGIN_PX, x + MARGIN_PX]``.
        inside: Same shape: teeth (fixed to the skull) and the dark of the mouth.
    """

    skin: NDArray[np.uint8]
    inside: NDArray[np.uint8]


@lru_cache(maxsize=1)
def resting_portrait() -> Portrait:
    """Build the portrait (about 0.3 s, then cached for the process)."""
    smiling = _upright_photograph()
    skin = _with_skin_texture(_soften_folds(_close_mouth(smiling)))
    return Portrait(skin=skin, inside=_mouth_cavity(smiling))


def _upright_photograph() -> NDArray[np.uint8]:
    from skimage.data import astronaut  # slow to import; only the device process needs it

    scale = IOD_PX / _ASTRONAUT_IOD_PX
    cos, sin = scale * np.cos(-_ASTRONAUT_ROLL_RAD), scale * np.sin(-_ASTRONAUT_ROLL_RAD)
    affine = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
    target = np.array(EYE_MIDPOINT_PX) + MARGIN_PX
    affine[:, 2] = target - affine[:, :2] @ np.array(_ASTRONAUT_EYE_MIDPOINT_PX)
    size = (REFERENCE_WIDTH_PX + 2 * MARGIN_PX, REFERENCE_HEIGHT_PX + 2 * MARGIN_PX)
    bgr = np.ascontiguousarray(astronaut()[..., ::-1])
    big = cv2.warpAffine(bgr, affine, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)
    # Enlarging by 2.4 leaves it soft; give back some of the edge contrast that a camera would see.
    soft = cv2.GaussianBlur(big, (0, 0), 2.5)
    return np.asarray(cv2.addWeighted(big, 1.8, soft, -0.8, 0.0), dtype=np.uint8)


def _inverse_map(moves: tuple[tuple[tuple[float, float], tuple[float, float]], ...]) -> NDArray[np.float32]:
    """Thin-plate map [608, 768, 2]: for each resting pixel the place in the smiling photograph."""
    from scipy.interpolate import RBFInterpolator

    source = np.array([m[0] for m in moves] + list(_STILL))
    target = np.array([m[1] for m in moves] + list(_STILL))
    spline = RBFInterpolator(target, source - target, kernel="thin_plate_spline", smoothing=0.5)
    step = 4
    xs = np.arange(-MARGIN_PX, REFERENCE_WIDTH_PX + MARGIN_PX + step, step)
    ys = np.arange(-MARGIN_PX, REFERENCE_HEIGHT_PX + MARGIN_PX + step, step)
    gx, gy = np.meshgrid(xs, ys)
    offset = np.zeros((*gx.shape, 2))
    # The spline is global; outside the face nothing moves.
    reach = np.hypot((gx - 320) / 120.0, (gy - 290) / 105.0)
    near = reach < 1.25
    offset[near] = spline(np.stack([gx[near], gy[near]], axis=1))
    offset *= np.clip((1.25 - reach) / 0.35, 0, 1)[..., None]
    full = np.empty((REFERENCE_HEIGHT_PX + 2 * MARGIN_PX, REFERENCE_WIDTH_PX + 2 * MARGIN_PX, 2), np.float32)
    py, px = np.mgrid[0 : full.shape[0], 0 : full.shape[1]].astype(np.float32)
    for axis in range(2):
        coarse = offset[..., axis].astype(np.float32)
        full[..., axis] = cv2.remap(coarse, px / step, py / step, cv2.INTER_CUBIC)
    full[..., 0] += px
    full[..., 1] += py
    return full


def _close_mouth(smiling: NDArray[np.uint8]) -> NDArray[np.uint8]:
    columns = np.linspace(MOUTH_CORNER_RIGHT_PX[0] + 3, MOUTH_CORNER_LEFT_PX[0] - 3, 12)
    seam = seam_y(columns)
    share = np.linspace(0.05, 0.95, 12)
    smile_x = 270.0 + share * (371.0 - 270.0)
    upper_y = np.interp(smile_x, *_SMILE_UPPER.T)
    lower_y = np.interp(smile_x, *_SMILE_LOWER.T)
    resting = list(zip(columns.tolist(), seam.tolist(), strict=True))
    upper = tuple(zip(zip(smile_x.tolist(), upper_y.tolist(), strict=True), resting, strict=True))
    lower = tuple(zip(zip(smile_x.tolist(), lower_y.tolist(), strict=True), resting, strict=True))
    above = _inverse_map(_SHARED_MOVES + _UPPER_LIP_MOVES + upper)
    below = _inverse_map(_SHARED_MOVES + _LOWER_LIP_MOVES + lower)
    py, px = np.mgrid[0 : smiling.shape[0], 0 : smiling.shape[1]].astype(np.float64)
    y, x = py - MARGIN_PX, px - MARGIN_PX
    # Soft choice between the sheets, two pixels wide, so that the lip line is not a staircase.
    depth = y - seam_y(x)
    share_below = np.clip(depth / 1.6 + 0.5, 0, 1)
    upper_skin = cv2.remap(
        smiling, above[..., 0], above[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    lower_skin = cv2.remap(
        smiling, below[..., 0], below[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    closed = upper_skin * (1 - share_below[..., None]) + lower_skin * share_below[..., None]
    # The line where the lips meet is dark, and fades out beyond the corners.
    middle = 0.5 * (MOUTH_CORNER_RIGHT_PX[0] + MOUTH_CORNER_LEFT_PX[0])
    half = 0.5 * (MOUTH_CORNER_LEFT_PX[0] - MOUTH_CORNER_RIGHT_PX[0])
    within = np.clip((1.06 - np.abs(x - middle) / half) / 0.15, 0, 1)
    dark = 0.62 * within * np.exp(-0.5 * (depth / 1.5) ** 2)
    closed *= 1 - dark[..., None] * np.array([0.9, 1.0, 0.85])
    return _as_picture(closed + 0.5)


def _soften_folds(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    mask = np.zeros(face.shape[:2], np.float32)
    for fold in _SMILE_FOLDS:
        points = np.round(np.array(fold) + MARGIN_PX).astype(np.int32)
        cv2.polylines(mask, [points], False, 1.0, 9, cv2.LINE_AA)
    mask = np.asarray(np.minimum(cv2.GaussianBlur(mask, (0, 0), 4.0) * 1.1, 0.85), np.float32)[..., None]
    soft = cv2.GaussianBlur(face, (0, 0), 7.0)
    return np.asarray(face * (1 - mask) + soft * mask + 0.5, dtype=np.uint8)


def _with_skin_texture(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pores and fine hair that the small photograph lost; fixed to the skin, so that they move with it."""
    rng = np.random.default_rng(1992)
    fine = cv2.GaussianBlur(rng.standard_normal(face.shape[:2]), (0, 0), 1.0)
    coarse = cv2.GaussianBlur(rng.standard_normal(face.shape[:2]), (0, 0), 2.5)
    texture = 1.7 * fine / fine.std() - 0.6 * coarse / coarse.std()
    brightness = face.mean(axis=2) / 255.0
    return _as_picture(face + (texture * (0.35 + 0.65 * brightness))[..., None] + 0.5)


def _mouth_cavity(smiling: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Teeth of the photograph, moved down to where the closed upper lip now ends, before a dark ground."""
    shift = 8.0
    py, px = np.mgrid[0 : smiling.shape[0], 0 : smiling.shape[1]].astype(np.float32)
    moved = cv2.remap(smiling, px, py - np.float32(shift), cv2.INTER_LINEAR).astype(np.float64)
    x, y = px.astype(np.float64) - MARGIN_PX, py.astype(np.float64) - MARGIN_PX - shift
    top = np.interp(x, *_SMILE_UPPER.T)
    bottom = np.interp(x, *_SMILE_LOWER.T)
    teeth = np.clip((y - top) / 2.0, 0, 1) * np.clip((bottom - 2.0 - y) / 4.0, 0, 1)
    teeth *= np.clip((bottom - top - 3.0) / 4.0, 0, 1)
    ground = np.broadcast_to(np.array([22.0, 18.0, 40.0]), moved.shape)
    mixed = 0.72 * moved * teeth[..., None] + ground * (1 - teeth[..., None])
    return _as_picture(mixed + 0.5)


def _as_picture(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)
