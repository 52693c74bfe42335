"""Thermal test films: what is said of them is what they show."""

from __future__ import annotations

import numpy as np
import pytest

from acquisition.stream import INVALID_CENTI_CELSIUS
from hardware.simulated.thermal_scene import ThermalPerson, ThermalScene

CORNERS = {"spot": (10, 11, 12, 13), "far": (20, 21, 22, 23)}


def person() -> ThermalPerson:
    """A flat face of 34 degC before a wall of 22."""
    y, x = np.mgrid[0:300, 0:400]
    inside = np.hypot((x - 200) / 70, (y - 150) / 90) < 1
    mesh = np.tile([200.0, 150.0], (478, 1))
    mesh[:4] = [[130, 150], [270, 150], [200, 60], [200, 240]]
    mesh[[33, 263]] = [[160, 130], [240, 130]]
    for first, (cx, cy) in ((10, (200, 150)), (20, (200, 220))):
        mesh[first : first + 4] = [
            [cx - 10, cy - 10],
            [cx + 10, cy - 10],
            [cx + 10, cy + 10],
            [cx - 10, cy + 10],
        ]
    return ThermalPerson(np.where(inside, 34.0, 22.0).astype(np.float32), mesh)


def test_the_face_is_where_it_is_said_and_warms_as_it_is_said() -> None:
    scene = ThermalScene(
        person(), CORNERS, warming={"spot": 0.5}, drift_celsius=0.0, noise_celsius=0.0, pattern_celsius=0.0
    )
    for time_s in (1.0, 12.0):
        centi = scene.picture(time_s, 0, np.random.default_rng(0))
        x, y = np.round(scene.mesh_at(time_s)[list(CORNERS["spot"])].mean(axis=0)).astype(int)
        change = scene.true_change(time_s)
        assert centi[y, x] / 100 == pytest.approx(34 + change["spot"], abs=0.12)
        assert 0 <= change["far"] < 0.1 * max(change["spot"], 0.1)
    assert scene.true_change(12.0)["spot"] > 0.3 and scene.true_change(4.0)["spot"] == 0.0


def test_faults_are_there_and_a_correction_leaves_a_gap_without_numbers() -> None:
    scene = ThermalScene(
        person(), CORNERS, duration_s=6.0, dead_pixels=4, dead_rows=(50,), ffc_at_s=(2.0,), warm_objects=3
    )
    frames = list(scene.frames())
    assert [frame.number for frame in frames] == list(range(len(frames)))
    gaps = np.diff([frame.time_s for frame in frames])
    assert gaps.max() > 1.7 and np.sum(gaps > 0.2) == 1
    assert sum(frame.ffc for frame in frames) == 2
    first = frames[0].centi
    assert np.all(first[50] == 1800) or np.sum(first[50] != 1800) <= 4
    assert np.sum(first == INVALID_CENTI_CELSIUS) == 2 and np.sum(first == 4700) >= 2
    assert np.median(frames[-1].centi.astype(int) - first) > 10


def test_lines_and_the_whole_picture_have_a_noise_of_their_own() -> None:
    quiet = {"sway_px": 0.0, "roll_deg": 0.0, "drift_celsius": 0.0, "noise_celsius": 0.0}
    scene = ThermalScene(person(), CORNERS, line_noise_celsius=0.1, flicker_celsius=0.3, **quiet)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    pictures = np.array([scene.picture(0.0, i, rng) for i in range(60)]) / 100
    change = pictures - pictures.mean(axis=0)
    assert change.mean(axis=(1, 2)).std() == pytest.approx(0.3, rel=0.4)
    change -= change.mean(axis=(1, 2), keepdims=True)
    for axis in (1, 2):
        assert change.mean(axis=axis).std() == pytest.approx(0.1, rel=0.2)
