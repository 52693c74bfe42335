"""Thermal recordings as a source of temperatures: as fast as they are read, or in real time to play a device.

16-bit TIFF stacks, Matroska with 16-bit grey frames (as this program records them), NumPy archives, CPTV and
raw PureThermal dumps. The unit is found from the values, with evidence, or refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.clock import Clock, Sleep
from acquisition.stream import (
    Block,
    Channel,
    EndOfStream,
    FrameFormat,
    InvalidSignal,
    Kind,
    OpenedSource,
    SampleType,
    StreamSpec,
)
from hardware.pacing import Pacer, stream_name
from hardware.thermal_formats import (
    CENTIKELVIN,
    MODELS,
    Conversion,
    FfcState,
    check_celsius,
    check_counts,
    unpack,
)
from hardware.thermal_readers import FileFrame, Recording, open_recording

_SAMPLED_FRAMES = 8
_BLOCK_FRAMES = 32


class ThermalFile(OpenedSource):
    """A thermal `Source` from a file: int16 centi-degC pixels, then ``frame_number`` and ``ffc``.

    A file that was cut off delivers what can be read; `EndOfStream` then says so and `truncated` is true.

    Args:
        path: The file.
        scale: Kelvin per count (.01 centikelvin, .015625 InfiRay); None finds the unit from the values.
        rate_hz: Frames per second, for files without times.
        paced: In real time on `clock`, stamped from `open` on, one frame per block; else at once, stamped
            from 0 on.
        loop: Start again at the end, with times and frame numbers going on.
        clock, sleep: Needed when `paced`.

    Raises:
        DeviceNotFound: No such file.
        InvalidSignal: Not a thermal recording, or its values are no temperatures; the sentence says why.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        scale: float | None = None,
        rate_hz: float | None = None,
        paced: bool = False,
        loop: bool = False,
        clock: Clock | None = None,
        sleep: Sleep | None = None,
    ) -> None:
        self._path = Path(path)
        self._rate_hz, self._paced, self._loop = rate_hz, paced, loop
        self._recording: Recording | None = None
        self._frames: Iterator[FileFrame] | None = None
        self._pacer = Pacer(paced, clock, sleep)
        self._number = 0
        self._start_s = 0.0
        self._last_s = float("-inf")
        self._round_s = 0.0
        self._period_s = 0.0
        self.truncated = False
        """Whether the file ended before its own count or in the middle of a frame (known at its end)."""
        with open_recording(self._path) as recording:
            sample = [_without_telemetry(frame) for frame in islice(recording.frames(), _SAMPLED_FRAMES)]
            metadata = dict(recording.metadata)
            stored = recording.kelvin_per_count
        if not sample:
            raise InvalidSignal(f"{self._path.name} holds no frame that can be read; it is empty or damaged.")
        if sample[0].time_s is None and rate_hz is None:
            raise InvalidSignal(
                f"{self._path.name} carries no times: give a frame rate (--thermal-rate; --rate to publish) "
                "or, in NPZ, one floating-point value in seconds per frame."
            )
        pictures = np.stack([frame.picture for frame in sample])
        self._conversion = _unit_of(pictures, scale if scale is not None else stored, self._path.name)
        height, width = pictures.shape[1:]
        identity = hashlib.sha256(str(self._path.resolve()).encode()).hexdigest()[:16]
        self._spec = StreamSpec(
            stream_name(self._path),
            Kind.THERMAL,
            (Channel("frame_number"), Channel("ffc")),
            0.0,
            SampleType.INT16,
            f"thermal-file-{identity}",
            FrameFormat(width, height, "centi_celsius"),
            {
                "device": "file",
                "file": self._path.name,
                "conversion": "0.01",
                "offset": "0",
                "radiometric": "true",
                "evidence": self._conversion.evidence,
                **metadata,
            },
        )

    @property
    def spec(self) -> StreamSpec:
        """The stream."""
        return self._spec

    def open(self) -> None:
        """Begin at the first frame.

        Raises:
            DeviceNotFound, InvalidSignal: The file is gone or no longer readable.
        """
        self.close()
        self._number = 0
        self._last_s = float("-inf")
        self._round_s = self._period_s = 0.0
        self._start_s = self._pacer.restart()
        self.truncated = False
        self._begin()

    def _begin(self) -> None:
        self._recording = open_recording(self._path)
        self._frames = self._recording.frames()
        self._first_s: float | None = None
        self._in_round = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._recording is not None:
            self._recording.close()
            self._recording = None
        self._frames = None

    def read(self, timeout_s: float) -> Block:
        """Return the next frames; when paced one, empty if it is not due within `timeout_s` seconds.

        Raises:
            EndOfStream: All frames have been delivered.
        """
        return self._pacer.next(self._next_block, timeout_s)

    def _next_block(self) -> Block:
        most = 1 if self._paced else _BLOCK_FRAMES
        stamps: list[float] = []
        rows = np.empty((most, self._spec.channel_count), dtype=np.int16)
        while len(stamps) < most:
            frame = self._next_frame()
            if frame is None:
                break
            row = rows[len(stamps)]
            row[:-2] = self._conversion.centi_celsius(frame.picture).ravel()
            row[-2:] = ((self._number + len(stamps)) % 32768, int(frame.ffc))
            stamps.append(self._stamp(frame))
        if not stamps:
            raise EndOfStream(self.shortfall or f"{self._path.name} is over after {self._number} frames.")
        block = Block(self._spec, np.array(stamps), rows[: len(stamps)], self._number)
        self._number += len(stamps)
        return block

    @property
    def shortfall(self) -> str:
        """Where the file was cut off, in one sentence; empty when it was not, or is not read to its end."""
        return f"{self._path.name} was cut off after {self._number} frames." if self.truncated else ""

    def _next_frame(self) -> FileFrame | None:
        shape = (self._spec.frame.height, self._spec.frame.width) if self._spec.frame else None
        while self._frames is not None:
            frame = next(self._frames, None)
            frame = None if frame is None else _without_telemetry(frame)
            if frame is not None and frame.picture.shape == shape:
                return frame
            if frame is not None:
                self.truncated = True
                continue
            assert self._recording is not None
            self.truncated = self.truncated or self._recording.truncated
            played = self._in_round
            self.close()
            if not self._loop or not played:
                return None
            self._round_s = self._last_s - self._start_s + self._period_s
            self._begin()
        return None

    def _stamp(self, frame: FileFrame) -> float:
        if self._rate_hz is not None:
            elapsed_s = self._in_round / self._rate_hz
        else:
            assert frame.time_s is not None
            self._first_s = frame.time_s if self._first_s is None else self._first_s
            elapsed_s = frame.time_s - self._first_s
        self._in_round += 1
        # Stamps that stand still or step back (a clock that was set) go on by a hair instead.
        stamp_s = max(self._start_s + self._round_s + elapsed_s, float(np.nextafter(self._last_s, np.inf)))
        if np.isfinite(self._last_s):
            self._period_s = max(stamp_s - self._last_s, 1e-3)
        self._last_s = stamp_s
        return stamp_s


def _without_telemetry(frame: FileFrame) -> FileFrame:
    """A Lepton's picture without the telemetry rows that some programs save with it."""
    if frame.picture.dtype != np.uint16:
        return frame
    for model in (MODELS["lepton"], MODELS["lepton2"]):
        if frame.picture.shape == (model.height + model.telemetry_rows, model.width):
            break
    else:
        return frame
    raw = unpack(frame.picture, model)
    closed = raw.telemetry is not None and raw.telemetry.ffc is FfcState.IN_PROGRESS
    return FileFrame(raw.counts, frame.time_s, frame.ffc or closed)


def _unit_of(pictures: NDArray[Any], scale: float | None, name: str) -> Conversion:
    """How the values of a recording become degrees Celsius.

    uint16 must be kelvin or degC times a scale, without one centikelvin or centi-degC; int16 centi-degC,
    floating point degC or kelvin.
    """
    if pictures.dtype == np.uint8:
        raise InvalidSignal(
            f"{name} holds 8-bit pictures, made for display by automatic gain control (AGC): record 16-bit "
            "radiometric frames to get temperatures."
        )
    if pictures.dtype == np.uint16:
        return check_counts(pictures, CENTIKELVIN if scale is None else scale, name, or_celsius=True)
    if scale is not None:
        whole = np.clip(np.nan_to_num(pictures), 0, 65535).astype(np.uint16)
        return check_counts(whole, scale, name, or_celsius=True)
    if pictures.dtype == np.int16:
        return check_celsius(pictures, "centi-degC", 0.01, name)
    if np.issubdtype(pictures.dtype, np.floating):
        kelvin = float(np.nanmedian(pictures)) > 200.0
        if kelvin:
            degrees = check_celsius(pictures - 273.15, "kelvin", 1.0, name)
            return Conversion(1.0, -273.15, degrees.evidence)
        return check_celsius(pictures, "degC", 1.0, name)
    raise InvalidSignal(
        f"{name} holds {pictures.dtype} values: give uint16 centikelvin, int16 centi-degC or floating-point "
        "degC."
    )
