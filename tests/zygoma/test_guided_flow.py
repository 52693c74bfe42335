"""A whole guided session in milliseconds: every branch of its flow on a hand-wound clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acquisition.clock import ManualClock
from acquisition.stream import Kind
from zygoma.guided.flow import SHOWN_TIMEOUT_S, STIM_OFF_GRACE_S, Flow
from zygoma.guided.preflight import Check, Health
from zygoma.guided.protocol import Protocol
from zygoma.guided.self_report import SelfReport
from zygoma.guided.steps import (
    Action,
    ApplyCalibration,
    Finish,
    Keep,
    MeasureLatency,
    MeasureMaximum,
    MeasureNeutral,
    MeasureRest,
    NotNow,
    Perform,
    Phase,
    Say,
    StartRecording,
    StepKind,
)

GREEN = Health((Check("Camera stream", True, "there"),))
RED = Health((Check("Camera stream", False, "not there"), Check("Light", False, "dim", required=False)))


def protocol(**changes: object) -> Protocol:
    values: dict[str, object] = {
        "task": "elicitation",
        "participant": {"pseudonym": "P07"},
        "consent": {"scope": "analysis only", "version": "2"},
        "devices": [{"kind": "Camera"}, {"kind": "EMG"}],
        "baseline_s": 30.0,
        "mvc": {"repetitions": 3, "contract_s": 3.0, "relax_s": 4.0},
        "blocks": [
            {
                "id": "films",
                "pause_s": 2.0,
                "stimuli": [
                    {"id": "joy1", "intended": "happiness", "duration_s": 5.0, "file": "joy.png"},
                    {"id": "ext1", "intended": "anger", "duration_s": 5.0, "external": "PsychoPy"},
                ],
            }
        ],
        "folder": Path(),
    }
    return Protocol.model_validate({**values, **changes})


class Run:
    """A flow with its clock, and everything it asked for."""

    def __init__(self, plan: Protocol | None = None, health: Health = GREEN) -> None:
        self.clock = ManualClock(1000.0)
        self.flow = Flow(plan or protocol(), self.clock)
        self.health = health
        self.actions: list[Action] = []

    def do(self, actions: list[Action]) -> None:
        self.actions += actions

    def wait(self, seconds: float, step_s: float = 0.05) -> None:
        end_s = self.clock.now_s + seconds
        while self.clock.now_s < end_s - 1e-9:
            self.clock.now_s += step_s
            self.do(self.flow.tick(self.health))

    def wait_until(self, condition: Callable[[], bool], limit_s: float = 120.0) -> None:
        for _ in range(int(limit_s / 0.05)):
            if condition():
                return
            self.wait(0.05)
        raise AssertionError(f"still at {self.flow.view()}")

    def at(self, kind: StepKind, phase: Phase | None = None) -> bool:
        view = self.flow.view()
        return view.kind is kind and (phase is None or view.phase is phase)

    def start(self) -> Run:
        self.do(self.flow.tick(self.health))
        self.do(self.flow.next())
        return self

    def rest(self, *problems: str) -> Run:
        self.do(self.flow.next())
        self.wait_until(lambda: self.at(StepKind.REST, Phase.MEASURING))
        self.do(self.flow.measured(problems))
        return self

    def calibrate(self) -> Run:
        self.rest()
        self.do(self.flow.next())
        for _ in range(2):
            self.do(self.flow.next())
            self.wait_until(lambda: self.at(StepKind.MVC, Phase.MEASURING))
            self.do(self.flow.measured())
            self.do(self.flow.next())
        self.do(self.flow.measured())
        self.do(self.flow.next())
        assert self.at(StepKind.LATENCY, Phase.MEASURING)
        self.do(self.flow.measured(findings=("fast",)))
        self.do(self.flow.next())
        return self

    @property
    def said(self) -> list[str]:
        return [action.text for action in self.actions if isinstance(action, Say)]

    def asked(self, kind: type[Action]) -> list[Action]:
        return [action for action in self.actions if isinstance(action, kind)]


REPORT = SelfReport(valence=8, arousal=5, text="a joke")


def test_a_whole_session_in_order() -> None:
    run = Run().start().calibrate()
    assert run.at(StepKind.STIMULUS, Phase.WAITING)
    run.do(run.flow.next())
    run.wait_until(lambda: run.at(StepKind.REPORT))
    run.do(run.flow.report(REPORT))
    run.wait_until(lambda: run.flow.view().part == "external")
    onset_s = run.clock.now_s - 0.02
    run.do(run.flow.heard("StimOn ext1", onset_s))
    run.wait(3.0)
    run.do(run.flow.heard("StimOff", onset_s + 3.0))
    run.do(run.flow.report(REPORT))
    assert run.flow.outcome == "completed"
    assert run.flow.over
    assert run.asked(Finish) == [Finish("")]
    words = [text.partition("/")[0] for text in run.said]
    assert words == [
        "SessionStart", "RestStart", "RestEnd",
        *(["MvcContract", "MvcRelax"] * 3 + ["MvcEnd"]) * 2,
        "BlockStart", "Fixation", "StimOn", "StimOff", "SelfReport",
        "Fixation", "SelfReport", "SessionEnd",
    ]  # fmt: skip
    joy, external = run.flow.showings
    assert joy.end_s - joy.onset_s == pytest.approx(5.0)
    assert (external.onset_s, external.end_s) == (onset_s, onset_s + 3.0)
    assert [row.stimulus for row in run.flow.reports] == ["joy1", "ext1"]
    for kind in (StartRecording, MeasureNeutral, ApplyCalibration, MeasureLatency):
        assert len(run.asked(kind)) == 1, kind


def test_recording_begins_when_the_checklist_is_green() -> None:
    run = Run(health=RED)
    run.do(run.flow.tick(RED))
    assert "next" not in run.flow.view().commands
    with pytest.raises(NotNow, match="Camera stream"):
        run.flow.next()
    assert not run.actions
    run.do(run.flow.tick(GREEN))
    run.do(run.flow.next())
    assert run.actions[0] == StartRecording()
    assert run.flow.view().recording


def test_a_red_checklist_is_overridden_with_a_reason_that_is_kept() -> None:
    run = Run(health=RED)
    run.do(run.flow.tick(RED))
    with pytest.raises(NotNow, match="reason"):
        run.flow.override("  ")
    run.do(run.flow.override("pilot\nwithout camera"))
    assert run.at(StepKind.REST, Phase.WAITING)
    assert "Override/preflight/pilot without camera" in run.said
    # The override lies inside the recording.
    assert isinstance(run.actions[0], StartRecording)
    assert [entry.text for entry in run.flow.log if entry.what == "override"] == ["pilot without camera"]


def test_rest_and_poses_have_the_length_and_number_that_the_protocol_says() -> None:
    run = Run().start().calibrate()
    (rest,) = run.asked(MeasureRest)
    assert isinstance(rest, MeasureRest)
    assert rest.end_s - rest.start_s == pytest.approx(30.0)
    smile, frown = run.asked(MeasureMaximum)
    assert isinstance(smile, MeasureMaximum) and isinstance(frown, MeasureMaximum)
    assert (smile.muscle, frown.muscle) == ("ZYG", "COR")
    assert [end - start for start, end in smile.attempts] == pytest.approx([3.0] * 3)
    poses = [action.expression for action in run.asked(Perform) if isinstance(action, Perform)]
    assert poses == ["rest", *["smile"] * 3, *["frown"] * 3]


def test_a_bad_rest_is_redone_or_overridden_but_not_passed() -> None:
    run = Run().start().rest("The face moved.")
    assert run.flow.view().problems == ("The face moved.",)
    with pytest.raises(NotNow, match="face moved"):
        run.flow.next()
    run.do(run.flow.redo())
    run.wait_until(lambda: run.at(StepKind.REST, Phase.MEASURING))
    run.do(run.flow.measured(["Still moving."]))
    run.do(run.flow.override("restless child"))
    assert run.at(StepKind.MVC, Phase.WAITING)
    assert len(run.asked(MeasureRest)) == 2


def test_a_new_neutral_needs_a_new_rest_and_nothing_is_applied_before_it_is_accepted() -> None:
    run = Run().start().rest()
    run.do(run.flow.next())
    for _ in range(2):
        run.do(run.flow.override("no electrodes"))
    assert run.at(StepKind.NEUTRAL, Phase.MEASURING)
    run.do(run.flow.measured(["No face in the rest."]))
    run.do(run.flow.redo())
    assert run.at(StepKind.REST, Phase.RUNNING)
    assert not run.asked(ApplyCalibration)


def test_a_device_lost_in_the_rest_stops_it_and_it_is_redone_after_its_return() -> None:
    run = Run().start()
    run.do(run.flow.next())
    run.wait(10.0)
    run.health = Health(GREEN.checks, lost=("EMG",))
    run.wait(0.1)
    assert run.at(StepKind.REST, Phase.JUDGED)
    assert "EMG stream was lost" in run.flow.view().problems[0]
    assert run.flow.view().lost == ("EMG",)
    assert "RestStopped/device lost" in run.said
    run.health = GREEN
    run.wait(0.1)
    run.do(run.flow.redo())
    run.wait_until(lambda: run.at(StepKind.REST, Phase.MEASURING))
    assert [entry.what for entry in run.flow.log if "device" in entry.what] == ["device lost", "device back"]


def test_posing_needs_the_emg_but_not_the_camera() -> None:
    run = Run().start().rest()
    run.do(run.flow.next())
    run.do(run.flow.next())
    run.wait(3.0)
    run.health = Health(GREEN.checks, lost=("Camera",))
    run.wait(0.2)
    assert run.at(StepKind.MVC, Phase.RUNNING)
    run.health = Health(GREEN.checks, lost=("Camera", "EMG"))
    run.wait(0.2)
    assert run.at(StepKind.MVC, Phase.JUDGED)


def test_a_device_lost_in_a_stimulus_is_noted_and_the_stimulus_goes_on() -> None:
    run = Run().start().calibrate()
    run.do(run.flow.next())
    run.wait_until(lambda: run.flow.view().part == "show")
    run.health = Health(GREEN.checks, lost=("EMG",))
    run.wait_until(lambda: run.at(StepKind.REPORT))
    assert run.flow.showings[-1].problems == ["the EMG stream was lost"]


def test_a_stimulus_is_repeated_and_both_showings_are_kept() -> None:
    run = Run().start().calibrate()
    run.do(run.flow.next())
    run.wait_until(lambda: run.flow.view().part == "show")
    run.wait(1.0)
    run.do(run.flow.redo())
    run.wait_until(lambda: run.at(StepKind.REPORT))
    # Again from the form.
    run.do(run.flow.redo())
    run.wait_until(lambda: run.at(StepKind.REPORT))
    run.do(run.flow.report(REPORT))
    assert [showing.repetition for showing in run.flow.showings] == [1, 2, 3]
    assert run.flow.showings[0].end_s - run.flow.showings[0].onset_s == pytest.approx(1.0, abs=0.1)
    assert [row.repetition for row in run.flow.reports] == [3]


def test_the_page_confirms_what_it_shows_and_the_marker_waits_for_it() -> None:
    run = Run(health=Health(GREEN.checks, participant_page=True)).start().calibrate()
    run.do(run.flow.next())
    run.wait_until(lambda: run.flow.view().part == "showing")
    assert "StimOn/joy1" not in run.said
    assert run.flow.shown("another") == []
    run.do(run.flow.shown("joy1"))
    assert "StimOn/joy1" in run.said
    assert run.flow.showings[-1].onset_s == run.clock.now_s
    assert run.flow.shown("joy1") == []


def test_a_page_that_does_not_confirm_holds_nothing_up() -> None:
    run = Run(health=Health(GREEN.checks, participant_page=True)).start().calibrate()
    run.do(run.flow.next())
    run.wait_until(lambda: run.flow.view().part == "showing")
    run.wait(SHOWN_TIMEOUT_S + 0.1)
    assert run.flow.view().part == "show"
    assert "did not confirm" in run.flow.showings[-1].problems[0]


def to_external(run: Run) -> Run:
    run.start().calibrate()
    run.do(run.flow.override("leave out"))
    run.wait_until(lambda: run.flow.view().part == "external")
    return run


def test_an_external_stimulus_that_never_ends_takes_its_length_from_the_protocol() -> None:
    run = to_external(Run())
    run.do(run.flow.heard("StimOn/other", run.clock.now_s))
    assert run.flow.view().part == "external", "another stimulus's marker"
    run.do(run.flow.heard("StimOn", run.clock.now_s))
    run.wait(5.0 + STIM_OFF_GRACE_S + 0.2)
    showing = run.flow.showings[-1]
    assert showing.end_s - showing.onset_s == pytest.approx(5.0)
    assert "no StimOff" in showing.problems[0]
    # The other program has said when; the session does not say it again.
    assert "StimOn/ext1" not in run.said


def test_an_external_stimulus_that_never_begins_can_be_left_out() -> None:
    run = to_external(Run())
    run.wait(60.0)
    run.do(run.flow.override("PsychoPy crashed"))
    assert run.flow.outcome == "completed"
    assert not run.flow.reports


def test_a_skipped_form_is_a_row_without_answers() -> None:
    run = Run().start().calibrate()
    run.do(run.flow.next())
    run.wait_until(lambda: run.at(StepKind.REPORT))
    with pytest.raises(NotNow):
        run.flow.next()
    run.do(run.flow.override("does not want to answer"))
    (keep,) = run.asked(Keep)
    assert isinstance(keep, Keep)
    assert keep.row.report is None


@pytest.mark.parametrize("where", ["preflight", "rest", "show"])
def test_an_aborted_session_ends_at_once_and_says_why(where: str) -> None:
    run = Run()
    run.do(run.flow.tick(GREEN))
    if where != "preflight":
        run.start()
    if where == "show":
        run.calibrate()
        run.do(run.flow.next())
        run.wait_until(lambda: run.flow.view().part == "show")
    run.do(run.flow.abort("participant feels unwell"))
    assert run.flow.outcome == "aborted: participant feels unwell"
    assert run.actions[-1] == Finish("participant feels unwell")
    if where == "show":
        assert run.said[-2:] == ["StimOff/joy1", "SessionAborted/participant feels unwell"]
    assert run.flow.view().commands == ()
    for command in (run.flow.next, run.flow.redo, lambda: run.flow.abort("again")):
        with pytest.raises(NotNow):
            command()
    assert run.flow.tick(GREEN) == []


def test_a_full_disk_ends_the_session() -> None:
    run = Run().start().calibrate()
    run.do(run.flow.failed("Less than 1 GB are free"))
    assert run.flow.outcome.startswith("aborted: Less than 1 GB")
    assert run.flow.failed("again") == []


def test_notes_are_kept_with_their_time() -> None:
    run = Run().start()
    run.do(run.flow.note("coughs"))
    assert "Note/coughs" in run.said
    assert run.flow.log[-1].text == "coughs"


def test_a_session_without_forms_or_muscles_has_neither_step() -> None:
    plan = protocol(devices=[{"kind": "Camera"}], self_report={"scales": []})
    kinds = [step.kind for step in Flow(plan, ManualClock()).steps]
    assert StepKind.MVC not in kinds
    assert StepKind.REPORT not in kinds
    assert protocol().wants(Kind.EMG)


def test_late_answers_change_nothing() -> None:
    run = Run().start()
    assert run.flow.measured(["old news"]) == []
    assert run.flow.heard("StimOn", 0.0) == []
    with pytest.raises(NotNow):
        run.flow.report(REPORT)
