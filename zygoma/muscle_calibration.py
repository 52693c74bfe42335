"""From posed contractions to %MVC: rest and maximum of each EMG channel, checked before they are used.

Three smiles and three frowns, held for two to three seconds each, give the maximum that later activity is a
percentage of (maximal voluntary contraction; Fridlund & Cacioppo 1986, Psychophysiology 23; van Boxtel 2010).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, InvalidSignal
from processing.emg import Baseline, EmgSettings, MuscleActivity
from processing.emg_quality import WANTED_SNR_DB, spoken_name

HELD_S = 0.5
"""A maximum is the best mean of the fast envelope over this long: a click or a twitch is no maximum."""

AGREEING_RATIO = 2.5
"""An attempt this many times stronger than the next best is an artefact until another one confirms it."""

_LATE_S = 1.0  # a person follows an instruction late, and lets go late
_LEAST_QUALITY = 0.25
_LEAST_USABLE = 0.8  # of the rows of an attempt
_LEAST_SNR_DB = 6.0  # below it nothing was contracted


@dataclass(frozen=True)
class Contraction:
    """One posed contraction, as asked for.

    Attributes:
        channels: Labels of the EMG channels over the muscles it was asked of, e.g. ``("ZYG_L", "ZYG_R")``.
        start_s, end_s: When it was to be held, in the seconds of the block stamps. Reaction time need not be
            cut away: the best half second counts, up to 1 s after `end_s`.
    """

    channels: tuple[str, ...]
    start_s: float
    end_s: float


@dataclass(frozen=True)
class MeasuredMaximum:
    """What the attempts of one channel gave.

    Attributes:
        label: Channel.
        attempts_uv: Best half second of each attempt, microvolts; NaN where the signal could not be used.
        mvc_uv: The maximum taken; NaN when there is none.
        rest_uv: Geometric mean of the fast envelope at rest, microvolts.
        problem: What to do about it, in a sentence; empty when the maximum can be used as it is.
    """

    label: str
    attempts_uv: tuple[float, ...]
    mvc_uv: float
    rest_uv: float
    problem: str = ""

    @property
    def snr_db(self) -> float:
        """Maximum over rest, decibels; NaN without either."""
        usable = self.mvc_uv > 0 and self.rest_uv > 0
        return 20 * math.log10(self.mvc_uv / self.rest_uv) if usable else math.nan

    @property
    def words(self) -> str:
        """One line for the assistant."""
        name = spoken_name(self.label)
        if math.isnan(self.mvc_uv):
            return f"{name}: no maximum: {self.problem}"
        found = f"{name}: {self.mvc_uv:.0f} µV, {self.snr_db:.0f} dB above rest"
        return f"{found}; {self.problem}" if self.problem else found


@dataclass(frozen=True)
class MuscleCalibration:
    """Result of `measure_mvc`.

    Attributes:
        baselines: Label -> `Baseline`, as `MuscleActivity(calibration=...)` and
            ``PipelineSettings(calibration={"emg": ...})`` take it; every channel has its rest, those that
            were posed their maximum.
        maxima: Label -> how the maximum came about, for the channels that were posed.
    """

    baselines: Mapping[str, Baseline]
    maxima: Mapping[str, MeasuredMaximum]

    @property
    def problems(self) -> tuple[str, ...]:
        """One line per channel whose posing should be repeated; empty when all is well."""
        return tuple(maximum.words for maximum in self.maxima.values() if maximum.problem)


def measure_mvc(
    blocks: Iterable[Block],
    contractions: Sequence[Contraction],
    *,
    rest: tuple[float, float] | None = None,
    settings: EmgSettings | None = None,
) -> MuscleCalibration:
    """Measure rest and maximum of each channel from a stretch of EMG with posed contractions in it.

    Per channel the maximum is the strongest half second of all its attempts (three are usual). An attempt
    counts only if its signal was usable, and one that is `AGREEING_RATIO` times stronger than the next best
    is left out as an artefact. What is doubtful is said in `MuscleCalibration.problems`; asking for that
    contraction again and calling with all blocks and contractions so far is the way to mend it.

    Args:
        blocks: EMG blocks of one stream in microvolts, in order, from before the rest to at least 1 s after
            the last contraction.
        contractions: Which channels were posed and when; repetitions in any order.
        rest: (start, end) of a stretch in which the face was relaxed, in the seconds of the block stamps;
            None lets the gated baseline find rest between the contractions.
        settings: How to filter; what the session will use.

    Raises:
        InvalidSignal: No samples, no EMG in microvolts, or a contraction names a channel that is not there.

    Example:
        >>> smiles = [Contraction(("ZYG_L", "ZYG_R"), t, t + 3.0) for t in (20.0, 28.0, 36.0)]
        >>> calibration = measure_mvc(blocks, smiles, rest=(0.0, 15.0))  # doctest: +SKIP
        >>> MuscleActivity(calibration=calibration.baselines)  # doctest: +SKIP
    """
    activity = MuscleActivity(settings, rest=rest)
    rows = [activity.process(block) for block in blocks]
    if not sum(len(row) for row in rows):
        raise InvalidSignal("There is no EMG to measure the maximum from: check that the EMG stream runs.")
    stamps = np.concatenate([row.timestamps for row in rows])
    table = np.concatenate([row.array for row in rows])
    columns = {label: index for index, label in enumerate(rows[0].spec.labels)}
    rests = activity.baselines()
    for contraction in contractions:
        unknown = sorted(set(contraction.channels) - set(rests))
        if unknown:
            raise InvalidSignal(
                f"There is no EMG channel {unknown[0]}: the stream has {', '.join(rests)}; "
                "name its channels with --channel."
            )
    strongest: dict[str, list[float]] = {}
    answers: dict[str, list[dict[str, float]]] = {}
    for contraction in contractions:
        inside = (stamps >= contraction.start_s) & (stamps < contraction.end_s + _LATE_S)
        levels = {
            label: _best_half_second(
                stamps[inside],
                table[inside, columns[f"{label}_envelope_uv"]],
                table[inside, columns[f"{label}_quality"]],
            )
            for label in rests
        }
        for label in contraction.channels:
            strongest.setdefault(label, []).append(levels[label])
            answers.setdefault(label, []).append(levels)
    maxima = {}
    for label, attempts in strongest.items():
        maximum = _judge(label, attempts, math.exp(rests[label].log_mean))
        maxima[label] = _check_neighbours(maximum, answers[label], rests)
    baselines = {
        label: replace(baseline, mvc_uv=maxima[label].mvc_uv if label in maxima else math.nan)
        for label, baseline in rests.items()
    }
    return MuscleCalibration(baselines, maxima)


def _best_half_second(
    stamps: NDArray[np.float64], envelope_uv: NDArray[np.float32], quality: NDArray[np.float32]
) -> float:
    """Greatest mean of the envelope over `HELD_S`; NaN when the stretch is too short or too poor."""
    usable = quality > _LEAST_QUALITY
    if len(stamps) < 3 or stamps[-1] - stamps[0] < HELD_S or usable.mean() < _LEAST_USABLE:
        return math.nan
    held = max(round(HELD_S / float(np.median(np.diff(stamps)))), 1)
    sums = np.cumsum(np.concatenate([[0.0], np.where(usable, envelope_uv, 0.0)], dtype=np.float64))
    whole = np.cumsum(np.concatenate([[0], usable]))
    full = whole[held:] - whole[:-held] == held
    means = (sums[held:] - sums[:-held])[full] / held
    return float(means.max()) if len(means) else math.nan


def _judge(label: str, attempts: Sequence[float], rest_uv: float) -> MeasuredMaximum:
    """The maximum among the attempts of one channel, and what is wrong with it."""
    usable = sorted((value for value in attempts if value > 0), reverse=True)

    def result(mvc_uv: float, problem: str = "") -> MeasuredMaximum:
        return MeasuredMaximum(label, tuple(attempts), mvc_uv, rest_uv, problem)

    if not usable:
        return result(math.nan, "the signal was not usable in any attempt, check the electrode and repeat")
    lone = len(usable) > 1 and usable[0] > AGREEING_RATIO * usable[1]
    best = usable[1] if lone else usable[0]
    over_rest_db = 20 * math.log10(best / rest_uv) if rest_uv > 0 else math.nan
    if math.isnan(over_rest_db):
        return result(best, "rest could not be measured, let the face relax for ten seconds and repeat")
    if over_rest_db < _LEAST_SNR_DB:
        return result(
            math.nan, f"only {over_rest_db:.0f} dB above rest, move the electrodes onto the muscle and repeat"
        )
    if lone:
        return result(best, "one attempt was far stronger than the others, repeat without touching the face")
    if len(usable) < min(2, len(attempts)):
        return result(best, "only one attempt was usable, repeat it")
    if over_rest_db < WANTED_SNR_DB:
        return result(
            best, f"{WANTED_SNR_DB:.0f} dB above rest are wanted, press harder or move the electrodes"
        )
    return result(best)


def _check_neighbours(
    maximum: MeasuredMaximum, answers: Sequence[Mapping[str, float]], rests: Mapping[str, Baseline]
) -> MeasuredMaximum:
    """Another muscle that answers this pose far better than the one it was asked of is a swapped lead."""
    muscle, _, side = maximum.label.partition("_")
    if not side:
        return maximum

    def gain(label: str) -> float:
        levels = [answer[label] for answer in answers if answer[label] > 0]
        rest_uv = math.exp(rests[label].log_mean)
        return max(levels, default=0.0) / rest_uv if rest_uv > 0 else 0.0

    same_side = [label for label in rests if label != maximum.label and label.partition("_")[2] == side]
    better = max(same_side, key=gain, default="")
    if better and better.partition("_")[0] != muscle and gain(better) > 2.0 * max(gain(maximum.label), 1.0):
        return replace(
            maximum,
            problem=f"{spoken_name(better)} answers more strongly, check the leads with 'zygoma wiring'",
        )
    return maximum


def baselines_to_json(baselines: Mapping[str, Baseline]) -> dict[str, dict[str, float | None]]:
    """A calibration as plain JSON values (None where a figure is not known), for a session's file."""
    return {
        label: {key: value if math.isfinite(value) else None for key, value in asdict(baseline).items()}
        for label, baseline in baselines.items()
    }


def baselines_from_json(values: Mapping[str, Mapping[str, float | None]]) -> dict[str, Baseline]:
    """The inverse of `baselines_to_json`; unknown keys are passed over.

    Raises:
        InvalidSignal: A figure is no number.
    """
    names = {field.name for field in fields(Baseline)}
    result = {}
    for label, figures in values.items():
        known = {key: value for key, value in figures.items() if key in names and value is not None}
        if not all(isinstance(value, int | float) for value in known.values()):
            raise InvalidSignal(f"The muscle calibration of {label} is damaged: measure it again.")
        result[label] = Baseline(**known)
    return result
