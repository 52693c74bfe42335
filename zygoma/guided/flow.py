"""The course of a guided session as a state machine: events in, actions out, and a clock that is given.

It waits for nothing and touches nothing: whoever runs it carries out the actions (`zygoma.guided.session`)
and tells what came of them, so that a test goes through a whole session in milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from acquisition.clock import Clock
from acquisition.stream import Kind
from zygoma.guided import words
from zygoma.guided.markers import marker, understand
from zygoma.guided.preflight import Health
from zygoma.guided.protocol import Protocol
from zygoma.guided.schedule import Schedule, Segment
from zygoma.guided.self_report import ReportRow, SelfReport
from zygoma.guided.showings import Showings
from zygoma.guided.steps import (
    POSES,
    Action,
    ApplyCalibration,
    Finish,
    Keep,
    LogEntry,
    MeasureLatency,
    MeasureMaximum,
    MeasureNeutral,
    MeasureRest,
    NotNow,
    Perform,
    Phase,
    Say,
    Showing,
    StartRecording,
    Step,
    StepKind,
    View,
    steps_of,
)

SHOWN_TIMEOUT_S = 1.5
"""A participant page that has not confirmed by then is taken to show the stimulus all the same."""

STIM_OFF_GRACE_S = 2.0
"""An external program may be this late with its ``StimOff``."""

LOG_SHOWN = 50


class Flow:
    """One session from the checklist to its end.

    Args:
        protocol: What is to be done.
        clock: LSL clock, seconds.

    Attributes:
        reports: The self-report rows, in order.
        log: What happened.
        outcome: Empty while it runs, then ``completed`` or ``aborted: reason``.
    """

    def __init__(self, protocol: Protocol, clock: Clock) -> None:
        self.protocol = protocol
        self.steps = steps_of(protocol, emg=protocol.wants(Kind.EMG), camera=protocol.wants(Kind.CAMERA))
        self._showings = Showings()
        self.reports: list[ReportRow] = []
        self.log: list[LogEntry] = []
        self.outcome = ""
        self._clock = clock
        self._index = 0
        self._phase = Phase.OPEN
        self._schedule: Schedule | None = None
        self._part = ""
        self._health = Health()
        self._problems: tuple[str, ...] = ()
        self._findings: tuple[str, ...] = ()
        self._recording = False

    @property
    def step(self) -> Step:
        """The step it is at."""
        return self.steps[self._index]

    @property
    def showings(self) -> list[Showing]:
        """Every showing of a stimulus so far, redone ones included."""
        return self._showings.all

    @property
    def over(self) -> bool:
        """Nothing more will happen."""
        return bool(self.outcome)

    # -- time and devices ------------------------------------------------------------------------------

    def tick(self, health: Health) -> list[Action]:
        """Time has passed; call it at least ten times a second.

        Args:
            health: What the checklist finds now.
        """
        lost_before, self._health = self._health.lost, health
        actions: list[Action] = []
        if self.over:
            return actions
        if self._recording:
            for kind in health.lost:
                if kind not in lost_before:
                    actions += self._lost(kind)
            for kind in lost_before:
                if kind not in health.lost:
                    self._note("device back", kind)
        if self._phase is Phase.RUNNING:
            actions += self._run()
        return actions

    def _lost(self, kind: str) -> list[Action]:
        self._note("device lost", kind)
        if self._phase is Phase.RUNNING and self._needs(kind):
            self._judge((f"The {kind} stream was lost: reconnect it, then redo this step.",))
            return [self._stopped("device lost")]
        running = self._showings.running
        if running is not None:
            # Other modalities go on, and so does the participant: the operator decides about a repetition.
            running.problems.append(f"the {kind} stream was lost")
        return []

    def _stopped(self, why: str) -> Say:
        word = "RestStopped" if self.step.kind is StepKind.REST else "MvcStopped"
        return Say(marker(word, why), self._clock())

    def _needs(self, kind: str) -> bool:
        if self.step.kind is StepKind.MVC:
            return kind == Kind.EMG
        return self.step.kind is StepKind.REST

    def _run(self) -> list[Action]:
        if self.step.kind is StepKind.STIMULUS:
            return self._run_stimulus()
        now_s, schedule = self._clock(), self._schedule
        assert schedule is not None
        actions: list[Action] = []
        for segment in schedule.begun(now_s):
            actions += self._enter(segment, schedule)
        if now_s >= schedule.end_s:
            self._phase = Phase.MEASURING
            actions += self._measure(schedule)
        return actions

    def _measure(self, schedule: Schedule) -> list[Action]:
        end_s = schedule.end_s
        if self.step.muscle is None:
            (rest,) = schedule.named("rest")
            return [Say(marker("RestEnd"), end_s), MeasureRest(rest.start_s, rest.end_s)]
        held = tuple((each.start_s, each.end_s) for each in schedule.named("contract"))
        return [Say(marker("MvcEnd", self._pose()), end_s), MeasureMaximum(self.step.muscle, held)]

    def _enter(self, segment: Segment, schedule: Schedule) -> list[Action]:
        if segment.what == "rest":
            return [Say(marker("RestStart"), segment.start_s)]
        if segment.what == "contract":
            number = schedule.contractions_begun
            return [Say(marker("MvcContract", self._pose(), number), segment.start_s)]
        if segment.what == "relax":
            return [Say(marker("MvcRelax", self._pose()), segment.start_s)]
        return []

    def _run_stimulus(self) -> list[Action]:
        now_s = self._clock()
        showing, schedule = self._showings.running, self._schedule
        assert schedule is not None
        if self._part == "pause" and now_s >= schedule.end_s:
            return self._present()
        if self._part == "showing" and now_s >= schedule.end_s + SHOWN_TIMEOUT_S:
            return self._on(now_s, "the participant page did not confirm that it was shown")
        if self._part == "show" and showing is not None:
            stimulus = showing.stimulus
            end_s = showing.onset_s + stimulus.duration_s
            if stimulus.external is None and now_s >= end_s:
                return self._off(end_s)
            if stimulus.external is not None and now_s >= end_s + STIM_OFF_GRACE_S:
                return self._off(end_s, "no StimOff came; its end is taken from the protocol")
        return []

    # -- the operator ----------------------------------------------------------------------------------

    def command(self, name: str, text: str = "") -> list[Action]:
        """One of the methods below by its name, with the reason or remark that belongs to it.

        Raises:
            NotNow: No such command, or as the command itself.
        """
        plain = {"next": self.next, "redo": self.redo}
        told = {"override": self.override, "abort": self.abort, "note": self.note}
        if name in plain:
            return plain[name]()
        if name in told:
            return told[name](text)
        raise NotNow(f"{name[:40]!r} is no command: use next, redo, override, abort or note.")

    def next(self) -> list[Action]:
        """Begin a step that waits, or go on from one that is done.

        Raises:
            NotNow: Something is red, or the step is not done.
        """
        if self._phase is Phase.WAITING:
            return self._begin()
        if self.step.kind is StepKind.PREFLIGHT and not self.over:
            red = [check.label for check in self._health.checks if check.required and not check.ok]
            if red or not self._health.checks:
                raise NotNow(
                    f"Not ready: {', '.join(red) or 'checking'}. Mend it, or override it with a reason."
                )
            return self._leave_preflight()
        if self._phase is Phase.JUDGED:
            if self._problems:
                raise NotNow(f"{self._problems[0]} Redo the step, or override it with a reason.")
            return self._accept()
        raise NotNow(f"There is nothing to go on to from here. {self.view().sentence}")

    def redo(self) -> list[Action]:
        """Do the step again; what was recorded of it stays.

        Raises:
            NotNow: There is nothing to do again.
        """
        if "redo" not in self._commands():
            raise NotNow("There is nothing to redo at this step.")
        kind = self.step.kind
        self._note("redo")
        if kind is StepKind.NEUTRAL:
            # The neutral comes from the rest.
            self._index = next(i for i, step in enumerate(self.steps) if step.kind is StepKind.REST)
            return self._begin()
        actions: list[Action] = []
        if kind is StepKind.STIMULUS:
            actions = self._showings.off(self._clock(), "stopped for a repetition")
        elif kind is StepKind.REPORT:
            self._index -= 1
        elif self._phase is Phase.RUNNING:
            actions = [self._stopped("redo")]
        return actions + self._begin()

    def override(self, reason: str) -> list[Action]:
        """Go on although something is not in order, or leave a step out; the reason is kept.

        Raises:
            NotNow: Without a reason, or after the end.
        """
        reason = words.reason(reason)
        if self.over:
            raise NotNow("The session is over.")
        self._note("override", reason)
        said: list[Action] = [Say(marker("Override", self.step.kind, reason), self._clock())]
        kind = self.step.kind
        if kind is StepKind.PREFLIGHT:
            # Recording begins first, so that the override is in it.
            return [*self._leave_preflight(), *said]
        if kind is StepKind.STIMULUS:
            if self._showings.running is not None:
                return [*said, *self._off(self._clock(), f"stopped: {reason}")]
            self._index += 1 if self.protocol.self_report.scales else 0
            return [*said, *self._advance()]
        if kind is StepKind.REPORT:
            return [*said, *self._keep(None)]
        if self._phase is Phase.RUNNING:
            said.append(self._stopped("override"))
        if kind is StepKind.NEUTRAL and self._phase is Phase.JUDGED:
            return [*said, *self._accept()]
        return [*said, *self._advance()]

    def abort(self, reason: str) -> list[Action]:
        """End the session here; what was recorded stays valid and says why.

        Raises:
            NotNow: Without a reason, or after the end.
        """
        reason = words.reason(reason)
        if self.over:
            raise NotNow("The session is over.")
        self._note("abort", reason)
        actions = self._showings.off(self._clock(), "the session was aborted")
        actions.append(Say(marker("SessionAborted", reason), self._clock()))
        self.outcome = f"aborted: {reason}"
        self._index, self._phase, self._part = len(self.steps) - 1, Phase.OVER, ""
        return [*actions, Finish(reason)]

    def note(self, text: str) -> list[Action]:
        """Keep a remark of the operator, with its time.

        Raises:
            NotNow: It is empty.
        """
        text = words.reason(text)
        self._note("note", text)
        return [Say(marker("Note", text), self._clock())]

    def failed(self, reason: str) -> list[Action]:
        """The recording stopped by itself (the disk is full): the session cannot go on."""
        return [] if self.over else self.abort(reason)

    # -- what comes from elsewhere ---------------------------------------------------------------------

    def shown(self, stimulus: str) -> list[Action]:
        """The participant page has painted a stimulus; anything else than the one awaited is ignored."""
        expected = self.step.stimulus
        if self._part != "showing" or expected is None or expected.id != stimulus:
            return []
        return self._on(self._clock())

    def heard(self, text: str, time_s: float) -> list[Action]:
        """A marker of another program, with its stamp; only a stimulus that is awaited is looked for."""
        found = understand(text)
        stimulus = self.step.stimulus
        if found is None or stimulus is None or stimulus.external is None or self._phase is not Phase.RUNNING:
            return []
        if found.id not in ("", stimulus.id):
            return []
        if found.what == "on" and self._part == "external":
            return self._on(time_s)
        running = self._showings.running
        if found.what == "off" and running is not None:
            return self._off(max(time_s, running.onset_s))
        return []

    def measured(self, problems: Sequence[str] = (), findings: Sequence[str] = ()) -> list[Action]:
        """The result of the last measurement asked for; one that comes too late is ignored.

        Args:
            problems: Sentences; without any the step is good.
            findings: What was found, for the operator.
        """
        if self._phase is Phase.MEASURING:
            self._judge(tuple(problems), tuple(findings))
        return []

    def report(self, report: SelfReport) -> list[Action]:
        """The participant has sent the form.

        Raises:
            NotNow: No form is open.
        """
        if self.step.kind is not StepKind.REPORT or self.over:
            raise NotNow("No form is open now.")
        return self._keep(report)

    # -- from step to step -----------------------------------------------------------------------------

    def _leave_preflight(self) -> list[Action]:
        self._recording = True
        participant = self.protocol.participant.pseudonym
        said = Say(marker("SessionStart", participant), self._clock())
        return [StartRecording(), said, *self._advance()]

    def _accept(self) -> list[Action]:
        if self.step.kind is StepKind.NEUTRAL:
            return [ApplyCalibration(), *self._advance()]
        return self._advance()

    def _advance(self) -> list[Action]:
        self._index += 1
        step = self.step
        self._schedule, self._part, self._problems, self._findings = None, "", (), ()
        self._phase = Phase.WAITING
        self._note("step")
        if step.kind is StepKind.NEUTRAL:
            self._phase = Phase.MEASURING
            return [MeasureNeutral()]
        if step.kind is StepKind.LATENCY:
            return self._begin()
        if step.kind is StepKind.STIMULUS and not step.opens_block:
            return self._begin()
        if step.kind is StepKind.REPORT:
            self._phase = Phase.OPEN
        if step.kind is StepKind.END:
            self._phase = Phase.OVER
            self.outcome = "completed"
            return [Say(marker("SessionEnd"), self._clock()), Finish()]
        return []

    def _begin(self) -> list[Action]:
        step, now_s = self.step, self._clock()
        self._problems, self._findings = (), ()
        self._phase, self._part = Phase.RUNNING, ""
        if step.kind is StepKind.LATENCY:
            self._phase = Phase.MEASURING
            return [MeasureLatency()]
        if step.kind is StepKind.REST:
            self._schedule = Schedule.rest(now_s, self.protocol.baseline_s)
            return [Perform("rest", each.start_s, each.end_s) for each in self._schedule.named("rest")]
        if step.kind is StepKind.MVC:
            self._schedule = Schedule.poses(now_s, self.protocol.mvc)
            held = self._schedule.named("contract")
            return [Perform(self._pose(), each.start_s, each.end_s) for each in held]
        assert step.kind is StepKind.STIMULUS and step.block is not None and step.stimulus is not None
        self._part = "pause"
        self._schedule = Schedule.pause(now_s, step.block.pause_s)
        self._showings.announce(step)
        said: list[Action] = [Say(marker("BlockStart", step.block.id), now_s)] if step.opens_block else []
        return [*said, Say(marker("Fixation", step.stimulus.id), now_s), *self._run_stimulus()]

    def _present(self) -> list[Action]:
        stimulus = self.step.stimulus
        assert stimulus is not None
        if stimulus.external is not None:
            self._part = "external"
            return []
        if self._health.participant_page:
            self._part = "showing"
            return []
        return self._on(self._clock())

    def _on(self, time_s: float, problem: str = "") -> list[Action]:
        self._part = "show"
        return self._showings.on(self.step, time_s, problem)

    def _off(self, time_s: float, problem: str = "") -> list[Action]:
        return [*self._showings.off(time_s, problem), *self._advance()]

    def _keep(self, report: SelfReport | None) -> list[Action]:
        row = self._showings.row(report, self._clock())
        if row is None:
            return self._advance()
        self.reports.append(row)
        said = Say(marker("SelfReport", row.stimulus, row.repetition), row.reported_s)
        return [Keep(row), said, *self._advance()]

    def _judge(self, problems: tuple[str, ...], findings: tuple[str, ...] = ()) -> None:
        self._phase, self._problems, self._findings = Phase.JUDGED, problems, findings
        for problem in problems:
            self._note("problem", problem)

    def _note(self, what: str, text: str = "") -> None:
        self.log.append(LogEntry(self._clock(), what, self.step.title, text))

    def _pose(self) -> str:
        return POSES[self.step.muscle] if self.step.muscle is not None else ""

    # -- telling ---------------------------------------------------------------------------------------

    def view(self) -> View:
        """What there is to see now."""
        step = self.step
        part, remaining_s, total_s = self._part_now()
        contracted = 0 if self._schedule is None else self._schedule.contractions_begun
        return View(
            kind=step.kind,
            title=step.title,
            number=self._index + 1,
            count=len(self.steps),
            phase=self._phase,
            part=part,
            remaining_s=remaining_s,
            total_s=total_s,
            attempt=max(contracted, 1),
            attempts=self.protocol.mvc.repetitions if step.kind is StepKind.MVC else 1,
            sentence=words.operator_sentence(step, self._phase, part, bool(self._problems), self.outcome),
            instruction=words.participant_sentence(step, self._phase, part, self.outcome),
            pose=self._pose(),
            block=step.block,
            stimulus=step.stimulus,
            repetition=self._showings.repetition(step),
            commands=self._commands(),
            checks=self._health.checks,
            problems=self._problems,
            findings=self._findings,
            lost=self._health.lost if self._recording and not self.over else (),
            outcome=self.outcome,
            recording=self._recording and not self.over,
            log=tuple(self.log[-LOG_SHOWN:]),
        )

    def _commands(self) -> tuple[str, ...]:
        red = not self._health.checks or any(check.required and not check.ok for check in self._health.checks)
        held_up = red if self.step.kind is StepKind.PREFLIGHT else bool(self._problems)
        return words.commands(self.step, self._phase, held_up)

    def _part_now(self) -> tuple[str, float, float]:
        """Name of the running part, seconds left and its length; 0 where it has no end of its own."""
        if self._phase is not Phase.RUNNING:
            return "", 0.0, 0.0
        now_s = self._clock()
        running = self._showings.running
        if running is not None:
            total_s = running.stimulus.duration_s
            return "show", max(running.onset_s + total_s - now_s, 0.0), total_s
        if self._part in ("showing", "external"):
            return self._part, 0.0, 0.0
        assert self._schedule is not None
        segment = self._schedule.at(now_s)
        return segment.what, max(segment.end_s - now_s, 0.0), segment.end_s - segment.start_s
