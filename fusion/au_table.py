"""The paper's algorithms 1 and 2: how much each action unit contributes to the six emotions of a data set.

The data are AU combinations with emotion scores, as in RAF-AU: one row per picture, with the share of
observers who saw each emotion. Tables 1 and 2 of the paper are what these algorithms gave on that database.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from acquisition.stream import InvalidSignal
from fusion.tables import EMOTIONS

MAX_UNITS = 64
"""Distinct action units that one data set may hold; a combination is a bit mask."""

_UNIT_COLUMNS = ("action_units", "aus", "au", "au_combination", "units", "facs")
_EMOTION_NAMES = {
    "happiness": ("happiness", "happy", "joy"),
    "surprise": ("surprise", "surprised"),
    "anger": ("anger", "angry"),
    "fear": ("fear", "fearful", "afraid"),
    "disgust": ("disgust", "disgusted"),
    "sadness": ("sadness", "sad"),
}
_UNIT = re.compile(r"[a-z]*(\d+)[a-e]?", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Annotations:
    """AU combinations with emotion scores.

    Attributes:
        units: AU numbers [k], ascending; bit j of a mask stands for ``units[j]``.
        masks: uint64 [n], the AUs of each sample.
        scores: float64 [n, 6], the score of each emotion in the order of `fusion.tables.EMOTIONS`.
    """

    units: NDArray[np.int64]
    masks: NDArray[np.uint64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.masks)


@dataclass(frozen=True, eq=False)
class Contributions:
    """Contribution array of algorithm 1 or 2.

    Attributes:
        method: 1 or 2.
        units: AU numbers [k].
        array: float64 [6, k], rows in the order of `fusion.tables.EMOTIONS`.
        samples: Rows that counted (algorithm 1 skips repetitions).
    """

    method: Literal[1, 2]
    units: NDArray[np.int64]
    array: NDArray[np.float64]
    samples: int

    def top(self, emotion: str, count: int = 10) -> tuple[tuple[int, float], ...]:
        """The AUs that contribute most to an emotion, in descending order; ties by AU number.

        Raises:
            ValueError: Not one of the six emotions.
        """
        row = self.array[EMOTIONS.index(emotion)]
        order = np.argsort(-row, kind="stable")[:count]
        return tuple((int(self.units[j]), float(row[j])) for j in order if row[j] > 0.0)

    def table(self, count: int = 10) -> Mapping[str, tuple[tuple[int, float], ...]]:
        """`top` of every emotion, in the form of the paper's tables."""
        return {emotion: self.top(emotion, count) for emotion in EMOTIONS}


def annotate(combinations: Sequence[str | Iterable[int]], scores: NDArray[np.float64]) -> Annotations:
    """Pack AU combinations and scores.

    Args:
        combinations: [n], each ``"1+2+L12C"`` (sides and intensities are dropped) or a collection of numbers.
        scores: [n, 6] in the order of `fusion.tables.EMOTIONS`.

    Raises:
        InvalidSignal: Lengths differ, a combination cannot be read, or there are more than 64 different AUs.
    """
    scores = np.ascontiguousarray(scores, dtype=np.float64)
    if scores.shape != (len(combinations), len(EMOTIONS)):
        raise InvalidSignal(
            f"Give one score per sample and emotion: expected {(len(combinations), 6)}, got {scores.shape}."
        )
    if not np.isfinite(scores).all():
        raise InvalidSignal(
            "Every emotion score must be a number: fill in or leave out the rows that lack one."
        )
    read: dict[object, frozenset[int]] = {}
    keys = [each if isinstance(each, str) else frozenset(each) for each in combinations]
    for key in keys:
        if key not in read:
            read[key] = split_combination(key) if isinstance(key, str) else key
    units = sorted(set().union(*read.values())) if read else []
    if len(units) > MAX_UNITS:
        raise InvalidSignal(
            f"The data set holds {len(units)} different action units; at most 64 are possible."
        )
    bits = {unit: 1 << j for j, unit in enumerate(units)}
    packed = {key: sum(bits[unit] for unit in members) for key, members in read.items()}
    masks = np.fromiter((packed[key] for key in keys), dtype=np.uint64, count=len(keys))
    return Annotations(np.array(units, dtype=np.int64), masks, scores)


def split_combination(text: str) -> frozenset[int]:
    """AU numbers of ``1+2+L12C`` or ``AU1, AU2``: split the AU combination into single AUs.

    Raises:
        InvalidSignal: A part is not an action unit.
    """
    units = set()
    for part in re.split(r"[+,;\s]+", text.strip()):
        if part in ("", "0", "null", "None", "n/a"):
            continue
        match = _UNIT.fullmatch(part)
        if match is None:
            raise InvalidSignal(f"{part!r} in {text!r} is no action unit: write combinations like 1+2+12.")
        units.add(int(match[1]))
    return frozenset(units)


def parse_annotations(lines: Iterable[str]) -> Annotations:
    """Read a table with a header: one column of AU combinations, six of emotion scores.

    The AU column is called ``action_units``, ``aus`` or ``au``; the emotions by their names, in any order.
    Commas, semicolons and tabs separate. Scores are numbers on any one scale; ``60%`` is .6, and so is
    ``0,6`` where commas do not separate. Other columns are passed over.

    Raises:
        InvalidSignal: A column is missing, a score is not a number, or there is no row.
    """
    iterator = iter(lines)
    header_line = next(iterator, "")
    delimiter = max("\t;,", key=header_line.count)
    header = [
        name.strip().strip('"').lower() for name in next(csv.reader([header_line], delimiter=delimiter), [])
    ]
    unit_column = next((header.index(name) for name in _UNIT_COLUMNS if name in header), None)
    if unit_column is None:
        raise InvalidSignal(f"Name the column of AU combinations action_units; the header has {header}.")
    columns = []
    for emotion in EMOTIONS:
        found = [header.index(name) for name in _EMOTION_NAMES[emotion] if name in header]
        if not found:
            raise InvalidSignal(
                f"Add a column {emotion!r} with that emotion's score; the header has {header}."
            )
        columns.append(found[0])
    combinations: list[str] = []
    values: list[list[str]] = []
    for row in csv.reader(iterator, delimiter=delimiter):
        if row:
            try:
                combinations.append(row[unit_column])
                values.append([row[column] for column in columns])
            except IndexError:
                raise InvalidSignal(f"Row {len(values) + 2} is shorter than the header: {row}.") from None
    if not values:
        raise InvalidSignal("The table has a header but no rows.")
    try:
        scores = np.array(values, dtype=np.float64)
    except ValueError:
        scores = np.array([_scores(cells, row) for row, cells in enumerate(values, start=2)])
    return annotate(combinations, scores)


def _scores(cells: Sequence[str], row: int) -> list[float]:
    """Six scores as people write them: with a decimal comma, or as percentages."""
    scores = []
    for emotion, cell in zip(EMOTIONS, cells, strict=True):
        text = cell.strip()
        try:
            number = float(text.removesuffix("%").replace(",", "."))
        except ValueError:
            raise InvalidSignal(
                f"Row {row} has {cell!r} for {emotion}: every emotion score must be a number; fill it in or "
                "leave the row out."
            ) from None
        scores.append(number / 100.0 if text.endswith("%") else number)
    return scores


def algorithm_1(annotations: Annotations) -> Contributions:
    """Algorithm 1: proportion of each AU in each emotion, without repeated combinations.

    A sample's emotion E is the one with the highest score (the first of equals). Only where its combination
    of AUs appears with E for the first time is that score added to each of its AUs in E. Then each emotion's
    contributions are divided by their sum.
    """
    winners = annotations.scores.argmax(axis=1) if len(annotations) else np.empty(0, dtype=np.int64)
    array = np.zeros((len(EMOTIONS), len(annotations.units)))
    counted = _count_first(annotations.masks, winners, annotations.scores, array)
    totals = array.sum(axis=1, keepdims=True)
    np.divide(array, totals, out=array, where=totals > 0.0)
    return Contributions(1, annotations.units, array, int(counted))


def algorithm_2(annotations: Annotations, per_occurrence: bool = False) -> Contributions:
    """Algorithm 2: sum of the scores of all emotions over the samples that have the AU.

    Args:
        annotations: The data set.
        per_occurrence: Divide by the number of samples that have the AU. The algorithm as written does not,
            but table 2's scores (rare AUs such as AU39 on top, none above 1) can only be such means.
    """
    array = np.zeros((len(EMOTIONS), len(annotations.units)))
    occurrences = np.zeros(len(annotations.units), dtype=np.int64)
    _add_all(annotations.masks, annotations.scores, array, occurrences)
    if per_occurrence:
        array /= np.maximum(occurrences, 1)
    return Contributions(2, annotations.units, array, len(annotations))


@njit(cache=True, nogil=True)
def _count_first(
    masks: NDArray[np.uint64],
    winners: NDArray[np.int64],
    scores: NDArray[np.float64],
    array: NDArray[np.float64],
) -> int:
    """Lines 3 to 10 of algorithm 1; the pairs seen so far are kept in an open-addressing hash table."""
    n = masks.shape[0]
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.full(size, -1, dtype=np.int64)
    counted = 0
    for i in range(n):
        mask, emotion = masks[i], winners[i]
        key = (mask ^ (mask >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(emotion * 7919)
        slot = np.int64((key ^ (key >> np.uint64(32))) & np.uint64(size - 1))
        while table[slot] >= 0:
            other = table[slot]
            if masks[other] == mask and winners[other] == emotion:
                break
            slot = (slot + 1) & (size - 1)
        if table[slot] >= 0:
            continue
        table[slot] = i
        counted += 1
        score = scores[i, emotion]
        for j in range(array.shape[1]):
            if (mask >> np.uint64(j)) & np.uint64(1):
                array[emotion, j] += score
    return counted


@njit(cache=True, nogil=True)
def _add_all(
    masks: NDArray[np.uint64],
    scores: NDArray[np.float64],
    array: NDArray[np.float64],
    occurrences: NDArray[np.int64],
) -> None:
    """Lines 3 to 7 of algorithm 2."""
    for i in range(masks.shape[0]):
        mask = masks[i]
        for j in range(array.shape[1]):
            if (mask >> np.uint64(j)) & np.uint64(1):
                occurrences[j] += 1
                for emotion in range(array.shape[0]):
                    array[emotion, j] += scores[i, emotion]
