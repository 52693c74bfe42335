"""A calibration teaches the valence filter the person."""

from __future__ import annotations

import pytest

from acquisition.stream import InvalidSignal
from fusion.valence import ValenceFilter
from fusion.valence_weights import ValenceWeights
from tests.fusion.synthetic import START_S, activity_block, plateau, units_block

REST, SMILE, FROWN = ((START_S + a, START_S + b) for a, b in ((0.0, 3.0), (4.0, 6.0), (8.0, 10.0)))
UNITS = {"AU12": plateau(3.8, 6.2, 0.5), "AU4": plateau(7.8, 10.2, 0.4)}
WEAK = {"ZYG": plateau(3.8, 6.2, 9.0), "COR": plateau(7.8, 10.2, 8.0)}


def test_a_person_with_small_contractions_gets_smaller_scales() -> None:
    prior = ValenceWeights()
    fitted = ValenceWeights.fit(
        [units_block(11.0, UNITS), activity_block(11.0, WEAK)], rest=REST, smile=SMILE, frown=FROWN
    )
    assert 9.0 < fitted.zygomaticus_full_z < prior.zygomaticus_full_z
    assert 8.0 < fitted.corrugator_full_z < prior.corrugator_full_z
    assert fitted.smile_gain > 1.2
    assert fitted.frown_gain > fitted.smile_gain
    assert fitted.neutral["AU12"] == pytest.approx(0.0, abs=0.05)


def test_the_fitted_person_reads_higher() -> None:
    blocks = [units_block(11.0, UNITS), activity_block(11.0, WEAK)]
    fitted = ValenceWeights.fit(blocks, rest=REST, smile=SMILE, frown=FROWN)
    camera, emg = blocks
    answers = []
    for weights in (ValenceWeights(), fitted):
        valence = ValenceFilter(camera.spec, emg.spec, weights=weights)
        rows = [
            valence.update(float(stamp), camera.array[i].tolist(), emg.array[i * 10 // 3].tolist(), None)
            for i, stamp in enumerate(camera.timestamps)
        ]
        answers.append((rows[150].valence, rows[270].valence))  # 5 s: smile, 9 s: frown
    (smile, frown), (fitted_smile, fitted_frown) = answers
    assert fitted_smile > smile > 0.0
    assert fitted_frown < frown < 0.0


def test_what_was_not_measured_keeps_the_prior() -> None:
    prior = ValenceWeights()
    only_rest = ValenceWeights.fit([activity_block(11.0, WEAK)], rest=REST)
    assert only_rest == prior
    off = ValenceWeights.fit([activity_block(11.0, {})], rest=REST, smile=SMILE, frown=FROWN)
    assert off == prior


def test_bad_calibrations_are_refused() -> None:
    with pytest.raises(InvalidSignal, match="ends before"):
        ValenceWeights.fit([activity_block(11.0)], rest=REST, smile=(5.0, 5.0))
    with pytest.raises(InvalidSignal, match="rest"):
        ValenceWeights.fit([activity_block(1.0)], rest=(START_S + 5.0, START_S + 6.0))
    with pytest.raises(InvalidSignal, match="positive"):
        ValenceWeights.from_dict({"smile_gain": -1.0})


def test_weights_survive_a_file() -> None:
    weights = ValenceWeights(12.0, 11.0, 1.3, 1.5, {"AU4": 0.1})
    assert ValenceWeights.from_dict(weights.to_dict()) == weights
    assert ValenceWeights.from_dict({}) == ValenceWeights()
