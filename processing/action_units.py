"""Action units, head pose and eyelid closure of one face per frame, measured from the person's own neutral.

Landmarks, head motion removed, are explained by muscle activations (`processing.muscle_inverse`); action
units follow from the muscles by figure 1 of Dong et al. (2022). Nothing is smoothed over time: a 100 ms
movement keeps its height and its moment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processing.appearance import Wrinkles, bared_crow_feet, wrinkle_edges
from processing.brows import brow_rises, nose_rises, raised_brows
from processing.eyelids import Blinking, closure_error, lid_gap, lid_heights, lid_tightening_error
from processing.head_turn import straighten
from processing.landmarks import FaceObservation
from processing.mouth import jaw_drop, lifted_lip, lip_gap, opening_errors, raised_corners
from processing.muscle_inverse import InverseModel, build_inverse, invert, standard_errors
from processing.muscle_model import ACTIVATIONS, Activation
from processing.neutral import Neutral, NeutralEstimator
from processing.pose import (
    STABLE_POINTS,
    HeadPose,
    align_to_neutral,
    head_pose,
    mean_square_step,
    to_face_coordinates,
)
from processing.unit_channels import (
    ACTION_UNITS,
    COLUMN,
    ROW_LENGTH,
    STANDARD_ERRORS,
    TWO_SIDED,
    action_unit_channels,
    no_face_row,
    side_columns,
)
from processing.unit_rules import (
    even_out,
    move_lids,
    open_mouth,
    raise_brows,
    read_skin,
    tell_frowns,
    tell_lips,
    tell_smiles,
)


def _column_of(activation: Activation) -> int:
    label = f"AU{activation.muscle.action_unit}"
    return COLUMN[label if activation.side == "both" else f"{label}_{activation.side}"]


_SUM_OF = np.array([_column_of(activation) for activation in ACTIVATIONS], dtype=np.int64)
"""The column that each activation adds to."""

_ERROR_COLUMNS = tuple(
    (au, COLUMN[f"AU{au}"], *(side_columns(au) if au in TWO_SIDED else 2 * (COLUMN[f"AU{au}"],)))
    for au in ACTION_UNITS
)
"""Of each AU the column of its intensity and those of its sides, where it has any."""

_SIDED_COLUMNS = tuple((COLUMN[f"AU{au}"], *side_columns(au)) for au in TWO_SIDED)

_RESTING = 0.2
"""A face whose every action stays below this shows its skin at rest."""

_KNEE = 0.6
_LEAST_ERROR = 0.003


def intensity(strength: float) -> float:
    """Intensity 0-1 of a muscle's strength: the same up to 0.6, ever more slowly towards 1 beyond.

    A face that moves more than the model's full contraction still tells the stronger from the strong.
    """
    rest = 1.0 - _KNEE
    return strength if strength <= _KNEE else 1.0 - rest * math.exp((_KNEE - strength) / rest)


_JITTER_PX = 0.05
"""Least standard deviation of a landmark: a still face in a clean video."""

_STILLEST = 8
"""The first of the stable points, canthi and bridge, whose trembling tells the landmarks' jitter."""

_TURNED_IOD_PER_DEG = 0.0001
"""Misplacement of landmarks that comes and goes per degree of turning since the neutral."""

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
        turned_deg = yaw_deg = 0.0
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
        tell_smiles(strengths, lifted_lip(displacement, jaw), raised_corners(displacement, jaw))
        levels = [strength if strength <= _KNEE else intensity(strength) for strength in strengths]
        explained = float(person.model.lip_gap @ (activations * _LIP_MUSCLES))
        open_mouth(levels, lip_gap(displacement), explained, jaw)
        lids = lid_heights(face)
        blinks = move_lids(levels, lids, person.lids, brow_rises(displacement), self._blinking, time_s)
        tell_frowns(levels, nose_rises(displacement))
        if gray is not None:
            resting = max(levels) < _RESTING
            growth = self._wrinkles.update(wrinkle_edges(gray, points_px), resting, time_s)
            read_skin(levels, growth, bared_crow_feet(displacement), blinks, yaw_deg)
        raise_brows(levels, raised_brows(displacement))
        even_out(levels, yaw_deg)
        for both, right, left in _SIDED_COLUMNS:
            # As in FACS, an asymmetric action is as strong as its stronger side.
            levels[both] = max(levels[right], levels[left])
        tell_lips(levels)
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
        row[STANDARD_ERRORS] = self._errors(levels, through, error, person.lid_gap_iod)
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
