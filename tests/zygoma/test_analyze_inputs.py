"""What an analysis is given, and what it leaves when it is stopped half-way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec
from zygoma.analyze import Inputs, analyze, with_channels

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
