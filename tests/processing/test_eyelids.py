from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processing.eyelids import (
    Blinking,
    lid_closure,
    lid_heights,
    lid_opening,
    lid_tightening,
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
    assert lid_opening(lifted, REST, 0.0) == pytest.approx(1 / 3)
    assert lid_opening(lifted, REST, 0.12) == 0.0
    assert lid_opening((REST[0] + 0.06, REST[1]), REST, 0.12) == pytest.approx(0.037 / 0.045)
    assert lid_opening((REST[0] + 0.07, REST[1]), REST, 0.12) == 1.0


def test_a_lower_lid_that_falls_with_the_upper_one_opens_the_eye_further() -> None:
    risen = lid_opening((REST[0] + 0.02, REST[1]), REST, 0.0)
    assert lid_opening((REST[0] + 0.02, REST[1] - 0.01), REST, 0.0) > risen
    # Tightened below, raised above: a glare is a widened eye still.
    assert lid_opening((REST[0] + 0.02, REST[1] + 0.03), REST, 0.0) == risen


def test_a_fast_short_closure_is_a_blink_and_a_slow_or_long_one_is_not() -> None:
    eye = Blinking()
    blink = [eye.update(c, k / 30) for k, c in enumerate([0.0, 0.0, 0.5, 1.0, 0.5, 0.0, 0.0])]
    assert blink == [False, False, True, True, True, False, False]
    slow = [eye.update(k / 30, 1 + k / 30) for k in range(31)]
    assert not any(slow)
    eye = Blinking()
    long = [eye.update(min(1.0, 0.5 * k), k / 30) for k in range(30)]
    assert long[2] and not long[-1]
