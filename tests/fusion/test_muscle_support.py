"""What EMG says for and against movements of the skin, through the whole of fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from acquisition.stream import Block
from fusion.emg_evidence import LEAD_S
from fusion.events import FaceEvent
from fusion.fuse import Fusion
from processing.findings import Burst, Movement
from tests.fusion.synthetic import (
    START_S,
    activity_block,
    burst,
    fuse,
    micros,
    movement,
    units_block,
)


def test_emg_that_leads_supports_and_silent_emg_weighs_against() -> None:
    def evidence(bursts: Sequence[Burst], **kwargs: bool) -> FaceEvent:
        (event,) = micros(fuse([movement(1, 6.0)], bursts, **kwargs)[1])
        return event

    leading = evidence([burst("COR_L", 5.94)])
    lagging = evidence([burst("COR_L", 6.09)])
    other_muscle = evidence([burst("ZYG_L", 5.94)])
    other_side = evidence([burst("COR_R", 5.94)])
    none = evidence([], emg=False)
    assert leading.evidence_emg > 3.0
    assert leading.evidence_emg > lagging.evidence_emg  # physiological order
    assert other_muscle.evidence_emg == other_side.evidence_emg < 0.0
    assert none.evidence_emg == 0.0
    assert leading.confidence > none.confidence > other_side.confidence


def test_a_muscle_that_is_slack_again_soon_begins_no_longer_expression() -> None:
    moves = [movement(1, 6.0, vetoes=("macro_edge",), ratio=4.0)]
    (event,) = micros(fuse(moves, [burst("COR_L", 5.95)])[1])
    assert event.vetoes == ()
    held, fused = fuse(moves, [burst("COR_L", 5.95, duration_s=1.2)])
    assert micros(fused) == []
    assert held.dropped["macro_edge"] == 1


@pytest.mark.parametrize("veto", ["speech", "sniff"])
def test_a_muscle_at_rest_that_fires_once_outweighs_a_doubtful_habit(veto: str) -> None:
    def found(ratio: float, bursts: list[Burst]) -> list[FaceEvent]:
        # On both sides: on one side alone it would be no habit at all.
        smile = movement(1, 9.0, 0.2, "lip_corner", (12,), "both", ratio, (veto,))
        seen = micros(fuse([smile], bursts)[1])
        return [event for event in seen if event.vetoes != ("sub-visible",)]

    both = [burst("ZYG_L", 8.95), burst("ZYG_R", 8.95)]
    chatter = [burst(each.channel, at) for at in (6.1, 6.6, 7.2, 7.7, 8.3) for each in both]
    (event,) = found(0.5, both)
    assert event.vetoes == (veto,)
    assert found(-6.0, both) == []
    assert found(0.5, []) == []
    assert found(-1.5, both + chatter) == [] != found(-1.5, both)


@pytest.mark.parametrize("veto", ["speech", "sniff"])
def test_a_muscle_that_fires_on_one_side_alone_neither_speaks_nor_sniffs(veto: str) -> None:
    # Section 3.2.1: voluntary movements are synergistic, asymmetry marks involuntary ones.
    moves = [movement(1, 6.0, vetoes=(veto,), ratio=2.0)]
    (event,) = micros(fuse(moves, [burst("COR_L", 5.95, peak_z=14.0)])[1])
    assert event.vetoes == ()
    assert event.evidence_camera == 2.0


def test_a_faint_movement_counts_with_its_emg() -> None:
    faint = [movement(1, 6.0, ratio=-0.5)]
    assert micros(fuse(faint, emg=False)[1]) == []
    (event,) = micros(fuse(faint, [burst("COR_L", 5.95)])[1])
    assert event.evidence_emg > 3.0
    assert event.vetoes == ()


def test_noise_blurs_the_flanks_of_a_faint_movement_but_not_its_middle() -> None:
    def evidence(z: float) -> float:
        early = replace(movement(1, 5.86, 0.42, ratio=2.0), z=z)  # The muscle moved it from 6.0 to 6.2 s.
        (event,) = micros(fuse([early], [burst("COR_L", 5.95)])[1])
        return event.evidence_emg

    assert evidence(3.5) > 3.0


def test_a_burst_that_an_event_rests_on_is_no_coincidence() -> None:
    def evidence(first: list[Movement]) -> float:
        bursts = [burst("COR_L", 3.95), burst("COR_L", 5.95)]
        return micros(fuse([*first, movement(2, 6.0)], bursts)[1])[-1].evidence_emg

    assert evidence([movement(1, 4.0)]) > evidence([]) + 1.0


def test_a_neighbours_electrodes_support_but_their_silence_says_nothing() -> None:
    lip = [movement(1, 6.0, 0.2, "upper_lip", (10, 9), "left", 4.0)]
    (heard,) = micros(fuse(lip, [burst("ZYG_L", 5.95)])[1])
    (silent,) = micros(fuse(lip)[1])
    assert heard.evidence_emg > 1.0
    assert silent.evidence_emg == 0.0
    assert "heard over the zygomaticus major" in heard.explanation


def swelling(rise_z: float, onset_s: float = 6.0, offset_s: float = 6.2) -> Block:
    """Muscle activity whose left corrugator swells for a while by less than a burst."""
    block = activity_block(12.0)
    rows, t = block.array.copy(), block.timestamps - START_S
    column = block.spec.labels.index("COR_L_z")
    rows[(t >= onset_s - LEAD_S) & (t <= offset_s - LEAD_S), column] += rise_z
    return Block(block.spec, block.timestamps, rows, block.first)


def faint_frown(llr: float = -1.0) -> Movement:
    return replace(
        movement(1, 6.0, 0.2), side="left", log_likelihood_ratio=llr, vetoes=("faint",), z=4.0, asymmetry=1.0
    )


def fused_with(activity: Block, move: Movement, bursts: Sequence[Burst] = ()) -> list[FaceEvent]:
    units = units_block(12.0)
    fusion = Fusion(units.spec)
    fusion.push_camera(units, [move])
    fusion.push_emg(activity, bursts)
    return [event for event in fusion.drain(flush=True).events if event.trial_type == "micro_expression"]


def test_a_faint_movement_is_an_event_only_when_its_muscle_was_felt() -> None:
    felt = burst("COR_L", 5.95, 0.15, 6.0)
    assert fused_with(activity_block(12.0), faint_frown()) == []
    (event,) = fused_with(activity_block(12.0, bursts=[felt]), faint_frown(), [felt])
    assert event.vetoes == ("faint",)
    assert "too faint for the picture alone, but its muscle was felt" in event.explanation
    other = burst("ZYG_L", 5.95, 0.15, 6.0)
    assert all(
        e.action_units != (4,)
        for e in fused_with(activity_block(12.0, bursts=[other]), faint_frown(), [other])
    )


def test_a_swell_too_weak_for_a_burst_still_speaks_for_the_movement() -> None:
    clean = replace(faint_frown(1.2), vetoes=())
    (silent,) = fused_with(swelling(0.0), replace(clean, log_likelihood_ratio=2.5))
    (felt,) = fused_with(swelling(2.5), replace(clean, log_likelihood_ratio=2.5))
    assert silent.evidence_emg < 0.0 < 1.5 < felt.evidence_emg
    # Barely seen, and its clean electrodes are silent: less likely.
    assert fused_with(swelling(0.0), clean) == []
    # What goes on is the beginning of something longer, and says nothing.
    (longer,) = fused_with(swelling(2.5, offset_s=8.0), replace(clean, log_likelihood_ratio=2.5))
    assert longer.evidence_emg == 0.0
