"""Fits the spotter's weights (`processing/data/spotting.toml`) to clips of faces that no bench scores.

Logistic regression with the sign of every weight fixed beforehand, so that none can speak against what it
stands for. Run it as ``python -m zygoma.bench.spotting_fit FOLDER`` with a folder of frontal portraits; it
prints the table that belongs into the file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block
from processing.findings import Movement
from processing.spotting import MicroMovementSpotter
from processing.spotting_evidence import Judgement
from processing.spotting_types import Excursion, strongest
from zygoma.bench.clips import Clip, ClipSettings, TrueEvent
from zygoma.bench.spotting_score import LOWEST_IOU, overlap
from zygoma.bench.spotting_watch import faces, portraits_in, watch_motion

F64 = NDArray[np.float64]

EVIDENCE = ("height", "pattern", "pattern_share", "agreeing", "duration", "lid")
AGAINST = (
    "long", "lopsided", "misfit", "unrest", "cheek", "other_share", "nose", "again", "jaw_opens", "jaw_busy",
    "jaw_restless", "gaze", "lids_aside", "step", "nod",
)  # fmt: skip
"""Features whose weights may only be positive, and only be negative."""

SHRINKAGE = 3.0
"""Ridge on the standardised weights."""


class Collector(MicroMovementSpotter):
    """Judges every candidate and reports none.

    Attributes:
        candidates: Strongest excursion of each, and its judgement.
    """

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.candidates: list[tuple[Excursion, Judgement]] = []

    def _announce(self, passed: list[Excursion], time_s: float) -> list[Movement]:
        return []

    def _confirm(self, group: list[Excursion], time_s: float) -> Movement | None:
        best = strongest(group)
        self._decided.append(best)
        self.candidates.append((best, self._judge(group)))
        return None


def collect(motion: Block, events: Sequence[TrueEvent]) -> tuple[F64, NDArray[np.bool_]]:
    """Features [n, F] of all candidates in a clip, and which of them are micro-expressions (IoU >= .5)."""
    collector = Collector()
    collector.process(motion)
    rows, truth = [], []
    for best, judgement in collector.candidates:
        rows.append([judgement.features[name] for name in EVIDENCE + AGAINST])
        found = (best.onset_s, best.offset_s)
        overlaps = [overlap((e.onset_s, e.offset_s), found) for e in events if e.kind == "micro"]
        truth.append(max(overlaps, default=0.0) >= LOWEST_IOU)
    return np.array(rows).reshape(-1, len(EVIDENCE + AGAINST)), np.array(truth, dtype=bool)


def fit(features: F64, truth: NDArray[np.bool_]) -> tuple[Mapping[str, float], float]:
    """Weights by name and the bias.

    Args:
        features: [n, F], columns as `EVIDENCE + AGAINST`.
        truth: Which candidates were real [n].
    """
    from scipy.optimize import minimize

    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    scaled, target = (features - mean) / spread, truth.astype(np.float64)

    def loss(point: F64) -> tuple[float, F64]:
        weights, bias = point[:-1], point[-1]
        score = scaled @ weights + bias
        error = 1.0 / (1.0 + np.exp(-score)) - target
        value = float(np.sum(np.logaddexp(0.0, score) - target * score) + 0.5 * SHRINKAGE * weights @ weights)
        return value, np.append(scaled.T @ error + SHRINKAGE * weights, error.sum())

    bounds = [(0, None)] * len(EVIDENCE) + [(None, 0)] * len(AGAINST) + [(None, None)]
    found = minimize(loss, np.zeros(len(mean) + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    weights = found.x[:-1] / spread
    named = {name: float(w) + 0.0 for name, w in zip(EVIDENCE + AGAINST, weights, strict=True)}
    return named, float(found.x[-1] - weights @ mean)


def main(folder: Path) -> None:
    """Film a clip of each face in `folder` per condition, fit, and print the table."""
    features, truth = [], []
    for number, portrait in enumerate(faces(portraits_in(folder), built_in=False)):
        for fps, hard in ((30.0, False), (30.0, True), (60.0, number % 2 == 0)):
            clip = Clip(portrait, ClipSettings(400 + number, 30.0, fps, hard))
            rows, real = collect(watch_motion(clip), clip.events)
            features.append(rows)
            truth.append(real)
    weights, bias = fit(np.concatenate(features), np.concatenate(truth))
    print(f"bias = {bias:.2f}\n\n[weights]")
    for name, weight in weights.items():
        print(f"{name} = {weight:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
