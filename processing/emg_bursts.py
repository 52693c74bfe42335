"""Compiled part of the EMG chain that decides when a muscle begins and ends to work.

Bursts are found by cumulative sum tests on the signal's energy (Page 1954, Biometrika 41; for EMG Staude
2001, IEEE Trans. Biomed. Eng. 48). In rest the energy of a slot of 5 ms over its baseline is r, a chi-square
of nu degrees of freedom over nu; in activity it is rho times as much. The log-likelihood ratio is

    llr(r, rho) = nu / 2 * (r * (1 - 1 / rho) - ln(rho))

Its sum, kept >= 0, crosses a threshold when activity has begun, and the slot where it last was zero is the
maximum likelihood estimate of the onset: that back-dates the burst by itself. Two such sums run side by
side, one tuned to weak activity, which takes long to show, and one to clear activity, which raises the flag
some milliseconds sooner and on less evidence. Such a flag is a promise: what has not gathered the full
evidence by its end is no burst. The offset test is the mirror image, with rho the level of the burst so far.
nu is measured in rest, which makes the tests hold their false-alarm rate for any rate, spectrum and
heavy-tailed baseline.
"""

from __future__ import annotations

import math

from numba import njit

from processing import emg_memory as at
from processing.emg_memory import Floats

CLICK_SHARE = 0.8
"""Of a burst's energy: what brings more than this within 10 ms is a click. Simulated bursts of 40-200 ms
bring .73 at most, clicks of up to 3 ms .85 and more."""

_LN2 = math.log(2.0)


@njit(nogil=True, forceinline=True)
def decide(m: Floats, c: int, s: int, energy: float, stamp: float) -> None:
    """Run the onset or the offset test on the energy of one slot."""
    ratio = energy / m[s + at.P0]
    if m[s + at.ON] == 0.0:
        if m[s + at.S_ON] <= 0.0:
            m[s + at.ONSET] = m[s + at.LAST_STAMP]
            m[s + at.LEVEL_SUM] = 0.0
            m[s + at.LEVEL_COUNT] = 0.0
            m[s + at.STRONGEST] = 0.0
            m[s + at.PEAK_FAST] = 0.0
            m[s + at.LOG_SUM] = 0.0
            m[s + at.LOG_COUNT] = 0.0
        # No slot may decide alone: a click is not a burst.
        weak = m[s + at.HALF_NU] * (ratio - ratio / m[at.RHO] - m[at.LOG_RHO])
        m[s + at.S_ON] = max(m[s + at.S_ON] + min(weak, m[at.CLIP]), 0.0)
        clear = m[s + at.HALF_NU] * (ratio - ratio / m[at.RHO_CLEAR] - m[at.LOG_RHO_CLEAR])
        m[s + at.S_CLEAR] = max(m[s + at.S_CLEAR] + min(clear, m[at.CLIP]), 0.0)
        # The same test downward: energy that stays below the baseline shows that the baseline was activity.
        m[s + at.S_LOW] = max(m[s + at.S_LOW] + m[s + at.HALF_NU] * (_LN2 - ratio), 0.0)
        if m[s + at.S_ON] > m[at.H_ON] or m[s + at.S_CLEAR] > m[at.H_CLEAR]:
            m[s + at.ON] = 1.0
            m[s + at.EVIDENCE] = max(m[s + at.S_ON], m[s + at.S_CLEAR])
            m[s + at.S_OFF] = 0.0
            m[s + at.ON_SLOTS] = 0.0
            m[s + at.LOWEST] = math.inf
            m[s + at.OFFSET] = stamp
        m[s + at.LEVEL_SUM] += ratio
        m[s + at.LEVEL_COUNT] += 1.0
    else:
        m[s + at.ON_SLOTS] += 1.0
        rho = min(max(m[s + at.LEVEL_SUM] / m[s + at.LEVEL_COUNT], m[at.RHO]), m[at.RHO_MAX])
        llr = m[s + at.HALF_NU] * (ratio - ratio / rho - math.log(rho))
        m[s + at.S_OFF] -= llr
        if m[s + at.S_OFF] <= 0.0:
            # Never before was there so much evidence for activity.
            m[s + at.EVIDENCE] -= m[s + at.S_OFF]
            m[s + at.S_OFF] = 0.0
            m[s + at.OFFSET] = stamp
            m[s + at.LEVEL_SUM] += ratio
            m[s + at.LEVEL_COUNT] += 1.0
        elif m[s + at.S_OFF] > m[at.H_OFF] and stamp - m[s + at.OFFSET] >= m[at.OFF_S]:
            close_burst(m, c, s, stamp, 1.0)
    m[s + at.STRONGEST] = max(m[s + at.STRONGEST], ratio + m[s + at.LAST_RATIO])
    m[s + at.LAST_RATIO] = ratio
    if m[s + at.FAST] > m[s + at.PEAK_FAST]:
        m[s + at.PEAK_FAST] = m[s + at.FAST]
        m[s + at.PEAK_STAMP] = stamp


@njit(nogil=True)
def close_burst(m: Floats, c: int, s: int, stamp: float, trust: float) -> None:
    """Put what ended in channel `c` among the bursts found, unless it was too short, too faint or a click."""
    onset = m[s + at.ONSET] - m[at.DELAY]
    offset = m[s + at.OFFSET] - m[at.DELAY]
    m[s + at.ON] = 0.0
    m[s + at.S_ON] = 0.0
    m[s + at.S_CLEAR] = 0.0
    m[s + at.S_OFF] = 0.0
    if m[s + at.EVIDENCE] < m[at.H_ON] or offset - onset < m[at.MIN_BURST_S]:
        return
    # The filters ring after a click, which then looks like a burst; but nearly all of it comes at once.
    if m[s + at.STRONGEST] > CLICK_SHARE * m[s + at.LEVEL_SUM] or m[at.FOUND] >= m[at.BURST_CAPACITY]:
        return
    sd = math.sqrt(m[s + at.VAR_F])
    peak_z = (math.log(max(m[s + at.PEAK_FAST], at.TINY)) - m[s + at.MU_F]) / sd
    mean_z = peak_z
    if m[s + at.LOG_COUNT] > 0.0:
        mean_z = (m[s + at.LOG_SUM] / m[s + at.LOG_COUNT] - m[s + at.MU_F]) / sd
    b = int(m[at.BURSTS_AT]) + at.BURST_FIELDS * int(m[at.FOUND])
    m[b] = c
    m[b + 1] = onset
    m[b + 2] = min(max(m[s + at.PEAK_STAMP] - m[at.DELAY] - m[at.FAST_DELAY], onset), offset)
    m[b + 3] = offset
    m[b + 4] = stamp
    m[b + 5] = peak_z
    m[b + 6] = mean_z
    m[b + 7] = m[s + at.PEAK_FAST]
    m[b + 8] = trust * m[s + at.QUALITY]
    m[at.FOUND] += 1.0
