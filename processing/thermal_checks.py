"""What can be wrong with thermal frames, found as they come: dead pixels, rows and columns, a closed shutter
(FFC), a camera that is warming up. Everything is causal and measured from the frames and their stamps alone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from statistics import median

import numpy as np
from numba import njit
from numpy.typing import NDArray

PLAUSIBLE_CENTI_CELSIUS = (-4000, 15000)
"""A pixel outside is broken, whatever the scene."""

_SPIKE_CENTI = 100
"""A pixel this far outside the range of its neighbours is suspect; optics blur a real point."""

_CONFIRM_FRAMES = 10
"""Frames in a row before a suspect pixel or line is reported dead, and before it is trusted again."""

_LINE_CENTI = 15.0
_LINE_RATIO = 1.5
_SURE_LINE_CENTI = 60.0
_SURE_LINE_RATIO = 3.0
"""A line as far off as this needs no confirmation: the keyframe may be made of this very frame."""

_LINE_CLIP_CENTI = 200.0
_MAX_CONSTANT_SHARE = 0.1
"""A line of one value to the last bit is dead, unless that many are: a picture without noise."""


class Shutter(IntEnum):
    """State of the camera's shutter (flat-field correction, FFC)."""

    OPEN = 0
    CLOSED = 1
    HOLD_OFF = 2


@dataclass(frozen=True)
class PixelFaults:
    """Pixels that carry no temperature.

    Attributes:
        pixels: (row, column) of single dead pixels, at most 100.
        rows, columns: Dead lines.
        fraction: Share of the picture that is masked, 0-1.
    """

    pixels: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    fraction: float

    def __str__(self) -> str:
        parts = [f"{len(self.pixels)} dead pixels"] if self.pixels else []
        parts += [f"dead rows {list(self.rows)}"] if self.rows else []
        parts += [f"dead columns {list(self.columns)}"] if self.columns else []
        return ", ".join(parts) or "no dead pixels"


class PixelCheck:
    """Finds dead pixels, rows and columns and bridges them.

    Args:
        height, width: Of the frames, pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self._suspicion = np.zeros((height, width), dtype=np.int16)
        self._row_suspicion = np.zeros(height, dtype=np.int16)
        self._column_suspicion = np.zeros(width, dtype=np.int16)
        self._row_bends = np.zeros((2, height))
        self._column_bends = np.zeros((2, width))
        self.valid = np.ones((height, width), dtype=np.bool_)
        """True where the last frame carried a temperature."""
        self._dead_pixels = np.zeros((height, width), dtype=np.bool_)
        self._dead_rows = np.zeros(height, dtype=np.bool_)
        self._dead_columns = np.zeros(width, dtype=np.bool_)

    def clean(self, frame: NDArray[np.int16]) -> NDArray[np.float32]:
        """Temperature [height, width] in degC, bridged over what is not valid; updates `valid`."""
        celsius = np.empty(frame.shape, dtype=np.float32)
        _line_bends(frame, self._row_bends, self._column_bends)
        _mark_constant(frame, self._row_bends)
        _mark_constant(frame.T, self._column_bends)
        _judge_lines(self._row_bends, self._row_suspicion, self._dead_rows)
        _judge_lines(self._column_bends, self._column_suspicion, self._dead_columns)
        _judge_pixels(
            frame, self._suspicion, self._dead_pixels, self._dead_rows, self._dead_columns, self.valid
        )
        _bridge(frame, self.valid, celsius)
        return celsius

    @property
    def faults(self) -> PixelFaults:
        """What is dead at present."""
        rows, columns = np.nonzero(self._dead_pixels)
        on_line = self._dead_rows[rows] | self._dead_columns[columns]
        single = list(zip(rows[~on_line].tolist(), columns[~on_line].tolist(), strict=True))
        return PixelFaults(
            tuple(single[:100]),
            tuple(np.flatnonzero(self._dead_rows).tolist()),
            tuple(np.flatnonzero(self._dead_columns).tolist()),
            float(1.0 - self.valid.mean()),
        )


class ShutterWatch:
    """Tells from flags, stamps and frames when the shutter is closed.

    A flag of the camera, a pause of more than three periods without lost frame numbers, or a picture that
    stands still to the last bit for more than three periods (and .3 s) is a closed shutter.

    Args:
        hold_off_s: How long after it the temperatures are not used yet.
    """

    def __init__(self, hold_off_s: float) -> None:
        self._hold_off_s = hold_off_s
        self._intervals: deque[float] = deque(maxlen=9)
        self._last_s = float("nan")
        self._still_since_s = float("nan")
        self._last_frame: NDArray[np.int16] | None = None
        self._hold_until_s = -np.inf
        self._closed = False

    def update(self, time_s: float, flagged: bool, frame: NDArray[np.int16], lost: bool) -> Shutter:
        """State at this frame.

        Args:
            time_s: Stamp of the frame.
            flagged: The camera says that its shutter is closed.
            frame: Its pixels.
            lost: Frames before this one were lost, which explains a pause.
        """
        interval = time_s - self._last_s
        period = median(self._intervals) if len(self._intervals) >= 3 else float("nan")
        pause = interval > max(3 * period, 0.3) and (not lost or self._closed)
        if not pause and not lost and interval > 0:
            self._intervals.append(interval)
        still = self._last_frame is not None and np.array_equal(frame, self._last_frame)
        if not still or lost:
            self._still_since_s = time_s
            self._last_frame = frame.copy()
        frozen = time_s - self._still_since_s > max(3 * period, 0.3)
        self._last_s = time_s
        self._closed = flagged or frozen
        if self._closed or pause:
            self._hold_until_s = time_s + self._hold_off_s
            # After a pause the shutter has just opened: that frame still belongs to the event.
            return Shutter.CLOSED
        return Shutter.HOLD_OFF if time_s < self._hold_until_s else Shutter.OPEN


class WarmUpWatch:
    """Drift of the whole picture, degC per second, over the last three seconds.

    The median over pixels of their change: a face that moves changes few of them.
    """

    _SPACING_S = 0.25
    _SPAN_S = 3.0

    def __init__(self) -> None:
        self._history: deque[tuple[float, NDArray[np.float32]]] = deque()
        self._rate = float("nan")

    def restart(self) -> None:
        """Forget what was before a step of the whole picture (FFC)."""
        self._history.clear()
        self._rate = float("nan")

    def update(self, time_s: float, celsius: NDArray[np.float32]) -> float:
        """Drift rate at this frame, renewed four times a second; NaN until a second of history is there."""
        if self._history and time_s - self._history[-1][0] < self._SPACING_S:
            return self._rate
        sparse = celsius[::4, ::4].ravel()
        self._history.append((time_s, sparse))
        while time_s - self._history[0][0] > self._SPAN_S + self._SPACING_S:
            self._history.popleft()
        then_s, then = self._history[0]
        span_s = time_s - then_s
        self._rate = float(np.median(sparse - then)) / span_s if span_s >= 1.0 else float("nan")
        return self._rate


@njit(cache=True, nogil=True)
def _line_bends(frame: NDArray[np.int16], rows: NDArray[np.float64], columns: NDArray[np.float64]) -> None:
    """For each row and column: distance from the mean of its neighbours, and distance between those.

    Both are means over the line of clipped absolute values, centi-degC: ``rows`` [2, height], ``columns``
    [2, width].
    """
    height, width = frame.shape
    rows[:] = 0.0
    columns[:] = 0.0
    clip = np.int32(_LINE_CLIP_CENTI)
    for y in range(height):
        bend = np.int32(0)
        span = np.int32(0)
        inner = 0 < y < height - 1
        for x in range(width):
            here = np.int32(frame[y, x])
            if inner:
                before = np.int32(frame[y - 1, x])
                after = np.int32(frame[y + 1, x])
                bend += min(abs(2 * here - before - after), 2 * clip)
                span += min(abs(before - after), clip)
            if 0 < x < width - 1:
                before = np.int32(frame[y, x - 1])
                after = np.int32(frame[y, x + 1])
                columns[0, x] += min(abs(2 * here - before - after), 2 * clip)
                columns[1, x] += min(abs(before - after), clip)
        rows[0, y] = 0.5 * bend / width
        rows[1, y] = span / width
    columns[0] *= 0.5 / height
    columns[1] /= height


@njit(cache=True, nogil=True)
def _mark_constant(frame: NDArray[np.int16], bends: NDArray[np.float64]) -> None:
    """Make the bend of rows of one value infinite: dead ones side by side do not bend."""
    height = len(frame)
    count = 0
    for y in range(height):
        count += _is_constant(frame[y])
    if count <= _MAX_CONSTANT_SHARE * height:
        for y in range(height):
            if _is_constant(frame[y]):
                bends[0, y] = np.inf


@njit(cache=True, nogil=True)
def _is_constant(line: NDArray[np.int16]) -> bool:
    x = 1
    while x < len(line) and line[x] == line[0]:
        x += 1
    return x == len(line)


@njit(cache=True, nogil=True)
def _judge_lines(bends: NDArray[np.float64], suspicion: NDArray[np.int16], dead: NDArray[np.bool_]) -> None:
    """A dead line lies off neighbours that agree with each other; at an edge of the scene they differ."""
    for i in range(bends.shape[1]):
        if bends[0, i] > max(_SURE_LINE_CENTI, _SURE_LINE_RATIO * bends[1, i]):
            suspicion[i] = _CONFIRM_FRAMES
        elif bends[0, i] > max(_LINE_CENTI, _LINE_RATIO * bends[1, i]):
            suspicion[i] = min(suspicion[i] + 1, 2 * _CONFIRM_FRAMES)
        else:
            suspicion[i] = max(suspicion[i] - 1, 0)
        if suspicion[i] >= _CONFIRM_FRAMES:
            dead[i] = True
        elif suspicion[i] == 0:
            dead[i] = False


@njit(cache=True, nogil=True)
def _sticks_out(frame: NDArray[np.int16], y: int, x: int) -> bool:
    height, width = frame.shape
    value = np.int64(frame[y, x])
    low_limit, high_limit = PLAUSIBLE_CENTI_CELSIUS
    low1 = low2 = np.int64(40000)
    high1 = high2 = np.int64(-40000)
    for v in range(max(0, y - 1), min(height, y + 2)):
        for u in range(max(0, x - 1), min(width, x + 2)):
            near = np.int64(frame[v, u])
            if (v == y and u == x) or near < low_limit or near > high_limit:
                continue
            if near < low1:
                low2 = low1
                low1 = near
            elif near < low2:
                low2 = near
            if near > high1:
                high2 = high1
                high1 = near
            elif near > high2:
                high2 = near
    # The second most extreme neighbour: two dead pixels side by side do not excuse each other.
    return bool(low2 <= high2 and (value < low2 - _SPIKE_CENTI or value > high2 + _SPIKE_CENTI))


@njit(cache=True, nogil=True)
def _judge_pixels(
    frame: NDArray[np.int16],
    suspicion: NDArray[np.int16],
    dead: NDArray[np.bool_],
    dead_rows: NDArray[np.bool_],
    dead_columns: NDArray[np.bool_],
    valid: NDArray[np.bool_],
) -> None:
    """A pixel is suspect when all its neighbours but one lie on the same side of it, far away."""
    height, width = frame.shape
    low_limit = np.int32(PLAUSIBLE_CENTI_CELSIUS[0])
    high_limit = np.int32(PLAUSIBLE_CENTI_CELSIUS[1])
    limit = np.int32(2 * _SPIKE_CENTI)
    for y in range(height):
        for x in range(width):
            value = np.int32(frame[y, x])
            suspect = bool(value < low_limit or value > high_limit)
            if not suspect:
                if 0 < y < height - 1 and 0 < x < width - 1:
                    # At most one neighbour may excuse a pixel, so along one axis both are far away.
                    above = abs(2 * value - np.int32(frame[y - 1, x]) - np.int32(frame[y + 1, x]))
                    beside = abs(2 * value - np.int32(frame[y, x - 1]) - np.int32(frame[y, x + 1]))
                    suspect = bool(above > limit or beside > limit) and _sticks_out(frame, y, x)
                else:
                    suspect = _sticks_out(frame, y, x)
            doubt = suspicion[y, x]
            if suspect:
                doubt = min(doubt + 1, 2 * _CONFIRM_FRAMES)
                if doubt >= _CONFIRM_FRAMES:
                    dead[y, x] = True
                suspicion[y, x] = doubt
            elif doubt > 0:
                suspicion[y, x] = doubt - 1
                if doubt == 1:
                    dead[y, x] = False
            valid[y, x] = not (suspect or dead[y, x] or dead_rows[y] or dead_columns[x])


@njit(cache=True, nogil=True)
def _bridge(frame: NDArray[np.int16], valid: NDArray[np.bool_], celsius: NDArray[np.float32]) -> None:
    """Degrees Celsius; invalid pixels by linear interpolation between the nearest valid ones, four ways."""
    height, width = frame.shape
    total = 0.0
    count = 0
    for y in range(height):
        for x in range(width):
            if valid[y, x]:
                celsius[y, x] = np.float32(frame[y, x]) / np.float32(100.0)
                total += frame[y, x]
                count += 1
    mean = np.float32(total / (100.0 * count)) if count else np.float32(np.nan)
    for y in range(height):
        for x in range(width):
            if valid[y, x]:
                continue
            weighted = 0.0
            weights = 0.0
            for axis in range(2):
                before = 0
                after = 0
                first = 0.0
                second = 0.0
                for step in range(1, 5):
                    v, u = (y - step, x) if axis == 0 else (y, x - step)
                    if before == 0 and v >= 0 and u >= 0 and valid[v, u]:
                        before = step
                        first = frame[v, u] / 100.0
                    v, u = (y + step, x) if axis == 0 else (y, x + step)
                    if after == 0 and v < height and u < width and valid[v, u]:
                        after = step
                        second = frame[v, u] / 100.0
                if before and after:
                    # Error of an interpolation grows with the square of the span it bridges.
                    weight = 1.0 / (before + after) ** 2
                    weighted += weight * (first * after + second * before) / (before + after)
                    weights += weight
                elif before or after:
                    weight = 0.01 / (before + after) ** 2
                    weighted += weight * (first if before else second)
                    weights += weight
            celsius[y, x] = np.float32(weighted / weights) if weights > 0.0 else mean
