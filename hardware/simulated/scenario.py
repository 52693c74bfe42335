"""What the simulated person does, second by second: one frozen, seeded script that every simulated device
plays and that the ground truth tells. Everything here is a function of time; nothing is random once made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardware.simulated.face_fields import ACTION_UNITS, AU_INDEX, LID_AUS
from hardware.simulated.script import write_script
from hardware.simulated.scripted_event import ScriptedEvent

EMG_CHANNELS = ("ZYG_L", "ZYG_R", "COR_L", "COR_R")
"""Order of the columns of `Scenario.emg_drive`: muscle_side, the subject's own sides."""

EMG_LEAD_S = 0.06
"""Muscle activity precedes visible skin movement by this much (electromechanical delay of facial muscles)."""

# Surface EMG amplitude (microvolts RMS) that full intensity of an action unit adds over each muscle:
# zygomaticus major, corrugator supercilii. Neighbouring muscles reach the electrodes too (cross-talk), so a
# disgusted face (9+10) raises the zygomaticus channel without any smile, and blinks reach the corrugator's.
_EMG_GAIN_UV: dict[int, tuple[float, float]] = {
    1: (0.5, 9.0), 2: (0.3, 5.0), 4: (1.0, 48.0), 5: (0.3, 2.0), 6: (16.0, 4.0), 7: (2.0, 6.0),
    9: (26.0, 20.0), 10: (38.0, 5.0), 12: (62.0, 0.6), 14: (18.0, 0.4), 15: (7.0, 0.4), 16: (5.0, 0.2),
    17: (5.0, 0.5), 18: (9.0, 0.4), 20: (14.0, 0.5), 22: (9.0, 0.4), 23: (8.0, 1.0), 24: (8.0, 1.0),
    25: (3.0, 0.2), 26: (6.0, 0.3), 27: (10.0, 0.5), 28: (6.0, 0.3), 43: (1.0, 7.0), 45: (1.2, 11.0),
}  # fmt: skip


class HeadPose(NamedTuple):
    """Head position relative to rest, in the reference picture (inter-ocular distance 100 px).

    `dx_px` and `dy_px` move the head, `scale` brings it nearer; `roll_deg` turns clockwise in the picture,
    `yaw_deg` turns the nose to the picture's right, `pitch_deg` lowers it.
    """

    dx_px: float
    dy_px: float
    scale: float
    roll_deg: float
    yaw_deg: float
    pitch_deg: float


@dataclass(frozen=True)
class Scenario:
    """Script of a simulated recording, evaluated at any time from 0 to `duration_s`.

    Attributes:
        seed: Seed that it was made from; also drives the head's sway.
        duration_s: Length.
        events: By onset.
        sway_px: Standard deviation of the resting head's slow translation.
        recipe: Arguments of `generate`, so that `again` can write a fresh script of the same kind; empty for
            a script written by hand.
    """

    seed: int
    duration_s: float
    events: tuple[ScriptedEvent, ...]
    sway_px: float = 1.5
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.events, key=lambda event: event.onset_s))
        object.__setattr__(self, "events", ordered)
        object.__setattr__(self, "recipe", dict(self.recipe))
        if ordered and (ordered[0].onset_s < 0 or max(e.offset_s for e in ordered) > self.duration_s):
            raise ValueError("every event of a scenario lies between 0 and duration_s")

    # ----------------------------------------------------------------- making

    @classmethod
    def generate(
        cls,
        seed: int,
        duration_s: float,
        *,
        rest_s: float = 9.0,
        micro_rate_per_min: float = 4.0,
        micro_amplitude_px: tuple[float, float] = (1.0, 3.0),
        micro_duration_s: tuple[float, float] = (0.06, 0.5),
        masked_fraction: float = 0.2,
        macro_rate_per_min: float = 4.0,
        speech_rate_per_min: float = 1.5,
        blink_rate_per_min: float = 15.0,
        sway_rate_per_min: float = 2.0,
        sway_px: float = 1.5,
    ) -> Scenario:
        """A plausible recording: rest, then expressions, micro-expressions, blinks, speech and head sway.

        Args:
            seed: The same seed gives the same script.
            duration_s: Length in seconds.
            rest_s: Neutral stretch at the start (blinks and sway only) for baselines.
            micro_rate_per_min: Micro-expressions per minute after the rest; exact, not Poisson.
            micro_amplitude_px: Range of their peak displacement at an inter-ocular distance of 100 px.
            micro_duration_s: Range of their length from onset to offset.
            masked_fraction: Share of the micro-expressions that hide inside a smile, one a smile at most.
            macro_rate_per_min: Macro-expressions per minute: smile, frown, disgust, surprise, sadness.
            speech_rate_per_min: Stretches of speech of 2-4 s per minute.
            blink_rate_per_min: Blinks (Poisson); none falls onto a micro-expression.
            sway_rate_per_min: Larger head movements per minute.
            sway_px: Standard deviation of the resting head's slow translation.
        """
        recipe: dict[str, Any] = {
            "rest_s": rest_s,
            "micro_rate_per_min": micro_rate_per_min,
            "micro_amplitude_px": list(micro_amplitude_px),
            "micro_duration_s": list(micro_duration_s),
            "masked_fraction": masked_fraction,
            "macro_rate_per_min": macro_rate_per_min,
            "speech_rate_per_min": speech_rate_per_min,
            "blink_rate_per_min": blink_rate_per_min,
            "sway_rate_per_min": sway_rate_per_min,
            "sway_px": sway_px,
        }
        events = write_script(seed, duration_s, **{k: v for k, v in recipe.items() if k != "sway_px"})
        return cls(seed=seed, duration_s=duration_s, events=events, sway_px=sway_px, recipe=recipe)

    @classmethod
    def demo(cls, seed: int = 0, duration_s: float = 120.0) -> Scenario:
        """Much happens: every macro-expression and clearly visible micro-expressions.

        A demo of less than half a minute is denser and rests for 4 s only, so that it shows something.
        """
        short = duration_s < 30.0
        per_min = 12.0 if short else 6.0
        return cls.generate(
            seed,
            duration_s,
            rest_s=4.0 if short else 9.0,
            micro_rate_per_min=per_min,
            micro_amplitude_px=(1.8, 3.2),
            macro_rate_per_min=per_min,
        )

    @classmethod
    def neutral(cls, seed: int = 0, duration_s: float = 60.0) -> Scenario:
        """No expression at all, but a living person: blinks, sway, speech. For false-alarm rates."""
        return cls.generate(seed, duration_s, micro_rate_per_min=0.0, macro_rate_per_min=0.0)

    @classmethod
    def micro(
        cls, seed: int = 0, duration_s: float = 60.0, amplitude_px: float = 2.0, *, rate_per_min: float = 12.0
    ) -> Scenario:
        """Micro-expressions of one amplitude or a little more, with blinks and quiet sway only."""
        return cls.generate(
            seed,
            duration_s,
            micro_rate_per_min=rate_per_min,
            micro_amplitude_px=(amplitude_px, amplitude_px * 1.25),
            masked_fraction=0.0,
            macro_rate_per_min=0.0,
            speech_rate_per_min=0.0,
            sway_rate_per_min=0.0,
        )

    def again(self, times: int) -> Scenario:
        """The script of the `times`-th repetition: same kind, fresh seed; `times` = 0 is this one.

        A script written by hand keeps its events; only the head's sway is new.
        """
        if times == 0:
            return self
        seed = int(np.random.SeedSequence([self.seed, times]).generate_state(1)[0])
        if not self.recipe:
            return replace(self, seed=seed)
        recipe: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in self.recipe.items()}
        return Scenario.generate(seed, self.duration_s, **recipe)

    # ------------------------------------------------------------ evaluation

    @cached_property
    def _moving(
        self,
    ) -> tuple[tuple[ScriptedEvent, ...], NDArray[np.float64], NDArray[np.float64], NDArray[Any]]:
        events = tuple(e for e in self.events if e.action_units)
        onset = np.array([e.onset_s for e in events])
        offset = np.array([e.offset_s for e in events])
        peaks = np.array([e.peak_activations for e in events]).reshape(len(events), len(ACTION_UNITS), 2)
        return events, onset, offset, peaks

    def activations(self, t_s: float) -> NDArray[np.float64]:
        """Intensity [n_AU, 2 sides] (`ACTION_UNITS` x left, right) at one moment; 0-1, sums capped at 1.3."""
        events, onset, offset, peaks = self._moving
        total = np.zeros((len(ACTION_UNITS), 2))
        for index in np.flatnonzero((onset <= t_s) & (t_s <= offset)):
            total += float(events[index].envelope(t_s)) * peaks[index]
        return _capped(total)

    def activations_at(self, t_s: ArrayLike) -> NDArray[np.float64]:
        """Intensities [n, n_AU, 2 sides] at times [n], ascending."""
        t = np.asarray(t_s, dtype=np.float64)
        events, _, _, peaks = self._moving
        total = np.zeros((len(t), len(ACTION_UNITS), 2))
        for event, peak in zip(events, peaks, strict=True):
            a, b = np.searchsorted(t, [event.onset_s, event.offset_s])
            if b > a:
                units = np.flatnonzero(peak.any(axis=1))
                total[a:b, units] += event.envelope(t[a:b])[:, None, None] * peak[units]
        return _capped(total)

    def head_pose(self, t_s: float) -> HeadPose:
        """Where the head is; it starts and ends a scenario at rest, so that repetitions join smoothly."""
        frequency, phase, weight = self._sway_waves
        fade = np.clip(min(t_s, self.duration_s - t_s) / 2.0, 0.0, 1.0)
        fade = fade * fade * (3 - 2 * fade)
        pose = fade * (weight * np.sin(2 * np.pi * frequency * t_s + phase)).sum(axis=1)
        for event, target in self._sway_events:
            if event.onset_s < t_s < event.offset_s:
                pose = pose + float(event.envelope(t_s)) * target
        dx, dy, zoom, roll, yaw, pitch = pose.tolist()
        return HeadPose(dx, dy, 1.0 + zoom, roll, yaw, pitch)

    @cached_property
    def _sway_waves(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        # Per degree of freedom five slow sines (0.03-0.45 Hz), slower ones larger, and one of breathing.
        rng = np.random.default_rng([self.seed, 1])
        frequency = np.exp(rng.uniform(np.log(0.03), np.log(0.45), (6, 5)))
        weight = rng.uniform(0.6, 1.0, (6, 5)) * (0.05 / frequency) ** 0.5
        weight /= np.sqrt(0.5 * (weight**2).sum(axis=1, keepdims=True))
        # x, y px; scale; roll, yaw, pitch degrees
        spread = self.sway_px * np.array([1.0, 0.7, 0.003, 0.25, 0.45, 0.35])
        return frequency, rng.uniform(0, 2 * np.pi, (6, 5)), weight * spread[:, None]

    @cached_property
    def _sway_events(self) -> tuple[tuple[ScriptedEvent, NDArray[np.float64]], ...]:
        out = []
        for event in self.events:
            if event.trial_type == "sway":
                direction = np.random.default_rng(event.seed).standard_normal(6)
                direction /= np.hypot(direction[0], direction[1])
                bounds = np.array([1.0, 1.0, 0.004, 0.25, 0.35, 0.35])
                out.append((event, event.amplitude_px * np.clip(direction, -1.5, 1.5) * bounds))
        return tuple(out)

    def emg_drive(self, t_s: ArrayLike, lead_s: float = EMG_LEAD_S) -> NDArray[np.float64]:
        """Amplitude [n, 4] (microvolts RMS, columns `EMG_CHANNELS`) of muscle activity at times [n].

        The muscle is `lead_s` ahead of the skin. Tonic activity is not included.
        """
        intensity = self.activations_at(np.asarray(t_s, dtype=np.float64) + lead_s)
        zygomaticus, corrugator = _emg_gains()
        left_zyg, right_zyg = np.moveaxis(np.einsum("nas,a->ns", intensity, zygomaticus), -1, 0)
        left_cor, right_cor = np.moveaxis(np.einsum("nas,a->ns", intensity, corrugator), -1, 0)
        return np.stack([left_zyg, right_zyg, left_cor, right_cor], axis=1)

    def valence(self, t_s: ArrayLike) -> NDArray[np.float64]:
        """True affective valence [n] (-1..1): that of the expressions shown, micro-expressions included."""
        return self._felt(t_s, "valence")

    def arousal(self, t_s: ArrayLike) -> NDArray[np.float64]:
        """True arousal [n] (0..1) of the expressions shown."""
        return self._felt(t_s, "arousal")

    def _felt(self, t_s: ArrayLike, what: Literal["valence", "arousal"]) -> NDArray[np.float64]:
        t = np.asarray(t_s, dtype=np.float64)
        total = np.zeros(t.shape)
        for event in self.events:
            if getattr(event, what):
                total += getattr(event, what) * event.envelope(t)
        return np.clip(total, -1.0, 1.0)

    # ------------------------------------------------------------------ JSON

    def to_json(self) -> str:
        """The whole script as JSON; `from_json` gives an equal scenario."""
        record = {
            "seed": self.seed,
            "duration_s": self.duration_s,
            "sway_px": self.sway_px,
            "recipe": dict(self.recipe),
            "events": [event.to_json() for event in self.events],
        }
        return json.dumps(record)

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        record = cast("dict[str, Any]", json.loads(text))
        events = tuple(ScriptedEvent.from_json(event) for event in record.pop("events"))
        return cls(events=events, **record)


def lid_closure(activations: NDArray[np.float64]) -> tuple[float, float]:
    """Closure (0-1) of left and right eye in an activation array."""
    left, right = np.minimum(sum(activations[AU_INDEX[au]] for au in LID_AUS), 1.0).tolist()
    return left, right


def _capped(total: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(total, 1.3)


def _emg_gains() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    table = np.array([_EMG_GAIN_UV[au] for au in ACTION_UNITS])
    return table[:, 0], table[:, 1]
