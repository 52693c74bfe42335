"""Webcams without a webcam: a scripted capture device stands in for the driver."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from acquisition.clock import ManualClock
from acquisition.stream import DeviceLost, DeviceNotFound, FrameFormat, Source
from hardware import webcam
from hardware.jpeg import captured_jpeg
from hardware.video_nodes import VideoNode
from hardware.webcam import Webcam, list_webcams

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
JPEG = cv2.imencode(".jpg", PICTURE)[1].tobytes()


class FakeCapture:
    """A cv2.VideoCapture whose grabs move a clock.

    `stale` frames lie in the driver's buffer at first and come at once. What follows the start, in the
    camera's own thread, is the `script`: "ok", "fail", "damaged" or a number of seconds that a frame takes.
    After it come frames without an instant of their own, which nobody is given.
    """

    def __init__(
        self,
        clock: ManualClock,
        script: Sequence[str | float] = (),
        *,
        opened: bool = True,
        native: bool = True,
        fps: float = 30.0,
        driver_delay_s: float | None = None,
    ) -> None:
        self.clock, self.opened, self.native, self.fps = clock, opened, native, fps
        self.script = iter(script)
        self.driver_delay_s = driver_delay_s
        self.stale = 4
        self.settings: dict[int, float] = {}
        self.released = False
        self.jpeg, self.picture = JPEG, PICTURE
        self.first_intervals_s: Iterator[float] = iter(())
        self.first: Iterator[str] = iter(())
        self.grabbed_s: list[float] = []
        self.done = threading.Event()
        self._now: str | float = "ok"

    def isOpened(self) -> bool:
        return self.opened

    def set(self, setting: int, value: float) -> bool:
        self.settings[setting] = value
        return True

    def get(self, setting: int) -> float:
        assert setting == cv2.CAP_PROP_POS_MSEC
        return 0.0 if self.driver_delay_s is None else 1000 * (self.clock() - self.driver_delay_s)

    def getBackendName(self) -> str:
        return "FAKE"

    def grab(self) -> bool:
        if threading.current_thread() is threading.main_thread():
            if self.stale:
                self.stale -= 1
                return True
            self.clock.sleep(next(self.first_intervals_s, 1 / self.fps))
            self._now = next(self.first, "ok")
            return True
        item = next(self.script, None)
        if item is None:
            self.done.set()
            threading.Event().wait(0.002)
            return True
        self._now = item
        self.clock.sleep(item if isinstance(item, float) else 1 / self.fps)
        self.grabbed_s.append(self.clock())
        return item != "fail"

    def retrieve(self):
        if self._now == "damaged":
            return True, np.zeros((1, 100), np.uint8)
        if self.native and self.settings.get(cv2.CAP_PROP_CONVERT_RGB) == 0:
            return True, np.frombuffer(self.jpeg, np.uint8)[None]
        if self.settings.get(cv2.CAP_PROP_CONVERT_RGB) == 0:
            return True, np.zeros((1, 48 * 64 * 2), np.uint8)
        return True, self.picture

    def release(self) -> None:
        self.released = True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def camera(capture: FakeCapture, **options) -> Webcam:
    return Webcam(0, clock=capture.clock, capture=lambda device: capture, **options)


def test_native_jpeg_is_passed_on_untouched(clock):
    capture = FakeCapture(clock, ["ok", "ok"])
    capture.jpeg = JPEG + b"\x00" * 500
    with camera(capture) as source:
        assert isinstance(source, Source)
        first, second = source.read(5.0), source.read(5.0)
    assert capture.settings[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert first.data == (JPEG,)
    assert (first.first, second.first) == (0, 1)
    assert [first.timestamps[0], second.timestamps[0]] == capture.grabbed_s
    assert source.spec.frame == FrameFormat(64, 48, "MJPG")
    assert source.spec.metadata["jpeg"] == "native"
    assert source.spec.metadata["stamped"] == "on arrival"
    assert source.spec.labels == ("jpeg", "frame_number")
    assert capture.released


def test_a_driver_that_tells_when_a_frame_was_taken_is_believed(clock):
    capture = FakeCapture(clock, ["ok", 1.5, "ok"], driver_delay_s=0.021)
    with camera(capture) as source:
        stamps = [source.read(5.0).timestamps[0] for _ in range(3)]
    np.testing.assert_allclose(stamps, np.array(capture.grabbed_s) - 0.021)
    assert source.spec.metadata["stamped"] == "by the driver"


@pytest.mark.parametrize("delay_s", [-1.6e9, 1000.0, 60.0])
def test_a_driver_with_a_clock_of_its_own_is_not(clock, delay_s):
    capture = FakeCapture(clock, ["ok"], driver_delay_s=delay_s)
    with camera(capture) as source:
        assert source.read(5.0).timestamps[0] == capture.grabbed_s[0]
    assert source.spec.metadata["stamped"] == "on arrival"


def test_other_cameras_are_encoded_with_little_loss(clock):
    with camera(FakeCapture(clock, ["ok"], native=False)) as source:
        (jpeg,) = source.read(5.0).data
    assert jpeg == cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert source.spec.metadata["jpeg"] == "encoded here"


def test_damaged_first_pictures_do_not_cost_the_native_ones(clock):
    capture = FakeCapture(clock, ["ok"])
    capture.stale = 0
    capture.first = iter(["damaged"] * 3)
    with camera(capture) as source:
        assert source.read(5.0).data == (JPEG,)


def test_stale_frames_are_thrown_away_and_the_rate_is_measured(clock):
    capture = FakeCapture(clock, fps=25.0)
    capture.stale = 9
    source = camera(capture, rate_hz=30.0)
    assert source.spec.rate_hz == 30.0
    with source:
        assert capture.stale == 0
        assert source.spec.rate_hz == pytest.approx(25.0)
        source.open()  # a second time is none
    assert capture.released


def test_frames_that_come_in_pairs_do_not_double_the_rate(clock):
    capture = FakeCapture(clock)
    capture.first_intervals_s = itertools.cycle([0.001, 2 / 30 - 0.001])
    with camera(capture) as source:
        assert source.spec.rate_hz == pytest.approx(30.0)


def test_what_is_not_as_asked_for_is_told(clock):
    capture = FakeCapture(clock, native=False, fps=10.0)
    capture.picture = np.full((480, 640, 3), 3, np.uint8)
    with camera(capture, width=1280, height=720) as source:
        size, rate, black = source.notes
    assert "640 x 480 pixels instead of 1280 x 720" in size
    assert "10.0 frames/s instead of 30" in rate and "light" in rate
    assert "shutter" in black
    with camera(FakeCapture(clock), width=64, height=48) as source:
        assert source.notes == []


def test_damaged_frames_and_stalls_show_as_lost_frames(clock):
    capture = FakeCapture(clock, ["ok", "damaged", "ok", "fail", 0.5, "ok", "damaged", "fail", "ok"])
    with camera(capture) as source:
        firsts = [source.read(5.0).first for _ in range(5)]
    # 0, [1 damaged], 2, [a failed grab and half a second: 15 frames], 18, 19, [20 damaged, 21 failed], 22
    assert firsts == [0, 2, 18, 19, 22]


def test_unplugging_is_told_with_advice(clock):
    capture = FakeCapture(clock, ["ok", "fail", "fail", "fail"])
    with camera(capture) as source:
        assert len(source.read(5.0)) == 1
        for _ in range(2):
            with pytest.raises(DeviceLost, match="plug it in"):
                source.read(5.0)
    assert capture.released
    with pytest.raises(DeviceLost, match="not open"):
        source.read(1.0)


def test_a_camera_that_stalls_is_lost_at_the_first_grab_that_gave_up(clock):
    capture = FakeCapture(clock, ["ok", "fail"], fps=0.25)
    with camera(capture) as source, pytest.raises(DeviceLost, match="stopped"):
        for _ in range(2):
            source.read(5.0)


def test_a_camera_can_be_opened_again(clock):
    made = iter([FakeCapture(clock, ["ok"]), FakeCapture(clock, ["ok"])])
    source = Webcam(0, clock=clock, capture=lambda device: next(made))
    for _ in range(2):
        with source:
            assert source.read(5.0).first == 0


def test_a_camera_plugged_in_elsewhere_is_opened_where_it_is_now(clock):
    mine = VideoNode(0, "HD Webcam", "046d:0825", serial="S1", port="1-1")
    other = VideoNode(1, "HD Webcam", "046d:0825", serial="S2", port="1-2")
    plugged = [mine, other]
    opened: list[int | str] = []

    def capture(device: int | str) -> FakeCapture:
        opened.append(device)
        return FakeCapture(clock, ["ok"])

    source = Webcam("/dev/video0", clock=clock, capture=capture, nodes=lambda: list(plugged))
    with source:
        assert len(source.read(5.0)) == 1
    # Pulled out; a third camera gets its number, and it is put into another port.
    plugged[:] = [VideoNode(0, "HD Webcam", "046d:0825", serial="S3", port="1-1"), other]
    with pytest.raises(DeviceNotFound, match="not plugged in"):
        source.open()
    plugged.append(VideoNode(7, "HD Webcam", "046d:0825", serial="S1", port="1-4"))
    with source:
        assert len(source.read(5.0)) == 1
    assert opened == ["/dev/video0", 7]


def test_a_camera_without_pictures(clock):
    capture = FakeCapture(clock)
    capture.grab = lambda: False  # type: ignore[method-assign]
    with pytest.raises(DeviceLost, match="no pictures"):
        camera(capture).open()
    assert capture.released


def test_a_monochrome_or_deep_camera_is_refused(clock):
    capture = FakeCapture(clock, native=False)
    capture.picture = np.zeros((48, 64), np.uint16)
    with pytest.raises(DeviceLost, match="colour"):
        camera(capture).open()
    assert capture.released


@pytest.mark.parametrize(
    ("exists", "allowed", "says"),
    [(False, False, "There is no camera 0"), (True, False, "video group"), (True, True, "other program")],
)
def test_why_a_camera_does_not_open(clock, monkeypatch, exists, allowed, says):
    monkeypatch.setattr(Path, "exists", lambda self: exists)
    monkeypatch.setattr(os, "access", lambda path, mode: allowed)
    with pytest.raises(DeviceNotFound, match=says):
        camera(FakeCapture(clock, opened=False)).open()


@pytest.mark.parametrize("at_start", [True, False])
def test_an_error_inside_opencv_ends_the_camera_and_is_told(clock, at_start):
    capture = FakeCapture(clock, ["ok"])
    retrieve = capture.retrieve

    def failing():
        if (threading.current_thread() is threading.main_thread()) == at_start:
            cv2.imdecode(np.empty(0, np.uint8), 1)
        return retrieve()

    capture.retrieve = failing  # type: ignore[method-assign]
    with pytest.raises(DeviceLost, match="plug"), camera(capture) as source:
        source.read(5.0)
    assert capture.released


def test_any_other_error_while_grabbing_is_told_too(clock):
    capture = FakeCapture(clock, ["ok"])
    retrieve = capture.retrieve

    def failing():
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room for a frame")
        return retrieve()

    capture.retrieve = failing  # type: ignore[method-assign]
    with pytest.raises(DeviceLost, match="no room for a frame"), camera(capture) as source:
        source.read(5.0)


def test_frames_that_are_not_read_are_lost_and_counted(clock, monkeypatch):
    monkeypatch.setattr(webcam, "_QUEUE_FRAMES", 5)
    capture = FakeCapture(clock, ["ok"] * 40)
    with camera(capture) as source:
        assert capture.done.wait(20.0)
        assert [source.read(5.0).first for _ in range(5)] == list(range(35, 40))
        assert len(source.read(0.001)) == 0


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
    for shaped in (row, row[None], row[:, None]):
        assert captured_jpeg(shaped) == JPEG
    for other in (row[2:], row[: len(JPEG) // 2], PICTURE, np.empty((1, 0), np.uint8), row.astype(np.uint16)):
        assert captured_jpeg(other) is None
