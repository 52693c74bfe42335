from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from processing.face_quality import (
    CONFIDENCE_LEFT,
    FLAG_WORDS,
    Appearance,
    FaceFlag,
    FaceQuality,
    confidence_left,
    face_patch,
    flags_in,
    words,
)
from tests.processing.portraits import HEIGHT, WIDTH, observation, portrait

Gray = NDArray[np.uint8]


def gray() -> Gray:
    return np.asarray(cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def points() -> NDArray[np.float32]:
    return observation().points_px


def judge(
    picture: Gray,
    places: NDArray[np.float32] | None = None,
    yaw_deg: float = 0.0,
    quality: FaceQuality | None = None,
    time_s: float = 0.0,
) -> Appearance:
    places = points() if places is None else places
    eyes = places[[33, 133, 362, 263], :2]
    iod_px = float(np.hypot(*(eyes[2:].mean(axis=0) - eyes[:2].mean(axis=0))))
    return (quality or FaceQuality()).update(picture, places, 0.0, yaw_deg, iod_px, time_s)


def with_glasses(level: int = 40) -> Gray:
    """The portrait with frames drawn across its eyes and nose."""
    picture = gray()
    right, left = points()[[33, 133], :2].mean(axis=0), points()[[362, 263], :2].mean(axis=0)
    along = left - right
    radius = round(0.35 * float(np.hypot(*along)))
    for middle in (right, left):
        cv2.circle(picture, tuple(int(v) for v in middle), radius, level, 2, cv2.LINE_AA)
    bridge = [tuple(int(v) for v in right + share * along) for share in (0.35, 0.65)]
    cv2.line(picture, bridge[0], bridge[1], level, 2, cv2.LINE_AA)
    return picture


def test_a_sound_picture_has_no_flags() -> None:
    seen = judge(gray())
    assert seen.flags == FaceFlag(0)
    assert seen.sharpness == 1.0
    assert 0.3 < seen.brightness < 0.8


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        (lambda g: (g * 0.25).astype(np.uint8), FaceFlag.LOW_LIGHT),
        (lambda g: np.clip(g * 2.0, 0, 255).astype(np.uint8), FaceFlag.OVER_EXPOSED),
        (lambda g: with_glasses(), FaceFlag.GLASSES),
    ],
)
def test_what_the_picture_shows(change: Callable[[Gray], Gray], flag: FaceFlag) -> None:
    assert judge(change(gray())).flags == flag


def test_blur_is_told_against_the_person_s_own_best() -> None:
    quality = FaceQuality()
    assert judge(gray(), quality=quality).flags == FaceFlag(0)
    for k, blurred in enumerate((cv2.GaussianBlur(gray(), (0, 0), 4.0), cv2.blur(gray(), (17, 1)))):
        seen = judge(np.asarray(blurred, np.uint8), quality=quality, time_s=0.1 * (k + 1))
        assert seen.flags == FaceFlag.BLURRED
        assert seen.sharpness < 0.7
    assert judge(gray(), quality=quality, time_s=0.3).flags == FaceFlag(0)


def test_sharpness_does_not_hang_on_the_light() -> None:
    quality = FaceQuality()
    judge(gray(), quality=quality)
    assert judge((gray() * 0.6).astype(np.uint8), quality=quality, time_s=0.1).sharpness > 0.95


def test_a_small_face_and_one_at_the_edge() -> None:
    half = cv2.resize(gray(), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    assert judge(np.asarray(half, np.uint8), points() * 0.5).flags == FaceFlag.SMALL
    left = round(float(points()[:, 0].min())) + 12
    cut = np.ascontiguousarray(gray()[:, left:])
    assert judge(cut, points() - np.array([left, 0, 0], np.float32)).flags == FaceFlag.CUT_OFF


def test_a_turned_head_does_not_flicker_about_the_limit() -> None:
    quality = FaceQuality()
    turned = [
        bool(judge(gray(), yaw_deg=yaw, quality=quality, time_s=k / 30).flags & FaceFlag.TURNED)
        for k, yaw in enumerate((14.5, 15.5, 14.5, 14.0, 13.0, 14.5))
    ]
    assert turned == [False, True, True, True, False, False]


def test_a_wrinkled_nose_for_a_moment_is_no_pair_of_glasses() -> None:
    quality = FaceQuality()
    judge(gray(), quality=quality)
    for k in range(3):
        seen = judge(with_glasses(110), quality=quality, time_s=(k + 1) / 10)
    assert not seen.flags & FaceFlag.GLASSES


def test_the_patch_is_upright_whatever_the_head_does() -> None:
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 15.0, 1.0)
    rolled = np.asarray(cv2.warpAffine(gray(), turn, (WIDTH, HEIGHT)), np.uint8)
    places = points().copy()
    places[:, :2] = points()[:, :2] @ turn[:, :2].T.astype(np.float32) + turn[:, 2].astype(np.float32)
    upright, back = (
        p.astype(float)[10:-10, 10:-10] for p in (face_patch(gray(), points()), face_patch(rolled, places))
    )
    assert np.abs(upright - back).mean() < 3.0


def test_a_large_picture_gives_the_same_patch() -> None:
    large = np.asarray(cv2.resize(gray(), (3 * WIDTH, 3 * HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
    difference = face_patch(large, points() * 3).astype(float) - face_patch(gray(), points())
    assert np.abs(difference).mean() < 4.0


def test_a_face_outside_the_picture_is_survived() -> None:
    far = points() + np.array([5000, 5000, 0], np.float32)
    assert judge(gray(), far).flags & FaceFlag.CUT_OFF
    assert judge(gray(), points() * 40 - 9000).flags & FaceFlag.CUT_OFF


def test_flags_go_through_a_float_channel_and_have_words() -> None:
    every = ~FaceFlag(0)
    assert flags_in(float(np.float32(every))) == every
    assert flags_in(float("nan")) == FaceFlag(0)
    assert set(FLAG_WORDS) == set(FaceFlag)
    assert len(list(words(every))) == len(FaceFlag)
    assert confidence_left(FaceFlag(0)) == 1.0
    assert confidence_left(FaceFlag.BLURRED | FaceFlag.SMALL) == pytest.approx(
        CONFIDENCE_LEFT[FaceFlag.BLURRED] * CONFIDENCE_LEFT[FaceFlag.SMALL]
    )
