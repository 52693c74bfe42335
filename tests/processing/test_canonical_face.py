from __future__ import annotations

import numpy as np
import pytest

from processing.canonical_face import canonical_face
from processing.landmarks import LANDMARK_COUNT
from processing.pose import interocular


def test_the_mean_face_is_upright_symmetric_and_of_unit_size() -> None:
    face = canonical_face()
    points = face.points
    assert points.shape == (LANDMARK_COUNT, 3)
    assert interocular(points) == pytest.approx(1.0)
    for right, left in ((33, 263), (61, 291), (70, 300), (468, 473)):
        np.testing.assert_allclose(points[right] * (-1, 1, 1), points[left], atol=1e-3)
    assert points[10, 1] < points[168, 1] < points[1, 1] < points[152, 1]
    assert points[4, 2] == points[:, 2].min(), "the tip of the nose is nearest"


def test_its_facets_cover_the_landmarks() -> None:
    triangles = canonical_face().triangles
    assert triangles.shape == (898, 3)
    assert set(triangles.ravel().tolist()) == set(range(468))
