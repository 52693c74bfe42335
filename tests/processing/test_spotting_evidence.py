"""What a movement is weighed by: patterns of muscles and distractors, the fitted pulse, the weights."""

from __future__ import annotations

import numpy as np
import pytest

from processing.spotting_anatomy import REGIONS, WATCHED
from processing.spotting_context import Trail
from processing.spotting_evidence import BIAS, CAUSES, WEIGHTS, _fit, _suspects, pulse_shape, units_of
from processing.spotting_habits import Seen, habit, repetition
from processing.spotting_kernel import FLANK_EXTRAPOLATION
from processing.spotting_patterns import BLINKS, EXPRESSIONS, JAW_OPENS, LOOKS, match
from processing.spotting_types import Excursion, overlap_share, readings

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
    assert max(match(each, smile, SIGMA).share for each in (JAW_OPENS, BLINKS, LOOKS)) < 0.2
    assert match(JAW_OPENS, syllable, SIGMA).share > 0.95
    assert match(EXPRESSIONS, syllable, SIGMA).share < 0.3


def test_eyes_that_turn_move_the_lids_the_same_way_on_either_side():
    lids = ("upper_lid_left", "upper_lid_right", "lower_lid_left", "lower_lid_right")
    look = moved(**dict.fromkeys(lids, (1.0, 0.0)))
    assert match(LOOKS, look, SIGMA).share > 0.95
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


@pytest.mark.parametrize("length_s", [0.06, 0.1, 0.3])
def test_what_smoothing_added_to_a_pulse_is_taken_off(length_s):
    times = np.arange(-0.5, 0.5, 1e-4)
    pulse = pulse_shape(times, -length_s / 2, 0.0, length_s / 2)
    blur_s = 0.012
    kernel = np.exp(-0.5 * (np.arange(-0.06, 0.06, 1e-4) / blur_s) ** 2)
    smooth = np.convolve(pulse, kernel / kernel.sum(), "same")
    half = {share: 0.5e-4 * np.count_nonzero(smooth > share * smooth.max()) for share in (0.25, 0.75)}
    end_s = half[0.25] + FLANK_EXTRAPOLATION * (half[0.25] - half[0.75])
    seen = Excursion(0, 0, -end_s, 0.0, end_s, smooth.max(), smooth.max(), 0.05)
    # A raised cosine comes out a little short, what dwells at its apex about right.
    assert 0.65 * length_s < seen.sharpened(blur_s).duration_s < min(seen.duration_s, 1.02 * length_s)
    assert seen.sharpened(1.0).duration_s == pytest.approx(seen.duration_s / 2)


def test_excursions_that_tell_other_times_are_readings_of_their_own():
    drift = Excursion(0, 0, 4.7, 5.0, 5.3, 0.6, 0.6, 0.1)
    brief, also_brief = (
        Excursion(1, 0, 4.95, 5.0, 5.05, 0.4, 0.5, 0.1),
        Excursion(2, 0, 4.94, 5.0, 5.05, 0.3, 0.3, 0.1),
    )
    lost_in_noise = Excursion(3, 0, 5.1, 5.2, 5.3, 0.2, 0.2, 0.1)
    group = [also_brief, drift, lost_in_noise, brief]
    assert list(readings(group)) == [[drift], [brief, also_brief]]


def sight(region, peak_s, height_px, way=(0.0, -1.0)):
    """A movement of 160 ms in both regions of a pair."""
    displacement = np.zeros((len(WATCHED), 2))
    for side in ("left", "right"):
        displacement[REGIONS.index(f"{region}_{side}")] = np.array(way) * height_px
    watched = WATCHED.index(f"{region}_left")
    best = Excursion(watched, 6, peak_s - 0.08, peak_s, peak_s + 0.08, height_px, height_px, 0.05)
    return Seen(best, displacement, np.full((len(WATCHED), 2), 0.05))


def test_who_sniffs_once_sniffs_twice():
    first, second = sight("nose_wing", 5.0, 0.6), sight("nose_wing", 5.3, 0.5)
    assert repetition(second, [first]) > 0.9
    assert habit(first, second) == "sniff"
    assert habit(first, sight("nose_wing", 6.5, 0.6)) == ""
    assert habit(first, sight("nose_wing", 5.3, 0.6, way=(0.0, 1.0))) == ""
    assert habit(first, sight("nose_wing", 5.3, 0.1)) == ""
    assert overlap_share(first.best, second.best) < 0


def test_two_readings_of_one_movement_are_no_repetition():
    first, again = sight("nose_wing", 5.0, 0.6), sight("nose_wing", 5.1, 0.6)
    assert overlap_share(first.best, again.best) > 0.3
    assert repetition(again, [first]) == 0.0
    assert habit(first, again) == ""


def test_a_mouth_that_goes_on_was_speaking():
    smile = sight("lip_corner", 5.0, 1.0, way=(0.7, -0.8))
    assert habit(smile, sight("upper_lip", 5.4, 0.8)) == "speech"
    assert habit(smile, sight("upper_lip", 5.4, 0.3)) == ""
    assert habit(smile, sight("inner_brow", 5.4, 1.0)) == ""
    assert habit(sight("inner_brow", 5.0, 1.0), smile) == ""


def test_distractors_only_ever_speak_against():
    assert set(CAUSES) <= set(WEIGHTS)
    assert all(WEIGHTS[name] <= 0 for name in CAUSES)
    assert BIAS < 0 < min(WEIGHTS[name] for name in ("height", "pattern", "pattern_share", "agreeing"))


def test_a_movement_is_named_by_what_the_whole_face_did():
    brows = sight("inner_brow", 5.0, 1.0)
    for side in ("left", "right"):
        brows.displacement[REGIONS.index(f"outer_brow_{side}")] = (0.0, -1.0)
    assert units_of(brows) == (1, 2)
    assert units_of(sight("upper_lid", 5.0, 1.0)) == (5,)
    assert units_of(sight("lower_lid", 5.0, 1.0)) == (7,)


def test_a_distractor_is_suspected_only_of_what_it_could_have_done():
    def suspects(ratio, **parts):
        return _suspects(ratio, {**dict.fromkeys(CAUSES, 0.0), **parts}, 1.0)

    assert suspects(0.5, jaw_opens=-0.7, jaw_busy=-0.6) == ("speech",)
    assert suspects(-0.5, jaw_opens=-2.0, again_nose=-1.5, nod=-1.0) == ("sniff", "speech", "head")
    assert suspects(-0.5, jaw_opens=-2.5, step=-1.1) == ("speech",)
    # As much as noise may take, though without it the movement would be reported.
    assert suspects(0.5, jaw_opens=-0.4, jaw_busy=-0.4, step=-0.9) == ()
    # Reported all the same, and too weak by itself.
    assert suspects(1.2, jaw_opens=-3.0) == ()
    assert suspects(-3.0, jaw_opens=-2.0) == ()
