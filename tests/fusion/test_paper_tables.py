"""Tables 1 to 3 to the digit, and equation 1."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fusion.tables import EMOTIONS, TABLE_1, TABLE_2, TABLE_3, TABLE_3_BOLD, emotions_of, equation_1

PRINTED_1 = """
Happiness 25 0.1577 12 0.1424 10 0.0725 1 0.0649 6 0.0616 2 0.0565 26 0.0506 9 0.0498 4 0.0472 27 0.0447
Surprise 25 0.1760 1 0.1093 5 0.1088 2 0.0962 26 0.0772 12 0.0683 10 0.0499 27 0.0499 16 0.0473 4 0.0452
Anger 25 0.1454 10 0.1118 4 0.1034 9 0.0997 16 0.0701 12 0.0506 27 0.0502 5 0.0480 26 0.0402 7 0.0365
Fear 25 0.1669 12 0.0997 1 0.0873 27 0.0866 5 0.0835 4 0.0742 10 0.0734 16 0.0703 2 0.0580 26 0.0479
Disgust 4 0.1303 25 0.1226 10 0.1199 9 0.0782 17 0.0611 1 0.0488 12 0.0488 7 0.0470 26 0.0448 6 0.0398
Sadness 4 0.1526 25 0.1249 10 0.0745 1 0.0689 17 0.0578 12 0.0566 26 0.0505 15 0.0455 9 0.0455 16 0.0375
"""
PRINTED_2 = """
Happiness 12 0.2312 35 0.2059 19 0.2015 2 0.1746 6 0.1635 28 0.1598 30 0.1543 27 0.1513 26 0.1470
Surprise 2 0.3742 5 0.3625 35 0.3186 1 0.3051 26 0.2859 27 0.2832 21 0.2783 34 0.2721 28 0.2588
Anger 9 0.3387 33 0.3333 16 0.2726 23 0.2662 7 0.2604 10 0.2549 30 0.2521 24 0.2346 29 0.2332
Fear 20 0.2500 27 0.2054 33 0.1944 5 0.1854 16 0.1813 2 0.1674 1 0.1631 12 0.1444 30 0.1398
Disgust 24 0.3112 32 0.3026 17 0.2942 15 0.2789 19 0.2642 14 0.2622 7 0.2484 4 0.2387 18 0.2377
Sadness 39 0.4294 15 0.2810 43 0.2543 17 0.2355 4 0.1957 14 0.1686 6 0.1621 28 0.1598 7 0.1490
"""
PRINTED_3 = """
Happiness 1 6 12 14 26 27 28
Surprise 1 2 5 25 26 27
Anger 4 5 9 10 16 22 23
Fear 1 4 5 20 25
Disgust 1 4 7 9 10 14 15 17 24 25
Sadness 1 4 14 15 17 43
"""


def rows(printed: str) -> dict[str, list[str]]:
    """Cells of a table as the paper prints them, by emotion."""
    return {name.lower(): cells for name, *cells in map(str.split, printed.strip().splitlines())}


@pytest.mark.parametrize(("table", "printed"), [(TABLE_1, PRINTED_1), (TABLE_2, PRINTED_2)])
def test_tables_1_and_2_to_the_digit(
    table: Mapping[str, tuple[tuple[int, float], ...]], printed: str
) -> None:
    said = {
        name: [cell for unit, score in row for cell in (f"{unit}", f"{score:.4f}")]
        for name, row in table.items()
    }
    assert said == rows(printed)


def test_table_3_to_the_digit() -> None:
    assert {name: [str(unit) for unit in units] for name, units in TABLE_3.items()} == rows(PRINTED_3)


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
    assert result.as_written == set(TABLE_3[emotion])  # AU1 alone is in all five others, of anger
    assert not result.only_in_bold


def test_equation_1_reports_au12_which_table_3_does_not_print_in_bold() -> None:
    assert equation_1("happiness").missing_in_bold == {12}
    assert "AU12 not bold in table 3" in str(equation_1("happiness"))
    assert all(not equation_1(emotion).missing_in_bold for emotion in EMOTIONS if emotion != "happiness")


def test_equation_1_as_printed_excludes_nothing() -> None:
    # AU1 is in all of table 3's sets but that of anger.
    for emotion in EMOTIONS:
        result = equation_1(emotion)
        assert result.as_written == set(TABLE_3[emotion])
        assert result.symmetric == set(TABLE_3[emotion]) | ({1} if emotion == "anger" else set())
