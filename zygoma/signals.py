"""Ending in order: a run is asked to stop, any other command is unwound, so that nothing is left running."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, a request to end, and a terminal that was closed."""


OWNER = "ZYGOMA_OWNER"
"""Environment variable with the process id of the program that a device process belongs to."""


def orphaned() -> bool:
    """Whether the program that this process belongs to has ended; false for one that belongs to nobody."""
    owner = os.environ.get(OWNER, "")
    return owner.isdigit() and os.getppid() != int(owner)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that the signals of `ENDING` set; a second Ctrl-C ends the run at once."""
    stop = threading.Event()

    def handle(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in ENDING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def unwind_when_ended() -> None:
    """Leave through every ``with`` on the way when asked to end: the processes of a benchmark end with it."""
    for number in ENDING:
        if number != signal.SIGINT:  # Which Python turns into an exception already.
            signal.signal(number, _leave)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
