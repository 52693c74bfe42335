"""The `zygoma` command: thin functions that parse, call one module, and turn errors into one sentence."""

from __future__ import annotations

import contextlib
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

# MediaPipe's C++ logging would write over the terminal view; it reads these when it is loaded.
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer

from zygoma import cli_knowledge, cli_recorded, cli_tools
from zygoma.options import (
    BoardOption,
    ChannelMap,
    FaceModel,
    Json,
    Lan,
    MeThreshold,
    Mirrored,
    NeutralFile,
    PageLan,
    Port,
    SaveNeutral,
    ThermalMappingFile,
    TlsCert,
    TlsKey,
    errors,
    parse_channels,
    parse_label,
    parse_options,
    parse_pseudonym,
    parse_size,
    read_thermal_mapping,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

Seconds = Annotated[float, typer.Option(help="Stop after this many seconds; 0 runs until Ctrl-C.", min=0)]
Record = Annotated[bool, typer.Option("--record", help="Record the run as a session under --recordings.")]
Recordings = Annotated[Path, typer.Option(help="Folder in which sessions are kept.")]
Headless = Annotated[
    bool, typer.Option("--headless", help="No monitor page and no full-screen view; one line per event.")
]
Subject = Annotated[
    str,
    typer.Option(help="Participant pseudonym, letters and digits, no name.", callback=parse_pseudonym),
]
SessionName = Annotated[
    str, typer.Option("--session", help="Session label, letters and digits.", callback=parse_label)
]
Task = Annotated[str, typer.Option(help="Task label, letters and digits.", callback=parse_label)]


def _print_version(asked: bool) -> None:
    if asked:
        from acquisition.session import software_versions

        print(f"zygoma {software_versions().get('zygoma', '(not installed)')}")
        raise typer.Exit


@app.callback()
def every_command(
    version: Annotated[
        bool,
        typer.Option("--version", help="Say which zygoma this is.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Real-time sensing of facial expressions and micro-expressions: camera, facial EMG, thermal."""


class DeviceKind(StrEnum):
    """What `publish` can publish."""

    CAMERA = "camera"
    EMG = "emg"
    THERMAL = "thermal"
    TRUTH = "truth"


class ScenarioName(StrEnum):
    """What the simulated person does."""

    DEMO = "demo"
    NEUTRAL = "neutral"
    MICRO = "micro"


@app.command()
def demo(
    seconds: Seconds = 60.0,
    record: Record = False,
    headless: Headless = False,
    json: Json = False,
    seed: Annotated[int, typer.Option(help="Another seed is another session of the same person.")] = 0,
    rate: Annotated[float, typer.Option(help="Frames per second of the simulated camera.", min=1)] = 30.0,
    neutral: NeutralFile = None,
    save_neutral: SaveNeutral = None,
    recordings: Recordings = Path("recordings"),
    port: Port = 8765,
    lan: PageLan = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Three simulated devices -> LSL -> live engine -> monitor page.

    Example: zygoma demo --seconds 60 --record
    """
    from zygoma.neutral_file import calibration_from
    from zygoma.pipeline import PipelineSettings
    from zygoma.run import LiveOptions, monitor_options, run_demo

    options = LiveOptions(
        seconds=seconds,
        record=("sim01", "01", "demo") if record else None,
        recordings=recordings,
        headless=headless,
        json=json,
        monitor=monitor_options(port, lan=lan, certificate=tls_cert, key=tls_key),
        pipeline=PipelineSettings(calibration=calibration_from(neutral)),
        save_neutral=save_neutral,
    )
    run_demo(options, seed=seed, camera_rate_hz=rate)


@app.command()
def live(
    seconds: Seconds = 0.0,
    record: Record = False,
    headless: Headless = False,
    json: Json = False,
    camera: Annotated[
        str | None, typer.Option(help="Name of the Camera stream, if there are several.")
    ] = None,
    emg: Annotated[str | None, typer.Option(help="Name of the EMG stream.")] = None,
    thermal: Annotated[str | None, typer.Option(help="Name of the Thermal stream.")] = None,
    channel: ChannelMap = None,
    me_threshold: MeThreshold = None,
    face_model: FaceModel = None,
    mirrored: Mirrored = False,
    thermal_mapping: ThermalMappingFile = None,
    neutral: NeutralFile = None,
    save_neutral: SaveNeutral = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Earlier guided session of this person, whose calibration holds.", exists=True),
    ] = None,
    subject: Subject = "01",
    session: SessionName = "01",
    task: Task = "live",
    recordings: Recordings = Path("recordings"),
    lan: Annotated[
        bool,
        typer.Option(
            "--lan",
            help="Use streams of other machines (LSL is neither encrypted nor private), and let them open "
            "the monitor page with a token.",
        ),
    ] = False,
    port: Port = 8765,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """LSL in -> flags out: process the streams there are, show them, and put the results on LSL.

    Example: zygoma live --record --subject 07
    """
    from acquisition.stream import Kind
    from zygoma.calibration import load_calibration
    from zygoma.neutral_file import calibration_from
    from zygoma.pipeline import PipelineSettings
    from zygoma.run import LiveOptions, monitor_options, run_live

    names = {Kind.CAMERA: camera, Kind.EMG: emg, Kind.THERMAL: thermal}
    run_live(
        LiveOptions(
            seconds=seconds,
            record=(subject, session, task) if record else None,
            recordings=recordings,
            headless=headless,
            json=json,
            lan=lan,
            monitor=monitor_options(port, lan=lan, certificate=tls_cert, key=tls_key),
            names={kind: name for kind, name in names.items() if name is not None},
            channels=parse_channels(channel),
            pipeline=PipelineSettings(
                me_threshold=me_threshold,
                face_model=face_model,
                calibration=calibration_from(neutral),
                mirrored=mirrored,
                thermal_mapping=read_thermal_mapping(thermal_mapping),
            ),
            save_neutral=save_neutral,
            calibration=None if calibration is None else load_calibration(calibration),
        )
    )


@app.command()
def devices(json: Json = False, lan: Lan = False) -> None:
    """What is plugged in and what streams are on the network.

    Example: zygoma devices
    """
    from zygoma.device_list import print_devices

    print_devices(as_json=json, lan=lan)


@app.command()
def publish(
    kind: Annotated[
        DeviceKind, typer.Argument(help="Which kind of device; truth is the simulation's script.")
    ],
    device: Annotated[
        str | None,
        typer.Option(help="Camera number or path; BrainFlow board name or number; thermal camera."),
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="The simulated person's device.")] = False,
    file: Annotated[Path | None, typer.Option(help="A recording plays the device.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the stream.")] = None,
    rate: Annotated[float | None, typer.Option(help="Frames or samples per second.", min=0.1)] = None,
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT of a webcam or the simulated camera.")
    ] = None,
    channel: ChannelMap = None,
    board_option: BoardOption = None,
    scenario: Annotated[
        ScenarioName, typer.Option(help="What the simulated person does.")
    ] = ScenarioName.DEMO,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 0,
    start: Annotated[float | None, typer.Option(help="LSL time at which the simulation starts.")] = None,
    duration: Annotated[float, typer.Option(help="Length of the simulation, s; 0 is endless.", min=0)] = 0.0,
    loop: Annotated[bool, typer.Option("--loop", help="Play the file again and again.")] = False,
    tlinear: Annotated[
        bool,
        typer.Option("--tlinear", help="The thermal camera is known to give temperatures (Boson TLinear)."),
    ] = False,
    mirrored: Mirrored = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
    lan: Lan = False,
) -> None:
    """Put one device onto LSL: a real one, a file that plays one, or a simulated one.

    Example: zygoma publish camera --file face.mp4
    """
    from zygoma.sources import SourceRequest, build_source, publish_until_stopped

    given = [option for option in (device, simulate or None, file) if option is not None]
    if len(given) > 1:
        raise typer.BadParameter("give one of --device, --simulate and --file")
    if mirrored and kind is not DeviceKind.CAMERA:
        raise typer.BadParameter("--mirrored is for a camera")
    request = SourceRequest(
        kind=kind.value,
        device=device,
        simulate=simulate or kind is DeviceKind.TRUTH,
        file=file,
        rate_hz=rate,
        channels=parse_channels(channel),
        board_options=parse_options(board_option),
        scenario=scenario.value,
        seed=seed,
        start_s=start,
        duration_s=duration,
        loop=loop,
        tlinear=tlinear,
        size_px=parse_size(size),
    )
    publish_until_stopped(build_source(request), name=name, quiet=quiet, lan=lan, mirrored=mirrored)


@app.command()
def record(
    seconds: Seconds = 0.0,
    subject: Subject = "01",
    session: SessionName = "01",
    task: Task = "record",
    require: Annotated[
        list[str] | None, typer.Option(help="Stream kind or name that must be there before recording starts.")
    ] = None,
    channel: ChannelMap = None,
    recordings: Recordings = Path("recordings"),
    json: Json = False,
    lan: Lan = False,
) -> None:
    """LSL -> session folder: record every stream on this machine.

    Nothing is processed, so nothing of the person is needed: a --neutral is given to analyze afterwards.

    Example: zygoma record --subject 07 --task elicitation --require Camera --require EMG
    """
    from zygoma.run import run_record

    run_record(
        (subject, session, task),
        recordings=recordings,
        seconds=seconds,
        require=require or [],
        channels=parse_channels(channel),
        as_json=json,
        lan=lan,
    )


@app.command("session")
def session_command(
    protocol: Annotated[
        Path, typer.Argument(help="Protocol of the session, a TOML file.", exists=True, dir_okay=False)
    ],
    headless: Annotated[
        bool, typer.Option("--headless", help="Prompts in the terminal instead of pages; Enter is next.")
    ] = False,
    auto: Annotated[
        bool, typer.Option("--auto", help="Nobody is asked: every step and form is done by the program.")
    ] = False,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="A simulated participant in front of simulated devices.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 0,
    channel: ChannelMap = None,
    recordings: Recordings = Path("recordings"),
    json: Json = False,
    lan: Lan = False,
    port: Port = 8765,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """The guided run: checklist, rest, maximum, neutral, stimuli, self-reports, summary.

    Exit code 2 when it was aborted.

    Example: zygoma session examples/protocol-short.toml --simulate
    """
    from zygoma.guided.run import SessionOptions, run_session
    from zygoma.run import monitor_options

    summary = run_session(
        protocol,
        SessionOptions(
            recordings=recordings,
            headless=headless,
            auto=auto,
            simulate=simulate,
            seed=seed,
            json=json,
            lan=lan,
            channels=parse_channels(channel),
            monitor=monitor_options(port, lan=lan, certificate=tls_cert, key=tls_key),
        ),
    )
    if summary["outcome"] != "completed":
        raise typer.Exit(2)


for part in (cli_recorded.app, cli_tools.app, cli_knowledge.app):
    app.registered_commands += part.registered_commands
    app.registered_groups += part.registered_groups


def main() -> None:
    """Entry point: one sentence and exit code 1 for what a person can mend."""
    from zygoma.doctor import missing_system_libraries, system_library_sentence

    missing = missing_system_libraries()
    if missing and "doctor" not in sys.argv[1:2] and not {"--help", "-h"} & set(sys.argv[1:]):
        errors.print(system_library_sentence(missing), style="red", highlight=False)
        raise SystemExit(1)

    from acquisition.stream import ZygomaError
    from zygoma.signals import unwind_when_ended

    unwind_when_ended()
    try:
        app()
    except ZygomaError as error:
        _complain(str(error))
        raise SystemExit(1) from None
    except BrokenPipeError:
        # The reader of our output went away (`| head`): no error of ours.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}. Check the path, its permissions and the disk.")
        raise SystemExit(1) from None


def _complain(sentence: str) -> None:
    errors.print(sentence, style="red", highlight=False, markup=False, soft_wrap=True)
