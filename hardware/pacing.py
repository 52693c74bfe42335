"""Files that play devices: hold each block back until it is due on the clock."""

from __future__ import annotations

from collections.abc import Callable

from acquisition.clock import Clock, Sleep
from acquisition.stream import Block, empty_block


class Pacer:
    """Hands out blocks when they are due, or at once.

    Args:
        clock, sleep: Seconds on the LSL clock and waiting on it; without them nothing is held back.
        by_last: A block is due at its last stamp (samples that a board collects), not its first (a picture).
    """

    def __init__(self, clock: Clock | None, sleep: Sleep | None, *, by_last: bool = False) -> None:
        self._clock, self._sleep, self._by_last = clock, sleep, by_last
        self._waiting: Block | None = None

    def restart(self) -> None:
        """Forget the block that waits."""
        self._waiting = None

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
