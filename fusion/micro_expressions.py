"""Micro-expressions: movements of the skin and bursts of the muscles, weighed together in event time.

Log-likelihood ratios of the camera, of the EMG on the muscle that the movement implies, and of fast thermal
motion are added to the prior's log-odds; the logistic function makes that a probability. Habitual movements
are vetoed, what hides in a larger expression is marked, and each event says why it was flagged.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fusion.emg_evidence import MUSCLE_OF_PREFIX, EmgEvidence, EmgSupport, channel_parts
from fusion.events import FaceEvent, TrialType
from fusion.explanation import explain_micro
from fusion.macro_expressions import (
    EXPRESSIVE_UNITS,
    MACRO_MINIMUM_S,
    Activity,
    Blinks,
    MacroExpressions,
    main_branches,
    main_muscles,
    named,
    salient,
)
from fusion.rules import code
from fusion.speech import LOWER_FACE_UNITS, Speech
from processing.findings import Burst, Movement, Side

MICRO_TOTAL_S = 0.5
MICRO_ONSET_TO_APEX_S = 0.26
STRICT_S = (0.04, 0.2)
"""Durations: total, and onset to apex (Yan et al., 2013); the paper's strict 1/25-1/5 s."""

BLINK_UNITS = frozenset({1, 2, 4, 5, 6, 7, 43})
"""AUs that a blink or squint moves along (section 5: "frown when blinking")."""

SYNERGISTS: dict[int, frozenset[int]] = {
    12: frozenset({6, 7, 10, 11, 12, 14, 15, 16, 17, 20, 25}),
    6: frozenset({6, 7, 12}),
    4: frozenset({1, 2, 4, 7, 9}),
    1: frozenset({1, 2, 5}),
    2: frozenset({1, 2, 5}),
    5: frozenset({1, 2, 5}),
    9: frozenset({4, 6, 7, 9, 10, 12, 17}),
    10: frozenset({6, 7, 9, 10, 12, 17}),
}
"""AUs whose regions move along when an expression of the key's AU begins or ends (section 3.2.1: facial
muscles rarely contract individually)."""

_WHOLE_PICTURE = frozenset({"head", "flicker"})


@dataclass(frozen=True)
class MicroSettings:
    """How evidence becomes an event.

    Attributes:
        me_threshold: Log-odds at which a candidate becomes an event: the operating point.
        prior_log_odds: Log-odds of a micro-expression given that the spotter found a movement at all.
        veto_log_odds: Subtracted for a vetoed movement, whose own evidence counts a third.
        second_share: What each further region adds of its own evidence: regions move together, so their
            evidence is not independent.
        together_s: Movements that begin within this time of each other are one event.
        settle_s: An event is decided this long after its offset, when the EMG has had its say.
        mouth_settle_s: The same for movements of the mouth alone, which may turn out to be speech.
        patience_s: Longest wait for what is still going on: an open burst, an expression that may mask.
        emg_alone: Whether a burst without visible movement makes a "sub-visible" candidate.
        emg_alone_z: How strong it must be.
    """

    me_threshold: float = 0.0
    prior_log_odds: float = 0.0
    veto_log_odds: float = 6.0
    second_share: float = 0.3
    together_s: float = 0.06
    settle_s: float = 0.15
    mouth_settle_s: float = 0.65
    patience_s: float = 0.9
    emg_alone: bool = False
    emg_alone_z: float = 8.0


@dataclass
class _Candidate:
    """Movements that began together and are not decided yet."""

    members: list[Movement] = field(default_factory=list)

    @property
    def strongest(self) -> Movement:
        return max(self.members, key=lambda each: (not each.vetoes, each.log_likelihood_ratio, -each.id))

    @property
    def offset_s(self) -> float:
        return max(each.offset_s for each in self.members)

    @property
    def found_s(self) -> float:
        return max(each.found_s for each in self.members)

    def takes(self, movement: Movement, together_s: float) -> bool:
        return any(
            abs(each.onset_s - movement.onset_s) <= together_s
            and each.onset_s < movement.offset_s
            and movement.onset_s < each.offset_s
            for each in self.members
        )


class MicroExpressions:
    """Turns movements and bursts into events, in event time.

    Args:
        macro, blinks: The detectors that see the same rows; they are stepped before this one.
        emg: Recent bursts and channel states.
        speech: Recent mouth movements.
        settings: See `MicroSettings`.
    """

    def __init__(
        self,
        macro: MacroExpressions | None,
        blinks: Blinks | None,
        emg: EmgEvidence,
        speech: Speech,
        settings: MicroSettings | None = None,
    ) -> None:
        self.settings = settings or MicroSettings()
        self._macro = macro
        self._blinks = blinks
        self._emg = emg
        self._speech = speech
        self.dropped: Counter[str] = Counter()
        """How many candidates were let go, by veto; ``weak`` for those below the operating point."""
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._candidates: list[_Candidate] = []
        self._moving: dict[int, Movement] = {}
        self._thermal: list[Movement] = []
        self._used: set[tuple[str, float]] = set()

    @property
    def waiting(self) -> bool:
        """Whether a decision is pending."""
        return bool(self._candidates) or (self.settings.emg_alone and bool(self._emg.bursts))

    def add_movement(self, movement: Movement) -> None:
        """Take a movement, provisional or confirmed, in the order in which they were found."""
        if movement.provisional:
            self._moving[movement.id] = movement
            return
        self._moving.pop(movement.id, None)
        self._speech.add(movement)
        for candidate in self._candidates:
            if candidate.takes(movement, self.settings.together_s):
                candidate.members.append(movement)
                return
        self._candidates.append(_Candidate([movement]))

    def add_thermal_movement(self, movement: Movement) -> None:
        """Take a movement seen by a thermal camera of 25 Hz or more; it supports, and never originates."""
        self._thermal.append(movement)

    def step(self, time_s: float, emg_until_s: float, flush: bool = False) -> list[FaceEvent]:
        """Decide what can be decided at `time_s`.

        Args:
            time_s: Camera time.
            emg_until_s: Bursts found after this do not count yet.
            flush: The recording is over; wait for nothing.
        """
        events = []
        for candidate in list(self._candidates):
            if flush or self._ripe(candidate, time_s, emg_until_s):
                self._candidates.remove(candidate)
                event = self._decide(candidate, emg_until_s)
                if event is not None:
                    events.append(event)
        if self.settings.emg_alone:
            events += self._sub_visible(time_s, emg_until_s, flush)
        self._moving = {key: move for key, move in self._moving.items() if move.found_s > time_s - 1.5}
        self._thermal = [move for move in self._thermal if move.found_s > time_s - 3.0]
        self._emg.forget_before(time_s - 3.0)
        return events

    def provisional(self, movement: Movement, emg_until_s: float) -> FaceEvent | None:
        """What an unfinished movement would be if it ended now; None when it is vetoed or weak."""
        if movement.vetoes:
            return None
        end_s = max(movement.found_s, movement.apex_s)
        so_far = _Candidate([_ended(movement, end_s)])
        return self._decide(so_far, emg_until_s, counted=False)

    # Waiting

    def _ripe(self, candidate: _Candidate, time_s: float, emg_until_s: float) -> bool:
        settings = self.settings
        since = time_s - candidate.offset_s
        # A syllable looks like a movement of its own until the next ones come.
        mouth = LOWER_FACE_UNITS.issuperset(self._units(candidate.members))
        if (
            since < (settings.mouth_settle_s if mouth else settings.settle_s)
            or time_s < candidate.found_s + settings.together_s
        ):
            return False
        if since >= settings.patience_s:
            return True
        if any(candidate.takes(_ended(move, time_s), settings.together_s) for move in self._moving.values()):
            return False
        if any(
            not activity.closed and activity.duration_s <= MACRO_MINIMUM_S
            for activity in self._near(candidate)
        ):
            return False
        channels = [
            name
            for unit in self._units(candidate.members)
            for name in self._emg.channels_for(unit, candidate.strongest.side)
        ]
        return not self._emg.busy(channels, emg_until_s)

    def _near(self, candidate: _Candidate) -> list[Activity]:
        """Activities of AUs at the time of a candidate, or just after it."""
        if self._macro is None:
            return []
        move = candidate.strongest
        return [
            activity
            for activity in self._macro.activities()
            if activity.onset_s < candidate.offset_s + 0.3 and activity.offset_s > move.onset_s
        ]

    # Deciding

    def _decide(self, candidate: _Candidate, emg_until_s: float, counted: bool = True) -> FaceEvent | None:
        settings = self.settings
        clean = [each for each in candidate.members if not each.vetoes]
        members = clean or candidate.members
        members = sorted(members, key=lambda each: (-each.log_likelihood_ratio, each.id))
        main = members[0]
        units = self._units(members)
        vetoes = {veto for each in members for veto in each.vetoes}
        vetoes |= {veto for each in candidate.members for veto in each.vetoes if veto in _WHOLE_PICTURE}
        vetoes |= self._own_vetoes(candidate, main, units)

        camera = main.log_likelihood_ratio + settings.second_share * sum(
            max(0.0, each.log_likelihood_ratio) for each in members[1:]
        )
        supports = self._emg_supports(members, vetoes, emg_until_s)
        emg = sum(supports[unit].log_likelihood_ratio for unit in supports)
        thermal = self._thermal_evidence(main)
        logit = settings.prior_log_odds + camera + emg + thermal
        if vetoes:
            logit -= settings.veto_log_odds + max(0.0, camera) * 2.0 / 3.0
        if logit < settings.me_threshold:
            if counted:
                self.dropped.update(sorted(vetoes) or ["weak"])
            return None

        mask = self._mask(candidate, units) if counted else None
        trial_type: TrialType = "micro_expression"
        criteria = duration_criteria(main)
        if not criteria:
            if mask is not None or self._near(candidate):
                return None
            trial_type = "macro_expression"
        for support in supports.values():
            if support.burst is not None and counted:
                self._used.add((support.burst.channel, support.burst.onset_s))
        coding = code(units)
        side, asymmetry = _side(members)
        strongest_support = max(
            (each for each in supports.values() if each.burst is not None),
            key=lambda each: each.log_likelihood_ratio,
            default=None,
        )
        return FaceEvent(
            onset=main.onset_s,
            duration=max(0.0, main.offset_s - main.onset_s),
            trial_type=trial_type,
            apex=main.apex_s,
            action_units=coding.action_units,
            side=side,
            asymmetry=asymmetry,
            category=coding.category,
            emotions=coding.emotions,
            muscles=main_muscles(units),
            nerve_branches=main_branches(units),
            confidence=_logistic(logit),
            evidence_camera=camera,
            evidence_emg=emg,
            evidence_thermal=thermal,
            masked_by=mask.id if mask is not None else None,
            vetoes=tuple(sorted(vetoes)),
            criteria=criteria,
            id=f"micro-{min(each.id for each in candidate.members)}",
            explanation=explain_micro(main, units, side, asymmetry, strongest_support, mask, coding.category),
        )

    @staticmethod
    def _units(members: Sequence[Movement]) -> list[int]:
        """The best AU of each movement, strongest movement first, each once."""
        return list(dict.fromkeys(each.action_units[0] for each in members if each.action_units))

    def _own_vetoes(self, candidate: _Candidate, main: Movement, units: Sequence[int]) -> set[str]:
        vetoes = set()
        if (
            self._blinks is not None
            and BLINK_UNITS.intersection(units)
            and self._blinks.overlaps(main.onset_s - 0.05, main.apex_s + 0.05)
        ):
            vetoes.add("blink")
        if LOWER_FACE_UNITS.issuperset(units) and self._speech.around(main.onset_s) >= 2:
            vetoes.add("speech")
        for activity in self._near(candidate):
            if activity.duration_s <= MACRO_MINIMUM_S:
                continue
            own = activity.unit in units
            kin = SYNERGISTS.get(activity.unit, frozenset({activity.unit})).intersection(units)
            middle = 0.5 * (main.onset_s + main.offset_s)
            begins = activity.onset_s - 0.15 < middle < activity.onset_s + 0.6
            over = activity.closed or not math.isnan(activity.below_since_s)
            ends = over and activity.offset_s - 0.6 < middle < activity.offset_s + 0.15
            if own or (kin and (begins or ends)):
                vetoes.add("macro_edge")
        return vetoes

    def _emg_supports(
        self, members: Sequence[Movement], vetoes: Iterable[str], emg_until_s: float
    ) -> dict[int, EmgSupport]:
        """The evidence per AU that electrodes cover: the best side, or what both sides miss."""
        supports: dict[int, EmgSupport] = {}
        for member in members:
            unit = member.action_units[0] if member.action_units else 0
            if unit in supports:
                continue
            found = []
            for channel in self._emg.channels_for(unit, member.side):
                support = self._emg.support(channel, member.onset_s, emg_until_s)
                if support.burst is not None and self._is_frown_of_blink(support.burst):
                    support = EmgSupport(0.0)
                found.append(support)
            if not found:
                continue
            best = max(found, key=lambda each: (each.burst is not None, each.log_likelihood_ratio))
            if best.burst is None:
                missing = sum(each.log_likelihood_ratio for each in found) / len(found)
                best = EmgSupport(missing)
            supports[unit] = best
        return supports

    def _is_frown_of_blink(self, burst: Burst) -> bool:
        """A short corrugator burst that coincides with a blink is the blink's."""
        return (
            self._blinks is not None
            and burst.channel.startswith("COR")
            and self._blinks.overlaps(burst.onset_s - 0.1, burst.offset_s + 0.05)
        )

    def _thermal_evidence(self, main: Movement) -> float:
        near = [
            each.log_likelihood_ratio
            for each in self._thermal
            if abs(each.onset_s - main.onset_s) <= 0.1
            and set(each.action_units) & set(main.action_units)
            and not each.vetoes
        ]
        return 0.5 * max(near, default=0.0)

    def _mask(self, candidate: _Candidate, units: Sequence[int]) -> Activity | None:
        """The larger expression that the candidate hides in, or that covers it right after."""
        near = [
            activity
            for activity in self._near(candidate)
            if activity.duration_s > MACRO_MINIMUM_S
            and activity.unit not in units
            and activity.unit in EXPRESSIVE_UNITS
        ]
        if not near:
            return None
        leading = salient({each.unit: each.peak for each in near})
        near = [each for each in near if each.unit in leading] or near
        mask = max(near, key=lambda each: (each.referenced, each.peak * each.duration_s, -each.number))
        mask.referenced = True
        return mask

    # EMG without visible movement

    def _sub_visible(self, time_s: float, emg_until_s: float, flush: bool) -> list[FaceEvent]:
        events = []
        for burst in self._emg.bursts:
            key = (burst.channel, burst.onset_s)
            late = flush or (time_s >= burst.offset_s + 1.0 and burst.found_s <= emg_until_s)
            if not late or key in self._used:
                continue
            self._used.add(key)
            event = self._sub_visible_event(burst)
            if event is not None:
                events.append(event)
        self._used = {key for key in self._used if key[1] > time_s - 10.0}
        return events

    def _sub_visible_event(self, burst: Burst) -> FaceEvent | None:
        settings = self.settings
        duration = burst.offset_s - burst.onset_s
        prefix, side = channel_parts(burst.channel)
        muscle = MUSCLE_OF_PREFIX.get(prefix)
        if muscle is None or burst.peak_z < settings.emg_alone_z or not 0.04 <= duration <= MICRO_TOTAL_S:
            return None
        unit = {"COR": 4, "ZYG": 12, "FRO": 2, "OOC": 6, "LEV": 10, "DAO": 15, "MEN": 17}[prefix]
        if self._is_frown_of_blink(burst):
            self.dropped.update(["blink"])
            return None
        if self._macro is not None and any(
            activity.unit == unit and activity.onset_s < burst.offset_s and activity.offset_s > burst.onset_s
            for activity in self._macro.activities()
        ):
            return None
        evidence = burst.quality * min(4.0, 0.5 * (burst.peak_z - settings.emg_alone_z) + 1.0)
        logit = settings.prior_log_odds + evidence
        if logit < settings.me_threshold:
            self.dropped.update(["weak"])
            return None
        coding = code([unit])
        where = f"{side} " if side != "both" else ""
        return FaceEvent(
            onset=burst.onset_s,
            duration=duration,
            trial_type="micro_expression",
            apex=burst.peak_s,
            action_units=(unit,),
            side=side,
            asymmetry={"left": 1.0, "right": -1.0, "both": 0.0}[side],
            category=coding.category,
            emotions=coding.emotions,
            muscles=main_muscles([unit]),
            nerve_branches=main_branches([unit]),
            confidence=_logistic(logit),
            evidence_emg=evidence,
            vetoes=("sub-visible",),
            criteria=_criteria(duration, burst.peak_s - burst.onset_s),
            id=f"emg-{burst.channel}-{round(1000 * burst.onset_s)}",
            explanation=(
                f"{where}{named(unit)} fired for {1000 * duration:.0f} ms at "
                f"{burst.peak_z:.1f} z without visible movement (sub-visible): {coding.category}"
            ),
        )


def duration_criteria(movement: Movement) -> tuple[str, ...]:
    """Which definitions of a micro-expression's duration a movement meets; empty for a macro-expression."""
    return _criteria(movement.offset_s - movement.onset_s, movement.apex_s - movement.onset_s)


def _criteria(total_s: float, rise_s: float) -> tuple[str, ...]:
    tolerance = 1e-9  # frame stamps at 20 fps make exactly 500 ms
    criteria = []
    if total_s <= MICRO_TOTAL_S + tolerance:
        criteria.append("total<=500ms")
    if rise_s <= MICRO_ONSET_TO_APEX_S + tolerance:
        criteria.append("onset-apex<=260ms")
    if criteria and STRICT_S[0] - tolerance <= total_s <= STRICT_S[1] + tolerance:
        criteria.append("strict 40-200ms")
    return tuple(criteria)


def _ended(movement: Movement, end_s: float) -> Movement:
    """A provisional movement as if it had ended at `end_s`."""
    return Movement(
        **{
            **movement.__dict__,
            "offset_s": max(end_s, movement.apex_s),
            "found_s": max(end_s, movement.found_s),
            "provisional": False,
        }
    )


def _side(members: Sequence[Movement]) -> tuple[Side, float]:
    """Side and asymmetry of movements together, weighted by their amplitude."""
    paired = [each for each in members if each.side != "both" or each.asymmetry != 0.0]
    sides = {each.side for each in members if each.side != "both"}
    side: Side = "both"
    if len(sides) == 1 and all(each.side != "both" or each.asymmetry == 0.0 for each in members):
        side = next(iter(sides))
    total = sum(each.amplitude_px for each in paired)
    if total <= 0.0:
        return side, {"left": 1.0, "right": -1.0, "both": 0.0}[side]
    return side, max(-1.0, min(1.0, sum(each.amplitude_px * each.asymmetry for each in paired) / total))


def _logistic(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, logit))))
