"""The vocabulary keeps its promises: blocks are read-only and know their gaps, specs know their columns."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from acquisition.stream import Block, empty_block
from tests.acquisition.runs import CAMERA, EMG, TASK, THERMAL

STAMPS = np.arange(5) / 1000


def block(first: int = 7) -> Block:
    return Block(EMG, STAMPS.copy(), np.arange(20, dtype=np.float32).reshape(5, 4), first)


def test_a_block_is_read_only_and_its_owner_may_go_on_writing() -> None:
    values = np.zeros((5, 4), np.float32)
    made = Block(EMG, STAMPS.copy(), values, 0)
    for array in (made.array, made.timestamps, made[1:3].array, made.column("COR_L")):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    values[0, 0] = 3.0
    assert values.flags.writeable


def test_slices_number_their_samples() -> None:
    part = block()[2:4]
    assert (part.first, part.end, len(part)) == (9, 11, 2)
    np.testing.assert_array_equal(part.array, block().array[2:4])
    np.testing.assert_array_equal(part.timestamps, STAMPS[2:4])
    assert len(block()[5:]) == 0
    with pytest.raises(ValueError, match="steps of 1"):
        block()[::2]


def test_columns_have_names_and_stand_behind_the_pixels() -> None:
    np.testing.assert_array_equal(block().column("ZYG_R"), [1, 5, 9, 13, 17])
    assert (THERMAL.channel_count, THERMAL.index("frame_number"), THERMAL.index("ffc")) == (194, 192, 193)
    with pytest.raises(KeyError, match="ZYG_R"):
        EMG.index("nose")


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="timestamps"):
        Block(EMG, STAMPS[:3], np.zeros((5, 4)), 0)
    with pytest.raises(ValueError, match="4 channels"):
        Block(EMG, STAMPS, np.zeros((5, 3)), 0)
    with pytest.raises(TypeError, match="not numbers"):
        _ = Block(TASK, STAMPS[:1], ("text",), 0).array
    with pytest.raises(ValueError, match="not unique"):
        replace(EMG, channels=EMG.channels[:1] * 2)
    with pytest.raises(ValueError, match="FrameFormat"):
        replace(CAMERA, frame=None)
    for rate_hz in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="rate_hz"):
            replace(EMG, rate_hz=rate_hz)


@pytest.mark.parametrize("spec", [EMG, CAMERA, THERMAL, TASK], ids=lambda spec: spec.name)
def test_specs_travel_between_processes_and_empty_blocks_are_legal(spec) -> None:
    assert pickle.loads(pickle.dumps(spec)) == spec
    nothing = empty_block(spec, 3)
    assert (len(nothing), nothing.first, nothing.end) == (0, 3, 3)
