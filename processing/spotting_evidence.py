"""Weighs a brief movement: how well it stands out, whether it follows a muscle, and what else may have caused
it.

Each feature adds its weight times its value to the log-odds. Those that speak for a distractor carry its
name: a movement that would have been reported but for one is let out with that name as its veto.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import log

import numpy as np
from numpy.typing import NDArray

from processing.motion_context import FASTEST_HEAD_PX_S, MOST_MISFIT_PX
from processing.spotting_anatomy import CHEEK, IS_LID, JAW, MOUTH, NOSE, PART, REGIONS, UPPER
from processing.spotting_context import Context, Surroundings, Trail
from processing.spotting_habits import Seen, repetition
from processing.spotting_patterns import (
    BLINKS,
    EXPRESSIONS,
    JAW_OPENS,
    LOOKS,
    NAMED,
    NAMED_UNITS,
    Match,
    match,
)
from processing.spotting_types import Excursion, strongest

F64 = NDArray[np.float64]

CAUSES: Mapping[str, str] = {
    "nose": "sniff",
    "again_nose": "sniff",
    "again_mouth": "speech",
    "again_elsewhere": "ripple",
    "lips_part": "speech",
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

_CLOSURE, _GAZE_PX, _LIGHT_SWING = 0.35, 1.2, 0.15
"""Beyond these (share of the lid gap, px, share of the mean grey level) the picture cannot be trusted where
the movement was, however well it stands out; nor beyond what `motion_context.usable` allows the head."""

_LEAST_TAKEN = 1.0
"""Log-odds that a distractor must take away to be suspected: noise alone looks a little like each of them."""

_BLINKING = 0.2
"""Share of the lid gap from which lids that move may well be blinking."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a movement is worth.

    Attributes:
        log_likelihood_ratio, quality, vetoes: As in `processing.findings.Movement`.
        told: Whether it is to be let out at all, with its vetoes if it has any.
        seen: Height of the fitted pulse in everything watched, and its error.
        z: Length of the height over noise [W].
        features: What the ratio was computed from.
    """

    log_likelihood_ratio: float
    quality: float
    vetoes: tuple[str, ...]
    told: bool
    seen: Seen
    z: F64
    features: Mapping[str, float]

    @property
    def clear(self) -> bool:
        """Whether it is told for more than a faint movement: it, or its distractor, was surely there."""
        return self.told and self.vetoes != ("faint",)


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
    earlier: Sequence[Seen],
    trail: Trail,
    context: Context,
    threshold: float,
    faint: float,
) -> Judgement:
    """Weigh a movement.

    Args:
        group: Its excursions.
        earlier: The movements before it.
        trail: How everything watched moved since a second before it.
        context: Context rows of the last seconds.
        threshold: Log-likelihood ratio from which a movement is reported: one that only its distractors keep
            below it is vetoed by them.
        faint: From which one that is too weak by itself is told all the same.
    """
    best = strongest(group)
    fit = _fit(trail, best)
    seen = Seen(best, fit.height, trail.sigma * fit.gain)
    around = Surroundings.of(context, best.onset_s, best.offset_s)
    muscle = match(EXPRESSIONS, seen.displacement[:_COUNT], seen.error[:_COUNT])
    features = {
        **_features(group, seen, fit, trail, muscle, _distractor(seen, around)),
        **_habits(seen, fit, trail, earlier, around.lips_px),
        "gaze": min(around.gaze_px, 3.0) if IS_LID[best.watched] else 0.0,
        "nod": min(around.swing_px, 6.0),
    }
    parts = {name: weight * features[name] for name, weight in WEIGHTS.items()}
    ratio = float(sum(parts.values())) + BIAS
    suspects = _suspects(ratio, parts, threshold)
    told = bool(suspects) or ratio >= min(threshold, faint)
    vetoes = suspects if suspects or ratio >= threshold else ("faint",)
    if told:
        vetoes = tuple(dict.fromkeys((*vetoes, *_present(best, around))))
    z = np.sqrt(((seen.displacement / seen.error) ** 2).sum(axis=1))
    return Judgement(ratio, around.quality, vetoes, told, seen, z, features)


def _suspects(ratio: float, parts: Mapping[str, float], threshold: float) -> tuple[str, ...]:
    """The likeliest distractors that keep a movement below the threshold; none if it is too weak anyhow.

    Args:
        ratio: Its log-likelihood ratio.
        parts: What each feature adds to that.
        threshold: See `judge`.
    """
    taken = {
        cause: sum(min(parts[name], 0.0) for name in CAUSES if CAUSES[name] == cause)
        for cause in dict.fromkeys(CAUSES.values())
    }
    taken = {cause: amount for cause, amount in taken.items() if amount <= -_LEAST_TAKEN}
    if not ratio < threshold <= ratio - sum(taken.values()):
        return ()
    return tuple(cause for cause, amount in taken.items() if amount <= 0.5 * min(taken.values()))


def units_of(seen: Seen) -> tuple[int, ...]:
    """The one or two action units whose pattern over the whole face a movement follows best."""
    return NAMED_UNITS[match(NAMED, seen.displacement[:_COUNT], seen.error[:_COUNT]).which]


def _present(best: Excursion, around: Surroundings) -> Iterator[str]:
    """Distractors that were there, whatever the movement looked like."""
    if around.head_speed > FASTEST_HEAD_PX_S or around.misfit_px > MOST_MISFIT_PX:
        yield "head"
    if around.closure > _CLOSURE and PART[best.watched] in (UPPER, CHEEK):
        yield "blink"
    if around.gaze_px > _GAZE_PX and IS_LID[best.watched]:
        yield "gaze"
    if around.light_swing > _LIGHT_SWING:
        yield "flicker"


def _distractor(seen: Seen, around: Surroundings) -> Match:
    """The distractor most like a movement: lids only look if the iris moves, only blink if they close."""
    moved = seen.displacement[:_COUNT], seen.error[:_COUNT]
    present = (
        (match(JAW_OPENS, *moved), 1.0),
        (match(BLINKS, *moved), min(max(around.closure, 0.0) / _BLINKING, 1.0)),
        (match(LOOKS, *moved), min(around.gaze_px / _GAZE_PX, 1.0)),
    )
    return Match(
        max(0.3, *(share * each.strength for each, share in present)),
        max(share * each.share for each, share in present),
    )


def _features(
    group: Sequence[Excursion], seen: Seen, fit: _Fit, trail: Trail, muscle: Match, other: Match
) -> dict[str, float]:
    """How a movement stands out, and what it looks like."""
    best = seen.best
    part, lid = PART[best.watched], IS_LID[best.watched]
    moved_px = _moved_px(seen)
    just_before = trail.range_px(best.onset_s - 0.3, best.onset_s - 0.02)
    duration_s = max(best.duration_s, 0.02)
    rise_s, fall_s = max(best.peak_s - best.onset_s, 0.01), max(best.offset_s - best.peak_s, 0.01)
    return {
        "height": log(min(best.z, 10.0)),
        "pattern": log(min(max(muscle.strength, 0.5), 12.0)),
        "pattern_share": muscle.share,
        "agreeing": log(len(group)),
        "duration": log(duration_s / 0.25),
        "long": max(log(duration_s / 0.4), 0.0),
        "lopsided": abs(log(rise_s / fall_s)),
        "misfit": log(max(float(_misfit(fit, trail)[best.watched]), 0.3)),
        "unrest": min(float(just_before[best.watched]) / moved_px, 3.0),
        "lid": float(lid),
        "cheek": float(part == CHEEK),
        "nose": float(part == NOSE),
        "other_share": other.share,
        "rival": min(max(log(other.strength / muscle.strength), -1.5), 1.5),
        "lids_aside": min(abs(float(fit.height[_LIDS, 0].mean())) / moved_px, 1.5) if lid else 0.0,
        # Something near that has not come back: a longer expression begins or ends, and this is its ripple.
        "step": min(float(_step_px(best, trail)[_SAME_HALF[part]].max()) / moved_px, 3.0),
    }


def _habits(seen: Seen, fit: _Fit, trail: Trail, earlier: Sequence[Seen], lips_px: float) -> dict[str, float]:
    """What speaks for speech and sniffs."""
    best = seen.best
    part = PART[best.watched]
    lower = part in _LOWER_FACE
    again = repetition(seen, earlier)
    just_before = trail.range_px(best.onset_s - 0.3, best.onset_s - 0.02)
    opened_px = max(float(fit.height[_JAWS, 1].max()), 0.0)
    return {
        "again_nose": again if part == NOSE else 0.0,
        "again_mouth": again if part in (MOUTH, JAW) else 0.0,
        "again_elsewhere": again if part in (UPPER, CHEEK) else 0.0,
        "lips_part": min(lips_px, 4.0) if lower else 0.0,
        "jaw_opens": min(opened_px / _moved_px(seen), 2.0) if lower else 0.0,
        "jaw_busy": log(max(float(_misfit(fit, trail)[_JAWS].max()), 0.3)) if lower else 0.0,
        "jaw_restless": min(float(just_before[_JAWS].max()), 4.0) if lower else 0.0,
    }


def _moved_px(seen: Seen) -> float:
    """How far the region that stood out most moved, never less than a noise's width."""
    return max(float(np.hypot(*seen.displacement[seen.best.watched])), 0.05)


def _misfit(fit: _Fit, trail: Trail) -> F64:
    """What the fitted pulse leaves of everything watched, in standard deviations of noise [W]."""
    return np.asarray(np.hypot(*fit.misfit.T) / np.maximum(np.hypot(*trail.sigma.T), 1e-3))


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
