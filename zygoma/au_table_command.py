"""`zygoma au-table`: the paper's algorithms 1 and 2 on any data set of AUs with emotion scores."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from acquisition.stream import InvalidSignal
from fusion.au_table import Contributions, algorithm_1, algorithm_2, parse_annotations
from fusion.tables import EMOTIONS
from zygoma.options import console, print_json

_TITLES = {
    1: "Algorithm 1: proportion of each AU in each emotion, every combination once (as the paper's table 1)",
    2: "Algorithm 2: sum of the emotion scores of the samples with the AU",
}


def print_au_table(path: Path, *, method: int | None, top: int, per_occurrence: bool, as_json: bool) -> None:
    """Read the data set and print the AUs that contribute most to each emotion.

    Args:
        path: CSV or TSV with a header: a column ``action_units`` (``1+2+12``) and one per emotion.
        method: 1 or 2; None prints both.
        top: AUs per emotion.
        per_occurrence: Algorithm 2's sums divided by the samples that have the AU, as table 2 prints them.
        as_json: One object per algorithm.

    Raises:
        InvalidSignal: The file cannot be read as such a table; says what to change.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            annotations = parse_annotations(lines)
    except UnicodeDecodeError:
        raise InvalidSignal(f"{path} is not text: save the data set as a UTF-8 CSV file.") from None
    results: list[Contributions] = []
    if method in (None, 1):
        results.append(algorithm_1(annotations))
    if method in (None, 2):
        results.append(algorithm_2(annotations, per_occurrence))
    for result in results:
        mean = per_occurrence and result.method == 2
        if as_json:
            print_json(
                {
                    "algorithm": result.method,
                    "samples": len(annotations),
                    "counted": result.samples,
                    "per_occurrence": mean,
                    "contributions": {
                        emotion: [[unit, score] for unit, score in ranked]
                        for emotion, ranked in result.table(top).items()
                    },
                }
            )
        else:
            title = _TITLES[result.method] + (", per sample that has it (as table 2)" if mean else "")
            console.print(_drawn(result, top, f"{title}; {result.samples} of {len(annotations)} samples"))


def _drawn(result: Contributions, top: int, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    ranked = result.table(top)
    for emotion in EMOTIONS:
        table.add_column(emotion, justify="right")
    for rank in range(max(map(len, ranked.values()), default=0)):
        cells = [ranked[emotion][rank : rank + 1] for emotion in EMOTIONS]
        table.add_row(str(rank + 1), *(f"AU{cell[0][0]} {cell[0][1]:.4f}" if cell else "" for cell in cells))
    return table
