"""Action units, head pose and eyelid closure of one face per frame, measured from the person's own neutral.

Landmarks, head motion removed, are explained by muscle activations (`processing.muscle_model`); action units
follow from the muscles by figure 1 of Dong et al. (2022). Nothing is smoothed over time: a 100 ms movement
keeps its height and its moment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Channel
from processing.landmarks import FaceObservation
from processing.muscle_model import (
    ACTIVATIONS,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    InverseModel,
    build_inverse,
    invert,
)
from processing.neutral import Neutral, NeutralEstimator
from processing.pose import STABLE_POINTS, HeadPose, align_to_neutral, head_pose, to_face_coordinates

ACTION_UNITS: tuple[int, ...] = (
    1,
    2,
    4,
    5,
    6,
    7,
    9,
    10,
    12,
    14,
    15,
    16,
    17,
    18,
    20,
    22,
    23,
    24,
    25,
    26,
    27,
    28,
    43,
    45,
)
TWO_SIDED: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 43, 45)
"""Action units measured on the subject's left and right separately."""

HEAD_CHANNELS: tuple[Channel, ...] = (
    Channel("face", "none", "Quality"),
    Channel("confidence", "normalized", "Quality"),
    Channel("pitch_deg", "degrees", "Head"),
    Channel("yaw_deg", "degrees", "Head"),
    Channel("roll_deg", "degrees", "Head"),
    Channel("iod_px", "pixels", "Head"),
    Channel("head_speed", "pixels/second", "Head"),
    Channel("blink_left", "normalized", "Eyelid"),
    Channel("blink_right", "normalized", "Eyelid"),
    # What speaks against the picture: `processing.face_quality` measures it.
    Channel("flags", "bitmask", "Quality"),
    Channel("sharpness", "normalized", "Quality"),
    Channel("brightness", "normalized", "Quality"),
)


def action_unit_channels() -> tuple[Channel, ...]:
    """Columns of an ActionUnits stream: head, then each AU (and its sides), then each AU's standard error."""
    channels = list(HEAD_CHANNELS)
    for au in ACTION_UNITS:
        channels.append(Channel(f"AU{au}", "normalized", "AU"))
        if au in TWO_SIDED:
            channels.append(Channel(f"AU{au}_left", "normalized", "AU"))
            channels.append(Channel(f"AU{au}_right", "normalized", "AU"))
    channels += [Channel(f"AU{au}_se", "normalized", "Uncertainty") for au in ACTION_UNITS]
    return tuple(channels)


_LABELS = tuple(channel.label for channel in action_unit_channels())
_COLUMN = {label: i for i, label in enumerate(_LABELS)}
ROW_LENGTH = len(_LABELS)

_LEFT = np.array([_COLUMN[f"AU{au}_left"] for au in TWO_SIDED])
_RIGHT = np.array([_COLUMN[f"AU{au}_right"] for au in TWO_SIDED])
_COMBINED = np.array([_COLUMN[f"AU{au}"] for au in TWO_SIDED])
_STANDARD_ERRORS = slice(_COLUMN[f"AU{ACTION_UNITS[0]}_se"], ROW_LENGTH)


def _muscles_to_columns() -> NDArray[np.float64]:
    """Matrix [row, activations] that adds up the muscles of each AU and side."""
    matrix = np.zeros((ROW_LENGTH, len(ACTIVATIONS)))
    for i, activation in enumerate(ACTIVATIONS):
        label = f"AU{activation.muscle.action_unit}"
        matrix[_COLUMN[label if activation.side == "both" else f"{label}_{activation.side}"], i] = 1.0
    return matrix


_SMILE_AND_DIMPLE = tuple((_COLUMN[f"AU12_{side}"], _COLUMN[f"AU14_{side}"]) for side in ("left", "right"))
_SMILE_CHEEK_AND_FROWN = tuple(
    tuple(_COLUMN[f"AU{au}_{side}"] for au in (12, 6, 4)) for side in ("left", "right")
)
_BROW_IN_SMILE = 0.3
_TO_COLUMNS = _muscles_to_columns()
_FIRST_MUSCLE = np.array(
    [
        next(
            (i for i, a in enumerate(ACTIVATIONS) if a.muscle.action_unit == {27: 26, 45: 43}.get(au, au)),
            0,
        )
        for au in ACTION_UNITS
    ]
)
"""The activation whose standard error stands for each AU."""

_FACS_LEVELS = ((0.05, ""), (0.2, "A"), (0.4, "B"), (0.6, "C"), (0.8, "D"))


def facs_level(intensity: float) -> str:
    """FACS letter A-E of an intensity 0-1, empty where the AU is absent: presence and letter always agree."""
    for bound, letter in _FACS_LEVELS:
        if intensity < bound:
            return letter
    return "E"


def no_face_row() -> NDArray[np.float32]:
    """A row without a face: face = 0, all else NaN."""
    row = np.full(ROW_LENGTH, np.nan, dtype=np.float32)
    row[0] = 0.0
    return row


_SIDES = ("right", "left")
_UPPER_LIDS = np.array([[160, 159, 158], [387, 386, 385]])
_LOWER_LIDS = np.array([[144, 145, 153], [373, 374, 380]])
_OUTER_CANTHI, _INNER_CANTHI = np.array([33, 263]), np.array([133, 362])
_CLOSED_SHARE = 0.2
"""Share of the neutral lid gap that MediaPipe still reports for a closed eye."""

_BLINK_SPEED = 6.0
"""Closures per second above which lids blink: a blink closes in about 100 ms, a squint does not."""

_BLINK_LONGEST_S = 0.5
"""A closure that lasts longer is AU43 however it began."""

_JITTER_PX = 0.25
"""Standard deviation of a landmark on a still face in an unfiltered video."""

_TURNED_IOD_PER_DEG = 0.0003
"""Misplacement of landmarks that remains per degree of pitch or yaw after the head's motion is taken out."""

_CHIN = np.array([199, 200, 175, 171, 396])
_LIP_PER_CHIN = 1.0 / 0.7
"""The lower lip falls farther than the chin's skin when the jaw drops."""

_JAW_BLURRED = np.array(
    [
        column
        for label, column in _COLUMN.items()
        for au in (14, 15, 16, 18, 20, 22, 23, 24, 28)
        if label in (f"AU{au}", f"AU{au}_left", f"AU{au}_right")
    ]
)
"""AUs of the lips, whose fields do not hold on a mouth stretched wide open."""

_LIP_MUSCLES = np.array([0.0 if a.muscle.action_unit in (25, 26) else 1.0 for a in ACTIVATIONS])
"""Muscles whose parting of the lips is their own AU's, not AU25's."""


def lid_heights(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height of the lid margins above the line between the eye's corners, in eye widths.

    Args:
        points: [478, 3] in face coordinates.

    Returns:
        [2, 2]: the subject's right and left eye; upper and lower lid.
    """
    flat = points[:, :2]
    corner = flat[_OUTER_CANTHI]
    axis = flat[_INNER_CANTHI] - corner
    squared = (axis * axis).sum(axis=1)
    normal = np.stack([axis[:, 1], -axis[:, 0]], axis=1) * np.sign(axis[:, :1]) / squared[:, None]
    upper = flat[_UPPER_LIDS].mean(axis=1) - corner
    lower = flat[_LOWER_LIDS].mean(axis=1) - corner
    heights: NDArray[np.float64] = np.stack(
        [(upper * normal).sum(axis=1), (lower * normal).sum(axis=1)], axis=1
    )
    return heights


def landmark_error(pose: HeadPose) -> float:
    """Standard error of a landmark's displacement, IOD: jitter, and what turning the head leaves behind."""
    jitter = _JITTER_PX / max(pose.iod_px, 1.0)
    return math.sqrt(jitter**2 + (_TURNED_IOD_PER_DEG * math.hypot(pose.yaw_deg, pose.pitch_deg)) ** 2)


def _rise(value: float, start: float, end: float) -> float:
    """0 up to `start`, 1 from `end`, a line between."""
    return min(1.0, max(0.0, (value - start) / (end - start)))


def mouth_opening(gap: float, jaw_drop: float) -> tuple[float, float, float]:
    """Intensities of AU25, AU26 and AU27.

    Args:
        gap: Parting of the inner lips that no lip muscle explains, IOD above neutral.
        jaw_drop: Fall of the jaw measured at the lower lip, IOD below neutral.

    The three are grades of one opening (FACS manual, chapter 7: lips part; jaw drops; mouth stretches): as
    the next grade rises the one before recedes.
    """
    parted = _rise(gap, 0.01, 0.13) * (1.0 - 0.65 * _rise(jaw_drop, 0.14, 0.3))
    stretched = _rise(jaw_drop, 0.31, 0.45)
    dropped = _rise(jaw_drop, 0.03, 0.28) * (1.0 - 0.6 * stretched)
    return parted, dropped, stretched


@dataclass(frozen=True)
class _Last:
    """What the next frame's speeds are measured from."""

    time_s: float
    stable_px: NDArray[np.float64]


class ActionUnitEstimator:
    """Turns face observations into rows of an ActionUnits stream."""

    def __init__(self, rest: tuple[float, float] | None = None, neutral: Neutral | None = None) -> None:
        """Start without a face seen.

        Args:
            rest: Stretch of stamps (start, end) in which the face rests.
            neutral: A neutral measured earlier; wins over `rest`.
        """
        self.channels = action_unit_channels()
        self._estimator = NeutralEstimator(None if neutral is not None else rest, neutral)
        self._model: InverseModel | None = None
        self._model_points: NDArray[np.float64] | None = None
        self._lids_of: Neutral | None = None
        self._lids_at_rest: list[list[float]] = []
        self._last: _Last | None = None
        self._eyes = {"left": _Eye(), "right": _Eye()}

    @property
    def neutral(self) -> Neutral | None:
        """The neutral in use; None before the first face."""
        return self._estimator.neutral

    def reset(self) -> None:
        """Forget everything but a neutral that was given."""
        self._estimator.reset()
        self._model = self._model_points = None
        self.interrupt()

    def interrupt(self) -> None:
        """Frames were lost or the face was gone: speeds and closure times start anew, the neutral stays."""
        self._last = None
        self._eyes = {"left": _Eye(), "right": _Eye()}

    def update(self, observation: FaceObservation | None, time_s: float) -> NDArray[np.float32]:
        """One row (see `action_unit_channels`).

        Args:
            observation: The face, or None.
            time_s: Stamp of the frame.
        """
        if observation is None:
            self.interrupt()
            return no_face_row()
        points_px = observation.points_px.astype(np.float64)
        shapes = observation.blendshapes.astype(np.float64)
        pose = head_pose(points_px, observation.transform)
        neutral = self._estimator.neutral
        if neutral is None:
            face, residual = to_face_coordinates(points_px, observation.transform), 0.0
            self._estimator.update(time_s, face, shapes)
            neutral = self._estimator.neutral
            assert neutral is not None
        face, _, residual = align_to_neutral(points_px, neutral.points)
        model = self._model_for(neutral)
        displacement = np.ascontiguousarray((face - neutral.points)[:, :2])
        activations = invert(model, displacement, shapes - neutral.blendshapes)
        speed = self._head_speed(points_px, pose.iod_px, time_s)

        row = np.zeros(ROW_LENGTH, dtype=np.float32)
        row[:9] = (
            1.0,
            self._confidence(pose.yaw_deg, pose.pitch_deg, pose.iod_px, residual),
            pose.pitch_deg,
            pose.yaw_deg,
            pose.roll_deg,
            pose.iod_px,
            speed,
            0.0,
            0.0,
        )
        self._fill(row, activations, model, face, neutral, pose, time_s)
        self._estimator.update(time_s, face, shapes)
        return row

    def _model_for(self, neutral: Neutral) -> InverseModel:
        if self._model is None or self._model_points is None:
            stale = True
        else:
            stale = float(np.abs(neutral.points - self._model_points).max()) > 0.03
        if stale or self._model is None:
            self._model = build_inverse(neutral.points)
            self._model_points = neutral.points
        return self._model

    def _head_speed(self, points_px: NDArray[np.float64], iod_px: float, time_s: float) -> float:
        stable = points_px[STABLE_POINTS, :2]
        last, self._last = self._last, _Last(time_s, stable)
        if last is None or time_s <= last.time_s:
            return 0.0
        moved = stable - last.stable_px
        return float(np.sqrt((moved * moved).sum(axis=1).mean()) / iod_px * 100.0 / (time_s - last.time_s))

    def _confidence(self, yaw_deg: float, pitch_deg: float, iod_px: float, residual: float) -> float:
        turned = math.exp(-0.5 * ((yaw_deg / 30.0) ** 2 + (pitch_deg / 30.0) ** 2))
        small = min(1.0, iod_px / 50.0)
        misfit = math.exp(-0.5 * (residual / 0.06) ** 2)
        return float(turned * small * misfit * (0.3 + 0.7 * self._estimator.settled))

    def _fill(
        self,
        row: NDArray[np.float32],
        activations: NDArray[np.float64],
        model: InverseModel,
        face: NDArray[np.float64],
        neutral: Neutral,
        pose: HeadPose,
        time_s: float,
    ) -> None:
        levels = _TO_COLUMNS @ activations
        for smile, dimple in _SMILE_AND_DIMPLE:
            # A smile widens the mouth: beside a risen corner the outward pull is the smile's, not a dimple's.
            widened = levels[dimple] * _rise(float(levels[smile]), 0.1, 0.35)
            levels[smile] += widened
            levels[dimple] -= widened
        for smile, cheek, frown in _SMILE_CHEEK_AND_FROWN:
            # The ring around the eye lowers the brow of a felt smile; that is no frown.
            lowered = _BROW_IN_SMILE * min(1.0, float(levels[smile]), float(levels[cheek]))
            levels[frown] = max(0.0, levels[frown] - lowered)
        row += np.minimum(levels, 1.0).astype(np.float32)
        row[_STANDARD_ERRORS] = model.deviation[_FIRST_MUSCLE] * landmark_error(pose)
        gap, jaw_drop = self._opening(face, neutral, activations, model)
        for au, level in zip((25, 26, 27), mouth_opening(gap, jaw_drop), strict=True):
            row[_COLUMN[f"AU{au}"]] = level
        now, rest = lid_heights(face).tolist(), self._rest_lids(neutral)
        for side, lids, rest_lids in zip(_SIDES, now, rest, strict=True):
            self._lids(row, side, lids, rest_lids, time_s)
        row[_JAW_BLURRED] *= 1.0 / (1.0 + (jaw_drop / 0.35) ** 2)
        # Lips sucked in hide the red parts that pressing is told by.
        row[_COLUMN["AU24"]] *= 1.0 - row[_COLUMN["AU28"]]
        # As in FACS, an asymmetric action is as strong as its stronger side.
        row[_COMBINED] = np.maximum(row[_LEFT], row[_RIGHT])
        # A smile stretches the lips thin without any tightening.
        stretched = _rise(float(row[_COLUMN["AU12"]]), 0.2, 0.6)
        row[_COLUMN["AU23"]] *= 1.0 - stretched
        row[_COLUMN["AU24"]] *= 1.0 - 0.5 * stretched

    def _rest_lids(self, neutral: Neutral) -> list[list[float]]:
        if self._lids_of is not neutral:
            self._lids_of, self._lids_at_rest = neutral, lid_heights(neutral.points).tolist()
        return self._lids_at_rest

    @staticmethod
    def _opening(
        face: NDArray[np.float64], neutral: Neutral, activations: NDArray[np.float64], model: InverseModel
    ) -> tuple[float, float]:
        """Unexplained parting of the lips and fall of the jaw, IOD."""
        moved = face[:, 1] - neutral.points[:, 1]
        explained = float(model.lip_gap @ (activations * _LIP_MUSCLES))
        gap = float(moved[INNER_LOWER_LIP] - moved[INNER_UPPER_LIP]) - explained
        return gap, max(0.0, _LIP_PER_CHIN * float(moved[_CHIN].mean()))

    def _lids(
        self, row: NDArray[np.float32], side: str, lids: list[float], rest_lids: list[float], time_s: float
    ) -> None:
        """Eyelid closure of one eye and what it means: AU7, AU43 or AU45."""
        upper, lower = lids
        rest_upper, rest_lower = rest_lids
        rest_gap = max(rest_upper - rest_lower, 1e-3)
        closure = (1.0 - (upper - lower) / rest_gap) / (1.0 - _CLOSED_SHARE)
        closure = min(1.0, max(0.0, closure))
        blinking = self._eyes[side].blinks(closure, time_s)
        # Lids tighten by the lower lid's rise as well; when gaze falls, the upper lid falls alone.
        risen = max(0.0, lower - rest_lower)
        fallen = max(0.0, rest_upper - upper)
        shared = _rise(risen / max(risen + fallen, 1e-6), 0.1, 0.35)
        tightened = _rise(closure, 0.03, 0.33) * (1.0 - _rise(closure, 0.4, 0.7)) * shared
        row[_COLUMN[f"blink_{side}"]] = closure
        row[_COLUMN[f"AU7_{side}"]] = 0.0 if blinking else tightened
        row[_COLUMN[f"AU43_{side}"]] = 0.0 if blinking else closure
        row[_COLUMN[f"AU45_{side}"]] = closure


class _Eye:
    """Tells a blink from a slow closing by its speed and duration."""

    def __init__(self) -> None:
        self._closure = 0.0
        self._time_s = np.nan
        self._since_s = np.nan

    def blinks(self, closure: float, time_s: float) -> bool:
        """Take the closure of one frame in; True while a blink lasts."""
        step_s = time_s - self._time_s
        if step_s > 0.0 and (closure - self._closure) / step_s > _BLINK_SPEED and np.isnan(self._since_s):
            self._since_s = self._time_s
        if closure < 0.1 or time_s - self._since_s > _BLINK_LONGEST_S:
            self._since_s = np.nan
        self._closure, self._time_s = closure, time_s
        return not np.isnan(self._since_s)
