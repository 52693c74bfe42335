"""Facial EMG to muscle activity: envelopes, z against a running baseline, bursts and channel quality.

The same object serves live and offline; what it puts out depends on the samples alone, never on how they were
cut into blocks. The arithmetic is in `processing.emg_kernel`, the filters in `processing.emg_filters`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, Kind, SampleType, StreamSpec
from processing import emg_memory as at
from processing.emg_coactivation import coactivation_channels
from processing.emg_kernel import advance
from processing.emg_memory import Floats
from processing.emg_quality import ChannelQuality
from processing.emg_settings import Baseline, EmgSettings
from processing.emg_stream import OUTPUT_RATE_HZ, PIECE, RunningEmg, check_emg, interrupt, start
from processing.findings import Burst

__all__ = ["OUTPUT_RATE_HZ", "Baseline", "EmgSettings", "MuscleActivity"]

_UNITS = {"envelope_uv": "microvolts", "slow_uv": "microvolts", "mvc": "percent", "quality": "normalized"}


class MuscleActivity:
    """EMG in microvolts to muscle activity at 100 Hz; a `Processor`.

    Per channel X of the input: ``X_envelope_uv`` and ``X_slow_uv`` (smoothed rectified signal), ``X_z`` and
    ``X_slow_z`` (their logs in standard deviations from the resting baseline), ``X_mvc`` (percent of maximal
    voluntary contraction), ``X_burst`` (1 while a burst is on, as decided then) and ``X_quality`` (0-1); then
    ``coactivation_L`` and ``_R`` for the sides with both muscles (`processing.emg_coactivation`). An output
    row carries the stamp of the input sample it was taken at. During a gap and 300 ms after it the envelopes
    are held, and quality is 0; before there is a baseline (about 2 s) z is NaN.

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
        self._running: RunningEmg | None = None

    @property
    def settings(self) -> EmgSettings:
        """What this processor was made with."""
        return self._settings

    def spec_for(self, input_spec: StreamSpec) -> StreamSpec:
        """Muscle activity stream that an EMG stream turns into.

        Raises:
            InvalidSignal: Not EMG, not in microvolts, or at a rate that cannot carry facial EMG.
        """
        check_emg(input_spec)
        channels = tuple(
            Channel(f"{channel.label}_{output}", _UNITS.get(output, "none"), "EMG")
            for channel in input_spec.channels
            for output in at.OUTPUTS
        )
        channels += coactivation_channels(input_spec.labels)
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
        first = block.first
        if run.end is not None and first != run.end:
            interrupt(run)
        data, stamps = block.array, block.timestamps
        n = len(stamps)
        run.end = first + n
        if n <= PIECE:
            return _push(run, data, stamps, first)
        pieces = [
            _push(run, data[a : a + PIECE], stamps[a : a + PIECE], first + a) for a in range(0, n, PIECE)
        ]
        return Block(
            run.output,
            np.concatenate([piece.timestamps for piece in pieces]),
            np.concatenate([piece.array for piece in pieces]),
            pieces[0].first,
        )

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
            flat = bool(s[at.RUN] >= run.memory[at.FLAT])
            stuck = flat and abs(s[at.PREVIOUS]) >= run.memory[at.RAIL]
            rest_uv = math.exp(s[at.MU_F]) if s[at.SEEN] > 0 else math.nan
            line_ratio = max(1.0 - s[at.POST_POWER] / max(s[at.PRE_POWER], at.TINY), 0.0)
            result[label] = ChannelQuality(
                label=label,
                line_ratio=float(line_ratio) if run.mains_hz else 0.0,
                mains_hz=run.mains_hz,
                baseline_uv=math.sqrt(s[at.P0]) if s[at.SEEN] > 0 else math.nan,
                railed=1.0 if stuck else float(s[at.RAILED]),
                missing=float(min(s[at.GAPPY], 1.0)) if s[at.PHASE] > 0 else 0.0,
                flat=flat and not stuck,
                correlation=float(r[other]),
                correlated_with=labels[other],
                snr_db=20 * math.log10(s[at.MVC] / rest_uv) if s[at.MVC] > 0 else math.nan,
                settling=bool(s[at.PHASE] < 2 or s[at.WARM] > 0 or s[at.STALE] > 0),
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
            known = s[at.SEEN] > 0
            result[label] = Baseline(
                power_uv2=float(s[at.P0]) if known else math.nan,
                log_mean=float(s[at.MU_F]) if known else math.nan,
                log_sd=math.sqrt(s[at.VAR_F]) if known else math.nan,
                slow_log_mean=float(s[at.MU_S]) if known else math.nan,
                slow_log_sd=math.sqrt(s[at.VAR_S]) if known else math.nan,
                energy_variance=float(s[at.VAR_B]) if known else math.nan,
                mvc_uv=float(s[at.MVC]),
            )
        return result

    def mains_hz(self) -> float:
        """Nominal frequency of the mains that are taken out; 0 while there are none."""
        return 0.0 if self._running is None else self._running.mains_hz

    @property
    def memory(self) -> Floats | None:
        """What `emg_kernel.advance` works in, to time it; None before the first block."""
        return None if self._running is None else self._running.memory

    def _start(self, spec: StreamSpec) -> RunningEmg:
        previous = self._running
        if previous is not None and previous.spec == spec:
            previous.spec = spec
            return previous
        run = start(spec, self.spec_for(spec), self._settings, self._calibration, self._rest)
        if previous is not None:
            run.pending = previous.pending
        self._running = run
        return run


def _push(run: RunningEmg, data: NDArray[Any], stamps: NDArray[np.float64], first: int) -> Block:
    """At most `PIECE` samples through the kernel."""
    samples = run.data[: len(stamps)]
    samples[...] = data
    rows, found, row_first = advance(samples, stamps, first, run.memory)
    if found:
        labels = run.spec.labels
        for burst in run.bursts[:found].tolist():
            run.pending.append(Burst(labels[int(burst[0])], *burst[1:]))
    due = run.rows[:rows]
    return Block(run.output, due[:, 0].copy(), due[:, 1:].astype(np.float32), row_first)
