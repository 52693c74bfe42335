"""Design of the EMG chain's filters: band and envelopes, as second-order sections.

Only design happens here, once per rate, with scipy; `processing.emg_kernel` runs the sections sample by
sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from acquisition.stream import InvalidSignal

LOWEST_RATE_HZ = 150.0
"""Below it the band of facial EMG (20 Hz upward) is mostly gone."""

MAINS_HZ = (50.0, 60.0)
"""The two frequencies that mains come in."""

MAXIMUM_MAINS_HARMONICS = 3
"""Harmonics looked at when the mains frequency is searched for."""

_DELAY_BAND_HZ = (30.0, 200.0)


@dataclass(frozen=True, eq=False)
class EmgFilters:
    """Everything the kernel needs to know about filtering at one rate.

    Attributes:
        rate_hz: Rate they were designed for.
        sections: float64 [n, 5], the band as rows of b0, b1, b2, a1, a2 (a0 = 1).
        steady: float64 [n, 2], their states after an endless input of 1 (scipy's ``sosfilt_zi``).
        harmonics: How many harmonics of each frequency of `MAINS_HZ` lie inside the band.
        envelopes: float64 [2, 5], fast and slow low-pass of the rectified signal.
        envelope_steady: float64 [2, 2], their states after an endless input of 1.
        high_pass_hz, low_pass_hz: Edges of the band as built.
        delay_s: Group delay of the band, mean over 30-200 Hz.
        fast_delay_s, slow_delay_s: Group delay of the envelopes at 0 Hz.
    """

    rate_hz: float
    sections: NDArray[np.float64]
    steady: NDArray[np.float64]
    harmonics: tuple[int, ...]
    envelopes: NDArray[np.float64]
    envelope_steady: NDArray[np.float64]
    high_pass_hz: float
    low_pass_hz: float
    delay_s: float
    fast_delay_s: float
    slow_delay_s: float

    @property
    def bandwidth_hz(self) -> float:
        """Width of the band that is left."""
        return self.low_pass_hz - self.high_pass_hz


def band_sos(rate_hz: float, high_pass_hz: float, low_pass_hz: float) -> NDArray[np.float64]:
    """Butterworth band as scipy sections [n, 6]: high-pass order 4, then low-pass.

    The low-pass has order 4 where there is room above its edge, else order 2: near half the rate the board's
    own anti-alias filter has done the work.
    """
    order = 4 if rate_hz > 2.5 * low_pass_hz else 2
    high = signal.butter(4, high_pass_hz, "highpass", fs=rate_hz, output="sos")
    low = signal.butter(order, low_pass_hz, "lowpass", fs=rate_hz, output="sos")
    return np.vstack([high, low])


def design(
    rate_hz: float,
    *,
    high_pass_hz: float = 20.0,
    low_pass_hz: float = 450.0,
    fast_hz: float = 16.0,
    slow_s: float = 0.5,
) -> EmgFilters:
    """Design the chain for one sampling rate.

    Args:
        rate_hz: Sampling rate.
        high_pass_hz: Lower edge (Butterworth order 4). Never above 28 Hz: the motor-unit peak of the
            corrugator lies near 31 Hz (van Boxtel 2001).
        low_pass_hz: Upper edge; 0.45 of the rate where that is less.
        fast_hz: Edge of the fast envelope's second-order low-pass.
        slow_s: Span of the slow envelope: its low-pass passes as much noise as a mean over `slow_s`.

    Raises:
        InvalidSignal: The rate is too low for facial EMG.
        ValueError: The high-pass is above 28 Hz.
    """
    if not math.isfinite(rate_hz) or rate_hz < LOWEST_RATE_HZ:
        raise InvalidSignal(
            f"EMG at {rate_hz:g} Hz cannot be used: state its true rate or sample at 200 Hz or more (1000 "
            "Hz advised)"
        )
    if not 0 < high_pass_hz <= 28.0:
        raise ValueError(f"high_pass_hz must lie in 0..28 Hz, got {high_pass_hz}")
    top_hz = min(low_pass_hz, 0.45 * rate_hz)
    band = band_sos(rate_hz, high_pass_hz, top_hz)
    # A second-order Butterworth low-pass passes the noise of 1.11 times its edge; a mean over T that of 1/(2
    # T).
    slow_hz = 0.5 / slow_s / (math.pi / (2 * math.sqrt(2)))
    low = [signal.butter(2, f, fs=rate_hz, output="sos") for f in (fast_hz, slow_hz)]
    return EmgFilters(
        rate_hz=rate_hz,
        sections=np.ascontiguousarray(band[:, [0, 1, 2, 4, 5]]),
        steady=np.ascontiguousarray(signal.sosfilt_zi(band)),
        harmonics=tuple(math.floor(top_hz / f) for f in MAINS_HZ),
        envelopes=np.vstack([sos[0, [0, 1, 2, 4, 5]] for sos in low]),
        envelope_steady=np.vstack([signal.sosfilt_zi(sos)[0] for sos in low]),
        high_pass_hz=high_pass_hz,
        low_pass_hz=top_hz,
        delay_s=_mean_group_delay_s(band, rate_hz, top_hz),
        fast_delay_s=math.sqrt(2) / (2 * math.pi * fast_hz),
        slow_delay_s=math.sqrt(2) / (2 * math.pi * slow_hz),
    )


def _mean_group_delay_s(sos: NDArray[np.float64], rate_hz: float, top_hz: float) -> float:
    low, high = _DELAY_BAND_HZ
    frequencies_hz = np.linspace(low, min(high, 0.9 * top_hz), 128)
    _, response = signal.sosfreqz(sos, frequencies_hz, fs=rate_hz)
    phase = np.unwrap(np.angle(response))
    delay_s = -np.gradient(phase, 2 * math.pi * frequencies_hz)
    return float(max(np.mean(delay_s), 0.0))
