from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from processing.appearance import Wrinkles, bared_crow_feet, wrinkle_edges
from tests.processing.portraits import observation, portrait


def gray() -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def points() -> NDArray[np.float64]:
    return observation().points_px.astype(np.float64)


def with_crows_feet(strength: float) -> NDArray[np.uint8]:
    """Three lines beside the subject's right eye."""
    drawn = gray().astype(np.float64)
    x, y = points()[33, :2]
    for offset in (-3, 2, 7):
        row = round(y) + offset
        drawn[row : row + 2, round(x) - 15 : round(x) - 4] *= 1.0 - strength
    return np.asarray(drawn, dtype=np.uint8)


def test_lines_beside_the_eye_are_seen_on_their_side() -> None:
    plain, weak, strong = (wrinkle_edges(with_crows_feet(s), points()) for s in (0.0, 0.15, 0.3))
    assert plain[0] < weak[0] < strong[0]
    np.testing.assert_allclose(strong[1:], plain[1:], atol=0.01)


def test_gain_and_offset_of_the_picture_do_not_matter() -> None:
    darker = np.asarray(0.6 * gray() + 30.0, dtype=np.uint8)
    np.testing.assert_allclose(wrinkle_edges(darker, points()), wrinkle_edges(gray(), points()), atol=0.05)


def test_a_patch_outside_the_picture_is_no_number() -> None:
    moved = points() - np.array([points()[33, 0] - 2.0, 0.0, 0.0])
    assert np.isnan(wrinkle_edges(gray(), moved)[0])


def test_growth_is_told_against_the_face_at_rest() -> None:
    wrinkles, rng = Wrinkles(), np.random.default_rng(0)
    rest = np.array([-1.0, -2.0, 0.0, 1.0])
    first = wrinkles.update(rest, True, 0.0)
    assert first == [0.0] * 4
    for k in range(60):
        growth = wrinkles.update(rest + rng.normal(0, 0.02, 4), True, k / 30)
        assert max(map(abs, growth)) < 0.05
    folded = wrinkles.update(rest + np.array([0.4, 0.0, 0.0, 0.0]), False, 2.0)
    assert folded[0] == pytest.approx(0.36, abs=0.05)
    assert max(map(abs, folded[1:])) < 0.05


def test_a_lost_patch_says_nothing() -> None:
    wrinkles = Wrinkles()
    for k in range(10):
        wrinkles.update(np.zeros(4), True, k / 30)
    assert wrinkles.update(np.array([np.nan, 9.0, 9.0, 9.0]), True, 1.0) == [0.0] * 4


def test_a_brow_that_moves_over_the_crow_feet_hides_them_on_its_side() -> None:
    moved = np.zeros((478, 2))
    assert bared_crow_feet(moved) == (1.0, 1.0)
    moved[[70, 46], 1] = 0.06  # falls, on the subject's right
    moved[[300, 276], 1] = -0.03
    right, left = bared_crow_feet(moved)
    assert right == 0.0
    assert 0.0 < left < 1.0
    assert bared_crow_feet(np.full((478, 2), 0.1)) == (1.0, 1.0)  # a head that slipped moves no brow
