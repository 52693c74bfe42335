"""Synthetic rows for the fusion tests: what the processors would say about a person whose face we script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from fusion.events import FaceEvent
from fusion.fuse import Fused, Fusion, FusionSettings
from fusion.micro_expressions import MicroSettings
from processing.findings import Burst, Movement, Side

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 43, 45)
TWO_SIDED = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 20)
CAMERA_HZ = 30.0
EMG_HZ = 100.0
START_S = 1000.0


def units_spec() -> StreamSpec:
    labels = [
        "face",
        "confidence",
        "pitch_deg",
        "yaw_deg",
        "roll_deg",
        "iod_px",
        "head_speed",
        "blink_left",
        "blink_right",
    ]
    for unit in UNITS:
        labels.append(f"AU{unit}")
        if unit in TWO_SIDED:
            labels += [f"AU{unit}_left", f"AU{unit}_right"]
    labels += [f"AU{unit}_se" for unit in UNITS]
    return _numeric("ActionUnits", Kind.ACTION_UNITS, labels, CAMERA_HZ)


def activity_spec(channels: Sequence[str] = ("ZYG_L", "ZYG_R", "COR_L", "COR_R")) -> StreamSpec:
    fields = ("envelope_uv", "slow_uv", "z", "slow_z", "mvc", "burst", "quality")
    labels = [f"{channel}_{name}" for channel in channels for name in fields]
    return _numeric("MuscleActivity", Kind.MUSCLE_ACTIVITY, labels, EMG_HZ)


def skin_spec(rate_hz: float = 0.0) -> StreamSpec:
    labels = [
        f"{roi}_{name}"
        for roi in ("nose_tip", "forehead")
        for name in ("celsius", "delta_celsius", "slope_celsius_per_s", "minus_forehead_celsius", "valid")
    ]
    return _numeric("SkinTemperature", Kind.SKIN_TEMPERATURE, [*labels, "ffc"], rate_hz)


def _numeric(name: str, kind: Kind, labels: Sequence[str], rate_hz: float) -> StreamSpec:
    channels = tuple(Channel(label) for label in labels)
    return StreamSpec(name, kind, channels, rate_hz, SampleType.FLOAT32, f"test-{name}")


Curve = Callable[[np.ndarray], np.ndarray]


def plateau(start_s: float, end_s: float, level: float, rise_s: float = 0.3) -> Curve:
    """Zero, then `level` from start to end, with raised-cosine flanks inside; seconds since START_S."""

    def curve(t: np.ndarray) -> np.ndarray:
        edge = np.clip(np.minimum(t - start_s, end_s - t) / rise_s, 0.0, 1.0)
        return level * (0.5 - 0.5 * np.cos(np.pi * edge))

    return curve


def units_block(
    duration_s: float,
    curves: Mapping[str, Curve] | None = None,
    noise: float = 0.015,
    seed: int = 1,
    spec: StreamSpec | None = None,
) -> Block:
    """Rows at 30 Hz; `curves` by column label, a plain AU also fills its two sides."""
    spec = spec or units_spec()
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * CAMERA_HZ)) / CAMERA_HZ
    data = np.zeros((len(t), spec.channel_count), dtype=np.float32)
    for column, label in enumerate(spec.labels):
        if label.startswith("AU") and not label.endswith("_se"):
            data[:, column] = np.abs(rng.normal(0.0, noise, len(t)))
        elif label.endswith("_se"):
            data[:, column] = 0.03
    data[:, spec.index("face")] = 1.0
    data[:, spec.index("confidence")] = 0.95
    for label, curve in (curves or {}).items():
        value = curve(t).astype(np.float32)
        own = [label]
        if f"{label}_left" in spec.labels:
            own += [f"{label}_left", f"{label}_right"]
        for name in own:
            data[:, spec.index(name)] += value
    return Block(spec, START_S + t, data, 0)


def activity_block(
    duration_s: float,
    curves: Mapping[str, Curve] | None = None,
    bursts: Sequence[Burst] = (),
    seed: int = 2,
    channels: Sequence[str] = ("ZYG_L", "ZYG_R", "COR_L", "COR_R"),
) -> Block:
    """Rows at 100 Hz; `curves` are z by channel label (``ZYG`` for both sides)."""
    spec = activity_spec(channels)
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * EMG_HZ)) / EMG_HZ
    data = np.full((len(t), spec.channel_count), 2.0, dtype=np.float32)
    kernel = np.ones(3) / 3.0
    for channel in channels:
        noise = np.convolve(rng.normal(0.0, 1.5, len(t)), kernel, "same")
        z = noise.copy()
        for label, curve in (curves or {}).items():
            if channel.startswith(label):
                z += curve(t)
        slow = np.convolve(z, np.ones(50) / 50.0)[: len(t)]
        data[:, spec.index(f"{channel}_z")] = z
        data[:, spec.index(f"{channel}_slow_z")] = slow
        data[:, spec.index(f"{channel}_mvc")] = np.nan
        data[:, spec.index(f"{channel}_quality")] = 1.0
        data[:, spec.index(f"{channel}_burst")] = 0.0
        for burst in bursts:
            if burst.channel == channel:
                inside = (t >= burst.onset_s - START_S) & (t < burst.offset_s - START_S)
                data[inside, spec.index(f"{channel}_burst")] = 1.0
    return Block(spec, START_S + t, data, 0)


def skin_block(duration_s: float, nose_delta: Curve | None = None, rate_hz: float = 9.0) -> Block:
    spec = skin_spec()
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    data = np.zeros((len(t), spec.channel_count), dtype=np.float32)
    data[:, spec.index("nose_tip_valid")] = 1.0
    data[:, spec.index("forehead_valid")] = 1.0
    if nose_delta is not None:
        data[:, spec.index("nose_tip_delta_celsius")] = nose_delta(t)
    return Block(spec, START_S + t, data, 0)


def movement(
    number: int,
    onset_s: float,
    duration_s: float = 0.2,
    region: str = "inner_brow",
    units: tuple[int, ...] = (4,),
    side: Side = "left",
    ratio: float = 5.0,
    vetoes: tuple[str, ...] = (),
    provisional: bool = False,
) -> Movement:
    """A movement `onset_s` seconds after the start, found three frames after its end."""
    apex_s = START_S + onset_s + 0.4 * duration_s
    offset_s = START_S + onset_s + duration_s
    return Movement(
        id=number,
        region=region,
        side=side,
        onset_s=START_S + onset_s,
        apex_s=apex_s,
        offset_s=float("nan") if provisional else offset_s,
        found_s=(apex_s if provisional else offset_s) + 0.1,
        dx_px=0.2,
        dy_px=1.2,
        z=9.0,
        noise_px=0.06,
        asymmetry={"left": 0.8, "right": -0.8, "both": 0.0}[side],
        action_units=units,
        log_likelihood_ratio=ratio,
        quality=0.9,
        vetoes=vetoes,
        provisional=provisional,
    )


def burst(channel: str, onset_s: float, duration_s: float = 0.15, peak_z: float = 7.0) -> Burst:
    """A burst `onset_s` seconds after the start, found 70 ms after its end."""
    start = START_S + onset_s
    return Burst(
        channel=channel,
        onset_s=start,
        peak_s=start + 0.4 * duration_s,
        offset_s=start + duration_s,
        found_s=start + duration_s + 0.07,
        peak_z=peak_z,
        mean_z=0.6 * peak_z,
        peak_uv=20.0,
        quality=0.95,
    )


def fuse(
    movements: Sequence[Movement],
    bursts: Sequence[Burst] = (),
    units: dict[str, Curve] | None = None,
    emg: bool = True,
    settings: MicroSettings | None = None,
    duration_s: float = 12.0,
) -> tuple[Fusion, Fused]:
    block = units_block(duration_s, units)
    fusion = Fusion(block.spec, FusionSettings(micro=settings or MicroSettings()))
    fusion.push_camera(block, movements)
    if emg:
        fusion.push_emg(activity_block(duration_s, bursts=bursts), bursts)
    return fusion, fusion.drain(flush=True)


def micros(fused: Fused) -> list[FaceEvent]:
    return [event for event in fused.events if event.trial_type == "micro_expression"]
