"""Compiled part of the EMG chain that knows rest: a gated running baseline, seeded robustly.

It follows in rest, stands still during activity, is taken anew when the signal stays below it (it had learnt
activity) or above it for longer than anybody contracts a muscle (the noise has risen).
"""

from __future__ import annotations

import math

from numba import njit

from processing import emg_memory as at
from processing.emg_bursts import close_burst
from processing.emg_memory import Floats


@njit(nogil=True)
def follow(m: Floats, c: int, s: int, log_fast: float, log_slow: float, stamp: float) -> bool:
    """Every 10 ms of usable signal: let the baseline of channel `c` follow in rest.

    Returns whether a block of 50 ms has been closed.
    """
    m[s + at.BLOCK_FAST] += log_fast
    m[s + at.BLOCK_SLOW] += log_slow
    m[s + at.BLOCK_TICKS] += 1.0
    if m[s + at.PHASE] == at.RUNNING:
        in_rest = m[at.REST_START] <= stamp < m[at.REST_END]
        if in_rest and m[s + at.REST_BEGUN] == 0.0:
            # What came before was a guess: let the rest that was promised outweigh it.
            m[s + at.REST_BEGUN] = 1.0
            m[s + at.SEEN] = min(m[s + at.SEEN], 50.0)
        if m[s + at.ON] > 0.0 or m[s + at.S_ON] > 0.4 * m[at.H_ON]:
            m[s + at.BLOCK_REST] = 0.0
            if m[s + at.ON] == 0.0 or m[s + at.S_OFF] <= 0.0:
                m[s + at.LOG_SUM] += log_fast
                m[s + at.LOG_COUNT] += 1.0
        else:
            limit = 3.0 * m[at.BASELINE_TICKS] if in_rest else m[at.BASELINE_TICKS]
            m[s + at.SEEN] = min(m[s + at.SEEN] + 1.0, limit)
            _learn(m, s + at.MU_F, s + at.VAR_F, log_fast, 1.0 / m[s + at.SEEN], 0.0025)
            _learn(m, s + at.MU_S, s + at.VAR_S, log_slow, 1.0 / m[s + at.SEEN], 0.0009)
    if m[s + at.BLOCK_COUNT] < m[at.SLOTS_PER_BLOCK]:
        return False
    _close_block(m, c, s, stamp)
    return True


@njit(nogil=True)
def _learn(m: Floats, mean: int, variance: int, value: float, gain: float, least: float) -> None:
    deviation = value - m[mean]
    m[mean] += deviation * gain
    square = min(deviation * deviation, 16.0 * m[variance])
    m[variance] = max(m[variance] + (square - m[variance]) * gain, least)


@njit(nogil=True)
def _close_block(m: Floats, c: int, s: int, stamp: float) -> None:
    """Close a block of 50 ms: remember it, learn in rest how energy scatters, mend a wrong baseline."""
    k = int(m[s + at.RING_NEXT])
    block = m[s + at.BLOCK_ENERGY] / m[s + at.BLOCK_COUNT]
    m[s + at.RING + k] = block
    m[s + at.RING + at.RING_BLOCKS + k] = m[s + at.BLOCK_FAST] / m[s + at.BLOCK_TICKS]
    m[s + at.RING + 2 * at.RING_BLOCKS + k] = m[s + at.BLOCK_SLOW] / m[s + at.BLOCK_TICKS]
    m[s + at.RING_NEXT] = (k + 1) % at.RING_BLOCKS
    m[s + at.RING_FILLED] = min(m[s + at.RING_FILLED] + 1.0, float(at.RING_BLOCKS))
    full = m[s + at.RING_FILLED] == at.RING_BLOCKS
    if m[s + at.PHASE] == at.SEEDING:
        if full:
            _seed(m, s)
            m[s + at.PHASE] = at.RUNNING
    elif m[s + at.BLOCK_REST] > 0.0:
        m[s + at.P0] += (block - m[s + at.P0]) * min(m[s + at.BLOCK_TICKS] / m[s + at.SEEN], 1.0)
        deviation = block / m[s + at.P0] - 1.0
        # Clipped at four standard deviations: one missed twitch must not deafen the test.
        square = min(deviation * deviation, 16.0 * m[s + at.VAR_B])
        m[s + at.SEEN_B] = min(m[s + at.SEEN_B] + 1.0, 400.0)
        m[s + at.VAR_B] += (square - m[s + at.VAR_B]) / m[s + at.SEEN_B]
        m[s + at.VAR_B] = max(m[s + at.VAR_B], 2.0 / (m[at.NU_MAX] * m[at.SLOTS_PER_BLOCK]))
    m[s + at.HALF_NU] = 1.0 / (m[s + at.VAR_B] * m[at.SLOTS_PER_BLOCK])
    if m[s + at.S_LOW] > m[at.H_ON] and full:
        _seed(m, s)
    if m[s + at.ON] > 0.0:
        if m[s + at.RING_NEXT] == 0.0:
            m[s + at.LOWEST] = min(m[s + at.LOWEST], _median(m, s + at.RING, at.RING_BLOCKS))
        in_rest = m[at.REST_START] <= stamp < m[at.REST_END]
        longest = m[at.LONGEST_IN_REST] if in_rest else m[at.LONGEST_SLOTS]
        if m[s + at.ON_SLOTS] >= longest and m[s + at.LOWEST] < math.inf:
            # Nobody smiles that long without a pause: the noise itself has risen.
            m[s + at.OFFSET] = stamp
            close_burst(m, c, s, stamp, 0.5)
            _seed(m, s)
            m[s + at.P0] = min(m[s + at.P0], m[s + at.LOWEST])
    m[s + at.BLOCK_ENERGY] = 0.0
    m[s + at.BLOCK_FAST] = 0.0
    m[s + at.BLOCK_SLOW] = 0.0
    m[s + at.BLOCK_COUNT] = 0.0
    m[s + at.BLOCK_TICKS] = 0.0
    m[s + at.BLOCK_REST] = 1.0


@njit(nogil=True)
def _seed(m: Floats, s: int) -> None:
    """Start the baseline anew from the last second, robust to activity in less than half of it."""
    filled = int(m[s + at.RING_FILLED])
    # The median of a chi-square of n degrees of freedom lies below its mean by about 2 / (3 n).
    m[s + at.P0] = max(_median(m, s + at.RING, filled) / (1.0 - min(m[s + at.VAR_B], 1.0) / 3.0), at.TINY)
    m[s + at.MU_F] = _median(m, s + at.RING + at.RING_BLOCKS, filled)
    m[s + at.MU_S] = _median(m, s + at.RING + 2 * at.RING_BLOCKS, filled)
    m[s + at.VAR_F] = m[at.FAST_VAR_NU] * m[s + at.VAR_B]
    m[s + at.VAR_S] = m[at.SLOW_VAR_NU] * m[s + at.VAR_B]
    m[s + at.SEEN] = filled * m[at.SLOTS_PER_BLOCK] / m[at.SLOTS_PER_TICK]
    m[s + at.S_ON] = 0.0
    m[s + at.S_CLEAR] = 0.0
    m[s + at.S_LOW] = 0.0


@njit(nogil=True)
def _median(m: Floats, start: int, count: int) -> float:
    for i in range(count):
        value = m[start + i]
        j = at.SCRATCH + i
        while j > at.SCRATCH and m[j - 1] > value:
            m[j] = m[j - 1]
            j -= 1
        m[j] = value
    half = at.SCRATCH + count // 2
    low = m[half] if count % 2 else m[half - 1]
    return 0.5 * (low + m[half])  # type: ignore[no-any-return]
