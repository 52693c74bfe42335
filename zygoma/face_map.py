"""The drawn face map: lines of action of the facial muscles, and the skin each of them moves, as one SVG.

Plate I shows where the muscles run, plate II the displacement fields that the camera chain inverts
(`processing.muscle_fields`), both on the mean face of the landmark model and coloured by nerve branch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fusion.atlas import branches_of, load_atlas
from processing.canonical_face import CanonicalFace, canonical_face
from processing.muscle_fields import JAW, MUSCLES, Muscle
from processing.muscle_model import Activation, displacement_field
from zygoma.face_lines import MUSCLE_LINES, OUTLINES, MuscleLine

Sides = Literal["left", "right", "both"]
Points = NDArray[np.float64]

BRANCH_COLOURS = {
    "temporal": "#0072b2",
    "posterior auricular": "#56b4e9",
    "zygomatic": "#009e73",
    "buccal": "#d55e00",
    "marginal mandibular": "#b5579a",
    "cervical": "#c99700",
    "superior division of the oculomotor nerve": "#56616b",
    "mandibular division of the trigeminal nerve": "#8a7a5c",
}
"""Wong's palette (Nature Methods 8 (2011) 441), told apart with any colour vision; greys are not CN VII."""

WIDTH_PX = 1400
_PLATE_HEIGHT_PX = 985
_FACE_PX = 285.0  # per IOD in plate I
_COLUMNS = 6
_PANEL_PX = (WIDTH_PX // _COLUMNS, 326)
_SMALL_PX = 76.0  # per IOD in plate II
_ARROWS_TIMES = 2.0
"""Displacements are drawn this much longer than they are, to be seen; long ones are not."""

_LONG_IOD = 0.2

_SHOWN = 0.15  # of a field's largest displacement
_ARROW_SPACING_IOD = 0.11


@dataclass(frozen=True)
class _View:
    """Where face coordinates come to lie on the paper."""

    x: float
    y: float
    scale: float

    def place(self, points: Points) -> Points:
        """Positions [n, 2], px, of face coordinates [n, >=2]."""
        return np.asarray(points[:, :2] * self.scale + (self.x, self.y))


def face_map(sides: Sides = "both", action_units: Iterable[int] | None = None) -> str:
    """The figure as SVG text.

    Args:
        sides: The subject's own side whose muscles are drawn.
        action_units: Only the muscles of these; None is all.

    Raises:
        ValueError: No drawn muscle makes any of `action_units`.
        DeviceNotFound: The face model is not installed.
    """
    wanted = None if action_units is None else set(action_units)
    lines = [line for line in MUSCLE_LINES if wanted is None or wanted & set(line.action_units)]
    muscles = [muscle for muscle in (*MUSCLES, JAW) if wanted is None or muscle.action_unit in wanted]
    if not lines and not muscles:
        raise ValueError("no facial muscle on the map makes it; ask for an action unit such as AU12")
    face = canonical_face()
    rows = math.ceil(len(muscles) / _COLUMNS)
    height = _PLATE_HEIGHT_PX + (80 + rows * _PANEL_PX[1] if muscles else 0)
    body = [*_plate_of_lines(face, lines, sides), *_plate_of_fields(face, muscles, sides)]
    return "\n".join([_head(height), *body, "</svg>\n"])


def _head(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX}" height="{height}" '
        f'viewBox="0 0 {WIDTH_PX} {height}" font-family="Helvetica, Arial, sans-serif" role="img">\n'
        "<title>Facial muscles: lines of action and displacement of the skin</title>\n"
        f'<rect width="{WIDTH_PX}" height="{height}" fill="#fdfcf9"/>'
    )


# Plate I


def _plate_of_lines(face: CanonicalFace, lines: Sequence[MuscleLine], sides: Sides) -> Iterator[str]:
    view = _View(WIDTH_PX / 2, 360.0, _FACE_PX)
    yield _text(WIDTH_PX / 2, 42, "Facial muscles: lines of action", 25, "middle", weight="bold")
    subtitle = (
        "from origin to insertion, on MediaPipe's mean face; colour: nerve branch (CN VII unless noted)"
    )
    yield _text(WIDTH_PX / 2, 66, subtitle, 14, "middle", "#555")
    yield from _plaster(face, view)
    yield from _outlines(face.points, view, 1.3, "#8b857b")
    left_column, right_column = _columns(face.points, lines, sides)
    for line in lines:
        for side in ("right", "left") if sides == "both" and line.paired else (sides,):
            for strand in line.strands:
                yield _strand(_on_side(face.points, strand, side), view, line)
    for column, x, anchor in ((left_column, 300.0, "end"), (right_column, WIDTH_PX - 300.0, "start")):
        yield from _labels(column, view, x, anchor)
    reach = 1.02 * _FACE_PX
    for x, words in ((view.x - reach, "subject's right"), (view.x + reach, "subject's left")):
        yield _text(x, 858, words, 14, "middle", "#555", style="italic")
    yield from _legend(lines, 922)


def _plaster(face: CanonicalFace, view: _View) -> Iterator[str]:
    """The face as a pale relief, far facets first."""
    corners = face.points[face.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    normals *= np.where(normals[:, 2:] > 0, -1.0, 1.0)  # all towards the viewer
    light = np.array([-0.35, -0.55, -0.76])
    level = 0.80 + 0.17 * np.clip(normals @ light, 0.0, 1.0)
    flat = view.place(face.points)
    for index in np.argsort(-corners[:, :, 2].mean(axis=1)):
        red, green, blue = (round(255 * level[index] * tint) for tint in (1.0, 0.985, 0.955))
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        yield _polygon(flat[face.triangles[index]], fill=colour, stroke=colour)


def _on_side(points: Points, strand: Sequence[int], side: str) -> Points:
    """Face coordinates of a strand; those of the left side are the right side's mirror image."""
    course = points[list(strand), :2].copy()
    if side == "left":
        course[:, 0] *= -1.0
    return course


def _strand(course: Points, view: _View, line: MuscleLine) -> str:
    """A bundle of fibres: a translucent band with a darker core and a dot at the insertion."""
    colour = BRANCH_COLOURS[_branches(line.action_units)[0]]
    places = view.place(course)
    path = _smooth(places)
    closed = bool(np.allclose(course[0], course[-1]))
    x, y = places[-1]
    dot = "" if closed else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{9 if closed else 13}" '
        'stroke-opacity="0.28" stroke-linecap="round"/>'
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linecap="round"/>{dot}'
    )


def _smooth(places: Points) -> str:
    """A path through all places: Catmull-Rom as Bezier curves."""
    closed = bool(np.allclose(places[0], places[-1]))
    if closed:
        padded = np.vstack([places[-2], places, places[1]])
    else:
        padded = np.vstack([2 * places[0] - places[1], places, 2 * places[-1] - places[-2]])
    parts = [f"M{places[0, 0]:.1f},{places[0, 1]:.1f}"]
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        first, second = start + (end - before) / 6.0, end - (after - start) / 6.0
        numbers = " ".join(f"{x:.1f},{y:.1f}" for x, y in (first, second, end))
        parts.append(f"C{numbers}")
    return " ".join(parts)


_Labelled = tuple[MuscleLine, Points]
"""A muscle and the point, face coordinates, that its label points to."""


def _columns(
    points: Points, lines: Sequence[MuscleLine], sides: Sides
) -> tuple[list[_Labelled], list[_Labelled]]:
    """Labels left and right of the face, from above: by turns if both sides are drawn."""
    targets = []
    for line in lines:
        strand = line.strands[0]
        target = _on_side(points, strand, "right")
        if strand[0] == strand[-1]:
            targets.append((line, target[target[:, 0].argmin()]))
        else:
            half = 0.5 * (len(target) - 1)
            targets.append((line, 0.5 * (target[math.floor(half)] + target[math.ceil(half)])))
    targets.sort(key=lambda item: float(item[1][1]))
    mirrored = [(line, target * (-1.0, 1.0)) for line, target in targets]
    if sides == "both":
        return targets[::2], mirrored[1::2]
    return (targets, []) if sides == "right" else ([], mirrored)


def _labels(column: Sequence[_Labelled], view: _View, x: float, anchor: str) -> Iterator[str]:
    if not column:
        return
    pitch = min(86.0, 720.0 / len(column))
    wanted = [float(view.y + view.scale * target[1]) for _, target in column]
    ys = _spread(wanted, pitch, 105.0, 850.0)
    outward = -1.0 if anchor == "end" else 1.0
    for (line, target), y in zip(column, ys, strict=True):
        tx, ty = view.place(target[None])[0]
        elbow = x - outward * 30.0
        yield (
            f'<path d="M{x - outward * 4:.1f},{y:.1f} L{elbow:.1f},{y:.1f} L{tx:.1f},{ty:.1f}" fill="none" '
            f'stroke="#3c3a36" stroke-width="0.8"/>'
            f'<circle cx="{tx:.1f}" cy="{ty:.1f}" r="2.4" fill="#3c3a36"/>'
        )
        units = ", ".join(f"AU{number}" for number in line.action_units)
        first, second = _two_lines(line.name)
        yield _text(x, y - 3, units, 15, anchor, weight="bold")
        yield _text(x, y + 13, first, 13, anchor)
        if second:
            yield _text(x, y + 28, second, 13, anchor)
        width = 7.9 * len(units)
        for index, branch in enumerate(_branches(line.action_units)):
            cx = x + outward * (width + 14 + 13 * index)
            yield f'<circle cx="{cx:.1f}" cy="{y - 8:.1f}" r="4.6" fill="{BRANCH_COLOURS[branch]}"/>'


def _spread(wanted: Sequence[float], pitch: float, top: float, bottom: float) -> list[float]:
    """Heights near those wanted, ascending, at least `pitch` apart, within the plate."""
    ys: list[float] = []
    for y in wanted:
        ys.append(max(y, top if not ys else ys[-1] + pitch))
    below = bottom
    for index in range(len(ys) - 1, -1, -1):
        ys[index] = min(ys[index], below)
        below = ys[index] - pitch
    return ys


def _two_lines(name: str, width: int = 27) -> tuple[str, str]:
    if len(name) <= width:
        return name, ""
    cut = name.rfind(" ", 0, width)
    return name[:cut], name[cut + 1 :]


def _branches(action_units: Sequence[int]) -> tuple[str, ...]:
    """Nerve branches of the main action unit, main one first."""
    return branches_of(action_units[0])


def _legend(lines: Sequence[MuscleLine], y: float) -> Iterator[str]:
    used = {branch for line in lines for branch in _branches(line.action_units)}
    nerves = {name: branch.nerve for name, branch in load_atlas().branches.items()}
    facial = [name for name in BRANCH_COLOURS if name in used and nerves[name] == "CN VII"]
    others = [name for name in BRANCH_COLOURS if name in used and nerves[name] != "CN VII"]
    for names, note in ((facial, "branch"), (others, "")):
        named = [(f"{name} {note or f'({nerves[name]})'}", BRANCH_COLOURS[name]) for name in names]
        widths = [36 + 6.4 * len(words) for words, _ in named]
        x = (WIDTH_PX - sum(widths)) / 2
        for (words, colour), width in zip(named, widths, strict=True):
            yield f'<circle cx="{x + 6:.1f}" cy="{y - 4:.1f}" r="6" fill="{colour}"/>'
            yield _text(x + 17, y, words, 13, "start")
            x += width
        y += 24


# Plate II


def _plate_of_fields(face: CanonicalFace, muscles: Sequence[Muscle], sides: Sides) -> Iterator[str]:
    if not muscles:
        return
    top = float(_PLATE_HEIGHT_PX)
    yield _text(WIDTH_PX / 2, top + 30, "What each muscle does to the skin", 25, "middle", weight="bold")
    subtitle = (
        "displacement at full contraction (FACS intensity E) that the inverse model looks for; "
        f"arrows drawn {_ARROWS_TIMES:.0f} times as long unless noted; IOD = inter-ocular distance"
    )
    yield _text(WIDTH_PX / 2, top + 53, subtitle, 14, "middle", "#555")
    indent = 0.5 * (WIDTH_PX - min(len(muscles), _COLUMNS) * _PANEL_PX[0])
    for index, muscle in enumerate(muscles):
        row, column = divmod(index, _COLUMNS)
        yield from _panel(face, muscle, sides, indent + column * _PANEL_PX[0], top + 80 + row * _PANEL_PX[1])


def _panel(face: CanonicalFace, muscle: Muscle, sides: Sides, x: float, y: float) -> Iterator[str]:
    colour = BRANCH_COLOURS[branches_of(muscle.action_unit)[0]]
    view = _View(x + _PANEL_PX[0] / 2, y + 120.0, _SMALL_PX)
    field = _field(muscle, sides, face.points)
    size = np.hypot(field[:, 0], field[:, 1])
    largest = float(size.max())
    share = size / max(largest, 1e-9)
    times = _ARROWS_TIMES if largest < _LONG_IOD else 1.0
    flat = view.place(face.points)
    for triangle in face.triangles:
        strength = float(share[triangle].mean())
        if strength > _SHOWN:
            yield _polygon(flat[triangle], fill=colour, opacity=0.5 * strength)
    yield from _outlines(face.points, view, 0.8, "#8b857b")
    for index in _sparse(face.points, share):
        yield _arrow(flat[index], flat[index] + times * view.scale * field[index])
    first, second = _two_lines(muscle.latin, 33)
    note = "" if times > 1.0 else ", true length"
    yield _text(view.x, y + 14, f"AU{muscle.action_unit}", 14, "middle", weight="bold")
    yield _text(view.x, y + 30, f"up to {largest:.2f} IOD{note}", 11, "middle", "#555")
    yield _text(view.x, y + 292, first, 11.5, "middle")
    if second:
        yield _text(view.x, y + 306, second, 11.5, "middle")


def _field(muscle: Muscle, sides: Sides, points: Points) -> Points:
    wanted = ("left", "right") if sides == "both" else (sides,)
    parts = [Activation(muscle, side) for side in wanted] if muscle.paired else [Activation(muscle, "both")]
    total = sum((displacement_field(part, points) for part in parts), np.zeros((len(points), 2)))
    return np.asarray(total)


def _sparse(points: Points, share: NDArray[np.float64]) -> list[int]:
    """Landmarks that get an arrow: the strongest, and then those that are not close to one that has."""
    chosen: list[int] = []
    for index in np.argsort(-share, kind="stable").tolist():
        if share[index] < _SHOWN:
            break
        away = points[chosen, :2] - points[index, :2] if chosen else np.full((1, 2), np.inf)
        if float(np.hypot(away[:, 0], away[:, 1]).min()) > _ARROW_SPACING_IOD:
            chosen.append(index)
    return chosen


def _arrow(start: Points, end: Points) -> str:
    along = end - start
    length = float(np.hypot(*along))
    if length < 1.5:
        return ""
    unit = along / length
    across = np.array([-unit[1], unit[0]])
    head = min(5.0, 0.6 * length)
    barbs = [end, end - head * unit + 0.45 * head * across, end - head * unit - 0.45 * head * across]
    neck = end - 0.8 * head * unit
    return (
        f'<path d="M{start[0]:.1f},{start[1]:.1f} L{neck[0]:.1f},{neck[1]:.1f}" stroke="#23211e" '
        f'stroke-width="1.1"/>{_polygon(np.array(barbs), fill="#23211e")}'
    )


# Ink


def _outlines(points: Points, view: _View, width: float, colour: str) -> Iterator[str]:
    for contour in OUTLINES:
        path = _smooth(view.place(points[list(contour)]))
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _polygon(corners: Points, *, fill: str, stroke: str = "none", opacity: float = 1.0) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    seen = "" if opacity == 1.0 else f' fill-opacity="{opacity:.2f}"'
    edge = "" if stroke == "none" else f' stroke="{stroke}" stroke-width="0.6"'
    return f'<polygon points="{places}" fill="{fill}"{seen}{edge}/>'


def _text(
    x: float,
    y: float,
    words: str,
    size: float,
    anchor: str,
    colour: str = "#23211e",
    *,
    weight: str = "normal",
    style: str = "normal",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}" font-style="{style}">{escape(words)}</text>'
    )
