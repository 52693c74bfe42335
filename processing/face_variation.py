"""What moves landmarks and is no muscle's doing: a head misplaced, and the ways in which faces differ.

The inversion weighs a misfit by how likely it is. Misfits come in patterns: a head that is placed a little
wrong shifts, turns or stretches the whole face, and one muscle never moves two faces quite alike. Both are
written as modes with the spread that is expected of them; what lies along a mode tells little, and the
inverse leans on what tells muscles apart on every face (generalised least squares).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from processing.landmarks import LANDMARK_COUNT


@cache
def _learned() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Modes [956, modes] of what a muscle's own fields leave unexplained, unit weighted length, and spread.

    Principal components of the residuals of faces whose driven action units are known, each fitted with its
    own units only: rendered heads, photographs of people warped by known fields, posed smiles and turned
    heads, and the mirror image of each. See docs/action-units.md.
    """
    with (files("processing") / "data" / "face_variation.npz").open("rb") as file:
        stored = np.load(file)
        modes, spread = stored["modes"], stored["spread"]
    assert modes.shape == (LANDMARK_COUNT, 2, len(spread))
    flat = np.ascontiguousarray(modes.reshape(2 * LANDMARK_COUNT, -1), dtype=np.float64)
    return flat, np.asarray(spread, dtype=np.float64)


def _misplaced_head(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What misplacing the head does to the landmarks [956, modes], and the modes' spread (sd, IOD)."""
    x, y, z = points.T
    one, nil = np.ones_like(x), np.zeros_like(x)
    bridge = np.exp(-0.5 * ((x / 0.2) ** 2 + ((y - points[6, 1]) / 0.25) ** 2))
    middle = np.exp(-0.5 * ((x / 0.45) ** 2 + ((y - points[4, 1]) / 0.6) ** 2))
    modes: list[tuple[NDArray[np.float64], NDArray[np.float64], float]] = [
        (one, nil, 0.03),
        (nil, one, 0.03),
        (-y, x, 0.01),  # roll
        (y, nil, 0.05),  # a tilted face seen turned: its depth is known least
        (x, nil, 0.005),  # width and
        (nil, y, 0.005),  # height: scale, and the foreshortening of yaw and pitch
        (nil, z, 0.02),  # pitch
        (z, nil, 0.03),  # yaw
        (nil, y * y, 0.003),  # curvature of the face in pitch
        (nil, x * x, 0.003),
        (x * y, nil, 0.003),
        (nil, middle, 0.02),  # MediaPipe slides the whole middle of the face when lids or lips move much
        (nil, bridge, 0.02),  # the bridge's landmarks slide along it: nothing in the picture holds them
    ]
    columns = np.stack([np.column_stack((dx, dy)).ravel() for dx, dy, _ in modes], axis=1)
    return columns, np.array([deviation for _, _, deviation in modes])


def face_variation(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Modes [956, modes] about a neutral face [478, 3], and the spread of each (standard deviation, IOD)."""
    head, head_spread = _misplaced_head(points)
    learned, spread = _learned()
    return np.concatenate([head, learned], axis=1), np.concatenate([head_spread, spread])
