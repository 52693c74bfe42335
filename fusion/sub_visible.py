"""Muscles that fire without visible movement: EMG shows what is "even visually imperceptible" (section 6).

Conservative: a blink, speech, an expression or another burst of that muscle nearby explains a burst well
enough, and without a picture nothing can be called invisible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fusion.blinks import Blinks, is_blink
from fusion.candidates import MICRO_TOTAL_S, asymmetry_of, duration_criteria
from fusion.emg_evidence import LEAD_S, UNIT_OF_PREFIX, EmgEvidence, channel_parts, twins
from fusion.events import FaceEvent, confidence_of
from fusion.explanation import explain_sub_visible, main_branches, main_muscles
from fusion.macro_expressions import SYNERGISTS, MacroExpressions
from fusion.rules import code
from fusion.speech import LOWER_FACE_UNITS, Speech
from fusion.witness import UnitWitness
from processing.findings import Burst, Movement, Side

_SHORTEST_S = 0.04
_ALONE_S = 1.0
_DECIDED_S = 1.5
"""After its end: another burst within a second, or a late movement, may still explain a twitch."""


@dataclass(frozen=True)
class Twitch:
    """A short contraction of one muscle, on one side or both.

    Attributes:
        unit: The AU it would have shown.
        bursts: One per side, the stronger first.
    """

    unit: int
    bursts: tuple[Burst, ...]

    @property
    def main(self) -> Burst:
        """The stronger burst."""
        return self.bursts[0]

    @property
    def side(self) -> Side:
        """The subject's own side."""
        sides = {channel_parts(burst.channel)[1] for burst in self.bursts}
        return next(iter(sides)) if len(sides) == 1 else "both"

    @property
    def onset_s(self) -> float:
        """Of the earlier side."""
        return min(burst.onset_s for burst in self.bursts)

    @property
    def offset_s(self) -> float:
        """Of the later side."""
        return max(burst.offset_s for burst in self.bursts)


def twitch_of(burst: Burst, recent: Sequence[Burst]) -> Twitch | None:
    """The twitch that a burst belongs to, None when the muscle was busy around it or it is no short one.

    Args:
        burst: Over, and at least a second ago.
        recent: Bursts of the last seconds, `burst` among them.
    """
    prefix = channel_parts(burst.channel)[0]
    unit = UNIT_OF_PREFIX.get(prefix)
    if unit is None:
        return None
    same = [other for other in recent if channel_parts(other.channel)[0] == prefix]
    sides = [other for other in same if twins(other, burst)]
    twitch = Twitch(unit, tuple(sorted(sides, key=lambda each: (-each.peak_z, each.channel))))
    busy = any(
        other.onset_s < twitch.offset_s + _ALONE_S and other.offset_s > twitch.onset_s - _ALONE_S
        for other in same
        if other not in sides
    )
    duration = twitch.offset_s - twitch.onset_s
    return twitch if not busy and _SHORTEST_S <= duration <= MICRO_TOTAL_S else None


class SubVisible:
    """Turns twitches that nothing visible explains into events, in event time.

    Args:
        macro, blinks, speech: What else makes a muscle fire; they see the same rows.
        emg: Recent bursts and channel states.
        witness: When there was a face to see.
        dropped: Counts the twitches that were let go, by what explains them.
        least_z: How strong a twitch must be.
        weight: Log-odds per unit of its evidence.
        threshold: Log-odds at which it becomes an event.
    """

    def __init__(
        self,
        macro: MacroExpressions,
        blinks: Blinks | None,
        emg: EmgEvidence,
        speech: Speech,
        witness: UnitWitness,
        dropped: Counter[str],
        *,
        least_z: float,
        weight: float,
        threshold: float,
    ) -> None:
        self._macro = macro
        self._blinks = blinks
        self._emg = emg
        self._speech = speech
        self._witness = witness
        self._dropped = dropped
        self._least_z = least_z
        self._weight = weight
        self._threshold = threshold
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._seen: list[tuple[float, float]] = []
        self._used: set[tuple[str, float]] = set()

    def see(self, movement: Movement) -> None:
        """Take a movement of the skin: a twitch at its time is not invisible."""
        self._seen.append((movement.onset_s, movement.offset_s))

    def told(self, bursts: Iterable[Burst]) -> None:
        """Take bursts that another event rests on already."""
        self._used |= {(burst.channel, burst.onset_s) for burst in bursts}

    def step(self, time_s: float, emg_until_s: float, flush: bool = False) -> list[FaceEvent]:
        """Decide what can be decided at `time_s`; the arguments are those of `MicroExpressions.step`."""
        events = []
        known = [burst for burst in self._emg.bursts if flush or burst.found_s <= emg_until_s]
        for burst in known:
            key = (burst.channel, burst.onset_s)
            if key in self._used or not (flush or time_s >= burst.offset_s + _DECIDED_S):
                continue
            self._used.add(key)
            # A blink nearby does not make the muscle busy: what the blink did is known.
            twitch = twitch_of(burst, [each for each in known if each is burst or not self._is_blink(each)])
            if twitch is None:
                continue
            others = {(each.channel, each.onset_s) for each in twitch.bursts} - {key}
            told = not others.isdisjoint(self._used)
            self._used |= others
            if not told and twitch.main.peak_z >= self._least_z:
                event = self._event(twitch, emg_until_s)
                if event is not None:
                    events.append(event)
        self._used = {key for key in self._used if key[1] > time_s - 10.0}
        self._seen = [span for span in self._seen if span[1] > time_s - 4.0]
        return events

    def _event(self, twitch: Twitch, emg_until_s: float) -> FaceEvent | None:
        burst, unit = twitch.main, twitch.unit
        reason = self._explains(twitch)
        evidence = burst.quality * min(4.0, 0.5 * (burst.peak_z - self._least_z) + 1.0)
        log_odds = self._weight * evidence
        if reason or log_odds < self._threshold:
            self._dropped.update([reason or "weak"])
            return None
        coding = code([unit])
        # Dated to the movement that it should have caused.
        span = self._emg.span(burst.channel, burst.onset_s, burst.offset_s, emg_until_s)
        onset, offset = span or (twitch.onset_s + LEAD_S, twitch.offset_s + LEAD_S)
        apex = min(max(burst.peak_s + LEAD_S, onset), offset)
        duration = offset - onset
        return FaceEvent(
            onset=onset,
            duration=duration,
            trial_type="micro_expression",
            apex=apex,
            action_units=(unit,),
            side=twitch.side,
            asymmetry=asymmetry_of(twitch.side),
            category=coding.category,
            emotions=coding.emotions,
            muscles=main_muscles([unit]),
            nerve_branches=main_branches([unit]),
            confidence=confidence_of(log_odds),
            evidence_emg=evidence,
            vetoes=("sub-visible",),
            criteria=duration_criteria(duration, apex - onset),
            id=f"emg-{burst.channel}-{round(1000 * burst.onset_s)}",
            explanation=explain_sub_visible(unit, twitch.side, duration, burst.peak_z, coding.category),
        )

    def _is_blink(self, burst: Burst) -> bool:
        return self._blinks is not None and is_blink(self._blinks, burst.channel, burst)

    def _explains(self, twitch: Twitch) -> str:
        """What was seen after all, or else made a muscle fire; ``unseen`` without a face, else empty."""
        if not self._witness.saw(twitch.onset_s, twitch.offset_s + LEAD_S):
            return "unseen"
        if any(onset < twitch.offset_s + 0.1 and offset > twitch.onset_s for onset, offset in self._seen):
            return "visible"
        if any(self._is_blink(each) for each in twitch.bursts):
            return "blink"
        if twitch.unit in LOWER_FACE_UNITS and self._speech.around(twitch.onset_s):
            return "speech"
        kin = SYNERGISTS.get(twitch.unit, frozenset({twitch.unit}))
        seen = any(
            activity.unit in kin
            and activity.onset_s - 0.5 < twitch.offset_s
            and activity.offset_s + 0.5 > twitch.onset_s
            for activity in self._macro.activities()
        )
        return "macro_edge" if seen else ""
