"""What else the face was doing: blinks, gaze, speech, the head, flicker. Weighs a movement against all of
it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block
from processing.spotting_anatomy import CHEEK, IS_LID, JAW, MOUTH, NOSE, PART, REGIONS, UPPER
from processing.spotting_types import Excursion

GAZE_X, GAZE_Y, LID_RIGHT, LID_LEFT, LIPS, HEAD_X, HEAD_Y, BRIGHTNESS, RESIDUAL, SPEED, QUALITY = range(11)
BLINK, CONFIDENCE = 11, 12
_LABELS = (
    "gaze_dx", "gaze_dy", "lid_gap_right", "lid_gap_left", "lip_gap", "head_dx", "head_dy", "brightness",
    "rigid_residual_px", "head_speed", "quality",
)  # fmt: skip


class Context:
    """Context rows of the last seconds."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._rows: deque[NDArray[np.float64]] = deque()
        self._times: deque[float] = deque()
        self._seconds = seconds

    @staticmethod
    def rows(motion: Block, action_units: Block | None) -> NDArray[np.float64]:
        """Context rows [n, 13] of a block: motion's own, then blink closure 0-1 and face confidence 0-1."""
        rows = np.zeros((len(motion), 13))
        for k, label in enumerate(_LABELS):
            rows[:, k] = motion.column(label)
        rows[:, CONFIDENCE] = 1.0
        if action_units is not None and len(action_units) == len(motion):
            closed = np.maximum(action_units.column("blink_left"), action_units.column("blink_right"))
            rows[:, BLINK] = np.nan_to_num(closed)
            rows[:, CONFIDENCE] = np.nan_to_num(action_units.column("confidence"))
        return rows

    def append(self, time_s: float, row: NDArray[np.float64]) -> None:
        self._times.append(time_s)
        self._rows.append(row)
        while time_s - self._times[0] > self._seconds:
            self._times.popleft()
            self._rows.popleft()

    def between(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Rows [n, 13] of that time; the oldest one when there are none."""
        picked = [row for t, row in zip(self._times, self._rows, strict=True) if start_s <= t <= end_s]
        return np.stack(picked) if picked else self._rows[0][None]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """How everything watched moved around an excursion.

    Attributes:
        displacement: At its peak, from the chord between before and after, px [W, 2].
        step: How far it ended from where it began, px [W].
        restless: Range of its movement in the second before, px [W].
        sigma: Noise of excursions [spans, W, 2], px.
    """

    displacement: NDArray[np.float64]
    step: NDArray[np.float64]
    restless: NDArray[np.float64]
    sigma: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a movement is worth.

    Attributes:
        log_likelihood_ratio, quality, vetoes: As in `processing.findings.Movement`.
        displacement: Of everything watched, px [W, 2].
        z: Its length over noise [W].
        features: What the ratio was computed from, in the order of `FEATURES`.
    """

    log_likelihood_ratio: float
    quality: float
    vetoes: tuple[str, ...]
    displacement: NDArray[np.float64]
    z: NDArray[np.float64]
    features: NDArray[np.float64]


LOWER_FACE = (NOSE, MOUTH, JAW)
"""Parts of the face that speaking, swallowing and sniffing move again and again."""

WEIGHTS: dict[str, float] = {
    "log_z": 2.05,
    "log_contrast": 0.70,
    "log_duration": 0.52,
    "long": -0.33,
    "lopsided": -1.70,
    "lid": 1.18,
    "cheek": -0.88,
    "nose": -2.68,
    "mouth": -0.07,
    "jaw": -3.56,
    "speed": -0.69,
    "head": 0.05,
    "closure": -0.77,
    "gaze": -3.70,
    "repeats": -0.16,
    "jaw_moves": -3.14,
    "step": -0.50,
    "restless": -0.99,
}
"""What a movement's features add to its log-odds; fitted by logistic regression to candidates on animated
photographs of people that none of the bench's clips shows. Signs are as one would write them by hand."""

BIAS = -2.73 + 0.80
"""Puts the operating point (about one false candidate per usable minute) at a log-likelihood ratio of 1."""

FEATURES: tuple[str, ...] = tuple(WEIGHTS)
_WEIGHTS = np.array(list(WEIGHTS.values()))


def judge(
    best: Excursion, recent: Iterable[Excursion], surroundings: Surroundings, context: Context
) -> Judgement:
    """Weigh a movement against what else happened around it.

    Args:
        best: Its strongest excursion.
        recent: Excursions of the last seconds.
        surroundings: How the rest of the face moved.
        context: Context rows of the last seconds.
    """
    displacement = surroundings.displacement
    z = np.sqrt(((displacement / surroundings.sigma[1]) ** 2).sum(axis=1))
    part = PART[best.watched]
    around = context.between(best.onset_s - 0.1, best.offset_s + 0.1)
    before = context.between(best.onset_s - 1.5, best.onset_s - 0.08)
    duration = max(best.duration_s, 0.02)
    mouthy, lid = part in LOWER_FACE, IS_LID[best.watched]
    speed = float(around[:, SPEED].max())

    lids = around[:, [LID_RIGHT, LID_LEFT]]
    open_lids = np.maximum(np.median(before[:, [LID_RIGHT, LID_LEFT]], axis=0), 2.0)
    closure = max(float((1.0 - lids / open_lids).max()), float(around[:, BLINK].max()) - 0.2, 0.0)
    gaze = around[:, [GAZE_X, GAZE_Y]]
    looked = float(np.hypot(*(gaze - np.median(before[-12:, [GAZE_X, GAZE_Y]], axis=0)).T).max())
    head = around[:, [HEAD_X, HEAD_Y]]
    chord = np.linspace(0, 1, len(head))[:, None]
    nod = float(np.hypot(*(head - (1 - chord) * head[0] - chord * head[-1]).T).max())

    earlier = [
        other
        for other in recent
        if best.onset_s - 1.4 < other.peak_s < best.onset_s - 0.02
        and (PART[other.watched] == part or (mouthy and PART[other.watched] in LOWER_FACE))
    ]
    repeats = len({round(other.peak_s / 0.12) for other in earlier if other.height_px > 0.4 * best.height_px})
    moved = np.hypot(*displacement.T)
    jaws = [r for r in range(len(REGIONS)) if PART[r] == JAW]
    # A mouth that speaks moves its jaw either way; alone, a chin that rises is AU17.
    jaw = [float(displacement[r, 1]) if part == JAW else abs(float(displacement[r, 1])) for r in jaws]
    restless = surroundings.restless
    # Something near that has not come back is a longer expression beginning or ending, and this its ripple.
    near = [r for r in range(len(REGIONS)) if (PART[r] == UPPER) == (part == UPPER)]
    step = max(surroundings.step[r] for r in near)
    best_px = float(moved[best.watched])

    values = {
        "log_z": min(np.log(best.z), np.log(10.0)),
        "log_contrast": min(np.log(max(z[best.watched], 0.5)), np.log(10.0)),
        "log_duration": np.log(duration / 0.25),
        "long": max(np.log(duration / 0.4), 0.0),
        "lopsided": abs(
            np.log(max(best.peak_s - best.onset_s, 0.01) / max(best.offset_s - best.peak_s, 0.01))
        ),
        "lid": float(lid),
        "cheek": float(part == CHEEK),
        "nose": float(part == NOSE),
        "mouth": float(part == MOUTH),
        "jaw": float(part == JAW),
        "speed": min(speed / 25.0, 2.0),
        "head": min(nod / max(best_px, 0.05), 5.0),
        "closure": min(closure, 1.0) if part in (UPPER, CHEEK) else 0.0,
        "gaze": min(looked, 3.0) if lid else 0.0,
        "repeats": min(float(repeats), 4.0),
        "jaw_moves": min(max(*jaw, 0.0) / max(best_px, 0.05), 2.0) if mouthy else 0.0,
        "step": min(step / max(best_px, 0.05), 3.0),
        "restless": min(restless[best.watched] / max(best_px, 0.05), 3.0),
    }
    features = np.array([values[name] for name in FEATURES])
    vetoes = _vetoes(part, lid, closure, looked, speed)
    quality = float(around[:, QUALITY].mean() * around[:, CONFIDENCE].mean())
    ratio = float(features @ _WEIGHTS) + BIAS
    return Judgement(ratio, quality, vetoes, displacement, z, features)


def _vetoes(part: int, lid: bool, closure: float, gaze_px: float, speed: float) -> tuple[str, ...]:
    vetoes = []
    if speed > 25.0:
        vetoes.append("head")
    if closure > 0.35 and part in (UPPER, CHEEK):
        vetoes.append("blink")
    if gaze_px > 1.2 and lid:
        vetoes.append("gaze")
    return tuple(vetoes)
