"""A rectified envelope in a file is recognised; raw EMG is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from processing.envelope import is_envelope
from zygoma.analyze import Inputs
from zygoma.envelope_input import with_envelope


def inputs(rate_hz: float, lowest_uv: float) -> Inputs:
    spec = StreamSpec(
        "emg", Kind.EMG, (Channel("ZYG_L", "microvolts", "EMG"),), rate_hz, SampleType.FLOAT32, "e"
    )
    data = np.linspace(lowest_uv, 5.0, 100, dtype=np.float32).reshape(-1, 1)
    stamps = np.arange(100) / rate_hz
    blocks = [Block(spec, stamps[a : a + 50], data[a : a + 50], a) for a in (0, 50)]
    return Inputs({Kind.EMG: spec}, {Kind.EMG: iter(blocks)}, 0.0, 1.0, "x")


@pytest.mark.parametrize(
    ("rate_hz", "lowest_uv", "forced", "envelope"),
    [
        (100.0, 0.0, False, True),
        (100.0, -3.0, False, False),  # raw, too slow: refused later with a sentence
        (1000.0, 0.0, False, False),
        (1000.0, 0.0, True, True),
    ],
)
def test_what_is_taken_for_an_envelope(
    rate_hz: float, lowest_uv: float, forced: bool, envelope: bool
) -> None:
    marked = with_envelope(inputs(rate_hz, lowest_uv), forced=forced)
    assert is_envelope(marked.specs[Kind.EMG]) is envelope
    blocks = list(marked.blocks[Kind.EMG])
    assert [block.first for block in blocks] == [0, 50]  # nothing is lost by looking
    assert all(block.spec is marked.specs[Kind.EMG] for block in blocks)


def test_without_emg_there_is_nothing_to_mark() -> None:
    nothing = Inputs({}, {}, 0.0, 1.0, "x")
    assert with_envelope(nothing, forced=True) is nothing
