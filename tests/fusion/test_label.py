"""Section 5: AU label, elicitation material and self-report in one record."""

from __future__ import annotations

import pytest

from fusion.label import label
from fusion.rules import code


def test_three_conditions_that_agree() -> None:
    result = label(code({7}), elicited="disgust", reported="disgust")
    assert (result.category, result.emotion) == ("negative", "disgust")
    assert (result.agreement, result.present) == (3, 3)
    assert result.conflicts == ()
    assert "elicitation and self-report" in result.reason


def test_ambiguous_aus_are_decided_by_material_and_report() -> None:
    result = label(code({14}), elicited="happiness", reported="happiness")
    assert (result.category, result.emotion) == ("positive", "happiness")
    assert "ambiguous" in result.reason


def test_a_face_that_both_contradict_is_other() -> None:
    result = label(code({4}), elicited="happiness", reported="happiness")
    assert result.category == "other"
    assert len(result.conflicts) == 2


def test_one_dissenting_condition_is_shown_but_does_not_outweigh_the_face() -> None:
    result = label(code({4}), elicited="happiness")
    assert result.category == "negative"
    assert result.conflicts == ("AU label says negative, elicitation says positive",)


def test_habitual_behaviour_is_set_aside() -> None:
    # Section 5: "frown when blinking or sniffing".
    result = label(code({4}), elicited="anger", reported="anger", habitual=["blink"])
    assert result.category == "other"
    assert "blink" in result.reason


def test_conflicts_of_rules_are_carried_along() -> None:
    result = label(code({4, 12}), elicited="disgust", reported=["disgust", "anger"])
    assert result.category == "negative"
    assert result.emotion == "disgust"
    assert any("rule 1" in conflict and "rule 3" in conflict for conflict in result.conflicts)


def test_missing_conditions_and_unknown_words() -> None:
    assert label(code({2})).category == "surprise"
    assert label(code(set()), elicited="fear").category == "other"
    with pytest.raises(ValueError, match="bored"):
        label(code({4}), reported="bored")
