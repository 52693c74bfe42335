"""What an analysis is given, and what it leaves when it is stopped half-way."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acquisition.clock import ManualClock
from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec
from tests.acquisition.runs import START_S, record
from tests.acquisition.runs import blocks as recorded_blocks
from zygoma.analyze import Inputs, analyze, session_inputs, with_channels
from zygoma.pipeline import PipelineSettings

RATE_HZ = 1000.0
SPEC = StreamSpec(
    "emg",
    Kind.EMG,
    tuple(Channel(label, "microvolts", "EMG") for label in ("left smile", "spare", "COR_L")),
    RATE_HZ,
    SampleType.FLOAT32,
    "e",
)


def blocks(count: int = 4) -> Iterator[Block]:
    """One second each; every column holds its own number plus noise."""
    noise = np.random.default_rng(0).normal(0, 0.1, (1000, 3))
    values = (np.arange(3) + noise).astype(np.float32)
    for number in range(count):
        first = number * 1000
        yield Block(SPEC, (first + np.arange(1000)) / RATE_HZ, values, first)


def inputs(stream: Iterator[Block]) -> Inputs:
    return Inputs({Kind.EMG: SPEC}, {Kind.EMG: stream}, 0.0, 4.0, "recorded")


def test_the_channels_of_a_recording_can_be_named() -> None:
    named = with_channels(inputs(blocks()), {"left smile": "ZYG_L"}, Path("x.xdf"))
    spec = named.specs[Kind.EMG]
    assert spec.labels == ("ZYG_L", "COR_L")
    (first, *rest) = named.blocks[Kind.EMG]
    assert first.spec == spec
    assert [block.first for block in rest] == [1000, 2000, 3000]
    np.testing.assert_allclose(first.array.mean(axis=0), [0, 2], atol=0.05)


def test_a_channel_that_is_not_recorded_is_told_with_those_that_are() -> None:
    with pytest.raises(InvalidSignal, match=r"x\.xdf has no channel 'EMG9'.*left smile, spare, COR_L"):
        with_channels(inputs(blocks()), {"EMG9": "ZYG_L"}, Path("x.xdf"))
    with pytest.raises(InvalidSignal, match="no EMG stream"):
        with_channels(Inputs({}, {}, 0.0, 1.0, "x"), {"EMG9": "ZYG_L"}, Path("x.xdf"))


def test_what_was_odd_in_a_file_stands_in_the_summary(tmp_path: Path) -> None:
    spec = replace(SPEC, metadata={"notes": "2 gaps, 7 samples missing."})
    stream = (Block(spec, block.timestamps, block.array, block.first) for block in blocks())
    summary = analyze(Inputs({Kind.EMG: spec}, {Kind.EMG: stream}, 0.0, 4.0, "file"), tmp_path)
    assert summary.quality_words["emg"] == "2 gaps, 7 samples missing."


def test_an_analysis_that_is_stopped_leaves_no_half_table_and_the_last_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zygoma.tables.ROWS_PER_GROUP", 10)  # So that a table is begun by then.
    whole = tmp_path / "muscle_activity.parquet"
    whole.write_bytes(b"of the last analysis")

    def stopped() -> Iterator[Block]:
        yield from blocks(3)
        assert (tmp_path / "muscle_activity.parquet.partial").exists()
        raise KeyboardInterrupt

    given = with_channels(inputs(stopped()), {"left smile": "ZYG_L"}, Path("x.xdf"))
    with pytest.raises(KeyboardInterrupt):
        analyze(given, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [whole.name]
    assert whole.read_bytes() == b"of the last analysis"


def test_markers_of_the_recording_are_rows_among_the_events(tmp_path: Path) -> None:
    paths = record(tmp_path, ManualClock(START_S), recorded_blocks(0.3))
    given = session_inputs(paths.xdf)
    texts = ("begin", "smile — ü", '{"json": "too"}')
    assert [text for _, text in given.markers] == list(texts)
    # The pictures of this recording are none: only its muscles are analysed.
    muscles = {Kind.EMG: given.specs[Kind.EMG]}
    summary = analyze(replace(given, specs=muscles, blocks={Kind.EMG: given.blocks[Kind.EMG]}), tmp_path)
    assert summary.to_dict()["events"] == {"marker": 3}
    with (tmp_path / "events.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [row["explanation"] for row in rows] == list(texts)
    assert {row["trial_type"] for row in rows} == {"marker"}
    onsets = [float(row["onset"]) for row in rows]
    np.testing.assert_allclose(onsets, START_S + 0.2 + 0.4 * np.arange(3) - given.start_s, atol=1e-6)


def test_tables_of_an_earlier_analysis_do_not_stay_beside_those_of_a_later_one(tmp_path: Path) -> None:
    (tmp_path / "action_units.parquet").write_bytes(b"of a video that is not analysed now")
    (tmp_path / "notes.txt").write_bytes(b"by hand")
    analyze(with_channels(inputs(blocks()), {"left smile": "ZYG_L"}, Path("x.xdf")), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert "action_units.parquet" not in names
    assert names >= {"notes.txt", "muscle_activity.parquet", "events.tsv"}


def test_a_rest_behind_the_end_is_an_error_and_leaves_no_table(tmp_path: Path) -> None:
    given = with_channels(inputs(blocks()), {"left smile": "ZYG_L"}, Path("x.xdf"))
    with pytest.raises(InvalidSignal, match="rest from 5 to 8 s lies behind the end of recorded"):
        analyze(given, tmp_path, PipelineSettings(rest=(5.0, 8.0)))
    assert not list(tmp_path.iterdir())
