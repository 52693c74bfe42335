from __future__ import annotations

import threading

import numpy as np
import pytest

from acquisition.stream import Block
from tests.processing.portraits import camera_spec
from zygoma.ahead import Blocks, ahead

SPEC = camera_spec()


class Frames:
    """Numbered frames, and whether the one who asked for them has let go of them."""

    def __init__(self, count: int) -> None:
        self.given = 0
        self.closed = threading.Event()
        self._count = count

    def blocks(self) -> Blocks:
        try:
            for number in range(self._count):
                self.given += 1
                yield Block(SPEC, np.array([number / 30]), (b"frame",), number)
        finally:
            self.closed.set()


def doubled(block: Block) -> Block:
    return Block(block.spec, block.timestamps, block.data, 2 * block.first)


def test_every_block_is_worked_on_in_order_by_another_thread() -> None:
    workers: set[int] = set()

    def work(block: Block) -> Block:
        workers.add(threading.get_ident())
        return doubled(block)

    frames = Frames(50)
    assert [block.first for block in ahead(frames.blocks(), work, 3)] == list(range(0, 100, 2))
    assert len(workers) == 1
    assert threading.get_ident() not in workers
    assert frames.closed.is_set()


def test_stages_follow_each_other() -> None:
    last = ahead(ahead(Frames(20).blocks(), doubled, 3), doubled, 1)
    assert [block.first for block in last] == list(range(0, 80, 4))


def test_one_that_is_closed_early_has_ended_all_threads_before_it() -> None:
    threads = threading.active_count()
    frames = Frames(10_000)
    last = ahead(ahead(frames.blocks(), doubled, 3), doubled, 1)
    assert next(last).first == 0
    last.close()
    assert frames.closed.is_set()
    # What lies in the queues and in the hands of two threads, and the one that was taken.
    assert frames.given <= 3 + 1 + 2 + 1
    assert threading.active_count() == threads


def test_an_error_comes_where_its_block_would_have_come() -> None:
    def work(block: Block) -> Block:
        if block.first == 3:
            raise ValueError("the fourth is broken")
        return block

    frames = Frames(10)
    seen: list[int] = []
    with pytest.raises(ValueError, match="fourth"):
        for block in ahead(ahead(frames.blocks(), work, 2), doubled, 2):
            seen.append(block.first)
    assert seen == [0, 2, 4]
    assert frames.closed.is_set()
