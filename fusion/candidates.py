"""Movements that began together, on the way to becoming one event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from processing.findings import Movement, Side

MICRO_TOTAL_S = 0.5
MICRO_ONSET_TO_APEX_S = 0.26
STRICT_S = (0.04, 0.2)
"""Durations: total, and onset to apex (Yan et al., 2013); the paper's strict 1/25-1/5 s."""

TOTAL_ERROR_S = 0.04
"""By this much a movement of half a second may be measured too long: its ends are flat, and known to about a
frame each."""


FAINT = ("faint",)
"""Vetoes of a movement too small to be told by itself: none in truth, its ratio says how doubtful it is."""


@dataclass
class Candidate:
    """Movements that began together and are not decided yet."""

    members: list[Movement] = field(default_factory=list)

    @property
    def strongest(self) -> Movement:
        """The movement with the most evidence; one without vetoes if there is one."""
        return max(self.members, key=lambda each: (not each.vetoes, each.log_likelihood_ratio, -each.id))

    @property
    def offset_s(self) -> float:
        """When the last of them ended."""
        return max(each.offset_s for each in self.members)

    @property
    def found_s(self) -> float:
        """When the last of them was found."""
        return max(each.found_s for each in self.members)

    @property
    def faint(self) -> bool:
        """Whether none of them can be told by itself."""
        return all(each.vetoes == FAINT for each in self.members)

    @property
    def clarity(self) -> tuple[int, float]:
        """Orders candidates: one with a clear movement, one vetoed, one all faint; then by evidence."""
        strongest = self.strongest
        rank = 0 if self.faint else 1 if strongest.vetoes else 2
        return rank, strongest.log_likelihood_ratio

    @property
    def clear(self) -> bool:
        """Whether nothing speaks against one of them."""
        return any(not each.vetoes for each in self.members)

    def nears(self, other: Candidate, within_s: float) -> bool:
        """Whether the strongest movements of both overlap, or nearly so."""
        first, second = self.strongest, other.strongest
        return first.onset_s < second.offset_s + within_s and second.onset_s < first.offset_s + within_s

    def withdraws(self, movement: Movement) -> bool:
        """Put a movement that comes again, withdrawn or acquitted, in the place of its first verdict."""
        for index, each in enumerate(self.members):
            if each.id == movement.id:
                self.members[index] = movement
                return True
        return False

    def takes(self, movement: Movement, together_s: float) -> bool:
        """Whether a movement began together with one of these and overlaps it."""
        return any(
            abs(each.onset_s - movement.onset_s) <= together_s
            and each.onset_s < movement.offset_s
            and movement.onset_s < each.offset_s
            for each in self.members
        )


def duration_criteria(total_s: float, rise_s: float) -> tuple[str, ...]:
    """Which definitions of a micro-expression's duration hold; empty for a macro-expression.

    Args:
        total_s: From onset to offset.
        rise_s: From onset to apex.
    """
    tolerance = 1e-9  # frame stamps at 20 fps make exactly 500 ms
    criteria = []
    if total_s <= MICRO_TOTAL_S + TOTAL_ERROR_S + tolerance:
        criteria.append("total<=500ms")
    if rise_s <= MICRO_ONSET_TO_APEX_S + tolerance:
        criteria.append("onset-apex<=260ms")
    if criteria and STRICT_S[0] - tolerance <= total_s <= STRICT_S[1] + tolerance:
        criteria.append("strict 40-200ms")
    return tuple(criteria)


def ended(movement: Movement, end_s: float) -> Movement:
    """A provisional movement as if it had ended at `end_s`."""
    return replace(
        movement,
        offset_s=max(end_s, movement.apex_s),
        found_s=max(end_s, movement.found_s),
        provisional=False,
    )


def side_of(members: Sequence[Movement]) -> tuple[Side, float]:
    """Side and asymmetry of movements together, weighted by their amplitude."""
    paired = [each for each in members if each.side != "both" or each.asymmetry != 0.0]
    sides = {each.side for each in members if each.side != "both"}
    side: Side = "both"
    if len(sides) == 1 and all(each.side != "both" or each.asymmetry == 0.0 for each in members):
        side = next(iter(sides))
    total = sum(each.amplitude_px for each in paired)
    if total <= 0.0:
        return side, asymmetry_of(side)
    return side, max(-1.0, min(1.0, sum(each.amplitude_px * each.asymmetry for each in paired) / total))


def asymmetry_of(side: Side) -> float:
    """Asymmetry of something that happens on that side alone."""
    return {"left": 1.0, "right": -1.0, "both": 0.0}[side]
