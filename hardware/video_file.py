"""A video file as a camera: as fast as it decodes for analysis, or in real time to play a device.

Frames keep the times they were recorded at (presentation times, so variable frame rates stay true), are
turned upright, and those too small for a face are enlarged.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.clock import Clock, Sleep
from acquisition.stream import (
    Block,
    Channel,
    DeviceNotFound,
    EndOfStream,
    FrameFormat,
    InvalidSignal,
    Kind,
    OpenedSource,
    Samples,
    SampleType,
    StreamSpec,
)
from hardware.jpeg import encode_jpeg
from hardware.pacing import Pacer, stream_name

SMALL_SIDE_PX = 360
"""Videos whose shorter side is below this are enlarged: face landmarks need pixels to hold on to."""

_MAX_RATE_HZ = 480.0
_RATE_FRAMES = 100

_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class VideoFile(OpenedSource):
    """A camera `Source` that delivers one frame per block from any video PyAV opens.

    Frames that cannot be decoded are lost, as on a camera: the frame number jumps over them. When a file
    is cut off, `EndOfStream` and `shortfall` say so and `missing_s` tells how much its header had promised.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Clock | None = None,
        sleep: Sleep | None = None,
        encode: bool = False,
        paced: bool = False,
        loop: bool = False,
        start_s: float = 0.0,
        upscale_small: bool = True,
        name: str | None = None,
    ) -> None:
        """Look at a video; nothing is played before `open`.

        Args:
            path: The file.
            clock, sleep: Needed when `paced`: frame times are kept on this clock.
            encode: Deliver JPEG bytes (untouched where the file is Motion JPEG), else BGR arrays.
            paced: In real time, stamped from `open` on; else at once, stamped from `start_s` on.
            loop: Start again at the end, with times and frame numbers going on.
            start_s: Stamp of the recording's beginning when not `paced`.
            upscale_small: Enlarge small videos by a whole factor (see `SMALL_SIDE_PX`).
            name: Stream name; left out: the file's name.

        Raises:
            DeviceNotFound: No such file.
            InvalidSignal: Not a video, or cut off so that none of it can be read.
        """
        self._path = Path(path)
        self._encode, self._loop = encode, loop
        self._start_s = self._offset_s = start_s
        self._container: Any = None
        self._frames: Iterator[tuple[float, Any]] | None = None
        self._pacer = Pacer(paced, clock, sleep)
        self._lost = 0
        self._number = 0
        self._end_s = 0.0
        self._ended = ""
        self.missing_s = 0.0
        self.shortfall = ""
        self._probe(upscale_small, name)

    def _probe(self, upscale_small: bool, name: str | None) -> None:
        container, video = self._open_container()
        with container:
            first = self._first_frame(container, video)
            self._rotation = round(first.rotation / 90.0) * 90 % 360
            width, height = first.width, first.height
            codec = video.codec_context.name
            aspect = float(video.sample_aspect_ratio or 1) or 1.0
            rate_hz = float(video.average_rate or 0)
            length_s = video.duration * video.time_base if video.duration else None
            if length_s is None and container.duration:
                length_s = container.duration / av.time_base
            self.duration_s: float | None = float(length_s) if length_s else None
            # Players count from the container's beginning, which sound and picture share.
            self._origin_s = (container.start_time or 0) / av.time_base
        if not 1 <= rate_hz <= _MAX_RATE_HZ:
            rate_hz = self._counted_rate_hz()
        if not 0.98 < aspect < 1.02:
            width = round(width * aspect)  # square pixels, or faces come out broad or narrow
        if self._rotation in (90, 270):
            width, height = height, width
        factor = math.ceil(SMALL_SIDE_PX / min(width, height)) if upscale_small else 1
        self._size = (width * factor, height * factor)
        as_it_is = not self._rotation and (first.width, first.height) == self._size
        self._native_jpeg = self._encode and codec == "mjpeg" and as_it_is
        metadata = {"file": self._path.name, "file_codec": codec}
        if factor > 1:
            metadata["enlarged"] = str(factor)
        if self._rotation:
            metadata["rotated_deg"] = str(self._rotation)
        identity = hashlib.sha256(str(self._path.resolve()).encode()).hexdigest()[:16]
        self._spec = StreamSpec(
            name or stream_name(self._path),
            Kind.CAMERA,
            (Channel("jpeg" if self._encode else "bgr"), Channel("frame_number")),
            rate_hz,
            SampleType.STRING,
            f"video-{identity}",
            FrameFormat(*self._size, "MJPG" if self._encode else "BGR8"),
            metadata,
        )

    def _open_container(self) -> tuple[Any, Any]:
        if not self._path.is_file():
            raise DeviceNotFound(f"There is no video file {self._path}; check the path.")
        try:
            container = av.open(str(self._path), metadata_errors="replace")
        except (av.FFmpegError, ValueError):
            raise InvalidSignal(
                f"{self._path.name} cannot be read as a video; it is another kind of file, or was cut off "
                "before its index was written (for MP4, copy it again or repair it)."
            ) from None
        if not container.streams.video:
            container.close()
            raise InvalidSignal(f"{self._path.name} has no pictures in it; give a file with a video track.")
        video = container.streams.video[0]
        # Frames and slices on all cores: the decoder works ahead while the caller looks at a frame.
        video.thread_type = "AUTO"
        return container, video

    def _counted_rate_hz(self) -> float:
        """Rate by the times of the first frames, for files whose header names the clock's rate instead."""
        container, video = self._open_container()
        with container:
            packets = itertools.islice(container.demux(video), _RATE_FRAMES)
            times = sorted(
                float(packet.pts * packet.time_base) for packet in packets if packet.pts is not None
            )
        intervals_s = np.diff(times)
        typical_s = float(np.median(intervals_s[intervals_s > 0])) if np.any(intervals_s > 0) else 0.0
        return round(1.0 / typical_s, 3) if typical_s > 0 else 0.0

    def _first_frame(self, container: Any, video: Any) -> Any:
        for packet in container.demux(video):
            try:
                for frame in packet.decode():
                    return frame
            except av.FFmpegError:
                continue
        raise InvalidSignal(f"No frame of {self._path.name} can be decoded; it is damaged or cut off.")

    @property
    def spec(self) -> StreamSpec:
        """The stream; `rate_hz` is the file's average."""
        return self._spec

    def open(self) -> None:
        """Begin at the first frame.

        Raises:
            DeviceNotFound, InvalidSignal: The file is gone or no longer readable.
        """
        self.close()
        self._number = self._lost = 0
        self._ended = self.shortfall = ""
        self.missing_s = 0.0
        self._offset_s = self._pacer.restart(self._start_s)
        self._begin_round()

    def _begin_round(self) -> None:
        self._end_s = 0.0
        self._frames = self._packets() if self._native_jpeg else self._pictures()

    def close(self) -> None:
        """Let go of the file."""
        self._frames = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def read(self, timeout_s: float) -> Block:
        """Return the next frame; when paced, empty if it is not due within `timeout_s` seconds.

        Raises:
            EndOfStream: All frames have been delivered.
        """
        if self._frames is None:
            raise EndOfStream(self._ended or f"{self._path.name} is not open.")
        return self._pacer.next(self._next_block, timeout_s)

    def _next_block(self) -> Block:
        while True:
            assert self._frames is not None
            try:
                time_s, data = next(self._frames)
            except StopIteration:
                self._finish_round()
                continue
            first = self._number + self._lost
            self._number += 1
            self._end_s = max(self._end_s, time_s)
            samples: Samples = (data,)
            return Block(self._spec, np.array([self._offset_s + time_s]), samples, first)

    def _finish_round(self) -> None:
        """Start again when looping, else end."""
        frame_s = 1.0 / (self._spec.rate_hz or 30.0)
        if self._loop and self._number:
            self._offset_s += self._end_s + frame_s
            self._begin_round()
            return
        short_s = (self.duration_s or 0.0) - (self._end_s + frame_s)
        missing = []
        if self._lost:
            missing.append(f"{self._lost} could not be decoded")
        if short_s > max(0.5, 2 * frame_s):
            self.missing_s = short_s
            missing.append(f"it is cut off, its last {short_s:.1f} s are missing")
        self._ended = f"{self._path.name} has ended after {self._number} frames."
        if missing:
            self._ended = self.shortfall = f"{self._ended[:-1]}, {'; '.join(missing)}."
        self.close()
        raise EndOfStream(self._ended)

    # ------------------------------------------------------------------------------------ decoding

    def _packets(self) -> Iterator[tuple[float, bytes]]:
        """Times and JPEG bytes of a Motion JPEG file, as they were recorded."""
        times = _RisingTimes(self._origin_s, self._spec.rate_hz)
        for packet in self._demuxed():
            if packet.size == 0:
                continue
            jpeg = bytes(packet)
            time_s = times.next(packet.pts, packet.time_base)
            if time_s is None or packet.is_corrupt or not jpeg.startswith(b"\xff\xd8"):
                self._lost += 1
            else:
                yield time_s, jpeg

    def _pictures(self) -> Iterator[tuple[float, Any]]:
        """Times and upright pictures, as JPEG or BGR."""
        times = _RisingTimes(self._origin_s, self._spec.rate_hz)
        for packet in self._demuxed():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._lost += 1
                continue
            for frame in frames:
                time_s = times.next(frame.pts, frame.time_base)
                if time_s is None or frame.is_corrupt:
                    self._lost += 1
                    continue
                picture = self._upright(frame.to_ndarray(format="bgr24"))
                yield time_s, encode_jpeg(picture) if self._encode else picture

    def _demuxed(self) -> Iterator[Any]:
        if self._container is not None:
            self._container.close()
        self._container, video = self._open_container()
        try:
            yield from self._container.demux(video)
        except av.FFmpegError:
            return  # cut off in the middle of a packet; what came before is whole

    def _upright(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._rotation:
            picture = cv2.rotate(picture, _TURNS[self._rotation]).astype(np.uint8, copy=False)
        if (picture.shape[1], picture.shape[0]) != self._size:
            resized = cv2.resize(picture, self._size, interpolation=cv2.INTER_CUBIC)
            picture = resized.astype(np.uint8, copy=False)
        return picture


class _RisingTimes:
    """Presentation times in seconds that rise; frames whose time does not are told apart."""

    def __init__(self, origin_s: float, rate_hz: float) -> None:
        self._origin_s = origin_s
        self._frame_s = 1.0 / (rate_hz or 30.0)
        self._last_s = -math.inf

    def next(self, pts: int | None, time_base: Fraction | None) -> float | None:
        """Seconds since the beginning of the recording, or None when not later than the frame before."""
        if pts is not None and time_base is not None:
            time_s = float(pts * time_base) - self._origin_s
        else:
            time_s = max(self._last_s, -self._frame_s) + self._frame_s  # raw streams carry no times
        if time_s <= self._last_s:
            return None
        self._last_s = time_s
        return time_s
