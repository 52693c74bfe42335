"""EMG that comes rectified and averaged."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec
from processing.emg import Baseline
from processing.envelope import EnvelopeActivity, is_envelope


def spec(rate_hz: float = 100.0, unit: str = "microvolts") -> StreamSpec:
    channels = tuple(Channel(label, unit, "EMG") for label in ("ZYG_L", "COR_L"))
    metadata = {"signal": "envelope"}
    return StreamSpec("e", Kind.EMG, channels, rate_hz, SampleType.FLOAT32, "e", metadata=metadata)


def envelope(seconds: float, rate_hz: float = 100.0, offset_uv: float = 1.0, seed: int = 1) -> Block:
    """Log-normal rest with a threefold contraction of the first channel from 20 to 23 s."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    data = offset_uv * np.exp(rng.normal(0.0, 0.3, (len(times), 2)))
    data[(times >= 20.0) & (times < 23.0), 0] *= 3.0
    return Block(spec(rate_hz), times, data.astype(np.float32), 0)


def test_a_contraction_stands_out_whatever_the_scale() -> None:
    answers = []
    for scale in (1e-4, 10.0):  # millivolts that were taken for microvolts, say
        rows = EnvelopeActivity().process(envelope(30.0, offset_uv=scale))
        z = rows.column("ZYG_L_z")
        answers.append(z)
        assert np.nanmedian(z[2050:2290]) > 4.0
        assert abs(np.nanmedian(z[1000:1990])) < 0.5
        assert abs(np.nanmedian(z[2500:])) < 1.0  # the contraction has not become the baseline
        assert np.isnan(z[:150]).all()
        assert rows.column("ZYG_L_quality")[-1] == 1.0
        assert not rows.column("ZYG_L_burst").any()
    np.testing.assert_allclose(answers[0], answers[1], atol=2e-3)


@pytest.mark.parametrize("first", [0.0, 1e-4, 300.0])
def test_a_recordings_first_samples_do_not_decide_what_rest_is(first: float) -> None:
    block = envelope(30.0)
    data = block.array.copy()
    data[:20] = first
    z = EnvelopeActivity().process(Block(block.spec, block.timestamps, data, 0)).column("ZYG_L_z")
    assert abs(np.nanmedian(z[1000:1990])) < 0.7
    assert np.nanmedian(z[2050:2290]) > 3.0


@given(st.lists(st.integers(1, 400), max_size=8))
@settings(max_examples=15, deadline=None)
def test_any_chunks_give_the_same_bits(cuts: list[int]) -> None:
    block = envelope(4.0, 250.0)
    whole = EnvelopeActivity().process(block)
    piecewise = EnvelopeActivity()
    bounds = sorted({0, len(block), *(cut for cut in cuts if cut < len(block))})
    pieces = [piecewise.process(block[a:b]) for a, b in pairwise(bounds)]
    np.testing.assert_array_equal(whole.array, np.concatenate([each.array for each in pieces]))
    np.testing.assert_array_equal(whole.timestamps, np.concatenate([each.timestamps for each in pieces]))
    assert [each.first for each in pieces[1:]] == [each.end for each in pieces[:-1]]
    assert whole.spec.rate_hz <= 125.0


def test_missing_values_and_gaps_are_of_no_quality_and_forgotten() -> None:
    block = envelope(10.0)
    data = block.array.copy()
    data[500:520, 0] = np.nan
    rows = EnvelopeActivity().process(Block(block.spec, block.timestamps, data, 0))
    assert not rows.column("ZYG_L_quality")[500:520].any()
    assert np.isfinite(rows.column("ZYG_L_z")[520:]).all()
    processor = EnvelopeActivity()
    processor.process(block[:500])
    late = processor.process(Block(block.spec, block.timestamps[600:], block.array[600:], 600))
    assert abs(float(late.column("COR_L_z")[0])) < 4.0


def test_a_rest_block_teaches_the_baseline() -> None:
    # The person smiles most of the time: without a rest, smiling would look like rest.
    times = np.arange(6000) / 100.0
    data = np.where(times[:, None] < 10.0, 1.0, 4.0) * np.exp(
        np.random.default_rng(2).normal(0.0, 0.2, (6000, 2))
    )
    block = Block(spec(), times, data.astype(np.float32), 0)
    rested = EnvelopeActivity(rest=(0.0, 10.0)).process(block).column("ZYG_L_z")
    running = EnvelopeActivity().process(block).column("ZYG_L_z")
    assert rested[-500:].mean() > 4.0
    assert rested[-500:].mean() > running[-500:].mean()


def test_percent_of_maximum_needs_a_calibration() -> None:
    rows = EnvelopeActivity(calibration={"ZYG_L": Baseline(mvc_uv=10.0)}).process(envelope(5.0))
    assert 5.0 < float(rows.column("ZYG_L_mvc")[-1]) < 20.0
    assert math.isnan(float(rows.column("COR_L_mvc")[-1]))


def test_a_channel_that_never_speaks_is_said() -> None:
    block = envelope(5.0)
    data = block.array.copy()
    data[:, 1] = 0.0
    processor = EnvelopeActivity()
    rows = processor.process(Block(block.spec, block.timestamps, data, 0))
    assert processor.quality_words()["COR_L"] == "no signal: check the column"
    assert "no bursts" in processor.quality_words()["ZYG_L"]
    assert not rows.column("COR_L_quality").any()


def test_what_is_no_envelope_is_refused() -> None:
    assert is_envelope(spec())
    assert "no bursts" in _after(envelope(1.0)).quality_words()["ZYG_L"]
    for wrong in (spec(5.0), spec(unit="volts")):
        with pytest.raises(InvalidSignal):
            EnvelopeActivity().spec_for(wrong)


def _after(block: Block) -> EnvelopeActivity:
    processor = EnvelopeActivity()
    processor.process(block)
    return processor
