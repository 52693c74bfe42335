"""Commands on what was recorded: replay, analyze, repair. Part of `zygoma.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zygoma.options import (
    ChannelMap,
    FaceModel,
    Json,
    Lan,
    MeThreshold,
    Mirrored,
    NeutralFile,
    Port,
    Rest,
    SaveNeutral,
    ThermalMappingFile,
    TlsCert,
    TlsKey,
    parse_channels,
    parse_rest,
    print_json,
    read_thermal_mapping,
    say,
)

app = typer.Typer()


@app.command()
def replay(
    session: Annotated[Path, typer.Argument(help="Session folder, .xdf or _session.json.", exists=True)],
    rate: Annotated[float, typer.Option(help="2 is twice as fast.", min=0.01)] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end.")] = False,
    headless: Annotated[
        bool, typer.Option("--headless", help="Only put the streams on LSL: no engine, no monitor page.")
    ] = False,
    lan: Lan = False,
    port: Port = 8765,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """A recorded session comes back as simulated devices on LSL, and on the monitor page.

    Example: zygoma replay recordings/sub-sim01/ses-01 --rate 1
    """
    from zygoma.run import LiveOptions, monitor_options, run_replay

    options = LiveOptions(
        headless=headless,
        lan=lan,
        monitor=monitor_options(port, lan=lan, certificate=tls_cert, key=tls_key),
    )
    run_replay(session, options, rate=rate, loop=loop)


@app.command()
def analyze(
    session: Annotated[Path | None, typer.Argument(help="Session folder, .xdf or _session.json.")] = None,
    camera: Annotated[Path | None, typer.Option(help="Video of one face.")] = None,
    emg: Annotated[Path | None, typer.Option(help="EMG: XDF, CSV, TSV, EDF, BDF, BrainVision.")] = None,
    thermal: Annotated[Path | None, typer.Option(help="Thermal: MKV gray16, TIFF stack, CPTV, NPZ.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the derivatives go; earlier ones there are replaced.")
    ] = None,
    rest: Rest = None,
    channel: ChannelMap = None,
    thermal_scale: Annotated[
        float | None,
        typer.Option(help="Kelvin per count of the thermal file, e.g. 0.01 for centikelvin.", min=1e-6),
    ] = None,
    thermal_rate: Annotated[
        float | None,
        typer.Option(help="Pictures per second of a thermal file that carries no times.", min=0.1),
    ] = None,
    emg_envelope: Annotated[
        bool,
        typer.Option(
            "--emg-envelope",
            help="The EMG is rectified and averaged already (seen by itself below 200 Hz).",
        ),
    ] = False,
    me_threshold: MeThreshold = None,
    face_model: FaceModel = None,
    mirrored: Mirrored = False,
    thermal_mapping: ThermalMappingFile = None,
    neutral: NeutralFile = None,
    save_neutral: SaveNeutral = None,
    json: Json = False,
) -> None:
    """Offline, as fast as the machine allows, with the processors of the live run.

    Example: zygoma analyze --camera face.mp4 --emg face.csv --rest 0:5
    """
    if session is None and camera is None and emg is None and thermal is None:
        raise typer.BadParameter("give a SESSION, or at least one of --camera, --emg and --thermal")
    if session is not None and (camera or emg or thermal):
        raise typer.BadParameter("give either a SESSION or separate files, not both")
    if channel and session is None and emg is None:
        raise typer.BadParameter("--channel names the channels of --emg or of a SESSION")
    if thermal is None and (thermal_scale or thermal_rate):
        raise typer.BadParameter("--thermal-scale and --thermal-rate are for a --thermal file")
    rest_s, names = parse_rest(rest), parse_channels(channel)

    from zygoma.neutral_file import calibration_from
    from zygoma.pipeline import PipelineSettings
    from zygoma.run import run_analyze

    run_analyze(
        session,
        {"camera": camera, "emg": emg, "thermal": thermal},
        out=out,
        settings=PipelineSettings(
            rest_s,
            me_threshold,
            face_model,
            calibration_from(neutral),
            mirrored,
            read_thermal_mapping(thermal_mapping),
        ),
        save_neutral=save_neutral,
        channels=names,
        thermal_scale=thermal_scale,
        thermal_rate_hz=thermal_rate,
        emg_envelope=emg_envelope,
        as_json=json,
    )


@app.command()
def repair(
    file: Annotated[Path, typer.Argument(help="A damaged .xdf, or its session folder.", exists=True)],
    json: Json = False,
) -> None:
    """Make what is left of an interrupted recording whole again; the damaged file is kept.

    Example: zygoma repair recordings/sub-01/ses-01/sub-01_ses-01_task-live_run-001.xdf
    """
    from dataclasses import asdict

    from acquisition.repair import repair as repair_recording

    report = repair_recording(file)
    if json:
        print_json({key: str(value) for key, value in asdict(report).items()})
    else:
        say(report.sentence)
