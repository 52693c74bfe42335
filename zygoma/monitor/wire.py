"""How numbers and pictures travel to the page: one binary WebSocket message with a small JSON head.

Layout: uint32 length of the head (little endian), the head in UTF-8, zeros up to a multiple of 8, then the
parts one after the other, each followed by zeros up to a multiple of 8. The head's ``parts`` say for each
part its ``name``, ``type`` (``f4``, ``f8``, ``i2`` or ``bytes``), ``at`` (bytes from the first part) and
``count``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 8
_TYPES = {np.dtype("<f4"): "f4", np.dtype("<f8"): "f8", np.dtype("<i2"): "i2"}


def pack(head: Mapping[str, Any], parts: Mapping[str, bytes | NDArray[Any]]) -> bytes:
    """One message; arrays travel flat, in C order.

    Raises:
        KeyError: An array of another type than float32, float64 or int16.
    """
    described = []
    chunks: list[bytes] = []
    position = 0
    for name, part in parts.items():
        if isinstance(part, bytes):
            kind, count, raw = "bytes", len(part), part
        else:
            kind, count, raw = _TYPES[part.dtype], part.size, part.tobytes()
        described.append({"name": name, "type": kind, "at": position, "count": count})
        padding = -len(raw) % _ALIGNMENT
        chunks += [raw, bytes(padding)]
        position += len(raw) + padding
    text = json.dumps({**head, "parts": described}, separators=(",", ":")).encode()
    padding = -(4 + len(text)) % _ALIGNMENT
    return b"".join([struct.pack("<I", len(text)), text, bytes(padding), *chunks])


def unpack(message: bytes) -> tuple[dict[str, Any], dict[str, bytes | NDArray[Any]]]:
    """The inverse of `pack`, for tests and for programs that listen in."""
    (length,) = struct.unpack_from("<I", message)
    head = json.loads(message[4 : 4 + length])
    start = 4 + length + (-(4 + length) % _ALIGNMENT)
    parts: dict[str, bytes | NDArray[Any]] = {}
    for part in head.pop("parts"):
        at, count = start + part["at"], part["count"]
        if part["type"] == "bytes":
            parts[part["name"]] = message[at : at + count]
        else:
            parts[part["name"]] = np.frombuffer(message, dtype="<" + part["type"], count=count, offset=at)
    return head, parts
