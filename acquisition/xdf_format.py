"""The bytes of XDF 1.0 that writer, reader and repair share: tags, lengths, chunk frames, footers.

Everything is little-endian. A chunk is a variable-length length, a 16-bit tag and content; the length counts
tag and content. See https://github.com/sccn/xdf/wiki/Specifications.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

MAGIC = b"XDF:"
FILE_HEADER = b'<?xml version="1.0"?><info><version>1.0</version></info>'
BOUNDARY = bytes.fromhex("43A546DCCBF5410FB30ED5467383CBE4")
"""Content of a Boundary chunk; 128 bits that do not occur by chance."""

NUMPY_TYPES = {
    "float32": "<f4",
    "double64": "<f8",
    "int8": "i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
}
"""XDF channel formats that are numbers, as numpy types."""


class Tag(IntEnum):
    """What a chunk is."""

    FILE_HEADER = 1
    STREAM_HEADER = 2
    SAMPLES = 3
    CLOCK_OFFSET = 4
    BOUNDARY = 5
    STREAM_FOOTER = 6


def encode_varlen(number: int) -> bytes:
    """A non-negative integer in 1, 4 or 8 bytes behind a byte that says how many."""
    if number < 1 << 8:
        return struct.pack("<BB", 1, number)
    if number < 1 << 32:
        return struct.pack("<BI", 4, number)
    return struct.pack("<BQ", 8, number)


_VARLEN = {1: struct.Struct("<B"), 4: struct.Struct("<I"), 8: struct.Struct("<Q")}


def decode_varlen(buffer: memoryview, position: int) -> tuple[int, int]:
    """The integer at `position` and the position behind it.

    Raises:
        ValueError: No such integer is there.
        IndexError, struct.error: The buffer ends inside it.
    """
    width = buffer[position]
    if width not in _VARLEN:
        raise ValueError(f"a length of {width} bytes at {position}")
    (number,) = _VARLEN[width].unpack_from(buffer, position + 1)
    return number, position + 1 + width


def encode_chunk(tag: Tag, *content: bytes) -> bytes:
    """A whole chunk around `content`."""
    length = 2 + sum(map(len, content))
    return b"".join((encode_varlen(length), struct.pack("<H", tag), *content))


def footer_xml(
    first_timestamp: float, last_timestamp: float, sample_count: int, offsets: Sequence[tuple[float, float]]
) -> str:
    """The StreamFooter document; stamps of a stream without samples are left out."""
    stamps = ""
    if sample_count:
        stamps = (
            f"<first_timestamp>{first_timestamp!r}</first_timestamp>"
            f"<last_timestamp>{last_timestamp!r}</last_timestamp>"
        )
    clock = "".join(
        f"<offset><time>{collected!r}</time><value>{value!r}</value></offset>" for collected, value in offsets
    )
    return (
        f'<?xml version="1.0"?><info>{stamps}<sample_count>{sample_count}</sample_count>'
        f"<clock_offsets>{clock}</clock_offsets></info>"
    )
