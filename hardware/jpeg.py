"""JPEG bytes: made from pictures, and found in what a camera hands over."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.stream import InvalidSignal

JPEG_QUALITY = 95
"""Quality of frames that are encoded here; below 90 compression noise shows in the mouth corners."""

_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"
_PADDING = 1024  # bytes that a driver may leave behind the end


def encode_jpeg(picture: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """JPEG bytes of a BGR picture [height, width, 3].

    Raises:
        InvalidSignal: It is no such picture.
    """
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InvalidSignal(f"A picture of shape {picture.shape} cannot be written as JPEG.")
    return data.tobytes()


def captured_jpeg(row: NDArray[Any]) -> bytes | None:
    """The JPEG in a captured row (or column) of bytes, without the padding some drivers add behind it.

    None when there is no JPEG, or not the whole of one.
    """
    if row.dtype != np.uint8 or row.size == 0 or row.size != max(row.shape):
        return None
    data = row.tobytes()
    end = data.rfind(_END, max(len(data) - _PADDING, 0))
    return data[: end + len(_END)] if data.startswith(_BEGIN) and end > 0 else None
