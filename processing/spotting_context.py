"""What the spotter remembers of the last seconds: context beside the regions, and how everything moved."""

from __future__ import annotations

from collections import deque
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


class Context:
    """Context rows of the last seconds."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._rows: deque[F64] = deque()
        self._times: deque[float] = deque()
        self._seconds = seconds

    @staticmethod
    def rows(motion: Block, action_units: Block | None) -> F64:
        """Context rows [n, 13] of a block: motion's own, then blink closure 0-1 and face confidence 0-1."""
        rows = np.zeros((len(motion), CONFIDENCE + 1))
        rows[:, : len(_LABELS)] = motion.array[:, [motion.spec.index(label) for label in _LABELS]]
        rows[:, CONFIDENCE] = 1.0
        if action_units is not None and len(action_units) == len(motion):
            closed = np.maximum(action_units.column("blink_left"), action_units.column("blink_right"))
            rows[:, BLINK] = np.nan_to_num(closed)
            rows[:, CONFIDENCE] = np.nan_to_num(action_units.column("confidence"))
        return rows

    def append(self, time_s: float, row: F64) -> None:
        """Add a row; rows older than the memory go."""
        self._times.append(time_s)
        self._rows.append(row)
        while time_s - self._times[0] > self._seconds:
            self._times.popleft()
            self._rows.popleft()

    def between(self, start_s: float, end_s: float) -> F64:
        """Rows [n, 13] of that time; the oldest one when there are none."""
        picked = [row for t, row in zip(self._times, self._rows, strict=True) if start_s <= t <= end_s]
        return np.stack(picked) if picked else self._rows[0][None]


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
