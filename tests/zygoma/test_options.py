from __future__ import annotations

import pytest
import typer

from zygoma.options import parse_channels, parse_rest, print_json


def test_rest_is_two_increasing_numbers() -> None:
    assert parse_rest("2:8.5") == (2.0, 8.5)
    assert parse_rest(None) is None
    for wrong in ("2", "8:2", "a:b", "1:2:3", "3:3"):
        with pytest.raises(typer.BadParameter):
            parse_rest(wrong)


def test_channels_map_a_column_to_a_muscle() -> None:
    # A column's own name may hold an equals sign; a label may not.
    assert parse_channels(["EMG1=ZYG_L", "a=b=COR_R"]) == {"EMG1": "ZYG_L", "a=b": "COR_R"}
    for wrong in (["EMG1"], ["=ZYG_L"], ["EMG1="], ["a=ZYG_L", "b=ZYG_L"]):
        with pytest.raises(typer.BadParameter):
            parse_channels(wrong)


def test_json_for_a_program_is_strict(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"f1": float("nan"), "bins": [(0.5, float("inf"))], "name": "hard", "count": 2})
    assert capsys.readouterr().out == '{"f1": null, "bins": [[0.5, null]], "name": "hard", "count": 2}\n'
