"""Tell a guided session when a stimulus appears and disappears, from PsychoPy or any other program.

Runs as it is, without PsychoPy, beside ``zygoma session protocol.toml`` (it only waits where the stimuli
would be): ``python psychopy_markers.py``. In a PsychoPy experiment use `Markers` as `show` does, and let
``win.callOnFlip`` call `markers.push`, so that the stamp is taken at the very flip that shows the picture.

zygoma understands ``StimOn`` and ``StimOff``, alone or with the stimulus's id from the protocol behind them.
"""

from __future__ import annotations

import time

import pylsl

STIMULI = [("film1", 5.0), ("film2", 5.0)]
"""Ids as in the protocol's block for this program, and seconds on the screen."""


class Markers:
    """A marker stream on Lab Streaming Layer."""

    def __init__(self, name: str = "PsychoPy markers") -> None:
        info = pylsl.StreamInfo(name, "Markers", 1, pylsl.IRREGULAR_RATE, pylsl.cf_string, "psychopy-markers")
        self._outlet = pylsl.StreamOutlet(info)

    def wait_for_zygoma(self, timeout_s: float = 60.0) -> bool:
        """Wait until somebody listens; what is sent before that is lost."""
        return bool(self._outlet.wait_for_consumers(timeout_s))

    def push(self, text: str) -> None:
        """Send a marker stamped with this moment: call it at the flip, not when the picture is prepared."""
        self._outlet.push_sample([text], pylsl.local_clock())


def show(markers: Markers, stimulus: str, seconds: float) -> None:
    """Show one stimulus. With PsychoPy it reads::

    movie.draw()
    win.callOnFlip(markers.push, f"StimOn {stimulus}")
    win.flip()
    ...                                        # draw and flip until it is over
    win.callOnFlip(markers.push, f"StimOff {stimulus}")
    win.flip()                                 # the empty screen
    """
    markers.push(f"StimOn {stimulus}")
    time.sleep(seconds)
    markers.push(f"StimOff {stimulus}")


def main() -> None:
    """Show every stimulus once, each when the experimenter presses Enter (the session waits for it)."""
    markers = Markers()
    print("Waiting for zygoma to listen ...")
    if not markers.wait_for_zygoma():
        raise SystemExit("Nobody listens: start 'zygoma session protocol.toml' first.")
    for stimulus, seconds in STIMULI:
        input(f"Press Enter when the session waits for {stimulus} ...")
        show(markers, stimulus, seconds)
    print("Done.")


if __name__ == "__main__":
    main()
