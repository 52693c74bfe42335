"""The brain-to-face map on the terminal and as figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from acquisition.stream import ZygomaError
from fusion.atlas import Answer, load_atlas
from fusion.tables import equation_1
from zygoma.atlas_figure import atlas_figure
from zygoma.face_map import Sides, face_map
from zygoma.options import console, print_json


def draw_face(subject: str | None, path: Path, *, side: Sides) -> None:
    """Write the drawn face map, of all muscles or of those on the ways through `subject`.

    Raises:
        ZygomaError: The atlas does not know `subject`, or no muscle on the map belongs to it.
    """
    units: set[int] | None = None
    try:
        if subject is not None:
            units = {way.action_unit for way in load_atlas().ask(subject).paths}
        figure = face_map(side, units)
    except (KeyError, ValueError) as error:
        raise ZygomaError(f"{error.args[0]}.") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(figure, encoding="utf-8")
    console.print(f"The face map is in {path}", highlight=False, soft_wrap=True)


def draw_atlas(subject: str | None, path: Path) -> None:
    """Write the figure from brain to face: the whole map, or the ways through `subject`.

    Raises:
        ZygomaError: The atlas does not know `subject`; says what it does know.
    """
    figure = atlas_figure(_ask(subject) if subject is not None else None)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(figure, encoding="utf-8")
    console.print(f"The figure is in {path}", highlight=False, soft_wrap=True)


def print_atlas(subject: str, *, as_json: bool) -> None:
    """Print every way from the brain through `subject` to an emotion.

    Raises:
        ZygomaError: The atlas does not know `subject`; says what it does know.
    """
    answer = _ask(subject)
    if as_json:
        print_json(answer.to_dict())
        return
    table = Table(title=f"{answer.subject} ({answer.kind})", box=None)
    for heading in ("facial nucleus", "nerve", "branch", "muscle", "action unit", "emotions (table 3)"):
        table.add_column(heading)
    for path in answer.paths:
        emotions = ", ".join(path.emotions) or "–"
        table.add_row(path.nucleus, path.nerve, path.branch, path.muscle, f"AU{path.action_unit}", emotions)
    console.print(table)
    for line in _described(answer):
        console.print(line, highlight=False)
    for point in answer.disagreements:
        console.print(f"Disagreement: {point}", highlight=False)


def _described(answer: Answer) -> Iterator[str]:
    """What the answer's kind is about, in sentences: anatomy of muscles, courses of nerves, the brain."""
    if answer.kind in ("muscle", "action unit"):
        for muscle in answer.muscles:
            course = f"from {muscle.origin}; to {muscle.insertion}"
            yield f"{muscle.name}: {course}; {muscle.action} ({muscle.source})."
    if answer.kind in ("branch", "nucleus"):
        for branch in answer.branches:
            yield f"{branch.name} ({branch.nerve}): {branch.course} ({branch.source})."
    if answer.kind in ("branch", "nucleus", "cortical system"):
        for part in answer.nuclei:
            yield f"{part.name} facial nucleus: from {part.cortex} to {part.face} ({part.source})."
    if answer.kind in ("nucleus", "cortical system"):
        for system in answer.systems:
            yield (
                f"{system.name} ({system.family}): from {system.origin} through {system.tract}; "
                f"{system.property} ({system.source})."
            )
    if answer.kind == "emotion":
        yield f"{equation_1(answer.subject)}."


def _ask(subject: str) -> Answer:
    try:
        return load_atlas().ask(subject)
    except KeyError as error:
        raise ZygomaError(f"{error.args[0]}.") from None
