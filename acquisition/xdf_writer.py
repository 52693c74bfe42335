"""An unbuffered writer of XDF 1.0 that a crash cannot take much from.

Every chunk goes to the operating system in one write, boundaries every 10 s let readers resynchronise,
and the file is forced to disk at least once a second. See https://github.com/sccn/xdf/wiki/Specifications.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from acquisition.clock import Clock, lsl_clock
from acquisition.xdf_format import (
    BOUNDARY,
    FILE_HEADER,
    MAGIC,
    NUMPY_TYPES,
    Tag,
    encode_chunk,
    encode_varlen,
    footer_xml,
)

OFFSET_INTERVAL_S = 5.0
BOUNDARY_INTERVAL_S = 10.0
SYNC_INTERVAL_S = 0.9
"""A little under a second, so that a power cut takes at most one."""


@dataclass
class _Stream:
    """Book-keeping of one stream while it is being written."""

    record: np.dtype[np.void] | None  # None for strings
    channel_count: int
    first_timestamp: float = float("nan")
    last_timestamp: float = float("nan")
    sample_count: int = 0
    offsets: list[tuple[float, float]] = field(default_factory=list)


class XdfWriter:
    """Writes one XDF file; every method may be called from any thread.

    Args:
        path: File to create; it must not exist.
        clock: Seconds on the LSL clock; paces clock offsets, boundaries and syncs.

    Raises:
        FileExistsError: `path` is already there. Nothing is ever overwritten.
        OSError: The disk refuses; the file then still ends with a whole chunk.
    """

    def __init__(self, path: Path, *, clock: Clock = lsl_clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._streams: dict[int, _Stream] = {}
        self._file = path.open("xb", buffering=0)
        with suppress(OSError):  # a file system without locks
            # Tells `zygoma repair` that the file is not dead; the lock dies with this process.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._size = 0
        self._closed = False
        now_s = clock()
        self._offset_due_s = now_s + OFFSET_INTERVAL_S
        self._boundary_due_s = now_s + BOUNDARY_INTERVAL_S
        self._sync_due_s = now_s + SYNC_INTERVAL_S
        self._put(MAGIC + encode_chunk(Tag.FILE_HEADER, FILE_HEADER))

    def add_stream(self, header_xml: str, channel_format: str, channel_count: int) -> int:
        """Begin a stream, at any time of the recording.

        Args:
            header_xml: The `<info>` document, as LSL's `StreamInfo.as_xml` gives it.
            channel_format: XDF name: ``float32``, ``double64``, ``int8``, ``int16``, ``int32``, ``int64``
                or ``string``.
            channel_count: Values per sample; must agree with the header.

        Returns:
            The stream's number in this file.
        """
        record = None
        if channel_format != "string":
            value = np.dtype(NUMPY_TYPES[channel_format])
            record = np.dtype([("flag", "u1"), ("stamp", "<f8"), ("values", value, (channel_count,))])
        with self._lock:
            stream_id = len(self._streams) + 1
            self._put(encode_chunk(Tag.STREAM_HEADER, struct.pack("<I", stream_id) + header_xml.encode()))
            self._streams[stream_id] = _Stream(record, channel_count)
            self.clock_offset(stream_id, self._clock(), 0.0)
            return stream_id

    def write(self, stream_id: int, timestamps: NDArray[np.float64], values: NDArray[Any]) -> None:
        """Append numeric samples: `timestamps` [n] in seconds, `values` [n, channels]."""
        with self._lock:
            stream = self._streams[stream_id]
            if stream.record is None:
                raise TypeError(f"stream {stream_id} carries strings: use write_strings")
            if values.shape != (len(timestamps), stream.channel_count):
                raise ValueError(
                    f"values {values.shape} for {len(timestamps)} stamps, {stream.channel_count} channels"
                )
            if not len(timestamps):
                return
            records = np.empty(len(timestamps), dtype=stream.record)
            records["flag"] = 8
            records["stamp"] = timestamps
            records["values"] = values
            self._put_samples(stream_id, timestamps, records.tobytes())

    def write_strings(
        self, stream_id: int, timestamps: NDArray[np.float64], rows: Sequence[Sequence[bytes]]
    ) -> None:
        """Append string samples: one row of `channels` byte strings per stamp (text as UTF-8)."""
        with self._lock:
            stream = self._streams[stream_id]
            if stream.record is not None:
                raise TypeError(f"stream {stream_id} carries numbers: use write")
            if len(rows) != len(timestamps) or any(len(row) != stream.channel_count for row in rows):
                raise ValueError(
                    f"{len(rows)} rows for {len(timestamps)} stamps, {stream.channel_count} channels"
                )
            if not len(timestamps):
                return
            parts = []
            for stamp, row in zip(timestamps, rows, strict=True):
                parts.append(struct.pack("<Bd", 8, stamp))
                for text in row:
                    parts += (encode_varlen(len(text)), text)
            self._put_samples(stream_id, timestamps, b"".join(parts))

    def clock_offset(self, stream_id: int, collected_s: float, offset_s: float) -> None:
        """Note that at `collected_s` on the stream's clock, this machine's clock was `offset_s` ahead.

        The stamps that zygoma records are on this machine's LSL clock already, so `tick` notes 0.
        """
        with self._lock:
            self._streams[stream_id].offsets.append((float(collected_s), float(offset_s)))
            self._put(encode_chunk(Tag.CLOCK_OFFSET, struct.pack("<Idd", stream_id, collected_s, offset_s)))

    def tick(self) -> None:
        """Do what is due: clock offsets every 5 s, a boundary every 10 s, a sync to disk every second."""
        with self._lock:
            if self._closed:
                return
            now_s = self._clock()
            if now_s >= self._offset_due_s:
                self._offset_due_s = now_s + OFFSET_INTERVAL_S
                for stream_id in self._streams:
                    self.clock_offset(stream_id, now_s, 0.0)
            if now_s >= self._boundary_due_s:
                self._boundary_due_s = now_s + BOUNDARY_INTERVAL_S
                self._put(encode_chunk(Tag.BOUNDARY, BOUNDARY))
            if now_s < self._sync_due_s:
                return
            self._sync_due_s = now_s + SYNC_INTERVAL_S
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write a footer per stream and a last boundary, sync and close. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                for stream_id, stream in self._streams.items():
                    xml = footer_xml(
                        stream.first_timestamp, stream.last_timestamp, stream.sample_count, stream.offsets
                    )
                    self._put(
                        encode_chunk(Tag.STREAM_FOOTER, struct.pack("<I", stream_id) + xml.encode()),
                        closing=True,
                    )
                self._put(encode_chunk(Tag.BOUNDARY, BOUNDARY), closing=True)
                os.fsync(self._file.fileno())
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put_samples(self, stream_id: int, timestamps: NDArray[np.float64], samples: bytes) -> None:
        stream = self._streams[stream_id]
        head = struct.pack("<I", stream_id) + encode_varlen(len(timestamps))
        self._put(encode_chunk(Tag.SAMPLES, head, samples))
        if stream.sample_count == 0:
            stream.first_timestamp = float(timestamps[0])
        stream.last_timestamp = float(timestamps[-1])
        stream.sample_count += len(timestamps)

    def _put(self, chunk: bytes, closing: bool = False) -> None:
        if self._closed and not closing:
            raise ValueError("the recording is closed")
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            # A full disk takes part of a chunk: give that part back, so that the file stays readable.
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise
        self._size += len(chunk)
