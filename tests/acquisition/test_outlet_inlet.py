"""What goes in at an outlet comes out at an inlet: bit-exact, in order, with every loss accounted for."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pylsl
import pytest

from acquisition.clock import lsl_clock
from acquisition.inlet import LslInlet, slewed
from acquisition.outlet import LslOutlet
from acquisition.stream import (
    Block,
    Channel,
    DeviceLost,
    DeviceNotFound,
    FrameFormat,
    InvalidSignal,
    Kind,
    SampleType,
    Source,
    StreamSpec,
    empty_block,
)

_ids = itertools.count()


def emg_spec(rate_hz: float = 500.0, **changes) -> StreamSpec:
    number = next(_ids)
    channels = tuple(Channel(label, "microvolts", "EMG") for label in ("ZYG_L", "COR_L"))
    fields = {"channels": channels, "dtype": SampleType.FLOAT32, "kind": Kind.EMG} | changes
    return StreamSpec(name=f"s{number}", rate_hz=rate_hz, source_id=f"id-{number}", **fields)


def camera_spec(rate_hz: float = 30.0) -> StreamSpec:
    number = next(_ids)
    return StreamSpec(
        f"cam{number}",
        Kind.CAMERA,
        (Channel("jpeg"), Channel("frame_number")),
        rate_hz,
        SampleType.STRING,
        f"cam-{number}",
        FrameFormat(64, 48, "MJPG"),
    )


@contextmanager
def connected(spec: StreamSpec, **options) -> Iterator[tuple[LslOutlet, LslInlet]]:
    with LslOutlet(spec) as outlet, LslInlet(spec, **options) as inlet:
        assert outlet.wait_for_consumers(5.0)
        yield outlet, inlet


@contextmanager
def foreign(spec: StreamSpec, info: pylsl.StreamInfo) -> Iterator[tuple[pylsl.StreamOutlet, LslInlet]]:
    outlet = pylsl.StreamOutlet(info)
    with LslInlet(spec) as inlet:
        assert outlet.wait_for_consumers(5.0)
        yield outlet, inlet


def receive(inlet: LslInlet, count: int) -> list[Block]:
    """Blocks with `count` samples in all."""
    blocks: list[Block] = []
    for _ in range(200):
        if sum(map(len, blocks)) >= count:
            break
        block = inlet.read(1.0)
        if len(block):
            blocks.append(block)
    assert sum(map(len, blocks)) == count
    return blocks


def joined(blocks: list[Block]) -> Block:
    """The blocks as one, which they are unless there is a gap between them."""
    assert all(a.end == b.first for a, b in itertools.pairwise(blocks))
    times = np.concatenate([block.timestamps for block in blocks])
    if isinstance(blocks[0].data, np.ndarray):
        return Block(
            blocks[0].spec, times, np.concatenate([block.array for block in blocks]), blocks[0].first
        )
    return Block(blocks[0].spec, times, tuple(itertools.chain(*(b.data for b in blocks))), blocks[0].first)


def stamps(count: int, rate_hz: float) -> np.ndarray:
    return lsl_clock() + np.arange(count) / rate_hz


def test_numbers_are_exact_and_in_order():
    spec = emg_spec()
    counter = np.arange(3000, dtype=np.float32)
    data = np.column_stack((counter, np.random.default_rng(0).normal(size=3000).astype(np.float32)))
    times = stamps(3000, spec.rate_hz)
    with connected(spec) as (outlet, inlet):
        assert isinstance(inlet, Source)
        assert outlet.have_consumers
        for start in range(0, 3000, 70):
            outlet.push(Block(spec, times[start : start + 70], data[start : start + 70], start))
        block = joined(receive(inlet, 3000))
        np.testing.assert_array_equal(block.array, data)
        np.testing.assert_array_equal(block.timestamps, times)
        assert block.first == 0
        health = inlet.health
        assert (health.received, health.lost, health.gaps, health.dropped_disordered) == (3000, 0, 0, 0)
        assert health.clock_offset_s == 0.0
        assert health.last_stamp_s == times[-1]
        assert inlet.take_incidents() == []


@pytest.mark.parametrize("dtype", [t for t in SampleType if t is not SampleType.STRING])
def test_every_number_type(dtype):
    spec = emg_spec(kind=Kind.MUSCLE_ACTIVITY, dtype=dtype)
    data = np.array([[1, -2], [300, 32767]], dtype=dtype.value)
    with connected(spec) as (outlet, inlet):
        outlet.push(Block(spec, stamps(2, 500.0), data, 0))
        block = joined(receive(inlet, 2))
        assert block.array.dtype == data.dtype
        np.testing.assert_array_equal(block.array, data)
        with pytest.raises(ValueError):
            block.array[0, 0] = 5


def test_blocks_split_at_gaps_and_lost_samples_are_numbered():
    spec = emg_spec()
    true = np.concatenate((np.arange(100), np.arange(150, 250), np.arange(251, 300)))
    times = lsl_clock() - 1.0 + true / spec.rate_hz
    data = np.column_stack((true, true)).astype(np.float32)
    with connected(spec) as (outlet, inlet):
        outlet.push(Block(spec, times, data, 0))
        blocks = receive(inlet, len(true))
        for block in blocks:
            np.testing.assert_array_equal(block.array[:, 0], block.first + np.arange(len(block)))
        assert (inlet.health.lost, inlet.health.gaps) == (51, 2)
        incidents = inlet.take_incidents()
        assert [(incident.kind, incident.lost) for incident in incidents] == [("gap", 50), ("gap", 1)]
        assert spec.name in incidents[0].sentence
        assert inlet.take_incidents() == []


def test_disordered_stamps_are_dropped_and_counted():
    spec = emg_spec(0.0)
    now = lsl_clock()
    times = now + np.array([0.0, 0.1, 0.05, 0.1, np.nan, 0.2])
    with connected(spec) as (outlet, inlet):
        # Block and LslOutlet would refuse none of this; other programs do send it.
        outlet._outlet.push_chunk(np.arange(12, dtype=np.float32).reshape(6, 2), times.tolist())
        block = joined(receive(inlet, 3))
        np.testing.assert_array_equal(block.timestamps, times[[0, 1, 5]])
        assert block.array[:, 0].tolist() == [0.0, 2.0, 10.0]
        assert (block.first, block.end) == (0, 3)
        assert inlet.health.dropped_disordered == 3


def test_jpeg_bytes_are_exact():
    spec = camera_spec()
    random = np.random.default_rng(1)
    jpegs = tuple(
        b"\xff\xd8" + random.integers(0, 256, size, dtype=np.uint8).tobytes() + b"\x00\x00\xff\xd9"
        for size in (0, 1, 60_000, 300_000)
    )
    with connected(spec) as (outlet, inlet):
        outlet.push(Block(spec, stamps(4, 30.0), jpegs, 41))
        block = joined(receive(inlet, 4))
        assert block.data == jpegs
        assert block.first == 41


def test_camera_gaps_come_from_the_frame_number():
    spec = camera_spec()
    times = stamps(4, 30.0)
    with connected(spec) as (outlet, inlet):
        for index, number in enumerate((7, 8, 12, 13)):
            outlet.push(Block(spec, times[index : index + 1], (b"\xff\xd8x",), number))
        assert [block.first for block in receive(inlet, 4)][-1] in (12, 13)
        assert inlet.health.lost == 3


def test_a_camera_sample_without_a_picture_is_a_lost_frame():
    spec = camera_spec()
    times = stamps(4, 30.0)
    with connected(spec) as (outlet, inlet):
        outlet.push(Block(spec, times, (b"a", b"", b"c", b"d"), 0))
        numbered = [(b.first + i, jpeg) for b in receive(inlet, 3) for i, jpeg in enumerate(b.data)]
        assert numbered == [(0, b"a"), (2, b"c"), (3, b"d")]
        assert inlet.health.lost == 1


def test_thermal_frames():
    spec = StreamSpec(
        f"thermal{next(_ids)}",
        Kind.THERMAL,
        (Channel("frame_number"), Channel("ffc")),
        0.0,
        SampleType.INT16,
        f"thermal-{next(_ids)}",
        FrameFormat(160, 120, "centi_celsius"),
    )
    frames = np.random.default_rng(2).integers(2000, 4000, (6, 160 * 120 + 2)).astype(np.int16)
    frames[:, -2] = np.array([32766, 32767, 0, 1, 4, 5])
    frames[:, -1] = 0
    with connected(spec) as (outlet, inlet):
        for index in range(6):
            outlet.push(Block(spec, np.array([lsl_clock() + index / 9]), frames[index : index + 1], index))
        blocks = receive(inlet, 6)
        np.testing.assert_array_equal(np.concatenate([block.array for block in blocks]), frames)
        assert blocks[0].first == 32766
        assert blocks[-1].end == 32768 + 6
        assert inlet.health.lost == 2


@pytest.mark.parametrize("kind", [Kind.MARKERS, Kind.FACE_EVENTS])
def test_texts(kind):
    spec = emg_spec(0.0, kind=kind, channels=(Channel("text"),), dtype=SampleType.STRING)
    texts = ("start", "Überraschung 驚き", "", '{"onset": 1}')
    with connected(spec) as (outlet, inlet):
        outlet.push(Block(spec, stamps(4, 10.0), texts, 0))
        assert joined(receive(inlet, 4)).data == texts


def test_markers_of_other_programs():
    """Numbers and several columns, as stimulus programs send them; bytes that are no UTF-8."""
    number = next(_ids)
    info = pylsl.StreamInfo(f"m{number}", "Markers", 1, 0.0, "int32", f"m-{number}")
    spec = StreamSpec(info.name(), Kind.MARKERS, (Channel("ch1"),), 0.0, SampleType.STRING, info.source_id())
    with foreign(spec, info) as (outlet, inlet):
        outlet.push_sample([42])
        assert receive(inlet, 1)[0].data == ("42",)
    info = pylsl.StreamInfo(f"n{number}", "Markers", 2, 0.0, "string", f"n-{number}")
    spec = StreamSpec(
        info.name(), Kind.MARKERS, (Channel("texts"),), 0.0, SampleType.STRING, info.source_id()
    )
    with foreign(spec, info) as (outlet, inlet):
        outlet.push_sample(["stim", b"caf\xe9"])
        assert receive(inlet, 1)[0].data == ("stim\tcafé",)


def test_emg_in_volts_arrives_in_microvolts():
    number = next(_ids)
    info = pylsl.StreamInfo(f"v{number}", "EMG", 1, 100.0, "double64", f"v-{number}")
    info.set_channel_labels(["ZYG_L"])
    info.set_channel_units("volts")
    channels = (Channel("ZYG_L", "microvolts", "EMG"),)
    spec = StreamSpec(info.name(), Kind.EMG, channels, 100.0, SampleType.FLOAT32, info.source_id())
    with foreign(spec, info) as (outlet, inlet):
        outlet.push_sample([12.5e-6])
        block = receive(inlet, 1)[0]
        assert block.array.dtype == np.float32
        assert block.array[0, 0] == np.float32(12.5)


def test_a_camera_of_another_program_without_frame_numbers():
    number = next(_ids)
    info = pylsl.StreamInfo(f"c{number}", "Camera", 1, 30.0, "string", f"c-{number}")
    node = info.desc().append_child("encoding")
    node.append_child_value("width", "8")
    node.append_child_value("height", "6")
    spec = StreamSpec(
        info.name(),
        Kind.CAMERA,
        (Channel("jpeg"),),
        30.0,
        SampleType.STRING,
        info.source_id(),
        FrameFormat(8, 6, "MJPG"),
    )
    times = stamps(20, 30.0)
    times[15:] += 3 / 30
    with foreign(spec, info) as (outlet, inlet):
        for time_s in times:
            outlet.push_sample([b"\xff\xd8\x00"], float(time_s))
        blocks = receive(inlet, 20)
        assert blocks[0].data[0] == b"\xff\xd8\x00"
        assert blocks[-1].end == 23


def test_two_streams_of_one_source_id_are_told_apart_by_name():
    first = emg_spec()
    second = replace(first, name=f"{first.name}-accelerometer", channels=first.channels[:1])
    with connected(first) as (one, inlet), connected(second) as (other, its_inlet):
        one.push(Block(first, stamps(2, 500.0), np.ones((2, 2), np.float32), 0))
        other.push(Block(second, stamps(3, 500.0), np.full((3, 1), 2.0, np.float32), 0))
        assert joined(receive(inlet, 2)).array.tolist() == [[1.0, 1.0]] * 2
        assert joined(receive(its_inlet, 3)).array.tolist() == [[2.0]] * 3


def test_a_stream_without_source_id_is_found_by_name_and_lost_for_good():
    number = next(_ids)
    info = pylsl.StreamInfo(f"anon{number}", "Markers", 1, 0.0, "string", "")
    spec = StreamSpec(info.name(), Kind.MARKERS, (Channel("ch1"),), 0.0, SampleType.STRING, "")
    outlet = pylsl.StreamOutlet(info)
    with LslInlet(spec) as inlet:
        assert outlet.wait_for_consumers(5.0)
        outlet.push_sample(["x"])
        assert receive(inlet, 1)[0].data == ("x",)
        del outlet
        with pytest.raises(DeviceLost, match=info.name()):
            for _ in range(50):
                inlet.read(0.2)


def test_reading_too_late_overflows_and_is_counted():
    spec = camera_spec()
    # The clock of the reader runs ahead: what arrives looks old, as it is when it waited in a full buffer.
    with connected(spec, clock=lambda: lsl_clock() + 5.0, buffer_s=2.0) as (outlet, inlet):
        times = stamps(2, 30.0)
        outlet.push(Block(spec, times[:1], (b"\xff\xd8",), 0))
        outlet.push(Block(spec, times[1:], (b"\xff\xd8",), 90))
        receive(inlet, 2)
        (incident,) = [i for i in inlet.take_incidents() if i.kind != "silence"]
        assert (incident.kind, incident.lost) == ("overflow", 89)


def test_silence_and_return_are_told_once():
    spec = emg_spec()
    late_s = [0.0]
    with connected(spec, clock=lambda: lsl_clock() + late_s[0]) as (outlet, inlet):
        start_s = lsl_clock()
        block = Block(spec, start_s + np.arange(10) / 500, np.zeros((10, 2), np.float32), 0)
        outlet.push(block)
        receive(inlet, 10)
        late_s[0] = 3.0
        assert len(inlet.read(0.0)) == 0
        assert len(inlet.read(0.0)) == 0
        (silence,) = inlet.take_incidents()
        assert silence.kind == "silence"
        assert silence.seconds >= 1.0
        back = Block(spec, start_s + 3.0 + np.arange(10) / 500, np.zeros((10, 2), np.float32), 0)
        outlet.push(back)
        assert joined(receive(inlet, 10)).first == 1500
        (incident,) = inlet.take_incidents()
        assert (incident.kind, incident.lost) == ("reconnected", 1490)
        assert incident.seconds == pytest.approx(3.0 - 9 / 500)
        assert (inlet.health.reconnects, inlet.health.lost) == (1, 1490)


def test_markers_are_never_silent():
    spec = emg_spec(0.0, kind=Kind.MARKERS, channels=(Channel("text"),), dtype=SampleType.STRING)
    late_s = [0.0]
    with connected(spec, clock=lambda: lsl_clock() + late_s[0]) as (_, inlet):
        late_s[0] = 60.0
        assert inlet.read(0.0).data == ()
        assert inlet.take_incidents() == []


def test_read_waits_in_a_thread_and_close_ends_it():
    spec = emg_spec()
    with connected(spec) as (outlet, inlet):
        got: list[object] = []

        def reader() -> None:
            try:
                while True:
                    got.append(len(inlet.read(10.0)))
            except DeviceLost as error:
                got.append(error)

        thread = threading.Thread(target=reader)
        thread.start()
        outlet.push(Block(spec, stamps(3, 500.0), np.zeros((3, 2), np.float32), 0))
        for _ in range(500):
            if sum(count for count in got if isinstance(count, int)) == 3:
                break
            threading.Event().wait(0.01)
        inlet.close()
        thread.join(5.0)
        assert not thread.is_alive()
        assert sum(count for count in got if isinstance(count, int)) == 3
        assert isinstance(got[-1], DeviceLost)


def test_reading_before_opening():
    with pytest.raises(DeviceLost, match="not open"):
        LslInlet(emg_spec()).read(0.0)


def test_a_missing_stream_is_told_with_those_there_are():
    there = camera_spec()
    missing = emg_spec()
    with LslOutlet(there), pytest.raises(DeviceNotFound, match=there.name):
        LslInlet(missing, open_timeout_s=0.3).open()


def test_a_stream_that_changed_is_refused():
    spec = emg_spec()
    channels = tuple(Channel(label, "microvolts", "EMG") for label in ("ZYG_R", "COR_R"))
    changed = replace(spec, channels=channels)
    with LslOutlet(changed), pytest.raises(InvalidSignal, match="ZYG_R"):
        LslInlet(spec).open()


def test_a_source_that_comes_back_with_other_channels_is_refused():
    spec = emg_spec()
    outlet, values = LslOutlet(spec), np.ones((1, 2), np.float32)
    late_s = [0.0]
    with LslInlet(spec, clock=lambda: lsl_clock() + late_s[0]) as inlet:
        assert outlet.wait_for_consumers(5.0)
        outlet.push(Block(spec, stamps(1, 500.0), values, 0))
        receive(inlet, 1)
        outlet.close()
        late_s[0] = 2.0  # long enough a pause to ask who is there
        with LslOutlet(replace(spec, channels=spec.channels[::-1])) as back:
            assert back.wait_for_consumers(20.0)
            back.push(Block(spec, stamps(1, 500.0), values, 0))
            with pytest.raises(InvalidSignal, match="came back with COR_L, ZYG_L"):
                receive(inlet, 1)
            with pytest.raises(DeviceLost, match="not open"):
                inlet.read(0.1)


def test_bad_pushes_are_refused():
    spec = emg_spec()
    other = emg_spec(channels=(Channel("one", "microvolts", "EMG"),))
    cam = camera_spec()
    picture = (np.zeros((4, 4, 3), np.uint8),)
    with LslOutlet(spec) as outlet, LslOutlet(cam) as camera:
        outlet.push(empty_block(spec))
        for stamp_s in (0.0, -1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match="positive"):
                outlet.push(Block(spec, np.array([1.0, stamp_s]), np.zeros((2, 2), np.float32), 0))
        with pytest.raises(ValueError, match="columns"):
            outlet.push(Block(other, np.array([1.0]), np.zeros((1, 1), np.float32), 0))
        with pytest.raises(ValueError, match="encode"):
            camera.push(Block(cam, np.array([1.0]), picture, 0))
    with pytest.raises(ValueError, match="closed"):
        outlet.push(Block(spec, np.array([1.0]), np.zeros((1, 2), np.float32), 0))


@pytest.mark.parametrize("change", [{"name": "it's"}, {"name": ""}, {"source_id": ""}, {"source_id": 'a"b'}])
def test_streams_that_could_not_be_found_again_are_not_announced(change):
    with pytest.raises(ValueError, match="source id"):
        LslOutlet(replace(emg_spec(), **change))


def test_rate_is_measured_by_the_stamps():
    spec = emg_spec(500.0)
    with connected(spec) as (outlet, inlet):
        times = lsl_clock() + np.arange(600) / 498.0
        assert np.isnan(inlet.health.effective_rate_hz)
        for start in range(0, 600, 200):
            outlet.push(Block(spec, times[start : start + 200], np.zeros((200, 2), np.float32), start))
            receive(inlet, 200)
        assert inlet.health.lost == 0
        assert inlet.health.effective_rate_hz == pytest.approx(498.0)


@pytest.mark.parametrize(
    ("offset_s", "measured_s", "elapsed_s", "expected_s"),
    [(0.0, 1e-5, 1.0, 1e-5), (0.0, 0.01, 1.0, 2e-4), (5.0, 4.99, 2.0, 5.0 - 4e-4), (5.0, 900.0, 1.0, 900.0)],
)
def test_clock_offsets_move_slowly_unless_a_clock_was_set(offset_s, measured_s, elapsed_s, expected_s):
    assert slewed(offset_s, measured_s, elapsed_s) == pytest.approx(expected_s)


def test_stamps_of_another_machine_are_brought_to_this_clock(monkeypatch: pytest.MonkeyPatch):
    from acquisition import network

    spec = emg_spec()
    monkeypatch.setattr(network, "reaches_lan", lambda: True)
    monkeypatch.setattr(pylsl.StreamInlet, "time_correction", lambda *_: 1000.0)
    with connected(spec) as (outlet, inlet):
        times = stamps(5, 500.0)
        outlet.push(Block(spec, times, np.zeros((5, 2), np.float32), 0))
        block = joined(receive(inlet, 5))
        np.testing.assert_allclose(block.timestamps, times + 1000.0, rtol=0, atol=1e-9)
        assert inlet.health.clock_offset_s == 1000.0
    # Same name and same clock: this machine.
    monkeypatch.setattr(pylsl.StreamInlet, "time_correction", lambda *_: 2e-5)
    spec = emg_spec()
    with connected(spec) as (outlet, inlet):
        outlet.push(Block(spec, times, np.zeros((5, 2), np.float32), 0))
        np.testing.assert_array_equal(joined(receive(inlet, 5)).timestamps, times)
        assert inlet.health.clock_offset_s == 0.0
