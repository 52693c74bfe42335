"""Simulated facial EMG with known bursts, and how a detector is scored against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, signal

Interval = tuple[float, float]

REST_S = 5.0
"""Every simulated recording begins with this much rest, which the peers are given as such."""


@dataclass(frozen=True)
class Condition:
    """One simulated recording.

    Attributes:
        rate_hz: Sampling rate.
        snr_db: Power on a burst's plateau over that at rest, as one would measure it in the recording (so at
            3 dB muscle and noise are equally strong).
        mains_uv: Amplitude of 50 Hz (30 % of it at 150 Hz, 10 % at 250 Hz).
        short: Bursts of 40-200 ms, else 0.2-2 s.
        seconds: Length.
        seed: Of everything random.
        ramp_s: How long a burst takes to its plateau and back; None is 20 % of its length, at most 100 ms.
    """

    rate_hz: float = 1000.0
    snr_db: float = 12.0
    mains_uv: float = 0.0
    short: bool = False
    seconds: float = 120.0
    seed: int = 0
    ramp_s: float | None = None


@dataclass(frozen=True)
class Score:
    """How found intervals compare with true ones; errors in seconds, over matched bursts (NaN if none)."""

    f1: float
    matched: int
    true: int
    found: int
    onset_mae_s: float
    onset_bias_s: float
    offset_mae_s: float


def simulate(condition: Condition) -> tuple[NDArray[np.float64], list[Interval]]:
    """Make a recording of one channel.

    The baseline is 2.5 uV RMS of white amplifier noise plus 1 uV of tonic EMG; a burst is Gaussian EMG
    (30-250 Hz, the band that holds most of the power of facial EMG, van Boxtel 2001) under a plateau with
    raised-cosine ramps.

    Returns:
        Signal [n] in microvolts, and the true bursts from the start of the ramp up to the end of the ramp
        down.
    """
    rng = np.random.default_rng((condition.seed, int(condition.snr_db * 10), int(condition.short)))
    rate = condition.rate_hz
    n = round(condition.seconds * rate)
    stamps = np.arange(n) / rate
    tonic = muscle_noise(rng, n, rate)
    baseline = rng.normal(0.0, 2.5, n) + tonic
    level_uv = float(np.hypot(2.5, 1.0)) * np.sqrt(10 ** (condition.snr_db / 10) - 1.0)
    envelope = np.zeros(n)
    truth: list[Interval] = []
    at = REST_S
    while True:
        length = rng.uniform(0.04, 0.2) if condition.short else rng.uniform(0.2, 2.0)
        start = at + rng.uniform(0.4, 2.0)
        at = start + length
        if at > condition.seconds - 0.5:
            break
        ramp = min(0.2 * length, 0.1) if condition.ramp_s is None else condition.ramp_s
        inside = (stamps >= start) & (stamps < at)
        edge = np.minimum(stamps[inside] - start, at - stamps[inside])
        envelope[inside] = 0.5 - 0.5 * np.cos(np.pi * np.clip(edge / ramp, 0.0, 1.0))
        truth.append((start, at))
    wave = baseline + level_uv * envelope * muscle_noise(rng, n, rate)
    if condition.mains_uv:
        phase = 2 * np.pi * 50.02 * stamps + rng.uniform(0, 6.28)
        for harmonic, share in ((1, 1.0), (3, 0.3), (5, 0.1)):
            if 50 * harmonic < rate / 2:
                wave += condition.mains_uv * share * np.sin(harmonic * phase)
    return wave, truth


def muscle_noise(rng: np.random.Generator, n: int, rate_hz: float) -> NDArray[np.float64]:
    """Gaussian EMG of unit RMS, 30-250 Hz (or up to 0.45 of the rate)."""
    sos = signal.butter(2, [30.0, min(250.0, 0.45 * rate_hz)], "bandpass", fs=rate_hz, output="sos")
    wave = signal.sosfilt(sos, rng.normal(size=n + round(rate_hz)))[-n:]
    return np.asarray(wave / wave.std(), dtype=np.float64)


def score(found: Sequence[Interval], truth: Sequence[Interval], least_overlap: float = 0.5) -> Score:
    """Match one to one with the largest total overlap, at intersection over union >= `least_overlap`."""
    if not found or not truth:
        return Score(0.0, 0, len(truth), len(found), np.nan, np.nan, np.nan)
    a = np.array(found)[:, None, :]
    b = np.array(truth)[None, :, :]
    both = np.clip(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0.0, None)
    overlap = both / (np.maximum(a[..., 1], b[..., 1]) - np.minimum(a[..., 0], b[..., 0]))
    overlap[overlap < least_overlap] = 0.0
    rows, columns = optimize.linear_sum_assignment(-overlap)
    good = overlap[rows, columns] > 0
    onset = np.array(found)[rows[good], 0] - np.array(truth)[columns[good], 0]
    offset = np.array(found)[rows[good], 1] - np.array(truth)[columns[good], 1]
    matched = int(good.sum())
    return Score(
        f1=2 * matched / (len(found) + len(truth)),
        matched=matched,
        true=len(truth),
        found=len(found),
        onset_mae_s=float(np.mean(np.abs(onset))) if matched else float("nan"),
        onset_bias_s=float(np.mean(onset)) if matched else float("nan"),
        offset_mae_s=float(np.mean(np.abs(offset))) if matched else float("nan"),
    )
