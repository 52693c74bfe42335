"""Brief movements of skin in a fast thermal film: found, timed, and silent below 25 Hz."""

from __future__ import annotations

import numpy as np
import pytest

from processing.findings import Movement
from processing.thermal_motion import ThermalMotion
from processing.thermal_regions import REGIONS

EYES_PX = 40.0


def film(
    rate_hz: float, start_s: float, end_s: float, region: str, dy_px: float, seed: int = 0
) -> tuple[list[Movement], ThermalMotion]:
    """Six seconds in which one region is away by `dy_px` from `start_s` to `end_s`."""
    rng = np.random.default_rng(seed)
    motion = ThermalMotion()
    found: list[Movement] = []
    for time_s in np.arange(int(6 * rate_hz)) / rate_hz:
        shifts = rng.normal(0, 0.02, (len(REGIONS), 2))
        if start_s <= time_s < end_s:
            shifts[REGIONS.index(region), 1] += dy_px
        found += motion.update(float(time_s), shifts, EYES_PX, 0.98)
    return found, motion


@pytest.mark.parametrize(
    ("region", "dy_px", "units", "side"),
    [("glabella", 0.4, (4,), "both"), ("cheek_left", -0.4, (12, 6), "left"), ("chin", -0.5, (17,), "both")],
)
def test_a_twitch_is_a_movement_of_its_muscle(
    region: str, dy_px: float, units: tuple[int, ...], side: str
) -> None:
    found, motion = film(30.0, 4.0, 4.2, region, dy_px)
    assert motion.is_fast and len(found) == 1
    move = found[0]
    assert move.action_units == units and move.side == side and not move.provisional
    assert move.onset_s == pytest.approx(4.0, abs=0.04) and move.offset_s == pytest.approx(4.2, abs=0.04)
    # 40 px between the outer eye corners are 27 px between the eyes: the shift grows by 3.75.
    assert move.dy_px == pytest.approx(3.75 * dy_px, rel=0.2)
    assert 0 < move.log_likelihood_ratio <= 3 and move.found_s >= move.offset_s
    assert move.asymmetry == (1.0 if side == "left" else 0.0)


def test_a_slow_camera_says_nothing() -> None:
    found, motion = film(8.77, 4.0, 4.3, "glabella", 0.5)
    assert not found and not motion.is_fast


def test_rest_and_lasting_shifts_are_no_movements() -> None:
    for seed in range(3):
        assert not film(30.0, 9.0, 9.0, "glabella", 0.0, seed)[0]
    assert not film(30.0, 3.0, 5.0, "glabella", 0.5)[0]
