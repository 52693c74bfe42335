"""What the spotter remembers of the last seconds: context beside the regions, and how everything moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block

F64 = NDArray[np.float64]

GAZE_X, GAZE_Y, LID_RIGHT, LID_LEFT, LIPS, HEAD_X, HEAD_Y, BRIGHTNESS, MISFIT, SPEED, QUALITY = range(11)
_LABELS = (
    "gaze_dx", "gaze_dy", "lid_gap_right", "lid_gap_left", "lip_gap", "head_dx", "head_dy", "brightness",
    "rigid_residual_px", "head_speed", "quality",
)  # fmt: skip
BLINK, CONFIDENCE = 11, 12


_ROOM = 2048
_KEPT = 1024
"""Context rows there is room for, and how many stay when it is full: 8 s and more at 120 frames/s."""


class Context:
    """Context rows of the last seconds."""

    def __init__(self) -> None:
        self._rows = np.zeros((_ROOM, CONFIDENCE + 1))
        self._times = np.zeros(_ROOM)
        self._count = 0

    @staticmethod
    def rows(motion: Block, action_units: Block | None) -> F64:
        """Context rows [n, 13] of a block: motion's own, then blink closure 0-1 and face confidence 0-1."""
        rows = np.zeros((len(motion), CONFIDENCE + 1))
        rows[:, : len(_LABELS)] = motion.array[:, [motion.spec.index(label) for label in _LABELS]]
        rows[:, CONFIDENCE] = 1.0
        if action_units is not None and len(action_units) == len(motion):
            closed = np.fmax(action_units.column("blink_left"), action_units.column("blink_right"))
            # Neither is ever below zero, and NaN without a face.
            rows[:, BLINK] = np.fmax(closed, 0.0)
            rows[:, CONFIDENCE] = np.fmax(action_units.column("confidence"), 0.0)
        return rows

    def append(self, time_s: float, row: F64) -> None:
        """Add a row."""
        if self._count == _ROOM:
            self._rows[:_KEPT], self._times[:_KEPT] = self._rows[-_KEPT:], self._times[-_KEPT:]
            self._count = _KEPT
        self._rows[self._count], self._times[self._count] = row, time_s
        self._count += 1

    def between(self, start_s: float, end_s: float) -> F64:
        """Rows [n, 13] of that time; the oldest one when there are none."""
        times = self._times[: self._count]
        first, end = int(times.searchsorted(start_s, "left")), int(times.searchsorted(end_s, "right"))
        return self._rows[first:end] if end > first else self._rows[:1]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What else happened while something moved.

    Attributes:
        closure: Largest closure of a lid, as a share of its gap before.
        gaze_px, lips_px: How far the iris and the lips' gap left where they were just before.
        swing_px: How far the head left the straight line from where it was before to where it went.
        head_speed: Fastest, px/s.
        misfit_px: Of the head's rigid motion, median.
        light_swing: Change of the mean grey level, relative to it.
        quality: Of the frames, 0-1.
    """

    closure: float
    gaze_px: float
    lips_px: float
    swing_px: float
    head_speed: float
    misfit_px: float
    light_swing: float
    quality: float

    @classmethod
    def of(cls, context: Context, onset_s: float, offset_s: float) -> Self:
        """Of a movement, against the second and a half before it."""
        around = context.between(onset_s - 0.1, offset_s + 0.1)
        before = context.between(onset_s - 1.5, onset_s - 0.08)
        lids = [LID_RIGHT, LID_LEFT]
        shares = 1.0 - around[:, lids] / np.maximum(np.median(before[:, lids], axis=0), 2.0)
        eyes_and_lips = [GAZE_X, GAZE_Y, LIPS]
        moved = around[:, eyes_and_lips] - np.median(before[-12:, eyes_and_lips], axis=0)
        head = around[:, [HEAD_X, HEAD_Y]]
        chord = np.linspace(0.0, 1.0, len(head))[:, None]
        swing = head - (1 - chord) * head[0] - chord * head[-1]
        light = around[:, BRIGHTNESS]
        return cls(
            closure=max(float(shares.max()), float(around[:, BLINK].max()) - 0.2),
            gaze_px=float(np.hypot(moved[:, 0], moved[:, 1]).max()),
            lips_px=float(np.abs(moved[:, 2]).max()),
            swing_px=float(np.hypot(*swing.T).max()),
            head_speed=float(around[:, SPEED].max()),
            misfit_px=float(np.median(around[:, MISFIT])),
            light_swing=float(np.ptp(light) / light.mean()) if light.mean() > 0.0 else 0.0,
            quality=float(around[:, QUALITY].mean() * around[:, CONFIDENCE].mean()),
        )


@dataclass(frozen=True, eq=False)
class Trail:
    """Positions of everything watched since a second before a movement.

    Attributes:
        times_s: Stamps [n], rising.
        positions: px at IOD 100 [n, W, 2].
        sigma: Noise of a single position [W, 2], px, as it shows at the movement's duration.
    """

    times_s: F64
    positions: F64
    sigma: F64

    def range_px(self, start_s: float, end_s: float) -> F64:
        """How far everything watched ranged in that time, px [W]; zeros without two rows."""
        picked = self.positions[(self.times_s > start_s) & (self.times_s < end_s)]
        if len(picked) < 2:
            return np.zeros(self.positions.shape[1])
        return np.asarray(np.hypot(*np.ptp(picked, axis=0).T))
