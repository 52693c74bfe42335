"""Commands around a run: wiring, calibrate, doctor, bench. Part of `zygoma.cli`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zygoma.options import BoardOption, Json, Lan, console, parse_options, print_json, say

app = typer.Typer()


@app.command()
def wiring(
    emg: Annotated[str | None, typer.Option(help="Name of the EMG stream, if there are several.")] = None,
    device: Annotated[
        str | None, typer.Option(help="BrainFlow board instead of a stream: all its channels are tried.")
    ] = None,
    board_option: BoardOption = None,
    json: Json = False,
    lan: Lan = False,
) -> None:
    """Make faces, and learn which EMG channel is on which muscle and side.

    Exit code 1 when a lead is swapped or dead.

    Example: zygoma wiring --device cyton --board-option serial_port=/dev/ttyUSB0
    """
    from zygoma.wiring import board_source, run_wiring, stream_source

    if device is not None and emg is not None:
        raise typer.BadParameter("give one of --emg and --device")
    if device is not None:
        source = board_source(device, parse_options(board_option))
    else:
        source = stream_source(emg, lan=lan)
    raise typer.Exit(0 if run_wiring(source, as_json=json) else 1)


calibrate = typer.Typer(no_args_is_help=True, help="Measure once what later runs need to know.")
app.add_typer(calibrate, name="calibrate")


@calibrate.command("thermal")
def calibrate_thermal_command(
    session: Annotated[
        Path | None, typer.Argument(help="A recorded session instead of the streams on the network.")
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(help="Use a heated board: inner corners, or circles, as 7x5. Without it the face."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to watch.", min=2.0)] = 15.0,
    out: Annotated[Path, typer.Option(help="Where the mapping is written.")] = Path("thermal_mapping.json"),
    lan: Lan = False,
    json: Json = False,
) -> None:
    """Map the camera's pixels to the thermal camera's: for faces that the thermal picture does not show.

    Example: zygoma calibrate thermal --seconds 20; zygoma live --thermal-mapping thermal_mapping.json
    """
    from zygoma.calibrate_thermal import calibrate_thermal, parse_board

    mapping = calibrate_thermal(
        session, board=parse_board(board), seconds=seconds, out=out, lan=lan, quiet=json
    )
    if json:
        print_json({"file": str(out), **mapping.to_json()})
    else:
        say(
            f"{out}: {mapping.method}, {mapping.samples} moments, misses by {mapping.residual_px:.2f} "
            f"thermal pixels. Use it with --thermal-mapping {out}."
        )


@app.command()
def doctor(json: Json = False) -> None:
    """Check the installation and say how to mend it.

    Example: zygoma doctor
    """
    from dataclasses import asdict

    from rich.markup import escape

    from zygoma.doctor import examine

    failed = False
    marks = {True: "[green]ok  [/green]", False: "[red]FAIL[/red]", None: "[yellow]note[/yellow]"}
    for check in examine():
        failed |= check.ok is False
        if json:
            print_json(asdict(check))
            continue
        console.print(
            f"{marks[check.ok]} {check.name:<20} {escape(check.finding)}", highlight=False, soft_wrap=True
        )
        if check.ok is not True and check.remedy:
            console.print(f"     [bold]{escape(check.remedy)}[/bold]", highlight=False, soft_wrap=True)
    raise typer.Exit(1 if failed else 0)


class BenchName(StrEnum):
    """The benchmarks there are."""

    LATENCY = "latency"
    ACTION_UNITS = "action-units"
    ANALYZE = "analyze"
    FUSION = "fusion"
    SPOTTING = "spotting"
    THERMAL = "thermal"
    EMG = "emg"
    MONITOR = "monitor"


@app.command()
def bench(
    name: Annotated[BenchName, typer.Argument(help="Which figure.")],
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter runs.")] = False,
    fps: Annotated[float, typer.Option(help="Camera rate for latency.", min=1)] = 30.0,
    seconds: Annotated[float, typer.Option(help="Length of a latency run, s.", min=1)] = 30.0,
    video: Annotated[Path | None, typer.Option(help="Film of ramps for action-units.", exists=True)] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Its table: frame,au,drive (AU12L = her left).", exists=True)
    ] = None,
    faces: Annotated[
        Path | None, typer.Option(help="Folder of more portraits for spotting.", exists=True, file_okay=False)
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Reliability diagram of fusion's confidences.")] = None,
    json: Json = False,
) -> None:
    """Measure; with --json the table goes to stderr and one line of JSON to stdout.

    Example: zygoma bench latency --fps 60
    """
    import importlib

    module = importlib.import_module(f"zygoma.bench.{name.value.replace('-', '_')}")
    if name is BenchName.LATENCY:
        result = module.run(fps=fps, seconds=min(seconds, 10.0) if quick else seconds)
    elif name is BenchName.ACTION_UNITS:
        result = module.run(quick=quick, video=video, truth=truth)
    elif name is BenchName.SPOTTING:
        result = module.run(quick=quick, folder=faces)
    elif name is BenchName.FUSION:
        result = module.run(quick=quick, svg=svg)
    else:
        result = module.run(quick=quick)
    if json:
        print_json(result)
