"""How well fusion does on simulated sessions: valence, micro-expressions, explanations, confidence, cost.

Every session is rendered and measured once (`zygoma.bench.scenario`) and fused with all modalities and with
any one of them missing. The sessions' seeds are none of those that settings were chosen on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from fusion.atlas import main_branch_of, muscles_of
from fusion.emg_evidence import LEAD_S
from fusion.events import FaceEvent
from fusion.sub_visible import twitch_of
from hardware.simulated import ScriptedEvent
from zygoma.bench.reliability_figure import reliability_figure
from zygoma.bench.scenario import CONDITIONS, MODALITIES, START_S, Outcome, Session, fused, session
from zygoma.options import errors

SEEDS = (901, 902, 903, 904)
LENGTH_S = 60.0
EXPRESSION_ON = 0.5
"""Share of a macro-expression's own peak above which its valence must have the right sign."""

MINIMUM_IOU = 0.5
"""MEGC scoring: a candidate is right when it overlaps a scripted one by this intersection over union."""

INTERVAL = 1.96
BIN_EDGES = (0.5, 0.7, 0.8, 0.9, 0.97, 1.0)


@dataclass(frozen=True)
class ValenceScore:
    """Valence over some sessions.

    Attributes:
        sign_right: Share of positive and negative macro-expression time with the right sign.
        coverage, coverage_in_expressions: Share of rows whose 95 % interval holds the truth; of all, and of
            those during macro-expressions.
        error: Root mean square error.
        disgust_positive: Rows of disgust (above half its peak) whose valence is above zero.
    """

    sign_right: float
    coverage: float
    coverage_in_expressions: float
    error: float
    disgust_positive: int


def score_valence(outcomes: Sequence[Outcome]) -> ValenceScore:
    """Valence and its intervals against the script."""
    columns = [_against_script(outcome) for outcome in outcomes]
    error, covered, inside, signed, right, disgust = (
        np.concatenate(each) for each in zip(*columns, strict=True)
    )
    return ValenceScore(
        sign_right=_share(right[signed]),
        coverage=_share(covered),
        coverage_in_expressions=_share(covered[inside]),
        error=float(np.sqrt(np.mean(error**2))),
        disgust_positive=int(np.count_nonzero(disgust)),
    )


def _against_script(outcome: Outcome) -> tuple[NDArray[Any], ...]:
    """Error; whether covered, in a macro-expression, of known sign, of right sign, positive disgust."""
    t, valence = outcome.times_s, outcome.valence
    error = valence - outcome.session.scenario.valence(t)
    inside, signed, right, disgust = (np.zeros(len(t), dtype=bool) for _ in range(4))
    for event in outcome.session.scenario.events:
        if event.trial_type != "macro_expression":
            continue
        within = (t >= event.onset_s) & (t <= event.offset_s)
        inside |= within
        if event.category in ("positive", "negative"):
            shown = within & (event.envelope(t) >= EXPRESSION_ON)
            signed |= shown
            right |= shown & (np.sign(valence) == np.sign(event.valence))
            disgust |= shown & (valence > 0.0) & (event.emotion == "disgust")
    covered = np.abs(error) < INTERVAL * outcome.standard_error
    return error, covered, inside, signed, right, disgust


def _share(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


@dataclass(frozen=True)
class Spotted:
    """Candidates against scripted micro-expressions.

    Attributes:
        hits: Pairs of truth and candidate.
        false, missed: What has no partner.
    """

    hits: tuple[tuple[ScriptedEvent, FaceEvent], ...]
    false: tuple[FaceEvent, ...]
    missed: tuple[ScriptedEvent, ...]

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN when there was nothing to find and nothing found."""
        total = 2 * len(self.hits) + len(self.false) + len(self.missed)
        return 2 * len(self.hits) / total if total else float("nan")

    @property
    def right_muscle(self) -> float:
        """Share of the hits whose first muscle and first branch belong to an AU of the script."""
        return float(np.mean([_named_right(*pair) for pair in self.hits])) if self.hits else float("nan")


def spotted(pairs: Iterable[tuple[Session, Sequence[FaceEvent]]]) -> Spotted:
    """Match the candidates of several sessions, best overlap first, each used once."""
    hits: list[tuple[ScriptedEvent, FaceEvent]] = []
    false: list[FaceEvent] = []
    missed: list[ScriptedEvent] = []
    for of, candidates in pairs:
        truth = [event for event in of.scenario.events if event.trial_type == "micro_expression"]
        overlaps = sorted(
            ((_iou(e, c), i, j) for i, e in enumerate(truth) for j, c in enumerate(candidates)), reverse=True
        )
        used_truth: set[int] = set()
        used: set[int] = set()
        for iou, i, j in overlaps:
            if iou >= MINIMUM_IOU and i not in used_truth and j not in used:
                used_truth.add(i)
                used.add(j)
                hits.append((truth[i], candidates[j]))
        false += [each for j, each in enumerate(candidates) if j not in used]
        missed += [each for i, each in enumerate(truth) if i not in used_truth]
    return Spotted(tuple(hits), tuple(false), tuple(missed))


def emg_candidates(of: Session) -> list[FaceEvent]:
    """What EMG alone would propose: short bursts of a muscle that was quiet around them.

    They are dated to the movement they should cause, one electromechanical delay later.
    """
    found = {}
    for burst in of.bursts:
        twitch = twitch_of(burst, of.bursts)
        if twitch is not None:
            length_s = twitch.offset_s - twitch.onset_s
            onset_s, apex_s = twitch.onset_s + LEAD_S, twitch.main.peak_s + LEAD_S
            event = FaceEvent(onset_s, length_s, "micro_expression", apex_s)
            found[twitch.onset_s, twitch.unit] = event
    return list(found.values())


def _iou(event: ScriptedEvent, candidate: FaceEvent) -> float:
    onset, offset = candidate.onset - START_S, candidate.offset - START_S
    overlap = min(event.offset_s, offset) - max(event.onset_s, onset)
    union = max(event.offset_s, offset) - min(event.onset_s, onset)
    return max(overlap, 0.0) / union


def _named_right(truth: ScriptedEvent, candidate: FaceEvent) -> bool:
    muscles = {muscles_of(unit)[0] for unit in truth.action_units}
    branches = {main_branch_of(unit) for unit in truth.action_units}
    # Only branches of the facial nerve are listed; the eyelid's has another nerve.
    branch_right = not candidate.nerve_branches or bool(branches & {*candidate.nerve_branches})
    return bool(candidate.muscles) and candidate.muscles[0] in muscles and branch_right


@dataclass(frozen=True)
class Calibration:
    """Is confidence the share of candidates that are true?

    Attributes:
        bins: (mean confidence, share true, candidates) of each occupied bin.
        ece: Expected calibration error: their mean distance, weighted by the candidates.
    """

    bins: tuple[tuple[float, float, int], ...]
    ece: float


def calibration(result: Spotted) -> Calibration:
    """Reliability of the confidences of all candidates."""
    sure = np.array([event.confidence for _, event in result.hits] + [e.confidence for e in result.false])
    true = np.array([1.0] * len(result.hits) + [0.0] * len(result.false))
    bins, distance = [], 0.0
    which = np.digitize(sure, BIN_EDGES[1:-1])
    for number in range(len(BIN_EDGES) - 1):
        inside = which == number
        if inside.any():
            mean, share, count = float(sure[inside].mean()), float(true[inside].mean()), int(inside.sum())
            bins.append((mean, share, count))
            distance += count * abs(mean - share)
    return Calibration(tuple(bins), distance / max(len(sure), 1))


def run(*, quick: bool = False, svg: Path | None = None) -> dict[str, object]:
    """Play the sessions, print the tables, return their figures.

    Args:
        quick: One shorter session per condition.
        svg: Where to draw the reliability diagram of the confidences.
    """
    plan = [(condition, seed) for condition in CONDITIONS for seed in (SEEDS[:1] if quick else SEEDS)]
    length_s = 40.0 if quick else LENGTH_S
    hidden = not errors.is_terminal
    sessions = [
        session(condition, seed, length_s)
        for condition, seed in track(plan, "Rendering sessions", console=errors, disable=hidden)
    ]
    return report(sessions, svg)


def report(sessions: Sequence[Session], svg: Path | None = None) -> dict[str, object]:
    """Fuse the sessions in every way, print the tables and return their figures."""
    outcomes = {name: [fused(each, kinds) for each in sessions] for name, kinds in MODALITIES.items()}
    values = {name: score_valence(each) for name, each in outcomes.items()}
    table = Table(title="Valence on simulated sessions", title_justify="left")
    for heading in ("", "sign right", "95 % intervals hold", "in expressions", "error", "disgust > 0"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, value in values.items():
        shares = (value.sign_right, value.coverage, value.coverage_in_expressions)
        table.add_row(
            name,
            *(f"{100 * share:.1f} %" for share in shares),
            f"{value.error:.3f}",
            str(value.disgust_positive),
        )
    errors.print(table)

    spotting: dict[str, dict[str, float]] = {}
    table = Table(title="Micro-expressions, F1 at IoU >= 0.5", title_justify="left")
    for heading in ("", "fused", "camera alone", "EMG alone", "true", "false", "missed", "right muscle"):
        table.add_column(heading, justify="left" if not heading else "right")
    for condition in CONDITIONS:
        mine = [i for i, each in enumerate(sessions) if each.condition == condition.name]
        if not mine:
            continue
        both = spotted((sessions[i], outcomes["all"][i].micro) for i in mine)
        seen = spotted((sessions[i], outcomes["no EMG"][i].micro) for i in mine)
        felt = spotted((sessions[i], emg_candidates(sessions[i])) for i in mine)
        spotting[condition.name] = {
            "f1": both.f1,
            "f1_camera": seen.f1,
            "f1_emg": felt.f1,
            "true": len(both.hits),
            "false": len(both.false),
            "missed": len(both.missed),
            "right_muscle": both.right_muscle,
        }
        table.add_row(
            condition.name,
            *(f"{each.f1:.3f}" for each in (both, seen, felt)),
            *(str(len(each)) for each in (both.hits, both.false, both.missed)),
            f"{100 * both.right_muscle:.0f} %",
        )
    errors.print(table)
    errors.print("; ".join(f"{each.name}: {each.words}" for each in CONDITIONS) + ".", highlight=False)

    every = spotted((each.session, each.micro) for each in outcomes["all"])
    reliability = calibration(every)
    cost_ms = float(np.mean([each.cost_ms for each in outcomes["all"]]))
    errors.print(
        f"Confidence: expected calibration error {reliability.ece:.3f} over "
        f"{len(every.hits) + len(every.false)} candidates. Right muscle and branch named in "
        f"{100 * every.right_muscle:.1f} % of {len(every.hits)} true ones. {cost_ms:.2f} ms per frame.",
        highlight=False,
    )
    if svg is not None:
        svg.write_text(reliability_figure(reliability.bins, reliability.ece), encoding="utf-8")
    return {
        "valence": {name: dict(vars(value)) for name, value in values.items()},
        "micro": spotting,
        "right_muscle": every.right_muscle,
        "ece": reliability.ece,
        "reliability": [list(each) for each in reliability.bins],
        "cost_ms_per_frame": cost_ms,
    }
