"""Burst detectors of NeuroKit2 and BioSPPy behind one signature, each given what it needs to do well.

They see the whole recording at once through a zero-phase 20-450 Hz band, are told which stretch is rest, and
get the same clean-up as ours (bursts nearer than 50 ms are one, shorter than 25 ms are none). BioSPPy's
thresholds and windows were chosen for the best mean F1 over short and long bursts at 3-20 dB and 1 kHz
without mains, on a seed that is not scored here; NeuroKit2's methods run as they come.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from zygoma.bench.emg_signals import REST_S, Interval

Detector = Callable[[NDArray[np.float64], float], list[Interval]]
"""Signal [n] in microvolts and rate to intervals in seconds."""

_MERGE_S = 0.05
_SHORTEST_S = 0.025


def peers() -> Mapping[str, Detector]:
    """Detectors of the packages that are installed (both are test dependencies, neither is needed to run)."""
    found: dict[str, Detector] = {}
    neurokit = _optional("neurokit2")
    if neurokit is not None:
        for method in ("threshold", "mixture", "biosppy"):
            found[f"NeuroKit2 {method}"] = partial(_neurokit, neurokit, method)
    biosppy = _optional("biosppy.signals.emg")
    if biosppy is not None:
        found["BioSPPy Lidierth"] = partial(_lidierth, biosppy)
        found["BioSPPy Silva"] = partial(_silva, biosppy)
        found["BioSPPy Bonato"] = partial(_bonato, biosppy)
        found["BioSPPy Hodges-Bui"] = partial(_hodges_bui, biosppy)
    return found


def _optional(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError:
        return None


def _band(wave: NDArray[np.float64], rate_hz: float) -> NDArray[np.float64]:
    sos = signal.butter(4, [20.0, min(450.0, 0.45 * rate_hz)], "bandpass", fs=rate_hz, output="sos")
    return np.asarray(signal.sosfiltfilt(sos, wave), dtype=np.float64)


def _rest(wave: NDArray[np.float64], rate_hz: float) -> NDArray[np.float64]:
    return wave[round(0.2 * rate_hz) : round(REST_S * rate_hz)]


def _tidy(edges: NDArray[np.int64], rate_hz: float) -> list[Interval]:
    """Sorted on and off indices to intervals, with short pauses closed and short bursts dropped."""
    tidy: list[Interval] = []
    for on, off in zip(edges[0::2] / rate_hz, edges[1::2] / rate_hz, strict=False):
        if tidy and on - tidy[-1][1] < _MERGE_S:
            tidy[-1] = (tidy[-1][0], float(off))
        else:
            tidy.append((float(on), float(off)))
    return [(on, off) for on, off in tidy if off - on >= _SHORTEST_S]


def _neurokit(neurokit: Any, method: str, wave: NDArray[np.float64], rate_hz: float) -> list[Interval]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cleaned = _band(wave, rate_hz)
        amplitude = neurokit.emg_amplitude(cleaned)
        try:
            _, info = neurokit.emg_activation(
                emg_amplitude=amplitude, emg_cleaned=cleaned, sampling_rate=int(rate_hz), method=method
            )
        except (ValueError, IndexError):
            return []
    edges = np.sort(np.concatenate([info["EMG_Onsets"], info["EMG_Offsets"]])).astype(np.int64)
    return _tidy(edges, rate_hz)


def _edges(result: Any) -> NDArray[np.int64]:
    return np.asarray(result["onsets"], dtype=np.int64)


def _lidierth(
    biosppy: Any, wave: NDArray[np.float64], rate_hz: float, *, threshold: float = 1.0, size_s: float = 0.1
) -> list[Interval]:
    x = _band(wave, rate_hz)
    result = biosppy.lidierth_onset_detector(
        signal=x,
        rest=_rest(x, rate_hz),
        sampling_rate=rate_hz,
        size=round(size_s * rate_hz),
        threshold=threshold,
        active_state_duration=max(round(0.025 * rate_hz), 2),
        fail_size=max(round(0.01 * rate_hz), 1),
    )
    return _tidy(_edges(result), rate_hz)


def _silva(
    biosppy: Any,
    wave: NDArray[np.float64],
    rate_hz: float,
    *,
    threshold: float = 1.1,
    size_s: float = 0.05,
    long_s: float = 1.0,
) -> list[Interval]:
    x = _band(wave, rate_hz)
    size = max(round(size_s * rate_hz), 3)
    result = biosppy.silva_onset_detector(
        signal=x,
        sampling_rate=rate_hz,
        size=size,
        threshold_size=max(round(long_s * rate_hz), size + 1),
        threshold=threshold * float(np.std(_rest(x, rate_hz))),
    )
    return _tidy(_edges(result), rate_hz)


def _bonato(
    biosppy: Any, wave: NDArray[np.float64], rate_hz: float, *, threshold: float = 3.0, active_s: float = 0.04
) -> list[Interval]:
    x = _band(wave, rate_hz)
    result = biosppy.bonato_onset_detector(
        signal=x,
        rest=_rest(x, rate_hz),
        sampling_rate=rate_hz,
        threshold=threshold,
        active_state_duration=max(round(active_s * rate_hz / 2), 2),
        samples_above_fail=2,
        fail_size=max(round(0.01 * rate_hz / 2), 1),
    )
    return _tidy(_edges(result), rate_hz)


def _hodges_bui(
    biosppy: Any, wave: NDArray[np.float64], rate_hz: float, *, threshold: float = 1.1, size_s: float = 0.1
) -> list[Interval]:
    x = _band(wave, rate_hz)
    result = biosppy.hodges_bui_onset_detector(
        signal=x,
        rest=_rest(x, rate_hz),
        sampling_rate=rate_hz,
        size=round(size_s * rate_hz),
        threshold=threshold,
    )
    edges = _edges(result)
    # It marks both sides of every crossing.
    return _tidy(edges[np.r_[True, np.diff(edges) > 1]] if len(edges) else edges, rate_hz)
