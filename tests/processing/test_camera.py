from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from acquisition.stream import Block, Channel, InvalidSignal, Kind, SampleType, StreamSpec, empty_block
from processing.camera import CameraChain, CameraResult, decode
from processing.face_quality import FaceFlag
from processing.motion_regions import EXPRESSIVE
from processing.neutral import Neutral
from tests.processing.portraits import (
    HEIGHT,
    WIDTH,
    camera_block,
    camera_spec,
    jpeg,
    portrait,
    with_lip_corner_moved,
)

SPEC = camera_spec()
SKIN = 2 * len(EXPRESSIVE)
"""Columns of FaceMotion that are displacements."""


@pytest.fixture(scope="module")
def shared_chain() -> Iterator[CameraChain]:
    with CameraChain() as chain:
        yield chain


@pytest.fixture
def chain(shared_chain: CameraChain) -> CameraChain:
    shared_chain.reset()
    return shared_chain


def clip(count: int = 8) -> tuple[bytes, ...]:
    return tuple(jpeg(with_lip_corner_moved(3.0 * np.sin(k))) for k in range(count))


def arrays(result: CameraResult) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return result.action_units.array, result.motion.array


def test_rows_for_every_frame_at_the_camera_s_own_stamps(chain: CameraChain) -> None:
    block = camera_block(clip(3), first=7)
    result = chain.process(block)
    for out, kind in ((result.action_units, Kind.ACTION_UNITS), (result.motion, Kind.FACE_MOTION)):
        assert out.spec.kind is kind
        assert out.first == 7
        np.testing.assert_array_equal(out.timestamps, block.timestamps)
    assert result.action_units.column("face").tolist() == [1, 1, 1]
    assert [p.shape for p in result.points if p is not None] == [(478, 3)] * 3


def test_any_cutting_gives_the_same_bits(chain: CameraChain) -> None:
    frames = clip()
    whole = arrays(chain.process(camera_block(frames)))
    chain.reset()
    parts = [chain.process(camera_block(frames[a:b], first=a)) for a, b in ((0, 1), (1, 1), (1, 4), (4, 8))]
    for column in (0, 1):
        np.testing.assert_array_equal(np.concatenate([arrays(p)[column] for p in parts]), whole[column])


def test_a_damaged_frame_is_a_row_without_a_face_and_is_counted(chain: CameraChain) -> None:
    good = jpeg(portrait())
    bad = (b"", b"\xff\xd8nonsense\xff\xd9", good[: len(good) // 2])
    result = chain.process(camera_block((good, *bad, good)))
    assert result.action_units.column("face").tolist() == [1, 0, 0, 0, 1]
    assert np.isnan(result.action_units.column("AU12")[1:4]).all()
    assert np.isnan(result.motion.array[1:4]).all()
    assert [p is None for p in result.points] == [False, True, True, True, False]
    assert chain.corrupt_frames == 3


def test_a_frame_without_a_face(chain: CameraChain) -> None:
    empty = jpeg(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    result = chain.process(camera_block((jpeg(portrait()), empty, jpeg(portrait()))))
    assert result.action_units.column("face").tolist() == [1, 0, 1]
    assert chain.corrupt_frames == 0


def test_a_gap_restarts_speeds_and_keeps_the_neutral(chain: CameraChain) -> None:
    chain.process(camera_block(clip(4)))
    before = chain.neutral
    assert before is not None
    moved = np.roll(portrait(), 6, axis=1)
    result = chain.process(camera_block((jpeg(moved),), first=30))
    assert result.action_units.column("head_speed")[0] == 0.0
    after = chain.neutral
    assert after is not None
    assert np.abs(after.points - before.points).max() < 0.05


@pytest.mark.parametrize("lost", [1, 3])
def test_the_skin_is_followed_across_a_few_lost_frames(chain: CameraChain, lost: int) -> None:
    frames = tuple(jpeg(with_lip_corner_moved(3.0 * np.sin(k / 6))) for k in range(24))
    whole = chain.process(camera_block(frames)).motion.array
    chain.reset()
    before = chain.process(camera_block(frames[:12]))
    after = chain.process(camera_block(frames[12 + lost :], first=12 + lost))
    assert len(before.motion) == 12
    np.testing.assert_allclose(after.motion.array[:, :-2], whole[12 + lost :, :-2], atol=0.15)
    assert np.abs(after.motion.array[0, :SKIN]).max() > 0.5


def test_a_damaged_frame_is_a_lost_one_to_the_skin(chain: CameraChain) -> None:
    frames = tuple(jpeg(with_lip_corner_moved(3.0 * np.sin(k / 6))) for k in range(16))
    whole = chain.process(camera_block(frames)).motion.array
    chain.reset()
    damaged = chain.process(camera_block((*frames[:12], b"", *frames[13:]))).motion.array
    assert np.isnan(damaged[12]).all()
    np.testing.assert_allclose(damaged[13:, :-2], whole[13:, :-2], atol=0.15)


def test_after_a_long_pause_the_skin_starts_anew(chain: CameraChain) -> None:
    chain.process(camera_block(clip(6)))
    after = chain.process(camera_block(clip(2), first=26))
    np.testing.assert_array_equal(after.motion.array[0, :SKIN], 0.0)


def test_a_mirrored_camera_is_turned_back_and_flagged() -> None:
    frames = [with_lip_corner_moved(up)[..., ::-1] for up in (0.0, 0.0, 5.0)]
    stamps = np.arange(3) / 30
    spec = camera_spec("BGR8")
    seen = Block(spec, stamps, tuple(np.ascontiguousarray(f) for f in frames), 0)
    mirror = tuple(np.ascontiguousarray(f[:, ::-1]) for f in frames)
    declared = Block(replace(spec, metadata={"mirrored": "true"}), stamps, mirror, 0)
    with CameraChain() as chain:
        plain = chain.process(seen)
        chain.reset()
        turned = chain.process(declared)
    with CameraChain(mirrored=True) as chain:
        told = chain.process(Block(spec, stamps, mirror, 0))
    flags = plain.action_units.spec.index("flags")
    for result in (turned, told):
        assert result.action_units.array[:, flags].tolist() == [int(FaceFlag.MIRRORED)] * 3
        rows = result.action_units.array.copy()
        rows[:, flags] = plain.action_units.array[:, flags]
        np.testing.assert_array_equal(rows, plain.action_units.array)
        np.testing.assert_array_equal(result.motion.array, plain.motion.array)


def test_landmarks_are_drawn_where_the_mirrored_camera_filmed_them(chain: CameraChain) -> None:
    frame = np.ascontiguousarray(portrait()[..., ::-1])
    spec = replace(camera_spec("BGR8"), metadata={"mirrored": "true"})
    mirror = np.ascontiguousarray(frame[:, ::-1])
    faces = chain.find_faces(Block(spec, np.array([0.0]), (mirror,), 0))
    points, filmed = faces.points[0], faces.filmed_points(0)
    assert points is not None and filmed is not None
    np.testing.assert_allclose(filmed[:, 0], WIDTH - points[:, 0])
    np.testing.assert_array_equal(filmed[:, 1:], points[:, 1:])


def test_doubts_are_flagged_and_cost_confidence(chain: CameraChain) -> None:
    company = np.concatenate([portrait(), portrait()[:, ::-1]], axis=1)
    dark = (portrait() * 0.25).astype(np.uint8)
    empty = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    frames = [portrait()] * 40 + [dark] * 3 + [empty]
    units = chain.process(camera_block(tuple(jpeg(frame) for frame in frames))).action_units
    flags, confidence = units.column("flags"), units.column("confidence")
    assert flags[39] == 0
    assert flags[42] == FaceFlag.LOW_LIGHT
    assert confidence[42] < 0.75 * confidence[39]
    assert units.column("brightness")[42] < 0.5 * units.column("brightness")[39]
    assert flags[43] == FaceFlag.LOST
    chain.reset()
    block = camera_block((jpeg(company),) * 10, spec=camera_spec(width=2 * WIDTH))
    flags = chain.process(block).action_units.column("flags")
    assert (flags[0], flags[9]) == (0, FaceFlag.SECOND_FACE)


def test_a_new_frame_size_goes_on(chain: CameraChain) -> None:
    wide = np.zeros((360, 640, 3), np.uint8)
    wide[20:340, 100:420] = portrait()
    result = chain.process(camera_block((jpeg(portrait()), jpeg(wide), jpeg(wide))))
    assert result.action_units.column("face").tolist() == [1, 1, 1]


def test_pictures_from_files_need_no_jpeg(chain: CameraChain) -> None:
    spec = camera_spec("BGR8")
    bgr = np.ascontiguousarray(portrait()[..., ::-1])
    block = Block(spec, np.array([0.0, 0.1]), (bgr, bgr), 0)
    assert chain.process(block).action_units.column("face").tolist() == [1, 1]
    decoded = decode(bgr)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[0], portrait())


@pytest.mark.parametrize("every", [1, 2])
def test_a_face_looked_for_ahead_gives_the_same_bits(every: int) -> None:
    small = portrait()[: HEIGHT // 2 * 2 : 2, : WIDTH // 2 * 2 : 2]
    frames = (*clip(5), b"damaged", *clip(3), jpeg(small), *clip(2))
    block = camera_block(frames)
    with CameraChain(landmarks_every=every) as chain:
        looked = [chain.look(block[k : k + 1]) for k in range(len(block))]
        ahead = [chain.process(each) for each in looked]
        damaged = chain.corrupt_frames
        chain.reset()
        at_once = arrays(chain.process(block))
    assert damaged == 1
    for part, whole in zip(zip(*map(arrays, ahead), strict=True), at_once, strict=True):
        np.testing.assert_array_equal(np.concatenate(part), whole)


def test_landmarks_on_every_second_frame() -> None:
    with CameraChain(landmarks_every=2) as chain:
        result = chain.process(camera_block(clip(6)))
    units = result.action_units.array
    np.testing.assert_array_equal(units[0], units[1])
    np.testing.assert_array_equal(units[2], units[3])
    assert (units[1] != units[2]).any()
    with pytest.raises(ValueError, match="at least 1"):
        CameraChain(landmarks_every=0)


def test_the_neutral_of_one_session_serves_the_next(chain: CameraChain) -> None:
    chain.process(camera_block(clip(3)))
    saved = chain.neutral
    assert saved is not None
    with CameraChain(neutral=Neutral.from_arrays(saved.to_arrays())) as later:
        result = later.process(camera_block((jpeg(portrait()),)))
        assert later.neutral is not None
        np.testing.assert_array_equal(later.neutral.points, saved.points)
    assert result.action_units.column("confidence")[0] > 0.5


def test_specs_are_known_before_the_first_frame(chain: CameraChain) -> None:
    units, motion = chain.spec_for(SPEC)
    assert units.rate_hz == motion.rate_hz == 30.0
    assert units.dtype is SampleType.FLOAT32
    assert units.source_id != motion.source_id
    assert "AU12_left" in units.labels
    assert units.metadata["flag_bits"].startswith("1=lost 2=second_face 4=mirrored")


def test_an_empty_block(chain: CameraChain) -> None:
    result = chain.process(empty_block(SPEC))
    assert len(result.action_units) == len(result.motion) == len(result.points) == 0


def test_another_stream_is_refused(chain: CameraChain) -> None:
    emg = StreamSpec("E", Kind.EMG, (Channel("ZYG_L"),), 250.0, SampleType.FLOAT32, "e")
    with pytest.raises(InvalidSignal, match="not a camera"):
        chain.process(Block(emg, np.array([0.0]), np.zeros((1, 1), np.float32), 0))
