"""The terminal view of a live run: action units, muscles, skin, valence, candidates and stream health."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Group, JustifyMethod, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from acquisition.stream import Kind
from fusion.events import FaceEvent
from processing.face_quality import flags_in, words
from processing.unit_channels import facs_level
from zygoma.shown import EXPRESSION_TYPES, SHOWN_AUS, percent, unit_name
from zygoma.state import Snapshot

SHOWN_REGIONS = ("nose_tip", "glabella", "cheek_left", "cheek_right", "forehead")
CATEGORY_STYLES = {"positive": "green", "negative": "red", "surprise": "yellow", "other": "cyan"}
BLOCKS = " ▏▎▍▌▋▊▉█"
STALE_S = 1.0


def bar(value: float, width: int, style: str = "cyan", *, reverse: bool = False) -> Text:
    """A bar for a value of 0-1, with eighths of a character; NaN is an empty dotted bar."""
    if not math.isfinite(value):
        return Text("·" * width, style="dim")
    eighths = round(max(0.0, min(1.0, value)) * width * 8)
    full, rest = divmod(eighths, 8)
    if reverse:
        # Eighth blocks grow from the left, so a bar to the left shows the uncovered part in reverse video.
        text = Text(" " * (width - full - (rest > 0)), style=style)
        if rest:
            text.append(BLOCKS[8 - rest], style=f"{style} reverse")
        return text.append("█" * full, style=style)
    partial = BLOCKS[rest] if rest else ""
    return Text("█" * full + partial + " " * (width - full - bool(rest)), style=style)


def number(value: float, form: str, missing: str = "  –") -> str:
    """`value` in `form`, or a dash when it is not known."""
    return format(value, form) if math.isfinite(value) else missing


def view(snapshot: Snapshot, *, height: int | None = None) -> RenderableType:
    """The whole screen for one snapshot."""
    layout = Layout()
    layout.split_column(
        Layout(_banner(snapshot), name="banner", size=1),
        Layout(name="top", size=len(SHOWN_AUS) + 3),
        Layout(name="bottom", minimum_size=8),
        Layout(_streams(snapshot), name="streams", size=len(snapshot.streams) + 4),
    )
    right = Layout(name="right")
    right.split_column(
        Layout(_valence(snapshot), size=5), Layout(_muscles(snapshot)), Layout(_skin(snapshot), size=8)
    )
    layout["top"].split_row(Layout(_action_units(snapshot), name="aus"), right)
    rows = max((height or 50) - len(SHOWN_AUS) - len(snapshot.streams) - 12, 4)
    layout["bottom"].update(_candidates(snapshot, rows))
    return layout


def _banner(snapshot: Snapshot) -> Text:
    origins = {stream.origin for stream in snapshot.streams}
    elapsed = max(snapshot.now_s - snapshot.started_s, 0.0)
    text = Text(f" zygoma  {int(elapsed // 60):02d}:{elapsed % 60:04.1f} ", style="bold")
    if "simulated" in origins:
        text.append(" SIMULATED PERSON ", style="bold black on yellow")
    if "replay" in origins:
        text.append(" REPLAY ", style="bold black on cyan")
    if snapshot.recording is not None:
        text.append(" ● REC ", style="bold white on red")
        text.append(f" {sum(snapshot.recording.bytes_by_file.values()) / 1e6:.1f} MB")
        if snapshot.recording.disk_warning:
            text.append(f" {snapshot.recording.free_bytes / 1e9:.1f} GB left ", style="bold black on yellow")
    if snapshot.latency is not None:
        latency = snapshot.latency
        text.append(f"  capture → valence p50 {latency.p50_ms:.0f} ms, p99 {latency.p99_ms:.0f} ms")
    text.append(f"  skipped frames {snapshot.skipped}", style="red" if snapshot.skipped else "dim")
    return text


def _action_units(snapshot: Snapshot) -> Panel:
    row = snapshot.rows.get(Kind.ACTION_UNITS, {})
    table = Table.grid(padding=(0, 1))
    sides: tuple[JustifyMethod, ...] = ("right", "right", "left", "left", "right", "left")
    for justify in sides:
        table.add_column(justify=justify)
    for au in SHOWN_AUS:
        both = row.get(f"AU{au}", math.nan)
        left, right = row.get(f"AU{au}_left", both), row.get(f"AU{au}_right", both)
        error = row.get(f"AU{au}_se", math.nan)
        table.add_row(
            Text(f"AU{au}", style="bold"),
            bar(right, 10, reverse=True),
            bar(left, 10),
            Text(unit_name(au), style="dim"),
            Text(f"{number(both, '.2f')} ±{number(error, '.2f')}"),
            Text(facs_level(both), style="bold"),
        )
    found = row.get("face", 0.0) > 0
    title = "Action units  (subject's right │ left)" if found else "Action units  [red]no face[/red]"
    return Panel(table, title=title, subtitle=_picture(row), border_style="blue")


def _picture(row: Mapping[str, float]) -> Text:
    """Head pose, and what speaks against the picture of the face: in full if it is one thing."""
    pitch, yaw = (number(row.get(f"{angle}_deg", math.nan), "+z.0f") for angle in ("pitch", "yaw"))
    text = Text(f"pitch {pitch}° yaw {yaw}°")
    doubts = list(words(flags_in(row.get("flags", math.nan))))
    if len(doubts) > 1:
        doubts = [doubt.partition(":")[0] for doubt in doubts]
    if doubts:
        text.append("  " + "; ".join(doubts), style="yellow")
    return text


def _valence(snapshot: Snapshot) -> Panel:
    row = snapshot.rows.get(Kind.VALENCE, {})
    value, error = row.get("valence", math.nan), row.get("standard_error", math.nan)
    width = 41
    cells = ["─"] * width
    if math.isfinite(value):

        def place(position: float) -> int:
            return round((max(-1.0, min(1.0, position)) + 1) / 2 * (width - 1))

        for index in range(place(value - 1.96 * error), place(value + 1.96 * error) + 1):
            cells[index] = "━"
        cells[place(value)] = "●"
    style = "green" if value > 0.1 else "red" if value < -0.1 else "white"
    scale = Text("− ").append("".join(cells), style=style).append(" +")
    shares = "  ".join(
        f"{name} {number(100 * row.get(f'share_{name}', math.nan), '.0f')} %" for name in ("camera", "emg")
    )
    line = Text(f"{number(value, '+z.2f')} ±{number(error, '.2f')}   {shares}   arousal ")
    line.append(number(row.get("arousal", math.nan), "+z.2f"))
    return Panel(Group(scale, line), title="Valence estimate (95 % interval)", border_style="blue")


def _muscles(snapshot: Snapshot) -> Panel:
    row = snapshot.rows.get(Kind.MUSCLE_ACTIVITY, {})
    table = Table.grid(padding=(0, 1), expand=True)
    for _ in range(6):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for label in _labels(row, "_envelope_uv"):
        z = row.get(f"{label}_z", math.nan)
        bursting = row.get(f"{label}_burst", 0.0) > 0
        quality = row.get(f"{label}_quality", math.nan)
        table.add_row(
            Text(label, style="bold"),
            bar(z / 20, 16, "magenta" if bursting else "cyan"),
            f"{number(row.get(f'{label}_envelope_uv', math.nan), '5.1f')} µV",
            f"z {number(z, '+z5.1f')}",
            Text("burst" if bursting else "     ", style="bold magenta"),
            _light(quality),
            Text(snapshot.quality_words.get(label, "").partition(": ")[2], style="dim"),
        )
    if not row:
        table.add_row(Text("no EMG", style="dim"))
    return Panel(table, title="Muscles", border_style="blue")


def _skin(snapshot: Snapshot) -> Panel:
    row = snapshot.rows.get(Kind.SKIN_TEMPERATURE, {})
    table = Table.grid(padding=(0, 1))
    for region in SHOWN_REGIONS:
        temperature = row.get(f"{region}_celsius", math.nan)
        delta = row.get(f"{region}_delta_celsius", math.nan)
        slope = row.get(f"{region}_slope_celsius_per_s", math.nan)
        table.add_row(
            region.replace("_", " "),
            f"{number(temperature, '5.2f')} °C",
            f"Δ {number(delta, '+z.2f')}",
            f"{number(1000 * slope, '+z.0f')} m°C/s",
            _light(row.get(f"{region}_valid", math.nan)),
        )
    title = "Skin  [yellow]shutter (FFC)[/yellow]" if row.get("ffc", 0.0) > 0 else "Skin"
    return Panel(table, title=title, border_style="blue")


def _light(quality: float) -> Text:
    if not math.isfinite(quality):
        return Text("○", style="dim")
    return Text("●", style="green" if quality >= 0.8 else "yellow" if quality >= 0.4 else "red")


def _labels(row: Mapping[str, float], suffix: str) -> list[str]:
    return [name.removesuffix(suffix) for name in row if name.endswith(suffix)]


def _candidates(snapshot: Snapshot, rows: int) -> Panel:
    listed = [event for event in snapshot.events if event.trial_type in EXPRESSION_TYPES]
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    for heading in ("time", "what", "ms", "AUs", "side", "category", "conf.", "camera", "EMG"):
        table.add_column(heading, no_wrap=True)
    table.add_column("why", ratio=1, no_wrap=True, overflow="ellipsis")
    for event in listed[-max(rows - 3, 1) :]:
        table.add_row(*candidate_cells(event, snapshot.started_s))
    micro = sum(event.trial_type == "micro_expression" for event in listed)
    title = f"Candidates: {micro} micro-expressions, {len(listed) - micro} macro-expressions"
    return Panel(table, title=title, border_style="blue")


def candidate_cells(event: FaceEvent, started_s: float) -> list[RenderableType]:
    """One row of the candidates' list."""
    style = CATEGORY_STYLES.get(event.category, "white")
    what = event.trial_type.removesuffix("_expression") + (" (masked)" if event.masked_by else "")
    return [
        f"{event.onset - started_s:7.2f}",
        Text(what, style="bold" if event.trial_type == "micro_expression" else "dim"),
        f"{1000 * event.duration:.0f}",
        "+".join(map(str, event.action_units)),
        event.side,
        Text(event.category, style=style),
        percent(event.confidence),
        f"{event.evidence_camera:+.1f}",
        f"{event.evidence_emg:+.1f}",
        event.explanation,
    ]


def _streams(snapshot: Snapshot) -> Panel:
    table = Table.grid(padding=(0, 2))
    for stream in snapshot.streams:
        health = stream.health
        silent = health.age_s > STALE_S and stream.spec.kind in (Kind.CAMERA, Kind.EMG, Kind.THERMAL)
        rate = f"{number(health.effective_rate_hz, '.1f')} Hz" if health.effective_rate_hz else "irregular"
        table.add_row(
            Text("●", style="red" if silent else "green"),
            Text(stream.spec.name, style="bold"),
            str(stream.spec.kind),
            rate,
            f"{health.received} received",
            Text(f"{health.lost} lost", style="red" if health.lost else "dim"),
            Text(f"silent for {health.age_s:.1f} s", style="red") if silent else Text(""),
        )
    if not snapshot.streams:
        table.add_row(
            Text("no streams yet: start a device or 'zygoma publish camera --simulate'", style="yellow")
        )
    if snapshot.incidents:
        latest = snapshot.incidents[-1]
        note = Text(f"{latest.time_s - snapshot.started_s:7.1f} s  {latest.sentence}", style="yellow")
        return Panel(Group(table, note), title="Streams", border_style="blue")
    return Panel(table, title="Streams", border_style="blue")
