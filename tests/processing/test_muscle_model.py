from __future__ import annotations

import numpy as np

from processing.muscle_fields import BLENDSHAPE_NOISE, JAW, MUSCLES
from processing.muscle_model import ACTIVATIONS, activation_names, displacement_field
from tests.processing.portraits import neutral

NAMES = activation_names()


def test_names_are_unique_and_both_sides_are_there() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert "zygomaticus_major_left" in NAMES
    assert "zygomaticus_major_right" in NAMES
    assert "mentalis" in NAMES


def test_a_muscle_pulls_its_own_side_and_lets_the_bony_points_rest() -> None:
    points = neutral().points
    field = displacement_field(ACTIVATIONS[NAMES.index("zygomaticus_major_left")], points)
    assert field[291, 0] > 0.03  # outward is the picture's right on the subject's left
    assert field[291, 1] < -0.05
    assert abs(field[61, 1]) < 0.01
    assert np.abs(field[[6, 168, 10, 127, 356]]).max() < 0.012


def test_left_and_right_fields_are_mirror_images() -> None:
    points = neutral().points
    left = displacement_field(ACTIVATIONS[NAMES.index("frontalis_medialis_left")], points)
    right = displacement_field(ACTIVATIONS[NAMES.index("frontalis_medialis_right")], points)
    for right_point, left_point in ((55, 285), (107, 336), (105, 334)):
        np.testing.assert_allclose(right[right_point, 1], left[left_point, 1], atol=0.01)
        np.testing.assert_allclose(right[right_point, 0], -left[left_point, 0], atol=0.01)


def test_the_jaw_takes_the_lower_lip_and_leaves_the_upper() -> None:
    field = displacement_field(ACTIVATIONS[NAMES.index(JAW.name)], neutral().points)
    assert field[14, 1] > 0.4
    assert field[13, 1] < 0.03
    assert 0.1 < field[61, 1] < 0.3


def test_data_is_whole() -> None:
    for muscle in (*MUSCLES, JAW):
        assert muscle.latin
        assert muscle.strokes
        for course in muscle.courses:
            assert set(course.blendshapes) <= set(BLENDSHAPE_NOISE)
            assert course.reluctance > 0.0
            for stroke in course.strokes:
                assert all(0 <= anchor < 468 for anchor in stroke.anchor)
                assert min(stroke.reach) > 0.0
                assert abs(stroke.outward) <= 0.25
                assert abs(stroke.up) <= 0.25
