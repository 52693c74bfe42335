"""Fits the spotter's weights (`processing/data/spotting.toml`) to clips of faces that no bench scores.

Logistic regression with the sign of every weight fixed beforehand, so that none can speak against what it
stands for; then the ratio from which a movement is reported, for the best F1 on those clips. Run it as
``python -m zygoma.bench.spotting_fit FOLDER`` with a folder of frontal portraits; it prints the table that
belongs into the file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from processing.findings import Movement
from processing.spotting import MicroMovementSpotter
from processing.spotting_habits import LATEST_S, Seen, habit
from processing.spotting_types import Excursion, SpotterSettings
from zygoma.bench.clips import Clip, ClipSettings, TrueEvent
from zygoma.bench.spotting_score import LOWEST_IOU, overlap
from zygoma.bench.spotting_watch import Watcher, faces, portraits_in

F64 = NDArray[np.float64]

EVIDENCE = ("height", "pattern", "pattern_share", "agreeing", "duration", "lid")
AGAINST = (
    "long", "lopsided", "misfit", "unrest", "cheek", "nose", "other_share", "rival", "lids_aside", "step",
    "again_nose", "again_mouth", "again_elsewhere", "lips_part", "jaw_opens", "jaw_busy", "jaw_restless",
    "gaze", "nod",
)  # fmt: skip
"""Features whose weights may only be positive, and only be negative."""

SHRINKAGE = 3.0
"""Ridge on the standardised weights."""

WITHDRAWN_IMPORTANCE = 0.3
"""How much a false candidate counts that what follows takes back: the first pulse of a sniff must not cost
the AU9s that look like it, and yet is better not reported at all."""

NEAR_IOU = 0.3
"""Candidates that overlap a micro-expression by more than this, but too little to count, teach nothing."""

_SECONDS = 30.0
_FIRST_SEED = 3000


class Collector(MicroMovementSpotter):
    """Judges every candidate and reports none.

    Attributes:
        candidates: Strongest excursion of each, its features, and whether it would have been withdrawn.
    """

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.candidates: list[tuple[Excursion, Mapping[str, float]]] = []
        self.withdrawn: set[int] = set()
        self._recent: list[tuple[int, Seen]] = []

    def _announce(self, passed: list[Excursion], time_s: float) -> list[Movement]:
        return []

    def _confirm(self, group: list[Excursion], time_s: float) -> list[Movement]:
        judgement = self._weigh(group)
        now = judgement.seen
        best = now.best
        if judgement.clear:
            self._clear.append(best)
        self._seen.append(now)
        self._recent = [
            (i, seen) for i, seen in self._recent if best.peak_s - seen.best.peak_s < LATEST_S + 0.1
        ]
        self.withdrawn |= {i for i, seen in self._recent if habit(seen, now)}
        self._recent.append((len(self.candidates), now))
        self.candidates.append((best, judgement.features))
        return []


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the spotter considered in one clip.

    Attributes:
        features: Columns as `EVIDENCE + AGAINST` [n, F].
        iou: Best overlap with a micro-expression [n].
        event: Which one, -1 for none [n].
        withdrawn: Whether what followed would have put it in doubt [n].
        events: How many micro-expressions the clip holds.
    """

    features: F64
    iou: F64
    event: NDArray[np.int64]
    withdrawn: NDArray[np.bool_]
    events: int


def collect(clip: Clip) -> Candidates:
    """Watch a clip."""
    collector = Collector()
    watcher = Watcher(clip.settings.fps, collector)
    for time_s, frame in clip:
        watcher.see(time_s, frame)
    watcher.close()
    return candidates_of(collector, clip.events)


def candidates_of(collector: Collector, events: Sequence[TrueEvent]) -> Candidates:
    """Compare what was considered with the truth."""
    true = [(event.onset_s, event.offset_s) for event in events if event.kind == "micro"]
    overlaps = np.array(
        [
            [overlap(interval, (best.onset_s, best.offset_s)) for interval in true]
            for best, _ in collector.candidates
        ]
    ).reshape(len(collector.candidates), len(true))
    iou = overlaps.max(axis=1, initial=0.0)
    event = overlaps.argmax(axis=1) if true else np.zeros(len(iou), np.int64)
    names = EVIDENCE + AGAINST
    rows = [[features[name] for name in names] for _, features in collector.candidates]
    return Candidates(
        features=np.array(rows).reshape(-1, len(names)),
        iou=iou,
        event=np.where(iou >= LOWEST_IOU, event, -1),
        withdrawn=np.isin(np.arange(len(iou)), list(collector.withdrawn)),
        events=len(true),
    )


def fit(
    features: F64, truth: NDArray[np.bool_], importance: F64 | None = None
) -> tuple[Mapping[str, float], float]:
    """Weights by name and the bias.

    Args:
        features: [n, F], columns as `EVIDENCE + AGAINST`.
        truth: Which candidates were real [n].
        importance: How much each counts [n]; None: all the same.
    """
    from scipy.optimize import minimize

    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    scaled, target = (features - mean) / spread, truth.astype(np.float64)
    counts = np.ones(len(target)) if importance is None else importance

    def loss(point: F64) -> tuple[float, F64]:
        weights, bias = point[:-1], point[-1]
        score = scaled @ weights + bias
        error = counts * (1.0 / (1.0 + np.exp(-score)) - target)
        losses = counts * (np.logaddexp(0.0, score) - target * score)
        value = float(losses.sum() + 0.5 * SHRINKAGE * weights @ weights)
        return value, np.append(scaled.T @ error + SHRINKAGE * weights, error.sum())

    bounds = [(0, None)] * len(EVIDENCE) + [(None, 0)] * len(AGAINST) + [(None, None)]
    found = minimize(loss, np.zeros(len(mean) + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    weights = found.x[:-1] / spread
    named = {name: float(w) + 0.0 for name, w in zip(EVIDENCE + AGAINST, weights, strict=True)}
    return named, float(found.x[-1] - weights @ mean)


def operating_point(clips: Sequence[Candidates], ratios: Sequence[F64]) -> float:
    """The ratio that gives the best F1 over all clips, once what follows has withdrawn what it does.

    Smoothed over a tenth to either side: on the clips of ten people one event more or less is chance.
    """
    levels = np.arange(-3.0, 3.01, 0.05)
    scores = [_f1(clips, ratios, float(level)) for level in levels]
    smooth = np.convolve(np.pad(scores, 2, mode="edge"), np.ones(5) / 5, "valid")
    return float(levels[int(np.argmax(smooth))])


def _f1(clips: Sequence[Candidates], ratios: Sequence[F64], level: float) -> float:
    hits = false = total = 0
    for clip, ratio in zip(clips, ratios, strict=True):
        event = clip.event[(ratio >= level) & ~clip.withdrawn]
        hits += len(set(event[event >= 0].tolist()))
        false += int(np.count_nonzero(event < 0))
        total += clip.events
    return 2 * hits / max(hits + false + total, 1)


def fit_clips(clips: Sequence[Candidates]) -> tuple[Mapping[str, float], float]:
    """Weights by name, and the bias that puts the operating point at the spotter's threshold."""
    features = np.concatenate([clip.features for clip in clips])
    iou = np.concatenate([clip.iou for clip in clips])
    real, clear = iou >= LOWEST_IOU, (iou >= LOWEST_IOU) | (iou < NEAR_IOU)
    withdrawn = np.concatenate([clip.withdrawn for clip in clips])
    importance = np.where(withdrawn & ~real, WITHDRAWN_IMPORTANCE, 1.0)
    weights, bias = fit(features[clear], real[clear], importance[clear])
    vector = np.array([weights[name] for name in EVIDENCE + AGAINST])
    point = operating_point(clips, [clip.features @ vector + bias for clip in clips])
    return weights, bias + SpotterSettings.threshold - point


def film_settings(number: int) -> list[ClipSettings]:
    """The clips of one face: both frame rates, easy and hard."""
    return [
        ClipSettings(_FIRST_SEED + 10 * number + int(fps) // 30 + 4 * hard, _SECONDS, fps, hard)
        for fps in (30.0, 60.0)
        for hard in (False, True)
    ]


def main(folder: Path) -> None:
    """Film the clips of each face in `folder`, fit, and print the table."""
    clips = [
        collect(Clip(portrait, settings))
        for number, portrait in enumerate(faces(portraits_in(folder), built_in=False))
        for settings in film_settings(number)
    ]
    weights, bias = fit_clips(clips)
    print(f"bias = {bias:.2f}\n\n[weights]")
    for name, weight in weights.items():
        print(f"{name} = {weight:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
