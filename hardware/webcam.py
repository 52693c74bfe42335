"""Webcams through OpenCV, delivering one JPEG per frame, stamped when the driver had it.

Why JPEG bytes: the camera's own Motion JPEG is passed on untouched, so nothing is lost twice and no time
goes into decoding before the stamp. The same bytes then serve processing, the recording (muxed as they are)
and the browser; a raw 720p stream would need 80 MB/s on the network and on disk.
"""

from __future__ import annotations

import math
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.clock import Clock
from acquisition.stream import (
    Block,
    Channel,
    DeviceLost,
    DeviceNotFound,
    FrameFormat,
    Kind,
    OpenedSource,
    SampleType,
    StreamSpec,
    empty_block,
)
from hardware.jpeg import captured_jpeg, encode_jpeg
from hardware.video_nodes import SYSFS, VideoNode, same_camera, video_nodes

CaptureFactory: TypeAlias = Callable[[int | str], Any]
"""Makes a cv2.VideoCapture, or something that behaves like one, for a device."""

_BY_ID = Path("/dev/v4l/by-id")
_MJPG = cv2.VideoWriter.fourcc(*"MJPG")
_FIRST_PICTURES = 5
_MAX_STALE = 32
_RATE_FRAMES = 20
_RATE_SPAN = 4
_FAILURES_LOST = 3
_STALL_LOST_S = 3.0
_LONGEST_WAIT_S = 5.0  # of a frame in the driver's buffers
_QUEUE_FRAMES = 60
_BLACK_GREY_LEVEL = 16.0

# OpenCV reads it once: how long a grab waits for a camera that has stopped (its own choice is 10 s).
_SELECT_TIMEOUT = "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"

_Frame: TypeAlias = tuple[float, bytes | NDArray[np.uint8], int]
"""Stamp, JPEG bytes or BGR picture, frame number."""


def open_capture(device: int | str) -> Any:
    """The cv2.VideoCapture of a device, through V4L2 on Linux."""
    os.environ.setdefault(_SELECT_TIMEOUT, f"{_STALL_LOST_S:.0f}")
    level = cv2.utils.logging.getLogLevel()
    # A missing camera is told in one sentence, not in the driver's words.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        return cv2.VideoCapture(device, backend)
    finally:
        cv2.utils.logging.setLogLevel(level)


def list_webcams(
    *, sysfs: Path = SYSFS, capture: CaptureFactory = open_capture, linux: bool | None = None
) -> list[dict[str, str]]:
    """Cameras on this machine as ``{"id": "0", "description": "Integrated Camera"}``, by number.

    On Linux they are listed without being opened; elsewhere the first four numbers are tried.
    """
    if sys.platform.startswith("linux") if linux is None else linux:
        return [{"id": str(node.number), "description": node.name or "camera"} for node in video_nodes(sysfs)]
    return [camera for number in range(4) if (camera := _tried(number, capture))]


def _tried(number: int, capture: CaptureFactory) -> dict[str, str]:
    device = capture(number)
    try:
        if not device.isOpened():
            return {}
        return {"id": str(number), "description": f"camera {number} ({device.getBackendName()})"}
    finally:
        device.release()


class Webcam(OpenedSource):
    """A camera `Source`.

    A thread waits for frames, so that each is stamped the moment the driver has it, whatever the reader is
    doing; where the driver itself tells that moment on this clock (V4L2), its word counts. The frame number
    counts every frame the camera gave, so that those which were damaged, or dropped because `read` was called
    too seldom, show as a gap. `notes` says in sentences where the camera does not give what it was asked for.

    A camera that was unplugged is lost (`DeviceLost`); closed and opened again, this is the same camera
    wherever it is plugged in now, as far as the system tells cameras apart (Linux does).
    """

    def __init__(
        self,
        device: int | str = 0,
        *,
        clock: Clock,
        width: int = 1280,
        height: int = 720,
        rate_hz: float = 30.0,
        name: str | None = None,
        capture: CaptureFactory = open_capture,
        nodes: Callable[[], Sequence[VideoNode]] = video_nodes,
    ) -> None:
        """Describe a camera; it is opened by `open`.

        Args:
            device: Number or path (``/dev/video0``), as `list_webcams` gives.
            clock: Seconds on the LSL clock.
            width, height, rate_hz: Asked for; `spec` tells after `open` what the camera gives.
            name: Stream name; left out: made from the device.
            capture: Makes the capture object.
            nodes: Lists the cameras that are plugged in; empty where the system does not tell.
        """
        self._device = device
        self._nodes = nodes
        self._known: VideoNode | None = None
        self._others: list[VideoNode] = []
        self._clock = clock
        self._factory = capture
        self._asked = (width, height, rate_hz)
        self._capture: Any = None
        self._native = False
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._arrived = threading.Condition()
        self._queue: deque[_Frame] = deque(maxlen=_QUEUE_FRAMES)
        self._failure: DeviceLost | None = None
        self._number = 0
        self._last_s = -math.inf
        self._failures = 0
        self.notes: list[str] = []
        self._spec = StreamSpec(
            name or f"Webcam {device}",
            Kind.CAMERA,
            (Channel("jpeg"), Channel("frame_number")),
            rate_hz,
            SampleType.STRING,
            f"webcam-{_stable_id(device)}",
            FrameFormat(width, height, "MJPG"),
            {"device": _description(device)},
        )

    @property
    def spec(self) -> StreamSpec:
        """The stream; size and rate are those asked for before `open`, measured ones after."""
        return self._spec

    def open(self) -> None:
        """Start the camera, throw away what its driver had stored, and measure its rate (about a second).

        Raises:
            DeviceNotFound: It is not there, not permitted or in use; the message says what to do.
            DeviceLost: It opened but gives no pictures.
        """
        if self._capture is not None:
            return
        capture = self._factory(self._place())
        if not capture.isOpened():
            capture.release()
            raise DeviceNotFound(self._why_closed())
        self._capture = capture
        self._number = self._failures = 0
        self._last_s = -math.inf
        self._failure = None
        self._queue.clear()
        self._stop.clear()
        try:
            self._describe()
        except BaseException as error:
            self.close()
            if isinstance(error, cv2.error):
                raise self._broken(error) from None
            raise
        self._thread = threading.Thread(target=self._grab_on, name=f"webcam-{self._device}", daemon=True)
        self._thread.start()

    def _place(self) -> int | str:
        """What to open: the camera asked for, and from then on that very camera."""
        nodes = self._nodes()
        if self._known is None:
            path = _path(self._device)
            found = "" if path is None else path.resolve().name
            self._known = next((node for node in nodes if found == f"video{node.number}"), None)
            self._others = [node for node in nodes if node is not self._known]
            return self._device
        node = same_camera(self._known, nodes, self._others)
        if node is None:
            raise DeviceNotFound(f"Camera {self._device} ({self._known.name}) is not plugged in.")
        return node.number

    def _describe(self) -> None:
        """Find out what the camera gives: size, coding, rate, and whose stamps."""
        self._configure()
        self._flush()
        rate_hz, stamped = self._measure()
        picture = next((whole for raw in self._pictures() if (whole := self._decoded(raw)) is not None), None)
        if picture is None:
            raise DeviceLost(f"Camera {self._device} gives damaged pictures; try another port or cable.")
        height, width = picture.shape[:2]
        facts = {"jpeg": "native" if self._native else "encoded here", "stamped": stamped}
        self._spec = replace(
            self._spec,
            rate_hz=rate_hz,
            frame=FrameFormat(width, height, "MJPG"),
            metadata={**self._spec.metadata, **facts},
        )
        self.notes = self._deviations(picture, rate_hz)

    def _configure(self) -> None:
        capture = self._capture
        width, height, rate_hz = self._asked
        # The format first: most cameras offer their large pictures at full rate as Motion JPEG only.
        capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        capture.set(cv2.CAP_PROP_FPS, rate_hz)
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        first = list(self._pictures())
        if not first:
            raise DeviceLost(
                f"Camera {self._device} opens but gives no pictures; close other programs that use it, "
                "or plug it into another port."
            )
        # Several, since the first ones after the start are often damaged.
        self._native = any(captured_jpeg(picture) for picture in first)
        if not self._native:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)

    def _pictures(self) -> Iterator[NDArray[Any]]:
        """The next few frames as the driver gives them."""
        for _ in range(_FIRST_PICTURES):
            if self._capture.grab():
                done, picture = self._capture.retrieve()
                if done and picture is not None and picture.size:
                    yield picture

    def _decoded(self, picture: NDArray[Any]) -> Any:
        """As BGR [height, width, 3]; None when it is damaged."""
        if self._native:
            jpeg = captured_jpeg(picture)
            return None if jpeg is None else cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise DeviceLost(
                f"Camera {self._device} gives {picture.dtype} pictures of shape {picture.shape}, "
                "not colour pictures; choose another camera with --device."
            )
        return picture

    def _flush(self) -> None:
        """Throw away frames the driver had stored: those come at once, a fresh one takes its time."""
        for _ in range(_MAX_STALE):
            before_s = self._clock()
            if not self._capture.grab():
                return
            if self._clock() - before_s >= 0.5 / self._asked[2]:
                return

    def _measure(self) -> tuple[float, str]:
        """Frames per second, and who stamps them."""
        stamps, by_driver = [], []
        for _ in range(_RATE_FRAMES + 1):
            if self._capture.grab():
                arrived_s = self._clock()
                stamps.append(self._stamp())
                by_driver.append(stamps[-1] < arrived_s)
        if len(stamps) < _RATE_FRAMES // 2:
            raise DeviceLost(f"Camera {self._device} stopped while it was started; plug it in again.")
        self._last_s = stamps[-1]
        # The median, over spans of several frames: late frames, those that come in pairs and a driver's wrong
        # claim do not count.
        times = np.array(stamps)
        span_s = float(np.median(times[_RATE_SPAN:] - times[:-_RATE_SPAN]))
        rate_hz = round(_RATE_SPAN / span_s, 3) if span_s > 0 else self._asked[2]
        return rate_hz, "by the driver" if all(by_driver) else "on arrival"

    def _deviations(self, picture: NDArray[np.uint8], rate_hz: float) -> list[str]:
        """Sentences on what is not as asked for, with what helps."""
        width, height, asked_hz = self._asked
        notes = []
        if picture.shape[:2] != (height, width):
            given = f"{picture.shape[1]} x {picture.shape[0]}"
            notes.append(f"Camera {self._device} gives {given} pixels instead of {width} x {height}.")
        if rate_hz < 0.9 * asked_hz:
            notes.append(
                f"Camera {self._device} gives {rate_hz:.1f} frames/s instead of {asked_hz:.0f}: "
                "give it more light, a USB port of its own or a smaller picture."
            )
        if float(np.percentile(picture, 99)) < _BLACK_GREY_LEVEL:
            notes.append(f"Camera {self._device} sees black: open its shutter or turn on the light.")
        return notes

    # ------------------------------------------------------------------------------------ grabbing

    def _stamp(self) -> float:
        """When the frame that was just grabbed was taken.

        V4L2 drivers stamp a frame as it begins to arrive, on the monotonic clock that LSL uses too; a frame
        that waited in the driver, or for this thread, thus keeps its time. Other clocks are told by their
        readings, and the moment of arrival serves instead.
        """
        now_s = self._clock()
        driver_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        return driver_s if max(now_s - _LONGEST_WAIT_S, self._last_s) < driver_s <= now_s else now_s

    def _grab(self) -> _Frame | None:
        """Wait for a frame; None when it failed or was damaged.

        Raises:
            DeviceLost: It failed too often or for too long.
        """
        if not self._capture.grab():
            self._failures += 1
            if self._failures >= _FAILURES_LOST or self._clock() - self._last_s > _STALL_LOST_S:
                raise DeviceLost(
                    f"Camera {self._device} stopped giving pictures; check its cable and plug it in again."
                )
            return None
        stamp_s, before_s = self._stamp(), self._last_s
        done, picture = self._capture.retrieve()
        if self._failures:
            # What the camera went through meanwhile is known by the time that passed.
            missed = round((stamp_s - before_s) * self._spec.rate_hz) - 1
            self._number += max(self._failures, missed)
            self._failures = 0
        number = self._number
        self._number += 1
        if stamp_s <= before_s:
            return None
        self._last_s = stamp_s
        if not done or picture is None:
            return None
        data = captured_jpeg(picture) if self._native else picture
        return None if data is None else (stamp_s, data, number)

    def _grab_on(self) -> None:
        while not self._stop.is_set():
            try:
                frame = self._grab()
            except Exception as error:
                # Whatever it was: a thread that ends without a word would leave a reader waiting for ever.
                lost = error if isinstance(error, DeviceLost) else self._broken(error)
                with self._arrived:
                    self._failure = lost
                    self._arrived.notify_all()
                return
            if frame is not None:
                with self._arrived:
                    self._queue.append(frame)
                    self._arrived.notify_all()

    def _broken(self, error: Exception) -> DeviceLost:
        words = error.err if isinstance(error, cv2.error) else error
        return DeviceLost(f"Camera {self._device} broke off ({words}); plug it in again.")

    def read(self, timeout_s: float) -> Block:
        """Return the next frame, empty if none came in `timeout_s` seconds.

        Raises:
            DeviceLost: The camera was unplugged or stopped.
        """
        if self._capture is None:
            raise DeviceLost(f"Camera {self._device} is not open; open it before reading.")
        frame = self._next(timeout_s)
        if frame is None:
            return empty_block(self._spec, self._number)
        stamp_s, data, number = frame
        # Encoded here and not in the grabbing thread, which must be back before the next frame.
        jpeg = data if isinstance(data, bytes) else encode_jpeg(data)
        return Block(self._spec, np.array([stamp_s]), (jpeg,), number)

    def _next(self, timeout_s: float) -> _Frame | None:
        with self._arrived:
            if not self._queue and self._failure is None:
                self._arrived.wait(timeout_s)
            if self._queue:
                return self._queue.popleft()
            if self._failure is not None:
                raise self._failure
            return None

    def close(self) -> None:
        """Stop the camera."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0 * _STALL_LOST_S + 1.0)
            self._thread = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _why_closed(self) -> str:
        path = _path(self._device)
        if path is not None and path.exists():
            if not os.access(path, os.R_OK | os.W_OK):
                return (
                    f"Camera {path} may not be used by this account; add it to the video group "
                    "(sudo usermod -aG video $USER) and log in again."
                )
            return f"Camera {path} cannot be opened; close the other program that uses it."
        there = ", ".join(f"{camera['id']} ({camera['description']})" for camera in list_webcams()) or "none"
        return (
            f"There is no camera {self._device}; cameras found: {there}. Plug it in or choose with --device."
        )


def _path(device: int | str) -> Path | None:
    if isinstance(device, int):
        return Path(f"/dev/video{device}")
    return Path(device) if device.startswith("/") else None


def _stable_id(device: int | str) -> str:
    """An identity that survives replugging where udev knows one, else the device itself."""
    path = _path(device)
    if path is not None and _BY_ID.is_dir():
        for link in sorted(_BY_ID.iterdir()):
            if link.resolve() == path.resolve():
                return link.name
    return re.sub(r"[^\w.-]", "_", str(device))


def _description(device: int | str) -> str:
    path = _path(device)
    names = {f"video{node.number}": node.name for node in video_nodes()}
    return (names.get(path.resolve().name, "") if path is not None else "") or f"camera {device}"
