"""Weighs a brief movement: how well it stands out, whether it follows a muscle, and what else may have caused
it.

Each feature adds its weight times its value to the log-odds. Those that speak for a distractor carry its
name: a movement that would have been reported but for one is let out with that name as its veto.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import log

import numpy as np
from numpy.typing import NDArray

from processing import spotting_context as ctx
from processing import spotting_kernel as kernel
from processing.spotting_anatomy import CHEEK, IS_LID, JAW, MOUTH, NOSE, PART, REGIONS, UPPER
from processing.spotting_context import Context, Trail
from processing.spotting_patterns import DISTRACTORS, EXPRESSIONS, match
from processing.spotting_types import Excursion, strongest

F64 = NDArray[np.float64]

CAUSES: Mapping[str, str] = {
    "nose": "sniff",
    "again": "sniff",
    "jaw_opens": "speech",
    "jaw_busy": "speech",
    "jaw_restless": "speech",
    "gaze": "gaze",
    "lids_aside": "gaze",
    "step": "ripple",
    "nod": "head",
}
"""Features that speak for a distractor, and its name."""

_COUNT = len(REGIONS)
_JAWS = [r for r in range(_COUNT) if PART[r] == JAW]
_LIDS = [r for r in range(_COUNT) if IS_LID[r]]
_SAME_HALF = {part: [r for r in range(_COUNT) if (PART[r] == UPPER) == (part == UPPER)] for part in set(PART)}
_LOWER_FACE = (NOSE, MOUTH, JAW)

_HEAD_SPEED, _CLOSURE, _GAZE_PX, _BRIGHTNESS_SWING = 25.0, 0.35, 1.2, 0.15
"""Beyond these (px/s, share of the lid gap, px, share of the mean grey level) the picture cannot be
trusted where the movement was, however well it stands out."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a movement is worth.

    Attributes:
        log_likelihood_ratio, quality, vetoes: As in `processing.findings.Movement`.
        displacement: Height of the fitted pulse in everything watched, px [W, 2].
        z: Its length over noise [W].
        features: What the ratio was computed from.
    """

    log_likelihood_ratio: float
    quality: float
    vetoes: tuple[str, ...]
    displacement: F64
    z: F64
    features: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class _Fit:
    """A pulse on a sloping line, fitted to everything watched.

    Attributes:
        height: Of the pulse, px [W, 2].
        gain: Standard error of a height per standard deviation of a position.
        misfit: Standard deviation of what it leaves, px [W, 2].
    """

    height: F64
    gain: float
    misfit: F64


def pulse_shape(times_s: F64, onset_s: float, peak_s: float, offset_s: float) -> F64:
    """Raised-cosine rise and fall between onset, peak and offset: 0 outside, 1 at the peak."""
    rise = np.clip((times_s - onset_s) / max(peak_s - onset_s, 1e-3), 0.0, 1.0)
    fall = np.clip((offset_s - times_s) / max(offset_s - peak_s, 1e-3), 0.0, 1.0)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.minimum(rise, fall)))


def _fit(trail: Trail, best: Excursion) -> _Fit:
    lead_s = max(0.08, 0.4 * best.duration_s)
    near = (trail.times_s >= best.onset_s - lead_s) & (trail.times_s <= best.offset_s + 0.06)
    times, count = trail.times_s[near], int(near.sum())
    observed = trail.positions[near].reshape(count, -1)
    shape = trail.positions.shape[1:]
    if count < 5:
        return _Fit(np.zeros(shape), 1.2, trail.sigma)
    pulse = pulse_shape(times, best.onset_s, best.peak_s, best.offset_s)
    design = np.stack((np.ones(count), times - times.mean(), pulse), axis=1)
    normal = design.T @ design
    normal[np.diag_indices(3)] += 1e-9
    inverse = np.linalg.inv(normal)
    solution = inverse @ (design.T @ observed)
    left = observed - design @ solution
    misfit = np.sqrt((left * left).sum(axis=0) / max(count - 3, 1))
    return _Fit(solution[2].reshape(shape), float(np.sqrt(inverse[2, 2])), misfit.reshape(shape))


def judge(
    group: Sequence[Excursion],
    earlier: Iterable[Excursion],
    trail: Trail,
    context: Context,
    threshold: float,
) -> Judgement:
    """Weigh a movement.

    Args:
        group: Its excursions.
        earlier: Strongest excursions of the movements before it.
        trail: How everything watched moved since a second before it.
        context: Context rows of the last seconds.
        threshold: Log-likelihood ratio from which a movement is reported: one that only its distractors keep
            below it is vetoed by them.
    """
    best = strongest(group)
    fit = _fit(trail, best)
    around = context.between(best.onset_s - 0.1, best.offset_s + 0.1)
    before = context.between(best.onset_s - 1.5, best.onset_s - 0.08)
    lids = around[:, [ctx.LID_RIGHT, ctx.LID_LEFT]]
    open_lids = np.maximum(np.median(before[:, [ctx.LID_RIGHT, ctx.LID_LEFT]], axis=0), 2.0)
    closure = max(float((1.0 - lids / open_lids).max()), float(around[:, ctx.BLINK].max()) - 0.2)
    straight = np.median(before[-12:, [ctx.GAZE_X, ctx.GAZE_Y]], axis=0)
    gaze_px = float(np.hypot(*(around[:, [ctx.GAZE_X, ctx.GAZE_Y]] - straight).T).max())

    features = _features(group, best, earlier, fit, trail, around[:, [ctx.HEAD_X, ctx.HEAD_Y]], gaze_px)
    parts = {name: WEIGHTS[name] * features[name] for name in WEIGHTS}
    ratio = float(sum(parts.values())) + BIAS
    against: dict[str, float] = {}
    for name, cause in CAUSES.items():
        against[cause] = against.get(cause, 0.0) + min(parts[name], 0.0)
    vetoes: list[str] = []
    # Without its distractors it would be reported: what remains is to say which of them it may be.
    if ratio - sum(against.values()) >= threshold:
        if ratio < threshold:
            worst = min(against.values())
            vetoes = [cause for cause, amount in against.items() if amount <= 0.5 * worst]
        part, light = PART[best.watched], around[:, ctx.BRIGHTNESS]
        for name, present in (
            ("head", float(around[:, ctx.SPEED].max()) > _HEAD_SPEED),
            ("blink", closure > _CLOSURE and part in (UPPER, CHEEK)),
            ("gaze", gaze_px > _GAZE_PX and IS_LID[best.watched]),
            ("flicker", float(np.ptp(light)) > _BRIGHTNESS_SWING * float(light.mean())),
        ):
            if present and name not in vetoes:
                vetoes.append(name)
    quality = float(around[:, ctx.QUALITY].mean() * around[:, ctx.CONFIDENCE].mean())
    z = np.sqrt(((fit.height / (trail.sigma * fit.gain)) ** 2).sum(axis=1))
    return Judgement(ratio, quality, tuple(vetoes), fit.height, z, features)


def _features(
    group: Sequence[Excursion],
    best: Excursion,
    earlier: Iterable[Excursion],
    fit: _Fit,
    trail: Trail,
    head: F64,
    gaze_px: float,
) -> dict[str, float]:
    """Values of everything in `WEIGHTS`."""
    part, lid = PART[best.watched], IS_LID[best.watched]
    lower = part in _LOWER_FACE
    error = trail.sigma * fit.gain
    muscle = match(EXPRESSIONS, fit.height[:_COUNT], error[:_COUNT])
    other = match(DISTRACTORS, fit.height[:_COUNT], error[:_COUNT])
    moved_px = max(float(np.hypot(*fit.height[best.watched])), 0.05)
    noise = np.hypot(*trail.sigma.T)
    misfit = np.hypot(*fit.misfit.T) / np.maximum(noise, 1e-3)
    just_before = trail.range_px(best.onset_s - 0.3, best.onset_s - 0.02)
    duration_s = max(best.duration_s, 0.02)
    rise_s, fall_s = max(best.peak_s - best.onset_s, 0.01), max(best.offset_s - best.peak_s, 0.01)
    chord = np.linspace(0.0, 1.0, len(head))[:, None]
    swing_px = float(np.hypot(*(head - (1 - chord) * head[0] - chord * head[-1]).T).max())
    return {
        "height": log(min(best.z, 10.0)),
        "pattern": log(min(max(muscle.strength, 0.5), 12.0)),
        "pattern_share": muscle.share,
        "agreeing": log(len(group)),
        "duration": log(duration_s / 0.25),
        "long": max(log(duration_s / 0.4), 0.0),
        "lopsided": abs(log(rise_s / fall_s)),
        "misfit": log(max(float(misfit[best.watched]), 0.3)),
        "unrest": min(float(just_before[best.watched]) / moved_px, 3.0),
        "lid": float(lid),
        "cheek": float(part == CHEEK),
        "other_share": other.share,
        "nose": float(part == NOSE),
        "again": float(part == NOSE and any(_repeats(best, other) for other in earlier)),
        "jaw_opens": min(max(float(fit.height[_JAWS, 1].max()), 0.0) / moved_px, 2.0) if lower else 0.0,
        "jaw_busy": log(max(float(misfit[_JAWS].max()), 0.3)) if lower else 0.0,
        "jaw_restless": min(float(just_before[_JAWS].max()), 4.0) if lower else 0.0,
        "gaze": min(gaze_px, 3.0) if lid else 0.0,
        "lids_aside": min(abs(float(fit.height[_LIDS, 0].mean())) / moved_px, 1.5) if lid else 0.0,
        # Something near that has not come back: a longer expression begins or ends, and this is its ripple.
        "step": min(_step_px(best, trail)[_SAME_HALF[part]].max() / moved_px, 3.0),
        "nod": min(swing_px, 6.0),
    }


def _repeats(best: Excursion, other: Excursion) -> bool:
    """Whether a movement repeats one just before it: same part of the face, direction and size."""
    turn = (best.direction - other.direction) % kernel.DIRECTIONS
    return (
        PART[best.watched] == PART[other.watched]
        and turn in (0, 1, kernel.DIRECTIONS - 1)
        and 0.08 < best.peak_s - other.peak_s < 0.6
        and 0.5 < best.height_px / other.height_px < 2.0
    )


def _step_px(best: Excursion, trail: Trail) -> F64:
    """How far everything watched ended from where it began, px [W]."""
    times = trail.times_s
    before = (times <= best.onset_s) & (times >= best.onset_s - 0.12)
    after = times >= min(best.offset_s, times[-1])
    if not before.any():
        return np.zeros(trail.positions.shape[1])
    moved = trail.positions[after].mean(axis=0) - trail.positions[before].mean(axis=0)
    return np.asarray(np.hypot(*moved.T))


def _weights() -> tuple[dict[str, float], float]:
    table = tomllib.loads((files("processing") / "data" / "spotting.toml").read_text(encoding="utf-8"))
    return {name: float(value) for name, value in table["weights"].items()}, float(table["bias"])


WEIGHTS, BIAS = _weights()
"""Log-odds per unit of each feature, and of none; the file says how they were fitted."""
