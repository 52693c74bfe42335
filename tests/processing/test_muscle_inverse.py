from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import nnls

from processing.landmarks import BLENDSHAPES
from processing.muscle_fields import JAW
from processing.muscle_inverse import (
    _LEAST_EVIDENCE,
    InverseModel,
    build_inverse,
    invert,
    solve_nonnegative,
    standard_errors,
)
from processing.muscle_model import ACTIVATIONS, activation_names, displacement_field
from tests.processing.portraits import neutral

NAMES = activation_names()


@lru_cache(maxsize=1)
def own_model() -> InverseModel:
    """The portrait's."""
    return build_inverse(neutral().points)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_solves_non_negative_least_squares(seed: int, unknowns: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(30, unknowns)) + 0.3 * rng.normal(size=(30, 1))
    b = a @ np.maximum(rng.normal(size=unknowns), 0) + 0.1 * rng.normal(size=30)
    found = solve_nonnegative(a.T @ a, a.T @ b, np.zeros(unknowns), 20_000, 1e-14)
    np.testing.assert_allclose(found, nnls(a, b)[0], atol=1e-5)


def test_a_penalty_takes_small_activations_away() -> None:
    gram = np.eye(2)
    found = solve_nonnegative(gram, np.array([1.0, 0.1]), np.full(2, 0.2), 100, 1e-12)
    np.testing.assert_allclose(found, [0.8, 0.0])


@pytest.mark.parametrize("index", range(len(ACTIVATIONS)), ids=NAMES)
def test_each_muscle_alone_is_found_as_its_action_unit(index: int) -> None:
    points, model = neutral().points, own_model()
    field = 0.8 * displacement_field(ACTIVATIONS[index], points)
    shapes = np.zeros(len(BLENDSHAPES))
    for stem, response in ACTIVATIONS[index].course.blendshapes.items():
        for suffix, side in (("", "both"), ("Left", "left"), ("Right", "right")):
            if f"{stem}{suffix}" in BLENDSHAPES and (ACTIVATIONS[index].side in ("both", side) or not suffix):
                shapes[BLENDSHAPES.index(f"{stem}{suffix}")] = 0.8 * response
    found = invert(model, field, shapes).activations
    by_unit: dict[tuple[int, str], float] = {}
    for value, activation in zip(found, ACTIVATIONS, strict=True):
        key = (activation.muscle.action_unit, activation.side)
        by_unit[key] = by_unit.get(key, 0.0) + float(value)
    best = max(by_unit, key=lambda key: by_unit[key])
    assert best == (ACTIVATIONS[index].muscle.action_unit, ACTIVATIONS[index].side)
    assert by_unit[best] > 0.15


def test_nothing_moved_is_nothing_active() -> None:
    model = own_model()
    assert invert(model, np.zeros((478, 2)), np.zeros(len(BLENDSHAPES))).activations.max() == 0.0


def test_a_misplaced_head_is_not_an_expression() -> None:
    points = neutral().points
    model = own_model()
    shift = np.tile([0.01, -0.015], (478, 1))
    roll = 0.01 * np.stack([-points[:, 1], points[:, 0]], axis=1)
    for misplaced in (shift, roll, shift + roll):
        assert invert(model, misplaced, np.zeros(len(BLENDSHAPES))).activations.max() < 0.12


def test_a_turned_head_is_asked_for_more_evidence() -> None:
    model, shapes = own_model(), np.zeros(len(BLENDSHAPES))
    frown = 0.3 * displacement_field(ACTIVATIONS[NAMES.index("corrugator_supercilii_left")], neutral().points)
    straight, turned = (float(invert(model, frown, shapes, deg).activations.sum()) for deg in (0.0, 20.0))
    assert 0.0 <= turned < straight


def test_standard_errors_are_those_of_trembling_landmarks() -> None:
    points, rng = neutral().points, np.random.default_rng(0)
    model, shapes = own_model(), np.zeros(len(BLENDSHAPES))
    index = NAMES.index("zygomaticus_major_left")
    smile = 0.5 * displacement_field(ACTIVATIONS[index], points)
    rows = np.array([0 if a.muscle.action_unit == 12 and a.side == "left" else 1 for a in ACTIVATIONS])
    jitter = 0.001
    told = standard_errors(model, invert(model, smile, shapes), rows, 2, jitter)[0]
    found = []
    for _ in range(60):
        trembling = smile + jitter * rng.normal(size=smile.shape)
        found.append(invert(model, trembling, shapes).activations[rows == 0].sum())
    # The model allows for jitter that neighbours share, which this one does not have.
    assert 0.1 * told < np.std(found) < told


def weak_pull(name: str, share: float) -> NDArray[np.float64]:
    """The field of a muscle, so weak that it explains `share` of the usual evidence that it takes alone."""
    model, index = own_model(), NAMES.index(name)
    field = displacement_field(ACTIVATIONS[index], neutral().points)
    explains = float(field.reshape(-1) @ model.gain[: field.size, index]) / model.strength[index]
    needed = _LEAST_EVIDENCE * model.price[index] / model.strength[index]
    return share * needed / explains * field


@pytest.mark.parametrize("share", [0.6, 0.8])
def test_a_smile_takes_less_evidence_than_a_frown(share: float) -> None:
    model, shapes = own_model(), np.zeros(len(BLENDSHAPES))
    smile = invert(model, weak_pull("zygomaticus_major_left", share), shapes).activations
    found = {ACTIVATIONS[i].muscle.action_unit for i in np.nonzero(smile)[0]}
    assert found == {12}
    assert invert(model, weak_pull("corrugator_supercilii_left", share), shapes).activations.max() == 0.0


def test_a_weak_movement_counts_alone_and_beside_a_strong_one_of_another_part_of_the_face() -> None:
    points, model, shapes = neutral().points, own_model(), np.zeros(len(BLENDSHAPES))
    frown = 0.3 * displacement_field(ACTIVATIONS[NAMES.index("corrugator_supercilii_left")], points)
    yawn = displacement_field(ACTIVATIONS[NAMES.index(JAW.name)], points)
    surprise = sum(
        2.0 * displacement_field(a, points) for a in ACTIVATIONS if a.muscle.action_unit == 2 and not a.index
    )
    brow = [i for i, a in enumerate(ACTIVATIONS) if a.muscle.action_unit == 4]
    assert invert(model, frown, shapes).activations[brow].sum() > 0.05
    assert invert(model, frown + surprise, shapes).activations[brow].sum() == 0.0
    dimple = 0.3 * displacement_field(ACTIVATIONS[NAMES.index("buccinator_left")], points)
    lips = [i for i, a in enumerate(ACTIVATIONS) if a.muscle.action_unit == 14]
    assert invert(model, dimple + surprise, shapes).activations[lips].sum() > 0.0
    assert invert(model, dimple + yawn, shapes).activations[lips].sum() == 0.0
