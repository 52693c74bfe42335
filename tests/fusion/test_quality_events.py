from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from fusion.events import FaceEvent
from fusion.quality import QualityEvents, ThermalQuality
from processing.face_quality import FaceFlag
from processing.thermal_model import ThermalEvent

SPEC = StreamSpec("aus", Kind.ACTION_UNITS, (Channel("flags"),), 10.0, SampleType.FLOAT32, "aus")


def rows(flags: list[int], start_s: float = 0.0, first: int = 0) -> Block:
    stamps = start_s + np.arange(first, first + len(flags)) / 10
    return Block(SPEC, stamps, np.array(flags, np.float32)[:, None], first)


def whole(flags: list[int]) -> list[FaceEvent]:
    events = QualityEvents()
    return [*events.process(rows(flags)), *events.flush()]


def test_a_flag_begins_once_it_has_held_and_ends_with_its_whole_stretch() -> None:
    begin, end = whole([0] * 5 + [FaceFlag.GLASSES] * 20 + [0] * 10)
    assert begin.onset == end.onset == pytest.approx(0.5)
    assert (begin.duration, end.duration) == (0.0, pytest.approx(2.0))
    assert begin.vetoes == ("glasses", "begins")
    assert end.vetoes == ("glasses", "ends")
    assert "glasses suspected" in begin.explanation
    assert "over after 2.0 s" in end.explanation
    assert {event.trial_type for event in (begin, end)} == {"quality"}


def test_single_frames_make_no_event() -> None:
    assert whole([0, FaceFlag.LOST, 0, 0, FaceFlag.BLURRED, FaceFlag.BLURRED, 0, 0]) == []
    flickering = [FaceFlag.SMALL] * 10 + [0] * 2 + [FaceFlag.SMALL] * 10 + [0] * 10
    assert [event.vetoes[1] for event in whole(flickering)] == ["begins", "ends"]


def test_what_is_open_is_closed_at_the_end_and_at_a_pause() -> None:
    events = QualityEvents()
    assert len(events.process(rows([FaceFlag.LOST] * 10))) == 1
    (ended,) = events.process(rows([0] * 3, start_s=60.0))
    assert ended.duration == pytest.approx(0.9)
    assert len(events.process(rows([FaceFlag.LOST] * 10, start_s=60.0, first=3))) == 1
    (ended,) = events.flush()
    assert ended.offset == pytest.approx(61.2)
    assert len({ended.id, "quality-1-end"}) == 2


def test_two_flags_at_once_are_told_apart() -> None:
    both = FaceFlag.LOW_LIGHT | FaceFlag.BLURRED
    names = [event.vetoes for event in whole([both] * 10 + [FaceFlag.LOW_LIGHT] * 10)]
    assert names == [
        ("low_light", "begins"), ("blurred", "begins"), ("blurred", "ends"), ("low_light", "ends")
    ]  # fmt: skip


def test_a_stream_without_flags_says_nothing() -> None:
    spec = StreamSpec("aus", Kind.ACTION_UNITS, (Channel("face"),), 10.0, SampleType.FLOAT32, "aus")
    assert QualityEvents().process(Block(spec, np.array([0.0]), np.ones((1, 1), np.float32), 0)) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 64, 65]), max_size=60), st.integers(0, 60))
def test_any_cutting_gives_the_same_events(flags: list[int], cut: int) -> None:
    cut = min(cut, len(flags))
    events = QualityEvents()
    parts = [*events.process(rows(flags[:cut])), *events.process(rows(flags[cut:], first=cut))]
    assert [*parts, *events.flush()] == whole(flags)


def test_what_the_thermal_camera_tells_is_a_quality_event() -> None:
    thermal = ThermalQuality()
    first = thermal.process([ThermalEvent(3.0, "ffc", "the camera closed its shutter to calibrate")])
    second = thermal.process([ThermalEvent(5.0, "pixels", "dead rows [76]")])
    events = [*first, *second]
    assert {event.trial_type for event in events} == {"quality"}
    assert [event.onset for event in events] == [3.0, 5.0]
    assert len({event.id for event in events}) == 2
    assert events[1].explanation == "Thermal picture: dead rows [76]."
