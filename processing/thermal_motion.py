"""Brief movements of skin seen by a fast thermal camera (25 Hz or more): support for visible ones, no more.

A muscle that twitches moves the skin and its temperature pattern with it. What a region shifts against the
rest of the face is compared with its own recent noise. At 9 Hz, where a micro-expression is two frames,
nothing is said.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from processing.findings import Movement, Side
from processing.thermal_regions import REGIONS

MIN_RATE_HZ = 25.0
"""Slower cameras cannot see a movement of 40 to 500 ms."""

_RATE_SLACK = 0.97
_RATE_FRAMES = 26
_HISTORY_S = 3.0
_MIN_HISTORY_S = 1.0
_ON_Z, _OFF_Z = 5.0, 2.5
_MIN_S, _MAX_S = 0.04, 0.5
_MAX_EVIDENCE = 3.0
_FLOOR_PX = 0.02
_IOD_PX = 100.0

# What a shift of the region up and down in the picture speaks for, best first.
_MEANING: dict[str, tuple[str, Side, tuple[int, ...], tuple[int, ...]]] = {
    "glabella": ("inner_brow", "both", (1,), (4,)),
    "cheek_left": ("cheek", "left", (12, 6), (15,)),
    "cheek_right": ("cheek", "right", (12, 6), (15,)),
    "perinasal": ("upper_lip", "both", (9, 10), ()),
    "chin": ("chin", "both", (17,), (26, 25)),
}


@dataclass
class _Region:
    """What is known of one region: its recent places while at rest, and the movement that is under way."""

    index: int
    past: deque[tuple[float, float, float]] = field(default_factory=deque)
    onset_s: float = math.nan
    apex_s: float = math.nan
    apex_px: tuple[float, float] = (0.0, 0.0)
    peak_z: float = 0.0


class ThermalMotion:
    """Turns the regions' local shifts into `Movement`s; one call per frame."""

    def __init__(self) -> None:
        self._ids = 0
        self.reset()

    def reset(self) -> None:
        """Forget the past, as after a gap, a shutter or another keyframe."""
        self._regions = {name: _Region(REGIONS.index(name)) for name in _MEANING}
        self._stamps: deque[float] = deque(maxlen=_RATE_FRAMES)

    @property
    def is_fast(self) -> bool:
        """Whether the last second of frames came at 25 Hz or more."""
        stamps = self._stamps
        if len(stamps) < _RATE_FRAMES:
            return False
        return (len(stamps) - 1) / (stamps[-1] - stamps[0]) >= _RATE_SLACK * MIN_RATE_HZ

    def update(
        self, time_s: float, shifts_px: NDArray[np.float64], eye_distance_px: float, quality: float
    ) -> list[Movement]:
        """Movements that ended by this frame.

        Args:
            time_s: Stamp.
            shifts_px: [regions, 2], see `processing.thermal_tracking.Registration`.
            eye_distance_px: Distance of the outer eye corners, which is 1.5 times the inter-ocular distance.
            quality: Correlation of the registration, 0-1.
        """
        self._stamps.append(time_s)
        if not self.is_fast:
            return []
        scale = _IOD_PX * 1.5 / max(eye_distance_px, 1.0)
        found = []
        for name, region in self._regions.items():
            dx, dy = (scale * shifts_px[region.index]).tolist()
            movement = self._step(name, region, time_s, dx, dy, quality)
            if movement is not None:
                found.append(movement)
        return found

    def _step(
        self, name: str, region: _Region, time_s: float, dx: float, dy: float, quality: float
    ) -> Movement | None:
        while region.past and time_s - region.past[0][0] > _HISTORY_S:
            region.past.popleft()
        if not region.past or time_s - region.past[0][0] < _MIN_HISTORY_S:
            region.past.append((time_s, dx, dy))
            return None
        past = np.array(region.past)[:, 1:]
        rest = np.median(past, axis=0)
        # Of a Gaussian, 1.48 median absolute deviations are one standard deviation.
        noise = max(1.48 * float(np.median(np.abs(past - rest))), _FLOOR_PX)
        away = (dx - float(rest[0]), dy - float(rest[1]))
        z = math.hypot(*away) / noise
        if math.isnan(region.onset_s):
            if z < _ON_Z:
                region.past.append((time_s, dx, dy))
                return None
            region.onset_s, region.peak_z = self._before(time_s), 0.0
        if z > region.peak_z:
            region.peak_z, region.apex_s, region.apex_px = z, time_s, away
        if z > _OFF_Z and time_s - region.onset_s <= _MAX_S:
            return None
        onset_s, region.onset_s = region.onset_s, math.nan
        if z > _OFF_Z or time_s - onset_s < _MIN_S:
            # A lasting shift is another pose: it becomes the new rest.
            region.past.clear()
            return None
        return self._movement(name, region, onset_s, time_s, noise, quality)

    def _before(self, time_s: float) -> float:
        """Half-way to the frame before: the movement began between the two."""
        return 0.5 * (time_s + self._stamps[-2]) if len(self._stamps) > 1 else time_s

    def _movement(
        self, name: str, region: _Region, onset_s: float, time_s: float, noise: float, quality: float
    ) -> Movement | None:
        place, side, up, down = _MEANING[name]
        dx, dy = region.apex_px
        units = up if dy < 0 else down
        if not units:
            return None
        self._ids += 1
        return Movement(
            id=self._ids,
            region=place,
            side=side,
            onset_s=onset_s,
            apex_s=region.apex_s,
            offset_s=self._before(time_s),
            found_s=time_s,
            dx_px=dx,
            dy_px=dy,
            z=region.peak_z,
            noise_px=noise,
            asymmetry={"left": 1.0, "right": -1.0}.get(side, 0.0),
            action_units=units,
            log_likelihood_ratio=min(math.log1p(region.peak_z - _ON_Z), _MAX_EVIDENCE),
            quality=quality,
        )
