"""Micro-expressions: evidence, order of EMG and movement, vetoes, masks, explanations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acquisition.stream import Block
from fusion.candidates import duration_criteria
from fusion.emg_evidence import LEAD_S
from fusion.events import FaceEvent
from fusion.fuse import Fusion
from fusion.micro_expressions import MicroSettings
from processing.findings import Burst
from tests.fusion.synthetic import (
    START_S,
    Curve,
    activity_block,
    burst,
    fuse,
    micros,
    movement,
    plateau,
    units_block,
    units_spec,
)


def test_the_sentence_of_a_masked_frown() -> None:
    smile = {"AU12": plateau(3, 9, 0.8), "AU6": plateau(3, 9, 0.6)}
    _, fused = fuse([movement(1, 6.0, 0.133)], [burst("COR_L", 5.962, 0.1, 6.1)], smile)
    (event,) = micros(fused)
    assert event.explanation == (
        "left corrugator supercilii (temporal branch, AU4) contracted for 133 ms, "
        "EMG burst 6.1 z 38 ms earlier, one-sided (a hint of involuntary movement), "
        "inside a smile: negative, masked"
    )
    (mask,) = [each for each in fused.events if each.trial_type == "macro_expression"]
    assert event.masked_by == mask.id
    assert event.category == "negative"
    assert event.muscles[0] == "corrugator supercilii"
    assert event.nerve_branches[0] == "temporal"
    assert [str(emotion) for emotion in event.emotions] == ["negative (rule 3)"]


def test_a_mask_may_follow() -> None:
    # Eye-region micro-expressions are concealed by the mouth movement that follows.
    _, fused = fuse([movement(1, 4.0, 0.2)], units={"AU12": plateau(4.3, 8, 0.8)})
    (event,) = micros(fused)
    assert event.masked_by == "macro-1"
    assert "just before a smile" in event.explanation


@pytest.mark.parametrize("veto", ["blink", "head", "speech", "gaze", "sniff", "flicker", "ripple"])
def test_a_vetoed_movement_is_dropped_and_counted(veto: str) -> None:
    fusion, fused = fuse([movement(1, 6.0, vetoes=(veto,), ratio=8.0)])
    assert micros(fused) == []
    assert fusion.dropped[veto] == 1


def test_overwhelming_emg_outvotes_a_veto_and_says_so() -> None:
    _, fused = fuse([movement(1, 6.0, vetoes=("gaze",), ratio=6.0)], [burst("COR_L", 5.95, peak_z=14.0)])
    (event,) = micros(fused)
    assert event.vetoes == ("gaze",)
    assert "accepted for its EMG against the veto for gaze" in event.explanation


def test_a_blink_is_not_outvoted() -> None:
    # EMG cannot tell it from a micro-expression: it is a contraction of the same muscle.
    moves = [movement(1, 6.0, vetoes=("blink",), ratio=6.0)]
    bursts = [burst("COR_L", 5.95, peak_z=14.0), burst("COR_R", 5.95, peak_z=14.0)]
    fusion, fused = fuse(moves, bursts)
    assert [event for event in micros(fused) if event.evidence_camera] == []
    assert fusion.dropped["blink"] == 1


def test_a_vetoed_movement_waits_for_a_clear_one_beside_it() -> None:
    # Found first and felt by the same muscle, it would be told in the place of the clear one.
    ripple = movement(1, 5.9, 0.2, "upper_lid", (4, 45), "both", 0.8, ("ripple",))
    clear = movement(2, 6.0, 0.25, ratio=4.0)
    bursts = [burst("COR_L", 5.93), burst("COR_R", 5.93)]
    (event,) = micros(fuse([ripple, clear], bursts)[1])
    assert event.id == "micro-2"
    assert event.vetoes == ()


def test_the_action_units_tell_muscles_apart_that_move_the_skin_alike() -> None:
    lip = [replace(movement(1, 6.0, 0.3, "lip_corner", (14, 20), "both", 4.0), dx_px=-2.0, dy_px=0.0)]
    stretched = {"AU20": plateau(6.0, 6.3, 0.15, 0.1), "AU14": plateau(6.0, 6.3, 0.04, 0.1)}
    assert micros(fuse(lip, emg=False)[1])[0].action_units == (14,)
    (event,) = micros(fuse(lip, units=stretched, emg=False)[1])
    assert event.action_units == (20,)
    assert event.muscles[0] == "risorius"
    down = [replace(lip[0], dx_px=-2.0, dy_px=0.4)]
    assert micros(fuse(down, emg=False)[1])[0].action_units == (20,)  # the lip corner goes outward and down


def test_a_lip_corner_is_a_smile_when_the_upper_lip_does_not_rise() -> None:
    corner = [replace(movement(1, 6.0, 0.3, "lip_corner", (10, 12), "both", 4.0), pattern=(10, 12))]
    (event,) = micros(fuse(corner, units={"AU12": plateau(6.0, 6.3, 0.15, 0.1)}, emg=False)[1])
    assert event.action_units == (12,)
    assert event.category == "positive"
    both = {"AU12": plateau(6.0, 6.3, 0.15, 0.1), "AU10": plateau(6.0, 6.3, 0.15, 0.1)}
    (event,) = micros(fuse(corner, units=both, emg=False)[1])
    assert event.action_units == (10, 12)
    assert event.category == "other"  # rule 1 against table 3


def test_a_wing_of_the_nose_is_not_the_corrugators() -> None:
    # Section 4.1: corrugator supercilii ends in the skin of the eyebrow.
    wing = [replace(movement(1, 6.0, 0.3, "nose_wing", (4, 9), "both", 4.0), pattern=(4, 9))]
    (event,) = micros(fuse(wing, emg=False)[1])
    assert event.action_units == (4, 9)
    assert event.muscles[0] == "levator labii superioris alaeque nasi"


def test_a_frown_with_a_blink_is_the_blinks() -> None:
    # Section 5: habitual behaviours, "such as frown when blinking", are to be eliminated.
    blink = plateau(6.0, 6.25, 1.0, 0.1)
    fusion, fused = fuse(
        [movement(1, 6.0, ratio=6.0)],
        [burst("COR_L", 5.95, peak_z=14.0)],
        {"blink_left": blink, "blink_right": blink},
    )
    assert [event.trial_type for event in fused.events] == ["blink"]
    assert fusion.dropped["blink"] == 1


def test_weak_evidence_is_dropped_and_the_threshold_moves_the_operating_point() -> None:
    weak = [movement(1, 6.0, ratio=-0.5)]
    assert micros(fuse(weak, emg=False)[1]) == []
    (event,) = micros(fuse(weak, emg=False, settings=MicroSettings(me_threshold=-3.0))[1])
    assert event.confidence < 0.5
    assert micros(fuse([movement(1, 6.0)], emg=False, settings=MicroSettings(me_threshold=9.0))[1]) == []


def test_movements_that_begin_together_are_one_event() -> None:
    together = [
        movement(1, 6.0, 0.25, "inner_brow", (4,), "both", 5.0),
        movement(2, 6.04, 0.2, "nose_wing", (9,), "both", 4.0),
        movement(3, 6.3, 0.2, "outer_brow", (2,), "both", 4.0),
    ]
    first, second = micros(fuse(together, emg=False)[1])
    assert first.action_units == (4, 9)
    assert second.action_units == (2,)
    assert "with levator labii superioris alaeque nasi (AU9)" in first.explanation


def test_a_late_sister_is_waited_for_while_it_still_moves() -> None:
    pair = [
        movement(1, 6.0, 0.2, ratio=5.0),
        movement(2, 6.02, 0.45, "nose_wing", (9,), ratio=4.0, provisional=True),
        movement(2, 6.02, 0.45, "nose_wing", (9,), ratio=4.0),
    ]
    (event,) = micros(fuse(pair, emg=False)[1])
    assert event.action_units == (4, 9)


def test_a_faint_sister_waits_for_the_clearer_one() -> None:
    felt = burst("COR_L", 5.95, 0.15, 9.0)
    faint = movement(1, 6.05, 0.1, ratio=-1.0, vetoes=("faint",))
    clear = movement(2, 6.0, 0.5, "outer_brow", (2,), ratio=5.0)
    (event,) = micros(fuse([faint, clear], [felt])[1])
    assert event.id == "micro-1"
    assert 2 in event.action_units


def test_a_second_reading_of_a_movement_is_no_second_event() -> None:
    readings = [movement(1, 6.0, 0.3, ratio=2.0), replace(movement(2, 6.08, 0.3), found_s=START_S + 6.7)]
    fusion, fused = fuse(readings, emg=False)
    assert [event.id for event in micros(fused)] == ["micro-1"]
    assert fusion.dropped["told"] == 1
    fragment = replace(movement(2, 6.2, 0.07), found_s=START_S + 6.9)
    assert len(micros(fuse([readings[0], fragment], emg=False)[1])) == 1
    later = replace(movement(2, 6.25, 0.3), found_s=START_S + 6.9)
    assert len(micros(fuse([readings[0], later], emg=False)[1])) == 2


def test_a_faint_part_of_a_clearer_movement_waits_for_it() -> None:
    felt = burst("ZYG_L", 5.95, 0.15, 9.0)
    part = movement(1, 6.1, 0.07, "lip_corner", (12,), ratio=-1.0, vetoes=("faint",))
    whole = movement(2, 6.0, 0.4, "lower_lip", (24,), ratio=5.0)
    (event,) = micros(fuse([part, whole], [felt])[1])
    assert event.id == "micro-2"
    (event,) = micros(fuse([part], [felt])[1])
    assert event.id == "micro-1"


def test_syllables_are_not_micro_expressions() -> None:
    speech = [movement(k, 4.0 + 0.25 * k, 0.2, "lip_corner", (12,), "both") for k in range(8)]
    fusion, fused = fuse(speech, emg=False)
    assert micros(fused) == []
    assert fusion.dropped["speech"] == 8
    assert len(micros(fuse(speech[:1], emg=False)[1])) == 1


def test_the_edge_of_a_smile_is_not_a_micro_expression() -> None:
    fusion, fused = fuse([movement(1, 4.1, 0.25, "cheek", (6,), "both")], units={"AU12": plateau(4, 8, 0.8)})
    assert micros(fused) == []
    assert fusion.dropped["macro_edge"] == 1


def test_an_expression_that_fades_slowly_is_over_before_it_is_neutral() -> None:
    fading = [movement(1, 5.8, 0.45, "upper_lid", (5,), "both")]
    fusion, fused = fuse(fading, units={"AU5": plateau(3.5, 6.75, 0.9, 0.95)}, emg=False)
    assert micros(fused) == []
    assert fusion.dropped["macro_edge"] == 1
    held = fuse(fading, units={"AU5": plateau(3.5, 8.5, 0.9, 0.6)}, emg=False)[1]
    assert len(micros(held)) == 1  # it comes back: masked by what is held


def test_a_weak_expression_explains_a_movement_only_if_it_stays() -> None:
    # Action units waver by as much as a micro-expression moves them, when the head turns say.
    move = [movement(1, 6.0, 0.3, "outer_brow", (2,), "both")]
    (event,) = micros(fuse(move, units={"AU2": plateau(4.0, 9.0, 0.22)}, emg=False)[1])
    assert event.action_units == (2,)
    fusion, fused = fuse(move, units={"AU2": plateau(6.0, 9.0, 0.22, 0.3)}, emg=False)
    assert micros(fused) == []
    assert fusion.dropped["macro_edge"] == 1


@pytest.mark.parametrize(
    ("total_ms", "rise_share", "criteria"),
    [
        (133, 0.4, ("total<=500ms", "onset-apex<=260ms", "strict 40-200ms")),
        (200, 0.4, ("total<=500ms", "onset-apex<=260ms", "strict 40-200ms")),
        (467, 0.4, ("total<=500ms", "onset-apex<=260ms")),  # the median of CAS(ME)2
        (480, 0.8, ("total<=500ms",)),
        (590, 0.4, ("onset-apex<=260ms",)),
        (590, 0.6, ()),
    ],
)
def test_criteria_of_duration(total_ms: int, rise_share: float, criteria: tuple[str, ...]) -> None:
    move = movement(1, 6.0, total_ms / 1000)
    move = replace(move, apex_s=move.onset_s + rise_share * total_ms / 1000)
    assert duration_criteria(total_ms / 1000, rise_share * total_ms / 1000) == criteria
    (event,) = fuse([move], emg=False)[1].events
    assert event.trial_type == ("micro_expression" if criteria else "macro_expression")


def test_a_sniff_is_no_syllable() -> None:
    smiles = [
        movement(1, 5.0, 0.2, "lip_corner", (12,), "both"),
        movement(3, 6.1, 0.2, "lip_corner", (12,), "both"),
    ]
    between = movement(2, 5.5, 0.2, "nose_wing", (9,), "both", vetoes=("sniff",))
    spoken = replace(between, vetoes=("speech",))
    assert len(micros(fuse([smiles[0], between, smiles[1]], emg=False)[1])) == 2
    assert len(micros(fuse([smiles[0], spoken, smiles[1]], emg=False)[1])) < 2


def test_a_movement_taken_back_in_time_is_no_event() -> None:
    sniff = replace(movement(3, 6.0, 0.2), region="nose_wing", action_units=(9, 10))
    withdrawn = replace(sniff, vetoes=("sniff",), found_s=sniff.found_s + 0.4)
    assert len(micros(fuse([sniff], emg=False)[1])) == 1
    fusion, fused = fuse([sniff, withdrawn], emg=False)
    assert micros(fused) == []
    assert fusion.dropped["sniff"] == 1


def test_a_movement_taken_back_in_the_frame_that_confirmed_it_is_no_event() -> None:
    move = movement(3, 6.0, 0.2)
    assert micros(fuse([move, replace(move, vetoes=("ripple",))], emg=False)[1]) == []


def test_a_movement_acquitted_in_time_is_one_event() -> None:
    sniff = replace(movement(3, 6.0, 0.2), region="nose_wing", action_units=(9, 10), vetoes=("sniff",))
    acquitted = replace(sniff, vetoes=(), found_s=sniff.found_s + 0.5)
    assert micros(fuse([sniff], emg=False)[1]) == []
    (event,) = micros(fuse([sniff, acquitted], emg=False)[1])
    assert (event.id, event.vetoes) == ("micro-3", ())


def test_provisional_at_the_apex_has_the_id_of_what_follows() -> None:
    moves = [movement(7, 6.0, 0.3, provisional=True), movement(7, 6.0, 0.3)]
    _, fused = fuse(moves, emg=False)
    assert [event.id for event in fused.provisional] == [event.id for event in micros(fused)] == ["micro-7"]


def test_a_strong_burst_without_movement_is_sub_visible() -> None:
    # Section 6: EMG records activity that is "even visually imperceptible".
    strong, weak = burst("COR_L", 6.0, 0.15, 12.0), burst("COR_L", 9.0, 0.15, 4.2)
    (event,) = micros(fuse([], [strong, weak])[1])
    # Dated to the movement it should have caused, one electromechanical delay later.
    assert event.onset == pytest.approx(START_S + 6.0 + LEAD_S, abs=0.05)
    assert event.vetoes == ("sub-visible",)
    assert event.evidence_camera == 0.0
    assert event.explanation.startswith("left corrugator supercilii (temporal branch, AU4) fired for")
    assert event.duration == pytest.approx(0.15, abs=0.06)
    assert "sub-visible" in event.explanation
    assert micros(fuse([], [strong, weak], settings=MicroSettings(emg_alone=False))[1]) == []
    visible = micros(fuse([movement(1, 6.04)], [strong])[1])
    assert [each.id for each in visible] == ["micro-1"]  # the burst is used once


def test_both_sides_of_a_twitch_are_one_event() -> None:
    (event,) = micros(fuse([], [burst("ZYG_L", 6.0, 0.2, 9.0), burst("ZYG_R", 6.03, 0.2, 8.0)])[1])
    assert event.side == "both"
    assert event.action_units == (12,)
    assert event.duration == pytest.approx(0.23, abs=0.06)


def test_what_explains_a_burst_is_no_sub_visible_expression() -> None:
    blink = plateau(6.0, 6.25, 1.0, 0.1)
    cases: list[tuple[list[Burst], dict[str, Curve]]] = [
        ([burst("COR_L", 5.98, 0.15, 12.0)], {"blink_left": blink, "blink_right": blink}),
        # Speech, or chewing: the muscle fires again and again.
        ([burst("ZYG_L", 4.0 + 0.4 * k, 0.15, 9.0) for k in range(5)], {}),
        ([burst("ZYG_L", 4.0, 0.3, 12.0)], {"AU12": plateau(4.0, 8.0, 0.8)}),
        ([burst("ZYG_L", 6.0, 1.2, 12.0)], {}),
    ]
    for bursts, units in cases:
        assert micros(fuse([], bursts, units)[1]) == []


def test_a_blink_does_not_make_the_muscle_busy() -> None:
    blink = plateau(5.0, 5.25, 1.0, 0.1)
    blinked, twitch = burst("COR_L", 4.98, 0.15, 12.0), burst("COR_L", 5.9, 0.15, 12.0)
    lids = {"blink_left": blink, "blink_right": blink}
    assert micros(fuse([], [blinked, twitch])[1]) == []  # twice within a second, for no known reason
    (event,) = micros(fuse([], [blinked, twitch], lids)[1])
    assert event.onset > START_S + 5.5


def test_without_a_picture_nothing_is_called_sub_visible() -> None:
    bursts = [burst("COR_L", 6.0, 0.15, 12.0)]
    for spec in (None, units_spec()):  # no camera, and one that has not come yet
        fusion = Fusion(spec)
        fusion.push_emg(activity_block(12.0, bursts=bursts), bursts)
        assert fusion.drain(flush=True).events == []
    away = units_block(12.0)
    faces = away.array.copy()
    faces[170:200, away.spec.index("face")] = 0.0  # the face was lost just then
    fusion = Fusion(away.spec)
    fusion.push_camera(Block(away.spec, away.timestamps, faces, 0), [])
    fusion.push_emg(activity_block(12.0, bursts=bursts), bursts)
    assert fusion.drain(flush=True).events == []
    assert fusion.dropped["unseen"] == 1


def test_nothing_at_rest() -> None:
    _, fused = fuse([], [], duration_s=20.0)
    assert fused.events == []
    assert fused.provisional == []


def test_slow_thermal_motion_is_ignored_and_fast_supports() -> None:
    from tests.fusion.synthetic import skin_block, skin_spec

    def with_thermal(rate_hz: float) -> FaceEvent:
        block = units_block(12.0)
        fusion = Fusion(block.spec)
        fusion.push_camera(block, [movement(1, 6.0)])
        skin = skin_block(12.0)
        fusion.push_thermal(Block(skin_spec(rate_hz), skin.timestamps, skin.array, 0), [movement(1, 6.02)])
        (event,) = micros(fusion.drain(flush=True))
        return event

    assert with_thermal(8.77).evidence_thermal == 0.0
    assert with_thermal(30.0).evidence_thermal > 0.0
