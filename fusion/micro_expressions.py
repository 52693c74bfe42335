"""Micro-expressions: movements of the skin and bursts of the muscles, weighed together in event time.

Log-likelihood ratios of the camera, of the EMG on the muscle that the movement implies, and of fast thermal
motion are added to the prior's log-odds; the logistic function makes that a probability. Habitual movements
are vetoed, what hides in a larger expression is marked, and each event says why it was flagged.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fusion.blinks import Blinks
from fusion.candidates import FAINT, MICRO_ONSET_TO_APEX_S, Candidate, duration_criteria, ended, side_of
from fusion.emg_evidence import EmgEvidence
from fusion.events import FaceEvent, TrialType, confidence_of
from fusion.explanation import Hiding, explain_micro, main_branches, main_muscles
from fusion.macro_expressions import (
    EXPRESSIVE_UNITS,
    MACRO_MINIMUM_S,
    SYNERGISTS,
    Activity,
    MacroExpressions,
    salient,
)
from fusion.muscle_support import MuscleSupport
from fusion.rules import code
from fusion.speech import LOWER_FACE_UNITS, Speech
from fusion.sub_visible import SubVisible
from fusion.witness import UnitWitness
from processing.findings import Movement

BLINK_UNITS = frozenset({1, 2, 4, 5, 6, 7, 43})
"""AUs that a blink or squint moves along (section 5: "frown when blinking")."""

SNIFF_UNITS = frozenset({9})
"""AUs that a sniff looks like."""

OUTVOTED = frozenset({"gaze", "head", "flicker", "ripple", "faint"})
"""Vetoes that concern the picture only, which a burst may outvote."""

OUTWEIGHED = frozenset({"speech", "sniff"})
"""Habits that contract muscles too, so that a burst must weigh more. A blink brings a burst of its own, which
nothing outweighs; the edge of an expression would bring a long one, so that a brief one acquits."""

UNSPOKEN = OUTVOTED | {"blink", "sniff"}
"""Vetoes of movements that are no syllable."""

SYMMETRIC = OUTWEIGHED
"""Habits that move both sides alike (section 3.2.1): a muscle that fires on one side alone is neither."""

_STRONG_PEAK = 0.3
"""Intensity of an expression beyond which what moves at its edges, or inside of it, is taken for its own."""

_SAME_EVENT = 0.5
"""Share of the shorter of two events that lies inside the other, from which they are one."""

_RIVAL_S = 0.15
"""Movements that lie no farther apart may have the same muscle's burst for a cause."""

_WHOLE_PICTURE = frozenset({"head", "flicker"})


@dataclass(frozen=True)
class MicroSettings:
    """How evidence becomes an event.

    Attributes:
        me_threshold: Log-odds at which a candidate becomes an event: the operating point.
        spotting_point: The camera's log-likelihood ratio at which a movement alone is as likely as not.
        camera_weight, emg_weight: Log-odds per unit of evidence; fitted to simulated sessions, so that
            confidence is the share of candidates that are true (``zygoma bench fusion``).
        habit_log_odds: Subtracted for a movement vetoed as speech or a sniff. What the picture says for a
            vetoed movement does not count.
        second_share: What each further region, or electrode, adds of its own evidence: regions move together
            and sides contract together, so their evidence is not independent.
        together_s: Movements that begin within this time of each other are one event.
        settle_s: An event is decided this long after its offset, when the EMG has had its say.
        doubtful_settle_s: The same for movements of mouth and nose alone, which may turn out to be speech or
            a sniff, and for faint or vetoed ones, beside which a clearer one may be found.
        patience_s: Longest wait for what is still going on: an open burst, an expression that may mask.
        emg_alone: Whether a burst without visible movement makes a "sub-visible" candidate.
        emg_alone_z: How strong it must be.
    """

    me_threshold: float = 0.0
    spotting_point: float = 1.0
    camera_weight: float = 1.6
    emg_weight: float = 1.2
    habit_log_odds: float = 1.0
    second_share: float = 0.3
    together_s: float = 0.06
    settle_s: float = 0.15
    doubtful_settle_s: float = 0.65
    patience_s: float = 0.9
    emg_alone: bool = True
    emg_alone_z: float = 4.5


class MicroExpressions:
    """Turns movements and bursts into events, in event time.

    Args:
        macro, blinks: The detectors that see the same rows; they are stepped before this one.
        emg: Recent bursts and channel states.
        speech: Recent mouth movements.
        witness: Recent rows of action units.
        settings: See `MicroSettings`.
    """

    def __init__(
        self,
        macro: MacroExpressions | None,
        blinks: Blinks | None,
        emg: EmgEvidence,
        speech: Speech,
        witness: UnitWitness,
        settings: MicroSettings | None = None,
    ) -> None:
        self.settings = settings or MicroSettings()
        self._macro = macro
        self._blinks = blinks
        self._emg = emg
        self._speech = speech
        self._witness = witness
        self._muscles = MuscleSupport(emg, blinks, witness, self.settings.second_share)
        self.dropped: Counter[str] = Counter()
        """How many candidates were let go, by veto; ``weak`` for those below the operating point, ``told``
        for those that overlap an event."""
        self._sub_visible: SubVisible | None = None
        if self.settings.emg_alone and macro is not None:
            self._sub_visible = SubVisible(
                macro,
                blinks,
                emg,
                speech,
                witness,
                self.dropped,
                least_z=self.settings.emg_alone_z,
                weight=self.settings.emg_weight,
                threshold=self.settings.me_threshold,
            )
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._candidates: list[Candidate] = []
        self._moving: dict[int, Movement] = {}
        self._thermal: list[Movement] = []
        self._told: list[FaceEvent] = []
        if self._sub_visible is not None:
            self._sub_visible.reset()

    def add_movement(self, movement: Movement) -> None:
        """Take a movement, provisional, confirmed or withdrawn, in the order in which they were found."""
        if movement.provisional:
            self._moving[movement.id] = movement
            return
        self._moving.pop(movement.id, None)
        if self._sub_visible is not None and movement.vetoes != FAINT:
            self._sub_visible.see(movement)
        if not UNSPOKEN.intersection(movement.vetoes):
            self._speech.add(movement)
        for candidate in self._candidates:
            if candidate.withdraws(movement):
                return
            if candidate.takes(movement, self.settings.together_s):
                candidate.members.append(movement)
                return
        self._candidates.append(Candidate([movement]))

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
                if event is None:
                    continue
                # A second reading of a movement, found when the first was told already, is no second event.
                if any(_covers(other, event) for other in self._told):
                    self.dropped["told"] += 1
                    continue
                self._told.append(event)
                events.append(event)
        if self._sub_visible is not None:
            events += self._sub_visible.step(time_s, emg_until_s, flush)
        self._moving = {key: move for key, move in self._moving.items() if move.found_s > time_s - 1.5}
        self._thermal = [move for move in self._thermal if move.found_s > time_s - 3.0]
        self._told = [event for event in self._told if event.offset > time_s - 3.0]
        self._emg.forget_before(time_s - 4.0)
        return events

    def under_way(self, time_s: float) -> bool:
        """Whether a movement that nothing speaks against has passed its apex and not ended yet."""
        return any(
            not move.vetoes
            and move.log_likelihood_ratio >= self.settings.spotting_point
            and time_s < move.apex_s + MICRO_ONSET_TO_APEX_S
            for move in self._moving.values()
        )

    def provisional(self, movement: Movement, emg_until_s: float) -> FaceEvent | None:
        """What an unfinished movement would be if it ended now; None when it is vetoed or weak."""
        if movement.vetoes:
            return None
        end_s = max(movement.found_s, movement.apex_s)
        so_far = Candidate([ended(movement, end_s)])
        return self._decide(so_far, emg_until_s, counted=False)

    # Waiting

    def _ripe(self, candidate: Candidate, time_s: float, emg_until_s: float) -> bool:
        settings = self.settings
        since = time_s - candidate.offset_s
        # A syllable or a sniff looks like a movement of its own until the next ones come.
        doubtful = (LOWER_FACE_UNITS | SNIFF_UNITS).issuperset(self._units(candidate.members))
        doubtful = doubtful or not candidate.clear
        if (
            since < (settings.doubtful_settle_s if doubtful else settings.settle_s)
            or time_s < candidate.found_s + settings.together_s
        ):
            return False
        if not candidate.clear and any(
            other.clarity > candidate.clarity and other.nears(candidate, _RIVAL_S)
            for other in self._candidates
        ):
            return False  # It may be a part of what is clearer, or its muscle that of the other.
        if since >= settings.patience_s:
            return True
        for move in self._moving.values():
            clearer = not candidate.clear and not move.vetoes and move.onset_s < candidate.offset_s + _RIVAL_S
            if clearer or candidate.takes(ended(move, time_s), settings.together_s):
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

    def _near(self, candidate: Candidate) -> list[Activity]:
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

    def _decide(self, candidate: Candidate, emg_until_s: float, counted: bool = True) -> FaceEvent | None:
        settings = self.settings
        members = [each for each in candidate.members if not each.vetoes] or candidate.members
        members = sorted(members, key=lambda each: (-each.log_likelihood_ratio, each.id))
        main = members[0]
        units = self._units(members)
        vetoes = {veto for each in members for veto in each.vetoes}
        vetoes |= {veto for each in candidate.members for veto in each.vetoes if veto in _WHOLE_PICTURE}
        vetoes |= self._own_vetoes(candidate, main, units)

        camera = main.log_likelihood_ratio + settings.second_share * sum(
            max(0.0, each.log_likelihood_ratio) for each in members[1:]
        )
        supports = self._muscles.of(members, emg_until_s)
        emg = sum((support.log_likelihood_ratio for support in supports), 0.0)
        if any(self._muscles.one_sided(main, each, emg_until_s) for each in supports):
            vetoes -= SYMMETRIC
        if any(each.brief and not each.neighbour for each in supports):
            vetoes -= {"macro_edge"}  # What the muscle did was over soon.
        thermal = self._thermal_evidence(main)
        logit = settings.camera_weight * (camera + thermal - settings.spotting_point)
        logit += settings.emg_weight * emg
        if vetoes - {*FAINT}:
            # The picture is in doubt, not that a muscle fired just then.
            felt = any(each.burst is not None and each.log_likelihood_ratio > 0.0 for each in supports)
            logit -= settings.camera_weight * max(0.0, camera)
            if not OUTVOTED.issuperset(vetoes):
                logit -= settings.habit_log_odds
            if not felt or not OUTVOTED.union(OUTWEIGHED).issuperset(vetoes):
                logit = -math.inf
        if logit < settings.me_threshold:
            if counted:
                self.dropped.update(sorted(vetoes) or ["weak"])
            return None

        if supports:
            main = self._muscles.dated(main, supports, emg_until_s)
        mask = self._mask(candidate, units) if counted else None
        trial_type: TrialType = "micro_expression"
        criteria = duration_criteria(main.offset_s - main.onset_s, main.apex_s - main.onset_s)
        if not criteria:
            if any(activity.unit in units for activity in self._near(candidate)):
                return None  # The action units tell it.
            trial_type = "macro_expression"
        bursts = [support for support in supports if support.burst is not None]
        if counted:
            rests_on = [each.burst for each in bursts if each.burst is not None]
            self._emg.explain(rests_on)
            if self._sub_visible is not None:
                self._sub_visible.told(rests_on)
                self._sub_visible.see(main)
        told = self._told_units(members)
        coding = code(told)
        side, asymmetry = side_of(members)
        hiding = Hiding(mask.unit, mask.onset_s > main.onset_s) if mask is not None else None
        telling = max(bursts, key=lambda each: each.log_likelihood_ratio, default=None)
        against = tuple(sorted(vetoes))
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
            muscles=main_muscles(told),
            nerve_branches=main_branches(told),
            confidence=confidence_of(logit),
            evidence_camera=camera,
            evidence_emg=emg,
            evidence_thermal=thermal,
            masked_by=mask.id if mask is not None else None,
            vetoes=against,
            criteria=criteria,
            id=f"micro-{min(each.id for each in candidate.members)}",
            explanation=explain_micro(main, told, side, asymmetry, telling, against, hiding, coding.category),
        )

    def _units(self, members: Sequence[Movement]) -> list[int]:
        """The AU of each movement, strongest movement first, each once."""
        units = (self._witness.best_unit(each) for each in members)
        return list(dict.fromkeys(unit for unit in units if unit is not None))

    def _told_units(self, members: Sequence[Movement]) -> list[int]:
        """The AUs to report: with that of each movement those that moved the face along with it."""
        return list(dict.fromkeys(unit for each in members for unit in self._witness.units(each)))

    def _own_vetoes(self, candidate: Candidate, main: Movement, units: Sequence[int]) -> set[str]:
        vetoes = set()
        if (
            self._blinks is not None
            and BLINK_UNITS.intersection(units)
            and self._blinks.overlaps(main.onset_s - 0.05, main.apex_s + 0.05)
        ):
            vetoes.add("blink")
        if LOWER_FACE_UNITS.issuperset(units) and self._speech.goes_on(main.onset_s):
            vetoes.add("speech")
        if any(self._is_edge(activity, main, units) for activity in self._near(candidate)):
            vetoes.add("macro_edge")
        return vetoes

    def _is_edge(self, activity: Activity, main: Movement, units: Sequence[int]) -> bool:
        """Whether a movement begins or ends a longer expression of its AUs, or of those that go with them.

        What moves while the expression is held may be masked by it; the spotter vetoes a held one's ripples.
        """
        if activity.duration_s <= MACRO_MINIMUM_S:
            return False
        middle = 0.5 * (main.onset_s + main.offset_s)
        begins = activity.onset_s - 0.15 < middle < activity.onset_s + 0.6
        over = activity.closed or not math.isnan(activity.below_since_s)
        ends = over and activity.offset_s - 0.6 < middle < activity.offset_s + 0.15
        kin = SYNERGISTS.get(activity.unit, frozenset({activity.unit}))
        if kin.isdisjoint(units):
            return False
        # A weak one is no larger than a micro-expression, and may be its own echo or noise: it explains the
        # movement only if its AU stands elsewhere afterwards. So does one that is about to end.
        step = self._witness.step(activity.unit, main)
        if begins or ends:
            return activity.peak >= _STRONG_PEAK or abs(step) >= 0.5 * activity.peak
        return not over and step <= -0.5 * activity.peak

    def _thermal_evidence(self, main: Movement) -> float:
        near = [
            each.log_likelihood_ratio
            for each in self._thermal
            if abs(each.onset_s - main.onset_s) <= 0.1
            and set(each.action_units) & set(main.action_units)
            and not each.vetoes
        ]
        return 0.5 * max(near, default=0.0)

    def _mask(self, candidate: Candidate, units: Sequence[int]) -> Activity | None:
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


def _covers(first: FaceEvent, second: FaceEvent) -> bool:
    inside = min(first.offset, second.offset) - max(first.onset, second.onset)
    return inside > 0.0 and inside >= _SAME_EVENT * min(first.duration, second.duration)
