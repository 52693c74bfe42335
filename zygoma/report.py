"""report.html of an analysis: what was found, drawn over time, in one file that needs no network."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from acquisition.session import software_versions, write_atomically
from fusion.events import CATEGORIES, FaceEvent
from processing.emg_quality import spoken_name
from zygoma.shown import EXPRESSION_TYPES, SHOWN_AUS, percent, unit_name
from zygoma.summary import Summary
from zygoma.tables import read_columns

# One figure per modality: a lane for each quantity, names at the left, one time axis below.
_LEFT, _WIDTH, _RIGHT = 190, 760, 50
_LANE, _GAP = 34, 10
_TALL = 110
_COLUMNS = 760
_LEAST_SKIN_CELSIUS = 0.2
_INTERVAL = 1.96  # standard errors on either side hold 95 %
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
.legend{display:flex;gap:1.4rem;color:var(--dim);font-size:.85rem;margin:.3rem 0 0}
.legend span::before{content:"";display:inline-block;width:.8em;height:.8em;margin-right:.45em;
border-radius:2px;background:currentColor;opacity:.55}
.grid{stroke:var(--line)}.trace{fill:none;stroke:var(--accent);stroke-width:1.3;stroke-linejoin:round}
.spread{fill:var(--accent);opacity:.18}
.positive{color:var(--positive);fill:var(--positive)}.negative{color:var(--negative);fill:var(--negative)}
.surprise{color:var(--surprise);fill:var(--surprise)}.other{color:var(--other);fill:var(--other)}
rect.positive,rect.negative,rect.surprise,rect.other{opacity:.2}
@media print{body{margin:0;max-width:none}}
"""


@dataclass(frozen=True)
class _Lane:
    """One quantity over time: its name and column, the limits of its scale, its standard error's column."""

    name: str
    column: str
    limits: tuple[float, float]
    error: str = ""


@dataclass(frozen=True)
class _Figure:
    """The lanes of one table that are drawn above one another, each `lane` high (px)."""

    title: str
    table: str
    lanes_of: Callable[[Sequence[str]], list[_Lane]]
    lane: float = _LANE


def write_report(folder: Path, summary: Summary, start_s: float) -> Path:
    """Write ``report.html`` from the tables in `folder`.

    Args:
        folder: Where the tables are and the report goes.
        summary: Of the analysis.
        start_s: Stamp of the events that is time 0.
    """
    events = sorted(summary.events, key=lambda event: event.onset)
    listed = [event for event in events if event.trial_type in EXPRESSION_TYPES]
    title = html.escape(summary.label)
    parts = [
        f"<h1>{title}</h1>",
        '<p class="lead">Estimates and candidates, to be judged by a trained coder.</p>',
        _facts(summary),
        f"<h2>Candidates ({len(listed)})</h2>",
        _event_table(listed, start_s),
        _legend(listed),
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
        facts.append(("Still enough for micro-expressions", f"{100 * summary.usable_share:.1f} % of them"))
    if summary.quality_words:
        told = summary.quality_words.items()
        facts.append(
            ("Signals", "\n".join(words if ": " in words else f"{name}: {words}" for name, words in told))
        )
    if summary.shortfalls:
        facts.append(("Missing", "\n".join(summary.shortfalls)))
    facts.append(("Made with", f"zygoma {software_versions().get('zygoma', '')}"))
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td>{"<br>".join(map(html.escape, words.splitlines()))}</td></tr>'
        for name, words in facts
    )
    return f'<table class="facts">{rows}</table>'


def _legend(events: Sequence[FaceEvent]) -> str:
    """What the colours behind the curves mean; nothing without candidates."""
    there = [category for category in CATEGORIES if any(event.category == category for event in events)]
    names = "".join(f'<span class="{category}">{category}</span>' for category in there)
    return f'<p class="legend">Shaded below: {names}</p>' if there else ""


def _event_table(events: Sequence[FaceEvent], start_s: float) -> str:
    if not events:
        return '<p class="note">None.</p>'
    numeric = {"onset s", "lasts ms", "camera", "EMG", "thermal", "confidence"}
    heads = ("onset s", "lasts ms", "kind", "category", "why", "camera", "EMG", "thermal", "confidence")
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
            (event.category, event.category),
            ("", html.escape(event.explanation)),
            ("number", _evidence(event.evidence_camera)),
            ("number", _evidence(event.evidence_emg)),
            ("number", _evidence(event.evidence_thermal)),
            ("number", percent(event.confidence)),
        )
        rows.append("<tr>" + "".join(f'<td class="{name}">{cell}</td>' for name, cell in cells) + "</tr>")
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        '<p class="note">camera, EMG, thermal: evidence as the log of the likelihood ratio.</p>'
    )


def _evidence(value: float) -> str:
    return "–" if value == 0.0 else f"{value:+.1f}"


def _figures(folder: Path, events: Sequence[FaceEvent], start_s: float, seconds: float) -> list[str]:
    figures = []
    for figure in _FIGURES:
        path = folder / figure.table
        lanes = figure.lanes_of(pq.read_schema(path).names) if path.exists() else []
        if lanes:
            drawn = _draw(figure, path, lanes, events, start_s, seconds)
            figures.append(f"<h2>{figure.title}</h2>{drawn}")
    return figures


def _valence_lanes(names: Sequence[str]) -> list[_Lane]:
    return [_Lane("valence", "valence", (-1.0, 1.0), "standard_error")]


def _unit_lanes(names: Sequence[str]) -> list[_Lane]:
    units = [number for number in SHOWN_AUS if f"AU{number}" in names]
    return [_Lane(f"AU{number} {unit_name(number)}", f"AU{number}", (0.0, 1.0)) for number in units]


def _muscle_lanes(names: Sequence[str]) -> list[_Lane]:
    columns = [name for name in names if name.endswith("_z") and not name.endswith("_slow_z")]
    return [_Lane(spoken_name(name.removesuffix("_z")), name, (-2.0, 20.0)) for name in columns]


def _skin_lanes(names: Sequence[str]) -> list[_Lane]:
    end = "_delta_celsius"
    regions = [name.removesuffix(end) for name in names if name.endswith(end)]
    # The scale follows what there is, the same for all regions.
    return [_Lane(region.replace("_", " "), region + end, (-math.inf, math.inf)) for region in regions]


_FIGURES = (
    _Figure("Valence, estimate and 95 % interval", "valence.parquet", _valence_lanes, _TALL),
    _Figure("Action units, intensity 0 to 1", "action_units.parquet", _unit_lanes),
    _Figure("Muscles, fast envelope in SD of the resting baseline", "muscle_activity.parquet", _muscle_lanes),
    _Figure("Skin, change from baseline in °C", "skin_temperature.parquet", _skin_lanes),
)


def _draw(
    figure: _Figure,
    path: Path,
    lanes: Sequence[_Lane],
    events: Sequence[FaceEvent],
    start_s: float,
    seconds: float,
) -> str:
    """Lanes above one another on one time axis, candidates shaded through all of them."""
    columns = {"time_s", *(lane.column for lane in lanes), *(lane.error for lane in lanes if lane.error)}
    table = read_columns(path, sorted(columns))
    lanes = _scaled(lanes, table)
    seconds = max(seconds, 1e-9)
    pitch = figure.lane + _GAP
    bottom = len(lanes) * pitch - _GAP
    label = html.escape(figure.title)
    parts = [f'<svg viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {bottom + 22:g}" role="img" aria-label="{label}">']
    for index, lane in enumerate(lanes):
        top, middle = index * pitch, index * pitch + figure.lane / 2 + 4
        parts.append(
            f'<rect class="lane" x="{_LEFT}" y="{top:g}" width="{_WIDTH}" height="{figure.lane:g}" rx="3"/>'
        )
        parts.append(f'<text class="name" x="0" y="{middle:g}">{html.escape(lane.name)}</text>')
        for value, y in ((lane.limits[1], top + 9), (lane.limits[0], top + figure.lane - 1)):
            words = f"{value:g}".replace("-", "−")
            parts.append(f'<text class="scale" x="{_LEFT + _WIDTH + 6}" y="{y:g}">{words}</text>')
    for tick_s in _ticks(seconds):
        x = _LEFT + _WIDTH * tick_s / seconds
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom:g}"/>')
        parts.append(
            f'<text class="time" x="{x:.1f}" y="{bottom + 15:g}" text-anchor="middle">{tick_s:g} s</text>'
        )
    for event in events:
        x = _LEFT + _WIDTH * (event.onset - start_s) / seconds
        width = max(_WIDTH * event.duration / seconds, 2.0)
        parts.append(
            f'<rect class="{event.category}" x="{x:.1f}" y="0" width="{width:.1f}" height="{bottom:g}">'
            f"<title>{html.escape(event.explanation)}</title></rect>"
        )
    parts += [_drawn(table, lane, index * pitch, figure.lane, seconds) for index, lane in enumerate(lanes)]
    return "".join(parts) + "</svg>"


def _scaled(lanes: Sequence[_Lane], table: Mapping[str, NDArray[np.float64]]) -> list[_Lane]:
    """Lanes without limits of their own get common ones that hold all but the rarest of their values."""
    free = [table[lane.column] for lane in lanes if math.isinf(lane.limits[1])]
    if not free:
        return list(lanes)
    sizes = np.abs(np.concatenate(free))
    sizes = sizes[np.isfinite(sizes)]
    reach = float(np.quantile(sizes, 0.995)) if len(sizes) else 0.0
    limit = max(math.ceil(10 * reach) / 10, _LEAST_SKIN_CELSIUS)
    return [replace(lane, limits=(-limit, limit)) if math.isinf(lane.limits[1]) else lane for lane in lanes]


def _ticks(seconds: float) -> NDArray[np.float64]:
    step_s = next((step for step in _TICK_STEPS_S if seconds / step <= 12), _TICK_STEPS_S[-1])
    return np.arange(0.0, seconds + 1e-9, step_s)


def _drawn(
    table: Mapping[str, NDArray[np.float64]], lane: _Lane, top: float, height: float, seconds: float
) -> str:
    """The lane's curve: minimum and maximum per pixel column, so that no short event is thinned away."""
    low_limit, high_limit = lane.limits
    times, values = table["time_s"], table[lane.column]
    columns = np.clip((times / seconds * (_COLUMNS - 1)).astype(np.int64), 0, _COLUMNS - 1)

    def y(value: float) -> float:
        share = (min(max(value, low_limit), high_limit) - low_limit) / (high_limit - low_limit)
        return top + height - 1.5 - share * (height - 3)

    def x(column: int) -> float:
        return _LEFT + column * _WIDTH / (_COLUMNS - 1)

    shapes = []
    if lane.error:
        spread = _INTERVAL * table[lane.error]
        low, _ = _extremes(columns, values - spread)
        _, high = _extremes(columns, values + spread)
        for run in _runs(low):
            upper = [f"{x(c):.1f} {y(high[c]):.1f}" for c in run]
            lower = [f"{x(c):.1f} {y(low[c]):.1f}" for c in reversed(run)]
            shapes.append(f'<path class="spread" d="M{"L".join(upper + lower)}Z"/>')
    low, high = _extremes(columns, values)
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
