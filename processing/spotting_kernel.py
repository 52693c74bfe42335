"""Numba kernels of the spotter: brief excursions of a region in eight directions, causal and per frame.

An excursion is a peak that rises out of what came before it and falls back again within about half a second.
Measuring it against its own feet, not against a slow baseline, makes it blind to drift and to plateaus, so
that a movement inside a longer one is seen as such.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

DIRECTIONS = 8
"""Directions of movement, 45 deg apart; 0 is the picture's right, 2 is down the face."""

NOISE_SPANS_S = (0.1, 0.2, 0.4)
"""Durations at which the noise of an excursion is measured."""

FALLEN_SHARE = 0.75
"""Share of its rise that a movement has fallen back when it is over."""

# Columns of a found excursion.
REGION, DIRECTION, PEAK_S, ONSET_S, OFFSET_S, RISE, DROP, SIGMA, PEAK_DX, PEAK_DY, PEAK_INDEX, FLAT = range(
    12
)
FIELDS = 12

RISE_WINDOW_S = 0.42
FALL_WINDOW_S = 0.45
"""Longest rise to the peak and fall from it."""

FLANK_EXTRAPOLATION = 0.8
"""Share of the 25-75 % flank that lies beyond its 25 % point: .5 for a straight flank, 1 for a raised
cosine."""


@njit(cache=True, nogil=True)
def unit_vector(direction: int) -> tuple[float, float]:
    """Unit vector (x, y) of one of the `DIRECTIONS`."""
    angle = direction * 2.0 * np.pi / DIRECTIONS
    return np.cos(angle), np.sin(angle)


@njit(cache=True, nogil=True)
def watch(row: NDArray[np.float32], mix_x: F64, mix_y: F64, recent: F64) -> None:
    """Push a row of region positions, and the means over groups of them, into the last rows.

    Args:
        row: dx, dy of every region [2 R].
        mix_x, mix_y: Weights of the regions in each group [G, R].
        recent: Rows [n, R + G, 2], the newest last.
    """
    last = recent.shape[0] - 1
    regions = mix_x.shape[1]
    for k in range(last):
        recent[k] = recent[k + 1]
    for r in range(regions):
        recent[last, r, 0] = row[2 * r]
        recent[last, r, 1] = row[2 * r + 1]
    for g in range(mix_x.shape[0]):
        x = 0.0
        y = 0.0
        for r in range(regions):
            x += mix_x[g, r] * row[2 * r]
            y += mix_y[g, r] * row[2 * r + 1]
        recent[last, regions + g, 0] = x
        recent[last, regions + g, 1] = y


@njit(cache=True, nogil=True)
def weighted_mean(recent: F64, taps: F64, out: F64) -> None:
    """Mean [W, 2] over the last ``len(taps)`` of some rows [n, W, 2]."""
    first = recent.shape[0] - taps.shape[0]
    for w in range(out.shape[0]):
        for axis in range(2):
            total = 0.0
            for k in range(taps.shape[0]):
                total += taps[k] * recent[first + k, w, axis]
            out[w, axis] = total


@njit(cache=True, nogil=True)
def _index(newest: int, back: int, size: int) -> int:
    """Place in a ring of the sample that is `back` before the newest, without a costly division."""
    place = newest - back
    return place if place >= 0 else place + size


@njit(cache=True, nogil=True)
def find_excursions(
    history: F64,
    times: F64,
    newest: int,
    count: int,
    sigma: F64,
    threshold_z: float,
    min_px: float,
    fallen_share: float,
    last_peak_s: F64,
    found: F64,
) -> int:
    """Excursions that are over as of the newest sample.

    Args:
        history: Ring [N, R, 2] of region positions, px at IOD 100.
        times: Their stamps [N].
        newest: Index of the newest sample in the ring.
        count: How many samples the ring holds.
        sigma: Noise of an excursion [len(NOISE_SPANS_S), R, 2], px.
        threshold_z, min_px: Peak that counts, in units of `sigma` and in px.
        fallen_share: Share of the rise that must be fallen: `FALLEN_SHARE` for a movement that is over, less
            for one that has just passed its apex.
        last_peak_s: Peak last reported [R, DIRECTIONS], so that none is reported twice; updated.
        found: Output [capacity, FIELDS].

    Returns:
        Number of rows written.
    """
    size = history.shape[0]
    now = times[newest]
    rows = 0
    # Samples within reach of a peak and of its rise.
    reach = 1
    while reach < count and now - times[_index(newest, reach, size)] <= RISE_WINDOW_S + FALL_WINDOW_S:
        reach += 1
    if reach < 3:
        return 0
    for r in range(history.shape[1]):
        for d in range(DIRECTIONS):
            ux, uy = unit_vector(d)
            x_now = history[newest, r, 0] * ux + history[newest, r, 1] * uy
            # The peak: highest point of the last FALL_WINDOW_S.
            peak = x_now
            peak_back = 0
            for k in range(1, reach):
                i = _index(newest, k, size)
                if now - times[i] > FALL_WINDOW_S:
                    break
                x = history[i, r, 0] * ux + history[i, r, 1] * uy
                if x > peak:
                    peak = x
                    peak_back = k
            if peak_back == 0:
                continue
            fallen = peak - x_now
            if fallen < 0.5 * min_px:
                continue
            peak_i = _index(newest, peak_back, size)
            peak_s = times[peak_i]
            if peak_s - last_peak_s[r, d] < 0.04:
                continue
            # What it fell to, and whether the fall has come to rest.
            lowest = peak
            lowest_back = peak_back
            for k in range(peak_back - 1, -1, -1):
                i = _index(newest, k, size)
                x = history[i, r, 0] * ux + history[i, r, 1] * uy
                if x < lowest:
                    lowest = x
                    lowest_back = k
            drop = peak - lowest
            # What it rose from.
            foot = peak
            foot_back = peak_back
            for k in range(peak_back + 1, reach):
                i = _index(newest, k, size)
                if peak_s - times[i] > RISE_WINDOW_S:
                    break
                x = history[i, r, 0] * ux + history[i, r, 1] * uy
                if x < foot:
                    foot = x
                    foot_back = k
            rise = peak - foot
            stalled = now - times[_index(newest, lowest_back, size)] >= 0.045
            over = drop >= fallen_share * rise or (drop >= 0.5 * rise and stalled)
            if not over:
                continue
            height = min(rise, drop)
            if height < min_px:
                continue
            # 25 and 75 % crossings of either flank, then the flanks extended to their feet.
            up = _crossings(history, times, newest, size, r, ux, uy, peak_back, foot_back, 1, peak, rise)
            full_drop = drop if stalled and drop < 0.75 * rise else max(drop, rise)
            down = _crossings(
                history, times, newest, size, r, ux, uy, peak_back, lowest_back, -1, peak, full_drop
            )
            onset = up[0] - FLANK_EXTRAPOLATION * (up[1] - up[0])
            offset = down[0] + FLANK_EXTRAPOLATION * (down[0] - down[1])
            span = offset - onset
            noise = _noise(sigma, r, ux, uy, span)
            if height < threshold_z * noise:
                continue
            if rows >= found.shape[0]:
                return rows
            last_peak_s[r, d] = peak_s
            found[rows, REGION] = r
            found[rows, DIRECTION] = d
            found[rows, PEAK_S] = peak_s
            found[rows, ONSET_S] = onset
            found[rows, OFFSET_S] = offset
            found[rows, RISE] = rise
            found[rows, DROP] = drop
            found[rows, SIGMA] = noise
            # Displacement at the peak against the chord between the feet.
            foot_i = _index(newest, foot_back, size)
            low_i = _index(newest, lowest_back, size)
            share = (peak_s - times[foot_i]) / max(times[low_i] - times[foot_i], 1e-6)
            for axis in range(2):
                chord = history[foot_i, r, axis] * (1.0 - share) + history[low_i, r, axis] * share
                found[rows, PEAK_DX + axis] = history[peak_i, r, axis] - chord
            found[rows, PEAK_INDEX] = peak_i
            found[rows, FLAT] = 1.0 if stalled else 0.0
            rows += 1
    return rows


@njit(cache=True, nogil=True)
def _crossings(
    history: F64,
    times: F64,
    newest: int,
    size: int,
    r: int,
    ux: float,
    uy: float,
    peak_back: int,
    foot_back: int,
    step: int,
    peak: float,
    height: float,
) -> tuple[float, float]:
    """Stamps of the 25 % and 75 % crossings next to the peak, going away from it.

    A flank that has not yet come down to 25 % is extended along its slope.
    """
    high_level = peak - 0.25 * height
    low_level = peak - 0.75 * height
    previous = peak
    previous_s = times[_index(newest, peak_back, size)]
    high_s = np.nan
    k = peak_back
    while True:
        if k == foot_back:
            break
        k += step
        i = _index(newest, k, size)
        x = history[i, r, 0] * ux + history[i, r, 1] * uy
        s = times[i]
        if np.isnan(high_s) and x <= high_level:
            high_s = _between(previous_s, previous, s, x, high_level)
        if x <= low_level:
            return _between(previous_s, previous, s, x, low_level), high_s
        previous = x
        previous_s = s
    if np.isnan(high_s):
        return previous_s, times[_index(newest, peak_back, size)]
    low_s = high_s + (previous_s - high_s) * (high_level - low_level) / max(high_level - previous, 1e-6)
    limit = 0.1 if step < 0 else -0.1
    if abs(low_s - previous_s) > 0.1:
        low_s = previous_s + limit
    return low_s, high_s


@njit(cache=True, nogil=True)
def _between(s0: float, x0: float, s1: float, x1: float, level: float) -> float:
    if x0 == x1:
        return s1
    return s0 + (s1 - s0) * (x0 - level) / (x0 - x1)


@njit(cache=True, nogil=True)
def _noise(sigma: F64, r: int, ux: float, uy: float, span_s: float) -> float:
    """Noise along a direction for an excursion of this duration, interpolated between the measured spans."""
    low = _along(sigma, 0, r, ux, uy)
    if span_s <= NOISE_SPANS_S[0]:
        return low
    for k in range(1, len(NOISE_SPANS_S)):
        high = _along(sigma, k, r, ux, uy)
        if span_s <= NOISE_SPANS_S[k]:
            share = (span_s - NOISE_SPANS_S[k - 1]) / (NOISE_SPANS_S[k] - NOISE_SPANS_S[k - 1])
            return low + share * (high - low)
        low = high
    return low


@njit(cache=True, nogil=True)
def _along(sigma: F64, k: int, r: int, ux: float, uy: float) -> float:
    sx = sigma[k, r, 0] * ux
    sy = sigma[k, r, 1] * uy
    return float(np.sqrt(sx * sx + sy * sy))


@njit(cache=True, nogil=True)
def second_differences(history: F64, times: F64, newest: int, count: int, out: F64) -> bool:
    """How far each region's middle lay off the chord over each of `NOISE_SPANS_S`, px; False before there is
    one.

    Args:
        history, times, newest, count: As in `find_excursions`.
        out: Output [len(NOISE_SPANS_S), R, 2].
    """
    size = history.shape[0]
    now = times[newest]
    for k in range(len(NOISE_SPANS_S)):
        span = NOISE_SPANS_S[k]
        middle = -1
        first = -1
        for back in range(1, count):
            i = _index(newest, back, size)
            age = now - times[i] + 1e-4
            if middle < 0 and age >= 0.5 * span:
                middle = i
            if age >= span:
                first = i
                break
        if first < 0 or now - times[first] > 2.0 * span:
            return False
        share = (times[middle] - times[first]) / (now - times[first])
        for r in range(history.shape[1]):
            for axis in range(2):
                chord = history[first, r, axis] * (1.0 - share) + history[newest, r, axis] * share
                out[k, r, axis] = history[middle, r, axis] - chord
    return True
