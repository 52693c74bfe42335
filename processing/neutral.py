"""The person's own neutral face, which every activation is measured against.

Faces differ by more than expressions move them: without a personal neutral a low brow reads as a frown. The
neutral comes from a rest stretch, or from a running estimate that converges in the first seconds and then
follows slowly while the face is quiet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import InvalidSignal
from processing.landmarks import BLENDSHAPES, LANDMARK_COUNT

SETTLING_S = 1.5
"""Length of the first stretch whose median is the running neutral's start."""

SPACING_S = 0.03
"""Least time between two frames that are kept for a median: bounds the memory at any frame rate."""

FOLLOWING_S = 30.0
"""Time constant of the slow following while the face is quiet."""

REVIEW_S = 0.2
"""How often the median is taken anew while settling."""

MAX_KEPT = 600
"""Frames kept of a rest stretch; a longer one is thinned to every second frame, again and again."""


@dataclass(frozen=True, eq=False)
class Neutral:
    """A face at rest.

    Attributes:
        points: float64 [478, 3], face coordinates (see `processing.pose`).
        blendshapes: float64 [52].
        frames: How many frames it rests on.
    """

    points: NDArray[np.float64]
    blendshapes: NDArray[np.float64]
    frames: int

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """A dict of arrays, for a calibration file."""
        return {
            "points": self.points,
            "blendshapes": self.blendshapes,
            "frames": np.array([float(self.frames)]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float64]]) -> Neutral:
        """What `to_arrays` gave.

        Raises:
            InvalidSignal: An array is missing or has another shape.
        """
        try:
            neutral = cls(
                np.asarray(arrays["points"], dtype=np.float64),
                np.asarray(arrays["blendshapes"], dtype=np.float64),
                int(np.asarray(arrays["frames"]).ravel()[0]),
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


class NeutralEstimator:
    """Finds the neutral as frames come in: causal, and the same for any chunking of them.

    Before a rest stretch has ended (or when there is none) the median of the first `SETTLING_S` of face
    frames serves; afterwards it follows the quiet face slowly, with the misfit of each coordinate clipped, so
    that no expression is learned away. A neutral that was given, or measured in a rest, stays.
    """

    _STEP_LIMIT_IOD = 0.01

    def __init__(self, rest: tuple[float, float] | None = None, neutral: Neutral | None = None) -> None:
        if rest is not None and not rest[1] > rest[0]:
            raise InvalidSignal(f"The rest stretch {rest[0]}:{rest[1]} s ends before it begins.")
        self.rest = rest
        self._given = neutral
        self.reset()

    def reset(self) -> None:
        """Start anew, with the neutral that was given, if any."""
        self.neutral: Neutral | None = self._given
        self.version = 0
        """Counts every change of `neutral`, so that what is derived from it can be renewed."""
        self._fixed = self._given is not None
        self._kept: list[NDArray[np.float64]] = []
        self._rested: list[NDArray[np.float64]] = []
        self._first_s = self._kept_s = self._rested_s = self._review_s = self._last_s = np.nan
        self._rest_spacing_s = SPACING_S

    @property
    def settled(self) -> float:
        """0 at the first face frame, 1 once the neutral can be trusted."""
        if self._fixed:
            return 1.0
        if self.neutral is None or np.isnan(self._first_s):
            return 0.0
        return float(min(1.0, (self._last_s - self._first_s) / SETTLING_S))

    def update(
        self,
        time_s: float,
        points: NDArray[np.float64],
        blendshapes: NDArray[np.float64],
        quiet: bool,
    ) -> None:
        """Take one face frame in.

        Args:
            time_s: Its stamp.
            points: [478, 3] in face coordinates, aligned with the present neutral.
            blendshapes: [52].
            quiet: The face is still and near the present neutral.
        """
        sample = np.concatenate([points.ravel(), blendshapes])
        self._collect_rest(time_s, sample)
        if self._fixed:
            return
        if self.neutral is None:
            self._first_s = self._kept_s = self._review_s = self._last_s = time_s
            self._kept = [sample]
            self._set(sample, 1)
            return
        step_s = max(0.0, min(time_s - self._last_s, 0.2))
        self._last_s = time_s
        if time_s - self._first_s <= SETTLING_S:
            self._settle(time_s, sample)
        elif quiet:
            self._kept = []
            self._follow(step_s, sample)

    def _collect_rest(self, time_s: float, sample: NDArray[np.float64]) -> None:
        if self.rest is None:
            return
        if self.rest[0] <= time_s <= self.rest[1]:
            if not time_s - self._rested_s < self._rest_spacing_s:
                self._rested.append(sample)
                self._rested_s = time_s
                if len(self._rested) >= MAX_KEPT:
                    self._rested = self._rested[::2]
                    self._rest_spacing_s *= 2.0
        elif time_s > self.rest[1] and self._rested:
            self._set(np.median(np.stack(self._rested), axis=0), len(self._rested))
            self._rested = []
            self._fixed = True

    def _settle(self, time_s: float, sample: NDArray[np.float64]) -> None:
        if time_s - self._kept_s >= SPACING_S:
            self._kept.append(sample)
            self._kept_s = time_s
        if len(self._kept) <= 5 or time_s - self._review_s >= REVIEW_S:
            self._review_s = time_s
            self._set(np.median(np.stack(self._kept), axis=0), len(self._kept))

    def _follow(self, step_s: float, sample: NDArray[np.float64]) -> None:
        assert self.neutral is not None
        present = self._flat(self.neutral)
        limit = np.full(len(sample), np.inf)
        limit[: 3 * LANDMARK_COUNT] = self._STEP_LIMIT_IOD
        step = np.clip(sample - present, -limit, limit) * (step_s / FOLLOWING_S)
        self._set(present + np.nan_to_num(step), self.neutral.frames + 1)

    @staticmethod
    def _flat(neutral: Neutral) -> NDArray[np.float64]:
        return np.concatenate([neutral.points.ravel(), neutral.blendshapes])

    def _set(self, sample: NDArray[np.float64], frames: int) -> None:
        cut = 3 * LANDMARK_COUNT
        points, shapes = sample[:cut].reshape(LANDMARK_COUNT, 3), sample[cut:]
        self.neutral = Neutral(points.copy(), shapes.copy(), frames)
        self.version += 1
