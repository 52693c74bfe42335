"""Real facial EMG: four recordings that the package EMGFlow ships, with the onsets that the eye sees in them.

Zygomaticus and corrugator of people who move their face, 10 s each at 2 kHz, with mains of up to 0.1 mV,
missing values and a click, as the field has them. The onsets were set by hand on the signal between 20
and 450 Hz with the mains taken out by zero-phase filters, where the root mean square of 50 ms leaves that
of rest. Some contractions begin weakly (less than 2.5 times rest), so an onset is a span, from the first
sign to clear activity.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from zygoma.bench.emg_peers import Detector

RATE_HZ = 2000.0
MAINS_HZ = 50.0
SETTLED_S = 1.0
"""Everybody may settle for this long."""

AGREES_S = 0.1
"""An onset this near to the annotated span is the same."""


@dataclass(frozen=True)
class Contraction:
    """One contraction in one of the recordings.

    Attributes:
        file: Number of the recording.
        column: Its column.
        first_s, clear_s: When the muscle begins to work; from `SETTLED_S` until then it rests.
    """

    file: int
    column: str
    first_s: float
    clear_s: float


CONTRACTIONS = (
    Contraction(1, "EMG_zyg", 3.46, 3.50),
    Contraction(2, "EMG_zyg", 5.07, 5.10),
    Contraction(3, "EMG_zyg", 4.60, 5.28),
    Contraction(3, "EMG_cor", 5.40, 5.55),
    Contraction(4, "EMG_zyg", 6.05, 6.31),
)


def folder() -> Path | None:
    """Where EMGFlow keeps its recordings; None when it is not installed."""
    package = importlib.util.find_spec("EMGFlow")
    places = list(package.submodule_search_locations or ()) if package is not None else []
    return Path(places[0]) / "data" if places else None


def read(path: Path, contraction: Contraction) -> NDArray[np.float64]:
    """Microvolts [n] of one channel, NaN where the recording has none."""
    table = np.genfromtxt(
        path / f"sample_data_{contraction.file:02d}.csv", delimiter=",", names=True, encoding="utf-8-sig"
    )
    return np.asarray(1e3 * table[contraction.column], dtype=np.float64)


def for_peers(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same without what the peers do not look after: gaps closed, mains taken out of the whole."""
    missing = np.isnan(wave)
    numbers = np.arange(len(wave))
    wave = np.interp(numbers, numbers[~missing], wave[~missing])
    for harmonic in range(1, 10):
        b, a = signal.iirnotch(harmonic * MAINS_HZ, harmonic * MAINS_HZ / 4.0, fs=RATE_HZ)
        wave = signal.filtfilt(b, a, wave)
    return wave


def agreement(detectors: Mapping[str, Detector], ours: str) -> dict[str, dict[str, float]]:
    """How each detector agrees with the eye; empty without the recordings.

    Returns:
        Detector -> ``found`` (of ``contractions``), ``onset_error_ms`` (mean distance from the annotated
        span), ``in_rest`` (bursts that begin before it: artefacts, false ones).
    """
    path = folder()
    if path is None:
        return {}
    result = {}
    for name, detector in detectors.items():
        errors_s, in_rest = [], 0
        for contraction in CONTRACTIONS:
            wave = read(path, contraction)
            found = detector(wave if name == ours else for_peers(wave), RATE_HZ)
            onsets = np.array([onset for onset, _ in found])
            off = np.maximum(contraction.first_s - onsets, onsets - contraction.clear_s).clip(0.0)
            in_rest += int(np.sum((onsets > SETTLED_S) & (onsets < contraction.first_s - AGREES_S)))
            if len(off) and off.min() <= AGREES_S:
                errors_s.append(float(off.min()))
        result[name] = {
            "found": len(errors_s),
            "contractions": len(CONTRACTIONS),
            "onset_error_ms": 1e3 * float(np.mean(errors_s)) if errors_s else float("nan"),
            "in_rest": in_rest,
        }
    return result
