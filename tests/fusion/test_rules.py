"""Section 7's seven rules, section 4's muscle groups, section 5's categories."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.rules import RULES, active_muscle_groups, code

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 22, 23, 24, 25, 26, 27, 28, 43)


@pytest.mark.parametrize(
    ("units", "category", "emotions"),
    [
        ({12}, "positive", ["happiness (rule 1)"]),
        ({6}, "positive", ["happiness (rule 1)"]),
        ({28}, "positive", ["happiness (rule 1)"]),
        ({2}, "surprise", ["surprise (rule 2)"]),
        ({4}, "negative", ["negative (rule 3)"]),
        ({16}, "negative", ["anger (rule 4)"]),
        ({22}, "negative", ["anger (rule 4)"]),
        ({23}, "negative", ["anger (rule 4)"]),
        ({1, 4, 5, 25}, "negative", ["negative (rule 3)", "fear (rule 5)", "sadness (rule 7)"]),
        ({7}, "negative", ["disgust (rule 6)"]),
        ({24}, "negative", ["disgust (rule 6)"]),
        ({4, 5}, "negative", ["negative (rule 3)", "sadness (rule 7)"]),
        ({43}, "negative", ["sadness (rule 7)"]),
    ],
)
def test_the_seven_rules_of_section_7(units: set[int], category: str, emotions: list[str]) -> None:
    coding = code(units)
    assert coding.category == category
    assert [str(emotion) for emotion in coding.emotions] == emotions


@pytest.mark.parametrize("units", [{1, 4, 5}, {1, 4, 25}, {4, 5, 25}, {1, 5, 25}])
def test_rule_5_needs_brows_eyes_and_mouth_at_once(units: set[int]) -> None:
    assert all(emotion.rule != 5 for emotion in code(units).emotions)


def test_smile_with_frown_names_both_rules_and_decides_nothing() -> None:
    coding = code({12, 4})
    assert coding.category == "other"
    (conflict,) = coding.conflicts
    assert (conflict.first.source, conflict.second.source) == ("rule 1", "rule 3")
    assert "positive or negative" in str(conflict)


def test_surprise_with_frown_is_shown_as_a_conflict() -> None:
    # 4.3 counts AU4 among surprise's AUs, rule 3 calls it negative.
    coding = code({2, 4})
    assert coding.category == "other"
    assert {coding.conflicts[0].first.source, coding.conflicts[0].second.source} == {"rule 2", "rule 3"}


def test_rule_7_conflicts_with_table_3_about_au5() -> None:
    (conflict,) = code({4, 5}).conflicts
    assert conflict.reason == "table 3 lists no AU5 for sadness"


def test_fear_and_sadness_rules_fire_together_and_say_so() -> None:
    reasons = [conflict.reason for conflict in code({1, 4, 5, 25}).conflicts]
    assert "fear or sadness" in reasons


@pytest.mark.parametrize(
    ("unit", "category"), [(9, "negative"), (10, "negative"), (15, "negative"), (17, "negative")]
)
def test_without_a_rule_table_3_gives_the_category(unit: int, category: str) -> None:
    coding = code({unit})
    assert coding.emotions == ()
    assert coding.category == category


@pytest.mark.parametrize("units", [{1}, {14}, {25}, {26}, set(), {18}])
def test_ambiguous_or_unlisted_aus_are_other(units: set[int]) -> None:
    assert code(units).category == "other"


def test_disgust_with_a_smile_is_never_positive() -> None:
    assert code({9, 10, 12}).category == "other"
    assert code({4, 12}).category == "other"


def test_au20_alone_means_fear_by_equation_1() -> None:
    # Section 2.2: "if AU20 appears, we assume that fearful emotion emerges".
    assert code({20}).exclusive == (("fear", 20),)


@pytest.mark.parametrize(
    ("units", "emotions"),
    [
        ({12}, ["positive"]),  # 4.1
        ({4}, ["negative"]),  # 4.1
        ({4, 15}, ["negative", "sadness"]),  # 4.2.1: corrugator + depressor anguli oris
        ({1, 4, 7, 15}, ["negative", "sadness", "fear", "surprise"]),  # 4.2.2; 4.3 shares its muscles
        ({1, 4, 5, 15}, ["negative", "sadness", "fear", "surprise"]),  # the same with the eyes wide open
        ({2, 4, 5}, ["negative", "surprise"]),  # 4.3: AU2, AU4 and AU5 by these three muscles
        ({2, 4, 6}, ["negative", "surprise"]),  # 4.3
        ({2, 5}, []),
    ],
)
def test_muscle_groups_of_section_4(units: set[int], emotions: list[str]) -> None:
    assert [group.emotion for group in active_muscle_groups(units)] == emotions


def test_intensities_and_sides() -> None:
    coding = code({12: 0.8, 4: 0.05}, sides={12: "left"}, threshold=0.1)
    assert coding.category == "positive"
    assert coding.action_units == (12,)
    assert (coding.side, coding.asymmetry) == ("left", 1.0)
    mixed = code({12: 0.6, 6: 0.2}, sides={12: "left"})
    assert mixed.side == "both"
    assert mixed.asymmetry == pytest.approx(0.6)


@given(st.sets(st.sampled_from(UNITS)))
@settings(max_examples=25)
def test_a_disagreement_of_categories_is_never_silent(units: set[int]) -> None:
    coding = code(units)
    said = {rule.emotion for rule in RULES if rule.needs <= units}
    assert {emotion.name for emotion in coding.emotions} == said
    positive, negative = "happiness" in said, said & {"anger", "fear", "disgust", "sadness", "negative"}
    if positive and negative:
        assert coding.category == "other"
        assert coding.conflicts
