"""Compiled part of the EMG chain that takes mains out: one sinusoid per harmonic, subtracted.

Amplitude and phase of each harmonic are followed by least mean squares (Widrow et al. 1975, Proc. IEEE 63),
which is a notch of 1 / (pi * time constant) Hz that follows its frequency. Two things make it better than a
fixed one: it is as narrow as the strength of each harmonic allows, so that it takes next to nothing of the
signal, and no step is larger than mains can change, so that a burst hardly moves it and nothing rings on
afterwards. After a start the time constant grows with what has been seen. The frequency, one for all channels
and harmonics, follows from how fast the phases turn.

Within a slot the sinusoids stand still and what they miss is summed up; they take a step at its end.
"""

from __future__ import annotations

import math

from numba import njit

from processing import emg_memory as at
from processing.emg_memory import TONE_FIELDS, Floats

RETUNE_SLOTS = 20
"""After so many slots the mains' frequency is corrected."""

_TURNING_HARMONICS = 3
"""The lowest few tell the frequency: those above are often missing, and noise would weigh much there."""
_LARGEST_DEVIATION = 0.01  # of the nominal frequency: mains hold .004, crystals of boards .002
_TURNS_AT_START = 30.0  # from then on, a channel that starts over does not move the frequency of all
_DOUBT = 4.0  # times the power that noise alone puts into a sinusoid: less than this is none
_NOMINAL_50, _NOMINAL_60 = 50.0, 60.0


@njit(nogil=True)
def take_out(m: Floats, bank: float) -> None:
    """Take out 50 Hz (`bank` 1) or 60 Hz (2) and its harmonics from now on."""
    m[at.BANK] = bank
    harmonics = m[at.TONES_50] if bank == 1.0 else m[at.TONES_60]
    m[at.USED_TONES] = 3.0 * math.ceil(harmonics / 3.0)
    m[at.MAINS] = 2.0 * math.pi * _nominal_hz(bank) / m[at.RATE]
    m[at.TURN_SUM] = 0.0
    m[at.TURN_WEIGHT] = 0.0
    m[at.TURNS] = 0.0
    _tabulate(m)


@njit(nogil=True)
def forget_mains(m: Floats, s: int) -> None:
    """Learn the mains of one channel anew."""
    m[s + at.TONE_AGE] = 0.0
    first = s + int(m[at.TONES_IN])
    for j in range(first, first + TONE_FIELDS * int(m[at.TONES])):
        m[j] = 0.0


@njit(nogil=True)
def cancel(m: Floats, s: int, line: int, count: int, position: int) -> None:
    """Subtract the mains from `count` samples at `line`, of which the first is number `position` of its slot.

    Three harmonics at a time, so that their parts stay in registers.
    """
    width = int(m[at.TONE_WIDTH])
    first = s + int(m[at.TONES_IN])
    last = first + TONE_FIELDS * int(m[at.USED_TONES])
    table = int(m[at.TONES_AT]) + position
    c1 = table
    for j in range(first, last, 3 * TONE_FIELDS):
        k, n = j + TONE_FIELDS, j + 2 * TONE_FIELDS
        a1, b1, a2, b2, a3, b3 = m[j], m[j + 1], m[k], m[k + 1], m[n], m[n + 1]
        c2, c3 = c1 + 2 * width, c1 + 4 * width
        for i in range(count):
            mains = a1 * m[c1 + i] - b1 * m[c1 + width + i]
            mains += a2 * m[c2 + i] - b2 * m[c2 + width + i]
            mains += a3 * m[c3 + i] - b3 * m[c3 + width + i]
            m[line + i] -= mains
        c1 += 6 * width
    m[s + at.TONE_AGE] += count
    c1 = table
    for j in range(first, last, 3 * TONE_FIELDS):
        k, n = j + TONE_FIELDS, j + 2 * TONE_FIELDS
        a1, b1, a2, b2, a3, b3 = m[j + 2], m[j + 3], m[k + 2], m[k + 3], m[n + 2], m[n + 3]
        c2, c3 = c1 + 2 * width, c1 + 4 * width
        for i in range(count):
            y = m[line + i]
            a1 += y * m[c1 + i]
            b1 -= y * m[c1 + width + i]
            a2 += y * m[c2 + i]
            b2 -= y * m[c2 + width + i]
            a3 += y * m[c3 + i]
            b3 -= y * m[c3 + width + i]
        m[j + 2], m[j + 3], m[k + 2], m[k + 3], m[n + 2], m[n + 3] = a1, b1, a2, b2, a3, b3
        c1 += 6 * width


@njit(nogil=True)
def adapt(m: Floats, s: int, samples: int) -> None:
    """A slot of `samples` has ended: learn from what was missed, and turn to the next."""
    width = int(m[at.TONE_WIDTH])
    first = s + int(m[at.TONES_IN])
    last = first + TONE_FIELDS * int(m[at.USED_TONES])
    age = m[s + at.TONE_AGE]
    if m[s + at.WARM] > 0.0:
        # As a Kalman filter for phase and frequency starts (4 / n), softened over the first two periods.
        for j in range(first, last, TONE_FIELDS):
            m[j + 4] = 8.0 / (2.0 * m[at.TONE_START] + age)
            m[j + 5] = math.inf
    if age > m[at.TONE_START] and (m[s + at.WARM] == 0.0 or m[at.TURNS] < _TURNS_AT_START):
        for h in range(_TURNING_HARMONICS):
            j = first + TONE_FIELDS * h
            gain, most, order = m[j + 4], m[j + 5], h + 1.0
            u, v = _bound(gain * m[j + 2], most), _bound(gain * m[j + 3], most)
            m[at.TURN_SUM] += gain * order * (m[j] * v - m[j + 1] * u)
            m[at.TURN_WEIGHT] += order * order * (m[j] * m[j] + m[j + 1] * m[j + 1])
    c = int(m[at.TONES_AT]) + samples
    for j in range(first, last, TONE_FIELDS):
        gain, most = m[j + 4], m[j + 5]
        a, b = m[j] + _bound(gain * m[j + 2], most), m[j + 1] + _bound(gain * m[j + 3], most)
        m[j], m[j + 1] = a * m[c] - b * m[c + width], a * m[c + width] + b * m[c]
        m[j + 2], m[j + 3] = 0.0, 0.0
        c += 2 * width


@njit(nogil=True, forceinline=True)
def _bound(step: float, most: float) -> float:
    return min(max(step, -most), most)


@njit(nogil=True)
def settle_mains(m: Floats, s: int, power: float) -> None:
    """A channel has warmed up, and `power` is left: drop what may be noise of the quick start."""
    z = s + int(m[at.TONES_IN])
    for h in range(int(m[at.USED_TONES])):
        j = z + TONE_FIELDS * h
        noise = _DOUBT * 4.0 * power / max(m[s + at.TONE_AGE], 1.0)
        kept = max(1.0 - noise / max(m[j] * m[j] + m[j + 1] * m[j + 1], at.TINY), 0.0)
        m[j] *= kept
        m[j + 1] *= kept
    if m[s + at.SEEN] == 0.0:
        m[s + at.P0] = power
    pace_mains(m, s, power)


@njit(nogil=True)
def pace_mains(m: Floats, s: int, power: float) -> None:
    """Follow each harmonic the faster, the stronger it is over `power`, the mean square of the rest.

    That is the steady gain of a Kalman filter for an amplitude whose changes are in proportion to itself.
    """
    z = s + int(m[at.TONES_IN])
    share = m[at.TONE_SHARE] / math.sqrt(max(power, at.TINY))
    noise = _DOUBT * 4.0 * power / max(m[s + at.TONE_AGE], 1.0)
    noisy = 3.0 * math.sqrt(power * m[at.RATE] / m[at.SLOT_RATE])
    for h in range(int(m[at.USED_TONES])):
        j = z + TONE_FIELDS * h
        square = m[j] * m[j] + m[j + 1] * m[j + 1]
        gain = share * math.sqrt(square)
        if square > noise:
            # It is there, but has not been seen for long.
            gain = max(gain, 8.0 / m[s + at.TONE_AGE])
        gain = min(max(gain, m[at.TONE_SLOWEST]), m[at.TONE_FASTEST])
        m[j + 4] = gain
        m[j + 5] = max(m[at.TONE_LIMIT] * math.sqrt(square), gain * noisy)


@njit(nogil=True)
def retune(m: Floats) -> None:
    """Correct the frequency by how far the phases have turned, with a gain of (gain of a step)^2 / 3."""
    if m[at.TURN_WEIGHT] > 0.0:
        nominal = 2.0 * math.pi * _nominal_hz(m[at.BANK]) / m[at.RATE]
        mains = m[at.MAINS] + RETUNE_SLOTS / 6.0 * m[at.TURN_SUM] / m[at.TURN_WEIGHT]
        most = _LARGEST_DEVIATION * nominal
        m[at.MAINS] = min(max(mains, nominal - most), nominal + most)
        m[at.TURNS] += 1.0
        _tabulate(m)
    m[at.TURN_SUM] = 0.0
    m[at.TURN_WEIGHT] = 0.0


@njit(nogil=True)
def _nominal_hz(bank: float) -> float:
    return _NOMINAL_50 if bank == 1.0 else _NOMINAL_60


@njit(nogil=True)
def _tabulate(m: Floats) -> None:
    """Cosine and sine of each harmonic, sample by sample of a slot; zero where there is none to fill up."""
    width = int(m[at.TONE_WIDTH])
    harmonics = m[at.TONES_50] if m[at.BANK] == 1.0 else m[at.TONES_60]
    cosine, sine = math.cos(m[at.MAINS]), math.sin(m[at.MAINS])
    c, d = 1.0, 0.0
    for h in range(int(m[at.USED_TONES])):
        c, d = c * cosine - d * sine, c * sine + d * cosine
        x = 1.0 if h < harmonics else 0.0
        y = 0.0
        first = int(m[at.TONES_AT]) + 2 * h * width
        for i in range(first, first + width):
            m[i], m[i + width] = x, y
            x, y = x * c - y * d, x * d + y * c
