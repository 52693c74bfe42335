"""What muscle activity says beyond its own channel: blinks taken out of the brow, and co-activation.

An eyelid that closes shows at the electrodes over the corrugator, which lie on the edge of the orbicularis
oculi (van Boxtel 2001; Fridlund & Cacioppo 1986). The camera sees the blink; here its trace is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, StreamSpec
from processing import emg_memory as at

Span = tuple[float, float]
"""First and last moment of a blink as the camera saw it, seconds."""

NEAR_THE_LID = ("COR", "OOC", "FRO")
"""Muscles whose electrodes pick a blink up: corrugator, orbicularis oculi, frontalis."""

BEFORE_S = 0.1
"""The lid's muscle is this much ahead of the lid, at most."""

AFTER_S = {"envelope_uv": 0.1, "z": 0.1, "mvc": 0.1, "burst": 0.1, "slow_uv": 0.6, "slow_z": 0.6}
"""How long a blink stays in each output; the slow envelope remembers it longest."""

WORKING_Z = 2.0
"""Slow activity below this many standard deviations of rest does not count as co-activation."""


@dataclass(frozen=True, eq=False)
class _Columns:
    """Columns of one stream that a blink touches, with the time each needs to forget it."""

    spec: StreamSpec
    columns: NDArray[np.int64]
    after_s: NDArray[np.float64]


class BlinkRemover:
    """Takes blinks out of muscle activity: a row inside a blink is no higher than the last one before it.

    Cross-talk only ever adds, so what the muscle itself does is never made larger, and a frown that outlasts
    the blink shows again 100 ms after the lid has opened. Bursts are left to who has the camera
    (`processing.findings.Burst` says when they began and ended).

    Rows must come in order; blinks may be told late, as long as the rows they touch come later still.
    """

    def __init__(self) -> None:
        self._touched: _Columns | None = None
        self._clean: NDArray[np.float64] = np.empty(0)

    def process(self, activity: Block, blinks: Sequence[Span]) -> Block:
        """Muscle activity rows with the blinks in them taken out.

        Args:
            activity: Block of a MuscleActivity stream.
            blinks: (start, end) of each blink that may touch it; a blink that goes on ends at infinity.
        """
        touched = self._touched
        if touched is None or touched.spec is not activity.spec:
            touched = self._touched = _touched(activity.spec)
            self._clean = np.full(len(touched.columns), np.inf)
        if not len(activity) or not len(touched.columns):
            return activity
        stamps = activity.timestamps[:, None]
        inside = np.zeros((len(activity), len(touched.columns)), dtype=bool)
        for start_s, end_s in blinks:
            inside |= (stamps >= start_s - BEFORE_S) & (stamps < end_s + touched.after_s)
        rows = activity.array[:, touched.columns]
        # Within a blink the last clean row is the one that was there when it began.
        number = np.maximum.accumulate(np.where(inside, -1, np.arange(len(rows))[:, None]), axis=0)
        clean = np.where(number >= 0, np.take_along_axis(rows, np.maximum(number, 0), axis=0), self._clean)
        self._clean = clean[-1]
        if not inside.any():
            return activity
        data = activity.array.copy()
        data[:, touched.columns] = np.where(inside, np.fmin(rows, clean), rows)
        return Block(activity.spec, activity.timestamps, data, activity.first)

    def reset(self) -> None:
        """Forget the past."""
        self._touched = None


def _touched(spec: StreamSpec) -> _Columns:
    columns = [
        (index, AFTER_S[output])
        for index, label in enumerate(spec.labels)
        for output in AFTER_S
        if label.split("_")[0] in NEAR_THE_LID and _output_of(label) == output
    ]
    indices = np.array([index for index, _ in columns], dtype=np.int64)
    return _Columns(spec, indices, np.array([after_s for _, after_s in columns]))


def _output_of(label: str) -> str:
    """``slow_z`` of ``COR_L_slow_z``: the longest of the outputs that the label ends with."""
    return max((output for output in at.OUTPUTS if label.endswith(f"_{output}")), key=len, default="")


def co_activation(activity: Block) -> dict[str, NDArray[np.float64]]:
    """How much zygomaticus and corrugator of a side work at once, 0 (one alone, or none) to 1 (both alike).

    The share of the common activity, 2 min(a, b) / (a + b), of slow z above `WORKING_Z` (after Falconer &
    Winter 1985, Electromyogr. Clin. Neurophysiol. 25). In units of each channel's own rest it depends neither
    on gain nor on fatigue, which changes strength and spectrum of a contraction, not of rest.

    Args:
        activity: Block of a MuscleActivity stream.

    Returns:
        Side ("L", "R") -> float64 [n], for the sides that have both muscles; NaN before there is a baseline.
    """
    result = {}
    labels = activity.spec.labels
    for side in ("L", "R"):
        names = [f"{muscle}_{side}_slow_z" for muscle in ("ZYG", "COR")]
        if all(name in labels for name in names):
            smile, frown = (np.maximum(activity.column(name) - WORKING_Z, 0.0) for name in names)
            total = np.asarray(smile + frown, dtype=np.float64)
            both = 2.0 * np.minimum(smile, frown)
            result[side] = np.where(total == 0.0, 0.0, both / np.where(total == 0.0, 1.0, total))
    return result
