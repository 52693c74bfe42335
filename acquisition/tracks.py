"""How the blocks of one stream are laid down: numbers and texts in XDF, frames in Matroska."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from acquisition.lsl_metadata import read_xml
from acquisition.matroska import FrameWriter
from acquisition.stream import FRAME_KINDS, Block, InvalidSignal, SampleType, StreamSpec
from acquisition.xdf_header import FrameIndex, header_of, index_header
from acquisition.xdf_writer import XdfWriter


class Track(Protocol):
    """One stream on its way to disk; driven by the recorder's thread alone, but for `check`."""

    spec: StreamSpec

    def check(self, block: Block) -> None: ...
    def begin(self, xdf: XdfWriter) -> None: ...
    def write(self, block: Block) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


def track_for(spec: StreamSpec, frames_path: Path) -> Track:
    """The track that fits a stream; `frames_path` is the Matroska file if it needs one.

    Raises:
        InvalidSignal: Frames of a codec that is not recorded.
        ValueError: A text of the spec cannot be carried in a header.
    """
    if spec.kind in FRAME_KINDS:
        return FrameTrack(spec, frames_path)
    return SampleTrack(spec)


class SampleTrack:
    """Numbers or texts, in the XDF itself."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self._header = header_of(spec)
        self._format = read_xml(self._header).wire.format

    def check(self, block: Block) -> None:
        """Refuse, in the caller's thread, what `write` could not store.

        Raises:
            InvalidSignal: The block's data are not of the stream's type.
        """
        texts = self.spec.dtype is SampleType.STRING
        if texts == isinstance(block.data, np.ndarray) or (texts and not all(map(_is_text, block.data))):
            raise InvalidSignal(
                f"{self.spec.name} was announced as {self.spec.dtype} and sends something else: restart it"
            )

    def begin(self, xdf: XdfWriter) -> None:
        self._xdf = xdf
        self._id = xdf.add_stream(self._header, self._format, self.spec.channel_count)

    def write(self, block: Block) -> None:
        if isinstance(block.data, np.ndarray):
            self._xdf.write(self._id, block.timestamps, block.data)
            return
        blanks = (b"",) * (self.spec.channel_count - 1)
        rows = [(str(text).encode(errors="backslashreplace"), *blanks) for text in block.data]
        self._xdf.write_strings(self._id, block.timestamps, rows)

    def sync(self) -> None:
        """Nothing of its own: the XDF is synced as a whole."""

    def close(self) -> None:
        """Nothing of its own: the XDF is closed as a whole."""


class FrameTrack:
    """Frames in Matroska, and their exact stamps and numbers in an index stream of the XDF."""

    def __init__(self, spec: StreamSpec, path: Path) -> None:
        assert spec.frame is not None
        if spec.frame.codec not in ("MJPG", "centi_celsius"):
            raise InvalidSignal(
                f"{spec.name} sends {spec.frame.codec} frames: only MJPG and thermal are recorded"
            )
        self.spec = spec
        self.path = path
        self._frame = spec.frame
        self._index = FrameIndex(spec, path.name)
        self._header = index_header(self._index)

    def check(self, block: Block) -> None:
        """Refuse, in the caller's thread, what `write` could not store.

        Raises:
            InvalidSignal: The block does not carry JPEGs, or not int16 pixels.
        """
        if self._frame.codec == "MJPG":
            fits = all(isinstance(frame, bytes) and frame for frame in block.data)
        else:
            fits = isinstance(block.data, np.ndarray) and block.data.dtype == np.int16
        if not fits:
            raise InvalidSignal(
                f"{self.spec.name} was announced as {self._frame.codec} and sends something else: restart it"
            )

    def begin(self, xdf: XdfWriter) -> None:
        self._xdf = xdf
        self._writer = FrameWriter(self.path, self._frame, rate_hz=self.spec.rate_hz)
        self._id = xdf.add_stream(self._header, "double64", len(self._index.labels))

    def write(self, block: Block) -> None:
        rows = np.empty((len(block), len(self._index.labels)))
        rows[:, 0] = np.arange(block.first, block.end)
        pixels = self.spec.pixel_count
        if isinstance(block.data, np.ndarray):
            rows[:, 2:] = block.data[:, pixels:]
        for k, frame in enumerate(block.data):
            picture = frame if isinstance(frame, bytes) else np.asarray(frame, np.int16)[:pixels]
            rows[k, 1] = self._writer.write(float(block.timestamps[k]), picture)
        # The index follows its frames, so that every row of it has a frame unless the power fails.
        self._xdf.write(self._id, block.timestamps, rows)

    def sync(self) -> None:
        self._writer.sync()

    def close(self) -> None:
        self._writer.close()


def _is_text(value: object) -> bool:
    return isinstance(value, str)
