"""The simulated person: camera, amplifier and thermal camera that all play one scripted scenario."""

from __future__ import annotations

from typing import NamedTuple

from acquisition.clock import Clock, Sleep
from acquisition.stream import DeviceNotFound, Source
from hardware.simulated.camera import SimulatedCamera
from hardware.simulated.emg import SimulatedEmg
from hardware.simulated.ground_truth import GroundTruth, event_record
from hardware.simulated.scenario import HeadPose, Scenario, ScriptedEvent
from hardware.simulated.thermal import SimulatedThermal

__all__ = [
    "GroundTruth",
    "HeadPose",
    "Scenario",
    "ScriptedEvent",
    "SimulatedCamera",
    "SimulatedEmg",
    "SimulatedPerson",
    "SimulatedThermal",
    "event_record",
    "simulated_person",
    "simulated_source",
]


class SimulatedPerson(NamedTuple):
    """The four sources that play one scenario."""

    camera: SimulatedCamera
    emg: SimulatedEmg
    thermal: SimulatedThermal
    ground_truth: GroundTruth


def simulated_person(
    scenario: Scenario,
    *,
    clock: Clock,
    sleep: Sleep,
    start_s: float | None = None,
    loop: bool = True,
    seed: int = 0,
    camera_rate_hz: float = 30.0,
    emg_rate_hz: float = 1000.0,
    thermal_rate_hz: float = 8.77,
    encode: bool = True,
) -> SimulatedPerson:
    """All devices of one simulated person, on one clock and with one start.

    A live run reads each from a thread or process of its own. Offline, with hand-wound clocks, each source
    needs its own clock (make them one by one): waiting for one would otherwise make the others late.

    Args:
        scenario: What happens.
        clock, sleep: Time (seconds, LSL clock) and waiting on it.
        start_s: Clock time of the scenario's t = 0; None is now.
        loop: Go on with fresh scenarios of the same kind; else the sources end.
        seed: Of the devices' noise.
        camera_rate_hz, emg_rate_hz, thermal_rate_hz: Rates.
        encode: False gives BGR arrays instead of JPEG.
    """
    start = clock() if start_s is None else start_s
    camera = SimulatedCamera(
        scenario,
        clock=clock,
        sleep=sleep,
        start_s=start,
        loop=loop,
        seed=seed,
        rate_hz=camera_rate_hz,
        encode=encode,
    )
    emg = SimulatedEmg(
        scenario, clock=clock, sleep=sleep, start_s=start, loop=loop, seed=seed, rate_hz=emg_rate_hz
    )
    thermal = SimulatedThermal(
        scenario, clock=clock, sleep=sleep, start_s=start, loop=loop, seed=seed, rate_hz=thermal_rate_hz
    )
    truth = GroundTruth(scenario, clock=clock, sleep=sleep, start_s=start, loop=loop)
    return SimulatedPerson(camera, emg, thermal, truth)


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
) -> Source:
    """One device of the simulated person by its name.

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

    Raises:
        DeviceNotFound: There is no such simulated device.
    """
    if kind == "camera":
        width, height = size_px or (640, 480)
        return SimulatedCamera(
            scenario, clock=clock, sleep=sleep, start_s=start_s, seed=seed, loop=loop, encode=encode,
            rate_hz=rate_hz or 30.0, width=width, height=height,
        )  # fmt: skip
    if kind == "emg":
        return SimulatedEmg(
            scenario,
            clock=clock,
            sleep=sleep,
            start_s=start_s,
            seed=seed,
            loop=loop,
            rate_hz=rate_hz or 1000.0,
        )
    if kind == "thermal":
        return SimulatedThermal(
            scenario, clock=clock, sleep=sleep, start_s=start_s, seed=seed, loop=loop, rate_hz=rate_hz or 8.77
        )
    if kind == "ground_truth":
        return GroundTruth(scenario, clock=clock, sleep=sleep, start_s=start_s, loop=loop)
    raise DeviceNotFound(f"There is no simulated {kind!r}: choose camera, emg, thermal or ground_truth.")
