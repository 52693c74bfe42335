"""How well micro-expressions are spotted, on clips whose truth is known, beside other ways of spotting them.

Every clip is a photograph animated with exact truth (`clips`). The spotter's weights and threshold come from
other faces than those shown here (`spotting_fit`); the peers get the threshold that suits them best on the
very clips they are scored on.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from zygoma.bench.clips import AMPLITUDES_PX, DURATIONS_S, ClipSettings
from zygoma.bench.spotting_peers import BLENDSHAPES, MDMD, intervals_above
from zygoma.bench.spotting_score import Interval, Score, Scored, best_case, errors_ms, score_of
from zygoma.bench.spotting_watch import (
    Strength,
    Watched,
    faces,
    portraits_in,
    talking_footage,
    watch,
    watch_clip,
)
from zygoma.options import errors

_LEVELS = np.arange(-4.0, 6.1, 0.5)


@dataclass(frozen=True)
class Condition:
    """Clips that are scored together.

    Attributes:
        name: For the table.
        fps, hard, micro_share: As in `ClipSettings`.
        clips: Per face.
        seconds: Of each clip.
        peers: Whether the other methods are run too.
    """

    name: str
    fps: float
    hard: bool
    clips: int
    seconds: float
    peers: bool
    micro_share: float = ClipSettings.micro_share


FULL = (
    Condition("easy_30", 30.0, False, 2, 45.0, True),
    Condition("hard_30", 30.0, True, 2, 45.0, True),
    Condition("easy_60", 60.0, False, 1, 45.0, False),
    Condition("hard_60", 60.0, True, 1, 45.0, False),
    Condition("distractors_30", 30.0, False, 1, 60.0, False, 0.0),
)
QUICK = (Condition("easy_30", 30.0, False, 1, 20.0, True), Condition("hard_30", 30.0, True, 1, 20.0, True))
FIRST_SEED = 9000


def run(
    *, quick: bool = False, folder: Path | None = None, peers: bool = True, only: Sequence[str] = ()
) -> dict[str, object]:
    """Measure and print; returns figures by condition (``easy_30`` ...).

    Args:
        quick: One short clip per face and difficulty, at 30 fps.
        folder: More portraits to animate.
        peers: Also run the other methods, where the condition asks for them.
        only: Names of the conditions to run; empty runs all.
    """
    portraits = faces(portraits_in(folder) if folder is not None else ())
    conditions = [each for each in (QUICK if quick else FULL) if not only or each.name in only]
    results: dict[str, object] = {}
    table = Table(
        title="Micro-expression spotting: F1 at IoU 0.5, false positives per usable minute, ms per frame",
        caption="Landmarks and DIS flow with our spotter.",
        title_justify="left",
        box=None,
    )
    for column in ("", "F1", "recall", "<=200ms", "FP/min", "usable", "ms"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), multiprocessing.get_context("spawn")) as pool:
        jobs = {
            each.name: [
                pool.submit(
                    watch_clip,
                    portrait,
                    ClipSettings(
                        FIRST_SEED + 1000 * face + 100 * number + i,
                        each.seconds,
                        each.fps,
                        each.hard,
                        each.micro_share,
                    ),
                    peers and each.peers,
                )
                for face, portrait in enumerate(portraits)
                for i in range(each.clips)
            ]
            for number, each in enumerate(conditions)
        }
        for name, futures in jobs.items():
            _add(results, table, name, [future.result() for future in futures])
    footage = talking_footage()
    if footage is not None and not quick and not only:
        fps, frames = footage
        _add(results, table, "carphone", [watch(frames, fps, [], peers=False)])
    errors.print(table)
    return results


def _add(results: dict[str, object], table: Table, name: str, runs: Sequence[Watched]) -> None:
    figures = summary(runs)
    results[name] = figures
    shown = (
        "f1",
        "recall",
        "recall_up_to_200_ms",
        "false_positives_per_usable_minute",
        "usable_share",
        "motion_and_spotting_ms_per_frame",
    )
    at_once, peers = figures["at_once"], figures.get("peers", {})
    assert isinstance(at_once, dict)
    assert isinstance(peers, dict)
    table.add_row(name, *(_cell(figures[key]) for key in shown))
    table.add_row("  first verdict, at the offset", *(_cell(at_once.get(key)) for key in shown))
    for peer, figure in peers.items():
        table.add_row(f"  {peer.removesuffix(', same spotter')}", *(_cell(figure.get(key)) for key in shown))


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def summary(runs: Sequence[Watched]) -> dict[str, object]:
    """The figures of one condition."""
    truth = [run.events for run in runs]
    score = score_of(truth, [run.ours for run in runs])
    at_once = score_of(truth, [run.at_once for run in runs])
    frames = sum(run.frames for run in runs)
    seconds = sum(run.seconds for run in runs)
    usable_minutes = max(sum(run.usable_share * run.seconds for run in runs) / 60.0, 1e-9)
    late_ms = 1e3 * np.array([late for run in runs for late in run.latencies_s] or [np.nan])
    edges = [0.0, *np.sqrt(np.array(AMPLITUDES_PX[1:]) * np.array(AMPLITUDES_PX[:-1])), 99.0]
    figures: dict[str, object] = {
        "f1": round(score.f1, 3) if any(truth) else None,
        "precision": round(score.precision, 3) if any(truth) else None,
        "recall": round(score.recall, 3) if any(truth) else None,
        "events": len(score.found) + len(score.missed),
        "false_positives_per_usable_minute": round(score.false / usable_minutes, 2),
        "usable_share": round(usable_minutes * 60.0 / seconds, 3),
        "minutes": round(seconds / 60.0, 2),
        "at_once": {
            "f1": round(at_once.f1, 3) if any(truth) else None,
            "precision": round(at_once.precision, 3) if any(truth) else None,
            "recall": round(at_once.recall, 3) if any(truth) else None,
            "false_positives_per_usable_minute": round(at_once.false / usable_minutes, 2),
        },
        "vetoed": dict(Counter(veto for run in runs for veto in run.vetoed)),
        "motion_and_spotting_ms_per_frame": round(
            1e3 * sum(run.motion_s + run.spotting_s for run in runs) / frames, 2
        ),
        "confirmed_after_offset_ms_p50": round(float(np.median(late_ms)), 1),
        "confirmed_after_offset_ms_max": round(float(np.max(late_ms)), 1),
        "median_error_ms": {name: round(error, 1) for name, error in errors_ms(score).items()},
        "recall_up_to_200_ms": _rounded(score.recall_where(0.0, 0.2001, "duration_s")),
        "recall_by_amplitude_px": {
            str(amplitude): _rounded(score.recall_where(low, high, "amplitude_px"))
            for amplitude, low, high in zip(AMPLITUDES_PX, edges[:-1], edges[1:], strict=True)
        },
        "recall_by_duration_s": {
            f"{low:g}-{high:g}": _rounded(score.recall_where(low, high, "duration_s"))
            for low, high in ((0.04, 0.12), (0.12, 0.22), (0.22, 0.3), (0.3, max(DURATIONS_S) + 0.05))
        },
    }
    if runs[0].by_mdmd is not None:
        figures["peers"] = {
            name: {
                "f1": round(each.f1, 3),
                "false_positives_per_usable_minute": round(each.false / usable_minutes, 2),
            }
            for name, each in {
                "MediaPipe landmarks, same spotter": _best_spotter(runs, [run.by_landmarks for run in runs]),
                "DIS flow, same spotter": _best_spotter(runs, [run.by_flow for run in runs]),
                BLENDSHAPES: _best_level(runs, [run.by_blendshapes for run in runs]),
                MDMD: _best_level(runs, [run.by_mdmd for run in runs]),
            }.items()
        }
    return figures


def _best_spotter(runs: Sequence[Watched], found: Sequence[Sequence[Scored]]) -> Score:
    def at(level: float) -> list[list[Interval]]:
        return [[(onset, offset) for onset, offset, ratio in moves if ratio >= level] for moves in found]

    return best_case([run.events for run in runs], at, [float(level) for level in _LEVELS])


def _best_level(runs: Sequence[Watched], strengths: Sequence[Strength | None]) -> Score:
    known = [each for each in strengths if each is not None]
    levels = np.quantile(np.concatenate([strength for _, strength in known]), np.linspace(0.5, 0.995, 25))

    def at(level: float) -> list[list[Interval]]:
        return [intervals_above(times, strength, level) for times, strength in known]

    return best_case([run.events for run in runs], at, [float(level) for level in levels])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
