"""Finds micro-movements of the face as they happen: where, which way, from when to when, and how surely.

`MicroMovementSpotter` looks for brief excursions of every region in eight directions (`spotting_kernel`),
joins those that belong to one movement, and weighs them against what else the face was doing
(`spotting_vetoes`). It is causal: a movement is announced at its apex and confirmed within a frame and 20 ms
of its offset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block
from processing import spotting_kernel as kernel
from processing.findings import Movement, Side
from processing.motion_regions import EXPRESSIVE, base_name, side_of
from processing.spotting_vetoes import Context, ContextTrail, Judgement, judge

REGION_NAMES: tuple[str, ...] = tuple(region.name for region in EXPRESSIVE)

_UP, _DOWN, _IN, _OUT = "up", "down", "in", "out"
_ACTION_UNITS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "inner_brow": {_UP: (1,), _DOWN: (4,), _IN: (4,), _OUT: (1,)},
    "outer_brow": {_UP: (2,), _DOWN: (4,), _IN: (4,), _OUT: (2,)},
    "glabella": {_UP: (1,), _DOWN: (4,), _IN: (4,), _OUT: (4,)},
    "upper_lid": {_UP: (5,), _DOWN: (45,), _IN: (45,), _OUT: (45,)},
    "lower_lid": {_UP: (7, 6), _DOWN: (45,), _IN: (7,), _OUT: (7,)},
    "cheek": {_UP: (6, 12), _DOWN: (15,), _IN: (9, 6), _OUT: (12,)},
    "nose_wing": {_UP: (9, 10), _DOWN: (15,), _IN: (9,), _OUT: (12, 10)},
    "upper_lip": {_UP: (10, 9), _DOWN: (15,), _IN: (18,), _OUT: (12, 20)},
    "lip_corner": {_UP: (12,), _DOWN: (15,), _IN: (18,), _OUT: (14, 20, 12)},
    "lower_lip": {_UP: (17, 24), _DOWN: (25, 16), _IN: (14,), _OUT: (14,)},
    "chin": {_UP: (17,), _DOWN: (26,), _IN: (17,), _OUT: (17,)},
}
"""AUs by region and the direction it moves in; in and out are towards and away from the midline."""


@dataclass(frozen=True)
class SpotterSettings:
    """What counts as a movement.

    Attributes:
        threshold: Log-likelihood ratio above which a movement is reported clean; lower finds more.
        candidate_z: Peak over noise at which a movement is considered at all.
        candidate_px: And its size, px at IOD 100.
        shortest_s, longest_s: Duration of a brief movement.
        noise_floor_px: Noise is never believed to be lower.
        noise_memory_s: Trailing time over which noise is measured.
        together_s: Peaks of several regions within this time are one movement.
        wait_s: Time after the offset within which a movement must be confirmed.
    """

    threshold: float = 0.0
    candidate_z: float = 4.5
    candidate_px: float = 0.18
    shortest_s: float = 0.03
    longest_s: float = 0.6
    noise_floor_px: float = 0.045
    noise_memory_s: float = 10.0
    together_s: float = 0.1
    wait_s: float = 0.02


@dataclass(frozen=True)
class Excursion:
    """One region's brief excursion in one direction, as the kernel found it."""

    region: int
    direction: int
    onset_s: float
    peak_s: float
    offset_s: float
    height_px: float
    sigma_px: float
    dx_px: float
    dy_px: float

    @property
    def z(self) -> float:
        return self.height_px / self.sigma_px

    @property
    def duration_s(self) -> float:
        return self.offset_s - self.onset_s


class MicroMovementSpotter:
    """Finds movements in FaceMotion rows.

    Any chunking gives the same movements. A gap or a lost face longer than 0.2 s starts afresh, keeping the
    noise that was learned.

    Args:
        threshold: See `SpotterSettings`; None takes the default.
        settings: Everything else.
    """

    def __init__(self, threshold: float | None = None, settings: SpotterSettings | None = None) -> None:
        settings = settings or SpotterSettings()
        self.settings = settings if threshold is None else replace(settings, threshold=threshold)
        self._found = np.zeros((256, kernel.FIELDS))
        self._differences = np.zeros((len(kernel.NOISE_SPANS_S), len(EXPRESSIVE), 2))
        self.reset()

    def reset(self) -> None:
        """Forget everything, noise included."""
        count = len(EXPRESSIVE)
        self._next_id = 1
        self._columns: NDArray[np.int64] | None = None
        self._noise_rows: deque[tuple[float, NDArray[np.float64]]] = deque()
        self._noise_due_s = -np.inf
        self._noise_kept_s = -np.inf
        self._sigma = np.full((len(kernel.NOISE_SPANS_S), count, 2), 0.12)
        self._frame_s = 1 / 30.0
        self._restart()

    def _restart(self) -> None:
        """Begin a new stretch of face; the noise stays."""
        count = len(EXPRESSIVE)
        self._history = np.zeros((1024, count, 2))
        self._times = np.zeros(1024)
        self._newest = -1
        self._count = 0
        self._raw: deque[tuple[float, NDArray[np.float64]]] = deque(maxlen=9)
        self._taps: NDArray[np.float64] | None = None
        self._intervals: list[float] = []
        self._last_peak = np.full((count, kernel.DIRECTIONS), -np.inf)
        self._pending: list[list[Excursion]] = []
        self._emitted: deque[Movement] = deque(maxlen=64)
        self._recent: deque[Excursion] = deque(maxlen=400)
        self._context = ContextTrail()
        self._last_s = -np.inf

    def process(self, motion: Block, action_units: Block | None = None) -> list[Movement]:
        """Movements decided in these rows, in the order they were decided.

        Args:
            motion: FaceMotion rows.
            action_units: ActionUnits rows of the same stamps; without them blinks are seen in the lids alone.
        """
        if not len(motion):
            return []
        labels = motion.spec.labels
        if self._columns is None:
            names = [f"{region}_{axis}" for region in REGION_NAMES for axis in ("dx", "dy")]
            self._columns = np.array([labels.index(name) for name in names], dtype=np.int64)
        context = Context.columns(motion, action_units)
        rows = motion.array
        found: list[Movement] = []
        for i, time_s in enumerate(motion.timestamps):
            found.extend(self._step(float(time_s), rows[i, self._columns], context[i]))
        return found

    def _step(self, time_s: float, row: NDArray[np.float32], context: NDArray[np.float64]) -> list[Movement]:
        if not np.isfinite(row).all():
            return []
        if time_s - self._last_s > 0.2:
            self._restart()
        self._last_s = time_s
        self._context.append(time_s, context)
        if not self._smooth(time_s, row.astype(np.float64).reshape(-1, 2)):
            return []
        self._learn_noise(time_s)
        n = kernel.find_excursions(
            self._history,
            self._times,
            self._newest,
            self._count,
            self._sigma,
            self.settings.candidate_z,
            self.settings.candidate_px,
            self._last_peak,
            self._found,
        )
        for k in range(n):
            self._take(self._found[k])
        return self._decide(time_s)

    def _smooth(self, time_s: float, position: NDArray[np.float64]) -> bool:
        """Append the symmetric mean of the last rows, stamped at its middle, so that nothing is delayed in
        time.
        """
        self._raw.append((time_s, position))
        if self._taps is None:
            if len(self._raw) < 8:
                return False
            stamps = np.array([stamp for stamp, _ in self._raw])
            self._frame_s = float(np.median(np.diff(stamps)))
            length = 2 * int(0.016 / self._frame_s + 0.5) + 1
            taps = np.bartlett(length + 2)[1:-1]
            self._taps = taps / taps.sum()
        length = len(self._taps)
        window = list(self._raw)[-length:]
        mean = np.zeros_like(position)
        for weight, (_, value) in zip(self._taps, window, strict=True):
            mean += weight * value
        self._newest = (self._newest + 1) % len(self._times)
        self._count = min(self._count + 1, len(self._times))
        self._history[self._newest] = mean
        self._times[self._newest] = window[length // 2][0]
        return self._count > 3

    def _learn_noise(self, time_s: float) -> None:
        """Robust spread of chance excursions over the trailing seconds, renewed four times a second."""
        if time_s - self._noise_kept_s < 0.03:
            return
        if not kernel.second_differences(
            self._history, self._times, self._newest, self._count, self._differences
        ):
            return
        self._noise_kept_s = time_s
        self._noise_rows.append((time_s, self._differences.copy()))
        while time_s - self._noise_rows[0][0] > self.settings.noise_memory_s:
            self._noise_rows.popleft()
        if time_s < self._noise_due_s or len(self._noise_rows) < 20:
            return
        self._noise_due_s = time_s + 0.25
        spread = np.median(np.abs(np.stack([row for _, row in self._noise_rows])), axis=0) / 0.6745
        # Few rows know little: lean on the prior until two seconds have been seen.
        known = min(1.0, len(self._noise_rows) / 60.0)
        self._sigma = np.maximum(known * spread + (1 - known) * 0.12, self.settings.noise_floor_px)

    def _take(self, row: NDArray[np.float64]) -> None:
        excursion = Excursion(
            region=int(row[kernel.REGION]),
            direction=int(row[kernel.DIRECTION]),
            onset_s=float(row[kernel.ONSET_S]),
            peak_s=float(row[kernel.PEAK_S]),
            offset_s=float(row[kernel.OFFSET_S]),
            height_px=float(min(row[kernel.RISE], row[kernel.DROP])),
            sigma_px=float(row[kernel.SIGMA]),
            dx_px=float(row[kernel.PEAK_DX]),
            dy_px=float(row[kernel.PEAK_DY]),
        )
        if not self.settings.shortest_s <= excursion.duration_s <= self.settings.longest_s:
            return
        self._recent.append(excursion)
        for group in self._pending:
            if _belong(strongest(group), excursion, self.settings.together_s):
                group.append(excursion)
                return
        self._pending.append([excursion])

    def _decide(self, time_s: float) -> list[Movement]:
        decided: list[Movement] = []
        waiting: list[list[Excursion]] = []
        for group in self._pending:
            if time_s < strongest(group).offset_s + self.settings.wait_s:
                waiting.append(group)
                continue
            movement = self._movement(group, time_s)
            if movement is not None:
                decided.append(movement)
        self._pending = waiting
        return decided

    def _movement(self, group: list[Excursion], time_s: float) -> Movement | None:
        best = strongest(group)
        if any(_same_time(movement, best, self.settings.together_s) for movement in self._emitted):
            return None
        judgement = judge(group, best, self._recent, self._context, time_s)
        vetoes = judgement.vetoes
        ratio = judgement.log_likelihood_ratio
        if vetoes or ratio < self.settings.threshold:
            return None
        movement = self._describe(group, best, judgement, time_s)
        self._emitted.append(movement)
        return movement

    def _describe(
        self, group: list[Excursion], best: Excursion, judgement: Judgement, time_s: float
    ) -> Movement:
        name = REGION_NAMES[best.region]
        base = base_name(name)
        side: Side = "both"
        asymmetry = 0.0
        peaks = {"left": 0.0, "right": 0.0}
        if side_of(name) != "both":
            for excursion in group:
                other = REGION_NAMES[excursion.region]
                if base_name(other) == base:
                    peaks[side_of(other)] = max(peaks[side_of(other)], excursion.height_px)
            asymmetry = (peaks["left"] - peaks["right"]) / max(peaks["left"] + peaks["right"], 1e-9)
            if abs(asymmetry) > 0.5:
                side = "left" if asymmetry > 0 else "right"
        return Movement(
            id=self._new_id(),
            region=base,
            side=side,
            onset_s=best.onset_s,
            apex_s=best.peak_s,
            offset_s=best.offset_s,
            found_s=time_s,
            dx_px=best.dx_px,
            dy_px=best.dy_px,
            z=best.z,
            noise_px=best.sigma_px,
            asymmetry=asymmetry,
            action_units=action_units_of(group),
            log_likelihood_ratio=judgement.log_likelihood_ratio,
            quality=judgement.quality,
            vetoes=judgement.vetoes,
        )

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def strongest(group: list[Excursion]) -> Excursion:
    """The excursion that stands out most; the first of equals."""
    return max(group, key=lambda excursion: excursion.z)


def action_units_of(group: list[Excursion]) -> tuple[int, ...]:
    """AUs by region and direction, those of the strongest region first, no AU twice."""
    best_z = strongest(group).z
    ordered: list[int] = []
    for excursion in sorted(group, key=lambda e: -e.z):
        if excursion.z < 0.5 * best_z:
            break
        name = REGION_NAMES[excursion.region]
        units = _ACTION_UNITS[base_name(name)][_way(excursion, side_of(name))]
        if units[0] not in ordered:
            ordered.append(units[0])
    return tuple(ordered)


def _way(excursion: Excursion, side: str) -> str:
    if abs(excursion.dy_px) >= 0.7 * abs(excursion.dx_px):
        return _UP if excursion.dy_px < 0 else _DOWN
    # The subject's left lies on the picture's right: moving right there is moving out.
    outward = excursion.dx_px > 0 if side != "right" else excursion.dx_px < 0
    return _OUT if outward else _IN


def _belong(one: Excursion, other: Excursion, together_s: float) -> bool:
    overlap = min(one.offset_s, other.offset_s) - max(one.onset_s, other.onset_s)
    near = abs(one.peak_s - other.peak_s) <= together_s
    return near or overlap > 0.6 * min(one.duration_s, other.duration_s)


def _same_time(movement: Movement, excursion: Excursion, together_s: float) -> bool:
    overlap = min(movement.offset_s, excursion.offset_s) - max(movement.onset_s, excursion.onset_s)
    near = abs(movement.apex_s - excursion.peak_s) <= together_s
    return near or overlap > 0.5 * min(movement.offset_s - movement.onset_s, excursion.duration_s)
