"""Which thermal cameras are plugged in, told by their USB identity and by the picture sizes they offer.

Only Linux tells of a camera before it is opened; elsewhere ``MODEL@NUMBER`` names one.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from acquisition.stream import DeviceNotFound
from hardware.thermal_formats import MODELS, ThermalModel
from hardware.video_nodes import SYSFS, video_nodes

Ioctl: TypeAlias = Callable[[int, bytearray], None]
"""Sends a request with its structure, which the driver fills in; raises OSError where there is no answer."""

_ENUM_FRAME_SIZES = 0xC02C564A
_FRAME_SIZE = struct.Struct("=III8I")
"""VIDIOC_ENUM_FRAMESIZES and its structure: index, pixel format, type, width, height and what is not used."""

_DISCRETE = 1
_MOST_SIZES = 64


@dataclass(frozen=True)
class ThermalPlace:
    """Where a thermal camera was found.

    Attributes:
        model: What it is.
        node: Number of the video device (its path on Linux is /dev/videoNUMBER).
        serial: Of the camera; empty when it has none.
        description: What its driver calls it.
    """

    model: ThermalModel
    node: int
    serial: str = ""
    description: str = ""

    @property
    def id(self) -> str:
        """What ``--device`` takes."""
        return f"{self.model.key}@{self.node}"


Finder: TypeAlias = Callable[[], Sequence[ThermalPlace]]
"""Lists the thermal cameras that are plugged in now."""

Sizes: TypeAlias = Callable[[int, str], frozenset[tuple[int, int]]]
"""Widths and heights that video device NUMBER offers in a pixel format; empty when it does not tell."""


def offered_sizes(node: int, fourcc: str) -> frozenset[tuple[int, int]]:
    """What V4L2 says of /dev/videoNUMBER; empty on other systems and without permission."""
    if not sys.platform.startswith("linux"):
        return frozenset()
    from fcntl import ioctl

    try:
        device = os.open(f"/dev/video{node}", os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return frozenset()
    try:
        return frame_sizes(lambda request, answer: ioctl(device, request, answer) and None, fourcc)
    finally:
        os.close(device)


def frame_sizes(ask: Ioctl, fourcc: str) -> frozenset[tuple[int, int]]:
    """Discrete (width, height) of one pixel format, asked one by one until the driver has no more."""
    (pixel_format,) = struct.unpack("=I", fourcc.encode("ascii"))
    sizes = set()
    with contextlib.suppress(OSError):
        for index in range(_MOST_SIZES):
            answer = bytearray(_FRAME_SIZE.pack(index, pixel_format, *[0] * 9))
            ask(_ENUM_FRAME_SIZES, answer)
            _, _, kind, width, height, *_ = _FRAME_SIZE.unpack(answer)
            if kind == _DISCRETE:
                sizes.add((width, height))
    return frozenset(sizes)


def find_thermal_cameras(sysfs: Path = SYSFS, sizes: Sizes = offered_sizes) -> tuple[ThermalPlace, ...]:
    """Known thermal cameras that are plugged in (Linux; elsewhere drivers do not tell before opening)."""
    found = []
    for node in video_nodes(sysfs):
        models = _models_of(node.usb_id, f"{node.name} {node.product}".lower())
        if models:
            model = _of_size(models, node.number, sizes)
            found.append(ThermalPlace(model, node.number, node.serial, node.name))
    return tuple(found)


def list_thermal_cameras(finder: Finder = find_thermal_cameras) -> list[dict[str, str]]:
    """Thermal cameras on this machine as ``{"id": "lepton@2", "description": ..., "serial": ...}``."""
    return [
        {
            "id": place.id,
            "description": f"{place.model.name} ({place.description or 'USB video'})",
            "serial": place.serial,
        }
        for place in finder()
    ]


def choose_thermal_camera(device: str | int | None, places: Sequence[ThermalPlace]) -> ThermalPlace:
    """The camera that ``--device`` names, see `hardware.thermal_camera.ThermalCamera`.

    Raises:
        DeviceNotFound: No such camera; the message says which there are.
    """
    listing = ", ".join(place.id for place in places) or "none"
    if device is None:
        if not places:
            raise DeviceNotFound(
                "No thermal camera was found: plug one in, or name model and number, e.g. --device lepton@0 "
                f"(models: {', '.join(MODELS)})."
            )
        return places[0]
    text = str(device)
    number = _number(text.rpartition("@")[2])
    if "@" in text:
        key = text.partition("@")[0].lower()
        if key not in MODELS or number is None:
            raise DeviceNotFound(
                f"There is no thermal camera {text!r}: use MODEL@NUMBER with a model of {', '.join(MODELS)}."
            )
        listed = [place for place in places if place.node == number]
        return ThermalPlace(
            MODELS[key], number, *((listed[0].serial, listed[0].description) if listed else ())
        )
    for place in places:
        if (number is not None and place.node == number) or (place.serial and place.serial == text):
            return place
    raise DeviceNotFound(
        f"No thermal camera {text!r} was found (there are: {listing}): plug it in, or name model and number, "
        "e.g. --device lepton@0."
    )


def _models_of(usb_id: str, name: str) -> list[ThermalModel]:
    by_name = [model for model in MODELS.values() if any(part in name for part in model.names)]
    by_usb = [model for model in MODELS.values() if usb_id in model.usb_ids]
    return [model for model in by_usb if model in by_name] or by_name or by_usb


def _of_size(models: Sequence[ThermalModel], node: int, sizes: Sizes) -> ThermalModel:
    """Of models with one USB identity (Boson 320 and 640, both Leptons) the one whose picture is offered.

    The InfiRay family shares its frame format too: any of them will do.
    """
    first = models[0]
    if len({(model.width, model.height) for model in models}) == 1:
        return first
    offered = sizes(node, first.fourcc)
    fitting = (
        model
        for model in models
        if offered & {(model.width, rows) for rows in (model.raw_height, model.height + model.telemetry_rows)}
    )
    return next(fitting, first)


def _number(text: str) -> int | None:
    name = os.path.basename(text).removeprefix("video")  # noqa: PTH119 - also of Windows paths
    return int(name) if name.isdigit() else None
