from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processing.mouth import (
    dimple_shares,
    jaw_drop,
    jaw_opened,
    lifted_lip,
    mouth_opening,
    raised_corners,
)
from processing.muscle_model import ACTIVATIONS, displacement_fields
from tests.processing.portraits import neutral

gaps, drops = st.floats(-0.1, 0.6), st.floats(0.0, 0.8)


@given(gaps, drops)
def test_mouth_openings_are_intensities(gap: float, jaw: float) -> None:
    assert all(0.0 <= level <= 1.0 for level in mouth_opening(gap, 0.0, jaw))


def test_the_wider_the_mouth_the_higher_the_grade() -> None:
    assert np.argmax(mouth_opening(0.12, 0.0, 0.1)) == 0  # lips part
    assert np.argmax(mouth_opening(0.3, 0.0, 0.29)) == 1  # jaw drops
    assert np.argmax(mouth_opening(0.5, 0.0, 0.5)) == 2  # mouth stretches
    assert mouth_opening(0.0, 0.0, 0.0) == (0.0, 0.0, 0.0)


def test_lips_that_part_without_the_jaw_are_no_dropped_jaw() -> None:
    parted, dropped, stretched = mouth_opening(0.13, 0.0, 0.0)
    assert parted == 1.0
    assert dropped == stretched == 0.0


@given(st.floats(0.0, 0.3))
def test_closed_lips_do_not_speak_against_a_falling_jaw(jaw: float) -> None:
    assert mouth_opening(0.0, 0.0, jaw)[1] == mouth_opening(jaw, 0.0, jaw)[1]


def test_a_mouth_opened_wide_is_the_jaw_s_even_where_the_chin_s_skin_follows_little() -> None:
    parted, dropped, _ = mouth_opening(0.23, 0.0, 0.16)
    assert dropped > parted
    assert dropped > mouth_opening(0.16, 0.0, 0.16)[1]


@given(gaps, drops, st.floats(0.0, 0.2))
def test_a_jaw_that_falls_further_opens_the_mouth_further(gap: float, jaw: float, more: float) -> None:
    _, dropped, stretched = mouth_opening(gap, 0.0, jaw)
    _, dropped_more, stretched_more = mouth_opening(gap, 0.0, jaw + more)
    assert stretched_more >= stretched
    assert stretched_more > 0.0 or dropped_more >= dropped


@given(gaps, st.floats(0.0, 0.6))
def test_what_the_lips_part_by_themselves_is_less_of_a_parting_but_one(gap: float, explained: float) -> None:
    whole, less = mouth_opening(gap, 0.0, 0.0)[0], mouth_opening(gap, explained, 0.0)[0]
    assert 0.3 * whole <= less <= whole


def test_lips_alone_do_not_open_a_mouth_wide() -> None:
    assert jaw_opened(0.14) == 0.0
    assert jaw_opened(0.3) == 1.0


def pulled(*units: int, sides: tuple[str, ...] = ("left", "right", "both")) -> NDArray[np.float64]:
    """Every action unit's usual course at full contraction."""
    fields = displacement_fields(neutral().points)
    return np.sum(
        [
            field
            for field, activation in zip(fields, ACTIVATIONS, strict=True)
            if activation.muscle.action_unit in units and activation.side in sides and not activation.index
        ],
        axis=0,
    )


def test_a_levator_lifts_the_lip_and_a_smile_its_corners() -> None:
    assert lifted_lip(pulled(10), 0.0) == (1.0, 1.0)
    assert lifted_lip(pulled(12), 0.0) == (0.0, 0.0)
    assert lifted_lip(np.zeros((478, 2)), 0.0) == (0.0, 0.0)


def test_a_smile_with_an_open_mouth_is_still_one() -> None:
    laugh = pulled(12, 26)
    assert jaw_drop(laugh) > 0.2
    assert lifted_lip(laugh, jaw_drop(laugh)) == (0.0, 0.0)


@given(st.floats(0.5, 1.0))
def test_a_one_sided_smile_is_told_on_its_side(level: float) -> None:
    right, _ = lifted_lip(level * pulled(12, sides=("right",)), 0.0)
    assert right == 0.0


def test_a_weak_press_that_dimples_is_a_dimple_and_a_firm_one_is_none() -> None:
    assert dimple_shares(0.2, (0.1, 0.12), 0.0) == (1.0, 1.0)
    assert dimple_shares(0.2, (0.0, 0.12), 0.0) == (0.0, 1.0)  # contempt, on the left
    assert dimple_shares(0.2, (0.02, 0.03), 0.0) == (0.0, 0.0)
    assert dimple_shares(0.5, (0.3, 0.3), 0.0) == (0.0, 0.0)
    assert dimple_shares(0.2, (0.1, 0.12), 0.3) == (0.0, 0.0)


def test_a_smile_raises_the_corners_and_a_dimple_does_not() -> None:
    assert all(no_dimple == 1.0 for no_dimple, _ in raised_corners(pulled(12), 0.0))
    assert raised_corners(1.5 * pulled(12), 0.0) == ((1.0, 1.0), (1.0, 1.0))
    for other in (14, 15, 20, 24):
        assert all(no_press == 0.0 for _, no_press in raised_corners(pulled(other), 0.0))
    assert raised_corners(pulled(14), 0.0) == ((0.0, 0.0), (0.0, 0.0))
    right, left = raised_corners(pulled(12, sides=("right",)), 0.0)
    assert right[0] == 1.0 and left[0] < 0.5
