"""What the participant says after a stimulus, and the table it is kept in beside the recording.

Section 5.3 of Dong et al. (2022) asks for it; valence and arousal are the Self-Assessment Manikin's nine
steps (Bradley and Lang, 1994).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acquisition.session import write_atomically
from acquisition.stream import InvalidSignal
from fusion.events import NOT_AVAILABLE
from fusion.tables import EMOTIONS
from zygoma.guided.protocol import Emotion, Intended, Scale

FREE_TEXT_CHARACTERS = 2000
NEUTRAL_VALENCE = 5
"""Middle of the manikin's nine steps."""

SamStep = Annotated[int, Field(ge=1, le=9, strict=True)]
Strength = Annotated[int, Field(ge=0, le=10, strict=True)]


class SelfReport(BaseModel):
    """One filled-in form; scales that the protocol does not ask for stay None or empty.

    Attributes:
        valence: 1 (unpleasant) to 9 (pleasant).
        arousal: 1 (calm) to 9 (excited).
        emotions: 0 (not at all) to 10 (most) for each of the six.
        text: In the participant's own words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    valence: SamStep | None = None
    arousal: SamStep | None = None
    emotions: dict[Emotion, Strength] = Field(default_factory=dict)
    text: str = Field(default="", max_length=FREE_TEXT_CHARACTERS)

    @property
    def strengths(self) -> dict[str, int]:
        """`emotions` by name."""
        return dict(self.emotions.items())

    def reported(self) -> tuple[str, ...]:
        """What `fusion.label.label` takes as the person's report: the strongest emotions named.

        Without any, the side of the valence scale; its middle is ``neutral``; without that, nothing.
        """
        strengths = self.strengths
        most = max(strengths.values(), default=0)
        if most > 0:
            return tuple(name for name in EMOTIONS if strengths.get(name) == most)
        if self.valence is None:
            return ()
        if self.valence == NEUTRAL_VALENCE:
            return ("neutral",)
        return ("positive",) if self.valence > NEUTRAL_VALENCE else ("negative",)


def parse_report(values: Any, scales: Sequence[Scale]) -> SelfReport:
    """Check a form against what was asked.

    Raises:
        InvalidSignal: A scale is unanswered, out of range or was not asked for; one sentence.
    """
    try:
        report = SelfReport.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the form"
        raise InvalidSignal(f"{place}: {first['msg']}.") from None
    answered: dict[Scale, bool] = {
        "valence": report.valence is not None,
        "arousal": report.arousal is not None,
        "emotions": len(report.emotions) == len(EMOTIONS),
        "text": True,
    }
    missing = [scale for scale in scales if not answered[scale]]
    if missing:
        raise InvalidSignal(f"Please answer {', '.join(missing)} too.")
    given = {
        "valence": report.valence,
        "arousal": report.arousal,
        "emotions": report.emotions,
        "text": report.text,
    }
    unasked = [scale for scale, value in given.items() if value not in (None, {}, "") and scale not in scales]
    if unasked:
        raise InvalidSignal(f"{unasked[0]} was not asked for by the protocol.")
    return report


@dataclass(frozen=True)
class ReportRow:
    """A self-report with the showing it belongs to.

    Attributes:
        block, stimulus, repetition: Which showing; `repetition` counts from 1.
        intended: What the stimulus was to elicit.
        onset_s, duration_s: Of the showing, LSL clock.
        reported_s: When the form was sent, LSL clock.
        report: None when the form was skipped.
    """

    block: str
    stimulus: str
    repetition: int
    intended: Intended
    onset_s: float
    duration_s: float
    reported_s: float
    report: SelfReport | None


COLUMNS = (
    "onset",
    "duration",
    "block",
    "stimulus",
    "repetition",
    "intended",
    "reported_at",
    "valence",
    "arousal",
    *EMOTIONS,
    "text",
)


def write_reports(path: Path, rows: Sequence[ReportRow], start_s: float) -> None:
    """Write ``_self_report.tsv`` and the ``.json`` that describes it; each appears whole or not at all.

    Args:
        path: Of the TSV.
        rows: In order.
        start_s: LSL time that is 0 in the table.
    """
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join(_cells(row, start_s)) for row in rows]
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    description = json.dumps({**_described(), "StartTime": start_s}, indent=2) + "\n"
    write_atomically(path.with_suffix(".json"), description.encode())


def _cells(row: ReportRow, start_s: float) -> list[str]:
    report = row.report or SelfReport()
    values: list[object] = [
        f"{row.onset_s - start_s:.6f}",
        f"{row.duration_s:.6f}",
        row.block,
        row.stimulus,
        row.repetition,
        row.intended,
        f"{row.reported_s - start_s:.6f}",
        report.valence,
        report.arousal,
        *(report.strengths.get(name) for name in EMOTIONS),
        # A cell must stay one cell, and a spreadsheet must not take it for a formula.
        re.sub(r"\s+", " ", report.text).strip().lstrip("=+-@") or None,
    ]
    return [NOT_AVAILABLE if value is None else str(value) for value in values]


def _described() -> dict[str, Any]:
    described: dict[str, Any] = {
        "onset": {"Description": "Beginning of the showing, since StartTime", "Units": "s"},
        "duration": {"Description": "Length of the showing", "Units": "s"},
        "block": {"Description": "Block of the protocol"},
        "stimulus": {"Description": "Stimulus of the protocol"},
        "repetition": {"Description": "1 for the first showing of this stimulus, 2 when it was shown again"},
        "intended": {"Description": "What the stimulus was chosen to elicit (Dong et al. 2022, section 5.2)"},
        "reported_at": {"Description": "When the form was sent, since StartTime", "Units": "s"},
        "valence": {"Description": "Self-Assessment Manikin, 1 unpleasant to 9 pleasant"},
        "arousal": {"Description": "Self-Assessment Manikin, 1 calm to 9 excited"},
        "text": {"Description": "In the participant's own words"},
    }
    for name in EMOTIONS:
        described[name] = {"Description": f"Felt {name}, 0 not at all to 10 most"}
    return described
