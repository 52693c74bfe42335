"""The person's neutral face: what each action unit reads when nothing is expressed.

Brows hang low on some people and lip corners turn up on others. The baseline follows slow drift, is never
taught by an expression, and never claims more than a quarter of the scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import StreamSpec

MAX_BASELINE = 0.25
"""A reading above this is an expression, however long it lasts."""

_QUIET = 0.12
_DRIFT_S = 15.0
_SETTLE_S = 0.7
_FIRST_S = 0.5
_FIRST_TAU_S = 0.2


def action_unit_columns(spec: StreamSpec) -> dict[str, int]:
    """Column of every intensity in an ActionUnits stream: ``AU12``, ``AU12_left``, ``AU12_right`` ..."""
    return {
        label: column
        for column, label in enumerate(spec.labels)
        if label.startswith("AU") and not label.endswith("_se")
    }


class NeutralFace:
    """Subtracts a slowly learned neutral reading from each action unit.

    Args:
        spec: The ActionUnits stream.
        neutral: Known neutral reading per column label (from a rest block); others are learned.
    """

    def __init__(self, spec: StreamSpec, neutral: Mapping[str, float] | None = None) -> None:
        columns = action_unit_columns(spec)
        self._columns = np.array(list(columns.values()), dtype=np.intp)
        self._known = np.array([(neutral or {}).get(label, np.nan) for label in columns])
        self.reset()

    def reset(self) -> None:
        """Forget the person, except for what was given."""
        self._baseline = np.zeros(len(self._columns))
        self._started_s = math.nan
        self._time_s = math.nan

    def relative(self, time_s: float, row: NDArray[np.float32]) -> NDArray[np.float64]:
        """The row with its intensities relative to neutral; unknown ones become 0.

        Args:
            time_s: Stamp of the row; must not decrease.
            row: [columns] of the ActionUnits stream, with a face in it.
        """
        result = row.astype(np.float64)
        values = result[self._columns]
        values[np.isnan(values)] = 0.0
        baseline = self._baseline
        if math.isnan(self._started_s):
            self._started_s = self._time_s = time_s
            known = np.isfinite(self._known)
            np.copyto(baseline, np.where(known, self._known, np.clip(values, 0.0, MAX_BASELINE)))
        else:
            dt = min(time_s - self._time_s, 0.2)
            self._time_s = time_s
            first = time_s - self._started_s < _FIRST_S
            step = 1.0 - math.exp(-dt / (_FIRST_TAU_S if first else _DRIFT_S))
            settle = 1.0 - math.exp(-dt / _SETTLE_S)
            error = values - baseline
            # A reading far below the baseline shows that the baseline was an expression: let go of it fast.
            gain = np.where(error < -0.05, settle, np.where(error < _QUIET, step, 0.0))
            baseline += gain * error
            np.minimum(baseline, MAX_BASELINE, out=baseline)
        values -= baseline
        np.maximum(values, 0.0, out=values)
        result[self._columns] = values
        return result
