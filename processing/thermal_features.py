"""From registered frames to numbers: region statistics, causal slopes, baselines and their uncertainty."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processing.thermal_alignment import Placement
from processing.thermal_kernels import bilinear, is_inside, quantile, sort_in_place
from processing.thermal_regions import BESIDE, REFERENCE, REGIONS, RegionSamples

SKIN_CENTI_CELSIUS = (1500.0, 4500.0)
"""A sample outside is not bare skin (hair, glasses, a cup): it is left out of its region."""

_REGION_COUNT = len(REGIONS)


class RegionReader:
    """Reads all regions of a registered frame."""

    def __init__(self) -> None:
        self.mean = np.full(_REGION_COUNT, np.nan)
        self.p10 = np.full(_REGION_COUNT, np.nan)
        self.p90 = np.full(_REGION_COUNT, np.nan)
        self.valid = np.zeros(_REGION_COUNT)
        self._scratch = np.empty(0)

    def read(
        self,
        celsius: NDArray[np.float32],
        valid: NDArray[np.bool_],
        samples: RegionSamples,
        depths_px: NDArray[np.float64],
        placement: Placement,
        shifts_px: NDArray[np.float64],
    ) -> None:
        """Update `mean`, `p10`, `p90` (degC) and `valid` (0-1), each [regions].

        Args:
            celsius: [height, width], bridged over invalid pixels.
            valid: [height, width], False where a pixel was bridged.
            samples: Points of the keyframe.
            depths_px: [n], see `processing.thermal_alignment.Template`.
            placement: Keyframe pixels to pixels of this frame.
            shifts_px: [regions, 2], added to the points of each region before the warp.
        """
        if len(self._scratch) < len(samples.weights):
            self._scratch = np.empty(len(samples.weights))
        _read_regions(
            celsius,
            valid,
            samples.points_px,
            samples.weights,
            samples.bare,
            samples.starts,
            depths_px,
            placement.warp,
            placement.parallax,
            shifts_px,
            self._scratch,
            self.mean,
            self.p10,
            self.p90,
            self.valid,
        )


@njit(cache=True, nogil=True)
def _read_regions(
    celsius: NDArray[np.float32],
    valid: NDArray[np.bool_],
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    bare: NDArray[np.bool_],
    starts: NDArray[np.int64],
    depths: NDArray[np.float64],
    warp: NDArray[np.float64],
    parallax: NDArray[np.float64],
    shifts: NDArray[np.float64],
    scratch: NDArray[np.float64],
    mean: NDArray[np.float64],
    p10: NDArray[np.float64],
    p90: NDArray[np.float64],
    share: NDArray[np.float64],
) -> None:
    height, width = celsius.shape
    low, high = SKIN_CENTI_CELSIUS[0] / 100.0, SKIN_CENTI_CELSIUS[1] / 100.0
    for region in range(len(starts) - 1):
        total = 0.0
        used = 0.0
        trusted = 0.0
        possible = 0.0
        count = 0
        for i in range(starts[region], starts[region + 1]):
            weight = weights[i]
            possible += weight
            if not bare[i]:
                continue
            px = points[i, 0] + shifts[region, 0] + depths[i] * parallax[0]
            py = points[i, 1] + shifts[region, 1] + depths[i] * parallax[1]
            x = warp[0, 0] * px + warp[0, 1] * py + warp[0, 2]
            y = warp[1, 0] * px + warp[1, 1] * py + warp[1, 2]
            if not is_inside(height, width, x, y):
                continue
            value = bilinear(celsius, x, y)
            if not low <= value <= high:
                continue
            # Bridged pixels stay in the mean, where they balance a gradient, but do not count as valid.
            total += weight * value
            used += weight
            trusted += weight * bilinear(valid, x, y)
            if weight >= 0.5:
                scratch[count] = value
                count += 1
        mean[region] = total / used if used > 0.0 else np.nan
        share[region] = trusted / possible if possible > 0.0 else 0.0
        if count == 0:
            p10[region] = np.nan
            p90[region] = np.nan
            continue
        sort_in_place(scratch, count)
        p10[region] = quantile(scratch, count, 0.1)
        p90[region] = quantile(scratch, count, 0.9)


def misread_variance(delta: NDArray[np.float64], misread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of deltas [regions], degC squared, that comes of regions not lying where they should.

    Args:
        delta: Change of each region against the forehead; NaN counts as none.
        misread: See `processing.thermal_regions.misread_shares`.
    """
    power = np.nan_to_num(delta) ** 2
    power[REFERENCE] = 0.0  # its own delta is the camera's drift
    beside = np.array(
        [max((power[REGIONS.index(n)] for n in BESIDE.get(r, ())), default=0.0) for r in REGIONS]
    )
    variance = misread**2 * (power + beside)
    return np.asarray(variance + np.where(np.arange(_REGION_COUNT) == REFERENCE, 0.0, variance[REFERENCE]))


class SlopeWindow:
    """Causal straight-line fit over the last seconds of several signals.

    Args:
        window_s: Length of the window; a slope is given once three quarters of it are filled.
        count: Number of signals.
    """

    _CAPACITY = 1024

    def __init__(self, window_s: float, count: int) -> None:
        self._window_s = window_s
        self._times = np.zeros(self._CAPACITY)
        self._values = np.zeros((self._CAPACITY, count))
        self._first = 0
        self._length = 0
        self.slope = np.full(count, np.nan)
        """Per second [count]; NaN until enough of the window is filled."""
        self.slope_se = np.full(count, np.nan)
        self.scatter = np.full(count, np.nan)
        """Standard deviation around the line: noise and registration jitter as they are."""

    def clear(self) -> None:
        """Forget what was before a gap or a step."""
        self._first = self._length = 0
        self.slope.fill(np.nan)
        self.slope_se.fill(np.nan)
        self.scatter.fill(np.nan)

    def push(self, time_s: float, values: NDArray[np.float64]) -> None:
        """Add one sample [count] of each signal (NaN is skipped) and fit."""
        if self._length == self._CAPACITY:
            self._first = (self._first + 1) % self._CAPACITY
            self._length -= 1
        place = (self._first + self._length) % self._CAPACITY
        self._times[place] = time_s
        self._values[place] = values
        self._length += 1
        while self._length and time_s - self._times[self._first] > self._window_s:
            self._first = (self._first + 1) % self._CAPACITY
            self._length -= 1
        _fit_lines(
            self._times,
            self._values,
            self._first,
            self._length,
            time_s,
            0.75 * self._window_s,
            self.slope,
            self.slope_se,
            self.scatter,
        )


@njit(cache=True, nogil=True)
def _fit_lines(
    times: NDArray[np.float64],
    values: NDArray[np.float64],
    first: int,
    length: int,
    now: float,
    needed_s: float,
    slope: NDArray[np.float64],
    slope_se: NDArray[np.float64],
    scatter: NDArray[np.float64],
) -> None:
    capacity, signals = values.shape
    for signal in range(signals):
        n = 0
        st = 0.0
        sv = 0.0
        oldest = now
        for k in range(length):
            i = (first + k) % capacity
            if np.isfinite(values[i, signal]):
                n += 1
                st += times[i] - now
                sv += values[i, signal]
                oldest = min(oldest, times[i])
        slope[signal] = np.nan
        slope_se[signal] = np.nan
        scatter[signal] = np.nan
        if n < 5 or now - oldest < needed_s:
            continue
        mt = st / n
        mv = sv / n
        stt = 0.0
        stv = 0.0
        svv = 0.0
        for k in range(length):
            i = (first + k) % capacity
            if np.isfinite(values[i, signal]):
                t = times[i] - now - mt
                v = values[i, signal] - mv
                stt += t * t
                stv += t * v
                svv += v * v
        if stt <= 0.0:
            continue
        slope[signal] = stv / stt
        variance = max(0.0, svv - stv * stv / stt) / (n - 2)
        scatter[signal] = np.sqrt(variance)
        slope_se[signal] = np.sqrt(variance / stt)


class Baseline:
    """Mean of each signal over a stretch of rest: a named one, or the first stable one.

    Args:
        rest: (start, end) in the seconds of the stamps, or None.
        duration_s: Length of the first stable stretch when no rest is named, or when the named one held no
            usable frame.
        count: Number of signals.
    """

    def __init__(self, rest: tuple[float, float] | None, duration_s: float, count: int) -> None:
        self._rest = rest
        self._duration_s = duration_s
        self._sum = np.zeros(count)
        self._squares = np.zeros(count)
        self._count = np.zeros(count)
        self._since_s = float("nan")
        self.level = np.full(count, np.nan)
        """Mean [count]; NaN until `ready`."""
        self.level_se = np.full(count, np.nan)
        self.ready = False

    def _waits_for_rest(self, time_s: float) -> bool:
        return self._rest is not None and (time_s <= self._rest[1] or bool(self._count.any()))

    def push(self, time_s: float, values: NDArray[np.float64], settled: bool) -> None:
        """Add one sample [count] (NaN is skipped); `settled`: the camera is not warming up."""
        if self.ready:
            return
        if self._rest is not None and self._waits_for_rest(time_s):
            if self._rest[0] <= time_s <= self._rest[1]:
                self._add(values)
            if time_s >= self._rest[1] and self._count.any():
                self._finish()
            return
        if not settled:
            self._restart()
            return
        if np.isnan(self._since_s):
            self._since_s = time_s
        self._add(values)
        if time_s - self._since_s >= self._duration_s:
            self._finish()

    def interrupt(self, time_s: float) -> None:
        """A stretch that was not named has to be unbroken: begin it again."""
        if not self.ready and not self._waits_for_rest(time_s):
            self._restart()

    def shift(self, offset: NDArray[np.float64]) -> None:
        """Carry the baseline over a step [count] that is the camera's, not the skin's."""
        step = np.where(np.isfinite(offset), offset, 0.0)
        self.level += step
        self._squares += 2 * step * self._sum + self._count * step**2
        self._sum += self._count * step

    def _add(self, values: NDArray[np.float64]) -> None:
        good = np.isfinite(values)
        self._sum[good] += values[good]
        self._squares[good] += values[good] ** 2
        self._count[good] += 1

    def _restart(self) -> None:
        self._sum.fill(0)
        self._squares.fill(0)
        self._count.fill(0)
        self._since_s = float("nan")

    def _finish(self) -> None:
        with np.errstate(invalid="ignore", divide="ignore"):
            self.level = self._sum / self._count
            variance = np.maximum(self._squares / self._count - self.level**2, 0.0)
            self.level_se = np.sqrt(variance / self._count)
        self.ready = True


def column_means(rows: Collection[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean of each column over its finite values, NaN where there is none."""
    if not rows:
        return np.full(len(REGIONS), np.nan)
    table = np.array(rows)
    good = np.isfinite(table)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = np.where(good, table, 0.0).sum(axis=0) / good.sum(axis=0)
    return means
