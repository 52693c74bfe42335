"""A person's calibration as it is kept in a session's manifest, and read back by live, replay and analyze."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from acquisition import network
from acquisition.recording import find_xdf
from acquisition.session import SessionInfo
from acquisition.stream import DeviceNotFound, InvalidSignal, StreamSpec
from fusion.valence_weights import ValenceWeights
from processing.emg import Baseline
from processing.neutral import Neutral
from zygoma.muscle_calibration import baselines_from_json, baselines_to_json

FORMAT = 1


@dataclass(frozen=True)
class Calibration:
    """What was measured of a person.

    Attributes:
        neutral: The face at rest; None without a camera.
        muscles: Rest and maximum of each EMG channel.
        weights: What the valence filter believes about the person; None for the prior.
        rest: (start, end) of the rest baseline, seconds of the stamps of that session.
        from_s: Stamp from which the processors used it; None is from the recording's start.
    """

    neutral: Neutral | None = None
    muscles: Mapping[str, Baseline] = field(default_factory=dict)
    weights: ValenceWeights | None = None
    rest: tuple[float, float] | None = None
    from_s: float | None = None

    def for_pipeline(self) -> dict[str, Any]:
        """As `PipelineSettings.calibration` takes it."""
        values = {"neutral": self.neutral, "emg": dict(self.muscles), "valence": self.weights}
        return {name: value for name, value in values.items() if value}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; every float comes back to the bit."""
        neutral = self.neutral
        return {
            "format": FORMAT,
            "from_s": self.from_s,
            "rest": None if self.rest is None else list(self.rest),
            "neutral": None
            if neutral is None
            else {name: array.tolist() for name, array in neutral.to_arrays().items()},
            "emg": baselines_to_json(self.muscles),
            "valence": None if self.weights is None else self.weights.to_dict(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` gave.

        Raises:
            InvalidSignal: It is damaged, or of a later version.
        """
        if values.get("format") != FORMAT:
            raise InvalidSignal(
                f"This calibration has format {values.get('format')!r}, not {FORMAT}: measure it again."
            )
        try:
            neutral, weights, rest = values.get("neutral"), values.get("valence"), values.get("rest")
            from_s = values.get("from_s")
            return cls(
                neutral=None
                if neutral is None
                else Neutral.from_arrays({name: np.array(array) for name, array in neutral.items()}),
                muscles=baselines_from_json(values.get("emg", {})),
                weights=None if weights is None else ValenceWeights.from_dict(weights),
                rest=None if rest is None else (_finite(rest[0]), _finite(rest[1])),
                from_s=None if from_s is None else _finite(from_s),
            )
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise InvalidSignal(f"This calibration is damaged ({error}): measure it again.") from error


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no time")
    return number


def session_calibration(info: SessionInfo | None) -> Calibration | None:
    """The calibration in a session's manifest; None where none was measured.

    Raises:
        InvalidSignal: It is damaged.
    """
    if info is None or "format" not in info.calibration:
        return None
    return Calibration.from_json(info.calibration)


def replayed_calibration(spec: StreamSpec) -> Calibration | None:
    """The calibration of the session that a replayed stream comes from, its times moved like the stamps.

    None for any other stream, for a session without calibration, and when streams of other machines are
    let in: they may not name files of this one.

    Raises:
        InvalidSignal: It is damaged.
    """
    session, shift = spec.metadata.get("replay_session"), spec.metadata.get("replay_shift_s")
    if session is None or shift is None or network.reaches_lan():
        return None
    sidecar = Path(session)
    if not sidecar.name.endswith("_session.json") or not sidecar.is_file():
        return None
    found = session_calibration(SessionInfo.load(sidecar))
    if found is None or found.from_s is None:
        return found
    return replace(found, from_s=found.from_s + float(shift), rest=None)


def load_calibration(path: Path) -> Calibration:
    """The calibration of an earlier session, to start another one with.

    Args:
        path: Session folder, ``.xdf`` or ``_session.json``.

    Returns:
        The calibration, valid from the start of any recording.

    Raises:
        DeviceNotFound: No such session, or it holds no calibration.
        InvalidSignal: It is damaged.
    """
    sidecar = path
    if not path.name.endswith("_session.json"):
        xdf = find_xdf(path)
        sidecar = xdf.with_name(f"{xdf.stem}_session.json")
    if not sidecar.is_file():
        raise DeviceNotFound(f"{sidecar} does not exist: give a session with its _session.json.")
    found = session_calibration(SessionInfo.load(sidecar))
    if found is None:
        raise DeviceNotFound(f"{sidecar} holds no calibration: measure one with 'zygoma session'.")
    return Calibration(found.neutral, found.muscles, found.weights)
