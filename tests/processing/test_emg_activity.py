"""Muscle activity: bit-equal under any chunking, true to gaps, baselines that follow and stand still."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from acquisition.stream import (
    Block,
    Channel,
    InvalidSignal,
    Kind,
    Processor,
    SampleType,
    StreamSpec,
    empty_block,
)
from processing.emg import Baseline, EmgSettings, MuscleActivity
from processing.findings import Burst

LABELS = ("ZYG_L", "COR_R")


def emg_spec(
    rate_hz: float = 1000.0, labels: tuple[str, ...] = LABELS, unit: str = "microvolts"
) -> StreamSpec:
    channels = tuple(Channel(label, unit, "EMG") for label in labels)
    return StreamSpec("emg", Kind.EMG, channels, rate_hz, SampleType.FLOAT32, "test")


def block_of(spec: StreamSpec, x: NDArray[np.float64], first: int = 0) -> Block:
    stamps = 100.0 + (first + np.arange(len(x))) / spec.rate_hz
    return Block(spec, stamps, x.astype(np.float32), first)


def noise(
    seconds: float, rate_hz: float = 1000.0, channels: int = 2, uv: float = 3.0, seed: int = 1
) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, uv, (round(seconds * rate_hz), channels))


def burst_at(
    x: NDArray[np.float64], start_s: float, stop_s: float, factor: float = 5.0, channel: int = 0
) -> None:
    x[round(start_s * 1000) : round(stop_s * 1000), channel] *= factor


@settings(max_examples=20, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 6000), max_size=12),
    rate_hz=st.one_of(st.sampled_from([200.0, 250.33, 1000.0, 2048.0]), st.floats(200.0, 4000.0)),
    channels=st.integers(1, 6),
    mains=st.sampled_from([0.0, 10.0]),
    gap=st.integers(0, 3),
    nan_at=st.integers(0, 5000),
)
def test_any_chunking_gives_the_same_bits(
    cuts: list[int], rate_hz: float, channels: int, mains: float, gap: int, nan_at: int
) -> None:
    spec = emg_spec(rate_hz, tuple(f"M{c}_L" for c in range(channels)))
    x = noise(6000 / rate_hz, rate_hz, channels)
    n = len(x)
    x[3 * n // 4 : 3 * n // 4 + n // 20] *= 6
    x += mains * np.sin(2 * np.pi * 50 * np.arange(n) / rate_hz)[:, None]
    x[nan_at : nan_at + 3, -1] = np.nan
    hole = n // 2
    shift = gap * 97

    def feed(edges: list[int]) -> tuple[NDArray[np.float32], NDArray[np.float64], list[Burst]]:
        processor = MuscleActivity()
        rows, stamps, bursts = [], [], []
        for a, b in pairwise(edges):
            out = processor.process(block_of(spec, x[a:b], a + (shift if a >= hole else 0)))
            rows.append(out.array)
            stamps.append(out.timestamps)
            bursts += processor.take_bursts()
        return np.concatenate(rows), np.concatenate(stamps), bursts

    whole = feed([0, hole, n])
    pieces = feed(sorted([0, hole, n, *(min(cut, n) for cut in cuts)]))
    assert np.array_equal(whole[0], pieces[0], equal_nan=True)
    assert np.array_equal(whole[1], pieces[1])
    assert sorted(map(repr, whole[2])) == sorted(map(repr, pieces[2]))


def test_single_samples_and_empty_blocks_give_the_same_bits() -> None:
    spec = emg_spec()
    x = noise(3.0)
    burst_at(x, 2.5, 2.7)
    whole = MuscleActivity().process(block_of(spec, x))
    one = MuscleActivity()
    out = []
    for i in range(len(x)):
        out.append(one.process(block_of(spec, x[i : i + 1], i)))
        if i % 500 == 0:
            assert len(one.process(empty_block(spec, i + 1))) == 0
    assert np.array_equal(np.concatenate([b.array for b in out]), whole.array, equal_nan=True)
    assert [b.first for b in out if len(b)] == list(range(300))
    assert whole.array.shape == (300, 14) and whole.spec.rate_hz == 100.0


@pytest.mark.parametrize("rate_hz", [333.0, 1000.0])
@pytest.mark.parametrize("mains_hz", [None, 50.0])
def test_mains_learnt_anew_after_a_gap_are_the_same_bits_under_any_chunking(
    rate_hz: float, mains_hz: float | None
) -> None:
    spec = emg_spec(rate_hz)
    n = round(6 * rate_hz)
    x = noise(6.0, rate_hz) + 20 * np.sin(2 * np.pi * 50.1 * np.arange(n) / rate_hz)[:, None]
    x[n // 3 : n // 3 + 7, 0] = np.nan
    # Not at the beginning of a slot, so that warming up ends inside of one.
    stop, start = round(0.6 * n) + 3, round(0.7 * n) + 1

    def feed(size: int) -> NDArray[np.float32]:
        processor = MuscleActivity(EmgSettings(mains_hz=mains_hz))
        rows = []
        for begin, end in ((0, stop), (start, n)):
            for a in range(begin, end, size):
                rows.append(processor.process(block_of(spec, x[a : min(a + size, end)], a)).array)
        return np.concatenate(rows)

    whole = feed(n)
    for size in (1, 7):
        assert np.array_equal(feed(size), whole, equal_nan=True)


def test_it_is_a_processor_that_leaves_its_input_alone() -> None:
    spec = emg_spec()
    processor = MuscleActivity()
    assert isinstance(processor, Processor)
    assert processor.take_bursts() == [] and processor.quality_words() == {} and processor.baselines() == {}
    x = noise(3.0).astype(np.float32)
    before = x.copy()
    first = processor.process(Block(spec, np.arange(3000) / 1000, x, 0))
    assert np.array_equal(x, before)
    processor.reset()
    again = processor.process(Block(pickle.loads(pickle.dumps(spec)), np.arange(3000) / 1000, x, 0))
    assert np.array_equal(first.array, again.array, equal_nan=True)


def test_bursts_are_found_and_back_dated() -> None:
    x = noise(20.0)
    burst_at(x, 5.0, 5.5)
    burst_at(x, 9.0, 9.06, channel=1)
    burst_at(x, 12.0, 13.5, factor=2.0)
    processor = MuscleActivity()
    out = processor.process(block_of(emg_spec(), x))
    found = sorted(processor.take_bursts(), key=lambda burst: burst.onset_s)
    assert [burst.channel for burst in found] == ["ZYG_L", "COR_R", "ZYG_L"]
    for burst, (onset, offset) in zip(found, [(105.0, 105.5), (109.0, 109.06), (112.0, 113.5)], strict=True):
        assert burst.onset_s == pytest.approx(onset, abs=0.02)
        assert burst.offset_s == pytest.approx(offset, abs=0.03)
        assert burst.onset_s <= burst.peak_s <= burst.offset_s < burst.found_s
        assert burst.peak_z > burst.mean_z > 1.5 and burst.quality > 0.9
    assert processor.take_bursts() == []
    flag = out.column("ZYG_L_burst")
    rise = out.timestamps[1:][np.diff(flag) > 0]
    assert rise == pytest.approx([105.0, 112.0], abs=0.06), "the flag decides within 60 ms"


def test_rest_has_z_about_zero_and_no_bursts_from_the_very_start() -> None:
    for seed in range(5):
        processor = MuscleActivity()
        out = processor.process(block_of(emg_spec(), noise(30.0, seed=seed)))
        assert processor.take_bursts() == []
        z = out.column("ZYG_L_z")[1000:]
        assert abs(z.mean()) < 0.3 and 0.7 < z.std() < 1.4
        assert np.isnan(out.column("ZYG_L_z")[:100]).all() and np.isfinite(out.column("ZYG_L_z")[250:]).all()
        assert np.isnan(out.column("ZYG_L_mvc")).all()
        assert (out.column("ZYG_L_quality")[300:] > 0.95).all()


def test_a_person_who_begins_active_is_measured_against_rest_all_the_same() -> None:
    x = noise(20.0)
    burst_at(x, 0.0, 4.0)
    burst_at(x, 12.0, 12.5)
    processor = MuscleActivity()
    processor.process(block_of(emg_spec(), x))
    (burst,) = processor.take_bursts()
    assert burst.onset_s == pytest.approx(112.0, abs=0.02) and burst.peak_z > 6


def test_the_baseline_stands_still_in_activity_and_gives_in_to_lasting_noise() -> None:
    x = noise(60.0)
    burst_at(x, 10.0, 20.0)
    burst_at(x, 30.0, 60.0, factor=2.0, channel=1)
    processor = MuscleActivity(EmgSettings(longest_s=15.0))
    out = processor.process(block_of(emg_spec(), x))
    z = out.column("ZYG_L_z")
    assert z[1100:1950].min() > 3.0
    assert abs(np.median(z[2200:2600])) < 0.5
    assert abs(np.median(out.column("COR_R_z")[5000:])) < 0.7, "noise that stays is the new rest"


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_mains_is_found_taken_out_and_reported(mains_hz: float) -> None:
    n = 20_000
    hum = 10 * np.sin(2 * np.pi * (mains_hz + 0.03) * np.arange(n) / 1000)
    x = noise(20.0)
    burst_at(x, 8.0, 8.2)
    x[:, 0] += hum
    processor = MuscleActivity()
    out = processor.process(block_of(emg_spec(), x))
    assert processor.mains_hz() == mains_hz
    (burst,) = processor.take_bursts()
    assert burst.onset_s == pytest.approx(108.0, abs=0.03)
    assert processor.quality()["ZYG_L"].line_ratio > 0.8 > 0.2 > processor.quality()["COR_R"].line_ratio
    zygomaticus, corrugator = (np.median(out.column(f"{c}_envelope_uv")) for c in LABELS)
    assert zygomaticus == pytest.approx(corrugator, rel=0.1)
    assert processor.quality_words()["ZYG_L"].startswith(f"zygomaticus left: {mains_hz:.0f} Hz at")


def test_mains_that_comes_later_is_no_burst() -> None:
    x = noise(20.0)
    x[10_000:, 0] += 10 * np.sin(2 * np.pi * 50 * np.arange(10_000) / 1000)
    processor = MuscleActivity()
    processor.process(block_of(emg_spec(), x))
    assert processor.mains_hz() == 50.0 and processor.take_bursts() == []


def test_a_gap_is_held_flagged_and_rewarmed_and_keeps_the_baseline() -> None:
    spec = emg_spec()
    x = noise(20.0)
    x += 40_000.0  # electrode offset
    processor = MuscleActivity()
    before = processor.process(block_of(spec, x[:10_000]))
    after = processor.process(block_of(spec, x[12_000:], 12_000))
    assert before.end == 1000 and after.first == 1200, "the gap shows in the output"
    quality = after.column("COR_R_quality")
    assert (quality[:29] == 0).all() and (quality[31:] > 0.5).all()
    envelope = after.column("COR_R_envelope_uv")
    assert (envelope[:29] == before.column("COR_R_envelope_uv")[-1]).all(), "held"
    assert envelope[30:].max() < 8.0, "no step response"
    assert np.isfinite(after.column("COR_R_z")).all()
    assert processor.take_bursts() == []


def test_missing_values_and_dead_channels_spoil_only_their_channel() -> None:
    x = noise(20.0)
    x[8000:8050, 0] = np.nan
    x[15_000:, 0] = 0.0
    processor = MuscleActivity()
    out = processor.process(block_of(emg_spec(), x))
    quality = out.column("ZYG_L_quality")
    assert (quality[802:834] == 0).all() and (quality[840:1500] > 0.5).all() and (quality[1525:] == 0).all()
    assert (out.column("COR_R_quality")[300:] > 0.95).all()
    assert np.isfinite(out.column("ZYG_L_envelope_uv")[31:]).all()
    assert processor.take_bursts() == []
    assert "no signal" in processor.quality_words()["ZYG_L"]


def test_starting_up_is_settling_and_no_loss() -> None:
    x = noise(4.0)
    x[3500:3600, 0] = np.nan
    spec = emg_spec()
    processor = MuscleActivity()
    processor.process(block_of(spec, x[:1200]))
    assert "settling" in processor.quality_words()["ZYG_L"]
    processor.process(block_of(spec, x[1200:3500], 1200))
    assert processor.quality_words()["ZYG_L"] == "zygomaticus left: good"
    processor.process(block_of(spec, x[3500:], 3500))
    assert "missing" in processor.quality_words()["ZYG_L"]
    assert "missing" not in processor.quality_words()["COR_R"]


def test_a_burst_cut_by_a_gap_ends_there_with_half_its_quality() -> None:
    x = noise(10.0)
    burst_at(x, 5.0, 6.0)
    x[5500:5600] = np.nan
    processor = MuscleActivity()
    processor.process(block_of(emg_spec(), x))
    first = min(processor.take_bursts(), key=lambda burst: burst.onset_s)
    assert first.offset_s == pytest.approx(105.5, abs=0.01) and first.quality < 0.6


def test_a_click_is_not_a_burst() -> None:
    x = noise(20.0)
    for at, height_uv in ((4000, 60.0), (6000, -400.0), (9000, 2000.0), (12_000, 30_000.0)):
        x[at, 0] += height_uv
        x[at + 1000 : at + 1003, 0] += height_uv / 3
    burst_at(x, 15.0, 15.04, factor=10.0)
    processor = MuscleActivity()
    processor.process(block_of(emg_spec(), x))
    (burst,) = processor.take_bursts()
    assert burst.onset_s == pytest.approx(115.0, abs=0.02), "a burst may be as short as 40 ms"


def test_promised_rest_makes_the_baseline() -> None:
    x = noise(30.0)
    burst_at(x, 0.0, 6.0, factor=3.0)
    processor = MuscleActivity(rest=(106.0, 116.0))
    processor.process(block_of(emg_spec(), x))
    baseline = processor.baselines()["ZYG_L"]
    assert math.sqrt(baseline.power_uv2) == pytest.approx(processor.quality()["COR_R"].baseline_uv, rel=0.05)
    assert baseline.has_rest and math.isnan(baseline.mvc_uv)


def test_a_calibration_serves_the_next_session_from_its_start() -> None:
    processor = MuscleActivity()
    processor.process(block_of(emg_spec(), noise(20.0)))
    known = {label: Baseline(**{**vars(b), "mvc_uv": 50.0}) for label, b in processor.baselines().items()}
    x = noise(4.0, seed=2)
    burst_at(x, 1.5, 2.0)
    processor = MuscleActivity(calibration=known)
    out = processor.process(block_of(emg_spec(), x))
    (burst,) = processor.take_bursts()
    assert burst.onset_s == pytest.approx(101.5, abs=0.02)
    np.testing.assert_allclose(out.column("ZYG_L_mvc"), 2 * out.column("ZYG_L_envelope_uv"), rtol=1e-5)
    assert processor.baselines()["COR_R"].mvc_uv == 50.0
    assert 20 < processor.quality()["COR_R"].snr_db < 30


def test_many_channels_at_a_high_rate() -> None:
    labels = tuple(f"M{i}_L" for i in range(16))
    spec = emg_spec(4000.0, labels)
    x = noise(4.0, 4000.0, 16)
    x[12_000:13_000, 7] *= 5
    processor = MuscleActivity()
    out = processor.process(block_of(spec, x))
    assert out.array.shape == (400, 112)
    assert [burst.channel for burst in processor.take_bursts()] == ["M7_L"]


def test_what_is_not_emg_in_microvolts_is_refused() -> None:
    with pytest.raises(InvalidSignal, match="millivolts"):
        MuscleActivity().spec_for(emg_spec(unit="millivolts"))
    with pytest.raises(InvalidSignal, match="state its true rate"):
        MuscleActivity().process(block_of(emg_spec(100.0), noise(1.0, 100.0)))
    camera = StreamSpec("m", Kind.MARKERS, (Channel("marker"),), 0.0, SampleType.STRING, "m")
    with pytest.raises(InvalidSignal, match="type EMG"):
        MuscleActivity().spec_for(camera)
    with pytest.raises(ValueError, match="mains_hz"):
        MuscleActivity(EmgSettings(mains_hz=55.0)).process(block_of(emg_spec(), noise(1.0)))
