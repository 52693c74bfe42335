"""What every display shows alike: the terminal, the page and the report."""

from __future__ import annotations

from fusion.atlas import load_atlas

SHOWN_AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 24, 25, 26)
"""Action units that have a place on a display; all others are in the tables."""

EXPRESSION_TYPES = ("micro_expression", "macro_expression")
"""Events that are candidates for a coder to judge."""


def percent(confidence: float) -> str:
    """A confidence of 0-1 in percent; nothing is ever called certain."""
    return "> 99 %" if confidence > 0.99 else f"{100 * confidence:.0f} %"


def unit_name(number: int) -> str:
    """What FACS calls an action unit, ``lip corner puller``; empty when the atlas does not know it."""
    unit = load_atlas().action_units.get(number)
    return "" if unit is None else unit.name
