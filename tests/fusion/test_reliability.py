"""Equation 2, kappa, and the matching of coders' events."""

from __future__ import annotations

import math

import pytest

from fusion.events import FaceEvent
from fusion.reliability import agreement, align, cohen_kappa, equation_2, light_kappa


def test_equation_2_as_printed() -> None:
    result = equation_2([{"anger", "disgust"}, {"disgust", "fear"}])
    assert result.r == pytest.approx(2 * 1 / 3)  # N |intersection| / |union|
    assert result.r_merged == pytest.approx(2 * 1 / 4)
    assert (result.shared, result.united, result.given) == (1, 3, 4)


def test_equation_2_for_three_coders() -> None:
    result = equation_2([{1, 4}, {1, 4, 5}, {1}])
    assert result.r == pytest.approx(3 * 1 / 3)
    assert result.r_merged == pytest.approx(3 * 1 / 6)


def test_full_agreement_reaches_n_as_printed_and_one_when_merged() -> None:
    assert equation_2([{1}, {1}, {1}]).r == 3.0
    assert equation_2([{1}, {1}, {1}]).r_merged == 1.0
    assert equation_2([set(), set()]).r_merged == 1.0
    with pytest.raises(ValueError, match="two coders"):
        equation_2([{1}])


def test_kappa_of_a_textbook_table() -> None:
    # Cohen's 50 grant applications: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no; kappa = .40.
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert light_kappa([first, second, first]) == pytest.approx((0.4 + 1.0 + 0.4) / 3)
    assert math.isnan(cohen_kappa(["y"], ["y"]))
    with pytest.raises(ValueError, match="same items"):
        cohen_kappa(["y"], [])


def event(onset: float, units: tuple[int, ...], category: str, duration: float = 0.2) -> FaceEvent:
    return FaceEvent(onset, duration, "micro_expression", onset, action_units=units, category=category)  # type: ignore[arg-type]


def test_events_are_matched_by_overlap_and_used_once() -> None:
    a = [event(1.0, (4,), "negative"), event(5.0, (12,), "positive")]
    b = [event(1.05, (4, 7), "negative"), event(1.06, (4,), "negative"), event(9.0, (2,), "surprise")]
    rows = align([a, b])
    assert [[cell.onset if cell else None for cell in row] for row in rows] == [
        [1.0, 1.05],
        [None, 1.06],
        [5.0, None],
        [None, 9.0],
    ]


def test_agreement_of_two_coders() -> None:
    a = [event(1.0, (4,), "negative"), event(5.0, (12,), "positive")]
    b = [event(1.02, (4, 7), "negative"), event(5.0, (12,), "other")]
    result = agreement([a, b])
    assert (result.events, result.seen_by_all) == (2, 2)
    assert result.action_units.r == pytest.approx(2 * 2 / 3)
    assert result.categories.r == pytest.approx(2 * 1 / 3)
    assert agreement([a, a]).kappa == 1.0
