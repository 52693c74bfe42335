from __future__ import annotations

import numpy as np
import pytest

from processing.head_turn import turning


def test_no_turn_pretends_nothing() -> None:
    moved, reported = turning(0.0, 0.0)
    assert moved.shape == (478, 2)
    assert reported.shape == (52,)
    assert not moved.any()
    assert not reported.any()


def test_left_and_right_turns_are_mirror_images() -> None:
    left, right = turning(5.0, 15.0)[0], turning(5.0, -15.0)[0]
    for here, there in ((61, 291), (105, 334), (133, 362)):
        assert left[here] == pytest.approx(right[there] * (-1.0, 1.0), abs=1e-4)


def test_beyond_what_was_measured_it_is_held() -> None:
    np.testing.assert_array_equal(turning(80.0, -70.0)[0], turning(30.0, -30.0)[0])


def test_it_is_small_beside_an_expression() -> None:
    assert np.abs(turning(20.0, 0.0)[0]).max() < 0.15
    assert np.abs(turning(0.0, 20.0)[1]).max() < 0.5
