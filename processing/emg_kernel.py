"""The EMG chain in one pass per chunk: band, notch, envelopes, baseline, bursts, quality.

Compiled with numba, nothing is allocated; all state lives in one flat array that `processing.emg` owns (one
argument costs one unboxing per call, twenty would cost more than the arithmetic). Every decision hangs on
sample counts alone, so that any chunking of a signal gives the same bits.

Bursts are found by a pair of Page's cumulative sum tests on the signal's energy (Page 1954, Biometrika 41;
for EMG Staude 2001, IEEE Trans. Biomed. Eng. 48). In rest the energy of a slot of 5 ms over its baseline is
r, a chi-square of nu degrees of freedom over nu; in activity it is rho times as much. The log-likelihood
ratio is

    llr(r, rho) = nu / 2 * (r * (1 - 1 / rho) - ln(rho))

Its sum, kept >= 0, crosses a threshold when activity has begun, and the slot where it last was zero is the
maximum likelihood estimate of the onset: that back-dates the burst by itself. The offset is the mirror image,
with rho the level of the burst so far. nu is measured in rest, which makes the test hold its false-alarm rate
for any rate, spectrum and heavy-tailed baseline.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OUTPUTS = ("envelope_uv", "slow_uv", "z", "slow_z", "mvc", "burst", "quality")
"""Columns per EMG channel, in the order the kernel writes them."""

RING_BLOCKS = 20
"""Blocks of 50 ms remembered for a robust re-seeding of the baseline: one second."""

BURST_FIELDS = 9
"""Columns of a burst: channel, onset, peak, offset, found, peak z, mean z, peak uV, quality."""

# --- configuration ------------------------------------------------------------------------------------
CONFIG_LENGTH = 45
(
    RATE, SLOT_RATE, SLOTS_PER_TICK, SLOTS_PER_BLOCK, REWARM, FLAT, RAIL, DELAY, FAST_DELAY,
    SCAN, SCAN_LENGTH, LINE_SURE, LINE_LIKELY, H_ON, H_OFF, RHO, LOG_RHO, RHO_MAX, OFF_S, MIN_BURST_S,
    LONGEST_SLOTS, LONGEST_IN_REST, BASELINE_TICKS, REST_START, REST_END, NU_MAX, FAST_VAR_NU, SLOW_VAR_NU,
    LINE_WARN, LINE_BAD, NOISE_GOOD, NOISE_BAD, RAILED_BAD, R_BAD, NOTCHES_50, NOTCHES_60, QUALITY_GAIN,
    RING_SHARE, CLIP, COSINES, _, _, _, _, _,
) = range(CONFIG_LENGTH)  # fmt: skip

# --- state of one channel -----------------------------------------------------------------------------
STATE_LENGTH = 63
(
    STALE, WARM, PREVIOUS, RUN, HIGH, LOW, ENVELOPES_READY, WARM_SUM, WARM_COUNT,  # input
    G50A, G50B, G60A, G60B, SCAN_POWER, SCAN_SPOILT,  # search for mains
    FAST, SLOW, SLOT_ENERGY, SLOT_RAW_ENERGY, SLOT_COUNT, SLOT_BAD, SLOT_RAILED, PRE,  # slot being filled
    PHASE, REST_BEGUN, P0, SEEN, MU_F, VAR_F, MU_S, VAR_S, VAR_B, SEEN_B, HALF_NU,  # baseline
    BLOCK_ENERGY, BLOCK_FAST, BLOCK_SLOW, BLOCK_COUNT, BLOCK_TICKS, BLOCK_REST, RING_NEXT, RING_FILLED,
    S_ON, S_LOW, S_OFF, ON, ONSET, OFFSET, LAST_STAMP, LEVEL_SUM, LEVEL_COUNT, ON_SLOTS, LOWEST,  # tests
    PEAK_FAST, PEAK_STAMP, LOG_SUM, LOG_COUNT,  # features of the burst
    PRE_POWER, POST_POWER, RAILED, GAPPY, QUALITY, MVC,  # quality and calibration
) = range(STATE_LENGTH)  # fmt: skip

# --- state shared by all channels ---------------------------------------------------------------------
SHARED_LENGTH = 5
(BANK, SCAN_LEFT, SCAN_NUMBER, LIKELY, SCANNED) = range(CONFIG_LENGTH, CONFIG_LENGTH + SHARED_LENGTH)
_SCRATCH = CONFIG_LENGTH + SHARED_LENGTH

_WAITING, _SEEDING, _RUNNING = 0.0, 1.0, 2.0
_TINY = 1e-12
_LN2 = math.log(2.0)
_RING = STATE_LENGTH
_RAIL_RUN = 3.0  # equal samples at the extreme of the signal that count as a rail


@njit(cache=True, nogil=True)
def layout(channels: int, sections: int, band: int) -> tuple[int, int, int, int, int, int, int, int]:
    """Where the parts of the flat memory begin, after configuration, shared state and scratch.

    Returns:
        Offsets of: filter sections [3, sections, 5]; steady states of the band [band, 2]; envelopes [2, 5];
        their steady states [2, 2]; the channels' rows. Then, within the row of a channel, which begins with
        its state and its ring [3, RING_BLOCKS], the offsets of: filter states [sections + 2, 2], the two
        envelopes last; cross products with each channel [channels]; the next row. The samples of one slot
        follow the last row.
    """
    coefficients = _SCRATCH + RING_BLOCKS
    steady = coefficients + 15 * sections
    envelopes = steady + 2 * band
    envelope_steady = envelopes + 10
    rows = envelope_steady + 4
    filters = STATE_LENGTH + 3 * RING_BLOCKS
    cross = filters + 2 * (sections + 2)
    return coefficients, steady, envelopes, envelope_steady, rows, filters, cross, cross + channels


@njit(cache=True, nogil=True)
def _median(m: Floats, start: int, count: int) -> float:
    for i in range(count):
        value = m[start + i]
        j = _SCRATCH + i
        while j > _SCRATCH and m[j - 1] > value:
            m[j] = m[j - 1]
            j -= 1
        m[j] = value
    half = _SCRATCH + count // 2
    low = m[half] if count % 2 else m[half - 1]
    return 0.5 * (low + m[half])  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _seed_baseline(m: Floats, s: int) -> None:
    """Start the baseline anew from the last second, robust to activity in less than half of it."""
    filled = int(m[s + RING_FILLED])
    # The median of a chi-square of n degrees of freedom lies below its mean by about 2 / (3 n).
    m[s + P0] = max(_median(m, s + _RING, filled) / (1.0 - min(m[s + VAR_B], 1.0) / 3.0), _TINY)
    m[s + MU_F] = _median(m, s + _RING + RING_BLOCKS, filled)
    m[s + MU_S] = _median(m, s + _RING + 2 * RING_BLOCKS, filled)
    m[s + VAR_F] = m[FAST_VAR_NU] * m[s + VAR_B]
    m[s + VAR_S] = m[SLOW_VAR_NU] * m[s + VAR_B]
    m[s + SEEN] = filled * m[SLOTS_PER_BLOCK] / m[SLOTS_PER_TICK]
    m[s + S_ON] = 0.0
    m[s + S_LOW] = 0.0


@njit(cache=True, nogil=True)
def _score(value: float, warn: float, bad: float) -> float:
    """1 up to `warn`, 0.5 at `bad`, falling on to 0."""
    return min(max(1.0 - 0.5 * (value - warn) / (bad - warn), 0.0), 1.0)


@njit(cache=True, nogil=True)
def _rate_quality(m: Floats, c: int, s: int, channels: int, cross: int, stride: int) -> None:
    line = 1.0 - m[s + POST_POWER] / max(m[s + PRE_POWER], _TINY)
    # The notch takes the line out: it makes a channel doubtful, never useless.
    quality = max(_score(line, m[LINE_WARN], m[LINE_BAD]), 0.3)
    quality *= _score(math.sqrt(m[s + P0]), m[NOISE_GOOD], m[NOISE_BAD])
    quality *= _score(m[s + RAILED], m[RAILED_BAD], 10.0 * m[RAILED_BAD])
    quality *= 1.0 - min(m[s + GAPPY], 1.0)
    limit = m[R_BAD] * m[R_BAD] * m[s + cross + c]
    for other in range(channels):
        o = s + (other - c) * stride + cross + other
        if other != c and m[s + cross + other] * m[s + cross + other] > limit * m[o]:
            quality = min(quality, 0.3)
    m[s + QUALITY] = quality


@njit(cache=True, nogil=True)
def _close_burst(m: Floats, c: int, s: int, stamp: float, bursts: Floats, found: int, trust: float) -> int:
    """Write the burst that just ended into `bursts` unless it was too short; returns how many there are."""
    onset = m[s + ONSET] - m[DELAY]
    offset = m[s + OFFSET] - m[DELAY]
    m[s + ON] = 0.0
    m[s + S_ON] = 0.0
    m[s + S_OFF] = 0.0
    if offset - onset < m[MIN_BURST_S] or found >= bursts.shape[0]:
        return found
    sd = math.sqrt(m[s + VAR_F])
    bursts[found, 0] = c
    bursts[found, 1] = onset
    bursts[found, 2] = min(max(m[s + PEAK_STAMP] - m[DELAY] - m[FAST_DELAY], onset), offset)
    bursts[found, 3] = offset
    bursts[found, 4] = stamp
    bursts[found, 5] = (math.log(max(m[s + PEAK_FAST], _TINY)) - m[s + MU_F]) / sd
    bursts[found, 6] = (
        (m[s + LOG_SUM] / m[s + LOG_COUNT] - m[s + MU_F]) / sd if m[s + LOG_COUNT] > 0.0 else bursts[found, 5]
    )
    bursts[found, 7] = m[s + PEAK_FAST]
    bursts[found, 8] = trust * m[s + QUALITY]
    return found + 1


@njit(cache=True, nogil=True, forceinline=True)
def _slot(m: Floats, c: int, s: int, stamp: float, bursts: Floats, found: int) -> int:
    """A slot of one channel is full: quality indices, onset and offset test."""
    count = m[s + SLOT_COUNT]
    bad = m[s + SLOT_BAD] > 0.0 or count == 0.0
    memory = m[QUALITY_GAIN]
    if bad:
        m[s + GAPPY] += (1.0 - m[s + GAPPY]) * memory
        if m[s + ON] > 0.0:
            found = _close_burst(m, c, s, stamp, bursts, found, 0.5)
        m[s + S_ON] = 0.0
        m[s + S_LOW] = 0.0
        m[s + BLOCK_REST] = 0.0
        m[s + SLOT_BAD] = 0.0
    else:
        share = 1.0 / count
        energy = m[s + SLOT_ENERGY] * share
        m[s + GAPPY] -= m[s + GAPPY] * memory
        m[s + PRE_POWER] += (m[s + SLOT_RAW_ENERGY] * share - m[s + PRE_POWER]) * memory
        m[s + POST_POWER] += (energy - m[s + POST_POWER]) * memory
        m[s + RAILED] += (m[s + SLOT_RAILED] * share - m[s + RAILED]) * memory
        if m[s + PHASE] != _WAITING:
            m[s + BLOCK_ENERGY] += energy
            m[s + BLOCK_COUNT] += 1.0
        if m[s + PHASE] == _RUNNING:
            found = _test(m, c, s, energy, stamp, bursts, found)
    m[s + SLOT_ENERGY] = 0.0
    m[s + SLOT_RAW_ENERGY] = 0.0
    m[s + SLOT_COUNT] = 0.0
    m[s + SLOT_RAILED] = 0.0
    m[s + LAST_STAMP] = stamp
    return found


@njit(cache=True, nogil=True, forceinline=True)
def _test(m: Floats, c: int, s: int, energy: float, stamp: float, bursts: Floats, found: int) -> int:
    """Run the onset or the offset test on the energy of one slot."""
    ratio = energy / m[s + P0]
    if m[s + ON] == 0.0:
        rho = m[RHO]
        if m[s + S_ON] <= 0.0:
            m[s + ONSET] = m[s + LAST_STAMP]
            m[s + LEVEL_SUM] = 0.0
            m[s + LEVEL_COUNT] = 0.0
            m[s + PEAK_FAST] = 0.0
            m[s + LOG_SUM] = 0.0
            m[s + LOG_COUNT] = 0.0
        # No slot may decide alone: a click is not a burst.
        llr = m[s + HALF_NU] * (ratio - ratio / rho - m[LOG_RHO])
        m[s + S_ON] = max(m[s + S_ON] + min(llr, m[CLIP]), 0.0)
        # The same test downward: energy that stays below the baseline shows that the baseline was activity.
        m[s + S_LOW] = max(m[s + S_LOW] + m[s + HALF_NU] * (_LN2 - ratio), 0.0)
        if m[s + S_ON] > m[H_ON]:
            m[s + ON] = 1.0
            m[s + S_OFF] = 0.0
            m[s + ON_SLOTS] = 0.0
            m[s + LOWEST] = math.inf
            m[s + OFFSET] = stamp
        m[s + LEVEL_SUM] += ratio
        m[s + LEVEL_COUNT] += 1.0
    else:
        m[s + ON_SLOTS] += 1.0
        rho = min(max(m[s + LEVEL_SUM] / m[s + LEVEL_COUNT], m[RHO]), m[RHO_MAX])
        # A notch rings on after a strong burst; that is not activity either.
        floor = max(1.0, m[RING_SHARE] * rho) if m[BANK] > 0.0 else 1.0
        llr = m[s + HALF_NU] * (ratio / floor - ratio / rho - math.log(rho / floor))
        m[s + S_OFF] = max(m[s + S_OFF] - llr, 0.0)
        if m[s + S_OFF] <= 0.0:
            m[s + OFFSET] = stamp
            m[s + LEVEL_SUM] += ratio
            m[s + LEVEL_COUNT] += 1.0
        elif m[s + S_OFF] > m[H_OFF] and stamp - m[s + OFFSET] >= m[OFF_S]:
            found = _close_burst(m, c, s, stamp, bursts, found, 1.0)
    if m[s + FAST] > m[s + PEAK_FAST]:
        m[s + PEAK_FAST] = m[s + FAST]
        m[s + PEAK_STAMP] = stamp
    return found


@njit(cache=True, nogil=True, forceinline=True)
def _tick(
    m: Floats, c: int, s: int, channels: int, cross: int, stride: int, scanned: bool,
    stamp: float, bursts: Floats, found: int, out: Floats, tick: int,
) -> int:  # fmt: skip
    """Every 10 ms: let the baseline follow in rest, close blocks of 50 ms, write one output row."""
    usable = m[s + WARM] == 0.0 and m[s + STALE] == 0.0
    log_fast = math.log(max(m[s + FAST], _TINY))
    log_slow = math.log(max(m[s + SLOW], _TINY))
    if usable and m[s + PHASE] == _WAITING and scanned:
        m[s + PHASE] = _RUNNING if m[s + SEEN] > 0.0 else _SEEDING
    elif usable and m[s + PHASE] != _WAITING:
        m[s + BLOCK_FAST] += log_fast
        m[s + BLOCK_SLOW] += log_slow
        m[s + BLOCK_TICKS] += 1.0
        if m[s + PHASE] == _RUNNING:
            in_rest = m[REST_START] <= stamp < m[REST_END]
            if in_rest and m[s + REST_BEGUN] == 0.0:
                # What came before was a guess: let the rest that was promised outweigh it.
                m[s + REST_BEGUN] = 1.0
                m[s + SEEN] = min(m[s + SEEN], 50.0)
            if m[s + ON] > 0.0 or m[s + S_ON] > 0.4 * m[H_ON]:
                m[s + BLOCK_REST] = 0.0
                if m[s + ON] == 0.0 or m[s + S_OFF] <= 0.0:
                    m[s + LOG_SUM] += log_fast
                    m[s + LOG_COUNT] += 1.0
            else:
                limit = 3.0 * m[BASELINE_TICKS] if in_rest else m[BASELINE_TICKS]
                m[s + SEEN] = min(m[s + SEEN] + 1.0, limit)
                gain = 1.0 / m[s + SEEN]
                deviation = log_fast - m[s + MU_F]
                m[s + MU_F] += deviation * gain
                square = min(deviation * deviation, 16.0 * m[s + VAR_F])
                m[s + VAR_F] = max(m[s + VAR_F] + (square - m[s + VAR_F]) * gain, 0.0025)
                deviation = log_slow - m[s + MU_S]
                m[s + MU_S] += deviation * gain
                square = min(deviation * deviation, 16.0 * m[s + VAR_S])
                m[s + VAR_S] = max(m[s + VAR_S] + (square - m[s + VAR_S]) * gain, 0.0009)
        if m[s + BLOCK_COUNT] >= m[SLOTS_PER_BLOCK]:
            found = _block(m, c, s, channels, cross, stride, stamp, bursts, found)
    k = 7 * c
    out[tick, k + 0] = m[s + FAST]
    out[tick, k + 1] = m[s + SLOW]
    if m[s + PHASE] == _RUNNING and m[s + ENVELOPES_READY] > 0.0:
        out[tick, k + 2] = (log_fast - m[s + MU_F]) / math.sqrt(m[s + VAR_F])
        out[tick, k + 3] = (log_slow - m[s + MU_S]) / math.sqrt(m[s + VAR_S])
    else:
        out[tick, k + 2] = math.nan
        out[tick, k + 3] = math.nan
    out[tick, k + 4] = 100.0 * m[s + FAST] / m[s + MVC]
    out[tick, k + 5] = m[s + ON]
    out[tick, k + 6] = m[s + QUALITY] if usable and m[s + PHASE] == _RUNNING else 0.0
    return found


@njit(cache=True, nogil=True)
def _block(
    m: Floats, c: int, s: int, channels: int, cross: int, stride: int, stamp: float,
    bursts: Floats, found: int,
) -> int:  # fmt: skip
    """Close a block of 50 ms: remember it, learn in rest how energy scatters, mend a wrong baseline."""
    k = int(m[s + RING_NEXT])
    block = m[s + BLOCK_ENERGY] / m[s + BLOCK_COUNT]
    m[s + _RING + k] = block
    m[s + _RING + RING_BLOCKS + k] = m[s + BLOCK_FAST] / m[s + BLOCK_TICKS]
    m[s + _RING + 2 * RING_BLOCKS + k] = m[s + BLOCK_SLOW] / m[s + BLOCK_TICKS]
    m[s + RING_NEXT] = (k + 1) % RING_BLOCKS
    m[s + RING_FILLED] = min(m[s + RING_FILLED] + 1.0, float(RING_BLOCKS))
    full = m[s + RING_FILLED] == RING_BLOCKS
    if m[s + PHASE] == _SEEDING:
        if full:
            _seed_baseline(m, s)
            m[s + PHASE] = _RUNNING
    elif m[s + BLOCK_REST] > 0.0:
        m[s + P0] += (block - m[s + P0]) * min(m[s + BLOCK_TICKS] / m[s + SEEN], 1.0)
        deviation = block / m[s + P0] - 1.0
        # Clipped at four standard deviations: one missed twitch must not deafen the test.
        square = min(deviation * deviation, 16.0 * m[s + VAR_B])
        m[s + SEEN_B] = min(m[s + SEEN_B] + 1.0, 400.0)
        m[s + VAR_B] += (square - m[s + VAR_B]) / m[s + SEEN_B]
        m[s + VAR_B] = max(m[s + VAR_B], 2.0 / (m[NU_MAX] * m[SLOTS_PER_BLOCK]))
    m[s + HALF_NU] = 1.0 / (m[s + VAR_B] * m[SLOTS_PER_BLOCK])
    if m[s + S_LOW] > m[H_ON] and full:
        _seed_baseline(m, s)
    if m[s + ON] > 0.0:
        if m[s + RING_NEXT] == 0.0:
            m[s + LOWEST] = min(m[s + LOWEST], _median(m, s + _RING, RING_BLOCKS))
        in_rest = m[REST_START] <= stamp < m[REST_END]
        longest = m[LONGEST_IN_REST] if in_rest else m[LONGEST_SLOTS]
        if m[s + ON_SLOTS] >= longest and m[s + LOWEST] < math.inf:
            # Nobody smiles that long without a pause: the noise itself has risen.
            m[s + OFFSET] = stamp
            found = _close_burst(m, c, s, stamp, bursts, found, 0.5)
            _seed_baseline(m, s)
            m[s + P0] = min(m[s + P0], m[s + LOWEST])
    _rate_quality(m, c, s, channels, cross, stride)
    m[s + BLOCK_ENERGY] = 0.0
    m[s + BLOCK_FAST] = 0.0
    m[s + BLOCK_SLOW] = 0.0
    m[s + BLOCK_COUNT] = 0.0
    m[s + BLOCK_TICKS] = 0.0
    m[s + BLOCK_REST] = 1.0
    return found


@njit(cache=True, nogil=True)
def _harmonic(scan_number: float) -> int:
    """Which harmonic (0 is the fundamental) the search looks at: 1, 2, 1, 3, 1, 2 ..."""
    k = int(scan_number) % 4
    return 1 if k == 1 else (2 if k == 3 else 0)


@njit(cache=True, nogil=True)
def _end_scan(m: Floats, rows: int, stride: int, channels: int) -> None:
    """Half a second has been searched for mains: choose the notch bank, and set up the next search."""
    length = m[SCAN_LENGTH]
    best50 = 0.0
    best60 = 0.0
    harmonic = _harmonic(m[SCAN_NUMBER])
    cos50 = m[COSINES + 2 * harmonic]
    cos60 = m[COSINES + 2 * harmonic + 1]
    for c in range(channels):
        s = rows + c * stride
        if m[s + SCAN_SPOILT] == 0.0 and m[s + SCAN_POWER] > _TINY:
            scale = 2.0 / (length * m[s + SCAN_POWER])
            p50 = m[s + G50A] * m[s + G50A] + m[s + G50B] * m[s + G50B] - cos50 * m[s + G50A] * m[s + G50B]
            p60 = m[s + G60A] * m[s + G60A] + m[s + G60B] * m[s + G60B] - cos60 * m[s + G60A] * m[s + G60B]
            best50 = max(best50, p50 * scale)
            best60 = max(best60, p60 * scale)
            m[SCANNED] = 1.0
        m[s + G50A] = 0.0
        m[s + G50B] = 0.0
        m[s + G60A] = 0.0
        m[s + G60B] = 0.0
        m[s + SCAN_POWER] = 0.0
        m[s + SCAN_SPOILT] = 0.0
    bank = 1.0 if best50 >= best60 else 2.0
    best = max(best50, best60)
    clear = best > 3.0 * min(best50, best60)
    if clear and best > m[LINE_LIKELY] and bank != m[BANK]:
        if best > m[LINE_SURE] or m[LIKELY] == bank:
            m[BANK] = bank
            for c in range(channels):
                # The notches start from nothing and ring: warm up as after a gap, what was on is void.
                s = rows + c * stride
                m[s + WARM] = max(m[s + WARM], m[REWARM])
                m[s + ON] = 0.0
                m[s + S_ON] = 0.0
        m[LIKELY] = bank
    elif harmonic == 0:
        m[LIKELY] = 0.0
    m[SCAN_NUMBER] += 1.0
    m[SCAN_LEFT] = length


@njit(cache=True, nogil=True, forceinline=True)
def _samples(
    m: Floats, data: Floats, c: int, start: int, stop: int, s: int, filters: int, steady: int, sections: int,
    band: int, used: int, q: int, e: int, line: int, cos50: float, cos60: float,
) -> None:  # fmt: skip
    """Samples `start` to `stop` of one channel, within one slot: leave out the unusable, filter the rest."""
    previous = m[s + PREVIOUS]
    run = m[s + RUN]
    high = m[s + HIGH]
    low = m[s + LOW]
    count = 0
    for i in range(start, stop):
        x = data[i, c]
        run = run + 1.0 if x == previous else 1.0
        previous = x
        if not math.isfinite(x) or run >= m[FLAT]:
            if count > 0:
                _filter(m, s, s + filters, sections, band, used, q, e, line, count, cos50, cos60)
                count = 0
            m[s + STALE] = 1.0
            m[s + WARM] = m[REWARM]
            m[s + SLOT_BAD] = 1.0
            m[s + SCAN_SPOILT] = 1.0
            continue
        if m[s + STALE] > 0.0:
            # As if the input had been x for ever: no step response of an electrode's offset of millivolts.
            m[s + STALE] = 0.0
            m[s + WARM] = m[REWARM]
            high = x
            low = x
            for j in range(2 * sections):
                m[s + filters + j] = m[steady + j] * x if j < 2 * band else 0.0
        if x >= high or x <= low:
            high = max(high, x)
            low = min(low, x)
            if run >= _RAIL_RUN:
                m[s + SLOT_RAILED] += 1.0
        elif abs(x) >= m[RAIL]:
            m[s + SLOT_RAILED] += 1.0
        m[line + count] = x
        count += 1
    if count > 0:
        _filter(m, s, s + filters, sections, band, used, q, e, line, count, cos50, cos60)
    m[s + PREVIOUS] = previous
    m[s + RUN] = run
    m[s + HIGH] = high
    m[s + LOW] = low


@njit(cache=True, nogil=True)
def _sections(m: Floats, q: int, f: int, first: int, last: int, line: int, count: int) -> None:
    """Second-order sections, transposed direct form II, over `count` samples at `line`, in place.

    Two sections at a time, so that coefficients and states stay in registers and one section works while the
    other waits; the arithmetic of a sample is that of ``scipy.signal.sosfilt``, bit for bit.
    """
    j = first
    while j + 1 < last:
        a = q + 5 * j
        b = f + 2 * j
        b0, b1, b2, a1, a2 = m[a], m[a + 1], m[a + 2], m[a + 3], m[a + 4]
        d0, d1, d2, c1, c2 = m[a + 5], m[a + 6], m[a + 7], m[a + 8], m[a + 9]
        u, v, w, z = m[b], m[b + 1], m[b + 2], m[b + 3]
        for i in range(line, line + count):
            x = m[i]
            y = b0 * x + u
            u = b1 * x - a1 * y + v
            v = b2 * x - a2 * y
            x = d0 * y + w
            w = d1 * y - c1 * x + z
            z = d2 * y - c2 * x
            m[i] = x
        m[b], m[b + 1], m[b + 2], m[b + 3] = u, v, w, z
        j += 2
    if j < last:
        a = q + 5 * j
        b = f + 2 * j
        b0, b1, b2, a1, a2 = m[a], m[a + 1], m[a + 2], m[a + 3], m[a + 4]
        u, v = m[b], m[b + 1]
        for i in range(line, line + count):
            x = m[i]
            y = b0 * x + u
            u = b1 * x - a1 * y + v
            v = b2 * x - a2 * y
            m[i] = y
        m[b], m[b + 1] = u, v


@njit(cache=True, nogil=True)
def _filter(
    m: Floats, s: int, f: int, sections: int, band: int, used: int, q: int, e: int, line: int, count: int,
    cos50: float, cos60: float,
) -> None:  # fmt: skip
    """`count` usable samples of one channel, in `line`: band, search for mains, notches, envelopes, sums."""
    _sections(m, q, f, 0, band, line, count)
    if m[SCAN] > 0.0:
        g50a, g50b, g60a, g60b = m[s + G50A], m[s + G50B], m[s + G60A], m[s + G60B]
        for i in range(line, line + count):
            g50a, g50b = m[i] + cos50 * g50a - g50b, g50a
            g60a, g60b = m[i] + cos60 * g60a - g60b, g60a
        m[s + G50A], m[s + G50B], m[s + G60A], m[s + G60B] = g50a, g50b, g60a, g60b
    power = 0.0
    for i in range(line, line + count):
        power += m[i] * m[i]
    m[s + SCAN_POWER] += power
    m[s + PRE] = m[line + count - 1]
    _sections(m, q, f, band, used, line, count)
    if m[s + WARM] > 0.0:
        count = _warm_up(m, s, f + 2 * sections, e, line, count)
        if count == 0:
            return
        power = 0.0  # the slot is spoilt anyway
    g = f + 2 * sections
    fast, slow = m[s + FAST], m[s + SLOW]
    fa, fb, sa, sb = m[g], m[g + 1], m[g + 2], m[g + 3]
    f0, f1, f2, f3, f4 = m[e], m[e + 1], m[e + 2], m[e + 3], m[e + 4]
    s0, s1, s2, s3, s4 = m[e + 5], m[e + 6], m[e + 7], m[e + 8], m[e + 9]
    energy = 0.0
    for i in range(line, line + count):
        y = m[i]
        energy += y * y
        y = abs(y)
        fast = f0 * y + fa
        fa = f1 * y - f3 * fast + fb
        fb = f2 * y - f4 * fast
        slow = s0 * y + sa
        sa = s1 * y - s3 * slow + sb
        sb = s2 * y - s4 * slow
    m[s + FAST], m[s + SLOW] = fast, slow
    m[g], m[g + 1], m[g + 2], m[g + 3] = fa, fb, sa, sb
    m[s + SLOT_ENERGY] += energy
    m[s + SLOT_RAW_ENERGY] += power
    m[s + SLOT_COUNT] += count


@njit(cache=True, nogil=True)
def _warm_up(m: Floats, s: int, g: int, e: int, line: int, count: int) -> int:
    """Let the filters settle on the samples in `line`; returns how many are left, moved to its start."""
    m[s + SLOT_BAD] = 1.0
    left = 0
    for i in range(line, line + count):
        if m[s + WARM] <= 0.0:
            m[line + left] = m[i]
            left += 1
            continue
        m[s + WARM] -= 1.0
        if m[s + WARM] > 0.5 * m[REWARM]:
            m[s + SCAN_SPOILT] = 1.0
        elif m[s + ENVELOPES_READY] == 0.0:
            # The very first envelopes start from the mean of what they will follow, not from zero.
            m[s + WARM_SUM] += abs(m[i])
            m[s + WARM_COUNT] += 1.0
            if m[s + WARM] <= 0.0:
                level = m[s + WARM_SUM] / m[s + WARM_COUNT]
                for j in range(4):
                    m[g + j] = m[e + 10 + j] * level
                m[s + ENVELOPES_READY] = 1.0
    return left


@njit(cache=True, nogil=True)
def advance(
    data: Floats, stamps: Floats, first: int, memory: Floats, sections: int, band: int,
    out: Floats, out_stamps: Floats, bursts: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Push a chunk through the chain.

    Args:
        data: float64 [n, channels], microvolts, NaN where there is none.
        stamps: float64 [n], seconds.
        first: Running number of the first sample since the stream began.
        memory: Flat state, see `layout`.
        sections, band: How many filter sections there are, and how many of them make the band.
        out: [>= outputs, channels * 7], written.
        out_stamps: [>= outputs], written.
        bursts: [capacity, BURST_FIELDS], written.

    Returns:
        Number of output rows and of finished bursts.
    """
    m = memory
    channels = data.shape[1]
    coefficients, steady, envelopes, _, rows, filters, cross, stride = layout(channels, sections, band)
    line = rows + channels * stride
    per_sample = m[SLOT_RATE] / m[RATE]
    per_tick = m[SLOTS_PER_TICK]
    scanning = m[SCAN] > 0.0
    gain = per_tick * m[QUALITY_GAIN]
    slots_before = math.floor(first * per_sample)
    ticks = 0
    found = 0
    n = data.shape[0]
    i = 0
    while i < n:
        # A run ends with its slot, with the search for mains, or with the chunk.
        stop = i
        slots_after = slots_before
        limit = min(n, i + int(m[SCAN_LEFT])) if scanning else n
        while stop < limit and slots_after == slots_before:
            stop += 1
            slots_after = math.floor((first + stop) * per_sample)
        bank = int(m[BANK])
        used = band + int(m[NOTCHES_50 + bank - 1]) if bank > 0 else band
        pair = COSINES + 2 * _harmonic(m[SCAN_NUMBER])
        for c in range(channels):
            _samples(
                m, data, c, i, stop, rows + c * stride, filters, steady, sections, band, used,
                coefficients + 5 * sections * bank, envelopes, line, m[pair], m[pair + 1],
            )  # fmt: skip
        if scanning:
            m[SCAN_LEFT] -= stop - i
            if m[SCAN_LEFT] <= 0.0:
                _end_scan(m, rows, stride, channels)
                if int(m[BANK]) != bank:
                    for c in range(channels):
                        notch = rows + c * stride + filters
                        for j in range(2 * band, 2 * sections):
                            m[notch + j] = 0.0
        i = stop
        if slots_after == slots_before:
            continue
        stamp = stamps[stop - 1]
        for c in range(channels):
            found = _slot(m, c, rows + c * stride, stamp, bursts, found)
        if math.floor(slots_after / per_tick) > math.floor(slots_before / per_tick):
            scanned = not scanning or m[SCANNED] > 0.0
            for c in range(channels):
                s = rows + c * stride
                for other in range(channels):
                    product = m[s + PRE] * m[rows + other * stride + PRE]
                    m[s + cross + other] += (product - m[s + cross + other]) * gain
                span = 0.001 * (m[s + HIGH] - m[s + LOW])
                m[s + HIGH] -= span
                m[s + LOW] += span
                found = _tick(m, c, s, channels, cross, stride, scanned, stamp, bursts, found, out, ticks)
            out_stamps[ticks] = stamp
            ticks += 1
        slots_before = slots_after
    return ticks, found
