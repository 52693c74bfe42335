"""What fusion says happened: one `FaceEvent` per expression, micro-expression or blink, with its reasons.

The same record goes out as JSON on the ``FaceEvents`` stream and as a BIDS-style row of ``events.tsv``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from acquisition.stream import Channel, Kind, SampleType, StreamSpec
from processing.findings import Side

TrialType = Literal["micro_expression", "macro_expression", "blink", "rule", "quality", "marker"]
Category = Literal["positive", "negative", "surprise", "other"]
"""Section 5 of the paper: the four classes of micro-expressions."""

TRIAL_TYPES: tuple[TrialType, ...] = (
    "micro_expression",
    "macro_expression",
    "blink",
    "rule",
    "quality",
    "marker",
)
CATEGORIES: tuple[Category, ...] = ("positive", "negative", "surprise", "other")

NOT_AVAILABLE = "n/a"
"""How BIDS writes a missing value."""


@dataclass(frozen=True)
class AllowedEmotion:
    """An emotion that a coding rule of the paper's section 7 allows.

    Attributes:
        name: One of the six basic emotions in lower case, or ``positive`` / ``negative``.
        rule: Number of the rule, 1-7.
    """

    name: str
    rule: int

    def __str__(self) -> str:
        return f"{self.name} (rule {self.rule})"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of ``str``.

        Raises:
            ValueError: `text` does not read ``name (rule N)``.
        """
        match = re.fullmatch(r"(.+) \(rule (\d+)\)", text)
        if match is None:
            raise ValueError(f"{text!r} is not an emotion; write it as 'sadness (rule 7)'")
        return cls(match[1], int(match[2]))


@dataclass(frozen=True)
class FaceEvent:
    """One event on the face.

    Attributes:
        onset, apex: Seconds; LSL time on the stream, since the recording's start in files.
        duration: Seconds from onset to offset; of a provisional event, as long as it has lasted so far.
        trial_type: What kind of event.
        action_units: Numbers, ascending.
        side: The subject's own side.
        asymmetry: (left - right) / (left + right), -1..1.
        category: Positive, negative, surprise or other (section 5).
        emotions: Those that the coding rules allow, each with its rule.
        muscles, nerve_branches: What contracted and which branch of cranial nerve VII drives it, main first.
        confidence: 0-1, logistic of the evidence and the prior.
        evidence_camera, evidence_emg, evidence_thermal: Log-likelihood ratios, natural logarithm.
        masked_by: `id` of the macro-expression it hides in, else None.
        vetoes: Reasons against it that the evidence overrode, and remarks such as ``sub-visible``.
        criteria: For micro-expressions, which definitions of duration hold: ``total<=500ms``,
            ``onset-apex<=260ms`` (Yan et al., 2013) and ``strict 40-200ms`` (the paper's 1/25-1/5 s).
        id: Unique within a session.
        explanation: One sentence in the paper's terms.
    """

    onset: float
    duration: float
    trial_type: TrialType
    apex: float
    action_units: tuple[int, ...] = ()
    side: Side = "both"
    asymmetry: float = 0.0
    category: Category = "other"
    emotions: tuple[AllowedEmotion, ...] = ()
    muscles: tuple[str, ...] = ()
    nerve_branches: tuple[str, ...] = ()
    confidence: float = 0.0
    evidence_camera: float = 0.0
    evidence_emg: float = 0.0
    evidence_thermal: float = 0.0
    masked_by: str | None = None
    vetoes: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    id: str = ""
    explanation: str = ""

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} of a face event must be a finite number, got {getattr(self, name)}")
        if self.duration < 0:
            raise ValueError(f"a face event cannot last {self.duration} s")

    @property
    def offset(self) -> float:
        """End of the event, seconds."""
        return self.onset + self.duration

    def to_dict(self) -> dict[str, Any]:
        """The event in JSON's types, keys in the order of `EVENT_KEYS`."""
        return {
            "onset": self.onset,
            "duration": self.duration,
            "trial_type": self.trial_type,
            "apex": self.apex,
            "action_units": "+".join(map(str, self.action_units)),
            "side": self.side,
            "asymmetry": self.asymmetry,
            "category": self.category,
            "emotions": [str(emotion) for emotion in self.emotions],
            "muscles": list(self.muscles),
            "nerve_branches": list(self.nerve_branches),
            "confidence": self.confidence,
            "evidence_camera": self.evidence_camera,
            "evidence_emg": self.evidence_emg,
            "evidence_thermal": self.evidence_thermal,
            "masked_by": self.masked_by,
            "vetoes": list(self.vetoes),
            "criteria": list(self.criteria),
            "id": self.id,
            "explanation": self.explanation,
        }

    def to_json(self) -> str:
        """One JSON object on one line, free of NaN and infinity."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The event that `to_dict` wrote.

        Raises:
            ValueError: A key is missing or too many.
        """
        if set(record) != set(EVENT_KEYS):
            wrong = sorted(set(record) ^ set(EVENT_KEYS))
            raise ValueError(f"a face event has the keys {', '.join(EVENT_KEYS)}; check {', '.join(wrong)}")
        values = dict(record)
        for name in _NUMBERS:
            values[name] = float(values[name])
        text = str(values["action_units"])
        values["action_units"] = tuple(int(number) for number in text.split("+")) if text else ()
        values["emotions"] = tuple(AllowedEmotion.parse(emotion) for emotion in values["emotions"])
        for name in _TEXT_LISTS:
            values[name] = tuple(values[name])
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The event that `to_json` wrote.

        Raises:
            ValueError: Not one JSON object with exactly the event's keys.
        """
        record = json.loads(text)
        if not isinstance(record, dict):
            raise ValueError("a face event is one JSON object")
        return cls.from_dict(record)


def confidence_of(log_odds: float) -> float:
    """Probability 0-1 of an event with these log-odds: evidence and prior together."""
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, log_odds))))


_NUMBERS = (
    "onset",
    "duration",
    "apex",
    "asymmetry",
    "confidence",
    "evidence_camera",
    "evidence_emg",
    "evidence_thermal",
)
_TEXT_LISTS = ("muscles", "nerve_branches", "vetoes", "criteria")

EVENT_KEYS: tuple[str, ...] = tuple(field.name for field in fields(FaceEvent))
"""Keys of the JSON object and columns of ``events.tsv``, onset and duration first as BIDS demands."""


def events_stream_spec(source_id: str = "zygoma-face-events", name: str = "FaceEvents") -> StreamSpec:
    """The irregular string stream that carries one JSON object per event."""
    return StreamSpec(
        name=name,
        kind=Kind.FACE_EVENTS,
        channels=(Channel("event", "none", "Markers"),),
        rate_hz=0.0,
        dtype=SampleType.STRING,
        source_id=source_id,
        metadata={"format": "json", "keys": ",".join(EVENT_KEYS)},
    )


def to_tsv_row(event: FaceEvent, start_s: float = 0.0) -> list[str]:
    """Cells of one row of ``events.tsv`` in the order of `EVENT_KEYS`.

    Args:
        event: With times on any clock.
        start_s: The recording's start on that clock; times in the row count from it.
    """
    cells = []
    for key, value in event.to_dict().items():
        if key in ("onset", "apex"):
            cells.append(f"{value - start_s:.6f}")
        elif key == "duration":
            cells.append(f"{value:.6f}")
        elif isinstance(value, float):
            cells.append(f"{value:.6g}")
        elif isinstance(value, list):
            cells.append("; ".join(value) or NOT_AVAILABLE)
        else:
            cells.append(str(value) if value else NOT_AVAILABLE)
    # A cell must stay one cell.
    return [re.sub(r"[\t\r\n]+", " ", cell) for cell in cells]


def from_tsv_row(row: Mapping[str, str], start_s: float = 0.0) -> FaceEvent:
    """The event of one row of ``events.tsv``, given as column name -> cell.

    Columns that zygoma does not know are ignored; missing ones take the event's defaults, so that the rows of
    another coder's file need only ``onset`` and ``duration``.

    Raises:
        ValueError: ``onset`` or ``duration`` is missing or not a number.
    """
    try:
        onset, duration = float(row["onset"]), float(row["duration"])
    except KeyError as missing:
        raise ValueError(f"events.tsv needs the column {missing}") from None
    blank = FaceEvent(onset + start_s, duration, "marker", onset + start_s).to_dict()
    for key, cell in row.items():
        if key not in EVENT_KEYS or key in ("onset", "duration") or cell in (NOT_AVAILABLE, ""):
            continue
        if key == "apex":
            blank[key] = float(cell) + start_s
        elif isinstance(blank[key], float):
            blank[key] = float(cell)
        elif isinstance(blank[key], list):
            blank[key] = [part.strip() for part in cell.split(";")]
        else:
            blank[key] = cell
    return FaceEvent.from_dict(blank)


def to_tsv(events: Iterable[FaceEvent], start_s: float = 0.0) -> str:
    """The text of ``events.tsv``, header first, rows in order of onset."""
    rows = [list(EVENT_KEYS)]
    rows += [to_tsv_row(event, start_s) for event in sorted(events, key=lambda event: event.onset)]
    return "".join("\t".join(row) + "\n" for row in rows)


def tsv_sidecar() -> dict[str, dict[str, Any]]:
    """What every column of ``events.tsv`` means, as the BIDS sidecar ``events.json`` has it."""
    described: dict[str, dict[str, Any]] = {
        "onset": {"Description": "First departure from neutral, since the recording's start", "Units": "s"},
        "duration": {"Description": "From onset to the return to neutral (offset)", "Units": "s"},
        "trial_type": {"Description": "Kind of event", "Levels": dict(_TRIAL_TYPE_MEANINGS)},
        "apex": {"Description": "Time of the greatest extent, since the recording's start", "Units": "s"},
        "action_units": {"Description": "Action units of the Facial Action Coding System, joined by +"},
        "side": {"Description": "The subject's own side", "Levels": _same("left", "right", "both")},
        "asymmetry": {"Description": "(left - right) / (left + right) of the movement, -1 to 1"},
        "category": {
            "Description": "Class of the expression (Dong et al. 2022, section 5)",
            "Levels": _same(*CATEGORIES),
        },
        "emotions": {"Description": "Emotions that the coding rules allow, with the rule (section 7)"},
        "muscles": {"Description": "Muscles that the action units stand for, main one first"},
        "nerve_branches": {"Description": "Branches of the facial nerve that drive these muscles"},
        "confidence": {"Description": "Probability of the event given all evidence, 0 to 1"},
        "evidence_camera": {"Description": "Natural-log likelihood ratio of the camera's evidence"},
        "evidence_emg": {"Description": "Natural-log likelihood ratio of the EMG's evidence"},
        "evidence_thermal": {"Description": "Natural-log likelihood ratio of the thermal evidence"},
        "masked_by": {"Description": "id of the macro-expression that the event hides in"},
        "vetoes": {"Description": "Reasons against the event that the evidence overrode, and remarks"},
        "criteria": {"Description": "Definitions of a micro-expression's duration that are met"},
        "id": {"Description": "Unique within the session"},
        "explanation": {"Description": "Why the event was flagged, in one sentence"},
    }
    return {key: {"LongName": key.replace("_", " "), **described[key]} for key in EVENT_KEYS}


_TRIAL_TYPE_MEANINGS = {
    "micro_expression": "Lasts at most 500 ms, or reaches its apex within 260 ms",
    "macro_expression": "An expression of more than 500 ms",
    "blink": "Both or one eyelid closes and opens again",
    "rule": "A coding rule of section 7 began to hold",
    "quality": "A signal became unusable or usable again",
    "marker": "Sent by the stimulus program or the operator",
}


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}
