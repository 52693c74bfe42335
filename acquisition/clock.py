"""The clocks that stamps come from: LSL's own in use, a hand-wound one in tests and offline runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pylsl

Clock: TypeAlias = Callable[[], float]
"""Returns seconds on the LSL clock (monotonic, this machine)."""

Sleep: TypeAlias = Callable[[float], None]
"""Waits for that many seconds of the matching `Clock`."""


def lsl_clock() -> float:
    """Seconds on the Lab Streaming Layer clock of this machine."""
    return float(pylsl.local_clock())


class ManualClock:
    """A clock that moves only when told to; its `sleep` moves it, so nothing waits."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self.now_s = start_s

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Move the clock forward by `seconds` (negative waits are none)."""
        self.now_s += max(seconds, 0.0)
