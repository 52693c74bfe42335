"""Skin temperature on a radiometric face whose temperatures are known."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.stream import (
    INVALID_CENTI_CELSIUS,
    Block,
    Channel,
    InvalidSignal,
    Kind,
    Processor,
    SampleType,
    StreamSpec,
)
from processing.thermal import Reason, SkinTemperature, ThermalSettings, muscle_warming
from processing.thermal_regions import REGIONS
from processing.thermal_tracking import FaceTracker
from tests.processing.thermal_face import (
    FINE,
    HEIGHT,
    RATE_HZ,
    WIDTH,
    Scene,
    ScriptedFinder,
    block_of,
    portrait,
    thermal_spec,
    true_deltas,
)

MEASURED = [region for region in REGIONS if region != "forehead"]


def moving_scene(seconds: float) -> Scene:
    """Motion of +-10 px and +-4 deg, drift of .5 degC in 10 s, 20 mK noise; three regions change."""
    n = int(seconds * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    ramp = np.clip((t - 6) / 4, 0, 1)
    shift = np.stack([10 * np.sin(2 * np.pi * t / 5), 9 * np.sin(2 * np.pi * t / 7)], axis=1)
    warming = {"nose_tip": -0.4 * ramp, "cheek_left": 0.2 * ramp, "glabella": 0.1 * ramp}
    return Scene(t, shift, 4 * np.sin(2 * np.pi * t / 6), 0.05 * t, warming)


@cache
def moving_frames() -> tuple[Scene, NDArray[np.int16]]:
    scene = moving_scene(15.0)
    return scene, scene.frames()


@cache
def still_frames() -> tuple[Scene, NDArray[np.int16]]:
    scene = Scene.still(14.0)
    return scene, scene.frames(seed=5)


def processor(scene: Scene, *, at: int = 5, jitter_px: float = 0.0, **settings: float) -> SkinTemperature:
    finder = ScriptedFinder(jitter_px)
    finder.warp = scene.warp(at)
    return SkinTemperature(finder, settings=ThermalSettings(**settings))  # type: ignore[arg-type]


def rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def delta_errors(out: Block, scene: Scene, rows: slice) -> dict[str, NDArray[np.float64]]:
    """Error of each delta against the truth, with the same baseline stretch."""
    reasons = out.column("reason")
    baseline = np.flatnonzero(np.isfinite(out.column("nose_tip_celsius")) & (reasons == Reason.NO_BASELINE))
    truth = true_deltas(scene)
    return {
        region: out.column(f"{region}_delta_celsius")[rows]
        - (truth[region] - truth[region][baseline].mean())[rows]
        for region in REGIONS
    }


def test_deltas_are_within_30_mk_under_motion_drift_and_noise() -> None:
    scene, frames = moving_frames()
    out = processor(scene).process(block_of(frames, scene.times))
    last = slice(-int(10 * RATE_HZ), None)
    errors = delta_errors(out, scene, last)
    for region in MEASURED:
        assert rms(errors[region]) <= 0.030, region
        noise = out.column(f"{region}_delta_celsius")[last]
        assert np.std(np.diff(noise)) / np.sqrt(2) <= 0.035, region
    assert np.nanmin(out.column("registration_correlation")) > 0.95
    assert np.nanmax(out.column("registration_residual_px")) < 0.5


def test_standard_errors_cover_the_errors() -> None:
    scene, frames = moving_frames()
    out = processor(scene).process(block_of(frames, scene.times))
    last = slice(-int(10 * RATE_HZ), None)
    errors = delta_errors(out, scene, last)
    for region in MEASURED:
        se = out.column(f"{region}_delta_se_celsius")[last]
        assert np.all(np.isfinite(se)) and np.mean(np.abs(errors[region]) <= 3 * se) > 0.95, region


def test_forehead_suppresses_camera_drift_more_than_five_times() -> None:
    scene = Scene.still(12.0)
    scene.drift = 0.05 * scene.times
    out = processor(scene).process(block_of(scene.frames(), scene.times))
    rows = slice(int(2 * RATE_HZ), None)
    for region in MEASURED:
        raw = np.ptp(out.column(f"{region}_celsius")[rows])
        corrected = np.ptp(out.column(f"{region}_minus_forehead_celsius")[rows])
        assert raw > 0.4 and raw / corrected >= 5, region


def test_landmark_jitter_does_not_reach_the_temperatures() -> None:
    scene, frames = still_frames()
    out = processor(scene, jitter_px=0.5).process(block_of(frames, scene.times))
    for region in REGIONS:
        delta = out.column(f"{region}_delta_celsius")
        assert np.nanstd(np.diff(delta)) / np.sqrt(2) <= 0.035


def test_columns_units_and_protocol() -> None:
    scene, frames = still_frames()
    skin = processor(scene)
    assert isinstance(skin, Processor)
    spec = skin.spec_for(thermal_spec())
    assert spec.kind is Kind.SKIN_TEMPERATURE and spec.dtype is SampleType.FLOAT32
    assert spec.labels[:6] == (
        "nose_tip_celsius",
        "nose_tip_delta_celsius",
        "nose_tip_slope_celsius_per_s",
        "nose_tip_minus_forehead_celsius",
        "nose_tip_valid",
        "perinasal_celsius",
    )
    assert spec.labels[45:48] == ("registration_residual_px", "registration_correlation", "ffc")
    block = block_of(frames[:30], scene.times[:30], first=7)
    out = skin.process(block)
    assert out.spec == spec and out.first == 7 and np.array_equal(out.timestamps, block.timestamps)
    assert len(skin.reasons()) == 30 and len(skin.process(block[:0])) == 0
    assert skin.landmarks_px is not None and skin.landmarks_px.shape == (478, 2)


def test_percentiles_and_side_differences() -> None:
    scene, frames = still_frames()
    out = processor(scene).process(block_of(frames[:40], scene.times[:40]))[-1:]
    for region in REGIONS:
        low, high = (out.column(f"{region}_{what}_celsius")[0] for what in ("p10", "p90"))
        assert low < out.column(f"{region}_celsius")[0] < high
    left, right = out.column("cheek_left_celsius")[0], out.column("cheek_right_celsius")[0]
    assert out.column("cheek_left_minus_right_celsius")[0] == pytest.approx(left - right, abs=1e-4)


@pytest.mark.parametrize("sizes", [(1,), (3, 1, 7), (50,)])
def test_any_chunking_gives_the_same_bits(sizes: tuple[int, ...]) -> None:
    scene, frames = moving_frames()
    frames = frames[:80].copy()
    frames[:, 40, 60] = 9000
    frames[50:] += 60
    times = scene.times[:80].copy()
    times[50:] += 2.05
    block = block_of(frames, times)
    whole = processor(scene)
    expected = whole.process(block)
    chunked = processor(scene)
    parts, reasons, start, k = [], [], 0, 0
    while start < len(block):
        size = sizes[k % len(sizes)]
        parts.append(chunked.process(block[start : start + size]).array)
        reasons += chunked.reasons()
        chunked.process(block[start:start])
        start, k = start + size, k + 1
    np.testing.assert_array_equal(np.concatenate(parts), expected.array)
    assert tuple(reasons) == whole.reasons()
    assert np.isfinite(expected.column("nose_tip_delta_celsius")[-1])


def jittered(times: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Arrivals of a real Lepton on USB: 96 and 128 ms."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.choice([0.096, 0.128], len(times)))


def test_every_ffc_is_found_in_three_ways_and_none_invented() -> None:
    scene, frames = still_frames()

    def flagged(
        frames: NDArray[np.int16], times: NDArray[np.float64], flags: NDArray[np.float64] | None = None
    ) -> list[int]:
        finder = ScriptedFinder()
        finder.visible = False
        out = SkinTemperature(finder).process(block_of(frames, times, flags))
        return np.flatnonzero(out.column("ffc")).tolist()

    for seed in range(10):
        times = jittered(scene.times, seed)
        at = 50 + 3 * seed
        flags = np.zeros(len(frames))
        assert flagged(frames, times, flags) == []
        flags[at : at + 3] = 1
        assert flagged(frames, times, flags) == [at, at + 1, at + 2]
        paused = times + 2.05 * (np.arange(len(times)) >= at)
        assert flagged(frames, paused) == [at]
        frozen = frames.copy()
        frozen[at : at + 18] = frames[at]
        found = flagged(frozen, times)
        assert at + 3 <= found[0] <= at + 5 and found[-1] == at + 17


def test_temperatures_are_nan_in_an_ffc_and_go_on_from_where_they_were() -> None:
    scene, frames = still_frames()
    frames = frames.copy()
    frames[60:] += 65
    times = scene.times + 2.05 * (np.arange(len(frames)) >= 60)
    skin = processor(scene)
    out = skin.process(block_of(frames, times))
    reasons = skin.reasons()
    assert "FFC" in reasons[60] and "settles" in reasons[64] and reasons[72] == ""
    for region in REGIONS:
        delta = out.column(f"{region}_delta_celsius")
        assert np.isnan(delta[60:68]).all()
        assert abs(np.mean(delta[75:]) - np.mean(delta[45:60])) < 0.03, region
        assert np.nanmax(np.abs(np.nan_to_num(out.column(f"{region}_slope_celsius_per_s")[75:]))) < 0.03
    assert np.mean(out.column("forehead_celsius")[75:] - out.column("forehead_celsius")[50]) > 0.5
    assert [event.kind for event in skin.events()].count("ffc") == 1


def test_lost_frames_are_no_ffc() -> None:
    scene, frames = still_frames()
    kept = np.r_[:60, 80 : len(frames)]
    block = block_of(frames, scene.times)
    lossy = Block(block.spec, block.timestamps[kept], block.array[kept], 0)
    out = processor(scene).process(lossy)
    assert not out.column("ffc").any()
    slope = out.column("nose_tip_slope_celsius_per_s")
    assert np.isfinite(slope[59]) and np.isnan(slope[60]) and np.isfinite(slope[-1])
    assert np.isfinite(out.column("nose_tip_delta_celsius")[60])


def test_dead_pixels_and_rows_are_masked_and_reported() -> None:
    scene, frames = moving_frames()
    frames = frames.copy()
    _, mesh, _ = portrait()
    nose = mesh[4].round().astype(int)
    frames[:, nose[1], nose[0]] = 6000
    frames[:, 20, 30] = INVALID_CENTI_CELSIUS
    frames[:, 76] = np.random.default_rng(1).choice([2500, 3100, 4000], (len(frames), WIDTH))
    skin = processor(scene)
    out = skin.process(block_of(frames, scene.times))
    assert skin.faults.rows == (76,) and set(skin.faults.pixels) == {(20, 30), (nose[1], nose[0])}
    assert "dead rows [76]" in str(skin.faults)
    assert any(event.kind == "pixels" for event in skin.events())
    errors = delta_errors(out, scene, slice(-int(10 * RATE_HZ), None))
    for region in MEASURED:
        assert rms(errors[region]) <= 0.030, region
    assert np.nanmin([out.column(f"{region}_valid") for region in REGIONS]) < 0.95


def test_a_covered_region_is_nan_and_named() -> None:
    scene, frames = still_frames()
    frames = frames.copy()
    _, mesh, _ = portrait()
    x, y = mesh[4].round().astype(int)
    # A cup of cold water in front of the nose.
    frames[60:, y - 6 : y + 6, x - 7 : x + 8] = 1000
    skin = processor(scene)
    out = skin.process(block_of(frames, scene.times))
    assert np.isfinite(out.column("nose_tip_celsius")[59])
    assert np.isnan(out.column("nose_tip_celsius")[62]) and out.column("nose_tip_valid")[62] < 0.5
    assert "nose_tip" in skin.reasons()[62] or "picture" in skin.reasons()[62]


def test_cold_glasses_leave_out_what_they_cover_and_nothing_else() -> None:
    scene, frames = still_frames()
    _, mesh, _ = portrait()
    worn = frames.copy()
    for outer, inner in ((33, 133), (263, 362)):
        (x0, x1), y = np.sort(mesh[[outer, inner], 0].round().astype(int)), int(mesh[inner, 1])
        # The lens of the subject's right eye reaches over the eye corner, the other ends in front of it.
        reach = 4 if outer == 33 else -3
        left, right = (x0 - 2, x1 + reach) if outer == 33 else (x0 - reach, x1 + 2)
        worn[:, y - 4 : y + 6, left : right + 1] = 2750
    skin = processor(scene)
    out = skin.process(block_of(worn, scene.times))
    bare = processor(scene).process(block_of(frames, scene.times))
    assert np.isnan(out.column("periorbital_right_celsius")[-1])
    assert "periorbital_right" in skin.reasons()[-1] and "glasses" in skin.reasons()[-1]
    for region in ("periorbital_left", "nose_tip", "forehead", "cheek_left"):
        same = out.column(f"{region}_celsius")[-1] - bare.column(f"{region}_celsius")[-1]
        assert abs(same) < 0.15, region


def test_a_delta_too_uncertain_to_say_anything_is_nan_and_named() -> None:
    scene, frames = still_frames()
    finder = ScriptedFinder()
    skin = SkinTemperature(finder, settings=ThermalSettings(max_delta_se_celsius=1e-6))
    out = skin.process(block_of(frames, scene.times))
    assert np.isfinite(out.column("nose_tip_celsius")[-1])
    assert np.isnan(out.column("nose_tip_delta_celsius")).all() and np.isnan(out.column("arousal")).all()
    assert "nose_tip" in skin.reasons()[-1]


def test_most_of_the_picture_invalid_is_implausible() -> None:
    scene, frames = still_frames()
    frames = frames[:20].copy()
    frames[10:, :90] = INVALID_CENTI_CELSIUS
    out = processor(scene).process(block_of(frames, scene.times[:20]))
    assert out.column("reason")[-1] == Reason.IMPLAUSIBLE


def test_start_up_is_dropped_and_warming_up_delays_the_baseline() -> None:
    scene = Scene.still(14.0)
    scene.drift = -0.15 * np.minimum(scene.times, 6.0)
    skin = processor(scene)
    out = skin.process(block_of(scene.frames(), scene.times))
    reasons = out.column("reason")
    assert np.all(reasons[:5] == Reason.START_UP)
    assert np.isnan(out.column("forehead_celsius")[:5]).all()
    warming = scene.times[reasons == Reason.WARMING_UP]
    assert warming.min() < 2.0 and 6.0 < warming.max() < 9.5
    ready = scene.times[np.isfinite(out.column("forehead_delta_celsius"))]
    assert ready.min() > 9.0
    assert np.nanmin(out.column("camera_drift_celsius_per_s")) == pytest.approx(-0.15, abs=0.01)
    told = [event for event in skin.events() if event.kind in {"warming up", "settled"}]
    assert [event.kind for event in told] == ["warming up", "settled"]
    assert told[1].time_s - 100 == pytest.approx(warming.max(), abs=0.3)
    assert "warming up" in skin.quality_words()


def test_a_missing_face_is_looked_for_eagerly_at_first_and_then_once_a_second() -> None:
    scene, frames = still_frames()
    finder = ScriptedFinder()
    finder.visible = False
    skin = SkinTemperature(finder)
    out = skin.process(block_of(frames, scene.times))
    # In two renderings each time: every third frame for three seconds, then every ninth.
    assert 34 <= finder.calls <= 42
    assert skin.quality_words() == f"no frontal face in {100 * (1 - 5 / len(frames)):.0f} % of the frames"
    assert "no frontal face" in skin.reasons()[-1]
    assert np.isnan(out.column("nose_tip_celsius")).all() and skin.landmarks_px is None


def test_what_is_not_at_skin_temperature_is_no_face() -> None:
    scene, frames = still_frames()
    skin = processor(scene)
    out = skin.process(block_of(frames - 1500, scene.times))
    assert np.all(out.column("reason")[5:] == Reason.NO_FACE)


def test_a_face_that_left_comes_back_onto_the_same_skin() -> None:
    scene, frames = still_frames()
    frames = frames.copy()
    room = np.random.default_rng(0).normal(2300, 2, (30, HEIGHT, WIDTH)).astype(np.int16)
    frames[50:80] = room
    finder = ScriptedFinder(jitter_px=1.0)
    skin = SkinTemperature(finder)
    first = skin.process(block_of(frames[:50], scene.times[:50]))
    finder.visible = False
    block = block_of(frames, scene.times)
    gone = skin.process(block[50:80])
    assert np.all(gone.column("reason") == Reason.FACE_LOST) and "turned away" in skin.reasons()[0]
    assert np.isnan(gone.column("nose_tip_celsius")).all()
    finder.visible = True
    back = skin.process(block[80:])
    for region in REGIONS:
        before, after = (np.nanmean(out.column(f"{region}_celsius")) for out in (first, back))
        assert abs(before - after) < 0.01, region
        assert np.isfinite(back.column(f"{region}_delta_celsius")[-1])
    kinds = [event.kind for event in skin.events()]
    assert kinds.count("face found") == 2 and kinds.count("face lost") == 1


def test_another_keyframe_keeps_the_deltas_continuous() -> None:
    scene, frames = still_frames()
    skin = processor(scene)
    first = skin.process(block_of(frames[:60], scene.times[:60]))
    # A face that looks different enough to need new landmarks: upside down.
    turned = frames[:, ::-1]
    finder = skin._tracker._find_face
    assert isinstance(finder, ScriptedFinder)
    finder.warp = np.array([[1.0, 0, 0], [0, -1, HEIGHT - 1]])
    block = block_of(turned, scene.times)
    out = skin.process(block[60:])
    later = np.isfinite(out.column("nose_tip_delta_celsius"))
    assert later.any()
    for region in REGIONS:
        before = np.nanmean(first.column(f"{region}_delta_celsius")[-10:])
        assert abs(np.nanmean(out.column(f"{region}_delta_celsius")[later]) - before) < 0.03


def test_a_sudden_move_is_followed_without_new_landmarks() -> None:
    scene = Scene.still(8.0)
    scene.shift_px[40:] = (14, -9)
    finder = ScriptedFinder()
    skin = SkinTemperature(finder)
    out = skin.process(block_of(scene.frames(), scene.times))
    assert finder.calls == 1 and np.isfinite(out.column("nose_tip_celsius")[5:]).all()
    step = np.diff(out.column("cheek_left_celsius"))[39]
    assert abs(step) < 0.05


def test_named_rest_is_the_baseline() -> None:
    scene = Scene.still(12.0)
    scene.warming = {"cheek_left": 0.3 * (scene.times > 8)}
    finder = ScriptedFinder()
    skin = SkinTemperature(finder, rest=(104.0, 106.0))
    out = skin.process(block_of(scene.frames(), scene.times))
    delta = out.column("cheek_left_delta_celsius")
    assert np.isnan(delta[scene.times < 5.8]).all()
    truth = true_deltas(scene)["cheek_left"]
    assert np.abs(np.nanmean(delta[scene.times > 8.2]) - truth[-1]) < 0.03


def test_a_rest_without_frames_falls_back_to_the_first_stable_stretch() -> None:
    scene, frames = still_frames()
    skin = SkinTemperature(ScriptedFinder(), rest=(90.0, 95.0))
    out = skin.process(block_of(frames, scene.times))
    assert np.isfinite(out.column("nose_tip_delta_celsius")[-1])


def test_warming_muscles_and_a_cooling_nose_are_told_with_their_errors() -> None:
    scene = Scene.still(14.0)
    ramp = np.clip(scene.times - 7, 0, None)
    scene.warming = {"cheek_left": 0.06 * ramp, "nose_tip": -0.05 * ramp}
    out = processor(scene).process(block_of(scene.frames(), scene.times))
    truth = true_deltas(scene)
    warmings = {warming.region: warming for warming in muscle_warming(out)}
    zygomatic = warmings["cheek_left"]
    assert (zygomatic.muscle, zygomatic.side) == ("zygomaticus major", "left")
    slope = np.gradient(truth["cheek_left"], scene.times)[-1]
    assert abs(zygomatic.speed_celsius_per_s - slope) < max(3 * zygomatic.speed_se, 0.01)
    assert abs(zygomatic.intensity_celsius - truth["cheek_left"][-1]) < max(3 * zygomatic.intensity_se, 0.02)
    assert abs(warmings["cheek_right"].speed_celsius_per_s) < 0.01
    assert "forehead" not in warmings
    arousal, se = out.column("arousal"), out.column("arousal_se")
    assert abs(arousal[int(6.5 * RATE_HZ)]) < 0.25 and arousal[-1] > 0.5 and 0 < se[-1] < 0.2


def test_restart_and_long_pauses_begin_anew() -> None:
    scene, frames = still_frames()
    skin = processor(scene)
    skin.process(block_of(frames[:60], scene.times[:60]))
    again = skin.process(block_of(frames[:60], scene.times[:60]))
    fresh = processor(scene).process(block_of(frames[:60], scene.times[:60]))
    np.testing.assert_array_equal(again.array, fresh.array)
    late = skin.process(block_of(frames[:10], scene.times[:10] + 100, first=60))
    assert late.column("reason")[0] == Reason.START_UP


def test_streams_without_temperatures_are_refused() -> None:
    skin = SkinTemperature(ScriptedFinder())
    emg = StreamSpec("EMG", Kind.EMG, (Channel("ZYG_L"),), 1000.0, SampleType.FLOAT32, "emg")
    with pytest.raises(InvalidSignal, match="kind Thermal"):
        skin.spec_for(emg)
    with pytest.raises(InvalidSignal, match="no temperatures"):
        skin.spec_for(thermal_spec(radiometric="false"))


def test_a_foreign_stream_without_extra_columns_is_accepted() -> None:
    scene, frames = still_frames()
    spec = thermal_spec()
    bare = StreamSpec("Optris", Kind.THERMAL, (), 0.0, SampleType.INT16, "optris", spec.frame)
    block = Block(bare, scene.times[:60], frames[:60].reshape(60, -1), 0)
    out = processor(scene).process(block)
    assert np.isfinite(out.column("nose_tip_delta_celsius")[-1])


def test_large_cameras_are_tracked_reduced_and_as_exactly() -> None:
    celsius, mesh, _ = portrait()
    fine = mesh * FINE + (FINE - 1) / 2

    def find(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        assert rgb.shape == (HEIGHT * FINE, WIDTH * FINE, 3)
        return fine

    tracker = FaceTracker(find)
    rng = np.random.default_rng(2)
    first = tracker.follow(celsius + rng.normal(0, 0.05, celsius.shape).astype(np.float32), 0.0)
    assert first is not None and first.renewed and first.keyframe.reduction >= 2
    true = np.array([[1.01, 0.02, 5.3], [-0.02, 0.99, -7.7]])
    moved = cv2.warpAffine(celsius, true, celsius.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    found = tracker.follow(moved + rng.normal(0, 0.05, celsius.shape).astype(np.float32), 0.1)
    assert found is not None and not found.renewed
    error = (fine @ (found.placement.warp - true)[:, :2].T) + (found.placement.warp - true)[:, 2]
    assert np.abs(error).max() < 0.4
