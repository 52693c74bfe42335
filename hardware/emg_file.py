"""EMG from other people's files as a device: CSV and TSV tables, EDF and BDF, BrainVision.

Whatever the file says is converted to microvolts; what it does not say (a unit, a muscle) is asked for, never
guessed. Recordings of this program (XDF) are read by `acquisition.recording`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from acquisition.clock import Clock, Sleep
from acquisition.stream import (
    Block,
    Channel,
    DeviceNotFound,
    EndOfStream,
    Kind,
    OpenedSource,
    SampleType,
    StreamSpec,
)
from hardware.emg_readers import EmgTable, read_table
from hardware.pacing import Pacer, stream_name

_PACED_S = 0.02
_BLOCK_S = 1.0


def read_emg(
    path: Path | str, channels: Mapping[str, str] | None = None, *, rate_hz: float | None = None
) -> tuple[StreamSpec, list[Block]]:
    """Read a whole EMG file.

    Args:
        path: ``.csv``, ``.tsv``, ``.txt``, ``.edf``, ``.bdf`` or ``.vhdr``.
        channels: Name in the file -> muscle_side (``{"EMG1": "ZYG_L"}``); names that already are muscle_side
            need none.
        rate_hz: Of a table without a ``time_s`` column.

    Returns:
        The stream and its blocks, split at gaps; stamps are the file's own times, samples float32 microvolts,
        NaN where the file has no value.

    Raises:
        DeviceNotFound: No such file.
        InvalidSignal: It is not EMG in a known unit and rate.
    """
    source = EmgFile(path, channels=channels, rate_hz=rate_hz)
    source.open()
    blocks = []
    while True:
        try:
            blocks.append(source.read(0.0))
        except EndOfStream:
            return source.spec, blocks


class EmgFile(OpenedSource):
    """An EMG `Source` that reads a file, at once or in real time.

    Args:
        path: See `read_emg`.
        channels: See `read_emg`.
        rate_hz: See `read_emg`.
        paced: In real time, stamped from `open` on, 20 ms to a block; else at once, stamped with the file's
            own times plus `start_s`.
        loop: Start again at the end, with stamps and sample numbers going on.
        start_s: Added to the file's times when not `paced`.
        clock, sleep: Needed when `paced`.
        name: Stream name; left out: the file's.

    `notes` says in sentences what was odd: missing values, gaps, a file that was cut off.

    Raises:
        DeviceNotFound, InvalidSignal: See `read_emg`; from the constructor, so that `spec` is true.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        channels: Mapping[str, str] | None = None,
        rate_hz: float | None = None,
        paced: bool = False,
        loop: bool = False,
        start_s: float = 0.0,
        clock: Clock | None = None,
        sleep: Sleep | None = None,
        name: str | None = None,
    ) -> None:
        path = Path(path)
        if not path.is_file():
            raise DeviceNotFound(f"{path} does not exist: check the path.")
        self._table: EmgTable = read_table(path, channels or {}, rate_hz)
        self._paced, self._loop, self._start_s = paced, loop, start_s
        self.notes = list(self._table.notes)
        self._spec = StreamSpec(
            name=name or stream_name(path.with_suffix("")),
            kind=Kind.EMG,
            channels=tuple(Channel(label, "microvolts", "EMG") for label in self._table.labels),
            rate_hz=self._table.rate_hz,
            dtype=SampleType.FLOAT32,
            source_id=f"file-{stream_name(path)}",
            metadata={
                "device": "file",
                "file": path.name,
                **({"notes": " ".join(self.notes)} if self.notes else {}),
            },
        )
        self._blocks: Iterator[Block] | None = None
        self._pacer = Pacer(paced, clock, sleep, by_last=True)
        self._played_rounds = 0
        self._offset_s = start_s

    @property
    def spec(self) -> StreamSpec:
        """Stream, with the rate measured from the file's times."""
        return self._spec

    @property
    def duration_s(self) -> float:
        """From the first sample to one period after the last."""
        stamps = self._table.stamps
        return float(stamps[-1] - stamps[0]) + 1.0 / self._table.rate_hz

    def open(self) -> None:
        """Begin at the file's start."""
        self._played_rounds = 0
        begin_s = float(self._table.stamps[0])
        self._offset_s = self._pacer.restart(begin_s + self._start_s) - begin_s
        self._blocks = self._round()

    def read(self, timeout_s: float) -> Block:
        """Next block; when paced, empty if its last sample is not due within `timeout_s`.

        Raises:
            EndOfStream: Everything has been delivered (never when looping), or the file is not open.
        """
        return self._pacer.next(self._next, timeout_s)

    def close(self) -> None:
        """Forget the position; `open` starts over."""
        self._blocks = None
        self._pacer.restart()

    def _next(self) -> Block:
        if self._blocks is None:
            raise EndOfStream(f"{self._spec.name} is not open: call open() first.")
        block = next(self._blocks, None)
        if block is None and self._loop:
            self._played_rounds += 1
            self._blocks = self._round()
            block = next(self._blocks)
        if block is None:
            raise EndOfStream(f"{self._spec.name} is at its end.")
        return block

    def _round(self) -> Iterator[Block]:
        """Blocks of one playing of the file, never across a gap."""
        table = self._table
        size = max(round((_PACED_S if self._paced else _BLOCK_S) * table.rate_hz), 1)
        offset_s = self._offset_s + self._played_rounds * self.duration_s
        shift = self._played_rounds * (int(table.numbers[-1]) + 1)
        cuts = (np.flatnonzero(np.diff(table.numbers) != 1) + 1).tolist()
        for start, stop in pairwise([0, *cuts, len(table.numbers)]):
            for begin in range(start, stop, size):
                part = slice(begin, min(begin + size, stop))
                first = int(table.numbers[begin]) + shift
                yield Block(self._spec, table.stamps[part] + offset_s, table.samples[part], first)
