"""Macro-expressions and blinks from rows of action units."""

from __future__ import annotations

import numpy as np
import pytest

from acquisition.stream import Block
from fusion.blinks import Blinks
from fusion.events import FaceEvent
from fusion.macro_expressions import MacroExpressions, salient
from fusion.speech import Speech
from tests.fusion.synthetic import START_S, Curve, movement, plateau, units_block


def find(
    duration_s: float, curves: dict[str, Curve], block: Block | None = None, speech: Speech | None = None
) -> list[FaceEvent]:
    block = block or units_block(duration_s, curves)
    macro = MacroExpressions(block.spec, speech=speech)
    events = []
    for i, stamp in enumerate(block.timestamps):
        events += macro.step(float(stamp), block.array[i].tolist())
    return events + macro.flush()


def test_a_smile_from_onset_through_apex_to_offset() -> None:
    (smile,) = find(8.0, {"AU12": plateau(2, 5, 0.7), "AU6": plateau(2.1, 4.9, 0.5)})
    assert smile.trial_type == "macro_expression"
    assert smile.action_units == (6, 12)
    assert (smile.category, [str(e) for e in smile.emotions]) == ("positive", ["happiness (rule 1)"])
    assert smile.onset - START_S == pytest.approx(2.0, abs=0.15)
    assert smile.offset - START_S == pytest.approx(5.0, abs=0.15)
    assert smile.onset < smile.apex < smile.offset
    assert smile.muscles[0] == "zygomaticus major"
    assert "zygomatic" in smile.nerve_branches
    assert smile.confidence > 0.9


@pytest.mark.parametrize("length_s", [0.2, 0.4])
def test_half_a_second_is_no_macro_expression(length_s: float) -> None:
    assert find(4.0, {"AU4": plateau(2, 2 + length_s, 0.6, length_s / 3)}) == []


def test_nothing_at_rest() -> None:
    assert find(10.0, {}) == []


def test_a_frown_after_a_smile_is_another_expression() -> None:
    first, second = find(9.0, {"AU12": plateau(1, 4, 0.7), "AU4": plateau(3.8, 7, 0.6)})
    assert (first.category, second.category) == ("positive", "negative")


def test_a_long_frown_inside_a_smile_is_masked_by_it() -> None:
    events = find(12.0, {"AU12": plateau(1, 9, 0.8), "AU4": plateau(4, 5.2, 0.5)})
    by_category = {event.category: event for event in events}
    assert set(by_category) == {"positive", "negative"}
    assert by_category["negative"].masked_by == by_category["positive"].id


def test_one_sided_smile() -> None:
    block = units_block(6.0, {"AU12": plateau(1, 4, 0.6)})
    data = block.array.copy()
    data[:, block.spec.index("AU12_right")] = 0.0
    (event,) = find(6.0, {}, Block(block.spec, block.timestamps, data, 0))
    assert event.side == "left"
    assert event.asymmetry > 0.9


def test_speech_is_no_expression_of_the_mouth() -> None:
    speech = Speech()
    for k in range(12):
        speech.add(movement(k, 1.0 + 0.22 * k, 0.2, "chin", (26,)))
    curves = {"AU12": plateau(1, 3.6, 0.25), "AU25": plateau(1, 3.6, 0.5)}
    assert find(6.0, curves, speech=speech) == []
    assert len(find(6.0, curves)) == 1
    smiling = {"AU12": plateau(1, 3.6, 0.8), "AU25": plateau(1, 3.6, 0.5)}
    assert len(find(6.0, smiling, speech=speech)) == 1


def test_echoes_of_a_smile_and_of_an_open_mouth_do_not_count() -> None:
    assert set(salient({12: 0.7, 6: 0.4, 10: 0.3, 20: 0.5, 4: 0.1})) == {6, 12}
    assert set(salient({12: 0.3, 10: 0.9, 9: 0.8})) == {9, 10, 12}
    assert set(salient({1: 0.5, 2: 0.5, 5: 0.6, 12: 0.25, 25: 0.7, 26: 0.4})) == {1, 2, 5, 25, 26}


def test_blinks_and_winks() -> None:
    curves = {
        "blink_left": lambda t: (
            plateau(1, 1.25, 0.9, 0.1)(t) + plateau(3, 3.3, 0.9, 0.1)(t) + plateau(5, 6.5, 1.0, 0.1)(t)
        ),
        "blink_right": lambda t: plateau(1, 1.25, 0.9, 0.1)(t) + plateau(5, 6.5, 1.0, 0.1)(t),
    }
    block = units_block(8.0, curves)
    blinks = Blinks(block.spec)
    found = []
    for i, stamp in enumerate(block.timestamps):
        event = blinks.step(float(stamp), block.array[i].tolist())
        found += [event] if event else []
    both, wink = found  # the closure of 1.5 s is AU43, not a blink
    assert (both.side, wink.side) == ("both", "left")
    assert both.action_units == (45,)
    assert both.onset - START_S == pytest.approx(1.0, abs=0.08)
    assert both.duration == pytest.approx(0.25, abs=0.1)
    assert blinks.overlaps(START_S + 5.5, START_S + 5.6)  # but it vetoes like one
    assert not blinks.overlaps(START_S + 4.0, START_S + 4.5)


def test_a_face_that_leaves_ends_the_expression() -> None:
    block = units_block(6.0, {"AU12": plateau(1, 9, 0.7)})
    macro = MacroExpressions(block.spec)
    events = []
    for i, stamp in enumerate(block.timestamps):
        gone = stamp > START_S + 3
        events += macro.step(float(stamp), None if gone else block.array[i].tolist())
    assert len(events) == 1
    assert events[0].offset - START_S == pytest.approx(3.0, abs=0.1)
    assert np.isfinite(events[0].confidence)


def test_a_jaw_drops_because_its_muscles_relax() -> None:
    # FACS: AU26 is masseter and temporalis letting go.
    startled = {f"AU{unit}": plateau(2, 5, 0.6) for unit in (1, 2, 5, 26)}
    (event,) = find(8.0, startled)
    assert "masseter and temporalis (CN V, AU26) relaxed on both sides for" in event.explanation
    assert "frontalis, lateral part (temporal branch, AU2)" in event.explanation.partition(" contracted")[0]


def test_what_wavers_above_its_threshold_for_a_moment_is_no_expression() -> None:
    def wavering(t: np.ndarray) -> np.ndarray:
        peaks = ((2.0, 0.13), (2.2, 0.07), (2.4, 0.07), (2.55, 0.07))
        return np.asarray(sum(level * ((t > start) & (t < start + 0.08)) for start, level in peaks))

    assert find(5.0, {}, units_block(5.0, {"AU12": wavering}, noise=0.0)) == []


def test_a_twitch_of_the_landmarks_at_a_blink_begins_no_expression() -> None:
    def twitching(t: np.ndarray) -> np.ndarray:
        return plateau(2, 2.9, 0.1)(t) + 0.5 * (np.abs(t - 2.4) < 0.5 / 30.0)

    assert find(5.0, {"AU6": twitching}) == []
    assert len(find(5.0, {"AU6": plateau(2, 2.9, 0.5)})) == 1


@pytest.mark.parametrize(("unit", "told"), [("AU7", False), ("AU12", True)])
def test_a_head_that_turns_seems_to_move_some_action_units(unit: str, told: bool) -> None:
    curves = {unit: plateau(2, 3.2, 0.35)}
    assert len(find(5.0, curves)) == 1
    turning = find(5.0, curves | {"head_speed": plateau(1.8, 3.4, 45.0)})
    assert bool(turning) is told


def test_an_unsteady_action_unit_counts_by_what_is_beyond_its_error() -> None:
    curves = {"AU6": plateau(2, 4, 0.3)}
    assert len(find(6.0, curves)) == 1
    assert find(6.0, curves | {"AU6_se": plateau(1, 5, 0.2)}) == []
