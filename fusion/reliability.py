"""Do coders agree? Equation 2 of the paper for N coders, Cohen's kappa, and the matching of their events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

from fusion.events import FaceEvent


@dataclass(frozen=True)
class Reliability:
    """Equation 2 for N coders.

    Attributes:
        r: As printed: N times the size of the intersection over the size of the union of the coders' label
            sets. It reaches N, not 1, when all agree.
        r_merged: The same with the labels of all coders merged and counted one by one in the denominator (the
            text says "merge operations"; FACS reliability is computed so). 1 when all agree.
        shared: Labels that all coders gave.
        united: Labels that any coder gave.
        given: Labels of all coders, counted one by one.
        coders: N.
    """

    r: float
    r_merged: float
    shared: int
    united: int
    given: int
    coders: int


def equation_2(labels: Sequence[Collection[Hashable]]) -> Reliability:
    """Inter-coder reliability R of labels given by N >= 2 coders.

    Args:
        labels: Per coder, what was labelled: emotions of one picture, or (picture, emotion) pairs of many.

    Raises:
        ValueError: Fewer than two coders.
    """
    if len(labels) < 2:
        raise ValueError(f"reliability needs at least two coders, got {len(labels)}")
    sets = [frozenset(each) for each in labels]
    shared = len(frozenset.intersection(*sets))
    united = len(frozenset.union(*sets))
    given = sum(len(each) for each in sets)
    n = len(sets)
    # Nobody labelled anything: they agree on that.
    r = n * shared / united if united else float(n)
    merged = n * shared / given if given else 1.0
    return Reliability(r, merged, shared, united, given, n)


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa of two coders' labels of the same items; NaN when both always gave the same one label.

    Raises:
        ValueError: The sequences differ in length or are empty.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"kappa needs the same items from both coders, got {len(first)} and {len(second)}")
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    counts, others = Counter(first), Counter(second)
    expected = sum(counts[label] * others[label] for label in counts) / n**2
    return (observed - expected) / (1.0 - expected) if expected < 1.0 else float("nan")


def light_kappa(labels: Sequence[Sequence[Hashable]]) -> float:
    """Mean of Cohen's kappa over all pairs of N coders (Light, 1971)."""
    pairs = [cohen_kappa(first, second) for first, second in combinations(labels, 2)]
    if not pairs:
        raise ValueError("kappa needs at least two coders")
    return sum(pairs) / len(pairs)


def overlap(first: FaceEvent, second: FaceEvent) -> float:
    """Intersection over union of two events' times."""
    inside = min(first.offset, second.offset) - max(first.onset, second.onset)
    union = max(first.offset, second.offset) - min(first.onset, second.onset)
    return max(0.0, inside) / union if union > 0.0 else float(first.onset == second.onset)


def align(coders: Sequence[Sequence[FaceEvent]], least_overlap: float = 0.5) -> list[list[FaceEvent | None]]:
    """Put the coders' events beside each other: one row per event, one column per coder.

    Two events are the same when their intersection over union is at least `least_overlap`; each is used once,
    best matches first. A coder who did not see the event has None in its row.
    """
    rows: list[list[FaceEvent | None]] = []
    for column, events in enumerate(coders):
        matches = sorted(
            (
                (-max(overlap(event, other) for other in row if other is not None), i, j)
                for i, event in enumerate(events)
                for j, row in enumerate(rows)
            ),
        )
        taken_events: set[int] = set()
        taken_rows: set[int] = set()
        for negative, i, j in matches:
            if -negative >= least_overlap and i not in taken_events and j not in taken_rows:
                rows[j].append(events[i])
                taken_events.add(i)
                taken_rows.add(j)
        for row in rows:
            if len(row) == column:
                row.append(None)
        for i, event in enumerate(events):
            if i not in taken_events:
                rows.append([None] * column + [event])
    return sorted(rows, key=lambda row: min(event.onset for event in row if event is not None))


@dataclass(frozen=True)
class Agreement:
    """How far N coders agree on a recording.

    Attributes:
        action_units, categories: Equation 2 on (event, AU) and (event, category) labels.
        kappa: Light's kappa of the categories over all events that any coder saw; "none" is a category.
        events: How many different events there are.
        seen_by_all: How many of them all coders saw.
    """

    action_units: Reliability
    categories: Reliability
    kappa: float
    events: int
    seen_by_all: int


def agreement(coders: Sequence[Sequence[FaceEvent]], least_overlap: float = 0.5) -> Agreement:
    """Agreement of N coders on the events of one recording.

    Raises:
        ValueError: Fewer than two coders.
    """
    rows = align(coders, least_overlap)
    units: list[set[Hashable]] = [set() for _ in coders]
    categories: list[set[Hashable]] = [set() for _ in coders]
    for number, row in enumerate(rows):
        for column, event in enumerate(row):
            if event is not None:
                units[column] |= {(number, unit) for unit in event.action_units}
                categories[column].add((number, event.category))
    words = [[event.category if event else "none" for event in column] for column in zip(*rows, strict=True)]
    return Agreement(
        action_units=equation_2(units),
        categories=equation_2(categories),
        kappa=light_kappa(words) if rows else float("nan"),
        events=len(rows),
        seen_by_all=sum(None not in row for row in rows),
    )
