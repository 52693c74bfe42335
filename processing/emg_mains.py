"""Compiled part of the EMG chain that finds mains by itself: Goertzel filters at 50 and 60 Hz.

Every half second is searched at the fundamental, in turn with the second and third harmonic; the notches are
switched on when the line holds a clear share of the power, and switched over when the mains change.
"""

from __future__ import annotations

from numba import njit

from processing import emg_memory as at
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
    for i in range(line, line + count):
        g50a, g50b = m[i] + cos50 * g50a - g50b, g50a
        g60a, g60b = m[i] + cos60 * g60a - g60b, g60a
    m[s + at.G50A], m[s + at.G50B], m[s + at.G60A], m[s + at.G60B] = g50a, g50b, g60a, g60b


@njit(nogil=True)
def end_search(m: Floats, channels: int) -> None:
    """Half a second has been searched: choose the notch bank, and set up the next search."""
    rows, stride = int(m[at.CHANNELS_AT]), int(m[at.STRIDE])
    length = m[at.SCAN_LENGTH]
    best50 = 0.0
    best60 = 0.0
    order = harmonic(m[at.SCAN_NUMBER])
    cos50 = m[at.COSINES + 2 * order]
    cos60 = m[at.COSINES + 2 * order + 1]
    for c in range(channels):
        s = rows + c * stride
        if m[s + at.SCAN_SPOILT] == 0.0 and m[s + at.SCAN_POWER] > at.TINY:
            scale = 2.0 / (length * m[s + at.SCAN_POWER])
            best50 = max(best50, _power(m[s + at.G50A], m[s + at.G50B], cos50) * scale)
            best60 = max(best60, _power(m[s + at.G60A], m[s + at.G60B], cos60) * scale)
            m[at.SCANNED] = 1.0
        m[s + at.G50A] = 0.0
        m[s + at.G50B] = 0.0
        m[s + at.G60A] = 0.0
        m[s + at.G60B] = 0.0
        m[s + at.SCAN_POWER] = 0.0
        m[s + at.SCAN_SPOILT] = 0.0
    bank = 1.0 if best50 >= best60 else 2.0
    best = max(best50, best60)
    clear = best > 3.0 * min(best50, best60)
    if clear and best > m[at.LINE_LIKELY] and bank != m[at.BANK]:
        if best > m[at.LINE_SURE] or m[at.LIKELY] == bank:
            _switch(m, channels, bank)
        m[at.LIKELY] = bank
    elif order == 0:
        m[at.LIKELY] = 0.0
    m[at.SCAN_NUMBER] += 1.0
    m[at.SCAN_LEFT] = length


@njit(nogil=True)
def _power(a: float, b: float, cosine: float) -> float:
    return a * a + b * b - cosine * a * b


@njit(nogil=True)
def _switch(m: Floats, channels: int, bank: float) -> None:
    """Use another notch bank: its notches start from nothing and ring, so warm up as after a gap."""
    m[at.BANK] = bank
    first, last = 2 * int(m[at.BAND_SECTIONS]), 2 * int(m[at.SECTIONS])
    for c in range(channels):
        s = int(m[at.CHANNELS_AT]) + c * int(m[at.STRIDE])
        notches = s + int(m[at.FILTERS_IN])
        for j in range(first, last):
            m[notches + j] = 0.0
        m[s + at.WARM] = max(m[s + at.WARM], m[at.REWARM])
        # What was on is void.
        m[s + at.ON] = 0.0
        m[s + at.S_ON] = 0.0
        m[s + at.S_CLEAR] = 0.0
