"""Files that play devices: what their streams are called, and holding each block back until it is due."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from acquisition.clock import Clock, Sleep
from acquisition.stream import Block, empty_block


def stream_name(path: Path) -> str:
    """The name of a file as LSL can carry it: without quotes."""
    return path.name.replace("'", "_").replace('"', "_")


class Pacer:
    """Hands out blocks when they are due, or at once.

    Args:
        paced: Hold blocks back.
        clock, sleep: Seconds on the LSL clock and waiting on it; needed when `paced`.
        by_last: A block is due at its last stamp (samples that a board collects), not its first (a picture).

    Raises:
        ValueError: `paced` without them.
    """

    def __init__(
        self, paced: bool, clock: Clock | None, sleep: Sleep | None, *, by_last: bool = False
    ) -> None:
        if paced and (clock is None or sleep is None):
            raise ValueError("a file that plays in real time needs a clock and a sleep")
        self._clock, self._sleep = (clock, sleep) if paced else (None, None)
        self._by_last = by_last
        self._waiting: Block | None = None

    def restart(self, start_s: float = 0.0) -> float:
        """Forget the block that waits; returns when the file begins: now, or at `start_s` if not paced."""
        self._waiting = None
        return start_s if self._clock is None else self._clock()

    def next(self, make: Callable[[], Block], timeout_s: float) -> Block:
        """The next block, from `make`; empty when it is not due within `timeout_s` seconds."""
        if self._waiting is None:
            self._waiting = make()
        block = self._waiting
        if self._clock is not None and self._sleep is not None:
            wait_s = float(block.timestamps[-1 if self._by_last else 0]) - self._clock()
            if wait_s > timeout_s:
                self._sleep(timeout_s)
                return empty_block(block.spec, block.first)
            if wait_s > 0:
                self._sleep(wait_s)
        self._waiting = None
        return block
