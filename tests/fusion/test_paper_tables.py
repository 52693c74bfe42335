"""Tables 1 to 3 to the digit, and equation 1."""

from __future__ import annotations

import pytest

from fusion.tables import EMOTIONS, TABLE_1, TABLE_2, TABLE_3, TABLE_3_BOLD, emotions_of, equation_1


def test_table_1_has_ten_descending_scores_per_emotion() -> None:
    assert tuple(TABLE_1) == EMOTIONS
    for row in TABLE_1.values():
        scores = [score for _, score in row]
        assert len(row) == 10
        assert scores == sorted(scores, reverse=True)
    assert TABLE_1["happiness"][0] == (25, 0.1577)
    assert TABLE_1["surprise"][6:8] == ((10, 0.0499), (27, 0.0499))
    assert TABLE_1["sadness"][-1] == (16, 0.0375)


def test_table_2_prints_nine_although_its_caption_says_ten() -> None:
    for row in TABLE_2.values():
        scores = [score for _, score in row]
        assert len(row) == 9
        assert scores == sorted(scores, reverse=True)
    assert TABLE_2["sadness"][0] == (39, 0.4294)
    assert TABLE_2["fear"][0] == (20, 0.2500)


def test_table_3() -> None:
    assert TABLE_3["happiness"] == (1, 6, 12, 14, 26, 27, 28)
    assert TABLE_3["disgust"] == (1, 4, 7, 9, 10, 14, 15, 17, 24, 25)
    assert sum(map(len, TABLE_3.values())) == 41
    assert all(set(TABLE_3_BOLD[emotion]) <= set(TABLE_3[emotion]) for emotion in EMOTIONS)
    assert emotions_of(4) == ("anger", "fear", "disgust", "sadness")  # 4.1: in all negative emotions


@pytest.mark.parametrize(
    ("emotion", "exclusive"),
    [
        ("happiness", {6, 12, 28}),
        ("surprise", {2}),
        ("anger", {16, 22, 23}),
        ("fear", {20}),
        ("disgust", {7, 24}),
        ("sadness", {43}),
    ],
)
def test_equation_1(emotion: str, exclusive: set[int]) -> None:
    result = equation_1(emotion)
    assert result.exclusive == exclusive
    assert result.as_written == set(TABLE_3[emotion])  # no AU is in all five other sets
    assert not result.only_in_bold


def test_equation_1_reports_au12_which_table_3_does_not_print_in_bold() -> None:
    assert equation_1("happiness").missing_in_bold == {12}
    assert "AU12 not bold in table 3" in str(equation_1("happiness"))
    assert all(not equation_1(emotion).missing_in_bold for emotion in EMOTIONS if emotion != "happiness")
