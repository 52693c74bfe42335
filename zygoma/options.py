"""Parsing of option values that several commands share, and the console they speak through."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from acquisition.session import LABEL, check_pseudonym
from acquisition.stream import DeviceNotFound

if TYPE_CHECKING:
    from processing.thermal_mapping import ThermalMapping

console = Console()
errors = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print for a program: JSON, one object per line.")]
Rest = Annotated[
    str | None,
    typer.Option(
        help="START:END in seconds that is rest: neutral face, relaxed muscles, temperature baseline."
    ),
]
MeThreshold = Annotated[
    float | None,
    typer.Option(help="Operating point of micro-expression candidates, log-odds; higher finds fewer."),
]
FaceModel = Annotated[
    Path | None, typer.Option(help="Another face_landmarker.task than the packaged one.", exists=True)
]
NeutralFile = Annotated[
    Path | None,
    typer.Option(
        "--neutral",
        help="The person's neutral face, from --save-neutral or a calibrated session.",
        exists=True,
    ),
]
SaveNeutral = Annotated[
    Path | None, typer.Option(help="Write the person's neutral face here at the end (JSON).")
]
ThermalMappingFile = Annotated[
    Path | None,
    typer.Option("--thermal-mapping", help="Carry the face over by this file of 'zygoma calibrate thermal'."),
]
Mirrored = Annotated[
    bool,
    typer.Option(
        "--mirrored",
        help="The camera's pictures are mirrored (a selfie view): swap left and right back. A face alone "
        "cannot show it.",
    ),
]
Lan = Annotated[
    bool,
    typer.Option("--lan", help="Use streams of other machines too. LSL is neither encrypted nor private."),
]
Port = Annotated[
    int, typer.Option(help="Port of the monitor page; the next free one is taken.", min=0, max=65535)
]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", help="PEM certificate: the monitor page speaks HTTPS.")
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", help="PEM key of --tls-cert.")]
PageLan = Annotated[
    bool,
    typer.Option(
        "--lan", help="Let the local network open the monitor page; the address then carries a token."
    ),
]
ChannelMap = Annotated[
    list[str] | None,
    typer.Option(
        "--channel", help="NAME=ZYG_L: which EMG channel (name or number) is on which muscle; repeat it."
    ),
]
BoardOption = Annotated[
    list[str] | None, typer.Option(help="BrainFlow parameter, e.g. serial_port=/dev/ttyUSB0; repeat it.")
]


def read_thermal_mapping(path: Path | None) -> ThermalMapping | None:
    """The mapping in a file of ``zygoma calibrate thermal``; None without a file.

    Raises:
        DeviceNotFound: No such file.
        InvalidSignal: Not such a file.
    """
    if path is None:
        return None
    if not path.is_file():
        raise DeviceNotFound(f"There is no file {path}: make one with 'zygoma calibrate thermal'.")
    from processing.thermal_mapping import ThermalMapping

    return ThermalMapping.from_json(path.read_text(encoding="utf-8"))


def parse_pseudonym(text: str) -> str:
    """A participant's code.

    Raises:
        typer.BadParameter: It could be a name, or does not fit a file name.
    """
    try:
        return check_pseudonym(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


def parse_label(text: str) -> str:
    """A part of a recording's file name.

    Raises:
        typer.BadParameter: Not letters and digits alone.
    """
    if not LABEL.fullmatch(text):
        raise typer.BadParameter(f"{text!r} must be letters and digits only, for example 'smile2'.")
    return text


def parse_rest(text: str | None) -> tuple[float, float] | None:
    """``"2:8"`` as (2.0, 8.0).

    Raises:
        typer.BadParameter: Not two increasing numbers.
    """
    if text is None:
        return None
    try:
        start, end = (float(part) for part in text.split(":"))
    except ValueError:
        raise typer.BadParameter(f"--rest {text!r} must look like 2:8 (seconds)") from None
    if not start < end:
        raise typer.BadParameter(f"--rest {text!r} must end after it starts")
    return start, end


def parse_channels(pairs: list[str] | None) -> dict[str, str]:
    """``["EMG1=ZYG_L"]`` as ``{"EMG1": "ZYG_L"}``.

    Raises:
        typer.BadParameter: A pair without ``=``, or a label given twice.
    """
    mapping: dict[str, str] = {}
    for pair in pairs or []:
        name, separator, label = pair.rpartition("=")
        if not separator or not name or not label:
            raise typer.BadParameter(f"--channel {pair!r} must look like EMG1=ZYG_L")
        if label in mapping.values():
            raise typer.BadParameter(f"--channel gives {label} twice")
        mapping[name] = label
    return mapping


def parse_size(text: str | None) -> tuple[int, int] | None:
    """``"640x480"`` as (640, 480).

    Raises:
        typer.BadParameter: Not two whole numbers of at least 16 pixels.
    """
    if text is None:
        return None
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 16):
        raise typer.BadParameter(f"--size {text!r} must look like 640x480")
    return int(width), int(height)


def parse_options(pairs: list[str] | None) -> dict[str, str]:
    """``["serial_port=/dev/ttyUSB0"]`` as a mapping.

    Raises:
        typer.BadParameter: A pair without ``=``.
    """
    for pair in pairs or []:
        if "=" not in pair:
            raise typer.BadParameter(f"--board-option {pair!r} must look like serial_port=/dev/ttyUSB0")
    return dict(pair.split("=", 1) for pair in pairs or [])


def say(sentence: str) -> None:
    """One line on the terminal: not wrapped, and nothing in it taken for markup."""
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def warn(sentence: str) -> None:
    """The same on stderr, for what a person should look after."""
    errors.print(sentence, highlight=False, markup=False, soft_wrap=True)


def print_json(value: object) -> None:
    """One JSON object on one line, flushed, so that a program may read it as it comes.

    JSON knows no NaN and no infinity: they become null.
    """
    print(json.dumps(_finite(value), allow_nan=False), flush=True)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
