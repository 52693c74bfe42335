"""The script of the simulated person: plausible, exact, repeatable, and told as it is played."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.clock import ManualClock
from acquisition.stream import EndOfStream
from hardware.simulated import GroundTruth, Scenario, ScriptedEvent
from hardware.simulated.face_fields import (
    ACTION_UNITS,
    AU_INDEX,
    MIDLINE_AUS,
    face_fields,
    lid_tables,
    main_displacements,
)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), duration_s=st.floats(5.0, 90.0))
def test_every_script_is_well_formed(seed: int, duration_s: float) -> None:
    scenario = Scenario.generate(seed, duration_s, micro_rate_per_min=8.0)
    assert scenario.events == Scenario.generate(seed, duration_s, micro_rate_per_min=8.0).events
    ids = [event.id for event in scenario.events]
    assert len(set(ids)) == len(ids)
    for event in scenario.events:
        assert 0 <= event.onset_s < event.apex_s <= event.release_s < event.offset_s <= duration_s
        assert event.amplitude_px > 0
        if event.action_units:
            assert event.measured_amplitude_px == pytest.approx(event.amplitude_px)
        if event.trial_type not in ("blink", "sway"):
            assert event.onset_s >= 9.0, "the rest stays neutral"
        if event.trial_type == "micro_expression":
            assert 0.04 <= event.duration_s <= 0.5
            assert event.amplitude_px <= 3.0
            assert event.side == "both" or not MIDLINE_AUS & set(event.action_units)
            masks = [e for e in scenario.events if e.id == event.masked_by]
            for mask in masks:
                assert mask.emotion == "happiness"
                assert mask.apex_s <= event.onset_s and event.offset_s <= mask.release_s + 1e-9
            assert len(masks) == (1 if event.masked_by else 0)


def test_presets_hold_what_they_promise() -> None:
    neutral = Scenario.neutral(3, 120.0)
    assert {e.trial_type for e in neutral.events} == {"blink", "sway", "speech"}
    micro = Scenario.micro(3, 120.0, amplitude_px=2.0)
    found = [e for e in micro.events if e.trial_type == "micro_expression"]
    assert len(found) >= 18
    # Eyelids and pressed lips have no room for more than about 2 px.
    assert all(e.amplitude_px >= 2.0 for e in found if not {24} & set(e.action_units))
    demo = Scenario.demo(0, 120.0)
    emotions = {e.emotion for e in demo.events if e.trial_type == "macro_expression"}
    assert emotions == {"happiness", "anger", "disgust", "surprise", "sadness"}
    assert any(e.masked_by for e in demo.events)
    blinks = [e for e in Scenario.neutral(1, 600.0).events if e.trial_type == "blink"]
    assert 100 < len(blinks) < 200


def test_json_round_trip_gives_an_equal_scenario() -> None:
    scenario = Scenario.demo(4, 60.0)
    again = Scenario.from_json(scenario.to_json())
    assert again == scenario
    assert again.head_pose(33.3) == scenario.head_pose(33.3)
    assert again.again(2) == scenario.again(2)


def test_scalar_and_vector_evaluation_agree() -> None:
    scenario = Scenario.demo(5, 60.0)
    times = np.linspace(0.0, 60.0, 601)
    together = scenario.activations_at(times)
    one_by_one = np.array([scenario.activations(float(t)) for t in times])
    np.testing.assert_allclose(together, one_by_one, atol=1e-12)
    assert together.min() >= 0 and together.max() <= 1.3


def test_an_event_peaks_at_its_apex_with_its_amplitude() -> None:
    event = ScriptedEvent("m", "micro_expression", 1.0, 1.2, 1.2, 1.5, {12: 1.0, 6: 0.5}, side="left")
    event = event.scaled_to(2.0)
    scenario = Scenario(0, 3.0, (event,), sway_px=0.0)
    moved = np.hypot(*np.moveaxis(main_displacements(scenario.activations(1.2)), -1, 0))
    assert moved[AU_INDEX[12], 0] == pytest.approx(2.0)
    assert moved[AU_INDEX[12], 1] < 0.2, "the other side stays"
    times = np.linspace(0.9, 1.6, 701)
    course = scenario.activations_at(times)[:, AU_INDEX[12], 0]
    assert times[np.argmax(course)] == pytest.approx(1.2, abs=1e-3)
    assert course[times <= 1.0].max() == 0 and course[times >= 1.5].max() == 0
    assert np.abs(np.diff(course, 2)).max() < 1e-4, "the course has no corner"


def test_fields_move_their_main_points_by_their_full_scale() -> None:
    fields = face_fields()
    for index, au in enumerate(ACTION_UNITS):
        activations = np.zeros((len(ACTION_UNITS), 2))
        activations[index] = 1.0 if au in MIDLINE_AUS else (1.0, 0.0)
        moved = np.hypot(*main_displacements(activations)[index, 0])
        assert moved == pytest.approx(fields.full_scale_px[index], rel=1e-6), f"AU{au}"


def test_fields_of_left_and_right_mirror_each_other() -> None:
    response = face_fields().main_response
    flip = np.array([-1.0, 1.0])
    mirrored = response[:, ::-1][:, :, :, ::-1] * flip
    # The mouth of the portrait is a little askew; the sheets follow it.
    np.testing.assert_allclose(response, mirrored, atol=1.2)


def test_lids_have_the_path_that_blinks_are_said_to_have() -> None:
    crease, upper, lower = lid_tables()[1, 267 - 244]
    assert lower - upper == pytest.approx(face_fields().full_scale_px[AU_INDEX[45]], abs=0.2)
    assert crease < upper


def test_head_sway_is_slow_and_starts_at_rest() -> None:
    scenario = Scenario.neutral(2, 60.0)
    assert scenario.head_pose(0.0)[:2] == (0.0, 0.0)
    times = np.arange(0, 60, 0.02)
    xy = np.array([scenario.head_pose(float(t))[:2] for t in times])
    speed = np.hypot(*(np.diff(xy, axis=0) / 0.02).T)
    assert 0.3 < np.median(speed) < 6.0
    assert speed.max() < 25.0


def test_muscles_lead_the_skin_and_stay_on_their_side() -> None:
    smile = ScriptedEvent("s", "macro_expression", 2.0, 2.5, 3.0, 3.5, {12: 1.0}, side="right")
    scenario = Scenario(0, 5.0, (smile,), sway_px=0.0)
    times = np.arange(0, 5, 0.001)
    drive = scenario.emg_drive(times, lead_s=0.06)
    skin = scenario.activations_at(times)[:, AU_INDEX[12], 1]
    assert times[np.argmax(drive[:, 1] > 10)] == pytest.approx(
        times[np.argmax(skin > 10 / drive[:, 1].max())] - 0.06, abs=0.003
    )
    assert drive[:, 0].max() == 0.0
    assert 40 < drive[:, 1].max() < 100


def test_disgust_raises_the_zygomaticus_channel_without_a_smile() -> None:
    scenario = Scenario.demo(0, 120.0)
    disgust = next(
        e for e in scenario.events if e.emotion == "disgust" and e.trial_type == "macro_expression"
    )
    assert 12 not in disgust.action_units
    drive = scenario.emg_drive(np.array([disgust.apex_s]), lead_s=0.0)[0]
    assert drive.min() > 15.0


def test_valence_follows_what_is_shown() -> None:
    scenario = Scenario.demo(0, 120.0)
    for event in scenario.events:
        if event.trial_type == "macro_expression" and not any(
            e.masked_by == event.id for e in scenario.events
        ):
            value = float(scenario.valence(np.array([event.apex_s]))[0])
            assert value == pytest.approx(event.valence, abs=0.02)


def test_repetitions_are_fresh_but_of_the_same_kind() -> None:
    scenario = Scenario.micro(1, 40.0)
    second = scenario.again(1)
    assert second != scenario and second.recipe == scenario.recipe and second.duration_s == 40.0
    assert scenario.again(0) is scenario
    by_hand = Scenario(0, 3.0, (ScriptedEvent("b", "blink", 1.0, 1.1, 1.1, 1.2, {45: 1.0}),))
    assert by_hand.again(1).events == by_hand.events


def _told(scenario: Scenario, **options: Any) -> tuple[list[dict[str, Any]], list[float]]:
    clock = ManualClock(100.0)
    source = GroundTruth(scenario, clock=clock, sleep=clock.sleep, start_s=100.0, loop=False, **options)
    records, stamps = [], []
    with source:
        try:
            while True:
                block = source.read(0.7)
                records += [json.loads(str(text)) for text in block.data]
                stamps += block.timestamps.tolist()
        except EndOfStream:
            return records, stamps


def test_ground_truth_tells_every_event_at_its_onset() -> None:
    scenario = Scenario.demo(6, 40.0)
    records, stamps = _told(scenario)
    assert [r["id"] for r in records] == [e.id for e in scenario.events]
    for record, stamp, event in zip(records, stamps, scenario.events, strict=True):
        assert record["onset"] == pytest.approx(100.0 + event.onset_s) == pytest.approx(stamp)
        assert record["apex"] == pytest.approx(100.0 + event.apex_s)
        assert record["duration"] == pytest.approx(record["offset"] - record["onset"])
        assert record["side"] == event.side and record["amplitude_px"] == event.amplitude_px
        assert record["action_units"] == "+".join(str(au) for au in sorted(event.action_units))
        assert record["intensities"] == {str(au): v for au, v in event.action_units.items()}


def test_ground_truth_goes_on_with_a_fresh_scenario() -> None:
    scenario = Scenario.neutral(6, 20.0)
    clock = ManualClock(0.0)
    with GroundTruth(scenario, clock=clock, sleep=clock.sleep, start_s=0.0) as source:
        ids: list[str] = []
        while clock.now_s < 39.0:
            ids += [json.loads(str(text))["id"] for text in source.read(0.5).data]
    assert len(set(ids)) == len(ids)
    assert {name.startswith("p1-") for name in ids} == {True, False}
