"""The head's rigid motion from windows that mostly move with it, some with noise, some on their own."""

from __future__ import annotations

import numpy as np
import pytest

from processing.motion_head import fit_rigid

REFERENCES = 7
POSE = np.array([1.5, -0.8, 0.01, 0.02, 0.0, 0.0])
"""Shift, px; growth; roll, rad; no turn."""

RNG = np.random.default_rng(5)
POINTS = np.concatenate(
    (
        RNG.uniform((-60.0, -60.0, -20.0), (60.0, 110.0, 20.0), (19, 3)),  # brows to chin
        RNG.uniform((-75.0, -70.0, -40.0), (75.0, 20.0, 10.0), (REFERENCES, 3)),  # forehead to nose
    )
)
CHIN = np.array([0.0, 110.0])


def carried(points, pose=POSE):
    x, y = points[..., 0], points[..., 1]
    return np.stack((pose[0] + pose[2] * x - pose[3] * y, pose[1] + pose[3] * x + pose[2] * y), axis=-1)


def fitted(displacement, trust=None):
    """Pose [6], misfit and weights [N]."""
    count = len(POINTS)
    pose, weights = np.zeros(6), np.zeros(count)
    trust = np.ones(count) if trust is None else trust
    misfit = fit_rigid(
        POINTS, displacement, trust, REFERENCES, 0.05, 500.0, 4, pose, weights, np.zeros((6, 6)), np.zeros(6),
        np.zeros(count),
    )  # fmt: skip
    return pose, misfit, weights


def chin_error_px(pose):
    return float(np.hypot(*(carried(CHIN, pose) - carried(CHIN))))


def test_motion_of_the_head_alone_is_told_exactly():
    pose, misfit, _ = fitted(carried(POINTS))
    assert pose == pytest.approx(POSE, abs=1e-4)
    assert misfit < 1e-2


@pytest.mark.parametrize("moving", [3, 9, 14])
def test_what_moves_by_itself_does_not_carry_the_head(moving):
    displacement = carried(POINTS)
    displacement[:moving] += (2.0, -3.0)
    pose, _, weights = fitted(displacement)
    assert chin_error_px(pose) < 0.1
    assert weights[:moving].max() < 0.05 * weights[moving:].min()


def test_the_face_at_rest_tells_the_head_better_than_the_references_do():
    alone = np.zeros(len(POINTS))
    alone[-REFERENCES:] = 1.0
    rng = np.random.default_rng(8)
    errors = []
    for _ in range(200):
        noisy = carried(POINTS) + rng.normal(0.0, 0.1, (len(POINTS), 2))
        errors.append([chin_error_px(fitted(noisy, trust)[0]) for trust in (alone, None)])
    by_references, by_all = np.median(errors, axis=0)
    assert by_all < 0.5 * by_references


def test_without_references_there_is_no_head():
    trust = np.ones(len(POINTS))
    trust[-REFERENCES:] = 0.0
    assert fitted(carried(POINTS), trust)[1] == 99.0
