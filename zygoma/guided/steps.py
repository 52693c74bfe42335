"""The vocabulary of a guided session's flow: its steps, what it asks to be done, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from acquisition.stream import ZygomaError
from zygoma.guided.preflight import Check
from zygoma.guided.protocol import Protocol, Stimulus, StimulusBlock
from zygoma.guided.self_report import ReportRow

Muscle = Literal["ZYG", "COR"]
POSES: dict[Muscle, str] = {"ZYG": "smile", "COR": "frown"}
"""What is posed to contract a muscle."""


class NotNow(ZygomaError):
    """The command makes no sense at this point; the message says what does."""


class StepKind(StrEnum):
    """What a step is about."""

    PREFLIGHT = "preflight"
    REST = "rest"
    MVC = "mvc"
    NEUTRAL = "neutral"
    LATENCY = "latency"
    STIMULUS = "stimulus"
    REPORT = "report"
    END = "end"


class Phase(StrEnum):
    """How far a step is.

    ``waiting`` for the operator to begin it, ``running``, ``measuring`` (nothing to do but wait),
    ``judged`` (its result is there), ``open`` (checklist or form), ``over``.
    """

    WAITING = "waiting"
    RUNNING = "running"
    MEASURING = "measuring"
    JUDGED = "judged"
    OPEN = "open"
    OVER = "over"


@dataclass(frozen=True)
class Step:
    """One step; `muscle` for MVC, `block` and `stimulus` for stimuli and their reports."""

    kind: StepKind
    title: str
    muscle: Muscle | None = None
    block: StimulusBlock | None = None
    stimulus: Stimulus | None = None
    opens_block: bool = False


@dataclass
class Showing:
    """One showing of a stimulus, times on the LSL clock; `end_s` is NaN while it lasts."""

    block: str
    stimulus: Stimulus
    repetition: int
    onset_s: float
    end_s: float
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LogEntry:
    """Something worth keeping: a step, an override with its reason, a redo, a note, a lost device."""

    time_s: float
    what: str
    step: str
    text: str = ""


# What the flow asks whoever runs it to do.


@dataclass(frozen=True)
class Say:
    """Send a marker with this stamp."""

    text: str
    time_s: float


@dataclass(frozen=True)
class StartRecording:
    """The checklist is done."""


@dataclass(frozen=True)
class Perform:
    """The participant is asked for an expression (a simulated one obeys): a pose or an intended emotion."""

    expression: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class MeasureRest:
    """Judge the rest between these stamps; answer with `Flow.measured`."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class MeasureMaximum:
    """Judge the contractions of a muscle; answer with `Flow.measured`."""

    muscle: Muscle
    attempts: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class MeasureNeutral:
    """Take the personal neutral and the weights from the rest; answer with `Flow.measured`."""


@dataclass(frozen=True)
class ApplyCalibration:
    """The operator accepts the calibration: use it from now on."""


@dataclass(frozen=True)
class MeasureLatency:
    """Judge latency and markers; answer with `Flow.measured`."""


@dataclass(frozen=True)
class Keep:
    """Write a self-report."""

    row: ReportRow


@dataclass(frozen=True)
class Finish:
    """The session is over; `reason` is empty unless it was aborted."""

    reason: str = ""


Action: TypeAlias = (
    Say
    | StartRecording
    | Perform
    | MeasureRest
    | MeasureMaximum
    | MeasureNeutral
    | ApplyCalibration
    | MeasureLatency
    | Keep
    | Finish
)


@dataclass(frozen=True)
class View:
    """Everything the pages and the terminal show.

    Attributes:
        kind, title, number, count: The step, `number` of `count` from 1.
        phase: See `Phase`.
        part: Within a running step: ``rest``, ``ready``, ``contract``, ``relax``, ``pause``, ``show`` ...
        remaining_s, total_s: Of the part; 0 where it has no end of its own.
        attempt, attempts: Of an MVC step, from 1.
        sentence: What the operator should do.
        instruction: What the participant should do.
        pose: Expression to be posed, empty without.
        block, stimulus: Now, None without.
        repetition: Which showing of the stimulus.
        commands: Of ``next``, ``redo``, ``override``, ``abort``, ``note`` those that are possible now.
        checks: The checklist.
        problems, findings: Of the step just judged.
        lost: Required streams that are missing or silent.
        outcome: Empty while it runs, then ``completed`` or ``aborted: ...``.
        recording: The recorder runs.
        log: Newest last.
    """

    kind: StepKind
    title: str
    number: int
    count: int
    phase: Phase
    part: str
    remaining_s: float
    total_s: float
    attempt: int
    attempts: int
    sentence: str
    instruction: str
    pose: str
    block: StimulusBlock | None
    stimulus: Stimulus | None
    repetition: int
    commands: tuple[str, ...]
    checks: tuple[Check, ...]
    problems: tuple[str, ...]
    findings: tuple[str, ...]
    lost: tuple[str, ...]
    outcome: str
    recording: bool
    log: tuple[LogEntry, ...]


def steps_of(protocol: Protocol, *, emg: bool, camera: bool) -> tuple[Step, ...]:
    """The steps that a protocol asks for, in order."""
    steps = [Step(StepKind.PREFLIGHT, "Checklist"), Step(StepKind.REST, "Rest baseline")]
    if emg and protocol.mvc.repetitions:
        steps += [Step(StepKind.MVC, f"Maximum: {POSES[muscle]}", muscle=muscle) for muscle in POSES]
    if camera or emg:
        steps.append(Step(StepKind.NEUTRAL, "Personal neutral"))
    steps.append(Step(StepKind.LATENCY, "Latency check"))
    for block in protocol.blocks:
        for number, stimulus in enumerate(block.stimuli):
            title = f"{block.id}: {stimulus.id}"
            steps.append(Step(StepKind.STIMULUS, title, None, block, stimulus, number == 0))
            if protocol.self_report.scales:
                steps.append(Step(StepKind.REPORT, f"Self-report on {stimulus.id}", None, block, stimulus))
    steps.append(Step(StepKind.END, "End"))
    return tuple(steps)
