"""`zygoma reliability`: do the coders of a recording agree? Equation 2 for N coders, and kappa."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from acquisition.stream import InvalidSignal
from fusion.events import FaceEvent, from_tsv_row
from fusion.reliability import Agreement, Reliability, agreement
from zygoma.options import console, print_json
from zygoma.shown import EXPRESSION_TYPES


def read_events(path: Path) -> list[FaceEvent]:
    """The expressions of one coder's ``events.tsv``; rows without ``trial_type`` count as expressions.

    Raises:
        InvalidSignal: No such table; says what to change.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
    except OSError as error:
        raise InvalidSignal(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidSignal(f"{path} is not text: give the events.tsv of a coder.") from None
    events = []
    for number, row in enumerate(rows, 2):
        cells = {key: cell for key, cell in row.items() if key is not None and cell is not None}
        # Blinks, markers and the like are not what coders label.
        if cells.get("trial_type", "micro_expression") not in EXPRESSION_TYPES:
            continue
        try:
            events.append(from_tsv_row(cells))
        except (ValueError, AttributeError) as error:
            raise InvalidSignal(f"{path}, line {number}: {error}.") from None
    return events


def print_reliability(paths: Sequence[Path], *, least_overlap: float, as_json: bool) -> None:
    """Match the coders' events in time and print how far they agree.

    Args:
        paths: One ``events.tsv`` per coder, two or more.
        least_overlap: Intersection over union from which two events are the same.
        as_json: One object.

    Raises:
        InvalidSignal: Fewer than two files, or one that cannot be read.
    """
    if len(paths) < 2:
        raise InvalidSignal("Reliability needs at least two coders: give two or more events.tsv files.")
    coders = [read_events(path) for path in paths]
    found = agreement(coders, least_overlap)
    if as_json:
        record = asdict(found)
        record["kappa"] = None if found.kappa != found.kappa else found.kappa
        print_json({"coders": [str(path) for path in paths], "labelled": list(map(len, coders)), **record})
        return
    console.print(_drawn(found))
    counts = ", ".join(f"{path.name}: {len(events)}" for path, events in zip(paths, coders, strict=True))
    console.print(
        f"{found.events} different events ({counts}), {found.seen_by_all} seen by all {len(paths)} coders "
        f"(overlap of at least {least_overlap:g}).",
        highlight=False,
    )
    console.print(
        f"R is equation 2 as printed and reaches {len(paths)} when all agree; R merged counts the labels of "
        "all coders one by one below the line, as FACS does, and reaches 1.",
        highlight=False,
    )


def _drawn(found: Agreement) -> Table:
    table = Table(box=None)
    for heading in ("labels", "R (equation 2)", "R merged", "shared", "different", "given", "kappa"):
        table.add_column(heading, justify="left" if heading == "labels" else "right")

    def row(name: str, each: Reliability, kappa: str) -> None:
        counts = (each.shared, each.united, each.given)
        table.add_row(name, f"{each.r:.3f}", f"{each.r_merged:.3f}", *map(str, counts), kappa)

    row("action units", found.action_units, "")
    kappa = "n/a" if found.kappa != found.kappa else f"{found.kappa:.3f}"
    row("categories", found.categories, kappa)
    return table
