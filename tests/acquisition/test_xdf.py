import gzip
import logging
import os
import struct
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import pyxdf
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.clock import ManualClock
from acquisition.lsl_metadata import read_xml
from acquisition.stream import Channel, FrameFormat, InvalidSignal, Kind, SampleType, StreamSpec
from acquisition.xdf_format import (
    BOUNDARY,
    FILE_HEADER,
    MAGIC,
    NUMPY_TYPES,
    Tag,
    decode_varlen,
    encode_chunk,
    encode_varlen,
)
from acquisition.xdf_header import FrameIndex, header_of, index_header, read_index_header
from acquisition.xdf_reader import XdfFile
from acquisition.xdf_writer import XdfWriter

HEADER = (
    '<?xml version="1.0"?><info><name>{name}</name><type>{kind}</type><channel_count>{count}</channel_count>'
    "<channel_format>{format}</channel_format><source_id>{name}</source_id>"
    "<nominal_srate>{rate}</nominal_srate><desc/></info>"
)


def header(name, kind="EMG", count=2, channel_format="float32", rate=100.0):
    return HEADER.format(name=name, kind=kind, count=count, format=channel_format, rate=rate)


def add(writer, name, count=2, channel_format="float32", rate=100.0, kind="EMG"):
    return writer.add_stream(header(name, kind, count, channel_format, rate), channel_format, count)


def load_with_pyxdf(path):
    logging.disable(logging.ERROR)
    try:
        streams, _ = pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)
    finally:
        logging.disable(logging.NOTSET)
    return streams


@pytest.fixture
def small(tmp_path):
    """A tiny closed file of two streams and what is in it."""
    path = tmp_path / "small.xdf"
    stamps = 10.0 + np.arange(6) / 100
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    texts = [(b"smile",), (b"\xff\xd8\x00binary",)]
    with XdfWriter(path, clock=ManualClock(10.0)) as writer:
        emg = add(writer, "emg")
        marks = add(writer, "marks", 1, "string", 0.0, "Markers")
        writer.write(emg, stamps[:4], values[:4])
        writer.write_strings(marks, np.array([10.01, 10.02]), texts)
        writer.write(emg, stamps[4:], values[4:])
    return path, stamps, values, texts


def test_every_byte_of_a_samples_chunk_is_as_the_specification_has_it(tmp_path):
    path = tmp_path / "a.xdf"
    with XdfWriter(path, clock=ManualClock(5.0)) as writer:
        emg = add(writer, "emg", 2, "int16")
        before = path.stat().st_size
        writer.write(emg, np.array([1.5, 2.5]), np.array([[1, -2], [3, 4]], np.int16))
        chunk = path.read_bytes()[before:]
    expected = struct.pack("<BB H I BB Bd hh Bd hh", 1, 34, 3, 1, 1, 2, 8, 1.5, 1, -2, 8, 2.5, 3, 4)
    assert chunk == expected
    assert path.read_bytes().startswith(b"XDF:")
    assert path.read_bytes().endswith(struct.pack("<BBH", 1, 18, 5) + BOUNDARY)


@given(st.integers(0, 2**64 - 1))
def test_lengths_come_back_in_the_fewest_bytes(number):
    encoded = encode_varlen(number)
    assert decode_varlen(memoryview(encoded), 0) == (number, len(encoded))
    assert len(encoded) - 1 == (1 if number < 256 else 4 if number < 2**32 else 8)


def test_pyxdf_reads_the_same_stamps_and_values(small):
    path, stamps, values, texts = small
    emg, marks = load_with_pyxdf(path)
    np.testing.assert_array_equal(emg["time_stamps"], stamps)
    np.testing.assert_array_equal(emg["time_series"], values)
    assert marks["time_series"][0] == ["smile"]
    footer = emg["footer"]["info"]
    assert footer["sample_count"] == ["6"]
    assert float(footer["first_timestamp"][0]) == stamps[0]
    assert float(footer["last_timestamp"][0]) == stamps[-1]
    # Our own reader keeps what pyxdf cannot: bytes that are no text.
    assert XdfFile(path).strings(XdfFile(path).streams[1]) == texts


@pytest.mark.parametrize("channel_format", sorted(NUMPY_TYPES))
def test_every_number_format_comes_back_and_agrees_with_pyxdf(channel_format, tmp_path):
    path = tmp_path / "a.xdf"
    rng = np.random.default_rng(1)
    values = (rng.standard_normal((50, 3)) * 100).astype(NUMPY_TYPES[channel_format])
    stamps = np.cumsum(rng.uniform(0.001, 0.1, 50))
    with XdfWriter(path, clock=ManualClock()) as writer:
        writer.write(add(writer, "x", 3, channel_format), stamps, values)
    xdf = XdfFile(path)
    np.testing.assert_array_equal(xdf.numbers(xdf.streams[0]), values)
    np.testing.assert_array_equal(xdf.streams[0].timestamps, stamps)
    np.testing.assert_array_equal(load_with_pyxdf(path)[0]["time_series"], values)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.data())
def test_any_chunking_gives_the_same_samples_back(fresh_path, sizes, data):
    total = sum(sizes)
    values = np.arange(total * 2, dtype=np.float32).reshape(total, 2)
    stamps = 100.0 + np.arange(total) / 7
    texts = [(str(k).encode() * (k % 90), bytes([k % 256])) for k in range(total)]
    path = fresh_path()
    with XdfWriter(path, clock=ManualClock()) as writer:
        numbers, strings = add(writer, "n"), add(writer, "s", 2, "string", 0.0)
        at = 0
        for size in sizes:
            part = slice(at, at + size)
            writer.write(numbers, stamps[part], values[part])
            writer.write_strings(strings, stamps[part], texts[part])
            at += size
    xdf = XdfFile(path)
    first, second = xdf.streams
    start = data.draw(st.integers(0, total))
    stop = data.draw(st.integers(start, total))
    np.testing.assert_array_equal(xdf.numbers(first, start, stop), values[start:stop])
    np.testing.assert_array_equal(first.timestamps, stamps)
    assert xdf.strings(second, start, stop) == texts[start:stop]
    assert xdf.closed_properly


@pytest.fixture(scope="module")
def fresh_path(tmp_path_factory):
    """Gives a new file name each time, within one example after the other."""
    folder, numbers = tmp_path_factory.mktemp("xdf"), count()
    return lambda: folder / f"{next(numbers)}.xdf"


def test_nothing_is_overwritten(small):
    path, *_ = small
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        XdfWriter(path, clock=ManualClock())
    assert path.read_bytes() == before


def test_offsets_come_every_5_s_and_boundaries_every_10_s(tmp_path):
    clock = ManualClock(0.0)
    path = tmp_path / "a.xdf"
    writer = XdfWriter(path, clock=clock)
    add(writer, "early")
    while clock() < 60.0:
        clock.sleep(0.5)
        writer.tick()
        if clock() == 30.0:
            add(writer, "late")
    writer.close()
    writer.close()
    early, late = XdfFile(path).streams
    assert "<value>0.0</value>" in early.footer
    assert [time_s for time_s, _ in early.offsets] == [0.0, *np.arange(5.0, 61.0, 5.0)]
    assert [time_s for time_s, _ in late.offsets] == [30.0, *np.arange(35.0, 61.0, 5.0)]
    assert path.read_bytes().count(BOUNDARY) == 6 + 1


def test_the_file_is_synced_once_a_second(tmp_path, monkeypatch):
    clock = ManualClock(0.0)
    synced = []
    writer = XdfWriter(tmp_path / "a.xdf", clock=clock)
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(clock()))
    for _ in range(40):
        clock.sleep(0.25)
        writer.tick()
    writer.close()
    assert max(np.diff([0.0, *synced])) <= 1.0


def test_a_full_disk_leaves_whole_chunks(tmp_path):
    path = tmp_path / "a.xdf"
    writer = XdfWriter(path, clock=ManualClock())
    emg = add(writer, "emg")
    writer.write(emg, np.array([1.0]), np.ones((1, 2), np.float32))
    real = writer._file

    class Full:
        """Takes 5 bytes and then has no room."""

        taken = False

        def write(self, data):
            if self.taken:
                raise OSError(28, "No space left on device")
            self.taken = True
            return real.write(data[:5])

        def __getattr__(self, name):
            return getattr(real, name)

    writer._file = Full()
    with pytest.raises(OSError, match="No space"):
        writer.write(emg, np.array([2.0]), np.ones((1, 2), np.float32))
    writer._file = real
    writer.write(emg, np.array([3.0]), np.ones((1, 2), np.float32))
    writer.close()
    xdf = XdfFile(path)
    assert xdf.closed_properly
    np.testing.assert_array_equal(xdf.streams[0].timestamps, [1.0, 3.0])


def test_wrong_shapes_and_types_are_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "a.xdf"
    with XdfWriter(path, clock=ManualClock()) as writer:
        emg, marks = add(writer, "emg"), add(writer, "marks", 1, "string")
        before = path.read_bytes()
        with pytest.raises(ValueError, match="2 channels"):
            writer.write(emg, np.zeros(1), np.zeros((1, 3), np.float32))
        with pytest.raises(TypeError, match="strings"):
            writer.write(marks, np.zeros(1), np.zeros((1, 1)))
        with pytest.raises(TypeError, match="numbers"):
            writer.write_strings(emg, np.zeros(1), [(b"a", b"b")])
        with pytest.raises(ValueError, match="1 channels"):
            writer.write_strings(marks, np.zeros(1), [(b"a", b"b")])
        assert path.read_bytes() == before
    with pytest.raises(ValueError, match="closed"):
        writer.write(emg, np.zeros(1), np.zeros((1, 2), np.float32))


def test_many_threads_may_write_at_once(tmp_path):
    path = tmp_path / "a.xdf"
    with XdfWriter(path, clock=ManualClock()) as writer:

        def run(name):
            stream = add(writer, name, 1, "int32")
            for k in range(200):
                writer.write(stream, np.array([float(k)]), np.array([[k]], np.int32))

        threads = [threading.Thread(target=run, args=(f"s{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    xdf = XdfFile(path)
    assert xdf.closed_properly and len(xdf.streams) == 4
    for stream in xdf.streams:
        np.testing.assert_array_equal(xdf.numbers(stream)[:, 0], np.arange(200))


def test_cut_anywhere_it_gives_the_whole_chunks_and_no_error(small, tmp_path):
    path, stamps, values, texts = small
    whole = path.read_bytes()
    cut = tmp_path / "cut.xdf"
    counts = []
    cut.write_bytes(whole)
    for size in reversed(range(len(whole))):
        os.truncate(cut, size)
        if size < 4:
            with pytest.raises(InvalidSignal):
                XdfFile(cut)
            continue
        xdf = XdfFile(cut)
        assert not xdf.closed_properly or size >= len(whole) - 20
        total = 0
        for stream in xdf.streams:
            total += len(stream)
            if stream.is_string:
                assert xdf.strings(stream) == texts[: len(stream)]
            else:
                np.testing.assert_array_equal(xdf.numbers(stream), values[: len(stream)])
                np.testing.assert_array_equal(stream.timestamps, stamps[: len(stream)])
        counts.append(total)
    assert counts == sorted(counts, reverse=True) and set(counts) == {0, 4, 6, 8}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bytes_gone_bad_never_raise_anything_unclean(fresh_path, data):
    path = fresh_path()
    with XdfWriter(path, clock=ManualClock()) as writer:
        emg, marks = add(writer, "emg"), add(writer, "m", 1, "string", 0.0)
        for k in range(3):
            writer.write(emg, np.array([float(k)]), np.ones((1, 2), np.float32))
            writer.write_strings(marks, np.array([float(k)]), [(b"text",)])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    xdf = XdfFile(path)
    for stream in xdf.streams:
        samples = xdf.strings(stream) if stream.is_string else xdf.numbers(stream)
        assert len(samples) == len(stream.timestamps)


def test_reading_goes_on_behind_the_boundary_after_a_bad_stretch(tmp_path):
    path = tmp_path / "a.xdf"
    clock = ManualClock(0.0)
    writer = XdfWriter(path, clock=clock)
    emg = add(writer, "emg", 1, "int32")
    marks = []
    for k in range(40):
        marks.append(path.stat().st_size)
        writer.write(emg, np.array([float(k)]), np.array([[k]], np.int32))
        clock.sleep(1.0)
        writer.tick()
    writer.close()
    content = bytearray(path.read_bytes())
    content[marks[12]] = 77  # no length is 77 bytes wide
    path.write_bytes(content)
    xdf = XdfFile(path)
    (damage,) = xdf.damage
    assert damage.offset == marks[12] and not damage.at_end
    got = xdf.numbers(xdf.streams[0])[:, 0].tolist()
    assert got == [*range(12), *range(20, 40)]
    assert load_with_pyxdf(path)[0]["time_series"][:, 0].tolist() == got


def test_a_kind_of_chunk_that_another_program_added_is_passed_over(small, tmp_path):
    path, stamps, values, _ = small
    whole = path.read_bytes()
    header = encode_chunk(Tag.FILE_HEADER, FILE_HEADER)
    begin = len(MAGIC) + len(header)
    for place in (begin, len(whole)):
        added = tmp_path / f"{place}.xdf"
        added.write_bytes(whole[:place] + encode_chunk(99, b"theirs") + whole[place:])
        xdf = XdfFile(added)
        assert xdf.closed_properly
        np.testing.assert_array_equal(xdf.numbers(xdf.streams[0]), values)
        np.testing.assert_array_equal(load_with_pyxdf(added)[0]["time_stamps"], stamps)


def _foreign(path, chunks, channel_format="float32", rate=100.0):
    """A file as other recorders write it: some samples without stamps."""
    text = header("emg", "EMG", 2, channel_format, rate)
    parts = [b"XDF:", encode_chunk(Tag.FILE_HEADER, b"<info><version>1.0</version></info>")]
    parts.append(encode_chunk(Tag.STREAM_HEADER, struct.pack("<I", 1), text.encode()))
    for chunk in chunks:
        content = b"".join(
            (b"\0" if stamp is None else struct.pack("<Bd", 8, stamp)) + value for stamp, value in chunk
        )
        parts.append(encode_chunk(Tag.SAMPLES, struct.pack("<I", 1), encode_varlen(len(chunk)), content))
    path.write_bytes(b"".join(parts))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=30), min_size=1, max_size=6))
def test_stamps_that_are_left_out_are_counted_on_exactly_as_pyxdf_does(fresh_path, stamped):
    path = fresh_path()
    number = 0
    chunks = []
    for flags in stamped:
        chunk = []
        for flag in flags:
            value = struct.pack("<ff", number, -number)
            chunk.append((50.0 + number * 0.0101 if flag else None, value))
            number += 1
        chunks.append(chunk)
    _foreign(path, chunks)
    xdf = XdfFile(path)
    (other,) = load_with_pyxdf(path)
    np.testing.assert_array_equal(xdf.streams[0].timestamps, other["time_stamps"])
    np.testing.assert_array_equal(xdf.numbers(xdf.streams[0]), other["time_series"])


def test_a_huge_count_in_a_small_chunk_is_damage_not_memory(tmp_path):
    path = tmp_path / "a.xdf"
    _foreign(path, [[(1.0, struct.pack("<ff", 1, 2))]])
    bad = encode_chunk(Tag.SAMPLES, struct.pack("<I", 1), encode_varlen(2**60), b"\0" * 9)
    path.write_bytes(path.read_bytes() + bad)
    xdf = XdfFile(path)
    assert len(xdf.streams[0]) == 1 and len(xdf.damage) == 1


def test_what_is_not_xdf_is_refused(tmp_path):
    path = tmp_path / "a.xdf"
    for content in (b"", b"XD", b"RIFF1234"):
        path.write_bytes(content)
        with pytest.raises(InvalidSignal, match="does not begin with"):
            XdfFile(path)


def test_a_gzipped_file_is_read(small, tmp_path):
    path, _, values, _ = small
    packed = tmp_path / "a.xdfz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    xdf = XdfFile(packed)
    np.testing.assert_array_equal(xdf.numbers(xdf.streams[0]), values)


KILLED = """
import sys, time, numpy as np
from pathlib import Path
from acquisition.xdf_writer import XdfWriter
writer = XdfWriter(Path(sys.argv[1]), clock=time.monotonic)
stream = writer.add_stream(sys.argv[2], "int32", 2)
for k in range(10**9):
    writer.write(stream, np.array([time.monotonic()]), np.array([[k, k]], np.int32))
    writer.tick()
    print(k, flush=True)
"""


def test_killed_at_any_instant_all_that_was_written_is_there(tmp_path):
    path = tmp_path / "a.xdf"
    command = [sys.executable, "-c", KILLED, str(path), header("emg", "EMG", 2, "int32")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as process:
        for _ in range(200):
            process.stdout.readline()
        process.kill()
        told = process.stdout.read().split()
    last = int(told[-1]) if told else 199
    xdf = XdfFile(path)
    got = xdf.numbers(xdf.streams[0])[:, 0]
    np.testing.assert_array_equal(got, np.arange(len(got)))
    assert len(got) >= last
    assert not xdf.closed_properly


# ---------------------------------------------------------------------------------------- headers

EMG = StreamSpec(
    "EMG",
    Kind.EMG,
    (Channel("ZYG_L", "microvolts", "EMG"), Channel("COR_R", "microvolts", "EMG")),
    999.9731,
    SampleType.FLOAT32,
    "emg-1",
    metadata={"device": "Board <1> & 2"},
)
THERMAL = StreamSpec(
    "Thermal",
    Kind.THERMAL,
    (Channel("frame_number"), Channel("ffc")),
    0.0,
    SampleType.INT16,
    "thermal-1",
    FrameFormat(16, 12, "centi_celsius"),
    {"radiometric": "true"},
)


def test_a_spec_comes_back_from_its_header():
    assert read_xml(header_of(EMG)).spec == EMG


def test_a_stream_without_source_id_is_filed_under_its_name():
    assert read_xml(header_of(replace(EMG, source_id=""))).spec.source_id == "EMG"


def test_an_index_header_carries_the_whole_spec_of_the_frames():
    index = FrameIndex(THERMAL, "a_thermal.mkv")
    assert index.labels == ("frame_number", "media_time_s", "device_frame_number", "ffc")
    assert read_index_header(index_header(index)) == index


@pytest.mark.parametrize("xml", ["<info/>", "<info><desc><frames/></desc></info>"])
def test_a_broken_index_header_is_refused(xml):
    with pytest.raises(ValueError, match=r"index|Expecting"):
        read_index_header(xml)
