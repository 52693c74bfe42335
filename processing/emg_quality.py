"""How good each EMG channel is, in numbers and in words an assistant can act on.

Limits: line ratio, baseline noise and rails as used in facial EMG practice (van Boxtel 2010; Fridlund &
Cacioppo 1986); two channels that agree to r > 0.9, mains and all, share a bad ground.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from numba import njit

from processing import emg_memory as at
from processing.emg_memory import Floats

Light = Literal["good", "doubtful", "bad"]

LINE_WARN, LINE_BAD = 0.2, 0.5
NOISE_GOOD_UV, NOISE_BAD_UV = 5.0, 10.0
RAILED_BAD = 0.001
CORRELATION_BAD = 0.9
WANTED_SNR_DB = 20.0

_MUSCLES = {"ZYG": "zygomaticus", "COR": "corrugator"}
_SIDES = {"L": "left", "R": "right"}


@dataclass(frozen=True)
class ChannelQuality:
    """Quality indices of one channel, over about the last 2 s.

    Attributes:
        label: Channel.
        line_ratio: Share of the 20-450 Hz power that is mains, 0-1.
        mains_hz: Nominal frequency of the mains; 0 while none have been found.
        baseline_uv: RMS of the band at rest, microvolts (NaN before there is a baseline).
        railed: Fraction of samples at a rail.
        missing: Fraction of the time without a usable sample (gaps, NaN, flat, re-warming).
        flat: The last 200 ms had one value, and that is no rail.
        correlation: Largest |r| with another channel, mains and all, and with which.
        snr_db: Level of a maximal contraction over the resting level; NaN without calibration.
        settling: No baseline yet, or re-warming after a gap.
    """

    label: str
    line_ratio: float
    mains_hz: float
    baseline_uv: float
    railed: float
    missing: float
    flat: bool
    correlation: float
    correlated_with: str
    snr_db: float
    settling: bool

    @property
    def light(self) -> Light:
        """Traffic light."""
        if (
            self.flat
            or self.line_ratio > LINE_BAD
            or self.baseline_uv > NOISE_BAD_UV
            or self.railed > RAILED_BAD
            or self.correlation > CORRELATION_BAD
            or self.missing > 0.5
        ):
            return "bad"
        if (
            self.settling
            or self.line_ratio > LINE_WARN
            or self.baseline_uv > NOISE_GOOD_UV
            or self.missing > 0.01
        ):
            return "doubtful"
        return "good"

    @property
    def words(self) -> str:
        """What is wrong first and what to do about it, or ``good``."""
        name = spoken_name(self.label)
        if self.flat:
            return (
                f"{name}: no signal, the value does not change: check that electrode and lead are plugged in"
            )
        if self.railed > RAILED_BAD:
            return (
                f"{name}: {self.railed:.1%} of samples at the amplifier's limit: check electrode and ground, "
                "renew the gel or lower the gain"
            )
        if self.missing > 0.5:
            return (
                f"{name}: {self.missing:.0%} of the last seconds missing: check the board's radio link "
                "or cable"
            )
        if self.correlation > CORRELATION_BAD:
            other = spoken_name(self.correlated_with)
            return (
                f"{name}: moves with {other} (r = {self.correlation:.2f}): check the ground electrode, "
                "or the two leads touch"
            )
        if self.line_ratio > LINE_WARN:
            return (
                f"{name}: {self.mains_hz:.0f} Hz at {self.line_ratio:.0%} of power: check ground "
                "electrode, move mains cables away"
            )
        if self.baseline_uv > NOISE_GOOD_UV:
            return (
                f"{name}: {self.baseline_uv:.1f} µV at rest: ask for a relaxed face, else clean the "
                "skin and renew the electrode"
            )
        if self.missing > 0.01:
            return (
                f"{name}: {self.missing:.0%} of the last seconds missing: check the board's radio link "
                "or cable"
            )
        if self.settling:
            return f"{name}: settling, keep a relaxed face for two seconds"
        if self.snr_db < WANTED_SNR_DB:
            return (
                f"{name}: good at rest, but the maximum is only {self.snr_db:.0f} dB above it: move the "
                "electrodes onto the muscle"
            )
        return f"{name}: good"


def spoken_name(label: str) -> str:
    """``COR_L`` as ``corrugator left``; labels of other shape stay as they are."""
    muscle, _, side = label.partition("_")
    if muscle in _MUSCLES and side in _SIDES:
        return f"{_MUSCLES[muscle]} {_SIDES[side]}"
    return label


@njit(nogil=True)
def rate(m: Floats, c: int, s: int, channels: int) -> None:
    """Quality of channel `c` in one number, 0-1, for the kernel; the limits are those of the words."""
    line = 1.0 - m[s + at.POST_POWER] / max(m[s + at.PRE_POWER], at.TINY)
    # Mains are taken out: they make a channel doubtful, never useless.
    quality = max(_score(line, LINE_WARN, LINE_BAD), 0.3)
    quality *= _score(math.sqrt(m[s + at.P0]), NOISE_GOOD_UV, NOISE_BAD_UV)
    quality *= _score(m[s + at.RAILED], RAILED_BAD, 10.0 * RAILED_BAD)
    quality *= 1.0 - min(m[s + at.GAPPY], 1.0)
    stride, cross = int(m[at.STRIDE]), int(m[at.CROSS_IN])
    limit = CORRELATION_BAD * CORRELATION_BAD * m[s + cross + c]
    for other in range(channels):
        product = m[s + cross + other]
        if other != c and product * product > limit * m[s + (other - c) * stride + cross + other]:
            quality = min(quality, 0.3)
    m[s + at.QUALITY] = quality


@njit(nogil=True)
def _score(value: float, warn: float, bad: float) -> float:
    """1 up to `warn`, 0.5 at `bad`, falling on to 0."""
    return min(max(1.0 - 0.5 * (value - warn) / (bad - warn), 0.0), 1.0)
