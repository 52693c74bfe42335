"""Thermal recordings of every format: exact temperatures, times, cut-off files, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from cptv import CPTVWriter, Frame
from numpy.typing import NDArray

from acquisition.clock import ManualClock
from acquisition.stream import Block, DeviceNotFound, EndOfStream, InvalidSignal, Source
from hardware.thermal_file import ThermalFile

COUNT, HEIGHT, WIDTH = 20, 120, 160


@pytest.fixture(scope="module")
def counts() -> NDArray[np.uint16]:
    rng = np.random.default_rng(4)
    celsius = np.full((COUNT, HEIGHT, WIDTH), 22.0)
    celsius[:, 30:90, 50:110] = 34.0
    celsius += rng.normal(0, 0.05, celsius.shape) + np.arange(COUNT)[:, None, None] * 0.01
    return np.asarray(np.round((celsius + 273.15) * 100), np.uint16)


def write_npz(path: Path, counts: NDArray[np.uint16]) -> None:
    np.savez(path, frames=counts, seconds=50.0 + np.arange(COUNT) * 0.114)


def write_tiff(path: Path, counts: NDArray[np.uint16]) -> None:
    tifffile.imwrite(path, counts, photometric="minisblack")


def write_mkv(path: Path, counts: NDArray[np.uint16]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(1000, 114))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray16le"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, picture in enumerate(counts):
            frame = av.VideoFrame.from_ndarray(picture, format="gray16le")
            frame.pts, frame.time_base = i * 114, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_cptv(path: Path, counts: NDArray[np.uint16]) -> None:
    writer = CPTVWriter(path.open("wb"))
    for i, picture in enumerate(counts):
        ffc = timedelta(seconds=1 if i < 12 else 61)
        writer.write_frame(Frame(picture, timedelta(milliseconds=60000 + 114 * i), ffc, 30.0, 29.0))
    writer.close()


def write_y16(path: Path, counts: NDArray[np.uint16]) -> None:
    import gzip
    import json
    import struct

    header = json.dumps({"width": WIDTH, "height": HEIGHT}).encode()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"PTY16V1\n" + struct.pack("<I", len(header)) + header)
        for i, picture in enumerate(counts):
            file.write(struct.pack("<Qdq", i, 1.7e9 + 0.114 * i, 0) + picture.astype("<u2").tobytes())


FORMATS: dict[str, Callable[[Path, NDArray[np.uint16]], None]] = {
    "a.npz": write_npz,
    "a.tif": write_tiff,
    "a.mkv": write_mkv,
    "a.cptv": write_cptv,
    "a.raw.y16.gz": write_y16,
}


def read_all(source: ThermalFile) -> list[Block]:
    blocks = []
    with source:
        while True:
            try:
                blocks.append(source.read(1.0))
            except EndOfStream:
                return blocks


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_gives_the_same_temperatures_and_times(
    name: str, tmp_path: Path, counts: NDArray[np.uint16]
) -> None:
    FORMATS[name](tmp_path / name, counts)
    source = ThermalFile(tmp_path / name, rate_hz=1 / 0.114 if name == "a.tif" else None)
    assert isinstance(source, Source) and "0.01 K per count" in source.spec.metadata["evidence"]
    blocks = read_all(source)
    data = np.concatenate([block.array for block in blocks])
    np.testing.assert_array_equal(data[:, :-2].reshape(counts.shape), counts.astype(int) - 27315)
    stamps = np.concatenate([block.timestamps for block in blocks])
    np.testing.assert_allclose(stamps, np.arange(COUNT) * 0.114, atol=1e-3)
    np.testing.assert_array_equal(data[:, -2], np.arange(COUNT))
    assert not source.truncated
    assert np.flatnonzero(data[:, -1]).tolist() == ([12] if name == "a.cptv" else [])


@pytest.mark.parametrize("name", ["a.mkv", "a.cptv", "a.raw.y16.gz", "a.tif"])
def test_cut_off_files_give_what_can_be_read_and_say_so(
    name: str, tmp_path: Path, counts: NDArray[np.uint16]
) -> None:
    FORMATS[name](tmp_path / name, counts)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(0.6 * len(whole))])
    source = ThermalFile(tmp_path / name, rate_hz=9.0)
    blocks = read_all(source)
    read = sum(len(block) for block in blocks)
    assert 5 <= read < COUNT
    assert source.truncated
    with pytest.raises(EndOfStream, match="cut off"):
        source.read(0.0)


@pytest.mark.parametrize("name", list(FORMATS))
def test_damaged_beginnings_are_refused_in_one_sentence(
    name: str, tmp_path: Path, counts: NDArray[np.uint16]
) -> None:
    for content in (b"", b"junk" * 100):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidSignal, match=r"damaged|header is missing"):
            ThermalFile(tmp_path / name, rate_hz=9.0)


def test_paced_playback_keeps_time_and_loops(tmp_path: Path, counts: NDArray[np.uint16]) -> None:
    write_npz(tmp_path / "a.npz", counts)
    clock = ManualClock(500.0)
    source = ThermalFile(tmp_path / "a.npz", paced=True, loop=True, clock=clock, sleep=clock.sleep)
    with source:
        blocks = []
        while len(blocks) < 2 * COUNT:
            block = source.read(0.05)
            if len(block):
                assert clock() >= block.timestamps[0] - 1e-9
                blocks.append(block)
    stamps = np.concatenate([block.timestamps for block in blocks])
    np.testing.assert_allclose(np.diff(stamps), 0.114, atol=1e-6)
    assert stamps[0] == 500.0 and [block.first for block in blocks] == list(range(2 * COUNT))


def test_units_are_found_from_type_and_values(tmp_path: Path, counts: NDArray[np.uint16]) -> None:
    celsius = counts / 100 - 273.15
    expected = counts.astype(int) - 27315
    for values, extra in (
        ((counts.astype(int) - 27315).astype(np.int16), {}),
        (celsius.astype(np.float32), {}),
        ((celsius + 273.15).astype(np.float64), {}),
        (np.round((celsius + 273.15) * 64).astype(np.uint16), {"scale": np.array(1 / 64)}),
    ):
        np.savez(tmp_path / "u.npz", frames=values, **extra)
        data = np.concatenate([b.array for b in read_all(ThermalFile(tmp_path / "u.npz", rate_hz=9))])
        assert np.abs(data[:, :-2].reshape(expected.shape) - expected).max() <= 1


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (np.zeros((3, 20, 20), np.uint8), "AGC"),
        (np.full((3, 20, 20), 7000, np.uint16) + np.arange(20, dtype=np.uint16), "no plausible 10-45"),
        (np.full((3, 20, 20), 20000, np.int16), "no temperatures in centi-degC"),
        (np.full((3, 20, 20), 3, np.int64), "give uint16 centikelvin"),
        (np.zeros((20, 20), np.uint16), "exactly one"),
    ],
)
def test_what_are_no_temperatures_is_refused(frames: NDArray[np.generic], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", frames=frames)
    with pytest.raises(InvalidSignal, match=words):
        ThermalFile(tmp_path / "b.npz", rate_hz=9.0)


def test_byte_swapped_file_is_told(tmp_path: Path, counts: NDArray[np.uint16]) -> None:
    np.savez(tmp_path / "s.npz", frames=counts.byteswap())
    with pytest.raises(InvalidSignal, match="byte-swapped"):
        ThermalFile(tmp_path / "s.npz", rate_hz=9.0)


def test_missing_files_rates_and_formats_are_named(tmp_path: Path, counts: NDArray[np.uint16]) -> None:
    with pytest.raises(DeviceNotFound, match="check the path"):
        ThermalFile(tmp_path / "none.npz")
    write_tiff(tmp_path / "a.tif", counts)
    with pytest.raises(InvalidSignal, match="frame rate"):
        ThermalFile(tmp_path / "a.tif")
    (tmp_path / "a.xyz").write_bytes(b"?")
    with pytest.raises(InvalidSignal, match="16-bit TIFF stack"):
        ThermalFile(tmp_path / "a.xyz")


def test_telemetry_rows_saved_with_the_picture_are_stripped(
    tmp_path: Path, counts: NDArray[np.uint16]
) -> None:
    words = np.zeros((COUNT, 2, 160), np.uint16)
    words[:, 0, [0, 24]] = 14, 30100
    words[5, 0, 3] = 2 << 4
    np.savez(tmp_path / "t.npz", frames=np.concatenate([counts, words], axis=1))
    blocks = read_all(ThermalFile(tmp_path / "t.npz", rate_hz=9.0))
    data = np.concatenate([block.array for block in blocks])
    np.testing.assert_array_equal(data[:, :-2].reshape(counts.shape), counts.astype(int) - 27315)
    assert np.flatnonzero(data[:, -1]).tolist() == [5]


@pytest.mark.parametrize("scale", [None, 0.01])
def test_unsigned_centi_celsius_is_told_by_its_values(
    tmp_path: Path, counts: NDArray[np.uint16], scale: float | None
) -> None:
    centi = (counts.astype(int) - 27315).astype(np.uint16)
    np.savez(tmp_path / "c.npz", frames=centi, seconds=np.arange(COUNT) * 0.114)
    source = ThermalFile(tmp_path / "c.npz", scale=scale)
    assert "from 0 degC" in source.spec.metadata["evidence"]
    pixels = np.concatenate([block.array for block in read_all(source)])[:, :-2]
    np.testing.assert_array_equal(pixels, centi.reshape(COUNT, -1))


@pytest.mark.parametrize("value", [0, 65535, 5000])
def test_dead_rows_do_not_speak_against_temperatures(
    tmp_path: Path, counts: NDArray[np.uint16], value: int
) -> None:
    broken = counts.copy()
    broken[:, [0, 57, 58]] = value
    np.savez(tmp_path / "d.npz", frames=broken, seconds=np.arange(COUNT) * 0.114)
    assert "K per count" in ThermalFile(tmp_path / "d.npz").spec.metadata["evidence"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: np.where(np.arange(COUNT) == 7, np.nan, t), "no time for frame 7"),
        (lambda t: t[::-1], "steps back in time at frame 1"),
        (lambda t: np.r_[t[:5], t[4:-1] - 0.05], "steps back in time at frame 5"),
        (lambda t: t[:-1], "carries no times"),
        (lambda t: np.arange(COUNT), "carries no times"),
    ],
)
def test_times_that_are_none_are_refused(
    tmp_path: Path,
    counts: NDArray[np.uint16],
    change: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    sentence: str,
) -> None:
    np.savez(tmp_path / "n.npz", frames=counts, seconds=change(np.arange(COUNT) * 0.114))
    with pytest.raises(InvalidSignal, match=sentence):
        ThermalFile(tmp_path / "n.npz")
