"""EMG from any board that BrainFlow drives: channels by muscle, microvolts, stamps from the sample counter.

BrainFlow's own filters are not used (they keep no state between calls), and its arrival times are only what
`hardware.clock_regression` fits its line to.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.clock import Clock, Sleep
from acquisition.stream import (
    Block,
    Channel,
    DeviceLost,
    DeviceNotFound,
    EndOfStream,
    InvalidSignal,
    Kind,
    OpenedSource,
    SampleType,
    StreamSpec,
    empty_block,
)
from hardware.clock_regression import ClockRegression

with warnings.catch_warnings():
    # brainflow imports the deprecated pkg_resources, at the first call into its library.
    warnings.simplefilter("ignore")
    from brainflow.board_shim import BoardIds, BoardShim, BrainFlowError, BrainFlowInputParams

    BoardShim.disable_board_logger()

DEFAULT_LABELS = ("ZYG_L", "ZYG_R", "COR_L", "COR_R")
"""Muscles of the first channels when nobody says otherwise."""

TIMING_RATE_HZ = 500.0
"""Slower boards serve slow valence, not the timing of micro-expressions (see `zygoma bench emg`)."""

RAIL_UV = {
    **dict.fromkeys(
        ("CYTON_BOARD", "CYTON_DAISY_BOARD", "CYTON_WIFI_BOARD", "CYTON_DAISY_WIFI_BOARD"), 187_500
    ),
    **dict.fromkeys(("GANGLION_BOARD", "GANGLION_NATIVE_BOARD", "GANGLION_WIFI_BOARD"), 15_686),
}
"""Input range of a board at the gain it starts with: ADS1299, 4.5 V / 24; MCP3912, 1.2 V / (1.5 x 51)."""

_POLL_S = 0.004
_STALL_S = 3.0
_COUNTER_MODULUS = 256
_PLAYBACK = BoardIds.PLAYBACK_FILE_BOARD.value
_WRAPPER_BOARDS = {_PLAYBACK, BoardIds.STREAMING_BOARD.value}


def list_boards() -> list[dict[str, str]]:
    """Boards with EMG channels as ``{"id": "CYTON_BOARD", "description": "Cyton, 8 channels at 250 Hz
    ..."}``.

    These are the boards BrainFlow can drive; whether one is plugged in shows only when it is opened.
    """
    boards = []
    for board in BoardIds:
        with suppress(BrainFlowError):
            description = BoardShim.get_board_descr(board.value)
            channels = _emg_channels(description)
            rate_hz = description.get("sampling_rate", 0)
            if channels and rate_hz:
                slow = ", slow valence only" if rate_hz < TIMING_RATE_HZ else ""
                words = f"{description['name']}, {len(channels)} channels at {rate_hz} Hz{slow}"
                boards.append({"id": board.name, "description": words})
    return boards


def channel_count(board: int | str, parameters: Mapping[str, str | int] | None = None) -> int:
    """How many EMG channels a board has; arguments and errors as of `BrainFlowBoard`."""
    return len(_emg_channels(_description(_board_id(board), _input_parameters(parameters or {}))))


class BrainFlowBoard(OpenedSource):
    """An EMG `Source` on a BrainFlow board.

    `read` raises `DeviceLost` after 3 s without a sample. `notes` tells in sentences what an operator should
    know; `measured_rate_hz` and its standard error get better the longer the board runs. ``spec.rate_hz`` is
    nominal until `open`, which measures it first.
    """

    def __init__(
        self,
        board: int | str,
        *,
        clock: Clock,
        channels: Mapping[str, int] | Mapping[str, str] | None = None,
        parameters: Mapping[str, str | int] | None = None,
        measure_s: float = 2.0,
        name: str | None = None,
        sleep: Sleep = time.sleep,
        wall_clock: Clock = time.time,
    ) -> None:
        """Describe a board; nothing is opened before `open`.

        Args:
            board: BrainFlow's number or name of it: ``0``, ``"0"``, ``"CYTON_BOARD"``, ``"cyton"``.
            clock: Stamps are on this clock.
            channels: Muscle of each channel, ``{"ZYG_L": 0}`` or, as the command line has it, ``{"0":
                "ZYG_L"}``; counted from 0 among the board's EMG channels. Left out: the first are
                `DEFAULT_LABELS`.
            parameters: Attributes of BrainFlowInputParams: ``serial_port``, ``ip_address``, ``file`` ...
            measure_s: How long `open` listens to the sample counter before the stream begins.
            name: Stream name; left out: the board's.
            sleep, wall_clock: For tests; BrainFlow stamps arrivals on the wall clock.

        Raises:
            DeviceNotFound: BrainFlow has no such board.
            InvalidSignal: The board has no EMG channel, or not the ones asked for.
        """
        BoardShim.disable_board_logger()
        self._id = _board_id(board)
        self._parameters = _input_parameters(parameters or {})
        description = _description(self._id, self._parameters)
        available = _emg_channels(description)
        mapping = _channel_map(channels, len(available), description["name"])
        self._rows = [available[index] for index in mapping.values()]
        self._counter_row: int | None = description.get("package_num_channel")
        self._stamp_row: int | None = description.get("timestamp_channel")
        self._clock, self._sleep, self._wall = clock, sleep, wall_clock
        self._measure_s = measure_s
        self._nominal_hz = float(description["sampling_rate"])
        self.notes: list[str] = []
        metadata = {
            "device": description["name"],
            "manufacturer": "BrainFlow",
            "board_id": str(self._id),
            "channel_numbers": ",".join(str(index) for index in mapping.values()),
            "rate": "nominal",
        }
        rail_uv = RAIL_UV.get(BoardIds(_described(self._id, self._parameters)).name)
        if rail_uv is not None:
            metadata["rail_uv"] = str(rail_uv)
        if self._nominal_hz < TIMING_RATE_HZ:
            sentence = (
                f"{description['name']} samples at {self._nominal_hz:g} Hz: good for slow valence, too "
                "slow for the "
                "timing of micro-expressions (500 Hz at least, 1000 Hz advised)."
            )
            metadata["warning"] = sentence
            self.notes.append(sentence)
        serial = (
            self._parameters.serial_number or self._parameters.mac_address or self._parameters.serial_port
        )
        self._spec = StreamSpec(
            name=name or f"{description['name']} EMG",
            kind=Kind.EMG,
            channels=tuple(Channel(label, "microvolts", "EMG") for label in mapping),
            rate_hz=self._nominal_hz,
            dtype=SampleType.FLOAT32,
            source_id=f"brainflow-{self._id}-{serial or self._parameters.file or 'board'}",
            metadata=metadata,
        )
        self._shim: BoardShim | None = None
        self._regression = ClockRegression(self._nominal_hz)
        self._counter = SampleCounter(self._nominal_hz)
        self._waiting: deque[Block] = deque()
        self._last_data_s = -math.inf
        self._wall_offset_s: float | None = None
        self._first: int | None = None
        self._end = 0

    @property
    def spec(self) -> StreamSpec:
        """Stream; its rate is measured once opened."""
        return self._spec

    @property
    def measured_rate_hz(self) -> float:
        """Rate by the sample counter against `clock`, so far."""
        return self._regression.rate_hz

    @property
    def rate_standard_error_hz(self) -> float:
        """Standard error of `measured_rate_hz`."""
        return self._regression.rate_standard_error_hz

    def open(self) -> None:
        """Connect, start the stream and measure its rate.

        Raises:
            DeviceNotFound: The board does not answer.
        """
        if self._shim is not None:
            return
        shim = BoardShim(self._id, self._parameters)
        try:
            shim.prepare_session()
            shim.start_stream()
        except BrainFlowError as error:
            with suppress(BrainFlowError):
                shim.release_session()
            raise DeviceNotFound(self._why(error)) from None
        self._shim = shim
        self._regression = ClockRegression(self._nominal_hz)
        self._counter = SampleCounter(self._nominal_hz)
        self._waiting.clear()
        self._first = None
        self._end = 0
        self._last_data_s = self._clock()
        try:
            self._measure()
        except DeviceLost as error:
            self.close()
            raise DeviceNotFound(
                f"{self._spec.metadata['device']} opened but sends nothing: switch it off and on, and "
                "check its battery."
            ) from error

    def read(self, timeout_s: float) -> Block:
        """Next consecutive samples, empty if none come within `timeout_s`.

        Raises:
            DeviceLost: The board fell silent or was unplugged.
            EndOfStream: Not open, or the file of a playback board is at its end.
        """
        deadline_s = self._clock() + timeout_s
        while not self._waiting:
            if self._shim is None:
                raise EndOfStream(f"{self._spec.name} is not open: call open() first.")
            self._fetch()
            left_s = deadline_s - self._clock()
            if self._waiting or left_s <= 0:
                break
            self._sleep(min(_POLL_S, left_s))
        if not self._waiting:
            return empty_block(self._spec, self._end)
        block = self._waiting.popleft()
        self._end = block.end
        return block

    def close(self) -> None:
        """Stop and release the board; harmless when it is gone."""
        shim, self._shim = self._shim, None
        if shim is not None:
            for step in (shim.stop_stream, shim.release_session):
                with suppress(BrainFlowError):
                    step()

    def _measure(self) -> None:
        until_s = self._clock() + self._measure_s
        least = 0.5 * self._measure_s * self._nominal_hz
        while self._clock() < until_s or self._regression.samples < least:
            self._fetch()
            self._sleep(_POLL_S)
        if self._regression.samples == 0:
            return
        # What was measured on stays unpublished: its stamps were still settling.
        self._waiting.clear()
        self._first = None
        rate_hz = round(self._regression.rate_hz, 2)
        metadata = {
            **self._spec.metadata,
            "rate": "measured",
            "nominal_rate_hz": f"{self._nominal_hz:g}",
            "rate_standard_error_hz": f"{self._regression.rate_standard_error_hz:.3g}",
            "sample_counter": self._counter.words,
        }
        self._spec = replace(self._spec, rate_hz=rate_hz, metadata=metadata)

    def _fetch(self) -> None:
        """Take what the board has, and queue it as blocks without a gap inside."""
        shim = self._shim
        if shim is None:
            return
        try:
            data: NDArray[np.float64] = shim.get_board_data()
        except BrainFlowError as error:
            raise DeviceLost(
                f"{self._spec.metadata['device']} is gone (BrainFlow code {error.exit_code}): check "
                "cable, dongle and battery."
            ) from None
        now_s = self._clock()
        if data.shape[1] == 0:
            if now_s - self._last_data_s > _STALL_S:
                if self._id == _PLAYBACK:
                    raise EndOfStream(f"{self._parameters.file} has been played to its end.")
                raise DeviceLost(
                    f"{self._spec.metadata['device']} has been silent for {_STALL_S:g} s: check battery, "
                    "dongle and cable."
                )
            return
        self._last_data_s = now_s
        arrivals_s = self._arrivals(data, now_s)
        numbers = data[self._counter_row] if self._counter_row is not None else None
        counts = self._counter.count(numbers, arrivals_s)
        stamps = self._regression.update(counts, arrivals_s)
        if self._first is None:
            self._first = int(counts[0])
        samples = np.ascontiguousarray(data[self._rows].T, dtype=np.float32)
        cuts = np.flatnonzero(np.diff(counts) != 1) + 1
        for start, stop in zip([0, *cuts], [*cuts, len(counts)], strict=True):
            first = int(counts[start]) - self._first
            self._waiting.append(Block(self._spec, stamps[start:stop], samples[start:stop], first))

    def _arrivals(self, data: NDArray[np.float64], now_s: float) -> NDArray[np.float64]:
        """When samples arrived, on `clock`; the moment of reading where the board does not say."""
        if self._stamp_row is not None:
            wall = data[self._stamp_row]
            if self._wall_offset_s is None and abs(self._wall() - wall[-1]) < 1.0:
                self._wall_offset_s = now_s - self._wall()
            offset_s = self._wall_offset_s
            if offset_s is not None:
                # The wall clock may be set while we run: follow it, and never trust a stamp from the future.
                offset_s += 0.01 * (now_s - self._wall() - offset_s)
                self._wall_offset_s = offset_s
                arrivals = wall + offset_s
                if now_s - 1.0 < arrivals[-1] < now_s + 0.1:
                    return np.asarray(np.minimum(arrivals, now_s))
        return np.full(data.shape[1], now_s)

    def _why(self, error: BrainFlowError) -> str:
        device = self._spec.metadata["device"]
        port = self._parameters.serial_port
        if port:
            return (
                f"{device} does not answer at {port}: plug in its dongle, switch the board on, and "
                "check the port."
            )
        if self._parameters.file:
            return f"{self._parameters.file} cannot be played as {device}: check the path and master_board."
        if self._parameters.ip_address:
            return (
                f"{device} does not answer at {self._parameters.ip_address}: check that it is on this "
                "network."
            )
        return (
            f"{device} was not found (BrainFlow code {error.exit_code}): switch it on, and give its "
            "serial_port, "
            "mac_address or ip_address."
        )


class SampleCounter:
    """Unwraps a board's package number into a running count that shows lost samples.

    A board whose number does not step evenly (two samples to a package, no number at all) is counted by
    arrival; losses then stay unseen. Whole wraps lost are told from the time that passed.
    """

    def __init__(self, rate_hz: float, modulus: int = _COUNTER_MODULUS) -> None:
        self._rate_hz = rate_hz
        self._modulus = modulus
        self._last_number: int | None = None
        self._last_count = -1
        self._last_arrival_s = 0.0
        self._even = True
        self._zero_steps = 0

    @property
    def words(self) -> str:
        """How samples are counted, for the metadata."""
        return "package number" if self._even and self._last_number is not None else "arrival"

    def count(
        self, numbers: NDArray[np.float64] | None, arrivals_s: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Running counts [n] of samples with package `numbers` that arrived at `arrivals_s`."""
        n = len(arrivals_s)
        if numbers is None or not self._even:
            return self._by_arrival(n)
        packages = np.round(numbers).astype(np.int64)
        self._zero_steps += int(np.sum(np.diff(packages) == 0))
        if packages.max() >= self._modulus:
            self._modulus = 1 << int(packages.max()).bit_length()
        if self._zero_steps > 3:
            self._even = False
            return self._by_arrival(n)
        steps = np.empty(n, dtype=np.int64)
        steps[0] = 1 if self._last_number is None else packages[0] - self._last_number
        steps[1:] = np.diff(packages)
        steps %= self._modulus
        steps[steps == 0] = self._modulus
        if self._last_number is not None:
            # The last sample's arrival tells best how much time has passed: backlogs come in lumps.
            passed = (arrivals_s[-1] - self._last_arrival_s) * self._rate_hz
            wraps = math.floor((passed - steps.sum()) / self._modulus + 0.25)
            steps[0] += self._modulus * max(wraps, 0)
        self._last_number = int(packages[-1])
        self._last_arrival_s = float(arrivals_s[-1])
        counts: NDArray[np.int64] = self._last_count + np.cumsum(steps)
        self._last_count = int(counts[-1])
        return counts

    def _by_arrival(self, n: int) -> NDArray[np.int64]:
        counts = self._last_count + 1 + np.arange(n, dtype=np.int64)
        self._last_count += n
        return counts


def _board_id(board: int | str) -> int:
    if isinstance(board, int) or board.lstrip("-").isdigit():
        number = int(board)
        if number in {known.value for known in BoardIds}:
            return number
    else:
        wanted = board.upper()
        for candidate in (wanted, f"{wanted}_BOARD"):
            if candidate in BoardIds.__members__:
                return int(BoardIds[candidate].value)
    raise DeviceNotFound(f"BrainFlow knows no board {board!r}: 'zygoma devices' lists those there are.")


def _described(board: int, parameters: BrainFlowInputParams) -> int:
    """The board whose description holds: the one that is played, if one is played."""
    return parameters.master_board if board in _WRAPPER_BOARDS else board


def _description(board: int, parameters: BrainFlowInputParams) -> dict[str, Any]:
    try:
        return BoardShim.get_board_descr(_described(board, parameters))  # type: ignore[no-any-return]
    except BrainFlowError:
        raise InvalidSignal(
            f"{BoardIds(board).name} plays another board: name it with master_board=NUMBER."
        ) from None


def _input_parameters(parameters: Mapping[str, str | int]) -> BrainFlowInputParams:
    result = BrainFlowInputParams()
    known = set(vars(result))
    for key, value in parameters.items():
        if key not in known:
            raise InvalidSignal(f"Boards have no parameter {key!r}; there are: {', '.join(sorted(known))}.")
        if key == "master_board":
            value = _board_id(value)
        elif isinstance(getattr(result, key), int):
            value = int(value)
        setattr(result, key, value)
    return result


def _emg_channels(description: Mapping[str, Any]) -> list[int]:
    for kind in ("emg_channels", "exg_channels", "eeg_channels"):
        if description.get(kind):
            return list(description[kind])
    return []


def _channel_map(
    channels: Mapping[str, int] | Mapping[str, str] | None, available: int, device: str
) -> dict[str, int]:
    if not available:
        raise InvalidSignal(
            f"{device} has no EMG channels: choose another board ('zygoma devices' lists them)."
        )
    if not channels:
        return {label: index for index, label in enumerate(DEFAULT_LABELS[:available])}
    result: dict[str, int] = {}
    for key, value in channels.items():
        label, index = (key, value) if isinstance(value, int) else (value, key)
        if not isinstance(index, int):
            if not index.isdigit():
                raise InvalidSignal(
                    f"{device}: name channels by number, like 0=ZYG_L (0 to {available - 1}), not {index!r}."
                )
            index = int(index)
        if not 0 <= index < available:
            raise InvalidSignal(f"{device} has channels 0 to {available - 1}, there is no channel {index}.")
        result[label] = index
    return result
