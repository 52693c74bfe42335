"""One thing that the simulated person does: an expression, a blink, speech or a movement of the head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardware.simulated.face_fields import ACTION_UNITS, AU_INDEX, main_displacements

TrialType = Literal["macro_expression", "micro_expression", "blink", "speech", "sway"]
Side = Literal["left", "right", "both"]
Category = Literal["positive", "negative", "surprise", "other"]


@dataclass(frozen=True)
class ScriptedEvent:
    """One thing that happens in a scenario. Times are seconds from the scenario's start.

    Attributes:
        id: Unique within the scenario, e.g. ``micro-003``.
        trial_type: Kind of event.
        onset_s: First departure from neutral.
        apex_s: Maximum is reached.
        release_s: Maximum is left again (equal to `apex_s` when there is no hold).
        offset_s: Return to neutral.
        action_units: Peak intensity (0-1) of each action unit.
        side: The subject's own side that moves.
        amplitude_px: Peak displacement of the leading action unit's main point at an inter-ocular distance of
            100 px, other units of the same event included; for blinks the lid's path; for sway the largest
            displacement of the head.
        category: Affective category; ``other`` for blinks, speech and sway.
        valence: -1..1 at the apex.
        arousal: 0..1 at the apex.
        emotion: Name of the emotion, or empty.
        masked_by: Id of the macro-expression that hides this event, or empty.
        seed: Makes the course of speech and sway.
    """

    id: str
    trial_type: TrialType
    onset_s: float
    apex_s: float
    release_s: float
    offset_s: float
    action_units: Mapping[int, float] = field(default_factory=dict)
    side: Side = "both"
    amplitude_px: float = 0.0
    category: Category = "other"
    valence: float = 0.0
    arousal: float = 0.0
    emotion: str = ""
    masked_by: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.onset_s < self.apex_s <= self.release_s < self.offset_s:
            raise ValueError(f"{self.id}: onset < apex <= release < offset is violated")
        unknown = sorted(set(self.action_units) - set(ACTION_UNITS))
        if unknown:
            raise ValueError(f"{self.id}: the simulated face has no action units {unknown}")
        object.__setattr__(self, "action_units", dict(self.action_units))

    @property
    def duration_s(self) -> float:
        return self.offset_s - self.onset_s

    @property
    def peak_activations(self) -> NDArray[np.float64]:
        """Activation array [n_AU, 2 sides] at the apex."""
        array = np.zeros((len(ACTION_UNITS), 2))
        sides = {"left": slice(0, 1), "right": slice(1, 2), "both": slice(0, 2)}[self.side]
        for au, intensity in self.action_units.items():
            array[AU_INDEX[au], sides] = intensity
        return array

    @property
    def measured_amplitude_px(self) -> float:
        """Largest displacement of any of the event's main points, from the displacement fields."""
        peak = self.peak_activations
        moved = np.hypot(*np.moveaxis(main_displacements(peak), -1, 0))
        return float(np.where(peak > 0, moved, 0.0).max(initial=0.0))

    def scaled_to(self, amplitude_px: float) -> ScriptedEvent:
        """The same event with its intensities scaled (displacement is linear in them) to an amplitude."""
        factor = amplitude_px / self.measured_amplitude_px
        units = {au: intensity * factor for au, intensity in self.action_units.items()}
        return replace(self, action_units=units, amplitude_px=amplitude_px)

    def envelope(self, t_s: ArrayLike) -> NDArray[np.float64]:
        """Course 0..1 of the event: raised-cosine rise, hold, raised-cosine fall; speech is modulated."""
        t = np.asarray(t_s, dtype=np.float64)
        rise = (t - self.onset_s) / (self.apex_s - self.onset_s)
        fall = (self.offset_s - t) / (self.offset_s - self.release_s)
        u = np.clip(np.minimum(rise, fall), 0.0, 1.0)
        shape = 0.5 - 0.5 * np.cos(np.pi * u)
        if self.trial_type == "speech":
            shape = shape * self._syllables(t)
        return np.asarray(shape)

    def _syllables(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        # Syllables come at 3-6 per second; three slightly detuned rhythms keep them from being a metronome.
        rng = np.random.default_rng(self.seed)
        rates_hz = rng.uniform(2.8, 5.6, 3)
        phases = rng.uniform(0, 2 * np.pi, 3)
        wave = sum(
            np.sin(2 * np.pi * r * (t - self.onset_s) + p) for r, p in zip(rates_hz, phases, strict=True)
        )
        return np.asarray(0.5 + 0.5 * np.tanh(1.1 * wave))

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values; action units keyed by their number as text."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        record["action_units"] = {str(au): value for au, value in self.action_units.items()}
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        units = {int(au): float(value) for au, value in record["action_units"].items()}
        return cls(**{**record, "action_units": units})
