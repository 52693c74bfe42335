"""The paper's coding rules: from action units to a category and the emotions they allow.

Section 7's seven rules, section 4's muscle groups and section 5's four categories. When two rules disagree
the coding is ``other`` and names both; nothing is resolved in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from fusion.atlas import load_atlas, muscles_of
from fusion.events import AllowedEmotion, Category
from fusion.tables import TABLE_3, emotions_of, equation_1
from processing.findings import Side

CATEGORY_OF: Mapping[str, Category] = {
    "happiness": "positive",
    "positive": "positive",
    "surprise": "surprise",
    "anger": "negative",
    "fear": "negative",
    "disgust": "negative",
    "sadness": "negative",
    "negative": "negative",
}
"""Section 5: happiness is positive; disgust, sadness, fear and anger are negative; surprise is neither."""


@dataclass(frozen=True)
class Rule:
    """One way to fire one of section 7's seven rules.

    Attributes:
        number: 1-7.
        needs: All of these AUs must be present.
        emotion: What may then be coded.
        text: The paper's words, shortened.
    """

    number: int
    needs: frozenset[int]
    emotion: str
    text: str


def _rule(number: int, needs: tuple[int, ...], emotion: str, text: str) -> Rule:
    return Rule(number, frozenset(needs), emotion, text)


RULES: tuple[Rule, ...] = (
    _rule(1, (12,), "happiness", "lip corners pulled up (AU12): positive, happy"),
    _rule(1, (6,), "happiness", "cheek raise (AU6) is specific to happiness: positive"),
    _rule(1, (28,), "happiness", "lip suck (AU28) is specific to happiness: positive"),
    _rule(2, (2,), "surprise", "brow raise (AU2): surprise"),
    _rule(3, (4,), "negative", "frown (AU4): a negative emotion"),
    _rule(4, (16,), "anger", "gnashing (AU16), only in anger"),
    _rule(4, (22,), "anger", "gnashing (AU22), only in anger"),
    _rule(4, (23,), "anger", "gnashing (AU23), only in anger"),
    _rule(5, (1, 4, 5, 25), "fear", "brows (AU1+4), eyes (AU5) and mouth (AU25) together: fear"),
    _rule(6, (7,), "disgust", "lower eyelid raise (AU7), specific to disgust"),
    _rule(6, (24,), "disgust", "mouth tightly closed (AU24), specific to disgust"),
    _rule(7, (4, 5), "sadness", "frown (AU4) with eyes wide open (AU5): sad"),
    _rule(7, (43,), "sadness", "eyes closed (AU43), specific to sadness"),
)
"""Section 7, points 1 to 7."""


@dataclass(frozen=True)
class MuscleGroup:
    """A set of muscles that section 4 ties to an emotion.

    Attributes:
        emotion: What it classifies.
        muscles: Muscle groups of the atlas, all of which must be active.
        any_of: If not empty, at least one of these AUs must be present too.
        section: Where the paper says so.
    """

    emotion: str
    muscles: tuple[str, ...]
    any_of: frozenset[int]
    section: str


MUSCLE_GROUPS: tuple[MuscleGroup, ...] = (
    MuscleGroup("positive", ("zygomaticus",), frozenset(), "4.1"),
    MuscleGroup("negative", ("corrugator supercilii",), frozenset(), "4.1"),
    MuscleGroup("sadness", ("corrugator supercilii", "depressor anguli oris"), frozenset(), "4.2.1"),
    MuscleGroup(
        "fear",
        ("corrugator supercilii", "frontalis", "orbicularis oculi", "depressor anguli oris"),
        frozenset(),
        "4.2.2",
    ),
    MuscleGroup(
        "surprise", ("corrugator supercilii", "orbicularis oculi", "frontalis"), frozenset({2, 4, 5}), "4.3"
    ),
)

_WIDE_EYES = 5
"""Section 4.3 gives widened eyes to orbicularis oculi; FACS, and so the atlas, to the levator of the lid."""


@dataclass(frozen=True)
class Verdict:
    """What one source says about the AUs.

    Attributes:
        source: ``rule 3`` or ``table 3``.
        says: Emotion, or ``positive`` / ``negative``; of a table the emotions joined by ``or``.
        category: Its class.
        action_units: The AUs it rests on.
    """

    source: str
    says: str
    category: Category
    action_units: tuple[int, ...]

    def __str__(self) -> str:
        units = "+".join(map(str, self.action_units))
        return f"{self.source} (AU{units}: {self.says})"


@dataclass(frozen=True)
class Conflict:
    """Two sources that cannot both be right, and on what they differ."""

    first: Verdict
    second: Verdict
    reason: str

    def __str__(self) -> str:
        return f"{self.first} against {self.second}: {self.reason}"


@dataclass(frozen=True)
class Coding:
    """The paper's coding of a set of AUs.

    Attributes:
        category: Section 5's class. ``other`` when the sources disagree or none speaks.
        emotions: Allowed by section 7, with the rule.
        conflicts: Every disagreement between rules, or between a rule and table 3.
        exclusive: Emotions that equation 1 ties to an AU alone (e.g. AU20: fear), with that AU.
        muscle_groups: Section 4's groups that are active.
        action_units: What was coded, ascending.
        side, asymmetry: Of the AUs together; asymmetry is (left - right) / (left + right).
    """

    category: Category
    emotions: tuple[AllowedEmotion, ...]
    conflicts: tuple[Conflict, ...]
    exclusive: tuple[tuple[str, int], ...]
    muscle_groups: tuple[MuscleGroup, ...]
    action_units: tuple[int, ...]
    side: Side = "both"
    asymmetry: float = 0.0


def code(
    action_units: Iterable[int] | Mapping[int, float],
    sides: Mapping[int, Side] | None = None,
    threshold: float = 0.0,
) -> Coding:
    """Code a set of action units by the paper's rules.

    Args:
        action_units: AU numbers, or AU -> intensity 0-1.
        sides: AU -> the subject's side it is on; without an entry it is on both.
        threshold: An AU with an intensity at or below this is absent.

    Returns:
        The coding. Rules speak first; where none does, the AUs that table 3 gives to one category only do
        (AU9, AU10: anger or disgust, hence negative).
    """
    if isinstance(action_units, Mapping):
        weights = {unit: value for unit, value in action_units.items() if value > threshold}
    else:
        weights = dict.fromkeys(action_units, 1.0)
    present = frozenset(weights)

    fired = [rule for rule in RULES if rule.needs <= present]
    emotions = tuple(dict.fromkeys(AllowedEmotion(rule.emotion, rule.number) for rule in fired))
    verdicts = [_verdict_of_rule(rule) for rule in fired]
    verdicts += _verdicts_of_table(present, covered=frozenset().union(*(rule.needs for rule in fired)))
    conflicts = _conflicts(verdicts)

    categories = {verdict.category for verdict in verdicts}
    category = categories.pop() if len(categories) == 1 else "other"
    side, asymmetry = _side_of(weights, sides or {})
    return Coding(
        category=category,
        emotions=emotions,
        conflicts=conflicts,
        exclusive=tuple(
            (emotion, unit) for emotion in TABLE_3 for unit in sorted(equation_1(emotion).exclusive & present)
        ),
        muscle_groups=active_muscle_groups(present),
        action_units=tuple(sorted(present)),
        side=side,
        asymmetry=asymmetry,
    )


def active_muscle_groups(action_units: Iterable[int]) -> tuple[MuscleGroup, ...]:
    """Section 4's muscle groups that are wholly active when these AUs are present."""
    present = frozenset(action_units)
    atlas = load_atlas()
    active = {atlas.muscles[name].group for unit in present for name in muscles_of(unit)}
    if _WIDE_EYES in present:
        active.add("orbicularis oculi")
    return tuple(
        group
        for group in MUSCLE_GROUPS
        if active.issuperset(group.muscles) and (not group.any_of or group.any_of & present)
    )


def _verdict_of_rule(rule: Rule) -> Verdict:
    units = tuple(sorted(rule.needs))
    return Verdict(f"rule {rule.number}", rule.emotion, CATEGORY_OF[rule.emotion], units)


def _verdicts_of_table(present: frozenset[int], covered: frozenset[int]) -> list[Verdict]:
    verdicts = []
    for unit in sorted(present - covered):
        names = emotions_of(unit)
        categories = {CATEGORY_OF[name] for name in names}
        if len(categories) == 1:
            verdicts.append(Verdict("table 3", " or ".join(names), categories.pop(), (unit,)))
    return verdicts


def _conflicts(verdicts: list[Verdict]) -> tuple[Conflict, ...]:
    conflicts = []
    for first, second in combinations(verdicts, 2):
        if first.category != second.category:
            reason = f"{first.category} or {second.category}"
            conflicts.append(Conflict(first, second, reason))
        elif _specific(first) and _specific(second) and first.says != second.says:
            conflicts.append(Conflict(first, second, f"{first.says} or {second.says}"))
    for verdict in verdicts:
        # The paper differs from itself: a rule rests on an AU that table 3 does not give its emotion.
        strange = [unit for unit in verdict.action_units if unit not in TABLE_3.get(verdict.says, (unit,))]
        if verdict.source != "table 3" and strange:
            own = Verdict("table 3", " or ".join(emotions_of(strange[0])), "other", (strange[0],))
            conflicts.append(Conflict(verdict, own, f"table 3 lists no AU{strange[0]} for {verdict.says}"))
    return tuple(conflicts)


def _specific(verdict: Verdict) -> bool:
    return verdict.says in TABLE_3


def _side_of(weights: Mapping[int, float], sides: Mapping[int, Side]) -> tuple[Side, float]:
    left = sum(weight for unit, weight in weights.items() if sides.get(unit, "both") != "right")
    right = sum(weight for unit, weight in weights.items() if sides.get(unit, "both") != "left")
    if left + right <= 0:
        return "both", 0.0
    if right <= 0:
        return "left", 1.0
    if left <= 0:
        return "right", -1.0
    return "both", (left - right) / (left + right)
