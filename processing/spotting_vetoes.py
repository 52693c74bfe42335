"""What else the face was doing: blinks, gaze, speech, head, flicker. Weighs a movement against all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block
from processing.motion_regions import EXPRESSIVE, base_name

if TYPE_CHECKING:
    from processing.spotting import Excursion

_BASES = tuple(base_name(region.name) for region in EXPRESSIVE)
EYE_BASES = frozenset({"upper_lid", "lower_lid"})
UPPER_BASES = frozenset({"inner_brow", "outer_brow", "glabella", "upper_lid", "lower_lid", "cheek"})
MOUTH_BASES = frozenset({"upper_lip", "lip_corner", "lower_lip", "chin", "nose_wing"})


class Context:
    """Columns of the context rows."""

    LABELS = (
        "gaze_dx", "gaze_dy", "lid_gap_right", "lid_gap_left", "lip_gap", "head_dx", "head_dy", "brightness",
        "rigid_residual_px", "head_speed", "quality",
    )  # fmt: skip
    GAZE_X, GAZE_Y, LID_RIGHT, LID_LEFT, LIP, HEAD_X, HEAD_Y, BRIGHT, RESIDUAL, SPEED, QUALITY = range(11)
    BLINK, CONFIDENCE = 11, 12

    @staticmethod
    def columns(motion: Block, action_units: Block | None) -> NDArray[np.float64]:
        """Context rows [n, 13] of a block: motion's own, then blink closure 0-1 and face confidence 0-1."""
        rows = np.full((len(motion), 13), np.nan)
        labels = motion.spec.labels
        for k, label in enumerate(Context.LABELS):
            if label in labels:
                rows[:, k] = motion.column(label)
        rows[:, Context.BLINK] = 0.0
        rows[:, Context.CONFIDENCE] = 1.0
        if action_units is not None and len(action_units) == len(motion):
            names = action_units.spec.labels
            if "blink_left" in names:
                both = np.maximum(action_units.column("blink_left"), action_units.column("blink_right"))
                rows[:, Context.BLINK] = np.nan_to_num(both)
            if "confidence" in names:
                rows[:, Context.CONFIDENCE] = np.nan_to_num(action_units.column("confidence"))
        return rows


class ContextTrail:
    """The context rows of the last seconds."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._rows: deque[NDArray[np.float64]] = deque()
        self._times: deque[float] = deque()
        self._seconds = seconds

    def append(self, time_s: float, row: NDArray[np.float64]) -> None:
        self._times.append(time_s)
        self._rows.append(row)
        while time_s - self._times[0] > self._seconds:
            self._times.popleft()
            self._rows.popleft()

    def between(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Rows [n, 13] of that time, at least the newest one."""
        picked = [row for t, row in zip(self._times, self._rows, strict=True) if start_s <= t <= end_s]
        return np.stack(picked) if picked else self._rows[-1][None]


@dataclass(frozen=True)
class Judgement:
    """What a movement is worth."""

    log_likelihood_ratio: float
    quality: float
    vetoes: tuple[str, ...]
    features: dict[str, float]


def judge(
    group: list[Excursion], best: Excursion, recent: Iterable[Excursion], trail: ContextTrail, now_s: float
) -> Judgement:
    """Weigh a movement against what else happened around it.

    Args:
        group: Excursions of the movement.
        best: The strongest of them.
        recent: Excursions of the last seconds, those of `group` included.
        trail: Context of the last seconds.
        now_s: Stamp of the newest frame.
    """
    features = measure(group, best, recent, trail, now_s)
    base = _BASES[best.region]
    vetoes: list[str] = []
    if features["speed"] > 25.0 or features["residual"] > 0.35:
        vetoes.append("head")
    if features["lid_closure"] > 0.35 and base in UPPER_BASES:
        vetoes.append("blink")
    if features["gaze"] > 1.2 and base in EYE_BASES:
        vetoes.append("gaze")
    if base in MOUTH_BASES and features["mouth_peaks"] >= 2:
        vetoes.append("speech")
    ratio = 2.0 * (float(np.log(best.z)) - np.log(7.0))
    return Judgement(ratio, features["quality"], tuple(vetoes), features)


def measure(
    group: list[Excursion], best: Excursion, recent: Iterable[Excursion], trail: ContextTrail, now_s: float
) -> dict[str, float]:
    """Features of a movement and its surroundings, by name."""
    around = trail.between(best.onset_s - 0.1, best.offset_s + 0.1)
    before = trail.between(best.onset_s - 2.0, best.onset_s - 0.1)
    gaps = around[:, [Context.LID_RIGHT, Context.LID_LEFT]]
    open_gaps = np.median(before[:, [Context.LID_RIGHT, Context.LID_LEFT]], axis=0)
    closure = 1.0 - gaps / np.maximum(open_gaps, 1.0)
    gaze = around[:, [Context.GAZE_X, Context.GAZE_Y]]
    gaze_reference = np.median(before[-12:, [Context.GAZE_X, Context.GAZE_Y]], axis=0)
    mouth_peaks = 0
    for other in recent:
        if (
            _BASES[other.region] in MOUTH_BASES
            and best.onset_s - 1.2 < other.peak_s < best.onset_s
            and other.height_px > 0.4 * best.height_px
        ):
            mouth_peaks += 1
    return {
        "speed": float(around[:, Context.SPEED].max()),
        "residual": float(around[:, Context.RESIDUAL].max()),
        "quality": float(around[:, Context.QUALITY].mean()),
        "lid_closure": float(closure.max()),
        "gaze": float(np.hypot(*(gaze - gaze_reference).T).max()),
        "mouth_peaks": float(mouth_peaks),
    }
