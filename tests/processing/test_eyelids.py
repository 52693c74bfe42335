from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processing.eyelids import (
    Blinking,
    brow_rises,
    lid_closure,
    lid_heights,
    lid_opening,
    lid_tightening,
    raised_brows,
)
from tests.processing.portraits import neutral

REST = (0.3, -0.1)


def test_open_eyes_have_lids_above_and_below_their_corners() -> None:
    for upper, lower in lid_heights(neutral().points):
        assert 0.1 < upper < 0.6
        assert -0.3 < lower < 0.1


def test_closure_runs_from_rest_to_the_residual_gap_of_closed_eyes() -> None:
    assert lid_closure(REST, REST) == 0.0
    assert lid_closure((-0.1 + 0.2 * 0.4, -0.1), REST) == pytest.approx(1.0)
    assert lid_closure((0.4, -0.1), REST) == 0.0


@settings(max_examples=25, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1))
def test_closure_and_tightening_are_intensities(upper: float, lower: float) -> None:
    assert 0.0 <= lid_closure((upper, lower), REST) <= 1.0
    assert 0.0 <= lid_tightening((upper, lower), REST) <= 1.0


def test_lids_tighten_from_below_not_when_gaze_falls() -> None:
    assert lid_tightening((0.26, -0.05), REST) > 0.4
    assert lid_tightening((0.2, -0.1), REST) == 0.0


def test_an_upper_lid_that_falls_far_closes_the_eye_whatever_the_lower_does() -> None:
    squint = (REST[0] - 0.03, REST[1] + 0.06)
    closing = (REST[0] - 0.1, REST[1] + 0.06)
    assert lid_closure(closing, REST) > lid_closure(squint, REST)
    assert lid_tightening(squint, REST) > 0.5
    assert lid_tightening(closing, REST) == 0.0


def test_a_lid_that_a_raised_brow_takes_along_does_not_open_the_eye() -> None:
    lifted = (REST[0] + 0.02, REST[1])
    assert lid_opening(lifted, REST, 0.0) > 0.5
    assert lid_opening(lifted, REST, 0.12) == 0.0
    assert lid_opening((REST[0] + 0.06, REST[1]), REST, 0.12) == 1.0


def test_brows_rise_each_on_its_side_and_a_frown_raises_none() -> None:
    moved = np.zeros((478, 2))
    moved[[107, 55, 105, 52], 1] = -0.04  # up, on the subject's right
    moved[[336, 285, 334, 282], 1] = 0.02
    assert brow_rises(moved) == pytest.approx((0.04, 0.0))


def test_a_fast_short_closure_is_a_blink_and_a_slow_or_long_one_is_not() -> None:
    eye = Blinking()
    blink = [eye.update(c, k / 30) for k, c in enumerate([0.0, 0.0, 0.5, 1.0, 0.5, 0.0, 0.0])]
    assert blink == [False, False, True, True, True, False, False]
    slow = [eye.update(k / 30, 1 + k / 30) for k in range(31)]
    assert not any(slow)
    eye = Blinking()
    long = [eye.update(min(1.0, 0.5 * k), k / 30) for k in range(30)]
    assert long[2] and not long[-1]


def brow_shift(head: float, tail: float) -> np.ndarray:
    displacement = np.zeros((478, 2))
    displacement[[107, 55, 336, 285], 1] = -head
    displacement[[70, 46, 300, 276], 1] = -tail
    return displacement


def test_a_surprise_raises_the_brows_and_a_widened_eye_alone_does_not() -> None:
    (right, left) = raised_brows(brow_shift(0.037, 0.025))
    assert right == left
    assert right == pytest.approx((0.64, 0.64), abs=0.03)
    assert raised_brows(brow_shift(0.03, 0.012)) == ((0.0, 0.0), (0.0, 0.0))
    # What the medial part takes of the tail along is no AU2.
    assert raised_brows(brow_shift(0.095, 0.036))[0] == (1.0, 0.0)
