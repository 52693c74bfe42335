"""report.html of an analysis: what was found, drawn over time, in one file that needs no network."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from acquisition.session import write_atomically
from fusion.events import FaceEvent
from zygoma.tables import read_columns

if TYPE_CHECKING:
    from zygoma.analyze import Summary

LISTED = ("micro_expression", "macro_expression")
SHOWN_AUS = ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU17", "AU25")
CATEGORIES = ("positive", "negative", "surprise", "other")

# One figure per modality: a lane for each quantity, names at the left, one time axis below.
_LEFT, _WIDTH, _RIGHT = 150, 800, 50
_LANE, _PITCH = 34, 44
_COLUMNS = 800
_TICK_STEPS_S = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--dim:#5b6675;--line:#d9dee5;--lane:#f4f6f8;--accent:#0b6e99;
--positive:#1f7a4d;--negative:#b4232f;--surprise:#a15c00;--other:#4a5fa5}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--dim:#9aa6b5;--line:#323b47;--lane:#1b222b;
--accent:#5cc1ee;--positive:#63c894;--negative:#ff8a8a;--surprise:#f0b35a;--other:#9db1ff}body{background:#12171d}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);max-width:1000px;margin:2.5rem auto;padding:0 1.5rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.05rem;margin:2.5rem 0 .6rem}
.lead,.note{color:var(--dim);margin:.2rem 0 1.4rem}.note{font-size:.85rem;margin:.3rem 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--dim);font-size:.85rem;white-space:nowrap}.facts th{width:14rem}
.number{text-align:right}.kind{white-space:nowrap}
svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}
.lane{fill:var(--lane)}.name{fill:var(--ink)}.scale,.time{fill:var(--dim);font-size:10.5px}
.grid{stroke:var(--line)}.trace{fill:none;stroke:var(--accent);stroke-width:1.3;stroke-linejoin:round}
.spread{fill:var(--accent);opacity:.18}
.positive{color:var(--positive);fill:var(--positive)}.negative{color:var(--negative);fill:var(--negative)}
.surprise{color:var(--surprise);fill:var(--surprise)}.other{color:var(--other);fill:var(--other)}
rect.positive,rect.negative,rect.surprise,rect.other{opacity:.2}
@media print{body{margin:0;max-width:none}}
"""


@dataclass(frozen=True)
class _Lane:
    """One quantity over time: its name, the limits of its scale, and the spread on either side."""

    name: str
    values: NDArray[np.float64]
    limits: tuple[float, float]
    spread: NDArray[np.float64] | None = None


def write_report(folder: Path, summary: Summary, start_s: float) -> Path:
    """Write ``report.html`` from the tables in `folder`.

    Args:
        folder: Where the tables are and the report goes.
        summary: Of the analysis.
        start_s: Stamp of the events that is time 0.
    """
    events = sorted(summary.events, key=lambda event: event.onset)
    listed = [event for event in events if event.trial_type in LISTED]
    title = html.escape(summary.label)
    parts = [
        f"<h1>{title}</h1>",
        '<p class="lead">Estimates and candidates, to be judged by a trained coder.</p>',
        _facts(summary),
        f"<h2>Candidates ({len(listed)})</h2>",
        _event_table(listed, start_s),
        *_figures(folder, listed, start_s, summary.seconds),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )
    path = folder / "report.html"
    write_atomically(path, page.encode())
    return path


def _facts(summary: Summary) -> str:
    facts = [("Length", f"{summary.seconds:.1f} s")]
    if summary.frames:
        facts.append(("Face found", f"{100 * summary.face_share:.1f} % of {summary.frames} frames"))
    facts += [(f"Signal {label}", words) for label, words in summary.quality_words.items()]
    rows = "".join(
        f'<tr><th scope="row">{html.escape(k)}</th><td>{html.escape(v)}</td></tr>' for k, v in facts
    )
    return f'<table class="facts">{rows}</table>'


def _event_table(events: Sequence[FaceEvent], start_s: float) -> str:
    if not events:
        return '<p class="note">None.</p>'
    numeric = {"onset s", "lasts ms", "camera", "EMG", "confidence"}
    heads = ("onset s", "lasts ms", "kind", "category", "why", "camera", "EMG", "confidence")
    head = "".join(
        f'<th scope="col"{" class=number" if name in numeric else ""}>{name}</th>' for name in heads
    )
    rows = []
    for event in events:
        kind = event.trial_type.removesuffix("_expression")
        cells = (
            ("number", f"{event.onset - start_s:.3f}"),
            ("number", f"{1000 * event.duration:.0f}"),
            ("kind", f"{kind}, masked" if event.masked_by else kind),
            (_class_of(event), html.escape(event.category)),
            ("", html.escape(event.explanation)),
            ("number", _evidence(event.evidence_camera)),
            ("number", _evidence(event.evidence_emg)),
            ("number", f"{event.confidence:.2f}"),
        )
        rows.append("<tr>" + "".join(f'<td class="{name}">{cell}</td>' for name, cell in cells) + "</tr>")
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        '<p class="note">camera, EMG: evidence as the log of the likelihood ratio.</p>'
    )


def _class_of(event: FaceEvent) -> str:
    return event.category if event.category in CATEGORIES else "other"


def _evidence(value: float) -> str:
    return "–" if not math.isfinite(value) or value == 0.0 else f"{value:+.1f}"


def _figures(folder: Path, events: Sequence[FaceEvent], start_s: float, seconds: float) -> list[str]:
    makers = (
        ("valence.parquet", "Valence, estimate and 95 % interval", _valence_lanes),
        ("action_units.parquet", "Action units, intensity 0 to 1", _unit_lanes),
        ("muscle_activity.parquet", "Muscles, fast envelope in SD of the resting baseline", _muscle_lanes),
        ("skin_temperature.parquet", "Skin, change from baseline in °C", _skin_lanes),
    )
    figures = []
    for name, title, lanes_of in makers:
        path = folder / name
        if not path.exists():
            continue
        there = pq.read_schema(path).names
        table = read_columns(path, there)
        lanes = lanes_of(table)
        if lanes:
            figures.append(
                f"<h2>{title}</h2>{_figure(title, table['time_s'], lanes, events, start_s, seconds)}"
            )
    return figures


def _valence_lanes(table: Mapping[str, NDArray[np.float64]]) -> list[_Lane]:
    return [_Lane("valence", table["valence"], (-1.0, 1.0), 1.96 * table["standard_error"])]


def _unit_lanes(table: Mapping[str, NDArray[np.float64]]) -> list[_Lane]:
    return [_Lane(name, table[name], (0.0, 1.0)) for name in SHOWN_AUS if name in table]


def _muscle_lanes(table: Mapping[str, NDArray[np.float64]]) -> list[_Lane]:
    names = [name for name in table if name.endswith("_z") and not name.endswith("_slow_z")]
    return [_Lane(name.removesuffix("_z"), table[name], (-2.0, 20.0)) for name in names]


def _skin_lanes(table: Mapping[str, NDArray[np.float64]]) -> list[_Lane]:
    end = "_delta_celsius"
    names = [name for name in table if name.endswith(end)]
    return [_Lane(name.removesuffix(end).replace("_", " "), table[name], (-0.5, 0.5)) for name in names]


def _figure(
    title: str,
    times: NDArray[np.float64],
    lanes: Sequence[_Lane],
    events: Sequence[FaceEvent],
    start_s: float,
    seconds: float,
) -> str:
    """Lanes above one another on one time axis, candidates shaded through all of them."""
    seconds = max(seconds, 1e-9)
    bottom = len(lanes) * _PITCH - (_PITCH - _LANE)
    parts = [f'<svg viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {bottom + 22}" role="img" aria-label="{title}">']
    for index, lane in enumerate(lanes):
        top = index * _PITCH
        parts.append(f'<rect class="lane" x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_LANE}" rx="3"/>')
        parts.append(f'<text class="name" x="0" y="{top + _LANE / 2 + 4:g}">{html.escape(lane.name)}</text>')
        for value, y in ((lane.limits[1], top + 9), (lane.limits[0], top + _LANE - 1)):
            parts.append(f'<text class="scale" x="{_LEFT + _WIDTH + 6}" y="{y:g}">{value:g}</text>')
    for tick_s in _ticks(seconds):
        x = _LEFT + _WIDTH * tick_s / seconds
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom}"/>')
        parts.append(
            f'<text class="time" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{tick_s:g} s</text>'
        )
    for event in events:
        x = _LEFT + _WIDTH * (event.onset - start_s) / seconds
        width = max(_WIDTH * event.duration / seconds, 2.0)
        parts.append(
            f'<rect class="{_class_of(event)}" x="{x:.1f}" y="0" width="{width:.1f}" height="{bottom}">'
            f"<title>{html.escape(event.explanation)}</title></rect>"
        )
    for index, lane in enumerate(lanes):
        parts.append(_drawn(times, lane, index * _PITCH, seconds))
    return "".join(parts) + "</svg>"


def _ticks(seconds: float) -> NDArray[np.float64]:
    step_s = next((step for step in _TICK_STEPS_S if seconds / step <= 12), _TICK_STEPS_S[-1])
    return np.arange(0.0, seconds + 1e-9, step_s)


def _drawn(times: NDArray[np.float64], lane: _Lane, top: float, seconds: float) -> str:
    """The lane's curve: minimum and maximum per pixel column, so that no short event is thinned away."""
    low_limit, high_limit = lane.limits
    columns = np.clip((times / seconds * (_COLUMNS - 1)).astype(np.int64), 0, _COLUMNS - 1)

    def y(value: float) -> float:
        share = (min(max(value, low_limit), high_limit) - low_limit) / (high_limit - low_limit)
        return top + _LANE - 1.5 - share * (_LANE - 3)

    def x(column: int) -> float:
        return _LEFT + column * _WIDTH / (_COLUMNS - 1)

    shapes = []
    if lane.spread is not None:
        low, _ = _extremes(columns, lane.values - lane.spread)
        _, high = _extremes(columns, lane.values + lane.spread)
        for run in _runs(low):
            upper = [f"{x(c):.1f} {y(high[c]):.1f}" for c in run]
            lower = [f"{x(c):.1f} {y(low[c]):.1f}" for c in reversed(run)]
            shapes.append(f'<path class="spread" d="M{"L".join(upper + lower)}Z"/>')
    low, high = _extremes(columns, lane.values)
    for run in _runs(low):
        steps = []
        for c in run:
            steps.append(f"{x(c):.1f} {y(low[c]):.1f}")
            if high[c] - low[c] > 1e-6:
                steps.append(f"{x(c):.1f} {y(high[c]):.1f}")
        shapes.append(f'<path class="trace" d="M{"L".join(steps)}"/>')
    return "".join(shapes)


def _extremes(
    columns: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest value per pixel column; infinite where there is none."""
    low, high = np.full(_COLUMNS, np.inf), np.full(_COLUMNS, -np.inf)
    good = np.isfinite(values)
    np.minimum.at(low, columns[good], values[good])
    np.maximum.at(high, columns[good], values[good])
    return low, high


def _runs(low: NDArray[np.float64]) -> list[list[int]]:
    """Used columns cut where the curve has a hole: one much wider than the usual distance of its samples."""
    used = np.flatnonzero(np.isfinite(low))
    if not len(used):
        return []
    steps = np.diff(used)
    usual = float(np.median(steps)) if len(steps) else 1.0
    return [part.tolist() for part in np.split(used, np.flatnonzero(steps > max(3 * usual, 4)) + 1)]
