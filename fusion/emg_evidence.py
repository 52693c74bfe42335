"""What facial EMG says about one muscle at one moment: a burst that leads the visible movement, a swell too
weak to be called a burst, or silence.

The evidence is the natural logarithm of a likelihood ratio: how much likelier is what the electrodes saw if
the muscle moved the skin then, than if the movement had another cause.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from acquisition.stream import StreamSpec
from fusion.atlas import aus_of
from fusion.candidates import MICRO_TOTAL_S
from fusion.timeline import Timeline
from processing.findings import Burst, Movement, Side

MUSCLE_OF_PREFIX = {
    "ZYG": "zygomaticus major",
    "COR": "corrugator supercilii",
    "FRO": "frontalis",
    "OOC": "orbicularis oculi",
    "LEV": "levators of the upper lip",
    "DAO": "depressor anguli oris",
    "MEN": "mentalis",
}
"""Muscle under the electrodes of a channel called ``PREFIX_L`` or ``PREFIX_R``."""

UNIT_OF_PREFIX = {"COR": 4, "ZYG": 12, "FRO": 2, "OOC": 6, "LEV": 10, "DAO": 15, "MEN": 17}
"""The AU that the muscle under a channel's electrodes makes."""

NEIGHBOURS: Mapping[str, frozenset[int]] = MappingProxyType(
    {"COR": frozenset({1, 2, 9}), "ZYG": frozenset({6, 9, 10, 14, 15, 20})}
)
"""AUs of muscles so near a pair of electrodes that it hears them too (cross-talk; Fridlund & Cacioppo 1986).
Hearing one supports a movement of it; not hearing it says nothing."""

_NEIGHBOUR_SHARE = 0.7

LEAD_S = 0.05
"""EMG leads the visible movement by 30 to 100 ms (electromechanical delay)."""

MIDDLE_LEAD_S = 0.07
"""The same from the middle of a burst to that of the movement: skin returns more slowly than it is pulled."""

LEAD_SD_S = 0.05
"""Spread of either lead: robust SD 48 ms between EMG and video onsets (public CASMEMG annotations)."""

_DATING_S = 0.25
"""How badly the picture dates a movement: standard deviation of this over its peak in noise units."""

_WITHIN_SD = 2.5
"""Leads farther off than this many standard deviations do not belong to the movement."""

_SIDES: dict[str, Side] = {"L": "left", "R": "right"}
_LARGEST = 6.0
_ABSENT = -1.2
_CHANCE_MEMORY_S = 30.0
_VOLLEY_S = 3.0
_LONGEST_S = 0.6
_TOGETHER_S = 0.12

_USUAL_SWELL_Z = 3.0
"""Mean z over a contraction that moves the skin by a pixel or more: exponentially distributed, for faint ones
are common; of a smaller movement with its square, for in the envelope a weak contraction and the muscle's
noise at rest add as powers do."""

_Z_CORRELATION_S = 0.03
"""z of a resting muscle is as good as independent after this time: the fast envelope's memory."""

_SKIN_LAG_S = LEAD_S - 0.014
"""From a row of activity to the skin: the muscle's lead, less the delay of the fast envelope."""

_BEFORE_S, _AFTER_S = (0.6, 0.15), 0.1
"""Rest that a swell is compared with: from and to before the visible onset; length after the offset."""


@dataclass(frozen=True)
class EmgSupport:
    """Evidence of one channel for or against one movement.

    Attributes:
        log_likelihood_ratio: Positive for, negative against; 0 when the channel cannot say.
        burst: The burst it rests on, if there is one.
        lead_s: How long before the visible onset it began.
        neighbour: The electrodes sit on a neighbouring muscle.
        channel: Its label.
    """

    log_likelihood_ratio: float
    burst: Burst | None = None
    lead_s: float = 0.0
    neighbour: bool = False
    channel: str = ""

    @property
    def brief(self) -> bool:
        """Whether it rests on a burst for it that is no part of a longer contraction."""
        burst = self.burst
        return burst is not None and self.log_likelihood_ratio > 0.0 and _is_short(burst)


def channel_parts(label: str) -> tuple[str, Side]:
    """Muscle prefix and side of a channel label such as ``COR_L``."""
    prefix, _, side = label.partition("_")
    return prefix, _SIDES.get(side, "both")


def _is_short(burst: Burst) -> bool:
    return burst.offset_s - burst.onset_s <= _LONGEST_S


def twins(first: Burst, second: Burst) -> bool:
    """Whether two bursts are one contraction of a muscle, on one side or on both."""
    same = channel_parts(first.channel)[0] == channel_parts(second.channel)[0]
    return same and abs(first.onset_s - second.onset_s) <= _TOGETHER_S


class EmgEvidence:
    """Recent bursts and channel states, in event time.

    Args:
        activity: Rows of the MuscleActivity stream, filled by the caller.
        explained: Tells bursts that a habit accounts for, a blink say, or speech if the person was silent at
            the time in question: they are no coincidences.
    """

    def __init__(
        self, activity: Timeline, explained: Callable[[Burst, float], bool] = lambda burst, at_s: False
    ) -> None:
        self._activity = activity
        self._explained = explained
        self._channels: tuple[str, ...] = ()
        self._quality: tuple[int, ...] = ()
        self._fast: tuple[int, ...] = ()
        self._active: tuple[int, ...] = ()
        self.reset()

    def bind(self, spec: StreamSpec) -> None:
        """Announce the MuscleActivity stream."""
        labels = spec.labels
        self._channels = tuple(label.removesuffix("_burst") for label in labels if label.endswith("_burst"))
        self._active = tuple(labels.index(f"{name}_burst") for name in self._channels)
        self._quality = tuple(
            labels.index(f"{name}_quality") if f"{name}_quality" in labels else -1 for name in self._channels
        )
        self._fast = tuple(
            labels.index(f"{name}_z") if f"{name}_z" in labels else -1 for name in self._channels
        )

    def reset(self) -> None:
        """Forget the past."""
        self.bursts: list[Burst] = []
        self._history: dict[str, deque[Burst]] = {}
        self._told: set[Burst] = set()

    def add_burst(self, burst: Burst) -> None:
        """Take one burst; they come in the order in which they were found."""
        self.bursts.append(burst)
        if _is_short(burst):
            self._history.setdefault(burst.channel, deque(maxlen=400)).append(burst)

    def explain(self, bursts: Iterable[Burst]) -> None:
        """Take bursts that an event rests on: they are no coincidences, nor evidence of a second event.

        The same muscle's burst on the other side goes with each.
        """
        for burst in bursts:
            self._told.update(each for each in self.bursts if twins(each, burst))

    def forget_before(self, time_s: float) -> None:
        """Let go of bursts that nothing can belong to any more."""
        self.bursts = [burst for burst in self.bursts if burst.offset_s >= time_s]
        self._told = {burst for burst in self._told if burst.offset_s >= time_s - _CHANCE_MEMORY_S}

    def channels_for(self, unit: int, side: Side) -> list[str]:
        """Channels whose electrodes sit on the muscle of an AU on that side."""
        return [name for name in self._on_side(side) if _hears_own(name, unit)]

    def neighbours_of(self, unit: int, side: Side) -> list[str]:
        """Channels on that side that hear an AU's muscle from the muscle next to it."""
        return [name for name in self._on_side(side) if unit in NEIGHBOURS.get(channel_parts(name)[0], ())]

    def _on_side(self, side: Side) -> list[str]:
        sides = {side, "both"} if side != "both" else {"left", "right", "both"}
        return [name for name in self._channels if channel_parts(name)[1] in sides]

    def busy(self, channels: Iterable[str], now_s: float) -> bool:
        """Whether one of these channels is inside a burst that has not ended yet."""
        row = self._activity.newest(now_s)
        wanted = set(channels)
        return row is not None and any(
            row[column] > 0.5
            for name, column in zip(self._channels, self._active, strict=True)
            if name in wanted
        )

    def support(self, channel: str, movement: Movement, now_s: float) -> EmgSupport:
        """What one channel says about a visible movement.

        Args:
            channel: Label of the EMG channel.
            movement: With its offset.
            now_s: Only what was known by then counts.
        """
        best = EmgSupport(0.0)
        for burst in self.bursts:
            if burst.channel == channel and burst.found_s <= now_s and burst not in self._told:
                density = _lead_density(burst, movement)
                if density > 0.0:
                    ratio = self._ratio(burst, density, now_s)
                    if best.burst is None or ratio > best.log_likelihood_ratio:
                        lead_s = movement.onset_s - burst.onset_s
                        best = EmgSupport(ratio, burst, lead_s, channel=channel)
        if best.burst is None:
            return EmgSupport(self._swell(channel, movement, now_s), channel=channel)
        return best

    def neighbour_support(self, channel: str, movement: Movement, now_s: float) -> EmgSupport:
        """`support` by a channel that hears the muscle from next to it: less, and never against."""
        support = self.support(channel, movement, now_s)
        if support.log_likelihood_ratio <= 0.0:
            return EmgSupport(0.0)
        ratio = _NEIGHBOUR_SHARE * support.log_likelihood_ratio
        return replace(support, log_likelihood_ratio=ratio, neighbour=True)

    def span(self, channel: str, start_s: float, end_s: float, now_s: float) -> tuple[float, float] | None:
        """Onset and offset that the skin should have had, from the course of the muscle's activity.

        Args:
            channel: Label of the EMG channel.
            start_s, end_s: Where to look for its peak, EMG time.
            now_s: Only what was known by then counts.

        Returns:
            None when activity does not stand out there.
        """
        if channel not in self._channels:
            return None
        column, reach = self._fast[self._channels.index(channel)], MICRO_TOTAL_S / 2.0
        stamps, rows = self._activity.stamped(start_s - reach, min(end_s + reach, now_s))
        z = [row[column] if column >= 0 and math.isfinite(row[column]) else 0.0 for row in rows]
        smooth = [sum(z[max(i - 2, 0) : i + 3]) / len(z[max(i - 2, 0) : i + 3]) for i in range(len(z))]
        inside = [i for i, stamp in enumerate(stamps) if start_s <= stamp <= end_s]
        if not inside:
            return None
        first = last = max(inside, key=lambda i: smooth[i])
        edge = max(1.0, 0.2 * smooth[first])
        if smooth[first] <= edge:
            return None
        while first > 0 and smooth[first - 1] > edge:
            first -= 1
        while last < len(smooth) - 1 and smooth[last + 1] > edge:
            last += 1
        # What stands out of rest is the middle three quarters of a contraction.
        wing_s = (stamps[last] - stamps[first]) / 6.0
        return stamps[first] - wing_s + _SKIN_LAG_S, stamps[last] + wing_s + _SKIN_LAG_S

    def _swell(self, channel: str, movement: Movement, now_s: float) -> float:
        """How mean activity rose while the skin moved, against rest; 0 if the muscle was busy anyway."""
        if channel not in self._channels:
            return 0.0
        index = self._channels.index(channel)
        onset_s = movement.onset_s
        start_s, end_s = onset_s - LEAD_S, min(movement.offset_s - LEAD_S, now_s)
        during = self._activity.between(start_s, end_s)
        quality = self._mean_quality(index, during)
        column, active = self._fast[index], self._active[index]
        before = self._activity.between(onset_s - _BEFORE_S[0], onset_s - _BEFORE_S[1])
        after = self._activity.between(end_s + 2.0 * LEAD_S, min(end_s + 2.0 * LEAD_S + _AFTER_S, now_s))
        level, rest, later = (_finite_mean(rows, column) for rows in (during, before, after))
        if quality <= 0.3 or level is None or rest is None:
            return 0.0
        if any(row[active] > 0.5 for row in (*before[-10:], *after[:1])):
            return 0.0  # It contracts for a reason of its own.
        rise = level - rest
        if later is not None and later - rest > max(0.5 * rise, 1.5):
            return 0.0  # It goes on: the beginning of something longer.
        variance = _Z_CORRELATION_S / max(end_s - start_s, _Z_CORRELATION_S) + 0.1
        chance = self._chance_per_s(channel, onset_s, now_s) * (end_s - start_s)
        usual = _USUAL_SWELL_Z * min(max(movement.amplitude_px, 0.3), 1.0) ** 2
        return quality * _log_swell_ratio(rise, usual, variance, min(chance, 0.5))

    def _ratio(self, burst: Burst, density: float, now_s: float) -> float:
        """Density of its lead against bursts that fall anywhere at the channel's own recent rate."""
        ratio = math.log(density / self._chance_per_s(burst.channel, burst.onset_s, now_s))
        ratio += min(1.5, max(0.0, 0.15 * (burst.peak_z - 4.0)))
        if not _is_short(burst):
            # A long contraction is a macro-expression or tonus; its onset still may fall here.
            ratio *= 0.3
        return burst.quality * max(-1.0, min(_LARGEST, ratio))

    def _chance_per_s(self, channel: str, time_s: float, now_s: float) -> float:
        """Rate at which short bursts came for no known reason: of late, or just now if that is more."""
        onsets_s = [
            burst.onset_s
            for burst in self._history.get(channel, ())
            if burst.found_s <= now_s
            and time_s - _CHANCE_MEMORY_S < burst.onset_s < time_s
            and burst not in self._told
            and not self._explained(burst, time_s)
        ]
        lately = (len(onsets_s) + 0.5) / _CHANCE_MEMORY_S
        just_now = sum(onset_s > time_s - _VOLLEY_S for onset_s in onsets_s)
        return max(lately, (just_now - 0.5) / _VOLLEY_S)

    def _mean_quality(self, index: int, rows: Sequence[Sequence[float]]) -> float:
        column = self._quality[index]
        if column < 0 or not rows:
            return float(bool(rows))
        return sum(max(row[column], 0.0) for row in rows if row[column] == row[column]) / len(rows)


def dating_sd_s(movement: Movement) -> float:
    """Standard deviation with which the picture dates a movement: the nearer to the noise, the worse."""
    return _DATING_S / max(movement.z, 1.0)


def _lead_density(burst: Burst, movement: Movement) -> float:
    """Probability density (1/s) of a burst's lead if it caused the movement; 0 when it lies too far off.

    Judged by the onsets and by the middles alike: noise blurs the flanks of a faint movement, of which the
    middle is known best, and a contraction that goes on for longer shares no more than its onset with it.
    """
    sd_s = math.hypot(LEAD_SD_S, dating_sd_s(movement))
    scores = [(movement.onset_s - burst.onset_s - LEAD_S) / sd_s]
    if _is_short(burst):
        middles_s = 0.5 * (movement.onset_s + movement.offset_s - burst.onset_s - burst.offset_s)
        scores.append((middles_s - MIDDLE_LEAD_S) / sd_s)
    total = sum(math.exp(-0.5 * score * score) for score in scores if abs(score) <= _WITHIN_SD)
    return total / (len(scores) * sd_s * math.sqrt(2.0 * math.pi))


def _finite_mean(rows: Sequence[Sequence[float]], column: int) -> float | None:
    values = [row[column] for row in rows if column >= 0 and math.isfinite(row[column])]
    return sum(values) / len(values) if values else None


def _log_swell_ratio(rise: float, usual: float, variance: float, chance: float) -> float:
    """Log-likelihood ratio of a rise of mean z: contraction and noise against noise, or chance contraction.

    Args:
        rise: Of the mean z.
        usual: Mean rise of a contraction.
        variance: Of its noise.
        chance: Probability that the muscle contracted for another reason just then.
    """
    spread, rate = math.sqrt(variance), 1.0 / usual
    noise = math.exp(-0.5 * rise * rise / variance) / (spread * math.sqrt(2.0 * math.pi))
    # Exponential contraction plus Gaussian noise.
    tail = math.erfc((rate * variance - rise) / (spread * math.sqrt(2.0)))
    contraction = 0.5 * rate * math.exp(0.5 * rate * (rate * variance - 2.0 * rise)) * tail
    return max(
        _ABSENT, math.log(max(contraction, 1e-12) / max((1 - chance) * noise + chance * contraction, 1e-12))
    )


def _hears_own(channel: str, unit: int) -> bool:
    muscle = MUSCLE_OF_PREFIX.get(channel_parts(channel)[0])
    return muscle is not None and unit in aus_of(muscle)
