"""The one vocabulary that every floor speaks: channels, streams, blocks, sources and processors.

Nothing here knows a device, a file, a socket or a clock; the conversion to and from
Lab Streaming Layer metadata lives in `acquisition.lsl_metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IRREGULAR_RATE_HZ = 0.0
"""`StreamSpec.rate_hz` of a stream whose samples come when they come."""

INVALID_CENTI_CELSIUS = -32768
"""Value of a thermal pixel that carries no temperature (dead pixel, lost row)."""


class Kind(StrEnum):
    """What a stream carries; also its LSL stream type."""

    CAMERA = "Camera"
    EMG = "EMG"
    THERMAL = "Thermal"
    MARKERS = "Markers"
    ACTION_UNITS = "ActionUnits"
    FACE_MOTION = "FaceMotion"
    MUSCLE_ACTIVITY = "MuscleActivity"
    SKIN_TEMPERATURE = "SkinTemperature"
    VALENCE = "Valence"
    FACE_EVENTS = "FaceEvents"
    GROUND_TRUTH = "GroundTruth"


FRAME_KINDS = frozenset({Kind.CAMERA, Kind.THERMAL})
"""Kinds whose samples are pictures; recordings keep them in Matroska, not in XDF."""

FRAME_PACED_KINDS = FRAME_KINDS | {
    Kind.ACTION_UNITS,
    Kind.FACE_MOTION,
    Kind.SKIN_TEMPERATURE,
    Kind.VALENCE,
}
"""Kinds with one sample per picture: their rate follows the light, and lost pictures are no jitter."""

TEXT_KINDS = frozenset({Kind.MARKERS, Kind.FACE_EVENTS, Kind.GROUND_TRUTH})
"""Kinds whose samples are texts."""


class SampleType(StrEnum):
    """How one value of a stream is stored (LSL channel formats by their numpy names)."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT16 = "int16"
    INT32 = "int32"
    STRING = "string"


class ZygomaError(Exception):
    """An error a person can act on: its message says in one sentence what to do."""


class DeviceNotFound(ZygomaError):
    """The device, file or stream that was asked for is not there."""


class DeviceLost(ZygomaError):
    """A device that was delivering stopped for good (unplugged, stream gone)."""


class InvalidSignal(ZygomaError):
    """The input is there but cannot be what it claims to be (8-bit thermal, unknown unit)."""


class EndOfStream(ZygomaError):
    """A source with an end (a file, a replay) has delivered everything."""


@dataclass(frozen=True)
class Channel:
    """One column of a stream.

    Attributes:
        label: Name, unique within its stream, e.g. ``ZYG_L`` (muscle_side).
        unit: Unit of the values, in LSL/XDF words (``microvolts``, ``celsius``, ``normalized``, ``none``).
        kind: Type of the channel in XDF words (``EMG``, ``Misc``, ``AU`` ...).
    """

    label: str
    unit: str = "none"
    kind: str = "Misc"


@dataclass(frozen=True)
class FrameFormat:
    """Geometry and coding of the pictures in a frame stream.

    Attributes:
        width, height: Pixels.
        codec: ``MJPG`` (one JPEG per sample), ``BGR8`` (uint8 [height, width, 3] arrays, files only)
            or ``centi_celsius`` (int16, row-major, 100 x degrees Celsius).
    """

    width: int
    height: int
    codec: str


@dataclass(frozen=True)
class StreamSpec:
    """What a stream is, known before its first sample.

    Attributes:
        name: Human-readable, unique on a machine.
        kind: See `Kind`.
        channels: One `Channel` per column. A thermal stream has two, ``frame_number`` and ``ffc``, that
            follow its ``height * width`` pixels; pixels are not listed (see `channel_count`).
        rate_hz: Nominal rate; 0 is irregular.
        dtype: Storage type of a value.
        source_id: Stable per device, so that LSL finds the same device again after a restart.
        frame: Geometry for frame streams, else None.
        metadata: Further facts as flat strings: device, serial, ``simulated``, ``notch_hz`` ...
    """

    name: str
    kind: Kind
    channels: tuple[Channel, ...]
    rate_hz: float
    dtype: SampleType
    source_id: str
    frame: FrameFormat | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        if not np.isfinite(self.rate_hz) or self.rate_hz < 0:
            raise ValueError(f"rate_hz of {self.name} must be finite and >= 0, got {self.rate_hz}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"channel labels of {self.name} are not unique: {self.labels}")
        if self.kind in FRAME_KINDS and self.frame is None:
            raise ValueError(f"frame stream {self.name} needs its FrameFormat")

    def __reduce__(self) -> tuple[Any, ...]:
        # A mappingproxy cannot be pickled; device processes are started with their specs.
        args = (
            self.name,
            self.kind,
            self.channels,
            self.rate_hz,
            self.dtype,
            self.source_id,
            self.frame,
            dict(self.metadata),
        )
        return (StreamSpec, args)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels of the listed channels, in order."""
        return tuple(channel.label for channel in self.channels)

    @property
    def pace_hz(self) -> float:
        """Nominal rate; of frames announced as irregular that of their camera; 0 when none is stated.

        Raises:
            ValueError: ``frame_rate_hz`` of the metadata is no number.
        """
        return self.rate_hz or float(self.metadata.get("frame_rate_hz", 0.0))

    @property
    def pixel_count(self) -> int:
        """Columns taken by pixels in front of the listed channels (thermal streams), else 0."""
        if self.kind is Kind.THERMAL and self.frame is not None:
            return self.frame.width * self.frame.height
        return 0

    @cached_property
    def channel_count(self) -> int:
        """Number of values in one sample: pixels, then listed channels."""
        return self.pixel_count + len(self.channels)

    @cached_property
    def _columns(self) -> Mapping[str, int]:
        return {label: self.pixel_count + place for place, label in enumerate(self.labels)}

    def index(self, label: str) -> int:
        """Column of the channel called `label`.

        Raises:
            KeyError: No such channel; the message lists those there are.
        """
        try:
            return self._columns[label]
        except KeyError:
            raise KeyError(f"{self.name} has no channel {label!r}; it has {list(self.labels)}") from None


Samples: TypeAlias = NDArray[Any] | tuple[Any, ...]
"""Numeric streams: array [n, channels]. Strings: n `str`. Camera: n JPEGs as `bytes`; from a file uint8 BGR
arrays [height, width, 3]; between a decoding and a measuring thread, decoded pictures."""


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive samples of one stream, without a gap inside.

    Attributes:
        spec: The stream they belong to.
        timestamps: float64 [n], LSL clock, seconds, strictly increasing, stamped at capture.
        data: See `Samples`. Arrays are read-only.
        first: Running number of the first sample since the stream began, lost samples counted, so that
            ``block.first != previous.end`` is a gap of exactly that many samples.
    """

    spec: StreamSpec
    timestamps: NDArray[np.float64]
    data: Samples
    first: int

    def __post_init__(self) -> None:
        stamps, data = np.asarray(self.timestamps, dtype=np.float64), self.data
        if stamps.ndim != 1 or len(stamps) != len(data):
            raise ValueError(f"{self.spec.name}: {stamps.shape} timestamps for {len(data)} samples")
        object.__setattr__(self, "timestamps", _read_only(stamps))
        if isinstance(data, np.ndarray):
            channels = self.spec.channel_count
            if data.ndim != 2 or data.shape[1] != channels:
                raise ValueError(f"{self.spec.name}: data {data.shape} does not have {channels} channels")
            object.__setattr__(self, "data", _read_only(data))

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def end(self) -> int:
        """Running number that the next block starts with when nothing is lost."""
        return self.first + len(self)

    @property
    def array(self) -> NDArray[Any]:
        """`data` of a numeric stream.

        Raises:
            TypeError: The stream carries strings or encoded frames.
        """
        if not isinstance(self.data, np.ndarray):
            raise TypeError(f"{self.spec.name} carries {self.spec.dtype} samples, not numbers")
        return self.data

    def column(self, label: str) -> NDArray[Any]:
        """Values [n] of one listed channel."""
        return self.array[:, self.spec.index(label)]

    def __getitem__(self, key: slice) -> Block:
        """A shorter block of the same stream; `key` must be a slice of step 1."""
        start, stop, step = key.indices(len(self))
        if step != 1:
            raise ValueError("a block is sliced in steps of 1")
        return Block(self.spec, self.timestamps[start:stop], self.data[start:stop], self.first + start)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    if not array.flags.writeable:
        return array
    # A view, so that the owner of the buffer may go on writing into its own array.
    view = array.view()
    view.flags.writeable = False
    return view


def empty_block(spec: StreamSpec, first: int = 0) -> Block:
    """A legal block without samples."""
    if spec.dtype is SampleType.STRING or (spec.frame is not None and spec.frame.codec != "centi_celsius"):
        return Block(spec, np.empty(0), (), first)
    return Block(spec, np.empty(0), np.empty((0, spec.channel_count), dtype=spec.dtype.value), first)


@runtime_checkable
class Source(Protocol):
    """Where blocks come from: a device, a file, an LSL inlet or a simulation.

    `spec` is known before `open`. `read` waits up to `timeout_s` and returns a block, empty when nothing
    came. A source with an end raises `EndOfStream`; one that died raises `DeviceLost`.
    """

    @property
    def spec(self) -> StreamSpec: ...
    def open(self) -> None: ...
    def read(self, timeout_s: float) -> Block: ...
    def close(self) -> None: ...


class OpenedSource:
    """Mix-in that turns a `Source` into a context manager."""

    def open(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@runtime_checkable
class Processor(Protocol):
    """A causal, stateful, chunk-invariant step from one stream to another.

    Any chunking of the same input gives bit-equal output, and the same object serves live and offline.
    """

    def process(self, block: Block) -> Block: ...
    def reset(self) -> None: ...
    def spec_for(self, input_spec: StreamSpec) -> StreamSpec: ...
