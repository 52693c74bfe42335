"""Other ways to spot micro-expressions, run on the same clips: what they measure and how they decide.

Landmarks and dense flow feed zygoma's own spotter, so that only the measurement differs. Blendshapes and MDMD
bring their own decision. Each is scored at the threshold that suits it best on those very clips.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processing.landmarks import FaceObservation
from processing.motion import RegionMotion
from zygoma.bench.spotting_score import Interval

Gray = NDArray[np.uint8]
Flow = NDArray[np.float32]
BLENDSHAPES, MDMD = "MediaPipe blendshapes", "MDMD"

SHORTEST_S, LONGEST_S = 0.03, 0.6


class _DenseFlow:
    """OpenCV's DIS optical flow, ultrafast preset down to the finest but one scale."""

    def __init__(self) -> None:
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(1)

    def __call__(self, before: Gray, after: Gray) -> Flow:
        return np.asarray(self._flow.calc(before, after, None), dtype=np.float32)


class LandmarkMotion(RegionMotion):
    """Region motion read off MediaPipe's landmarks."""

    def update(self, gray: Gray, points_px: NDArray[np.float32] | None, time_s: float) -> NDArray[np.float32]:
        self._points = points_px
        return super().update(gray, points_px, time_s)

    def _follow(self, image: NDArray[np.float32], origin: NDArray[np.float64]) -> None:
        assert self._points is not None
        now = self._members @ (self._points[:, :2].astype(np.float64) / self._shrink)
        self._windows.displacement[:] = now - self._key_positions
        self._windows.correlation[:] = 1.0


class FlowMotion(RegionMotion):
    """Region motion as the mean of OpenCV's DIS optical flow over each window."""

    def __init__(self) -> None:
        super().__init__()
        self._flow = _DenseFlow()

    def update(self, gray: Gray, points_px: NDArray[np.float32] | None, time_s: float) -> NDArray[np.float32]:
        self._gray = gray
        return super().update(gray, points_px, time_s)

    def _set_keyframe(
        self,
        image: NDArray[np.float32],
        origin: NDArray[np.float64],
        points: NDArray[np.float64],
        time_s: float,
    ) -> None:
        super()._set_keyframe(image, origin, points, time_s)
        self._key_gray = self._gray.copy()

    def _follow(self, image: NDArray[np.float32], origin: NDArray[np.float64]) -> None:
        factor = self._shrink
        windows, flow = self._windows, self._flow(self._key_gray, self._gray)
        for r, ((x, y), (half_x, half_y)) in enumerate(zip(windows.centers, windows.halves, strict=True)):
            rows = slice(max(int(y - half_y) * factor, 0), int(y + half_y + 1) * factor)
            columns = slice(max(int(x - half_x) * factor, 0), int(x + half_x + 1) * factor)
            windows.displacement[r] = flow[rows, columns].mean(axis=(0, 1)) / factor
        windows.correlation[:] = 1.0


class Blendshapes:
    """Peaks of any blendshape above a trailing median, in units of its trailing robust spread."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._values: list[NDArray[np.float32]] = []

    def update(self, gray: Gray, seen: FaceObservation | None, time_s: float) -> None:
        """Take one frame."""
        if seen is not None:
            self._times.append(time_s)
            self._values.append(seen.blendshapes)

    def strength(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times [n] and the strongest channel's deviation [n], in spreads."""
        times, values = np.array(self._times), np.array(self._values, dtype=np.float64)
        frame_s = float(np.median(np.diff(times)))
        short, long = round(1.2 / frame_s), round(10.0 / frame_s)
        departure = np.zeros_like(values)
        for i in range(len(values)):
            departure[i] = np.abs(values[i] - np.median(values[max(0, i - short) : i + 1], axis=0))
        strongest = np.zeros(len(values))
        for i in range(len(values)):
            spread = np.median(departure[max(0, i - long) : i + 1], axis=0) / 0.6745
            strongest[i] = np.max(departure[i] / np.maximum(spread, 0.01))
        return times, strongest


class MainDirectionalDifference:
    """MDMD (Wang et al. 2017, Neurocomputing 230): main directional maximal difference of optical flow.

    In each of 6 x 6 blocks the flow from k frames before and to k frames after is compared along the
    direction that most vectors take; the third of the blocks with the largest differences speaks for the
    frame, less the mean of the frames k before and after. Looks k frames ahead, hence is not causal.
    """

    BLOCKS = 6
    SIDE_PX = 120

    def __init__(self) -> None:
        self._times: list[float] = []
        self._faces: list[Gray] = []
        self._box: tuple[slice, slice] | None = None
        self._flow = _DenseFlow()

    def update(self, gray: Gray, seen: FaceObservation | None, time_s: float) -> None:
        """Take one frame; the face's box is that of the first."""
        if seen is None:
            return
        if self._box is None:
            low, high = seen.points_px[:, :2].min(axis=0), seen.points_px[:, :2].max(axis=0)
            left, top = np.maximum(low, 0).astype(int)
            self._box = (slice(top, int(high[1]) + 1), slice(left, int(high[0]) + 1))
        face = cv2.resize(gray[self._box], (self.SIDE_PX, self.SIDE_PX), interpolation=cv2.INTER_AREA)
        self._times.append(time_s)
        self._faces.append(np.asarray(face, dtype=np.uint8))

    def strength(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times [n] and the relative difference [n]."""
        times = np.array(self._times)
        k = max(round(0.2 / float(np.median(np.diff(times)))), 1)
        raw = np.zeros(len(times))
        for i in range(k, len(times) - k):
            before = self._flow(self._faces[i - k], self._faces[i])
            after = self._flow(self._faces[i - k], self._faces[i + k])
            raw[i] = self._difference(before, after)
        relative = raw.copy()
        relative[k:-k] -= 0.5 * (raw[: -2 * k] + raw[2 * k :])
        return times, np.maximum(relative, 0.0)

    def _difference(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
        size = self.SIDE_PX // self.BLOCKS
        values = []
        for by in range(self.BLOCKS):
            for bx in range(self.BLOCKS):
                part = (slice(by * size, (by + 1) * size), slice(bx * size, (bx + 1) * size))
                length, angle = cv2.cartToPolar(before[part][..., 0], before[part][..., 1])
                sector = np.asarray(angle // (np.pi / 2 + 1e-6), dtype=np.int64)
                main = int(np.bincount(sector.ravel(), minlength=4).argmax())
                chosen = sector == main
                later = np.hypot(after[part][..., 0], after[part][..., 1])
                change = np.sort(np.asarray(length)[chosen] - later[chosen])[::-1]
                values.append(float(change[: max(len(change) // 3, 1)].mean()))
        ordered = np.sort(np.array(values))[::-1]
        return float(ordered[: self.BLOCKS**2 // 3].mean())


def intervals_above(
    times: NDArray[np.float64], strength: NDArray[np.float64], threshold: float
) -> list[Interval]:
    """Stretches above a threshold that last as long as a micro-expression."""
    above = np.concatenate(([False], strength > threshold, [False]))
    edges = np.flatnonzero(np.diff(above.astype(int)))
    found = [(float(times[a]), float(times[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [(start, end) for start, end in found if SHORTEST_S <= end - start <= LONGEST_S]
