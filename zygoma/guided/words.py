"""What the operator and the participant read at each point of a session."""

from __future__ import annotations

from zygoma.guided.steps import POSES, NotNow, Phase, Step, StepKind

REASON_CHARACTERS = 500

_WAITING = {
    StepKind.REST: "Ask for a relaxed face, eyes on the cross, then press Next.",
    StepKind.MVC: "Explain the {pose}: as strong as possible. Press Next to begin.",
    StepKind.STIMULUS: "Press Next to begin the block.",
}
_RUNNING = {
    StepKind.REST: "Rest baseline: nobody talks, nobody moves.",
    StepKind.MVC: "The participant poses a {pose}.",
    StepKind.STIMULUS: "The stimulus is running.",
}
_MEASURING = {
    StepKind.REST: "Checking the rest ...",
    StepKind.MVC: "Checking the contractions ...",
    StepKind.NEUTRAL: "Taking the personal neutral from the rest ...",
    StepKind.LATENCY: "Measuring latency and markers ...",
}


def reason(text: str) -> str:
    """An operator's reason or remark as one line.

    Raises:
        NotNow: There are no words in it.
    """
    line = " ".join(text.split())[:REASON_CHARACTERS]
    if not line:
        raise NotNow("Please give a reason in a few words.")
    return line


def commands(step: Step, phase: Phase, held_up: bool) -> tuple[str, ...]:
    """What an operator can do now; `held_up` by a red checklist or by problems of the step."""
    if phase is Phase.OVER:
        return ()
    possible = ["override", "abort", "note"]
    checklist, form = step.kind is StepKind.PREFLIGHT, step.kind is StepKind.REPORT
    if not checklist and (form or phase in (Phase.RUNNING, Phase.JUDGED)):
        possible.insert(0, "redo")
    if phase is Phase.WAITING or (not held_up and (checklist or phase is Phase.JUDGED)):
        possible.insert(0, "next")
    return tuple(possible)


def operator_sentence(step: Step, phase: Phase, part: str, problems: bool, outcome: str) -> str:
    """What the operator should do."""
    if outcome:
        return "The session is over." if outcome == "completed" else f"The session was {outcome}."
    if step.kind is StepKind.PREFLIGHT:
        return "Mend what is red, then press Next; recording begins then."
    if step.kind is StepKind.REPORT:
        return "The participant fills in the form."
    if part == "external" and step.stimulus is not None:
        return f"Waiting for StimOn of {step.stimulus.external}."
    if phase is Phase.JUDGED:
        return "Redo, or override with a reason." if problems else "Good. Press Next to go on."
    table = {Phase.WAITING: _WAITING, Phase.RUNNING: _RUNNING, Phase.MEASURING: _MEASURING}[phase]
    return table.get(step.kind, "").format(pose=POSES[step.muscle] if step.muscle else "")


def participant_sentence(step: Step, phase: Phase, part: str, outcome: str) -> str:
    """What the participant reads; empty where the screen stays calm."""
    if outcome:
        return "Thank you. The session is over."
    if step.kind is StepKind.PREFLIGHT:
        return "Welcome. Please sit comfortably; we are getting ready."
    if step.kind is StepKind.REST and phase in (Phase.WAITING, Phase.RUNNING):
        relaxed = "Please relax your face and look at the cross."
        return relaxed if part != "rest" else ""
    if step.kind is StepKind.MVC and step.muscle is not None:
        return _pose_sentence(POSES[step.muscle], phase, part)
    if step.kind is StepKind.STIMULUS and phase is Phase.WAITING:
        return (step.block.instruction if step.block else "") or "Please wait for the next part."
    if step.kind is StepKind.STIMULUS:
        return ""
    if step.kind is StepKind.REPORT:
        return "How did you feel?"
    return "Please wait a moment."


def _pose_sentence(pose: str, phase: Phase, part: str) -> str:
    if phase is Phase.WAITING:
        return f"Next you will {pose} as strongly as you can."
    if part == "ready":
        return f"Get ready to {pose}."
    if part == "contract":
        return "Smile as broadly as you can!" if pose == "smile" else "Frown as hard as you can!"
    return "Relax." if phase is Phase.RUNNING else "Thank you. Please wait a moment."
