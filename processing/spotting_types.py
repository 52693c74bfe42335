"""What the spotter passes around: its settings and the excursions it joins into movements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from processing import spotting_kernel as kernel
from processing.findings import Movement

_PULSE_VARIANCE = 1.0 / 12.0 - 0.5 / np.pi**2
"""Variance in time of a raised cosine one second long, s^2."""

_SAME_TIME = 0.6
"""Intersection over union from which two excursions tell the same times."""


@dataclass(frozen=True)
class SpotterSettings:
    """What counts as a movement.

    Attributes:
        threshold: Log-likelihood ratio from which a movement is reported; lower finds more. The default
            aims at no more than one false candidate per usable minute.
        faint: Log-likelihood ratio from which a movement below the threshold is let out all the same, with
            the veto ``faint``: another modality may have felt it.
        candidate_z: Peak over noise at which a movement is considered at all.
        candidate_px: And its size, px at IOD 100.
        shortest_s, longest_s: Duration of a brief movement.
        noise_floor_px: Noise is never believed to be lower.
        noise_memory_s: Trailing time over which noise is measured.
        together_s: Peaks of several regions within this time are one movement.
        wait_s: A movement is confirmed with the first frame this long after its offset.
    """

    threshold: float = 1.0
    faint: float = -3.0
    candidate_z: float = 3.2
    candidate_px: float = 0.15
    shortest_s: float = 0.03
    longest_s: float = 0.6
    noise_floor_px: float = 0.03
    noise_memory_s: float = 10.0
    together_s: float = 0.1
    wait_s: float = 0.02


@dataclass(frozen=True)
class Excursion:
    """A brief excursion in one direction of one region, or of the mean of several.

    Attributes:
        watched: Index in `spotting_anatomy.WATCHED`.
        direction: One of `spotting_kernel.DIRECTIONS`.
        onset_s, peak_s, offset_s: Stamps; onset and offset by extending the flanks.
        rise_px, drop_px: Height above either foot.
        sigma_px: Noise of an excursion of this duration in this direction.
    """

    watched: int
    direction: int
    onset_s: float
    peak_s: float
    offset_s: float
    rise_px: float
    drop_px: float
    sigma_px: float

    @classmethod
    def of(cls, row: NDArray[np.float64]) -> Self:
        """From a row that `spotting_kernel.find_excursions` wrote."""
        return cls(
            watched=int(row[kernel.REGION]),
            direction=int(row[kernel.DIRECTION]),
            onset_s=float(row[kernel.ONSET_S]),
            peak_s=float(row[kernel.PEAK_S]),
            offset_s=float(row[kernel.OFFSET_S]),
            rise_px=float(row[kernel.RISE]),
            drop_px=float(row[kernel.DROP]),
            sigma_px=float(row[kernel.SIGMA]),
        )

    def sharpened(self, blur_s: float) -> Excursion:
        """The same without what smoothing with a standard deviation of `blur_s` has added to its length.

        Variances add up; the length is taken for that of a raised cosine, and at most halved.
        """
        added = blur_s * blur_s / (_PULSE_VARIANCE * self.duration_s * self.duration_s)
        share = max(1.0 - added, 0.25) ** 0.5
        return Excursion(
            self.watched,
            self.direction,
            self.peak_s - share * (self.peak_s - self.onset_s),
            self.peak_s,
            self.peak_s + share * (self.offset_s - self.peak_s),
            self.rise_px,
            self.drop_px,
            self.sigma_px,
        )

    @property
    def height_px(self) -> float:
        return min(self.rise_px, self.drop_px)

    @cached_property
    def z(self) -> float:  # Groups are searched for their strongest in every frame.
        return self.height_px / self.sigma_px

    @property
    def duration_s(self) -> float:
        return self.offset_s - self.onset_s


def strongest(group: Sequence[Excursion]) -> Excursion:
    """The excursion that stands out most; the first of equals."""
    return max(group, key=lambda excursion: excursion.z)


def readings(group: Sequence[Excursion]) -> Iterator[list[Excursion]]:
    """Parts of a group that agree on when the movement was, the strongest excursion first in each.

    A slow drift that a brief movement rides on may stand out more than the movement itself: what stands out
    at least half as much as the strongest is a reading of its own.
    """
    left = sorted(group, key=lambda excursion: -excursion.z)
    least_z = 0.5 * left[0].z
    while left and left[0].z >= least_z:
        first = left[0]
        agreeing = [each for each in left if _agreement(first, each) >= _SAME_TIME]
        yield agreeing
        left = [each for each in left if _agreement(first, each) < _SAME_TIME]


def _agreement(one: Excursion, other: Excursion) -> float:
    """Intersection over union of two excursions' times."""
    shared = min(one.offset_s, other.offset_s) - max(one.onset_s, other.onset_s)
    spanned = max(one.offset_s, other.offset_s) - min(one.onset_s, other.onset_s)
    return shared / spanned if spanned > 0.0 else 1.0


def joined(one: Excursion, other: Excursion, together_s: float) -> bool:
    """Whether two excursions are parts of one movement."""
    overlap = min(one.offset_s, other.offset_s) - max(one.onset_s, other.onset_s)
    near = abs(one.peak_s - other.peak_s) <= together_s
    return near or overlap > 0.6 * min(one.duration_s, other.duration_s)


def overlap_share(earlier: Movement | Excursion, excursion: Excursion) -> float:
    """Share of the shorter of the two that both cover."""
    overlap = min(earlier.offset_s, excursion.offset_s) - max(earlier.onset_s, excursion.onset_s)
    return overlap / min(earlier.offset_s - earlier.onset_s, excursion.duration_s)
