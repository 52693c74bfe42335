"""Finding a face in one thermal picture: mirrored views, filled-in noses, the cost of a misplaced region."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from processing.canonical_face import canonical_face
from processing.thermal_face import consensus, find_thermal_face, mirror_vertices, packaged_face_finder
from processing.thermal_features import misread_variance
from processing.thermal_refine import local_shifts, surroundings
from processing.thermal_regions import POLYGONS, REFERENCE, REGIONS, misread_shares, region_samples
from processing.thermal_rendering import RENDERINGS, Rendering, features
from processing.thermal_tracking import band_pass
from tests.processing.thermal_face import FINE, HEIGHT, WIDTH, portrait

NOSE = REGIONS.index("nose_tip")


def small(celsius: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(celsius, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.float32)


def in_picture(width: int) -> NDArray[np.float32]:
    face = canonical_face().points
    points = 300.0 * face / np.ptp(face[:, 0]) + (width / 2 + 13.0, 240.0, 0.0)
    return np.asarray(points, dtype=np.float32)


def test_mirroring_the_vertices_twice_changes_nothing() -> None:
    other = mirror_vertices()
    assert np.array_equal(other[other], np.arange(478))
    assert other[33] == 263 and other[133] == 362 and other[4] == 4


@pytest.mark.parametrize("error_px", [0.0, 6.0])
def test_consensus_is_the_mean_of_both_views(error_px: float) -> None:
    width = 640
    points = in_picture(width)
    mirrored = points[mirror_vertices()]
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    found = consensus(points, mirrored + np.float32([0.0, error_px, 0.0]), width)
    assert found is not None
    np.testing.assert_allclose(found, points + np.float32([0.0, error_px / 2, 0.0]), atol=1e-3)


def test_views_that_contradict_each_other_are_no_face() -> None:
    points = in_picture(640)
    mirrored = points[mirror_vertices()]
    mirrored[:, 0] = 639 - mirrored[:, 0]
    mirrored[:, 1] += 0.06 * np.ptp(points[:, 0])
    assert consensus(points, mirrored, 640) is None


def test_a_cold_nose_does_not_move_the_mesh() -> None:
    celsius, mesh, _ = portrait()
    y, x = np.mgrid[: celsius.shape[0], : celsius.shape[1]]
    tip = (mesh[4] + 0.5) * FINE - 0.5
    radius = 0.17 * FINE * np.hypot(*(mesh[263] - mesh[33]))
    nose = np.exp(-0.5 * ((x - tip[0]) ** 2 + (y - tip[1]) ** 2) / radius**2)
    face_width = np.ptp(mesh[:, 0])
    for cold in (0.0, 4.0):
        found = find_thermal_face(small((celsius - cold * nose).astype(np.float32)), packaged_face_finder())
        assert found is not None
        for region in ("nose_tip", "perinasal", "cheek_left", "chin"):
            corners = list(POLYGONS[region])
            apart = found[corners, :2].mean(axis=0) - mesh[corners].mean(axis=0)
            assert np.hypot(*apart) < 0.045 * face_width, (cold, region)


def test_an_oval_without_features_is_no_face() -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for place in (60.0, 80.0, 95.0):
        oval = ((x - place) / 30.0) ** 2 + ((y - 58.0) / 42.0) ** 2 < 1
        celsius = cv2.GaussianBlur(np.where(oval, 34.0, 22.0).astype(np.float32), (0, 0), 1.0)
        assert find_thermal_face(np.asarray(celsius), packaged_face_finder()) is None


def test_filling_in_does_not_join_a_face_to_the_border() -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    oval = ((x - 80) / 32.0) ** 2 + ((y - 60) / 44.0) ** 2 < 1
    picture, scale = features(np.where(oval, 34.0, 22.0).astype(np.float32))
    wall = picture[:, : 20 * scale, 0].astype(int)
    above = picture[: 8 * scale, 70 * scale : 90 * scale, 0].astype(int)
    assert abs(np.median(above) - np.median(wall)) <= 2


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_a_picture_of_few_pixels_is_rendered_too(rendering: Rendering) -> None:
    celsius = np.full((8, 8), 22.0, dtype=np.float32)
    celsius[3, 3] = 33.0
    picture, scale = rendering(celsius)
    assert picture.shape == (8 * scale, 8 * scale, 3)


def test_misplaced_regions_make_changes_uncertain_in_proportion() -> None:
    _, mesh, _ = portrait()
    samples = region_samples(mesh, HEIGHT, WIDTH)
    misread = misread_shares(samples, float(np.ptp(mesh[:, 0])))
    assert np.all((misread > 0.02) & (misread < 0.5))
    delta = np.zeros(len(REGIONS))
    assert not misread_variance(delta, misread).any()
    delta[NOSE] = -0.4
    error = np.sqrt(misread_variance(delta, misread))
    assert error[NOSE] == pytest.approx(0.4 * misread[NOSE])
    assert error[REGIONS.index("perinasal")] == pytest.approx(0.4 * misread[REGIONS.index("perinasal")])
    assert error[REGIONS.index("chin")] == 0.0
    # What warms beside the forehead makes all differences to it uncertain; the forehead's drift does not.
    delta = np.full(len(REGIONS), np.nan)
    delta[[REGIONS.index("glabella"), REFERENCE]] = 0.3, 5.0
    assert np.sqrt(misread_variance(delta, misread))[REGIONS.index("chin")] == pytest.approx(
        0.3 * misread[REFERENCE]
    )


def test_glasses_make_the_place_of_all_regions_more_uncertain() -> None:
    celsius, mesh, _ = portrait()
    picture = small(celsius)
    samples = region_samples(mesh, HEIGHT, WIDTH)
    width = float(np.ptp(mesh[:, 0]))
    behind = picture.copy()
    left, top = mesh[[33, 263, 159]].min(axis=0).astype(int) - 2
    right, bottom = mesh[[33, 263, 145]].max(axis=0).astype(int) + 3
    behind[top:bottom, left:right] = 26.0
    bare = misread_shares(samples.without_glasses(picture), width)
    covered = misread_shares(samples.without_glasses(behind), width)
    np.testing.assert_allclose(covered, np.minimum(1.0, 2.5 * bare))


@pytest.mark.parametrize("moves", [True, False])
def test_a_chin_that_moves_is_followed_and_one_that_cools_is_not(moves: bool) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    skin = 33.0 + 0.02 * x + 0.4 * np.exp(-0.5 * ((x - 80) ** 2 / 90 + (y - 52) ** 2 / 9))
    skin += 0.5 * np.exp(-0.5 * ((x - 80) ** 2 / 200 + (y - 78) ** 2 / 16))
    later = (
        np.roll(skin, 2, axis=0) if moves else skin - 0.5 * (((x - 80) / 11) ** 2 + ((y - 69) / 6) ** 2 < 1)
    )
    centres = np.full((len(REGIONS), 2), np.nan)
    chin = REGIONS.index("chin")
    centres[chin] = 80.0, 64.0
    around = surroundings(band_pass(skin.astype(np.float32)), np.zeros(skin.shape), centres, 60.0)
    shifts = np.zeros((len(REGIONS), 2))
    local_shifts(around, band_pass(later.astype(np.float32)), np.eye(2, 3), np.zeros(2), shifts)
    if moves:
        np.testing.assert_allclose(shifts[chin], (0.0, 2.0), atol=0.4)
    else:
        assert not shifts[chin].any()
