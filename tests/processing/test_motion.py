"""Region motion on a real photograph moved by known amounts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from acquisition.stream import Block, Kind, SampleType, StreamSpec
from processing.landmarks import FaceMesh
from processing.motion import RegionMotion
from processing.motion_context import eye_distance_px, usable
from processing.motion_kernel import span_around
from processing.motion_regions import EXPRESSIVE

CENTER = 220.0


@pytest.fixture(scope="module")
def face():
    """Gray face [440, 440] with its eyes 100 px apart, and its landmarks [478, 3]."""
    rgb = skimage.data.astronaut()
    with FaceMesh(mode="image") as mesh:
        points = mesh.detect(np.ascontiguousarray(rgb), 0.0).points_px.astype(np.float64)
    scale = 100.0 / eye_distance_px(points)
    middle = points[[33, 133, 263, 362], :2].mean(axis=0)
    shift = np.array([CENTER, 190.0]) - scale * middle
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    gray = cv2.warpAffine(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), matrix, (440, 440), flags=cv2.INTER_CUBIC)
    points *= scale
    points[:, :2] += shift
    return gray, points.astype(np.float32)


def moved(face, tx=0.0, ty=0.0, roll=0.0, zoom=1.0, bump=None, size=440):
    """The face under a similarity about the picture's centre, with one smooth bump of skin movement."""
    gray, points = face
    grid_y, grid_x = np.mgrid[0:size, 0:size].astype(np.float32)
    cos, sin = np.cos(roll) / zoom, np.sin(roll) / zoom
    u, v = grid_x - (size / 2 + tx), grid_y - (size / 2 + ty)
    x, y = cos * u + sin * v + CENTER, -sin * u + cos * v + CENTER
    if bump is not None:
        (bx, by), radius, (dx, dy) = bump
        weight = np.maximum(1 - ((x - bx) ** 2 + (y - by) ** 2) / radius**2, 0) ** 2
        x, y = x - weight * dx, y - weight * dy
    picture = cv2.remap(gray, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC)
    turn = zoom * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    there = points.copy()
    there[:, :2] = (points[:, :2] - CENTER) @ turn.T + [size / 2 + tx, size / 2 + ty]
    there[:, 2] *= zoom
    return picture, there


def column(motion, label):
    return [channel.label for channel in motion.channels].index(label)


def regions(row):
    return row[: 2 * len(EXPRESSIVE)]


def run(pictures, rate_hz=30.0):
    motion = RegionMotion()
    return motion, np.array([motion.update(g, p, i / rate_hz) for i, (g, p) in enumerate(pictures)])


def test_head_motion_alone_moves_no_region(face):
    _, rows = run(
        [moved(face, tx=0.4 * i, ty=-0.3 * i, roll=0.0015 * i, zoom=1 + 0.0005 * i) for i in range(20)]
    )
    # 10 px of travel, 1.6 deg of roll and 1 % of size leave windows that were only shifted a little askew.
    assert np.abs(regions(rows[-1])).max() < 0.6
    assert np.median(np.abs(regions(rows[-1]))) < 0.15


def test_skin_movement_is_measured_in_place_and_only_there(face):
    corner = tuple(face[1][291, :2])
    pictures = [moved(face)] + [
        moved(face, tx=2.0, bump=(corner, 34, (1.2 * a, -1.6 * a))) for a in (0.5, 1.0)
    ]
    motion, rows = run(pictures)
    dx, dy = (rows[-1, column(motion, f"lip_corner_left_{axis}")] for axis in ("dx", "dy"))
    assert 0.7 < np.hypot(dx, dy) / 2.0 < 1.1
    assert np.degrees(np.arctan2(dy, dx)) == pytest.approx(-53, abs=12)
    for quiet in ("inner_brow_left", "outer_brow_right", "upper_lid_left"):
        assert np.hypot(*(rows[-1, column(motion, f"{quiet}_{axis}")] for axis in ("dx", "dy"))) < 0.1


def test_light_moves_nothing(face):
    gray, points = face
    dim = np.clip(0.8 * gray + 20, 0, 255).astype(np.uint8)
    _, rows = run([(gray, points), (dim, points)])
    assert np.abs(regions(rows[1])).max() < 0.05


def test_landmark_jitter_does_not_enter(face):
    rng = np.random.default_rng(1)
    frames = [moved(face, tx=0.3 * i) for i in range(15)]
    shaken = [(g, p + rng.normal(0, 0.3, p.shape).astype(np.float32)) for g, p in frames]
    shaken[0] = frames[0]
    _, calm = run(frames)
    _, rough = run(shaken)
    assert np.abs(regions(calm[-1]) - regions(rough[-1])).max() < 0.03


@pytest.mark.parametrize("zoom", [0.5, 1.8])
def test_displacement_is_scaled_to_the_reference_size(face, zoom):
    brow = tuple(face[1][[107, 66], :2].mean(axis=0))
    size = round(440 * max(zoom, 1.0))
    motion, rows = run(
        [moved(face, zoom=zoom, size=size), moved(face, zoom=zoom, size=size, bump=(brow, 40, (0, -2.0)))]
    )
    assert rows[1, column(motion, "inner_brow_right_dy")] == pytest.approx(-1.7, abs=0.5)


def test_keyframe_renewal_keeps_what_was_measured(face):
    brow = tuple(face[1][[336, 296], :2].mean(axis=0))
    raised = moved(face, bump=(brow, 40, (0, -2.0)))
    motion, rows = run([moved(face)] + [raised] * 75)
    dy = rows[1:, column(motion, "inner_brow_left_dy")]
    assert dy.max() - dy.min() < 0.1
    assert dy[-1] < -1.2


def test_no_face_is_nan_and_tracking_begins_at_zero(face):
    motion = RegionMotion()
    assert np.isnan(motion.update(face[0], None, 0.0)).all()
    first = motion.update(*face, 0.1)
    assert np.isfinite(first).all()
    assert not regions(first).any()
    motion.update(*moved(face, bump=((200, 250), 60, (2, 0))), 0.2)
    motion.reset()
    assert not regions(motion.update(*face, 0.3)).any()
    # A long pause starts afresh too.
    assert not regions(motion.update(*moved(face, tx=30), 5.0)).any()


def test_same_frames_give_same_bits(face):
    frames = [moved(face, tx=0.5 * i, ty=0.2 * i) for i in range(8)]
    assert run(frames)[1].tobytes() == run(frames)[1].tobytes()


def test_face_at_the_border_does_not_fail(face):
    motion = RegionMotion()
    for i in range(12):
        row = motion.update(*moved(face, tx=-25.0 * i), i / 30)
    assert np.isfinite(row).all()


def test_head_speed_is_per_second_at_reference_size(face):
    motion, rows = run([moved(face, tx=1.0 * i) for i in range(12)])
    assert rows[-1, column(motion, "head_speed")] == pytest.approx(30.0, rel=0.1)


def test_a_head_that_rushes_or_does_not_fit_hides_the_skin():
    motion = RegionMotion()
    rows = np.zeros((4, len(motion.channels)), np.float32)
    rows[1, column(motion, "head_speed")] = 40.0
    rows[2, column(motion, "rigid_residual_px")] = 0.4
    rows[3] = np.nan
    spec = StreamSpec("motion", Kind.FACE_MOTION, motion.channels, 30.0, SampleType.FLOAT32, "test")
    assert usable(Block(spec, np.arange(4.0), rows, 0)).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("places", "size", "span"),
    [
        ([30.5, 50.2], 640, (20, 61)),
        ([3.0, 50.0], 640, (0, 60)),
        ([600.0, 638.9], 640, (590, 640)),
        ([-90.0, -80.0], 640, (0, 8)),
        ([900.0, 950.0], 640, (632, 640)),
        ([2.0, 3.0], 5, (0, 8)),
    ],
)
def test_the_picture_is_cut_around_the_windows_and_inside_its_edges(places, size, span):
    assert span_around(np.array(places), 10, size) == span
