"""What facial EMG says about one muscle at one moment: a burst that leads the visible movement, or none.

The evidence is the natural logarithm of a likelihood ratio: how much likelier is what the electrodes saw if
the muscle moved the skin then, than if the movement had another cause.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from acquisition.stream import StreamSpec
from fusion.atlas import aus_of
from fusion.timeline import Timeline
from processing.findings import Burst, Side

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

NEIGHBOURS: Mapping[str, frozenset[int]] = MappingProxyType(
    {"COR": frozenset({1, 2, 9}), "ZYG": frozenset({6, 9, 10, 14, 15, 20})}
)
"""AUs of muscles so near a pair of electrodes that it hears them too (cross-talk; Fridlund & Cacioppo 1986).
Hearing one supports a movement of it; not hearing it says nothing."""

_NEIGHBOUR_SHARE = 0.5

LEAD_S = 0.05
"""EMG leads the visible movement by 30 to 100 ms (electromechanical delay)."""

LEAD_SD_S = 0.05
"""Spread of the lead: robust SD 48 ms per event between EMG and video onsets (public CASMEMG annotations)."""

WINDOW_S = (-0.10, 0.16)
"""Leads outside this window do not belong to the movement."""

_SIDES: dict[str, Side] = {"L": "left", "R": "right"}
_LARGEST = 6.0
_ABSENT = -1.5
_CHANCE_MEMORY_S = 30.0


@dataclass(frozen=True)
class EmgSupport:
    """Evidence of one channel for or against one movement.

    Attributes:
        log_likelihood_ratio: Positive for, negative against; 0 when the channel cannot say.
        burst: The burst it rests on, if there is one.
        lead_s: How long before the visible onset it began.
        neighbour: The electrodes sit on a neighbouring muscle.
    """

    log_likelihood_ratio: float
    burst: Burst | None = None
    lead_s: float = 0.0
    neighbour: bool = False


def channel_parts(label: str) -> tuple[str, Side]:
    """Muscle prefix and side of a channel label such as ``COR_L``."""
    prefix, _, side = label.partition("_")
    return prefix, _SIDES.get(side, "both")


class EmgEvidence:
    """Recent bursts and channel states, in event time.

    Args:
        activity: Rows of the MuscleActivity stream, filled by the caller.
    """

    def __init__(self, activity: Timeline) -> None:
        self._activity = activity
        self._channels: tuple[str, ...] = ()
        self._quality: tuple[int, ...] = ()
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

    def reset(self) -> None:
        """Forget the past."""
        self.bursts: list[Burst] = []
        self._history: dict[str, deque[tuple[float, float]]] = {}

    def add_burst(self, burst: Burst) -> None:
        """Take one burst; they come in the order in which they were found."""
        self.bursts.append(burst)
        self._history.setdefault(burst.channel, deque(maxlen=400)).append((burst.onset_s, burst.found_s))

    def forget_before(self, time_s: float) -> None:
        """Let go of bursts that nothing can belong to any more."""
        self.bursts = [burst for burst in self.bursts if burst.offset_s >= time_s]

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

    def support(self, channel: str, onset_s: float, now_s: float) -> EmgSupport:
        """What one channel says about a visible movement that began at `onset_s`.

        Args:
            channel: Label of the EMG channel.
            onset_s: The movement's visible onset.
            now_s: Only what was known by then counts.
        """
        quality, was_active = self._state(channel, onset_s - 0.15, onset_s + 0.10)
        best = EmgSupport(0.0)
        for burst in self.bursts:
            if burst.channel == channel and burst.found_s <= now_s:
                lead_s = onset_s - burst.onset_s
                if WINDOW_S[0] <= lead_s <= WINDOW_S[1]:
                    ratio = self._ratio(burst, lead_s, now_s)
                    if best.burst is None or ratio > best.log_likelihood_ratio:
                        best = EmgSupport(ratio, burst, lead_s)
        if best.burst is None and quality > 0.3 and not was_active:
            return EmgSupport(_ABSENT * quality)
        return best

    def neighbour_support(self, channel: str, onset_s: float, now_s: float) -> EmgSupport:
        """`support` by a channel that hears the muscle from next to it: less, and never against."""
        support = self.support(channel, onset_s, now_s)
        if support.burst is None or support.log_likelihood_ratio <= 0.0:
            return EmgSupport(0.0)
        ratio = _NEIGHBOUR_SHARE * support.log_likelihood_ratio
        return replace(support, log_likelihood_ratio=ratio, neighbour=True)

    def _ratio(self, burst: Burst, lead_s: float, now_s: float) -> float:
        """Gaussian lead against bursts that fall anywhere at the channel's own recent rate."""
        score = (lead_s - LEAD_S) / LEAD_SD_S
        density = math.exp(-0.5 * score * score) / (LEAD_SD_S * math.sqrt(2.0 * math.pi))
        recent = [
            onset
            for onset, found in self._history.get(burst.channel, ())
            if found <= now_s and burst.onset_s - _CHANCE_MEMORY_S < onset < burst.onset_s
        ]
        chance_per_s = (len(recent) + 0.5) / _CHANCE_MEMORY_S
        ratio = math.log(max(density, 1e-6) / chance_per_s)
        ratio += min(1.5, max(0.0, 0.15 * (burst.peak_z - 4.0)))
        if burst.offset_s - burst.onset_s > 0.6:
            # A long contraction is a macro-expression or tonus; its onset still may fall here.
            ratio *= 0.3
        return burst.quality * max(-1.0, min(_LARGEST, ratio))

    def _state(self, channel: str, start_s: float, end_s: float) -> tuple[float, bool]:
        """Mean quality of a channel between two moments, and whether it was in a burst then."""
        if channel not in self._channels:
            return 0.0, False
        index = self._channels.index(channel)
        column, active = self._quality[index], self._active[index]
        rows = self._activity.between(start_s, end_s)
        if not rows:
            return 0.0, False
        quality = sum(row[column] if row[column] > 0.0 else 0.0 for row in rows) if column >= 0 else len(rows)
        return quality / len(rows), any(row[active] > 0.5 for row in rows)


def _hears_own(channel: str, unit: int) -> bool:
    muscle = MUSCLE_OF_PREFIX.get(channel_parts(channel)[0])
    return muscle is not None and unit in aus_of(muscle)
