"""What the page needs to show a face: where muscles pull, names of action units, words for doubts."""

from __future__ import annotations

from functools import cache
from typing import Any

from processing.face_quality import CONFIDENCE_LEFT, FLAG_WORDS, FaceFlag
from processing.muscle_fields import JAW, MUSCLES
from processing.unit_channels import FACS_LEVELS
from zygoma.shown import SHOWN_AUS, unit_name

STROKES_DRAWN = 2
"""Per muscle the strongest pulls are drawn; more would hide the face."""


@cache
def anatomy() -> dict[str, Any]:
    """``units``: the action units to show with their names; ``levels``: FACS letters, each with the intensity
    that it begins at, ascending; ``muscles``: their pulls; ``flags``: see below.

    A pull has landmark numbers ``anchors`` (subject's right, left) and the displacement at full contraction,
    ``outward`` and ``up``, in inter-ocular distances. A flag is a ``bit`` of the ``flags`` channel, what it
    means (``name``), what mends it (``advice``), and the colour of its ``light``.
    """
    return {
        "units": [{"number": number, "name": unit_name(number)} for number in SHOWN_AUS],
        "levels": [{"letter": letter, "from": bound} for letter, bound in FACS_LEVELS],
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
        "flags": [_described(flag) for flag in FaceFlag],
    }


def _described(flag: FaceFlag) -> dict[str, Any]:
    name, _, advice = FLAG_WORDS[flag].partition(": ")
    light = "bad" if flag is FaceFlag.LOST else "doubtful" if flag in CONFIDENCE_LEFT else "off"
    return {"bit": flag.value, "name": name, "advice": advice, "light": light}
