"""EMG channels get the names of their muscles, by name or by number, wherever a stream is read."""

from __future__ import annotations

import numpy as np
import pytest

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec
from zygoma.channel_names import name_channels, under_names


def emg(*labels: str, **metadata: str) -> StreamSpec:
    channels = tuple(Channel(label, "microvolts", "EMG") for label in labels)
    return StreamSpec("rig", Kind.EMG, channels, 1000.0, SampleType.FLOAT32, "rig", metadata=metadata)


def test_names_and_numbers_find_a_channel() -> None:
    spec = emg("left smile", "ch2", "2")
    assert name_channels(spec, {"left smile": "ZYG_L", "1": "COR_L"}).labels == ("ZYG_L", "COR_L", "2")
    assert name_channels(spec, {"2": "ZYG_R"}).labels == ("left smile", "ch2", "ZYG_R"), "a name comes first"
    assert name_channels(spec, {}) is spec


def test_a_board_counts_its_own_channels() -> None:
    spec = emg("ch3", "ch6", channel_numbers="2,5")
    assert name_channels(spec, {"5": "COR_R"}).labels == ("ch3", "COR_R")
    with pytest.raises(InvalidSignal, match=r"no channel '0': choose among 2 \(ch3\), 5 \(ch6\)"):
        name_channels(spec, {"0": "COR_R"})


def test_swapped_leads_are_put_right_and_a_name_is_given_once() -> None:
    spec = emg("ZYG_L", "ZYG_R", "COR_L")
    assert name_channels(spec, {"ZYG_L": "ZYG_R", "ZYG_R": "ZYG_L"}).labels == ("ZYG_R", "ZYG_L", "COR_L")
    assert name_channels(spec, {"2": "ZYG_R"}).labels == ("ZYG_L", "ch2", "ZYG_R")
    with pytest.raises(InvalidSignal, match="both ZYG_L and COR_R"):
        name_channels(spec, {"0": "ZYG_L", "ZYG_L": "COR_R"})


def test_other_streams_keep_their_names_and_blocks_change_nothing_else() -> None:
    markers = StreamSpec("m", Kind.MARKERS, (Channel("marker"),), 0.0, SampleType.STRING, "m")
    assert name_channels(markers, {"marker": "ZYG_L"}) is markers
    spec = emg("a", "b")
    named = name_channels(spec, {"b": "COR_L"})
    taken: list[Block] = []
    block = Block(spec, np.arange(3) / 1000, np.zeros((3, 2), np.float32), 7)
    under_names(named, taken.append)(block)
    assert taken[0].spec is named and taken[0].data is block.data and taken[0].first == 7
