"""The words of skin temperature: its columns, settings, reasons, events, and what it says of a muscle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec
from processing.thermal_checks import PixelFaults
from processing.thermal_mapping import ThermalMapping
from processing.thermal_regions import MUSCLES, REGIONS

FEATURES = (
    ("celsius", "celsius"),
    ("delta_celsius", "celsius"),
    ("slope_celsius_per_s", "celsius/second"),
    ("minus_forehead_celsius", "celsius"),
    ("valid", "normalized"),
)
EXTRA_FEATURES = (
    ("p10_celsius", "celsius"),
    ("p90_celsius", "celsius"),
    ("delta_se_celsius", "celsius"),
    ("slope_se_celsius_per_s", "celsius/second"),
)
COMMON = (
    ("registration_residual_px", "pixels"),
    ("registration_correlation", "normalized"),
    ("ffc", "none"),
)
EXTRA_COMMON = (
    ("cheek_left_minus_right_celsius", "celsius"),
    ("periorbital_left_minus_right_celsius", "celsius"),
    ("arousal", "normalized"),
    ("arousal_se", "normalized"),
    ("camera_drift_celsius_per_s", "celsius/second"),
    ("carried_over", "none"),
    ("reason", "none"),
)


class Reason(IntEnum):
    """Why values of a row are missing or to be taken with care; the column ``reason``."""

    NONE = 0
    WARMING_UP = 1
    NO_BASELINE = 2
    SHUTTER = 3
    HOLD_OFF = 4
    START_UP = 5
    NO_FACE = 6
    FACE_LOST = 7
    IMPLAUSIBLE = 8


_COUNTED = {
    Reason.NO_FACE: "no frontal face",
    Reason.FACE_LOST: "the face turned away or left the picture",
    Reason.WARMING_UP: "the camera was warming up",
    Reason.SHUTTER: "the camera calibrated itself (FFC)",
    Reason.IMPLAUSIBLE: "no temperatures",
}
"""Reasons worth telling of a whole recording."""


@dataclass(frozen=True)
class ThermalSettings:
    """Time constants and limits of `SkinTemperature`.

    Attributes:
        start_up_frames: Frames dropped after the stream begins (a Lepton delivers a burst of stale ones).
        baseline_s: Length of the first stable stretch when no rest is named.
        slope_window_s: Window of the slope, 2-5 s (skin follows a muscle within 2-9 s).
        hold_off_s: Time after a shutter event in which the sensor settles.
        max_drift_celsius_per_s: While the whole picture drifts faster, the camera is warming up and the
            baseline waits, at most `max_wait_s`.
        max_wait_s: See above; the forehead cancels what drift is left.
        min_valid: Share of a region that must be real skin pixels.
        max_delta_se_celsius: A delta whose standard error is larger says nothing and is NaN: steep regions of
            a head that has turned far, large changes behind glasses.
        forget_s: After a pause as long as this everything starts anew.
        arousal_celsius: Cooling of the nose tip relative to the forehead that counts as arousal 1.
        arousal_lag_s: Lag of the skin behind its blood supply, made up for with the slope.
        ffc_residual_celsius: Standard deviation of what an FFC shifts one region against another.
        carry_lag_s: A face carried over from the visible camera is at least so much older than the frame, the
            time that camera's frames take to be measured.
        carry_max_age_s: And at most so much older than that.
    """

    start_up_frames: int = 5
    baseline_s: float = 3.0
    slope_window_s: float = 3.0
    hold_off_s: float = 1.0
    max_drift_celsius_per_s: float = 0.08
    max_wait_s: float = 20.0
    min_valid: float = 0.5
    max_delta_se_celsius: float = 0.25
    forget_s: float = 60.0
    arousal_celsius: float = 0.5
    arousal_lag_s: float = 4.0
    ffc_residual_celsius: float = 0.02
    carry_lag_s: float = 0.15
    carry_max_age_s: float = 0.2


@dataclass(frozen=True)
class ThermalEvent:
    """Something that happened to the thermal signal: ``time_s`` of the stamp, ``kind`` and words."""

    time_s: float
    kind: str
    text: str


@dataclass(frozen=True)
class MuscleWarming:
    """Warming of the skin over a muscle, relative to the forehead (Jarlier et al. 2011).

    Attributes:
        region, muscle, side: Where; side is the subject's own.
        speed_celsius_per_s: dT/dt over the slope window: speed of contraction.
        intensity_celsius: Change from the baseline: intensity of contraction.
        speed_se, intensity_se: Standard errors; those of registration included.
    """

    region: str
    muscle: str
    side: str
    speed_celsius_per_s: float
    speed_se: float
    intensity_celsius: float
    intensity_se: float


def skin_spec(input_spec: StreamSpec, mapping: ThermalMapping | None = None) -> StreamSpec:
    """The stream that skin temperature makes of a thermal stream; its metadata tells a mapping's residual.

    Raises:
        InvalidSignal: Not a thermal stream in degrees Celsius.
    """
    if input_spec.kind is not Kind.THERMAL or input_spec.frame is None:
        raise InvalidSignal(
            f"{input_spec.name} is a {input_spec.kind} stream: connect one of kind Thermal to read skin "
            "temperature."
        )
    radiometric = input_spec.metadata.get("radiometric", "true").lower()
    if radiometric in {"false", "no", "0"} or input_spec.dtype is not SampleType.INT16:
        raise InvalidSignal(
            f"{input_spec.name} carries no temperatures: publish it from a radiometric camera as int16 "
            "centi-degrees Celsius, or calibrate it first."
        )
    # Stamps are irregular, so the camera's nominal rate stands in the metadata only.
    rate = {name: value for name, value in input_spec.metadata.items() if name == "frame_rate_hz"}
    mapped = {}
    if mapping is not None:
        mapped = {
            "mapping": mapping.method,
            "mapping_residual_px": f"{mapping.residual_px:.2f}",
            "mapping_samples": str(mapping.samples),
        }
    channels = [
        Channel(f"{region}_{name}", unit, "SkinTemperature") for region in REGIONS for name, unit in FEATURES
    ]
    channels += [Channel(name, unit, "Quality") for name, unit in COMMON]
    channels += [
        Channel(f"{region}_{name}", unit, "SkinTemperature")
        for region in REGIONS
        for name, unit in EXTRA_FEATURES
    ]
    channels += [Channel(name, unit, "SkinTemperature") for name, unit in EXTRA_COMMON]
    return StreamSpec(
        name=f"{input_spec.name} skin temperature",
        kind=Kind.SKIN_TEMPERATURE,
        channels=tuple(channels),
        rate_hz=input_spec.rate_hz,
        dtype=SampleType.FLOAT32,
        source_id=f"{input_spec.source_id}-skin-temperature",
        metadata={
            "source": input_spec.source_id,
            "delta_reference": "forehead",
            "reasons": ", ".join(f"{reason.value} {reason.name.lower()}" for reason in Reason),
            # Slope and delta are speed and intensity of its contraction (Jarlier et al. 2011).
            "muscles": ", ".join(f"{region}: {muscle}" for region, (muscle, _) in MUSCLES.items()),
            **mapped,
            **rate,
        },
    )


def quality_words(counts: Mapping[Reason, int], frames: int, faults: PixelFaults) -> str:
    """What spoke against a signal of `frames` frames; `counts` of those that a reason held for."""
    told = [
        f"{words} in {100 * counts[reason] / frames:.0f} % of the frames"
        for reason, words in _COUNTED.items()
        if counts.get(reason)
    ]
    if faults != PixelFaults((), (), (), 0.0):
        told.append(str(faults))
    if frames and counts.get(Reason.START_UP) == frames:
        told.append(f"too short: the first {frames} frames of a camera are left out")
    return "; ".join(told) or ("good" if frames else "")


def muscle_warming(skin: Block, row: int = -1) -> tuple[MuscleWarming, ...]:
    """Warming over each muscle in one row of a `SkinTemperature` block; NaN where it cannot be told."""

    def value(label: str) -> float:
        return float(skin.array[row, skin.spec.index(label)])

    return tuple(
        MuscleWarming(
            region,
            muscle,
            side,
            value(f"{region}_slope_celsius_per_s"),
            value(f"{region}_slope_se_celsius_per_s"),
            value(f"{region}_delta_celsius"),
            value(f"{region}_delta_se_celsius"),
        )
        for region, (muscle, side) in MUSCLES.items()
    )
