"""The spotter on synthetic motion rows whose every movement is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.stream import Block, Kind, SampleType, StreamSpec
from processing.motion import RegionMotion
from processing.spotting import MicroMovementSpotter
from processing.spotting_anatomy import MIX_X, MIX_Y, REGIONS, units_moving

CHANNELS = RegionMotion().channels
LABELS = [channel.label for channel in CHANNELS]


def spec(rate_hz):
    return StreamSpec("motion", Kind.FACE_MOTION, CHANNELS, rate_hz, SampleType.FLOAT32, "test")


def still(seconds, rate_hz=60.0, seed=0, noise=0.03):
    """Rows of a still face: times [n], rows [n, channels]."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate_hz)
    rows = np.zeros((n, len(LABELS)), np.float32)
    rows[:, : 2 * len(REGIONS)] = rng.normal(0, noise, (n, 2 * len(REGIONS)))
    for label, value in (
        ("lid_gap_left", 20.0),
        ("lid_gap_right", 20.0),
        ("quality", 1.0),
        ("head_speed", 1.0),
    ):
        rows[:, LABELS.index(label)] = value
    return np.arange(n) / rate_hz, rows


def pulse(times, onset, duration, height):
    phase = np.clip((times - onset) / duration, 0, 1)
    return height * (0.5 - 0.5 * np.cos(2 * np.pi * phase))


def add(times, rows, label, onset, duration, height):
    rows[:, LABELS.index(label)] += pulse(times, onset, duration, height).astype(np.float32)


def smile(times, rows, onset, duration, height=2.0, sides=("left", "right")):
    for side in sides:
        sign = 1 if side == "left" else -1
        add(times, rows, f"lip_corner_{side}_dx", onset, duration, sign * 0.6 * height)
        add(times, rows, f"lip_corner_{side}_dy", onset, duration, -0.8 * height)
        add(times, rows, f"cheek_{side}_dy", onset, duration, -0.3 * height)


def spot(times, rows, rate_hz=60.0, **options):
    return MicroMovementSpotter(**options).process(Block(spec(rate_hz), times, rows, 0))


def confirmed(movements):
    """Movements that nothing speaks against."""
    return [movement for movement in movements if not movement.provisional and not movement.vetoes]


def vetoes(movements):
    return {veto for movement in movements for veto in movement.vetoes}


@pytest.mark.parametrize("rate_hz", [25.0, 30.0, 60.0, 120.0])
@pytest.mark.parametrize("duration", [0.12, 0.2, 0.4])
def test_a_smile_is_found_where_and_when_it_was(rate_hz, duration):
    times, rows = still(8.0, rate_hz)
    smile(times, rows, 5.0, duration)
    (found,) = confirmed(spot(times, rows, rate_hz))
    overlap = min(found.offset_s, 5.0 + duration) - max(found.onset_s, 5.0)
    union = max(found.offset_s, 5.0 + duration) - min(found.onset_s, 5.0)
    assert overlap / union > 0.6
    assert abs(found.apex_s - (5.0 + duration / 2)) <= 1 / rate_hz
    assert found.region == "lip_corner"
    assert found.side == "both"
    assert abs(found.asymmetry) < 0.15
    assert found.action_units[0] == 12
    assert found.dy_px < 0
    assert found.found_s - found.offset_s <= 1 / rate_hz + 0.02 + 1e-6


def test_it_is_announced_at_the_apex_and_confirmed_under_the_same_id():
    times, rows = still(8.0)
    smile(times, rows, 5.0, 0.3)
    announced, final = spot(times, rows)
    assert announced.provisional
    assert np.isnan(announced.offset_s)
    assert announced.id == final.id
    assert 0 <= announced.found_s - announced.apex_s < 0.1
    assert announced.found_s < final.found_s


def test_one_sided_movement_tells_its_side():
    times, rows = still(8.0)
    smile(times, rows, 5.0, 0.3, sides=("left",))
    (found,) = confirmed(spot(times, rows))
    assert found.side == "left"
    assert found.asymmetry > 0.7


def test_still_and_drifting_faces_have_nothing_to_find():
    times, rows = still(60.0, seed=3)
    for k in range(2 * len(REGIONS)):
        rows[:, k] += 1.5 * np.sin(2 * np.pi * 0.1 * times + k)
    assert spot(times, rows) == []


def test_a_long_movement_is_no_micro_movement_but_hides_one():
    times, rows = still(12.0)
    smile(times, rows, 5.0, 4.0, height=5.0)
    assert confirmed(spot(times, rows)) == []
    for side in ("left", "right"):
        add(times, rows, f"inner_brow_{side}_dy", 6.8, 0.25, 1.5)
    (found,) = confirmed(spot(times, rows))
    assert found.region in ("inner_brow", "glabella")
    assert found.action_units[0] == 4


def test_blink_takes_its_frown_along():
    times, rows = still(8.0)
    for side in ("left", "right"):
        add(times, rows, f"lid_gap_{side}", 5.0, 0.3, -16.0)
        add(times, rows, f"upper_lid_{side}_dy", 5.0, 0.3, 6.0)
        add(times, rows, f"inner_brow_{side}_dy", 5.0, 0.3, 0.8)
    found = spot(times, rows)
    assert confirmed(found) == []
    assert "blink" in vetoes(found)


def test_gaze_takes_the_lids_along():
    times, rows = still(8.0)
    add(times, rows, "gaze_dx", 5.0, 0.3, 4.0)
    for side in ("left", "right"):
        add(times, rows, f"lower_lid_{side}_dx", 5.0, 0.3, 2.0)
    found = spot(times, rows)
    assert confirmed(found) == []
    assert "gaze" in vetoes(found)


def test_speech_is_not_a_series_of_smiles():
    times, rows = still(10.0)
    for k in range(9):
        start = 5.0 + 0.22 * k
        add(times, rows, "lower_lip_dy", start, 0.2, 4.0)
        add(times, rows, "chin_dy", start, 0.2, 4.0)
        for side in ("left", "right"):
            add(times, rows, f"lip_corner_{side}_dy", start, 0.2, 1.2)
    found = spot(times, rows)
    assert confirmed(found) == []
    assert vetoes(found) <= {"speech", "ripple", "sniff", "faint"}


def test_a_sniff_is_taken_back_when_it_is_repeated():
    times, rows = still(10.0, noise=0.06)
    for k in range(3):
        for side in ("left", "right"):
            add(times, rows, f"nose_wing_{side}_dy", 5.0 + 0.26 * k, 0.2, -0.9)
            add(times, rows, f"upper_lip_{side}_dy", 5.0 + 0.26 * k, 0.2, -0.5)
    found = spot(times, rows)
    (first,) = confirmed(found)
    (again,) = [each for each in found if each.id == first.id and each.vetoes]
    assert again.vetoes == ("sniff",)
    assert first.found_s < again.found_s < first.offset_s + 0.4
    assert (again.onset_s, again.apex_s, again.offset_s) == (first.onset_s, first.apex_s, first.offset_s)


def wrinkle(times, rows, onset, duration, height):
    for side in ("left", "right"):
        add(times, rows, f"nose_wing_{side}_dy", onset, duration, -height)
        add(times, rows, f"upper_lip_{side}_dy", onset, duration, -0.6 * height)


def test_a_faint_wrinkle_taken_for_a_sniff_is_acquitted_when_nothing_repeats_it():
    times, rows = still(10.0, noise=0.06, seed=1)
    wrinkle(times, rows, 5.0, 0.12, 0.2)
    found = [each for each in spot(times, rows) if each.region == "nose_wing" and not each.provisional]
    first, last = found
    assert (first.vetoes, last.vetoes) == (("sniff",), ())
    assert last.id == first.id
    assert last.offset_s + 0.5 <= last.found_s < last.offset_s + 0.65
    assert last.log_likelihood_ratio > first.log_likelihood_ratio


@pytest.mark.parametrize("other", [4.74, 5.3, 5.5])
def test_it_is_not_when_the_nose_moves_again_or_has_moved_before(other):
    times, rows = still(10.0, noise=0.06, seed=1)
    wrinkle(times, rows, 5.0, 0.12, 0.2)
    wrinkle(times, rows, other, 0.12, 0.2)
    found = [each for each in spot(times, rows) if abs(each.apex_s - 5.06) < 0.05 and not each.provisional]
    assert found
    assert all(each.vetoes for each in found)


def test_a_movement_that_nothing_repeats_stands():
    times, rows = still(10.0)
    smile(times, rows, 5.0, 0.2)
    for side in ("left", "right"):
        add(times, rows, f"inner_brow_{side}_dy", 5.5, 0.2, -1.5)
    assert [each.action_units[0] for each in confirmed(spot(times, rows))] == [12, 1]


def test_a_movement_inside_a_likelier_one_is_taken_back_for_it():
    times, rows = still(8.0)
    smile(times, rows, 5.0, 0.3, height=3.0)
    for side in ("left", "right"):
        add(times, rows, f"inner_brow_{side}_dy", 5.05, 0.08, -0.4)
    flick, found, taken_back = (each for each in spot(times, rows) if not each.provisional)
    assert "brow" in flick.region
    assert flick.vetoes == ()
    assert (taken_back.id, taken_back.vetoes) == (flick.id, ("ripple",))
    assert (found.region, found.vetoes) == ("lip_corner", ())
    assert found.onset_s == pytest.approx(5.0, abs=0.03)
    assert found.offset_s == pytest.approx(5.3, abs=0.03)
    assert found.found_s - found.offset_s <= 1 / 60 + 0.02 + 1e-6


def test_a_brief_movement_is_told_from_the_drift_it_rides_on():
    times, rows = still(8.0)
    smile(times, rows, 5.2, 0.12, height=0.8)
    for side in ("left", "right"):
        add(times, rows, f"nose_wing_{side}_dx", 4.8, 0.55, 1.0)
    (found,) = confirmed(spot(times, rows))
    assert found.offset_s - found.onset_s < 0.2
    assert found.onset_s == pytest.approx(5.2, abs=0.03)


def test_a_jump_of_the_light_is_named():
    times, rows = still(8.0)
    smile(times, rows, 5.0, 0.3)
    rows[:, LABELS.index("brightness")] = np.where((times > 5.0) & (times < 5.3), 0.5, 0.4)
    found = spot(times, rows)
    assert confirmed(found) == []
    assert vetoes(found) == {"flicker"}


def test_a_moving_head_is_not_usable():
    times, rows = still(8.0)
    smile(times, rows, 5.0, 0.3)
    rows[:, LABELS.index("head_speed")] = 80.0
    (found,) = spot(times, rows)
    assert "head" in found.vetoes
    assert found.region == "lip_corner"
    assert not found.provisional


def test_lost_face_and_restarted_motion_make_no_movement():
    times, rows = still(9.0)
    rows[:, : 2 * len(REGIONS)] += 1.0
    rows[240:300] = np.nan
    rows[400, : 2 * len(REGIONS)] = 0.0
    rows[401:, : 2 * len(REGIONS)] -= 1.0
    assert spot(times, rows) == []


def test_threshold_moves_the_operating_point():
    times, rows = still(20.0, seed=5)
    for k in range(5):
        smile(times, rows, 4.0 + 3 * k, 0.3, height=0.15 + 0.08 * k)
    strict, loose = (confirmed(spot(times, rows, threshold=t)) for t in (3.0, -3.0))
    assert len(strict) < len(loose)
    assert all(movement.log_likelihood_ratio >= 3.0 for movement in strict)


_TIMES, _ROWS = still(7.0, seed=3, noise=0.06)
smile(_TIMES, _ROWS, 4.0, 0.3)
add(_TIMES, _ROWS, "inner_brow_left_dy", 5.0, 0.2, -1.5)
wrinkle(_TIMES, _ROWS, 6.0, 0.12, 0.22)  # taken for a sniff, then acquitted
_WHOLE = spot(_TIMES, _ROWS)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, len(_TIMES)), max_size=6))
def test_any_chunking_gives_the_same_movements(cuts):
    spotter = MicroMovementSpotter()
    edges = [0, *sorted(cuts), len(_TIMES)]
    whole = Block(spec(60.0), _TIMES, _ROWS, 0)
    found = []
    for start, end in pairwise(edges):
        found += spotter.process(whole[start:end])
    assert [repr(movement) for movement in found] == [repr(movement) for movement in _WHOLE]
    assert len(confirmed(found)) == 3


def test_reset_forgets():
    spotter = MicroMovementSpotter()
    block = Block(spec(60.0), _TIMES, _ROWS, 0)
    first = [repr(movement) for movement in spotter.process(block)]
    spotter.reset()
    assert [repr(movement) for movement in spotter.process(block)] == first


@pytest.mark.parametrize(
    ("region", "direction", "unit"),
    [
        ("inner_brow_left", (0, -1), 1),
        ("inner_brow_right", (0.5, 1), 4),
        ("outer_brow_left", (0, -1), 2),
        ("upper_lid_left", (0, -1), 5),
        ("lower_lid_right", (0, -1), 7),
        ("nose_wing_left", (0, -1), 9),
        ("upper_lip_right", (0, -1), 10),
        ("lip_corner_left", (1, -1), 12),
        ("lip_corner_left", (1, 0), 14),
        ("lip_corner_right", (-1, 0), 14),
        ("lip_corner_right", (0, 1), 15),
        ("chin", (0, -1), 17),
    ],
)
def test_region_and_direction_name_the_action_unit(region, direction, unit):
    assert units_moving(region, *direction)[0] == unit


def test_group_means_mirror_the_sides():
    both_out = np.array([1.0 if name.endswith("_left") else -1.0 for name in REGIONS])
    assert MIX_X @ both_out == pytest.approx(np.ones(len(MIX_X)))
    assert MIX_Y @ np.ones(len(REGIONS)) == pytest.approx(np.ones(len(MIX_Y)))
