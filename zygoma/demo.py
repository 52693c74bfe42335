"""Device processes for demonstrations and benchmarks: the simulated person's devices, each on its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType

from acquisition.clock import Clock, lsl_clock
from zygoma.signals import OWNER

START_DELAY_S = 4.0
"""Between starting the device processes and time 0 of the scenario: Python and the renderer wake up in it."""

STOP_TIMEOUT_S = 5.0


class DeviceProcesses:
    """Starts `zygoma publish ...` processes and ends them with the context.

    Args:
        commands: Arguments after ``zygoma publish``, one sequence per process.
    """

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self.commands = [tuple(command) for command in commands]
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> DeviceProcesses:
        for command in self.commands:
            self.processes.append(start_publisher(command))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start_publisher(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start one device process; its notices stay silent, its errors go to this process's stderr."""
    return subprocess.Popen(
        [sys.executable, "-m", "zygoma", "publish", *arguments, "--quiet"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # A Ctrl-C belongs to the engine, which then ends its devices in order.
        start_new_session=True,
        # Killed, it cannot: they see that it is gone.
        env={**os.environ, OWNER: str(os.getpid())},
    )


def simulated_devices(
    *, seed: int, duration_s: float, camera_rate_hz: float, clock: Clock = lsl_clock
) -> tuple[list[list[str]], float]:
    """Commands of the simulated devices, all playing one scenario from one instant.

    Returns:
        The argument lists, and the LSL time at which the scenario starts.
    """
    start_s = clock() + START_DELAY_S
    common = ["--simulate", "--seed", str(seed), "--start", repr(start_s), "--duration", repr(duration_s)]
    commands = [
        ["camera", *common, "--rate", repr(camera_rate_hz)],
        ["emg", *common],
        ["thermal", *common],
        ["truth", *common],
    ]
    return commands, start_s
