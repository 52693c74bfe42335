from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from acquisition.stream import InvalidSignal
from processing import landmarks
from processing.landmarks import BLENDSHAPES, LANDMARK_COUNT, FaceMesh, FaceObservation
from tests.processing.portraits import observation, portrait, with_lip_corner_moved


@pytest.fixture(scope="module")
def video() -> Iterator[FaceMesh]:
    with FaceMesh("video") as mesh:
        yield mesh


def _same(a: FaceObservation | None, b: FaceObservation | None) -> None:
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.points_px, b.points_px)
    np.testing.assert_array_equal(a.blendshapes, b.blendshapes)
    np.testing.assert_allclose(a.transform, b.transform, atol=1e-6)


def test_shapes_and_places() -> None:
    found = observation()
    assert found.points_px.shape == (LANDMARK_COUNT, 3)
    assert found.points_px.dtype == np.float32
    assert found.blendshapes.shape == (len(BLENDSHAPES),)
    assert found.transform.shape == (4, 4)
    right_eye, left_eye, chin = found.points_px[33], found.points_px[263], found.points_px[152]
    assert right_eye[0] < left_eye[0]  # the subject's right is the picture's left
    assert chin[1] > right_eye[1]
    assert found.transform[3].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("mode", ["image", "video"])
def test_native_results_equal_the_public_interface(mode: str) -> None:
    results = []
    for fast in (True, False):
        with FaceMesh(mode) as mesh:  # type: ignore[arg-type]
            assert mesh._fast is not None
            if not fast:
                mesh._fast = None
            results.append([mesh.detect(portrait(), k / 30) for k in range(3)])
    for native, public in zip(*results, strict=True):
        _same(native, public)


def test_falls_back_to_the_public_interface_when_inner_names_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks._NativeDetector, "of", classmethod(lambda *_: None))
    with FaceMesh("image") as mesh:
        _same(mesh.detect(portrait(), 0.0), observation())


def test_blendshape_names_are_those_of_the_model() -> None:
    with FaceMesh("image") as mesh:
        picture = mesh._image.Image(mesh._image.ImageFormat.SRGB, portrait())
        found = mesh._landmarker.detect(picture)
    assert tuple(c.category_name for c in found.face_blendshapes[0]) == BLENDSHAPES


def test_a_movement_of_100_ms_keeps_its_height_and_its_moment() -> None:
    """MediaPipe's hidden filter would keep a quarter of it and bring it 0.4 s late."""
    still, moved = portrait(), with_lip_corner_moved(4.0)
    heights = [0.0] * 20 + [0.5, 1.0, 0.5] + [0.0] * 10 + [1.0] * 10
    half = with_lip_corner_moved(2.0)
    frames = {0.0: still, 0.5: half, 1.0: moved}
    corner = []
    with FaceMesh("video") as mesh:
        for k, height in enumerate(heights):
            found = mesh.detect(frames[height], k / 30)
            assert found is not None
            corner.append(-found.points_px[291, 1])
    track = np.array(corner) - np.median(corner[10:20])
    held = np.median(track[-5:])
    assert held > 1.0
    assert track[21] >= 0.9 * held
    assert int(np.argmax(track[15:33])) + 15 == 21


def test_no_face_is_none_and_the_face_is_found_again(video: FaceMesh) -> None:
    assert video.detect(portrait(), 0.0) is not None
    assert video.detect(np.zeros_like(portrait()), 1 / 30) is None
    assert video.detect(portrait(), 2 / 30) is not None


def test_frames_of_any_size(video: FaceMesh) -> None:
    wide = np.zeros((360, 640, 3), np.uint8)
    wide[20:340, 100:420] = portrait()
    found = video.detect(wide, 10.0)
    assert found is not None
    shift = found.points_px[:, :2].mean(axis=0) - observation().points_px[:, :2].mean(axis=0)
    np.testing.assert_allclose(shift, [100, 20], atol=3)


def test_a_clock_that_stands_or_steps_back_does_not_stop_it(video: FaceMesh) -> None:
    for time_s in (20.0, 20.0, 5.0, 20.1):
        assert video.detect(portrait(), time_s) is not None


def test_days_of_stamps_do_not_overflow_the_graph() -> None:
    with FaceMesh("video") as mesh:
        for time_s in (0.0, 100_000.0, 200_000.0, 1_000_000.0):
            assert mesh.detect(portrait(), time_s) is not None


def test_reset_starts_like_a_new_one() -> None:
    with FaceMesh("video") as mesh:
        first = [mesh.detect(portrait(), k / 30) for k in range(2)]
        mesh.reset()
        again = [mesh.detect(portrait(), k / 30) for k in range(2)]
    for a, b in zip(first, again, strict=True):
        _same(a, b)


def test_pictures_of_another_kind_are_refused(video: FaceMesh) -> None:
    for wrong in (np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32)):
        with pytest.raises(InvalidSignal, match="uint8"):
            video.detect(wrong, 0.0)  # type: ignore[arg-type]


def test_only_chatter_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with landmarks.without_chatter():
        os.write(2, b"W0000 inference_feedback_manager.cc:121] chatter\nsomething else\n")
    assert capfd.readouterr().err == "something else\n"


def test_a_program_that_forgets_to_close_ends_silently() -> None:
    code = (
        "import numpy as np\n"
        "from processing.landmarks import FaceMesh\n"
        "mesh = FaceMesh()\n"
        "mesh.detect(np.zeros((64, 64, 3), np.uint8), 0.0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr == ""
