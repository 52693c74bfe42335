"""Commands that ask the science: atlas, au-table, reliability. Part of `zygoma.cli`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zygoma.options import Json

app = typer.Typer()


class FaceSide(StrEnum):
    """Sides of the face, the subject's own."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


@app.command()
def atlas(
    name: Annotated[
        str | None, typer.Argument(help="AU12, a muscle, a nerve branch, an emotion or a part of the brain.")
    ] = None,
    json: Json = False,
    face: Annotated[
        bool, typer.Option("--face", help="Draw the muscles on the face: all, or those that belong to NAME.")
    ] = False,
    side: Annotated[FaceSide, typer.Option(help="The subject's own side that --face draws.")] = FaceSide.BOTH,
    svg: Annotated[
        Path | None, typer.Option(help="Draw NAME (or everything) from brain to emotion, as figure 1 does.")
    ] = None,
) -> None:
    """Ask the brain-to-face map, in either direction, or draw it.

    Example: zygoma atlas AU12; zygoma atlas --svg brain-to-face.svg; zygoma atlas --face --svg muscles.svg
    """
    from zygoma.atlas_view import draw_atlas, draw_face, print_atlas

    if face:
        draw_face(name, svg or Path("face-map.svg"), side=side.value)
    elif svg is not None:
        draw_atlas(name, svg)
    elif name is None:
        raise typer.BadParameter(
            "give an action unit, a muscle, a nerve branch or an emotion, --face or --svg"
        )
    else:
        print_atlas(name, as_json=json)


@app.command("au-table")
def au_table(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="CSV or TSV: action_units (1+2+12) and a score per basic emotion.",
            exists=True,
            dir_okay=False,
        ),
    ],
    method: Annotated[
        int | None, typer.Option(help="1 or 2: only that algorithm; both without.", min=1, max=2)
    ] = None,
    top: Annotated[int, typer.Option(help="AUs listed per emotion.", min=1)] = 10,
    per_occurrence: Annotated[
        bool, typer.Option("--per-occurrence", help="Algorithm 2 per sample with the AU, like table 2.")
    ] = False,
    json: Json = False,
) -> None:
    """The paper's algorithms 1 and 2 on any annotated data set: which AUs make which emotion.

    Example: zygoma au-table dataset.csv --top 5
    """
    from zygoma.au_table_command import print_au_table

    print_au_table(dataset, method=method, top=top, per_occurrence=per_occurrence, as_json=json)


@app.command()
def reliability(
    coders: Annotated[list[Path], typer.Argument(help="One events.tsv per coder, two or more.", exists=True)],
    overlap: Annotated[
        float, typer.Option(help="Intersection over union from which two events are one.", min=0.01, max=1)
    ] = 0.5,
    json: Json = False,
) -> None:
    """Do the coders agree? Equation 2's R for N coders, and kappa.

    Example: zygoma reliability coder_a.tsv coder_b.tsv
    """
    from zygoma.reliability_command import print_reliability

    print_reliability(coders, least_overlap=overlap, as_json=json)
