"""The EMG chain in one pass per chunk: band, notch, envelopes, baseline, bursts, quality.

Compiled with numba, nothing is allocated; all state lives in arrays that `processing.emg.MuscleActivity` owns, and
every decision hangs on sample counts alone, so that any chunking of a signal gives the same bits.

Bursts are found by a pair of Page's cumulative sum tests on the signal's energy (Page 1954, Biometrika 41; for EMG
Staude 2001, IEEE Trans. Biomed. Eng. 48). In rest the energy of a slot over its baseline is r, a chi-square of `nu`
degrees of freedom over `nu`; in activity it is rho times as much. The log-likelihood ratio of a slot is

    llr(r, rho) = nu / 2 * (r * (1 - 1 / rho) - ln(rho))

Its sum, kept >= 0, crosses a threshold when activity has begun, and the slot where it last was zero is the maximum
likelihood estimate of the onset: that back-dates the burst by itself. The offset is the mirror image, with rho the
level of the burst so far. `nu` is measured in rest, which makes the test hold its false-alarm rate for any rate,
spectrum and heavy-tailed baseline.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

OUTPUTS = ("envelope_uv", "slow_uv", "z", "slow_z", "mvc", "burst", "quality")
"""Columns per EMG channel, in the order the kernel writes them."""

RING_BLOCKS = 20
"""Blocks of 50 ms remembered for a robust re-seeding of the baseline: one second."""

# --- configuration, one float64 vector -----------------------------------------------------------------------------
_CONFIG = [
    "RATE",
    "SLOT_RATE",
    "SLOTS_PER_TICK",
    "SLOTS_PER_BLOCK",
    "REWARM",
    "FLAT",
    "RAIL",
    "DELAY",
    "FAST_DELAY",
    "SCAN",
    "SCAN_LENGTH",
    "LINE_SURE",
    "LINE_LIKELY",
    "H_ON",
    "H_OFF",
    "RHO",
    "RHO_MAX",
    "OFF_S",
    "MIN_BURST_S",
    "LONGEST_SLOTS",
    "BASELINE_SLOTS",
    "REST_START",
    "REST_END",
    "NU_MAX",
    "FAST_VAR_NU",
    "SLOW_VAR_NU",
    "LINE_WARN",
    "LINE_BAD",
    "NOISE_GOOD",
    "NOISE_BAD",
    "RAILED_BAD",
    "R_BAD",
    "COSINES",
]
CONFIG_INDEX = {name: index for index, name in enumerate(_CONFIG)}
CONFIG_LENGTH = len(_CONFIG) + 5  # COSINES is the first of six
(
    RATE, SLOT_RATE, SLOTS_PER_TICK, SLOTS_PER_BLOCK, REWARM, FLAT, RAIL, DELAY, FAST_DELAY,
    SCAN, SCAN_LENGTH, LINE_SURE, LINE_LIKELY, H_ON, H_OFF, RHO, RHO_MAX, OFF_S, MIN_BURST_S, LONGEST_SLOTS,
    BASELINE_SLOTS, REST_START, REST_END, NU_MAX, FAST_VAR_NU, SLOW_VAR_NU,
    LINE_WARN, LINE_BAD, NOISE_GOOD, NOISE_BAD, RAILED_BAD, R_BAD, COSINES,
) = range(len(_CONFIG))  # fmt: skip

# --- state of one channel, one float64 row ---------------------------------------------------------------------------
STATE_LENGTH = 61
(
    STALE, WARM, PREVIOUS, RUN, HIGH, LOW, ENVELOPES_READY, WARM_SUM, WARM_COUNT,  # input
    G50A, G50B, G60A, G60B, SCAN_POWER, SCAN_SPOILT,  # mains search
    FAST, SLOW, SLOT_ENERGY, SLOT_RAW_ENERGY, SLOT_COUNT, SLOT_BAD, SLOT_RAILED, PRE,  # slot being filled
    PHASE, REST_BEGUN, P0, SEEN, MU_F, VAR_F, MU_S, VAR_S, VAR_B, SEEN_B,  # baseline
    BLOCK_ENERGY, BLOCK_FAST, BLOCK_SLOW, BLOCK_COUNT, BLOCK_REST, RING_NEXT, RING_FILLED,  # 50 ms blocks
    S_ON, S_LOW, S_OFF, ON, ONSET, OFFSET, LAST_STAMP, LEVEL_SUM, LEVEL_COUNT, LOWEST,  # burst tests
    PEAK_FAST, PEAK_STAMP, Z_SUM, Z_COUNT, Z_SUM_OFF, Z_COUNT_OFF,  # burst features
    PRE_POWER, POST_POWER, RAILED, GAPPY, MVC,  # quality and calibration
) = range(STATE_LENGTH)  # fmt: skip

# --- state shared by all channels -----------------------------------------------------------------------------------
SHARED_LENGTH = 5
(BANK, SCAN_LEFT, SCAN_NUMBER, LIKELY, SCANNED) = range(SHARED_LENGTH)

_WAITING, _SEEDING, _RUNNING = 0.0, 1.0, 2.0
_TINY = 1e-12
_RAIL_RUN = 3.0  # equal samples at the extreme of the signal that count as a rail
_QUALITY_S = 2.0  # memory of the quality indices


@njit(cache=True, nogil=True)
def _median(values: Floats, count: int, scratch: Floats) -> float:
    for i in range(count):
        value = values[i]
        j = i
        while j > 0 and scratch[j - 1] > value:
            scratch[j] = scratch[j - 1]
            j -= 1
        scratch[j] = value
    half = count // 2
    if count % 2:
        return float(scratch[half])
    return float(0.5 * (scratch[half - 1] + scratch[half]))


@njit(cache=True, nogil=True)
def _seed_baseline(s: Floats, ring: Floats, scratch: Floats, config: Floats) -> None:
    """Start the baseline anew from the last second, robust to activity in less than half of it."""
    filled = int(s[RING_FILLED])
    nu = min(2.0 / s[VAR_B], config[NU_MAX] * config[SLOTS_PER_BLOCK])
    # The median of a chi-square lies below its mean by about 2 / (3 nu).
    s[P0] = max(_median(ring[0], filled, scratch) / (1.0 - 2.0 / (3.0 * max(nu, 2.0))), _TINY)
    s[MU_F] = _median(ring[1], filled, scratch)
    s[MU_S] = _median(ring[2], filled, scratch)
    s[SEEN] = filled * config[SLOTS_PER_BLOCK]
    s[S_ON] = 0.0
    s[S_LOW] = 0.0


@njit(cache=True, nogil=True)
def _score(value: float, warn: float, bad: float) -> float:
    """1 up to `warn`, 0.5 at `bad`, falling on to 0."""
    return min(max(1.0 - 0.5 * (value - warn) / (bad - warn), 0.0), 1.0)


@njit(cache=True, nogil=True)
def _quality(c: int, state: Floats, cross: Floats, config: Floats) -> float:
    s = state[c]
    if s[WARM] > 0.0 or s[STALE] > 0.0 or s[PHASE] != _RUNNING:
        return 0.0
    line = 1.0 - s[POST_POWER] / max(s[PRE_POWER], _TINY)
    # The notch takes the line out: it makes a channel doubtful, never useless.
    quality = max(_score(line, config[LINE_WARN], config[LINE_BAD]), 0.3)
    quality *= _score(math.sqrt(s[P0]), config[NOISE_GOOD], config[NOISE_BAD])
    quality *= _score(s[RAILED], config[RAILED_BAD], 10.0 * config[RAILED_BAD])
    quality *= 1.0 - min(s[GAPPY], 1.0)
    for other in range(state.shape[0]):
        if other != c:
            scale = math.sqrt(max(cross[c, c] * cross[other, other], _TINY))
            if abs(cross[c, other]) > config[R_BAD] * scale:
                quality = min(quality, 0.3)
    return quality


@njit(cache=True, nogil=True)
def _close_burst(
    c: int, s: Floats, config: Floats, stamp: float, bursts: Floats, found: int, quality: float
) -> int:
    """Write the burst that just ended into `bursts` unless it was too short; returns how many there are."""
    onset = s[ONSET] - config[DELAY]
    offset = s[OFFSET] - config[DELAY]
    s[ON] = 0.0
    s[S_ON] = 0.0
    s[S_OFF] = 0.0
    if offset - onset < config[MIN_BURST_S] or found >= bursts.shape[0]:
        return found
    row = bursts[found]
    row[0] = c
    row[1] = onset
    row[2] = min(max(s[PEAK_STAMP] - config[DELAY] - config[FAST_DELAY], onset), offset)
    row[3] = offset
    row[4] = stamp
    row[5] = (math.log(max(s[PEAK_FAST], _TINY)) - s[MU_F]) / math.sqrt(s[VAR_F])
    row[6] = s[Z_SUM_OFF] / max(s[Z_COUNT_OFF], 1.0)
    row[7] = s[PEAK_FAST]
    row[8] = quality
    return found + 1


@njit(cache=True, nogil=True)
def _rest_block(s: Floats, ring: Floats, config: Floats) -> None:
    """Close a block of 50 ms: remember it, and learn from blocks of rest how much the energy scatters."""
    count = s[BLOCK_COUNT]
    k = int(s[RING_NEXT])
    ring[0, k] = s[BLOCK_ENERGY] / count
    ring[1, k] = s[BLOCK_FAST] / count
    ring[2, k] = s[BLOCK_SLOW] / count
    s[RING_NEXT] = (k + 1) % RING_BLOCKS
    s[RING_FILLED] = min(s[RING_FILLED] + 1.0, float(RING_BLOCKS))
    if s[PHASE] == _RUNNING and s[BLOCK_REST] > 0.0:
        deviation = ring[0, k] / s[P0] - 1.0
        # Clipped at four standard deviations: one missed twitch must not deafen the test.
        square = min(deviation * deviation, 16.0 * s[VAR_B])
        s[SEEN_B] = min(s[SEEN_B] + 1.0, 400.0)
        s[VAR_B] += (square - s[VAR_B]) / s[SEEN_B]
        s[VAR_B] = max(s[VAR_B], 2.0 / (config[NU_MAX] * config[SLOTS_PER_BLOCK]))
    s[BLOCK_ENERGY] = 0.0
    s[BLOCK_FAST] = 0.0
    s[BLOCK_SLOW] = 0.0
    s[BLOCK_COUNT] = 0.0
    s[BLOCK_REST] = 1.0


@njit(cache=True, nogil=True)
def _slot(
    c: int, state: Floats, ring: Floats, scratch: Floats, cross: Floats, config: Floats, shared: Floats,
    stamp: float, bursts: Floats, found: int,
) -> int:  # fmt: skip
    """One slot (5 ms at most rates) of one channel is full: baseline, burst tests, quality indices."""
    s = state[c]
    count = s[SLOT_COUNT]
    bad = s[SLOT_BAD] > 0.0 or count == 0.0
    memory = 1.0 / (_QUALITY_S * config[SLOT_RATE])
    s[GAPPY] += ((1.0 if bad else 0.0) - s[GAPPY]) * memory
    if bad:
        if s[ON] > 0.0:
            found = _close_burst(c, s, config, stamp, bursts, found, 0.5 * _quality(c, state, cross, config))
        s[S_ON] = 0.0
        s[S_LOW] = 0.0
        s[BLOCK_REST] = 0.0
    else:
        energy = s[SLOT_ENERGY] / count
        s[PRE_POWER] += (s[SLOT_RAW_ENERGY] / count - s[PRE_POWER]) * memory
        s[POST_POWER] += (energy - s[POST_POWER]) * memory
        s[RAILED] += (s[SLOT_RAILED] / count - s[RAILED]) * memory
        if s[PHASE] == _WAITING and (config[SCAN] == 0.0 or shared[SCANNED] > 0.0):
            s[PHASE] = _RUNNING if s[SEEN] > 0.0 else _SEEDING
        if s[PHASE] != _WAITING:
            log_fast = math.log(max(s[FAST], _TINY))
            log_slow = math.log(max(s[SLOW], _TINY))
            s[BLOCK_ENERGY] += energy
            s[BLOCK_FAST] += log_fast
            s[BLOCK_SLOW] += log_slow
            s[BLOCK_COUNT] += 1.0
            if s[PHASE] == _RUNNING:
                found = _test(
                    c, state, ring, scratch, cross, config, energy, log_fast, log_slow, stamp, bursts, found
                )
            if s[BLOCK_COUNT] >= config[SLOTS_PER_BLOCK]:
                _rest_block(s, ring, config)
                if s[PHASE] == _SEEDING and s[RING_FILLED] == RING_BLOCKS:
                    _seed_baseline(s, ring, scratch, config)
                    s[VAR_F] = config[FAST_VAR_NU] * s[VAR_B]
                    s[VAR_S] = config[SLOW_VAR_NU] * s[VAR_B]
                    s[PHASE] = _RUNNING
                if s[ON] > 0.0 and s[RING_NEXT] == 0.0:
                    s[LOWEST] = min(s[LOWEST], _median(ring[0], RING_BLOCKS, scratch))
    s[SLOT_ENERGY] = 0.0
    s[SLOT_RAW_ENERGY] = 0.0
    s[SLOT_COUNT] = 0.0
    s[SLOT_BAD] = 0.0
    s[SLOT_RAILED] = 0.0
    s[LAST_STAMP] = stamp
    return found


@njit(cache=True, nogil=True)
def _test(
    c: int, state: Floats, ring: Floats, scratch: Floats, cross: Floats, config: Floats,
    energy: float, log_fast: float, log_slow: float, stamp: float, bursts: Floats, found: int,
) -> int:  # fmt: skip
    """Run the onset or the offset test on one slot, and let the baseline follow in rest."""
    s = state[c]
    half_nu = 1.0 / (s[VAR_B] * config[SLOTS_PER_BLOCK])
    ratio = energy / s[P0]
    z = (log_fast - s[MU_F]) / math.sqrt(s[VAR_F])
    if s[ON] == 0.0:
        rho = config[RHO]
        if s[S_ON] <= 0.0:
            s[ONSET] = s[LAST_STAMP]
            s[LEVEL_SUM] = 0.0
            s[LEVEL_COUNT] = 0.0
            s[PEAK_FAST] = 0.0
            s[Z_SUM] = 0.0
            s[Z_COUNT] = 0.0
        # No slot may decide alone: a click is not a burst.
        llr = half_nu * (ratio * (1.0 - 1.0 / rho) - math.log(rho))
        s[S_ON] = max(s[S_ON] + min(llr, 0.25 * config[H_ON]), 0.0)
        # The same test downward: energy that stays below the baseline shows that the baseline was activity.
        s[S_LOW] = max(s[S_LOW] + half_nu * (0.6931471805599453 - ratio), 0.0)
        in_rest = config[REST_START] <= stamp < config[REST_END]
        if in_rest and s[REST_BEGUN] == 0.0:
            # What came before was a guess: let the rest that was promised outweigh it.
            s[REST_BEGUN] = 1.0
            s[SEEN] = min(s[SEEN], 0.5 * config[SLOT_RATE])
        if s[S_ON] < 0.4 * config[H_ON] or (in_rest and ratio < 10.0):
            limit = config[BASELINE_SLOTS]
            if in_rest:
                limit *= 3.0
            s[SEEN] = min(s[SEEN] + 1.0, limit)
            gain = 1.0 / s[SEEN]
            s[P0] += (energy - s[P0]) * gain
            deviation = log_fast - s[MU_F]
            s[MU_F] += deviation * gain
            s[VAR_F] = max(s[VAR_F] + (min(deviation * deviation, 16.0 * s[VAR_F]) - s[VAR_F]) * gain, 0.0025)
            deviation = log_slow - s[MU_S]
            s[MU_S] += deviation * gain
            s[VAR_S] = max(s[VAR_S] + (min(deviation * deviation, 16.0 * s[VAR_S]) - s[VAR_S]) * gain, 0.0009)
        else:
            s[BLOCK_REST] = 0.0
        if s[S_LOW] > config[H_ON] and s[RING_FILLED] == RING_BLOCKS:
            _seed_baseline(s, ring, scratch, config)
        if s[S_ON] > config[H_ON]:
            s[ON] = 1.0
            s[S_OFF] = 0.0
            s[LOWEST] = math.inf
    else:
        s[BLOCK_REST] = 0.0
        rho = min(max(s[LEVEL_SUM] / s[LEVEL_COUNT], config[RHO]), config[RHO_MAX])
        if s[S_OFF] <= 0.0:
            s[OFFSET] = s[LAST_STAMP]
            s[Z_SUM_OFF] = s[Z_SUM]
            s[Z_COUNT_OFF] = s[Z_COUNT]
        llr = half_nu * (ratio * (1.0 - 1.0 / rho) - math.log(rho))
        s[S_OFF] = max(s[S_OFF] - llr, 0.0)
        if s[S_OFF] <= 0.0:
            s[OFFSET] = stamp
    s[Z_SUM] += z
    s[Z_COUNT] += 1.0
    if s[S_OFF] <= 0.0 or s[ON] == 0.0:
        s[LEVEL_SUM] += ratio
        s[LEVEL_COUNT] += 1.0
    if s[FAST] > s[PEAK_FAST]:
        s[PEAK_FAST] = s[FAST]
        s[PEAK_STAMP] = stamp
    if s[ON] > 0.0:
        if s[S_OFF] > config[H_OFF] and stamp - s[OFFSET] >= config[OFF_S]:
            found = _close_burst(c, s, config, stamp, bursts, found, _quality(c, state, cross, config))
        elif s[Z_COUNT] >= config[LONGEST_SLOTS] and s[LOWEST] < math.inf:
            # Nobody smiles that long without a pause: the noise itself has risen.
            s[OFFSET] = stamp
            found = _close_burst(c, s, config, stamp, bursts, found, 0.5 * _quality(c, state, cross, config))
            _seed_baseline(s, ring, scratch, config)
            s[P0] = min(s[P0], s[LOWEST])
    return found


@njit(cache=True, nogil=True)
def _end_scan(state: Floats, config: Floats, shared: Floats) -> None:
    """Half a second has been searched for mains: choose the notch bank, and set up the next search."""
    length = config[SCAN_LENGTH]
    best50 = 0.0
    best60 = 0.0
    k = int(shared[SCAN_NUMBER]) % 4
    harmonic = 1 if k == 1 else (2 if k == 3 else 0)
    cos50 = config[COSINES + 2 * harmonic]
    cos60 = config[COSINES + 2 * harmonic + 1]
    for c in range(state.shape[0]):
        s = state[c]
        if s[SCAN_SPOILT] == 0.0 and s[SCAN_POWER] > _TINY:
            scale = 2.0 / (length * s[SCAN_POWER])
            p50 = s[G50A] * s[G50A] + s[G50B] * s[G50B] - cos50 * s[G50A] * s[G50B]
            p60 = s[G60A] * s[G60A] + s[G60B] * s[G60B] - cos60 * s[G60A] * s[G60B]
            best50 = max(best50, p50 * scale)
            best60 = max(best60, p60 * scale)
            shared[SCANNED] = 1.0
        s[G50A] = 0.0
        s[G50B] = 0.0
        s[G60A] = 0.0
        s[G60B] = 0.0
        s[SCAN_POWER] = 0.0
        s[SCAN_SPOILT] = 0.0
    bank = 1.0 if best50 >= best60 else 2.0
    best = max(best50, best60)
    clear = best > 3.0 * min(best50, best60)
    if clear and best > config[LINE_LIKELY] and bank != shared[BANK]:
        if best > config[LINE_SURE] or shared[LIKELY] == bank:
            shared[BANK] = bank
            for c in range(state.shape[0]):
                # The notches start from nothing and ring: warm up as after a gap, what was on is void.
                state[c, WARM] = max(state[c, WARM], config[REWARM])
                state[c, ON] = 0.0
        shared[LIKELY] = bank
    elif harmonic == 0:
        shared[LIKELY] = 0.0
    shared[SCAN_NUMBER] += 1.0
    shared[SCAN_LEFT] = length


@njit(cache=True, nogil=True)
def advance(
    data: Floats, stamps: Floats, first: int, sections: Floats, band: int, notches: Counts, steady: Floats,
    envelopes: Floats, envelope_steady: Floats, config: Floats, filters: Floats, state: Floats, shared: Floats,
    cross: Floats, ring: Floats, scratch: Floats, out: Floats, out_stamps: Floats, bursts: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Push a chunk through the chain.

    Args:
        data: float64 [n, channels], microvolts, NaN where there is none.
        stamps: float64 [n], seconds.
        first: Running number of the first sample since the stream began.
        sections, band, notches, steady, envelopes, envelope_steady: See `emg_filters.EmgFilters`.
        config: [CONFIG_LENGTH], see `_CONFIG`.
        filters: [channels, sections + 2, 2], states of the sections, the two envelopes last.
        state: [channels, STATE_LENGTH].
        shared: [SHARED_LENGTH].
        cross: [channels, channels], running cross products of the band-passed channels.
        ring: [channels, 3, RING_BLOCKS].
        scratch: [RING_BLOCKS].
        out: [>= outputs, channels * 7], written.
        out_stamps: [>= outputs], written.
        bursts: [capacity, 9], written: channel, onset, peak, offset, found, peak z, mean z, peak uV, quality.

    Returns:
        Number of output rows and of finished bursts.
    """
    channels = data.shape[1]
    total = sections.shape[1]
    per_sample = config[SLOT_RATE] / config[RATE]
    per_tick = config[SLOTS_PER_TICK]
    scanning = config[SCAN] > 0.0
    memory = 1.0 / (_QUALITY_S * config[SLOT_RATE])
    slots_before = math.floor(first * per_sample)
    ticks = 0
    found = 0
    bank = int(shared[BANK])
    used = band + notches[bank]
    k = int(shared[SCAN_NUMBER]) % 4
    cosine = COSINES + 2 * (1 if k == 1 else (2 if k == 3 else 0))
    for i in range(data.shape[0]):
        slots_after = math.floor((first + i + 1) * per_sample)
        slot_ends = slots_after > slots_before
        for c in range(channels):
            s = state[c]
            f = filters[c]
            x = data[i, c]
            if x == s[PREVIOUS]:
                s[RUN] += 1.0
            else:
                s[RUN] = 1.0
                s[PREVIOUS] = x
            if not math.isfinite(x) or s[RUN] >= config[FLAT]:
                s[STALE] = 1.0
                s[WARM] = config[REWARM]
                s[SLOT_BAD] = 1.0
                s[SCAN_SPOILT] = 1.0
                continue
            if s[STALE] > 0.0:
                # As if the input had been x for ever: no step response of an electrode offset of many millivolts.
                s[STALE] = 0.0
                s[WARM] = config[REWARM]
                s[HIGH] = x
                s[LOW] = x
                for j in range(total):
                    f[j, 0] = steady[j, 0] * x if j < band else 0.0
                    f[j, 1] = steady[j, 1] * x if j < band else 0.0
            if x >= s[HIGH]:
                s[HIGH] = x
                if s[RUN] >= _RAIL_RUN:
                    s[SLOT_RAILED] += 1.0
            elif x <= s[LOW]:
                s[LOW] = x
                if s[RUN] >= _RAIL_RUN:
                    s[SLOT_RAILED] += 1.0
            elif abs(x) >= config[RAIL]:
                s[SLOT_RAILED] += 1.0
            y = x
            for j in range(band):
                q = sections[bank, j]
                u = q[0] * y + f[j, 0]
                f[j, 0] = q[1] * y - q[3] * u + f[j, 1]
                f[j, 1] = q[2] * y - q[4] * u
                y = u
            pre = y
            for j in range(band, used):
                q = sections[bank, j]
                u = q[0] * y + f[j, 0]
                f[j, 0] = q[1] * y - q[3] * u + f[j, 1]
                f[j, 1] = q[2] * y - q[4] * u
                y = u
            s[PRE] = pre
            square = pre * pre
            if scanning:
                u = pre + config[cosine] * s[G50A] - s[G50B]
                s[G50B] = s[G50A]
                s[G50A] = u
                u = pre + config[cosine + 1] * s[G60A] - s[G60B]
                s[G60B] = s[G60A]
                s[G60A] = u
                s[SCAN_POWER] += square
            magnitude = abs(y)
            if s[WARM] > 0.0:
                s[WARM] -= 1.0
                s[SLOT_BAD] = 1.0
                if s[WARM] > 0.5 * config[REWARM]:
                    s[SCAN_SPOILT] = 1.0
                elif s[ENVELOPES_READY] == 0.0:
                    s[WARM_SUM] += magnitude
                    s[WARM_COUNT] += 1.0
                    if s[WARM] == 0.0:
                        level = s[WARM_SUM] / s[WARM_COUNT]
                        for j in range(2):
                            f[total + j, 0] = envelope_steady[j, 0] * level
                            f[total + j, 1] = envelope_steady[j, 1] * level
                        s[ENVELOPES_READY] = 1.0
                continue
            q = envelopes[0]
            g = f[total]
            u = q[0] * magnitude + g[0]
            g[0] = q[1] * magnitude - q[3] * u + g[1]
            g[1] = q[2] * magnitude - q[4] * u
            s[FAST] = u
            q = envelopes[1]
            g = f[total + 1]
            u = q[0] * magnitude + g[0]
            g[0] = q[1] * magnitude - q[3] * u + g[1]
            g[1] = q[2] * magnitude - q[4] * u
            s[SLOW] = u
            s[SLOT_ENERGY] += y * y
            s[SLOT_RAW_ENERGY] += square
            s[SLOT_COUNT] += 1.0
        if scanning:
            shared[SCAN_LEFT] -= 1.0
            if shared[SCAN_LEFT] <= 0.0:
                _end_scan(state, config, shared)
                if int(shared[BANK]) != bank:
                    bank = int(shared[BANK])
                    used = band + notches[bank]
                    for c in range(channels):
                        for j in range(band, total):
                            filters[c, j, 0] = 0.0
                            filters[c, j, 1] = 0.0
                k = int(shared[SCAN_NUMBER]) % 4
                cosine = COSINES + 2 * (1 if k == 1 else (2 if k == 3 else 0))
        if slot_ends:
            for c in range(channels):
                for other in range(c, channels):
                    product = state[c, PRE] * state[other, PRE]
                    cross[c, other] += (product - cross[c, other]) * memory
                    cross[other, c] = cross[c, other]
                span = state[c, HIGH] - state[c, LOW]
                state[c, HIGH] -= 0.0005 * span
                state[c, LOW] += 0.0005 * span
                found = _slot(c, state, ring[c], scratch, cross, config, shared, stamps[i], bursts, found)
            if math.floor(slots_after / per_tick) > math.floor(slots_before / per_tick):
                out_stamps[ticks] = stamps[i]
                for c in range(channels):
                    s = state[c]
                    row = out[ticks, 7 * c : 7 * c + 7]
                    row[0] = s[FAST]
                    row[1] = s[SLOW]
                    if s[PHASE] == _RUNNING and s[ENVELOPES_READY] > 0.0:
                        row[2] = (math.log(max(s[FAST], _TINY)) - s[MU_F]) / math.sqrt(s[VAR_F])
                        row[3] = (math.log(max(s[SLOW], _TINY)) - s[MU_S]) / math.sqrt(s[VAR_S])
                    else:
                        row[2] = math.nan
                        row[3] = math.nan
                    row[4] = 100.0 * s[FAST] / s[MVC]
                    row[5] = s[ON]
                    row[6] = _quality(c, state, cross, config)
                ticks += 1
        slots_before = slots_after
    return ticks, found
