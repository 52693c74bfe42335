"""How well micro-expressions are spotted, on clips whose truth is known, beside other ways of spotting them.

Scored as in the MEGC challenges: a true event is found when a movement overlaps it with IoU >= .5, counts are
pooled over clips. The spotter's weights come from other faces than the one shown here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from acquisition.stream import Block, InvalidSignal, Kind, SampleType, StreamSpec
from processing.landmarks import FaceMesh
from processing.motion import RegionMotion
from processing.spotting import MicroMovementSpotter
from zygoma.bench.clips import (
    AMPLITUDES_PX,
    DURATIONS_S,
    Clip,
    ClipSettings,
    Photograph,
    TrueEvent,
    photograph,
)
from zygoma.bench.spotting_peers import (
    Blendshapes,
    FlowMotion,
    Interval,
    LandmarkMotion,
    MainDirectionalDifference,
    best_threshold,
)

LOWEST_IOU = 0.5
GATE_RESIDUAL_PX, GATE_SPEED = 0.25, 25.0


def overlap(one: Interval, other: Interval) -> float:
    """Intersection over union of two stretches of time."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return max(shared, 0.0) / max(max(one[1], other[1]) - min(one[0], other[0]), 1e-9)


@dataclass
class Score:
    """Counts pooled over clips.

    Attributes:
        found, missed: True events.
        false: Movements that match none, and how long was watched in usable frames, minutes.
    """

    found: list[TrueEvent] = field(default_factory=list)
    missed: list[TrueEvent] = field(default_factory=list)
    false: int = 0
    usable_minutes: float = 0.0
    minutes: float = 0.0

    def add(self, events: Sequence[TrueEvent], intervals: Sequence[Interval]) -> None:
        """Match one clip's movements to its truth, best overlap first, each used once."""
        pairs = sorted(
            (
                (overlap((event.onset_s, event.offset_s), interval), i, j)
                for i, event in enumerate(events)
                for j, interval in enumerate(intervals)
            ),
            reverse=True,
        )
        taken_events: set[int] = set()
        taken: set[int] = set()
        for iou, i, j in pairs:
            if iou >= LOWEST_IOU and i not in taken_events and j not in taken:
                taken_events.add(i)
                taken.add(j)
        for i, event in enumerate(events):
            (self.found if i in taken_events else self.missed).append(event)
        self.false += len(intervals) - len(taken)

    @property
    def f1(self) -> float:
        total = 2 * len(self.found) + self.false + len(self.missed)
        return 2 * len(self.found) / total if total else 1.0

    @property
    def precision(self) -> float:
        return len(self.found) / max(len(self.found) + self.false, 1)

    @property
    def recall(self) -> float:
        return len(self.found) / max(len(self.found) + len(self.missed), 1)

    def recall_where(self, low: float, high: float, what: str) -> float | None:
        """Recall of events whose attribute `what` lies in [low, high); None without such events."""
        hits = sum(low <= getattr(event, what) < high for event in self.found)
        total = hits + sum(low <= getattr(event, what) < high for event in self.missed)
        return hits / total if total else None


def score_of(clips: Iterable[Sequence[TrueEvent]], found: Iterable[Sequence[Interval]]) -> Score:
    """Pooled score of intervals per clip."""
    score = Score()
    for events, intervals in zip(clips, found, strict=True):
        score.add(events, intervals)
    return score


def micro(clip: Clip) -> list[TrueEvent]:
    """The micro-expressions of a clip."""
    return [event for event in clip.events if event.kind == "micro"]


def faces(extra: Sequence[Path] = ()) -> list[Photograph]:
    """The public-domain portrait that scikit-image ships, and any photographs of your own.

    Raises:
        InvalidSignal: A file is not a picture.
        ValueError: No face in it.
    """
    import skimage.data

    pictures = [("astronaut", np.ascontiguousarray(skimage.data.astronaut()[:, :, ::-1]))]
    for path in extra:
        image = cv2.imread(str(path))
        if image is None:
            raise InvalidSignal(f"{path} is not a picture; give JPEG or PNG portraits.")
        pictures.append((path.stem, np.asarray(image, dtype=np.uint8)))
    with FaceMesh(mode="image") as mesh:

        def landmarks(rgb: NDArray[np.uint8]) -> NDArray[np.float64] | None:
            seen = mesh.detect(rgb, 0.0)
            return None if seen is None else seen.points_px.astype(np.float64)

        return [photograph(name, image, landmarks) for name, image in pictures]


@dataclass
class _Run:
    """Everything measured on one clip."""

    events: list[TrueEvent]
    ours: list[Interval]
    latencies_s: list[float]
    usable_share: float
    seconds: float
    cpu_s: float
    frames: int
    by_landmarks: list[Interval]
    by_flow: list[Interval]
    blendshapes: Blendshapes
    mdmd: MainDirectionalDifference


def watch(clip: Clip, peers: bool = True) -> _Run:
    """Run zygoma and its peers over one clip, frame by frame."""
    motion, landmark_motion, flow_motion = RegionMotion(), LandmarkMotion(), FlowMotion()
    blendshapes, mdmd = Blendshapes(), MainDirectionalDifference()
    times: list[float] = []
    rows: dict[str, list[NDArray[np.float32]]] = {"ours": [], "landmarks": [], "flow": []}
    cpu_s = 0.0
    with FaceMesh() as mesh:
        for time_s, frame in clip:
            rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
            seen = mesh.detect(np.asarray(rgb, dtype=np.uint8), time_s)
            points = None if seen is None else seen.points_px
            began = time.thread_time()
            rows["ours"].append(motion.update(gray, points, time_s))
            cpu_s += time.thread_time() - began
            times.append(time_s)
            if peers:
                rows["landmarks"].append(landmark_motion.update(gray, points, time_s))
                rows["flow"].append(flow_motion.update(gray, points, time_s))
                blendshapes.update(gray, seen, time_s)
                mdmd.update(gray, seen, time_s)
    spec = StreamSpec(
        "clip-motion", Kind.FACE_MOTION, motion.channels, clip.settings.fps, SampleType.FLOAT32, "clip"
    )

    def spot(which: str) -> tuple[list[Interval], list[float]]:
        if not rows[which]:
            return [], []
        block = Block(spec, np.array(times), np.array(rows[which]), 0)
        moves = [move for move in MicroMovementSpotter().process(block) if not move.provisional]
        late = [move.found_s - move.offset_s for move in moves]
        return [(move.onset_s, move.offset_s) for move in moves], late

    began = time.thread_time()
    ours, late = spot("ours")
    cpu_s += time.thread_time() - began
    table = np.array(rows["ours"])
    residual, speed = (table[:, spec.index(name)] for name in ("rigid_residual_px", "head_speed"))
    usable = float(np.mean((residual < GATE_RESIDUAL_PX) & (speed < GATE_SPEED)))
    return _Run(
        micro(clip),
        ours,
        late,
        usable,
        clip.settings.seconds,
        cpu_s,
        len(times),
        spot("landmarks")[0],
        spot("flow")[0],
        blendshapes,
        mdmd,
    )


def _conditions(quick: bool) -> list[tuple[str, float, bool, int, float]]:
    """Name, frame rate, hard, clips, seconds each."""
    if quick:
        return [("easy_30", 30.0, False, 1, 20.0), ("hard_30", 30.0, True, 1, 20.0)]
    return [
        (f"{'hard' if hard else 'easy'}_{round(fps)}", fps, hard, clips, 45.0)
        for fps, clips in ((30.0, 4), (60.0, 2), (120.0, 1))
        for hard in (False, True)
    ]


def summary(runs: Sequence[_Run], peers: bool) -> dict[str, object]:
    """The figures of one condition."""
    truth = [run.events for run in runs]
    score = score_of(truth, [run.ours for run in runs])
    usable_minutes = sum(run.usable_share * run.seconds for run in runs) / 60.0
    late_ms = 1e3 * np.array([late for run in runs for late in run.latencies_s] or [np.nan])
    middle = np.sqrt(np.array(AMPLITUDES_PX[1:]) * np.array(AMPLITUDES_PX[:-1]))
    amplitude_edges = [0.0, *middle, 99.0]
    figures: dict[str, object] = {
        "f1": round(score.f1, 3),
        "precision": round(score.precision, 3),
        "recall": round(score.recall, 3),
        "events": len(score.found) + len(score.missed),
        "false_positives_per_usable_minute": round(score.false / max(usable_minutes, 1e-9), 2),
        "usable_share": round(usable_minutes * 60.0 / sum(run.seconds for run in runs), 3),
        "motion_and_spotting_ms_per_frame": round(
            1e3 * sum(run.cpu_s for run in runs) / sum(run.frames for run in runs), 2
        ),
        "confirmed_after_offset_ms_p50": round(float(np.median(late_ms)), 1),
        "confirmed_after_offset_ms_max": round(float(np.max(late_ms)), 1),
        "recall_by_amplitude_px": {
            str(amplitude): _rounded(score.recall_where(low, high, "amplitude_px"))
            for amplitude, low, high in zip(
                AMPLITUDES_PX, amplitude_edges[:-1], amplitude_edges[1:], strict=True
            )
        },
        "recall_by_duration_s": {
            f"{low:g}-{high:g}": _rounded(score.recall_where(low, high, "duration_s"))
            for low, high in ((0.04, 0.12), (0.12, 0.2), (0.2, 0.3), (0.3, max(DURATIONS_S) + 0.05))
        },
    }
    if peers:
        scored = {
            "MediaPipe landmarks, same spotter": score_of(truth, [run.by_landmarks for run in runs]),
            "DIS flow, same spotter": score_of(truth, [run.by_flow for run in runs]),
        }
        for name in ("blendshapes", "mdmd"):
            strengths = [getattr(run, name).strength() for run in runs]
            best = best_threshold(strengths, lambda found: score_of(truth, found).f1)
            scored[getattr(runs[0], name).name + ", its best threshold"] = score_of(truth, best)
        figures["peers"] = {
            name: {
                "f1": round(each.f1, 3),
                "false_positives_per_usable_minute": round(each.false / max(usable_minutes, 1e-9), 2),
            }
            for name, each in scored.items()
        }
    return figures


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def run(*, quick: bool = False, photographs: Sequence[Path] = (), peers: bool = True) -> dict[str, object]:
    """Measure and print; returns a table keyed by condition (``easy_30`` ...).

    Args:
        quick: One short clip per difficulty at 30 fps.
        photographs: More faces to animate, besides the portrait that scikit-image ships.
        peers: Also run the other methods.
    """
    portraits = faces(photographs)
    results: dict[str, object] = {}
    table = Table(title="Micro-expression spotting (F1 at IoU 0.5; false positives per usable minute)")
    for column in ("condition", "method", "F1", "recall", "FP/min", "usable", "ms/frame"):
        table.add_column(column)
    for number, (name, fps, hard, clips, seconds) in enumerate(_conditions(quick)):
        settings = [ClipSettings(9000 + 100 * number + i, seconds, fps, hard) for i in range(clips)]
        runs = [watch(Clip(portrait, each), peers) for portrait in portraits for each in settings]
        figures = summary(runs, peers)
        results[name] = figures
        table.add_row(
            name,
            "zygoma",
            *(
                str(figures[key])
                for key in (
                    "f1",
                    "recall",
                    "false_positives_per_usable_minute",
                    "usable_share",
                    "motion_and_spotting_ms_per_frame",
                )
            ),
        )
        others = figures.get("peers", {})
        assert isinstance(others, dict)
        for peer, figure in others.items():
            rate = str(figure["false_positives_per_usable_minute"])
            table.add_row("", peer, str(figure["f1"]), "", rate, "", "")
    Console().print(table)
    return results
