from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from processing.brows import brow_rises, nose_rises, raised_brows


def test_brows_rise_each_on_its_side_and_a_frown_raises_none() -> None:
    moved = np.zeros((478, 2))
    moved[[107, 55, 105, 52], 1] = -0.04  # up, on the subject's right
    moved[[336, 285, 334, 282], 1] = 0.02
    assert brow_rises(moved) == pytest.approx((0.04, 0.0))


def brow_shift(head: float, tail: float) -> NDArray[np.float64]:
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


def test_the_wings_of_the_nose_rise_each_on_its_side() -> None:
    moved = np.zeros((478, 2))
    moved[[48, 64], 1] = -0.03
    moved[[278, 294], 1] = 0.01
    assert nose_rises(moved) == pytest.approx((0.03, -0.01))
