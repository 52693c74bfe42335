"""What the page needs to draw active muscles: where each pulls the skin, and the names of action units."""

from __future__ import annotations

from functools import cache
from typing import Any

from fusion.atlas import load_atlas
from processing.muscle_fields import JAW, MUSCLES
from zygoma.terminal import SHOWN_AUS

STROKES_DRAWN = 2
"""Per muscle the strongest pulls are drawn; more would hide the face."""


@cache
def anatomy() -> dict[str, Any]:
    """``units``: the action units to show with their names; ``muscles``: their pulls.

    A pull has landmark numbers ``anchors`` (subject's right, left) and the displacement at full contraction,
    ``outward`` and ``up``, in inter-ocular distances.
    """
    names = {number: unit.name for number, unit in load_atlas().action_units.items()}
    return {
        "units": [{"number": number, "name": names.get(number, "")} for number in SHOWN_AUS],
        "muscles": [
            {
                "unit": muscle.action_unit,
                "name": muscle.latin,
                "paired": muscle.paired,
                "pulls": [
                    {"anchors": list(stroke.anchor), "outward": stroke.outward, "up": stroke.up}
                    for stroke in sorted(
                        muscle.strokes, key=lambda stroke: -abs(stroke.up) - abs(stroke.outward)
                    )
                ][:STROKES_DRAWN],
            }
            for muscle in (*MUSCLES, JAW)
        ],
    }
