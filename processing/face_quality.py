"""What speaks against a picture of a face: each doubt is a named flag, measured, never guessed.

Flags lower the confidence of a row of action units; they never change what was measured. Every threshold has
a second, easier one to leave by, so that a flag does not flicker. What a picture cannot tell is not asked of
it: that it is mirrored is known from the stream alone, because a mirrored face is a face.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntFlag
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from processing.pose import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS


class FaceFlag(IntFlag):
    """Bits of the ``flags`` channel; all of them together are exact in float32."""

    LOST = 1
    SECOND_FACE = 2
    MIRRORED = 4
    GLASSES = 8
    LOW_LIGHT = 16
    OVER_EXPOSED = 32
    BLURRED = 64
    SMALL = 128
    CUT_OFF = 256
    TURNED = 512


FLAG_WORDS: Mapping[FaceFlag, str] = MappingProxyType(
    {
        FaceFlag.LOST: "no face found: look into the camera, free the face",
        FaceFlag.SECOND_FACE: "more than one face: only one person may be in the picture",
        FaceFlag.MIRRORED: "the picture is declared mirrored: left and right were swapped back",
        FaceFlag.GLASSES: "glasses suspected: they hide brows and lids, take them off if possible",
        FaceFlag.LOW_LIGHT: "too dark: light the face from the front",
        FaceFlag.OVER_EXPOSED: "over-exposed: less light, or a shorter exposure",
        FaceFlag.BLURRED: "blurred against this person's own best: focus, hold still, or add light",
        FaceFlag.SMALL: "the face is small: come closer, or choose a larger picture",
        FaceFlag.CUT_OFF: "the face is cut off at the edge: centre it",
        FaceFlag.TURNED: "the head is turned by more than 20 degrees: face the camera",
    }
)
"""What each flag means and what mends it, in words for the operator."""

FLAG_BITS = " ".join(f"{flag.value}={flag.name.lower()}" for flag in FaceFlag if flag.name)
"""The bits of the ``flags`` channel, for a stream's metadata: ``1=lost 2=second_face ...``."""

CONFIDENCE_LEFT: Mapping[FaceFlag, float] = MappingProxyType(
    {
        FaceFlag.SECOND_FACE: 0.7,  # the tracker may have changed over to the other face
        FaceFlag.GLASSES: 0.85,
        FaceFlag.LOW_LIGHT: 0.6,
        FaceFlag.OVER_EXPOSED: 0.6,
        FaceFlag.BLURRED: 0.6,
        FaceFlag.SMALL: 0.7,
        FaceFlag.CUT_OFF: 0.5,
        FaceFlag.TURNED: 0.7,
    }
)
"""Share of the confidence that each flag leaves; several multiply."""

TURNED_DEG = (15.0, 13.5)
"""As MediaPipe measures: of 20 faces rendered with the head turned or tilted by 20 degrees it reads 13-15."""

SMALL_IOD_PX = (40.0, 44.0)
DARK_HIGHLIGHT = (0.27, 0.31)
"""Brightest twentieth of the face, 0-1: a dark skin in good light has highlights, a face in the dark has not
(20 adults of all skin tones in studio light: 0.58-0.87)."""

CLIPPED_SHARE = (0.10, 0.06)
CLIPPED_LEVEL = 250
BLURRED_SHARPNESS = (0.7, 0.78)
"""20 adults between neutral and smile: 0.88-1.07; a Gaussian blur of 4 % IOD: 0.69; motion of 20 %: 0.62."""

GLASSES_EVIDENCE = (0.09, 0.07)
"""Grey step across the nose bridge over the mean grey: 41 faces without glasses 0.01-0.06, frames drawn on
them 0.2-0.7, thin metal and rimless ones 0.03-0.2 (some stay unseen)."""

GLASSES_SETTLE_S = 3.0
"""A frown wrinkles the nose's root for moments; glasses stay."""

LOOK_EVERY_S = 0.08
"""Light, sharpness and glasses are looked at this often; what the landmarks tell, in every frame."""

CUT_OFF_IOD = 0.05
BEST_RISES_S, BEST_FALLS_S = 0.5, 300.0
"""The person's own best sharpness is learned at once and forgotten slowly."""

_LEVELS = np.arange(256) / 255.0
_PATCH_IOD_PX = 64.0
_PATCH_X, _PATCH_Y = (-0.8, 0.8), (-0.5, 1.3)  # IOD from between the eyes: temples, forehead to chin
_PATCH_SIZE = (
    round((_PATCH_X[1] - _PATCH_X[0]) * _PATCH_IOD_PX),
    round((_PATCH_Y[1] - _PATCH_Y[0]) * _PATCH_IOD_PX),
)
_BRIDGE_ROWS = slice(round((-0.2 - _PATCH_Y[0]) * _PATCH_IOD_PX), round((0.15 - _PATCH_Y[0]) * _PATCH_IOD_PX))
_BRIDGE_COLUMNS = slice(
    round((-0.08 - _PATCH_X[0]) * _PATCH_IOD_PX), round((0.08 - _PATCH_X[0]) * _PATCH_IOD_PX)
)


def flags_in(value: float) -> FaceFlag:
    """The flags of one cell of the ``flags`` channel; none where it is NaN."""
    return FaceFlag(int(value)) if math.isfinite(value) else FaceFlag(0)


def words(flags: FaceFlag) -> Iterator[str]:
    """One sentence per flag, in the order of the bits."""
    return (FLAG_WORDS[flag] for flag in flags)


def confidence_left(flags: FaceFlag) -> float:
    """Factor 0-1 on the confidence."""
    return math.prod(CONFIDENCE_LEFT.get(flag, 1.0) for flag in flags)


@dataclass(frozen=True)
class Appearance:
    """What one picture shows of its own worth.

    Attributes:
        flags: The doubts.
        sharpness: Amplitude of the face's edges over the person's own running best, 0-1.
        brightness: Mean grey level of the face, 0-1.
    """

    flags: FaceFlag
    sharpness: float
    brightness: float


class FaceQuality:
    """Judges the picture of a face, frame by frame: causal, by stamps alone."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the person."""
        self._flags = 0
        self._best: tuple[float, float] | None = None
        self._bridge = math.nan
        self._looked_s = math.nan
        self._sharp, self._bright = 1.0, math.nan

    def update(
        self,
        gray: NDArray[np.uint8],
        points_px: NDArray[np.float32],
        pitch_deg: float,
        yaw_deg: float,
        iod_px: float,
        time_s: float,
    ) -> Appearance:
        """Judge one picture.

        Args:
            gray: Grey levels [height, width].
            points_px: Landmarks [478, 3] of the face in it, px.
            pitch_deg, yaw_deg, iod_px: See `processing.pose.HeadPose`.
            time_s: Its stamp.
        """
        turned = max(abs(yaw_deg), abs(pitch_deg))
        beyond = _reach_beyond(points_px, gray.shape) / max(iod_px, 1.0)
        self._raise(FaceFlag.TURNED, turned, TURNED_DEG)
        self._raise(FaceFlag.SMALL, iod_px, SMALL_IOD_PX)
        self._raise(FaceFlag.CUT_OFF, beyond, (CUT_OFF_IOD, 0.5 * CUT_OFF_IOD))
        # Also true at the first frame, and where the clock stepped back.
        if not 0.0 <= time_s - self._looked_s < LOOK_EVERY_S:
            self._look(face_patch(gray, points_px), turned, time_s)
        return Appearance(FaceFlag(self._flags), self._sharp, self._bright)

    def _look(self, patch: NDArray[np.uint8], turned_deg: float, time_s: float) -> None:
        step_s = time_s - self._looked_s if time_s > self._looked_s else 0.0
        self._looked_s = time_s
        self._bright, highlight, clipped = exposure(patch)
        self._sharp = self._sharpness(edge_amplitudes(patch), step_s)
        if turned_deg < TURNED_DEG[0]:  # a nose seen from the side has edges of its own
            self._weigh_bridge(bridge_step(patch), step_s)
        self._raise(FaceFlag.LOW_LIGHT, highlight, DARK_HIGHLIGHT)
        self._raise(FaceFlag.OVER_EXPOSED, clipped, CLIPPED_SHARE)
        self._raise(FaceFlag.BLURRED, self._sharp, BLURRED_SHARPNESS)
        self._raise(FaceFlag.GLASSES, self._bridge, GLASSES_EVIDENCE)

    def _raise(self, flag: FaceFlag, value: float, bounds: tuple[float, float]) -> None:
        """Set or clear one flag; `bounds` are where it comes and where it goes, in either direction."""
        comes, goes = bounds
        bit = flag.value
        bound = goes if self._flags & bit else comes
        doubtful = value > bound if comes > goes else value < bound
        self._flags = self._flags | bit if doubtful else self._flags & ~bit

    def _sharpness(self, amplitudes: tuple[float, float], step_s: float) -> float:
        if self._best is None:
            self._best = amplitudes
        across, down = (
            best + (seen - best) * (1.0 - math.exp(-step_s / (BEST_RISES_S if seen > best else BEST_FALLS_S)))
            for seen, best in zip(amplitudes, self._best, strict=True)
        )
        self._best = across, down
        # Motion smears one direction only: the worse of the two counts.
        return min(1.0, amplitudes[0] / max(across, 1e-9), amplitudes[1] / max(down, 1e-9))

    def _weigh_bridge(self, step: float, step_s: float) -> None:
        if math.isnan(self._bridge):
            self._bridge = step
        self._bridge += (step - self._bridge) * (1.0 - math.exp(-step_s / GLASSES_SETTLE_S))


def face_patch(gray: NDArray[np.uint8], points_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The face upright, eyes level and 64 px apart: grey levels uint8 [115, 102]."""
    eyes = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)
    (x0, y0), (x1, y1) = ((0.5 * (points_px[a, :2] + points_px[b, :2])).tolist() for a, b in eyes)
    apart_px = max(math.hypot(x1 - x0, y1 - y0), 1.0)
    # A large face is thinned by whole factors first, so that the warp skips no pixels.
    factor = max(1, int(apart_px / _PATCH_IOD_PX))
    corner_x = corner_y = 0
    middle_x, middle_y = 0.5 * (x0 + x1), 0.5 * (y0 + y1)
    if factor > 1:
        gray, corner_x, corner_y = _thinned(gray, middle_x, middle_y, 1.7 * apart_px, factor)
    # One step to the right in the patch is (ax, ay) in the picture, one step down (-ay, ax).
    ax, ay = (x1 - x0) / _PATCH_IOD_PX, (y1 - y0) / _PATCH_IOD_PX
    left, top = _PATCH_X[0] * _PATCH_IOD_PX, _PATCH_Y[0] * _PATCH_IOD_PX
    start_x = middle_x + left * ax - top * ay - corner_x
    start_y = middle_y + left * ay + top * ax - corner_y
    to_picture = np.array([[ax, -ay, start_x], [ay, ax, start_y]]) / factor
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(gray, to_picture, _PATCH_SIZE, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch, dtype=np.uint8)


def _thinned(
    gray: NDArray[np.uint8], x: float, y: float, reach: float, factor: int
) -> tuple[NDArray[np.uint8], int, int]:
    """The surroundings of (x, y) at 1/`factor` of the size, and where their corner lies, px."""
    height, width = gray.shape
    x0 = min(max(0, int(x - reach)), width - factor)
    y0 = min(max(0, int(y - reach)), height - factor)
    across = max(1, (min(width, int(x + reach)) - x0) // factor)
    down = max(1, (min(height, int(y + reach)) - y0) // factor)
    crop = gray[y0 : y0 + down * factor, x0 : x0 + across * factor]
    small = cv2.resize(crop, (across, down), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), x0, y0


def exposure(patch: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Mean grey level and where the brightest twentieth begins, 0-1; share of the patch that is clipped."""
    counts = cv2.calcHist([patch], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    below = np.cumsum(counts) / patch.size
    highlight = int(np.searchsorted(below, 0.95))
    return float(counts @ _LEVELS) / patch.size, highlight / 255.0, 1.0 - float(below[CLIPPED_LEVEL - 1])


def edge_amplitudes(patch: NDArray[np.uint8]) -> tuple[float, float]:
    """Root mean square grey step across and down a face patch over its contrast.

    Grey levels are smoothed first, so that the noise of a dark picture does not pass for sharpness; gain and
    offset cancel.
    """
    smooth = cv2.GaussianBlur(patch.astype(np.float32), (5, 5), 1.0)
    contrast = max(float(cv2.meanStdDev(patch)[1][0, 0]), 1.0) * math.sqrt(patch.size)
    across = cv2.norm(smooth[:, 1:], smooth[:, :-1], cv2.NORM_L2)
    down = cv2.norm(smooth[1:], smooth[:-1], cv2.NORM_L2)
    return across / contrast, down / contrast


def bridge_step(patch: NDArray[np.uint8]) -> float:
    """Largest grey step from row to row on the nose bridge between the eyes, over the mean grey.

    The skin there is smooth; the bridge of a pair of glasses crosses it (Jiang, Binkert, Achermann & Bunke,
    2000, look at the same place). Half of the columns have to show it.
    """
    bridge = patch[_BRIDGE_ROWS, _BRIDGE_COLUMNS].astype(np.float64)
    rows = np.partition(bridge, bridge.shape[1] // 2, axis=1)[:, bridge.shape[1] // 2]
    return float(np.abs(rows[1:] - rows[:-1]).max() / max(cv2.mean(patch)[0], 1.0))


def _reach_beyond(points_px: NDArray[np.float32], shape: tuple[int, ...]) -> float:
    """How far the face reaches over the picture's edge, px; negative inside."""
    x, y = points_px[:, 0], points_px[:, 1]
    return max(-float(x.min()), -float(y.min()), float(x.max()) - shape[1], float(y.max()) - shape[0])
