"""How well the fused output matches the script of the simulated person, over sessions with all modalities.

Three things are scored: the sign of valence while a macro-expression is on, fused micro-expressions
(MEGC scoring: a candidate is right when its interval overlaps a scripted one with IoU >= 0.5), and false
candidates while nothing but blinks, head sway and speech happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from acquisition.stream import Block, Kind
from fusion.events import FaceEvent
from hardware.simulated import Scenario, ScriptedEvent
from processing.camera import Faces
from zygoma.options import errors
from zygoma.pipeline import Pipeline
from zygoma.simulation import simulated_blocks

CAMERA_RATE_HZ = 60.0
START_S = 1000.0
EXPRESSION_ON = 0.5
"""Share of a macro-expression's own peak above which its valence must be right."""

MINIMUM_IOU = 0.5
SEEDS = (101, 102, 103)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the pipeline said about one scenario; times are seconds from the scenario's start."""

    scenario: Scenario
    times_s: NDArray[np.float64]
    valence: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    events: tuple[FaceEvent, ...]


def play(
    scenario: Scenario,
    *,
    camera_rate_hz: float = CAMERA_RATE_HZ,
    kinds: Sequence[Kind] = (Kind.CAMERA, Kind.EMG, Kind.THERMAL),
    seed: int = 0,
) -> Outcome:
    """Run the pipeline over a scenario through the JPEGs, samples and temperatures of its devices."""
    names = {Kind.CAMERA: "camera", Kind.EMG: "emg", Kind.THERMAL: "thermal"}
    blocks = [
        block
        for kind in kinds
        for block in simulated_blocks(
            names[kind],
            scenario,
            start_s=START_S,
            rate_hz=camera_rate_hz if kind is Kind.CAMERA else None,
            seed=seed,
        )
    ]
    blocks.sort(key=lambda block: float(block.timestamps[-1]))
    pipeline = Pipeline({block.spec.kind: block.spec for block in blocks})
    alive = frozenset(kinds)
    rows: list[Block] = []
    events: list[FaceEvent] = []
    for block in blocks:
        faces: Faces | None = None
        if block.spec.kind is Kind.CAMERA:
            faces = pipeline.face(block)
        elif block.spec.kind is Kind.EMG:
            pipeline.emg(block)
        else:
            pipeline.thermal(block)
        fused = pipeline.drain(alive)
        if faces is not None:
            pipeline.follow(faces)
        rows.append(fused.valence)
        events += fused.events
    fused = pipeline.drain(frozenset(), flush=True)
    rows.append(fused.valence)
    events += fused.events
    pipeline.close()
    rows = [row for row in rows if len(row)]
    return Outcome(
        scenario,
        np.concatenate([row.timestamps for row in rows]) - START_S,
        np.concatenate([row.column("valence") for row in rows]).astype(np.float64),
        np.concatenate([row.column("standard_error") for row in rows]).astype(np.float64),
        tuple(events),
    )


def valence_sign_share(outcome: Outcome) -> tuple[float, float]:
    """Share of macro-expression time in which valence has the scripted sign, and that time in seconds.

    Counted while the expression is above `EXPRESSION_ON` of its peak; surprise has no sign and is left out.
    """
    right = total = 0
    for event in outcome.scenario.events:
        if event.trial_type != "macro_expression" or event.category not in ("positive", "negative"):
            continue
        within = (outcome.times_s >= event.onset_s) & (outcome.times_s <= event.offset_s)
        within &= event.envelope(outcome.times_s) >= EXPRESSION_ON
        right += int(np.count_nonzero(np.sign(outcome.valence[within]) == np.sign(event.valence)))
        total += int(np.count_nonzero(within))
    return (right / total if total else float("nan")), total / CAMERA_RATE_HZ


def match(truth: Sequence[ScriptedEvent], found: Sequence[FaceEvent]) -> tuple[int, int, int]:
    """True positives, false positives and false negatives at IoU >= 0.5; each event is used once."""
    free = list(found)
    hits = 0
    for event in truth:
        best = max(free, key=lambda candidate: _iou(event, candidate), default=None)
        if best is not None and _iou(event, best) >= MINIMUM_IOU:
            free.remove(best)
            hits += 1
    return hits, len(free), len(truth) - hits


def _iou(event: ScriptedEvent, candidate: FaceEvent) -> float:
    onset, offset = candidate.onset - START_S, candidate.offset - START_S
    overlap = min(event.offset_s, offset) - max(event.onset_s, onset)
    union = max(event.offset_s, offset) - min(event.onset_s, onset)
    return max(overlap, 0.0) / union


def micro(events: Sequence[FaceEvent]) -> list[FaceEvent]:
    """The micro-expression candidates among `events`."""
    return [event for event in events if event.trial_type == "micro_expression"]


def run(*, quick: bool = False) -> dict[str, object]:
    """Play the scenarios, print a table, return its figures."""
    seeds = SEEDS[:1] if quick else SEEDS
    table = Table(title=f"Fused output against the script, {CAMERA_RATE_HZ:g} frames/s, all modalities")
    for heading in ("what", "figure", "over"):
        table.add_column(heading)
    right = seconds = 0.0
    hits = extra = missed = 0
    for seed in seeds:
        outcome = play(Scenario.demo(seed=seed, duration_s=60.0), seed=seed)
        share, length_s = valence_sign_share(outcome)
        right, seconds = right + share * length_s, seconds + length_s
    for seed in seeds:
        outcome = play(Scenario.micro(seed=seed, duration_s=60.0), seed=seed)
        truth = [event for event in outcome.scenario.events if event.trial_type == "micro_expression"]
        counts = match(truth, micro(outcome.events))
        hits, extra, missed = hits + counts[0], extra + counts[1], missed + counts[2]
    rest_s = 40.0 if quick else 120.0
    calm = micro(play(Scenario.neutral(seed=seeds[0], duration_s=rest_s), seed=seeds[0]).events)
    f1 = 2 * hits / max(2 * hits + extra + missed, 1)
    table.add_row(
        "valence sign right", f"{100 * right / seconds:.1f} %", f"{seconds:.0f} s of macro-expression"
    )
    table.add_row("micro-expressions, F1", f"{f1:.3f}", f"{hits} found, {extra} false, {missed} missed")
    table.add_row("false candidates at rest", str(len(calm)), f"{rest_s:.0f} s with blinks, sway and speech")
    errors.print(table)
    return {
        "valence_sign_right": right / seconds,
        "macro_expression_s": seconds,
        "micro_f1": f1,
        "micro_true": hits,
        "micro_false": extra,
        "micro_missed": missed,
        "false_at_rest": len(calm),
        "rest_s": rest_s,
    }
