from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from fusion.events import EVENT_KEYS, FaceEvent
from zygoma.tables import TableWriter, read_columns, write_events

SPEC = StreamSpec(
    "valence",
    Kind.VALENCE,
    (Channel("valence", "normalized"), Channel("standard_error", "normalized")),
    30.0,
    SampleType.FLOAT32,
    "v",
)


def block(first: int, count: int) -> Block:
    numbers = np.arange(first, first + count)
    values = np.stack([numbers, -numbers], axis=1).astype(np.float32)
    return Block(SPEC, 100.0 + numbers / 30, values, first)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=8))
def test_a_table_holds_the_same_rows_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("tables") / "valence.parquet"
    writer = TableWriter(path, 100.0, {"skipped": "none"})
    done = 0
    for size in sizes:
        writer.add(block(done, size), {"skipped": np.zeros(size, dtype=np.float32)})
        done += size
    assert writer.close() == path
    columns = read_columns(path, ["time_s", "valence", "standard_error", "skipped"])
    np.testing.assert_allclose(columns["time_s"], np.arange(done) / 30, atol=1e-9)
    np.testing.assert_array_equal(columns["valence"], np.arange(done))
    np.testing.assert_array_equal(columns["standard_error"], -np.arange(done))
    assert writer.rows == done


def test_units_are_in_the_file_and_no_partial_file_stays(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "valence.parquet", 0.0)
    plain = block(0, 3)
    told = replace(plain.spec, metadata={"reasons": "1=no face"})
    writer.add(Block(told, plain.timestamps, plain.data, plain.first))
    assert not (tmp_path / "valence.parquet").exists()
    writer.close()
    schema = pq.read_schema(tmp_path / "valence.parquet")
    assert schema.field("valence").metadata[b"unit"] == b"normalized"
    assert schema.field("time_s").metadata[b"unit"] == b"seconds"
    assert schema.metadata[b"reasons"] == b"1=no face"
    assert [path.name for path in tmp_path.iterdir()] == ["valence.parquet"]


def test_events_come_with_a_sidecar_that_explains_every_column(tmp_path: Path) -> None:
    events = [
        FaceEvent(112.0, 0.2, "micro_expression", 112.1, (4,), id="b"),
        FaceEvent(105.0, 1.5, "macro_expression", 105.5, (6, 12), id="a"),
    ]
    write_events(tmp_path, events, 100.0)
    header, *rows = (tmp_path / "events.tsv").read_text().splitlines()
    assert header.split("\t") == list(EVENT_KEYS)
    assert [float(row.split("\t")[0]) for row in rows] == [5.0, 12.0]
    assert set(json.loads((tmp_path / "events.json").read_text())) == set(EVENT_KEYS)
