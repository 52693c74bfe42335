"""Writes every stream of a run to disk as it comes, without ever making acquisition wait.

Blocks go into a lossless queue and one thread lays them down. Lost samples, a full disk and the like are
written into the recording as incidents.
"""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np

from acquisition.clock import Clock, lsl_clock
from acquisition.session import (
    SessionExists,
    SessionInfo,
    SessionPaths,
    file_facts,
    now_iso,
    software_versions,
    spec_to_dict,
)
from acquisition.stream import (
    FRAME_KINDS,
    Block,
    Channel,
    InvalidSignal,
    Kind,
    SampleType,
    StreamSpec,
    ZygomaError,
)
from acquisition.tracks import FrameTrack, Track, track_for
from acquisition.xdf_header import INCIDENTS
from acquisition.xdf_writer import SYNC_INTERVAL_S, XdfWriter

DISK_WARNING_BYTES = 5_000_000_000
DISK_STOP_BYTES = 1_000_000_000
_WAKE_S = 0.25

MARKERS = StreamSpec(
    "zygoma_markers", Kind.MARKERS, (Channel("text"),), 0.0, SampleType.STRING, "zygoma-markers"
)
"""What the operator and the session protocol mark."""


class DiskFull(ZygomaError):
    """The disk is nearly full; the recording was closed safely while there was room to do so."""


class RecordingFailed(ZygomaError):
    """The disk refused to take the recording."""


@dataclass(frozen=True)
class RecorderStatus:
    """What an operator watches while recording.

    Attributes:
        seconds: Since the recorder started.
        bytes_by_file: Size of each file, by name.
        samples_by_stream, lost_by_stream: Samples written, and samples that never came, by stream name.
        queued_blocks, queued_bytes: What waits for the disk.
        free_bytes: Room on the disk.
        disk_warning: Less than 5 GB of room.
        stopped: Why nothing more is recorded; empty while all is well.
    """

    seconds: float
    bytes_by_file: Mapping[str, int]
    samples_by_stream: Mapping[str, int]
    lost_by_stream: Mapping[str, int]
    queued_blocks: int
    queued_bytes: int
    free_bytes: int
    disk_warning: bool
    stopped: str


def free_bytes_of(folder: Path) -> int:
    """Room on the disk that holds `folder`."""
    return shutil.disk_usage(folder).free


class Recorder:
    """Records one run. Every method may be called from any thread and none waits for the disk, but `close`.

    Args:
        paths: Where to, reserved with `new_run`.
        clock: Seconds on the LSL clock, for markers, incidents and the pace of syncs.
        free_bytes: Tells the room on the disk that holds a folder.

    Raises:
        SessionExists: The run's files are there already. Nothing is ever overwritten.
    """

    def __init__(
        self,
        paths: SessionPaths,
        *,
        clock: Clock = lsl_clock,
        free_bytes: Callable[[Path], int] = free_bytes_of,
    ) -> None:
        self.paths = paths
        self._clock = clock
        self._free_bytes_of = free_bytes
        paths.make_folder()
        self._info = _sidecar(paths)
        try:
            self._xdf = XdfWriter(paths.xdf, clock=clock)
        except FileExistsError:
            raise SessionExists(f"{paths.xdf} exists already: start the next run with new_run") from None
        self._info_saved = False
        self._started_s = clock()
        self._sync_due_s = self._started_s
        self._free_bytes = free_bytes(paths.folder)

        # Shared between the callers and the thread, under this condition.
        self._wake = threading.Condition(threading.RLock())
        self._queue: deque[tuple[Track, Block | None]] = deque()
        self._queued_bytes = 0
        self._tracks: dict[_Key, Track] = {}
        self._frame_files: Counter[Kind] = Counter()
        self._last_text_s: dict[_Key, float] = {}
        self._text_count: Counter[_Key] = Counter()
        self._closing = False
        self._stopped: ZygomaError | None = None

        # The thread's own; read elsewhere for the status only.
        self._begun: list[Track] = []
        self._expected: dict[_Key, int] = {}
        self._samples: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name=f"recorder {paths.stem}", daemon=True)

        self.add_stream(INCIDENTS)
        self._thread.start()

    def add_stream(self, spec: StreamSpec) -> None:
        """Begin a stream, at any time; one that is there already is left as it is.

        Raises:
            InvalidSignal: Frames of a codec that is not recorded.
            DiskFull, RecordingFailed: Nothing more is recorded.
        """
        with self._wake:
            self._check_running()
            self._track(spec)

    def write(self, block: Block) -> None:
        """Take a block of any kind; its stream begins with it if `add_stream` was not called.

        Raises:
            InvalidSignal: The block is not what its stream was announced to be.
            DiskFull, RecordingFailed: Nothing more is recorded; the files were closed safely.
        """
        with self._wake:
            self._check_running()
            track = self._track(block.spec)
            if block.spec is not track.spec and _layout(block.spec) != _layout(track.spec):
                raise InvalidSignal(f"{block.spec.name} has another layout than when it began: restart it")
            track.check(block)
            if len(block):
                self._put(track, _own_copy(block))

    def marker(self, text: str) -> None:
        """Note a text now, in the stream `zygoma_markers`."""
        self._note(MARKERS, text)

    def incident(self, kind: str, **details: Any) -> None:
        """Note now that something went wrong: a `kind` such as ``device_lost`` and JSON values."""
        self._note(INCIDENTS, json.dumps({"kind": kind, **details}))

    def set_calibration(self, values: Mapping[str, Any]) -> None:
        """Add calibration values (JSON) to the sidecar."""
        with self._wake:
            self._info = replace(self._info, calibration={**self._info.calibration, **values})
            self._info_saved = False

    def set_guided(self, values: Mapping[str, Any]) -> None:
        """Say in the sidecar (JSON) what the guided session has done so far, instead of before."""
        with self._wake:
            self._info = replace(self._info, guided=dict(values))
            self._info_saved = False

    def status(self) -> RecorderStatus:
        """How the recording goes; never raises."""
        with self._wake:
            files = [self.paths.xdf, *(t.path for t in self._tracks.values() if isinstance(t, FrameTrack))]
            return RecorderStatus(
                seconds=self._clock() - self._started_s,
                bytes_by_file={path.name: path.stat().st_size for path in files if path.exists()},
                samples_by_stream=dict(self._samples),
                lost_by_stream=dict(self._lost),
                queued_blocks=len(self._queue),
                queued_bytes=self._queued_bytes,
                free_bytes=self._free_bytes,
                disk_warning=self._free_bytes < DISK_WARNING_BYTES,
                stopped="" if self._stopped is None else str(self._stopped),
            )

    def close(self) -> None:
        """Write what is queued, finish every file and the sidecar with their hashes. May be called twice.

        Raises:
            DiskFull, RecordingFailed: The recording had stopped before; what was written is closed properly.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        if self._stopped is not None:
            raise self._stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ the callers' side, under the lock

    def _check_running(self) -> None:
        if self._stopped is not None:
            raise self._stopped
        if self._closing:
            raise RecordingFailed("This recording is closed: start the next run with new_run.")

    def _track(self, spec: StreamSpec) -> Track:
        key = _key(spec)
        if key not in self._tracks:
            if spec.kind in FRAME_KINDS:
                self._frame_files[spec.kind] += 1
            track = track_for(spec, self.paths.frames(spec.kind, max(self._frame_files[spec.kind], 1)))
            self._tracks[key] = track
            self._put(track, None)
        return self._tracks[key]

    def _put(self, track: Track, block: Block | None) -> None:
        self._queue.append((track, block))
        self._queued_bytes += _size(block)
        self._wake.notify()

    def _note(self, spec: StreamSpec, text: str) -> None:
        with self._wake:
            self._check_running()
            self._put(self._track(spec), self._text_block(spec, text))

    def _text_block(self, spec: StreamSpec, text: str) -> Block:
        key = _key(spec)
        # Two notes at one instant still need stamps in order.
        stamp_s = max(self._clock(), np.nextafter(self._last_text_s.get(key, -np.inf), np.inf))
        self._last_text_s[key] = stamp_s
        self._text_count[key] += 1
        return Block(spec, np.array([stamp_s]), (text,), self._text_count[key] - 1)

    # ------------------------------------------------------------------ the thread's side

    def _run(self) -> None:
        broken = False
        try:
            while True:
                with self._wake:
                    if not self._queue and not self._closing:
                        self._wake.wait(_WAKE_S)
                    work, closing = list(self._queue), self._closing
                for track, block in work:
                    self._lay_down(track, block)
                    with self._wake:
                        self._queue.popleft()
                        self._queued_bytes -= _size(block)
                if self._stopped is not None or (closing and not work):
                    break
                self._do_what_is_due()
        except Exception as error:
            self._stop(_as_failure(error, self.paths.folder))
            broken = True
        self._finish(broken)

    def _lay_down(self, track: Track, block: Block | None) -> None:
        if block is None:
            track.begin(self._xdf)
            self._begun.append(track)
            with self._wake:
                devices = (*self._info.devices, spec_to_dict(track.spec))
                self._info = replace(self._info, devices=devices)
                self._info_saved = False
            return
        spec = block.spec
        key = _key(spec)
        expected = self._expected.get(key, 0)
        if block.first != expected and spec != INCIDENTS:
            # The reader numbers samples by these notes, so they come before the samples they number.
            known = key in self._expected
            lost = max(block.first - expected, 0) if known else 0
            self._lost[spec.name] += lost
            self._note_numbering("lost_samples" if known else "began", block, lost)
        self._expected[key] = block.end
        track.write(block)
        self._samples[spec.name] += len(block)

    def _note_numbering(self, kind: str, block: Block, lost: int) -> None:
        details = {
            "kind": kind,
            "stream": block.spec.name,
            "source_id": block.spec.source_id,
            "stream_kind": block.spec.kind.value,
            "time_s": float(block.timestamps[0]),
            "first": block.first,
            "lost": lost,
        }
        with self._wake:
            note = self._text_block(INCIDENTS, json.dumps(details))
        self._tracks[_key(INCIDENTS)].write(note)

    def _do_what_is_due(self) -> None:
        self._xdf.tick()
        now_s = self._clock()
        if now_s < self._sync_due_s:
            return
        self._sync_due_s = now_s + SYNC_INTERVAL_S
        for track in self._begun:
            track.sync()
        with self._wake:
            info, saved = self._info, self._info_saved
            self._info_saved = True
        if not saved:
            info.save(self.paths.sidecar)
        self._free_bytes = self._free_bytes_of(self.paths.folder)
        if self._free_bytes < DISK_STOP_BYTES:
            self._stop(
                DiskFull(
                    f"Less than {DISK_STOP_BYTES / 1e9:.0f} GB are free in {self.paths.folder}: the recording"
                    " was closed safely; make room and start the next run."
                )
            )

    def _stop(self, reason: ZygomaError) -> None:
        with self._wake:
            if self._stopped is None:
                self._stopped = reason

    def _finish(self, broken: bool) -> None:
        """Close every file, whatever happened to the others, and complete the sidecar."""
        with self._wake:
            rest = [] if broken else list(self._queue)
            self._queue.clear()
            self._queued_bytes = 0
            stopped = self._stopped
        closers: list[Callable[[], None]] = [
            *(partial(self._lay_down, track, block) for track, block in rest),
            *([partial(self._note_stop, str(stopped))] if stopped is not None else []),
            *(track.close for track in self._begun),
            self._xdf.close,
            self._complete_sidecar,
        ]
        for close in closers:
            try:
                close()
            except Exception as error:
                self._stop(_as_failure(error, self.paths.folder))

    def _note_stop(self, reason: str) -> None:
        with self._wake:
            note = self._text_block(INCIDENTS, json.dumps({"kind": "recording_stopped", "reason": reason}))
        self._tracks[_key(INCIDENTS)].write(note)

    def _complete_sidecar(self) -> None:
        frame_files = [track.path for track in self._begun if isinstance(track, FrameTrack)]
        ended, facts = now_iso(), file_facts([self.paths.xdf, *frame_files])
        with self._wake:
            notes = self._info.notes if self._stopped is None else (*self._info.notes, str(self._stopped))
            self._info = replace(self._info, ended=ended, state="complete", files=facts, notes=notes)
        self._info.save(self.paths.sidecar)


_Key: TypeAlias = tuple[Kind, str, str]


def _key(spec: StreamSpec) -> _Key:
    return (spec.kind, spec.name, spec.source_id)


def _layout(spec: StreamSpec) -> tuple[object, ...]:
    return (spec.channels, spec.dtype, spec.frame)


def _sidecar(paths: SessionPaths) -> SessionInfo:
    """What `new_run` wrote; paths that were made by hand get a sidecar now."""
    if paths.sidecar.exists():
        return SessionInfo.load(paths.sidecar)
    return SessionInfo(
        paths.subject,
        paths.session,
        paths.task,
        paths.run,
        started=now_iso(),
        software=software_versions(),
    )


def _own_copy(block: Block) -> Block:
    # The owner of an array may go on writing into it while the block waits in the queue.
    data = block.data.copy() if isinstance(block.data, np.ndarray) else block.data
    return Block(block.spec, block.timestamps.copy(), data, block.first)


def _size(block: Block | None) -> int:
    if block is None:
        return 0
    if isinstance(block.data, np.ndarray):
        return block.data.nbytes
    return sum(map(len, block.data))


def _as_failure(error: Exception, folder: Path) -> ZygomaError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"The disk of {folder} is full: the recording was closed; make room and start the next run."
        )
    return RecordingFailed(f"Recording to {folder} stopped ({error}): check the disk and start the next run.")
