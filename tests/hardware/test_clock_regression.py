"""Even stamps out of uneven arrivals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hardware.clock_regression import ClockRegression

TRUE_HZ = 250.33


def cyton_like_arrivals(counts: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Host polls every 6-8 ms with pauses up to 35 ms; samples arrive in the first poll after their time."""
    rng = np.random.default_rng(seed)
    polls = np.cumsum(rng.choice([0.001, 0.006, 0.007, 0.008], 2 * len(counts), p=[0.2, 0.25, 0.3, 0.25]))
    polls = polls[rng.random(len(polls)) > 0.02]
    return polls[np.searchsorted(polls, counts / TRUE_HZ + 0.003)]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), chunk=st.sampled_from([1, 7, 50, 1000]))
def test_rate_and_stamps_are_recovered_within_a_millisecond(seed: int, chunk: int) -> None:
    counts = np.arange(15_000)
    arrivals = cyton_like_arrivals(counts, seed)
    steps = np.diff(arrivals)
    assert (steps == 0).mean() > 0.25 and steps.max() > 0.012
    regression = ClockRegression(250.0)
    pieces = [
        regression.update(counts[i : i + chunk], arrivals[i : i + chunk]) for i in range(0, 15_000, chunk)
    ]
    stamps = np.concatenate(pieces)
    assert (np.diff(stamps) > 0).all()
    error = stamps - counts / TRUE_HZ
    settled = error[750:]
    assert np.abs(settled - settled.mean()).max() < 1e-3
    assert 0.002 < settled.mean() < 0.006, "the shortest delay is all that is left"
    assert regression.rate_hz == pytest.approx(TRUE_HZ, abs=0.005)
    assert 0 < regression.rate_standard_error_hz < 0.005


def test_lost_samples_leave_the_line_alone() -> None:
    counts = np.arange(20_000)
    arrivals = cyton_like_arrivals(counts, 3)
    keep = (counts < 8000) | (counts > 9000)
    stamps = ClockRegression(250.0).update(counts[keep], arrivals[keep])
    error = (stamps - counts[keep] / TRUE_HZ)[2000:]
    assert np.ptp(error) < 1e-3


def test_a_rate_far_from_nominal_is_followed_and_nothing_is_nothing() -> None:
    counts = np.arange(5000)
    regression = ClockRegression(1000.0)
    assert len(regression.update(counts[:0], np.empty(0))) == 0 and regression.samples == 0
    regression.update(counts, 5.0 + counts / 980.0)
    assert regression.rate_hz == pytest.approx(980.0, rel=1e-3)
    with pytest.raises(ValueError, match="positive"):
        ClockRegression(0.0)
