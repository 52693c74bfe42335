"""Plays a scenario against a clock: what every simulated device shares."""

from __future__ import annotations

from acquisition.clock import Clock, Sleep
from acquisition.stream import EndOfStream
from hardware.simulated.scenario import Scenario


class Playback:
    """Where in which pass of the scenario a moment of the clock lies.

    Args:
        scenario: What is played.
        clock, sleep: Time, and waiting on it.
        start_s: Clock time of the scenario's t = 0; None takes the clock's reading now.
        loop: After the scenario's end a fresh one of the same kind follows; else the stream ends.
    """

    def __init__(
        self, scenario: Scenario, clock: Clock, sleep: Sleep, start_s: float | None, loop: bool
    ) -> None:
        self.clock, self.sleep, self.loop = clock, sleep, loop
        self.start_s = clock() if start_s is None else start_s
        self._first = scenario
        self._passes = {0: scenario}

    def at(self, clock_s: float) -> tuple[Scenario, float]:
        """Script and time within it [s] at a moment of the clock; moments before the start are its t = 0.

        Raises:
            EndOfStream: The scenario is over and does not loop.
        """
        number, local_s = self.pass_at(clock_s)
        return self.scenario(number), local_s

    def pass_at(self, clock_s: float) -> tuple[int, float]:
        """Number of the pass and time within it; raises as `at` does."""
        elapsed_s = max(clock_s - self.start_s, 0.0)
        number = int(elapsed_s // self._first.duration_s)
        if number > 0 and not self.loop:
            raise EndOfStream("The simulated scenario is over; start it with loop=True to go on.")
        return number, elapsed_s - number * self._first.duration_s

    def scenario(self, number: int) -> Scenario:
        """Script of a pass; the last few are kept."""
        if number not in self._passes:
            self._passes[number] = self._first.again(number)
            for old in [n for n in self._passes if n < number - 2]:
                del self._passes[old]
        return self._passes[number]

    def wait_until(self, due_s: float, timeout_s: float) -> bool:
        """Sleep until the clock reads `due_s`; False when `timeout_s` ran out first."""
        give_up_s = self.clock() + timeout_s
        while (now_s := self.clock()) < due_s:
            if now_s >= give_up_s:
                return False
            self.sleep(min(due_s, give_up_s) - now_s)
        return True
