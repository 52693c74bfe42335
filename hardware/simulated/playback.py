"""Plays a scenario against a clock: what every simulated device shares."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field

from acquisition.clock import Clock, Sleep
from acquisition.stream import Block, EndOfStream, OpenedSource, StreamSpec
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
        elapsed_s = max(clock_s - self.start_s, 0.0)
        number = int(elapsed_s // self._first.duration_s)
        if number > 0 and not self.loop:
            raise EndOfStream("The simulated scenario is over; start it with loop=True to go on.")
        return self.scenario(number), elapsed_s - number * self._first.duration_s

    def upcoming(self, rate_hz: float) -> int:
        """Number of the first sample, counted from the start, that is not past yet."""
        return max(0, math.ceil((self.clock() - self.start_s) * rate_hz - 1e-6))

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


@dataclass(eq=False, repr=False)
class SimulatedDevice(OpenedSource):
    """What every simulated device is told.

    Attributes:
        scenario: What happens.
        clock, sleep: Time (seconds, LSL clock) and waiting on it.
        seed: Of the device's own noise.
        start_s: Clock time of the scenario's t = 0; None is the moment of `open`.
        loop: Go on with fresh scenarios of the same kind; else `read` raises `EndOfStream` at the end.
        spec: The stream.
    """

    scenario: Scenario
    _: KW_ONLY
    clock: Clock
    sleep: Sleep
    seed: int = 0
    start_s: float | None = None
    loop: bool = True
    spec: StreamSpec = field(init=False)
    _playback: Playback | None = field(init=False, default=None)

    def open(self) -> None:
        """Start the scenario; what is past by then is not delivered."""
        self._playback = Playback(self.scenario, self.clock, self.sleep, self.start_s, self.loop)

    def read(self, timeout_s: float) -> Block:
        raise NotImplementedError

    def close(self) -> None:
        """Stop; `open` starts again."""
        self._playback = None

    @property
    def playback(self) -> Playback:
        """The scenario on the clock.

        Raises:
            RuntimeError: The device is not open.
        """
        if self._playback is None:
            raise RuntimeError(f"{type(self).__name__} is used before it is open")
        return self._playback

    def facts(self, device: str) -> dict[str, str]:
        """Metadata that tell a simulated stream from a real one, and which one it is."""
        return {
            "device": device,
            "simulated": "true",
            "seed": str(self.seed),
            "scenario_seed": str(self.scenario.seed),
        }
