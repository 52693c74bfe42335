"""The map from visible to thermal pixels: fits, refusals, files, and faces carried over by it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.stream import InvalidSignal
from processing.thermal import SkinTemperature
from processing.thermal_mapping import (
    ThermalMapping,
    find_board,
    fit_board,
    fit_faces,
    render_for_board,
)
from tests.processing.thermal_face import (
    RATE_HZ,
    Scene,
    ScriptedFinder,
    block_of,
    portrait,
    thermal_spec,
)

CAMERA, THERMAL = (640, 480), (160, 120)
TRUE = np.array([[0.25, 0.01, 3.0], [-0.01, 0.26, -2.0], [0.0, 0.0, 1.0]])


def mapped(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def face_pairs(
    count: int, jitter_px: float, wrong: int = 0
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    rng = np.random.default_rng(2)
    mesh = portrait()[1]
    pairs = []
    for i in range(count):
        seen = (mesh - (80, 60)) * 3.6 + (320, 240) + rng.uniform(-60, 60, 2)
        felt = mapped(seen, TRUE) + rng.normal(0, jitter_px, 2) + rng.normal(0, jitter_px, mesh.shape)
        pairs.append((seen, felt + 25.0 if i < wrong else felt))
    return pairs


def test_a_face_seen_by_both_gives_the_map_in_spite_of_wrong_landmarks() -> None:
    mapping = fit_faces(face_pairs(16, 0.5, wrong=3), CAMERA, THERMAL)
    corners = np.array([[200.0, 150], [440, 150], [440, 330], [200, 330]])
    assert np.abs(mapping.to_thermal(corners) - mapped(corners, TRUE)).max() < 1.0
    assert 0.3 < mapping.residual_px < 2.0 and mapping.method == "face" and mapping.samples == 16


def test_too_few_faces_or_faces_that_disagree_are_refused() -> None:
    with pytest.raises(InvalidSignal, match="at 2 moments only"):
        fit_faces(face_pairs(2, 0.1), CAMERA, THERMAL)
    pairs = face_pairs(8, 0.2)
    scattered = [
        (seen, felt + np.random.default_rng(i).uniform(-40, 40, 2)) for i, (seen, felt) in enumerate(pairs)
    ]
    with pytest.raises(InvalidSignal, match="calibrate again"):
        fit_faces(scattered, CAMERA, THERMAL)
    mirrored = [(seen * (-1, 1) + (640, 0), felt) for seen, felt in pairs]
    with pytest.raises(InvalidSignal, match="mirrored"):
        fit_faces(mirrored, CAMERA, THERMAL)


def board_views() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A chequered board of 8 x 6 squares as both cameras see it; its dark squares are warm."""
    square = 40
    pattern = (np.add.outer(np.arange(6), np.arange(8)) % 2).repeat(square, 0).repeat(square, 1)
    board = np.pad(pattern, 30, constant_values=1).astype(np.float32)
    place = np.array([[1.0, 0.03, 120.0], [-0.02, 1.0, 70.0], [0.0, 0.0001, 1.0]])
    visible = cv2.warpPerspective(board, place, CAMERA, borderValue=0.6)
    fine = np.diag([4.0, 4, 1]) @ TRUE @ place
    warm = cv2.warpPerspective(1 - board, fine, (640, 480), flags=cv2.INTER_AREA)
    celsius = 24 + 9 * cv2.resize(cv2.GaussianBlur(warm, (0, 0), 2), THERMAL, interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(1).normal(0, 0.03, celsius.shape)
    return (255 * visible).astype(np.uint8), (celsius + noise).astype(np.float32)


def test_a_heated_board_gives_the_homography() -> None:
    visible, celsius = board_views()
    rendering, scale = render_for_board(celsius)
    seen, felt = find_board(visible, 7, 5), find_board(rendering, 7, 5)
    assert seen is not None and felt is not None and len(seen) == len(felt) == 35
    mapping = fit_board([(seen, (felt + 0.5) / scale - 0.5)], CAMERA, THERMAL)
    middle = np.array([[300.0, 240], [350, 200]])
    # The pictures' pixel centres differ by the shift between a 4 times finer picture and its mean.
    assert np.abs(mapping.to_thermal(middle) - mapped(middle, TRUE)).max() < 0.7
    assert mapping.residual_px < 0.5
    with pytest.raises(InvalidSignal, match="heat it"):
        fit_board([], CAMERA, THERMAL)


def test_a_mapping_survives_its_file_and_other_sizes() -> None:
    mapping = ThermalMapping(TRUE, 1.25, CAMERA, THERMAL, "face", 9)
    again = ThermalMapping.from_json(json.dumps(mapping.to_json()))
    np.testing.assert_allclose(again.homography, mapping.homography)
    assert (again.residual_px, again.camera_size, again.method) == (1.25, CAMERA, "face")
    larger = mapping.for_sizes((1280, 960), (80, 60))
    point = np.array([[320.0, 240.0]])
    expected = (mapping.to_thermal((point + 0.5) / 2 - 0.5) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(larger.to_thermal(point), expected, atol=1e-9)
    assert larger.residual_px == pytest.approx(0.625)
    with pytest.raises(InvalidSignal, match="calibrate again"):
        mapping.for_sizes((1280, 720), THERMAL)
    for broken in ("{}", "[]", '{"format": "zygoma-thermal-mapping-1"}', "no json"):
        with pytest.raises(InvalidSignal, match="no thermal mapping"):
            ThermalMapping.from_json(broken)


def carried_run(lag_s: float = 0.2) -> tuple[SkinTemperature, NDArray[np.float32]]:
    """The thermal picture alone shows no face; the visible camera knows where it is."""
    scene = Scene.still(6.0)
    finder = ScriptedFinder()
    finder.visible = False
    mapping = ThermalMapping(TRUE, 1.5, CAMERA, THERMAL, "face", 9)
    skin = SkinTemperature(finder, mapping=mapping)
    back = np.linalg.inv(TRUE)
    seen = mapped(portrait()[1], back)
    block = block_of(scene.frames(seed=1), scene.times)
    rows = []
    for i, time_s in enumerate(block.timestamps.tolist()):
        skin.carry_over(seen, time_s - lag_s, CAMERA)
        rows.append(skin.process(block[i : i + 1]).array)
    return skin, np.concatenate(rows)


def test_a_face_that_only_the_visible_camera_sees_is_carried_over() -> None:
    skin, rows = carried_run()
    spec = skin.spec_for(thermal_spec())
    assert spec.metadata["mapping_residual_px"] == "1.50" and spec.metadata["mapping"] == "face"
    nose = rows[:, spec.index("nose_tip_celsius")]
    assert np.isfinite(nose[8:]).all()
    first = int(np.flatnonzero(np.isfinite(nose))[0])
    assert rows[first, spec.index("carried_over")] == 1
    assert rows[first, spec.index("registration_residual_px")] == pytest.approx(1.5)
    # From then on the face is followed in the thermal picture itself.
    assert np.nanmax(rows[first + 1 :, spec.index("registration_residual_px")]) < 0.5
    again = carried_run()[1]
    np.testing.assert_array_equal(rows, again)


def test_a_face_of_the_future_or_the_past_is_not_carried_over() -> None:
    for lag_s in (0.0, 0.1, 0.6):
        if lag_s == 0.0:
            # Newer than the frames that have surely been measured: the frame before serves instead.
            continue
        skin, rows = carried_run(lag_s)
        nose = rows[:, skin.spec_for(thermal_spec()).index("nose_tip_celsius")]
        assert np.isnan(nose[: int(RATE_HZ)]).all() == (lag_s > 0.35)


def test_a_camera_of_other_proportions_is_refused() -> None:
    skin = SkinTemperature(ScriptedFinder(), mapping=ThermalMapping(TRUE, 1.0, CAMERA, THERMAL, "face", 9))
    with pytest.raises(InvalidSignal, match="calibrate again"):
        skin.carry_over(portrait()[1], 1.0, (1280, 720))
