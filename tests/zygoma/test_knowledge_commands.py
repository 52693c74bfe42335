"""`zygoma au-table` and `zygoma reliability`: what a person types, and what comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from acquisition.stream import InvalidSignal
from zygoma.cli import app

DATA_SET = """action_units,happiness,surprise,anger,fear,disgust,sadness
6+12,0.9,0.1,0,0,0,0
6+12,0.5,0.0,0,0,0,0.5
4,0.1,0,0.6,0,0.2,0.1
"""


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_au_table_prints_both_algorithms(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_text(DATA_SET)
    lines = [json.loads(line) for line in call("au-table", str(path), "--json").stdout.splitlines()]
    first, second = (line["contributions"] for line in lines)
    # Algorithm 1: the combination 6+12 counts once in happiness, then proportions; 4 wins anger.
    assert lines[0]["counted"] == 2
    assert first["happiness"] == [[6, 0.5], [12, 0.5]]
    assert first["anger"] == [[4, 1.0]]
    # Algorithm 2: sums of every emotion's score.
    assert second["happiness"][0] == [6, pytest.approx(1.4)]
    assert second["sadness"] == [[6, 0.5], [12, 0.5], [4, pytest.approx(0.1)]]


def test_au_table_as_text_and_like_table_2(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_text(DATA_SET)
    text = call("au-table", str(path), "--method", "2", "--per-occurrence", "--top", "1").stdout
    assert "AU6 0.7000" in text
    assert "3 of 3 samples" in " ".join(text.split())


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff\xfe\x00"])
def test_au_table_says_what_is_wrong_with_a_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.csv"
    path.write_bytes(content)
    result = call("au-table", str(path))
    assert isinstance(result.exception, InvalidSignal)


CODER_A = "onset\tduration\taction_units\tcategory\n1.0\t0.30\t4\tnegative\n5.0\t0.2\t12\tpositive\n"
CODER_B = "onset\tduration\taction_units\tcategory\n1.05\t0.30\t4+7\tnegative\n9.0\t0.2\t12\tpositive\n"


def test_reliability_is_equation_2(tmp_path: Path) -> None:
    for name, text in (("a.tsv", CODER_A), ("b.tsv", CODER_B), ("c.tsv", CODER_A)):
        (tmp_path / name).write_text(text)
    two = json.loads(call("reliability", str(tmp_path / "a.tsv"), str(tmp_path / "b.tsv"), "--json").stdout)
    # One event is shared; its AU4 too. Labels: (1, 4) and (2, 12) against (1, 4), (1, 7) and (3, 12).
    assert two["action_units"]["r"] == pytest.approx(2 * 1 / 4)
    assert two["action_units"]["r_merged"] == pytest.approx(2 * 1 / 5)
    assert two["categories"]["r"] == pytest.approx(2 * 1 / 3)
    three = call("reliability", *(str(tmp_path / name) for name in ("a.tsv", "b.tsv", "c.tsv"))).stdout
    assert "reaches 3" in " ".join(three.split())


def test_reliability_passes_over_blinks_and_refuses_strange_tables(tmp_path: Path) -> None:
    blink = "onset\tduration\ttrial_type\n1.0\t0.2\tblink\n"
    for name, text in (("a.tsv", blink), ("b.tsv", blink), ("c.tsv", "time\tlength\n1\t2\n")):
        (tmp_path / name).write_text(text)
    same = json.loads(call("reliability", str(tmp_path / "a.tsv"), str(tmp_path / "b.tsv"), "--json").stdout)
    assert same["labelled"] == [0, 0]
    assert same["kappa"] is None
    assert isinstance(call("reliability", str(tmp_path / "a.tsv")).exception, InvalidSignal)
    strange = call("reliability", str(tmp_path / "a.tsv"), str(tmp_path / "c.tsv"))
    assert isinstance(strange.exception, InvalidSignal)
    assert "onset" in str(strange.exception)
