"""What is plugged in and what is on the network, for `zygoma devices`."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table

from acquisition import network
from zygoma.options import console, print_json

LOOK_S = 1.5


def _plugged_in() -> list[dict[str, str]]:
    from hardware.brainflow_board import list_boards
    from hardware.thermal_camera import list_thermal_cameras
    from hardware.webcam import list_webcams

    looks: dict[str, Callable[[], list[dict[str, str]]]] = {
        "camera": list_webcams,
        "thermal": list_thermal_cameras,
        "emg": list_boards,
    }
    return [{"kind": kind, **found} for kind, look in looks.items() for found in look()]


def print_devices(*, as_json: bool, lan: bool) -> None:
    """Print devices that can be published and streams that are on LSL now."""
    network.configure(lan=lan)
    streams = network.resolve(minimum=0, timeout_s=LOOK_S)
    plugged = _plugged_in()
    if as_json:
        print_json(
            {
                "devices": plugged,
                "streams": [
                    {
                        "name": spec.name,
                        "kind": str(spec.kind),
                        "channels": spec.channel_count,
                        "rate_hz": spec.rate_hz,
                        "source_id": spec.source_id,
                    }
                    for spec in streams
                ],
            }
        )
        return
    table = Table(title="LSL streams on this machine" if not lan else "LSL streams", box=None)
    for heading in ("name", "kind", "channels", "rate", "source id"):
        table.add_column(heading)
    for spec in streams:
        rate = f"{spec.rate_hz:g} Hz" if spec.rate_hz else "irregular"
        table.add_row(spec.name, str(spec.kind), str(spec.channel_count), rate, spec.source_id)
    console.print(table if streams else "No LSL streams: start one with 'zygoma publish'.")
    listing = Table(title="Devices", box=None)
    for heading in ("for publish", "--device", "what"):
        listing.add_column(heading)
    for found in plugged:
        listing.add_row(found["kind"], found["id"], found["description"])
    console.print(listing if plugged else "No camera, thermal camera or board was found on this machine.")
