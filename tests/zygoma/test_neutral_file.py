from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from acquisition.stream import DeviceNotFound, InvalidSignal
from processing.landmarks import BLENDSHAPES, LANDMARK_COUNT
from processing.neutral import Neutral
from zygoma.calibration import Calibration
from zygoma.cli import app
from zygoma.neutral_file import load_neutral, save_neutral
from zygoma.run import LiveOptions


def neutral() -> Neutral:
    random = np.random.default_rng(0)
    return Neutral(random.normal(size=(LANDMARK_COUNT, 3)), random.random(len(BLENDSHAPES)), 42)


def test_a_neutral_comes_back_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "people" / "p07.json"
    save_neutral(path, neutral())
    again = load_neutral(path)
    np.testing.assert_array_equal(again.points, neutral().points)
    np.testing.assert_array_equal(again.blendshapes, neutral().blendshapes)
    assert again.frames == 42
    assert [p.name for p in path.parent.iterdir()] == ["p07.json"]


def test_without_a_face_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidSignal, match="No face was seen"):
        save_neutral(tmp_path / "p.json", None)
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("not json", InvalidSignal),
        ("[]", InvalidSignal),
        ('{"format": 99}', InvalidSignal),
        (json.dumps(Calibration().to_json()), DeviceNotFound),
    ],
)
def test_what_is_no_neutral_is_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(error):
        load_neutral(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DeviceNotFound, match="--save-neutral"):
        load_neutral(tmp_path / "nobody.json")


def test_a_demo_uses_a_neutral_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[LiveOptions] = []
    monkeypatch.setattr("zygoma.run.run_demo", lambda options, **more: given.append(options))
    save_neutral(tmp_path / "mine.json", neutral())
    arguments = ["--neutral", str(tmp_path / "mine.json"), "--save-neutral", str(tmp_path / "next.json")]
    assert CliRunner().invoke(app, ["demo", *arguments]).exit_code == 0
    (options,) = given
    np.testing.assert_array_equal(options.pipeline.calibration["neutral"].points, neutral().points)
    assert options.save_neutral == tmp_path / "next.json"
