"""Co-activation knows one muscle from two, on raw EMG and on envelopes; fatigue changes nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from processing.emg import MuscleActivity
from processing.emg_coactivation import coactivation
from processing.envelope import EnvelopeActivity

LABELS = ("COR_L", "ZYG_R", "ZYG_L")


def spec_at(rate_hz: float) -> StreamSpec:
    channels = tuple(Channel(label, "microvolts", "EMG") for label in LABELS)
    return StreamSpec("emg", Kind.EMG, channels, rate_hz, SampleType.FLOAT64, "test")


def activity(x: NDArray[np.float64]) -> tuple[MuscleActivity, Block]:
    processor = MuscleActivity()
    return processor, processor.process(Block(spec_at(1000.0), np.arange(len(x)) / 1000, x, 0))


def rest(seconds: float = 24.0) -> NDArray[np.float64]:
    return np.random.default_rng(8).normal(0, 2.5, (round(1000 * seconds), 3))


def test_it_is_the_share_that_both_have() -> None:
    assert coactivation(6.0, 6.0) == 1.0
    assert coactivation(6.0, 4.0) == pytest.approx(2 / 3)
    assert coactivation(6.0, 1.0) == coactivation(0.0, 1.0) == 0.0
    assert math.isnan(coactivation(math.nan, 6.0)) and math.isnan(coactivation(0.0, math.nan))


def test_co_activation_needs_both_muscles_of_a_side() -> None:
    x = rest()
    x[5000:8000, 2] *= 5
    x[11_000:14_000, :2] *= 5
    x[17_000:20_000] *= 5
    _, out = activity(x)
    assert [label for label in out.spec.labels if label.startswith("coactivation")] == ["coactivation_L"]
    both = out.column("coactivation_L")
    assert np.isnan(both[:100]).all(), "not before there is a baseline"
    at_rest, smile, frown, mixed = (both[k : k + 200] for k in (300, 580, 1180, 1780))
    assert np.nanmax(at_rest) < 0.2 and smile.max() < 0.2 and frown.max() < 0.2 and mixed.min() > 0.7


def test_envelopes_have_it_too() -> None:
    x = np.abs(rest()[:2400])
    x[1000:1300, 2] *= 5
    x[1700:2000] *= 5
    out = EnvelopeActivity().process(Block(spec_at(100.0), np.arange(len(x)) / 100, x, 0))
    both = out.column("coactivation_L")
    assert np.isnan(both[:150]).all() and both[1100:1250].max() < 0.2 and both[1800:1950].min() > 0.5


def test_fatigue_does_not_change_what_is_measured() -> None:
    """The spectrum of a tired muscle moves down by a third at the same force: envelope and bursts stay."""
    rng = np.random.default_rng(4)
    x = rest()
    for start, band_hz in ((6000, (60.0, 240.0)), (14_000, (40.0, 160.0))):
        wave = signal.sosfilt(
            signal.butter(2, band_hz, "bandpass", fs=1000, output="sos"), rng.normal(size=4000)
        )
        x[start : start + 3000, 2] += 20 * wave[1000:] / wave[1000:].std()
    processor, out = activity(x)
    fresh, tired = (np.mean(out.column("ZYG_L_envelope_uv")[k : k + 260]) for k in (620, 1420))
    assert tired == pytest.approx(fresh, rel=0.08)
    bursts = [burst for burst in processor.take_bursts() if burst.channel == "ZYG_L"]
    assert [burst.onset_s for burst in bursts] == pytest.approx([6.0, 14.0], abs=0.02)
    assert [burst.offset_s for burst in bursts] == pytest.approx([9.0, 17.0], abs=0.04)


def test_blocks_without_a_row_are_legal() -> None:
    fast = EnvelopeActivity()
    x = np.abs(rest()[:3])
    blocks = [fast.process(Block(spec_at(400.0), np.array([i / 400]), x[i : i + 1], i)) for i in range(3)]
    assert [len(block) for block in blocks] == [1, 0, 0]
