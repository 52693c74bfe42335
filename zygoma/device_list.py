"""What is plugged in and what is on the network, for `zygoma devices`."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.markup import escape
from rich.table import Table

from acquisition import network
from zygoma.options import console, print_json

LOOK_S = 1.5
SLOW = "slow valence only"
"""How `list_boards` ends the description of a board that samples too slowly for micro-expressions."""


def _plugged_in() -> list[dict[str, str]]:
    from hardware.brainflow_board import list_boards
    from hardware.thermal_finding import list_thermal_cameras
    from hardware.webcam import list_webcams

    looks: dict[str, Callable[[], list[dict[str, str]]]] = {
        "camera": list_webcams,
        "thermal": list_thermal_cameras,
        "emg": list_boards,
    }
    return [{"kind": kind, **found} for kind, look in looks.items() for found in look()]


def print_devices(*, as_json: bool, lan: bool) -> None:
    """Print devices that can be published and streams on LSL now, unreadable ones with the reason."""
    network.configure(lan=lan)
    with network.StreamWatcher() as watcher:
        time.sleep(LOOK_S)
        streams = watcher.found()
    plugged = _plugged_in()
    if as_json:
        print_json({"devices": plugged, "streams": [_record(stream) for stream in streams]})
        return
    table = Table(title="LSL streams on this machine" if not lan else "LSL streams", box=None)
    for heading in ("name", "kind", "channels", "rate", "source id"):
        table.add_column(heading)
    for stream in streams:
        if (spec := stream.spec) is not None:
            rate = f"{spec.rate_hz:g} Hz" if spec.rate_hz else "irregular"
            table.add_row(escape(spec.name), spec.kind, str(spec.channel_count), rate, escape(spec.source_id))
    console.print(table if table.row_count else "No LSL streams to use: start one with 'zygoma publish'.")
    for stream in streams:
        if stream.problem:
            console.print(stream.problem, style="yellow", highlight=False, markup=False, soft_wrap=True)
    listing = Table(title="Devices", box=None)
    for heading in ("for publish", "--device", "what"):
        listing.add_column(heading)
    for found in plugged:
        if found["kind"] != "emg":
            listing.add_row(*(escape(found[key]) for key in ("kind", "id", "description")))
    console.print(listing if listing.row_count else "No camera and no thermal camera is plugged in.")
    _print_boards([found for found in plugged if found["kind"] == "emg"])


def _print_boards(boards: list[dict[str, str]]) -> None:
    """Boards are known by name only: which of them is there shows when it is opened."""
    slow = [board["id"] for board in boards if board["description"].endswith(SLOW)]
    fast = [board["id"] for board in boards if board["id"] not in slow]
    for words, ids in (
        ("EMG boards fast enough for micro-expressions, for 'publish emg --device'", fast),
        (f"EMG boards for {SLOW}", slow),
    ):
        if ids:
            console.print(f"{words}: {', '.join(ids)}", highlight=False, markup=False)


def _record(stream: network.FoundStream) -> dict[str, object]:
    """For ``--json``; `problem` is empty for a stream that can be used."""
    record: dict[str, object] = {"name": stream.name, "kind": stream.kind_name, "problem": stream.problem}
    spec = stream.spec
    if spec is not None:
        record |= {
            "kind": str(spec.kind),
            "channels": spec.channel_count,
            "rate_hz": spec.rate_hz,
            "source_id": spec.source_id,
        }
    return record
