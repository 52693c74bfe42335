"""The filters do what they are named for, and the compiled chain is scipy's arithmetic at every rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec
from processing.emg import EmgSettings, MuscleActivity
from processing.emg_filters import band_sos, design

RATES_HZ = (200.0, 250.33, 256.0, 333.0, 500.0, 512.0, 1000.0, 1024.0, 1200.0, 2000.0, 2048.0, 4000.0)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_band_passes_facial_emg_and_stops_the_rest(rate_hz: float) -> None:
    filters = design(rate_hz)
    sos = band_sos(rate_hz, 20.0, filters.low_pass_hz)
    _, gain = signal.sosfreqz(sos, [2.0, 20.0, 60.0], fs=rate_hz)
    assert abs(gain[0]) < 2e-4
    assert abs(gain[1]) == pytest.approx(np.sqrt(0.5), rel=0.02)
    assert abs(gain[2]) > 0.8
    assert filters.low_pass_hz == min(450.0, 0.45 * rate_hz)
    assert 0 <= filters.delay_s < 0.01


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_envelopes_equal_a_scipy_chain(rate_hz: float) -> None:
    rng = np.random.default_rng(int(rate_hz))
    n = round(4 * rate_hz)
    x = 30_000.0 + rng.normal(0, 5, n) * (1 + 4 * (np.arange(n) > n // 2))
    spec = StreamSpec(
        "e", Kind.EMG, (Channel("COR_R", "microvolts", "EMG"),), rate_hz, SampleType.FLOAT64, "e"
    )
    stamps = np.arange(n) / rate_hz
    out = MuscleActivity(EmgSettings(mains_hz=0.0)).process(Block(spec, stamps, x[:, None], 0))

    top_hz = min(450.0, 0.45 * rate_hz)
    sos = band_sos(rate_hz, 20.0, top_hz)
    y, _ = signal.sosfilt(sos, x, zi=signal.sosfilt_zi(sos) * x[0])
    warm = 2 * round(0.15 * rate_hz)
    level = np.abs(y[warm // 2 - 1 : warm]).mean()
    at = np.searchsorted(stamps, out.timestamps)
    late = at >= warm
    assert np.array_equal(stamps[at], out.timestamps), "a row carries the stamp of an input sample"
    for column, edge_hz in (("COR_R_envelope_uv", 16.0), ("COR_R_slow_uv", 1.0 / 1.1107)):
        low = signal.butter(2, edge_hz, fs=rate_hz, output="sos")
        expected, _ = signal.sosfilt(low, np.abs(y[warm:]), zi=signal.sosfilt_zi(low) * level)
        np.testing.assert_allclose(out.column(column)[late], expected[at[late] - warm], rtol=2e-3)


def test_impossible_designs_are_refused() -> None:
    with pytest.raises(InvalidSignal, match="cannot be used"):
        design(100.0)
    with pytest.raises(ValueError, match="high_pass_hz"):
        design(1000.0, high_pass_hz=40.0)
