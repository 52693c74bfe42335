"""A calibration from the simulated person's rest and poses, its way through JSON, and the change to it."""

from __future__ import annotations

import dataclasses
import heapq
import json
import math

import numpy as np
import pytest

from acquisition.stream import Block, InvalidSignal, Kind
from fusion.events import FaceEvent
from fusion.valence_weights import ValenceWeights
from hardware.simulated import Scenario, ScriptedEvent
from processing.emg import Baseline
from processing.neutral import Neutral
from zygoma.calibrated import CALIBRATED, CalibratedPipeline
from zygoma.calibration import Calibration
from zygoma.guided.calibration import Collector, judge_rest, measure, measure_maximum
from zygoma.guided.steps import Muscle
from zygoma.pipeline import PipelineSettings
from zygoma.simulation import simulated_blocks

START_S = 1000.0
REST = (START_S + 0.5, START_S + 5.5)
SMILES = [(START_S + 6.0, START_S + 7.5), (START_S + 8.5, START_S + 10.0)]
FROWNS = [(START_S + 11.0, START_S + 12.5), (START_S + 13.5, START_S + 15.0)]
ATTEMPTS: dict[Muscle, list[tuple[float, float]]] = {"ZYG": SMILES, "COR": FROWNS}
CHANGE_S = START_S + 15.5037  # between two samples of everything


def pose(name: str, span: tuple[float, float], units: dict[int, float], height: float = 1.0) -> ScriptedEvent:
    start_s, end_s = span[0] - START_S, span[1] - START_S
    return ScriptedEvent(
        id=name,
        trial_type="macro_expression",
        onset_s=start_s + 0.1,
        apex_s=start_s + 0.4,
        release_s=end_s - 0.3,
        offset_s=end_s,
        action_units={unit: value * height for unit, value in units.items()},
    )


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    """What the devices gave: 5 s of rest, two smiles, two frowns, and a smile after the change."""
    after = (CHANGE_S + 2.0, CHANGE_S + 3.5)
    scenario = Scenario(
        seed=3,
        duration_s=20.0,
        events=(
            pose("s1", SMILES[0], {6: 0.6, 12: 0.9}, 0.8),
            pose("s2", SMILES[1], {6: 0.6, 12: 0.9}),
            pose("f1", FROWNS[0], {4: 1.0}),
            pose("f2", FROWNS[1], {4: 1.0}, 0.8),
            pose("after", after, {6: 0.5, 12: 0.7}),
        ),
    )
    camera = simulated_blocks("camera", scenario, start_s=START_S, rate_hz=10.0)
    emg = simulated_blocks("emg", scenario, start_s=START_S)
    return list(heapq.merge(camera, emg, key=lambda block: float(block.timestamps[-1])))


@pytest.fixture(scope="module")
def calibration(blocks: list[Block]) -> Calibration:
    collector = Collector()
    collector.start()
    for block in blocks:
        if block.timestamps[0] < CHANGE_S:
            collector.block(block)
    kept = collector.collected()
    assert len(kept.pictures) <= 5.5 * 15.6, "thinned"
    collector.stop()
    assert not collector.collected().pictures
    return measure(kept, REST, ATTEMPTS)


def test_a_calibration_knows_the_neutral_the_muscles_and_the_weights(calibration: Calibration) -> None:
    assert calibration.neutral is not None and calibration.neutral.frames >= 20
    assert set(calibration.muscles) == {"ZYG_L", "ZYG_R", "COR_L", "COR_R"}
    for label, baseline in calibration.muscles.items():
        assert baseline.has_rest, label
        # The simulated muscles reach some 60 (smile) and 48 microvolts RMS (frown) over a few at rest.
        assert 20.0 < baseline.mvc_uv < 100.0, label
    assert calibration.weights is not None
    assert calibration.weights != ValenceWeights()
    assert abs(calibration.weights.neutral["AU12"]) < 0.1


def test_a_calibration_comes_back_from_json_to_the_bit(calibration: Calibration) -> None:
    stored = dataclasses.replace(calibration, from_s=CHANGE_S)
    text = json.dumps(stored.to_json(), allow_nan=False)
    again = Calibration.from_json(json.loads(text))
    assert again.neutral is not None and stored.neutral is not None
    assert np.array_equal(again.neutral.points, stored.neutral.points)
    assert np.array_equal(again.neutral.blendshapes, stored.neutral.blendshapes)
    assert (again.muscles, again.weights) == (stored.muscles, stored.weights)
    assert (again.rest, again.from_s) == (stored.rest, stored.from_s)


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 99},
        {"from_s": math.inf},
        {"neutral": {"points": [[0.0]], "blendshapes": [], "frames": [1]}},
        {"emg": {"ZYG_L": {"mvc_uv": "much"}}},
        {"valence": {"smile_gain": -1}},
        {"rest": [1.0]},
    ],
)
def test_a_damaged_calibration_is_refused(damage: dict[str, object]) -> None:
    values = {**Calibration(muscles={"ZYG_L": Baseline()}).to_json(), **damage}
    with pytest.raises(InvalidSignal):
        Calibration.from_json(values)


def test_what_was_not_measured_is_left_to_the_processors() -> None:
    assert Calibration().for_pipeline() == {}
    neutral = Neutral(np.zeros((478, 3)), np.zeros(52), 10)
    assert set(Calibration(neutral=neutral).for_pipeline()) == {"neutral"}


def rest_rows(blocks: list[Block]) -> list[Block]:
    pipeline = CalibratedPipeline({block.spec.kind: block.spec for block in blocks})
    rows = []
    for block in blocks:
        if block.timestamps[0] > REST[1] + 4.0:
            break
        if block.spec.kind is Kind.CAMERA:
            rows.append(pipeline.face(block).action_units)
        else:
            rows.append(pipeline.emg(block)[0])
    pipeline.close()
    return rows


def test_rest_is_rest_and_a_smile_is_not(blocks: list[Block]) -> None:
    rows = rest_rows(blocks)
    kinds = (Kind.CAMERA, Kind.EMG)
    # Amplifier and filters have settled when a session comes to its rest.
    problems, findings = judge_rest(rows, (REST[0] + 2.5, REST[1]), kinds)
    assert problems == []
    assert any("zygomaticus left" in finding for finding in findings)
    problems, _ = judge_rest(rows, (SMILES[0][0] - 1.0, SMILES[0][1]), kinds)
    assert any("zygomaticus" in problem for problem in problems)
    assert any("a smile" in problem for problem in problems)
    problems, _ = judge_rest([], REST, kinds)
    assert len(problems) == 2


def test_a_muscle_without_an_electrode_is_told(blocks: list[Block]) -> None:
    emg = [block for block in blocks if block.spec.kind is Kind.EMG][:400]
    with pytest.raises(InvalidSignal, match="no EMG"):
        measure_maximum([], {"ZYG": SMILES}, REST)
    assert measure_maximum(emg, {}, REST).baselines["ZYG_L"].has_rest
    with pytest.raises(InvalidSignal, match="no rest"):
        measure(Collector().collected(), None, {})


def run(blocks: list[Block], calibration: Calibration | None, from_s: float) -> tuple[list[FaceEvent], Block]:
    """Feed blocks as they come and change at `from_s`; the events and the valence from there on."""
    pipeline = CalibratedPipeline({block.spec.kind: block.spec for block in blocks}, PipelineSettings())
    if calibration is not None:
        pipeline.change(pipeline.prepare(calibration), from_s)
    alive = frozenset(pipeline.specs)
    events: list[FaceEvent] = []
    # A live run drains before the first sample too, while nothing delivers.
    valence = [pipeline.drain(frozenset()).valence]
    for block in blocks:
        if block.spec.kind is Kind.CAMERA:
            faces = pipeline.face(block)
            pipeline.follow(faces)
        else:
            for piece in pipeline.pieces(block):
                pipeline.emg(piece)
        fused = pipeline.drain(alive)
        events += fused.events
        valence.append(fused.valence)
    fused = pipeline.drain(frozenset(), flush=True)
    pipeline.close()
    events += fused.events
    valence.append(fused.valence)
    assert [block.first for block in valence[1:]] == [block.end for block in valence[:-1]]
    stamps = np.concatenate([block.timestamps for block in valence])
    rows = np.concatenate([block.array for block in valence])
    assert np.all(np.diff(stamps) > 0)
    inside = stamps >= from_s
    return events, Block(valence[0].spec, stamps[inside], rows[inside], 0)


def test_what_follows_the_change_depends_on_nothing_before_it(
    blocks: list[Block], calibration: Calibration
) -> None:
    whole, whole_valence = run([b for b in blocks if b.timestamps[0] > START_S + 12.0], calibration, CHANGE_S)
    # A recording that begins later numbers its samples from another one, and its blocks are cut otherwise.
    late: list[Block] = []
    for block in blocks:
        if block.timestamps[0] < START_S + 14.0037:
            continue
        if block.spec.kind is Kind.EMG:
            block = Block(block.spec, block.timestamps, block.data, block.first - 14007)
            late += [block[:3], block[3:]]
        else:
            late.append(block)
    again, again_valence = run([block for block in late if len(block)], calibration, CHANGE_S)
    ours, theirs = ([e for e in events if e.id.endswith(CALIBRATED)] for events in (whole, again))
    assert any(event.category == "positive" for event in ours), "the smile after the change"
    assert any(event not in ours for event in whole), "an expression before it"
    assert ours == theirs
    assert np.array_equal(whole_valence.timestamps, again_valence.timestamps)
    # Arousal is NaN without a thermal camera.
    np.testing.assert_array_equal(whole_valence.array, again_valence.array)


def test_a_pipeline_changes_once() -> None:
    pipeline = CalibratedPipeline({})
    pipeline.change(pipeline.prepare(Calibration()), 1.0)
    with pytest.raises(ValueError, match="once"):
        pipeline.change(pipeline.prepare(Calibration()), 2.0)
    pipeline.close()
