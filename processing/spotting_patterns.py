"""What the face's regions do together: under each action unit, in speech, in blinks, when the eyes turn.

A movement that follows a muscle stands out of the noise best in all the regions that the muscle moves, each
weighed by its own noise; one that follows the jaw or the eyes is no expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processing.motion_regions import base_name, side_of
from processing.spotting_anatomy import REGIONS

F64 = NDArray[np.float64]
Moves = Mapping[str, tuple[float, float]]
"""Relative movement (outward, down) by region without its side."""

_UNITS: Mapping[tuple[int, ...], Moves] = {
    (1,): {"inner_brow": (0.0, -1.0), "glabella": (0.0, -0.5), "outer_brow": (0.0, -0.3)},
    (2,): {"outer_brow": (0.1, -1.0), "inner_brow": (0.0, -0.4)},
    (1, 2): {"inner_brow": (0.0, -1.0), "outer_brow": (0.1, -1.0), "glabella": (0.0, -0.5)},
    (4,): {
        "inner_brow": (-0.5, 0.8),
        "outer_brow": (-0.3, 0.5),
        "glabella": (0.0, 0.6),
        "upper_lid": (0.0, 0.3),
    },
    (5,): {"upper_lid": (0.0, -1.0)},
    (6,): {"cheek": (-0.1, -1.0), "lower_lid": (0.0, -0.6)},
    (7,): {"lower_lid": (-0.1, -1.0)},
    (9,): {
        "nose_wing": (-0.1, -1.0),
        "upper_lip": (0.0, -0.6),
        "glabella": (0.0, 0.4),
        "cheek": (0.0, -0.3),
    },
    (10,): {"upper_lip": (0.0, -1.0), "nose_wing": (0.1, -0.5)},
    (12,): {"lip_corner": (0.75, -0.85), "cheek": (0.2, -0.5), "upper_lip": (0.3, -0.3)},
    (14,): {"lip_corner": (1.0, 0.0)},
    (15,): {"lip_corner": (0.1, 1.0), "chin": (0.0, 0.2)},
    (17,): {"chin": (0.0, -1.0), "lower_lip": (0.0, -0.8)},
    (20,): {"lip_corner": (1.0, 0.3)},
    (24,): {"lower_lip": (0.0, -0.7), "upper_lip": (0.0, 0.5)},
}
"""By action unit (Ekman, Friesen & Hager 2002)."""

_JAW: Moves = {"lower_lip": (0.0, 1.0), "chin": (0.0, 1.0), "lip_corner": (0.0, 0.3)}
_BLINK: Moves = {
    "upper_lid": (0.0, 1.0),
    "lower_lid": (0.0, -0.2),
    "outer_brow": (0.0, 0.05),
    "inner_brow": (0.0, 0.05),
}
_LOOK_UP: Moves = {"upper_lid": (0.0, -1.0), "lower_lid": (0.0, -0.4)}


def _pattern(moves: Moves, side: str = "both") -> F64:
    """Movement of every region [2 R], x to the picture's right; one side's regions and the midline's only."""
    pattern = np.zeros((len(REGIONS), 2))
    for r, name in enumerate(REGIONS):
        if base_name(name) in moves and (side == "both" or side_of(name) in (side, "both")):
            outward, down = moves[base_name(name)]
            pattern[r] = -outward if side_of(name) == "right" else outward, down
    return pattern.ravel()


def _looks() -> F64:
    aside = np.array([[1.0 if "lid" in name else 0.0, 0.0] for name in REGIONS]).ravel()
    up = _pattern(_LOOK_UP)
    ways = [(across, along) for across in (-1, 0, 1) for along in (-1, 0, 1) if across or along]
    return np.stack([across * aside + along * up for across, along in ways])


EXPRESSIONS: F64 = np.stack(
    [_pattern(moves, side) for moves in _UNITS.values() for side in ("both", "left", "right")]
)
"""Patterns of action units, two-sided and one-sided [E, 2 R]."""

_TOGETHER = ((1, 4), (4, 5), (4, 7), (4, 9), (6, 12), (10, 12), (15, 17))
"""AUs that often come in one movement, besides 1+2."""


def _named() -> tuple[F64, tuple[tuple[int, ...], ...]]:
    sides = ("both", "left", "right")
    singles = {units: np.stack([_pattern(moves, side) for side in sides]) for units, moves in _UNITS.items()}
    pairs = {(one, other): singles[(one,)] + singles[(other,)] for one, other in _TOGETHER}
    units = tuple(each for each in (*singles, *pairs) for _ in sides)
    return np.concatenate((*singles.values(), *pairs.values())), units


NAMED, NAMED_UNITS = _named()
"""The same and pairs of them, by which a movement is named [N, 2 R], and the action units of each."""

JAW_OPENS: F64 = _pattern(_JAW)[None]
BLINKS: F64 = _pattern(_BLINK)[None]
LOOKS: F64 = _looks()
"""Patterns of distractors: an opening jaw, a blink, eyes that turn [D, 2 R]."""


@dataclass(frozen=True)
class Match:
    """How well a displacement follows the best of some patterns.

    Attributes:
        strength: Its matched-filter response, in standard deviations of noise.
        share: Part of what rises above noise that the pattern explains, 0-1.
        which: Number of the pattern.
    """

    strength: float
    share: float
    which: int = 0


def match(patterns: F64, displacement: F64, sigma: F64) -> Match:
    """Compare with patterns.

    Args:
        patterns: [P, 2 R].
        displacement, sigma: Of the single regions and its noise, px [R, 2].
    """
    noise = sigma.ravel()
    observed = displacement.ravel() / noise
    expected = patterns / noise
    responses = expected @ observed / np.sqrt((expected * expected).sum(axis=1))
    which = int(responses.argmax())
    strength = max(float(responses[which]), 0.3)
    explained = strength * strength
    # Noise alone has a squared length of one per coordinate.
    beyond = max(float(observed @ observed) - explained - (len(observed) - 1), 0.0)
    return Match(strength, explained / (explained + beyond), which)
