"""A recorded run as the blocks it was made of: same specs, same stamps to the bit, gaps in their place.

Opens what zygoma recorded and, as far as their streams are understood, XDF files of LabRecorder and others.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.lsl_metadata import read_xml
from acquisition.recorded import RecordedFrames, RecordedSamples, RecordedStream, Span
from acquisition.session import SessionInfo
from acquisition.stream import FRAME_KINDS, Block, DeviceNotFound, InvalidSignal, Kind, StreamSpec
from acquisition.xdf_header import INCIDENTS, INDEX_TYPE, read_index_header
from acquisition.xdf_reader import Damage, XdfFile, XdfStream

MERGED_CHUNK_S = 0.01
"""Length of the blocks of regular streams when nothing else is asked for."""


@dataclass(frozen=True)
class RecordedIncident:
    """Something that went wrong while recording.

    Attributes:
        time_s: When, LSL clock.
        kind: ``lost_samples``, ``recording_stopped``, or what the caller of `Recorder.incident` named.
        details: Whatever belongs to it, e.g. ``stream``, ``lost``.
    """

    time_s: float
    kind: str
    details: Mapping[str, Any]


class Recording:
    """One recorded run, opened for reading; samples are read from disk as they are asked for.

    Args:
        path: A session folder with one run in it, an ``.xdf`` or a ``_session.json``.

    Attributes:
        xdf: The file below.
        specs: The streams, frames among them as what they were. In order of recording.
        ignored: Streams that are left out, with the reason, by name.

    Raises:
        DeviceNotFound: There is no such recording, or several in the folder.
        InvalidSignal: The file is not XDF.
        FramesLost: A file of frames gives back none of them.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = find_xdf(Path(path))
        self.xdf = XdfFile(self.path)
        self.ignored: dict[str, str] = {}
        self._absent: list[str] = []
        self._streams: dict[StreamKey, RecordedStream] = {}
        notes = next((s for s in self.xdf.streams if s.name == INCIDENTS.name and s.is_string), None)
        self._notes = [] if notes is None else _read_notes(self.xdf, notes)
        for stream in self.xdf.streams:
            if stream is notes:
                continue
            try:
                recorded = self._open(stream, own=notes is not None)
            except (InvalidSignal, ValueError, FileNotFoundError) as error:
                self.ignored[stream.name] = str(error)
                if isinstance(error, FileNotFoundError):
                    self._absent.append(str(error))
                continue
            self._streams.setdefault(_key(recorded.spec), recorded)
        self.specs = tuple(stream.spec for stream in self._streams.values())

    def _open(self, stream: XdfStream, own: bool) -> RecordedStream:
        if stream.kind == INDEX_TYPE:
            return RecordedFrames(self.xdf, stream, read_index_header(stream.header))
        announced = read_xml(stream.header)
        started = None
        if own:
            started = {
                note.details["time_s"]: note.details["first"]
                for note in self._notes
                if "first" in note.details and _is_about(note, announced.spec)
            }
        return RecordedSamples(self.xdf, stream, announced, started)

    # ------------------------------------------------------------------ what is there

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What could not be read of the XDF; `zygoma repair` makes the rest whole."""
        return tuple(self.xdf.damage)

    @property
    def shortfalls(self) -> list[str]:
        """A sentence per file of frames that is gone, cut off or damaged; holes in one show as it is read."""
        frames = (stream for stream in self._streams.values() if isinstance(stream, RecordedFrames))
        return [*self._absent, *(stream.shortfall for stream in frames if stream.shortfall)]

    @cached_property
    def session(self) -> SessionInfo | None:
        """The run's sidecar, None where there is none."""
        sidecar = self.path.with_name(f"{self.path.stem}_session.json")
        return SessionInfo.load(sidecar) if sidecar.exists() else None

    @cached_property
    def start_s(self) -> float:
        """Earliest stamp of all streams, LSL clock; 0 for an empty recording."""
        return min(
            (float(s.timestamps.min()) for s in self._streams.values() if len(s.timestamps)), default=0.0
        )

    @cached_property
    def end_s(self) -> float:
        """Latest stamp of all streams, LSL clock; 0 for an empty recording."""
        return max(
            (float(s.timestamps.max()) for s in self._streams.values() if len(s.timestamps)), default=0.0
        )

    @property
    def duration_s(self) -> float:
        """From the earliest to the latest stamp."""
        return self.end_s - self.start_s

    @cached_property
    def incidents(self) -> tuple[RecordedIncident, ...]:
        """What went wrong while recording, in order of time."""
        told = (note for note in self._notes if note.kind != "began")
        return tuple(sorted(told, key=lambda note: note.time_s))

    def spec(self, source_id: str) -> StreamSpec:
        """The stream with that source id, or else with that name.

        Raises:
            DeviceNotFound: There is none; the message lists those there are.
        """
        for spec in self.specs:
            if spec.source_id == source_id:
                return spec
        for spec in self.specs:
            if spec.name == source_id:
                return spec
        there = ", ".join(f"{spec.name} ({spec.source_id})" for spec in self.specs) or "no stream at all"
        raise DeviceNotFound(f"{self.path.name} has no stream {source_id!r}; it has {there}")

    def timestamps(self, which: str | StreamSpec) -> NDArray[np.float64]:
        """Stamps [n] of one stream, in seconds, as recorded."""
        return self._stream(which).timestamps

    def numbers(self, which: str | StreamSpec) -> NDArray[np.int64]:
        """Running numbers [n] of the samples of one stream, lost ones counted."""
        return self._stream(which).numbers

    # ------------------------------------------------------------------ blocks

    def blocks(
        self,
        which: str | StreamSpec,
        chunk: int | None = None,
        *,
        start_s: float = -np.inf,
        stop_s: float = np.inf,
    ) -> Iterator[Block]:
        """The blocks of one stream, none with a gap inside.

        Args:
            which: The stream, by spec, source id or name.
            chunk: Samples per block at most; left out: one frame or text, or 10 ms of a regular stream.
            start_s, stop_s: Only samples with stamps in [start_s, stop_s).
        """
        stream = self._stream(which)
        if chunk is None:
            chunk = default_chunk(stream.spec)
        if chunk < 1:
            raise ValueError(f"chunk {chunk} must be 1 or more")
        spans = _spans(stream, chunk, start_s, stop_s)
        for start, stop, data in stream.read(spans):
            yield Block(stream.spec, stream.timestamps[start:stop], data, int(stream.numbers[start]))

    def merged(
        self,
        kinds: Collection[Kind] | None = None,
        *,
        chunk: Mapping[Kind, int] | None = None,
        start_s: float = -np.inf,
        stop_s: float = np.inf,
    ) -> Iterator[Block]:
        """The blocks of all streams in the order in which they were complete (by their last stamp).

        Args:
            kinds: Only streams of these kinds; None is all.
            chunk: Samples per block at most, by kind; see `blocks`.
            start_s, stop_s: Only samples with stamps in [start_s, stop_s).
        """
        specs = [spec for spec in self.specs if kinds is None or spec.kind in kinds]
        each = (
            self.blocks(spec, (chunk or {}).get(spec.kind), start_s=start_s, stop_s=stop_s) for spec in specs
        )
        return heapq.merge(*each, key=lambda block: float(block.timestamps[-1]))

    def _stream(self, which: str | StreamSpec) -> RecordedStream:
        spec = self.spec(which) if isinstance(which, str) else which
        try:
            return self._streams[_key(spec)]
        except KeyError:
            raise DeviceNotFound(
                f"{self.path.name} has no stream {spec.name!r} of kind {spec.kind}"
            ) from None


StreamKey = tuple[Kind, str, str]


def _key(spec: StreamSpec) -> StreamKey:
    return (spec.kind, spec.name, spec.source_id)


def _is_about(note: RecordedIncident, spec: StreamSpec) -> bool:
    name = note.details.get("stream")
    # A stream without source id is filed under its name.
    return (note.details.get("stream_kind"), name, note.details.get("source_id") or name) == _key(spec)


def default_chunk(spec: StreamSpec) -> int:
    """Samples in 10 ms of a regular stream of numbers, else 1."""
    if spec.kind in FRAME_KINDS or not spec.rate_hz:
        return 1
    return max(round(spec.rate_hz * MERGED_CHUNK_S), 1)


def find_xdf(path: Path) -> Path:
    """The XDF file of a run, from its folder, its sidecar or itself.

    Raises:
        DeviceNotFound: There is none, or several in the folder.
    """
    if path.is_dir():
        found = sorted(path.glob("*.xdf"))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(file.name for file in found)
            raise DeviceNotFound(f"{path} holds several runs, name one of them: {names}")
        raise DeviceNotFound(f"{path} holds no .xdf file: give a session folder or a recording")
    if path.name.endswith("_session.json"):
        path = path.with_name(path.name.removesuffix("_session.json") + ".xdf")
    if not path.is_file():
        raise DeviceNotFound(f"{path} does not exist: give a session folder, an .xdf or a _session.json")
    return path


def _spans(stream: RecordedStream, chunk: int, start_s: float, stop_s: float) -> list[Span]:
    """Spans of positions of at most `chunk` samples, none across a gap or a stamp that does not increase."""
    stamps, numbers = stream.timestamps, stream.numbers
    wanted = (stamps >= start_s) & (stamps < stop_s)
    breaks = (np.diff(numbers) != 1) | (np.diff(stamps) <= 0) | (wanted[1:] != wanted[:-1])
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(stamps)]
    return [
        (begin, min(begin + chunk, end))
        for first, end in pairwise(edges)
        if first < end and wanted[first]
        for begin in range(first, end, chunk)
    ]


def _read_notes(xdf: XdfFile, stream: XdfStream) -> list[RecordedIncident]:
    notes = []
    for stamp_s, (text, *_) in zip(stream.timestamps.tolist(), xdf.strings(stream), strict=True):
        try:
            details = json.loads(text)
            notes.append(RecordedIncident(stamp_s, str(details.pop("kind")), details))
        except (ValueError, KeyError, AttributeError):
            details = {"text": text.decode("utf-8", "replace")}
            notes.append(RecordedIncident(stamp_s, "unreadable", details))
    return notes
