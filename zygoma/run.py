"""What the commands do: live runs, demonstrations, recordings, replays and analyses with their output."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from acquisition import network
from acquisition.clock import lsl_clock
from acquisition.inlet import Incident
from acquisition.recorder import Recorder
from acquisition.session import new_run
from acquisition.stream import DeviceNotFound, Kind, Source, ZygomaError
from fusion.events import FaceEvent
from zygoma.calibration import Calibration
from zygoma.engine import Engine, EngineSettings
from zygoma.monitor.access import Access
from zygoma.monitor.live import Monitor, MonitorOptions
from zygoma.options import console, errors, print_json, say, warn
from zygoma.pipeline import SENSOR_KINDS, PipelineSettings
from zygoma.shown import EXPRESSION_TYPES
from zygoma.signals import stop_signals
from zygoma.terminal import view

REDRAW_HZ = 10.0
CLOSING_ROWS = 48
STREAM_WAIT_S = 5.0
REPLAY_LEAD_S = 3.0
REPLAY_TAIL_S = 1.0


@dataclass(frozen=True)
class LiveOptions:
    """Options of a live run.

    Attributes:
        seconds: 0 runs until Ctrl-C.
        record: (subject, session, task), or None.
        headless: Neither the page nor the full-screen view.
        monitor: How the page is served.
        publish: Put the derived streams on LSL.
        channels: EMG channel -> muscle_side, see `zygoma.channel_names`.
        calibration: Of an earlier session; what is recorded carries it on.
        save_neutral: File that the person's neutral face is written to at the end.
    """

    seconds: float = 0.0
    record: tuple[str, str, str] | None = None
    recordings: Path = Path("recordings")
    headless: bool = False
    json: bool = False
    lan: bool = False
    names: Mapping[Kind, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    save_neutral: Path | None = None
    calibration: Calibration | None = None
    monitor: MonitorOptions = field(default_factory=MonitorOptions)
    publish: bool = True


def monitor_options(port: int, *, lan: bool, certificate: Path | None, key: Path | None) -> MonitorOptions:
    """Options of the page from those of a command.

    Raises:
        DeviceNotFound: TLS files are missing.
    """
    make = Access.on_the_network if lan else Access.on_this_machine
    return MonitorOptions(port, make(certificate=certificate, key=key))


@contextmanager
def _recorder(options: LiveOptions) -> Iterator[Recorder | None]:
    if options.record is None:
        yield None
        return
    subject, session, task = options.record
    calibration = None if options.calibration is None else options.calibration.to_json()
    paths = new_run(options.recordings, subject, session, task, calibration=calibration)
    with Recorder(paths) as recorder:
        yield recorder
    if not options.json:
        say(f"Recorded {paths.xdf}")


def run_live(options: LiveOptions) -> None:
    """The live engine with its view until it is stopped."""
    network.configure(lan=options.lan)
    with stop_signals() as stop:
        _run_engine(options, stop)


def run_demo(options: LiveOptions, *, seed: int, camera_rate_hz: float) -> None:
    """The live engine beside the simulated person's device processes."""
    from zygoma.demo import DeviceProcesses, simulated_devices
    from zygoma.warmup import warm_up

    network.configure(lan=False)
    with stop_signals() as stop:
        if not options.json:
            console.print("Preparing the processors (the first time takes about a minute) ...")
        warm_up()

        commands, _ = simulated_devices(seed=seed, duration_s=options.seconds, camera_rate_hz=camera_rate_hz)
        with DeviceProcesses(commands):
            _run_engine(options, stop)


def _run_engine(
    options: LiveOptions, stop: threading.Event, *, beside: Callable[[], None] | None = None
) -> None:
    """Run the engine and its displays until `stop`.

    Args:
        options: See `LiveOptions`.
        stop: Ends the run.
        beside: Runs in a thread of its own once the engine listens.
    """
    from zygoma.warmup import get_ready

    def on_event(event: FaceEvent) -> None:
        if options.json:
            print_json_text(event.to_json())
        elif headless and event.trial_type in EXPRESSION_TYPES:
            tell(event.onset - engine.started_s, event.explanation)

    def on_incident(incident: Incident) -> None:
        if options.json:
            print(incident.sentence, file=sys.stderr, flush=True)
        elif headless:
            tell(incident.time_s - engine.started_s, incident.sentence, style="yellow")

    headless = options.headless or options.json or not console.is_terminal
    get_ready()
    known = {} if options.calibration is None else options.calibration.for_pipeline()
    pipeline = replace(options.pipeline, calibration={**known, **options.pipeline.calibration})
    settings = EngineSettings(
        pipeline=pipeline, names=options.names, publish=options.publish, channels=options.channels
    )
    with _recorder(options) as recorder, _monitor(options, recorder) as monitor:
        engine = Engine(
            settings,
            recorder=recorder,
            on_event=on_event,
            on_incident=on_incident,
            onlooker=None if monitor is None else monitor.feed,
        )
        with engine:
            pages = "" if monitor is None else _serve(monitor, engine)
            if beside is not None:
                threading.Thread(target=beside, name="zygoma-beside", daemon=True).start()
            _watch(engine, options.seconds, stop, show=not headless, heading=pages)
        _print_closing(engine, as_json=options.json)
        if options.save_neutral is not None:
            from zygoma.neutral_file import save_neutral

            save_neutral(options.save_neutral, engine.neutral)


@contextmanager
def _monitor(options: LiveOptions, recorder: Recorder | None) -> Iterator[Monitor | None]:
    if options.headless:
        yield None
        return
    paths = None if recorder is None else recorder.paths
    with Monitor(options.monitor, paths=lambda: paths, recordings=options.recordings) as monitor:
        yield monitor


def _serve(monitor: Monitor, engine: Engine) -> str:
    """Serve the page and say where, once: with --lan the address carries the token."""
    server = monitor.serve(engine.snapshot, engine.mark)
    # On stderr, so that stdout stays a program's.
    sentence = f"Monitor: {server.url}   second display: {server.view_url}"
    errors.print(sentence, highlight=False, soft_wrap=True)
    return sentence


def tell(time_s: float, sentence: str, style: str | None = None) -> None:
    """One line with its time; not wrapped, so that a pipe gets it whole."""
    console.print(f"{time_s:8.2f} s  {sentence}", style=style, highlight=False, markup=False, soft_wrap=True)


def print_json_text(text: str) -> None:
    """One JSON object that is text already, flushed."""
    print(text, flush=True)


def _watch(engine: Engine, seconds: float, stop: threading.Event, *, show: bool, heading: str) -> None:
    end_s = engine.started_s + seconds if seconds else float("inf")
    waiting_told = False
    screen = Live(console=console, screen=True, auto_refresh=False) if show else nullcontext()
    with screen as live:
        while engine.running and not stop.is_set() and lsl_clock() < end_s:
            snapshot = engine.snapshot()
            if live is not None:
                live.update(Group(heading, view(snapshot, height=console.height - 1)), refresh=True)
            elif (
                not snapshot.streams
                and not waiting_told
                and snapshot.now_s - snapshot.started_s > STREAM_WAIT_S
            ):
                warn("No streams yet: start a device, or 'zygoma publish camera --simulate'.")
                waiting_told = True
            stop.wait(1.0 / REDRAW_HZ)


def _print_closing(engine: Engine, *, as_json: bool) -> None:
    """What a run leaves on the terminal when its full-screen view is gone; with --json on stderr."""
    snapshot = engine.snapshot()
    out = errors if as_json else console
    if console.is_terminal and not as_json:
        console.print(view(snapshot, height=CLOSING_ROWS), height=CLOSING_ROWS)
    counts = {kind: sum(event.trial_type == kind for event in snapshot.events) for kind in EXPRESSION_TYPES}
    latency = snapshot.latency
    timing = (
        ""
        if latency is None
        else f"; capture to valence p50 {latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms"
    )
    lost = sum(stream.health.lost for stream in snapshot.streams)
    out.print(
        f"{counts['micro_expression']} micro-expression and {counts['macro_expression']} macro-expression "
        f"candidates{timing}; {snapshot.skipped} frames skipped, {lost} samples lost.",
        highlight=False,
        soft_wrap=True,
    )


def run_record(
    labels: tuple[str, str, str],
    *,
    recordings: Path,
    seconds: float,
    require: list[str],
    channels: Mapping[str, str],
    as_json: bool,
    lan: bool,
) -> None:
    """Record every stream on the network, derived ones included, without processing any."""
    from zygoma.record import REQUIRED_WAIT_S, StreamRecorder

    network.configure(lan=lan)
    if require and not as_json:
        say(f"Waiting for {', '.join(require)}, {REQUIRED_WAIT_S:.0f} s at most ...")
    with (
        stop_signals() as stop,
        StreamRecorder(labels, recordings, require, stop=stop, channels=channels) as recording,
    ):
        if not as_json:
            say(f"Recording to {recording.paths.xdf}; Ctrl-C ends it.")
        end_s = lsl_clock() + seconds if seconds else float("inf")
        with Live(console=console, auto_refresh=False, transient=True) as screen:
            while recording.running and not stop.is_set() and lsl_clock() < end_s:
                if not as_json:
                    screen.update(recording.view(), refresh=True)
                stop.wait(0.5)
    if as_json:
        print_json(recording.summary())
    else:
        say(recording.closing_sentence())


def run_replay(session: Path, options: LiveOptions, *, rate: float, loop: bool) -> None:
    """Publish the recorded sensor streams of a session with their original relations in time.

    Unless headless, a live engine of this process's own shows them on the monitor page; it publishes nothing,
    so that another one may listen as well.
    """
    from acquisition.player import Player
    from acquisition.recording import Recording
    from zygoma.publish import publish

    network.configure(lan=options.lan)
    # The streams are announced at once and play a little later, so that whoever listens misses nothing.
    recording = Recording(session)
    player = Player(recording, rate=rate, loop=loop, clock=lsl_clock, sleep=time.sleep, lead_s=REPLAY_LEAD_S)
    sources = list(player.sources)
    if not sources:
        raise DeviceNotFound(f"{session} holds no stream that can be replayed.")
    failures: list[ZygomaError] = []
    with stop_signals() as stop:

        def play(source: Source) -> None:
            try:
                publish(source, until=stop.is_set, on_notice=say)
            except ZygomaError as error:
                # The other streams are played to their end.
                failures.append(error)

        def play_all() -> None:
            threads = [threading.Thread(target=play, args=(source,), daemon=True) for source in sources]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            # The engine finishes with what is still on its way.
            stop.wait(REPLAY_TAIL_S)
            stop.set()

        if options.headless:
            play_all()
        else:
            names = {
                source.spec.kind: source.spec.name for source in sources if source.spec.kind in SENSOR_KINDS
            }
            # The page is there first: preparing the processors takes a moment.
            _run_engine(replace(options, names=names, publish=False), stop, beside=play_all)
    for sentence in recording.shortfalls:
        warn(sentence)
    if failures:
        raise failures[0]


def run_analyze(
    session: Path | None,
    files: Mapping[str, Path | None],
    *,
    out: Path | None,
    settings: PipelineSettings,
    channels: Mapping[str, str],
    thermal_scale: float | None,
    thermal_rate_hz: float | None,
    as_json: bool,
    save_neutral: Path | None = None,
    emg_envelope: bool = False,
) -> None:
    """Analyse a session, or separate files that share one time base, with a progress bar."""
    from zygoma.analyze import (
        analyze,
        default_folder,
        session_inputs,
        source_inputs,
        with_channels,
        with_recording,
    )
    from zygoma.envelope_input import with_envelope
    from zygoma.sources import file_source

    given = {Kind[name.upper()]: path for name, path in files.items() if path is not None}
    for path in [session, *given.values()]:
        if path is not None and not path.exists():
            raise DeviceNotFound(f"{path} does not exist: check the path.")
    with ExitStack() as stack:
        if session is not None:
            inputs = with_channels(session_inputs(session), channels, session)
            folder = out or default_folder(session)
        else:
            recordings = {kind: path for kind, path in given.items() if path.suffix.lower() == ".xdf"}
            sources = {
                kind: file_source(
                    kind,
                    path,
                    paced=False,
                    channels=channels,
                    rate_hz=thermal_rate_hz if kind is Kind.THERMAL else None,
                    scale=thermal_scale,
                )
                for kind, path in given.items()
                if kind not in recordings
            }
            first = next(iter(given.values()))
            inputs = source_inputs(sources, stack, first.stem)
            for kind, path in recordings.items():
                inputs = with_recording(inputs, kind, path)
                if kind is Kind.EMG:
                    inputs = with_channels(inputs, channels, path)
            folder = out or first.parent / "derivatives" / first.stem
        inputs = with_envelope(inputs, forced=emg_envelope)
        total = inputs.duration_s if inputs.duration_s == inputs.duration_s else None
        hidden = as_json or not errors.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
        with Progress(*columns, TimeRemainingColumn(), console=errors, disable=hidden) as progress:
            task = progress.add_task(f"Analysing {inputs.label}", total=total)
            summary = analyze(
                inputs, folder, settings, on_time=lambda time_s: progress.update(task, completed=time_s)
            )
            progress.update(task, total=1, completed=1)
    if save_neutral is not None:
        from zygoma.neutral_file import save_neutral as save

        save(save_neutral, summary.neutral)
    for sentence in summary.shortfalls:
        warn(sentence)
    if as_json:
        print_json(summary.to_dict())
        return
    say(f"{summary.seconds:.1f} s analysed; results in {summary.folder}")
    if summary.frames:
        say(
            f"Face found in {100 * summary.face_share:.1f} % of {summary.frames} frames; "
            f"still enough for micro-expressions in {100 * summary.usable_share:.1f} %"
        )
    for event in sorted(summary.events, key=lambda event: event.onset):
        if event.trial_type in EXPRESSION_TYPES:
            tell(event.onset - inputs.start_s, event.explanation)
    for label, words in summary.quality_words.items():
        say(f"{label}: {words}")
