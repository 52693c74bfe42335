"""Blinks leave the brow's channels, frowns stay; co-activation knows one muscle from two."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from processing.emg import MuscleActivity
from processing.emg_crosstalk import BlinkRemover, co_activation

LABELS = ("ZYG_L", "COR_L")
SPEC = StreamSpec(
    "emg", Kind.EMG, tuple(Channel(label, "microvolts", "EMG") for label in LABELS), 1000.0,
    SampleType.FLOAT64, "test",
)  # fmt: skip


def activity(x: NDArray[np.float64]) -> tuple[MuscleActivity, Block]:
    processor = MuscleActivity()
    return processor, processor.process(Block(SPEC, np.arange(len(x)) / 1000, x, 0))


def rest(seconds: float = 14.0) -> NDArray[np.float64]:
    return np.random.default_rng(8).normal(0, 2.5, (round(1000 * seconds), 2))


def test_a_blink_is_taken_out_of_the_brow_alone() -> None:
    x = rest()
    x[8000:8100] *= 4  # cross-talk of the lid's muscle on both channels
    _, out = activity(x)
    remover = BlinkRemover()
    halves = [remover.process(part, [(8.05, 8.3)]) for part in (out[:803], out[803:])]
    clean = np.concatenate([half.array for half in halves])
    raw, brow = out.column("COR_L_z"), clean[:, out.spec.index("COR_L_z")]
    assert raw[790:830].max() > 5 > 3 > brow[790:830].max()
    assert (
        clean[800:900, out.spec.index("COR_L_slow_z")].max() < out.column("COR_L_slow_z")[800:900].max() / 2
    )
    smile = out.spec.index("ZYG_L_z")
    assert np.array_equal(clean[:, smile], out.array[:, smile], equal_nan=True)
    assert np.array_equal(clean[:790], out.array[:790], equal_nan=True)


def test_a_frown_that_outlasts_the_blink_shows_again() -> None:
    x = rest()
    x[8000:10_000, 1] *= 6
    _, out = activity(x)
    clean = BlinkRemover().process(out, [(8.02, 8.2)])
    assert clean.column("COR_L_z")[810:829].max() < 3
    assert np.array_equal(clean.column("COR_L_z")[831:], out.column("COR_L_z")[831:])
    assert BlinkRemover().process(out, []) is out


def test_co_activation_needs_both_muscles() -> None:
    x = rest(24.0)
    x[5000:8000, 0] *= 5
    x[11_000:14_000, 1] *= 5
    x[17_000:20_000] *= 5
    _, out = activity(x)
    both = co_activation(out)["L"]
    assert set(co_activation(out)) == {"L"}
    at_rest, smile, frown, mixed = (both[k : k + 200] for k in (300, 580, 1180, 1780))
    assert np.nanmax(at_rest) < 0.2 and smile.max() < 0.2 and frown.max() < 0.2 and mixed.min() > 0.7


def test_fatigue_does_not_change_what_is_measured() -> None:
    """The spectrum of a tired muscle moves down by a third at the same force: envelope and bursts stay."""
    rng = np.random.default_rng(4)
    x = rest(24.0)
    for start, band_hz in ((6000, (60.0, 240.0)), (14_000, (40.0, 160.0))):
        wave = signal.sosfilt(
            signal.butter(2, band_hz, "bandpass", fs=1000, output="sos"), rng.normal(size=4000)
        )
        x[start : start + 3000, 0] += 20 * wave[1000:] / wave[1000:].std()
    processor, out = activity(x)
    fresh, tired = (np.mean(out.column("ZYG_L_envelope_uv")[k : k + 260]) for k in (620, 1420))
    assert tired == pytest.approx(fresh, rel=0.08)
    bursts = [burst for burst in processor.take_bursts() if burst.channel == "ZYG_L"]
    assert [burst.onset_s for burst in bursts] == pytest.approx([6.0, 14.0], abs=0.02)
    assert [burst.offset_s for burst in bursts] == pytest.approx([9.0, 17.0], abs=0.04)
