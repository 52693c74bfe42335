"""Posed contractions give rest and maximum, and what went wrong is said."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec
from processing.emg import MuscleActivity
from zygoma.muscle_calibration import (
    Contraction,
    baselines_from_json,
    baselines_to_json,
    measure_mvc,
)

LABELS = ("ZYG_L", "ZYG_R", "COR_L", "COR_R")
SPEC = StreamSpec(
    "emg", Kind.EMG, tuple(Channel(label, "microvolts", "EMG") for label in LABELS), 1000.0,
    SampleType.FLOAT32, "test",
)  # fmt: skip
REST = (0.0, 10.0)
SMILES = [Contraction(("ZYG_L", "ZYG_R"), t, t + 3.0) for t in (12.0, 18.0, 24.0)]
FROWNS = [Contraction(("COR_L", "COR_R"), t, t + 3.0) for t in (30.0, 36.0, 42.0)]


def person(levels: dict[str, tuple[float, float, float]]) -> NDArray[np.float64]:
    """48 s with each channel's RMS in microvolts during its three poses, 2.5 uV at rest."""
    x = np.random.default_rng(3).normal(0, 2.5, (48_000, 4))
    for column, label in enumerate(LABELS):
        for pose, level_uv in zip(SMILES if "ZYG" in label else FROWNS, levels[label], strict=True):
            held = slice(round(1000 * (pose.start_s + 0.6)), round(1000 * (pose.end_s + 0.2)))
            x[held, column] *= level_uv / 2.5
    return x


def blocks(x: NDArray[np.float64]) -> list[Block]:
    stamps = np.arange(len(x)) / 1000.0
    return [
        Block(SPEC, stamps[a : a + 997], x[a : a + 997].astype(np.float32), a) for a in range(0, len(x), 997)
    ]


GOOD = {"ZYG_L": (80.0, 100.0, 90.0), "ZYG_R": (70.0, 60.0, 75.0), "COR_L": (40.0, 50.0, 45.0),
        "COR_R": (50.0, 50.0, 50.0)}  # fmt: skip


def test_the_best_of_three_is_the_maximum_and_serves_as_calibration() -> None:
    x = person(GOOD)
    calibration = measure_mvc(blocks(x), SMILES + FROWNS, rest=REST)
    assert calibration.problems == ()
    for label, attempts in GOOD.items():
        # Mean of a rectified Gaussian; the band takes a tenth of white noise's power.
        expected = max(attempts) * math.sqrt(2 / math.pi) * math.sqrt(430 / 500)
        assert calibration.baselines[label].mvc_uv == pytest.approx(expected, rel=0.1)
        assert calibration.maxima[label].snr_db == pytest.approx(
            20 * math.log10(max(attempts) / 2.5), abs=1.5
        )
    later = MuscleActivity(calibration=calibration.baselines)
    out = blocks(x)[0].spec and later.process(Block(SPEC, np.arange(3000) / 1e3 + 60, x[:3000], 0))
    assert np.nanmedian(out.column("ZYG_L_mvc")) == pytest.approx(100 * 2.5 / 100, rel=0.2)


def test_figures_survive_json() -> None:
    baselines = measure_mvc(blocks(person(GOOD)), SMILES, rest=REST).baselines
    text = json.dumps(baselines_to_json(baselines), allow_nan=False)
    again = baselines_from_json(json.loads(text))
    assert again["ZYG_L"] == baselines["ZYG_L"] and math.isnan(again["COR_L"].mvc_uv)
    with pytest.raises(InvalidSignal, match="damaged"):
        baselines_from_json({"ZYG_L": {"mvc_uv": "much"}})  # type: ignore[dict-item]


def test_what_is_doubtful_is_said() -> None:
    x = person(
        {
            "ZYG_L": (100.0, 20.0, 20.0),
            "ZYG_R": (3.0, 3.0, 3.0),
            "COR_L": (15.0, 15.0, 15.0),
            "COR_R": (50,) * 3,
        }
    )
    x[31_000:31_600, 3] = x[37_000:37_800, 3] = x[43_000:43_900, 3] = np.nan
    maxima = measure_mvc(blocks(x), SMILES + FROWNS, rest=REST).maxima
    assert "far stronger" in maxima["ZYG_L"].words and maxima["ZYG_L"].mvc_uv < 25
    assert "no maximum: only" in maxima["ZYG_R"].words and math.isnan(maxima["ZYG_R"].mvc_uv)
    assert "20 dB above rest are wanted" in maxima["COR_L"].words
    assert "not usable in any attempt" in maxima["COR_R"].words


def test_swapped_leads_are_noticed() -> None:
    x = person(GOOD)[:, [2, 1, 0, 3]]
    x[:, 0] += 0.2 * x[:, 2]  # cross-talk lifts the wrong muscle above rest
    maxima = measure_mvc(blocks(x), SMILES + FROWNS, rest=REST).maxima
    assert "corrugator left answers more strongly" in maxima["ZYG_L"].words


def test_a_calibration_needs_samples_and_known_channels() -> None:
    with pytest.raises(InvalidSignal, match="no EMG"):
        measure_mvc([], SMILES)
    with pytest.raises(InvalidSignal, match="no EMG channel FRO_L"):
        measure_mvc(blocks(person(GOOD))[:5], [Contraction(("FRO_L",), 0.0, 3.0)])
