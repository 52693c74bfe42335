"""Compiled part of the EMG chain that finds mains by itself: Goertzel filters at 50 and 60 Hz.

Every half second is searched at the fundamental, in turn with the second and third harmonic; mains are taken
out from when the line holds a clear share of the power, and others instead when the mains change.
"""

from __future__ import annotations

from numba import njit

from processing import emg_memory as at
from processing.emg_cancelling import forget_mains, take_out
from processing.emg_memory import Floats


@njit(nogil=True)
def harmonic(scan_number: float) -> int:
    """Which harmonic (0 is the fundamental) a search looks at: 1, 2, 1, 3, 1, 2 ..."""
    k = int(scan_number) % 4
    return 1 if k == 1 else (2 if k == 3 else 0)


@njit(nogil=True, forceinline=True)
def search(m: Floats, s: int, line: int, count: int, cos50: float, cos60: float) -> None:
    """Push `count` samples at `line` through the Goertzel filters of one channel."""
    g50a, g50b, g60a, g60b = m[s + at.G50A], m[s + at.G50B], m[s + at.G60A], m[s + at.G60B]
    power = m[s + at.SCAN_POWER]
    for i in range(line, line + count):
        power += m[i] * m[i]
        g50a, g50b = m[i] + cos50 * g50a - g50b, g50a
        g60a, g60b = m[i] + cos60 * g60a - g60b, g60a
    m[s + at.G50A], m[s + at.G50B], m[s + at.G60A], m[s + at.G60B] = g50a, g50b, g60a, g60b
    m[s + at.SCAN_POWER] = power


@njit(nogil=True)
def end_search(m: Floats, channels: int) -> None:
    """Half a second has been searched: choose what to take out, and set up the next search."""
    length = m[at.SCAN_LENGTH]
    order = harmonic(m[at.SCAN_NUMBER])
    cos50 = m[at.COSINES + 2 * order]
    cos60 = m[at.COSINES + 2 * order + 1]
    best50 = 0.0
    best60 = 0.0
    searched = False
    for c in range(channels):
        s = int(m[at.CHANNELS_AT]) + c * int(m[at.STRIDE])
        if m[s + at.SCAN_SPOILT] == 0.0 and m[s + at.SCAN_POWER] > at.TINY:
            scale = 2.0 / (length * m[s + at.SCAN_POWER])
            share50 = _power(m[s + at.G50A], m[s + at.G50B], cos50) * scale
            share60 = _power(m[s + at.G60A], m[s + at.G60B], cos60) * scale
            best50 = max(best50, share50)
            best60 = max(best60, share60)
            searched = True
            if m[at.BANK] > 0.0 and (share50 if m[at.BANK] == 1.0 else share60) > m[at.LINE_SURE]:
                # The mains of this channel have changed faster than they are followed.
                _restart(m, s)
        m[s + at.G50A] = 0.0
        m[s + at.G50B] = 0.0
        m[s + at.G60A] = 0.0
        m[s + at.G60B] = 0.0
        m[s + at.SCAN_POWER] = 0.0
        m[s + at.SCAN_SPOILT] = 0.0
    bank = 1.0 if best50 >= best60 else 2.0
    best = max(best50, best60)
    clear = best > 3.0 * min(best50, best60)
    if clear and best > m[at.LINE_LIKELY] and bank != m[at.BANK] and m[at.STATED] == 0.0:
        if best > m[at.LINE_SURE] or m[at.LIKELY] == bank:
            take_out(m, bank)
            for c in range(channels):
                s = int(m[at.CHANNELS_AT]) + c * int(m[at.STRIDE])
                if best > m[at.LINE_SURE] or m[s + at.PHASE] != at.RUNNING:
                    _restart(m, s)
                else:
                    # A weak hum that was there all along is taken out as it is learnt: no pause for it.
                    forget_mains(m, s)
        m[at.LIKELY] = bank
    elif order == 0:
        m[at.LIKELY] = 0.0
    if searched:
        m[at.SCANNED] = 1.0
        m[at.SCAN_NUMBER] += 1.0
    m[at.SCAN_LEFT] = length


@njit(nogil=True)
def _power(a: float, b: float, cosine: float) -> float:
    return a * a + b * b - cosine * a * b


@njit(nogil=True)
def _restart(m: Floats, s: int) -> None:
    """Learn the mains of a channel anew: warm up as after a gap, and forget what was seen through them."""
    forget_mains(m, s)
    m[s + at.WARM] = max(m[s + at.WARM], m[at.REWARM])
    m[s + at.ON] = 0.0
    m[s + at.S_ON] = 0.0
    m[s + at.S_CLEAR] = 0.0
    m[s + at.RING_FILLED] = 0.0
    m[s + at.RING_NEXT] = 0.0
    m[s + at.BLOCK_ENERGY] = 0.0
    m[s + at.BLOCK_FAST] = 0.0
    m[s + at.BLOCK_SLOW] = 0.0
    m[s + at.BLOCK_COUNT] = 0.0
    m[s + at.BLOCK_TICKS] = 0.0
