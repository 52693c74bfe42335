"""Writes scripts for the simulated person: which expressions there are and when they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hardware.simulated.face_fields import MIDLINE_AUS
from hardware.simulated.scripted_event import Category, ScriptedEvent, Side, TrialType


@dataclass(frozen=True)
class _Expression:
    """A template: relative intensities of its action units and what it means."""

    name: str
    action_units: Mapping[int, float]
    category: Category
    valence: float
    arousal: float


_MACRO = (
    _Expression("happiness", {6: 0.6, 12: 0.85}, "positive", 0.9, 0.5),
    _Expression("anger", {4: 0.85, 7: 0.3}, "negative", -0.8, 0.6),
    _Expression("disgust", {4: 0.4, 9: 0.75, 10: 0.65}, "negative", -0.9, 0.6),
    _Expression("surprise", {1: 0.8, 2: 0.8, 5: 0.7, 26: 0.45}, "surprise", 0.1, 0.8),
    _Expression("sadness", {1: 0.6, 4: 0.35, 15: 0.7}, "negative", -0.7, 0.3),
)

_MICRO = (
    _Expression("anger", {4: 1.0}, "negative", -0.4, 0.3),
    _Expression("anger", {4: 1.0, 7: 0.7}, "negative", -0.4, 0.3),
    _Expression("anger", {7: 1.0}, "negative", -0.3, 0.2),
    _Expression("anger", {24: 1.0}, "negative", -0.3, 0.2),
    _Expression("disgust", {9: 1.0, 4: 0.4}, "negative", -0.5, 0.3),
    _Expression("disgust", {10: 1.0}, "negative", -0.4, 0.3),
    _Expression("contempt", {14: 1.0}, "negative", -0.4, 0.2),
    _Expression("sadness", {1: 1.0, 4: 0.4}, "negative", -0.4, 0.2),
    _Expression("sadness", {15: 1.0}, "negative", -0.4, 0.2),
    _Expression("sadness", {17: 1.0, 15: 0.5}, "negative", -0.4, 0.2),
    _Expression("fear", {20: 1.0}, "negative", -0.4, 0.4),
    _Expression("fear", {1: 0.8, 2: 0.5, 4: 0.8, 5: 0.4}, "negative", -0.4, 0.4),
    _Expression("happiness", {12: 1.0}, "positive", 0.4, 0.2),
    _Expression("happiness", {12: 0.7, 6: 0.6}, "positive", 0.4, 0.2),
    _Expression("happiness", {12: 1.0}, "positive", 0.4, 0.2),
    _Expression("surprise", {1: 0.8, 2: 0.8}, "surprise", 0.0, 0.3),
    _Expression("surprise", {1: 1.0}, "surprise", 0.0, 0.3),
    _Expression("surprise", {2: 1.0}, "surprise", 0.0, 0.3),
    _Expression("surprise", {5: 1.0}, "surprise", 0.0, 0.3),
)

# A smile hides the mouth but not the brow; these are what leaks through it.
_LEAKS = (
    _Expression("anger", {4: 1.0}, "negative", -0.5, 0.3),
    _Expression("sadness", {1: 1.0, 4: 0.4}, "negative", -0.5, 0.2),
    _Expression("disgust", {9: 1.0}, "negative", -0.5, 0.3),
    _Expression("sadness", {15: 1.0}, "negative", -0.5, 0.2),
    _Expression("contempt", {14: 1.0}, "negative", -0.5, 0.2),
)

# Largest displacement each action unit can plausibly show as a micro-expression (the lids are short of room).
_MICRO_LIMIT_PX = {5: 2.0, 7: 2.0, 24: 1.8}

_SPEECH_UNITS = (
    {25: 0.7, 26: 0.30, 18: 0.15},
    {25: 0.5, 26: 0.40, 20: 0.12},
    {25: 0.6, 26: 0.25, 22: 0.35, 16: 0.2},
)


@dataclass(frozen=True)
class _Slot:
    """A stretch of time that is planned but not yet placed."""

    trial_type: TrialType
    duration_s: float
    index: int


def write_script(
    seed: int,
    duration_s: float,
    *,
    rest_s: float,
    micro_rate_per_min: float,
    micro_amplitude_px: tuple[float, float],
    micro_duration_s: tuple[float, float],
    masked_fraction: float,
    macro_rate_per_min: float,
    speech_rate_per_min: float,
    blink_rate_per_min: float,
    sway_rate_per_min: float,
) -> tuple[ScriptedEvent, ...]:
    """Events of a scenario; see `Scenario.generate` for the arguments."""
    rng = np.random.default_rng([seed, 0])
    last_s = duration_s - 1.0
    minutes = max(last_s - rest_s, 0.0) / 60.0
    counts = {
        "macro_expression": round(macro_rate_per_min * minutes),
        "speech": round(speech_rate_per_min * minutes),
        "micro_expression": round(micro_rate_per_min * minutes),
    }
    smiles = -(-counts["macro_expression"] // len(_MACRO))
    masked = min(round(masked_fraction * counts["micro_expression"]), smiles)
    counts["micro_expression"] -= masked
    slots = [
        _Slot("macro_expression", float(rng.uniform(2.4, 4.4)), i) for i in range(counts["macro_expression"])
    ]
    slots += [_Slot("speech", float(rng.uniform(2.0, 4.0)), i) for i in range(counts["speech"])]
    slots += [
        _Slot("micro_expression", _micro_duration(rng, micro_duration_s), i)
        for i in range(counts["micro_expression"])
    ]
    events: list[ScriptedEvent] = []
    for slot, start_s in _place(rng, slots, rest_s, last_s):
        name = f"{slot.trial_type.split('_')[0]}-{slot.index:03d}"
        if slot.trial_type == "macro_expression":
            events.append(_macro(rng, name, _MACRO[slot.index % len(_MACRO)], start_s, slot.duration_s))
        elif slot.trial_type == "speech":
            events.append(_speech(rng, name, start_s, slot.duration_s))
        else:
            template = _MICRO[int(rng.integers(len(_MICRO)))]
            amplitude = float(rng.uniform(*micro_amplitude_px))
            events.append(_micro(rng, name, template, start_s, slot.duration_s, amplitude))
    shown = [e for e in events if e.emotion == "happiness" and e.trial_type == "macro_expression"]
    for i, smile in enumerate(shown[:masked]):
        events.append(
            _masked(
                rng,
                f"micro-{counts['micro_expression'] + i:03d}",
                smile,
                micro_amplitude_px,
                micro_duration_s,
            )
        )
    events += _sways(rng, sway_rate_per_min * minutes, rest_s, last_s)
    micros = [e for e in events if e.trial_type == "micro_expression"]
    events += _blinks(rng, blink_rate_per_min, last_s, micros)
    return tuple(events)


def _micro_duration(rng: np.random.Generator, bounds_s: tuple[float, float]) -> float:
    # Labelled micro-expressions have medians of 340-470 ms with a tail of short ones.
    low, high = bounds_s
    return float(low + (high - low) * rng.beta(1.8, 1.4))


def _place(
    rng: np.random.Generator, slots: list[_Slot], first_s: float, last_s: float
) -> list[tuple[_Slot, float]]:
    """Shuffle the slots and share the free time as gaps of at least 0.8 s; drop what has no room."""
    order = [slots[i] for i in rng.permutation(len(slots))]
    # The first of the shuffled macro-expressions is a smile, so that a short demo has one.
    macros = iter(sorted((s for s in order if s.trial_type == "macro_expression"), key=lambda s: s.index))
    order = [next(macros) if s.trial_type == "macro_expression" else s for s in order]
    least_gap_s = 0.8
    while order and sum(s.duration_s + least_gap_s for s in order) > last_s - first_s:
        order.pop()
    if not order:
        return []
    free_s = (last_s - first_s) - sum(s.duration_s + least_gap_s for s in order)
    gaps = least_gap_s + free_s * rng.dirichlet(np.full(len(order) + 1, 2.0))[:-1]
    placed, at_s = [], first_s
    for slot, gap in zip(order, gaps.tolist(), strict=True):
        at_s += gap
        placed.append((slot, at_s))
        at_s += slot.duration_s
    return placed


def _macro(
    rng: np.random.Generator, name: str, what: _Expression, onset_s: float, duration_s: float
) -> ScriptedEvent:
    strength = float(rng.uniform(0.75, 1.0))
    rise_s, fall_s = duration_s * float(rng.uniform(0.16, 0.24)), duration_s * float(rng.uniform(0.28, 0.4))
    event = ScriptedEvent(
        id=name,
        trial_type="macro_expression",
        onset_s=onset_s,
        apex_s=onset_s + rise_s,
        release_s=onset_s + duration_s - fall_s,
        offset_s=onset_s + duration_s,
        action_units={au: round(strength * value, 4) for au, value in what.action_units.items()},
        category=what.category,
        valence=round(strength * what.valence, 4),
        arousal=round(strength * what.arousal, 4),
        emotion=what.name,
    )
    return event.scaled_to(event.measured_amplitude_px)


def _micro(
    rng: np.random.Generator,
    name: str,
    what: _Expression,
    onset_s: float,
    duration_s: float,
    amplitude_px: float,
    masked_by: str = "",
) -> ScriptedEvent:
    apex_s = onset_s + duration_s * float(rng.uniform(0.35, 0.5))
    sides: tuple[Side, ...] = ("both", "both", "left", "right")
    if what.name == "contempt":
        sides = ("left", "right")
    elif MIDLINE_AUS & set(what.action_units):
        sides = ("both",)
    event = ScriptedEvent(
        id=name,
        trial_type="micro_expression",
        onset_s=onset_s,
        apex_s=apex_s,
        release_s=apex_s,
        offset_s=onset_s + duration_s,
        action_units=what.action_units,
        side=sides[int(rng.integers(len(sides)))],
        category=what.category,
        valence=what.valence,
        arousal=what.arousal,
        emotion=what.name,
        masked_by=masked_by,
    )
    limit = min(_MICRO_LIMIT_PX.get(au, np.inf) for au in what.action_units)
    return event.scaled_to(min(amplitude_px, limit))


def _masked(
    rng: np.random.Generator,
    name: str,
    smile: ScriptedEvent,
    amplitude_px: tuple[float, float],
    duration_s: tuple[float, float],
) -> ScriptedEvent:
    length_s = _micro_duration(rng, duration_s)
    room_s = max(smile.release_s - smile.apex_s - length_s, 0.0)
    onset_s = smile.apex_s + float(rng.uniform(0.0, 1.0)) * room_s
    template = _LEAKS[int(rng.integers(len(_LEAKS)))]
    amplitude = float(rng.uniform(*amplitude_px))
    return _micro(rng, name, template, onset_s, length_s, amplitude, masked_by=smile.id)


def _speech(rng: np.random.Generator, name: str, onset_s: float, duration_s: float) -> ScriptedEvent:
    units = _SPEECH_UNITS[int(rng.integers(len(_SPEECH_UNITS)))]
    strength = float(rng.uniform(0.7, 1.1))
    event = ScriptedEvent(
        id=name,
        trial_type="speech",
        onset_s=onset_s,
        apex_s=onset_s + 0.25,
        release_s=onset_s + duration_s - 0.3,
        offset_s=onset_s + duration_s,
        action_units={au: round(strength * value, 4) for au, value in units.items()},
        seed=int(rng.integers(2**31)),
    )
    return event.scaled_to(event.measured_amplitude_px)


def _sways(rng: np.random.Generator, expected: float, first_s: float, last_s: float) -> list[ScriptedEvent]:
    events: list[ScriptedEvent] = []
    at_s = first_s
    while expected > 0:
        at_s += 1.0 + float(rng.exponential(max((last_s - first_s) / expected - 1.0, 0.5)))
        duration_s = float(rng.uniform(2.5, 5.0))
        if at_s + duration_s > last_s:
            break
        rise_s = duration_s * float(rng.uniform(0.3, 0.45))
        events.append(
            ScriptedEvent(
                id=f"sway-{len(events):03d}",
                trial_type="sway",
                onset_s=at_s,
                apex_s=at_s + rise_s,
                release_s=at_s + duration_s * 0.55,
                offset_s=at_s + duration_s,
                amplitude_px=float(rng.uniform(3.0, 9.0)),
                seed=int(rng.integers(2**31)),
            )
        )
        at_s += duration_s
    return events


def _blinks(
    rng: np.random.Generator, rate_per_min: float, last_s: float, micros: list[ScriptedEvent]
) -> list[ScriptedEvent]:
    """Poisson blinks of 150-300 ms that close fast and open slowly."""
    events: list[ScriptedEvent] = []
    at_s = 0.5
    while rate_per_min > 0:
        at_s += 0.4 + float(rng.exponential(max(60.0 / rate_per_min - 0.4, 0.2)))
        duration_s = float(rng.uniform(0.15, 0.30))
        if at_s + duration_s > last_s:
            break
        if any(m.onset_s - 0.25 < at_s + duration_s and at_s < m.offset_s + 0.25 for m in micros):
            continue
        event = ScriptedEvent(
            id=f"blink-{len(events):03d}",
            trial_type="blink",
            onset_s=at_s,
            apex_s=at_s + 0.36 * duration_s,
            release_s=at_s + 0.46 * duration_s,
            offset_s=at_s + duration_s,
            action_units={45: 1.0},
        )
        events.append(event.scaled_to(event.measured_amplitude_px))
        at_s += duration_s
    return events
