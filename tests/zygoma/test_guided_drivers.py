"""Who presses the buttons without a page, and what a session leaves on disk when it does not end well."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from acquisition.clock import Clock, ManualClock, lsl_clock
from acquisition.recorder import Recorder
from acquisition.recording import Recording
from acquisition.session import SessionInfo
from acquisition.stream import InvalidSignal, StreamSpec
from tests.zygoma.guided_stage import EXAMPLES, GREEN, FlowOnly
from zygoma.calibration import Calibration, load_calibration, replayed_calibration, session_calibration
from zygoma.guided import session as session_module
from zygoma.guided.drivers import AutoDriver, TerminalDriver
from zygoma.guided.protocol import load_protocol
from zygoma.guided.session import GuidedSession
from zygoma.guided.steps import Phase, StepKind


class Stage(FlowOnly):
    """`FlowOnly` whose measurements come at once, good unless `problems` says otherwise."""

    def __init__(self, name: str = "protocol-short.toml") -> None:
        super().__init__(load_protocol(EXAMPLES / name))
        self.problems: list[str] = []

    def heard(self, text: str) -> None:
        self.flow.heard(text, self.clock())

    def run(self, drive: Callable[[], None], limit_s: float = 600.0) -> None:
        end_s = self.clock() + limit_s
        while not self.flow.over and self.clock() < end_s:
            self.wait(0.05)
            if self.flow.view().phase is Phase.MEASURING:
                self.flow.measured(self.problems)
            drive()


@pytest.mark.parametrize("name", ["protocol-short.toml", "protocol.toml"])
def test_the_automatic_driver_goes_through_any_session(name: str) -> None:
    stage = Stage(name)
    stage.flow.tick(GREEN)
    lines: list[str] = []
    driver = AutoDriver(cast(GuidedSession, stage), lines.append)
    stage.run(driver.drive)
    assert stage.flow.outcome == "completed"
    stimuli = list(stage.protocol.stimuli())
    assert [showing.stimulus for showing in stage.flow.showings] == stimuli
    assert stage.flow.reports[0].report is not None
    assert stage.flow.reports[0].report.reported() == ("happiness",)
    assert not [entry for entry in stage.flow.log if entry.what in ("override", "redo")]
    assert lines[0].startswith("1/")


def test_the_automatic_driver_redoes_once_and_then_overrides_with_the_reason() -> None:
    stage = Stage()
    stage.problems = ["The face moved."]
    stage.run(AutoDriver(cast(GuidedSession, stage)).drive)
    assert stage.flow.outcome == "completed"
    rest = [entry for entry in stage.flow.log if entry.step == "Rest baseline"]
    # More follow: a neutral that is redone begins with the rest again.
    assert [entry.what for entry in rest if entry.what in ("redo", "override")][:2] == ["redo", "override"]
    assert "The face moved" in next(entry.text for entry in rest if entry.what == "override")


def typed(stage: Stage, lines: list[str]) -> str:
    """Give one line per question of the session; returns what it said."""
    output = io.StringIO()
    given: list[str] = []

    def read() -> str:
        while not given:
            time.sleep(0.001)
            if stage.flow.over:
                raise EOFError
        return given.pop(0)

    driver = TerminalDriver(cast(GuidedSession, stage), Console(file=output, width=200), read)
    todo = iter(lines)

    def drive() -> None:
        view = stage.flow.view()
        if view.kind is StepKind.REPORT or {"next", "redo"} & set(view.commands) or view.phase is Phase.OPEN:
            line = next(todo, None)
            if line is None:
                stage.flow.abort("no more lines")
                return
            if line == "...":
                return
            given.append(line)
            while given:
                time.sleep(0.001)
            time.sleep(0.005)
        driver.drive()

    stage.flow.tick(GREEN)
    stage.run(drive)
    return output.getvalue()


def test_a_session_is_typed_in_the_terminal() -> None:
    stage = Stage()
    stage.go_to(StepKind.REPORT)
    answers = ["12", "8", "4", "7", *["0"] * 5, "a joke, /really"]
    told = typed(stage, [*answers, "/abort enough"])
    assert "number from 1 to 9" in told
    assert "Happiness, 0 (not at all) to 10 (most)?" in told
    report = stage.flow.reports[0].report
    assert report is not None
    assert (report.valence, report.arousal, report.emotions["happiness"]) == (8, 4, 7)
    assert report.text == "a joke, /really"


def test_commands_in_the_terminal_begin_with_a_slash_and_the_rest_is_notes() -> None:
    stage = Stage()
    stage.flow.tick(GREEN)
    stage.flow.next()
    told = typed(stage, ["a cough", "/redo", "/what", "/override", "/abort feels unwell"])
    assert stage.flow.outcome == "aborted: feels unwell"
    assert [entry.text for entry in stage.flow.log if entry.what == "note"] == ["a cough"]
    assert "nothing to redo" in told
    assert "give a reason" in told


# -- what is left on disk ----------------------------------------------------------------------------------


@dataclass
class StubEngine:
    """The side of the engine that a session uses, without streams."""

    recorder: Recorder | None = None
    skipped: int = 0
    streams: tuple[Any, ...] = ()
    rows: dict[Any, Any] = field(default_factory=dict)
    quality_words: dict[str, str] = field(default_factory=dict)
    incidents: tuple[Any, ...] = ()
    latency: None = None

    def mark(self, text: str, time_s: float | None = None) -> float:
        if self.recorder is not None:
            self.recorder.marker(text)
        return time_s or lsl_clock()

    def record_to(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def stop_recording(self) -> None:
        self.recorder = None

    def snapshot(self) -> StubEngine:
        return self

    def calibrate(self, calibration: Calibration) -> float:
        raise ValueError("a pipeline changes its calibration once")


def begun(tmp_path: Path, clock: Clock = lsl_clock) -> GuidedSession:
    protocol = load_protocol(EXAMPLES / "protocol-short.toml")
    session = GuidedSession(protocol, tmp_path, needs_page=False, clock=clock)
    session.attach(cast(Any, StubEngine()))
    session.tick()
    session.command("override", "no devices in this test")
    return session


def manifest(session: GuidedSession) -> SessionInfo:
    assert session.paths is not None
    assert Recording(session.paths.xdf).damage == ()
    return SessionInfo.load(session.paths.sidecar)


def test_an_aborted_session_is_a_valid_recording_that_says_so(tmp_path: Path) -> None:
    session = begun(tmp_path)
    session.command("note", "door slams")
    session.command("abort", "participant feels unwell")
    session.close()
    info = manifest(session)
    assert info.state == "complete"
    assert info.guided["outcome"] == "aborted: participant feels unwell"
    assert "aborted: participant feels unwell" in info.notes
    assert [entry["text"] for entry in info.guided["log"] if entry["what"] == "override"]
    assert set(info.files) == {session.paths.xdf.name, f"{session.paths.stem}_summary.json"}  # type: ignore[union-attr]
    assert session.summary["outcome"].startswith("aborted")
    texts = [text for block in Recording(session.paths.xdf).merged() for text in block.data]  # type: ignore[union-attr]
    assert "Note/door slams" in texts
    assert texts[-1] == "SessionAborted/participant feels unwell"


def test_a_stopped_program_leaves_a_valid_session_and_a_second_one_overwrites_nothing(tmp_path: Path) -> None:
    first, second = begun(tmp_path), begun(tmp_path)
    for session in (first, second):
        session.close("stopped by Ctrl-C")
        assert manifest(session).guided["outcome"] == "aborted: stopped by Ctrl-C"
        assert session.closed
    assert [session.paths.run for session in (first, second) if session.paths] == [1, 2]


def test_a_full_disk_ends_the_session_and_what_was_recorded_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "Recorder", partial(Recorder, free_bytes=lambda folder: 10**8))
    session = begun(tmp_path)
    end_s = time.monotonic() + 30
    while not session.flow.over and time.monotonic() < end_s:
        time.sleep(0.02)
        cast(Any, session._engine).recorder = None  # as the engine does when the recorder stops
        session.tick()
    session.close()
    info = manifest(session)
    assert info.guided["outcome"].startswith("aborted: Less than 1 GB")
    assert any("Less than 1 GB" in note for note in info.notes)
    assert "Less than 1 GB" in session.summary["problem"]


def test_a_folder_that_cannot_be_written_ends_the_session_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("a file, not a folder")
    session = begun(tmp_path / "recordings")
    assert session.flow.outcome.startswith("aborted: Recording cannot begin")
    session.close()
    assert session.paths is None


def test_a_session_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    session = GuidedSession(load_protocol(EXAMPLES / "protocol-short.toml"), tmp_path)
    session.attach(cast(Any, StubEngine()))
    session.command("abort", "participant did not come")
    session.close()
    assert session.summary["outcome"].startswith("aborted")
    assert not list(tmp_path.iterdir())


# -- measurements ------------------------------------------------------------------------------------------


def test_a_measurement_that_was_overtaken_says_nothing_about_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    at_work, go_on = threading.Event(), threading.Event()

    def slow(*arguments: object) -> None:
        at_work.set()
        go_on.wait(20)
        raise InvalidSignal("The frown was weak.")

    monkeypatch.setattr(session_module.measuring, "measure_maximum", slow)
    monkeypatch.setattr(session_module.measuring, "measure", lambda *arguments: Calibration())
    session = begun(tmp_path, clock)

    def wait_for(condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end_s, session.view()
            clock.now_s += 0.05
            session.tick()
            time.sleep(0.001)

    for _ in ("rest", "smile"):
        session.command("override", "left out in this test")
    session.command("next")
    wait_for(at_work.is_set)
    session.command("override", "it takes too long")
    assert session.view().kind is StepKind.NEUTRAL
    go_on.set()
    wait_for(lambda: session.view().phase is Phase.JUDGED)
    assert session.view().problems == ()
    # A calibration that cannot be used is told, not passed over.
    session.command("next")
    wait_for(lambda: any("calibration is not used" in entry.text for entry in session.flow.log))
    session.close()


# -- the calibration in the manifest -----------------------------------------------------------------------


def calibrated_sidecar(folder: Path, **changes: Any) -> Path:
    path = folder / "sub-01_ses-01_task-x_run-001_session.json"
    values = {**Calibration(from_s=100.25).to_json(), **changes}
    SessionInfo("01", "01", "x", 1, calibration=values).save(path)
    return path


def replayed(spec_metadata: dict[str, str]) -> StreamSpec:
    from hardware.simulated import Scenario, simulated_source

    clock = ManualClock()
    camera = simulated_source("camera", Scenario.neutral(), clock=clock, sleep=clock.sleep).spec
    from dataclasses import replace

    return replace(camera, metadata=spec_metadata)


def test_a_replay_finds_the_calibration_and_moves_its_time(tmp_path: Path) -> None:
    sidecar = calibrated_sidecar(tmp_path)
    facts = {"replay_session": str(sidecar), "replay_shift_s": "50.5"}
    found = replayed_calibration(replayed(facts))
    assert found is not None
    assert found.from_s == 150.75
    assert replayed_calibration(replayed({})) is None
    for wrong in ("/etc/passwd", str(tmp_path / "none_session.json")):
        assert replayed_calibration(replayed({**facts, "replay_session": wrong})) is None


def test_a_later_session_takes_the_calibration_from_its_start(tmp_path: Path) -> None:
    assert load_calibration(calibrated_sidecar(tmp_path)).from_s is None
    assert session_calibration(None) is None
    info = json.loads(calibrated_sidecar(tmp_path).read_text())
    assert session_calibration(SessionInfo(**{**info, "calibration": {"old": 1}})) is None
