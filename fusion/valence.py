"""Valence from moment to moment: a Bayesian filter over the camera's action units and facial EMG.

The state is one number, valence, that wanders (a random walk that slowly comes home to neutral). Each
modality observes it (`fusion.valence_observations`) with two kinds of error: white noise, which averaging
removes, and a bias of its own (model error), which it does not. So losing a modality widens the standard
error at once. Thermal carries arousal only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from acquisition.stream import Channel, Kind, SampleType, StreamSpec
from fusion.valence_observations import Arousal, CameraValence, EmgValence, Observation
from fusion.valence_weights import ValenceWeights

VALENCE_COLUMNS = ("valence", "standard_error", "share_camera", "share_emg", "arousal", "quality")


class ValenceEstimate(NamedTuple):
    """One row of the Valence stream.

    Attributes:
        valence: -1..1.
        standard_error: Of `valence`, in the same unit.
        share_camera, share_emg: Weight of each modality in the estimate, 0-1; what is missing to 1 is the
            prior's.
        arousal: 0-1 from the nose tip's temperature, NaN without thermal.
        quality: 0-1, of what could be used at this moment; 1 is camera and EMG both perfect.
    """

    valence: float
    standard_error: float
    share_camera: float
    share_emg: float
    arousal: float
    quality: float


def valence_stream_spec(rate_hz: float, source_id: str = "zygoma-valence") -> StreamSpec:
    """The float32 stream of `VALENCE_COLUMNS`, stamped like the camera's rows."""
    return StreamSpec(
        name="Valence",
        kind=Kind.VALENCE,
        channels=tuple(Channel(label, "normalized", "Valence") for label in VALENCE_COLUMNS),
        rate_hz=rate_hz,
        dtype=SampleType.FLOAT32,
        source_id=source_id,
    )


_WALK_VARIANCE_PER_S = 0.0001
_STILL_VARIANCE_PER_S = 2e-6
_STILL, _SLACK = 0.01, 0.1
"""While the picture shows a face with less evidence than this, or the muscles alone contract by less, valence
hardly wanders: what is left of a mimicry too weak to see is an average over seconds."""

_HOME_S = 6.0
_PRIOR_SD = 0.5
_SURPRISING_NIS = 4.0
_MEMORY_S = 2.0
_TWITCH_SD = 0.2
"""Of the valence that a micro-expression leaks, however small it is."""

_EXPECTED_SHARE = {"camera": 0.6, "emg": 0.4}


class ValenceFilter:
    """Causal filter: one `update` per moment, with whatever modalities there are.

    Args:
        action_units, muscle_activity, skin_temperature: Specs of the streams whose rows will come; those
            that appear later are announced with `bind`.
        weights: Of the person.
    """

    def __init__(
        self,
        action_units: StreamSpec | None = None,
        muscle_activity: StreamSpec | None = None,
        skin_temperature: StreamSpec | None = None,
        weights: ValenceWeights | None = None,
    ) -> None:
        self.weights = weights or ValenceWeights()
        self._camera: CameraValence | None = None
        self._emg: EmgValence | None = None
        self._thermal: Arousal | None = None
        for spec in (action_units, muscle_activity, skin_temperature):
            if spec is not None:
                self.bind(spec)
        self.reset()

    def bind(self, spec: StreamSpec) -> None:
        """Announce a stream, so that its columns are resolved once.

        Raises:
            ValueError: A kind of stream that says nothing about valence.
        """
        if spec.kind is Kind.ACTION_UNITS:
            self._camera = CameraValence(spec, self.weights)
        elif spec.kind is Kind.MUSCLE_ACTIVITY:
            self._emg = EmgValence(spec, self.weights)
        elif spec.kind is Kind.SKIN_TEMPERATURE:
            self._thermal = Arousal(spec)
        else:
            raise ValueError(f"valence cannot be read from a {spec.kind} stream")

    def reset(self) -> None:
        """Forget the past."""
        self._time_s = math.nan
        self._valence = 0.0
        self._variance = _PRIOR_SD**2
        self._share_camera = 0.0
        self._share_emg = 0.0
        self._difference = 0.0
        self._bias = 0.0
        if self._emg is not None:
            self._emg.reset()
        if self._thermal is not None:
            self._thermal.reset()

    def update(
        self,
        time_s: float,
        au_row: Sequence[float] | None,
        emg_row: Sequence[float] | None,
        thermal_row: Sequence[float] | None,
        *,
        blinking: bool = False,
        twitching: bool = False,
    ) -> ValenceEstimate:
        """The estimate at `time_s` from the rows that hold at that moment.

        Args:
            time_s: Must not decrease.
            au_row: Row of ActionUnits relative to the person's neutral face, None without a face.
            emg_row: Row of MuscleActivity, None when there is none.
            thermal_row: Row of SkinTemperature, None when there is none. The same row may come again.
            blinking: The EMG row falls into a blink that the camera saw.
            twitching: A micro-expression may be under way, which means more than its size tells.
        """
        dt = 1.0 / 30.0 if math.isnan(self._time_s) else max(time_s - self._time_s, 0.0)
        self._time_s = time_s
        camera = self._camera.observe(au_row) if au_row is not None and self._camera is not None else None
        emg = None
        if emg_row is not None and self._emg is not None:
            emg = self._emg.observe(emg_row, camera, blinking=blinking)
        if camera is not None and emg is not None:
            camera = camera.masked_by_frown(emg.negative)
        arousal = self._thermal.observe(time_s, thermal_row) if self._thermal is not None else math.nan
        shown, least = (camera, _STILL) if camera is not None else (emg, _SLACK)
        still = shown is not None and max(shown.positive, shown.negative) < least
        self._predict(dt, _STILL_VARIANCE_PER_S if still else _WALK_VARIANCE_PER_S)
        bias_variance, quality = self._correct(dt, camera, emg)
        if twitching:
            bias_variance += _TWITCH_SD**2
        error = math.sqrt(self._variance + bias_variance)
        return ValenceEstimate(
            min(1.0, max(-1.0, self._valence)),
            min(error, 1.0),
            self._share_camera,
            self._share_emg,
            arousal,
            quality,
        )

    def _predict(self, dt: float, walk_variance_per_s: float) -> None:
        stay = math.exp(-dt / _HOME_S)
        self._valence *= stay
        self._variance = self._variance * stay * stay + walk_variance_per_s * dt
        self._variance = min(self._variance, _PRIOR_SD**2)

    def _correct(self, dt: float, camera: Observation | None, emg: Observation | None) -> tuple[float, float]:
        """Fold the observations in; returns the bias variance that remains and the quality."""
        if camera is None and emg is None:
            # What was known stays the best guess for a moment, but nothing vouches for it any more.
            self._bias = max(self._bias, _PRIOR_SD**2 / 2.0)
            return 1.5 * self._bias, 0.0
        dt = max(dt, 1e-3)
        precision_camera = _precision(camera)
        precision_emg = _precision(emg)
        total = precision_camera + precision_emg
        weight_camera, weight_emg = precision_camera / total, precision_emg / total
        value = white = bias = quality = 0.0
        for seen, weight, name in ((camera, weight_camera, "camera"), (emg, weight_emg, "emg")):
            if seen is not None:
                value += weight * seen.value
                white += weight**2 * seen.white_variance / dt
                bias += weight**2 * seen.bias_variance
                quality += _EXPECTED_SHARE[name] * seen.quality
        if camera is not None and emg is not None:
            step = 1.0 if self._difference == 0.0 else min(1.0, dt / 0.15)
            self._difference += step * (camera.value - emg.value - self._difference)
            # Two witnesses that disagree are both less to be believed.
            bias += weight_camera * weight_emg * self._difference**2
        else:
            # The disagreement is not settled by one of them leaving.
            self._difference *= math.exp(-dt / _MEMORY_S)
            bias += 0.25 * self._difference**2
        self._bias = bias
        innovation = value - self._valence
        expected = self._variance + white
        # An expression begins faster than a random walk wanders: when the observation is out of reach, the
        # walk has jumped, and the state's uncertainty grows to cover the jump.
        jump = innovation * innovation - _SURPRISING_NIS * expected
        if jump > 0.0:
            self._variance += 0.5 * jump
        gain = self._variance / (self._variance + white)
        self._valence += gain * innovation
        self._variance *= 1.0 - gain
        self._share_camera += gain * (weight_camera - self._share_camera)
        self._share_emg += gain * (weight_emg - self._share_emg)
        return bias, quality


def _precision(seen: Observation | None) -> float:
    if seen is None:
        return 0.0
    return 1.0 / (seen.bias_variance + 30.0 * seen.white_variance)
