"""Pictures that claim to be temperatures and are not, made by the hundred: what a check has to refuse.

For tests and benchmarks of `hardware.thermal_formats`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.thermal_formats import CENTIKELVIN, KELVIN_OFFSET

REFUSALS = MappingProxyType(
    {
        "8-bit": r"8-bit picture.*automatic gain control \(AGC\)",
        "byte-swapped": "looks byte-swapped",
        "counts": r"no plausible 10-45 degC mode.*calibrate",
        "out of range": "is out of range",
        "wrong size": "instead of 160x120 or 160x122",
    }
)
"""Kinds of bad input, and what the sentence that refuses them must match."""


def room(rng: np.random.Generator, size: tuple[int, int] = (120, 160)) -> NDArray[np.float64]:
    """A room with a person in it, degC [rows, columns]."""
    rows, columns = size
    y, x = np.mgrid[0:rows, 0:columns]
    wall = rng.uniform(15, 27) + 0.6 * np.sin(x / 31) + 0.4 * y / rows
    radius = rng.uniform(0.15, 0.4) * min(size)
    centre = rng.uniform(0.3, 0.7, 2) * size
    head = 1 / (1 + np.exp((np.hypot(y - centre[0], x - centre[1]) - radius) / 1.5))
    skin = rng.uniform(30, 36) + cv2.GaussianBlur(rng.normal(0, 4, size), (0, 0), 3)
    return np.asarray(wall + head * (skin - wall) + rng.normal(0, 0.03, size))


def counts_of(celsius: NDArray[np.float64], kelvin_per_count: float = CENTIKELVIN) -> NDArray[np.uint16]:
    """What a camera sends for these temperatures."""
    return np.round((celsius + KELVIN_OFFSET) / kelvin_per_count).astype(np.uint16)


def bad_input(kind: str, rng: np.random.Generator) -> NDArray[Any]:
    """One input of a kind of `REFUSALS`, as a 160 x 120 Lepton might be claimed to send it."""
    celsius = room(rng)
    if kind == "8-bit":
        grey = np.interp(celsius, (celsius.min(), celsius.max()), (0, 255)).astype(np.uint8)
        wide = grey.astype(np.uint16)
        forms: tuple[NDArray[Any], ...] = (
            grey,
            np.repeat(grey[:, :, None], 3, axis=2),
            wide,
            wide << 8,
            wide * 257,
        )
        return forms[rng.integers(len(forms))]
    if kind == "byte-swapped":
        return counts_of(celsius).byteswap()
    if kind == "counts":
        gain, offset = rng.uniform(20, 120), rng.uniform(2500, 9000)
        return np.round(offset + gain * (celsius - 20)).clip(1, 16383).astype(np.uint16)
    if kind == "out of range":
        shift = rng.choice([rng.uniform(140, 380), -rng.uniform(65, 80)])
        hot = np.full_like(celsius, 655.35 - KELVIN_OFFSET) if rng.random() < 0.1 else celsius + shift
        return np.round((hot + KELVIN_OFFSET) * 100).clip(0, 65535).astype(np.uint16)
    rows, columns = rng.integers(40, 300, 2)
    size = (int(rows), int(columns)) if rows * columns not in {160 * 120, 160 * 122} else (100, 100)
    return counts_of(room(rng, size))
