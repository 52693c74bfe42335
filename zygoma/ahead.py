"""Work on blocks that runs ahead of its consumer, on a thread of its own.

Offline the camera's frames pass three threads: one decodes them, one finds the landmarks, which takes by far
the longest, and one measures. MediaPipe and the decoder leave Python's lock to the others.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing

from acquisition.stream import Block

FRAMES_AHEAD = 8
"""Frames decoded in advance: enough to hide a slow key frame, small enough to stay in cache and memory."""

FACES_AHEAD = 2
"""Frames whose landmarks are known in advance: the next search must not wait for the measuring."""

Blocks = Generator[Block, None, None]


def ahead(blocks: Blocks, work: Callable[[Block], Block], count: int) -> Blocks:
    """What `work` makes of each block, by a thread of its own up to `count` in advance.

    Closed early, it stops that thread and closes `blocks`. An error comes where its block would have come.
    """
    done: queue.Queue[Block | BaseException | None] = queue.Queue(count)
    stopped = threading.Event()

    def put(item: Block | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                done.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            with closing(blocks):
                for block in blocks:
                    if not put(work(block)):
                        return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=run, name="zygoma-ahead", daemon=True)
    thread.start()
    try:
        while (item := done.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
