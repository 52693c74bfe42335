from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.stream import InvalidSignal
from processing.landmarks import BLENDSHAPES, LANDMARK_COUNT
from processing.neutral import FOLLOWING_S, SETTLING_S, Neutral, NeutralEstimator

REST = np.zeros((LANDMARK_COUNT, 3))
SHAPES = np.full(len(BLENDSHAPES), 0.2)


def face(level: float, noise: np.random.Generator | None = None) -> NDArray[np.float64]:
    points = REST + level
    return points if noise is None else points + noise.normal(0, 0.003, points.shape)


def feed(estimator: NeutralEstimator, levels: list[float], start_s: float = 0.0) -> None:
    noise = np.random.default_rng(0)
    for k, level in enumerate(levels):
        estimator.update(start_s + k / 30, face(level, noise), SHAPES)


def level_of(estimator: NeutralEstimator) -> float:
    assert estimator.neutral is not None
    return float(np.median(estimator.neutral.points))


def test_the_first_face_serves_at_once() -> None:
    estimator = NeutralEstimator()
    assert estimator.neutral is None
    assert estimator.settled == 0.0
    feed(estimator, [0.1])
    assert level_of(estimator) == pytest.approx(0.1, abs=0.001)


def test_a_blink_in_the_first_seconds_is_not_learned() -> None:
    estimator = NeutralEstimator()
    feed(estimator, [0.0] * 10 + [0.3] * 6 + [0.0] * 34)
    assert level_of(estimator) == pytest.approx(0.0, abs=0.002)
    assert estimator.settled == 1.0


def test_noise_averages_out_within_two_seconds() -> None:
    estimator = NeutralEstimator()
    feed(estimator, [0.0] * 60)
    assert estimator.neutral is not None
    assert float(estimator.neutral.points.std()) < 0.001


def test_an_expression_is_not_learned_but_a_quiet_drift_is() -> None:
    estimator = NeutralEstimator()
    feed(estimator, [0.0] * 120)
    feed(estimator, [0.2] * 90, start_s=4.0)
    assert level_of(estimator) == pytest.approx(0.0, abs=0.001)
    feed(estimator, [0.005] * int(30 * 3 * FOLLOWING_S), start_s=7.0)
    assert level_of(estimator) == pytest.approx(0.005, abs=0.001)


def test_an_expression_right_at_the_start_does_not_bend_it() -> None:
    estimator = NeutralEstimator()
    ramp = [0.0] * 10 + list(np.linspace(0, 0.12, 20)) + [0.12] * 10 + list(np.linspace(0.12, 0, 20))
    feed(estimator, ramp)
    assert level_of(estimator) == pytest.approx(0.0, abs=0.003)


def test_a_start_in_an_expression_is_mended_once_the_face_rests() -> None:
    estimator = NeutralEstimator()
    feed(estimator, [0.2] * 30 + [0.0] * 120)
    assert level_of(estimator) == pytest.approx(0.0, abs=0.001)


def test_a_face_found_badly_in_the_first_frames_is_soon_replaced() -> None:
    estimator = NeutralEstimator()
    feed(estimator, [0.1] * 3 + [0.0] * 15)
    assert level_of(estimator) == pytest.approx(0.0, abs=0.002)


def test_a_short_rest_after_badly_found_frames_comes_before_the_expression_that_follows() -> None:
    estimator = NeutralEstimator()
    feed(estimator, [0.1] * 3 + [0.0] * 8 + list(np.linspace(0, 0.2, 10)) + [0.2] * 15)
    assert level_of(estimator) == pytest.approx(0.0, abs=0.003)


def test_a_long_smile_is_no_rest() -> None:
    estimator = NeutralEstimator()
    feed(estimator, [0.0] * 45)
    smiling = SHAPES.copy()
    smiling[[BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")]] = 0.9
    for k in range(180):
        estimator.update(1.5 + k / 30, face(0.1), smiling)
    assert level_of(estimator) == pytest.approx(0.0, abs=0.001)


def test_a_rest_stretch_wins_and_stays() -> None:
    estimator = NeutralEstimator(rest=(2.0, 4.0))
    feed(estimator, [0.3] * 60)
    feed(estimator, [0.1] * 60, start_s=2.0)
    feed(estimator, [0.1], start_s=4.0)
    feed(estimator, [0.4] * 300, start_s=4.1)
    assert level_of(estimator) == pytest.approx(0.1, abs=0.001)
    assert estimator.settled == 1.0


def test_a_long_rest_is_thinned_not_cut() -> None:
    estimator = NeutralEstimator(rest=(0.0, 100.0))
    rest = [0.0] * 1000 + [0.1] * 1990
    for k, level in enumerate(rest):
        estimator.update(k / 30, face(level), SHAPES)
    estimator.update(101.0, face(0.5), SHAPES)
    assert level_of(estimator) == pytest.approx(0.1)
    assert estimator.neutral is not None
    assert 200 < estimator.neutral.frames <= 600


def test_without_frames_in_the_rest_the_running_estimate_goes_on() -> None:
    estimator = NeutralEstimator(rest=(0.0, 1.0))
    feed(estimator, [0.1] * 60, start_s=5.0)
    assert level_of(estimator) == pytest.approx(0.1, abs=0.001)


def test_a_given_neutral_is_kept_over_reset() -> None:
    given = Neutral(face(0.2), SHAPES, 9)
    estimator = NeutralEstimator(neutral=given)
    feed(estimator, [0.9] * 60)
    assert estimator.neutral is given
    estimator.reset()
    assert estimator.neutral is given


def test_reset_starts_anew() -> None:
    estimator = NeutralEstimator()
    feed(estimator, [0.3] * 60)
    estimator.reset()
    assert estimator.neutral is None
    feed(estimator, [0.1] * int(30 * SETTLING_S))
    assert level_of(estimator) == pytest.approx(0.1, abs=0.001)


def test_arrays_and_back() -> None:
    neutral = Neutral(face(0.2), SHAPES, 7)
    again = Neutral.from_arrays(neutral.to_arrays())
    np.testing.assert_array_equal(again.points, neutral.points)
    np.testing.assert_array_equal(again.blendshapes, neutral.blendshapes)
    assert again.frames == 7


def test_a_damaged_calibration_is_refused() -> None:
    arrays = Neutral(face(0.2), SHAPES, 7).to_arrays()
    with pytest.raises(InvalidSignal, match="record a rest"):
        Neutral.from_arrays({**arrays, "points": np.zeros((3, 3))})
    del arrays["blendshapes"]
    with pytest.raises(InvalidSignal, match="record a rest"):
        Neutral.from_arrays(arrays)


def test_a_rest_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidSignal, match="before it begins"):
        NeutralEstimator(rest=(5.0, 5.0))


def test_the_pose_is_kept_and_old_files_without_it_are_read() -> None:
    kept = Neutral(face(0.2), SHAPES, 7, (3.0, -12.0))
    assert Neutral.from_arrays(kept.to_arrays()).pose_deg == (3.0, -12.0)
    arrays = kept.to_arrays()
    del arrays["pose_deg"]
    assert Neutral.from_arrays(arrays).pose_deg is None
    estimator = NeutralEstimator()
    estimator.update(0.0, face(0.0), SHAPES, (1.0, 2.0))
    estimator.update(1 / 30, face(0.0), SHAPES)
    assert estimator.neutral is not None and estimator.neutral.pose_deg == (1.0, 2.0)
