"""What a movement is weighed by: patterns of muscles and distractors, the fitted pulse, the weights."""

from __future__ import annotations

import numpy as np
import pytest

from processing.spotting_anatomy import REGIONS, WATCHED
from processing.spotting_context import Trail
from processing.spotting_evidence import BIAS, CAUSES, WEIGHTS, _fit, pulse_shape
from processing.spotting_patterns import DISTRACTORS, EXPRESSIONS, match
from processing.spotting_types import Excursion

SIGMA = np.full((len(REGIONS), 2), 0.05)


def moved(**regions):
    displacement = np.zeros((len(REGIONS), 2))
    for name, way in regions.items():
        displacement[REGIONS.index(name)] = way
    return displacement


def test_a_smile_follows_a_muscle_and_a_syllable_the_jaw():
    smile = moved(
        lip_corner_left=(0.7, -0.8),
        lip_corner_right=(-0.7, -0.8),
        cheek_left=(0.2, -0.5),
        cheek_right=(-0.2, -0.5),
    )
    syllable = moved(lower_lip=(0, 2.0), chin=(0, 2.0), lip_corner_left=(0, 0.6), lip_corner_right=(0, 0.6))
    assert match(EXPRESSIONS, smile, SIGMA).share > 0.8
    assert match(DISTRACTORS, smile, SIGMA).share < 0.2
    assert match(DISTRACTORS, syllable, SIGMA).share > 0.95
    assert match(EXPRESSIONS, syllable, SIGMA).share < 0.3


def test_eyes_that_turn_move_the_lids_the_same_way_on_either_side():
    lids = ("upper_lid_left", "upper_lid_right", "lower_lid_left", "lower_lid_right")
    look = moved(**dict.fromkeys(lids, (1.0, 0.0)))
    assert match(DISTRACTORS, look, SIGMA).share > 0.95
    assert match(EXPRESSIONS, look, SIGMA).share < 0.3


def test_more_regions_that_agree_are_stronger_evidence():
    one = moved(inner_brow_left=(-0.1, 0.16))
    both = moved(inner_brow_left=(-0.1, 0.16), inner_brow_right=(0.1, 0.16), glabella=(0.0, 0.12))
    assert match(EXPRESSIONS, both, SIGMA).strength > 1.3 * match(EXPRESSIONS, one, SIGMA).strength


def test_pulse_is_zero_outside_and_one_at_its_peak():
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.7])
    shape = pulse_shape(times, 0.1, 0.3, 0.6)
    assert shape == pytest.approx([0, 0, 0.5, 1, 0, 0])


@pytest.mark.parametrize("height", [0.3, -1.0])
def test_fit_finds_the_pulse_on_a_drifting_face(height):
    times = np.arange(0, 1.5, 1 / 60)
    excursion = Excursion(0, 0, 1.0, 1.1, 1.25, 0.3, 0.3, 0.05)
    positions = np.zeros((len(times), len(WATCHED), 2))
    positions[:, 3, 1] = 0.4 * times + height * pulse_shape(times, 1.0, 1.1, 1.25)
    fit = _fit(Trail(times, positions, np.full((len(WATCHED), 2), 0.05)), excursion)
    assert fit.height[3, 1] == pytest.approx(height, rel=1e-6)
    assert np.abs(np.delete(fit.height, 3, axis=0)).max() < 1e-9
    assert np.abs(fit.misfit).max() < 1e-6


def test_distractors_only_ever_speak_against():
    assert set(CAUSES) <= set(WEIGHTS)
    assert all(WEIGHTS[name] <= 0 for name in CAUSES)
    assert BIAS < 0 < min(WEIGHTS[name] for name in ("height", "pattern", "pattern_share", "agreeing"))
