"""Section 5's emotion label: what the face did, what the material was to elicit, what the person reported.

The paper asks for all three. This module sets them side by side, says where they agree and where not, and
gives a final label with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fusion.events import Category
from fusion.rules import CATEGORY_OF, Coding
from fusion.tables import TABLE_3

Condition = Literal["AU label", "elicitation", "self-report"]

HABITUAL = frozenset({"blink", "sniff", "speech", "gaze", "head", "swallow"})
"""Habitual behaviour whose influence section 5 says to eliminate, by the names of vetoes."""


@dataclass(frozen=True)
class Opinion:
    """What one condition says.

    Attributes:
        condition: One of the three.
        emotions: Emotions it allows; empty when it names none.
        category: Its class, None when the condition is missing.
        detail: Where that comes from.
    """

    condition: Condition
    emotions: tuple[str, ...]
    category: Category | None
    detail: str


@dataclass(frozen=True)
class EmotionLabel:
    """The three conditions in one record, and what follows.

    Attributes:
        opinions: AU label, elicitation, self-report, in this order.
        category: Final class (section 5's four).
        emotion: Final emotion if one is left, else None.
        agreement: How many of the present conditions share the final class.
        present: How many conditions are present.
        conflicts: Disagreements between conditions, and those between coding rules.
        reason: Why the final label is what it is, in one sentence.
    """

    opinions: tuple[Opinion, ...]
    category: Category
    emotion: str | None
    agreement: int
    present: int
    conflicts: tuple[str, ...]
    reason: str


def label(
    coding: Coding,
    elicited: str | None = None,
    reported: str | Sequence[str] | None = None,
    habitual: Sequence[str] = (),
) -> EmotionLabel:
    """Combine the three conditions of section 5.

    The face has the first word: a movement is never given a class that its AUs contradict. Material and
    self-report decide where the AUs are ambiguous, and confirm or question them where they are not.

    Args:
        coding: The AU label.
        elicited: Emotion, ``positive``, ``negative`` or ``neutral`` that the material was chosen to elicit.
        reported: What the person said to have felt, likewise; several are possible.
        habitual: Habitual behaviour at that moment (``blink``, ``sniff`` ...): the AU label then counts for
            nothing.

    Raises:
        ValueError: Neither one of the six emotions nor ``positive``, ``negative``, ``neutral`` or ``other``.
    """
    face = _face_opinion(coding, habitual)
    material = _opinion("elicitation", () if elicited is None else (elicited,))
    words = () if reported is None else ((reported,) if isinstance(reported, str) else tuple(reported))
    report = _opinion("self-report", words)
    opinions = (face, material, report)
    present = [each for each in opinions if each.category is not None]
    conflicts = [
        f"{first.condition} says {first.category}, {second.condition} says {second.category}"
        for i, first in enumerate(present)
        for second in present[i + 1 :]
        if first.category != second.category
    ]
    conflicts += [str(conflict) for conflict in coding.conflicts]
    category, reason = _category(face, material, report)
    emotion = _emotion(category, present)
    agreeing = sum(each.category == category for each in present)
    return EmotionLabel(opinions, category, emotion, agreeing, len(present), tuple(conflicts), reason)


def _face_opinion(coding: Coding, habitual: Sequence[str]) -> Opinion:
    found = [name for name in habitual if name in HABITUAL]
    if found:
        return Opinion("AU label", (), None, f"set aside: habitual behaviour ({', '.join(found)})")
    if not coding.action_units:
        return Opinion("AU label", (), None, "no action units")
    specific = [each.name for each in coding.emotions if each.name in TABLE_3]
    specific += [name for name, _ in coding.exclusive]
    units = "+".join(map(str, coding.action_units))
    return Opinion("AU label", tuple(dict.fromkeys(specific)), coding.category, f"AU{units}")


def _opinion(condition: Condition, words: Sequence[str]) -> Opinion:
    names = [word.strip().lower() for word in words if word.strip()]
    if not names:
        return Opinion(condition, (), None, "missing")
    known = {**CATEGORY_OF, "neutral": "other", "other": "other"}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not an emotion; use one of {', '.join(known)}")
    categories: set[Category] = {known[name] for name in names}
    category: Category = categories.pop() if len(categories) == 1 else "other"
    return Opinion(condition, tuple(name for name in names if name in TABLE_3), category, ", ".join(names))


def _category(face: Opinion, material: Opinion, report: Opinion) -> tuple[Category, str]:
    context = [each for each in (material, report) if each.category not in (None, "other")]
    classes = {each.category for each in context}
    names = " and ".join(each.condition for each in context)
    if face.category is None:
        return "other", f"the AU label is missing ({face.detail}), so nothing on the face carries an emotion"
    if face.category == "other":
        if len(classes) == 1:
            category = context[0].category or "other"
            return category, f"{face.detail} alone is ambiguous; {names} decide for {category}"
        return "other", f"{face.detail} is ambiguous and the other conditions do not decide"
    if not context:
        return face.category, f"{face.detail} is {face.category}; the other conditions say nothing"
    if face.category in classes:
        agreeing = [each.condition for each in context if each.category == face.category]
        return face.category, f"{face.detail} is {face.category}, and so is {' and '.join(agreeing)}"
    if len(context) == 2:
        return "other", f"{face.detail} is {face.category}, but {names} contradict it"
    return face.category, f"{face.detail} is {face.category}; {names} alone does not outweigh it"


def _emotion(category: Category, present: Sequence[Opinion]) -> str | None:
    """The emotion of that class that most conditions name; None on a tie or without one."""
    votes: dict[str, int] = {}
    for opinion in present:
        for name in opinion.emotions:
            if CATEGORY_OF[name] == category:
                votes[name] = votes.get(name, 0) + 1
    if not votes:
        return None
    most = max(votes.values())
    best = [name for name, count in votes.items() if count == most]
    return best[0] if len(best) == 1 else None
