"""Facial EMG to muscle activity: envelopes, z against a running baseline, bursts and channel quality.

The same object serves live and offline; what it puts out depends on the samples alone, never on how they were
cut into blocks. The arithmetic is in `processing.emg_kernel`, the filters in `processing.emg_filters`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec, empty_block
from processing import emg_kernel as kernel
from processing import emg_quality as limits
from processing.emg_filters import MAINS_HZ, MAXIMUM_MAINS_HARMONICS, EmgFilters, design
from processing.emg_quality import ChannelQuality
from processing.findings import Burst

OUTPUT_RATE_HZ = 100.0
"""Rate of the muscle activity stream."""

_UNITS = {"envelope_uv": "microvolts", "slow_uv": "microvolts", "mvc": "percent", "quality": "normalized"}
_PIECE = 2048  # samples pushed at a time, which bounds every buffer
_SLOT_RATE_HZ = 200.0
_LONGEST_IN_REST_S = 3.0
_RING_SHARE = 0.03  # of a burst's power, that the notches may still give back after it
_CLIP = 0.34  # of the evidence for an onset, that one slot may give: a click is not a burst
_QUALITY_S = 2.0  # memory of the quality indices
# Variance of the log of a rectified, smoothed Gaussian over that of its energy in 50 ms: (pi / 2 - 1) / 40
# times twice the low-pass's noise bandwidth, which is 1.11 times its edge.
_LOG_VARIANCE_PER_HZ = (math.pi / 2 - 1) / 40 * 2 * math.pi / (2 * math.sqrt(2))


@dataclass(frozen=True)
class EmgSettings:
    """How EMG is filtered and bursts are decided.

    Attributes:
        mains_hz: 50 or 60; 0 for no notch; None finds it in the signal, and finds it anew if it changes.
        high_pass_hz, low_pass_hz, notch_width_hz: See `emg_filters.design`.
        fast_hz: Edge of the fast envelope, for onsets.
        slow_s: Span of the slow envelope, for valence.
        baseline_s: Memory of the running baseline; it stands still during activity.
        rewarm_s: After a gap, nothing is believed for this long.
        flat_s: So long without any change of value is a dead channel.
        rail_uv: Value at which the amplifier saturates; infinite finds rails by repeated extremes only.
        onset_nats: Log-likelihood that activity must gain over rest to be a burst. In exp(nats) decisions one
            is wrong; a slot decides 200 times per second.
        offset_nats: The same for the return to rest.
        smallest_power_ratio: Power over baseline that the tests are tuned to.
        largest_power_ratio: Bound on the level of a burst that the offset test assumes.
        off_s: Rest shorter than this between two bursts makes them one.
        shortest_s: Shorter bursts are dropped.
        longest_s: After this long without a pause the noise must have risen: the baseline is taken anew.
    """

    mains_hz: float | None = None
    high_pass_hz: float = 20.0
    low_pass_hz: float = 450.0
    notch_width_hz: float = 4.0
    fast_hz: float = 16.0
    slow_s: float = 0.5
    baseline_s: float = 20.0
    rewarm_s: float = 0.3
    flat_s: float = 0.2
    rail_uv: float = math.inf
    onset_nats: float = 14.0
    offset_nats: float = 20.0
    smallest_power_ratio: float = 2.0
    largest_power_ratio: float = 60.0
    off_s: float = 0.05
    shortest_s: float = 0.025
    longest_s: float = 30.0


@dataclass(frozen=True)
class Baseline:
    """Rest and maximum of one channel, enough to start the next session with.

    Attributes:
        power_uv2: Mean square of the band at rest, microvolts squared.
        log_mean, log_sd: Of the natural log of the fast envelope (microvolts) at rest.
        slow_log_mean, slow_log_sd: Of the slow envelope.
        energy_variance: Variance of the energy in 50 ms at rest over its squared mean.
        mvc_uv: Fast envelope at maximal voluntary contraction, microvolts; NaN when not measured.
    """

    power_uv2: float = math.nan
    log_mean: float = math.nan
    log_sd: float = math.nan
    slow_log_mean: float = math.nan
    slow_log_sd: float = math.nan
    energy_variance: float = math.nan
    mvc_uv: float = math.nan

    @property
    def has_rest(self) -> bool:
        """Whether the resting figures are there (a calibration may hold the maximum only)."""
        rest = (self.power_uv2, self.log_mean, self.log_sd, self.slow_log_mean, self.slow_log_sd)
        return all(math.isfinite(value) for value in (*rest, self.energy_variance))


@dataclass(eq=False)
class _Running:
    """One input stream in progress: the kernel's memory with named views on it, and its output buffers."""

    spec: StreamSpec
    output: StreamSpec
    design: EmgFilters
    memory: NDArray[np.float64]
    state: NDArray[np.float64]
    cross: NDArray[np.float64]
    data: NDArray[np.float64]
    out: NDArray[np.float64]
    out_stamps: NDArray[np.float64]
    bursts: NDArray[np.float64]
    end: int | None = None
    pending: list[Burst] = field(default_factory=list)

    @property
    def mains_hz(self) -> float:
        """Frequency of the notch in use; 0 while there is none."""
        return (0.0, *MAINS_HZ)[int(self.memory[kernel.BANK])]


class MuscleActivity:
    """EMG in microvolts to muscle activity at 100 Hz; a `Processor`.

    Per channel X of the input: ``X_envelope_uv`` and ``X_slow_uv`` (smoothed rectified signal), ``X_z`` and
    ``X_slow_z`` (their logs in standard deviations from the resting baseline), ``X_mvc`` (percent of maximal
    voluntary contraction), ``X_burst`` (1 while a burst is on, as decided then) and ``X_quality`` (0-1). An
    output row carries the stamp of the input sample it was taken at. During a gap and 300 ms after it the
    envelopes are held, and quality is 0; before there is a baseline (about 2 s) z is NaN.

    Args:
        settings: How to filter and decide.
        calibration: Label -> `Baseline` of an earlier measurement; channels without one start from nothing.
        rest: First and last stamp (seconds) of a stretch known to be rest, which the baseline then follows in
            full.
    """

    def __init__(
        self,
        settings: EmgSettings | None = None,
        *,
        calibration: Mapping[str, Baseline] | None = None,
        rest: tuple[float, float] | None = None,
    ) -> None:
        self._settings = settings or EmgSettings()
        self._calibration = dict(calibration or {})
        self._rest = rest
        self._running: _Running | None = None

    @property
    def settings(self) -> EmgSettings:
        """What this processor was made with."""
        return self._settings

    def spec_for(self, input_spec: StreamSpec) -> StreamSpec:
        """Muscle activity stream that an EMG stream turns into.

        Raises:
            InvalidSignal: Not EMG, not in microvolts, or at a rate that cannot carry facial EMG.
        """
        _check(input_spec)
        channels = tuple(
            Channel(f"{channel.label}_{output}", _UNITS.get(output, "none"), "EMG")
            for channel in input_spec.channels
            for output in kernel.OUTPUTS
        )
        return StreamSpec(
            name=f"{input_spec.name} muscles",
            kind=Kind.MUSCLE_ACTIVITY,
            channels=channels,
            rate_hz=min(OUTPUT_RATE_HZ, input_spec.rate_hz),
            dtype=SampleType.FLOAT32,
            source_id=f"{input_spec.source_id}-muscles",
            metadata=input_spec.metadata,
        )

    def process(self, block: Block) -> Block:
        """Push a block; the output holds the rows that fell due inside it (none is legal)."""
        run = self._running
        if run is None or run.spec is not block.spec:
            run = self._start(block.spec)
        if run.end is not None and block.first != run.end:
            _interrupt(run)
        row_first = _rows_before(block.first, run)
        if len(block) == 0:
            run.end = block.end
            return empty_block(run.output, row_first)
        rows, stamps = [], []
        for start in range(0, len(block), _PIECE):
            piece_rows, piece_stamps = self._push(
                run,
                block.array[start : start + _PIECE],
                block.timestamps[start : start + _PIECE],
                block.first + start,
            )
            rows.append(piece_rows)
            stamps.append(piece_stamps)
        run.end = block.end
        if len(rows) == 1:
            return Block(run.output, stamps[0], rows[0], row_first)
        return Block(run.output, np.concatenate(stamps), np.concatenate(rows), row_first)

    def reset(self) -> None:
        """Forget everything but settings and calibration."""
        self._running = None

    def take_bursts(self) -> list[Burst]:
        """Bursts finished since the last call, in the order of their ends."""
        if self._running is None:
            return []
        bursts, self._running.pending = self._running.pending, []
        return bursts

    def quality(self) -> dict[str, ChannelQuality]:
        """Quality indices of each channel as of the last sample."""
        if self._running is None:
            return {}
        run = self._running
        labels = run.spec.labels
        state, cross = run.state, run.cross
        result = {}
        for c, label in enumerate(labels):
            s = state[c]
            power = np.diagonal(cross)
            r = np.abs(cross[c]) / np.sqrt(np.maximum(power * power[c], 1e-12))
            r[c] = 0.0
            other = int(np.argmax(r))
            rest_uv = math.exp(s[kernel.MU_F]) if s[kernel.SEEN] > 0 else math.nan
            result[label] = ChannelQuality(
                label=label,
                line_ratio=float(max(1.0 - s[kernel.POST_POWER] / max(s[kernel.PRE_POWER], 1e-12), 0.0)),
                mains_hz=run.mains_hz,
                baseline_uv=math.sqrt(s[kernel.P0]) if s[kernel.SEEN] > 0 else math.nan,
                railed=float(s[kernel.RAILED]),
                missing=float(min(s[kernel.GAPPY], 1.0)) if s[kernel.PHASE] > 0 else 0.0,
                flat=bool(s[kernel.RUN] >= run.memory[kernel.FLAT]),
                correlation=float(r[other]),
                correlated_with=labels[other],
                snr_db=20 * math.log10(s[kernel.MVC] / rest_uv) if s[kernel.MVC] > 0 else math.nan,
                settling=bool(s[kernel.PHASE] < 2 or s[kernel.WARM] > 0 or s[kernel.STALE] > 0),
            )
        return result

    def quality_words(self) -> dict[str, str]:
        """Per channel one phrase to act on, like ``corrugator left: 50 Hz at 40 % ...``."""
        return {label: quality.words for label, quality in self.quality().items()}

    def baselines(self) -> dict[str, Baseline]:
        """Rest of each channel as learnt so far, to be stored and given to the next session."""
        if self._running is None:
            return dict(self._calibration)
        result = {}
        for c, label in enumerate(self._running.spec.labels):
            s = self._running.state[c]
            known = s[kernel.SEEN] > 0
            result[label] = Baseline(
                power_uv2=float(s[kernel.P0]) if known else math.nan,
                log_mean=float(s[kernel.MU_F]) if known else math.nan,
                log_sd=math.sqrt(s[kernel.VAR_F]) if known else math.nan,
                slow_log_mean=float(s[kernel.MU_S]) if known else math.nan,
                slow_log_sd=math.sqrt(s[kernel.VAR_S]) if known else math.nan,
                energy_variance=float(s[kernel.VAR_B]) if known else math.nan,
                mvc_uv=float(s[kernel.MVC]),
            )
        return result

    def mains_hz(self) -> float:
        """Frequency of the notch in use; 0 while there is none."""
        return 0.0 if self._running is None else self._running.mains_hz

    def kernel_arguments(self) -> tuple[Any, ...]:
        """What `emg_kernel.advance` takes after data, stamps and first, to time it; () before any block."""
        run = self._running
        if run is None:
            return ()
        sections, band = run.design.sections.shape[1], run.design.band_sections
        return (run.memory, sections, band, run.out, run.out_stamps, run.bursts)

    def _start(self, spec: StreamSpec) -> _Running:
        previous = self._running
        if previous is not None and previous.spec == spec:
            previous.spec = spec
            return previous
        output = self.spec_for(spec)
        filters = _design(spec, self._settings)
        self._running = _prepare(spec, output, filters, self._settings, self._rest)
        for s, label in zip(self._running.state, spec.labels, strict=True):
            _initialise(s, self._calibration.get(label, Baseline()), self._running.memory)
        if previous is not None:
            self._running.pending = previous.pending
        return self._running

    def _push(
        self, run: _Running, data: NDArray[np.float64], stamps: NDArray[np.float64], first: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        samples = run.data[: len(data)]
        samples[...] = data
        rows, found = kernel.advance(samples, stamps, first, *self.kernel_arguments())
        for row in run.bursts[:found]:
            run.pending.append(Burst(run.spec.labels[int(row[0])], *(float(value) for value in row[1:])))
        return run.out[:rows].astype(np.float32), run.out_stamps[:rows].copy()


def _check(spec: StreamSpec) -> None:
    if spec.kind is not Kind.EMG:
        raise InvalidSignal(f"{spec.name} is a {spec.kind} stream: muscle activity needs one of type EMG")
    if spec.dtype is SampleType.STRING or not spec.channels:
        raise InvalidSignal(f"{spec.name} has no numeric channels: choose the EMG stream itself")
    wrong = sorted({channel.unit for channel in spec.channels} - {"microvolts", "µV", "uV"})
    if wrong:
        raise InvalidSignal(f"{spec.name} is in {', '.join(wrong)}: convert it to microvolts first")


def _design(spec: StreamSpec, settings: EmgSettings) -> EmgFilters:
    if settings.mains_hz not in (None, 0.0, *MAINS_HZ):
        raise ValueError(f"mains_hz must be 50, 60, 0 (no notch) or None (find it), got {settings.mains_hz}")
    return design(
        spec.rate_hz,
        high_pass_hz=settings.high_pass_hz,
        low_pass_hz=settings.low_pass_hz,
        notch_width_hz=settings.notch_width_hz,
        fast_hz=settings.fast_hz,
        slow_s=settings.slow_s,
    )


def _prepare(
    spec: StreamSpec,
    output: StreamSpec,
    filters: EmgFilters,
    settings: EmgSettings,
    rest: tuple[float, float] | None,
) -> _Running:
    channels, sections, band = len(spec.channels), filters.sections.shape[1], filters.band_sections
    coefficients, steady, envelopes, envelope_steady, rows, _, cross, stride = kernel.layout.py_func(
        channels, sections, band
    )
    line = math.ceil(spec.rate_hz / OUTPUT_RATE_HZ) + 1  # more than the samples of one slot
    memory = np.zeros(rows + channels * stride + line)
    memory[coefficients:steady] = filters.sections.ravel()
    memory[steady:envelopes] = filters.band_steady.ravel()
    memory[envelopes:envelope_steady] = filters.envelopes.ravel()
    memory[envelope_steady:rows] = filters.envelope_steady.ravel()
    state = memory[rows : rows + channels * stride].reshape(channels, stride)
    _configure(memory, filters, settings, rest)
    if settings.mains_hz:
        memory[kernel.BANK] = 1.0 + MAINS_HZ.index(settings.mains_hz)
    memory[kernel.SCAN_LEFT] = 0.5 * memory[kernel.REWARM]
    return _Running(
        spec=spec,
        output=output,
        design=filters,
        memory=memory,
        state=state,
        cross=state[:, cross : cross + channels],
        data=np.zeros((_PIECE, channels)),
        out=np.zeros((_PIECE, channels * len(kernel.OUTPUTS))),
        out_stamps=np.zeros(_PIECE),
        bursts=np.zeros((channels * (_PIECE // 8), kernel.BURST_FIELDS)),
    )


def _configure(
    config: NDArray[np.float64],
    filters: EmgFilters,
    settings: EmgSettings,
    rest: tuple[float, float] | None,
) -> None:
    rate_hz = filters.rate_hz
    slots_per_tick = max(1, math.floor(min(_SLOT_RATE_HZ, rate_hz) / OUTPUT_RATE_HZ))
    slot_rate_hz = slots_per_tick * OUTPUT_RATE_HZ
    values = {
        kernel.RATE: rate_hz,
        kernel.SLOT_RATE: slot_rate_hz,
        kernel.SLOTS_PER_TICK: slots_per_tick,
        kernel.SLOTS_PER_BLOCK: round(0.05 * slot_rate_hz),
        kernel.REWARM: 2 * round(0.5 * settings.rewarm_s * rate_hz),
        kernel.FLAT: max(round(settings.flat_s * rate_hz), 3),
        kernel.RAIL: settings.rail_uv,
        kernel.DELAY: filters.delay_s,
        kernel.FAST_DELAY: filters.fast_delay_s,
        kernel.SCAN: 1.0 if settings.mains_hz is None else 0.0,
        kernel.SCAN_LENGTH: round(0.5 * rate_hz),
        kernel.LINE_SURE: 0.3,
        kernel.LINE_LIKELY: 0.12,
        kernel.H_ON: settings.onset_nats,
        kernel.H_OFF: settings.offset_nats,
        kernel.RHO: settings.smallest_power_ratio,
        kernel.LOG_RHO: math.log(settings.smallest_power_ratio),
        kernel.RHO_MAX: settings.largest_power_ratio,
        kernel.OFF_S: settings.off_s,
        kernel.MIN_BURST_S: settings.shortest_s,
        kernel.LONGEST_SLOTS: settings.longest_s * slot_rate_hz,
        kernel.LONGEST_IN_REST: _LONGEST_IN_REST_S * slot_rate_hz,
        kernel.BASELINE_TICKS: settings.baseline_s * OUTPUT_RATE_HZ,
        kernel.REST_START: rest[0] if rest else math.inf,
        kernel.REST_END: rest[1] if rest else -math.inf,
        kernel.NU_MAX: 2 * filters.bandwidth_hz / slot_rate_hz,
        kernel.FAST_VAR_NU: _LOG_VARIANCE_PER_HZ * settings.fast_hz,
        kernel.SLOW_VAR_NU: _LOG_VARIANCE_PER_HZ * math.sqrt(2) / (2 * math.pi * filters.slow_delay_s),
        kernel.LINE_WARN: limits.LINE_WARN,
        kernel.LINE_BAD: limits.LINE_BAD,
        kernel.NOISE_GOOD: limits.NOISE_GOOD_UV,
        kernel.NOISE_BAD: limits.NOISE_BAD_UV,
        kernel.RAILED_BAD: limits.RAILED_BAD,
        kernel.R_BAD: limits.CORRELATION_BAD,
        kernel.QUALITY_GAIN: 1.0 / (_QUALITY_S * slot_rate_hz),
        kernel.RING_SHARE: _RING_SHARE,
        kernel.CLIP: settings.onset_nats * _CLIP,
        kernel.NOTCHES_50: filters.notch_sections[1],
        kernel.NOTCHES_60: filters.notch_sections[2],
    }
    for index, value in values.items():
        config[index] = value
    for harmonic in range(MAXIMUM_MAINS_HARMONICS):
        for column, mains_hz in enumerate(MAINS_HZ):
            f_hz = mains_hz * (harmonic + 1)
            f_hz = f_hz if f_hz < filters.low_pass_hz else mains_hz
            config[kernel.COSINES + 2 * harmonic + column] = 2 * math.cos(2 * math.pi * f_hz / rate_hz)


def _initialise(s: NDArray[np.float64], known: Baseline, config: NDArray[np.float64]) -> None:
    s[kernel.STALE] = 1.0
    s[kernel.WARM] = config[kernel.REWARM]
    s[kernel.PREVIOUS] = math.nan
    s[kernel.SCAN_SPOILT] = 1.0
    s[kernel.BLOCK_REST] = 1.0
    s[kernel.MVC] = known.mvc_uv
    # A guess of how much the energy scatters, worth two seconds: 0.7 of the most degrees of freedom there can
    # be.
    s[kernel.VAR_B] = 2.0 / (0.7 * config[kernel.NU_MAX] * config[kernel.SLOTS_PER_BLOCK])
    s[kernel.SEEN_B] = 40.0
    s[kernel.HALF_NU] = 1.0 / (s[kernel.VAR_B] * config[kernel.SLOTS_PER_BLOCK])
    if known.has_rest:
        s[kernel.P0] = known.power_uv2
        s[kernel.MU_F], s[kernel.VAR_F] = known.log_mean, known.log_sd**2
        s[kernel.MU_S], s[kernel.VAR_S] = known.slow_log_mean, known.slow_log_sd**2
        s[kernel.VAR_B] = known.energy_variance
        s[kernel.HALF_NU] = 1.0 / (s[kernel.VAR_B] * config[kernel.SLOTS_PER_BLOCK])
        s[kernel.SEEN] = 0.5 * config[kernel.BASELINE_TICKS]
        s[kernel.SEEN_B] = 200.0


def _interrupt(run: _Running) -> None:
    """Samples are missing: filters start over and re-warm, baseline and envelopes are kept."""
    state = run.state
    state[:, kernel.STALE] = 1.0
    state[:, kernel.RUN] = 0.0
    state[:, kernel.PREVIOUS] = math.nan
    state[:, kernel.SLOT_BAD] = 1.0
    state[:, kernel.SCAN_SPOILT] = 1.0
    run.memory[kernel.SCAN_LEFT] = 0.5 * run.memory[kernel.REWARM]


def _rows_before(first: int, run: _Running) -> int:
    """Rows put out before sample `first`, counted as if none had been lost."""
    slots = math.floor(first * (run.memory[kernel.SLOT_RATE] / run.memory[kernel.RATE]))
    return int(slots // run.memory[kernel.SLOTS_PER_TICK])
