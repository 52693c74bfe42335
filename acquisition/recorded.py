"""The streams of a recording, one class per way of storing: numbers, texts, JPEGs in XDF, frames in Matroska.

Each knows the stamp and the running number of every sample and gives samples back by position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from acquisition.gaps import SampleNumbers
from acquisition.lsl_metadata import THERMAL_COUNTER_MODULUS, Announced
from acquisition.matroska import FrameReader, is_finished
from acquisition.stream import (
    FRAME_PACED_KINDS,
    TEXT_KINDS,
    InvalidSignal,
    Kind,
    Samples,
    SampleType,
    StreamSpec,
    ZygomaError,
)
from acquisition.xdf_header import FrameIndex
from acquisition.xdf_reader import XdfFile, XdfStream

SAME_CLOCK_S = 0.5e-3
"""Clock offsets that stay below this are the error of measuring them: the stamps share one clock."""

RESET_OFFSET_S, RESET_TIME_S = 1.0, 5.0
"""A clock whose offset and whose own time both jump by more between two measurements was set anew."""

Span = tuple[int, int]


class FramesLost(ZygomaError):
    """A file of frames is there and gives back none of them."""


class RecordedStream(Protocol):
    """A stream as it lies on disk.

    Attributes:
        spec: What it was.
        timestamps: Seconds [n].
        numbers: Running number [n] of each sample, lost samples counted.
    """

    spec: StreamSpec
    timestamps: NDArray[np.float64]
    numbers: NDArray[np.int64]

    def read(self, spans: Iterable[Span]) -> Iterator[tuple[int, int, Samples]]:
        """The samples of each span (start, stop) of positions, with where they start and stop.

        Spans come in ascending order; what cannot be read is left out, and its span comes in pieces.
        """
        ...


class RecordedSamples:
    """Numbers, texts or JPEGs that are in the XDF itself.

    Args:
        xdf, stream: Where they are.
        announced: What the header says they are.
        started: ``{stamp: number}`` of the samples where numbering jumps, as zygoma's recorder noted them;
            None for recordings of other programs, whose gaps are seen from counter and stamps.
    """

    def __init__(
        self, xdf: XdfFile, stream: XdfStream, announced: Announced, started: dict[float, int] | None
    ) -> None:
        self._xdf, self._stream, self._wire = xdf, stream, announced.wire
        self.spec = announced.spec
        self._rows: NDArray[np.intp] | None = None  # which rows of the stream are used; None is all
        stamps = on_this_clock(stream.timestamps, stream.offsets)
        damaged = any(not damage.at_end for damage in xdf.damage)
        if started is not None and not damaged:
            self.timestamps, self.numbers = stamps, _numbers_as_noted(stamps, started)
            return
        if self.spec.kind in TEXT_KINDS:
            # Two markers at one instant are both meant: none is left out, whatever its stamp.
            self.timestamps, self.numbers = stamps, np.arange(len(stamps), dtype=np.int64)
            return
        counter = self._counter()
        variable = self.spec.kind in FRAME_PACED_KINDS
        modulus = THERMAL_COUNTER_MODULUS if self.spec.kind is Kind.THERMAL and counter is not None else None
        numbering = SampleNumbers(self.spec.rate_hz, counter_modulus=modulus, variable_rate=variable).number(
            stamps, counter
        )
        self._rows = numbering.kept
        self.timestamps = stamps if numbering.kept is None else stamps[numbering.kept]
        self.numbers = np.empty(len(self.timestamps), np.int64)
        for run in numbering.runs:
            self.numbers[run.start : run.stop] = run.first + np.arange(run.stop - run.start)

    def read(self, spans: Iterable[Span]) -> Iterator[tuple[int, int, Samples]]:
        for start, stop in spans:
            yield start, stop, self._samples(start, stop)

    def _samples(self, start: int, stop: int) -> Samples:
        if self._rows is None or start == stop:
            return self._convert(self._raw(start, stop))
        rows = self._rows[start:stop]
        raw = self._raw(int(rows[0]), int(rows[-1]) + 1)
        picked = rows - rows[0]
        return self._convert(raw[picked] if isinstance(raw, np.ndarray) else [raw[k] for k in picked])

    def _raw(self, start: int, stop: int) -> NDArray[Any] | list[tuple[bytes, ...]]:
        if self._stream.is_string:
            return self._xdf.strings(self._stream, start, stop)
        return self._xdf.numbers(self._stream, start, stop)

    def _convert(self, raw: NDArray[Any] | list[tuple[bytes, ...]]) -> Samples:
        if isinstance(raw, np.ndarray):
            if self.spec.dtype is not SampleType.STRING:
                return self._wire.convert(raw, self.spec.dtype)
            return tuple("\t".join(f"{value:.15g}" for value in row) for row in raw.tolist())
        if self.spec.kind is Kind.CAMERA:
            return tuple(row[self._wire.jpeg] for row in raw)
        return tuple("\t".join(value.decode("utf-8", "replace") for value in row) for row in raw)

    def _counter(self) -> NDArray[np.int64] | None:
        column = self._wire.counter
        if column < 0:
            return None
        if not self._stream.is_string:
            parts = [
                self._xdf.numbers(self._stream, k, k + 256)[:, column]
                for k in range(0, len(self._stream), 256)
            ]
            return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)
        try:
            rows = range(len(self._stream))
            return np.array(
                [int(self._xdf.strings(self._stream, k, k + 1)[0][column]) for k in rows], dtype=np.int64
            )
        except ValueError:
            return None


class RecordedFrames:
    """Frames in Matroska, with their index in the XDF.

    Raises:
        InvalidSignal: The index is not one.
        FramesLost: The file gives back none of its frames.
        FileNotFoundError: The Matroska file is not beside the XDF.
    """

    def __init__(self, xdf: XdfFile, stream: XdfStream, index: FrameIndex) -> None:
        if stream.channel_count != len(index.labels):
            raise InvalidSignal(f"the index {stream.name} has {stream.channel_count} columns")
        assert index.spec.frame is not None
        self.spec = index.spec
        self.path = xdf.path.parent / Path(index.file_name).name
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path.name} is missing: put it beside {xdf.path.name}.")
        rows = xdf.numbers(stream)
        stamps = stream.timestamps
        self._indexed = len(rows)
        self._reader = FrameReader(self.path, index.spec.frame)
        if len(rows) and not self._ends_with(float(rows[-1, 1])):
            # What a killed recorder left, repaired or not: only frames that are in both files count.
            there = np.isin(_milliseconds(rows[:, 1]), _milliseconds(self._reader.media_times_s()))
            rows, stamps = rows[there], stamps[there]
            if not len(rows):
                raise FramesLost(
                    f"{self.path.name} is damaged, none of its {self._indexed} frames can be read: put a "
                    "whole copy in its place, or move it away to go on without its pictures."
                )
        self._missing: set[int] = set()  # positions of frames whose absence shows only as they are read
        self.timestamps = stamps
        self.numbers = rows[:, 0].astype(np.int64)
        self._media_ms = _milliseconds(rows[:, 1])
        self._extra = rows[:, 2:].astype(np.int16)

    @property
    def shortfall(self) -> str:
        """What is missing, in one sentence, as far as the file was looked at; empty when nothing is."""
        missing = self._indexed - len(self.timestamps) + len(self._missing)
        if not missing:
            return ""
        return (
            f"{self.path.name} is cut off or damaged: {missing} of its {self._indexed} frames cannot be read "
            "and count as lost."
        )

    def _ends_with(self, media_s: float) -> bool:
        """Whether the file is finished and reaches the last frame of its index."""
        if not is_finished(self.path):
            return False
        found = next(self._reader.frames(media_s), None)
        return found is not None and round(found[0] * 1000) == round(media_s * 1000)

    def read(self, spans: Iterable[Span]) -> Iterator[tuple[int, int, Samples]]:
        frames: Iterator[tuple[float, Any]] = iter(())
        ahead: tuple[int, Any] | None = (-1, None)
        begun = False
        for start, stop in spans:
            if not begun and start < stop:
                frames, begun = self._reader.frames(float(self._media_ms[start]) / 1000), True
            pictures: list[Any] = []
            for position in range(start, stop):
                wanted = int(self._media_ms[position])
                while ahead is not None and ahead[0] < wanted:
                    found = next(frames, None)
                    ahead = None if found is None else (round(found[0] * 1000), found[1])
                if ahead is not None and ahead[0] == wanted:
                    pictures.append(ahead[1])
                    continue
                self._missing.add(position)
                if pictures:
                    yield self._piece(position, pictures)
                    pictures = []
            if pictures:
                yield self._piece(stop, pictures)

    def _piece(self, stop: int, pictures: list[Any]) -> tuple[int, int, Samples]:
        start = stop - len(pictures)
        if not self.spec.pixel_count:
            return start, stop, tuple(pictures)
        block = np.empty((len(pictures), self.spec.channel_count), np.int16)
        for row, picture in zip(block, pictures, strict=True):
            row[: self.spec.pixel_count] = picture.reshape(-1)
        block[:, self.spec.pixel_count :] = self._extra[start:stop]
        return start, stop, block


def on_this_clock(stamps: NDArray[np.float64], offsets: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Stamps brought to the recording machine's clock by a line through the measured offsets.

    Stamps that share that clock are left as they are, to the bit. Where the stream's own clock was set anew
    while recording (its machine restarted), each stretch has a line of its own, as in pyxdf.
    """
    times, values = np.array(offsets, dtype=np.float64).reshape(-1, 2).T
    usable = np.isfinite(times) & np.isfinite(values)
    times, values = times[usable], values[usable]
    if not len(stamps) or not len(values) or np.max(np.abs(values)) < SAME_CLOCK_S:
        return stamps
    steps_s = np.diff(times)
    usual_s = float(np.median(steps_s)) if len(steps_s) else 0.0
    anew = (np.abs(np.diff(values)) > RESET_OFFSET_S) & (np.abs(steps_s - usual_s) > RESET_TIME_S)
    stretches = list(pairwise([0, *(np.flatnonzero(anew) + 1).tolist(), len(times)]))
    # A stamp belongs to the stretch that it lies in, or next to.
    away = [np.maximum(times[begin] - stamps, stamps - times[end - 1]) for begin, end in stretches]
    nearest = np.argmin(away, axis=0)
    moved = np.empty_like(stamps)
    for number, (begin, end) in enumerate(stretches):
        own = nearest == number
        moved[own] = stamps[own] + _offset_at(stamps[own], times[begin:end], values[begin:end])
    return moved


def _offset_at(
    stamps: NDArray[np.float64], times: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Clock offset [n] at each stamp, from `values` measured at `times`."""
    middle_s, middle = float(np.median(times)), float(np.median(values))
    level = np.full_like(stamps, middle)
    if len(values) < 3:
        return level
    # Round trips only ever delay, so a few offsets are far off: drop them and fit again.
    keep = np.ones(len(values), bool)
    slope = intercept = 0.0
    for _ in range(3):
        slope, intercept = np.polyfit(times[keep] - middle_s, values[keep] - middle, 1)
        error = np.abs(values - middle - intercept - slope * (times - middle_s))
        keep = error <= 3 * max(float(np.median(error)), 1e-6)
        if np.count_nonzero(keep) < 3:
            return level
    return level + (intercept + slope * (stamps - middle_s))


def _numbers_as_noted(stamps: NDArray[np.float64], started: dict[float, int]) -> NDArray[np.int64]:
    """Numbers [n] that count on from each noted one."""
    if not started:
        return np.arange(len(stamps), dtype=np.int64)
    known, rows = np.unique(stamps, return_index=True)
    begins = np.sort(rows[np.isin(known, list(started))])
    lost = np.array([started[stamp_s] for stamp_s in stamps[begins].tolist()], np.int64) - begins
    steps = np.ones(len(stamps), np.int64)
    steps[:1] = 0
    steps[begins] += np.diff(lost, prepend=0)
    return np.cumsum(steps)


def _milliseconds(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(seconds * 1000).astype(np.int64)
