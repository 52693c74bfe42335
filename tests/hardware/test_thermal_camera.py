"""Thermal cameras on a fake bus: stamps, FFC, unplugging and being found again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.clock import ManualClock
from acquisition.stream import DeviceLost, DeviceNotFound, InvalidSignal, Kind, Source
from hardware.simulated.thermal_inputs import counts_of, room
from hardware.thermal_camera import OpenCvCapture, ThermalCamera
from hardware.thermal_finding import (
    ThermalPlace,
    find_thermal_cameras,
    frame_sizes,
    list_thermal_cameras,
)
from hardware.thermal_formats import CENTIKELVIN, MODELS, ThermalModel

PERIOD_S = 0.114
LEPTON = ThermalPlace(MODELS["lepton"], 2, "8003-0042", "PureThermal: thermal")


def lepton_picture(i: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(i)
    celsius = np.full((120, 160), 22.0)
    celsius[30:90, 50:110] = 34.0
    return np.asarray(np.round((celsius + rng.normal(0, 0.02, celsius.shape) + 273.15) * 100), np.uint16)


class FakeCapture:
    """A camera that gives a frame every period of a manual clock, until something happens to it."""

    def __init__(self, clock: ManualClock, picture: Callable[[int], NDArray[Any] | None]) -> None:
        self.clock, self.picture = clock, picture
        self.count = 0
        self.gone = self.silent = self.released = False

    def grab(self, timeout_s: float) -> bool | None:
        if self.gone:
            return False
        if self.silent or timeout_s < PERIOD_S:
            self.clock.sleep(timeout_s)
            return None
        self.clock.sleep(PERIOD_S)
        return True

    def retrieve(self) -> NDArray[Any] | None:
        # Decoding takes its time, after the stamp.
        self.clock.sleep(0.01)
        self.count += 1
        return self.picture(self.count)

    def release(self) -> None:
        self.released = True


class Bus:
    """Plugs cameras in and out."""

    def __init__(self, picture: Callable[[int], NDArray[Any] | None] = lepton_picture) -> None:
        self.clock = ManualClock()
        self.places = [LEPTON]
        self.picture = picture
        self.captures: list[FakeCapture] = []
        self.notices: list[str] = []

    def capture(self, place: ThermalPlace) -> FakeCapture:
        if place not in self.places:
            raise DeviceNotFound("not there")
        self.captures.append(FakeCapture(self.clock, self.picture))
        return self.captures[-1]

    def camera(self, device: str | int | None = None, **options: Any) -> ThermalCamera:
        return ThermalCamera(
            device,
            clock=self.clock,
            sleep=self.clock.sleep,
            capture=self.capture,
            finder=lambda: tuple(self.places),
            on_notice=self.notices.append,
            **options,
        )


def test_frames_are_centi_degrees_stamped_at_the_grab() -> None:
    bus = Bus()
    with bus.camera() as camera:
        assert isinstance(camera, Source)
        assert camera.spec.kind is Kind.THERMAL and camera.spec.channel_count == 160 * 120 + 2
        assert "0.01 K per count" in camera.evidence
        blocks = []
        for _ in range(5):
            grabbed_s = bus.clock() + PERIOD_S
            blocks.append(camera.read(1.0))
            assert blocks[-1].timestamps[0] == pytest.approx(grabbed_s)
    expected = lepton_picture(2).astype(int) - 27315
    np.testing.assert_array_equal(blocks[0].array[0, :-2].reshape(120, 160), expected)
    assert [block.first for block in blocks] == [0, 1, 2, 3, 4]
    assert [int(block.column("frame_number")[0]) for block in blocks] == [0, 1, 2, 3, 4]
    assert not any(block.column("ffc")[0] for block in blocks)
    assert bus.captures[0].released


def test_nothing_within_the_timeout_is_an_empty_block() -> None:
    bus = Bus()
    with bus.camera() as camera:
        assert len(camera.read(0.01)) == 0


def test_pause_and_still_pictures_are_flagged_as_ffc() -> None:
    still = [0]
    bus = Bus(lambda i: lepton_picture(still[0] or i))
    with bus.camera() as camera:
        flags = [int(camera.read(1.0).column("ffc")[0]) for _ in range(12)]
        assert not any(flags)
        bus.clock.sleep(2.05)
        block = camera.read(1.0)
        assert block.column("ffc")[0] == 1 and block.first == 12
        assert camera.read(1.0).column("ffc")[0] == 0
        still[0] = 7
        flags = [int(camera.read(1.0).column("ffc")[0]) for _ in range(8)]
    assert flags[:3] == [0, 0, 0] and flags[-1] == 1


def test_telemetry_alone_decides_where_there_is_some() -> None:
    words = np.zeros((2, 160), np.uint16)
    words[0, [0, 3, 24]] = 14, 2 << 4, 30100
    words[1, 48:50] = 1
    bus = Bus(
        lambda i: np.vstack(
            [lepton_picture(i), words if i == 5 else words % np.uint16(2**15) * (words != 32)]
        )
    )
    with bus.camera() as camera:
        flags = [int(camera.read(1.0).column("ffc")[0]) for _ in range(8)]
    assert flags == [0, 0, 0, 1, 0, 0, 0, 0]


def test_unplugged_camera_is_found_again_by_its_serial_at_another_place() -> None:
    bus = Bus()
    with bus.camera() as camera:
        for _ in range(10):
            last = camera.read(1.0)
        bus.places.clear()
        bus.captures[-1].gone = True
        for _ in range(5):
            assert len(camera.read(0.5)) == 0
        bus.places.append(ThermalPlace(LEPTON.model, 4, LEPTON.serial))
        block = camera.read(1.0)
        while not len(block):
            block = camera.read(1.0)
    assert len(bus.captures) == 2 and bus.captures[0].released
    lost = block.first - last.end
    assert lost == pytest.approx((block.timestamps[0] - last.timestamps[0]) * 8.77, abs=3)
    assert any("gone" in notice for notice in bus.notices) and any("back" in notice for notice in bus.notices)


def test_camera_that_stays_away_is_lost_after_backing_off() -> None:
    bus = Bus()
    attempts = []
    with bus.camera(give_up_s=40.0) as camera:
        camera.read(1.0)
        bus.places[:] = [ThermalPlace(MODELS["p2pro"], 2)]
        bus.captures[-1].gone = True
        with pytest.raises(DeviceLost, match="check its cable"):
            for _ in range(200):
                camera.read(1.0)
                attempts.append(bus.clock())
    assert bus.clock() > 1040.0 and len(bus.captures) == 1


def test_ffc_long_silence_does_not_reopen_but_a_longer_one_does() -> None:
    bus = Bus()
    with bus.camera() as camera:
        camera.read(1.0)
        bus.captures[-1].silent = True
        for _ in range(4):
            camera.read(0.5)
        assert len(bus.captures) == 1 and any("silent" in notice for notice in bus.notices)
        bus.captures[-1].silent = False
        assert len(camera.read(1.0)) == 1
        bus.captures[-1].silent = True
        for _ in range(12):
            camera.read(0.5)
        assert len(bus.captures) == 2


def test_display_pictures_and_silent_cameras_are_refused_at_open() -> None:
    grey = Bus(lambda i: np.zeros((120, 160, 3), np.uint8))
    with pytest.raises(InvalidSignal, match="AGC"):
        grey.camera().open()
    assert grey.captures[-1].released
    mute = Bus(lambda i: None)
    with pytest.raises(DeviceLost, match="gives no frames"):
        mute.camera().open()


def test_stale_first_frames_do_not_keep_a_camera_from_opening() -> None:
    bus = Bus(lambda i: np.zeros((120, 160), np.uint16) if i < 3 else lepton_picture(i))
    with bus.camera() as camera:
        assert len(camera.read(1.0)) == 1


def test_devices_are_named_and_errors_say_which_there_are() -> None:
    bus = Bus()
    listing = list_thermal_cameras(lambda: (LEPTON,))
    assert listing[0]["id"] == "lepton@2" and listing[0]["serial"] == "8003-0042"
    for device in ("lepton@2", 2, "2", "/dev/video2", "8003-0042", None):
        assert bus.camera(device).spec.source_id == "thermal-lepton-8003-0042"
    for device, words in (
        ("lepton@x", "MODEL@NUMBER"),
        ("9", "there are: lepton@2"),
        ("flir@1", "models? of"),
    ):
        with pytest.raises(DeviceNotFound, match=words):
            bus.camera(device)
    bus.places.clear()
    with pytest.raises(DeviceNotFound, match="plug one in"):
        bus.camera()


def test_cameras_are_recognised_by_usb_identity(tmp_path: Path) -> None:
    def plug(number: int, usb: str, name: str, index: str = "0") -> None:
        interface = tmp_path / "usb" / f"{number}" / "1.0"
        interface.mkdir(parents=True)
        for file, text in (("idVendor", usb[:4]), ("idProduct", usb[5:]), ("serial", f"S{number}")):
            (interface.parent / file).write_text(text + "\n")
        node = tmp_path / "v4l" / f"video{number}"
        node.mkdir(parents=True)
        (node / "name").write_text(name)
        (node / "index").write_text(index)
        (node / "device").symlink_to(interface)

    plug(0, "046d:0825", "HD Webcam")
    plug(2, "1e4e:0100", "PureThermal (fw:v1.3.0)")
    plug(3, "1e4e:0100", "PureThermal (fw:v1.3.0)", index="1")
    plug(4, "0bda:5830", "P2 Pro")
    plug(10, "09cb:4007", "FLIR Video")
    sizes: dict[int, frozenset[tuple[int, int]]] = {}

    def offered(node: int, fourcc: str) -> frozenset[tuple[int, int]]:
        assert fourcc == "Y16 "
        return sizes.get(node, frozenset())

    # A driver that does not tell its sizes leaves the commoner sensor.
    found = find_thermal_cameras(tmp_path / "v4l", offered)
    assert [place.id for place in found] == ["lepton@2", "p2pro@4", "boson640@10"]
    assert [place.serial for place in found] == ["S2", "S4", "S10"]
    sizes |= {2: frozenset({(80, 60), (80, 63)}), 10: frozenset({(320, 256)})}
    found = find_thermal_cameras(tmp_path / "v4l", offered)
    assert [place.id for place in found] == ["lepton2@2", "p2pro@4", "boson320@10"]
    # A PureThermal that does not know its sensor yet offers both.
    sizes[2] |= {(160, 120), (160, 122)}
    assert find_thermal_cameras(tmp_path / "v4l", offered)[0].id == "lepton@2"
    assert find_thermal_cameras(tmp_path / "v4l")[0].id == "lepton@2"


def test_picture_sizes_are_read_from_the_bytes_that_v4l2_answers_with() -> None:
    offers = [(1, 320, 256), (1, 320, 258), (3, 16, 640)]

    def driver(request: int, answer: bytearray) -> None:
        assert request == 0xC02C564A and len(answer) == 44 and answer[4:8] == b"Y16 "
        index = int.from_bytes(answer[:4], sys.byteorder)
        if index >= len(offers):
            raise OSError(22, "Invalid argument")
        for place, value in zip((8, 12, 16), offers[index], strict=True):
            answer[place : place + 4] = value.to_bytes(4, sys.byteorder)

    # The third is a range in steps, which no thermal camera has.
    assert frame_sizes(driver, "Y16 ") == {(320, 256), (320, 258)}


class FakeVideo:
    """cv2.VideoCapture of some system: records what it is asked for."""

    def __init__(self, *, converts: bool) -> None:
        self.converts = converts
        self.asked: dict[int, float] = {}
        self.backend = -1
        self.released = False

    def __call__(self, node: int, backend: int) -> FakeVideo:
        self.backend = backend
        return self

    def isOpened(self) -> bool:
        return True

    def set(self, name: int, value: float) -> bool:
        self.asked[name] = value
        return not (self.converts and name == cv2.CAP_PROP_CONVERT_RGB)

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize(
    ("system", "model", "backend"),
    [
        ("linux", "lepton", cv2.CAP_V4L2),
        ("linux", "tc001", cv2.CAP_V4L2),
        ("win32", "lepton", cv2.CAP_DSHOW),
        ("win32", "boson320", cv2.CAP_DSHOW),
        ("win32", "tc001", cv2.CAP_MSMF),
        ("darwin", "lepton", cv2.CAP_AVFOUNDATION),
    ],
)
def test_each_system_is_asked_for_raw_values_and_refused_where_it_has_none(
    system: str, model: str, backend: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = FakeVideo(converts=system == "darwin")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(cv2, "VideoCapture", video)
    place = ThermalPlace(MODELS[model], 1)
    if system == "darwin":
        with pytest.raises(InvalidSignal, match=r"8-bit one for display.*LSL stream of type Thermal"):
            OpenCvCapture(place)
        assert video.released
    else:
        OpenCvCapture(place)
        assert next(iter(video.asked)) == cv2.CAP_PROP_CONVERT_RGB
        assert video.asked[cv2.CAP_PROP_CONVERT_RGB] == 0
        assert video.asked[cv2.CAP_PROP_FRAME_HEIGHT] == MODELS[model].raw_height
    assert video.backend == backend


@pytest.mark.parametrize("model", list(MODELS.values()), ids=lambda model: model.key)
def test_every_model_is_read_from_each_layout_a_driver_delivers(model: ThermalModel) -> None:
    rng = np.random.default_rng(5)
    celsius = room(rng, (model.height, model.width))
    kelvin = model.kelvin_per_count or CENTIKELVIN
    raw = counts_of(celsius, kelvin)
    if model.stacked:
        raw = np.vstack([np.full_like(raw, 0x8040), raw])
    as_bytes = np.ascontiguousarray(raw).view(np.uint8)
    layouts = {
        "as it is": raw,
        "one row of values": raw.reshape(1, -1),
        "one column": raw.reshape(-1, 1),
        "one row of bytes": as_bytes.reshape(1, -1),
        "two bytes per pixel": as_bytes.reshape(*raw.shape, 2),
    }
    for layout, buffer in layouts.items():
        bus = Bus(partial(lambda buffer, i: buffer, buffer))
        bus.places = [ThermalPlace(model, 2)]
        with bus.camera(tlinear=True) as camera:
            block = camera.read(1.0)
        degrees = block.array[0, :-2].reshape(model.height, model.width) / 100
        assert np.abs(degrees - celsius).max() < 0.02, layout
    shown = np.zeros((*raw.shape, 3), np.uint8)
    bus = Bus(lambda i: shown)
    bus.places = [ThermalPlace(model, 2)]
    with pytest.raises(InvalidSignal, match="8-bit picture"):
        bus.camera(tlinear=True).open()
