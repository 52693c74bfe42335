"""Compiled part of the EMG chain that filters: band, mains, envelopes, sums of one slot of one channel."""

from __future__ import annotations

import math

from numba import njit

from processing import emg_memory as at
from processing.emg_cancelling import cancel, settle_mains
from processing.emg_mains import search
from processing.emg_memory import Floats


@njit(nogil=True)
def filter_samples(
    m: Floats, s: int, line: int, count: int, position: int, q: int, f: int, e: int,
    cos50: float, cos60: float,
) -> None:  # fmt: skip
    """`count` usable samples at `line` of the channel at `s`: band, mains, search for more, envelopes.

    The first is sample `position` of its slot. Coefficients are at `q`, filter states at `f`, envelope
    filters at `e`.
    """
    _sections(m, q, f, int(m[at.SECTIONS]), line, count)
    power = m[s + at.SLOT_RAW_ENERGY]
    for i in range(line, line + count):
        power += m[i] * m[i]
    m[s + at.PRE] = m[line + count - 1]
    if m[at.BANK] > 0.0:
        cancel(m, s, line, count, position)
    if m[at.SCAN] > 0.0:
        search(m, s, line, count, cos50, cos60)
    g = f + 2 * int(m[at.SECTIONS])
    if m[s + at.WARM] > 0.0:
        _warm_up(m, s, g, e, line, count)
        return
    fast, slow = m[s + at.FAST], m[s + at.SLOW]
    fa, fb, sa, sb = m[g], m[g + 1], m[g + 2], m[g + 3]
    f0, f1, f2, f3, f4 = m[e], m[e + 1], m[e + 2], m[e + 3], m[e + 4]
    s0, s1, s2, s3, s4 = m[e + 5], m[e + 6], m[e + 7], m[e + 8], m[e + 9]
    energy = m[s + at.SLOT_ENERGY]
    for i in range(line, line + count):
        y = m[i]
        energy += y * y
        y = abs(y)
        fast = f0 * y + fa
        fa = f1 * y + fb - f3 * fast
        fb = f2 * y - f4 * fast
        slow = s0 * y + sa
        sa = s1 * y + sb - s3 * slow
        sb = s2 * y - s4 * slow
    m[s + at.FAST], m[s + at.SLOW] = fast, slow
    m[g], m[g + 1], m[g + 2], m[g + 3] = fa, fb, sa, sb
    m[s + at.SLOT_ENERGY] = energy
    m[s + at.SLOT_RAW_ENERGY] = power
    m[s + at.SLOT_COUNT] += count


@njit(nogil=True)
def _sections(m: Floats, q: int, f: int, sections: int, line: int, count: int) -> None:
    """Second-order sections, transposed direct form II, over `count` samples at `line`, in place.

    Two sections at a time, so that coefficients and states stay in registers and one section works while the
    other waits; as in ``scipy.signal.sosfilt`` up to the order of one sum, which shortens the wait.
    """
    j = 0
    while j + 1 < sections:
        a = q + 5 * j
        b = f + 2 * j
        b0, b1, b2, a1, a2 = m[a], m[a + 1], m[a + 2], m[a + 3], m[a + 4]
        d0, d1, d2, c1, c2 = m[a + 5], m[a + 6], m[a + 7], m[a + 8], m[a + 9]
        u, v, w, z = m[b], m[b + 1], m[b + 2], m[b + 3]
        for i in range(line, line + count):
            x = m[i]
            y = b0 * x + u
            u = b1 * x + v - a1 * y
            v = b2 * x - a2 * y
            x = d0 * y + w
            w = d1 * y + z - c1 * x
            z = d2 * y - c2 * x
            m[i] = x
        m[b], m[b + 1], m[b + 2], m[b + 3] = u, v, w, z
        j += 2
    if j < sections:
        a = q + 5 * j
        b = f + 2 * j
        b0, b1, b2, a1, a2 = m[a], m[a + 1], m[a + 2], m[a + 3], m[a + 4]
        u, v = m[b], m[b + 1]
        for i in range(line, line + count):
            x = m[i]
            y = b0 * x + u
            u = b1 * x + v - a1 * y
            v = b2 * x - a2 * y
            m[i] = y
        m[b], m[b + 1] = u, v


@njit(nogil=True)
def _warm_up(m: Floats, s: int, g: int, e: int, line: int, count: int) -> None:
    """Let the filters settle on the `count` samples at `line`, no more than there are left to warm up on."""
    m[s + at.SLOT_BAD] = 1.0
    for i in range(line, line + count):
        m[s + at.WARM] -= 1.0
        if m[s + at.WARM] > 0.5 * m[at.REWARM]:
            m[s + at.SCAN_SPOILT] = 1.0
            m[s + at.WARM_SUM] = 0.0
            continue
        m[s + at.WARM_SUM] += abs(m[i])
        if m[s + at.WARM] <= 0.0:
            level = m[s + at.WARM_SUM] / (0.5 * m[at.REWARM] + 1.0)
            settle_mains(m, s, 0.5 * math.pi * level * level)
            if m[s + at.ENVELOPES_READY] == 0.0:
                # The very first envelopes start from the mean of what they will follow, not from zero.
                for j in range(4):
                    m[g + j] = m[e + 10 + j] * level
                m[s + at.ENVELOPES_READY] = 1.0
