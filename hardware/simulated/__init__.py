"""The simulated person: camera, amplifier and thermal camera that all play one scripted scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acquisition.clock import Clock, Sleep
from acquisition.stream import DeviceNotFound, Source
from hardware.simulated.camera import SimulatedCamera
from hardware.simulated.emg import SimulatedEmg
from hardware.simulated.ground_truth import GroundTruth, event_record
from hardware.simulated.playback import SimulatedDevice
from hardware.simulated.scenario import HeadPose, Scenario
from hardware.simulated.scripted_event import ScriptedEvent
from hardware.simulated.thermal import SimulatedThermal

__all__ = [
    "GroundTruth",
    "HeadPose",
    "Scenario",
    "ScriptedEvent",
    "SimulatedCamera",
    "SimulatedEmg",
    "SimulatedThermal",
    "event_record",
    "simulated_source",
]


def simulated_source(
    kind: str,
    scenario: Scenario,
    *,
    clock: Clock,
    sleep: Sleep,
    start_s: float | None = None,
    rate_hz: float | None = None,
    seed: int = 0,
    loop: bool = True,
    encode: bool = True,
    size_px: tuple[int, int] | None = None,
    noise_grey_levels: float | None = None,
) -> Source:
    """One device of the simulated person by its name.

    The devices of one person share scenario and `start_s`. A live run reads each from a thread or process of
    its own; offline, each needs a hand-wound clock of its own: waiting for one would make the others late.

    Args:
        kind: ``camera``, ``emg``, ``thermal`` or ``ground_truth``.
        scenario: What happens.
        clock, sleep: Time and waiting on it.
        start_s: Clock time of the scenario's t = 0; None is the moment of `open`.
        rate_hz: Samples or frames per second; None is the device's usual rate.
        seed: Of the device's noise.
        loop: Go on with fresh scenarios of the same kind; else the source ends.
        encode: Camera only: JPEG bytes, else BGR arrays.
        size_px: Camera only: width and height; None is VGA.
        noise_grey_levels: Camera only: standard deviation of the sensor noise; None is usual.

    Raises:
        DeviceNotFound: There is no such simulated device.
    """
    if kind not in _DEVICES:
        raise DeviceNotFound(f"There is no simulated {kind!r}: choose camera, emg, thermal or ground_truth.")
    options: dict[str, Any] = {} if kind == "ground_truth" else {"rate_hz": rate_hz}
    if kind == "camera":
        width, height = size_px or (None, None)
        options |= {
            "encode": encode,
            "width": width,
            "height": height,
            "noise_grey_levels": noise_grey_levels,
        }
    told = {name: value for name, value in options.items() if value is not None}
    return _DEVICES[kind](scenario, clock=clock, sleep=sleep, start_s=start_s, seed=seed, loop=loop, **told)


_DEVICES: Mapping[str, type[SimulatedDevice]] = {
    "camera": SimulatedCamera,
    "emg": SimulatedEmg,
    "thermal": SimulatedThermal,
    "ground_truth": GroundTruth,
}
