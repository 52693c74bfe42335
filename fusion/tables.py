"""Tables 1, 2 and 3 of the paper, to the digit, and equation 1 computed on table 3."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any

EMOTIONS = ("happiness", "surprise", "anger", "fear", "disgust", "sadness")
"""The six basic emotions in the order of the paper's tables."""


def _load() -> dict[str, dict[str, list[Any]]]:
    text = files("fusion").joinpath("data/tables.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _scores(rows: Mapping[str, list[Any]]) -> Mapping[str, tuple[tuple[int, float], ...]]:
    return MappingProxyType({name: tuple((unit, score) for unit, score in rows[name]) for name in EMOTIONS})


def _units(rows: Mapping[str, list[Any]]) -> Mapping[str, tuple[int, ...]]:
    return MappingProxyType({name: tuple(rows[name]) for name in EMOTIONS})


_DATA = _load()

TABLE_1 = _scores(_DATA["table_1"])
"""Table 1: the ten AUs that contribute most to each emotion by algorithm 1, with their scores."""

TABLE_2 = _scores(_DATA["table_2"])
"""Table 2: the AUs that contribute most by algorithm 2. Its caption says ten; nine are printed."""

TABLE_3 = _units(_DATA["table_3"])
"""Table 3: the final relationship between emotion and AU."""

TABLE_3_BOLD = _units(_DATA["table_3_bold"])
"""The AUs that table 3 prints in bold: associated with this emotion and no other."""


@dataclass(frozen=True)
class Exclusivity:
    """Equation 1 for one emotion.

    The paper calls its backslash the symmetric difference, yet its example ({3, 9, 14} and {1, 2, 3} give
    {9, 14}) is the relative complement, and its text ("exclusive") needs the union where the equation has the
    intersection. All readings are here; rules and figures use `exclusive`.

    Attributes:
        emotion: One of `EMOTIONS`.
        as_written: S_i without the intersection of all other sets: the equation as printed, the backslash as
            in the example. For table 3 this is S_i itself.
        symmetric: Symmetric difference of S_i and that intersection: the backslash as the paper names it. It
            adds AU1 to anger, the one set without what all others share, and is S_i otherwise.
        exclusive: S_i without the union of the other sets, which is what the text says Q_i is: "the AU
            set that is exclusive to the S_i emotion".
        bold: What table 3 prints in bold.
    """

    emotion: str
    as_written: frozenset[int]
    symmetric: frozenset[int]
    exclusive: frozenset[int]
    bold: frozenset[int]

    @property
    def missing_in_bold(self) -> frozenset[int]:
        """AUs that are exclusive by table 3 but not printed in bold."""
        return self.exclusive - self.bold

    @property
    def only_in_bold(self) -> frozenset[int]:
        """AUs that are printed in bold but belong to another emotion as well."""
        return self.bold - self.exclusive

    def __str__(self) -> str:
        units = ", ".join(f"AU{unit}" for unit in sorted(self.exclusive))
        text = f"{self.emotion}: equation 1 makes {units} exclusive"
        if self.missing_in_bold:
            text += f"; {', '.join(f'AU{unit}' for unit in sorted(self.missing_in_bold))} not bold in table 3"
        if self.only_in_bold:
            text += f"; {', '.join(f'AU{unit}' for unit in sorted(self.only_in_bold))} bold but not exclusive"
        return text


def equation_1(emotion: str) -> Exclusivity:
    """Equation 1 on table 3: the AUs that belong to `emotion` alone, beside the paper's bold type.

    Raises:
        KeyError: Not one of the six emotions.
    """
    own = frozenset(TABLE_3[emotion])
    others = [frozenset(units) for name, units in TABLE_3.items() if name != emotion]
    shared = frozenset.intersection(*others)
    return Exclusivity(
        emotion,
        as_written=own - shared,
        symmetric=own ^ shared,
        exclusive=own - frozenset.union(*others),
        bold=frozenset(TABLE_3_BOLD[emotion]),
    )


def emotions_of(action_unit: int) -> tuple[str, ...]:
    """Emotions that table 3 associates with an action unit."""
    return tuple(emotion for emotion, units in TABLE_3.items() if action_unit in units)
