"""Video devices as Linux lists them: which cameras are plugged in, and which of them is the same one again.

Read from sysfs, so that no device has to be opened for it; other systems tell nothing before opening.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys/class/video4linux")


@dataclass(frozen=True)
class VideoNode:
    """A video device that gives pictures.

    Attributes:
        number: Its path is /dev/videoNUMBER; it may change when the camera is plugged in again.
        name: What the driver calls it.
        usb_id: ``vendor:product`` in hexadecimal; ``:`` when it is not on USB.
        product: What the camera calls itself.
        serial: Empty when it has none.
        port: USB port it is plugged into, as ``1-2.4``; names another part of the system when not on USB.
    """

    number: int
    name: str = ""
    usb_id: str = ":"
    product: str = ""
    serial: str = ""
    port: str = ""


def video_nodes(sysfs: Path = SYSFS) -> list[VideoNode]:
    """The cameras on this machine by number; empty on other systems than Linux."""
    found = []
    for node in sysfs.glob("video*"):
        number = node.name.removeprefix("video")
        # A camera has further nodes for metadata; pictures come from the one with index 0.
        if not number.isdigit() or _line(node / "index") not in ("0", ""):
            continue
        usb = (node / "device").resolve().parent
        found.append(
            VideoNode(
                int(number),
                _line(node / "name"),
                f"{_line(usb / 'idVendor')}:{_line(usb / 'idProduct')}".lower(),
                _line(usb / "product"),
                _line(usb / "serial"),
                usb.name,
            )
        )
    return sorted(found, key=lambda node: node.number)


def same_camera(
    known: VideoNode, nodes: Sequence[VideoNode], others: Sequence[VideoNode] = ()
) -> VideoNode | None:
    """The camera `known` among those plugged in now, whatever its number has become.

    Model and serial number tell it; of several alike the one at its port, then the first.

    Args:
        known: The camera, as it was found once.
        nodes: The cameras that are plugged in now.
        others: Those that were there beside it; one of them that still is, however alike, is another.
    """
    alike = [
        node
        for node in nodes
        if node not in others
        and (node.usb_id, node.serial, node.name) == (known.usb_id, known.serial, known.name)
    ]
    return min(alike, key=lambda node: node.port != known.port, default=None)


def _line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
