"""Where everything of the EMG chain lies in its one flat memory; imported as ``at`` by the compiled parts.

One array holds configuration, filters, channels and outputs, because each argument of a compiled function
costs an unboxing per call, and twenty would cost more than the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OUTPUTS = ("envelope_uv", "slow_uv", "z", "slow_z", "mvc", "burst", "quality")
"""Columns per EMG channel, in the order the kernel writes them; an output row begins with its stamp."""

OUTPUT_COUNT = len(OUTPUTS)
SLOW_Z = OUTPUTS.index("slow_z")

RING_BLOCKS = 20
"""Blocks of 50 ms remembered for a robust re-seeding of the baseline: one second."""

BURST_FIELDS = 9
"""Columns of a burst: channel, onset, peak, offset, found, peak z, mean z, peak uV, quality."""

TONE_FIELDS = 6
"""Of a harmonic of the mains: cosine and sine part, what the two missed in this slot, gain, largest step."""

# --- configuration ------------------------------------------------------------------------------------
CONFIG_LENGTH = 58
(
    SECTIONS, RATE, SLOT_RATE, SLOTS_PER_TICK, SLOTS_PER_BLOCK,
    REWARM, FLAT, RAIL, DELAY, FAST_DELAY,  # filters and input
    SCAN, STATED, SCAN_LENGTH, LINE_SURE, LINE_LIKELY,  # search for mains
    TONES_50, TONES_60, TONE_SHARE, TONE_SLOWEST, TONE_FASTEST, TONE_START, TONE_LIMIT,  # mains taken out
    H_ON, RHO, LOG_RHO, H_CLEAR, RHO_CLEAR, LOG_RHO_CLEAR, CLIP, H_OFF, RHO_MAX, OFF_S,
    MIN_BURST_S, LONGEST_SLOTS, LONGEST_IN_REST,  # bursts
    BASELINE_TICKS, REST_START, REST_END, NU_MAX, FAST_VAR_NU, SLOW_VAR_NU,  # baseline
    QUALITY_GAIN,
    PAIRS, SECTIONS_AT, STEADY_AT, ENVELOPES_AT, PAIRS_AT, ROWS_AT, BURSTS_AT, BURST_CAPACITY, CHANNELS_AT,
    FILTERS_IN, TONES_IN, CROSS_IN, STRIDE, TONES_AT, TONES, TONE_WIDTH,  # offsets, see `Layout`
) = range(CONFIG_LENGTH)  # fmt: skip
COSINES = CONFIG_LENGTH
"""2 cos(angular frequency) per harmonic looked at and mains frequency [3, 2]."""

# --- state shared by all channels ---------------------------------------------------------------------
_SHARED = COSINES + 6
SHARED_LENGTH = 12
(
    BANK, SCAN_LEFT, SCAN_NUMBER, LIKELY, SCANNED,  # search for mains
    FOUND, POSITION,  # bursts of this call; samples in the slot being filled
    MAINS, TURN_SUM, TURN_WEIGHT, TURNS, USED_TONES,  # mains taken out: radians per sample, its correction
) = range(_SHARED, _SHARED + SHARED_LENGTH)  # fmt: skip
SCRATCH = _SHARED + SHARED_LENGTH
"""Room to sort one ring in."""

# --- state of one channel -----------------------------------------------------------------------------
STATE_LENGTH = 67
(
    STALE, WARM, PREVIOUS, RUN, HIGH, LOW, ENVELOPES_READY, WARM_SUM,  # input
    G50A, G50B, G60A, G60B, SCAN_POWER, SCAN_SPOILT, TONE_AGE,  # search for mains
    FAST, SLOW, SLOT_ENERGY, SLOT_RAW_ENERGY, SLOT_COUNT, SLOT_BAD, SLOT_RAILED, PRE,  # slot being filled
    PHASE, REST_BEGUN, P0, SEEN, MU_F, VAR_F, MU_S, VAR_S, VAR_B, SEEN_B, HALF_NU,  # baseline
    BLOCK_ENERGY, BLOCK_FAST, BLOCK_SLOW, BLOCK_COUNT, BLOCK_TICKS, BLOCK_REST, RING_NEXT, RING_FILLED,
    S_ON, S_CLEAR, S_LOW, S_OFF, ON, EVIDENCE, ONSET, OFFSET, LAST_STAMP, LEVEL_SUM, LEVEL_COUNT,
    ON_SLOTS, LOWEST, LAST_RATIO, STRONGEST,  # tests
    PEAK_FAST, PEAK_STAMP, LOG_SUM, LOG_COUNT,  # features of the burst
    PRE_POWER, POST_POWER, RAILED, GAPPY, QUALITY, MVC,  # quality and calibration
) = range(STATE_LENGTH)  # fmt: skip
RING = STATE_LENGTH
"""After a channel's state: energy, log fast and log slow envelope of its last blocks [3, RING_BLOCKS]."""

WAITING, SEEDING, RUNNING = 0.0, 1.0, 2.0
"""Phases of a channel: before the first usable sample, before there is a baseline, after."""

TINY = 1e-12


@dataclass(frozen=True)
class Layout:
    """Offsets into the memory of one stream.

    Attributes:
        channels, sections: Numbers of channels and of the band's filter sections.
        tones: Most harmonics of the mains inside the band.
        tone_width: Most samples of a slot, and one.
        pairs: Number of sides with both zygomaticus and corrugator.
        row_capacity, burst_capacity: Room for the output of one call.
    """

    channels: int
    sections: int
    tones: int
    tone_width: int
    pairs: int
    row_capacity: int
    burst_capacity: int

    @property
    def sections_at(self) -> int:
        """Filter sections [sections, 5]."""
        return SCRATCH + RING_BLOCKS

    @property
    def steady_at(self) -> int:
        """Steady states of the sections [sections, 2]."""
        return self.sections_at + 5 * self.sections

    @property
    def envelopes_at(self) -> int:
        """Envelope filters [2, 5], then their steady states [2, 2]."""
        return self.steady_at + 2 * self.sections

    @property
    def pairs_at(self) -> int:
        """Numbers of the zygomaticus and the corrugator channel of each such side [pairs, 2]."""
        return self.envelopes_at + 14

    @property
    def tones_at(self) -> int:
        """Cosine and sine of each harmonic of the mains through a slot [tones, 2, tone_width]."""
        return self.pairs_at + 2 * self.pairs

    @property
    def rows_at(self) -> int:
        """Output rows [row_capacity, row_length]."""
        return self.tones_at + 2 * self.tones * self.tone_width

    @property
    def row_length(self) -> int:
        """A stamp, then `OUTPUTS` of each channel, then the co-activation of each pair."""
        return 1 + OUTPUT_COUNT * self.channels + self.pairs

    @property
    def bursts_at(self) -> int:
        """Finished bursts [burst_capacity, BURST_FIELDS]."""
        return self.rows_at + self.row_capacity * self.row_length

    @property
    def channels_at(self) -> int:
        """One stretch of `stride` per channel, beginning with its state and ring."""
        return self.bursts_at + self.burst_capacity * BURST_FIELDS

    @property
    def filters_in(self) -> int:
        """Within a channel: filter states [sections + 2, 2], the two envelopes last."""
        return RING + 3 * RING_BLOCKS

    @property
    def tones_in(self) -> int:
        """Within a channel: the harmonics of the mains [tones, TONE_FIELDS]."""
        return self.filters_in + 2 * (self.sections + 2)

    @property
    def cross_in(self) -> int:
        """Within a channel: mean products with each channel [channels]."""
        return self.tones_in + TONE_FIELDS * self.tones

    @property
    def stride(self) -> int:
        """Length of a channel."""
        return self.cross_in + self.channels

    @property
    def line_at(self) -> int:
        """After the last channel: the samples of one slot while they are filtered."""
        return self.channels_at + self.channels * self.stride

    def memory(self) -> Floats:
        """A new memory, the offsets entered."""
        m = np.zeros(self.line_at + self.tone_width)
        m[SECTIONS], m[TONES], m[TONE_WIDTH] = self.sections, self.tones, self.tone_width
        m[TONES_AT], m[TONES_IN] = self.tones_at, self.tones_in
        m[SECTIONS_AT], m[STEADY_AT], m[ENVELOPES_AT] = self.sections_at, self.steady_at, self.envelopes_at
        m[PAIRS], m[PAIRS_AT] = self.pairs, self.pairs_at
        m[ROWS_AT], m[BURSTS_AT], m[BURST_CAPACITY] = self.rows_at, self.bursts_at, self.burst_capacity
        m[CHANNELS_AT], m[FILTERS_IN], m[CROSS_IN] = self.channels_at, self.filters_in, self.cross_in
        m[STRIDE] = self.stride
        return m
