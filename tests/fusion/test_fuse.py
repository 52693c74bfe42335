"""Event time: the result depends on stamps, not on how and when the pieces arrived."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.stream import Block, Kind
from fusion.events import FaceEvent
from fusion.fuse import ALL_ALIVE, Fusion, FusionSettings
from fusion.micro_expressions import MicroSettings
from processing.findings import Burst, Movement
from tests.fusion.synthetic import (
    START_S,
    activity_block,
    burst,
    movement,
    plateau,
    skin_block,
    units_block,
)

LENGTH_S = 12.0
BLINK = plateau(1.0, 1.25, 1.0, 0.1)
UNITS = units_block(
    LENGTH_S,
    {
        "AU12": plateau(3, 7, 0.8),
        "AU6": plateau(3, 7, 0.6),
        "AU4": plateau(8.5, 10.5, 0.5),
        "blink_left": BLINK,
        "blink_right": BLINK,
    },
)
BURSTS = [burst("COR_L", 5.0), burst("COR_R", 2.0, peak_z=11.0), burst("ZYG_L", 7.8, 0.3, 9.0)]
ACTIVITY = activity_block(LENGTH_S, {"ZYG": plateau(2.95, 7, 12.0), "COR": plateau(8.4, 10.4, 10.0)}, BURSTS)
SKIN = skin_block(LENGTH_S, plateau(5, 12, -0.4, 3.0))
MOVEMENTS = [
    movement(1, 5.04, 0.2),
    movement(2, 5.06, 0.25, "nose_wing", (9,), "left", 3.0),
    movement(2, 5.06, 0.25, "nose_wing", (9,), "left", 3.0, provisional=True),
    movement(3, 1.0, 0.2, vetoes=("blink",)),
    movement(4, 7.9, 0.2, "lip_corner", (12,), "both", 4.0, provisional=True),
    movement(4, 7.9, 0.2, "lip_corner", (12,), "both", 4.0),
    movement(5, 11.2, 0.3, "outer_brow", (2,), "right", 2.5),
]


def slices(block: Block, cuts: list[float]) -> list[Block]:
    bounds = sorted({0, len(block), *(round(cut * len(block)) for cut in cuts)})
    return [block[a:b] for a, b in pairwise(bounds)]


Result = tuple[np.ndarray, np.ndarray, list[FaceEvent], list[FaceEvent]]


def play(
    pieces: list[tuple[str, Block]], drain_after: list[bool], fusion_settings: FusionSettings | None = None
) -> Result:
    fusion = Fusion(UNITS.spec, fusion_settings)
    stamps, rows, events, provisional = [], [], [], []
    done: dict[str, float] = {}

    def drain(flush: bool = False) -> None:
        fused = fusion.drain(ALL_ALIVE, flush=flush)
        stamps.append(fused.valence.timestamps)
        rows.append(fused.valence.array)
        events.extend(fused.events)
        provisional.extend(fused.provisional)

    for (name, block), wanted in zip(pieces, drain_after, strict=True):
        last = done.get(name, -np.inf)
        end = float(block.timestamps[-1])
        if name == "camera":
            moves: list[Movement] = [each for each in MOVEMENTS if last < each.found_s <= end]
            fusion.push_camera(block, moves)
        elif name == "emg":
            bursts: list[Burst] = [each for each in BURSTS if last < each.found_s <= end]
            fusion.push_emg(block, bursts)
        else:
            fusion.push_thermal(block)
        done[name] = end
        if wanted:
            drain()
    drain(flush=True)
    return np.concatenate(stamps), np.concatenate(rows), events, provisional


cuts = st.lists(st.floats(0.0, 1.0), max_size=6)


@given(cuts, cuts, cuts, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_any_interleaving_gives_the_same_bits(
    camera: list[float], emg: list[float], thermal: list[float], rng
) -> None:  # type: ignore[no-untyped-def]
    queues = {
        "camera": slices(UNITS, camera),
        "emg": slices(ACTIVITY, emg),
        "thermal": slices(SKIN, thermal),
    }
    pieces = []
    while any(queues.values()):
        name = rng.choice([name for name, queue in queues.items() if queue])
        pieces.append((name, queues[name].pop(0)))
    emg_alone = FusionSettings(micro=MicroSettings(emg_alone_z=5.0))
    got = play(pieces, [rng.random() < 0.5 for _ in pieces], emg_alone)
    whole = [("emg", ACTIVITY), ("thermal", SKIN), ("camera", UNITS)]
    expected = play(whole, [False, False, False], emg_alone)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])
    assert got[2] == expected[2]
    assert got[3] == expected[3]


def whole_run(*kinds: str) -> Result:
    sources = {"camera": UNITS, "emg": ACTIVITY, "thermal": SKIN}
    pieces = [(name, sources[name]) for name in kinds]
    return play(pieces, [False] * len(pieces))


def test_the_scenario_is_told_right() -> None:
    stamps, rows, events, _ = whole_run("camera", "emg", "thermal")
    np.testing.assert_array_equal(stamps, UNITS.timestamps)
    t = stamps - START_S
    assert (rows[(t > 3.3) & (t < 6.8), 0] > 0).all()
    assert (rows[(t > 8.8) & (t < 10.2), 0] < 0).all()
    told = [(event.trial_type, event.action_units) for event in sorted(events, key=lambda event: event.onset)]
    assert told == [
        ("blink", (45,)),
        ("micro_expression", (4,)),  # sub-visible: a burst without movement
        ("macro_expression", (6, 12)),
        ("micro_expression", (4, 9)),
        ("micro_expression", (12,)),
        ("macro_expression", (4,)),
        ("micro_expression", (2,)),
    ]
    assert len({event.id for event in events}) == len(events)


@pytest.mark.parametrize("kinds", [("camera", "thermal"), ("camera",), ("camera", "emg")])
def test_any_modality_may_be_missing(kinds: tuple[str, ...]) -> None:
    stamps, rows, events, _ = whole_run(*kinds)
    assert len(stamps) == len(UNITS)
    assert sum(event.trial_type == "macro_expression" for event in events) == 2
    assert np.isnan(rows[-1, 4]) == ("thermal" not in kinds)


def test_emg_alone_gives_valence_at_50_hz() -> None:
    fusion = Fusion(None)
    fusion.push_emg(ACTIVITY, BURSTS)
    fused = fusion.drain(frozenset({Kind.EMG}))
    assert np.diff(fused.valence.timestamps).mean() == pytest.approx(0.02, rel=0.02)
    assert fused.valence.column("valence")[(fused.valence.timestamps > START_S + 4)][0] > 0.2
    assert fused.events == []
    with pytest.raises(ValueError, match="without a camera"):
        fusion.push_camera(UNITS)


def test_a_picture_waits_for_the_emg_only_while_it_is_alive() -> None:
    fusion = Fusion(UNITS.spec)
    fusion.push_camera(UNITS[:30])
    fusion.push_emg(ACTIVITY[:50])
    waiting = fusion.drain(frozenset({Kind.CAMERA, Kind.EMG})).valence
    assert waiting.timestamps[-1] - START_S <= 0.49 + 0.03 + 1e-6
    assert len(waiting) + len(fusion.drain(frozenset({Kind.CAMERA})).valence) == 30


def test_the_error_widens_when_the_emg_falls_silent() -> None:
    fusion = Fusion(UNITS.spec)
    fusion.push_camera(UNITS)
    fusion.push_emg(ACTIVITY[:500])  # electrodes off at 5 s, in the middle of the smile
    valence = fusion.drain(flush=True).valence
    t = valence.timestamps - START_S
    error = valence.column("standard_error")
    before, after = error[(t > 4.5) & (t < 5.0)], error[(t > 5.15) & (t < 5.3)]
    assert after.min() > before.max()
    assert valence.column("share_emg")[t > 6.5].max() < 0.02


def test_emg_bridges_a_camera_that_is_away() -> None:
    fusion = Fusion(UNITS.spec)
    fusion.push_camera(UNITS[:90])
    fusion.push_emg(ACTIVITY[:600])
    fusion.push_camera(UNITS[150:])
    valence = fusion.drain(flush=True).valence
    assert (np.diff(valence.timestamps) > 0).all()
    gap = (valence.timestamps > START_S + 3.3) & (valence.timestamps < START_S + 4.9)
    assert gap.sum() > 70
    assert (valence.column("share_camera")[gap][20:] < 0.05).all()


def test_a_lost_face_keeps_the_rows_coming() -> None:
    data = UNITS.array.copy()
    data[120:180, 0] = 0.0
    data[120:180, 1:] = np.nan
    fusion = Fusion(UNITS.spec)
    fusion.push_camera(Block(UNITS.spec, UNITS.timestamps, data, 0))
    valence = fusion.drain(flush=True).valence
    assert len(valence) == len(UNITS)
    assert np.isfinite(valence.array[:, :4]).all()
    assert valence.column("standard_error")[150] > valence.column("standard_error")[100]


def test_running_numbers_and_empty_drains() -> None:
    fusion = Fusion(UNITS.spec)
    assert len(fusion.drain().valence) == 0
    fusion.push_camera(UNITS[:10])
    first = fusion.drain(frozenset({Kind.CAMERA})).valence
    fusion.push_camera(UNITS[10:25])
    second = fusion.drain(frozenset({Kind.CAMERA})).valence
    assert (first.first, first.end, second.first) == (0, 10, 10)


def test_inputs_are_not_changed() -> None:
    before = UNITS.array.copy()
    whole_run("camera", "emg", "thermal")
    np.testing.assert_array_equal(UNITS.array, before)
