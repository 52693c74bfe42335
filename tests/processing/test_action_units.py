from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from processing.action_units import ActionUnitEstimator, landmark_error
from processing.landmarks import FaceObservation
from processing.muscle_model import ACTIVATIONS, activation_names, displacement_field
from processing.unit_channels import ACTION_UNITS, TWO_SIDED, action_unit_channels, facs_level, no_face_row
from tests.processing.portraits import neutral, observation, portrait
from tests.processing.test_pose import rotation

LABELS = [channel.label for channel in action_unit_channels()]


def value(row: NDArray[np.float32], label: str) -> float:
    return float(row[LABELS.index(label)])


def seen(
    moves: NDArray[np.float64] | None = None, turn: tuple[float, float, float] = (0, 0, 0)
) -> FaceObservation:
    """The portrait's face with displaced points [478, 2] (IOD), its head turned (pitch, yaw, roll)."""
    points = neutral().points.copy()
    if moves is not None:
        points[:, :2] += moves
    turned = rotation(*turn)
    flip = np.array([1.0, -1.0, -1.0])
    in_picture = points @ (turned * flip[:, None] * flip[None, :]).T
    transform = np.eye(4)
    transform[:3, :3] = turned
    pixels = (100.0 * in_picture + [320, 240, 0]).astype(np.float32)
    return FaceObservation(pixels, observation().blendshapes, transform)


def act(name: str, level: float) -> NDArray[np.float64]:
    return level * displacement_field(ACTIVATIONS[activation_names().index(name)], neutral().points)


def closed(share: float) -> NDArray[np.float64]:
    """Both upper lids lowered by a share of the gap."""
    moves = np.zeros((478, 2))
    points = neutral().points
    for upper, lower in ((160, 144), (159, 145), (158, 153), (387, 373), (386, 374), (385, 380)):
        moves[upper] = share * (points[lower] - points[upper])[:2]
    return moves


def estimator() -> ActionUnitEstimator:
    return ActionUnitEstimator(neutral=neutral())


def test_layout_of_a_row() -> None:
    head = "face confidence pitch_deg yaw_deg roll_deg iod_px head_speed blink_left blink_right"
    assert LABELS[:9] == head.split()
    assert len(set(LABELS)) == len(LABELS)
    assert {f"AU{au}" for au in ACTION_UNITS} <= set(LABELS)
    assert {f"AU{au}_se" for au in ACTION_UNITS} <= set(LABELS)
    assert {f"AU{au}_left" for au in TWO_SIDED} == {label for label in LABELS if label.endswith("_left")} - {
        "blink_left"
    }


def test_a_neutral_face_is_quiet() -> None:
    row = estimator().update(seen(), 0.0)
    assert row.dtype == np.float32
    assert value(row, "face") == 1.0
    assert value(row, "confidence") > 0.9
    assert max(value(row, f"AU{au}") for au in ACTION_UNITS) < 0.05


def test_no_face_is_a_row_of_nan() -> None:
    row = estimator().update(None, 0.0)
    assert row[0] == 0.0
    assert np.isnan(row[1:]).all()
    np.testing.assert_array_equal(row, no_face_row())


@pytest.mark.parametrize("turn", [(0, 0, 0), (20, 0, 0), (-20, 0, 0), (0, 20, 0), (0, -20, 0), (10, 10, 10)])
def test_a_turned_head_shows_the_same_expression(turn: tuple[float, float, float]) -> None:
    still = estimator().update(seen(), 0.0)
    turned = estimator().update(seen(turn=turn), 0.0)
    assert max(abs(value(turned, f"AU{au}") - value(still, f"AU{au}")) for au in ACTION_UNITS) < 0.05
    frown = act("corrugator_supercilii_left", 0.7) + act("corrugator_supercilii_right", 0.7)
    a = value(estimator().update(seen(frown), 0.0), "AU4")
    b = value(estimator().update(seen(frown, turn), 0.0), "AU4")
    assert a > 0.4
    assert b == pytest.approx(a, abs=0.05)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_one_sided_smile_stays_on_its_side(side: str) -> None:
    other = "right" if side == "left" else "left"
    row = estimator().update(seen(act(f"zygomaticus_major_{side}", 0.8)), 0.0)
    assert value(row, f"AU12_{side}") > 0.4
    assert value(row, f"AU12_{other}") <= 0.1
    assert value(row, "AU12") == value(row, f"AU12_{side}")


def test_a_lip_lifted_by_its_levator_is_no_smile_though_the_corners_follow() -> None:
    smile, lift = (
        act(f"{muscle}_left{course}", 1.0) + act(f"{muscle}_right{course}", 1.0)
        for muscle, course in (("zygomaticus_major", "_4"), ("levator_labii", ""))
    )
    assert value(estimator().update(seen(0.5 * smile), 0.0), "AU12") > 0.2
    row = estimator().update(seen(0.5 * smile + lift), 0.0)
    assert value(row, "AU10") > 0.6
    assert value(row, "AU12") < 0.05


def test_intensity_grows_with_the_movement_and_never_leaves_0_to_1() -> None:
    levels = [
        value(estimator().update(seen(act("mentalis", level)), 0.0), "AU17") for level in (0.2, 0.5, 0.8, 3.0)
    ]
    assert levels == sorted(levels)
    assert levels[0] > 0.0
    assert 0.9 < levels[-1] <= 1.0


@pytest.mark.parametrize("rate_hz", [30.0, 60.0])
def test_a_movement_of_100_ms_keeps_its_height_and_its_moment(rate_hz: float) -> None:
    units, smile = estimator(), act("zygomaticus_major_left", 0.3)
    held = value(units.update(seen(smile), 0.0), "AU12_left")
    count = round(0.1 * rate_hz)
    course = [0.0] * 5 + list(np.sin(np.linspace(0, np.pi, count + 2))) + [0.0] * 5
    found = [
        value(units.update(seen(level * smile), 1 + k / rate_hz), "AU12_left")
        for k, level in enumerate(course)
    ]
    assert max(found) >= 0.9 * max(course) * held
    assert abs(int(np.argmax(found)) - int(np.argmax(course))) <= 1


def test_standard_errors_follow_the_jitter_that_is_there() -> None:
    rng = np.random.default_rng(0)
    calm, shaky = estimator(), estimator()
    for k in range(60):
        face = seen()
        trembling = face.points_px + rng.normal(0, 0.5, face.points_px.shape).astype(np.float32)
        a = calm.update(face, k / 30)
        b = shaky.update(FaceObservation(trembling, face.blendshapes, face.transform), k / 30)
    assert value(b, "AU12_se") > 2.0 * value(a, "AU12_se")


def test_a_picture_adds_crows_feet_to_the_cheeks_and_changes_nothing_else() -> None:
    plain = np.asarray(cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    found = observation()
    x, y = (int(v) for v in found.points_px[33, :2])
    folded = plain.copy()
    for row in (y - 3, y + 2, y + 7):
        folded[row : row + 2, x - 15 : x - 4] //= 2
    units = ActionUnitEstimator()
    for k in range(10):
        before = units.update(found, k / 30, plain)
    after = units.update(found, 1.0, folded)
    assert value(before, "AU6") < 0.05
    assert value(after, "AU6_right") > 0.2
    assert value(after, "AU6_left") < 0.05
    for au in set(ACTION_UNITS) - {6}:
        assert value(after, f"AU{au}") == pytest.approx(value(before, f"AU{au}"), abs=0.02)


def test_a_blink_is_au45_and_a_long_closing_au43() -> None:
    units = estimator()
    rows = [units.update(seen(closed(s)), k / 30) for k, s in enumerate([0, 0, 0.4, 0.8, 0.8, 0.4, 0, 0])]
    assert max(value(row, "AU45") for row in rows) > 0.9
    assert max(value(row, "AU43") for row in rows[2:6]) == 0.0
    assert max(value(row, "AU7") for row in rows[2:6]) == 0.0
    assert value(rows[3], "blink_left") > 0.9
    rows = [units.update(seen(closed(0.8)), 1 + k / 30) for k in range(30)]
    assert value(rows[-1], "AU43") > 0.9


def test_lids_that_close_slowly_do_not_blink() -> None:
    units = estimator()
    rows = [units.update(seen(closed(0.8 * k / 30)), k / 30) for k in range(31)]
    assert value(rows[-1], "AU43") == value(rows[-1], "AU45") > 0.9


def test_a_falling_gaze_does_not_tighten_the_lids() -> None:
    moves = closed(0.3)
    row = estimator().update(seen(moves), 0.0)
    assert value(row, "AU7") == 0.0


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1))
def test_presence_never_contradicts_intensity(intensity: float) -> None:
    assert (facs_level(intensity) == "") == (intensity < 0.05)
    assert facs_level(intensity) in ("", "A", "B", "C", "D", "E")
    assert facs_level(1.0) == "E"


def test_standard_errors_grow_with_turning_and_with_distance() -> None:
    near = landmark_error(100.0)
    assert landmark_error(100.0, turned_deg=20.0) > near
    assert landmark_error(40.0) > near
    assert landmark_error(100.0, head_speed=200.0) > near
    row = estimator().update(seen(), 0.0)
    assert all(0.0 < value(row, f"AU{au}_se") < 0.5 for au in ACTION_UNITS)


def test_confidence_falls_with_turning() -> None:
    row, turned = estimator().update(seen(), 0.0), estimator().update(seen(turn=(0, 35, 0)), 0.0)
    assert value(turned, "confidence") < 0.6 < value(row, "confidence")


def test_head_speed_is_in_px_per_second_at_iod_100() -> None:
    units, first = estimator(), seen()
    units.update(first, 0.0)
    moved = FaceObservation(
        first.points_px + np.array([3, 4, 0], np.float32), first.blendshapes, first.transform
    )
    assert value(units.update(moved, 0.1), "head_speed") == pytest.approx(50.0, rel=0.02)
    units.interrupt()
    assert value(units.update(first, 0.2), "head_speed") == 0.0


def test_the_running_neutral_makes_any_resting_face_quiet() -> None:
    units = ActionUnitEstimator()
    habit = act("corrugator_supercilii_left", 0.9) + act("corrugator_supercilii_right", 0.9)
    rows = [units.update(seen(habit), k / 30) for k in range(60)]
    assert value(rows[-1], "AU4") < 0.05
    assert value(rows[0], "confidence") < value(rows[-1], "confidence")
    smile = habit + act("zygomaticus_major_left", 0.8) + act("zygomaticus_major_right", 0.8)
    assert value(units.update(seen(smile), 2.0), "AU12") > 0.4


def test_reset_forgets_the_face() -> None:
    units = ActionUnitEstimator()
    first = [units.update(seen(act("mentalis", 0.1 * k)), k / 30) for k in range(5)]
    units.reset()
    assert units.neutral is None
    again = [units.update(seen(act("mentalis", 0.1 * k)), k / 30) for k in range(5)]
    np.testing.assert_array_equal(first, again)
