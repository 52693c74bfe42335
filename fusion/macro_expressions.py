"""Macro-expressions from the rows of action units.

Each AU is followed by itself with hysteresis; what is active together is one expression. So a frown inside a
smile is a second expression that the smile masks, not a different smile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from acquisition.stream import StreamSpec
from fusion.events import FaceEvent, confidence_of
from fusion.explanation import explain_macro, main_branches, main_muscles
from fusion.rules import CATEGORY_OF, code
from fusion.speech import LOWER_FACE_UNITS, Speech
from fusion.tables import emotions_of
from processing.findings import Side

MACRO_MINIMUM_S = 0.5
"""Longer than this is a macro-expression (the paper's introduction; Yan et al., 2013)."""

EXPRESSIVE_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 22, 23, 24, 28)
"""AUs that can be an expression by themselves."""

LOOSE_UNITS = frozenset({5, 6, 7, 10, 14, 17, 20, 22, 23, 24})
"""AUs that need a stronger reading to begin an expression, and a still stronger one while the head moves."""

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

MOUTH_UNITS = (16, 25, 26, 27)
"""AUs that speech moves all the time: they join an expression, but do not make one."""


@dataclass(frozen=True)
class MacroSettings:
    """Hysteresis of one AU's activity, in intensity relative to the neutral face.

    Attributes:
        on, off: Activity begins above `on` and ends below `off`.
        loose_on: `on` for AUs that turns of the head and slack lips also seem to move (`LOOSE_UNITS`), on a
            head that keeps still. Of these a reading counts by what is beyond its standard error.
        moving: Speed of the head, px/s at an inter-ocular distance of 100 px, that doubles it.
        firm_s: An activity is above `on` for at least this long; less is a twitch of the landmarks, as at a
            blink.
        edge: Onset and offset are dated to where the intensity leaves or comes below this.
        gap_s: A dip shorter than this does not end an activity.
        beyond_speech: Activity of the mouth with a mean below this is the speech's when the person speaks.
        together: AUs whose activities have an intersection over union of at least this are one expression.
    """

    on: float = 0.12
    loose_on: float = 0.2
    moving: float = 25.0
    firm_s: float = 0.03
    off: float = 0.06
    edge: float = 0.03
    gap_s: float = 0.15
    together: float = 0.35
    beyond_speech: float = 0.3


@dataclass
class Activity:
    """One AU's stretch of activity; `closed` once it is over. Times in seconds.

    Attributes:
        number: Running number, which an expression's id is made of.
        offset_s: Last moment seen so far, or the end.
        firm_s: Seconds above the level at which it began, after that moment.
        referenced: A micro-expression already names it as its mask.
        name: Id of the finished expression that it belongs to.
    """

    number: int
    unit: int
    onset_s: float
    apex_s: float
    offset_s: float
    peak: float
    area: float = 0.0
    firm_s: float = 0.0
    left: float = 0.0
    right: float = 0.0
    below_since_s: float = math.nan
    closed: bool = False
    referenced: bool = False
    name: str = ""

    @property
    def duration_s(self) -> float:
        """Seconds from onset to the end, or so far."""
        return self.offset_s - self.onset_s

    @property
    def id(self) -> str:
        """The id of its expression, or the one that the expression will take."""
        return self.name or f"macro-{self.number}"

    def overlap(self, other: Activity) -> float:
        """Intersection over union of two activities in time."""
        inside = min(self.offset_s, other.offset_s) - max(self.onset_s, other.onset_s)
        union = max(self.offset_s, other.offset_s) - min(self.onset_s, other.onset_s)
        return max(0.0, inside) / union if union > 0.0 else 0.0


@dataclass(frozen=True)
class _Columns:
    unit: int
    both: int
    left: int
    right: int
    error: int


@dataclass
class _Level:
    """Last moment at which an AU was still neutral."""

    quiet_s: float = math.nan
    activity: Activity | None = field(default=None)


class MacroExpressions:
    """Finds macro-expressions in rows that arrive in order of time.

    Args:
        spec: The ActionUnits stream.
        settings: Thresholds.
        speech: Recent mouth movements, against which weak expressions of the mouth are checked.
    """

    def __init__(
        self, spec: StreamSpec, settings: MacroSettings | None = None, speech: Speech | None = None
    ) -> None:
        self.settings = settings or MacroSettings()
        self._speech = speech or Speech()
        labels = {label: column for column, label in enumerate(spec.labels)}
        self._head_speed = labels["head_speed"]
        self._columns = tuple(
            _Columns(
                unit,
                labels[f"AU{unit}"],
                labels.get(f"AU{unit}_left", -1),
                labels.get(f"AU{unit}_right", -1),
                labels[f"AU{unit}_se"],
            )
            for unit in EXPRESSIVE_UNITS + MOUTH_UNITS
            if f"AU{unit}" in labels
        )
        self.reset()

    def reset(self) -> None:
        """Forget the past; ids go on counting."""
        self._number = getattr(self, "_number", 0)
        self._levels = [_Level() for _ in self._columns]
        self._open: list[Activity] = []
        self._closed: list[Activity] = []
        self._recent: list[Activity] = []
        self._time_s = math.nan

    def step(self, time_s: float, row: Sequence[float] | None) -> list[FaceEvent]:
        """Take the row at `time_s` (None without a face) and return the expressions that are over."""
        on, off, edge, gap_s = self.settings.on, self.settings.off, self.settings.edge, self.settings.gap_s
        loose_on = self.settings.loose_on
        if row is not None and row[self._head_speed] > 0.0:  # not NaN
            loose_on *= 1.0 + row[self._head_speed] / self.settings.moving
        dt = min(time_s - self._time_s, 0.2) if time_s > self._time_s else 0.0
        self._time_s = time_s
        ended = False
        for columns, level in zip(self._columns, self._levels, strict=True):
            value = row[columns.both] if row is not None else 0.0
            activity = level.activity
            sure, enough = value, on
            if columns.unit in LOOSE_UNITS:
                enough = loose_on
                if row is not None and row[columns.error] > 0.0:  # not NaN
                    sure -= row[columns.error]
            if activity is None:
                if not value > edge:  # also NaN
                    level.quiet_s = time_s
                elif sure > enough:
                    start = level.quiet_s if time_s - level.quiet_s < 1.0 else time_s
                    self._number += 1
                    activity = Activity(self._number, columns.unit, start, time_s, time_s, value)
                    level.activity = activity
                    self._open.append(activity)
                continue
            if sure > enough:
                activity.firm_s += dt
            if value > activity.peak:
                activity.peak, activity.apex_s = value, time_s
            if value > edge and math.isnan(activity.below_since_s):
                activity.offset_s = time_s
            if sure > off:
                activity.offset_s = time_s
                activity.below_since_s = math.nan
                activity.area += value * dt
                if columns.left >= 0 and columns.right >= 0 and row is not None:
                    activity.left += max(0.0, row[columns.left]) * dt
                    activity.right += max(0.0, row[columns.right]) * dt
                continue
            if math.isnan(activity.below_since_s):
                activity.below_since_s = time_s
            if value > edge and time_s - activity.below_since_s < 2.0 * gap_s:
                activity.offset_s = time_s
            if time_s - activity.below_since_s >= gap_s:
                activity.closed = ended = True
                level.activity, level.quiet_s = None, time_s
        if ended:
            firm_s = self.settings.firm_s
            self._closed += [each for each in self._open if each.closed and each.firm_s >= firm_s]
            self._open = [activity for activity in self._open if not activity.closed]
        return self._finished(time_s) if self._closed else []

    def flush(self) -> list[FaceEvent]:
        """End of the recording: everything open ends now."""
        for activity in self._open:
            activity.closed = True
        self._closed += self._open
        self._open = []
        for level in self._levels:
            level.activity = None
        return self._finished(math.inf)

    def activities(self) -> list[Activity]:
        """Activities that are open, or were within the last seconds."""
        return self._open + self._closed + self._recent

    def _finished(self, time_s: float) -> list[FaceEvent]:
        events = []
        while self._closed:
            seed = max(
                self._closed, key=lambda each: (each.unit in EXPRESSIVE_UNITS, each.area, -each.number)
            )
            if time_s - seed.offset_s < 0.3 or any(
                self._belongs(self._with_end(other, time_s), seed) for other in self._open
            ):
                break
            members = [other for other in self._closed if other is seed or self._belongs(other, seed)]
            self._closed = [activity for activity in self._closed if activity not in members]
            if any(each.duration_s > MACRO_MINIMUM_S and each.unit in EXPRESSIVE_UNITS for each in members):
                if self._is_speech(seed, members):
                    continue
                event = self._event(seed, members)
                for member in members:
                    member.name = event.id
                likely = event.duration > MACRO_MINIMUM_S and event.confidence >= 0.5
                # Too short without its echoes, or too weak: told only if another event names it.
                if likely or any(member.referenced for member in members):
                    events.append(event)
                self._recent = [
                    each for each in self._recent if each.offset_s > seed.offset_s - 4.0
                ] + members
        return events

    def _belongs(self, other: Activity, seed: Activity) -> bool:
        """Whether an activity is of the same expression: simultaneous, or of one class and mostly inside."""
        if other.overlap(seed) >= self.settings.together:
            return True
        inside = min(other.offset_s, seed.offset_s) - max(other.onset_s, seed.onset_s)
        return inside >= 0.5 * other.duration_s and bool(_classes(other.unit) & _classes(seed.unit))

    def _is_speech(self, seed: Activity, members: list[Activity]) -> bool:
        """Weak activity of the mouth alone, most of the time of which the person spoke."""
        return (
            seed.area < self.settings.beyond_speech * seed.duration_s
            and seed.unit in _SPOKEN_UNITS
            and all(each.unit in _SPOKEN_UNITS or each.peak < seed.peak for each in members)
            and self._speech.share(seed.onset_s, seed.offset_s) > 0.4
        )

    @staticmethod
    def _with_end(activity: Activity, time_s: float) -> Activity:
        end = time_s if math.isfinite(time_s) else activity.offset_s
        return Activity(0, activity.unit, activity.onset_s, end, end, activity.peak)

    def _event(self, seed: Activity, members: list[Activity]) -> FaceEvent:
        named = [each for each in members if each.referenced] or [min(members, key=lambda each: each.number)]
        peaks = salient({each.unit: each.peak for each in members})
        members = [each for each in members if each.unit in peaks]
        left, right = sum(each.left for each in members), sum(each.right for each in members)
        asymmetry = (left - right) / (left + right) if left + right > 0.0 else 0.0
        side: Side = "both" if abs(asymmetry) < 0.6 else ("left" if asymmetry > 0 else "right")
        onset = min(each.onset_s for each in members)
        offset = max(each.offset_s for each in members)
        coding = code(peaks)
        level = seed.area / max(seed.duration_s, 1e-3)
        logit = 10.0 * (level - self.settings.off) + 2.0 * (seed.duration_s - MACRO_MINIMUM_S)
        ordered = sorted(peaks, key=lambda unit: -peaks[unit])
        return FaceEvent(
            onset=onset,
            duration=offset - onset,
            trial_type="macro_expression",
            apex=seed.apex_s,
            action_units=coding.action_units,
            side=side,
            asymmetry=asymmetry,
            category=coding.category,
            emotions=coding.emotions,
            muscles=main_muscles(ordered),
            nerve_branches=main_branches(ordered),
            confidence=confidence_of(logit),
            evidence_camera=logit,
            masked_by=self._mask_of(seed, onset, offset),
            id=named[0].id,
            explanation=explain_macro(ordered, side, offset - onset, coding.category),
        )

    def _mask_of(self, seed: Activity, onset: float, offset: float) -> str | None:
        for other in self._open + self._closed:
            if other.area > seed.area and other.onset_s <= onset and other.offset_s >= offset:
                other.referenced = True
                return other.id
        return None


def salient(peaks: Mapping[int, float], share: float = 0.3) -> dict[int, float]:
    """The AUs that count: within a share of the strongest, without echoes.

    A broad smile stretches lower lid, upper lip, dimple and chin along, and a mouth that drops open in
    surprise pulls at its corners; a frown or a squint lifts the cheek. Such AUs count only when they are
    stronger than what pulls them.
    """
    strongest = max((peak for unit, peak in peaks.items() if unit in EXPRESSIVE_UNITS), default=0.0)
    kept = {unit: peak for unit, peak in peaks.items() if peak >= share * strongest}
    smile, mouth = kept.get(12, 0.0), max((kept.get(unit, 0.0) for unit in (25, 26, 27)), default=0.0)
    frown = max(kept.get(unit, 0.0) for unit in (4, 7, 9, 15))
    if not smile and kept.get(6, 0.0) < 1.3 * frown:
        kept.pop(6, None)
    if smile:
        kept = {unit: peak for unit, peak in kept.items() if unit not in _SMILE_ECHOES or peak > 1.3 * smile}
    startled = max(kept.get(2, 0.0), kept.get(5, 0.0))
    if startled > smile and mouth > 0.5 * smile:
        kept = {unit: peak for unit, peak in kept.items() if unit not in _MOUTH_ECHOES or peak > startled}
    return kept


def _classes(unit: int) -> frozenset[str]:
    """Categories of the emotions that table 3 gives an AU."""
    return frozenset(CATEGORY_OF[name] for name in emotions_of(unit))


_SPOKEN_UNITS = LOWER_FACE_UNITS | {6}
_SMILE_ECHOES = frozenset({7, 10, 14, 16, 17, 20, 22, 23, 24})
_MOUTH_ECHOES = frozenset({10, 12, 14, 16, 20, 22, 23, 24})
