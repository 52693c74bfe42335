"""Quality indices come out in words an assistant can act on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from processing.emg import MuscleActivity
from processing.emg_quality import ChannelQuality, spoken_name

GOOD = ChannelQuality(
    label="COR_L",
    line_ratio=0.05,
    mains_hz=50.0,
    baseline_uv=2.5,
    railed=0.0,
    missing=0.0,
    flat=False,
    correlation=0.1,
    correlated_with="ZYG_L",
    snr_db=math.nan,
    settling=False,
)


@pytest.mark.parametrize(
    ("change", "light", "words"),
    [
        ({}, "good", "corrugator left: good"),
        ({"line_ratio": 0.4}, "doubtful", "corrugator left: 50 Hz at 40% of power: check ground electrode"),
        ({"line_ratio": 0.6}, "bad", "50 Hz at 60%"),
        ({"baseline_uv": 7.0}, "doubtful", "7.0 µV at rest"),
        ({"baseline_uv": 12.0}, "bad", "12.0 µV at rest"),
        ({"railed": 0.01}, "bad", "amplifier's limit"),
        ({"correlation": 0.95}, "bad", "moves with zygomaticus left (r = 0.95): check the ground"),
        ({"flat": True}, "bad", "lead are plugged in"),
        ({"missing": 0.1}, "doubtful", "10% of the last seconds missing"),
        ({"missing": 0.7}, "bad", "70% of the last seconds missing"),
        ({"settling": True, "baseline_uv": math.nan}, "doubtful", "settling"),
        ({"snr_db": 12.0}, "good", "only 12 dB"),
    ],
)
def test_words(change: dict[str, float], light: str, words: str) -> None:
    quality = replace(GOOD, **change)  # type: ignore[arg-type]
    assert quality.light == light and words in quality.words


def test_names_are_spoken() -> None:
    assert spoken_name("ZYG_R") == "zygomaticus right" and spoken_name("EMG3") == "EMG3"


def measured(x: np.ndarray, **metadata: str) -> dict[str, ChannelQuality]:  # type: ignore[type-arg]
    channels = tuple(Channel(name, "microvolts") for name in ("ZYG_L", "COR_L"))
    spec = StreamSpec("e", Kind.EMG, channels, 1000.0, SampleType.FLOAT64, "e", metadata=metadata)
    processor = MuscleActivity()
    processor.process(Block(spec, np.arange(len(x)) / 1000, x, 0))
    return processor.quality()


def test_indices_are_measured_from_the_signal() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, (12_000, 2))
    good = measured(x)["ZYG_L"]
    assert good.light == "good" and good.baseline_uv == pytest.approx(3 * math.sqrt(430 / 500), rel=0.08)

    both = x.copy()
    both += rng.normal(0, 30, (12_000, 1))
    assert measured(both)["COR_L"].correlation > 0.9

    railed = x.copy()
    railed[:, 0] = np.clip(railed[:, 0] + 400 * np.sin(np.arange(12_000) / 40), -200, 200)
    quality = measured(railed)
    assert quality["ZYG_L"].railed > 0.1 and quality["COR_L"].railed == 0


def test_a_rail_that_the_stream_states_is_seen_in_single_samples() -> None:
    x = np.random.default_rng(1).normal(0, 3, (6000, 2))
    x[::250, 0] = 187_500.0  # never twice in a row: by its looks alone no rail
    assert measured(x)["ZYG_L"].railed == 0.0
    stated = measured(x, rail_uv="187500")
    assert stated["ZYG_L"].railed == pytest.approx(1 / 250, rel=0.3) and stated["COR_L"].railed == 0.0
    assert measured(x, rail_uv="unknown")["ZYG_L"].railed == 0.0


def test_a_lead_that_hangs_in_the_air_is_at_the_rail_and_not_just_flat() -> None:
    x = np.random.default_rng(2).normal(0, 3, (4000, 2))
    x[:, 0] = -187_499.98
    open_lead = measured(x, rail_uv="187500")["ZYG_L"]
    assert not open_lead.flat and "at the amplifier's limit: check electrode" in open_lead.words
    assert measured(x)["ZYG_L"].flat
