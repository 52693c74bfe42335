"""Frames on disk: JPEGs muxed untouched and temperatures as lossless FFV1, both in Matroska.

Matroska survives a kill or a cut up to the last whole cluster, and every frame here is a cluster of its own.
Its stamps are rounded to milliseconds; the exact ones are kept in an index stream of the XDF beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import INVALID_CENTI_CELSIUS, FrameFormat, InvalidSignal

MEDIA_TIME_BASE = Fraction(1, 1000)
CENTI_KELVIN_OFFSET = 27315
"""centikelvin = centi-degC + 27315; the pixel value 0 is 'no temperature'."""

_EBML_ID = bytes.fromhex("1A45DFA3")
_SEGMENT_ID = bytes.fromhex("18538067")
_ENCODING = {"MJPG": "mjpeg", "centi_celsius": "ffv1"}
_FFV1 = {"level": "3", "g": "1", "slices": "4", "slicecrc": "1"}
_CLUSTERS = {"cluster_time_limit": "200", "flush_packets": "1", "write_crc32": "0"}


def to_centi_kelvin(centi_celsius: NDArray[np.int16]) -> NDArray[np.uint16]:
    """Pixels as they are stored: uint16 centikelvin.

    INVALID_CENTI_CELSIUS, and what would be at or below absolute zero, becomes 0.
    """
    kelvin = centi_celsius.astype(np.int32) + CENTI_KELVIN_OFFSET
    return np.maximum(kelvin, 0).astype(np.uint16)


def to_centi_celsius(centi_kelvin: NDArray[np.uint16]) -> NDArray[np.int16]:
    """Pixels as they were recorded: int16 centi-degC, 0 K as INVALID_CENTI_CELSIUS."""
    celsius = centi_kelvin.astype(np.int32) - CENTI_KELVIN_OFFSET
    return np.where(centi_kelvin == 0, INVALID_CENTI_CELSIUS, celsius).astype(np.int16)


Frame: TypeAlias = bytes | NDArray[np.int16]
"""A JPEG, or temperatures [height, width] in centi-degC."""


class _Unbuffered:
    """What PyAV writes through: an exclusive file whose close is ours."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def shut(self) -> None:
        self._file.close()


class FrameWriter:
    """Writes the frames of one stream; not thread-safe (the recorder's thread owns it).

    Args:
        path: File to create; it must not exist.
        frame: Geometry and coding: ``MJPG`` or ``centi_celsius``.
        rate_hz: Nominal rate, for players; 0 is unknown.

    Raises:
        FileExistsError: `path` is already there. Nothing is ever overwritten.
        InvalidSignal: Frames of another codec.
    """

    def __init__(self, path: Path, frame: FrameFormat, *, rate_hz: float = 0.0) -> None:
        if frame.codec not in _ENCODING:
            raise InvalidSignal(f"frames of codec {frame.codec} are not recorded: send MJPG or centi_celsius")
        self.path = path
        self.frame = frame
        self._file = _Unbuffered(path)
        self._first_stamp_s: float | None = None
        self._media_ms = -1
        self._container: Any = av.open(self._file, "w", format="matroska", options=_CLUSTERS)
        rate = Fraction(rate_hz).limit_denominator(1001) if rate_hz > 0 else Fraction(30)
        encoding = _ENCODING[frame.codec]
        if encoding == "mjpeg":
            self._stream: Any = self._container.add_mux_stream(
                encoding, rate=rate, width=frame.width, height=frame.height
            )
        else:
            self._stream = self._container.add_stream(encoding, rate=rate, options=_FFV1)
            self._stream.width, self._stream.height = frame.width, frame.height
            self._stream.pix_fmt = "gray16le"
            # One thread: an encoder with several keeps frames back.
            self._stream.codec_context.thread_count = 1
            self._stream.codec_context.time_base = MEDIA_TIME_BASE
        self._stream.time_base = MEDIA_TIME_BASE

    def write(self, stamp_s: float, frame: Frame) -> float:
        """Append a frame: JPEG bytes, or int16 pixels [height * width] or [height, width].

        Returns:
            Its media time in seconds since the first frame, in whole milliseconds, strictly increasing.
        """
        if self._first_stamp_s is None:
            self._first_stamp_s = stamp_s
        # Two frames within a millisecond would share a media time, which players refuse.
        self._media_ms = max(round((stamp_s - self._first_stamp_s) * 1000), self._media_ms + 1)
        if isinstance(frame, bytes):
            packet = av.Packet(frame)
            packet.stream = self._stream
            packet.pts = packet.dts = self._media_ms
            packet.time_base = MEDIA_TIME_BASE
            packet.is_keyframe = True
            self._container.mux(packet)
        else:
            pixels = to_centi_kelvin(frame).reshape(self.frame.height, self.frame.width)
            picture = av.VideoFrame.from_ndarray(pixels, format="gray16le")
            picture.pts, picture.time_base = self._media_ms, MEDIA_TIME_BASE
            self._container.mux(self._stream.encode(picture))
        return self._media_ms / 1000

    def sync(self) -> None:
        """Force what is written to the disk."""
        self._file.sync()

    def close(self) -> None:
        """Finish the file (duration, seek table), sync and close. A second call does nothing."""
        if self._container is None:
            return
        container, self._container = self._container, None
        try:
            if self._media_ms >= 0:
                if self.frame.codec == "centi_celsius":
                    container.mux(self._stream.encode(None))
                container.close()
            self._file.sync()
        finally:
            self._file.shut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FrameReader:
    """Reads the frames of one file back, bit for bit, as far as the file is whole.

    Each iteration opens the file anew, so that several threads may read at once.

    Args:
        path: A Matroska file that `FrameWriter` made, finished or cut off.
        frame: Geometry and coding, ``MJPG`` or ``centi_celsius``.
    """

    def __init__(self, path: Path, frame: FrameFormat) -> None:
        self.path = path
        self.frame = frame

    def __iter__(self) -> Iterator[tuple[float, Frame]]:
        return self.frames()

    def frames(self, from_media_s: float = 0.0) -> Iterator[tuple[float, Frame]]:
        """Frames in order as (media time in seconds, frame), from a media time on.

        A frame whose bytes are not all there, or are not what was written, is left out.
        """
        from_ms = round(from_media_s * 1000)
        with _opened(self.path) as container:
            if container is None:
                return
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            if from_ms > 0:
                container.seek(from_ms, stream=stream, backward=True)
            for packet in _whole_packets(container, stream):
                if packet.pts < from_ms:
                    continue
                if self.frame.codec == "MJPG":
                    yield packet.pts / 1000, bytes(packet)
                    continue
                try:
                    (picture,) = packet.decode()
                except (av.error.FFmpegError, ValueError):
                    continue
                yield packet.pts / 1000, to_centi_celsius(picture.to_ndarray())

    def media_times_s(self) -> NDArray[np.float64]:
        """Media time [n] of every whole frame, in seconds, without decoding."""
        with _opened(self.path) as container:
            if container is None:
                return np.empty(0)
            packets = _whole_packets(container, container.streams.video[0])
            return np.array([packet.pts / 1000 for packet in packets], dtype=np.float64)


def is_finished(path: Path) -> bool:
    """Whether a Matroska file was closed properly and is all there; an empty file is finished.

    Its one Segment tells its length only once the file is closed (RFC 8794, 6.2: unknown data size).
    """
    size = path.stat().st_size
    if size == 0:
        return True
    with path.open("rb") as stream:
        head = stream.read(256)
    try:
        identity, _, content, length = _ebml_element(head, 0)
        if identity != _EBML_ID:
            return False
        identity, unknown, content, length = _ebml_element(head, content + length)
    except IndexError:
        return False
    return identity == _SEGMENT_ID and not unknown and content + length <= size


def _ebml_element(data: bytes, position: int) -> tuple[bytes, bool, int, int]:
    """Identity, whether its size is unknown, start of content and size of an EBML element (RFC 8794)."""
    identity_width = 9 - data[position].bit_length()
    identity = data[position : position + identity_width]
    position += identity_width
    width = 9 - data[position].bit_length()
    payload = int.from_bytes(data[position : position + width]) & ((1 << 7 * width) - 1)
    return identity, payload == (1 << 7 * width) - 1, position + width, payload


def remux(source: Path, target: Path) -> int:
    """Copy the whole frames of a cut-off file into a new, finished one, bit for bit.

    Returns:
        The number of frames.

    Raises:
        FileExistsError: `target` is already there.
    """
    file = _Unbuffered(target)
    frames = 0
    try:
        with _opened(source) as container:
            if container is None:
                return 0
            stream = container.streams.video[0]
            with av.open(file, "w", format="matroska", options=_CLUSTERS) as copy:
                copied = copy.add_stream_from_template(stream)
                copied.time_base = MEDIA_TIME_BASE
                for packet in _whole_packets(container, stream):
                    packet.stream = copied
                    copy.mux(packet)
                    frames += 1
        file.sync()
        return frames
    finally:
        file.shut()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file as a PyAV container, None when not even its header is whole."""
    try:
        container = av.open(str(path), format="matroska")
    except av.error.FFmpegError:
        yield None
        return
    with container:
        yield container if container.streams.video else None


def _whole_packets(container: Any, stream: Any) -> Iterator[Any]:
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue  # PyAV's end mark
            # Behind a damaged stretch the demuxer finds the next cluster, which is the next frame.
            if not packet.is_corrupt and packet.pts is not None:
                yield packet
    except av.error.FFmpegError:
        return
