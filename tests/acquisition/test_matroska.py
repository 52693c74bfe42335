import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from acquisition.matroska import (
    FrameReader,
    FrameWriter,
    is_finished,
    remux,
    to_centi_celsius,
    to_centi_kelvin,
)
from acquisition.stream import INVALID_CENTI_CELSIUS, FrameFormat, InvalidSignal

JPEG = FrameFormat(64, 48, "MJPG")
THERMAL = FrameFormat(16, 12, "centi_celsius")


def jpegs(count, seed=0):
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 255, (count, 48, 64, 3), dtype=np.uint8)
    return [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]


def temperatures(count, seed=0):
    return list(np.random.default_rng(seed).integers(1000, 4500, (count, 12, 16)).astype(np.int16))


def write(path, frame, frames, stamps, close=True):
    writer = FrameWriter(path, frame, rate_hz=30.0)
    times = [writer.write(stamp, picture) for stamp, picture in zip(stamps, frames, strict=True)]
    if close:
        writer.close()
    return times


def equal(got, frames):
    return all(
        np.array_equal(a, b) if isinstance(b, np.ndarray) else a == b
        for a, b in zip(got, frames, strict=False)
    )


CASES = [pytest.param(JPEG, jpegs, id="jpeg"), pytest.param(THERMAL, temperatures, id="thermal")]


@pytest.mark.parametrize(("frame", "make"), CASES)
def test_frames_come_back_bit_for_bit_with_their_media_times(frame, make, tmp_path):
    path, frames = tmp_path / "a.mkv", make(20)
    stamps = 5000.0 + np.cumsum(np.random.default_rng(1).uniform(0.01, 0.2, 20))
    times = write(path, frame, frames, stamps)
    np.testing.assert_allclose(times, stamps - stamps[0], atol=0.5001e-3)
    reader = FrameReader(path, frame)
    for _ in range(2):
        got = list(reader)
        assert [time_s for time_s, _ in got] == times
        assert len(got) == 20 and equal([picture for _, picture in got], frames)
    np.testing.assert_array_equal(reader.media_times_s(), times)
    assert is_finished(path)


def test_jpeg_bytes_are_untouched_whatever_follows_their_end(tmp_path):
    # Cameras pad their buffers: such bytes are part of the frame too.
    frames = [jpegs(1)[0] + bytes(100), b"\xff\xd8 not even a picture", jpegs(1)[0]]
    write(tmp_path / "a.mkv", JPEG, frames, [0.0, 0.1, 0.2])
    assert [picture for _, picture in FrameReader(tmp_path / "a.mkv", JPEG)] == frames


def test_other_programs_can_play_the_files(tmp_path):
    write(tmp_path / "a.mkv", JPEG, jpegs(5), np.arange(5) / 30)
    write(tmp_path / "b.mkv", THERMAL, temperatures(5), np.arange(5) / 9)
    capture = cv2.VideoCapture(str(tmp_path / "a.mkv"))
    found, picture = capture.read()
    capture.release()
    assert found and picture.shape == (48, 64, 3)
    with av.open(str(tmp_path / "b.mkv")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("ffv1", "gray16le")
        stored = next(container.decode(stream)).to_ndarray()
    np.testing.assert_array_equal(stored, temperatures(5)[0].astype(int) + 27315)


@given(hnp.arrays(np.int16, (3, 4)))
def test_every_temperature_above_absolute_zero_survives(centi_celsius):
    expected = np.where(centi_celsius <= -27315, INVALID_CENTI_CELSIUS, centi_celsius)
    back = to_centi_celsius(to_centi_kelvin(centi_celsius))
    np.testing.assert_array_equal(back, expected)
    assert back.dtype == np.int16


def test_no_temperature_is_stored_as_zero_kelvin():
    stored = to_centi_kelvin(np.array([INVALID_CENTI_CELSIUS, -27314, 0, 3700, 32767], np.int16))
    np.testing.assert_array_equal(stored, [0, 1, 27315, 31015, 60082])


def test_frames_within_one_millisecond_keep_their_order(tmp_path):
    frames = jpegs(4)
    times = write(tmp_path / "a.mkv", JPEG, frames, [0.0, 0.0001, 0.0002, 0.5])
    assert times == [0.0, 0.001, 0.002, 0.5]
    assert [picture for _, picture in FrameReader(tmp_path / "a.mkv", JPEG)] == frames


@pytest.mark.parametrize(("frame", "make"), CASES)
def test_reading_can_begin_anywhere(frame, make, tmp_path):
    path, frames = tmp_path / "a.mkv", make(30)
    times = write(path, frame, frames, np.arange(30) / 7)
    for start in (0, 1, 13, 29):
        got = [picture for _, picture in FrameReader(path, frame).frames(times[start])]
        assert len(got) == 30 - start and equal(got, frames[start:])
    assert not list(FrameReader(path, frame).frames(times[-1] + 1))


def test_nothing_is_overwritten_and_other_codecs_are_refused(tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        FrameWriter(path, JPEG)
    assert path.read_bytes() == b"mine"
    with pytest.raises(InvalidSignal, match="BGR8"):
        FrameWriter(tmp_path / "b.mkv", FrameFormat(4, 4, "BGR8"))
    assert not (tmp_path / "b.mkv").exists()


@pytest.mark.parametrize("frame", [JPEG, THERMAL])
def test_a_stream_without_a_frame_leaves_a_file_without_frames(frame, tmp_path):
    path = tmp_path / "a.mkv"
    with FrameWriter(path, frame):
        pass
    assert not list(FrameReader(path, frame)) and is_finished(path)
    assert len(FrameReader(path, frame).media_times_s()) == 0


@pytest.mark.parametrize("content", [b"", b"\x1a\x45\xdf\xa3", b"not matroska at all" * 100])
def test_what_is_no_matroska_has_no_frames(content, tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(content)
    assert not list(FrameReader(path, JPEG))
    assert is_finished(path) == (content == b"")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize(("frame", "make"), CASES)
def test_cut_anywhere_the_whole_frames_are_there_and_a_copy_finishes_them(
    frame, make, tmp_path_factory, data
):
    folder = tmp_path_factory.mktemp("cut")
    frames = make(6)
    write(folder / "a.mkv", frame, frames, np.arange(6) / 3)
    whole = (folder / "a.mkv").read_bytes()
    size = data.draw(st.integers(0, len(whole)))
    cut, copy = folder / "cut.mkv", folder / "copy.mkv"
    cut.write_bytes(whole[:size])
    got = [picture for _, picture in FrameReader(cut, frame)]
    assert equal(got, frames)
    assert len(got) <= 6 and (size < len(whole) or len(got) == 6)
    assert remux(cut, copy) == len(got)
    copied = list(FrameReader(copy, frame))
    assert equal([picture for _, picture in copied], frames) and len(copied) == len(got)
    assert [time_s for time_s, _ in copied] == [time_s for time_s, _ in FrameReader(cut, frame)]
    assert not got or is_finished(copy)
    assert is_finished(cut) == (size in (0, len(whole)))


KILLED = """
import sys, time, numpy as np
from pathlib import Path
from acquisition.matroska import FrameWriter
from acquisition.stream import FrameFormat
codec, rate = sys.argv[2], float(sys.argv[3])
writer = FrameWriter(Path(sys.argv[1]), FrameFormat(64, 48, codec), rate_hz=rate)
rng = np.random.default_rng(0)
for k in range(10**9):
    thermal = codec == "centi_celsius"
    frame = rng.integers(0, 4000, (48, 64)).astype(np.int16) if thermal else b"\\xff\\xd8%d" % k + bytes(5000)
    writer.write(k / rate, frame)
    print(k, flush=True)
"""


@pytest.mark.parametrize(("codec", "rate_hz"), [("MJPG", 60.0), ("centi_celsius", 9.0)])
def test_a_kill_costs_less_than_a_second(codec, rate_hz, tmp_path):
    path = tmp_path / "a.mkv"
    command = [sys.executable, "-c", KILLED, str(path), codec, str(rate_hz)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd(), env=os.environ) as process:
        for _ in range(100):
            process.stdout.readline()
        process.kill()
        told = process.stdout.read().split()
    last_s = (int(told[-1]) if told else 99) / rate_hz
    times = FrameReader(path, FrameFormat(64, 48, codec)).media_times_s()
    assert not is_finished(path)
    assert last_s - times[-1] < 1.0
