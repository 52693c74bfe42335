"""The parts of the thermal processor, each against a known answer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from acquisition.clock import ManualClock
from acquisition.stream import INVALID_CENTI_CELSIUS, EndOfStream
from hardware.simulated.scenario import Scenario
from hardware.simulated.thermal import SimulatedThermal
from processing.thermal import SkinTemperature
from processing.thermal_alignment import Placement
from processing.thermal_checks import PixelCheck, Shutter, ShutterWatch
from processing.thermal_features import RegionReader, SlopeWindow
from processing.thermal_refine import local_shifts, surroundings
from processing.thermal_regions import POLYGONS, REGIONS, region_samples
from processing.thermal_rendering import RENDERINGS
from processing.thermal_tracking import band_pass
from tests.processing.thermal_face import portrait


def plane(height: int = 40, width: int = 50, noise: float = 0.0) -> NDArray[np.int16]:
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    return np.round(3000 + 7 * x - 5 * y + rng.normal(0, noise, x.shape)).astype(np.int16)


def shoelace(corners: NDArray[np.float64]) -> float:
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.7, 1.2), st.floats(-5, 5), st.floats(-5, 5))
def test_region_weights_have_the_polygons_area_and_centre(scale: float, dx: float, dy: float) -> None:
    mesh = (portrait()[1] - (80, 60)) * scale + (80 + dx, 60 + dy)
    samples = region_samples(mesh, 120, 160)
    for region, name in enumerate(REGIONS):
        corners = mesh[list(POLYGONS[name])]
        assert samples.area_px[region] == pytest.approx(shoelace(corners), rel=0.02, abs=0.2)
    assert len(samples.points_px) == len(samples.weights) == samples.starts[-1]
    assert samples.weights.min() > 0 and samples.weights.max() <= 1


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_reading_a_gradient_between_pixels_is_exact(dx: float, dy: float) -> None:
    mesh = portrait()[1]
    samples = region_samples(mesh, 120, 160)
    y, x = np.mgrid[:120, :160]
    celsius = (30 + 0.03 * x - 0.02 * y).astype(np.float32)
    reader = RegionReader()
    warp = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
    shifts = np.zeros((len(REGIONS), 2))
    valid = np.ones(celsius.shape, dtype=np.bool_)
    place = Placement(warp, np.array([0.1, -0.2]))
    depths = np.full(len(samples.weights), 2.0)
    reader.read(celsius, valid, samples, depths, place, shifts)
    for region, (a, b) in enumerate(zip(samples.starts, samples.starts[1:], strict=False)):
        centre = np.average(samples.points_px[a:b], axis=0, weights=samples.weights[a:b])
        expected = 30 + 0.03 * (centre[0] + 0.2 + dx) - 0.02 * (centre[1] - 0.4 + dy)
        assert reader.mean[region] == pytest.approx(expected, abs=1e-4)
        assert reader.valid[region] == pytest.approx(1.0)
        assert reader.p10[region] < reader.mean[region] < reader.p90[region]


def test_bridged_pixels_lie_on_the_gradient_around_them() -> None:
    frame = plane()
    damaged = frame.copy()
    damaged[10, 10] = INVALID_CENTI_CELSIUS
    damaged[20] = 4000
    damaged[0, 0] = INVALID_CENTI_CELSIUS
    check = PixelCheck(*frame.shape)
    for _ in range(12):
        celsius = check.clean(damaged)
    assert check.faults.rows == (20,) and set(check.faults.pixels) == {(10, 10), (0, 0)}
    np.testing.assert_allclose(celsius[1:], frame[1:] / 100, atol=1e-4)
    assert not check.valid[20].any() and check.valid.mean() == pytest.approx(1 - 52 / 2000)


def test_pixels_and_lines_recover_when_they_behave_again() -> None:
    frame = plane(noise=2.0)
    damaged = frame.copy()
    damaged[5, 6], damaged[:, 30] = 5000, 4500
    check = PixelCheck(*frame.shape)
    for _ in range(15):
        check.clean(damaged)
    assert check.faults.columns == (30,) and check.faults.pixels == ((5, 6),)
    for _ in range(25):
        check.clean(frame)
    assert str(check.faults) == "no dead pixels" and check.valid.all()


def test_edges_of_the_scene_are_no_dead_lines() -> None:
    frame = plane(noise=2.0)
    frame[20:] += 900
    frame[:, 25:] -= 600
    check = PixelCheck(*frame.shape)
    for _ in range(15):
        check.clean(frame)
    assert check.faults.rows == check.faults.columns == check.faults.pixels == ()


def test_neighbouring_dead_pixels_do_not_excuse_each_other() -> None:
    frame = plane(noise=2.0)
    frame[10, 10], frame[10, 11] = 5000, 5100
    check = PixelCheck(*frame.shape)
    check.clean(frame)
    assert not check.valid[10, 10] and not check.valid[10, 11] and check.valid.sum() == frame.size - 2


def test_hold_off_counts_from_the_end_of_the_pause_behind_flagged_frames() -> None:
    watch = ShutterWatch(hold_off_s=1.0)
    rng = np.random.default_rng(1)

    def at(time_s: float, flagged: bool = False, lost: bool = False) -> Shutter:
        return watch.update(time_s, flagged, rng.integers(0, 9, (4, 4)).astype(np.int16), lost)

    for k in range(10):
        assert at(0.1 * k) is Shutter.OPEN
    assert at(1.0, flagged=True) is Shutter.CLOSED
    # Cameras whose frame numbers run on while the shutter is closed.
    assert at(3.0, lost=True) is Shutter.CLOSED
    states = [at(3.0 + 0.1 * k) for k in range(1, 12)]
    assert states == [Shutter.HOLD_OFF] * 9 + [Shutter.OPEN] * 2
    assert at(6.0, lost=True) is Shutter.OPEN


@pytest.mark.parametrize("lines", [(0,), (20, 21), (10, 11, 12, 39)])
def test_stuck_lines_side_by_side_are_dead_at_once(lines: tuple[int, ...]) -> None:
    rows, columns = plane(noise=3.0), plane(noise=3.0)
    rows[list(lines)] = columns[:, list(lines)] = 3185
    by_rows, by_columns = PixelCheck(*rows.shape), PixelCheck(*columns.shape)
    by_rows.clean(rows)
    by_columns.clean(columns)
    assert not by_rows.valid[list(lines)].any() and by_rows.valid.sum() == rows.size - len(lines) * 50
    assert not by_columns.valid[:, list(lines)].any()
    assert by_columns.valid.sum() == columns.size - len(lines) * 40


def test_a_picture_without_noise_has_no_dead_lines() -> None:
    ramp = np.tile(3000 + 7 * np.arange(50, dtype=np.int16), (40, 1))
    check = PixelCheck(*ramp.shape)
    for _ in range(12):
        check.clean(ramp)
    assert check.faults.rows == check.faults.columns == ()
    step = np.repeat(np.array([2500, 3100], np.int16), 20)[:, None]
    for scene in (np.tile(step, 50), np.tile(step, 50).T.copy()):
        check = PixelCheck(*scene.shape)
        for _ in range(12):
            check.clean(scene)
        assert check.faults.rows == check.faults.columns == ()


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.2, 0.2), st.integers(0, 1000))
def test_slopes_are_those_of_least_squares(slope: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.09, 0.13, 60)) + 1e6
    values = 33 + slope * (times - times[0]) + rng.normal(0, 0.005, 60)
    values[rng.integers(0, 60, 4)] = np.nan
    window = SlopeWindow(3.0, 2)
    for time_s, value in zip(times, values, strict=True):
        window.push(time_s, np.array([value, np.nan]))
    recent = (times[-1] - times <= 3.0) & np.isfinite(values)
    expected, covariance = np.polyfit(times[recent] - times[-1], values[recent], 1, cov=True)
    assert window.slope[0] == pytest.approx(expected[0], abs=1e-7)
    assert window.slope_se[0] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-4)
    assert np.isnan(window.slope[1])


@pytest.mark.parametrize("true", [(0.0, 0.0), (0.5, -0.4), (-0.4, 0.5)])
def test_local_shift_of_one_region_is_found_in_spite_of_warming(true: tuple[float, float]) -> None:
    celsius, mesh, _ = portrait()
    small = cv2.resize(celsius, (160, 120), interpolation=cv2.INTER_AREA)
    centre = mesh[list(POLYGONS["nose_tip"])].mean(axis=0)
    band = band_pass(small)
    around = surroundings(band, np.zeros(band.shape), np.array([centre, [np.nan, np.nan]]), 40.0)
    y, x = np.mgrid[:120, :160]
    warming = 0.3 * np.exp(-0.5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 8.0**2)
    place = np.array([[1.0, 0, true[0]], [0, 1, true[1]]])
    moved = cv2.warpAffine(small, place, (160, 120), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    shifts = np.zeros((2, 2))
    local_shifts(around, band_pass((moved + warming).astype(np.float32)), np.eye(2, 3), np.zeros(2), shifts)
    # The prior holds the shift back, and the warming beside it does not drive it the other way.
    np.testing.assert_allclose(shifts[0], true, atol=0.3)
    assert np.hypot(*(shifts[0] - true)) < 0.12 + 0.4 * np.hypot(*true)
    assert not shifts[1].any()


def test_renderings_are_rgb_four_times_larger_on_a_lepton() -> None:
    flat = np.full((120, 160), 30, np.float32)
    for rendering in RENDERINGS:
        rgb, scale = rendering(flat)
        assert scale == 4 and rgb.shape == (480, 640, 3) and np.ptp(rgb) == 0
        assert 100 < rgb[0, 0, 0] < 180


def test_simulated_person_is_found_and_measured_with_the_packaged_face_model() -> None:
    clock = ManualClock()
    scenario = Scenario.neutral(seed=3, duration_s=10.0)
    camera = SimulatedThermal(scenario, clock=clock, sleep=clock.sleep, loop=False, first_ffc_s=6.5)
    skin = SkinTemperature()
    rows, times = [], []
    with camera:
        while True:
            try:
                block = camera.read(1.0)
            except EndOfStream:
                break
            out = skin.process(block)
            rows.append(out.array)
            times += out.timestamps.tolist()
    table = np.concatenate(rows)
    kinds = [event.kind for event in skin.events()]
    assert kinds.count("face found") == 1 and kinds.count("ffc") == 1
    truth = camera.true_roi_celsius(9.0)
    forehead = truth["forehead"]
    for region in REGIONS:
        column = table[:, out.spec.index(f"{region}_minus_forehead_celsius")]
        tolerance = 0.8 if region in {"perinasal", "periorbital_left", "periorbital_right"} else 0.4
        assert abs(np.nanmean(column) - (truth[region] - forehead)) < tolerance, region
        if region != "forehead":
            delta = table[:, out.spec.index(f"{region}_delta_celsius")]
            assert np.sqrt(np.nanmean(delta**2)) < 0.06, region
