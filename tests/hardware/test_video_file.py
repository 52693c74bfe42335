"""Video files as cameras: times, rotation, size, damage, pacing; on films made here frame by frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from acquisition.clock import ManualClock
from acquisition.stream import Block, DeviceNotFound, EndOfStream, FrameFormat, InvalidSignal, Source
from hardware.video_file import VideoFile


def picture(number: int, width: int = 480, height: int = 360) -> np.ndarray:
    """A BGR picture that tells its number by its brightness, with a red patch in its upper left corner."""
    image = np.full((height, width, 3), 20 + 8 * (number % 25), np.uint8)
    image[: height // 4, : width // 4] = (0, 0, 255)
    return image


def number_of(image: np.ndarray) -> int:
    return round((float(image[-20:, -20:].mean()) - 20) / 8)


def film(
    path: Path,
    times_ms: list[int],
    *,
    codec: str = "libx264",
    width: int = 480,
    height: int = 360,
    rotation: int = 0,
    aspect: Fraction | None = None,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = width, height
        stream.codec_context.bit_rate = 8_000_000
        stream.codec_context.gop_size = 5
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        # AVI has a frame for every tick; the others keep milliseconds.
        tick = Fraction(1, 25) if path.suffix == ".avi" else Fraction(1, 1000)
        stream.time_base = stream.codec_context.time_base = tick
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="bgr24")
            frame.pts, frame.time_base = int(Fraction(time_ms, 1000) / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def play(source: VideoFile) -> tuple[list[Block], str]:
    """All blocks, and what was said at the end."""
    blocks = []
    with source:
        while True:
            try:
                block = source.read(0.1)
            except EndOfStream as end:
                return blocks, str(end)
            if len(block):
                blocks.append(block)


STEADY = list(range(0, 1000, 40))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("b.mkv", "ffv1"), ("c.avi", "mpeg4")])
def test_every_frame_at_its_time(tmp_path, name, codec):
    source = VideoFile(film(tmp_path / name, STEADY, codec=codec), start_s=50.0)
    assert isinstance(source, Source)
    assert source.spec.frame == FrameFormat(480, 360, "BGR8")
    assert source.spec.rate_hz == pytest.approx(25.0, rel=0.05)
    assert source.duration_s == pytest.approx(1.0, abs=0.05)
    for _ in range(2):  # and again from the start
        blocks, end = play(source)
        assert [block.first for block in blocks] == list(range(25))
        stamps = np.concatenate([block.timestamps for block in blocks])
        np.testing.assert_allclose(stamps, 50.0 + np.array(STEADY) / 1000, atol=1e-3)
        assert [number_of(block.data[0]) for block in blocks] == list(range(25))
        assert "25 frames" in end
        assert "cut off" not in end
        assert source.missing_s == 0.0


def test_variable_frame_rates_keep_their_times(tmp_path):
    times_ms = [0, 33, 67, 200, 500, 517, 1200]
    blocks, _ = play(VideoFile(film(tmp_path / "vfr.mkv", times_ms)))
    stamps = np.concatenate([block.timestamps for block in blocks])
    np.testing.assert_allclose(stamps, np.array(times_ms) / 1000, atol=1e-3)
    assert [block.first for block in blocks] == list(range(7))


@pytest.mark.parametrize(("rotation", "corner"), [(0, "NW"), (90, "SW"), (180, "SE"), (-90, "NE")])
def test_pictures_are_turned_upright(tmp_path, rotation, corner):
    source = VideoFile(film(tmp_path / "turned.mp4", [0, 40], rotation=rotation))
    blocks, _ = play(source)
    image = blocks[0].data[0]
    size = (360, 480) if rotation in (90, -90) else (480, 360)
    assert (source.spec.frame.width, source.spec.frame.height) == size == image.shape[1::-1]
    y = 10 if corner[0] == "N" else image.shape[0] - 10
    x = 10 if corner[1] == "W" else image.shape[1] - 10
    assert image[y, x, 2] > 200 and image[y, x, 0] < 80


@pytest.mark.parametrize(("width", "height", "factor"), [(160, 120, 3), (240, 320, 2), (480, 360, 1)])
def test_small_videos_are_enlarged(tmp_path, width, height, factor):
    path = film(tmp_path / "small.mkv", [0, 40], width=width, height=height)
    source = VideoFile(path)
    blocks, _ = play(source)
    assert blocks[0].data[0].shape == (height * factor, width * factor, 3)
    assert source.spec.metadata.get("enlarged", "1") == str(factor)
    plain, _ = play(VideoFile(path, upscale_small=False))
    assert plain[0].data[0].shape == (height, width, 3)
    expected = cv2.resize(plain[0].data[0], (width * factor, height * factor), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(blocks[0].data[0], expected)


def test_pixels_become_square(tmp_path):
    source = VideoFile(film(tmp_path / "wide.mkv", [0, 40], aspect=Fraction(4, 3)))
    assert source.spec.frame == FrameFormat(640, 360, "BGR8")
    assert play(source)[0][0].data[0].shape == (360, 640, 3)


def test_jpeg_out(tmp_path):
    source = VideoFile(film(tmp_path / "a.mkv", STEADY), encode=True)
    assert source.spec.frame == FrameFormat(480, 360, "MJPG")
    blocks, _ = play(source)
    assert all(block.data[0].startswith(b"\xff\xd8") for block in blocks)
    decoded = cv2.imdecode(np.frombuffer(blocks[7].data[0], np.uint8), cv2.IMREAD_COLOR)
    assert number_of(decoded) == 7


def test_motion_jpeg_is_passed_on_untouched(tmp_path):
    path = film(tmp_path / "mj.mkv", STEADY, codec="mjpeg")
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    blocks, _ = play(VideoFile(path, encode=True))
    assert [block.data[0] for block in blocks] == packets
    np.testing.assert_allclose([block.timestamps[0] for block in blocks], np.array(STEADY) / 1000, atol=1e-3)


def test_pacing_keeps_the_recordings_time(tmp_path):
    clock = ManualClock(start_s=300.0)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.sleep(seconds)

    path = film(tmp_path / "a.mkv", [0, 40, 80, 1000])
    source = VideoFile(path, paced=True, clock=clock, sleep=sleep)
    with source:
        for due_s in (0.0, 0.04, 0.08):
            block = source.read(0.5)
            assert block.timestamps[0] == pytest.approx(300.0 + due_s, abs=1e-3)
            assert clock() == pytest.approx(block.timestamps[0])
        assert len(source.read(0.5)) == 0
        assert len(source.read(0.5)) == 1
        assert clock() == pytest.approx(301.0, abs=2e-3)
        clock.sleep(10.0)  # the reader dawdles: no waiting, and the end comes
        with pytest.raises(EndOfStream):
            source.read(0.5)
    assert max(slept) <= 0.5
    with pytest.raises(ValueError, match="clock"):
        VideoFile(path, paced=True)


def test_looping_goes_on_in_time_and_number(tmp_path):
    clock = ManualClock(start_s=300.0)
    source = VideoFile(
        film(tmp_path / "a.mkv", STEADY), paced=True, loop=True, clock=clock, sleep=clock.sleep
    )
    with source:
        blocks = [source.read(1.0) for _ in range(60)]
    assert [block.first for block in blocks] == list(range(60))
    stamps = np.concatenate([block.timestamps for block in blocks])
    np.testing.assert_allclose(np.diff(stamps), 0.04, atol=2e-3)


def test_a_damaged_frame_is_lost_and_counted(tmp_path):
    path = film(tmp_path / "a.avi", STEADY, codec="mjpeg")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    at = data.index(packets[10])
    data[at : at + len(packets[10])] = b"\x55" * len(packets[10])
    path.write_bytes(data)
    for encode in (False, True):
        blocks, end = play(VideoFile(path, encode=encode))
        assert [block.first for block in blocks] == [*range(10), *range(11, 25)]
        assert "1 could not be decoded" in end
        np.testing.assert_allclose(blocks[10].timestamps, 0.44, atol=2e-3)


def test_a_cut_off_film_is_played_and_told(tmp_path):
    path = film(tmp_path / "a.avi", list(range(0, 4000, 40)), codec="mjpeg")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    blocks, end = play(VideoFile(path))
    assert 30 < len(blocks) < 60
    assert [block.first for block in blocks] == list(range(len(blocks)))
    assert f"{len(blocks)} frames" in end


def test_a_cut_off_film_whose_header_promises_more(tmp_path):
    path = film(tmp_path / "a.mkv", list(range(0, 4000, 40)), codec="mjpeg")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = VideoFile(path)
    blocks, end = play(source)
    assert 30 < len(blocks) < 60
    assert "cut off" in end
    assert source.missing_s == pytest.approx(4.0 - len(blocks) * 0.04, abs=0.1)


def test_a_cut_off_mp4_without_index_is_refused(tmp_path):
    path = film(tmp_path / "a.mp4", STEADY)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(InvalidSignal, match="cut off"):
        VideoFile(path)


def test_what_is_no_video(tmp_path):
    with pytest.raises(DeviceNotFound, match="no video file"):
        VideoFile(tmp_path / "missing.mp4")
    with pytest.raises(DeviceNotFound, match="no video file"):
        VideoFile(tmp_path)
    notes = tmp_path / "notes.mp4"
    notes.write_text("not a film\n" * 50)
    with pytest.raises(InvalidSignal, match="video"):
        VideoFile(notes)
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(InvalidSignal, match="no pictures"):
        VideoFile(sound)


def test_reading_a_closed_file(tmp_path):
    source = VideoFile(film(tmp_path / "it's.mkv", [0, 40]))
    assert "'" not in source.spec.name
    with pytest.raises(EndOfStream, match="not open"):
        source.read(0.0)
