"""Muscle activity from EMG that somebody has rectified and averaged already.

Many open data sets keep only the envelope, at 100 Hz or less. It has lost what `processing.emg` works on
(the spectrum, the onset of single bursts) but not how strongly a muscle contracts: all that valence needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numba import njit
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec, empty_block
from processing.emg import OUTPUT_RATE_HZ, Baseline
from processing.emg_coactivation import coactivation, coactivation_channels, pairs
from processing.emg_quality import ChannelQuality
from processing.findings import Burst

SIGNAL_KEY, ENVELOPE = "signal", "envelope"
"""Metadata by which an EMG stream says that it is a rectified, averaged envelope."""

FAST_S, SLOW_S = 0.1, 0.5
"""Time constants of the two envelopes."""

BASELINE_S = 90.0
"""Memory of the baseline, which is a running median: long against an expression, short against drift."""

WARM_S = 2.0
"""Before this there is no baseline and z is NaN, as in `processing.emg`."""

_OUTPUTS = ("envelope_uv", "slow_uv", "z", "slow_z", "mvc", "burst", "quality")
_UNITS = {"envelope_uv": "microvolts", "slow_uv": "microvolts", "mvc": "percent", "quality": "normalized"}
_SLOWEST_HZ = 10.0
_LATER_HALF, _FIRST_S = 0.5, 0.3
"""Until it is `BASELINE_S` long, the memory reaches over the later half of what was seen: recordings begin
with what filters and amplifiers do first."""

_DEEPEST = 7.0
"""So far below its level, in logarithms, an envelope may be at most: zero is a thousandth, in any unit."""
_LEAST_SPREAD = 0.15
"""Of the log envelope at rest: averaging over ever longer windows must not make ever larger z."""
_LEVEL, _SPREAD, _FAST, _SLOW, _SEEN_S = range(5)


def is_envelope(spec: StreamSpec) -> bool:
    """Whether an EMG stream says that it is an envelope."""
    return spec.kind is Kind.EMG and spec.metadata.get(SIGNAL_KEY) == ENVELOPE


class EnvelopeActivity:
    """A rectified EMG envelope in microvolts to muscle activity; a `Processor` like `MuscleActivity`.

    z is the log-ratio of the envelope to its running median, in robust standard deviations. Both follow over
    `BASELINE_S`, so that neither a stimulus nor a single second before it decides what rest is. There are no
    bursts: averaging has blurred their onsets.

    Args:
        calibration: Label -> `Baseline`; only the maximum (`mvc_uv`) is used.
        rest: First and last stamp (seconds) of a stretch known to be rest: the baseline is learned there and
            drifts ten times more slowly afterwards.
    """

    def __init__(
        self,
        *,
        calibration: Mapping[str, Baseline] | None = None,
        rest: tuple[float, float] | None = None,
    ) -> None:
        self._calibration = dict(calibration or {})
        self._rest = rest
        self.reset()

    def reset(self) -> None:
        """Forget everything but the calibration."""
        self._spec: StreamSpec | None = None
        self._end = 0

    def spec_for(self, input_spec: StreamSpec) -> StreamSpec:
        """Muscle activity stream that an envelope turns into.

        Raises:
            InvalidSignal: Not EMG in microvolts, or slower than 10 Hz.
        """
        if input_spec.kind is not Kind.EMG or input_spec.dtype is SampleType.STRING:
            raise InvalidSignal(f"{input_spec.name} is no EMG stream: an envelope is one of type EMG")
        wrong = sorted({channel.unit for channel in input_spec.channels} - {"microvolts", "µV", "uV"})
        if wrong:
            raise InvalidSignal(f"{input_spec.name} is in {', '.join(wrong)}: convert it to microvolts first")
        if not input_spec.rate_hz >= _SLOWEST_HZ:
            raise InvalidSignal(
                f"An EMG envelope at {input_spec.rate_hz:g} Hz is too slow: average over at most 0.1 s"
            )
        return StreamSpec(
            name=f"{input_spec.name} muscles",
            kind=Kind.MUSCLE_ACTIVITY,
            channels=tuple(
                Channel(f"{channel.label}_{output}", _UNITS.get(output, "none"), "EMG")
                for channel in input_spec.channels
                for output in _OUTPUTS
            )
            + coactivation_channels(input_spec.labels),
            rate_hz=input_spec.rate_hz / _every(input_spec),
            dtype=SampleType.FLOAT32,
            source_id=f"{input_spec.source_id}-muscles",
            metadata=input_spec.metadata,
        )

    def process(self, block: Block) -> Block:
        """Push a block; the output holds the rows that fell due inside it (none is legal)."""
        if self._spec != block.spec:
            self._start(block.spec)
        every = _every(block.spec)
        row_first = -(-block.first // every)
        if len(block) == 0:
            return empty_block(self._output, row_first)
        if block.first != self._end:
            # What came before a gap says nothing of the envelopes after it; the baseline stays.
            self._state[:, _FAST] = math.nan
        self._end = block.end
        rest = self._rest or (-math.inf, -math.inf)
        samples = np.ascontiguousarray(block.array, dtype=np.float64)
        rows = np.empty((len(block), samples.shape[1], len(_OUTPUTS)))
        stamps = block.timestamps
        _advance(samples, stamps, 1.0 / block.spec.rate_hz, *rest, self._state, self._mvc_uv, rows)
        due = slice((-block.first) % every, None, every)
        slow_z = rows[due, :, _OUTPUTS.index("slow_z")]
        both = [[coactivation(row[z], row[c]) for z, c in self._pairs] for row in slow_z]
        table = np.column_stack(
            [rows[due].reshape(len(both), rows[0].size), np.reshape(both, (len(both), len(self._pairs)))]
        )
        return Block(self._output, stamps[due], table.astype(np.float32), row_first)

    def take_bursts(self) -> list[Burst]:
        """None: an averaged envelope shows no onsets."""
        return []

    def quality_words(self) -> dict[str, str]:
        """Per channel one phrase on what can be said of it."""
        if self._spec is None:
            return {}
        words = f"taken as a rectified envelope ({self._spec.rate_hz:g} Hz): valence, but no bursts"
        silent = self._state[:, _SEEN_S] == 0.0
        return {
            label: "no signal: check the column" if nothing else words
            for label, nothing in zip(self._spec.labels, silent, strict=True)
        }

    def quality(self) -> dict[str, ChannelQuality]:
        """Nothing: the indices need the raw signal."""
        return {}

    def _start(self, spec: StreamSpec) -> None:
        self._output = self.spec_for(spec)
        self._spec = spec
        self._pairs = tuple(pairs(spec.labels).values())
        self._state = np.zeros((len(spec.channels), 5))
        self._state[:, _FAST] = math.nan
        self._state[:, _SPREAD] = 0.5
        self._mvc_uv = np.array(
            [self._calibration.get(label, Baseline()).mvc_uv for label in spec.labels], dtype=np.float64
        )
        self._end = 0


def _every(spec: StreamSpec) -> int:
    """Input samples per output row."""
    return max(1, round(spec.rate_hz / OUTPUT_RATE_HZ))


@njit(cache=True, nogil=True)
def _log(value: float, level: float) -> float:
    return max(math.log(value), level - _DEEPEST) if value > 0.0 else level - _DEEPEST


@njit(cache=True, nogil=True)
def _advance(
    samples: NDArray[np.float64],
    stamps: NDArray[np.float64],
    dt: float,
    rest_from_s: float,
    rest_until_s: float,
    state: NDArray[np.float64],
    mvc_uv: NDArray[np.float64],
    rows: NDArray[np.float64],
) -> None:
    fast, slow = 1.0 - math.exp(-dt / FAST_S), 1.0 - math.exp(-dt / SLOW_S)
    has_rest = rest_until_s > rest_from_s
    for i in range(samples.shape[0]):
        resting = rest_from_s <= stamps[i] <= rest_until_s
        for c in range(samples.shape[1]):
            s, row, value = state[c], rows[i, c], samples[i, c]
            known = math.isfinite(value)
            if known:
                value = abs(value)
                if not math.isfinite(s[_FAST]):
                    s[_FAST] = s[_SLOW] = value
                s[_FAST] += fast * (value - s[_FAST])
                s[_SLOW] += slow * (value - s[_SLOW])
                if s[_SEEN_S] == 0.0 and s[_FAST] > 0.0:
                    s[_LEVEL] = math.log(s[_FAST])
                known = s[_SEEN_S] > 0.0 or s[_FAST] > 0.0
            if known:
                log_fast = _log(s[_FAST], s[_LEVEL])
                memory_s = min(BASELINE_S, max(_LATER_HALF * s[_SEEN_S], _FIRST_S))
                if has_rest and not resting:
                    memory_s = 10.0 * BASELINE_S
                gain = dt / memory_s
                away = log_fast - s[_LEVEL]
                # Steps of one size, up or down, lead to the median; a mean would follow every smile.
                s[_LEVEL] += 2.0 * gain * s[_SPREAD] * (1.0 if away > 0.0 else -1.0)
                if abs(away) < 4.0 * s[_SPREAD] or s[_SEEN_S] < WARM_S:
                    s[_SPREAD] = max(_LEAST_SPREAD, s[_SPREAD] + gain * (1.25 * abs(away) - s[_SPREAD]))
                s[_SEEN_S] += dt
            warm = s[_SEEN_S] >= WARM_S
            row[0], row[1] = s[_FAST], s[_SLOW]
            row[2] = row[3] = math.nan
            if warm and math.isfinite(s[_FAST]):
                row[2] = (_log(s[_FAST], s[_LEVEL]) - s[_LEVEL]) / s[_SPREAD]
                row[3] = (_log(s[_SLOW], s[_LEVEL]) - s[_LEVEL]) / s[_SPREAD]
            row[4] = 100.0 * s[_FAST] / mvc_uv[c] if mvc_uv[c] > 0.0 else math.nan
            row[5] = 0.0
            row[6] = 1.0 if known and warm else 0.0
