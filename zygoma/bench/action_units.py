"""How well action units follow what a face does: ours beside MediaPipe's blendshapes as they come by default.

Each ramp drives one action unit from neutral to full and back, on the simulated person or on a film with a
table of what was driven. Both see the same frames, and both are measured from the ramp's own first frames.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from acquisition.stream import InvalidSignal
from hardware.simulated.face_fields import ACTION_UNITS as SIMULATED_UNITS
from hardware.simulated.face_fields import LID_AUS, SIDES
from hardware.simulated.rendering import FaceRenderer
from hardware.simulated.scenario import HeadPose
from processing.action_units import ActionUnitEstimator
from processing.face_model import find_face_model
from processing.landmarks import BLENDSHAPES, FaceMesh
from processing.unit_channels import ACTION_UNITS, TWO_SIDED, action_unit_channels
from zygoma.options import errors

OURS, PEER = "zygoma", "MediaPipe blendshapes"
RATE_HZ = 30.0
LEAST_ANSWER = 0.05
"""An answer that counts as one: FACS letter A."""
SCORED = (1, 2, 4, 5, 7, 9, 10, 12, 14, 15, 17, 18, 20, 25, 26, 45)
"""Action units whose correlation counts in the median."""

# The blendshape that names each action unit; left and right are averaged, or told apart for the leak.
PEER_SHAPES: Mapping[int, str] = {
    1: "browInnerUp", 2: "browOuterUp", 4: "browDown", 5: "eyeWide", 6: "cheekSquint", 7: "eyeSquint",
    9: "noseSneer", 10: "mouthUpperUp", 12: "mouthSmile", 14: "mouthDimple", 15: "mouthFrown",
    16: "mouthLowerDown", 17: "mouthShrugLower", 18: "mouthPucker", 20: "mouthStretch", 22: "mouthFunnel",
    24: "mouthPress", 26: "jawOpen", 28: "mouthRollLower", 45: "eyeBlink",
}  # fmt: skip

# fmt: off
EXPRESSIONS: tuple[tuple[int, ...], ...] = (
    (6, 12), (6, 12, 25), (12, 26),  # happiness
    (1, 2, 5, 25), (1, 2, 5, 26),  # surprise
    (1, 4), (1, 4, 15), (15, 17),  # sadness
    (4, 7), (4, 7, 24),  # anger
    (4, 9), (9, 10), (10, 25),  # disgust
    (1, 2, 4, 5, 20, 26),  # fear
)
# fmt: on
"""What the simulated person shows at once, after the prototypes in the investigator's guide to FACS."""

_SAME = {43: 45, 27: 26}
"""Units that one answer serves: closed eyes however long, the jaw however far."""


@dataclass(frozen=True)
class Ramp:
    """What is driven, by how much in each frame; side is the subject's own."""

    units: tuple[int, ...]
    side: str
    drive: NDArray[np.float64]

    @property
    def name(self) -> str:
        """E.g. ``AU12 left``."""
        both = "" if self.side == "both" else f" {self.side}"
        return "AU" + "+".join(str(unit) for unit in self.units) + both


@dataclass
class Answers:
    """One estimator's answers to the ramps: unit (and unit and side) -> value per frame."""

    frames: list[dict[str, float]] = field(default_factory=list)

    def course(self, label: str, frames: slice) -> NDArray[np.float64]:
        """Values of one label, NaN where the face was lost."""
        return np.array([frame.get(label, np.nan) for frame in self.frames[frames]])


def run(*, quick: bool = False, video: Path | None = None, truth: Path | None = None) -> dict[str, object]:
    """Measure and print.

    Args:
        quick: One seed and shorter ramps.
        video: A film of ramps in place of the simulated person ...
        truth: ... and its table: columns frame, au (``AU12``, ``AU12L``, ``AU6+12``), drive 0-1.

    Returns:
        Per estimator: ``median_r``, ``strongest`` (share of the ramps of one unit in which it answers most),
        ``together`` (share of the units driven together that are among as many strongest answers),
        ``leak`` (of a one-sided smile to the other side), ``peak_kept`` and ``lag_ms`` of a 100 ms smile,
        ``units`` (r of each unit); ``ramps`` of one unit, ``expressions`` of several, ``update_ms`` (CPU of
        our estimator after the landmarks).
    """
    if (video is None) != (truth is None):
        raise InvalidSignal("A film needs its table and a table its film: give both --video and --truth.")
    ramps: list[Ramp] = []
    ours, peer = Answers(), Answers()
    clock = _Clock()
    if video is not None and truth is not None:
        ramps = _read_truth(truth)
        frames = _film(video)
        _answer(track(frames, "Film", console=errors, transient=True), ours, peer, clock)
    else:
        for seed in range(1, 2 if quick else 4):
            some = _simulated_ramps(quick)
            ramps += some
            pictures = _simulated_frames(some, seed)
            total = sum(len(ramp.drive) for ramp in some)
            _answer(
                track(pictures, f"Simulated person {seed}", total=total, console=errors, transient=True),
                ours,
                peer,
                clock,
            )
    result: dict[str, object] = {
        "ramps": sum(len(ramp.units) == 1 for ramp in ramps),
        "expressions": sum(len(ramp.units) > 1 for ramp in ramps),
        "update_ms": round(1e3 * clock.busy_s / max(clock.frames, 1), 3),
        OURS: _summary(ramps, ours),
        PEER: _summary(ramps, peer),
    }
    brief = _simulated_pulses(range(9, 10 if quick else 25))
    for name, (kept, lag_ms) in brief.items():
        summary = result[name]
        assert isinstance(summary, dict)
        summary |= {"peak_kept": kept, "lag_ms": lag_ms}
    _print(result)
    return result


# --------------------------------------------------------------------- ramps


def _simulated_ramps(quick: bool) -> list[Ramp]:
    rest, slope, hold = (4, 8, 4) if quick else (10, 20, 10)
    up = np.linspace(0.0, 1.0, slope + 1)[1:]
    drive = np.concatenate([np.zeros(rest), up, np.ones(hold), up[::-1], np.zeros(2)])
    # Closed eyes stay closed for longer than a blink in a ramp: 43 and 45 are one movement here.
    ramps = [Ramp((unit,), "both", drive) for unit in SIMULATED_UNITS if unit != LID_AUS[0]]
    ramps += [Ramp((12,), side, drive) for side in SIDES]
    return ramps + [Ramp(units, "both", drive) for units in EXPRESSIONS]


def _simulated_frames(ramps: list[Ramp], seed: int) -> Iterator[NDArray[np.uint8]]:
    """The simulated person in another light, with another slow sway per seed."""
    rng = np.random.default_rng(seed)
    renderer = FaceRenderer(seed=seed)
    gain, slope = rng.uniform(0.8, 1.15), rng.uniform(-0.2, 0.2)
    phase, hertz = rng.uniform(0, 2 * np.pi, 5), rng.uniform(0.05, 0.2, 5)
    reach = np.array([3.0, 2.0, 1.0, 3.0, 2.0])  # px, px, deg roll, yaw, pitch
    frame = 0
    for ramp in ramps:
        for level in ramp.drive:
            dx, dy, roll, yaw, pitch = reach * np.sin(2 * np.pi * hertz * frame / RATE_HZ + phase)
            activations = np.zeros((len(SIMULATED_UNITS), 2))
            sides = slice(None) if ramp.side == "both" else SIDES.index(ramp.side)
            for unit in ramp.units:
                activations[SIMULATED_UNITS.index(unit), sides] = level
            pose = HeadPose(dx, dy, 1.0, roll, yaw, pitch)
            yield renderer.render(activations, pose, gain=gain, gain_slope=slope, noise_index=frame)
            frame += 1


def _read_truth(path: Path) -> list[Ramp]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"au", "drive"} <= set(rows[0]):
        raise InvalidSignal(f"{path} must have the columns frame, au and drive.")
    ramps: list[Ramp] = []
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end]["au"] != rows[start]["au"]:
            name = rows[start]["au"].removeprefix("AU")
            side = {"L": "left", "R": "right"}.get(name[-1:], "both")
            units = tuple(int(part) for part in name.rstrip("LR").split("+"))
            ramps.append(Ramp(units, side, np.array([float(row["drive"]) for row in rows[start:end]])))
            start = end
    return ramps


def _film(path: Path) -> Iterator[NDArray[np.uint8]]:
    film = cv2.VideoCapture(str(path))
    if not film.isOpened():
        raise InvalidSignal(f"{path} is no film that OpenCV can open.")
    while True:
        whole, picture = film.read()
        if not whole:
            return
        yield np.asarray(picture, dtype=np.uint8)


# ------------------------------------------------------------------- answers


@dataclass
class _Clock:
    busy_s: float = 0.0
    frames: int = 0


def _filtered_landmarker() -> Any:
    from mediapipe.tasks.python import BaseOptions, vision

    return vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(find_face_model())),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=1,
            output_face_blendshapes=True,
        )
    )


def _answer(pictures: Any, ours: Answers, peer: Answers, clock: _Clock) -> None:
    """Show the pictures to both, each started anew; ours with its running neutral."""
    import mediapipe as mp

    labels = [channel.label for channel in action_unit_channels()]
    estimator = ActionUnitEstimator()
    with FaceMesh() as mesh, _filtered_landmarker() as landmarker:
        for index, bgr in enumerate(pictures):
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            gray = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
            observation = mesh.detect(np.asarray(rgb, dtype=np.uint8), index / RATE_HZ)
            began = time.thread_time()
            row = estimator.update(observation, index / RATE_HZ, gray)
            if index:  # the first frame compiles
                clock.busy_s += time.thread_time() - began
                clock.frames += 1
            ours.frames.append(dict(zip(labels, row.tolist(), strict=True)))
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)
            found = landmarker.detect_for_video(image, round(1e3 * index / RATE_HZ))
            peer.frames.append(_as_units(found.face_blendshapes))


def _as_units(found: Any) -> dict[str, float]:
    if not found:
        return {}
    shapes = {name: found[0][index].score for index, name in enumerate(BLENDSHAPES)}
    units: dict[str, float] = {}
    for unit, stem in PEER_SHAPES.items():
        if stem in shapes:
            units[f"AU{unit}"] = shapes[stem]
            continue
        left, right = shapes[f"{stem}Left"], shapes[f"{stem}Right"]
        # As for ours: an asymmetric action is as strong as its stronger side.
        units |= {f"AU{unit}": max(left, right), f"AU{unit}_left": left, f"AU{unit}_right": right}
    return units


# -------------------------------------------------------------------- scores


def _summary(ramps: list[Ramp], answers: Answers) -> dict[str, Any]:
    correlations: dict[int, list[float]] = {}
    strongest: list[bool] = []
    together: list[bool] = []
    leaks: list[float] = []
    start = 0
    for ramp in ramps:
        frames = slice(start, start + len(ramp.drive))
        start = frames.stop
        rest, full = ramp.drive == 0.0, ramp.drive == 1.0
        level: dict[int, float] = {}
        for unit in ACTION_UNITS:
            course = answers.course(f"AU{unit}", frames)
            if np.isfinite(course).all():
                grown, one = float(course[full].mean() - course[rest].mean()), _SAME.get(unit, unit)
                level[one] = max(grown, level.get(one, grown))
        # A unit that an estimator does not know at all is not asked for.
        wanted = {_SAME.get(unit, unit) for unit in ramp.units} & level.keys()
        best = sorted(level, key=lambda unit: -level[unit])[: len(wanted)]
        if len(ramp.units) == 1:
            strongest.append(wanted == set(best) != set())
        else:
            together += [unit in best and level[unit] >= LEAST_ANSWER for unit in wanted]
        if ramp.side == "both" and len(ramp.units) == 1:
            unit = _SAME.get(ramp.units[0], ramp.units[0]) if ramp.units[0] in LID_AUS else ramp.units[0]
            course = answers.course(f"AU{unit}", frames)
            moved = bool(np.isfinite(course).all()) and course.std() > 1e-6
            correlations.setdefault(unit, []).append(
                float(np.corrcoef(course, ramp.drive)[0, 1]) if moved else 0.0
            )
        elif ramp.side != "both" and ramp.units[0] in TWO_SIDED:
            other = answers.course(f"AU{ramp.units[0]}_{_other(ramp.side)}", frames)
            leaks.append(float(other[full].mean() - other[rest].mean()))
    units = {unit: round(float(np.mean(found)), 3) for unit, found in sorted(correlations.items())}
    scored = [units[unit] for unit in SCORED if unit in units]
    return {
        "median_r": round(float(np.median(scored)), 3) if scored else None,
        "strongest": round(float(np.mean(strongest)), 3) if strongest else None,
        "together": round(float(np.mean(together)), 3) if together else None,
        "leak": round(max(leaks), 3) if leaks else None,
        "units": units,
    }


def _other(side: str) -> str:
    return "right" if side == "left" else "left"


def _simulated_pulses(seeds: range) -> dict[str, tuple[float, float]]:
    """A smile of 100 ms per seed: median share of a held one's height, and the longest delay, ms.

    Sixteen seeds: at this size the landmarks tremble by a tenth of the height and more.
    """
    rise = int(0.05 * RATE_HZ * 2)  # frames from onset to offset, 3 at 30 fps
    pulse = np.sin(np.linspace(0.0, np.pi, rise + 2))[1:-1]
    height = 0.12  # some 1.5 % of the inter-ocular distance: a micro-expression
    held = np.full(45, height)
    drive = np.concatenate([np.zeros(60), height * pulse / pulse.max(), np.zeros(60), held])
    at = 60 + int(np.argmax(pulse))
    kept: dict[str, list[float]] = {OURS: [], PEER: []}
    lag_ms: dict[str, list[float]] = {OURS: [], PEER: []}
    for seed in seeds:
        ours, peer = Answers(), Answers()
        _answer(_simulated_frames([Ramp((12,), "both", drive)], seed), ours, peer, _Clock())
        for name, answers in ((OURS, ours), (PEER, peer)):
            course = answers.course("AU12", slice(0, len(drive)))
            course = course - np.median(course[30:60])
            window = course[58:90]
            peak = int(np.argmax(window)) + 58
            kept[name].append(float(window.max() / np.median(course[-15:])))
            lag_ms[name].append(1e3 * (peak - at) / RATE_HZ)
    found = {}
    for name, lags in lag_ms.items():
        longest: float = max(lags, key=abs)
        found[name] = (round(float(np.median(kept[name])), 3), round(longest, 1))
    return found


def _print(result: dict[str, object]) -> None:
    ours, peer = result[OURS], result[PEER]
    assert isinstance(ours, dict) and isinstance(peer, dict)
    table = Table(title=f"Action units, {result['ramps']} ramps")
    for heading in ("", OURS, PEER):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = (
        ("median r of the driven unit", "median_r", ".3f"),
        ("driven unit strongest", "strongest", ".0%"),
        (f"units found in {result['expressions']} expressions", "together", ".0%"),
        ("leak of a one-sided smile", "leak", ".2f"),
    )
    for heading, key, shown in rows:
        if ours[key] is not None:
            table.add_row(heading, format(ours[key], shown), format(peer[key], shown))
    table.add_row("height kept of a 100 ms smile", f"{ours['peak_kept']:.0%}", f"{peer['peak_kept']:.0%}")
    table.add_row("its apex late, ms", f"{ours['lag_ms']:.0f}", f"{peer['lag_ms']:.0f}")
    for unit in ours["units"]:
        other = peer["units"].get(unit)
        table.add_row(
            f"r of AU{unit}", f"{ours['units'][unit]:.3f}", "-" if other is None else f"{other:.3f}"
        )
    table.add_row("CPU per frame after landmarks, ms", f"{result['update_ms']:.2f}", "")
    errors.print(table)
