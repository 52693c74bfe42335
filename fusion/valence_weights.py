"""What the valence filter believes about a person, and how a calibration teaches it.

Everyone starts with the same prior. A guided session measures the rest: a neutral stretch, the broadest smile
and the hardest frown; each measurement moves the prior as far as one measurement deserves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np

from acquisition.stream import Block, InvalidSignal, Kind

Span = tuple[float, float]
"""Start and end, seconds of the block stamps."""

_HELD = 85.0
"""Percentile over a posed stretch that stands for the pose: it is held for most of it, not for all."""

_PRIOR_LOG_SD = 0.35
"""How far people's full contractions differ from each other, in logarithms."""

_POSE_LOG_SD = 0.20
"""How far one person's differ from one pose to the next."""

_LEAST_Z = 4.0
"""A muscle that does not get beyond this was not posed, or its electrode is off."""


@dataclass(frozen=True)
class ValenceWeights:
    """What the filter believes about a person; the defaults are the prior for everyone.

    Attributes:
        zygomaticus_full_z, corrugator_full_z: Activity (z of the fast envelope's logarithm) of a full smile
            and a full frown. The corrugator weighs at least as much as the zygomaticus (Larsen 2003).
        smile_gain, frown_gain: What a camera reading of AU12 (AU4) is multiplied by; 1 for everyone.
        neutral: Neutral reading per column of the ActionUnits stream, from a rest block.
    """

    zygomaticus_full_z: float = 15.0
    corrugator_full_z: float = 14.0
    smile_gain: float = 1.0
    frown_gain: float = 1.0
    neutral: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        blocks: Iterable[Block],
        *,
        rest: Span,
        smile: Span | None = None,
        frown: Span | None = None,
    ) -> Self:
        """The weights of a person from a calibration.

        Args:
            blocks: ActionUnits and MuscleActivity blocks of the calibration, in order; other kinds are
                passed over, and either kind may be missing.
            rest: When the face was neutral.
            smile: When the person smiled as broadly as possible.
            frown: When the person frowned as hard as possible.

        Returns:
            The prior, moved towards what was measured (log-normal prior and measurement error). What could
            not be measured (a stretch not given, a muscle without electrodes, an electrode that is off)
            keeps the prior.

        Raises:
            InvalidSignal: A stretch ends before it begins, or no row lies in the rest.
        """
        for name, span in (("rest", rest), ("smile", smile), ("frown", frown)):
            if span is not None and not span[0] < span[1]:
                raise InvalidSignal(f"The {name} stretch {span} of the calibration ends before it begins.")
        kept = [block for block in blocks if block.spec.kind in (Kind.ACTION_UNITS, Kind.MUSCLE_ACTIVITY)]
        neutral = _neutral(kept, rest)
        if not neutral and not any(
            len(_values(kept, Kind.MUSCLE_ACTIVITY, label, rest)) for label in _z(kept)
        ):
            raise InvalidSignal("The calibration has no row in its rest stretch: measure it anew.")
        prior = cls()
        return replace(
            prior,
            zygomaticus_full_z=_full_z(kept, "ZYG", smile, prior.zygomaticus_full_z),
            corrugator_full_z=_full_z(kept, "COR", frown, prior.corrugator_full_z),
            smile_gain=_camera_gain(kept, "AU12", smile, neutral),
            frown_gain=_camera_gain(kept, "AU4", frown, neutral),
            neutral=neutral,
        )

    def to_dict(self) -> dict[str, Any]:
        """The weights in JSON's types, for ``_session.json``."""
        return {**asdict(self), "neutral": dict(self.neutral)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The weights that `to_dict` wrote; keys that are missing keep the prior.

        Raises:
            InvalidSignal: A value is not a positive number.
        """
        names = ("zygomaticus_full_z", "corrugator_full_z", "smile_gain", "frown_gain")
        values = {name: float(record[name]) for name in names if name in record}
        if not all(math.isfinite(value) and value > 0.0 for value in values.values()):
            raise InvalidSignal(f"The valence weights of a calibration must be positive numbers: {values}.")
        neutral = {str(label): float(value) for label, value in record.get("neutral", {}).items()}
        return cls(**values, neutral=neutral)


def _values(blocks: list[Block], kind: Kind, label: str, span: Span | None) -> np.ndarray:
    """Finite values of one column within a stretch, float64 [n]; of ActionUnits only with a face."""
    found = [np.empty(0)]
    if span is not None:
        for block in blocks:
            if block.spec.kind is kind and label in block.spec.labels:
                inside = (block.timestamps >= span[0]) & (block.timestamps <= span[1])
                if "face" in block.spec.labels:
                    inside &= block.column("face") > 0.5
                found.append(block.column(label)[inside].astype(np.float64))
    values = np.concatenate(found)
    return values[np.isfinite(values)]


def _neutral(blocks: list[Block], rest: Span) -> dict[str, float]:
    labels = dict.fromkeys(
        label
        for block in blocks
        if block.spec.kind is Kind.ACTION_UNITS
        for label in block.spec.labels
        if label.startswith("AU") and not label.endswith("_se")
    )
    readings = {label: _values(blocks, Kind.ACTION_UNITS, label, rest) for label in labels}
    return {label: float(np.median(values)) for label, values in readings.items() if len(values)}


def _z(blocks: list[Block], prefix: str = "") -> list[str]:
    """Columns of the fast z of a muscle's channels."""
    return list(
        dict.fromkeys(
            label
            for block in blocks
            if block.spec.kind is Kind.MUSCLE_ACTIVITY
            for label in block.spec.labels
            if label.startswith(prefix) and label.endswith("_z") and not label.endswith("_slow_z")
        )
    )


def _full_z(blocks: list[Block], prefix: str, pose: Span | None, prior: float) -> float:
    sides = [_values(blocks, Kind.MUSCLE_ACTIVITY, label, pose) for label in _z(blocks, prefix)]
    held = [float(np.percentile(values, _HELD)) for values in sides if len(values)]
    posed = [value for value in held if value >= _LEAST_Z]
    return _towards(prior, float(np.mean(posed))) if posed else prior


def _camera_gain(blocks: list[Block], label: str, pose: Span | None, neutral: Mapping[str, float]) -> float:
    """1 over what a full pose reads, relative to neutral."""
    values = _values(blocks, Kind.ACTION_UNITS, label, pose)
    if not len(values):
        return 1.0
    reached = float(np.percentile(values, _HELD)) - neutral.get(label, 0.0)
    return min(2.0, max(1.0, _towards(1.0, 1.0 / reached))) if reached > 0.2 else 1.0


def _towards(prior: float, measured: float) -> float:
    """Posterior mean of the logarithm of a positive number."""
    weight = _PRIOR_LOG_SD**2 / (_PRIOR_LOG_SD**2 + _POSE_LOG_SD**2)
    return math.exp((1.0 - weight) * math.log(prior) + weight * math.log(measured))
