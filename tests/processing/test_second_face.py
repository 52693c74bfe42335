from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from processing.second_face import ANSWER_AFTER_S, LOOK_EVERY_S, FaceFinder, SecondFace, Submit, at_once
from tests.processing.portraits import observation, portrait


@pytest.fixture(scope="module")
def finder() -> Iterator[FaceFinder]:
    found = FaceFinder()
    yield found
    found.close()


def pair() -> NDArray[np.uint8]:
    """The portrait, and the same face again to its right."""
    return np.ascontiguousarray(np.concatenate([portrait(), portrait()[:, ::-1]], axis=1))


def answers(finder: FaceFinder, submit: Submit) -> list[bool]:
    """One second alone, then six in company, at 10 fps."""
    second = SecondFace(finder, submit)
    tracked = observation().points_px
    alone = np.ascontiguousarray(np.concatenate([portrait(), np.zeros_like(portrait())], axis=1))
    company = pair()
    return [second.update(alone if k < 10 else company, tracked, k / 10) for k in range(70)]


def test_finds_every_face(finder: FaceFinder) -> None:
    assert len(finder.find(portrait())) == 1
    boxes = finder.find(pair())
    assert len(boxes) == 2
    assert sorted(box[0] > 0.5 for box in boxes) == [False, True]
    assert finder.find(np.full((64, 64, 3), 128, np.uint8)) == []


def test_company_is_noticed_at_the_next_look(finder: FaceFinder) -> None:
    seen = answers(finder, at_once)
    first = seen.index(True) / 10
    assert LOOK_EVERY_S + ANSWER_AFTER_S <= first <= LOOK_EVERY_S + ANSWER_AFTER_S + 0.1
    assert all(seen[seen.index(True) :])


def test_the_answer_does_not_hang_on_where_the_look_runs(finder: FaceFinder) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert answers(finder, pool.submit) == answers(finder, at_once)


def test_without_a_tracked_face_two_are_too_many(finder: FaceFinder) -> None:
    for picture, expected in ((portrait(), False), (pair(), True)):
        second = SecondFace(finder)
        second.update(picture, None, 0.0)
        assert second.update(picture, None, 1.0) is expected


def test_a_stream_that_begins_again_is_looked_at_again(finder: FaceFinder) -> None:
    second = SecondFace(finder)
    second.update(pair(), observation().points_px, 100.0)
    assert second.update(pair(), observation().points_px, 101.0)
    assert not second.update(portrait(), observation().points_px, 0.0)
    assert not second.update(portrait(), observation().points_px, 1.0)
