"""Compile and load everything the live engine runs before the first real sample arrives.

Numba compiles on first use (and keeps the result on disk); without this the first seconds of a session would
wait for the compiler, frame by frame.
"""

from __future__ import annotations

import gc
import sys
from functools import cache

from acquisition.stream import Block, Kind
from hardware.simulated import Scenario
from zygoma.pipeline import Pipeline
from zygoma.simulation import simulated_blocks

REHEARSAL_S = 4.0
CAMERA_RATE_HZ = 15.0
SWITCH_INTERVAL_S = 5e-4
"""Drawing the screen is plain Python for tens of milliseconds; no frame may wait that long for its turn."""


def get_ready() -> None:
    """Make this process fit for live work: everything loaded, and threads that take turns quickly."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    warm_up()
    # What is loaded by now stays: the collector need not walk through it again while frames come in.
    gc.collect()
    gc.freeze()


@cache
def warm_up() -> None:
    """Rehearse with the simulated person: a few seconds of all devices through a throw-away pipeline.

    It takes about 3 s, and a minute when nothing has been compiled yet. The simulated devices, too, are
    compiled by it.
    """
    scenario = Scenario.demo(seed=0, duration_s=REHEARSAL_S)
    blocks: list[Block] = []
    for device in ("camera", "emg", "thermal"):
        rate_hz = CAMERA_RATE_HZ if device == "camera" else None
        blocks += simulated_blocks(device, scenario, rate_hz=rate_hz)
    blocks.sort(key=lambda block: float(block.timestamps[-1]))
    pipeline = Pipeline({block.spec.kind: block.spec for block in blocks})
    alive = frozenset(pipeline.specs)
    for block in blocks:
        if block.spec.kind is Kind.CAMERA:
            faces = pipeline.face(block)
            pipeline.drain(alive)
            pipeline.follow(faces)
        elif block.spec.kind is Kind.EMG:
            pipeline.emg(block)
        else:
            pipeline.thermal(block)
    pipeline.drain(frozenset(), flush=True)
    pipeline.close()
