"""report.html of an analysis: what was found, drawn over time, in one file that needs no network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fusion.events import FaceEvent
from zygoma.tables import read_columns

if TYPE_CHECKING:
    from zygoma.analyze import Summary

WIDTH, HEIGHT = 960, 90
POINTS = 960
SHOWN_AUS = ("AU1", "AU2", "AU4", "AU6", "AU9", "AU10", "AU12", "AU15", "AU25")
CATEGORY_COLOURS = {"positive": "#2b8a3e", "negative": "#c92a2a", "surprise": "#e67700", "other": "#1971c2"}
STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #8884}
svg{width:100%;height:auto;background:#8881;border-radius:4px;margin:.1rem 0}
h2{margin-top:2rem;font-size:1.1rem}figure{margin:.4rem 0}figcaption{font-size:.85rem;opacity:.75}
path{fill:none;stroke:#1971c2;stroke-width:1.2}.band{fill:#1971c233;stroke:none}
"""


def write_report(folder: Path, summary: Summary, start_s: float) -> Path:
    """Write ``report.html`` from the tables in `folder`.

    Args:
        folder: Where the tables are and the report goes.
        summary: Of the analysis.
        start_s: Stamp of the events that is time 0.
    """
    events = sorted(summary.events, key=lambda event: event.onset)
    listed = [event for event in events if event.trial_type in ("micro_expression", "macro_expression")]
    parts = [
        f"<h1>{html.escape(summary.label)}</h1>",
        "<p>Estimates and candidates, to be judged by a trained coder.</p>",
        _facts(summary),
        f"<h2>Candidates ({len(listed)})</h2>",
        _event_table(listed, start_s),
        *_plots(folder, listed, start_s, summary.seconds),
    ]
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(summary.label)}</title>"
        f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _facts(summary: Summary) -> str:
    facts = [("Length", f"{summary.seconds:.1f} s")]
    if summary.frames:
        facts.append(("Face found", f"{100 * summary.face_share:.1f} % of {summary.frames} frames"))
    facts += [(f"Signal {label}", words) for label, words in summary.quality_words.items()]
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in facts)
    return f"<table>{rows}</table>"


def _event_table(events: Sequence[FaceEvent], start_s: float) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("onset s", "ms", "type", "category", "conf.", "why"))
    rows = []
    for event in events:
        colour = CATEGORY_COLOURS.get(event.category, "inherit")
        cells = (
            f"{event.onset - start_s:.3f}",
            f"{1000 * event.duration:.0f}",
            event.trial_type.removesuffix("_expression"),
            f'<b style="color:{colour}">{html.escape(event.category)}</b>',
            f"{event.confidence:.2f}",
            html.escape(event.explanation),
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _plots(folder: Path, events: Sequence[FaceEvent], start_s: float, seconds: float) -> list[str]:
    shades = "".join(
        f'<rect x="{_x(event.onset - start_s, seconds):.1f}" y="0" height="{HEIGHT}" '
        f'width="{max(_x(event.duration, seconds), 1.5):.1f}" '
        f'fill="{CATEGORY_COLOURS.get(event.category, "#888")}" opacity=".25"/>'
        for event in events
    )
    parts: list[str] = []
    wanted = (
        ("valence.parquet", "Valence estimate", ("valence",), (-1.0, 1.0)),
        ("action_units.parquet", "Action units, intensity 0-1", SHOWN_AUS, (0.0, 1.0)),
        ("muscle_activity.parquet", "Muscles, fast envelope z", None, (-2.0, 20.0)),
        ("skin_temperature.parquet", "Skin, change from baseline in °C", None, (-0.5, 0.5)),
    )
    suffixes = {"muscle_activity.parquet": "_z", "skin_temperature.parquet": "_delta_celsius"}
    for name, title, columns, limits in wanted:
        path = folder / name
        if not path.exists():
            continue
        there = [column for column in pq.read_schema(path).names if column != "time_s"]
        suffix = suffixes.get(name)
        if suffix is not None:
            shown = [c for c in there if c.endswith(suffix) and not c.endswith("_slow_z")]
        else:
            shown = [c for c in columns or () if c in there]
        data = read_columns(path, ["time_s", *shown])
        parts.append(f"<h2>{title}</h2>")
        for column in shown:
            line = _line(data["time_s"], data[column], limits, seconds)
            parts.append(
                f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{column}">'
                f"{shades}{line}</svg>"
                f"<figcaption>{column} ({limits[0]:g} to {limits[1]:g})</figcaption></figure>"
            )
    return parts


def _x(time_s: float, seconds: float) -> float:
    return WIDTH * time_s / max(seconds, 1e-9)


def _line(
    times: NDArray[np.float64], values: NDArray[np.float64], limits: tuple[float, float], seconds: float
) -> str:
    """An SVG path with the minimum and maximum per pixel column, so that no short event is thinned away."""
    good = np.isfinite(values)
    if not good.any():
        return ""
    columns = np.clip((times / max(seconds, 1e-9) * (POINTS - 1)).astype(np.int64), 0, POINTS - 1)[good]
    kept = values[good]
    low, high = np.full(POINTS, np.inf), np.full(POINTS, -np.inf)
    np.minimum.at(low, columns, kept)
    np.maximum.at(high, columns, kept)
    used = np.flatnonzero(np.isfinite(low))
    scale = (HEIGHT - 4) / (limits[1] - limits[0])

    def y(value: float) -> float:
        return HEIGHT - 2 - (min(max(value, limits[0]), limits[1]) - limits[0]) * scale

    steps = []
    for index, column in enumerate(used):
        move = "M" if index == 0 or column - used[index - 1] > POINTS / max(len(used) / 50, 20) else "L"
        steps.append(f"{move}{column * WIDTH / POINTS:.1f} {y(low[column]):.1f}")
        if high[column] - low[column] > 1e-6:
            steps.append(f"L{column * WIDTH / POINTS:.1f} {y(high[column]):.1f}")
    return f'<path d="{"".join(steps)}"/>'
