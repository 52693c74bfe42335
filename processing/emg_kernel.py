"""The EMG chain in one pass per chunk: band, mains, envelopes, baseline, bursts, quality.

Compiled with numba, nothing is allocated; all state lives in one flat array (`processing.emg_memory`) that
`processing.emg` owns. Every decision hangs on sample counts alone, so that any chunking of a signal gives the
same bits.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

from numba import njit

from processing import (
    emg_baseline,
    emg_bursts,
    emg_cancelling,
    emg_coactivation,
    emg_filtering,
    emg_mains,
    emg_quality,
)
from processing import emg_memory as at
from processing.emg_baseline import follow
from processing.emg_bursts import close_burst, decide
from processing.emg_cancelling import RETUNE_SLOTS, adapt, forget_mains, pace_mains, retune
from processing.emg_coactivation import coactivation
from processing.emg_filtering import filter_samples
from processing.emg_mains import end_search, harmonic
from processing.emg_memory import Floats
from processing.emg_quality import rate

_RAIL_RUN = 3.0  # equal samples at the extreme of the signal that count as a rail

_PARTS = (
    emg_baseline, emg_bursts, emg_cancelling, emg_coactivation, emg_filtering, emg_mains, at, emg_quality,
)  # fmt: skip
_BUILD = zlib.crc32(b"".join(Path(str(part.__file__)).read_bytes() for part in _PARTS))
# Numba takes a compiled function from disk until the file it stands in changes, whatever happened to the
# functions it calls. So only `advance` is kept there, and as a default argument the build is part of the
# signature it is kept under.


@njit(cache=True, nogil=True)
def advance(
    data: Floats, stamps: Floats, first: int, memory: Floats, build: int = _BUILD
) -> tuple[int, int, int]:
    """Push a chunk through the chain; its output is left in `memory`.

    Args:
        data: float64 [n, channels], microvolts, NaN where there is none.
        stamps: float64 [n], seconds.
        first: Running number of the first sample since the stream began.
        memory: See `processing.emg_memory.Layout`.
        build: Leave it out; it keeps numba from taking an outdated compilation for this one.

    Returns:
        Number of output rows, number of finished bursts, and the running number of the first row, counted as
        if no sample had ever been lost.
    """
    m = memory
    channels = data.shape[1]
    states, stride = int(m[at.CHANNELS_AT]), int(m[at.STRIDE])
    line = states + channels * stride
    filters, e = int(m[at.FILTERS_IN]), int(m[at.ENVELOPES_AT])
    row = int(m[at.ROWS_AT])
    per_sample = m[at.SLOT_RATE] / m[at.RATE]
    per_tick = m[at.SLOTS_PER_TICK]
    scanning = m[at.SCAN] > 0.0
    slots_before = math.floor(first * per_sample)
    row_first = math.floor(slots_before / per_tick)
    m[at.FOUND] = 0.0
    rows = 0
    n = data.shape[0]
    i = 0
    while i < n:
        # A run ends with its slot, with the search for mains, or with the chunk.
        stop = i
        slots_after = slots_before
        limit = min(n, i + int(m[at.SCAN_LEFT])) if scanning else n
        while stop < limit and slots_after == slots_before:
            stop += 1
            slots_after = math.floor((first + stop) * per_sample)
        position = int(m[at.POSITION])
        pair = at.COSINES + 2 * harmonic(m[at.SCAN_NUMBER])
        for c in range(channels):
            s = states + c * stride
            _samples(m, data, c, i, stop, position, s, line, s + filters, e, m[pair], m[pair + 1])
        position += stop - i
        m[at.POSITION] = position
        if scanning:
            m[at.SCAN_LEFT] -= stop - i
            if m[at.SCAN_LEFT] <= 0.0:
                end_search(m, channels)
        i = stop
        if slots_after == slots_before:
            continue
        m[at.POSITION] = 0.0
        stamp = stamps[stop - 1]
        for c in range(channels):
            _slot(m, c, states + c * stride, stamp)
            if m[at.BANK] > 0.0:
                adapt(m, states + c * stride, position)
        if slots_after // RETUNE_SLOTS != slots_before // RETUNE_SLOTS and m[at.BANK] > 0.0:
            retune(m)
        if math.floor(slots_after / per_tick) > math.floor(slots_before / per_tick):
            m[row] = stamp
            for c in range(channels):
                _tick(m, c, states + c * stride, channels, stamp, row + 1 + at.OUTPUT_COUNT * c)
            end = row + 1 + at.OUTPUT_COUNT * channels
            for k in range(int(m[at.PAIRS])):
                pair = int(m[at.PAIRS_AT]) + 2 * k
                m[end + k] = coactivation(_slow_z(m, row, m[pair]), _slow_z(m, row, m[pair + 1]))
            row = end + int(m[at.PAIRS])
            rows += 1
        slots_before = slots_after
    return rows, int(m[at.FOUND]), row_first


@njit(nogil=True, forceinline=True)
def _slow_z(m: Floats, row: int, channel: float) -> float:
    return m[row + 1 + at.OUTPUT_COUNT * int(channel) + at.SLOW_Z]  # type: ignore[no-any-return]


@njit(nogil=True, forceinline=True)
def _samples(
    m: Floats, data: Floats, c: int, start: int, stop: int, position: int, s: int, line: int,
    f: int, e: int, cos50: float, cos60: float,
) -> None:  # fmt: skip
    """Samples `start` to `stop` of channel `c`, within one slot: leave out the unusable, filter the rest.

    The first of them is sample `position` of the slot.
    """
    q = int(m[at.SECTIONS_AT])
    position -= start
    previous = m[s + at.PREVIOUS]
    same = m[s + at.RUN]
    high = m[s + at.HIGH]
    low = m[s + at.LOW]
    count = 0
    for i in range(start, stop):
        x = data[i, c]
        same = same + 1.0 if x == previous else 1.0
        previous = x
        if not math.isfinite(x) or same >= m[at.FLAT]:
            if count > 0:
                filter_samples(m, s, line, count, position + i - count, q, f, e, cos50, cos60)
                count = 0
            m[s + at.STALE] = 1.0
            m[s + at.WARM] = m[at.REWARM]
            m[s + at.SLOT_BAD] = 1.0
            m[s + at.SCAN_SPOILT] = 1.0
            continue
        if m[s + at.STALE] > 0.0:
            # As if the input had been x for ever: no step response of an electrode's offset of millivolts.
            m[s + at.STALE] = 0.0
            m[s + at.WARM] = m[at.REWARM]
            high = x
            low = x
            steady = int(m[at.STEADY_AT])
            for j in range(2 * int(m[at.SECTIONS])):
                m[f + j] = m[steady + j] * x
            forget_mains(m, s)
        repeated = same >= _RAIL_RUN and (x >= high or x <= low)
        high = max(high, x)
        low = min(low, x)
        if repeated or abs(x) >= m[at.RAIL]:
            m[s + at.SLOT_RAILED] += 1.0
        m[line + count] = x
        count += 1
        if count == m[s + at.WARM]:
            # What was learnt while warming up holds from the next sample on, however the signal is cut.
            filter_samples(m, s, line, count, position + i + 1 - count, q, f, e, cos50, cos60)
            count = 0
    if count > 0:
        filter_samples(m, s, line, count, position + stop - count, q, f, e, cos50, cos60)
    m[s + at.PREVIOUS] = previous
    m[s + at.RUN] = same
    m[s + at.HIGH] = high
    m[s + at.LOW] = low


@njit(nogil=True, forceinline=True)
def _slot(m: Floats, c: int, s: int, stamp: float) -> None:
    """A slot of one channel is full: quality indices, onset and offset test."""
    count = m[s + at.SLOT_COUNT]
    bad = m[s + at.SLOT_BAD] > 0.0 or count == 0.0
    memory = m[at.QUALITY_GAIN]
    if bad:
        if m[s + at.PHASE] != at.WAITING:  # A chain that starts up misses nothing yet.
            m[s + at.GAPPY] += (1.0 - m[s + at.GAPPY]) * memory
        if m[s + at.ON] > 0.0:
            close_burst(m, c, s, stamp, 0.5)
        m[s + at.S_ON] = 0.0
        m[s + at.S_CLEAR] = 0.0
        m[s + at.S_LOW] = 0.0
        m[s + at.BLOCK_REST] = 0.0
        m[s + at.SLOT_BAD] = 0.0
    else:
        share = 1.0 / count
        energy = m[s + at.SLOT_ENERGY] * share
        m[s + at.GAPPY] -= m[s + at.GAPPY] * memory
        m[s + at.PRE_POWER] += (m[s + at.SLOT_RAW_ENERGY] * share - m[s + at.PRE_POWER]) * memory
        m[s + at.POST_POWER] += (energy - m[s + at.POST_POWER]) * memory
        m[s + at.RAILED] += (m[s + at.SLOT_RAILED] * share - m[s + at.RAILED]) * memory
        if m[s + at.PHASE] != at.WAITING:
            m[s + at.BLOCK_ENERGY] += energy
            m[s + at.BLOCK_COUNT] += 1.0
        if m[s + at.PHASE] == at.RUNNING:
            decide(m, c, s, energy, stamp)
    m[s + at.SLOT_ENERGY] = 0.0
    m[s + at.SLOT_RAW_ENERGY] = 0.0
    m[s + at.SLOT_COUNT] = 0.0
    m[s + at.SLOT_RAILED] = 0.0
    m[s + at.LAST_STAMP] = stamp


@njit(nogil=True, forceinline=True)
def _tick(m: Floats, c: int, s: int, channels: int, stamp: float, out: int) -> None:
    """Every 10 ms: correlate, let the baseline follow, write the outputs of channel `c` at `out`."""
    stride, cross = int(m[at.STRIDE]), int(m[at.CROSS_IN])
    gain = m[at.SLOTS_PER_TICK] * m[at.QUALITY_GAIN]
    for other in range(channels):
        product = m[s + at.PRE] * m[s + (other - c) * stride + at.PRE]
        m[s + cross + other] += (product - m[s + cross + other]) * gain
    # Extremes fade, so that a rail is one of the last seconds.
    span = 0.001 * (m[s + at.HIGH] - m[s + at.LOW])
    m[s + at.HIGH] -= span
    m[s + at.LOW] += span
    usable = m[s + at.WARM] == 0.0 and m[s + at.STALE] == 0.0
    log_fast = math.log(max(m[s + at.FAST], at.TINY))
    log_slow = math.log(max(m[s + at.SLOW], at.TINY))
    if usable and m[s + at.PHASE] != at.WAITING:
        if follow(m, c, s, log_fast, log_slow, stamp):
            rate(m, c, s, channels)
            pace_mains(m, s, m[s + at.P0])
    elif usable and m[at.SCANNED] > 0.0:
        m[s + at.PHASE] = at.RUNNING if m[s + at.SEEN] > 0.0 else at.SEEDING
    m[out] = m[s + at.FAST]
    m[out + 1] = m[s + at.SLOW]
    if m[s + at.PHASE] == at.RUNNING and m[s + at.ENVELOPES_READY] > 0.0:
        m[out + 2] = (log_fast - m[s + at.MU_F]) / math.sqrt(m[s + at.VAR_F])
        m[out + 3] = (log_slow - m[s + at.MU_S]) / math.sqrt(m[s + at.VAR_S])
    else:
        m[out + 2] = math.nan
        m[out + 3] = math.nan
    m[out + 4] = 100.0 * m[s + at.FAST] / m[s + at.MVC]
    m[out + 5] = m[s + at.ON]
    m[out + 6] = m[s + at.QUALITY] if usable and m[s + at.PHASE] == at.RUNNING else 0.0
