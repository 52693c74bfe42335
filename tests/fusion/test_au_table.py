"""Algorithms 1 and 2 by hand-computed examples, and against a plain transcription of the pseudocode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.stream import InvalidSignal
from fusion.au_table import algorithm_1, algorithm_2, annotate, parse_annotations, split_combination
from fusion.tables import EMOTIONS

# happiness, surprise, anger, fear, disgust, sadness
ROWS = [
    ("12+6", [0.8, 0.1, 0.0, 0.0, 0.0, 0.1]),
    ("6+12", [0.9, 0.1, 0.0, 0.0, 0.0, 0.0]),  # the same combination and emotion again
    ("12", [0.6, 0.4, 0.0, 0.0, 0.0, 0.0]),
    ("12+6", [0.1, 0.7, 0.0, 0.0, 0.1, 0.1]),  # the same combination, another emotion
    ("L4+7C", [0.0, 0.0, 0.5, 0.0, 0.5, 0.0]),  # a tie goes to the first emotion
]


def rows() -> tuple[list[str], np.ndarray]:
    return [text for text, _ in ROWS], np.array([scores for _, scores in ROWS])


def test_algorithm_1_by_hand() -> None:
    result = algorithm_1(annotate(*rows()))
    assert result.samples == 4  # line 7: the repetition is skipped
    # Happiness: 12+6 gives .8 to each, 12 gives .6; proportions of 2.2.
    assert result.top("happiness") == ((12, pytest.approx(1.4 / 2.2)), (6, pytest.approx(0.8 / 2.2)))
    assert result.top("surprise") == ((6, pytest.approx(0.5)), (12, pytest.approx(0.5)))
    assert result.top("anger") == ((4, pytest.approx(0.5)), (7, pytest.approx(0.5)))
    assert result.top("disgust") == ()


def test_algorithm_2_by_hand() -> None:
    annotations = annotate(*rows())
    result = algorithm_2(annotations)
    assert result.top("happiness") == ((12, pytest.approx(2.4)), (6, pytest.approx(1.8)))
    assert result.top("disgust") == (
        (4, pytest.approx(0.5)),
        (7, pytest.approx(0.5)),
        (6, pytest.approx(0.1)),
        (12, pytest.approx(0.1)),
    )
    mean = algorithm_2(annotations, per_occurrence=True)
    assert dict(mean.top("happiness")) == {12: pytest.approx(0.6), 6: pytest.approx(0.6)}


def plain(combinations: list[frozenset[int]], scores: np.ndarray) -> tuple[dict, dict]:
    """The pseudocode of algorithms 1 and 2, line by line."""
    first: dict[tuple[int, int], float] = {}
    second: dict[tuple[int, int], float] = {}
    seen = set()
    for units, row in zip(combinations, scores, strict=True):
        emotion = int(np.argmax(row))
        if (units, emotion) not in seen:
            seen.add((units, emotion))
            for unit in units:
                first[emotion, unit] = first.get((emotion, unit), 0.0) + row[emotion]
        for unit in units:
            for e, score in enumerate(row):
                second[e, unit] = second.get((e, unit), 0.0) + score
    for e in range(6):
        total = sum(value for (emotion, _), value in first.items() if emotion == e)
        for key in [key for key in first if key[0] == e]:
            first[key] /= total
    return first, second


@given(
    st.lists(
        st.tuples(
            st.frozensets(st.integers(1, 45), min_size=1, max_size=4),
            st.lists(st.floats(0.01, 1.0), min_size=6, max_size=6),
        ),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=25, deadline=None)
def test_against_the_pseudocode(samples: list[tuple[frozenset[int], list[float]]]) -> None:
    combinations = [units for units, _ in samples]
    scores = np.array([row for _, row in samples])
    annotations = annotate(combinations, scores)
    first, second = plain(combinations, scores)
    for expected, got in ((first, algorithm_1(annotations)), (second, algorithm_2(annotations))):
        for e in range(len(EMOTIONS)):
            for j, unit in enumerate(got.units):
                assert got.array[e, j] == pytest.approx(expected.get((e, int(unit)), 0.0))


def test_a_million_rows_agree_with_a_count() -> None:
    rng = np.random.default_rng(0)
    n = 1_000_000
    kinds = [frozenset({12}), frozenset({4, 7}), frozenset({1, 2, 5, 25})]
    pick = rng.integers(3, size=n)
    scores = rng.random((n, 6))
    annotations = annotate([kinds[i] for i in pick], scores)
    result = algorithm_2(annotations)
    j = list(result.units).index(12)
    np.testing.assert_allclose(result.array[:, j], scores[pick == 0].sum(axis=0))
    assert algorithm_1(annotations).samples == 18  # three combinations, six emotions


def test_a_table_with_a_header_is_read_in_any_order() -> None:
    lines = [
        "image;AUs;anger;disgust;fear;happy;sad;surprise\n",
        "a.jpg;AU12+AU25;0;0;0;1;0;0\n",
        "\n",
        "b.jpg;null;0.2;0;0;0;0.8;0\n",
    ]
    annotations = parse_annotations(lines)
    assert len(annotations) == 2
    assert list(annotations.units) == [12, 25]
    assert annotations.scores[0, EMOTIONS.index("happiness")] == 1.0
    assert annotations.masks[1] == 0


def test_scores_are_read_as_people_write_them() -> None:
    header = "aus;happiness;surprise;anger;fear;disgust;sadness\n"
    rows = (
        parse_annotations([header, line]).scores[0].tolist()
        for line in ("12;0.9;0.1;0;0;0;0\n", "L12;0,9;0,1;0;0;0;0\n", "AU12;90%;10 %;0%;0%;0%;0%\n")
    )
    assert all(row == pytest.approx([0.9, 0.1, 0.0, 0.0, 0.0, 0.0]) for row in rows)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,b\n", "1,2\n"], "action_units"),
        (["aus,happiness\n", "12,1\n"], "surprise"),
        (["aus,happiness,surprise,anger,fear,disgust,sadness\n", "12,1\n"], "shorter"),
        (["aus,happiness,surprise,anger,fear,disgust,sadness\n", "12,1,x,0,0,0,0\n"], "'x' for surprise"),
        (["aus,happiness,surprise,anger,fear,disgust,sadness\n", "12,1,,0,0,0,0\n"], "Row 2 .* surprise"),
        (["aus,happiness,surprise,anger,fear,disgust,sadness\n"], "no rows"),
    ],
)
def test_a_bad_table_says_what_to_do(lines: list[str], message: str) -> None:
    with pytest.raises(InvalidSignal, match=message):
        parse_annotations(lines)


def test_bad_combinations_are_refused() -> None:
    assert split_combination("AU1, L12C + 25") == {1, 12, 25}
    with pytest.raises(InvalidSignal, match="smile"):
        split_combination("12+smile")
    with pytest.raises(InvalidSignal, match="one score"):
        annotate(["1"], np.zeros((2, 6)))
    with pytest.raises(InvalidSignal, match="64"):
        annotate([frozenset(range(1, 80))], np.zeros((1, 6)))
