"""Whole simulated recordings as blocks, for benchmarks and tests."""

from __future__ import annotations

from typing import Any

from acquisition.clock import ManualClock
from acquisition.stream import Block, EndOfStream
from hardware.simulated import Scenario, simulated_source


def simulated_blocks(
    device: str,
    scenario: Scenario,
    *,
    start_s: float = 1000.0,
    limit: int | None = None,
    **options: Any,
) -> list[Block]:
    """All blocks of one device from the first to the last sample, as fast as they can be made.

    Args:
        device, scenario, start_s, options: See `hardware.simulated.simulated_source`.
        limit: Stop after this many blocks.
    """
    clock = ManualClock(start_s)
    source = simulated_source(
        device, scenario, clock=clock, sleep=clock.sleep, start_s=start_s, loop=False, **options
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
