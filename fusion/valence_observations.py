"""What one row of each modality says about valence, and how far it can be wrong.

Weights follow section 4.1 of the paper: zygomaticus (AU12, AU6) is the reliable area of positive emotion,
corrugator (AU4) of negative emotion, and table 3 for the other AUs that belong to negative emotions alone.
Zygomaticus together with corrugator, AU4, AU9 or AU10 is disgust or a mixed state, never positive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from acquisition.stream import StreamSpec
from fusion.valence_weights import ValenceWeights

NEGATIVE_WEIGHTS: Mapping[int, float] = MappingProxyType(
    {4: 1.5, 9: 1.3, 10: 1.0, 15: 0.7, 20: 0.6, 17: 0.4, 24: 0.4, 23: 0.4, 16: 0.3, 22: 0.3, 7: 0.2}
)
"""How much one AU at full intensity says "negative", 1 being all. AU4 leads (rule 3, section 4.1); being a
movement of a few millimetres, it is read too low rather than too high. AUs that table 3 gives to negative
emotions only follow, and those that speech also moves (16, 17, 22-24) or a hearty smile (7) come last."""

_ECHO_UNITS = frozenset({7, 10, 16, 17, 20, 22, 23, 24})
"""AUs of the mouth and lower lid that a broad smile stretches along (table 1 has AU10 third for happiness):
only what goes beyond the smile is negative."""

_CURVE = 1.5
"""Valence grows faster than intensity: half a smile already means most of one."""

_MUSCLES = {"ZYG": "zygomaticus", "COR": "corrugator"}
"""Prefix of the channels on either muscle of section 4.1."""

_DEAD = 0.012
_RESTING = 0.02
"""Contraction that a resting muscle's noise also shows: it makes the EMG no less sure."""

_MIX_FROM = 0.08
_MIX_CROSSTALK = 0.15
"""Of a smile's strength: a frown weaker than this is cross-talk or the squint of a hearty smile."""
_MIX_GAIN = 5.0
_LINEAR = 0.3
_UNSEEN_FROWN = 0.9
"""Without a picture the corrugator's electrodes may hear a raised brow, which is no frown."""

_UNBLINKED_GAIN = 0.1
"""Per row: what the corrugator did before a blink is a mean of a third of a second; blinks begin unseen."""


@dataclass(frozen=True)
class ErrorLaw:
    """Standard error of what a modality says, in units of valence.

    Measured on simulated sessions whose valence is known, so that intervals of 1.96 standard errors hold 95 %
    of the time (``zygoma bench fusion``).

    Attributes:
        white: Noise from row to row at 30 rows per second; averaging removes it.
        rest: Error at rest that stays.
        unsure: Error as soon as something moves: a small movement may mean more than its size tells (a
            micro-expression is hardly seen and yet meant), a large one is someone's habit.
        knee: Activity at which half of that (as variance) is reached.
        gain: Error per unit of activity: people's expressions differ in strength.
    """

    white: float
    rest: float
    unsure: float
    knee: float
    gain: float

    def variance(self, activity: float) -> float:
        """Variance that averaging does not remove, when that much is going on (0-1)."""
        activity = max(0.0, activity)
        unsure = self.unsure**2 * activity / (activity + self.knee)
        return self.rest**2 + unsure + (self.gain * activity) ** 2


CAMERA_ERROR = ErrorLaw(white=0.002, rest=0.005, unsure=0.18, knee=0.05, gain=0.25)
EMG_ERROR = ErrorLaw(white=0.022, rest=0.005, unsure=0.235, knee=0.15, gain=0.19)
EMG_ALONE_ERROR = ErrorLaw(white=0.022, rest=0.005, unsure=0.23, knee=0.15, gain=0.17)
"""Without a picture two muscles may be misread: a raised brow as a frown, disgust as a smile."""


class Observation(NamedTuple):
    """One modality's word on valence.

    Attributes:
        value: -1..1.
        white_variance: Per second: variance of one row times the time it stands for.
        bias_variance: Of the error that averaging does not remove.
        quality: 0-1.
        positive, negative: The evidence for either, 0-1.
        surprise: A raised brow without a frown, 0-1: the frontalis then reaches the corrugator's electrodes.
    """

    value: float
    white_variance: float
    bias_variance: float
    quality: float
    positive: float
    negative: float
    surprise: float = 0.0

    def masked_by_frown(self, frown: float) -> Observation:
        """The same when another modality sees a frown of that strength: a smile then is mixed."""
        if frown <= _MIX_FROM:
            return self
        return self._replace(value=mix(self.positive, max(frown, self.negative)) - self.negative)


def mix(positive: float, negative: float) -> float:
    """Positive evidence that is left when negative evidence is there too: none beyond a third or so."""
    beyond = negative - _MIX_FROM - _MIX_CROSSTALK * positive
    return positive * (1.0 - min(1.0, max(0.0, _MIX_GAIN * beyond)))


def _column(spec: StreamSpec, label: str) -> int:
    """Column of `label`, -1 without it."""
    return spec.labels.index(label) if label in spec.labels else -1


class CameraValence:
    """Section 4.1 and table 3 on one row of action units."""

    def __init__(self, spec: StreamSpec, weights: ValenceWeights) -> None:
        gains = {12: weights.smile_gain, 4: weights.frown_gain}
        self._smile_gain, self._frown_gain = gains[12], gains[4]
        self._confidence = _column(spec, "confidence")
        self._smile = _column(spec, "AU12")
        self._cheek = _column(spec, "AU6")
        self._suck = _column(spec, "AU28")
        self._surprise = tuple(_column(spec, f"AU{unit}") for unit in (2, 5))
        self._frown = _column(spec, "AU4")
        self._negative = tuple(
            (_column(spec, f"AU{unit}"), weight * gains.get(unit, 1.0), unit in _ECHO_UNITS)
            for unit, weight in NEGATIVE_WEIGHTS.items()
            if _column(spec, f"AU{unit}") >= 0
        )
        self._errors = tuple(
            (_column(spec, f"AU{unit}_se"), weight)
            for unit, weight in ((12, 1.0), (6, 0.5), (4, 1.0), (9, 1.0), (10, 0.8))
            if _column(spec, f"AU{unit}_se") >= 0
        )

    def observe(self, row: Sequence[float]) -> Observation | None:
        """What the face shows; None when it cannot be trusted at all."""
        quality = row[self._confidence] if self._confidence >= 0 else 1.0
        if not quality > 0.05:  # also NaN
            return None
        quality = min(quality, 1.0)
        smile = min(1.0, self._smile_gain * _intensity(row, self._smile))
        # A cheek raised without the lip corner is a squint (Ekman, Davidson & Friesen 1990 need both).
        cheek = min(_intensity(row, self._cheek), 2.0 * smile)
        suck = _intensity(row, self._suck)
        positive = 1.0 - (1.0 - smile) ** _CURVE * (1.0 - 0.4 * cheek) * (1.0 - 0.3 * suck)
        untouched = 1.0
        for column, weight, smiling_too in self._negative:
            amount = _intensity(row, column)
            if smiling_too:
                amount = max(0.0, amount - smile)
            untouched *= 1.0 - min(1.0, weight * amount)
        negative = 1.0 - untouched**_CURVE
        error = 0.0
        for column, weight in self._errors:
            if row[column] > 0.0:
                error += (weight * min(row[column], 1.0)) ** 2
        # The detector's errors are of its gain, so they show only while something moves.
        activity = max(positive, negative)
        bias = CAMERA_ERROR.variance(activity) + min(1.0, 4.0 * activity) * error
        bias += (0.5 * min(positive, negative)) ** 2
        surprise = max(0.0, *(_intensity(row, column) for column in self._surprise))
        surprise = max(0.0, surprise - self._frown_gain * _intensity(row, self._frown))
        return Observation(
            mix(positive, negative) - negative,
            CAMERA_ERROR.white**2 / (30.0 * quality),
            bias / quality,
            quality,
            positive,
            negative,
            surprise,
        )


def _intensity(row: Sequence[float], column: int) -> float:
    if column < 0:
        return 0.0
    value = row[column]
    if not value > _DEAD:  # also NaN
        return 0.0
    return min(1.0, (value - _DEAD) / (1.0 - _DEAD))


class EmgValence:
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
            for prefix in _MUSCLES
        )
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._unblinked = math.inf

    def observe(
        self, row: Sequence[float], camera: Observation | None, *, blinking: bool = False
    ) -> Observation | None:
        """What the muscles do, in the light of what the camera sees at that moment; None without quality.

        In a blink the corrugator is believed to do no more than before: the lid's muscle is heard there.
        """
        weights = self._weights
        zygomaticus, quality_zygomaticus = self._activity(row, self._muscles[0])
        corrugator, quality_corrugator = self._activity(row, self._muscles[1])
        quality = 0.5 * (quality_zygomaticus + quality_corrugator)
        if quality < 0.05:
            return None
        if blinking:
            corrugator = min(corrugator, self._unblinked)
        elif math.isinf(self._unblinked):
            self._unblinked = corrugator
        else:
            self._unblinked += _UNBLINKED_GAIN * (corrugator - self._unblinked)
        positive = _contraction(zygomaticus, weights.zygomaticus_full_z)
        frown = _contraction(corrugator, weights.corrugator_full_z)
        negative_seen = 0.0
        if camera is not None:
            frown *= 1.0 - min(1.0, 2.5 * camera.surprise)
            negative_seen = camera.negative
        active, both = max(positive, frown), max(0.0, min(positive, frown))
        if positive > 0.0:
            positive = mix(positive, max(frown, negative_seen))
        if camera is None:
            frown *= _UNSEEN_FROWN
        law = EMG_ERROR if camera is not None else EMG_ALONE_ERROR
        bias = law.variance(active - _RESTING) + (0.5 * both) ** 2
        # One muscle alone sees one half of the scale.
        if min(quality_zygomaticus, quality_corrugator) < 0.05:
            bias += 0.15**2
        # The curve from z to contraction is steep where there is much of it, steepest where both contend.
        noise = law.white * (1.0 + 2.0 * max(0.0, active) + 4.0 * both)
        white = noise * noise / (30.0 * quality)
        return Observation(positive - frown, white, bias / quality, quality, positive, frown)

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


def one_muscle_words(channels: Iterable[str]) -> str:
    """What valence lacks when electrodes sit on one of its two muscles only; empty when on both, or neither.

    Args:
        channels: Labels of the EMG channels, e.g. ``ZYG_L``.
    """
    prefixes = {label.partition("_")[0] for label in channels}
    found = [name for prefix, name in _MUSCLES.items() if prefix in prefixes]
    absent = [name for prefix, name in _MUSCLES.items() if prefix not in prefixes]
    if len(found) != 1:
        return ""
    return (
        f"the EMG has no channel on the {absent[0]}: it tells one half of the scale, by the {found[0]} alone"
    )


def _contraction(activity_z: float, full_z: float) -> float:
    """Share of a full contraction. z counts in logarithms, contraction in amplitude, so the curve bends up;
    its straight part lets activity too small to see, and relaxation, still lean the estimate.
    """
    share = max(-0.3, min(1.2, activity_z / full_z))
    return _LINEAR * share + (1.0 - _LINEAR) * max(0.0, share) ** 2


class Arousal:
    """Arousal from the nose tip: its temperature's departure, either way, beyond the forehead's.

    Amplitude follows arousal, not valence, and studies differ on the sign (Kosonogov 2017), so the sign is
    dropped. Subtracting the forehead cancels the camera's drift.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._nose = _column(spec, "nose_tip_delta_celsius")
        # A delta that is relative to the forehead already would get the camera's drift back.
        relative = spec.metadata.get("delta_reference") == "forehead"
        self._forehead = -1 if relative else _column(spec, "forehead_delta_celsius")
        self._valid = _column(spec, "nose_tip_valid")
        self._ffc = _column(spec, "ffc")
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._time_s = math.nan
        self._departure = 0.0
        self._known = False

    def observe(self, time_s: float, row: Sequence[float] | None) -> float:
        """Arousal 0-1 at `time_s`; NaN while it is not known."""
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
