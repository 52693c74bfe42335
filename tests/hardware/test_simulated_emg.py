"""The simulated amplifier: bit-equal however it is read, with the spectrum and the timing of muscles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import welch

from acquisition.clock import ManualClock
from acquisition.stream import EndOfStream
from hardware.simulated import Scenario, ScriptedEvent, SimulatedEmg


def source(scenario: Scenario, clock: ManualClock | None = None, **options: Any) -> SimulatedEmg:
    clock = clock or ManualClock(10.0)
    return SimulatedEmg(scenario, clock=clock, sleep=clock.sleep, start_s=10.0, **options)


STILL = Scenario(0, 40.0, (), sway_px=0.0)
CLEAN = {"mains_uv": 0.0, "drift_uv": 0.0}


def test_samples_come_on_time_in_chunks_of_ten_milliseconds() -> None:
    with source(Scenario.demo(1, 20.0)) as emg:
        blocks = [emg.read(1.0) for _ in range(250)]
    assert {len(b) for b in blocks} == {10}
    assert [b.first for b in blocks] == list(range(0, 2500, 10))
    stamps = np.concatenate([b.timestamps for b in blocks])
    np.testing.assert_allclose(stamps, 10.0 + np.arange(2500) / 1000.0)
    assert blocks[0].array.dtype == np.float32
    assert blocks[0].spec.labels == ("ZYG_L", "ZYG_R", "COR_L", "COR_R")


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 900), min_size=1, max_size=6),
    rate_hz=st.sampled_from([250.0, 250.33, 1000.0, 2000.0]),
)
def test_any_chunking_gives_the_same_samples(lengths: list[int], rate_hz: float) -> None:
    scenario = Scenario.demo(2, 20.0)
    whole = source(scenario, rate_hz=rate_hz).samples(0, sum(lengths))
    reader = source(scenario, rate_hz=rate_hz)
    ends = np.cumsum(lengths)
    parts = [reader.samples(int(end - n), n) for end, n in zip(ends, lengths, strict=True)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_a_late_reader_gets_everything() -> None:
    clock = ManualClock(10.0)
    with source(Scenario.demo(2, 20.0), clock) as emg:
        clock.now_s = 10.537
        block = emg.read(0.0)
        assert (block.first, len(block)) == (0, 530)
        assert len(emg.read(0.001)) == 0
        assert emg.read(0.1).first == 530


def test_the_stream_ends_with_the_scenario() -> None:
    total = 0
    with source(Scenario.neutral(1, 3.0), loop=False) as emg, pytest.raises(EndOfStream):
        while True:
            total += len(emg.read(1.0))
    assert total == 3000


def test_resting_noise_has_the_level_and_spectrum_of_surface_emg() -> None:
    signal = source(STILL, **CLEAN).samples(0, 30000).astype(np.float64)
    assert np.all((signal.std(axis=0) > 1.4) & (signal.std(axis=0) < 2.1))
    assert np.abs(np.corrcoef(signal.T) - np.eye(4)).max() < 0.05
    frequency, power = welch(signal[:, 0], 1000.0, nperseg=1024)
    total = power.sum()
    assert power[(frequency > 20) & (frequency < 450)].sum() / total > 0.97
    assert power[frequency < 12].sum() / total < 0.01
    median = frequency[np.searchsorted(np.cumsum(power) / total, 0.5)]
    assert 60 < median < 160
    # No seam where one-second blocks meet.
    square = signal[:, 0].reshape(-1, 1000) ** 2
    edge = np.concatenate([square[:, :20], square[:, -20:]], axis=1).mean()
    assert edge == pytest.approx(square.mean(), rel=0.15)


def test_mains_and_drift_are_there() -> None:
    signal = source(STILL, mains_uv=5.0, mains_hz=60.0).samples(0, 20000).astype(np.float64)
    frequency, power = welch(signal[:, 2], 1000.0, nperseg=2000)
    line = power[np.argmin(abs(frequency - 60.0))]
    assert line > 20 * power[np.argmin(abs(frequency - 66.0))]
    smooth = signal.reshape(-1, 500, 4).mean(axis=1)
    assert np.all(np.ptp(smooth, axis=0) > 5.0)


def envelope(signal: NDArray[Any], window: int = 40) -> NDArray[np.float64]:
    square = signal.astype(np.float64) ** 2
    return np.sqrt(np.convolve(square, np.ones(window) / window, mode="same"))


def test_the_burst_leads_the_movement() -> None:
    events = tuple(
        ScriptedEvent(f"m{i}", "micro_expression", 2.0 + i, 2.15 + i, 2.15 + i, 2.35 + i, {4: 1.0}).scaled_to(
            2.5
        )
        for i in range(30)
    )
    scenario = Scenario(0, 40.0, events, sway_px=0.0)
    signal = source(scenario, lead_s=0.06, **CLEAN).samples(0, 40000)
    square = sum(
        (signal[2000 + 1000 * i - 400 : 2000 + 1000 * i + 600, 2].astype(float) ** 2) for i in range(30)
    )
    level = np.sqrt(np.convolve(square / 30, np.ones(30) / 30, mode="same"))
    skin = scenario.activations_at(np.arange(1.6, 2.6, 0.001))[:, 2, 0]
    skin /= skin.max()
    muscle = np.sqrt(np.maximum(level**2 - level[:150].mean() ** 2, 0))
    muscle /= muscle.max()
    lags = np.arange(0, 150)
    match = [np.dot(muscle[:800], skin[lag : 800 + lag]) for lag in lags]
    assert lags[int(np.argmax(match))] == pytest.approx(60, abs=15)


def test_bursts_scale_with_the_movement_and_keep_their_side() -> None:
    def burst(amplitude_px: float, **units: float) -> NDArray[np.float64]:
        event = ScriptedEvent(
            "m",
            "macro_expression",
            5.0,
            6.0,
            9.0,
            10.0,
            {int(k[2:]): v for k, v in units.items()},
            side="left",
        ).scaled_to(amplitude_px)
        signal = source(Scenario(0, 12.0, (event,), sway_px=0.0), **CLEAN).samples(6000, 3000)
        return np.asarray(signal.astype(np.float64).std(axis=0))

    small, large = burst(2.0, au12=1.0), burst(8.0, au12=1.0)
    assert 5 < small[0] < 20 and small[1] < 2.5
    assert large[0] == pytest.approx(4 * small[0], rel=0.15)
    frown = burst(2.0, au4=1.0)
    assert 5 < frown[2] < 20 and frown[3] < 2.5 and frown[0] < 3.0


def test_blinks_reach_the_corrugator_channels() -> None:
    blink = ScriptedEvent("b", "blink", 5.0, 5.1, 5.12, 5.3, {45: 1.0})
    signal = source(Scenario(0, 8.0, (blink,), sway_px=0.0), **CLEAN).samples(0, 8000)
    level = envelope(signal[:, 2])
    assert level[4990:5100].max() > 3 * np.median(level)
    assert envelope(signal[:, 0])[4990:5100].max() < 2.5 * np.median(envelope(signal[:, 0]))


def test_rates_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="200-4000"):
        source(STILL, rate_hz=100.0)
