"""EMG files of every format, whole, broken and mislabelled."""

from __future__ import annotations

import re
from pathlib import Path

import edfio
import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.clock import ManualClock
from acquisition.stream import DeviceNotFound, EndOfStream, InvalidSignal, Kind, Source
from hardware.emg_file import EmgFile, read_emg

RATE_HZ = 1000
SIGNAL = np.round(np.random.default_rng(0).normal(0, 20, (2500, 2)), 3)
STAMPS = np.arange(2500) / RATE_HZ


def write_csv(
    path: Path,
    header: str = "time_s,ZYG_L,COR_R",
    stamps: NDArray[np.float64] = STAMPS,
    data: NDArray[np.float64] = SIGNAL,
    delimiter: str = ",",
) -> Path:
    rows = [
        delimiter.join([f"{t:.4f}", *("" if np.isnan(v) else f"{v:.6g}" for v in row)])
        for t, row in zip(stamps, data, strict=True)
    ]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def joined(path: Path, **options: object) -> NDArray[np.float32]:
    _, blocks = read_emg(path, **options)  # type: ignore[arg-type]
    return np.concatenate([block.array for block in blocks])


def test_a_table_is_read_in_blocks_with_its_own_times(tmp_path: Path) -> None:
    spec, blocks = read_emg(write_csv(tmp_path / "face.csv"))
    assert spec.kind is Kind.EMG and spec.labels == ("ZYG_L", "COR_R") and spec.rate_hz == 1000
    assert [len(block) for block in blocks] == [1000, 1000, 500]
    assert [block.first for block in blocks] == [0, 1000, 2000]
    np.testing.assert_array_equal(blocks[1].timestamps, STAMPS[1000:2000])
    np.testing.assert_allclose(np.concatenate([b.array for b in blocks]), SIGNAL, atol=1e-3)
    assert isinstance(EmgFile(tmp_path / "face.csv"), Source)


@pytest.mark.parametrize(
    ("header", "factor"),
    [
        ("time_s;ZYG_L (mV);COR_R [mV]", 1e3),
        ("time_s;ZYG_L (V);COR_R (V)", 1e6),
        ("time_s;ZYG_L (µV);COR_R (uV)", 1.0),
    ],
)
def test_units_in_the_header_are_converted(tmp_path: Path, header: str, factor: float) -> None:
    path = write_csv(tmp_path / "face.csv", header, delimiter=";")
    path.write_text(path.read_text().replace(".", ","))  # a European table
    np.testing.assert_allclose(joined(path), SIGNAL * factor, rtol=1e-4, atol=1e-3 * factor)


def test_names_are_mapped_and_other_columns_left_out(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "face.tsv", "time_s\tEMG 1\tTrigger", delimiter="\t")
    spec, _ = read_emg(path, {"EMG 1": "COR_L"})
    assert spec.labels == ("COR_L",)
    with pytest.raises(
        InvalidSignal, match=r"names no muscle: .*--channel NAME=ZYG_L; it has EMG 1, Trigger"
    ):
        read_emg(path)
    with pytest.raises(InvalidSignal, match="no channel 'EMG 9'"):
        read_emg(path, {"EMG 9": "COR_L"})
    with pytest.raises(InvalidSignal, match="map each once"):
        read_emg(path, {"EMG 1": "COR_L", "Trigger": "COR_L"})


def test_gaps_and_missing_values_are_kept_as_such(tmp_path: Path) -> None:
    data = SIGNAL.copy()
    data[100:110, 1] = np.nan
    keep = np.r_[0:500, 800:2500]
    path = write_csv(tmp_path / "face.csv", stamps=STAMPS[keep], data=data[keep])
    source = EmgFile(path)
    spec, blocks = read_emg(path)
    assert spec.rate_hz == 1000
    assert [(block.first, block.end) for block in blocks] == [(0, 500), (800, 1800), (1800, 2500)]
    assert np.isnan(blocks[0].column("COR_R")).sum() == 10
    assert source.notes == ["1 gap, 300 samples missing.", "10 samples without a value, treated as gaps."]


@pytest.mark.parametrize(
    ("stamps", "words"),
    [
        (np.repeat(STAMPS[:1250], 2), "does not increase at row 2"),
        (STAMPS[::-1], "does not increase"),
        (np.cumsum(np.random.default_rng(1).uniform(0.0005, 0.003, 2500)), "no even step"),
    ],
)
def test_impossible_times_are_refused(tmp_path: Path, stamps: NDArray[np.float64], words: str) -> None:
    with pytest.raises(InvalidSignal, match=words):
        read_emg(write_csv(tmp_path / "face.csv", stamps=stamps))


def test_tables_that_say_too_little_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "face.csv"
    for content, words in (
        ("0.0,1.0,2.0\n0.001,1,2\n", "has no header"),
        ("ZYG_L,COR_R\n1,2\n2,3\n", "no column time_s"),
        ("time_s,ZYG_L\n0,1\n0.001,yes\n0.002,no\n0.003,3\n", "column ZYG_L holds text"),
        ("time_s,ZYG_L (counts)\n0,1\n0.001,2\n", "unit of ZYG_L is 'counts'"),
        ("time_s,ZYG_L\n0,1,2\n0.001,2,3\n0.002,2,3\n0.003,2,3\n", "do not have 2 columns"),
        ("time_s,ZYG_L\n", "holds no samples"),
        ("time_s,ZYG_L\n0,\n0.001,\n", "holds no values"),
    ):
        path.write_text(content)
        with pytest.raises(InvalidSignal, match=re.escape(words)):
            read_emg(path)
    with pytest.raises(DeviceNotFound, match="does not exist"):
        read_emg(tmp_path / "none.csv")
    (tmp_path / "x.eeg").write_bytes(b"")
    with pytest.raises(InvalidSignal, match=r"open the \.vhdr"):
        read_emg(tmp_path / "x.eeg")


def test_a_table_without_times_takes_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "face.csv"
    path.write_text("ZYG_L\n" + "\n".join(map(str, SIGNAL[:, 0])))
    spec, blocks = read_emg(path, rate_hz=512.0)
    assert spec.rate_hz == 512.0 and blocks[0].timestamps[512 - 1] == pytest.approx(511 / 512)


@pytest.mark.parametrize("cut", [3, 9, 14])
def test_a_cut_off_table_is_read_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    path = write_csv(tmp_path / "face.csv")
    text = path.read_text()
    path.write_text(text[:-cut])
    assert 2498 <= len(joined(path)) <= 2500


@pytest.mark.parametrize(
    ("suffix", "unit", "factor"), [("edf", "uV", 1.0), ("edf", "mV", 1e3), ("bdf", "uV", 1.0)]
)
def test_edf_and_bdf(tmp_path: Path, suffix: str, unit: str, factor: float) -> None:
    path = tmp_path / f"face.{suffix}"
    kind = edfio.BdfSignal if suffix == "bdf" else edfio.EdfSignal
    signals = [
        kind(SIGNAL[:2000, i] / factor, sampling_frequency=1000, label=label, physical_dimension=unit)
        for i, label in enumerate(("EMG ZYG_L", "corr"))
    ]
    (edfio.Bdf if suffix == "bdf" else edfio.Edf)(signals).write(path)
    spec, _ = read_emg(path, {"corr": "COR_R"})
    assert spec.labels == ("ZYG_L", "COR_R") and spec.rate_hz == 1000
    np.testing.assert_allclose(joined(path, channels={"corr": "COR_R"}), SIGNAL[:2000], atol=0.01)


def test_edf_without_a_unit_or_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "face.edf"
    edfio.Edf([edfio.EdfSignal(SIGNAL[:2000, 0], 1000, label="ZYG_L")]).write(path)
    with pytest.raises(InvalidSignal, match="unit of ZYG_L is 'not stated'"):
        read_emg(path)
    edfio.Edf([edfio.EdfSignal(SIGNAL[:2000, 0], 1000, label="ZYG_L", physical_dimension="uV")]).write(path)
    path.write_bytes(path.read_bytes()[:-700])
    source = EmgFile(path)
    assert "Cut off" in source.notes[0] and 1000 <= len(joined(path)) < 2000
    path.write_bytes(b"nonsense")
    with pytest.raises(InvalidSignal, match="no EDF file"):
        read_emg(path)


def write_brainvision(path: Path, binary: str, orientation: str, unit: str, resolution: float) -> Path:
    dtype = {"INT_16": "<i2", "IEEE_FLOAT_32": "<f4"}[binary]
    values = SIGNAL / resolution
    table = np.round(values).astype(dtype) if binary == "INT_16" else values.astype(dtype)
    (path.parent / "face.eeg").write_bytes((table if orientation == "MULTIPLEXED" else table.T).tobytes())
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n; a comment\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile=$b.eeg\nDataFormat=BINARY\nDataOrientation={orientation}\nNumberOfChannels=2\n"
        f"SamplingInterval=1000\n\n[Binary Infos]\nBinaryFormat={binary}\n\n[Channel Infos]\n"
        f"Ch1=ZYG_L,,{resolution},{unit}\nCh2=brow\\1 right,,{resolution},{unit}\n\n"
        "[Comment]\nany = thing\nno section\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize(
    ("binary", "orientation", "unit", "factor"),
    [
        ("INT_16", "MULTIPLEXED", "µV", 1.0),
        ("IEEE_FLOAT_32", "MULTIPLEXED", "mV", 1e3),
        ("INT_16", "VECTORIZED", "", 1.0),
    ],
)
def test_brainvision(tmp_path: Path, binary: str, orientation: str, unit: str, factor: float) -> None:
    path = write_brainvision(tmp_path / "face.vhdr", binary, orientation, unit, 0.01)
    mapping = {"brow, right": "COR_R"}
    spec, _ = read_emg(path, mapping)
    assert spec.labels == ("ZYG_L", "COR_R") and spec.rate_hz == 1000
    np.testing.assert_allclose(joined(path, channels=mapping), SIGNAL * factor, atol=0.006 * factor)


def test_a_cut_off_bdf_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "face.bdf"
    signal = edfio.BdfSignal(SIGNAL[:2000, 0], 1000, label="ZYG_L", physical_dimension="uV")
    edfio.Bdf([signal]).write(path)
    path.write_bytes(path.read_bytes()[:-1000])
    source = EmgFile(path)
    assert "Cut off" in source.notes[0] and 1000 <= len(joined(path)) < 2000


def test_a_cut_off_brainvision_file_with_channel_after_channel_is_refused(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path / "face.vhdr", "INT_16", "VECTORIZED", "µV", 0.01)
    data = tmp_path / "face.eeg"
    whole = data.read_bytes()
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            "NumberOfChannels=2", f"NumberOfChannels=2\nDataPoints={len(SIGNAL)}"
        ),
        encoding="utf-8",
    )
    assert len(joined(path)) == len(SIGNAL)
    for cut in (2, 400):
        data.write_bytes(whole[:-cut])
        with pytest.raises(InvalidSignal, match="is cut off, and its channels"):
            read_emg(path)


def test_broken_brainvision(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path / "face.vhdr", "INT_16", "MULTIPLEXED", "µV", 0.01)
    data = tmp_path / "face.eeg"
    data.write_bytes(data.read_bytes()[:-3])
    source = EmgFile(path)
    assert "incomplete" in source.notes[0] and len(joined(path)) == 2499
    data.unlink()
    with pytest.raises(InvalidSignal, match="not beside"):
        read_emg(path)
    path.write_text("[Common Infos]\nDataFile=x\n")
    with pytest.raises(InvalidSignal, match="no BrainVision header"):
        read_emg(path)
    write_brainvision(path, "INT_16", "MULTIPLEXED", "AU", 1.0)
    with pytest.raises(InvalidSignal, match="unit of ZYG_L is 'AU'"):
        read_emg(path)


def test_paced_it_plays_a_device_and_loops(tmp_path: Path) -> None:
    clock = ManualClock(500.0)
    path = write_csv(tmp_path / "Anna's face.csv", stamps=STAMPS[:100], data=SIGNAL[:100])
    with EmgFile(path, paced=True, loop=True, clock=clock, sleep=clock.sleep) as source:
        assert (source.spec.name, source.spec.source_id) == ("Anna_s face", "file-Anna_s face.csv")
        assert len(source.read(0.001)) == 0, "nothing before its time"
        blocks = [source.read(1.0) for _ in range(12)]
        assert clock() == pytest.approx(500.0 + 0.239)
    stamps = np.concatenate([block.timestamps for block in blocks])
    np.testing.assert_allclose(stamps, 500.0 + np.arange(240) / 1000, atol=1e-9)
    assert [block.first for block in blocks] == list(range(0, 240, 20))
    np.testing.assert_allclose(blocks[5].array, SIGNAL[:20], atol=1e-3)
    with pytest.raises(EndOfStream, match="not open"):
        source.read(0.0)
    with pytest.raises(ValueError, match="clock"):
        EmgFile(path, paced=True)


def openbci_text(numbers: np.ndarray, values: np.ndarray) -> str:  # type: ignore[type-arg]
    lines = ["%OpenBCI Raw EXG Data", "%Number of channels = 2", "%Sample Rate = 250 Hz"]
    lines.append("Sample Index, EXG Channel 0, EXG Channel 1, Timestamp (Formatted)")
    lines += [
        f"{number % 256}, {a:.2f}, {b:.2f}, 12:00:53.329"
        for number, (a, b) in zip(numbers, values, strict=True)
    ]
    return "\n".join(lines) + "\n"


def test_files_of_the_openbci_gui_are_read_with_their_rate_and_losses(tmp_path: Path) -> None:
    numbers = np.concatenate([np.arange(400), np.arange(460, 1000)])
    values = np.random.default_rng(0).normal(0, 5, (len(numbers), 2)) + 61379.0
    path = tmp_path / "OpenBCI-RAW.txt"
    path.write_text(openbci_text(numbers, values), encoding="utf-8")
    spec, blocks = read_emg(path, {"EXG Channel 1": "COR_L"})
    assert spec.rate_hz == 250.0 and spec.labels == ("COR_L",)
    assert "1 gap, 60 samples missing" in spec.metadata["notes"]
    assert (
        np.concatenate([block.first + np.arange(len(block)) for block in blocks]).tolist() == numbers.tolist()
    )
    read = np.concatenate([block.array[:, 0] for block in blocks])
    np.testing.assert_allclose(read, values[:, 1], atol=0.01)


def test_a_counter_that_does_not_step_evenly_is_left_alone(tmp_path: Path) -> None:
    numbers = np.repeat(np.arange(100), 2)
    path = tmp_path / "ganglion.txt"
    path.write_text(openbci_text(numbers, np.ones((200, 2)) * np.arange(200)[:, None]), encoding="utf-8")
    _, blocks = read_emg(path, {"EXG Channel 0": "ZYG_L"})
    assert sum(len(block) for block in blocks) == 200 and blocks[-1].end == 200


def test_values_too_small_for_microvolts_are_remarked_on(tmp_path: Path) -> None:
    path = tmp_path / "millivolts.csv"
    stamps = np.arange(500) / 1000
    values = np.random.default_rng(1).normal(0, 0.005, 500)
    rows = "".join(f"{t:.4f},{v:.6f}\n" for t, v in zip(stamps, values, strict=True))
    path.write_text(f"time_s,ZYG_L\n{rows}", encoding="utf-8")
    assert "is tiny" in read_emg(path)[0].metadata["notes"]
    path.write_text(f"time_s,ZYG_L (mV)\n{rows}", encoding="utf-8")
    assert "notes" not in read_emg(path)[0].metadata


def test_an_empty_file_and_times_in_milliseconds_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    with pytest.raises(InvalidSignal, match="is empty"):
        read_emg(path)
    path.write_text("time_s,ZYG_L\n" + "".join(f"{k},{k % 7}\n" for k in range(100)), encoding="utf-8")
    with pytest.raises(InvalidSignal, match="not milliseconds"):
        read_emg(path)


@pytest.mark.parametrize("begin_s", [0.0, 7.3, 1000.0])
def test_the_slowest_envelope_is_read_whatever_its_times_round_to(tmp_path: Path, begin_s: float) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"{begin_s + k / 10:.4f},{k % 7}\n" for k in range(50))
    path.write_text(f"time_s,ZYG_L\n{rows}", encoding="utf-8")
    assert read_emg(path)[0].rate_hz == 10.0


def test_values_without_end_count_as_missing_and_huge_ones_are_remarked_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"{k / 1000:.3f},{'inf' if k in (50, 51) else 1e5 * (k % 7)}\n" for k in range(300))
    path.write_text(f"time_s,ZYG_L\n{rows}", encoding="utf-8")
    spec, blocks = read_emg(path)
    assert "2 samples without a value" in spec.metadata["notes"] and "is huge" in spec.metadata["notes"]
    samples = np.concatenate([block.array[:, 0] for block in blocks])
    assert np.flatnonzero(np.isnan(samples)).tolist() == [50, 51]
