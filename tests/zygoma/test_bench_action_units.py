from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acquisition.stream import InvalidSignal
from zygoma.bench.action_units import Answers, Ramp, _read_truth, _summary, run

DRIVE = np.array([0.0, 0.0, 0.5, 1.0, 1.0, 0.5])


def test_a_table_of_drives_becomes_ramps(tmp_path: Path) -> None:
    table = tmp_path / "truth.csv"
    rows = [f"{k},{au},{d}" for au in ("AU6+12", "AU12L") for k, d in enumerate(DRIVE)]
    table.write_text("frame,au,drive\n" + "\n".join(rows) + "\n")
    first, second = _read_truth(table)
    assert (first.units, first.side, first.name) == ((6, 12), "both", "AU6+12")
    assert (second.units, second.side, second.name) == ((12,), "left", "AU12 left")
    np.testing.assert_array_equal(second.drive, DRIVE)


def test_a_table_without_drives_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "truth.csv"
    table.write_text("frame,au\n0,AU1\n")
    with pytest.raises(InvalidSignal, match="columns"):
        _read_truth(table)


def test_a_film_needs_its_table(tmp_path: Path) -> None:
    with pytest.raises(InvalidSignal, match="both"):
        run(video=tmp_path / "film.mp4")


def test_a_perfect_answer_scores_full_and_a_leak_is_told() -> None:
    ramps = [Ramp((4,), "both", DRIVE), Ramp((12,), "left", DRIVE)]
    answers = Answers([{"AU4": 0.8 * d, "AU12": 0.0, "AU12_right": 0.0} for d in DRIVE])
    answers.frames += [{"AU4": 0.0, "AU12": d, "AU12_right": 0.2 * d} for d in DRIVE]
    found = _summary(ramps, answers)
    assert found["median_r"] == 1.0
    assert found["strongest"] == 1.0
    assert found["leak"] == pytest.approx(0.2)


def test_an_answer_of_another_unit_is_not_the_strongest_of_its_own() -> None:
    answers = Answers([{"AU4": 0.3 * d, "AU7": 0.5 * d} for d in DRIVE])
    assert _summary([Ramp((4,), "both", DRIVE)], answers)["strongest"] == 0.0


def test_units_driven_together_are_found_each_by_itself() -> None:
    smile = Ramp((6, 12, 26), "both", DRIVE)
    answers = Answers([{"AU6": 0.3 * d, "AU7": 0.2 * d, "AU12": 0.8 * d, "AU27": 0.5 * d} for d in DRIVE])
    assert _summary([smile], answers)["together"] == 1.0  # the jaw is found, however far it falls
    answers = Answers([{"AU6": 0.3 * d, "AU7": 0.4 * d, "AU12": 0.8 * d, "AU26": 0.01 * d} for d in DRIVE])
    assert _summary([smile], answers)["together"] == pytest.approx(2 / 3, abs=1e-3)
    # AU26 is not asked of an estimator that has no such answer.
    answers = Answers([{"AU6": 0.3 * d, "AU12": 0.8 * d} for d in DRIVE])
    assert _summary([smile], answers)["together"] == 1.0
