"""Webcams without a webcam: a scripted capture device stands in for the driver."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from acquisition.clock import ManualClock
from acquisition.stream import DeviceLost, DeviceNotFound, FrameFormat, Source
from hardware import webcam
from hardware.webcam import Webcam, is_jpeg, list_webcams, trimmed_jpeg

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
JPEG = cv2.imencode(".jpg", PICTURE)[1].tobytes()


class FakeCapture:
    """A cv2.VideoCapture whose grabs move a clock.

    `stale` frames lie in the driver's buffer at first and come at once. `script` gives, for each grab after
    the start-up, "ok", "fail", "damaged" or a number of seconds that this frame takes.
    """

    def __init__(
        self, clock: ManualClock, *, opened: bool = True, native: bool = True, fps: float = 30.0
    ) -> None:
        self.clock, self.opened, self.native, self.fps = clock, opened, native, fps
        self.stale = 4
        self.script: Iterator[str | float] = iter(())
        self.settings: dict[int, float] = {}
        self.released = False
        self.grabs = 0
        self.padding = b""
        self._now: str | float = "ok"

    def isOpened(self) -> bool:
        return self.opened

    def set(self, setting: int, value: float) -> bool:
        self.settings[setting] = value
        return True

    def getBackendName(self) -> str:
        return "FAKE"

    def grab(self) -> bool:
        self.grabs += 1
        if self.stale:
            self.stale -= 1
            return True
        self._now = next(self.script, "ok") if self.grabs > 30 else "ok"
        self.clock.sleep(self._now if isinstance(self._now, float) else 1 / self.fps)
        return self._now != "fail"

    def retrieve(self):
        if self._now == "damaged":
            return True, np.zeros((1, 100), np.uint8)
        if self.native and self.settings.get(cv2.CAP_PROP_CONVERT_RGB) == 0:
            return True, np.frombuffer(JPEG + self.padding, np.uint8)[None]
        if self.settings.get(cv2.CAP_PROP_CONVERT_RGB) == 0:
            return True, np.zeros((48, 64, 2), np.uint8)
        return True, PICTURE

    def release(self) -> None:
        self.released = True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def camera(capture: FakeCapture, **options) -> Webcam:
    return Webcam(0, clock=capture.clock, capture=lambda device: capture, threaded=False, **options)


def opened(capture: FakeCapture, script: list[str | float] = (), **options) -> Webcam:
    source = camera(capture, **options)
    source.open()
    capture.grabs = 1000
    capture.script = iter(script)
    return source


def test_native_jpeg_is_passed_on_untouched(clock):
    capture = FakeCapture(clock)
    capture.padding = b"\x00" * 500
    source = opened(capture)
    assert isinstance(source, Source)
    assert capture.settings[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    before_s = clock()
    block = source.read(1.0)
    assert block.data == (JPEG,)
    assert block.first == 0
    assert block.timestamps[0] == pytest.approx(before_s + 1 / 30)
    assert source.read(1.0).first == 1
    assert source.spec.frame == FrameFormat(64, 48, "MJPG")
    assert source.spec.metadata["jpeg"] == "native"
    assert source.spec.labels == ("jpeg", "frame_number")


def test_other_cameras_are_encoded_with_little_loss(clock):
    source = opened(FakeCapture(clock, native=False))
    (jpeg,) = source.read(1.0).data
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    reference = cv2.imdecode(
        cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.IMREAD_COLOR
    )
    np.testing.assert_array_equal(decoded, reference)
    assert source.spec.metadata["jpeg"] == "encoded here"


def test_stale_frames_are_thrown_away_and_the_rate_is_measured(clock):
    capture = FakeCapture(clock, fps=25.0)
    capture.stale = 9
    source = camera(capture, rate_hz=30.0)
    assert source.spec.rate_hz == 30.0
    with source:
        assert capture.stale == 0
        assert source.spec.rate_hz == pytest.approx(25.0)
        assert source.read(1.0).timestamps[0] == clock()
    assert capture.released


def test_damaged_frames_and_stalls_show_as_lost_frames(clock):
    script: list[str | float] = ["ok", "damaged", "ok", "fail", 0.5, "ok"]
    source = opened(FakeCapture(clock), script)
    firsts = [block.first for block in (source.read(1.0) for _ in script) if len(block)]
    # 0, [1 damaged], 2, [failed grab and half a second: 15 frames], 18, 19
    assert firsts == [0, 2, 18, 19]


def test_unplugging_is_told_with_advice(clock):
    capture = FakeCapture(clock)
    source = opened(capture, ["ok", "fail", "fail", "fail"])
    assert len(source.read(1.0)) == 1
    with pytest.raises(DeviceLost, match="plug it in"):
        for _ in range(3):
            source.read(1.0)
    source.close()
    assert capture.released
    with pytest.raises(DeviceLost, match="not open"):
        source.read(1.0)


def test_a_camera_can_be_opened_again(clock):
    captures = [FakeCapture(clock), FakeCapture(clock)]
    made = iter(captures)
    source = Webcam(0, clock=clock, capture=lambda device: next(made), threaded=False)
    for _ in range(2):
        source.open()
        assert source.read(1.0).first == 0
        source.close()


def test_a_camera_without_pictures(clock):
    capture = FakeCapture(clock)
    capture.grab = lambda: False  # type: ignore[method-assign]
    with pytest.raises(DeviceLost, match="no pictures"):
        camera(capture).open()
    assert capture.released


def test_a_monochrome_or_deep_camera_is_refused(clock):
    capture = FakeCapture(clock, native=False)
    capture.retrieve = lambda: (True, np.zeros((48, 64), np.uint16))  # type: ignore[method-assign]
    with pytest.raises(DeviceLost, match="colour"):
        camera(capture).open()


@pytest.mark.parametrize(
    ("exists", "allowed", "says"),
    [(False, False, "There is no camera 0"), (True, False, "video group"), (True, True, "other program")],
)
def test_why_a_camera_does_not_open(clock, monkeypatch, exists, allowed, says):
    monkeypatch.setattr(Path, "exists", lambda self: exists)
    monkeypatch.setattr(os, "access", lambda path, mode: allowed)
    with pytest.raises(DeviceNotFound, match=says):
        camera(FakeCapture(clock, opened=False)).open()


def test_the_grabbing_thread_stamps_and_counts():
    """Real threads, no real time: each grab waits for a ticket."""
    clock = ManualClock()
    capture = FakeCapture(clock)
    tickets = threading.Semaphore(60)
    grab = capture.grab

    def waiting() -> bool:
        assert tickets.acquire(timeout=20.0)
        return grab()

    capture.grab = waiting  # type: ignore[method-assign]
    source = Webcam(0, clock=clock, capture=lambda device: capture)
    source.open()
    try:
        frames = [source.read(5.0) for _ in range(10)]
        assert [block.first for block in frames] == list(range(10))
        stamps = np.concatenate([block.timestamps for block in frames])
        np.testing.assert_allclose(np.diff(stamps), 1 / 30)
        capture.script = iter(["fail"] * 10)
        capture.grabs = 1000
        tickets.release(100)
        with pytest.raises(DeviceLost):
            for _ in range(200):
                source.read(5.0)
    finally:
        source.close()
    assert capture.released


def test_an_error_inside_opencv_ends_the_camera_and_is_told():
    clock = ManualClock()
    capture = FakeCapture(clock)
    retrieve = capture.retrieve

    def failing():
        return cv2.imdecode(np.empty(0, np.uint8), 1) if capture.grabs > 60 else retrieve()

    capture.retrieve = failing  # type: ignore[method-assign]
    with (
        Webcam(0, clock=clock, capture=lambda device: capture) as source,
        pytest.raises(DeviceLost, match="plug"),
    ):
        for _ in range(200):
            source.read(5.0)


def test_frames_that_are_not_read_are_lost_and_counted(monkeypatch):
    monkeypatch.setattr(webcam, "_QUEUE_FRAMES", 5)
    clock = ManualClock()
    capture = FakeCapture(clock)
    source = Webcam(0, clock=clock, capture=lambda device: capture)
    done = threading.Event()
    grab = capture.grab

    def until_done() -> bool:
        if capture.grabs >= 80:
            done.set()
            threading.Event().wait(0.01)
            clock.now_s -= 1 / 30  # no further frames: a stamp that does not rise is not delivered
        return grab()

    capture.grab = until_done  # type: ignore[method-assign]
    with source:
        assert done.wait(20.0)
        firsts = [source.read(5.0).first for _ in range(5)]
    assert firsts[0] > 0
    assert firsts == list(range(firsts[0], firsts[0] + 5))


def test_cameras_are_listed_without_opening_them(tmp_path):
    for node, index, name in (("video10", "0", "Second"), ("video2", "0", "First"), ("video3", "1", "First")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "index").write_text(index + "\n")
        (tmp_path / node / "name").write_text(name + "\n")
    assert list_webcams(sysfs=tmp_path, linux=True) == [
        {"id": "2", "description": "First"},
        {"id": "10", "description": "Second"},
    ]
    assert list_webcams(sysfs=tmp_path / "none", linux=True) == []


def test_cameras_are_tried_where_they_cannot_be_listed(clock):
    captures = [FakeCapture(clock, opened=number == 1) for number in range(4)]
    found = list_webcams(capture=lambda device: captures[device], linux=False)
    assert found == [{"id": "1", "description": "camera 1 (FAKE)"}]
    assert all(capture.released for capture in captures)


def test_jpeg_recognition():
    row = np.frombuffer(JPEG + b"\0" * 64, np.uint8)
    assert is_jpeg(row[None]) and is_jpeg(row[:, None]) and is_jpeg(row)
    assert not is_jpeg(row[2:][None])
    assert not is_jpeg(row[: len(JPEG) // 2][None])
    assert not is_jpeg(PICTURE)
    assert not is_jpeg(np.empty((1, 0), np.uint8))
    assert trimmed_jpeg(row) == JPEG
