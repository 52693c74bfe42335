from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from fusion.atlas import load_atlas
from processing.muscle_fields import JAW, MUSCLES
from zygoma.cli import app
from zygoma.face_lines import MUSCLE_LINES
from zygoma.face_map import BRANCH_COLOURS, WIDTH_PX, face_map

SVG = "{http://www.w3.org/2000/svg}"


def texts(figure: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(figure).iter(f"{SVG}text")]


def test_every_muscle_of_the_model_is_drawn_and_named() -> None:
    shown = texts(face_map())
    for muscle in (*MUSCLES, JAW):
        assert f"AU{muscle.action_unit}" in shown
    words = " ".join(shown)
    for line in MUSCLE_LINES:
        assert all(part in words for part in line.name.split())
    drawn = {unit for line in MUSCLE_LINES for unit in line.action_units}
    assert {muscle.action_unit for muscle in (*MUSCLES, JAW)} <= drawn


def test_every_branch_has_a_colour_of_its_own() -> None:
    assert set(BRANCH_COLOURS) == set(load_atlas().branches)
    assert len(set(BRANCH_COLOURS.values())) == len(BRANCH_COLOURS)


def test_labels_stay_on_the_paper_and_apart() -> None:
    figure = ElementTree.fromstring(face_map())
    height = float(figure.attrib["height"])
    places = [(float(t.attrib["x"]), float(t.attrib["y"])) for t in figure.iter(f"{SVG}text")]
    assert all(0 < x < WIDTH_PX and 0 < y < height for x, y in places)
    assert len(set(places)) == len(places)


@pytest.mark.parametrize(("side", "other"), [("left", "right"), ("right", "left")])
def test_one_side_only(side: Literal["left", "right"], other: Literal["left", "right"]) -> None:
    both, one, mirror = (len(face_map(which, {12})) for which in ("both", side, other))
    assert one < both
    assert one == pytest.approx(mirror, rel=0.05)


def test_only_what_is_asked_for() -> None:
    shown = texts(face_map("both", {12}))
    assert "AU12" in shown
    assert "AU4" not in shown


def test_the_command_writes_the_figure(tmp_path: Path) -> None:
    path = tmp_path / "figures" / "smile.svg"
    done = CliRunner().invoke(app, ["atlas", "AU12", "--face", "--side", "left", "--svg", str(path)])
    assert done.exit_code == 0, done.output
    assert "AU12" in texts(path.read_text(encoding="utf-8"))


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="ask for an action unit"):
        face_map("both", {99})
    assert CliRunner().invoke(app, ["atlas"]).exit_code == 2
