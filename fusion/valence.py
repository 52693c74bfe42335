"""Valence from moment to moment: a Bayesian filter over the camera's action units and facial EMG.

The state is one number, valence, that wanders (a random walk that slowly comes home to neutral). Each
modality observes it with two kinds of error: white noise, which averaging removes, and a bias of its own
(model error), which it does not. So losing a modality widens the standard error at once. Thermal carries
arousal only.

Weights follow section 4.1 of the paper: zygomaticus (AU12, AU6) is the reliable area of positive emotion,
corrugator (AU4) of negative emotion, and table 3 for the other AUs that belong to negative emotions alone.
Zygomaticus together with corrugator, AU4, AU9 or AU10 is disgust or a mixed state, never positive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from acquisition.stream import Channel, Kind, SampleType, StreamSpec

VALENCE_COLUMNS = ("valence", "standard_error", "share_camera", "share_emg", "arousal", "quality")

NEGATIVE_WEIGHTS: Mapping[int, float] = MappingProxyType(
    {4: 1.5, 9: 1.3, 10: 1.0, 15: 0.7, 20: 0.6, 17: 0.4, 24: 0.4, 23: 0.4, 16: 0.3, 22: 0.3, 7: 0.2}
)
"""How much one AU at full intensity says "negative", 1 being all. AU4 leads (rule 3, section 4.1); being a
movement of a few millimetres, it is read too low rather than too high. AUs that table 3 gives to negative
emotions only follow, and those that speech also moves (16, 17, 22-24) or a hearty smile (7) come last."""


@dataclass(frozen=True)
class ValenceWeights:
    """What the filter believes about a person; the defaults are the prior for everyone.

    Attributes:
        zygomaticus_full_z, corrugator_full_z: Activity (z of the fast envelope's logarithm) of a full smile
            and a full frown. The corrugator weighs at least as much as the zygomaticus (Larsen 2003).
        camera_noise, emg_noise: Standard deviation of one observation's white noise at 30 per second.
        camera_bias, emg_bias: Standard deviation of a modality's model error at neutral.
        camera_gain_error, emg_gain_error: The same, per unit of valence.
        neutral: Neutral reading per column of the ActionUnits stream, from a rest block.
    """

    zygomaticus_full_z: float = 15.0
    corrugator_full_z: float = 14.0
    camera_noise: float = 0.03
    emg_noise: float = 0.05
    camera_bias: float = 0.012
    emg_bias: float = 0.03
    camera_gain_error: float = 0.15
    emg_gain_error: float = 0.35
    neutral: Mapping[str, float] = field(default_factory=dict)


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


class _Observation(NamedTuple):
    value: float
    white_variance: float
    """Per second: variance of one observation times the time it stands for."""
    bias_variance: float
    quality: float
    positive: float
    negative: float
    surprise: float = 0.0
    """A raised brow without a frown: the frontalis then reaches the corrugator's electrodes."""


_WALK_VARIANCE_PER_S = 0.002
_HOME_S = 6.0
_PRIOR_SD = 0.5
_SURPRISING_NIS = 4.0
_DEAD = 0.03
_MIX_FROM = 0.08
_MIX_CROSSTALK = 0.15
"""Of a smile's strength: a frown weaker than this is cross-talk or the squint of a hearty smile."""
_MIX_GAIN = 5.0
_LINEAR = 0.3
_UNSEEN = 1.5
_MEMORY_S = 2.0
_ECHO_UNITS = frozenset({7, 10, 16, 17, 20, 22, 23, 24})
"""AUs of the mouth and lower lid that a broad smile stretches along (table 1 has AU10 third for happiness):
only what goes beyond the smile is negative."""
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
        self._camera: _CameraModel | None = None
        self._emg: _EmgModel | None = None
        self._thermal: _ArousalModel | None = None
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
            self._camera = _CameraModel(spec, self.weights)
        elif spec.kind is Kind.MUSCLE_ACTIVITY:
            self._emg = _EmgModel(spec, self.weights)
        elif spec.kind is Kind.SKIN_TEMPERATURE:
            self._thermal = _ArousalModel(spec)
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
        if self._thermal is not None:
            self._thermal.reset()

    def update(
        self,
        time_s: float,
        au_row: Sequence[float] | None,
        emg_row: Sequence[float] | None,
        thermal_row: Sequence[float] | None,
    ) -> ValenceEstimate:
        """The estimate at `time_s` from the rows that hold at that moment.

        Args:
            time_s: Must not decrease.
            au_row: Row of ActionUnits relative to the person's neutral face, None without a face.
            emg_row: Row of MuscleActivity, None when there is none.
            thermal_row: Row of SkinTemperature, None when there is none. The same row may come again.
        """
        dt = 1.0 / 30.0 if math.isnan(self._time_s) else max(time_s - self._time_s, 0.0)
        self._time_s = time_s
        camera = self._camera.observe(au_row) if au_row is not None and self._camera is not None else None
        emg = self._emg.observe(emg_row, camera) if emg_row is not None and self._emg is not None else None
        if camera is not None and emg is not None and emg.negative > _MIX_FROM:
            camera = _masked_by_frown(camera, emg.negative)
        arousal = self._thermal.observe(time_s, thermal_row) if self._thermal is not None else math.nan
        self._predict(dt)
        bias_variance, quality = self._correct(dt, camera, emg)
        error = math.sqrt(self._variance + bias_variance)
        return ValenceEstimate(
            min(1.0, max(-1.0, self._valence)),
            min(error, 1.0),
            self._share_camera,
            self._share_emg,
            arousal,
            quality,
        )

    def _predict(self, dt: float) -> None:
        stay = math.exp(-dt / _HOME_S)
        self._valence *= stay
        self._variance = self._variance * stay * stay + _WALK_VARIANCE_PER_S * dt
        self._variance = min(self._variance, _PRIOR_SD**2)

    def _correct(
        self, dt: float, camera: _Observation | None, emg: _Observation | None
    ) -> tuple[float, float]:
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


def _precision(seen: _Observation | None) -> float:
    if seen is None:
        return 0.0
    return 1.0 / (seen.bias_variance + 30.0 * seen.white_variance)


def _mix(positive: float, negative: float) -> float:
    """Positive evidence that is left when negative evidence is there too: none beyond a third or so."""
    beyond = negative - _MIX_FROM - _MIX_CROSSTALK * positive
    return positive * (1.0 - min(1.0, max(0.0, _MIX_GAIN * beyond)))


def _masked_by_frown(camera: _Observation, negative: float) -> _Observation:
    value = _mix(camera.positive, max(negative, camera.negative)) - camera.negative
    return camera._replace(value=value)


def _column(spec: StreamSpec, label: str) -> int:
    """Column of `label`, -1 without it."""
    return spec.labels.index(label) if label in spec.labels else -1


class _CameraModel:
    """Section 4.1 and table 3 on one row of action units."""

    def __init__(self, spec: StreamSpec, weights: ValenceWeights) -> None:
        self._weights = weights
        self._confidence = _column(spec, "confidence")
        self._smile = _column(spec, "AU12")
        self._cheek = _column(spec, "AU6")
        self._suck = _column(spec, "AU28")
        self._surprise = tuple(_column(spec, f"AU{unit}") for unit in (2, 5))
        self._frown = _column(spec, "AU4")
        self._negative = tuple(
            (_column(spec, f"AU{unit}"), weight, unit in _ECHO_UNITS)
            for unit, weight in NEGATIVE_WEIGHTS.items()
            if _column(spec, f"AU{unit}") >= 0
        )
        self._errors = tuple(
            (_column(spec, f"AU{unit}_se"), weight)
            for unit, weight in ((12, 1.0), (6, 0.5), (4, 1.0), (9, 1.0), (10, 0.8))
            if _column(spec, f"AU{unit}_se") >= 0
        )

    def observe(self, row: Sequence[float]) -> _Observation | None:
        weights = self._weights
        quality = row[self._confidence] if self._confidence >= 0 else 1.0
        if not quality > 0.05:  # also NaN
            return None
        quality = min(quality, 1.0)
        smile = _intensity(row, self._smile)
        # A cheek raised without the lip corner is a squint (Ekman, Davidson & Friesen 1990 need both).
        cheek = min(_intensity(row, self._cheek), 2.0 * smile)
        suck = _intensity(row, self._suck)
        positive = 1.0 - (1.0 - smile) ** 1.5 * (1.0 - 0.4 * cheek) * (1.0 - 0.3 * suck)
        untouched = 1.0
        for column, weight, smiling_too in self._negative:
            amount = _intensity(row, column)
            if smiling_too:
                amount = max(0.0, amount - smile)
            untouched *= 1.0 - min(1.0, weight * amount)
        negative = 1.0 - untouched
        value = _mix(positive, negative) - negative
        error = 0.0
        for column, weight in self._errors:
            if row[column] > 0.0:
                error += (weight * min(row[column], 1.0)) ** 2
        # The detector's errors are of its gain, so they show only while something moves.
        active = min(1.0, 4.0 * (positive + negative))
        bias = weights.camera_bias**2 + (weights.camera_gain_error * value) ** 2
        bias += (0.5 * min(positive, negative)) ** 2 + active * error
        surprise = max(0.0, *(_intensity(row, column) for column in self._surprise))
        surprise = max(0.0, surprise - _intensity(row, self._frown))
        white = weights.camera_noise**2 / (30.0 * quality)
        return _Observation(value, white, bias / quality, quality, positive, negative, surprise)


def _intensity(row: Sequence[float], column: int) -> float:
    if column < 0:
        return 0.0
    value = row[column]
    if not value > _DEAD:  # also NaN
        return 0.0
    return min(1.0, (value - _DEAD) / (1.0 - _DEAD))


class _EmgModel:
    """Zygomaticus against corrugator, sides weighted by their quality."""

    def __init__(self, spec: StreamSpec, weights: ValenceWeights) -> None:
        self._weights = weights
        channels = sorted({label.removesuffix("_z") for label in spec.labels if label.endswith("_z")})
        channels = [name for name in channels if not name.endswith("_slow")]
        self._muscles = tuple(
            tuple(
                (_column(spec, f"{name}_z"), _column(spec, f"{name}_quality"))
                for name in channels
                if name.startswith(prefix)
            )
            for prefix in ("ZYG", "COR")
        )

    def observe(self, row: Sequence[float], camera: _Observation | None) -> _Observation | None:
        weights = self._weights
        zygomaticus, quality_zygomaticus = self._activity(row, self._muscles[0])
        corrugator, quality_corrugator = self._activity(row, self._muscles[1])
        quality = 0.5 * (quality_zygomaticus + quality_corrugator)
        if quality < 0.05:
            return None
        positive = _contraction(zygomaticus, weights.zygomaticus_full_z)
        frown = _contraction(corrugator, weights.corrugator_full_z)
        negative_seen = 0.0
        if camera is not None:
            frown *= 1.0 - min(1.0, 2.5 * camera.surprise)
            negative_seen = camera.negative
        active, both = max(positive, frown), max(0.0, min(positive, frown))
        if positive > 0.0:
            positive = _mix(positive, max(frown, negative_seen))
        value = positive - frown
        # Two muscles cannot tell all that a face may mean: the more they do, the more may be misread, and
        # more still without a picture (a raised brow reads as a frown, disgust as a smile).
        gain_error = weights.emg_gain_error * (1.0 if camera is not None else _UNSEEN)
        bias = weights.emg_bias**2 + (gain_error * active) ** 2
        bias += (0.5 * both) ** 2
        # One muscle alone sees one half of the scale.
        if min(quality_zygomaticus, quality_corrugator) < 0.05:
            bias += 0.15**2
        # The curve from z to contraction is steep where there is much of it, steepest where both contend.
        noise = weights.emg_noise * (1.0 + 2.0 * max(0.0, active) + 4.0 * both)
        white = noise * noise / (30.0 * quality)
        return _Observation(value, white, bias / quality, quality, positive, frown)

    @staticmethod
    def _activity(row: Sequence[float], columns: tuple[tuple[int, int], ...]) -> tuple[float, float]:
        """Mean z of a muscle's channels, weighted by quality, and the best quality among them."""
        total = weight_sum = best = 0.0
        for fast, quality_column in columns:
            quality = row[quality_column] if quality_column >= 0 else 1.0
            activity = row[fast]
            if not quality > 0.1 or not math.isfinite(activity):
                continue
            total += quality * activity
            weight_sum += quality
            best = max(best, quality)
        return (total / weight_sum if weight_sum > 0.0 else 0.0), min(best, 1.0)


def _contraction(activity_z: float, full_z: float) -> float:
    """Share of a full contraction. z counts in logarithms, contraction in amplitude, so the curve bends up;
    its straight part lets activity too small to see, and relaxation, still lean the estimate.
    """
    share = max(-0.3, min(1.2, activity_z / full_z))
    return _LINEAR * share + (1.0 - _LINEAR) * max(0.0, share) ** 2


class _ArousalModel:
    """Arousal from the nose tip: its temperature's departure, either way, beyond the forehead's.

    Amplitude follows arousal, not valence, and studies differ on the sign (Kosonogov 2017), so the sign is
    dropped. Subtracting the forehead cancels the camera's drift.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._nose = _column(spec, "nose_tip_delta_celsius")
        self._forehead = _column(spec, "forehead_delta_celsius")
        self._valid = _column(spec, "nose_tip_valid")
        self._ffc = _column(spec, "ffc")
        self.reset()

    def reset(self) -> None:
        self._time_s = math.nan
        self._departure = 0.0
        self._known = False

    def observe(self, time_s: float, row: Sequence[float] | None) -> float:
        if row is None:
            self._known = False
            return math.nan
        dt = 0.0 if math.isnan(self._time_s) else time_s - self._time_s
        self._time_s = time_s
        departure = row[self._nose] if self._nose >= 0 else math.nan
        forehead = row[self._forehead] if self._forehead >= 0 else 0.0
        if math.isfinite(forehead):
            departure -= forehead
        valid = row[self._valid] if self._valid >= 0 else 1.0
        shutter = row[self._ffc] if self._ffc >= 0 else 0.0
        if math.isfinite(departure) and valid > 0.5 and not shutter > 0.5:
            step = 1.0 - math.exp(-dt / 1.5) if self._known else 1.0
            self._departure += step * (departure - self._departure)
            self._known = True
        if not self._known:
            return math.nan
        return math.tanh(max(0.0, abs(self._departure) - 0.05) / 0.4)
