"""What the EMG chain may be told: how to filter and decide, and what is known of a channel beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from acquisition.stream import StreamSpec


@dataclass(frozen=True)
class EmgSettings:
    """How EMG is filtered and bursts are decided.

    Attributes:
        mains_hz: 50 or 60; 0 leaves mains in; None finds it in the signal, and finds it anew if it changes.
        high_pass_hz, low_pass_hz: See `emg_filters.design`.
        mains_s: Time constant that mains as strong as the noise are followed with; stronger ones faster.
        fast_hz: Edge of the fast envelope, for onsets.
        slow_s: Span of the slow envelope, for valence.
        baseline_s: Memory of the running baseline; it stands still during activity.
        rewarm_s: After a gap, nothing is believed for this long.
        flat_s: So long without any change of value is a dead channel.
        rail_uv: Value at which the amplifier saturates; None takes what the stream states (`stated_rail_uv`).
            Where it is not known either, extremes that repeat are taken for a rail.
        onset_nats: Log-likelihood that activity must gain over rest to be a burst. In exp(nats) decisions one
            is wrong; a slot decides 200 times per second.
        smallest_power_ratio: Power over baseline that this test is tuned to.
        clear_nats, clear_power_ratio: The same of a test for clear activity, which raises the flag sooner.
        offset_nats: The same for the return to rest.
        largest_power_ratio: Bound on the level of a burst that the offset test assumes.
        off_s: Rest shorter than this between two bursts makes them one.
        shortest_s: Shorter bursts are dropped.
        longest_s: After this long without a pause the noise must have risen: the baseline is taken anew.
    """

    mains_hz: float | None = None
    high_pass_hz: float = 20.0
    low_pass_hz: float = 450.0
    mains_s: float = 2.0
    fast_hz: float = 16.0
    slow_s: float = 0.5
    baseline_s: float = 20.0
    rewarm_s: float = 0.3
    flat_s: float = 0.2
    rail_uv: float | None = None
    onset_nats: float = 14.0
    smallest_power_ratio: float = 2.0
    clear_nats: float = 12.0
    clear_power_ratio: float = 3.0
    offset_nats: float = 20.0
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


def stated_rail_uv(spec: StreamSpec) -> float:
    """Where the amplifier of an EMG stream saturates, microvolts; NaN when its metadata do not say."""
    try:
        rail_uv = float(spec.metadata.get("rail_uv", "nan"))
    except ValueError:
        return math.nan
    return rail_uv if rail_uv > 0 else math.nan
