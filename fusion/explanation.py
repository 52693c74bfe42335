"""The words of an event: which muscles, which nerve branches, and why it was flagged, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.atlas import load_atlas, main_branch_of, muscles_of
from fusion.candidates import FAINT
from fusion.emg_evidence import MUSCLE_OF_PREFIX, EmgSupport, channel_parts
from processing.findings import Movement, Side

_MASK_NAMES = {12: "a smile", 6: "a smile", 4: "a frown", 1: "a brow raise", 2: "a brow raise"}


RELAXED_UNITS = frozenset({26})
"""AUs that their main muscles make by letting go: the jaw drops when masseter and temporalis relax (FACS)."""


@dataclass(frozen=True)
class Hiding:
    """The larger expression that a micro-expression hides in.

    Attributes:
        unit: Its leading action unit.
        follows: It began after the micro-expression and covers it.
    """

    unit: int
    follows: bool

    def __str__(self) -> str:
        where = "just before" if self.follows else "inside"
        return f"{where} {_MASK_NAMES.get(self.unit, f'an expression of AU{self.unit}')}"


def main_muscles(units: Sequence[int]) -> tuple[str, ...]:
    """All muscles of these AUs, main ones first, each once."""
    mains = [muscles_of(unit)[:1] for unit in units]
    rest = [muscles_of(unit)[1:] for unit in units]
    return tuple(dict.fromkeys(name for names in mains + rest for name in names))


def main_branches(units: Sequence[int]) -> tuple[str, ...]:
    """Branches of cranial nerve VII that drive these AUs' muscles, main ones first, each once."""
    atlas = load_atlas()
    mains = [main_branch_of(unit) for unit in units if muscles_of(unit)]
    rest = [name for muscle in main_muscles(units) for name in atlas.muscles[muscle].branches]
    return tuple(dict.fromkeys(name for name in mains + rest if atlas.branches[name].nerve == "CN VII"))


def named(unit: int, after: str = "") -> str:
    """Main muscle of an AU with its nerve, e.g. ``corrugator supercilii (temporal branch, AU4)``."""
    branch = load_atlas().branches[main_branch_of(unit)]
    nerve = f"{branch.name} branch" if branch.nerve == "CN VII" else branch.nerve
    return f"{muscles_of(unit)[0]}{after} ({nerve}, AU{unit})"


def join_words(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def explain_macro(units: Sequence[int], side: Side, duration_s: float, category: str) -> str:
    """One sentence on a macro-expression."""
    both = " on both sides" if side == "both" else ""
    known = [unit for unit in units if muscles_of(unit)]
    tense = join_words([named(unit) for unit in known if unit not in RELAXED_UNITS])
    slack = join_words([named(unit) for unit in known if unit in RELAXED_UNITS])
    verbs = [f"{muscles} {verb}" for muscles, verb in ((tense, "contracted"), (slack, "relaxed")) if muscles]
    return f"{_sided(side)}{' and '.join(verbs)}{both} for {duration_s:.1f} s: {category}"


def explain_micro(
    main: Movement,
    units: Sequence[int],
    side: Side,
    asymmetry: float,
    support: EmgSupport | None,
    vetoes: Sequence[str],
    hiding: Hiding | None,
    category: str,
) -> str:
    """One sentence on a micro-expression: muscle, branch, AU, duration, EMG, vetoes, mask and category."""
    duration_ms = 1000.0 * (main.offset_s - main.onset_s)
    if units:
        both = " on both sides" if side == "both" else ""
        text = f"{_sided(side)}{named(units[0], both)}"
    else:
        text = f"{main.region.replace('_', ' ')} ({main.side})"
    verb = "relaxed" if units and units[0] in RELAXED_UNITS else "contracted"
    text += f" {verb} for {duration_ms:.0f} ms"
    others = [f"{muscles_of(unit)[0]} (AU{unit})" for unit in units[1:] if muscles_of(unit)]
    if others:
        text += f" with {join_words(others)}"
    if support is not None and support.burst is not None:
        order = "earlier" if support.lead_s >= 0.0 else "later"
        heard = ""
        if support.neighbour:
            heard = f" heard over the {MUSCLE_OF_PREFIX[channel_parts(support.burst.channel)[0]]}"
        lead_ms = abs(1000.0 * support.lead_s)
        text += f", EMG burst{heard} {support.burst.peak_z:.1f} z {lead_ms:.0f} ms {order}"
    if tuple(vetoes) == FAINT:
        text += ", too faint for the picture alone, but its muscle was felt"
    elif vetoes:
        text += f", accepted for its EMG against the veto for {join_words(vetoes)}"
    if abs(asymmetry) >= 0.5:
        text += ", one-sided (a hint of involuntary movement)"
    if hiding is not None:
        return f"{text}, {hiding}: {category}, masked"
    return f"{text}: {category}"


def explain_sub_visible(unit: int, side: Side, duration_s: float, peak_z: float, category: str) -> str:
    """One sentence on a muscle that fired without visible movement."""
    both = " on both sides" if side == "both" else ""
    return (
        f"{_sided(side)}{named(unit, both)} fired for {1000.0 * duration_s:.0f} ms at {peak_z:.1f} z "
        f"without visible movement (sub-visible): {category}"
    )


def _sided(side: Side) -> str:
    return "" if side == "both" else f"{side} "
