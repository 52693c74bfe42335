"""Numbering samples so that every lost one shows: from a frame counter where there is one, else from stamps.

Pure arithmetic on arrays, without clock or network. Nothing is invented: samples whose stamps do not
increase are left out and counted, and what was lost becomes a jump in the running number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WINDOW = 64
"""Stamps looked back on to learn how late a sample may come without anything being lost."""

_PRIOR_SAMPLES = 2000.0
"""Weight of the nominal period against the measured one, in samples."""

_RATE_TOLERANCE = 0.1
"""The measured period is believed within this fraction of the nominal one."""

_FRAME_WINDOW = 9
"""Frame intervals whose median is the present period of a camera (auto-exposure may halve its rate)."""


@dataclass(frozen=True)
class Run:
    """Consecutive samples without a gap: ``kept[start:stop]`` have the running numbers ``first`` and on."""

    start: int
    stop: int
    first: int


@dataclass(frozen=True)
class Gap:
    """Samples that are missing before ``kept[index]``.

    Attributes:
        index: Position of the first sample after the gap among the kept ones.
        lost: Number of missing samples.
        seconds: Time between the stamps on both sides.
        stamp_s: Stamp of the first sample after it.
    """

    index: int
    lost: int
    seconds: float
    stamp_s: float


@dataclass(frozen=True, eq=False)
class Numbering:
    """What `SampleNumbers.number` found in a chunk.

    Attributes:
        kept: Positions of the usable samples in the chunk, or None when all are.
        runs: The kept samples split at gaps.
        gaps: The gaps; none is longer ago than the chunk.
        dropped: Samples left out because their stamp was not later than the one before, or not a number.
    """

    kept: NDArray[np.intp] | None
    runs: tuple[Run, ...]
    gaps: tuple[Gap, ...]
    dropped: int


class SampleNumbers:
    """Gives each sample of a stream its running number, lost ones counted.

    With a counter the number is the counter itself, unwrapped, and carried on when the device restarts and
    counts from 0 again. Without one, a regular stream has a gap wherever a stamp comes more than half a
    period later than the latest time that the last `_WINDOW` stamps, the period and their jitter allow;
    for clean stamps that is an interval above 1.5 periods, and ``round(interval * rate) - 1`` are lost.
    Stamps that come in bursts (one per USB packet) are thus no gaps. An irregular stream counts on.
    """

    def __init__(
        self, rate_hz: float, *, counter_modulus: int | None = None, variable_rate: bool = False
    ) -> None:
        """Start at number 0, or at the first counter value.

        Args:
            rate_hz: Nominal rate; 0 for irregular streams.
            counter_modulus: The counter starts again at 0 when it reaches this; None: it never does.
            variable_rate: Frames of a camera, whose rate follows the light; the present interval counts.
        """
        self._rate_hz = rate_hz
        self._modulus = counter_modulus
        self._variable = variable_rate
        self._last_s = -np.inf
        self._next = 0
        self._counter: int | None = None
        self._tail: NDArray[np.float64] = np.empty(0)
        self._measured_s = 0.0
        self._measured_intervals = 0

    @property
    def next_number(self) -> int:
        """Running number of the next sample if nothing is lost."""
        return self._next

    @property
    def last_stamp_s(self) -> float:
        """Stamp of the last kept sample, -inf before the first."""
        return float(self._last_s)

    @property
    def period_s(self) -> float:
        """Present estimate of the sample period; NaN while nothing is known (irregular streams)."""
        if self._variable or not self._rate_hz:
            recent = np.diff(self._tail)
            measured = float(np.median(recent[-_FRAME_WINDOW:])) if len(recent) else np.nan
            if not self._rate_hz:
                return measured
            return max(1.0 / self._rate_hz, measured) if measured == measured else 1.0 / self._rate_hz
        nominal_s = 1.0 / self._rate_hz
        period_s = (_PRIOR_SAMPLES * nominal_s + self._measured_s) / (
            _PRIOR_SAMPLES + self._measured_intervals
        )
        low, high = nominal_s * (1 - _RATE_TOLERANCE), nominal_s * (1 + _RATE_TOLERANCE)
        return min(max(period_s, low), high)

    def number(
        self,
        stamps: NDArray[np.float64],
        counter: NDArray[np.int64] | None = None,
        *,
        restarted: bool = False,
    ) -> Numbering:
        """Number the next chunk.

        Args:
            stamps: Seconds [n].
            counter: Frame counter [n] of streams that carry one.
            restarted: The publisher is known to have restarted before this chunk, so its counter has too.
        """
        kept = self._increasing(stamps)
        dropped = 0
        if kept is not None:
            dropped = len(stamps) - len(kept)
            stamps = stamps[kept]
            counter = None if counter is None else counter[kept]
        if counter is not None and len(stamps):
            distinct = self._distinct(counter, restarted)
            if distinct is not None:
                dropped += len(stamps) - len(distinct)
                kept = distinct if kept is None else kept[distinct]
                stamps, counter = stamps[distinct], counter[distinct]
        if not len(stamps):
            return Numbering(kept, (), (), dropped)
        if counter is not None:
            gaps = self._gaps_by_counter(stamps, counter, restarted)
        elif self._rate_hz:
            gaps = self._gaps_by_stamps(stamps)
        else:
            gaps = ()
            self._tail = np.concatenate((self._tail, stamps))[-_WINDOW:]
        self._last_s = float(stamps[-1])
        return Numbering(kept, self._runs(len(stamps), gaps), gaps, dropped)

    def _increasing(self, stamps: NDArray[np.float64]) -> NDArray[np.intp] | None:
        """Positions of stamps later than all before; None when all are."""
        if not len(stamps):
            return None
        if stamps[0] > self._last_s and np.isfinite(stamps[-1]) and bool(np.all(stamps[1:] > stamps[:-1])):
            return None
        finite = np.where(np.isfinite(stamps), stamps, -np.inf)
        before = np.maximum.accumulate(np.concatenate(([self._last_s], finite)))[:-1]
        return np.flatnonzero(finite > before)

    def _distinct(self, counter: NDArray[np.int64], restarted: bool) -> NDArray[np.intp] | None:
        """Positions of frames that are not the frame before sent again; None when all are."""
        previous = counter[0] - 1 if self._counter is None or restarted else self._counter
        repeated = np.diff(counter, prepend=previous) == 0
        return np.flatnonzero(~repeated) if bool(repeated.any()) else None

    def _gaps_by_counter(
        self, stamps: NDArray[np.float64], counter: NDArray[np.int64], restarted: bool
    ) -> tuple[Gap, ...]:
        gaps = []
        if self._counter is None:
            self._next, self._counter = int(counter[0]), int(counter[0]) - 1
            restarted = False
        previous = np.concatenate(([self._counter], counter[:-1]))
        steps = counter - previous
        if self._modulus is not None:
            steps %= self._modulus
        suspects = np.flatnonzero(steps != 1)
        if restarted and (not len(suspects) or suspects[0] != 0):
            suspects = np.concatenate(([0], suspects)).astype(np.intp)
        done = 0
        for index in suspects.tolist():
            self._tail = np.concatenate((self._tail, stamps[done:index]))[-_WINDOW:]
            done = index
            before_s = float(stamps[index - 1]) if index else self._last_s
            seconds = float(stamps[index]) - before_s
            lost = int(steps[index]) - 1
            if (restarted and index == 0) or self._has_restarted(int(steps[index]), seconds):
                lost = self._lost_at_restart(int(steps[index]), seconds)
                self._tail = np.empty(0)
            if lost:
                gaps.append(Gap(index, lost, seconds, float(stamps[index])))
        self._tail = np.concatenate((self._tail, stamps[done:]))[-_WINDOW:]
        self._counter = int(counter[-1])
        return tuple(gaps)

    def _has_restarted(self, step: int, seconds: float) -> bool:
        """Whether a counter step is a new count rather than lost frames."""
        if step < 0:
            return True
        if self._modulus is None:
            return False
        # Modulo, a restart looks like a huge loss: believe it only if the time that passed has room for it.
        period_s = self.period_s
        return step > self._modulus // 2 or (period_s > 0 and step * period_s > 2 * seconds + 1.0)

    def _lost_at_restart(self, step: int, seconds: float) -> int:
        """Frames lost while the publisher was away: from its counter if that went on, else from the time."""
        period_s = self.period_s
        if not period_s > 0:
            return 0
        if 0.5 * seconds <= step * period_s <= 2 * seconds:
            return step - 1
        return max(round(seconds / period_s) - 1, 0)

    def _gaps_by_stamps(self, stamps: NDArray[np.float64]) -> tuple[Gap, ...]:
        seen = len(self._tail)
        line = np.concatenate((self._tail, stamps))
        intervals = np.diff(line)
        gaps = []
        begin = 0
        period_s = self.period_s
        # A jittered stamp may hide half a period, so intervals above 1.5 nominal periods are only suspects.
        suspects = np.flatnonzero(intervals > 1.5 * min(period_s, 1.0 / self._rate_hz)) + 1
        for position in suspects[suspects >= seen].tolist():
            if self._variable:
                self._tail = line[max(0, position - _WINDOW) : position]
                period_s = self.period_s
                excess_s = float(intervals[position - 1]) - period_s
            else:
                back = np.arange(max(begin, position - _WINDOW), position)
                latest_s = float(np.max(line[back] + (position - back) * period_s))
                excess_s = float(line[position]) - latest_s
            if excess_s > 0.5 * period_s:
                lost = max(round(excess_s / period_s), 1)
                seconds = float(intervals[position - 1])
                gaps.append(Gap(position - seen, lost, seconds, float(line[position])))
                begin = position
        self._learn_period(
            intervals[max(seen - 1, 0) :], [gap.index - (1 if seen == 0 else 0) for gap in gaps]
        )
        # Frames keep the intervals on both sides of a gap, or a slower camera would never be recognised.
        self._tail = line[0 if self._variable else begin :][-_WINDOW:]
        return tuple(gaps)

    def _learn_period(self, intervals: NDArray[np.float64], gap_positions: list[int]) -> None:
        self._measured_s += float(intervals.sum()) - float(intervals[gap_positions].sum())
        self._measured_intervals += len(intervals) - len(gap_positions)
        if self._measured_intervals > 100_000:
            self._measured_intervals //= 2
            self._measured_s /= 2

    def _runs(self, count: int, gaps: tuple[Gap, ...]) -> tuple[Run, ...]:
        runs = []
        start = 0
        for gap in gaps:
            if gap.index > start:
                runs.append(Run(start, gap.index, self._next))
                self._next += gap.index - start
            self._next += gap.lost
            start = gap.index
        runs.append(Run(start, count, self._next))
        self._next += count - start
        return tuple(runs)
