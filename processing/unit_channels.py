"""Columns of an ActionUnits stream, and FACS letters for the intensities in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Channel
from processing.eyelids import SIDES

# fmt: off
ACTION_UNITS: tuple[int, ...] = (
    1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 43, 45,
)
# fmt: on
TWO_SIDED: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 43, 45)
"""Action units measured on the subject's left and right separately."""

HEAD_CHANNELS: tuple[Channel, ...] = (
    Channel("face", "none", "Quality"),
    Channel("confidence", "normalized", "Quality"),
    Channel("pitch_deg", "degrees", "Head"),
    Channel("yaw_deg", "degrees", "Head"),
    Channel("roll_deg", "degrees", "Head"),
    Channel("iod_px", "pixels", "Head"),
    Channel("head_speed", "pixels/second", "Head"),
    Channel("blink_left", "normalized", "Eyelid"),
    Channel("blink_right", "normalized", "Eyelid"),
    # What speaks against the picture: `processing.face_quality` measures it.
    Channel("flags", "bitmask", "Quality"),
    Channel("sharpness", "normalized", "Quality"),
    Channel("brightness", "normalized", "Quality"),
)


def action_unit_channels() -> tuple[Channel, ...]:
    """Columns of an ActionUnits stream: head, then each AU (and its sides), then each AU's standard error."""
    channels = list(HEAD_CHANNELS)
    for au in ACTION_UNITS:
        channels.append(Channel(f"AU{au}", "normalized", "AU"))
        if au in TWO_SIDED:
            channels.append(Channel(f"AU{au}_left", "normalized", "AU"))
            channels.append(Channel(f"AU{au}_right", "normalized", "AU"))
    channels += [Channel(f"AU{au}_se", "normalized", "Uncertainty") for au in ACTION_UNITS]
    return tuple(channels)


_LABELS = tuple(channel.label for channel in action_unit_channels())
COLUMN = {label: i for i, label in enumerate(_LABELS)}
ROW_LENGTH = len(_LABELS)

STANDARD_ERRORS = slice(COLUMN[f"AU{ACTION_UNITS[0]}_se"], ROW_LENGTH)


def side_columns(au: int) -> tuple[int, int]:
    """Columns of a two-sided AU, in the order of `SIDES`."""
    return COLUMN[f"AU{au}_{SIDES[0]}"], COLUMN[f"AU{au}_{SIDES[1]}"]


FACS_LEVELS: tuple[tuple[str, float], ...] = (("A", 0.05), ("B", 0.2), ("C", 0.4), ("D", 0.6), ("E", 0.8))
"""FACS letters with the intensity from which each holds; below the first an AU is absent."""

FACS_LEVEL_WORDS = " ".join(f"{letter}={bound:g}" for letter, bound in FACS_LEVELS)
"""`FACS_LEVELS` as the metadata of a stream or table carry them."""


def facs_level(intensity: float) -> str:
    """FACS letter A-E of an intensity 0-1, empty where the AU is absent: presence and letter always agree."""
    reached = [letter for letter, bound in FACS_LEVELS if intensity >= bound]
    return reached[-1] if reached else ""


def no_face_row() -> NDArray[np.float32]:
    """A row without a face: face = 0, all else NaN."""
    row = np.full(ROW_LENGTH, np.nan, dtype=np.float32)
    row[0] = 0.0
    return row
