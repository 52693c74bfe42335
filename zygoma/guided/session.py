"""A guided session at work: carries out what the flow asks for, and tells it what came of it.

Everything that takes time (calibration, latency, closing the recording) runs in one thread of its own; the
flow itself is advanced by `tick`, and every method may be called from any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from acquisition.clock import Clock, lsl_clock
from acquisition.recorder import MARKERS, Recorder, free_bytes_of
from acquisition.recording import Recording
from acquisition.session import SessionInfo, SessionPaths, file_facts, new_run
from acquisition.stream import Block, Kind, ZygomaError
from fusion.events import FaceEvent
from zygoma.calibration import Calibration
from zygoma.engine import Engine
from zygoma.guided import calibration as measuring
from zygoma.guided.flow import Flow
from zygoma.guided.latency import measure_latency
from zygoma.guided.preflight import Facts, Health, StreamFacts, examine
from zygoma.guided.protocol import Protocol
from zygoma.guided.self_report import SelfReport, parse_report, write_reports
from zygoma.guided.steps import (
    POSES,
    Action,
    ApplyCalibration,
    Finish,
    Keep,
    MeasureLatency,
    MeasureMaximum,
    MeasureNeutral,
    MeasureRest,
    Muscle,
    Perform,
    Say,
    StartRecording,
    View,
)
from zygoma.guided.summary import AFTERMATH_S, guided_record, summarize, write_summary

ARRIVAL_S = 0.5
"""After a stretch's end, until its last samples have come through the processors."""

LAST_ANSWER_S = AFTERMATH_S + 1.5
"""After the last stimulus: by then an expression that it called up is over and confirmed."""

HEALTH_INTERVAL_S = 0.2
"""How often streams and disk are looked at."""

PAGE_SILENT_S = 2.0
"""A participant page that has not asked for so long is closed."""

Span = tuple[float, float]

Judgement: TypeAlias = tuple[Sequence[str], Sequence[str]]
"""Problems of a step (none: it is good) and what was found, one sentence each."""


class GuidedSession:
    """One session of one participant; also an `Onlooker` of the engine it runs beside.

    Args:
        protocol: What to do.
        recordings: Folder of all sessions.
        needs_page: Whether stimuli from files need an open participant page; False in the terminal.
        perform: Told which expression is asked for and when, so that a simulated participant may obey.
        clock: LSL clock.

    Attributes:
        flow: The state machine; read it, but act through the methods here.
        summary: What it came to; empty until the session is over and closed.
        summary_seen: Set once the operator's page has fetched it.
        picture: The newest of the camera, JPEG, with its number from 1; number 0 before the first.
    """

    def __init__(
        self,
        protocol: Protocol,
        recordings: Path,
        *,
        needs_page: bool = True,
        perform: Callable[[str, float, float], None] = lambda expression, start_s, end_s: None,
        clock: Clock = lsl_clock,
    ) -> None:
        self.protocol = protocol
        self.flow = Flow(protocol, clock)
        self.summary: dict[str, Any] = {}
        self.summary_seen = threading.Event()
        self.picture: tuple[int, bytes] = (0, b"")
        self.paths: SessionPaths | None = None
        self._recordings = recordings
        self._needs_page = needs_page and any(stimulus.file for stimulus in protocol.stimuli())
        self._perform = perform
        self._clock = clock
        self._engine: Engine | None = None
        self._recorder: Recorder | None = None
        self._collector = measuring.Collector()
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(1, "zygoma-session")
        self._due: tuple[float, Callable[[], None]] | None = None
        self._asked = 0
        self._heard: deque[tuple[str, float]] = deque()
        self._events: list[FaceEvent] = []
        self._page_seen_s = -np.inf
        self._rest: Span | None = None
        self._attempts: dict[Muscle, list[Span]] = {}
        self._measured: Calibration | None = None
        self._log_saved = 0
        self._looked_s = -np.inf
        self._health = Health()
        self._started_s = clock()
        self._closed = threading.Event()
        self._failure: Exception | None = None

    # -- what the engine shows ------------------------------------------------------------------------

    def attach(self, engine: Engine) -> None:
        """The engine that the session runs beside."""
        self._engine = engine

    def block(self, block: Block) -> None:
        """See `Onlooker.block`."""
        if block.spec.kind is Kind.MARKERS:
            if block.spec.source_id != MARKERS.source_id:
                self._heard.extend(zip(map(str, block.data), block.timestamps.tolist(), strict=True))
            return
        if block.spec.kind is Kind.CAMERA and isinstance(block.data[-1], bytes):
            self.picture = (self.picture[0] + 1, block.data[-1])
        self._collector.block(block)

    def face(self, kind: Kind, stamp_s: float, points_px: NDArray[np.floating] | None) -> None:
        """See `Onlooker.face`."""

    def event(self, event: FaceEvent) -> None:
        """See `Onlooker.event`."""
        self._events.append(event)

    # -- what operator and participant do --------------------------------------------------------------

    def view(self) -> View:
        """What there is to see now."""
        with self._lock:
            return self.flow.view()

    def command(self, name: str, text: str = "") -> None:
        """See `Flow.command`."""
        with self._lock:
            self._carry_out(self.flow.command(name, text))

    def report(self, values: Any) -> SelfReport:
        """The participant's form, checked.

        Raises:
            InvalidSignal: It is not filled in as asked.
            NotNow: No form is open.
        """
        report = parse_report(values, self.protocol.self_report.scales)
        with self._lock:
            self._carry_out(self.flow.report(report))
        return report

    def shown(self, stimulus: str) -> None:
        """The participant page has painted a stimulus."""
        with self._lock:
            self._carry_out(self.flow.shown(stimulus))

    def heard(self, text: str) -> None:
        """A marker of another program, as if it had come over LSL now."""
        self._heard.append((text, self._clock()))

    def page_seen(self) -> None:
        """The participant page has asked what to show."""
        self._page_seen_s = self._clock()

    def read_summary(self) -> dict[str, Any]:
        """The summary for the operator's page; from then on it has been seen."""
        if self.summary:
            self.summary_seen.set()
        return self.summary

    def recording_state(self) -> dict[str, Any]:
        """Seconds, bytes and room of the recording, for the operator's page; empty without one."""
        recorder = self._recorder
        if recorder is None or self.flow.over:
            return {}
        status = recorder.status()
        return {
            "seconds": status.seconds,
            "bytes": sum(status.bytes_by_file.values()),
            "free_bytes": status.free_bytes,
            "disk_warning": status.disk_warning,
            "stopped": status.stopped,
        }

    # -- time ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let time pass; call it some twenty times a second."""
        if self._clock() - self._looked_s >= HEALTH_INTERVAL_S:
            self._looked_s = self._clock()
            self._health = self._look()
        with self._lock:
            while self._heard:
                self._carry_out(self.flow.heard(*self._heard.popleft()))
            stopped = self._recorder.status().stopped if self._recorder is not None else ""
            if stopped and not self.flow.over:
                self._carry_out(self.flow.failed(stopped))
            self._carry_out(self.flow.tick(self._health))
            if self._due is not None and self._due[0] <= self._clock():
                (_, work), self._due = self._due, None
                self._worker.submit(work)
            if len(self.flow.log) != self._log_saved and self._recorder is not None and not stopped:
                self._log_saved = len(self.flow.log)
                self._recorder.set_guided(guided_record(self.flow))

    @property
    def closed(self) -> bool:
        """The session is over and everything is written."""
        return self._closed.is_set()

    def close(self, reason: str = "the program was stopped") -> None:
        """End the session if it still runs, and wait until everything is written.

        Raises:
            ZygomaError: The recording could not be finished.
        """
        with self._lock:
            if not self.flow.over:
                self._carry_out(self.flow.abort(reason))
            # Nothing ticks any more: what waits for its time is done now.
            if self._due is not None:
                (_, work), self._due = self._due, None
                self._worker.submit(work)
        self._worker.shutdown(wait=True)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _look(self) -> Health:
        engine = self._engine
        if engine is None:
            return Health()
        snapshot = engine.snapshot()
        streams = [
            StreamFacts(
                stream.spec.name,
                stream.spec.kind,
                stream.health.effective_rate_hz,
                stream.health.age_s,
                stream.health.received,
            )
            for stream in snapshot.streams
        ]
        units = snapshot.rows.get(Kind.ACTION_UNITS, {})
        confidence = units.get("confidence", float("nan")) if units.get("face", 0.0) > 0.5 else float("nan")
        folder = next(
            path for path in (self._recordings, *self._recordings.resolve().parents) if path.exists()
        )
        page = self._clock() - self._page_seen_s < PAGE_SILENT_S if self._needs_page else None
        facts = Facts(streams, confidence, snapshot.quality_words, free_bytes_of(folder), page)
        return examine(self.protocol, facts)

    # -- what the flow asks for ------------------------------------------------------------------------

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self._do(action)

    def _do(self, action: Action) -> None:
        assert self._engine is not None, "attach an engine first"
        match action:
            case Say(text, time_s):
                self._engine.mark(text, time_s)
            case StartRecording():
                try:
                    self._start_recording(self._engine)
                except (OSError, ZygomaError) as error:
                    self._carry_out(self.flow.failed(f"Recording cannot begin: {error}"))
            case Perform(expression, start_s, end_s):
                if expression == "rest":
                    # A rest anew makes everything measured since the last one stale.
                    self._rest, self._measured = None, None
                    self._attempts.clear()
                    self._collector.start()
                self._perform(expression, start_s, end_s)
            case MeasureRest(start_s, end_s):
                self._rest = (start_s, end_s)
                self._after(end_s, self._judge_rest)
            case MeasureMaximum(muscle, attempts):
                # What was posed before a redo counts too: the best of all is the maximum.
                self._attempts.setdefault(muscle, []).extend(attempts)
                self._after(attempts[-1][1] + 1.0, partial(self._judge_maximum, muscle))
            case MeasureNeutral():
                self._after(self._clock(), self._measure)
            case ApplyCalibration():
                self._worker.submit(self._apply)
            case MeasureLatency():
                self._after(self._clock(), self._judge_latency)
            case Keep():
                try:
                    self._write_reports(self._started_s)
                except OSError as error:
                    # All rows are written again at the end.
                    self._carry_out(self.flow.note(f"the self-report could not be written yet: {error}"))
            case Finish(reason):
                # The face's answer to the last stimulus is still to be confirmed.
                last_s = max((showing.end_s for showing in self.flow.showings), default=-np.inf)
                self._due = (-np.inf if reason else last_s + LAST_ANSWER_S, self._finish)

    def _after(self, stamp_s: float, work: Callable[[], Judgement]) -> None:
        """Measure what ended at a stamp once its last samples have come.

        Nothing else is waited for then, and what an earlier measurement still finds is not listened to.
        """
        self._asked += 1
        self._due = (stamp_s + ARRIVAL_S, partial(self._judge, work, self._asked))

    def _judge(self, work: Callable[[], Judgement], number: int) -> None:
        """Measure, in the worker; what goes wrong is the step's problem, with its sentence."""
        try:
            problems, findings = work()
        except ZygomaError as error:
            problems, findings = [str(error)], []
        except Exception as error:
            problems = [f"This step could not be measured ({type(error).__name__}: {error})."]
            findings = []
        with self._lock:
            if number == self._asked:
                self._carry_out(self.flow.measured(problems, findings))

    def _start_recording(self, engine: Engine) -> None:
        protocol = self.protocol
        self.paths = new_run(
            self._recordings,
            protocol.participant.pseudonym,
            protocol.session,
            protocol.task,
            protocol=protocol.task,
            consent_scope=protocol.consent.scope,
            consent_version=protocol.consent.version,
        )
        self._started_s = self._clock()
        self._recorder = Recorder(self.paths, clock=self._clock)
        engine.record_to(self._recorder)

    def _kinds(self) -> list[Kind]:
        return [kind for kind in (Kind.CAMERA, Kind.EMG) if self.protocol.wants(kind)]

    def _judge_rest(self) -> Judgement:
        assert self._rest is not None
        return measuring.judge_rest(self._collector.collected().rows, self._rest, self._kinds())

    def _judge_maximum(self, muscle: Muscle) -> Judgement:
        spans = self._attempts[muscle]
        found = measuring.measure_maximum(self._collector.collected().emg, {muscle: spans}, self._rest)
        words = [maximum.words for maximum in found.maxima.values()]
        return [f"Repeat the {POSES[muscle]}: {problem}." for problem in found.problems], words

    def _measure(self) -> Judgement:
        measured = measuring.measure(self._collector.collected(), self._rest, dict(self._attempts))
        self._measured = measured
        findings = []
        if measured.neutral is not None:
            findings.append(f"Neutral of {measured.neutral.frames} pictures.")
        if measured.muscles:
            findings.append(f"Rest and maximum of {len(measured.muscles)} muscles.")
        return [], findings

    def _apply(self) -> None:
        """Use the calibration from now on, in the worker: building the processors takes a moment."""
        measured, self._measured = self._measured, None
        self._collector.stop()
        if measured is None:
            return
        assert self._engine is not None and self._recorder is not None
        try:
            from_s = self._engine.calibrate(measured)
            self._recorder.set_calibration(replace(measured, from_s=from_s).to_json())
            self._engine.mark("Calibrated")
        except Exception as error:
            with self._lock:
                self._carry_out(self.flow.note(f"the calibration is not used ({error})"))

    def _judge_latency(self) -> Judgement:
        assert self._engine is not None
        return measure_latency(self._engine, self._clock)

    # -- the end ---------------------------------------------------------------------------------------

    def _write_reports(self, start_s: float) -> Path | None:
        if self.paths is None or not self.flow.reports:
            return None
        path = self.paths.folder / f"{self.paths.stem}_self_report.tsv"
        write_reports(path, self.flow.reports, start_s)
        return path

    def _finish(self) -> None:
        try:
            self._close_recording()
        except Exception as error:
            # Kept for `close`, whose caller can tell the person.
            self._failure = error
        finally:
            self._closed.set()

    def _close_recording(self) -> None:
        engine, recorder, paths = self._engine, self._recorder, self.paths
        facts: dict[str, Any] = {"participant": self.protocol.participant.pseudonym}
        start_s = self._clock()
        if engine is not None and recorder is not None and paths is not None:
            engine.stop_recording()
            problem = ""
            try:
                recorder.close()
            except ZygomaError as error:
                problem = str(error)
            start_s = Recording(paths.xdf).start_s
            extra = self._write_reports(start_s)
            seen = engine.snapshot()
            facts |= {
                "recording": paths.xdf.name,
                "problem": problem,
                "frames_skipped": seen.skipped,
                "incidents": [incident.sentence for incident in seen.incidents],
            }
            self.summary = summarize(self.flow, self._events, start_s, facts)
            summary_path = paths.folder / f"{paths.stem}_summary.json"
            write_summary(summary_path, self.summary)
            written = [summary_path, *([extra, extra.with_suffix(".json")] if extra else [])]
            info = SessionInfo.load(paths.sidecar)
            notes = (*info.notes, *([self.flow.outcome] if self.flow.outcome != "completed" else []))
            files = {**info.files, **file_facts(written)}
            # A recording that stopped by itself was closed before the session knew.
            replace(info, guided=guided_record(self.flow), files=files, notes=notes).save(paths.sidecar)
        else:
            self.summary = summarize(self.flow, self._events, start_s, facts)
