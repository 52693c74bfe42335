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
from processing.appearance import Wrinkles, bared_crow_feet, wrinkle_edges
from processing.eyelids import (
    SIDES,
    Blinking,
    brow_rises,
    closure_error,
    lid_closure,
    lid_gap,
    lid_heights,
    lid_opening,
    lid_tightening,
    lid_tightening_error,
    raised_brows,
    rise,
)
from processing.head_turn import straighten
from processing.landmarks import FaceObservation
from processing.mouth import (
    dimple_shares,
    jaw_drop,
    lifted_lip,
    lip_gap,
    mouth_opening,
    opening_errors,
    raised_corners,
)
from processing.muscle_model import (
    ACTIVATIONS,
    Activation,
    InverseModel,
    build_inverse,
    invert,
    standard_errors,
)
from processing.neutral import Neutral, NeutralEstimator
from processing.pose import (
    STABLE_POINTS,
    HeadPose,
    align_to_neutral,
    head_pose,
    mean_square_step,
    to_face_coordinates,
)

# fmt: off
ACTION_UNITS: tuple[int, ...] = (
    1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 43, 45,
)
# fmt: on
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

_STANDARD_ERRORS = slice(_COLUMN[f"AU{ACTION_UNITS[0]}_se"], ROW_LENGTH)


def _column_of(activation: Activation) -> int:
    label = f"AU{activation.muscle.action_unit}"
    return _COLUMN[label if activation.side == "both" else f"{label}_{activation.side}"]


def _side_columns(au: int) -> tuple[int, int]:
    return _COLUMN[f"AU{au}_{SIDES[0]}"], _COLUMN[f"AU{au}_{SIDES[1]}"]


_SUM_OF = np.array([_column_of(activation) for activation in ACTIVATIONS], dtype=np.int64)
"""The column that each activation adds to."""

_ERROR_COLUMNS = tuple(
    (au, _COLUMN[f"AU{au}"], *(_side_columns(au) if au in TWO_SIDED else 2 * (_COLUMN[f"AU{au}"],)))
    for au in ACTION_UNITS
)
"""Of each AU the column of its intensity and those of its sides, where it has any."""

_SIDED_COLUMNS = tuple((_COLUMN[f"AU{au}"], *_side_columns(au)) for au in TWO_SIDED)
_CHEEK, _LID_TIGHT, _NOSE, _SMILE, _DIMPLE, _FROWN = (_side_columns(au) for au in (6, 7, 9, 12, 14, 4))
_BROW_HEAD, _BROW_TAIL = _side_columns(1), _side_columns(2)
_LID_UP, _LIP_UP = _side_columns(5), _side_columns(10)
_PRESS = _COLUMN["AU24"]
_CLOSED, _BLINK = _side_columns(43), _side_columns(45)
_EYELID = tuple(_COLUMN[f"blink_{side}"] for side in SIDES)
_OPENING = tuple(_COLUMN[f"AU{au}"] for au in (25, 26, 27))

_BROW_IN_SMILE = 0.5
"""Share of a smile that a brow may fall by without any frown."""

_CROSS_TALK = 0.1
"""Share of a one-sided smile that MediaPipe's landmarks show on the other side: it prefers even faces."""

_RESTING = 0.2
"""A face whose every action stays below this shows its skin at rest."""

FACS_LEVELS: tuple[tuple[str, float], ...] = (("A", 0.05), ("B", 0.2), ("C", 0.4), ("D", 0.6), ("E", 0.8))
"""FACS letters with the intensity from which each holds; below the first an AU is absent."""

FACS_LEVEL_WORDS = " ".join(f"{letter}={bound:g}" for letter, bound in FACS_LEVELS)
"""`FACS_LEVELS` as the metadata of a stream or table carry them."""


def facs_level(intensity: float) -> str:
    """FACS letter A-E of an intensity 0-1, empty where the AU is absent: presence and letter always agree."""
    reached = [letter for letter, bound in FACS_LEVELS if intensity >= bound]
    return reached[-1] if reached else ""


_KNEE = 0.6
_LEAST_ERROR = 0.003


def intensity(strength: float) -> float:
    """Intensity 0-1 of a muscle's strength: the same up to 0.6, ever more slowly towards 1 beyond.

    A face that moves more than the model's full contraction still tells the stronger from the strong.
    """
    rest = 1.0 - _KNEE
    return strength if strength <= _KNEE else 1.0 - rest * math.exp((_KNEE - strength) / rest)


def no_face_row() -> NDArray[np.float32]:
    """A row without a face: face = 0, all else NaN."""
    row = np.full(ROW_LENGTH, np.nan, dtype=np.float32)
    row[0] = 0.0
    return row


_JITTER_PX = 0.05
"""Least standard deviation of a landmark: a still face in a clean video."""

_STILLEST = 8
"""The first of the stable points, canthi and bridge, whose trembling tells the landmarks' jitter."""

_TURNED_IOD_PER_DEG = 0.0001
"""Misplacement of landmarks that comes and goes per degree of turning since the neutral."""

_JAW_BLURRED = tuple(
    column
    for label, column in _COLUMN.items()
    for au in (14, 15, 16, 18, 20, 22, 23, 24, 28)
    if label in (f"AU{au}", f"AU{au}_left", f"AU{au}_right")
)
"""AUs of the lips, whose fields do not hold on a mouth stretched wide open."""

_LIP_MUSCLES = np.array([0.0 if a.muscle.action_unit in (25, 26) else 1.0 for a in ACTIVATIONS])
"""Muscles whose parting of the lips is their own AU's, not AU25's."""


_EXPOSURE_S = 1.0 / 60.0
_BLUR_SHARE = 0.1
"""Landmarks of a picture blurred by motion err by this share of the blur's length."""

_JITTER_MEMORY_S = 1.0


def landmark_error(
    iod_px: float, jitter_iod: float = 0.0, turned_deg: float = 0.0, head_speed: float = 0.0
) -> float:
    """Standard error of a landmark's displacement, IOD.

    Args:
        iod_px: Inter-ocular distance: a small face is measured coarsely.
        jitter_iod: Standard deviation of the landmarks from frame to frame, as measured.
        turned_deg: How far the head has turned since the neutral.
        head_speed: Of the head, px/s at an IOD of 100 px: it blurs the picture.
    """
    jitter = max(jitter_iod, _JITTER_PX / max(iod_px, 1.0))
    turned = _TURNED_IOD_PER_DEG * turned_deg
    blurred = _BLUR_SHARE * _EXPOSURE_S * head_speed / 100.0
    return math.sqrt(jitter * jitter + turned * turned + blurred * blurred)


@dataclass(frozen=True, eq=False)
class _Last:
    """What the next frame's speeds are measured from."""

    time_s: float
    points_px: NDArray[np.float64]
    face: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Person:
    """What is derived from a neutral face once."""

    neutral: Neutral
    model: InverseModel
    model_points: NDArray[np.float64]
    lids: tuple[tuple[float, float], tuple[float, float]]
    lid_gap_iod: float


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
        self._person: _Person | None = None
        self._wrinkles = Wrinkles()
        self.interrupt()

    @property
    def neutral(self) -> Neutral | None:
        """The neutral in use; None before the first face."""
        return self._estimator.neutral

    def reset(self) -> None:
        """Forget everything but a neutral that was given."""
        self._estimator.reset()
        self._person = None
        self._wrinkles = Wrinkles()
        self.interrupt()

    def interrupt(self) -> None:
        """Frames were lost or the face was gone: speeds and closure times start anew, the neutral stays."""
        self._last: _Last | None = None
        self._jitter_squared = 0.0
        self._blinking = (Blinking(), Blinking())

    def update(
        self, observation: FaceObservation | None, time_s: float, gray: NDArray[np.uint8] | None = None
    ) -> NDArray[np.float32]:
        """One row (see `action_unit_channels`).

        Args:
            observation: The face, or None.
            time_s: Stamp of the frame.
            gray: The picture that the face was found in, uint8 [height, width]; without it AU6 and AU9 rest
                on landmarks alone.
        """
        if observation is None:
            self.interrupt()
            return no_face_row()
        points_px = observation.points_px.astype(np.float64)
        shapes = observation.blendshapes.astype(np.float64)
        pose = head_pose(points_px, observation.transform)
        if self._estimator.neutral is None:
            face = to_face_coordinates(points_px, observation.transform)
            self._estimator.update(time_s, face, shapes, (pose.pitch_deg, pose.yaw_deg))
        person = self._known_person()
        neutral = person.neutral
        face, _, residual = align_to_neutral(points_px, neutral.points)
        turned_deg = 0.0
        if neutral.pose_deg is not None:
            pitch_deg, yaw_deg = pose.pitch_deg - neutral.pose_deg[0], pose.yaw_deg - neutral.pose_deg[1]
            turned_deg = math.hypot(pitch_deg, yaw_deg)
            straighten(face, shapes, pitch_deg, yaw_deg)
        displacement = np.ascontiguousarray((face - neutral.points)[:, :2])
        solution = invert(person.model, displacement, shapes - neutral.blendshapes, turned_deg)
        activations = solution.activations
        speed = self._motion(points_px, face, pose.iod_px, time_s)

        strengths: list[float] = np.bincount(_SUM_OF, activations, ROW_LENGTH).tolist()
        jaw = jaw_drop(displacement)
        self._smile(strengths, lifted_lip(displacement, jaw), raised_corners(displacement, jaw))
        levels = [strength if strength <= _KNEE else intensity(strength) for strength in strengths]
        gap = lip_gap(displacement) - float(person.model.lip_gap @ (activations * _LIP_MUSCLES))
        self._mouth(levels, gap, jaw)
        self._eyes(levels, lid_heights(face), person.lids, brow_rises(displacement), time_s)
        if gray is not None:
            resting = max(levels) < _RESTING
            growth = self._wrinkles.update(wrinkle_edges(gray, points_px), resting, time_s)
            self._skin(levels, growth, bared_crow_feet(displacement))
        self._brows(levels, raised_brows(displacement))
        for both, right, left in _SIDED_COLUMNS:
            # As in FACS, an asymmetric action is as strong as its stronger side.
            levels[both] = max(levels[right], levels[left])
        self._lips(levels)
        row = np.minimum(np.array(levels, dtype=np.float32), np.float32(1.0))
        row[:7] = (
            1.0,
            self._confidence(pose, residual),
            pose.pitch_deg,
            pose.yaw_deg,
            pose.roll_deg,
            pose.iod_px,
            speed,
        )
        error = landmark_error(pose.iod_px, math.sqrt(self._jitter_squared), turned_deg, speed)
        through = standard_errors(person.model, solution, _SUM_OF, ROW_LENGTH, error).tolist()
        row[_STANDARD_ERRORS] = self._errors(levels, through, error, person.lid_gap_iod)
        self._estimator.update(time_s, face, shapes)
        return row

    def _known_person(self) -> _Person:
        neutral, known = self._estimator.neutral, self._person
        assert neutral is not None
        if known is None or known.neutral is not neutral:
            if known is not None and float(np.abs(neutral.points - known.model_points).max()) < 0.03:
                model, points = known.model, known.model_points
            else:
                model, points = build_inverse(neutral.points), neutral.points
            lids = lid_heights(neutral.points)
            known = self._person = _Person(neutral, model, points, lids, lid_gap(neutral.points, lids))
        return known

    def _motion(
        self, points_px: NDArray[np.float64], face: NDArray[np.float64], iod_px: float, time_s: float
    ) -> float:
        """Speed of the head, px/s at an IOD of 100 px; keeps the landmarks' jitter up to date."""
        last = self._last
        self._last = _Last(time_s, points_px, face)
        if last is None or time_s <= last.time_s:
            return 0.0
        step_s = time_s - last.time_s
        trembled = mean_square_step(last.face, face, STABLE_POINTS[:_STILLEST])
        share = 1.0 - math.exp(-step_s / _JITTER_MEMORY_S)
        # Per coordinate, and a difference of two frames has twice the variance of one.
        self._jitter_squared += share * (0.25 * trembled - self._jitter_squared)
        moved = mean_square_step(last.points_px, points_px, STABLE_POINTS)
        return math.sqrt(moved) / iod_px * 100.0 / step_s

    def _confidence(self, pose: HeadPose, residual: float) -> float:
        turned = math.exp(-0.5 * ((pose.yaw_deg / 30.0) ** 2 + (pose.pitch_deg / 30.0) ** 2))
        small = min(1.0, pose.iod_px / 50.0)
        misfit = math.exp(-0.5 * (residual / 0.06) ** 2)
        return turned * small * misfit * (0.3 + 0.7 * self._estimator.settled)

    @staticmethod
    def _errors(levels: list[float], through: list[float], error: float, lid_gap_iod: float) -> list[float]:
        """Standard error of each AU from those of the muscles' sums and from the landmarks' own error."""
        closure = closure_error(error, lid_gap_iod)
        parted, dropped, stretched = opening_errors(error)
        measured = {7: lid_tightening_error(error, lid_gap_iod), 25: parted, 26: dropped, 27: stretched}
        measured[43] = measured[45] = closure
        found = []
        for au, column, one, other in _ERROR_COLUMNS:
            level = levels[column]
            if level <= 0.0 or level >= 1.0:
                passed = 0.0 if au in measured else max(through[one], through[other])
            elif au in measured:
                passed = measured[au]
            else:
                # Beyond its knee an intensity saturates, and errors with it.
                slope = 1.0 if level <= _KNEE else (1.0 - level) / (1.0 - _KNEE)
                passed = slope * max(through[one], through[other])
            found.append(passed if passed > _LEAST_ERROR else _LEAST_ERROR)
        return found

    @staticmethod
    def _smile(levels: list[float], lifted: tuple[float, float], raised: tuple[float, float]) -> None:
        """Strengths less what a smile brings along, and what looks like one unit but is another."""
        for smile, lip, share in zip(_SMILE, _LIP_UP, lifted, strict=True):
            # What lifts the middle of the lip more than its corners is none.
            levels[lip] += share * levels[smile]
            levels[smile] *= 1.0 - share
        shares = dimple_shares(
            levels[_PRESS],
            (levels[_DIMPLE[0]], levels[_DIMPLE[1]]),
            max(levels[smile] for smile in _SMILE),
        )
        for dimple, share in zip(_DIMPLE, shares, strict=True):
            levels[dimple] += share * levels[_PRESS]
        levels[_PRESS] *= 1.0 - max(shares)
        for smile, dimple, frown, nose, up in zip(_SMILE, _DIMPLE, _FROWN, _NOSE, raised, strict=True):
            # A smile widens the mouth: beside a risen corner the outward pull is the smile's, not a dimple's.
            up = up if levels[dimple] > levels[_PRESS] else 0.0  # pressed lips raise it, too
            widened = levels[dimple] * max(rise(levels[smile], 0.25, 0.55), up)
            levels[smile] += widened
            levels[dimple] -= widened
            # The ring around the eye lowers the brow of a felt smile; that is no frown.
            levels[frown] = max(0.0, levels[frown] - _BROW_IN_SMILE * min(1.0, levels[smile]))
            # A broad smile lifts the wings of the nose with the cheeks; that wrinkles no nose.
            levels[nose] *= 1.0 - 0.7 * rise(levels[smile], 0.2, 0.6)
        right, left = (levels[column] for column in _SMILE)
        for column, own, other in ((_SMILE[0], right, left), (_SMILE[1], left, right)):
            levels[column] = max(0.0, own - _CROSS_TALK * other) / (1.0 - _CROSS_TALK)

    @staticmethod
    def _mouth(levels: list[float], gap: float, jaw: float) -> None:
        for column, level in zip(_OPENING, mouth_opening(gap, jaw), strict=True):
            levels[column] = level
        sharp = 1.0 / (1.0 + (jaw / 0.35) ** 2)
        for column in _JAW_BLURRED:
            levels[column] *= sharp
        # Lips that funnel part: half of a strong funnel's opening is its own.
        levels[_COLUMN["AU25"]] *= 1.0 - 0.5 * rise(levels[_COLUMN["AU22"]], 0.2, 0.6)

    def _eyes(
        self,
        levels: list[float],
        now: tuple[tuple[float, float], tuple[float, float]],
        rest: tuple[tuple[float, float], tuple[float, float]],
        brows: tuple[float, float],
        time_s: float,
    ) -> None:
        """Eyelid closure and what it means: AU7, AU43 or AU45."""
        for eye in range(2):
            closure = lid_closure(now[eye], rest[eye])
            blinking = self._blinking[eye].update(closure, time_s)
            levels[_EYELID[eye]] = levels[_BLINK[eye]] = closure
            # Lids that are seen to tighten do so as far as their muscle says, if that is more.
            tight = 0.0 if blinking else lid_tightening(now[eye], rest[eye])
            levels[_LID_TIGHT[eye]] = max(tight, min(levels[_LID_TIGHT[eye]], 1.5 * tight))
            levels[_CLOSED[eye]] = 0.0 if blinking else closure
            # A lid opens by its own margin, not by the brow above it.
            levels[_LID_UP[eye]] *= lid_opening(now[eye], rest[eye], brows[eye])
            # A closing eye takes the skin about it along, without any raised cheek.
            levels[_CHEEK[eye]] *= 1.0 - 0.8 * rise(closure, 0.35, 0.8)

    @staticmethod
    def _brows(levels: list[float], raised: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Brows that rise with a widened eye, as far as it is widened."""
        for eye, (head, tail) in enumerate(raised):
            widened = levels[_LID_UP[eye]]
            for column, level in ((_BROW_HEAD[eye], head), (_BROW_TAIL[eye], tail)):
                levels[column] = max(levels[column], min(level, widened))

    @staticmethod
    def _skin(levels: list[float], growth: list[float], bared: tuple[float, float]) -> None:
        """Crow's feet speak for raised cheeks; wrinkles beside the nose only confirm what landmarks saw."""
        for eye in range(2):
            # Lids that close or are drawn wide open change the skin beside the eye as well.
            open_share = 1.0 - rise(levels[_EYELID[eye]], 0.25, 0.6)
            open_share *= 1.0 - rise(levels[_LID_UP[eye]], 0.1, 0.4)
            levels[_CHEEK[eye]] += 0.8 * bared[eye] * open_share * rise(growth[eye], 0.02, 0.4)
            seen = rise(levels[_NOSE[eye]], 0.03, 0.15)
            levels[_NOSE[eye]] += 0.5 * seen * rise(growth[2 + eye], 0.02, 0.4)

    @staticmethod
    def _lips(levels: list[float]) -> None:
        # Lips sucked in hide the red parts that pressing is told by.
        levels[_COLUMN["AU24"]] *= 1.0 - min(1.0, levels[_COLUMN["AU28"]])
        # A smile stretches the lips thin without any tightening.
        stretched = rise(levels[_COLUMN["AU12"]], 0.2, 0.6)
        levels[_COLUMN["AU23"]] *= 1.0 - stretched
        levels[_COLUMN["AU24"]] *= 1.0 - 0.5 * stretched
