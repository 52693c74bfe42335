"""What the spotter remembers of the last seconds: context beside the regions, and how everything moved."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block

F64 = NDArray[np.float64]

GAZE_X, GAZE_Y, LID_RIGHT, LID_LEFT, HEAD_X, HEAD_Y, BRIGHTNESS, SPEED, QUALITY, BLINK, CONFIDENCE = range(11)
_LABELS = (
    "gaze_dx", "gaze_dy", "lid_gap_right", "lid_gap_left", "head_dx", "head_dy", "brightness", "head_speed",
    "quality",
)  # fmt: skip


class Context:
    """Context rows of the last seconds."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._rows: deque[F64] = deque()
        self._times: deque[float] = deque()
        self._seconds = seconds

    @staticmethod
    def rows(motion: Block, action_units: Block | None) -> F64:
        """Context rows [n, 11] of a block: motion's own, then blink closure 0-1 and face confidence 0-1."""
        rows = np.zeros((len(motion), CONFIDENCE + 1))
        for k, label in enumerate(_LABELS):
            rows[:, k] = motion.column(label)
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
        """Rows [n, 11] of that time; the oldest one when there are none."""
        picked = [row for t, row in zip(self._times, self._rows, strict=True) if start_s <= t <= end_s]
        return np.stack(picked) if picked else self._rows[0][None]


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
