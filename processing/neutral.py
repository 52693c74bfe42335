"""The person's own neutral face, which every activation is measured against.

Faces differ by more than expressions move them: without a personal neutral a low brow reads as a frown. The
neutral comes from a rest stretch, or is found on the fly as the state in which the face rests longest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from acquisition.stream import InvalidSignal
from processing.landmarks import BLENDSHAPES, LANDMARK_COUNT

SETTLING_S = 1.5
"""Time in sight of the face after which its running neutral can be trusted."""

SPACING_S = 0.03
"""Least time between two frames of a rest that are kept for its median: bounds the memory at any rate."""

FOLLOWING_S = 30.0
"""Time constant with which a state follows the slow drift of the face in it."""

MEMORY_S = 60.0
"""Time constant with which past dwelling is forgotten."""

REVIEW_S = 0.2
"""How often the running neutral is published anew."""

MAX_KEPT = 600
"""Frames kept of a rest stretch; a longer one is thinned to every second frame, again and again."""

STATES = 12
"""States that are remembered; a new one takes the place of the one dwelt in least."""

REACH_IOD = 0.03
"""Frames in which no feature point is farther than this from a state's belong to it: a third of a marked
movement, several times the jitter of a webcam's landmarks."""

# fmt: off
_FEATURES = np.array(
    [107, 55, 105, 70, 336, 285, 334, 300,  # brows
     159, 145, 386, 374,  # lids
     64, 294, 61, 291, 0, 13, 14, 17, 199],  # nose wings, lips, chin
    dtype=np.int64,
)
# fmt: on

_SWITCH_RATIO = 1.5
"""How much longer another state must have been dwelt in to become the neutral ..."""

_SWITCH_LEAST_S = 2.0
_SWITCH_EARLY_S, _GLIMPSE_S = 0.15, 0.1
"""... and how long at least, when the present one was seen for no more than a glimpse: the first frames may
show a face that is not yet found well."""

_EXPRESSIVE = tuple(
    BLENDSHAPES.index(name)
    for name in ("mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "jawOpen")
)
"""Blendshapes that are low in nearly every resting face: a smile held long is none the less no rest."""

_EXPRESSIVE_WEIGHT = 1.5
"""Logarithm of the dwell ratio that one such blendshape at 1 outweighs."""


@dataclass(frozen=True, eq=False)
class Neutral:
    """A face at rest.

    Attributes:
        points: float64 [478, 3], face coordinates (see `processing.pose`).
        blendshapes: float64 [52].
        frames: How many frames it rests on.
        pose_deg: Pitch and yaw of the head that `points` show; None in files of before it was kept.
    """

    points: NDArray[np.float64]
    blendshapes: NDArray[np.float64]
    frames: int
    pose_deg: tuple[float, float] | None = None

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """A dict of arrays, for a calibration file."""
        arrays = {
            "points": self.points,
            "blendshapes": self.blendshapes,
            "frames": np.array([float(self.frames)]),
        }
        if self.pose_deg is not None:
            arrays["pose_deg"] = np.array(self.pose_deg)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float64]]) -> Neutral:
        """What `to_arrays` gave.

        Raises:
            InvalidSignal: An array is missing or has another shape.
        """
        pose = np.asarray(arrays.get("pose_deg", ()), dtype=np.float64).ravel()
        try:
            neutral = cls(
                np.asarray(arrays["points"], dtype=np.float64),
                np.asarray(arrays["blendshapes"], dtype=np.float64),
                int(np.asarray(arrays["frames"]).ravel()[0]),
                (float(pose[0]), float(pose[1])) if len(pose) == 2 and np.isfinite(pose).all() else None,
            )
        except KeyError as missing:
            raise InvalidSignal(
                f"The neutral face in this calibration lacks {missing}: record a rest again."
            ) from None
        shapes = (neutral.points.shape, neutral.blendshapes.shape)
        if shapes != ((LANDMARK_COUNT, 3), (len(BLENDSHAPES),)):
            raise InvalidSignal(
                f"The neutral face in this calibration has shapes {shapes}: record a rest again."
            )
        return neutral


@njit(cache=True, nogil=True)
def _nearest(
    sample: NDArray[np.float64],
    means: NDArray[np.float64],
    dwell_s: NDArray[np.float64],
    features: NDArray[np.int64],
) -> tuple[int, float]:
    """The state nearest to a sample and its distance: that of the feature point that is farthest off, IOD."""
    best, best_squared = -1, np.inf
    for k in range(means.shape[0]):
        if dwell_s[k] < 0.0:
            continue
        farthest = 0.0
        for feature in features:
            x = sample[3 * feature] - means[k, 3 * feature]
            y = sample[3 * feature + 1] - means[k, 3 * feature + 1]
            farthest = max(farthest, x * x + y * y)
        if farthest < best_squared:
            best, best_squared = k, farthest
    return best, np.sqrt(best_squared)


class NeutralEstimator:
    """Finds the neutral as frames come in: causal, and the same for any chunking of them.

    Before a rest stretch has ended (or when there is none) the face's states are told apart as they appear:
    a frame belongs to the nearest state in reach or begins a new one. The neutral is the first state, until
    another has been dwelt in clearly longer; an expression, even one held for a while, is a state of its own
    and does not bend it. A neutral that was given, or measured in a rest, stays.
    """

    def __init__(self, rest: tuple[float, float] | None = None, neutral: Neutral | None = None) -> None:
        if rest is not None and not rest[1] > rest[0]:
            raise InvalidSignal(f"The rest stretch {rest[0]}:{rest[1]} s ends before it begins.")
        self.rest = rest
        self._given = neutral
        self.reset()

    def reset(self) -> None:
        """Start anew, with the neutral that was given, if any."""
        self.neutral: Neutral | None = self._given
        self._fixed = self._given is not None
        self._means = np.zeros((STATES, 3 * LANDMARK_COUNT + len(BLENDSHAPES)))
        self._dwell_s = np.full(STATES, -1.0)  # negative: no such state
        self._frames = np.zeros(STATES, dtype=np.int64)
        self._present = 0
        self._pose_deg: tuple[float, float] | None = None
        self._rested: list[NDArray[np.float64]] = []
        self._first_s = self._rested_s = self._review_s = self._last_s = math.nan
        self._rest_spacing_s = SPACING_S

    @property
    def settled(self) -> float:
        """0 at the first face frame, 1 once the neutral can be trusted."""
        if self._fixed:
            return 1.0
        if self.neutral is None:
            return 0.0
        return float(min(1.0, (self._last_s - self._first_s) / SETTLING_S))

    def update(
        self,
        time_s: float,
        points: NDArray[np.float64],
        blendshapes: NDArray[np.float64],
        pose_deg: tuple[float, float] | None = None,
    ) -> None:
        """Take one face frame in.

        Args:
            time_s: Its stamp.
            points: [478, 3] in face coordinates, aligned with the present neutral and turned as its head is.
            blendshapes: [52], as of a head turned so.
            pose_deg: Pitch and yaw of the first frame, which all others are turned to.
        """
        if self._fixed:
            return
        sample = np.concatenate((points.ravel(), blendshapes))
        if self._collect_rest(time_s, sample):
            return
        if self.neutral is None:
            self._first_s = self._last_s = time_s
            self._pose_deg = pose_deg
        step_s = max(0.0, min(time_s - self._last_s, 0.2))
        self._last_s = time_s
        self._visit(sample, step_s)
        present = self._best_state()
        due = self._frames[present] <= 5 or not time_s - self._review_s < REVIEW_S
        if self.neutral is None or present != self._present or due:
            self._present, self._review_s = present, time_s
            self._publish(self._means[present], int(self._frames[present]))

    def _collect_rest(self, time_s: float, sample: NDArray[np.float64]) -> bool:
        """Keep a frame of the rest stretch; True once the neutral measured in it is in force."""
        if self.rest is None:
            return False
        if self.rest[0] <= time_s <= self.rest[1]:
            if not time_s - self._rested_s < self._rest_spacing_s:
                self._rested.append(sample)
                self._rested_s = time_s
                if len(self._rested) >= MAX_KEPT:
                    self._rested = self._rested[::2]
                    self._rest_spacing_s *= 2.0
        elif time_s > self.rest[1] and self._rested:
            self._publish(np.median(np.stack(self._rested), axis=0), len(self._rested))
            self._rested = []
            self._fixed = True
        return self._fixed

    def _visit(self, sample: NDArray[np.float64], step_s: float) -> None:
        self._dwell_s *= math.exp(-step_s / MEMORY_S)
        state, distance = _nearest(sample, self._means, self._dwell_s, _FEATURES)
        if distance >= REACH_IOD:
            state = self._least_dwelt()
            self._means[state], self._dwell_s[state], self._frames[state] = sample, step_s, 1
            return
        self._frames[state] += 1
        self._dwell_s[state] += step_s
        # Frames at the rim are on their way to another state and count less.
        near = (1.0 - (distance / REACH_IOD) ** 2) ** 2
        share = near * max(1.0 / self._frames[state], min(1.0, step_s / FOLLOWING_S))
        mean = self._means[state]
        mean += share * (sample - mean)

    def _least_dwelt(self) -> int:
        if self.neutral is None:
            return self._present
        others = self._dwell_s.tolist()
        others[self._present] = math.inf
        return others.index(min(others))

    def _best_state(self) -> int:
        dwell_s = self._dwell_s.tolist()
        needed = self._restfulness(self._present, dwell_s) + math.log(_SWITCH_RATIO)
        best = self._present
        least_s = _SWITCH_EARLY_S if dwell_s[self._present] < _GLIMPSE_S else _SWITCH_LEAST_S
        for state, dwelt_s in enumerate(dwell_s):
            if dwelt_s > least_s and state != self._present:
                restfulness = self._restfulness(state, dwell_s)
                if restfulness > needed:
                    best, needed = state, restfulness
        return best

    def _restfulness(self, state: int, dwell_s: list[float]) -> float:
        """Logarithm of the time dwelt in a state, less what speaks against its being a rest."""
        shapes = self._means[state, 3 * LANDMARK_COUNT :]
        expressive = sum(float(shapes[index]) for index in _EXPRESSIVE)
        return math.log(max(dwell_s[state], 1e-3)) - _EXPRESSIVE_WEIGHT * expressive

    def _publish(self, sample: NDArray[np.float64], frames: int) -> None:
        cut = 3 * LANDMARK_COUNT
        points = sample[:cut].reshape(LANDMARK_COUNT, 3).copy()
        self.neutral = Neutral(points, sample[cut:].copy(), frames, self._pose_deg)
