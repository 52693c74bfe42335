"""Scoring of fusion, on small sessions made by hand (nothing is rendered here)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion.events import FaceEvent
from hardware.simulated import Scenario, ScriptedEvent
from tests.fusion.synthetic import activity_block, burst, movement, plateau, skin_block, units_block
from zygoma.bench.fusion import calibration, emg_candidates, report, score_valence, spotted
from zygoma.bench.scenario import MODALITIES, START_S, Session, fused

FROWN = ScriptedEvent(
    "micro-000", "micro_expression", 6.0, 6.1, 6.1, 6.2, {4: 0.2}, "left", 1.0, "negative", valence=-0.4
)
SMILE = ScriptedEvent(
    "macro-000", "macro_expression", 8.0, 8.4, 10.5, 11.0, {6: 0.5, 12: 0.7}, "both", 4.0, "positive",
    valence=0.85, emotion="happiness",
)  # fmt: skip
BURSTS = (burst("COR_L", 5.95, 0.15, 9.0),)


def made() -> Session:
    return Session(
        Scenario(1, 12.0, (FROWN, SMILE)),
        "easy",
        units_block(12.0, {"AU12": plateau(8, 11, 0.7, 0.4), "AU6": plateau(8, 11, 0.5, 0.4)}),
        (movement(1, 6.0, 0.2), movement(2, 3.0, 0.2, "chin", (17,), "both")),
        activity_block(12.0, {"ZYG": plateau(7.95, 11, 12.0, 0.4)}, BURSTS),
        BURSTS,
        skin_block(12.0),
    )


def test_sign_intervals_and_matches_of_a_session() -> None:
    outcome = fused(made())
    valence = score_valence([outcome])
    assert valence.sign_right > 0.97
    assert valence.coverage > 0.8
    assert valence.disgust_positive == 0
    result = spotted([(outcome.session, outcome.micro)])
    assert [(truth.id, found.action_units) for truth, found in result.hits] == [("micro-000", (4,))]
    assert [event.action_units for event in result.false] == [(17,)]
    assert result.missed == ()
    assert result.f1 == pytest.approx(2 / 3)
    assert result.right_muscle == 1.0


def test_without_a_camera_emg_is_scored_by_its_bursts() -> None:
    session = made()
    assert fused(session, MODALITIES["no camera"]).micro == []
    (candidate,) = emg_candidates(session)
    assert candidate.onset == pytest.approx(START_S + 6.0)
    assert len(spotted([(session, [candidate])]).hits) == 1


def test_a_wrong_muscle_is_counted() -> None:
    session = made()
    event = FaceEvent(START_S + 6.0, 0.2, "micro_expression", START_S + 6.1, (17,), muscles=("mentalis",))
    assert spotted([(session, [event])]).right_muscle == 0.0
    late = replace(event, onset=START_S + 6.15)
    assert spotted([(session, [late])]).hits == ()


def test_calibration_is_the_distance_from_the_diagonal() -> None:
    sure = FaceEvent(1.0, 0.2, "micro_expression", 1.1, confidence=0.9)
    result = spotted([(made(), [])])
    half = replace(result, hits=((FROWN, sure),), false=(sure,), missed=())
    assert calibration(half).ece == pytest.approx(0.4)
    assert calibration(half).bins == ((pytest.approx(0.9), 0.5, 2),)


def test_the_report_holds_every_figure_and_draws(tmp_path: Path) -> None:
    figures = report([made()], tmp_path / "reliability.svg")
    assert set(figures) >= {"valence", "micro", "ece", "right_muscle", "cost_ms_per_frame"}
    assert set(figures["valence"]) == set(MODALITIES)  # type: ignore[call-overload]
    root = ET.parse(tmp_path / "reliability.svg").getroot()
    assert "ECE" in "".join(root.itertext())
    assert np.isfinite(figures["ece"])  # type: ignore[call-overload]
