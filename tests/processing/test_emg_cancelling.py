"""Mains are taken out and nothing else: by amplitude, phase and frequency, at any rate, around bursts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from processing.emg import EmgSettings, MuscleActivity

UV = 3.0
"""Noise at rest (RMS)."""


def spec_at(rate_hz: float, labels: tuple[str, ...] = ("ZYG_L",)) -> StreamSpec:
    channels = tuple(Channel(label, "microvolts", "EMG") for label in labels)
    return StreamSpec("emg", Kind.EMG, channels, rate_hz, SampleType.FLOAT64, "test")


def rest(seconds: float, rate_hz: float, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, UV, round(seconds * rate_hz))


def hum(n: int, rate_hz: float, mains_hz: float, uv: float = 30.0) -> NDArray[np.float64]:
    """Mains with a third and a fifth harmonic, where the rate carries them."""
    phase = 2 * np.pi * mains_hz * np.arange(n) / rate_hz + 1.0
    shares = {order: share for order, share in ((1, 1.0), (3, 0.3), (5, 0.1)) if order * 60 < 0.4 * rate_hz}
    return uv * sum((share * np.sin(order * phase) for order, share in shares.items()), np.zeros(n))


def envelope(wave: NDArray[np.float64], rate_hz: float, settings: EmgSettings | None = None) -> Block:
    block = Block(spec_at(rate_hz), np.arange(len(wave)) / rate_hz, wave[:, None], 0)
    return MuscleActivity(settings).process(block)


@pytest.mark.parametrize("mains_hz", [49.8, 50.0, 50.2, 59.9])
@pytest.mark.parametrize("rate_hz", [200.0, 250.33, 512.0, 1000.0, 2048.0, 4000.0])
def test_what_is_left_is_the_signal_without_mains(rate_hz: float, mains_hz: float) -> None:
    quiet = rest(12.0, rate_hz)
    clean = envelope(quiet, rate_hz, EmgSettings(mains_hz=0.0)).column("ZYG_L_envelope_uv")[500:]
    noisy = envelope(quiet + hum(len(quiet), rate_hz, mains_hz), rate_hz).column("ZYG_L_envelope_uv")[500:]
    assert np.median(np.abs(noisy - clean)) < 0.1 * np.median(clean)
    assert np.mean(noisy) == pytest.approx(np.mean(clean), rel=0.05)


def test_nothing_is_taken_from_a_signal_without_mains() -> None:
    quiet = rest(12.0, 1000.0)
    bare = envelope(quiet, 1000.0, EmgSettings(mains_hz=0.0)).column("ZYG_L_envelope_uv")[300:]
    told = envelope(quiet, 1000.0, EmgSettings(mains_hz=50.0)).column("ZYG_L_envelope_uv")[300:]
    assert np.sqrt(np.mean((told - bare) ** 2)) < 0.03 * np.mean(bare)


def test_nothing_rings_after_a_strong_burst() -> None:
    wave = rest(20.0, 1000.0)
    wave[10_000:11_000] *= 20.0
    quiet = envelope(wave, 1000.0, EmgSettings(mains_hz=0.0))
    noisy = envelope(wave + hum(len(wave), 1000.0, 50.02, 10.0), 1000.0)
    after = (quiet.timestamps > 11.1) & (quiet.timestamps < 11.6)
    clean, left = (block.column("ZYG_L_envelope_uv")[after] for block in (quiet, noisy))
    assert np.mean(left) == pytest.approx(np.mean(clean), rel=0.1)


def test_one_channel_that_starts_over_leaves_the_others_alone() -> None:
    n = 20_000
    both = np.column_stack([rest(20.0, 1000.0, seed) + hum(n, 1000.0, 50.1) for seed in (1, 2)])
    broken = both.copy()
    broken[12_000:12_010, 1] = np.nan
    spec = spec_at(1000.0, ("ZYG_L", "COR_L"))
    whole, cut = (
        MuscleActivity().process(Block(spec, np.arange(n) / 1000.0, x, 0)).column("ZYG_L_envelope_uv")
        for x in (both, broken)
    )
    assert np.abs(whole - cut).max() < 0.05 * np.median(whole)


def test_mains_that_swell_slowly_are_followed_and_are_no_burst() -> None:
    n = 60_000
    swell = 1.0 + 0.2 * np.sin(2 * np.pi * 0.2 * np.arange(n) / 1000.0)
    processor = MuscleActivity()
    wave = rest(60.0, 1000.0) + swell * hum(n, 1000.0, 50.05, 90.0)
    processor.process(Block(spec_at(1000.0), np.arange(n) / 1000.0, wave[:, None], 0))
    assert processor.take_bursts() == []
    assert processor.quality()["ZYG_L"].line_ratio > 0.99


def test_a_weak_hum_that_is_found_late_costs_no_pause() -> None:
    quiet = rest(40.0, 1000.0)
    weak = hum(len(quiet), 1000.0, 50.02, 2.0)
    weak[:5000] = 0.0
    clean = envelope(quiet, 1000.0, EmgSettings(mains_hz=0.0))
    noisy = envelope(quiet + weak, 1000.0)
    running = noisy.timestamps > 2.0
    assert (noisy.column("ZYG_L_quality")[running] > 0.0).all()
    late = noisy.timestamps > 30.0
    bare, left = (np.mean(block.column("ZYG_L_envelope_uv")[late]) for block in (clean, noisy))
    untouched = np.mean(
        envelope(quiet + weak, 1000.0, EmgSettings(mains_hz=0.0)).column("ZYG_L_envelope_uv")[late]
    )
    assert left == pytest.approx(bare, rel=0.02) and untouched > 1.05 * bare
