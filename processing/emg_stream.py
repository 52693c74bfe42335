"""One EMG stream in progress: the chain's memory, laid out and configured for its rate and channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from acquisition.stream import InvalidSignal, Kind, SampleType, StreamSpec
from processing import emg_memory as at
from processing.emg_cancelling import take_out
from processing.emg_coactivation import pairs
from processing.emg_filters import MAINS_HZ, MAXIMUM_MAINS_HARMONICS, EmgFilters, design
from processing.emg_memory import Floats, Layout
from processing.emg_settings import Baseline, EmgSettings, stated_rail_uv
from processing.findings import Burst

OUTPUT_RATE_HZ = 100.0
"""Rate of the muscle activity stream."""

PIECE = 2048
"""Samples pushed at a time, which bounds every buffer."""

_SLOT_RATE_HZ = 200.0
_LONGEST_IN_REST_S = 3.0
_MAINS_S = (0.1, 4.0)  # shortest and longest time constant that the mains are followed with
_MAINS_CHANGE = 1.5  # of their amplitude per second, at most: what would move them faster is muscle
_CLIP = 0.7  # of the evidence for clear activity, that one slot may give: a click is not a burst
_AT_RAIL = 0.99  # of the amplifier's range: nothing above it is signal
_QUALITY_S = 2.0  # memory of the quality indices
# Variance of the log of a rectified, smoothed Gaussian over that of its energy in 50 ms: (pi / 2 - 1) / 40
# times twice the low-pass's noise bandwidth, which is 1.11 times its edge.
_LOG_VARIANCE_PER_HZ = (math.pi / 2 - 1) / 40 * 2 * math.pi / (2 * math.sqrt(2))


@dataclass(eq=False)
class RunningEmg:
    """The memory of one stream with named views on it.

    Attributes:
        spec, output: Streams in and out.
        memory: See `processing.emg_memory`.
        state: View [channels, ...] of each channel's part of it.
        cross: View [channels, channels] of the mean products of the raw band.
        data: Buffer [PIECE, channels] for the samples that are pushed.
        rows: View [rows, row_length] of the output.
        bursts: View [bursts, BURST_FIELDS] of the bursts that ended.
        end: Running number of the next sample if none is lost.
        pending: Finished bursts that nobody has taken yet.
    """

    spec: StreamSpec
    output: StreamSpec
    memory: Floats
    state: Floats
    cross: Floats
    data: Floats
    rows: Floats
    bursts: Floats
    end: int | None = None
    pending: list[Burst] = field(default_factory=list)

    @property
    def mains_hz(self) -> float:
        """Nominal frequency of the mains being taken out; 0 while there are none."""
        return (0.0, *MAINS_HZ)[int(self.memory[at.BANK])]


def check_emg(spec: StreamSpec) -> None:
    """Refuse what is not numeric EMG in microvolts.

    Raises:
        InvalidSignal: It is not; the message says what to do.
    """
    if spec.kind is not Kind.EMG:
        raise InvalidSignal(f"{spec.name} is a {spec.kind} stream: muscle activity needs one of type EMG")
    if spec.dtype is SampleType.STRING or not spec.channels:
        raise InvalidSignal(f"{spec.name} has no numeric channels: choose the EMG stream itself")
    wrong = sorted({channel.unit for channel in spec.channels} - {"microvolts", "µV", "uV"})
    if wrong:
        raise InvalidSignal(f"{spec.name} is in {', '.join(wrong)}: convert it to microvolts first")


def start(
    spec: StreamSpec,
    output: StreamSpec,
    settings: EmgSettings,
    calibration: Mapping[str, Baseline],
    rest: tuple[float, float] | None,
) -> RunningEmg:
    """Design the filters for a stream and lay out its memory.

    Raises:
        InvalidSignal: Its rate cannot carry facial EMG.
        ValueError: A setting is out of bounds.
    """
    filters = _design(spec, settings)
    channels = len(spec.channels)
    both = list(pairs(spec.labels).values())
    layout = Layout(
        channels=channels,
        sections=len(filters.sections),
        tones=3 * math.ceil(max(filters.harmonics) / 3),
        tone_width=math.ceil(spec.rate_hz / (OUTPUT_RATE_HZ * _slots_per_tick(spec.rate_hz))) + 1,
        pairs=len(both),
        row_capacity=math.ceil(PIECE * min(OUTPUT_RATE_HZ / spec.rate_hz, 1.0)) + 2,
        burst_capacity=channels * (PIECE // 8),
    )
    m = layout.memory()
    m[layout.sections_at : layout.steady_at] = filters.sections.ravel()
    m[layout.steady_at : layout.envelopes_at] = filters.steady.ravel()
    m[layout.envelopes_at : layout.envelopes_at + 10] = filters.envelopes.ravel()
    m[layout.envelopes_at + 10 : layout.pairs_at] = filters.envelope_steady.ravel()
    m[layout.pairs_at : layout.tones_at] = np.ravel(both)
    _configure(m, filters, settings, rest)
    rail_uv = stated_rail_uv(spec) if settings.rail_uv is None else settings.rail_uv
    m[at.RAIL] = _AT_RAIL * rail_uv if rail_uv > 0 else math.inf
    state = m[layout.channels_at : layout.line_at].reshape(channels, layout.stride)
    for s, label in zip(state, spec.labels, strict=True):
        _initialise(s, calibration.get(label, Baseline()), m)
    return RunningEmg(
        spec=spec,
        output=output,
        memory=m,
        state=state,
        cross=state[:, layout.cross_in : layout.cross_in + channels],
        data=np.zeros((PIECE, channels)),
        rows=m[layout.rows_at : layout.bursts_at].reshape(layout.row_capacity, layout.row_length),
        bursts=m[layout.bursts_at : layout.channels_at].reshape(layout.burst_capacity, at.BURST_FIELDS),
    )


def interrupt(run: RunningEmg) -> None:
    """Samples are missing: filters start over and re-warm, baseline and envelopes are kept."""
    state = run.state
    state[:, at.STALE] = 1.0
    state[:, at.RUN] = 0.0
    state[:, at.PREVIOUS] = math.nan
    state[:, at.SLOT_BAD] = 1.0
    state[:, at.SCAN_SPOILT] = 1.0
    run.memory[at.POSITION] = 0.0
    run.memory[at.SCAN_LEFT] = 0.5 * run.memory[at.REWARM]


def _design(spec: StreamSpec, settings: EmgSettings) -> EmgFilters:
    if settings.mains_hz not in (None, 0.0, *MAINS_HZ):
        raise ValueError(
            f"mains_hz must be 50, 60, 0 (leave it in) or None (find it), got {settings.mains_hz}"
        )
    return design(
        spec.rate_hz,
        high_pass_hz=settings.high_pass_hz,
        low_pass_hz=settings.low_pass_hz,
        fast_hz=settings.fast_hz,
        slow_s=settings.slow_s,
    )


def _slots_per_tick(rate_hz: float) -> int:
    return max(1, math.floor(min(_SLOT_RATE_HZ, rate_hz) / OUTPUT_RATE_HZ))


def _configure(
    m: Floats,
    filters: EmgFilters,
    settings: EmgSettings,
    rest: tuple[float, float] | None,
) -> None:
    rate_hz = filters.rate_hz
    slots_per_tick = _slots_per_tick(rate_hz)
    slot_rate_hz = slots_per_tick * OUTPUT_RATE_HZ
    values = {
        at.RATE: rate_hz,
        at.SLOT_RATE: slot_rate_hz,
        at.SLOTS_PER_TICK: slots_per_tick,
        at.SLOTS_PER_BLOCK: round(0.05 * slot_rate_hz),
        at.REWARM: 2 * round(0.5 * settings.rewarm_s * rate_hz),
        at.FLAT: max(round(settings.flat_s * rate_hz), 3),
        at.DELAY: filters.delay_s,
        at.FAST_DELAY: filters.fast_delay_s,
        at.SCAN: float(settings.mains_hz != 0.0),
        at.STATED: float(settings.mains_hz is not None),
        at.SCAN_LENGTH: round(0.5 * rate_hz),
        at.LINE_SURE: 0.3,
        at.LINE_LIKELY: 0.12,
        at.H_ON: settings.onset_nats,
        at.RHO: settings.smallest_power_ratio,
        at.LOG_RHO: math.log(settings.smallest_power_ratio),
        at.H_CLEAR: settings.clear_nats,
        at.RHO_CLEAR: settings.clear_power_ratio,
        at.LOG_RHO_CLEAR: math.log(settings.clear_power_ratio),
        at.CLIP: settings.clear_nats * _CLIP,
        at.H_OFF: settings.offset_nats,
        at.RHO_MAX: settings.largest_power_ratio,
        at.OFF_S: settings.off_s,
        at.MIN_BURST_S: settings.shortest_s,
        at.LONGEST_SLOTS: settings.longest_s * slot_rate_hz,
        at.LONGEST_IN_REST: _LONGEST_IN_REST_S * slot_rate_hz,
        at.BASELINE_TICKS: settings.baseline_s * OUTPUT_RATE_HZ,
        at.REST_START: rest[0] if rest else math.inf,
        at.REST_END: rest[1] if rest else -math.inf,
        at.NU_MAX: 2 * filters.bandwidth_hz / slot_rate_hz,
        at.FAST_VAR_NU: _LOG_VARIANCE_PER_HZ * settings.fast_hz,
        at.SLOW_VAR_NU: _LOG_VARIANCE_PER_HZ * math.sqrt(2) / (2 * math.pi * filters.slow_delay_s),
        at.QUALITY_GAIN: 1.0 / (_QUALITY_S * slot_rate_hz),
        at.TONES_50: filters.harmonics[0],
        at.TONES_60: filters.harmonics[1],
        at.TONE_SHARE: 2.0 / (settings.mains_s * rate_hz),
        at.TONE_SLOWEST: 2.0 / (_MAINS_S[1] * rate_hz),
        at.TONE_FASTEST: 2.0 / (_MAINS_S[0] * rate_hz),
        at.TONE_START: rate_hz / MAINS_HZ[0],
        at.TONE_LIMIT: _MAINS_CHANGE / slot_rate_hz,
    }
    for index, value in values.items():
        m[index] = value
    for harmonic in range(MAXIMUM_MAINS_HARMONICS):
        for column, mains_hz in enumerate(MAINS_HZ):
            f_hz = mains_hz * (harmonic + 1)
            f_hz = f_hz if f_hz < filters.low_pass_hz else mains_hz
            m[at.COSINES + 2 * harmonic + column] = 2 * math.cos(2 * math.pi * f_hz / rate_hz)
    if settings.mains_hz:
        take_out(m, 1.0 + MAINS_HZ.index(settings.mains_hz))
    m[at.SCANNED] = m[at.STATED]
    m[at.SCAN_LEFT] = 0.5 * m[at.REWARM]


def _initialise(s: Floats, known: Baseline, m: Floats) -> None:
    s[at.STALE] = 1.0
    s[at.WARM] = m[at.REWARM]
    s[at.PREVIOUS] = math.nan
    s[at.SCAN_SPOILT] = 1.0
    s[at.BLOCK_REST] = 1.0
    s[at.MVC] = known.mvc_uv
    # A guess of how much the energy scatters, worth two seconds: 0.7 of the most degrees of freedom there can
    # be.
    s[at.VAR_B] = 2.0 / (0.7 * m[at.NU_MAX] * m[at.SLOTS_PER_BLOCK])
    s[at.SEEN_B] = 40.0
    s[at.HALF_NU] = 1.0 / (s[at.VAR_B] * m[at.SLOTS_PER_BLOCK])
    if known.has_rest:
        s[at.P0] = known.power_uv2
        s[at.MU_F], s[at.VAR_F] = known.log_mean, known.log_sd**2
        s[at.MU_S], s[at.VAR_S] = known.slow_log_mean, known.slow_log_sd**2
        s[at.VAR_B] = known.energy_variance
        s[at.HALF_NU] = 1.0 / (s[at.VAR_B] * m[at.SLOTS_PER_BLOCK])
        s[at.SEEN] = 0.5 * m[at.BASELINE_TICKS]
        s[at.SEEN_B] = 200.0
