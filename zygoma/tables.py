"""The derivative files of an analysis: Parquet tables with units, events.tsv with its sidecar."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from acquisition.session import write_atomically
from acquisition.stream import Block, StreamSpec
from fusion.events import FaceEvent, to_tsv, tsv_sidecar

ROWS_PER_GROUP = 65536


class TableWriter:
    """Collects the blocks of one derived stream and writes them as one Parquet table.

    The table has one row per sample: ``time_s`` (seconds since the recording's start), then one column per
    channel. Each column's unit is in its field metadata, the stream's metadata in the schema's. Rows are
    written in groups, so a long recording does not have to fit in memory. The file appears under its name
    only when it is whole.

    Args:
        path: Where the table goes; replaced if it exists (derivatives can always be made again).
        start_s: Stamp that becomes time 0.
        extra: Name and unit of columns that the stream does not carry.
    """

    def __init__(self, path: Path, start_s: float, extra: Mapping[str, str] | None = None) -> None:
        self.path = path
        self._start_s = start_s
        self._extra = dict(extra or {})
        self._partial = path.with_name(path.name + ".partial")
        self._writer: pq.ParquetWriter | None = None
        self._spec: StreamSpec | None = None
        self._pending: list[
            tuple[NDArray[np.float64], NDArray[np.float32], dict[str, NDArray[np.float32]]]
        ] = []
        self._pending_rows = 0
        self.rows = 0

    def add(self, block: Block, extra: Mapping[str, NDArray[np.float32]] | None = None) -> None:
        """Append a block; `extra` holds one array [n] per extra column."""
        if self._spec is None:
            self._spec = block.spec
        if not len(block):
            return
        self._pending.append((block.timestamps, block.array, dict(extra or {})))
        self._pending_rows += len(block)
        self.rows += len(block)
        if self._pending_rows >= ROWS_PER_GROUP:
            self._write_group()

    def close(self) -> Path:
        """Finish the file and give it its name."""
        if self._spec is None:
            raise ValueError(f"no block was ever added to {self.path.name}")
        self._write_group()
        assert self._writer is not None
        self._writer.close()
        self._partial.replace(self.path)
        return self.path

    def abandon(self) -> None:
        """Leave nothing of a table that was not finished."""
        if self._writer is not None:
            self._writer.close()
        self._partial.unlink(missing_ok=True)

    def _schema(self, spec: StreamSpec) -> pa.Schema:
        fields = [_field("time_s", pa.float64(), "seconds")]
        fields += [_field(channel.label, pa.float32(), channel.unit) for channel in spec.channels]
        fields += [_field(name, pa.float32(), unit) for name, unit in self._extra.items()]
        about = {"stream": spec.name, "kind": str(spec.kind), "nominal_rate_hz": repr(spec.rate_hz)}
        # What codes and bits in the rows mean stands in the stream's own metadata.
        about = {**spec.metadata, **about}
        return pa.schema(fields, metadata=about)

    def _write_group(self) -> None:
        assert self._spec is not None
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._partial, self._schema(self._spec), compression="zstd")
        if not self._pending:
            return
        stamps = np.concatenate([stamps for stamps, _, _ in self._pending]) - self._start_s
        values = np.concatenate([values for _, values, _ in self._pending])
        columns: list[NDArray[np.floating]] = [stamps]
        columns += [np.ascontiguousarray(values[:, index]) for index in range(values.shape[1])]
        columns += [np.concatenate([extra[name] for _, _, extra in self._pending]) for name in self._extra]
        self._writer.write_table(pa.table(columns, schema=self._writer.schema))
        self._pending.clear()
        self._pending_rows = 0


def _field(name: str, kind: pa.DataType, unit: str) -> pa.Field:
    return pa.field(name, kind, metadata={"unit": unit})


def write_events(folder: Path, events: Iterable[FaceEvent], start_s: float) -> Path:
    """Write ``events.tsv`` (BIDS: onset and duration first) and ``events.json`` that explains its columns.

    Args:
        folder: Where they go.
        events: Any order; written by onset.
        start_s: Stamp that becomes time 0.
    """
    path = folder / "events.tsv"
    write_atomically(path, to_tsv(events, start_s).encode())
    write_atomically(folder / "events.json", (json.dumps(tsv_sidecar(), indent=2) + "\n").encode())
    return path


def read_columns(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Columns of a derivative table, as float64 arrays [rows]."""
    table = pq.read_table(path, columns=list(names))
    return {name: table[name].to_numpy().astype(np.float64) for name in names}
