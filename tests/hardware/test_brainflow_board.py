"""BrainFlow boards: the synthetic, the playback and the streaming board for real, faults with a stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acquisition.clock import ManualClock
from acquisition.stream import Block, DeviceLost, DeviceNotFound, EndOfStream, InvalidSignal, Kind, Source
from hardware import brainflow_board
from hardware.brainflow_board import (
    BoardShim,
    BrainFlowBoard,
    BrainFlowError,
    SampleCounter,
    channel_count,
    list_boards,
)


def gather(board: BrainFlowBoard, samples: int, limit_s: float = 10.0) -> list[Block]:
    blocks: list[Block] = []
    until = time.monotonic() + limit_s
    while sum(map(len, blocks)) < samples and time.monotonic() < until:
        blocks.append(board.read(0.2))
    return [block for block in blocks if len(block)]


def test_the_synthetic_board_streams_evenly_stamped_microvolts(tmp_path: Path) -> None:
    with BrainFlowBoard(
        "synthetic", clock=time.monotonic, channels={"ZYG_L": 1, "COR_R": 3}, measure_s=0.5
    ) as board:
        assert isinstance(board, Source)
        spec = board.spec
        blocks = gather(board, 150)
        opened = time.monotonic()
    assert spec.kind is Kind.EMG and spec.labels == ("ZYG_L", "COR_R")
    assert spec.rate_hz == pytest.approx(250, rel=0.02) and spec.metadata["rate"] == "measured"
    assert spec.metadata["sample_counter"] == "package number"
    assert "too slow" in spec.metadata["warning"] and "too slow" in board.notes[0]
    assert blocks[0].first == 0
    stamps = np.concatenate([block.timestamps for block in blocks])
    assert (np.diff(stamps) > 0).all() and opened - 3 < stamps[-1] <= opened + 0.1
    assert blocks[0].array.shape[1] == 2 and np.isfinite(blocks[0].array).all()
    assert blocks[0].array.dtype == np.float32


def synthetic_recording(path: Path) -> None:
    """One second of a synthetic board, as BrainFlow's file streamer writes it."""
    rows = np.zeros((250, 32))
    rows[:, 0] = np.arange(250) % 256
    rows[:, 1:17] = np.arange(16) + np.sin(np.arange(250))[:, None]
    rows[:, 30] = 1.7e9 + np.arange(250) / 250
    np.savetxt(path, rows, delimiter="\t", fmt="%.6f")


def test_a_playback_file_is_a_board(tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    synthetic_recording(path)
    with BrainFlowBoard(
        "PLAYBACK_FILE_BOARD",
        clock=time.monotonic,
        channels={"0": "ZYG_L", "2": "COR_L"},
        parameters={"file": str(path), "master_board": "synthetic"},
        measure_s=0.0,
    ) as board:
        blocks = gather(board, 100)
    data = np.concatenate([block.array for block in blocks])
    expected = np.array([0.0, 2.0]) + np.sin(np.arange(len(data)))[:, None]
    np.testing.assert_allclose(data, expected, atol=1e-4)


def test_a_streaming_board_listens_to_another_program() -> None:
    address = "streaming_board://225.1.1.1:6688"
    with BrainFlowBoard("synthetic", clock=time.monotonic, measure_s=0.0) as sender:
        assert sender._shim is not None
        sender._shim.add_streamer(address)
        parameters: dict[str, str | int] = {"ip_address": "225.1.1.1", "ip_port": 6688, "master_board": -1}
        with BrainFlowBoard(-2, clock=time.monotonic, parameters=parameters, measure_s=0.0) as board:
            blocks = gather(board, 60, limit_s=3.0)
    if not blocks:
        pytest.skip("this machine passes no multicast to itself")
    assert blocks[0].spec.labels == ("ZYG_L", "ZYG_R", "COR_L", "COR_R")


class Stand:
    """A BoardShim that gives what the test put into `queue`, on a hand-wound clock."""

    def __init__(self, board_id: int, parameters: Any) -> None:
        self.queue: list[np.ndarray[Any, Any]] = []
        self.fault: int | None = None

    def prepare_session(self) -> None: ...
    def start_stream(self) -> None: ...
    def stop_stream(self) -> None: ...
    def release_session(self) -> None: ...

    def get_board_data(self) -> np.ndarray[Any, Any]:
        if self.fault is not None:
            raise BrainFlowError("gone", self.fault)
        return self.queue.pop(0) if self.queue else np.empty((24, 0))

    get_board_descr = staticmethod(BoardShim.get_board_descr)
    disable_board_logger = staticmethod(BoardShim.disable_board_logger)


@pytest.fixture
def cyton(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], tuple[BrainFlowBoard, Stand, ManualClock]]]:
    monkeypatch.setattr(brainflow_board, "BoardShim", Stand)

    def build() -> tuple[BrainFlowBoard, Stand, ManualClock]:
        clock = ManualClock(100.0)
        board = BrainFlowBoard("cyton", clock=clock, measure_s=0.0, sleep=clock.sleep, wall_clock=clock)
        board.open()
        stand = board._shim
        assert isinstance(stand, Stand)
        return board, stand, clock

    yield build


def packet(numbers: np.ndarray[Any, Any], arrival_s: float) -> np.ndarray[Any, Any]:
    data = np.zeros((24, len(numbers)))
    data[0] = numbers % 256
    data[1:9] = numbers
    data[22] = arrival_s
    return data


def test_lost_samples_show_as_a_jump(cyton: Callable[[], tuple[BrainFlowBoard, Stand, ManualClock]]) -> None:
    board, stand, clock = cyton()
    numbers = np.r_[0:300, 310:400]
    stand.queue.append(packet(numbers, clock()))
    first, second = board.read(0.0), board.read(0.0)
    assert (first.first, first.end) == (0, 300) and (second.first, second.end) == (310, 400)
    assert second.array[0, 0] == 310
    assert len(board.read(0.0)) == 0 and board.read(0.0).first == 400


def test_whole_wraps_that_were_lost_are_told_by_the_time(
    cyton: Callable[[], tuple[BrainFlowBoard, Stand, ManualClock]],
) -> None:
    board, stand, clock = cyton()
    for second in range(8):
        clock.sleep(1.0)
        if second not in (4, 5):
            stand.queue.append(packet(np.arange(250 * second, 250 * (second + 1)), clock()))
            block = board.read(0.0)
            assert block.first == 250 * second


def test_silence_and_unplugging_are_told_in_one_sentence(
    cyton: Callable[[], tuple[BrainFlowBoard, Stand, ManualClock]],
) -> None:
    board, _, _ = cyton()
    with pytest.raises(DeviceLost, match=r"Cyton has been silent for 3 s: check"):
        for _ in range(40):
            board.read(0.1)
    board, stand, _ = cyton()
    stand.fault = 15
    with pytest.raises(DeviceLost, match=r"Cyton is gone .* check cable"):
        board.read(0.0)
    board.close()
    with pytest.raises(EndOfStream, match="not open"):
        board.read(0.0)


def test_a_file_that_was_played_to_its_end_is_no_lost_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brainflow_board, "BoardShim", Stand)
    clock = ManualClock(100.0)
    parameters = {"file": "board.csv", "master_board": "cyton"}
    with BrainFlowBoard(
        "PLAYBACK_FILE_BOARD",
        clock=clock,
        parameters=parameters,
        measure_s=0.0,
        sleep=clock.sleep,
        wall_clock=clock,
    ) as board:
        stand = board._shim
        assert isinstance(stand, Stand)
        stand.queue.append(packet(np.arange(250), clock()))
        assert len(board.read(0.0)) == 250
        with pytest.raises(EndOfStream, match=r"board\.csv has been played to its end"):
            for _ in range(40):
                board.read(0.1)


def test_a_board_that_is_not_there_is_told_in_one_sentence() -> None:
    board = BrainFlowBoard(0, clock=time.monotonic, parameters={"serial_port": "/dev/nothing"})
    with pytest.raises(DeviceNotFound, match=r"Cyton does not answer at /dev/nothing: plug in"):
        board.open()
    with pytest.raises(DeviceNotFound, match="knows no board 'toaster'"):
        BrainFlowBoard("toaster", clock=time.monotonic)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": {"ZYG_L": 99}}, "channels 0 to 7"),
        ({"channels": {"left": "ZYG_L"}}, "by number"),
        ({"parameters": {"colour": "red"}}, "no parameter 'colour'"),
        ({"board": -3}, "master_board"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSignal, match=words):
        BrainFlowBoard(**{"board": "cyton", "clock": time.monotonic, **arguments})


def test_a_counter_with_two_samples_to_a_package_is_counted_by_arrival() -> None:
    counter = SampleCounter(200.0)
    packages = np.repeat(np.arange(20), 2).astype(float)
    assert np.array_equal(counter.count(packages, np.arange(40) / 200), np.arange(40))
    assert counter.words == "arrival"
    wide = SampleCounter(1000.0)
    assert np.array_equal(wide.count(np.arange(250.0, 400.0), np.arange(150) / 1000), np.arange(150))


def test_boards_are_listed_with_their_worth() -> None:
    boards = {board["id"]: board["description"] for board in list_boards()}
    assert boards["CYTON_BOARD"] == "Cyton, 8 channels at 250 Hz, slow valence only"
    assert "slow" not in boards["CYTON_WIFI_BOARD"]


def test_a_board_states_where_it_saturates_if_that_is_known() -> None:
    def stated(board: str, **parameters: str) -> str | None:
        return BrainFlowBoard(board, clock=time.monotonic, parameters=parameters).spec.metadata.get("rail_uv")

    assert stated("cyton") == "187500" and stated("ganglion") == "15686"
    assert stated("playback_file", master_board="cyton", file="x.csv") == "187500"
    assert stated("synthetic") is None
    assert channel_count("cyton") == 8 and channel_count("playback_file", {"master_board": "ganglion"}) == 4
