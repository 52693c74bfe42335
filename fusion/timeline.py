"""Rows of one stream in order of time, with the look-ups that event-time fusion needs."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from acquisition.stream import Block

_TRIM = 512


class Timeline:
    """Rows as lists of floats with their stamps; old ones are let go."""

    def __init__(self) -> None:
        self.stamps: list[float] = []
        self.rows: list[list[float]] = []

    @property
    def watermark_s(self) -> float:
        """Stamp of the newest row; everything up to it has arrived."""
        return self.stamps[-1] if self.stamps else -math.inf

    def extend(self, block: Block) -> None:
        """Append a block; rows that are not newer than the newest are ignored."""
        stamps: list[float] = block.timestamps.tolist()
        start = bisect_right(stamps, self.watermark_s)
        self.stamps += stamps[start:]
        self.rows += block.array[start:].tolist()

    def newest(self, time_s: float, max_age_s: float = math.inf) -> list[float] | None:
        """The newest row stamped at or before `time_s`, if it is not older than `max_age_s`."""
        index = bisect_right(self.stamps, time_s) - 1
        if index < 0 or time_s - self.stamps[index] > max_age_s:
            return None
        return self.rows[index]

    def between(self, start_s: float, end_s: float) -> Sequence[list[float]]:
        """Rows stamped from `start_s` to `end_s`, both included."""
        return self.rows[bisect_left(self.stamps, start_s) : bisect_right(self.stamps, end_s)]

    def stamped(self, start_s: float, end_s: float) -> tuple[Sequence[float], Sequence[list[float]]]:
        """The same rows with their stamps."""
        span = slice(bisect_left(self.stamps, start_s), bisect_right(self.stamps, end_s))
        return self.stamps[span], self.rows[span]

    def after(self, time_s: float) -> float:
        """Stamp of the first row later than `time_s`; infinity without one."""
        index = bisect_right(self.stamps, time_s)
        return self.stamps[index] if index < len(self.stamps) else math.inf

    def forget_before(self, time_s: float) -> None:
        """Let go of rows older than `time_s`, except for the newest of them."""
        index = bisect_right(self.stamps, time_s) - 1
        if index > _TRIM:
            del self.stamps[:index], self.rows[:index]
