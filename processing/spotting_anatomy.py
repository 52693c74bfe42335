"""Which regions move together, and which action units move a region which way.

A movement of both brows is seen best in the mean of both: besides the single regions the spotter watches
mirrored means of pairs and of the regions that one muscle moves, where noise is lower.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from processing.motion_regions import EXPRESSIVE, base_name, side_of

REGIONS: tuple[str, ...] = tuple(region.name for region in EXPRESSIVE)
"""Single regions, in the order of the motion channels."""

_PAIRED = tuple(dict.fromkeys(base_name(name) for name in REGIONS if side_of(name) != "both"))
_TOGETHER: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in _PAIRED},
    "inner_brow+outer_brow": ("inner_brow", "outer_brow"),
    "cheek+lower_lid": ("cheek", "lower_lid"),
    "lip_corner+cheek": ("lip_corner", "cheek"),
    "nose_wing+upper_lip": ("nose_wing", "upper_lip"),
}

GROUPS: tuple[str, ...] = tuple(_TOGETHER)
"""Means over both sides, mirrored so that x grows outward on either; they follow `REGIONS` in a pattern."""

WATCHED: tuple[str, ...] = REGIONS + GROUPS

UPPER, CHEEK, NOSE, MOUTH, JAW = range(5)
_PART = {
    "inner_brow": UPPER,
    "outer_brow": UPPER,
    "glabella": UPPER,
    "upper_lid": UPPER,
    "lower_lid": UPPER,
    "cheek": CHEEK,
    "nose_wing": NOSE,
    "upper_lip": MOUTH,
    "lip_corner": MOUTH,
    "lower_lip": JAW,
    "chin": JAW,
}


def _watched_base(name: str) -> str:
    return base_name(name.split("+")[0])


PART: tuple[int, ...] = tuple(_PART[_watched_base(name)] for name in WATCHED)
"""Part of the face of everything watched."""

IS_LID: tuple[bool, ...] = tuple("lid" in _watched_base(name) for name in WATCHED)


def _mixing() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    along_x = np.zeros((len(GROUPS), len(REGIONS)))
    along_y = np.zeros_like(along_x)
    for g, members in enumerate(_TOGETHER.values()):
        for member in members:
            for side, sign in (("left", 1.0), ("right", -1.0)):
                r = REGIONS.index(f"{member}_{side}")
                along_x[g, r] = sign / (2 * len(members))
                along_y[g, r] = 1.0 / (2 * len(members))
    return along_x, along_y


MIX_X, MIX_Y = _mixing()
"""Matrices [groups, regions] that average dx (mirrored) and dy over a group."""

MEMBERS: tuple[tuple[int, ...], ...] = (
    *((r,) for r in range(len(REGIONS))),
    *(tuple(int(r) for r in np.flatnonzero(MIX_Y[g])) for g in range(len(GROUPS))),
)
"""Single regions behind everything watched."""

_UP, _DOWN, _IN, _OUT = "up", "down", "in", "out"
_ACTION_UNITS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "inner_brow": {_UP: (1,), _DOWN: (4,), _IN: (4,), _OUT: (1,)},
    "outer_brow": {_UP: (2,), _DOWN: (4,), _IN: (4,), _OUT: (2,)},
    "glabella": {_UP: (1,), _DOWN: (4,), _IN: (4,), _OUT: (4,)},
    "upper_lid": {_UP: (5,), _DOWN: (45, 4), _IN: (45,), _OUT: (45,)},
    "lower_lid": {_UP: (7, 6), _DOWN: (45,), _IN: (7,), _OUT: (7,)},
    "cheek": {_UP: (6, 12), _DOWN: (15,), _IN: (9, 6), _OUT: (12,)},
    "nose_wing": {_UP: (9, 10), _DOWN: (15,), _IN: (9,), _OUT: (12, 10)},
    "upper_lip": {_UP: (10, 9), _DOWN: (15,), _IN: (18,), _OUT: (12, 20)},
    "lip_corner": {_UP: (12,), _DOWN: (15,), _IN: (18,), _OUT: (14, 20)},
    "lower_lip": {_UP: (17, 24), _DOWN: (25, 16), _IN: (14,), _OUT: (14,)},
    "chin": {_UP: (17,), _DOWN: (26,), _IN: (17,), _OUT: (17,)},
}
"""AUs by region and the way it moves, best first (Ekman, Friesen & Hager 2002); in and out are towards and
away from the midline."""


def units_moving(region: str, dx_px: float, dy_px: float) -> tuple[int, ...]:
    """AUs that move a single region by (dx, dy), best first."""
    base = base_name(region)
    if abs(dy_px) >= 0.7 * abs(dx_px):
        way = _UP if dy_px < 0 else _DOWN
    else:
        # The subject's left lies on the picture's right: moving right there is moving out.
        outward = dx_px < 0 if side_of(region) == "right" else dx_px > 0
        way = _OUT if outward else _IN
    # A smile pulls the corner back at least as much as up.
    if base == "lip_corner" and way == _OUT and dy_px < -0.4 * abs(dx_px):
        return (12, 14)
    return _ACTION_UNITS[base][way]
