from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from processing.pose import (
    STABLE_POINTS,
    STABLE_WEIGHTS,
    align_to_neutral,
    fit_similarity,
    head_pose,
    interocular,
    to_face_coordinates,
)
from tests.processing.portraits import neutral, observation


def rotation(pitch_deg: float, yaw_deg: float, roll_deg: float) -> NDArray[np.float64]:
    """About x, y, z in axes with y up and z towards the camera."""
    p, y, r = np.radians([pitch_deg, yaw_deg, roll_deg])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    turned: NDArray[np.float64] = about_y @ about_x @ about_z
    return turned


angles = st.floats(-40, 40)


@settings(max_examples=25, deadline=None)
@given(angles, angles, angles, st.floats(0.2, 300), st.floats(-500, 500))
def test_a_similarity_is_found_again(
    pitch: float, yaw: float, roll: float, scale: float, shift: float
) -> None:
    points = neutral().points
    turn = rotation(pitch, yaw, roll)
    moved = scale * points @ turn.T + shift
    found = fit_similarity(points, moved, np.ones(len(points)))
    np.testing.assert_allclose(found.rotation, turn, atol=1e-9)
    np.testing.assert_allclose(found.apply(points), moved, atol=1e-7 * scale)
    assert found.scale == pytest.approx(scale)


def test_weights_say_which_points_count() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(20, 3))
    moved = points @ rotation(5, 10, 3).T
    moved[0] += 5.0
    weights = np.ones(20)
    weights[0] = 0.0
    np.testing.assert_allclose(fit_similarity(points, moved, weights).apply(points)[1:], moved[1:], atol=1e-9)


def test_a_mirrored_face_is_not_turned_inside_out() -> None:
    points = neutral().points
    mirrored = fit_similarity(points, points * [-1, 1, 1], np.ones(len(points)))
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1.0)


@pytest.mark.parametrize(("pitch", "yaw", "roll"), [(20, 0, 0), (0, -20, 0), (0, 0, 15), (10, 15, -5)])
def test_angles_have_the_documented_signs(pitch: float, yaw: float, roll: float) -> None:
    transform = np.eye(4)
    transform[:3, :3] = rotation(pitch, yaw, roll)
    pose = head_pose(observation().points_px, transform)
    nose = transform[:3, :3] @ [0, 0, 1]
    assert (nose[1] < -1e-9) == (pose.pitch_deg > 1e-6)  # y is up: chin down is positive
    assert (nose[0] > 1e-9) == (pose.yaw_deg > 1e-6)
    assert pose.pitch_deg == pytest.approx(pitch, abs=1e-6)
    assert pose.yaw_deg == pytest.approx(yaw, abs=1e-6)
    assert pose.roll_deg == pytest.approx(roll, abs=1e-6)


def test_face_coordinates_have_unit_interocular_distance() -> None:
    found = observation()
    face = to_face_coordinates(found.points_px, found.transform)
    assert interocular(face) == pytest.approx(1.0)
    centre = STABLE_WEIGHTS @ face[STABLE_POINTS] / STABLE_WEIGHTS.sum()
    np.testing.assert_allclose(centre, 0, atol=1e-9)
    assert face[152, 1] > face[1, 1] > face[168, 1]  # chin below nose below bridge
    assert abs(face[1, 0]) < 0.1


@settings(max_examples=25, deadline=None)
@given(angles, angles, angles, st.floats(40, 300))
def test_moving_the_head_moves_nothing_in_the_face(pitch: float, yaw: float, roll: float, iod: float) -> None:
    points = neutral().points
    picture = iod * points @ rotation(pitch, yaw, roll).T + [320, 240, 0]
    face, _, residual = align_to_neutral(picture, points)
    np.testing.assert_allclose(face, points, atol=1e-6)
    assert residual == pytest.approx(0.0, abs=1e-6)


def test_one_stable_point_moved_by_an_expression_hardly_drags_the_head() -> None:
    points = neutral().points
    moved = points.copy()
    moved[33, 1] -= 0.05
    face, _, residual = align_to_neutral(100.0 * moved, points)
    others = np.setdiff1d(np.arange(len(points)), [33])
    assert np.abs(face[others] - points[others]).max() < 0.012
    assert residual > 0.0
