"""How skin moves in a clip: compactly supported bumps of displacement and the pulses that drive them.

Authored for the benchmark alone; nothing here is shared with the detector's regions or muscle model, nor with
the simulated person's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Drive = Callable[[float], float]

PULSE_SHAPES = 4
"""Kinds of rise and fall that `pulse` knows."""


@dataclass(frozen=True)
class Bump:
    """Displacement (dx, dy) x drive(t) within an ellipse of radii (rx, ry) about (x, y), px.

    Attributes:
        tilt_rad: Turn of the ellipse.
        falloff: Exponent of (1 - r^2): 1.5 has a broad top and a steep edge, 3 a narrow top.
        drive: Share of the displacement at a time; only asked between `start_s` and `end_s`.
    """

    x: float
    y: float
    rx: float
    ry: float
    dx: float
    dy: float
    drive: Drive
    start_s: float
    end_s: float
    tilt_rad: float = 0.0
    falloff: float = 2.0

    def add(
        self, time_s: float, x: F32, y: F32, moved_x: F32, moved_y: F32, shift: tuple[float, float]
    ) -> None:
        """Add the displacement at `time_s` where the bump reaches.

        Args:
            time_s: Seconds.
            x, y: Place on the resting face of every pixel of the picture, px [h, w].
            moved_x, moved_y: Displacements to add to, px [h, w].
            shift: Where the face has moved to, px; only decides which pixels are looked at.
        """
        reach = max(self.rx, self.ry) + 25.0
        left, top = self.x + shift[0], self.y + shift[1]
        columns = slice(max(int(left - reach), 0), max(int(left + reach), 0))
        rows = slice(max(int(top - reach), 0), max(int(top + reach), 0))
        u, v = x[rows, columns] - np.float32(self.x), y[rows, columns] - np.float32(self.y)
        cos, sin = np.float32(np.cos(self.tilt_rad)), np.float32(np.sin(self.tilt_rad))
        square = ((cos * u + sin * v) / np.float32(self.rx)) ** 2 + (
            (cos * v - sin * u) / np.float32(self.ry)
        ) ** 2
        # No tail, unlike a Gaussian: what lies beyond the ellipse does not move at all.
        weight = np.maximum(1.0 - square, 0.0) ** np.float32(self.falloff) * np.float32(self.drive(time_s))
        moved_x[rows, columns] += weight * np.float32(self.dx)
        moved_y[rows, columns] += weight * np.float32(self.dy)


@dataclass(frozen=True)
class Anchor:
    """A bump of a muscle action on the subject's right: x grows to the picture's right, hence inward there.

    Attributes:
        landmark: MediaPipe number that it lies near.
        x, y: Offset from it, px at an inter-ocular distance of 100 px.
        rx, ry: Radii, px.
        dx, dy: Direction; its length is relative to the action's first bump.
    """

    landmark: int
    x: float
    y: float
    rx: float
    ry: float
    dx: float
    dy: float


ACTIONS: Mapping[str, tuple[Anchor, ...]] = {
    "1": (
        Anchor(55, 0, -6, 30, 26, 0.1, -1),
        Anchor(69, 4, -14, 26, 22, 0, -0.6),
    ),
    "2": (
        Anchor(53, 0, -6, 34, 24, -0.2, -1),
        Anchor(46, 0, -4, 24, 22, -0.1, -0.5),
    ),
    "4": (
        Anchor(55, 0, -4, 30, 24, 0.6, 0.9),
        Anchor(52, 0, -4, 26, 20, 0.4, 0.6),
    ),
    "5": (Anchor(159, 0, -3, 24, 13, 0, -1),),
    "6": (
        Anchor(50, 0, -4, 38, 28, 0.2, -1),
        Anchor(144, -4, 6, 24, 12, 0, -0.5),
    ),
    "7": (Anchor(145, 0, 2, 24, 12, 0.1, -1),),
    "9": (
        Anchor(129, 2, -6, 24, 26, 0.1, -1),
        Anchor(193, 0, 4, 18, 18, 0.2, -0.5),
        Anchor(167, -4, 0, 20, 14, 0, -0.6),
    ),
    "10": (
        Anchor(39, 0, -6, 24, 18, -0.1, -1),
        Anchor(205, 6, 0, 26, 24, 0, -0.5),
    ),
    "12": (
        Anchor(61, 0, 0, 32, 28, -0.75, -0.85),
        Anchor(206, -6, -6, 32, 28, -0.4, -0.6),
    ),
    "14": (Anchor(61, -3, 0, 26, 22, -1, 0.05),),
    "15": (
        Anchor(61, 0, 2, 28, 24, -0.15, 1),
        Anchor(210, 2, -2, 24, 24, -0.1, 0.6),
    ),
    "17": (
        Anchor(201, 4, 0, 34, 28, 0, -1),
        Anchor(84, 0, 2, 24, 16, 0, -0.6),
    ),
    "20": (
        Anchor(61, -2, 3, 32, 24, -1, 0.3),
        Anchor(210, 0, 0, 24, 24, -0.6, 0.2),
    ),
}
"""Bumps per action unit."""

UPPER = ("1", "2", "1+2", "4", "5", "7", "4+7", "1+4", "6")
LOWER = ("9", "10", "12", "6+12", "14", "15", "17", "20")
ONE_SIDED = frozenset({"2", "10", "12", "14", "6+12"})
"""Actions that also come on one side alone."""


def pulse(onset: float, apex: float, offset: float, hold: float, shape: int) -> Drive:
    """A single rise and fall, exactly zero outside [onset, offset] and 1 at the apex.

    Args:
        onset, apex, offset: Seconds.
        hold: Share of the whole spent at the top.
        shape: 0 a raised cosine, 1 a minimum-jerk rise and fall, 2 a quick start with a slow end, 3 a slow
            start with a relaxing tail.
    """
    top = hold * (offset - onset)
    fall = min(apex + top, offset - 0.3 * (offset - apex))

    def drive(time_s: float) -> float:
        if not onset < time_s < offset:
            return 0.0
        if apex <= time_s <= fall:
            return 1.0
        rising = time_s < apex
        p = (time_s - onset) / (apex - onset) if rising else (offset - time_s) / (offset - fall)
        if shape == 0:
            return float(0.5 - 0.5 * np.cos(np.pi * p))
        if shape == 1:
            return float(p**3 * (10 - 15 * p + 6 * p * p))
        if shape == 2:
            return float(np.sin(0.5 * np.pi * p) ** (1.3 if rising else 2.0))
        return float((p * p * (3 - 2 * p)) ** (1.3 if rising else 1.0))

    return drive


def plateau(onset: float, flank: float, hold: float) -> Drive:
    """A rise of `flank` seconds, a stay of `hold` seconds, and the way back."""

    def drive(time_s: float) -> float:
        up = np.clip((time_s - onset) / flank, 0.0, 1.0)
        down = np.clip((onset + 2 * flank + hold - time_s) / flank, 0.0, 1.0)
        return float(min(up * up * (3 - 2 * up), down * down * (3 - 2 * down)))

    return drive
