"""Every lost sample is counted, none is invented: gap logic against streams with known losses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.gaps import Numbering, SampleNumbers

RATE_HZ = 500.0


def numbers_of(numbering: Numbering) -> list[int]:
    """Running number of each kept sample."""
    return [run.first + i for run in numbering.runs for i in range(run.stop - run.start)]


def feed(
    tracker: SampleNumbers, stamps: np.ndarray, cuts: list[int], counter: np.ndarray | None = None
) -> tuple[list[int], int]:
    """Numbers of all kept samples and the count of dropped ones, the stream cut into chunks at `cuts`."""
    numbers: list[int] = []
    dropped = 0
    edges = [0, *sorted(cuts), len(stamps)]
    for start, stop in itertools.pairwise(edges):
        part = None if counter is None else counter[start:stop]
        numbering = tracker.number(stamps[start:stop], part)
        numbers += numbers_of(numbering)
        dropped += numbering.dropped
    return numbers, dropped


cut_points = st.lists(st.integers(0, 400), max_size=6)


@settings(max_examples=25, deadline=None)
@given(
    lost=st.lists(st.tuples(st.integers(1, 399), st.integers(1, 40)), max_size=5, unique_by=lambda x: x[0]),
    cuts=cut_points,
    jitter=st.floats(0, 0.2),
    rate_error=st.floats(-0.002, 0.002),  # boards advertise their measured rate
    seed=st.integers(0, 99),
)
def test_lost_samples_of_a_regular_stream_are_counted(lost, cuts, jitter, rate_error, seed):
    true = np.arange(400)
    for at, count in lost:
        true[at:] += count
    noise = np.random.default_rng(seed).uniform(-jitter, jitter, len(true))
    stamps = 100.0 + (true + noise) / (RATE_HZ * (1 + rate_error))
    numbers, dropped = feed(SampleNumbers(RATE_HZ), stamps, cuts)
    assert numbers == true.tolist()
    assert dropped == 0


@settings(max_examples=25, deadline=None)
@given(
    counter=st.lists(st.integers(1, 4), min_size=5, max_size=60), cuts=cut_points, start=st.integers(0, 40000)
)
def test_a_counter_is_the_number(counter, cuts, start):
    numbers = start + np.cumsum(counter)
    stamps = 5.0 + np.cumsum(counter) / 30
    cuts = [cut for cut in cuts if cut < len(stamps)]
    got, dropped = feed(SampleNumbers(30.0), stamps, cuts, numbers)
    assert (got, dropped) == (numbers.tolist(), 0)
    wrapped, _ = feed(SampleNumbers(0.0, counter_modulus=32768), stamps, cuts, numbers % 32768)
    assert np.diff(wrapped).tolist() == np.diff(numbers).tolist()


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.sampled_from([1.0, 1.0, 1.0, 0.0, -3.0, np.nan]), min_size=1, max_size=60),
    cuts=cut_points,
    regular=st.booleans(),
)
def test_disordered_stamps_are_dropped_and_counted(steps, cuts, regular):
    stamps = 10.0 + np.array([np.nan if s != s else s for s in steps]).cumsum() / RATE_HZ
    stamps = np.where(np.isnan(stamps), np.nan, stamps)
    tracker = SampleNumbers(RATE_HZ if regular else 0.0)
    cuts = [cut for cut in cuts if cut < len(stamps)]
    kept: list[float] = []
    dropped = 0
    edges = [0, *sorted(cuts), len(stamps)]
    for start, stop in itertools.pairwise(edges):
        chunk = stamps[start:stop]
        numbering = tracker.number(chunk)
        kept += (chunk if numbering.kept is None else chunk[numbering.kept]).tolist()
        dropped += numbering.dropped
    assert dropped + len(kept) == len(stamps)
    assert all(np.isfinite(kept)) and all(np.diff(kept) > 0)
    best = -np.inf
    expected = [s for s in stamps if s > best and (best := s) is not None]
    assert kept == expected


@settings(max_examples=15, deadline=None)
@given(cuts=cut_points, lost_at=st.integers(1, 399), lost=st.integers(1, 50))
def test_runs_cover_the_chunk_without_a_gap_inside(cuts, lost_at, lost):
    stamps = np.arange(400) / RATE_HZ
    stamps[lost_at:] += lost / RATE_HZ
    tracker = SampleNumbers(RATE_HZ)
    numbering = tracker.number(stamps)
    assert [(run.start, run.stop) for run in numbering.runs] == [(0, lost_at), (lost_at, 400)]
    assert [gap.lost for gap in numbering.gaps] == [lost]
    assert numbering.gaps[0].seconds == pytest.approx((lost + 1) / RATE_HZ)
    assert tracker.next_number == 400 + lost


def test_stamps_in_bursts_are_no_gaps():
    """A board that stamps at each USB packet: ten samples at once, then nothing for ten periods."""
    true = np.arange(2000)
    stamps = (true // 10 * 10 + 9) / 250 + (true % 10) * 1e-6
    numbers, _ = feed(SampleNumbers(250.0), stamps, [37, 512, 1003])
    assert numbers[0] == 0
    # The burst itself is learned from the first packets; after that nothing is lost.
    assert np.diff(numbers[20:]).max() == 1
    # ... and a packet that is lost shows.
    without = np.delete(true, slice(1500, 1510))
    stamps = (without // 10 * 10 + 9) / 250 + (without % 10) * 1e-6
    numbers, _ = feed(SampleNumbers(250.0), stamps, [])
    assert np.diff(numbers[20:]).max() == 11


def test_a_long_gap_is_counted_with_the_measured_rate():
    """Ten minutes at a rate 0.3 % off the nominal one, then 20 s missing."""
    rate_hz = 1000.0 * 1.003
    true = np.concatenate((np.arange(60_000), np.arange(80_000, 80_100)))
    numbers, _ = feed(SampleNumbers(1000.0), true / rate_hz, list(range(0, 60_000, 500)))
    assert abs((numbers[60_000] - numbers[59_999]) - 20_001) <= 3


def test_irregular_streams_count_on():
    tracker = SampleNumbers(0.0)
    assert numbers_of(tracker.number(np.array([1.0, 7.0, 7.1]))) == [0, 1, 2]
    assert numbers_of(tracker.number(np.array([100.0]))) == [3]
    assert tracker.number(np.empty(0)).runs == ()


def test_a_camera_that_slows_down_in_the_dark_is_not_one_long_gap():
    stamps = np.concatenate((np.arange(90) / 30, 3.0 + np.arange(60) / 15))
    tracker = SampleNumbers(30.0, variable_rate=True)
    gaps = [gap for start in range(0, 150, 5) for gap in tracker.number(stamps[start : start + 5]).gaps]
    assert 0 < len(gaps) <= 6  # until the new interval is known
    assert all(gap.stamp_s < 3.5 for gap in gaps)


@pytest.mark.parametrize("told", [True, False])
def test_a_counter_that_starts_again_goes_on_by_the_time(told):
    tracker = SampleNumbers(30.0)
    tracker.number(np.arange(100) / 30, np.arange(100))
    back = tracker.number(100 / 30 + 2.0 + np.arange(10) / 30, np.arange(10), restarted=told)
    assert numbers_of(back) == list(range(160, 170))
    assert back.gaps[0].lost == 60
    assert numbers_of(tracker.number(np.array([6.0]), np.array([10]))) == [170]


def test_a_short_count_after_a_known_restart_is_not_taken_for_a_small_loss():
    tracker = SampleNumbers(30.0)
    tracker.number(np.arange(6) / 30, np.arange(6))
    back = tracker.number(np.array([5 / 30 + 3.0]), np.array([7]), restarted=True)
    assert numbers_of(back) == [5 + 90]


def test_a_device_counter_that_goes_on_through_a_restart_is_believed():
    tracker = SampleNumbers(30.0)
    tracker.number(np.arange(6) / 30, 1000 + np.arange(6))
    back = tracker.number(np.array([5 / 30 + 3.0]), np.array([1005 + 88]), restarted=True)
    assert numbers_of(back) == [1005 + 88]


def test_thermal_counter_wraps_and_restarts():
    tracker = SampleNumbers(0.0, counter_modulus=32768)
    count = np.arange(32760, 32780) % 32768
    assert numbers_of(tracker.number(np.arange(20) / 9, count)) == list(range(32760, 32780))
    back = tracker.number(20 / 9 + 2.0 + np.arange(3) / 9, np.arange(3))
    assert numbers_of(back) == [32780 + 18, 32781 + 18, 32782 + 18]


def test_a_frame_sent_twice_is_dropped():
    tracker = SampleNumbers(30.0)
    twice = tracker.number(np.arange(5) / 30, np.array([3, 4, 4, 5, 6]))
    assert twice.dropped == 1
    assert numbers_of(twice) == [3, 4, 5, 6]
    assert tracker.number(np.array([1.0]), np.array([6])).dropped == 1
