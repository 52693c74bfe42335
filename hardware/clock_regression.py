"""From a sample counter and late arrivals to stamps: a recursive fit to the earliest arrivals.

Boards send samples in packets: of the OpenBCI Cyton's arrivals 37 % share a time with their neighbour and
gaps reach 35 ms, while its own crystal ticks evenly. A sample can only come late, never early; so the line
time = offset + counter x period is fitted to the earliest arrivals (asymmetric least squares, Newey & Powell
1987, made recursive), and samples are stamped from the line.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LATE_WEIGHT = 0.02
_ARRIVAL_SD_S = 0.004
_STATE_LENGTH = 8
(_OFFSET, _PERIOD, _P00, _P01, _P11, _LAST_COUNT, _LAST_STAMP, _SEEN) = range(_STATE_LENGTH)
_SQUARES, _WEIGHTS = 0, 1


@njit(cache=True, nogil=True)
def _regress(
    counts: NDArray[np.int64], arrivals: Floats, state: Floats, sums: Floats, forget: float, stamps: Floats
) -> None:
    n = counts.shape[0]
    for i in range(n):
        steps = counts[i] - state[_LAST_COUNT]
        if state[_SEEN] == 0.0:
            state[_OFFSET] = arrivals[i]
            steps = 0.0
        # Predict: the line moves on, old evidence fades.
        fade = min(math.exp(forget * steps), 4.0)
        state[_OFFSET] += steps * state[_PERIOD]
        p00 = (state[_P00] + 2.0 * steps * state[_P01] + steps * steps * state[_P11]) * fade
        p01 = (state[_P01] + steps * state[_P11]) * fade
        p11 = state[_P11] * fade
        # Correct: an early arrival counts in full, a late one hardly.
        late = arrivals[i] - state[_OFFSET]
        weight = _LATE_WEIGHT if late > 0.0 else 1.0
        variance = _ARRIVAL_SD_S * _ARRIVAL_SD_S / weight
        gain0 = p00 / (p00 + variance)
        gain1 = p01 / (p00 + variance)
        state[_OFFSET] += gain0 * late
        state[_PERIOD] += gain1 * late
        state[_P00] = p00 * (1.0 - gain0)
        state[_P01] = p01 * (1.0 - gain0)
        state[_P11] = p11 - gain1 * p01
        state[_LAST_COUNT] = counts[i]
        state[_SEEN] += 1.0
        memory = max(1.0 / state[_SEEN], 1e-4)
        sums[_SQUARES] += (weight * late * late - sums[_SQUARES]) * memory
        sums[_WEIGHTS] += (weight - sums[_WEIGHTS]) * memory
    # The whole chunk is stamped from the line as it stands now, and never backwards.
    last = state[_LAST_STAMP]
    for i in range(n):
        stamp = state[_OFFSET] + (counts[i] - state[_LAST_COUNT]) * state[_PERIOD]
        last = max(stamp, last + 0.1 * state[_PERIOD])
        stamps[i] = last
    state[_LAST_STAMP] = last


class ClockRegression:
    """Sample counter to clock.

    Args:
        nominal_rate_hz: What the data sheet says.
        memory_s: How long an arrival is remembered; crystals drift with temperature over minutes.
        rate_tolerance: Standard deviation of the true rate around the nominal one, as a fraction.
    """

    def __init__(
        self, nominal_rate_hz: float, *, memory_s: float = 60.0, rate_tolerance: float = 0.002
    ) -> None:
        if not nominal_rate_hz > 0:
            raise ValueError(f"nominal_rate_hz must be positive, got {nominal_rate_hz}")
        self._forget = 1.0 / (memory_s * nominal_rate_hz)
        period_s = 1.0 / nominal_rate_hz
        self._state = np.zeros(_STATE_LENGTH)
        self._state[_PERIOD] = period_s
        self._state[_P00] = 1.0
        self._state[_P11] = (rate_tolerance * period_s) ** 2
        self._state[_LAST_STAMP] = -math.inf
        self._sums = np.zeros(2)

    def update(self, counts: NDArray[np.int64], arrivals_s: Floats) -> Floats:
        """Stamps [n] of samples that arrived at `arrivals_s`, strictly increasing over all calls.

        Args:
            counts: int64 [n], increasing, lost samples counted.
            arrivals_s: float64 [n], seconds on the clock to stamp with.
        """
        stamps = np.empty(len(counts))
        if len(counts):
            _regress(
                np.ascontiguousarray(counts, dtype=np.int64),
                np.ascontiguousarray(arrivals_s, dtype=np.float64),
                self._state,
                self._sums,
                self._forget,
                stamps,
            )
        return stamps

    @property
    def samples(self) -> int:
        """Arrivals seen so far."""
        return int(self._state[_SEEN])

    @property
    def rate_hz(self) -> float:
        """Measured rate."""
        return float(1.0 / self._state[_PERIOD])

    @property
    def rate_standard_error_hz(self) -> float:
        """Standard error of `rate_hz`, from the spread of the arrivals around the line."""
        # The assumed spread of arrivals is replaced by the one that was seen.
        spread = self._sums[_SQUARES] / (_ARRIVAL_SD_S**2) if self.samples > 10 else 1.0
        return float(math.sqrt(self._state[_P11] * max(spread, 0.01)) * self.rate_hz**2)
