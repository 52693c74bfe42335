"""The brain-to-face map as one drawn figure, after figure 1 of Dong et al. (2022).

Brain, facial nucleus, nerve branch, muscle, action unit and emotion, from left to right, as one SVG.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from fusion.atlas import Answer, Atlas, Path, load_atlas
from fusion.tables import EMOTIONS, equation_1
from zygoma.face_map import BRANCH_COLOURS

WIDTH_PX = 1480
_TOP_PX, _BOTTOM_PX, _ROW_PX = 128, 58, 27
_LEAST_ROWS = 7
_NODE_PX = 22
_INK, _SOFT, _PAPER, _LINE = "#23211e", "#7a746a", "#fdfcf9", "#c9c3b8"
_FONT = "Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class _Column:
    heading: str
    source: str
    x: float
    width: float


_COLUMNS = (
    _Column("cortical system", "section 3.2", 28, 186),
    _Column("nucleus", "section 3.1", 262, 186),
    _Column("nerve branch", "section 2", 502, 198),
    _Column("muscle", "sections 2 and 4", 758, 232),
    _Column("action unit", "FACS", 1052, 188),
    _Column("emotion", "table 3", 1356, 96),
)


@dataclass(frozen=True)
class _Node:
    """One box: its column, its centre's height and what it says."""

    column: int
    y: float
    label: str
    colour: str = _LINE
    note: str = ""

    @property
    def left(self) -> float:
        return _COLUMNS[self.column].x

    @property
    def right(self) -> float:
        return self.left + _COLUMNS[self.column].width


def atlas_figure(answer: Answer | None = None) -> str:
    """The whole map, or the ways through what was asked for, as the text of an SVG file.

    Args:
        answer: From `Atlas.ask`; None draws everything.
    """
    atlas = load_atlas()
    ways = _in_order(atlas, answer.paths if answer is not None else atlas.paths())
    if answer is not None and answer.kind == "emotion":
        ways = [replace(path, emotions=(answer.subject,)) for path in ways]
    nodes = _place(atlas, ways)
    rows = max(_LEAST_ROWS, *(len(column) for column in nodes))
    height = _TOP_PX + rows * _ROW_PX + _BOTTOM_PX
    title = "From brain to face"
    if answer is not None:
        title += f": {answer.subject} ({answer.kind})"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height}" width="{WIDTH_PX}" '
        f'height="{height}" role="img" aria-label="{escape(title)}" font-family="{_FONT}">',
        f'<rect width="{WIDTH_PX}" height="{height}" fill="{_PAPER}"/>',
        _text(28, 46, 24, title, weight=600),
        *_headings(),
        '<g fill="none" stroke-linecap="round">',
        *_links(atlas, ways, nodes),
        "</g>",
        *(box for column in nodes for node in column.values() for box in _box(node)),
        _text(28, height - 22, 12, _CAPTION, colour=_SOFT),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


_CAPTION = (
    "Colour: main nerve branch of the muscle. Dotted: a second branch, or a muscle that helps. "
    "Thick: equation 1 ties the action unit to this emotion alone. Grey: not the facial nerve (CN VII)."
)

_Nodes = tuple[dict[str, _Node], ...]


def _in_order(atlas: Atlas, paths: Iterable[Path]) -> list[Path]:
    """By branch from the brow to the neck, so that lines seldom cross."""
    branches, muscles = list(BRANCH_COLOURS), list(atlas.muscles)
    mains = {name: branches.index(muscle.branches[0]) for name, muscle in atlas.muscles.items()}
    return sorted(paths, key=lambda path: (mains[path.muscle], muscles.index(path.muscle), path.action_unit))


def _place(atlas: Atlas, ways: Sequence[Path]) -> _Nodes:
    """Boxes of the six columns by name; a column with fewer boxes spreads over the figure's height."""
    units = dict.fromkeys(path.action_unit for path in _by_main_muscle(atlas, ways))
    nuclei = dict.fromkeys(path.nucleus for path in ways)
    shown = {name for path in ways for name in path.emotions}
    cortex = {part.name: part.cortex for part in atlas.nuclei}
    columns: list[list[tuple[str, str, str, str]]] = [
        [(system.name, system.name, _LINE, system.tract.split(" to ")[0]) for system in atlas.systems],
        [(name, _nucleus_label(name, cortex), _LINE, cortex.get(name, "")) for name in nuclei],
        [
            (name, _short(name), colour, atlas.branches[name].nerve.partition(",")[0])
            for name, colour in BRANCH_COLOURS.items()
            if any(path.branch == name for path in ways)
        ],
        [
            (name, name, BRANCH_COLOURS[atlas.muscles[name].branches[0]], "")
            for name in dict.fromkeys(path.muscle for path in ways)
        ],
        [
            (f"AU{unit}", f"AU{unit}  {atlas.action_units[unit].name}", _colour(atlas, unit), "")
            for unit in units
        ],
        [(name, name, _LINE, "") for name in EMOTIONS if name in shown],
    ]
    span = max(_LEAST_ROWS, *map(len, columns)) * _ROW_PX
    placed = []
    for number, column in enumerate(columns):
        step = span / max(len(column), 1)
        placed.append(
            {
                key: _Node(number, _TOP_PX + (row + 0.5) * step, label, colour, note)
                for row, (key, label, colour, note) in enumerate(column)
            }
        )
    return tuple(placed)


def _by_main_muscle(atlas: Atlas, ways: Sequence[Path]) -> list[Path]:
    """Each action unit first where its main muscle stands."""
    return sorted(ways, key=lambda path: path.muscle != atlas.action_units[path.action_unit].muscles[0])


def _nucleus_label(name: str, cortex: Mapping[str, str]) -> str:
    return f"facial nucleus, {name}" if name in cortex else name


def _short(branch: str) -> str:
    return branch.replace(" division of the ", ", ").replace(" nerve", "")


def _colour(atlas: Atlas, unit: int) -> str:
    return BRANCH_COLOURS[atlas.muscles[atlas.action_units[unit].muscles[0]].branches[0]]


def _headings() -> Iterator[str]:
    for column in _COLUMNS:
        yield _text(column.x, 88, 14, column.heading, weight=600)
        yield _text(column.x, 106, 12, column.source, colour=_SOFT)


def _text(x: float, y: float, size: float, words: str, *, colour: str = _INK, weight: int = 400) -> str:
    return (
        f'<text x="{x:g}" y="{y:.1f}" font-size="{size:g}" font-weight="{weight}" fill="{colour}">'
        f"{escape(words)}</text>"
    )


def _links(atlas: Atlas, ways: Sequence[Path], nodes: _Nodes) -> Iterator[str]:
    systems, nuclei, branches, muscles, units, emotions = nodes
    facial = [nuclei[part.name] for part in atlas.nuclei if part.name in nuclei]
    for system in systems.values():
        for nucleus in facial:
            yield _link(system, nucleus, _LINE)
    for name, branch in branches.items():
        yield _link(nuclei[atlas.branches[name].nucleus], branch, BRANCH_COLOURS[name], 2.2)
    seen = set()
    for path in ways:
        main = path.branch == atlas.muscles[path.muscle].branches[0]
        steps = [
            (branches[path.branch], muscles[path.muscle], BRANCH_COLOURS[path.branch], 1.6, not main),
            (
                muscles[path.muscle],
                units[f"AU{path.action_unit}"],
                muscles[path.muscle].colour,
                1.6,
                path.muscle != atlas.action_units[path.action_unit].muscles[0],
            ),
        ]
        for emotion in path.emotions:
            own = path.action_unit in equation_1(emotion).exclusive
            start = units[f"AU{path.action_unit}"]
            steps.append((start, emotions[emotion], start.colour, 3.4 if own else 1.1, False))
        for start, end, colour, width, second in steps:
            if (start, end) not in seen:
                seen.add((start, end))
                yield _link(start, end, colour, width, dashed=second)


def _link(start: _Node, end: _Node, colour: str, width: float = 1.1, *, dashed: bool = False) -> str:
    x0, x1 = start.right, end.left
    bend = 0.5 * (x1 - x0)
    dash = ' stroke-dasharray="1 5"' if dashed else ""
    return (
        f'<path d="M{x0:.0f},{start.y:.1f} C{x0 + bend:.0f},{start.y:.1f} {x1 - bend:.0f},{end.y:.1f} '
        f'{x1:.0f},{end.y:.1f}" stroke="{colour}" stroke-width="{width}" stroke-opacity="0.7"{dash}/>'
    )


def _box(node: _Node) -> Iterator[str]:
    below = bool(node.note) and node.column < 2
    height = _NODE_PX + (16 if below else 0)
    top, width = node.y - height / 2, node.right - node.left
    yield (
        f'<rect x="{node.left}" y="{top:.1f}" width="{width}" height="{height}" rx="5" fill="#ffffff" '
        f'stroke="{node.colour}" stroke-width="1.2"/>'
    )
    yield _text(node.left + 9, top + 15.5, 12.5, node.label)
    if below:
        yield _text(node.left + 9, top + 30.5, 11, node.note, colour=_SOFT)
    elif node.note:
        # The nerves' names are all about as long: CN VII ends where the box does.
        yield _text(node.right - 42, top + 15.5, 11, node.note, colour=_SOFT)
