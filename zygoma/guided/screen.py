"""What the participant's screen shows at each point; nothing of the operator's is in it."""

from __future__ import annotations

from typing import Any

from fusion.tables import EMOTIONS
from zygoma.guided.protocol import Protocol, Stimulus
from zygoma.guided.steps import Phase, StepKind, View


def screen(protocol: Protocol, view: View) -> dict[str, Any]:
    """The screen as JSON values.

    ``show`` is one of ``text`` (only `text`), ``cross``, ``pose`` (with `pose`, `part`, `remaining_s`,
    `total_s`), ``stimulus`` (with `stimulus`), ``form`` (with `scales` and `emotions`). `key` changes
    whenever something new begins, `next` is the stimulus to load ahead.
    """
    stimulus = view.stimulus
    record: dict[str, Any] = {
        "show": "text",
        "text": view.instruction,
        "key": f"{view.number}/{view.repetition}",
        "part": view.part,
        "remaining_s": view.remaining_s,
        "total_s": view.total_s,
        "next": _next_file(protocol, view),
        "over": bool(view.outcome),
    }
    if view.kind is StepKind.REST and view.phase in (Phase.WAITING, Phase.RUNNING):
        record["show"] = "cross"
    elif view.kind is StepKind.MVC and view.phase is Phase.RUNNING:
        record |= {"show": "pose", "pose": view.pose, "attempt": view.attempt, "attempts": view.attempts}
    elif view.kind is StepKind.STIMULUS and view.phase is Phase.RUNNING:
        record["show"] = "cross"
        if view.part in ("showing", "show") and stimulus is not None and stimulus.file is not None:
            record |= {"show": "stimulus", "stimulus": _stimulus(stimulus)}
    elif view.kind is StepKind.REPORT and not view.outcome:
        scales = list(protocol.self_report.scales)
        record |= {"show": "form", "scales": scales, "emotions": list(EMOTIONS)}
    return record


def _stimulus(stimulus: Stimulus) -> dict[str, Any]:
    return {"id": stimulus.id, "medium": stimulus.medium, "duration_s": stimulus.duration_s}


def _next_file(protocol: Protocol, view: View) -> dict[str, Any] | None:
    """The stimulus that the page shows next or now, so that it is loaded by then."""
    order = list(protocol.stimuli())
    at = next((i for i, each in enumerate(order) if view.stimulus is each), None)
    after_it = view.kind is StepKind.REPORT
    first = 0 if at is None else at + int(after_it)
    following = next((each for each in order[first:] if each.file is not None), None)
    return None if following is None else _stimulus(following)
