"""The EMG file formats, each read into one table in microvolts."""

from __future__ import annotations

import configparser
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import edfio
import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import compute
from pyarrow import csv as arrow_csv

from acquisition.stream import InvalidSignal

TIME_COLUMN = "time_s"
COUNTER_COLUMN = "Sample Index"
"""Running number in the files of the OpenBCI GUI; it starts over and jumps where samples were lost."""

MICROVOLTS = {
    "v": 1e6, "volt": 1e6, "volts": 1e6,
    "mv": 1e3, "millivolt": 1e3, "millivolts": 1e3,
    "uv": 1.0, "microvolt": 1.0, "microvolts": 1.0,
    "nv": 1e-3, "nanovolt": 1e-3, "nanovolts": 1e-3,
}  # fmt: skip
"""Microvolts per unit; units are looked up in lower case with both signs for micro as ``u``."""

_MUSCLE_SIDE = re.compile(r"^[A-Z]{2,5}_[LR]$")
_UNIT = re.compile(r"^(?P<name>.*?)\s*[(\[](?P<unit>[^)\]]*)[)\]]\s*$")
_STATED_RATE = re.compile(r"sample rate\s*[=:]\s*(?P<rate>[\d.]+)", re.IGNORECASE)
_LEAST_UV = 0.3  # even a good amplifier's noise is larger
_MOST_UV = 5000.0  # from sample to sample no muscle of the face does as much
_LONGEST_STEP_S = 0.11  # that of the slowest envelope that is read, 10 Hz, and what rounding adds to it
_MOST_SKIPPED = 0.01
_MOST_IRREGULAR = 0.05


@dataclass(frozen=True, eq=False)
class EmgTable:
    """What a file holds.

    Attributes:
        labels: muscle_side of each column.
        samples: float32 [n, channels], microvolts, NaN where missing.
        stamps: float64 [n], seconds as in the file, strictly increasing.
        numbers: int64 [n], running numbers, jumping over gaps.
        rate_hz: Measured from the stamps where the file has them.
        notes: What was odd, in sentences.
    """

    labels: tuple[str, ...]
    samples: NDArray[np.float32]
    stamps: NDArray[np.float64]
    numbers: NDArray[np.int64]
    rate_hz: float
    notes: tuple[str, ...]


def read_table(path: Path, channels: Mapping[str, str], rate_hz: float | None = None) -> EmgTable:
    """Read `path` by its suffix; see `hardware.emg_file.read_emg`.

    Raises:
        InvalidSignal: Unknown format, unit, muscle or rate; one sentence says what to do.
    """
    readers: dict[str, Callable[[Path, Mapping[str, str], float | None], EmgTable]] = {
        ".csv": _read_text,
        ".tsv": _read_text,
        ".txt": _read_text,
        ".edf": _read_edf,
        ".bdf": _read_edf,
        ".vhdr": _read_brainvision,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        hint = " (open the .vhdr that belongs to it)" if path.suffix.lower() in {".eeg", ".vmrk"} else ""
        raise InvalidSignal(
            f"{path.name} is no EMG file this program reads{hint}: give one of {', '.join(readers)} or a "
            "recording (.xdf)."
        )
    return reader(path, channels, rate_hz)


def microvolts_per(unit: str, path: Path, column: str) -> float:
    """Factor from `unit` to microvolts.

    Raises:
        InvalidSignal: Counts, or no unit that is known.
    """
    key = unit.strip().lower().replace("µ", "u").replace("μ", "u")
    if key not in MICROVOLTS:
        raise InvalidSignal(
            f"{path.name}: the unit of {column} is {unit.strip() or 'not stated'!r}: convert it to V, mV "
            "or µV first."
        )
    return MICROVOLTS[key]


def choose_columns(names: Sequence[str], channels: Mapping[str, str], path: Path) -> dict[int, str]:
    """Column number -> muscle_side, for the columns that are mapped or already named so.

    Raises:
        InvalidSignal: None is, or a mapped name is not there.
    """
    missing = [name for name in channels if name not in names]
    if missing:
        raise InvalidSignal(
            f"{path.name} has no channel {missing[0]!r}: choose among {', '.join(names) or 'none at all'}."
        )
    chosen = {}
    for index, name in enumerate(names):
        label = channels.get(name, name if _MUSCLE_SIDE.match(name) else None)
        if label is not None:
            chosen[index] = label
    if not chosen:
        raise InvalidSignal(
            f"{path.name} names no muscle: say which channel is which with --channel NAME=ZYG_L; "
            f"it has {', '.join(names) or 'none'}."
        )
    labels = list(chosen.values())
    if len(set(labels)) < len(labels):
        raise InvalidSignal(
            f"{path.name}: two channels would be {max(labels, key=labels.count)}: map each once."
        )
    return chosen


def _table(
    path: Path,
    labels: Sequence[str],
    samples: NDArray[np.float64],
    rate_hz: float,
    notes: Sequence[str],
    stamps: NDArray[np.float64] | None = None,
    counter: NDArray[np.float64] | None = None,
) -> EmgTable:
    """Put a table together, finding gaps in the stamps or the counter and counting missing values."""
    if len(samples) < 2:
        raise InvalidSignal(f"{path.name} holds no samples: check that the recording was saved.")
    notes = list(notes)
    samples = np.where(np.isfinite(samples), samples, np.nan)
    numbers = np.arange(len(samples), dtype=np.int64)
    if stamps is not None:
        numbers, rate_hz, gaps = number_by_time(stamps, path)
    elif counter is not None:
        numbers, gaps = number_by_counter(counter)
    else:
        gaps = 0
    if gaps:
        notes.append(
            f"{gaps} gap{'s' if gaps > 1 else ''}, {int(numbers[-1]) + 1 - len(numbers)} samples missing."
        )
    if stamps is None:
        stamps = numbers / rate_hz
    missing = int(np.isnan(samples).any(axis=1).sum())
    if missing:
        notes.append(f"{missing} samples without a value, treated as gaps.")
    if np.isnan(samples).all():
        raise InvalidSignal(f"{path.name} holds no values in {', '.join(labels)}: choose other channels.")
    return EmgTable(tuple(labels), samples.astype(np.float32), stamps, numbers, rate_hz, tuple(notes))


def number_by_time(stamps: NDArray[np.float64], path: Path) -> tuple[NDArray[np.int64], float, int]:
    """Running numbers, rate and number of gaps from a time column.

    Raises:
        InvalidSignal: Time stands still, runs backwards, is missing or has no even step.
    """
    if not np.isfinite(stamps).all():
        row = int(np.flatnonzero(~np.isfinite(stamps))[0]) + 1
        raise InvalidSignal(f"{path.name}: {TIME_COLUMN} is empty in row {row}: fill it or remove the row.")
    steps = np.diff(stamps)
    if (steps <= 0).any():
        row = int(np.flatnonzero(steps <= 0)[0]) + 2
        raise InvalidSignal(
            f"{path.name}: {TIME_COLUMN} does not increase at row {row}: write sample times in seconds, "
            "with more decimals, in order."
        )
    period_s = float(np.median(steps))
    if period_s > _LONGEST_STEP_S:
        raise InvalidSignal(
            f"{path.name}: {TIME_COLUMN} steps by {period_s:g}, which is no EMG if these are seconds: write "
            "seconds, not milliseconds or sample numbers."
        )
    jumps = np.maximum(np.round(steps / period_s), 1).astype(np.int64)
    uneven = np.abs(steps - jumps * period_s) > 0.3 * period_s
    # A pause need not be a whole number of periods.
    if (uneven & (jumps < 3)).mean() > _MOST_IRREGULAR:
        raise InvalidSignal(
            f"{path.name}: {TIME_COLUMN} has no even step, as if it held arrival times: write number / "
            "rate instead."
        )
    even = jumps == 1
    rate_hz = float(even.sum() / steps[even].sum())
    if abs(rate_hz - round(rate_hz)) < 2e-4 * rate_hz:
        rate_hz = float(round(rate_hz))
    return np.concatenate([[0], np.cumsum(jumps)]), rate_hz, int((jumps > 1).sum())


def number_by_counter(counter: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Running numbers and number of gaps from a sample counter that starts over.

    A counter without an even step (two samples to a packet) is not used: losses then stay unseen.
    """
    values = np.nan_to_num(counter).astype(np.int64)
    steps = np.diff(values) % (values.max() + 1)
    step = max(int(np.median(steps)), 1)
    if (steps == step).mean() < 1.0 - _MOST_IRREGULAR:
        return np.arange(len(counter), dtype=np.int64), 0
    jumps = np.maximum(np.round(steps / step), 1).astype(np.int64)
    return np.concatenate([[0], np.cumsum(jumps)]), int((jumps > 1).sum())


def _preamble(path: Path) -> tuple[int, str, float | None]:
    """How many lines of comment (``%`` or ``#``) a table begins with, its header, and the rate they state."""
    rate_hz = None
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for count, line in enumerate(file):
            if not line.startswith(("%", "#")):
                return count, line.rstrip("\r\n"), rate_hz
            stated = _STATED_RATE.search(line)
            rate_hz = float(stated["rate"]) if stated else rate_hz
    return 0, "", rate_hz


def _read_text(path: Path, channels: Mapping[str, str], rate_hz: float | None) -> EmgTable:
    comments, header, stated_hz = _preamble(path)
    if not header.strip():
        raise InvalidSignal(f"{path.name} is empty: check that the recording was saved.")
    rate_hz = rate_hz or stated_hz
    delimiter = max("\t;,", key=header.count)
    columns = [name.strip().strip('"') for name in header.split(delimiter)]
    if all(_is_number(name) for name in columns):
        raise InvalidSignal(
            f"{path.name} has no header: begin it with {TIME_COLUMN}{delimiter!s}ZYG_L and so on."
        )
    names, units = zip(*(_name_and_unit(column) for column in columns), strict=True)
    chosen = choose_columns([n for n in names if n != TIME_COLUMN], channels, path)
    signals = [i for i, name in enumerate(names) if name != TIME_COLUMN]
    wanted = [signals[index] for index in chosen]
    skipped = 0

    def skip(_: object) -> str:
        nonlocal skipped
        skipped += 1
        return "skip"

    try:
        table = arrow_csv.read_csv(
            io.BytesIO(path.read_bytes().removeprefix(b"\xef\xbb\xbf")),
            read_options=arrow_csv.ReadOptions(
                column_names=[str(i) for i in range(len(names))], skip_rows=comments + 1
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
            convert_options=arrow_csv.ConvertOptions(
                decimal_point="," if delimiter == ";" else ".",
                null_values=["", "NaN", "nan", "NA", "n/a", "null"],
            ),
        )
    except pyarrow.ArrowInvalid as error:
        raise InvalidSignal(f"{path.name} cannot be read as a table: {error}.") from None
    notes = []
    if skipped > max(1, _MOST_SKIPPED * table.num_rows):
        raise InvalidSignal(
            f"{path.name}: {skipped} rows do not have {len(names)} columns: check the delimiter."
        )
    if skipped:
        notes.append(f"{skipped} broken row left out, the file may be cut off.")
    samples = np.column_stack(
        [
            _numbers(table.column(i), names[i], path) * microvolts_per(units[i] or "uV", path, names[i])
            for i in wanted
        ]
    )
    stamps = None
    if TIME_COLUMN in names:
        stamps = _numbers(table.column(names.index(TIME_COLUMN)), TIME_COLUMN, path)
        if len(stamps) and not np.isfinite(stamps[-1]):
            stamps, samples = stamps[:-1], samples[:-1]
            notes.append("The last row is incomplete and left out, the file may be cut off.")
    elif rate_hz is None:
        raise InvalidSignal(
            f"{path.name} has no column {TIME_COLUMN}: add one with the seconds of each sample."
        )
    counter = None
    if COUNTER_COLUMN in names:
        counter = _numbers(table.column(names.index(COUNTER_COLUMN)), COUNTER_COLUMN, path)
    unstated = [names[i] for i in wanted if not units[i]]
    sizes = np.abs(samples[np.isfinite(samples)])
    if unstated and len(sizes) and np.median(sizes) < _LEAST_UV:
        notes.append(f"{unstated[0]} states no unit and was taken for µV, but is tiny: call it '... (mV)'.")
    with np.errstate(invalid="ignore"):  # from infinite to infinite
        steps = np.abs(np.diff(samples, axis=0))
    if unstated and np.isfinite(steps).any() and np.nanmedian(steps) > _MOST_UV:
        notes.append(f"{unstated[0]} states no unit and was taken for µV, but is huge: call it '... (nV)'.")
    return _table(path, list(chosen.values()), samples, rate_hz or 0.0, notes, stamps, counter)


def _name_and_unit(column: str) -> tuple[str, str]:
    match = _UNIT.match(column)
    return (match["name"], match["unit"]) if match else (column, "")


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _numbers(column: pyarrow.ChunkedArray, name: str, path: Path) -> NDArray[np.float64]:
    if pyarrow.types.is_string(column.type):
        column = compute.utf8_trim_whitespace(column)
    try:
        values = column.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        if len(column) > 1:
            try:
                # Only the very last value is text: the file was cut off inside a number.
                most = column.slice(0, len(column) - 1).cast(pyarrow.float64())
                return np.append(np.asarray(most.to_numpy(), dtype=np.float64), np.nan)
            except pyarrow.ArrowInvalid:
                pass
        raise InvalidSignal(f"{path.name}: column {name} holds text: leave only numbers in it.") from None
    return np.asarray(values.to_numpy(), dtype=np.float64)


def _read_edf(path: Path, channels: Mapping[str, str], rate_hz: float | None) -> EmgTable:
    notes = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a cut-off file is told in the notes
            edf = edfio.read_bdf(path) if path.suffix.lower() == ".bdf" else edfio.read_edf(path)
        signals: list[edfio.EdfSignal | edfio.BdfSignal] = list(edf.signals)
    except Exception as error:  # edfio raises whatever its parsing stumbles over
        kind = path.suffix[1:].upper()
        raise InvalidSignal(
            f"{path.name} is no {kind} file that can be read ({error}): check that it was saved whole."
        ) from None
    names = [signal.label.strip() for signal in signals]
    # The standard puts the kind of signal in front: "EMG ZYG_L".
    bare = [name.removeprefix("EMG ").strip() for name in names]
    names = [name if name in channels else short for name, short in zip(names, bare, strict=True)]
    chosen = choose_columns(names, channels, path)
    picked = [signals[index] for index in chosen]
    rates = {float(signal.sampling_frequency) for signal in picked}
    if len(rates) > 1:
        raise InvalidSignal(
            f"{path.name}: the EMG channels have rates {sorted(rates)}: choose those of one rate."
        )
    factors = [microvolts_per(s.physical_dimension, path, s.label) for s in picked]
    columns = [np.asarray(signal.data, dtype=np.float64) for signal in picked]
    samples = np.column_stack(columns) * np.array(factors)
    whole = _promised_edf_samples(path, picked[0], edf)
    if whole > len(samples):
        notes.append(f"Cut off: {len(samples)} of {whole} samples are there.")
    return _table(path, list(chosen.values()), samples, rates.pop(), notes)


def _promised_edf_samples(
    path: Path, signal: edfio.EdfSignal | edfio.BdfSignal, edf: edfio.Edf | edfio.Bdf
) -> int:
    """Samples the header speaks of (-1 data records: it was never finished)."""
    with path.open("rb") as file:
        records = int(file.read(256)[236:244])
    return int(records * round(float(signal.sampling_frequency) * float(edf.data_record_duration)))


def _read_brainvision(path: Path, channels: Mapping[str, str], rate_hz: float | None) -> EmgTable:
    header = _brainvision_header(path)
    try:
        common, infos = header["Common Infos"], header["Channel Infos"]
        count = int(common["NumberOfChannels"])
        rate = 1e6 / float(common["SamplingInterval"])
        promised = int(common.get("DataPoints") or 0)
        entries = [infos[f"Ch{i + 1}"].split(",") for i in range(count)]
    except (KeyError, ValueError) as error:
        raise InvalidSignal(f"{path.name} is no BrainVision header: {error} is missing or wrong.") from None
    if common.get("DataFormat", "BINARY").upper() != "BINARY":
        raise InvalidSignal(f"{path.name} holds its data as text: export it in binary.")
    binary = header.get("Binary Infos", "BinaryFormat", fallback="INT_16").upper()
    types = {"INT_16": "<i2", "IEEE_FLOAT_32": "<f4", "INT_32": "<i4"}
    if binary not in types:
        raise InvalidSignal(
            f"{path.name}: binary format {binary} is unknown: export it as INT_16 or IEEE_FLOAT_32."
        )
    data_path = path.parent / common["DataFile"].strip().replace("$b", path.stem)
    if not data_path.is_file():
        raise InvalidSignal(f"{data_path.name} is not beside {path.name}: put both into one folder.")
    names = [entry[0].replace(r"\1", ",").strip() for entry in entries]
    chosen = choose_columns(names, channels, path)
    dtype = np.dtype(types[binary])
    raw = np.fromfile(data_path, dtype=dtype)
    notes = []
    cut_off = bool(len(raw) % count or data_path.stat().st_size % dtype.itemsize)
    frames = len(raw) // count
    if common.get("DataOrientation", "MULTIPLEXED").upper() == "VECTORIZED":
        # One channel after the other: where the second begins can only be told from a whole file.
        if cut_off or frames != (promised or frames):
            raise InvalidSignal(
                f"{data_path.name} is cut off, and its channels cannot be told apart any more: export it "
                "again, multiplexed."
            )
        table = raw.reshape(count, frames).T
    else:
        if cut_off:
            notes.append("The last sample is incomplete and left out, the file may be cut off.")
        table = raw[: frames * count].reshape(frames, count)
    columns = []
    for index in chosen:
        fields = [*(field.strip() for field in entries[index]), "", "", ""][:4]
        resolution = float(fields[2] or 1.0)
        # The format's own rule: no unit stated is microvolts.
        columns.append(table[:, index] * resolution * microvolts_per(fields[3] or "uV", path, names[index]))
    return _table(path, list(chosen.values()), np.column_stack(columns), rate, notes)


def _brainvision_header(path: Path) -> configparser.ConfigParser:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    start = text.find("[")
    stop = text.find("[Comment]")
    header = configparser.ConfigParser(
        strict=False, interpolation=None, allow_no_value=True, comment_prefixes=(";",), delimiters=("=",)
    )
    # Channel keys are Ch1, not ch1.
    header.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        header.read_string(text[max(start, 0) : stop if stop > 0 else None])
    except configparser.Error as error:
        raise InvalidSignal(f"{path.name} is no BrainVision header: {error.message}.") from None
    return header
