"""How each action unit moves the skin of the simulated face: smooth fields authored from anatomy.

Coordinates are pixels of the 640 x 480 reference picture with the head at rest (inter-ocular distance
100 px, x to the picture's right, y down). Left and right are the subject's own; her right is at small x.
The face has two sheets that part at the lip line: the upper one hangs on the skull, the lower one on the
jaw. Away from the mouth they are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardware.simulated.portrait import MOUTH_CORNER_LEFT_PX, MOUTH_CORNER_RIGHT_PX, seam_y

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 43, 45)
"""The action units that the simulated face can show, in the order of every activation array."""

AU_INDEX = {au: index for index, au in enumerate(ACTION_UNITS)}

SIDES = ("left", "right")
"""Order of the second axis of every activation array: the subject's left, then right."""

MIDLINE_AUS = frozenset({17, 18, 22, 23, 24, 25, 26, 27, 28})
"""Action units that the face shows on both sides at once; left and right count half each."""

FACE_LEFT_PX, FACE_TOP_PX, FACE_STEP_PX = 176.0, 96.0, 4.0
FACE_COLUMNS, FACE_ROWS = 73, 91
"""Grid that the fields are tabulated on: 73 x 91 nodes, 4 px apart, over the face; nothing moves outside."""

_MIDDLE_X = 320.0

Sheet = Literal["both", "upper", "lower"]
_Vector = tuple[float, float]


@dataclass(frozen=True)
class _Pull:
    """A Gaussian patch of skin that moves by `direction` (times the field's scale).

    `center`, `sigma` and `direction` are given for the subject's right half and mirrored for the left.
    """

    center: _Vector
    sigma: _Vector
    direction: _Vector
    sheet: Sheet = "both"
    jaw: bool = False


@dataclass(frozen=True)
class _Action:
    """One action unit: how far its main point moves at full intensity, where that is, and what pulls."""

    full_scale_px: float
    main: _Vector
    pulls: tuple[_Pull, ...]


_INNER_BROW = (284.0, 173.0)
_OUTER_BROW = (238.0, 176.0)
_UPPER_LID = (267.0, 195.5)
_LOWER_LID = (269.0, 211.0)
_CHEEK = (244.0, 230.0)
_NOSE_WING = (287.0, 259.0)
_UPPER_LIP = (302.0, 298.0)
_LIP_CORNER = MOUTH_CORNER_RIGHT_PX
_LOWER_LIP = (306.0, 324.0)
_CHIN = (320.0, 364.0)

_ACTIONS: dict[int, _Action] = {
    1: _Action(10.0, _INNER_BROW, (
        _Pull(_INNER_BROW, (22, 20), (-0.05, -1.0)), _Pull((284, 150), (24, 16), (0.0, -0.35)),
    )),
    2: _Action(9.0, _OUTER_BROW, (
        _Pull(_OUTER_BROW, (20, 19), (-0.1, -1.0)), _Pull((245, 188), (18, 8), (0.0, -0.2)),
    )),
    4: _Action(7.0, _INNER_BROW, (
        _Pull(_INNER_BROW, (19, 17), (0.62, 0.78)), _Pull((250, 172), (20, 13), (0.25, 0.4)),
    )),
    5: _Action(4.0, _UPPER_LID, (_Pull(_UPPER_LID, (17, 7.5), (0.0, -1.0)),)),
    6: _Action(6.0, _CHEEK, (
        _Pull(_CHEEK, (25, 18), (0.15, -1.0)), _Pull((262, 213), (18, 8), (0.05, -0.3)),
        _Pull((234, 204), (10, 14), (0.5, 0.15)), _Pull((250, 182), (20, 9), (0.0, 0.15)),
    )),
    7: _Action(4.0, _LOWER_LID, (
        _Pull(_LOWER_LID, (18, 7.5), (0.12, -1.0)), _Pull(_UPPER_LID, (17, 7), (0.0, 0.35)),
    )),
    9: _Action(6.0, _NOSE_WING, (
        _Pull(_NOSE_WING, (14, 15), (0.05, -1.0)), _Pull((303, 226), (12, 15), (0.1, -0.5)),
        _Pull((291, 180), (15, 11), (0.3, 0.55)), _Pull((298, 290), (18, 10), (0.0, -0.35)),
        _Pull((262, 238), (16, 12), (0.15, -0.35)),
    )),
    10: _Action(8.0, _UPPER_LIP, (
        _Pull(_UPPER_LIP, (16, 12), (-0.1, -1.0), "upper"), _Pull((286, 262), (14, 14), (-0.1, -0.35)),
        _Pull((262, 270), (16, 18), (-0.1, -0.25)),
    )),
    12: _Action(14.0, _LIP_CORNER, (
        _Pull((276, 308), (24, 20), (-0.76, -0.65)), _Pull((248, 264), (24, 20), (-0.12, -0.45)),
    )),
    14: _Action(6.0, _LIP_CORNER, (_Pull((275, 308), (14, 15), (-0.98, -0.12)),)),
    15: _Action(7.0, _LIP_CORNER, (
        _Pull((277, 309), (16, 14), (-0.1, 1.0)), _Pull((278, 330), (16, 14), (0.0, 0.35)),
    )),
    16: _Action(7.0, _LOWER_LIP, (
        _Pull(_LOWER_LIP, (18, 14), (-0.12, 1.0), "lower"), _Pull((300, 342), (18, 12), (0.0, 0.3), "lower"),
    )),
    17: _Action(8.0, _CHIN, (
        _Pull((320, 358), (30, 20), (0.0, -1.0)), _Pull((320, 326), (28, 14), (0.0, -0.55)),
        _Pull((320, 302), (26, 9), (0.0, -0.15)), _Pull((284, 314), (12, 12), (0.05, 0.2)),
    )),
    18: _Action(8.0, _LIP_CORNER, (
        _Pull((277, 309), (22, 20), (1.0, 0.0)), _Pull((320, 296), (20, 10), (0.0, -0.15), "upper"),
        _Pull((320, 326), (20, 10), (0.0, 0.15), "lower"),
    )),
    20: _Action(9.0, _LIP_CORNER, (
        _Pull((275, 309), (24, 17), (-1.0, 0.14)), _Pull((280, 332), (22, 14), (-0.4, 0.2)),
    )),
    22: _Action(6.0, (320.0, 325.0), (
        _Pull((320, 326), (26, 11), (0.0, 1.0), "lower"), _Pull((320, 298), (26, 11), (0.0, -0.8), "upper"),
        _Pull((280, 309), (18, 16), (0.8, 0.0)),
    )),
    23: _Action(3.0, (320.0, 298.0), (
        _Pull((320, 297), (30, 7), (0.0, 0.9)), _Pull((320, 326), (28, 8), (0.0, -0.8)),
        _Pull((280, 309), (14, 12), (0.4, 0.0)),
    )),
    24: _Action(3.5, (320.0, 298.0), (
        _Pull((320, 297), (34, 8), (0.0, 1.0)), _Pull((320, 327), (30, 9), (0.0, -1.0)),
        _Pull((320, 350), (28, 14), (0.0, -0.3)),
    )),
    25: _Action(8.0, (320.0, 320.0), (
        _Pull((320, 322), (34, 18), (0.0, 1.0), "lower"), _Pull((320, 299), (30, 11), (0.0, -0.3), "upper"),
    )),
    26: _Action(20.0, _CHIN, (_Pull((320, 352), (88, 50), (0.0, 1.0), "lower", jaw=True),)),
    27: _Action(34.0, _CHIN, (
        _Pull((320, 352), (88, 50), (0.0, 1.0), "lower", jaw=True), _Pull((278, 308), (16, 22), (0.18, 0.1)),
    )),
    28: _Action(5.0, (320.0, 298.0), (
        _Pull((320, 297), (30, 7), (0.0, 1.0)), _Pull((320, 327), (28, 7), (0.0, -1.0)),
    )),
    # The lids of 43 and 45 close by `EYES`; what moves with them is the brow, a little.
    43: _Action(15.7, _UPPER_LID, (_Pull((262, 180), (24, 9), (0.0, 0.05)),)),
    45: _Action(15.7, _UPPER_LID, (_Pull((262, 180), (24, 9), (0.0, 0.05)),)),
}  # fmt: skip

LID_AUS = (43, 45)
"""Action units whose main movement is the upper lid over the eyeball, not a skin field."""

# Upper and lower lid margins of the subject's right eye (the left is its mirror image): x, upper y, lower y.
# The upper margin includes the lashes, so that they travel with the lid.
_LIDS = np.array(
    [
        (245.5, 203.8, 204.2), (247.0, 203.2, 206.0), (250.0, 201.6, 208.6), (254.0, 199.8, 210.8),
        (258.0, 198.6, 212.2), (263.0, 197.9, 213.2), (269.0, 197.8, 213.7), (275.0, 198.5, 213.5),
        (281.0, 200.5, 212.8), (286.0, 203.2, 212.0), (290.0, 206.0, 211.2), (293.0, 207.8, 210.4),
        (294.5, 208.8, 209.2),
    ]
)  # fmt: skip
LID_COLUMNS = 52
LID_LEFT_PX = {"right": 244.0, "left": 344.0}
"""First column of each eye's lid table, `LID_COLUMNS` wide, one entry per pixel."""

_CREASE_ABOVE_PX = 16.0


@lru_cache(maxsize=1)
def lid_tables() -> NDArray[np.float32]:
    """Lid geometry float32 [2 sides, LID_COLUMNS, 3]: crease, upper margin, lower margin (y in px).

    Skin between crease and upper margin stretches when the lid comes down; columns outside the eye have
    all three equal, so nothing happens there.
    """
    table = np.empty((2, LID_COLUMNS, 3))
    for index, side in enumerate(SIDES):
        x = LID_LEFT_PX[side] + np.arange(LID_COLUMNS)
        mirrored = x if side == "right" else 2 * _MIDDLE_X - x
        upper = np.interp(mirrored, _LIDS[:, 0], _LIDS[:, 1])
        lower = np.interp(mirrored, _LIDS[:, 0], _LIDS[:, 2])
        gape = np.clip((lower - upper) / 10.0, 0.0, 1.0)
        table[index] = np.stack([upper - _CREASE_ABOVE_PX * np.sqrt(gape), upper, lower], axis=1)
    return table.astype(np.float32)


def _smoothstep(u: NDArray[np.float64]) -> NDArray[np.float64]:
    u = np.clip(u, 0.0, 1.0)
    return u * u * (3.0 - 2.0 * u)


def _parting(
    x: NDArray[np.float64], y: NDArray[np.float64], sheet: Sheet, reach_px: float
) -> NDArray[np.float64]:
    """Share of a one-sheet pull at a point: whole at the parting lips, none at and beyond their corners."""
    if sheet == "both":
        return np.ones_like(x)
    middle = 0.5 * (MOUTH_CORNER_RIGHT_PX[0] + MOUTH_CORNER_LEFT_PX[0])
    half = 0.5 * (MOUTH_CORNER_LEFT_PX[0] - MOUTH_CORNER_RIGHT_PX[0])
    u = np.clip(1.0 - ((x - middle) / half) ** 2, 0.0, 1.0)
    lips = u * (1.0 - 0.35 * u) / 0.65
    away = (y - seam_y(x)) * (1.0 if sheet == "lower" else -1.0)
    return np.where(away < -30.0, 0.0, lips + (1.0 - lips) * _smoothstep(away / reach_px))


def _field_at(action: _Action, side: str, midline: bool, x: NDArray[np.float64], y: NDArray[np.float64],
              sheet: Sheet) -> NDArray[np.float64]:  # fmt: skip
    """Unscaled displacement [..., 2] of one action on one side, on the upper or the lower sheet."""
    total = np.zeros((*x.shape, 2))
    flips = (1.0, -1.0) if midline else ((1.0,) if side == "right" else (-1.0,))
    for pull in action.pulls:
        if pull.sheet not in ("both", sheet):
            continue
        central = midline and pull.center[0] == _MIDDLE_X
        for flip in flips[:1] if central else flips:
            cx = _MIDDLE_X + flip * (pull.center[0] - _MIDDLE_X)
            dx, dy = (x - cx) / pull.sigma[0], (y - pull.center[1]) / pull.sigma[1]
            if pull.jaw:
                # The jaw turns as one piece: flat over chin and lower lip, fading into cheeks and neck.
                dx = np.sign(dx) * np.maximum(np.abs(dx) - 0.35, 0.0) * 1.35
                dy = np.where(dy < 0, 0.35 * dy, np.maximum(dy - 0.5, 0.0) * 1.5)
            weight = np.exp(-0.5 * (dx * dx + dy * dy)) * _parting(
                x, y, pull.sheet, 42.0 if pull.jaw else 22.0
            )
            total[..., 0] += weight * pull.direction[0] * flip
            total[..., 1] += weight * pull.direction[1]
    return total * (0.5 if midline else 1.0)


@dataclass(frozen=True, eq=False)
class FaceFields:
    """All fields tabulated on the face grid, at full intensity, in px at an inter-ocular distance of 100 px.

    Attributes:
        upper, lower: float32 [n_AU, 2 sides, FACE_ROWS, FACE_COLUMNS, 2], the two sheets.
        main_points: float64 [n_AU, 2, 2], resting place of each action's main point.
        full_scale_px: float64 [n_AU], how far that point moves at intensity 1 of both sides of a midline
            action or of the own side of a two-sided one.
        main_response: float64 [n_AU, 2, n_AU, 2, 2]: displacement of main point (first two axes) per
            unit activation of (next two axes). The rest of the face's actions move it a little too.
    """

    upper: NDArray[np.float32]
    lower: NDArray[np.float32]
    main_points: NDArray[np.float64]
    full_scale_px: NDArray[np.float64]
    main_response: NDArray[np.float64]


@lru_cache(maxsize=1)
def face_fields() -> FaceFields:
    """Tabulate the fields once per process (about 0.1 s).

    Each is scaled so that its main point, read from the table by bilinear interpolation as the renderer
    does, moves by exactly its full scale.
    """
    count = len(ACTION_UNITS)
    gx, gy = np.meshgrid(
        FACE_LEFT_PX + FACE_STEP_PX * np.arange(FACE_COLUMNS),
        FACE_TOP_PX + FACE_STEP_PX * np.arange(FACE_ROWS),
    )
    # Fields end inside the grid: no jump at its rim.
    rim_x = np.minimum(gx - FACE_LEFT_PX, FACE_LEFT_PX + FACE_STEP_PX * (FACE_COLUMNS - 1) - gx)
    rim_y = np.minimum(gy - FACE_TOP_PX, FACE_TOP_PX + FACE_STEP_PX * (FACE_ROWS - 1) - gy)
    rim = _smoothstep(np.minimum(rim_x, rim_y) / 24.0)[..., None]
    upper = np.zeros((count, 2, FACE_ROWS, FACE_COLUMNS, 2), np.float32)
    lower = np.zeros_like(upper)
    mains = np.zeros((count, 2, 2))
    full = np.array([_ACTIONS[au].full_scale_px for au in ACTION_UNITS])
    for index, au in enumerate(ACTION_UNITS):
        action, midline = _ACTIONS[au], au in MIDLINE_AUS
        for s, side in enumerate(SIDES):
            flip = 1.0 if side == "right" else -1.0
            mains[index, s] = (_MIDDLE_X + flip * (action.main[0] - _MIDDLE_X), action.main[1])
            upper[index, s] = rim * _field_at(action, side, midline, gx, gy, "upper")
            lower[index, s] = rim * _field_at(action, side, midline, gx, gy, "lower")
        moved = sheet_displacement(upper[index], lower[index], mains[index, 0])
        moved = moved.sum(axis=0) if midline else moved[0]
        scale = full[index] / (1.0 if au in LID_AUS else float(np.hypot(moved[0], moved[1])))
        upper[index] *= scale
        lower[index] *= scale
    response = np.zeros((count, 2, count, 2, 2))
    for i in range(count):
        for s in range(2):
            response[i, s] = sheet_displacement(upper, lower, mains[i, s])
    for au in LID_AUS:
        for s in range(2):
            i = AU_INDEX[au]
            response[:, :, i, s] = 0.0
            for k in LID_AUS:
                response[AU_INDEX[k], s, i, s, 1] = full[i]
    return FaceFields(upper, lower, mains, full, response)


def sheet_displacement(
    upper: NDArray[np.float32], lower: NDArray[np.float32], point: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Displacement [..., 2] at a resting point [2] from tables [..., rows, columns, 2] of the two sheets.

    It is read by bilinear interpolation on the sheet that the point lies on.
    """
    below = bool(point[1] > seam_y(np.asarray(point[0])))
    table = lower if below else upper
    fx = (point[0] - FACE_LEFT_PX) / FACE_STEP_PX
    fy = (point[1] - FACE_TOP_PX) / FACE_STEP_PX
    column, row = int(np.floor(fx)), int(np.floor(fy))
    if not (0 <= column < FACE_COLUMNS - 1 and 0 <= row < FACE_ROWS - 1):
        return np.zeros((*table.shape[:-3], 2))
    ax, ay = fx - column, fy - row
    cell = table[..., row : row + 2, column : column + 2, :].astype(np.float64)
    top = cell[..., 0, 0, :] * (1 - ax) + cell[..., 0, 1, :] * ax
    bottom = cell[..., 1, 0, :] * (1 - ax) + cell[..., 1, 1, :] * ax
    return np.asarray(top * (1 - ay) + bottom * ay)


def main_displacements(activations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacement [n_AU, 2 sides, 2] of every main point for an activation array [n_AU, 2 sides].

    Pixels at an inter-ocular distance of 100 px, without head motion.
    """
    return np.asarray(np.einsum("isjrd,jr->isd", face_fields().main_response, activations))


def main_point(au: int, side: str) -> NDArray[np.float64]:
    """Resting place [2] of an action's main point in the reference picture."""
    return np.asarray(face_fields().main_points[AU_INDEX[au], SIDES.index(side)])
