"""Webcams through OpenCV, delivering one JPEG per frame, stamped when the driver handed it over.

Why JPEG bytes: the camera's own Motion JPEG is passed on untouched, so nothing is lost twice and no time
goes into decoding before the stamp. The same bytes then serve processing, the recording (muxed as they are)
and the browser; a raw 720p stream would need 80 MB/s on the network and on disk.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
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
from hardware.video_file import encode_jpeg

CaptureFactory: TypeAlias = Callable[[int | str], Any]
"""Makes a cv2.VideoCapture, or something that behaves like one, for a device."""

_SYSFS = Path("/sys/class/video4linux")
_BY_ID = Path("/dev/v4l/by-id")
_MJPG = cv2.VideoWriter.fourcc(*"MJPG")
_MAX_STALE = 32
_RATE_FRAMES = 20
_FAILURES_LOST = 3
_STALL_LOST_S = 3.0
_QUEUE_FRAMES = 60


def open_capture(device: int | str) -> Any:
    """The cv2.VideoCapture of a device, through V4L2 on Linux."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # a missing camera is told in one sentence, not in the driver's words
    try:
        backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        return cv2.VideoCapture(device, backend)
    finally:
        cv2.utils.logging.setLogLevel(level)


def list_webcams(
    *, sysfs: Path = _SYSFS, capture: CaptureFactory = open_capture, linux: bool | None = None
) -> list[dict[str, str]]:
    """Cameras on this machine as ``{"id": "0", "description": "Integrated Camera"}``, by number.

    On Linux they are listed without being opened; elsewhere the first four numbers are tried.
    """
    if sys.platform.startswith("linux") if linux is None else linux:
        found = []
        for node in sorted(sysfs.glob("video*"), key=lambda node: (len(node.name), node.name)):
            number = node.name.removeprefix("video")
            # A camera has further nodes for metadata; pictures come from the one with index 0.
            if number.isdigit() and _line(node / "index") in ("0", ""):
                found.append({"id": number, "description": _line(node / "name") or "camera"})
        return found
    return [camera for number in range(4) if (camera := _tried(number, capture))]


def _tried(number: int, capture: CaptureFactory) -> dict[str, str]:
    device = capture(number)
    try:
        if not device.isOpened():
            return {}
        return {"id": str(number), "description": f"camera {number} ({device.getBackendName()})"}
    finally:
        device.release()


def _line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


class Webcam(OpenedSource):
    """A camera `Source`.

    A thread waits for frames, so that each is stamped the moment the driver has it, whatever the reader is
    doing. The frame number counts every frame the camera gave, so that those which were damaged, or dropped
    because `read` was called too seldom, show as a gap.
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
        threaded: bool = True,
    ) -> None:
        """Describe a camera; it is opened by `open`.

        Args:
            device: Number or path (``/dev/video0``), as `list_webcams` gives.
            clock: Seconds on the LSL clock.
            width, height, rate_hz: Asked for; `spec` tells after `open` what the camera gives.
            name: Stream name; left out: made from the device.
            capture: Makes the capture object.
            threaded: Grab in a thread; else `read` itself waits for the frame.
        """
        self._device = device
        self._clock = clock
        self._factory = capture
        self._threaded = threaded
        self._asked = (width, height, rate_hz)
        self._capture: Any = None
        self._native = False
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._arrived = threading.Condition()
        self._queue: deque[tuple[float, Any, int]] = deque(maxlen=_QUEUE_FRAMES)
        self._failure: DeviceLost | None = None
        self._number = 0
        self._last_s = 0.0
        self._failures = 0
        identity = _stable_id(device)
        self._spec = StreamSpec(
            name or f"Webcam {device}",
            Kind.CAMERA,
            (Channel("jpeg"), Channel("frame_number")),
            rate_hz,
            SampleType.STRING,
            f"webcam-{identity}",
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
        capture = self._factory(self._device)
        if not capture.isOpened():
            capture.release()
            raise DeviceNotFound(self._why_closed())
        self._capture = capture
        try:
            self._configure()
            self._flush()
            rate_hz = self._measure()
        except DeviceLost:
            self.close()
            raise
        width, height = self._size
        metadata = {**self._spec.metadata, "jpeg": "native" if self._native else "encoded here"}
        frame = FrameFormat(width, height, "MJPG")
        self._spec = replace(self._spec, rate_hz=rate_hz, frame=frame, metadata=metadata)
        self._number = self._failures = 0
        self._failure = None
        self._queue.clear()
        self._stop.clear()
        if self._threaded:
            self._thread = threading.Thread(target=self._grab_on, name=f"webcam-{self._device}", daemon=True)
            self._thread.start()

    def _configure(self) -> None:
        capture = self._capture
        width, height, rate_hz = self._asked
        # The format first: most cameras offer their large pictures at full rate as Motion JPEG only.
        capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        capture.set(cv2.CAP_PROP_FPS, rate_hz)
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        picture = self._first_picture()
        self._native = is_jpeg(picture)
        if not self._native:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
            picture = self._first_picture()
            if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
                raise DeviceLost(
                    f"Camera {self._device} gives {picture.dtype} pictures of shape {picture.shape}, "
                    "not colour pictures; choose another camera with --device."
                )
        decoded = cv2.imdecode(picture.reshape(-1), cv2.IMREAD_COLOR) if self._native else picture
        if decoded is None:
            raise DeviceLost(f"Camera {self._device} gives damaged pictures; try another port or cable.")
        self._size = (int(decoded.shape[1]), int(decoded.shape[0]))

    def _first_picture(self) -> NDArray[Any]:
        for _ in range(5):
            if self._capture.grab():
                done, picture = self._capture.retrieve()
                if done and picture is not None and picture.size:
                    return np.asarray(picture)
        raise DeviceLost(
            f"Camera {self._device} opens but gives no pictures; close other programs that use it, "
            "or plug it into another port."
        )

    def _flush(self) -> None:
        """Throw away frames the driver had stored: those come at once, a fresh one takes its time."""
        for _ in range(_MAX_STALE):
            before_s = self._clock()
            if not self._capture.grab():
                return
            if self._clock() - before_s >= 0.5 / self._asked[2]:
                return

    def _measure(self) -> float:
        stamps = []
        for _ in range(_RATE_FRAMES + 1):
            if self._capture.grab():
                stamps.append(self._clock())
        if len(stamps) < _RATE_FRAMES // 2:
            raise DeviceLost(f"Camera {self._device} stopped while it was started; plug it in again.")
        self._last_s = stamps[-1]
        # The median: single late frames do not count, and neither does a driver's wrong claim.
        interval_s = float(np.median(np.diff(stamps)))
        return round(1.0 / interval_s, 3) if interval_s > 0 else self._asked[2]

    # ------------------------------------------------------------------------------------ grabbing

    def _grab(self) -> tuple[float, Any, int] | None:
        """Wait for a frame: stamp, raw picture and number; None when it failed or was damaged.

        Raises:
            DeviceLost: It failed too often or for too long.
        """
        grabbed = self._capture.grab()
        stamp_s = self._clock()
        if not grabbed:
            self._failures += 1
            if self._failures >= _FAILURES_LOST or stamp_s - self._last_s > _STALL_LOST_S:
                raise DeviceLost(
                    f"Camera {self._device} stopped giving pictures; check its cable, plug it in again and "
                    "restart the publisher."
                )
            return None
        done, picture = self._capture.retrieve()
        if self._failures:
            # What the camera went through meanwhile is known by the time that passed.
            missed = round((stamp_s - self._last_s) * self._spec.rate_hz) - 1
            self._number += max(self._failures, missed)
            self._failures = 0
        number = self._number
        self._number += 1
        if not done or picture is None or (self._native and not is_jpeg(picture)) or stamp_s <= self._last_s:
            return None
        self._last_s = stamp_s
        # Drivers reuse their buffers.
        return stamp_s, np.array(picture, copy=True), number

    def _grab_on(self) -> None:
        while not self._stop.is_set():
            try:
                frame = self._grab()
            except (DeviceLost, cv2.error) as error:
                lost = error if isinstance(error, DeviceLost) else self._broken(error)
                with self._arrived:
                    self._failure = lost
                    self._arrived.notify_all()
                return
            if frame is not None:
                with self._arrived:
                    self._queue.append(frame)
                    self._arrived.notify_all()

    def _broken(self, error: cv2.error) -> DeviceLost:
        return DeviceLost(f"Camera {self._device} broke off ({error.err}); plug it in again.")

    def read(self, timeout_s: float) -> Block:
        """Return the next frame, empty if none came in `timeout_s` seconds.

        Raises:
            DeviceLost: The camera was unplugged or stopped.
        """
        if self._capture is None:
            raise DeviceLost(f"Camera {self._device} is not open; open it before reading.")
        frame = self._next(timeout_s) if self._threaded else self._grab()
        if frame is None:
            return empty_block(self._spec, self._number)
        stamp_s, picture, number = frame
        # Encoded here and not in the grabbing thread, which must be back before the next frame.
        jpeg = trimmed_jpeg(picture) if self._native else encode_jpeg(picture)
        return Block(self._spec, np.array([stamp_s]), (jpeg,), number)

    def _next(self, timeout_s: float) -> tuple[float, Any, int] | None:
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
            self._thread.join(timeout=15.0)  # V4L2 waits up to 10 s for a frame
            self._thread = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _why_closed(self) -> str:
        path = _node(self._device)
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


def is_jpeg(picture: Any) -> bool:
    """Whether a captured picture is one row (or column) of JPEG bytes that begin and end as they should."""
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.size < 4 or array.size != max(array.shape):
        return False
    data = array.reshape(-1)
    return bool(data[0] == 0xFF and data[1] == 0xD8) and bytes(data[-1024:]).rfind(b"\xff\xd9") >= 0


def trimmed_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """The JPEG bytes of a captured row, without the padding some drivers add behind the end mark."""
    data = picture.tobytes()
    return data[: data.rfind(b"\xff\xd9") + 2]


def _node(device: int | str) -> Path | None:
    if isinstance(device, int):
        return Path(f"/dev/video{device}")
    return Path(device) if device.startswith("/") else None


def _stable_id(device: int | str) -> str:
    """An identity that survives replugging where udev knows one, else the device itself."""
    node = _node(device)
    if node is not None and _BY_ID.is_dir():
        for link in sorted(_BY_ID.iterdir()):
            if link.resolve() == node.resolve():
                return link.name
    return re.sub(r"[^\w.-]", "_", str(device))


def _description(device: int | str) -> str:
    node = _node(device)
    return (_line(_SYSFS / node.name / "name") if node is not None else "") or f"camera {device}"
