"""The brain-to-face map as a figure: well-formed, complete, and only what was asked for."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fusion.atlas import load_atlas
from fusion.tables import EMOTIONS
from zygoma.atlas_figure import WIDTH_PX, atlas_figure
from zygoma.cli import app

SVG = "{http://www.w3.org/2000/svg}"


def texts(figure: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(figure).iter(f"{SVG}text")]


def test_the_whole_map_names_everything_once() -> None:
    atlas, words = load_atlas(), texts(atlas_figure())
    wanted = [*atlas.muscles, *EMOTIONS, *(system.name for system in atlas.systems)]
    wanted += [f"AU{unit.number}  {unit.name}" for unit in atlas.action_units.values()]
    wanted += [name for name, branch in atlas.branches.items() if branch.nerve == "CN VII"]
    assert {name: words.count(name) for name in wanted} == dict.fromkeys(wanted, 1)


@pytest.mark.parametrize("subject", ["AU4", "zygomaticus", "temporal", "sadness", "upper"])
def test_a_part_shows_the_ways_through_it_alone(subject: str) -> None:
    answer = load_atlas().ask(subject)
    words = texts(atlas_figure(answer))
    muscles = {path.muscle for path in answer.paths}
    assert muscles == {word for word in words if word in load_atlas().muscles}
    assert answer.subject in words[0]


def test_boxes_stay_inside_and_apart() -> None:
    root = ET.fromstring(atlas_figure())
    boxes = [
        tuple(float(each.get(key, "0")) for key in ("x", "y", "width", "height"))
        for each in root.iter(f"{SVG}rect")
        if each.get("rx")
    ]
    height = float(root.get("height", "0"))
    assert all(x >= 0 and x + w <= WIDTH_PX and y >= 0 and y + h <= height for x, y, w, h in boxes)
    for i, (x, y, w, h) in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart = (
                x + w <= other[0] or other[0] + other[2] <= x or y + h <= other[1] or other[1] + other[3] <= y
            )
            assert apart


def test_the_command_draws_or_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figure.svg"
    assert CliRunner().invoke(app, ["atlas", "fear", "--svg", str(path)]).exit_code == 0
    assert "fear (emotion)" in path.read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["atlas"]).exit_code == 2
