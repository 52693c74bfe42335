"""A streaming XDF reader that keeps strings as bytes and takes whatever is left of a damaged file.

Opening walks the chunks once and keeps only stamps and positions; samples are read from the mapped file when
asked for. Where a chunk is broken, reading goes on behind the next boundary, as pyxdf does.
"""

from __future__ import annotations

import gzip
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import InvalidSignal
from acquisition.xdf_format import BOUNDARY, MAGIC, NUMPY_TYPES, Tag, decode_varlen

_STREAM_TAGS = frozenset({Tag.STREAM_HEADER, Tag.SAMPLES, Tag.CLOCK_OFFSET, Tag.STREAM_FOOTER})
_TAGS = frozenset(Tag)
_BROKEN = (ValueError, IndexError, struct.error, KeyError, ElementTree.ParseError)


@dataclass(frozen=True)
class Damage:
    """A stretch of the file that could not be read.

    Attributes:
        offset, length: Bytes.
        reason: Why, in words.
        at_end: Nothing readable follows: the file was cut off while it was being written.
    """

    offset: int
    length: int
    reason: str
    at_end: bool


@dataclass(frozen=True)
class _Chunk:
    """Where the samples of one Samples chunk lie: at `start` + row * `stride`, or at `rows`."""

    count: int
    start: int
    stride: int
    rows: NDArray[np.int64] | None = None


@dataclass
class XdfStream:
    """One stream of an `XdfFile`.

    Attributes:
        stream_id: Its number in the file.
        header: The `<info>` document of the StreamHeader.
        name, kind, source_id: From the header; `kind` is LSL's free-form type.
        channel_format: ``float32``, ``double64``, ``int8`` ... or ``string``.
        channel_count: Values per sample.
        rate_hz: Nominal rate; 0 is irregular.
        footer: The `<info>` document of the StreamFooter; empty when the recorder never wrote one.
        offsets: Clock offsets as (collection time, offset), seconds.
    """

    stream_id: int
    header: str = field(repr=False)
    name: str
    kind: str
    source_id: str
    channel_format: str
    channel_count: int
    rate_hz: float
    footer: str = ""
    offsets: list[tuple[float, float]] = field(default_factory=list)
    _chunks: list[_Chunk] = field(default_factory=list, repr=False)
    _stamps: list[NDArray[np.float64]] = field(default_factory=list, repr=False)
    _last_stamp: float = 0.0

    def __len__(self) -> int:
        return len(self.timestamps)

    @cached_property
    def timestamps(self) -> NDArray[np.float64]:
        """Stamps [n] in seconds as written, on the clock of the stream's own machine."""
        return np.concatenate(self._stamps) if self._stamps else np.empty(0)

    @cached_property
    def _chunk_ends(self) -> NDArray[np.int64]:
        return np.cumsum([chunk.count for chunk in self._chunks], dtype=np.int64)

    @property
    def is_string(self) -> bool:
        return self.channel_format == "string"


class XdfFile:
    """An XDF file (``.xdf``, ``.xdfz``), opened for reading.

    Args:
        path: The file. It is mapped, not loaded; concurrent reads from several threads are fine.

    Attributes:
        streams: In order of appearance.
        damage: What could not be read, in file order.
        closed_properly: Nothing is damaged, there are streams, and each has its footer.

    Raises:
        InvalidSignal: Not an XDF file at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = _bytes_of(path)
        if bytes(self._data[: len(MAGIC)]) != MAGIC:
            raise InvalidSignal(f"{path} does not begin with 'XDF:': give an .xdf file made by a recorder")
        self.damage: list[Damage] = []
        self._by_id: dict[int, XdfStream] = {}
        self._walk()
        self.streams = tuple(self._by_id.values())

    @property
    def closed_properly(self) -> bool:
        return not self.damage and bool(self.streams) and all(stream.footer for stream in self.streams)

    def good_ranges(self) -> list[tuple[int, int]]:
        """The readable stretches of the file as (start, stop) byte offsets, header included."""
        ranges, start = [], 0
        for damage in self.damage:
            ranges.append((start, damage.offset))
            start = damage.offset + damage.length
        ranges.append((start, len(self._data)))
        return [(a, b) for a, b in ranges if b > a]

    def raw(self, start: int, stop: int) -> memoryview:
        """The bytes of the file from `start` to `stop`."""
        return self._data[start:stop]

    def numbers(self, stream: XdfStream, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Samples `start` to `stop` of a numeric stream: array [n, channels] in the stream's own type."""
        if stream.is_string:
            raise TypeError(f"{stream.name} carries strings: use strings()")
        value = np.dtype(NUMPY_TYPES[stream.channel_format])
        width = value.itemsize * stream.channel_count
        start, stop, _ = slice(start, stop).indices(len(stream))
        out = np.empty((max(stop - start, 0), stream.channel_count), dtype=value.newbyteorder("="))
        filled = 0
        for chunk, a, b in _chunk_slices(stream, start, stop):
            if chunk.rows is None:
                first = chunk.start + a * chunk.stride
                part = np.ndarray(
                    (b - a, stream.channel_count), value, self._data, first, (chunk.stride, value.itemsize)
                )
            else:
                spots = chunk.rows[a:b, None] + np.arange(width)
                part = np.frombuffer(self._data, "u1")[spots].view(value)
            out[filled : filled + b - a] = part
            filled += b - a
        return out

    def strings(self, stream: XdfStream, start: int = 0, stop: int | None = None) -> list[tuple[bytes, ...]]:
        """Samples `start` to `stop` of a string stream: per sample a tuple of `channels` byte strings."""
        if not stream.is_string:
            raise TypeError(f"{stream.name} carries numbers: use numbers()")
        start, stop, _ = slice(start, stop).indices(len(stream))
        samples = []
        for chunk, a, b in _chunk_slices(stream, start, stop):
            assert chunk.rows is not None
            for position in chunk.rows[a:b].tolist():
                row = []
                for _ in range(stream.channel_count):
                    length, position = decode_varlen(self._data, position)
                    row.append(bytes(self._data[position : position + length]))
                    position += length
                samples.append(tuple(row))
        return samples

    def _walk(self) -> None:
        data, position = self._data, len(MAGIC)
        while position < len(data):
            try:
                length, content = decode_varlen(data, position)
                stop = content + length
                if length < 2 or stop > len(data):
                    raise ValueError("a chunk that the file ends in")
                (tag,) = struct.unpack_from("<H", data, content)
                self._parse(tag, content + 2, stop)
            except _BROKEN as error:
                resume = _behind_boundary(data, position + 1)
                at_end = resume < 0
                length = (len(data) if at_end else resume) - position
                self.damage.append(Damage(position, length, str(error) or type(error).__name__, at_end))
                position += length
                continue
            position = stop

    def _parse(self, tag: int, start: int, stop: int) -> None:
        data = self._data
        if tag == Tag.BOUNDARY and bytes(data[start:stop]) != BOUNDARY:
            raise ValueError("a boundary that is not one")
        if tag in (Tag.FILE_HEADER, Tag.BOUNDARY):
            return
        if tag not in _STREAM_TAGS:
            # A kind of chunk that other programs added is passed over, if it ends where another begins.
            if (
                stop < len(data)
                and struct.unpack_from("<H", data, decode_varlen(data, stop)[1])[0] not in _TAGS
            ):
                raise ValueError(f"a chunk of unknown kind {tag}")
            return
        if stop - start < 4:
            raise ValueError("a chunk without its stream number")
        (stream_id,) = struct.unpack_from("<I", data, start)
        start += 4
        if tag == Tag.STREAM_HEADER:
            if stream_id in self._by_id:
                raise ValueError(f"a second header of stream {stream_id}")
            self._by_id[stream_id] = _stream_of(stream_id, bytes(data[start:stop]))
            return
        if stream_id not in self._by_id:
            raise ValueError(f"a chunk of stream {stream_id}, which has no header")
        stream = self._by_id[stream_id]
        if tag == Tag.SAMPLES:
            _index_samples(stream, data, start, stop)
        elif tag == Tag.CLOCK_OFFSET:
            if stop - start != 16:
                raise ValueError("a clock offset of the wrong length")
            stream.offsets.append(struct.unpack_from("<dd", data, start))
        else:
            text = bytes(data[start:stop]).decode("utf-8", "replace")
            ElementTree.fromstring(text)
            stream.footer = text


def _bytes_of(path: Path) -> memoryview:
    with path.open("rb") as stream:
        if path.suffix == ".xdfz" or path.suffixes[-2:] == [".xdf", ".gz"]:
            return memoryview(gzip.decompress(stream.read()))
        if path.stat().st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _behind_boundary(data: memoryview, start: int) -> int:
    """Position behind the next boundary signature, -1 when there is none."""
    haystack = data.obj
    assert isinstance(haystack, mmap.mmap | bytes)
    found = haystack.find(BOUNDARY, start)
    return found if found < 0 else found + len(BOUNDARY)


def _stream_of(stream_id: int, content: bytes) -> XdfStream:
    header = content.decode("utf-8", "replace")
    info = ElementTree.fromstring(header)
    channel_format = info.findtext("channel_format") or ""
    channel_count = int(info.findtext("channel_count") or "0")
    if channel_format != "string" and channel_format not in NUMPY_TYPES:
        raise ValueError(f"a stream of unknown format {channel_format!r}")
    if channel_count < 1:
        raise ValueError("a stream without channels")
    return XdfStream(
        stream_id,
        header,
        name=info.findtext("name") or f"stream {stream_id}",
        kind=info.findtext("type") or "",
        source_id=info.findtext("source_id") or "",
        channel_format=channel_format,
        channel_count=channel_count,
        rate_hz=float(info.findtext("nominal_srate") or "0"),
    )


def _index_samples(stream: XdfStream, data: memoryview, start: int, stop: int) -> None:
    """Find the rows of a Samples chunk and their stamps; the stream is left as it was on an error."""
    count, start = decode_varlen(data, start)
    if stream.is_string:
        rows, stamps = _string_rows(stream, data, start, stop, count)
        chunk = _Chunk(count, start, 0, rows)
    else:
        width = np.dtype(NUMPY_TYPES[stream.channel_format]).itemsize * stream.channel_count
        stride = 9 + width
        flags = np.ndarray((count,), "u1", data, start, (stride,)) if stop - start == count * stride else None
        if flags is not None and count and np.all(flags == 8):
            stamps = np.ndarray((count,), "<f8", data, start + 1, (stride,)).astype(np.float64)
            chunk = _Chunk(count, start + 9, stride)
        else:
            rows, stamps = _mixed_rows(stream, data, start, stop, count, width)
            chunk = _Chunk(count, start, 0, rows)
    if count:
        stream._chunks.append(chunk)
        stream._stamps.append(stamps)
        stream._last_stamp = float(stamps[-1])


def _string_rows(
    stream: XdfStream, data: memoryview, position: int, stop: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if count > stop - position:
        raise ValueError("a chunk shorter than its samples")
    rows, stamps = np.empty(count, np.int64), np.empty(count)
    last = stream._last_stamp
    for k in range(count):
        last, position = _stamp(stream, data, position, last)
        rows[k], stamps[k] = position, last
        for _ in range(stream.channel_count):
            length, position = decode_varlen(data, position)
            position += length
        if position > stop:
            raise ValueError("a sample beyond the end of its chunk")
    if position != stop:
        raise ValueError("a chunk longer than its samples")
    return rows, stamps


def _mixed_rows(
    stream: XdfStream, data: memoryview, position: int, stop: int, count: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of a chunk in which only some samples carry a stamp (LabRecorder leaves out the expected ones)."""
    if count * (1 + width) > stop - position:
        raise ValueError("a chunk shorter than its samples")
    rows, stamps = np.empty(count, np.int64), np.empty(count)
    interval = 1 / stream.rate_hz if stream.rate_hz > 0 else 0.0
    last, k = stream._last_stamp, 0
    while k < count:
        # A run of samples without stamps is found in one step; their stamps add up as pyxdf adds them.
        fitting = min(count - k, (stop - position) // (1 + width))
        flags = np.ndarray((fitting,), "u1", data, position, (1 + width,))
        stamped = np.flatnonzero(flags)
        run = int(stamped[0]) if len(stamped) else fitting
        if run:
            rows[k : k + run] = position + 1 + np.arange(run) * (1 + width)
            stamps[k : k + run] = np.add.accumulate(np.concatenate(([last], np.full(run, interval))))[1:]
            last = float(stamps[k + run - 1])
            position += run * (1 + width)
            k += run
        if k < count:
            last, position = _stamp(stream, data, position, last)
            rows[k], stamps[k] = position, last
            position += width
            k += 1
        if position > stop:
            raise ValueError("a sample beyond the end of its chunk")
    if position != stop:
        raise ValueError("a chunk longer than its samples")
    return rows, stamps


def _stamp(stream: XdfStream, data: memoryview, position: int, last: float) -> tuple[float, int]:
    flag = data[position]
    if flag == 8:
        (stamp,) = struct.unpack_from("<d", data, position + 1)
        return stamp, position + 9
    if flag == 0:
        return last + (1 / stream.rate_hz if stream.rate_hz > 0 else 0.0), position + 1
    raise ValueError(f"a stamp of {flag} bytes")


def _chunk_slices(stream: XdfStream, start: int, stop: int) -> Iterator[tuple[_Chunk, int, int]]:
    """The chunks that hold samples `start` to `stop`, each with its own part [a, b)."""
    if stop <= start:
        return
    ends = stream._chunk_ends
    index = int(np.searchsorted(ends, start, side="right"))
    while start < stop:
        chunk = stream._chunks[index]
        offset = int(ends[index]) - chunk.count
        b = min(stop - offset, chunk.count)
        yield chunk, start - offset, b
        start = offset + b
        index += 1
