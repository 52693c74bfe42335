"""`StreamSpec` to and from Lab Streaming Layer metadata, as the XDF conventions have it.

Own streams come back exactly as they went out. Streams of other programs are understood as far as their
metadata allow, and refused with one sentence where guessing would make numbers wrong (an unknown unit).
Conventions: https://github.com/sccn/xdf/wiki/Meta-Data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pylsl
from numpy.typing import NDArray

from acquisition.stream import (
    INVALID_CENTI_CELSIUS,
    TEXT_KINDS,
    Channel,
    FrameFormat,
    InvalidSignal,
    Kind,
    SampleType,
    StreamSpec,
)

COUNTER_LABEL = "frame_number"
"""Label of the column that counts frames."""

THERMAL_COUNTER_MODULUS = 32768
"""The frame counter of a thermal stream is int16 and starts again at 0 after 32767."""

_SPELLINGS: Mapping[Kind, tuple[str, ...]] = {
    Kind.CAMERA: ("Camera", "VideoCompressed", "Video"),
    Kind.EMG: ("EMG", "EXG"),
    Kind.MARKERS: ("Markers", "Marker", "Events"),
}
TYPE_NAMES: Mapping[Kind, tuple[str, ...]] = {
    kind: tuple(
        dict.fromkeys(
            form
            for name in _SPELLINGS.get(kind, (kind.value,))
            for form in (name, name.lower(), name.upper(), name.capitalize())
        )
    )
    for kind in Kind
}
"""LSL types that are read as each kind, the own one first."""
_KIND_OF_TYPE = {name.lower(): kind for kind, names in TYPE_NAMES.items() for name in names}

_LSL_FORMATS = {
    SampleType.FLOAT32: "float32",
    SampleType.FLOAT64: "double64",
    SampleType.INT16: "int16",
    SampleType.INT32: "int32",
    SampleType.STRING: "string",
}
# int8 and int64 are not in the vocabulary: they widen to the next type that holds them.
_DTYPES = {name: dtype for dtype, name in _LSL_FORMATS.items()} | {
    "int8": SampleType.INT16,
    "int64": SampleType.FLOAT64,
}
# To microvolts. Integers are powers of ten of a volt, as MNE writes them.
_MICROVOLTS = {
    **dict.fromkeys(("microvolts", "microvolt", "uv", "µv", "μv", "-6"), 1.0),
    **dict.fromkeys(("millivolts", "millivolt", "mv", "-3"), 1e3),
    **dict.fromkeys(("volts", "volt", "v"), 1e6),
}
# To hundredths of a degree Celsius: factor, then offset.
_CENTI_CELSIUS = {
    **dict.fromkeys(("centi_celsius", "centicelsius", "centi-degc", "centidegc", "cdegc"), (1.0, 0.0)),
    **dict.fromkeys(("celsius", "degc", "°c", "c", "degrees celsius"), (100.0, 0.0)),
    **dict.fromkeys(("kelvin", "k"), (100.0, -27315.0)),
    **dict.fromkeys(("centikelvin", "centi_kelvin", "ck"), (1.0, -27315.0)),
}
_JPEG_NAMES = frozenset({"mjpg", "mjpeg", "jpeg", "jpg"})
_ELEMENT_NAME = re.compile(r"[A-Za-z_][\w.-]*\Z", re.ASCII)
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Facts with a place of their own in the conventions, beside the complete list under <zygoma>.
_CONVENTIONAL = {
    "manufacturer": ("acquisition", "manufacturer"),
    "device": ("acquisition", "model"),
    "serial": ("acquisition", "serial_number"),
    "reference": ("reference", "label"),
}


@dataclass(frozen=True, eq=False)
class Wire:
    """How the samples of a stream travel, where that differs from its spec.

    Attributes:
        format: LSL channel format, e.g. ``double64``.
        channel_count: Values per sample on the wire.
        columns: Wire columns that become the columns of a block, or None for all.
        scale, offset: ``block value = wire value * scale + offset``; None leaves the values alone.
        jpeg, counter: Wire columns of the JPEG bytes and of the frame number, -1 where there is none.
    """

    format: str
    channel_count: int
    columns: tuple[int, ...] | None = None
    scale: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | float = 0.0
    jpeg: int = 0
    counter: int = -1

    def convert(self, values: NDArray[Any], dtype: SampleType) -> NDArray[Any]:
        """Wire values [n, channel_count] as block values [n, columns] of `dtype`."""
        if self.columns is not None:
            values = values[:, list(self.columns)]
        if self.scale is None:
            return values.astype(dtype.value, copy=False)
        converted = values * self.scale + self.offset
        if dtype is SampleType.INT16:
            usable = np.abs(converted) < -INVALID_CENTI_CELSIUS
            return np.where(usable, np.rint(converted), INVALID_CENTI_CELSIUS).astype(np.int16)
        return converted.astype(dtype.value)


@dataclass(frozen=True, eq=False)
class Announced:
    """A stream as found on the network: what it is and how its samples travel."""

    spec: StreamSpec
    wire: Wire


# ---------------------------------------------------------------------------------------- own streams out


def to_stream_info(spec: StreamSpec) -> Any:
    """Return the pylsl.StreamInfo that announces `spec`.

    Raises:
        ValueError: A text cannot be carried: control characters, or a metadata key that is no XML element
            name.
    """
    _check_text(spec, spec.name, spec.source_id)
    info = pylsl.StreamInfo(
        spec.name,
        spec.kind.value,
        spec.channel_count,
        spec.rate_hz,
        _LSL_FORMATS[spec.dtype],
        spec.source_id,
    )
    desc = info.desc()
    if spec.rate_hz != float(f"{spec.rate_hz:.16g}"):
        desc.append_child_value("nominal_srate", repr(spec.rate_hz))  # LSL itself sends 16 digits
    if spec.channels:
        # Beside pixels, which are not listed, the rest must not pass for channels 1 and 2.
        node = desc.append_child("extra_channels" if spec.pixel_count else "channels")
        for channel in spec.channels:
            _check_text(spec, channel.label, channel.unit, channel.kind)
            child = node.append_child("channel")
            child.append_child_value("label", channel.label)
            child.append_child_value("unit", channel.unit)
            child.append_child_value("type", channel.kind)
    if spec.frame is not None:
        node = desc.append_child("encoding")
        node.append_child_value("width", str(spec.frame.width))
        node.append_child_value("height", str(spec.frame.height))
        thermal = spec.kind is Kind.THERMAL
        node.append_child_value("color_format", "gray16le" if thermal else "RGB")
        node.append_child_value("codec", spec.frame.codec)
        if thermal:
            node.append_child_value("unit", "centi_celsius")
    if spec.kind not in TEXT_KINDS:
        # Tells readers (pyxdf >= 1.17.4) to leave the stamps alone: ours follow the device's own count, and
        # evened out, a gap of less than a second is gone.
        desc.append_child("synchronization").append_child_value("can_drop_samples", "true")
    _append_metadata(desc, spec)
    return info


def _append_metadata(desc: Any, spec: StreamSpec) -> None:
    for key, (group, name) in _CONVENTIONAL.items():
        if key in spec.metadata:
            node = desc.child(group)
            node = desc.append_child(group) if node.empty() else node
            node.append_child_value(name, spec.metadata[key])
    if spec.metadata:
        node = desc.append_child("zygoma")
        for key, value in spec.metadata.items():
            if not _ELEMENT_NAME.match(key):
                raise ValueError(f"{spec.name}: metadata key {key!r} is not an XML element name")
            _check_text(spec, value)
            node.append_child_value(key, value)


def _check_text(spec: StreamSpec, *texts: str) -> None:
    for text in texts:
        if _FORBIDDEN.search(text) or (text and not text.strip()):
            raise ValueError(f"{spec.name}: {text!r} cannot be carried in LSL metadata")


# ---------------------------------------------------------------------------------------- any stream in


def read_stream_info(info: Any) -> Announced:
    """Return what a stream is and how it travels, from its full pylsl.StreamInfo (``StreamInlet.info()``).

    Raises:
        InvalidSignal: It cannot be read; the message says why in one sentence.
    """
    return read_xml(info.as_xml())


def read_xml(xml: str | bytes) -> Announced:
    """As `read_stream_info`, from the XML of an announcement or of an XDF stream header.

    Raises:
        InvalidSignal: It cannot be read; the message says why in one sentence.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise InvalidSignal(f"A stream announces itself with broken XML ({error}).") from None
    name = _text(root, "name") or "unnamed"
    type_name = _text(root, "type")
    kind = _KIND_OF_TYPE.get(type_name.strip().lower())
    if kind is None:
        raise InvalidSignal(
            f"Stream {name!r} has the LSL type {type_name!r}, which zygoma does not read; "
            f"types it reads: {', '.join(Kind)}."
        )
    lsl_format = _text(root, "channel_format")
    if lsl_format not in _DTYPES:
        raise InvalidSignal(f"Stream {name!r} has no sample format that LSL can send ({lsl_format!r}).")
    desc = root.find("desc")
    parts = _Parts(
        name=name,
        kind=kind,
        lsl_format=lsl_format,
        count=int(_text(root, "channel_count") or 0),
        rate_hz=_rate_hz(root, desc),
        source_id=_text(root, "source_id"),
        desc=desc if desc is not None else ElementTree.Element("desc"),
    )
    if parts.count < 1:
        raise InvalidSignal(f"Stream {name!r} has no channels.")
    if kind is Kind.CAMERA:
        return _read_camera(parts)
    if kind is Kind.THERMAL:
        return _read_thermal(parts)
    if kind is Kind.EMG:
        return _read_emg(parts)
    if kind in TEXT_KINDS:
        return _read_texts(parts)
    if lsl_format == "string":
        raise InvalidSignal(f"Stream {name!r} of type {kind} sends texts where numbers are expected.")
    return Announced(parts.spec(parts.channels(), _DTYPES[lsl_format]), Wire(lsl_format, parts.count))


@dataclass(frozen=True)
class _Parts:
    """The pieces of an announcement that every kind has."""

    name: str
    kind: Kind
    lsl_format: str
    count: int
    rate_hz: float
    source_id: str
    desc: ElementTree.Element

    def spec(
        self, channels: Iterable[Channel], dtype: SampleType, frame: FrameFormat | None = None
    ) -> StreamSpec:
        facts = self.desc.findall("zygoma/*")
        metadata = {fact.tag: fact.text or "" for fact in facts if _ELEMENT_NAME.match(fact.tag)}
        return StreamSpec(
            self.name, self.kind, tuple(channels), self.rate_hz, dtype, self.source_id, frame, metadata
        )

    def channels(self, path: str = "channels", count: int | None = None) -> list[Channel]:
        """The first `count` channels; those not described are called ch1, ch2 ..."""
        nodes = self.desc.findall(f"{path}/channel")
        channels: list[Channel] = []
        taken: set[str] = set()
        for index in range(self.count if count is None else count):
            node = nodes[index] if index < len(nodes) else ElementTree.Element("channel")
            label = _text(node, "label") or _text(node, "name") or f"ch{index + 1}"
            while label in taken:
                label += f"_{index + 1}"
            taken.add(label)
            channels.append(Channel(label, _text(node, "unit") or "none", _text(node, "type") or "Misc"))
        return channels

    def size(self) -> tuple[int, int]:
        """Width and height in pixels.

        Raises:
            InvalidSignal: Not told, or not positive.
        """
        try:
            width, height = (int(_text(self.desc, f"encoding/{side}")) for side in ("width", "height"))
        except ValueError:
            width = height = 0
        if width < 1 or height < 1:
            raise InvalidSignal(
                f"{self.kind} stream {self.name!r} does not tell its width and height; "
                "its publisher must set desc/encoding/width and desc/encoding/height."
            )
        return width, height


def _text(node: ElementTree.Element, path: str) -> str:
    return node.findtext(path) or ""


def _rate_hz(root: ElementTree.Element, desc: ElementTree.Element | None) -> float:
    exact = "" if desc is None else _text(desc, "nominal_srate")
    try:
        rate_hz = float(exact or _text(root, "nominal_srate") or 0)
    except ValueError:
        return 0.0
    return rate_hz if np.isfinite(rate_hz) and rate_hz > 0 else 0.0


def _read_camera(parts: _Parts) -> Announced:
    codec = _text(parts.desc, "encoding/codec") or _text(parts.desc, "encoding/color_format")
    if parts.lsl_format != "string" or parts.count > 2 or (codec and codec.lower() not in _JPEG_NAMES):
        raise InvalidSignal(
            f"Camera stream {parts.name!r} sends {parts.count} x {parts.lsl_format}, {codec or 'no codec'}; "
            "zygoma reads one JPEG per sample in a string channel."
        )
    width, height = parts.size()
    channels = parts.channels()
    labels = [channel.label for channel in channels]
    counter = labels.index(COUNTER_LABEL) if COUNTER_LABEL in labels else -1
    if len(labels) == 1 and counter == 0:
        raise InvalidSignal(f"Camera stream {parts.name!r} has a frame number but no pictures.")
    jpeg = 1 if counter == 0 else 0
    if not parts.desc.findall("channels/channel"):
        channels = [Channel("jpeg"), *channels[1:]]
    spec = parts.spec(channels, SampleType.STRING, FrameFormat(width, height, "MJPG"))
    return Announced(spec, Wire("string", parts.count, jpeg=jpeg, counter=counter))


def _read_thermal(parts: _Parts) -> Announced:
    width, height = parts.size()
    extra = parts.count - width * height
    if extra < 0 or parts.lsl_format == "string":
        raise InvalidSignal(
            f"Thermal stream {parts.name!r} sends {parts.count} x {parts.lsl_format} per sample, "
            f"which is not a picture of {width} x {height} numbers."
        )
    unit = _text(parts.desc, "encoding/unit") or _text(parts.desc, "channels/channel/unit")
    if not unit and parts.lsl_format == "int16":
        unit = "centi_celsius"  # what a stream of type Thermal carries unless it says otherwise
    conversion = _CENTI_CELSIUS.get(unit.strip().lower())
    if conversion is None or parts.lsl_format == "int8":
        raise InvalidSignal(
            f"Thermal stream {parts.name!r} sends {parts.lsl_format} in {unit or 'no unit'}; temperatures "
            "are needed (desc/encoding/unit = centi_celsius, celsius, kelvin or centikelvin)."
        )
    channels = parts.channels("extra_channels", extra)
    labels = [channel.label for channel in channels]
    counter = width * height + labels.index(COUNTER_LABEL) if COUNTER_LABEL in labels else -1
    spec = parts.spec(channels, SampleType.INT16, FrameFormat(width, height, "centi_celsius"))
    if parts.lsl_format == "int16" and conversion == (1.0, 0.0):
        return Announced(spec, Wire("int16", parts.count, counter=counter))
    scale, offset = np.ones(parts.count), np.zeros(parts.count)
    scale[: width * height], offset[: width * height] = conversion
    return Announced(spec, Wire(parts.lsl_format, parts.count, None, scale, offset, counter=counter))


def _read_emg(parts: _Parts) -> Announced:
    channels = parts.channels()
    factors = [_MICROVOLTS.get(channel.unit.strip().lower()) for channel in channels]
    # A trigger or an accelerometer may ride along: it has another unit and says that it is no EMG.
    kept = [
        index
        for index, (channel, factor) in enumerate(zip(channels, factors, strict=True))
        if factor is not None or channel.kind.upper() in ("EMG", "EXG", "EEG", "MISC")
    ]
    missing = next((channels[index] for index in kept if factors[index] is None), None)
    if missing is not None or not kept or parts.lsl_format == "string":
        told = f"channel {missing.label} in {missing.unit!r}" if missing else "no channel in volts"
        raise InvalidSignal(
            f"EMG stream {parts.name!r} has {told}; the publisher must state volts, millivolts or microvolts "
            "in desc/channels/channel/unit."
        )
    scale = np.array([factors[index] for index in kept], dtype=np.float64)
    columns = tuple(kept) if len(kept) < parts.count else None
    as_is = np.all(scale == 1.0)
    wire = Wire(parts.lsl_format, parts.count, columns, None if as_is else scale)
    own = [
        Channel(
            channels[index].label,
            "microvolts",
            "EMG" if channels[index].kind == "Misc" else channels[index].kind,
        )
        for index in kept
    ]
    return Announced(parts.spec(own, SampleType.FLOAT32), wire)


def _read_texts(parts: _Parts) -> Announced:
    # Numeric triggers become their decimal texts, so that every marker stream reads alike.
    channels = parts.channels() if parts.count == 1 else [Channel("texts")]
    return Announced(parts.spec(channels, SampleType.STRING), Wire(parts.lsl_format, parts.count))
