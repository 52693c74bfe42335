"""What a guided session comes to: per showing the three conditions of section 5 and the label they give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from acquisition.session import write_atomically
from fusion.events import FaceEvent
from fusion.label import EmotionLabel, label
from fusion.rules import code
from zygoma.guided.flow import Flow
from zygoma.guided.self_report import ReportRow, SelfReport
from zygoma.guided.steps import Showing
from zygoma.shown import EXPRESSION_TYPES

AFTERMATH_S = 1.0
"""A face still answers a stimulus this long after its end."""


def guided_record(flow: Flow) -> dict[str, Any]:
    """What the manifest says about the course of the session so far (plain JSON values)."""
    return {
        "outcome": flow.outcome or "running",
        "protocol": flow.protocol.model_dump(mode="json"),
        "log": [asdict(entry) for entry in flow.log],
        "showings": [
            {
                "block": showing.block,
                "stimulus": showing.stimulus.id,
                "intended": showing.stimulus.intended,
                "repetition": showing.repetition,
                "onset_s": showing.onset_s,
                "end_s": showing.end_s if showing.end_s == showing.end_s else None,
                "problems": list(showing.problems),
            }
            for showing in flow.showings
        ],
    }


def summarize(
    flow: Flow, events: Sequence[FaceEvent], start_s: float, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The summary of a session.

    Args:
        flow: At its end.
        events: Those of the live run, LSL time.
        start_s: LSL time that is 0 in the summary.
        facts: Of the recording, put in front.
    """
    overrides = [asdict(entry) for entry in flow.log if entry.what == "override"]
    for entry in overrides:
        entry["time_s"] -= start_s
    return {
        "outcome": flow.outcome,
        **facts,
        "expressions": {kind: sum(event.trial_type == kind for event in events) for kind in EXPRESSION_TYPES},
        "overrides": overrides,
        "stimuli": [_summarize(showing, flow.reports, events, start_s) for showing in flow.showings],
    }


def _summarize(
    showing: Showing, reports: Sequence[ReportRow], events: Sequence[FaceEvent], start_s: float
) -> dict[str, Any]:
    report = report_of(showing, reports)
    end_s = showing.end_s if showing.end_s == showing.end_s else showing.onset_s
    shown = [
        event
        for event in events
        if event.trial_type in EXPRESSION_TYPES and showing.onset_s <= event.onset < end_s + AFTERMATH_S
    ]
    labels = [(event, label_of(event.action_units, showing, report)) for event in shown]
    # The surest movement speaks for the whole showing.
    leading = max(labels, key=lambda pair: pair[0].confidence, default=None)
    whole = label_of((), showing, report) if leading is None else leading[1]
    return {
        "block": showing.block,
        "stimulus": showing.stimulus.id,
        "repetition": showing.repetition,
        "onset": showing.onset_s - start_s,
        "duration": end_s - showing.onset_s,
        "problems": list(showing.problems),
        "self_report": None if report is None else report.model_dump(mode="json"),
        "label": _label_record(whole),
        "events": [
            {
                "id": event.id,
                "onset": event.onset - start_s,
                "duration": event.duration,
                "trial_type": event.trial_type,
                "action_units": "+".join(map(str, event.action_units)),
                "confidence": event.confidence,
                "label": _label_record(each),
            }
            for event, each in labels
        ],
    }


def report_of(showing: Showing, reports: Sequence[ReportRow]) -> SelfReport | None:
    """The form that was filled in after a showing; None without."""
    for row in reports:
        if (row.block, row.stimulus, row.repetition) == (
            showing.block,
            showing.stimulus.id,
            showing.repetition,
        ):
            return row.report
    return None


def label_of(action_units: Sequence[int], showing: Showing, report: SelfReport | None) -> EmotionLabel:
    """The three conditions in one label: the AUs, what the stimulus was for, what the person said."""
    reported = report.reported() if report is not None else ()
    return label(code(set(action_units)), showing.stimulus.intended, reported)


def _label_record(made: EmotionLabel) -> dict[str, Any]:
    return {
        "category": made.category,
        "emotion": made.emotion,
        "agreement": made.agreement,
        "present": made.present,
        "reason": made.reason,
        "conflicts": list(made.conflicts),
        "conditions": {opinion.condition: opinion.detail for opinion in made.opinions},
    }


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write ``_summary.json``."""
    write_atomically(path, (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode())


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """The summary for a terminal."""
    counts = summary["expressions"]
    lines = [
        f"Session {summary['outcome']}: {len(summary['stimuli'])} showings, "
        f"{counts['micro_expression']} micro-expression and {counts['macro_expression']} macro-expression "
        "candidates."
    ]
    for each in summary["stimuli"]:
        made = each["label"]
        emotion = f" ({made['emotion']})" if made["emotion"] else ""
        lines.append(
            f"  {each['stimulus']}: {made['category']}{emotion}, {made['agreement']} of {made['present']} "
            f"conditions agree; {made['reason']}"
        )
    return lines
