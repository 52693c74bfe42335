"""Thermal cameras on USB (UVC) as a source of temperatures: Lepton/PureThermal, Boson, Topdon and InfiRay.

Each frame is stamped as soon as the driver hands it over, checked, and turned into centi-degrees Celsius. A
camera that is unplugged is found again by its serial number, or by its place when it has none.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.clock import Clock, Sleep
from acquisition.stream import (
    Block,
    Channel,
    DeviceLost,
    DeviceNotFound,
    FrameFormat,
    InvalidSignal,
    Kind,
    OpenedSource,
    SampleType,
    StreamSpec,
    empty_block,
)
from hardware.thermal_finding import Finder, ThermalPlace, choose_thermal_camera, find_thermal_cameras
from hardware.thermal_formats import Conversion, FfcState, ThermalModel, confirm_model, unpack

_CONFIRM_FRAMES = 10
_CONFIRM_S = 5.0
_SILENT_S = 1.0
_LOST_S = 4.0
"""A flat-field correction alone silences a Lepton for two seconds: silence means lost only after this."""
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 8.0


class Capture(Protocol):
    """What `ThermalCamera` needs of a video device."""

    def grab(self, timeout_s: float) -> bool | None:
        """Wait for a frame: True when there is one, None when none came, False when the device is gone."""

    def retrieve(self) -> NDArray[Any] | None:
        """The grabbed frame as the driver delivered it; None when it was damaged."""

    def release(self) -> None: ...


CaptureFactory: TypeAlias = Callable[[ThermalPlace], Capture]
"""Opens a device in its raw mode; raises `DeviceNotFound`."""


class OpenCvCapture:
    """A `Capture` through OpenCV, without conversion to RGB, so that 16-bit values come through.

    Raises:
        DeviceNotFound: It does not open.
        InvalidSignal: The system's driver converts all pictures for display.
    """

    def __init__(self, place: ThermalPlace) -> None:
        linux = sys.platform.startswith("linux")
        self._device = cv2.VideoCapture(place.node, _backend(place.model, sys.platform))
        if not self._device.isOpened():
            self._device.release()
            path = f"/dev/video{place.node}" if linux else f"number {place.node}"
            raise DeviceNotFound(
                f"{place.model.name} at {path} does not open: check its cable and your permission (group "
                "video), and close other programs that use it."
            )
        model = place.model
        # First of all: DirectShow builds its graph anew with every property, and this one decides its end.
        if not self._device.set(cv2.CAP_PROP_CONVERT_RGB, 0):
            self._device.release()
            raise InvalidSignal(
                f"{model.name} cannot be read here: this system's camera driver turns every picture into an "
                "8-bit one for display; use the camera on Linux or Windows, or bring it in through an LSL "
                "stream of type Thermal."
            )
        self._device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*model.fourcc))
        self._device.set(cv2.CAP_PROP_FRAME_WIDTH, model.width)
        self._device.set(cv2.CAP_PROP_FRAME_HEIGHT, model.raw_height)
        self._waits = linux

    def grab(self, timeout_s: float) -> bool | None:
        """See `Capture`. Only V4L2 can wait with a limit; other drivers wait for one frame period or more."""
        if not self._waits:
            return bool(self._device.grab())
        try:
            ready, _ = cv2.VideoCapture.waitAny([self._device], max(1, int(timeout_s * 1e9)))
        except cv2.error:
            return False
        return True if ready else None

    def retrieve(self) -> NDArray[Any] | None:
        """See `Capture`."""
        done, frame = self._device.retrieve()
        return np.asarray(frame) if done and frame is not None else None

    def release(self) -> None:
        """Close the device."""
        self._device.release()


def _backend(model: ThermalModel, system: str) -> int:
    """OpenCV's driver that hands over raw values.

    DirectShow knows Y16 and would decode YUYV, Media Foundation the other way round; macOS's knows neither.
    """
    if system == "win32":
        return int(cv2.CAP_DSHOW if model.fourcc == "Y16 " else cv2.CAP_MSMF)
    return int({"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION}.get(system, cv2.CAP_ANY))


class ThermalCamera(OpenedSource):
    """A thermal camera `Source`: int16 centi-degC pixels, then ``frame_number`` and ``ffc``.

    ``ffc`` is 1 when the camera's telemetry says that its shutter is closed, on the first frame after a pause
    of more than three periods, and while the picture stands still to the last bit. Frames lost in a
    reconnection are counted, so that they show as a gap.

    Args:
        device: As `list_thermal_cameras` gives (``lepton@2``), a number or path of a listed camera, or a
            serial number; None takes the first one found. ``MODEL@NUMBER`` works on any system.
        clock: Seconds on the LSL clock.
        sleep: Waits between attempts to reconnect.
        tlinear: The user confirms that a Boson's TLinear mode is on.
        give_up_s: A camera that stays away as long is lost for good.
        on_notice: Gets one sentence when the camera falls silent, is lost, or is back.
        capture, finder: Opening and finding devices.

    Raises:
        DeviceNotFound: No such camera; the message says what to do.
    """

    def __init__(
        self,
        device: str | int | None = None,
        *,
        clock: Clock,
        sleep: Sleep | None = None,
        tlinear: bool = False,
        give_up_s: float = 60.0,
        on_notice: Callable[[str], None] | None = None,
        capture: CaptureFactory = OpenCvCapture,
        finder: Finder = find_thermal_cameras,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._tlinear, self._give_up_s = tlinear, give_up_s
        self._notice = on_notice or (lambda sentence: None)
        self._factory, self._finder = capture, finder
        self._place = choose_thermal_camera(device, finder())
        self._capture: Capture | None = None
        self._conversion: Conversion | None = None
        self._opened = False
        self._number = 0
        self._last_s = -np.inf
        self._silent = False
        self._retry_s = _FIRST_RETRY_S
        self._next_try_s = self._lost_s = 0.0
        self._shutter = _Stillness()
        model = self._place.model
        identity = self._place.serial or f"video{self._place.node}"
        self._spec = StreamSpec(
            f"{model.name} {identity}".replace("'", "_"),
            Kind.THERMAL,
            (Channel("frame_number"), Channel("ffc")),
            0.0,
            SampleType.INT16,
            f"thermal-{model.key}-{identity}",
            FrameFormat(model.width, model.height, "centi_celsius"),
            {
                "device": model.name,
                "serial": self._place.serial,
                "conversion": "0.01",
                "offset": "0",
                "radiometric": "true",
                "evidence": "confirmed on the camera's first frames, or it does not open",
                "frame_rate_hz": f"{model.rate_hz:g}",
            },
        )

    @property
    def spec(self) -> StreamSpec:
        """The stream."""
        return self._spec

    @property
    def evidence(self) -> str:
        """Why the numbers are temperatures; empty before `open`."""
        return self._conversion.evidence if self._conversion is not None else ""

    def open(self) -> None:
        """Start the camera and confirm on its first frames that it sends temperatures.

        Raises:
            DeviceNotFound: It is not there, not permitted or in use.
            DeviceLost: It opens but gives no frames.
            InvalidSignal: It sends something else than temperatures.
        """
        if self._opened:
            return
        self._start(self._place)
        self._opened = True
        self._number = 0

    def _start(self, place: ThermalPlace) -> None:
        capture = self._factory(place)
        try:
            self._conversion = self._confirm(capture)
        except BaseException:
            capture.release()
            raise
        self._capture = capture
        self._last_s = self._clock()
        self._silent = False
        self._retry_s = _FIRST_RETRY_S
        self._shutter = _Stillness()

    def _confirm(self, capture: Capture) -> Conversion:
        """The first frames may be stale or of a closed shutter: one good one of ten is enough."""
        refusal: InvalidSignal | None = None
        deadline_s = self._clock() + _CONFIRM_S
        for _ in range(_CONFIRM_FRAMES):
            arrived = capture.grab(max(0.0, deadline_s - self._clock()))
            picture = capture.retrieve() if arrived else None
            if picture is not None:
                try:
                    model = self._place.model
                    return confirm_model(unpack(picture, model), model, tlinear=self._tlinear)
                except InvalidSignal as error:
                    refusal = error
            if self._clock() > deadline_s or arrived is False:
                break
        if refusal is not None:
            raise refusal
        raise DeviceLost(
            f"{self._place.model.name} opens but gives no frames: plug it in again, without a hub between."
        )

    def read(self, timeout_s: float) -> Block:
        """Return the next frame; empty when none came in `timeout_s` seconds, or while reconnecting.

        Raises:
            DeviceLost: The camera stayed away for `give_up_s`.
            InvalidSignal: It changed to a mode without temperatures.
        """
        if not self._opened:
            raise DeviceLost(f"{self._place.model.name} is not open; open it before reading.")
        if self._capture is None and not self._reconnect(timeout_s):
            return empty_block(self._spec, self._number)
        assert self._capture is not None and self._conversion is not None
        arrived = self._capture.grab(timeout_s)
        stamp_s = self._clock()
        if not arrived:
            self._watch_silence(stamp_s, gone=arrived is False)
            return empty_block(self._spec, self._number)
        picture = self._capture.retrieve()
        if picture is None or stamp_s <= self._last_s:
            self._number += 1
            return empty_block(self._spec, self._number)
        raw = unpack(picture, self._place.model)
        centi = self._conversion.centi_celsius(raw.counts)
        closed = self._shutter.update(stamp_s, raw.counts)
        if raw.telemetry is not None:
            closed = raw.telemetry.ffc is FfcState.IN_PROGRESS
        self._last_s, self._silent = stamp_s, False
        row = np.empty((1, self._spec.channel_count), dtype=np.int16)
        row[0, :-2] = centi.ravel()
        row[0, -2:] = (self._number % 32768, int(closed))
        block = Block(self._spec, np.array([stamp_s]), row, self._number)
        self._number += 1
        return block

    def _watch_silence(self, now_s: float, *, gone: bool) -> None:
        silence_s = now_s - self._last_s
        if silence_s > _SILENT_S and not self._silent:
            self._silent = True
            self._notice(f"{self._place.model.name} has been silent for {silence_s:.1f} s.")
            # Drivers may wait for ever on a camera that was pulled out.
            gone = gone or (self._listed() is None and bool(self._place.serial))
        if gone or silence_s > _LOST_S:
            self._drop(now_s)

    def _drop(self, now_s: float) -> None:
        assert self._capture is not None
        self._capture.release()
        self._capture = None
        self._lost_s = now_s
        self._next_try_s = now_s
        self._notice(f"{self._place.model.name} is gone; plug it in again, it will be found.")

    def _listed(self) -> ThermalPlace | None:
        """The same camera among those plugged in: by serial number, else by model and place."""
        for place in self._finder():
            if self._place.serial:
                same = place.serial == self._place.serial
            else:
                same = place.node == self._place.node and place.model.key == self._place.model.key
            if same:
                # What the user called it still holds.
                return replace(place, model=self._place.model)
        return None

    def _reconnect(self, timeout_s: float) -> bool:
        now_s = self._clock()
        if now_s < self._next_try_s:
            if self._sleep is not None:
                self._sleep(min(timeout_s, self._next_try_s - now_s))
            return False
        if now_s - self._lost_s > self._give_up_s:
            raise DeviceLost(
                f"{self._place.model.name} was gone for {now_s - self._lost_s:.0f} s: check its cable and "
                "start the publisher again."
            )
        place = self._listed() or (self._place if not self._finder() else None)
        last_s = self._last_s
        try:
            if place is None:
                raise DeviceNotFound(f"{self._place.model.name} is not plugged in.")
            self._start(place)
        except (DeviceNotFound, DeviceLost, InvalidSignal):
            self._next_try_s = now_s + self._retry_s
            self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)
            return False
        self._place = place
        away_s = self._clock() - last_s
        self._number += max(1, round(away_s * self._place.model.rate_hz))
        self._notice(f"{self._place.model.name} is back after {away_s:.1f} s.")
        return True

    def close(self) -> None:
        """Stop the camera."""
        self._opened = False
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class _Stillness:
    """Guesses a closed shutter without telemetry: a pause, or a picture that stands still to the last bit."""

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=9)
        self._last_s = float("nan")
        self._still_since_s = float("nan")
        self._last: NDArray[np.uint16] | None = None

    def update(self, time_s: float, counts: NDArray[np.uint16]) -> bool:
        interval_s = time_s - self._last_s
        period_s = float(np.median(self._intervals)) if len(self._intervals) >= 3 else float("nan")
        limit_s = max(3 * period_s, 0.3)
        pause = interval_s > limit_s
        if not pause and interval_s > 0:
            self._intervals.append(interval_s)
        if self._last is None or not np.array_equal(counts, self._last):
            self._still_since_s = time_s
            self._last = counts
        self._last_s = time_s
        return bool(pause or time_s - self._still_since_s > limit_s)
