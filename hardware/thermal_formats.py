"""Raw frames of thermal cameras to degrees Celsius, with the evidence for it, or a refusal that says why not.

Pure functions and one table of camera models: no device, no file. Sources: FLIR Lepton Engineering Datasheet
500-0659-00 rev 203 (Y16 radiometry, telemetry table 2 and 3); InfiRay/Topdon frames are 1/64 kelvin.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import INVALID_CENTI_CELSIUS, InvalidSignal

KELVIN_OFFSET = 273.15

CENTIKELVIN = 0.01
"""Kelvin per count of radiometric Leptons, of Bosons with TLinear on, and of this program's recordings."""

INFIRAY_KELVIN = 1 / 64

PLAUSIBLE_CELSIUS = (-40.0, 150.0)
"""Nearly all pixels of a room with a person in it lie inside."""

_PLAUSIBLE_WORDS = f"{PLAUSIBLE_CELSIUS[0]:g} to {PLAUSIBLE_CELSIUS[1]:g} degC"

MODE_CELSIUS = (10.0, 45.0)
"""The commonest temperature of a room with a person in it lies inside."""

_MODE_BIN_CELSIUS = 0.5
_MIN_PLAUSIBLE_SHARE = 0.95
_MIN_MODE_SHARE = 0.01
_SWAP_ROUGHNESS = 4.0


@dataclass(frozen=True)
class ThermalModel:
    """How one family of cameras delivers temperatures.

    Attributes:
        key: Short name for the command line.
        name: What a person calls it.
        width, height: Of the temperature picture, pixels.
        rate_hz: Nominal frame rate.
        fourcc: Pixel format to ask a UVC driver for.
        usb_ids: vendor:product in lower-case hexadecimal.
        names: Parts of the USB product name, lower case, that tell it.
        kelvin_per_count: None when the counts are temperatures only in a mode that has to be confirmed.
        telemetry_rows: Rows that some firmware appends to (or puts before) the picture.
        stacked: The upper half is a picture for display, the lower half holds the temperatures.
    """

    key: str
    name: str
    width: int
    height: int
    rate_hz: float
    fourcc: str
    usb_ids: tuple[str, ...]
    names: tuple[str, ...]
    kelvin_per_count: float | None
    telemetry_rows: int = 0
    stacked: bool = False

    @property
    def raw_height(self) -> int:
        """Rows to ask the driver for."""
        return self.height * (2 if self.stacked else 1)


_BOSON_USB = ("09cb:4007",)
_INFIRAY_USB = ("0bda:5830", "0bda:5840")

MODELS = MappingProxyType(
    {
        model.key: model
        for model in (
            ThermalModel(
                "lepton",
                "FLIR Lepton 3.x on PureThermal",
                160,
                120,
                8.77,
                "Y16 ",
                ("1e4e:0100",),
                ("purethermal", "lepton"),
                CENTIKELVIN,
                telemetry_rows=2,
            ),
            # The same carrier board: where the system does not tell the picture's size, a Lepton 3.x is taken
            # for granted. Telemetry packets are as long as those of that and fill rows of half the width.
            ThermalModel(
                "lepton2",
                "FLIR Lepton 2.5 on PureThermal",
                80,
                60,
                8.77,
                "Y16 ",
                ("1e4e:0100",),
                ("purethermal", "lepton"),
                CENTIKELVIN,
                telemetry_rows=3,
            ),
            ThermalModel("boson640", "FLIR Boson 640", 640, 512, 60.0, "Y16 ", _BOSON_USB, ("boson",), None),
            ThermalModel("boson320", "FLIR Boson 320", 320, 256, 60.0, "Y16 ", _BOSON_USB, ("boson",), None),
            ThermalModel(
                "tc001",
                "Topdon TC001",
                256,
                192,
                25.0,
                "YUYV",
                _INFIRAY_USB,
                ("tc001", "topdon"),
                INFIRAY_KELVIN,
                stacked=True,
            ),
            ThermalModel(
                "p2pro",
                "InfiRay P2 Pro",
                256,
                192,
                25.0,
                "YUYV",
                _INFIRAY_USB,
                ("p2 pro", "p2pro", "infiray", "xtherm"),
                INFIRAY_KELVIN,
                stacked=True,
            ),
        )
    }
)
"""The cameras known by name; anything else comes in through an LSL stream of kind Thermal."""


class FfcState(IntEnum):
    """Lepton telemetry, status bits 4-5 (table 3)."""

    NEVER = 0
    IMMINENT = 1
    IN_PROGRESS = 2
    COMPLETE = 3


@dataclass(frozen=True)
class LeptonTelemetry:
    """What a Lepton says of one frame in its telemetry rows.

    Attributes:
        ffc: State of the flat-field correction.
        frame_counter: Frames since power-on.
        sensor_celsius: Temperature of the focal plane array.
        kelvin_per_count: .01 or .1 with TLinear on; None with TLinear off: counts, no temperatures.
    """

    ffc: FfcState
    frame_counter: int
    sensor_celsius: float
    kelvin_per_count: float | None


@dataclass(frozen=True, eq=False)
class RawFrame:
    """A validated raw picture: counts uint16 [height, width] and what came with it."""

    counts: NDArray[np.uint16]
    telemetry: LeptonTelemetry | None = None


@dataclass(frozen=True)
class Conversion:
    """From counts to degrees Celsius: ``kelvin_per_count * counts + offset_celsius``, and why."""

    kelvin_per_count: float
    offset_celsius: float
    evidence: str

    def centi_celsius(self, counts: NDArray[Any]) -> NDArray[np.int16]:
        """int16 centi-degC of the shape of `counts`; 0 counts and what does not fit become "no temperature".

        Integer and floating-point input alike; a NaN is no temperature either.
        """
        if counts.dtype == np.uint16:
            looked_up: NDArray[np.int16] = _table(self.kelvin_per_count, self.offset_celsius)[counts]
            return looked_up
        centi = np.round(100.0 * (self.kelvin_per_count * counts.astype(np.float64) + self.offset_celsius))
        fits = np.isfinite(centi) & (centi > INVALID_CENTI_CELSIUS) & (centi <= 32767)
        return np.where(fits, centi, INVALID_CENTI_CELSIUS).astype(np.int16)


_tables: dict[tuple[float, float], NDArray[np.int16]] = {}


def _table(kelvin_per_count: float, offset_celsius: float) -> NDArray[np.int16]:
    key = (kelvin_per_count, offset_celsius)
    if key not in _tables:
        centi = np.round(100.0 * (kelvin_per_count * np.arange(65536) + offset_celsius))
        fits = (centi > INVALID_CENTI_CELSIUS) & (centi <= 32767)
        table = np.where(fits, centi, INVALID_CENTI_CELSIUS).astype(np.int16)
        # No scene is at the counts' zero: cameras and recordings use it for "nothing here".
        table[0] = INVALID_CENTI_CELSIUS
        _tables[key] = table
    return _tables[key]


# -- shape and type ----------------------------------------------------------------------------------------


def unpack(buffer: NDArray[Any], model: ThermalModel) -> RawFrame:
    """The temperature counts in a buffer as OpenCV delivers it.

    Args:
        buffer: uint16 picture, or its bytes as uint8, in the camera's shape or flattened by the backend
            (V4L2 returns 16-bit frames as one row).
        model: What the camera is.

    Raises:
        InvalidSignal: 8-bit or colour picture, or a size the model does not deliver.
    """
    words = _words(buffer, model)
    rows, rest = divmod(words.size, model.width)
    expected = (
        [model.raw_height, model.height + model.telemetry_rows]
        if model.telemetry_rows
        else [model.raw_height]
    )
    if rest or rows not in expected:
        sizes = " or ".join(f"{model.width}x{height}" for height in expected)
        other = next((each for each in MODELS.values() if words.size in _sizes(each)), None)
        way = f"--device {other.key}@NUMBER fits" if other else "choose another camera model or video mode"
        raise InvalidSignal(
            f"{model.name} delivered {words.size} values ({_size(buffer)}) instead of {sizes}: {way}."
        )
    picture = words.reshape(rows, model.width)
    if model.stacked:
        return RawFrame(np.ascontiguousarray(picture[model.height :]))
    if rows == model.height:
        return RawFrame(np.ascontiguousarray(picture))
    footer, header = picture[model.height :], picture[: model.telemetry_rows]
    telemetry = lepton_telemetry(footer.ravel())
    if telemetry is None:
        telemetry = lepton_telemetry(header.ravel())
        if telemetry is not None:
            return RawFrame(np.ascontiguousarray(picture[model.telemetry_rows :]), telemetry)
    return RawFrame(np.ascontiguousarray(picture[: model.height]), telemetry)


def _sizes(model: ThermalModel) -> set[int]:
    """Values per frame that a model may deliver."""
    return {model.width * model.raw_height, model.width * (model.raw_height + model.telemetry_rows)}


def _words(buffer: NDArray[Any], model: ThermalModel) -> NDArray[np.uint16]:
    if buffer.dtype == np.uint16:
        return buffer.ravel()
    if buffer.dtype != np.uint8:
        raise InvalidSignal(
            f"{model.name} delivered {buffer.dtype} values: set its pixel format to 16 bit (Y16 or YUYV) to "
            "get temperatures."
        )
    counts = model.width * model.raw_height
    with_telemetry = model.width * (model.height + model.telemetry_rows)
    if (buffer.ndim == 3 and buffer.shape[2] >= 3) or buffer.size in {counts, 3 * counts, with_telemetry}:
        raise InvalidSignal(
            f"{model.name} delivered an 8-bit picture ({_size(buffer)}), made for display by automatic gain "
            f"control (AGC): set its pixel format to {model.fourcc.strip()} without RGB conversion to get "
            "temperatures."
        )
    if buffer.size % 2:
        raise InvalidSignal(
            f"{model.name} delivered {buffer.size} bytes ({_size(buffer)}), which are no 16-bit values: "
            "choose another camera model or video mode."
        )
    return np.ascontiguousarray(buffer).ravel().view("<u2").astype(np.uint16, copy=False)


def _size(buffer: NDArray[Any]) -> str:
    return "x".join(str(n) for n in buffer.shape) + f" {buffer.dtype}"


def lepton_telemetry(words: NDArray[np.uint16]) -> LeptonTelemetry | None:
    """Parse telemetry rows A to C, 80 words each; None when the words are no telemetry.

    Word A0 is the revision, A3-4 the status, A20-21 the frame counter, A24 the sensor's temperature in
    centikelvin, C48 and C49 TLinear and its resolution (table 2).
    """
    if words.size < 160:
        return None
    revision, sensor = int(words[0]), int(words[24])
    if revision >= 0x1000 or not 24000 <= sensor <= 37000 or words[17:20].any():
        return None
    # The order of the two status words differs between carrier boards. All bits in use but one (overheating,
    # ten seconds before shutdown) are in the low word, so that either order reads the same when joined.
    status = int(words[3]) | int(words[4])
    low, high = sorted((int(words[20]), int(words[21])), reverse=True)
    resolution: float | None = CENTIKELVIN
    if words.size >= 240:
        tlinear, fine = int(words[160 + 48]), int(words[160 + 49])
        resolution = (CENTIKELVIN if fine else 0.1) if tlinear else None
    return LeptonTelemetry(
        FfcState(status >> 4 & 3), high << 16 | low, sensor / 100 - KELVIN_OFFSET, resolution
    )


# -- evidence ----------------------------------------------------------------------------------------------


def check_counts(
    counts: NDArray[np.uint16], kelvin_per_count: float, source: str, *, or_celsius: bool = False
) -> Conversion:
    """Confirm that counts are temperatures at the given scale.

    Args:
        counts: uint16 [..., height, width], one frame or several.
        kelvin_per_count: What the model or the user says.
        source: Name for the refusal.
        or_celsius: Counted from 0 degC they may be temperatures as well (files in centi-degC).

    Raises:
        InvalidSignal: 8-bit picture, wrong byte order or no plausible temperatures, told by the sentence.
    """
    _refuse_eight_bit(counts, source)
    celsius = kelvin_per_count * counts.astype(np.float64) - KELVIN_OFFSET
    present = (counts > 0) & (counts < 65535)  # dead pixels and rows lie at either end
    verdict = _judge(celsius, present)
    swapped_counts = counts.byteswap()
    swapped = _judge(kelvin_per_count * swapped_counts.astype(np.float64) - KELVIN_OFFSET, present)
    rough, rough_swapped = _roughness(counts), _roughness(swapped_counts)
    if swapped.plausible and rough > _SWAP_ROUGHNESS * max(rough_swapped, 1.0):
        raise InvalidSignal(
            f"{source} looks byte-swapped: with the two bytes of each pixel exchanged its commonest "
            f"temperature would be {swapped.mode_celsius:.1f} degC; read it as little-endian 16-bit values."
        )
    offset, zero = -KELVIN_OFFSET, ""
    if not verdict.plausible and or_celsius:
        verdict = _judge(kelvin_per_count * counts.astype(np.float64), present)
        offset, zero = 0.0, " from 0 degC"
    if not verdict.plausible:
        raise InvalidSignal(_refusal(_judge(celsius, present), counts, source))
    evidence = (
        f"{kelvin_per_count:g} K per count{zero}: commonest temperature {verdict.mode_celsius:.1f} degC, "
        f"{100 * verdict.share:.1f} % of pixels within {_PLAUSIBLE_WORDS}"
    )
    return Conversion(kelvin_per_count, offset, evidence)


def check_celsius(celsius: NDArray[Any], unit: str, per_unit: float, source: str) -> Conversion:
    """Confirm that values are degrees Celsius times ``1 / per_unit`` (centi-degC: .01).

    Raises:
        InvalidSignal: No plausible temperatures.
    """
    degrees = per_unit * celsius.astype(np.float64)
    verdict = _judge(degrees, np.isfinite(degrees) & (celsius != INVALID_CENTI_CELSIUS))
    if not verdict.plausible:
        raise InvalidSignal(
            f"{source} holds no temperatures in {unit}: its commonest value would be "
            f"{verdict.mode_celsius:.1f} degC; give the scale in kelvin per count (--thermal-scale)."
        )
    return Conversion(per_unit, 0.0, f"{unit}: commonest temperature {verdict.mode_celsius:.1f} degC")


@dataclass(frozen=True)
class _Verdict:
    mode_celsius: float
    share: float
    plausible: bool


def _judge(celsius: NDArray[np.float64], present: NDArray[np.bool_]) -> _Verdict:
    values = celsius[present]
    if values.size < 0.5 * celsius.size:
        return _Verdict(float("nan"), 0.0, plausible=False)
    share = float(np.mean((values >= PLAUSIBLE_CELSIUS[0]) & (values <= PLAUSIBLE_CELSIUS[1])))
    bins = np.floor(np.clip(values, -300.0, 2000.0) / _MODE_BIN_CELSIUS).astype(np.int64)
    counts = np.bincount(bins + 600)
    # The commonest temperature, of bins joined with their neighbours so that an edge cannot halve a peak.
    joined = np.convolve(counts, np.ones(3), mode="same")
    peak = int(joined.argmax())
    mode = (peak - 600 + 0.5) * _MODE_BIN_CELSIUS
    common = bool(joined[peak] >= _MIN_MODE_SHARE * values.size)
    inside = MODE_CELSIUS[0] <= mode <= MODE_CELSIUS[1]
    return _Verdict(float(mode), share, bool(inside and common and share >= _MIN_PLAUSIBLE_SHARE))


def _roughness(counts: NDArray[np.uint16]) -> float:
    """Median difference of neighbouring pixels, counts: real scenes are smooth in the right byte order."""
    values = counts.astype(np.int32)
    return float(np.median(np.abs(np.diff(values, axis=-1))))


def _refuse_eight_bit(counts: NDArray[np.uint16], source: str) -> None:
    high, low = counts >> 8, counts & 255
    shaded = counts.max() > counts.min()
    widened = shaded and (not low.any() or bool(np.array_equal(high, low)))
    if widened or 0 < counts.max() <= 255:
        raise InvalidSignal(
            f"{source} carries an 8-bit picture in 16-bit values, made for display by automatic gain control "
            "(AGC): switch AGC off and radiometry (TLinear) on to get temperatures."
        )


def _refusal(verdict: _Verdict, counts: NDArray[np.uint16], source: str) -> str:
    middle = int(np.median(counts))
    for kelvin, who in ((CENTIKELVIN, "centikelvin"), (INFIRAY_KELVIN, "1/64 K (Topdon, InfiRay)")):
        other = _judge(kelvin * counts.astype(np.float64) - KELVIN_OFFSET, counts > 0)
        if other.plausible:
            return (
                f"{source} carries no plausible temperatures at this scale, but they would be as {who}: give "
                f"the scale {kelvin:g} K per count."
            )
    if middle <= 16383:
        return (
            f"{source} carries counts (median {middle}) with no plausible 10-45 degC mode, not temperatures: "
            "switch radiometry (TLinear) on, or calibrate it and give its scale."
        )
    return (
        f"{source} is out of range: its commonest temperature would be {verdict.mode_celsius:.0f} degC and "
        f"{100 * verdict.share:.0f} % of pixels lie within {_PLAUSIBLE_WORDS}; check the scale, or calibrate "
        "the camera."
    )


def confirm_model(
    frame: RawFrame, model: ThermalModel, *, tlinear: bool = False, source: str | None = None
) -> Conversion:
    """The conversion of one camera, confirmed on a frame of it.

    Args:
        frame: See `unpack`.
        model: What the camera is.
        tlinear: The user confirms that a Boson's radiometric TLinear mode is on (.01 K per count).
        source: Name for the refusal; the model's when None.

    Raises:
        InvalidSignal: Temperatures are refused; the sentence says why.
    """
    name = source or model.name
    scale = model.kelvin_per_count
    if frame.telemetry is not None:
        scale = frame.telemetry.kelvin_per_count
        if scale is None:
            raise InvalidSignal(
                f"{name} says in its telemetry that it sends counts, not temperatures: switch TLinear on."
            )
    if scale is None:
        if not tlinear:
            raise InvalidSignal(
                f"{name} sends counts unless its radiometric TLinear mode is on: switch it on in the "
                "vendor's program and confirm it with tlinear=True."
            )
        scale = CENTIKELVIN
    return check_counts(frame.counts, scale, name)
