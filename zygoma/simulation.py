"""One simulated device by its name, and whole simulated recordings as blocks."""

from __future__ import annotations

from typing import Any

from acquisition.clock import Clock, ManualClock, Sleep
from acquisition.stream import Block, EndOfStream, Source
from hardware.simulated import GroundTruth, Scenario, SimulatedCamera, SimulatedEmg, SimulatedThermal

DEVICES: dict[str, Any] = {
    "camera": SimulatedCamera,
    "emg": SimulatedEmg,
    "thermal": SimulatedThermal,
    "truth": GroundTruth,
}


def simulated_source(
    device: str,
    scenario: Scenario,
    *,
    clock: Clock,
    sleep: Sleep,
    start_s: float,
    seed: int = 0,
    loop: bool = False,
    rate_hz: float | None = None,
    encode: bool = True,
) -> Source:
    """The simulated person's `device`.

    Args:
        device: ``camera``, ``emg``, ``thermal`` or ``truth``.
        scenario: What the person does.
        clock, sleep: Time and waiting, LSL clock.
        start_s: Clock time of the scenario's t = 0.
        seed: Of the device's noise.
        loop: Go on with fresh scripts of the same kind; else the source ends.
        rate_hz: None is the device's own.
        encode: False gives the camera's pictures as BGR arrays instead of JPEG.
    """
    options: dict[str, Any] = {"clock": clock, "sleep": sleep, "start_s": start_s, "loop": loop}
    if device != "truth":
        options["seed"] = seed
        if rate_hz is not None:
            options["rate_hz"] = rate_hz
    if device == "camera":
        options["encode"] = encode
    source: Source = DEVICES[device](scenario, **options)
    return source


def simulated_blocks(
    device: str,
    scenario: Scenario,
    *,
    start_s: float = 1000.0,
    seed: int = 0,
    rate_hz: float | None = None,
    encode: bool = True,
    limit: int | None = None,
) -> list[Block]:
    """All blocks of one device from the first to the last sample, as fast as they can be made.

    Args:
        device, scenario, start_s, seed, rate_hz, encode: See `simulated_source`.
        limit: Stop after this many blocks.
    """
    clock = ManualClock(start_s)
    source = simulated_source(
        device,
        scenario,
        clock=clock,
        sleep=clock.sleep,
        start_s=start_s,
        seed=seed,
        rate_hz=rate_hz,
        encode=encode,
    )
    blocks: list[Block] = []
    source.open()
    try:
        while limit is None or len(blocks) < limit:
            block = source.read(1.0)
            if len(block):
                blocks.append(block)
    except EndOfStream:
        pass
    finally:
        source.close()
    return blocks
