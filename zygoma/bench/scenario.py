"""Simulated sessions, rendered and measured once, so that fusion can be run over them in many ways.

Every session goes through the JPEGs, samples and temperatures of the simulated devices and through the
processors of the live run; what the person really did is known from the script.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, Kind
from fusion.events import FaceEvent
from fusion.fuse import Fusion, FusionSettings
from hardware.simulated import Scenario
from processing.camera import CameraChain
from processing.emg import MuscleActivity
from processing.findings import Burst, Movement
from processing.spotting import MicroMovementSpotter
from processing.thermal import SkinTemperature
from zygoma.bench.clip_camera import Camera
from zygoma.simulation import simulated_blocks

CAMERA_RATE_HZ = 30.0
START_S = 1000.0

POOR_SIZE_PX = (320, 240)
"""Width and height at which the eyes are 50 px apart."""

MODALITIES: Mapping[str, frozenset[Kind]] = {
    "all": frozenset({Kind.CAMERA, Kind.EMG, Kind.THERMAL}),
    "no EMG": frozenset({Kind.CAMERA, Kind.THERMAL}),
    "no camera": frozenset({Kind.EMG, Kind.THERMAL}),
    "no thermal": frozenset({Kind.CAMERA, Kind.EMG}),
}
"""Everything, and everything but one."""


@dataclass(frozen=True)
class Condition:
    """A kind of session.

    Attributes:
        name: Key of the results.
        words: What it is, for a table.
        script: Seed and length in seconds -> what the person does.
        poor: Filmed at 50 px between the eyes, with the flicker, shot noise and JPEG of the hard clips of
            ``zygoma bench spotting``. Regions of the skin are then measured with a noise of .05 px (at 100 px
            between the eyes).
    """

    name: str
    words: str
    script: Callable[[int, float], Scenario]
    poor: bool = False


CONDITIONS = (
    Condition(
        "easy",
        "micro-expressions of 1.5-3 px, well-lit",
        lambda seed, length_s: Scenario.generate(
            seed, length_s, micro_rate_per_min=12.0, micro_amplitude_px=(1.5, 3.0)
        ),
    ),
    Condition(
        "hard",
        "micro-expressions of 0.3-0.8 px, the poor pictures and restless head of spotting's hard clips",
        lambda seed, length_s: Scenario.generate(
            seed,
            length_s,
            micro_rate_per_min=16.0,
            micro_amplitude_px=(0.3, 0.8),
            macro_rate_per_min=2.0,
            speech_rate_per_min=3.0,
            sway_rate_per_min=4.0,
            sway_px=2.5,
        ),
        poor=True,
    ),
    Condition("demo", "every expression, a few micro-expressions", Scenario.demo),
    Condition("neutral", "blinks, sway and speech only", Scenario.neutral),
)


@dataclass(frozen=True, eq=False)
class Session:
    """What the processors made of one scenario.

    Attributes:
        scenario: The truth; its time 0 is `START_S` in the blocks.
        condition: Name of its `Condition`.
        units, movements: Of the camera.
        activity, bursts: Of the EMG.
        skin: Of the thermal camera.
    """

    scenario: Scenario
    condition: str
    units: Block
    movements: tuple[Movement, ...]
    activity: Block
    bursts: tuple[Burst, ...]
    skin: Block


@dataclass(frozen=True, eq=False)
class Outcome:
    """What fusion said; times are seconds from the scenario's start.

    Attributes:
        times_s, valence, standard_error: float64 [n].
        events: With LSL times, in order of decision.
        cost_ms: Thread CPU time of fusion per row of valence.
    """

    session: Session
    times_s: NDArray[np.float64]
    valence: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    events: tuple[FaceEvent, ...]
    cost_ms: float

    @property
    def micro(self) -> list[FaceEvent]:
        """The micro-expression candidates."""
        return [event for event in self.events if event.trial_type == "micro_expression"]


def session(condition: Condition, seed: int, length_s: float) -> Session:
    """Render a scenario and run the processors over it."""
    scenario = condition.script(seed, length_s)
    chain, spotter = CameraChain(), MicroMovementSpotter()
    units, movements = [], []
    for frame in _filmed(scenario, seed, condition.poor):
        found = chain.process(frame)
        units.append(found.action_units)
        movements += spotter.process(found.motion, found.action_units)
    chain.close()
    muscles = MuscleActivity()
    activity, bursts = [], []
    for block in simulated_blocks("emg", scenario, start_s=START_S, seed=seed):
        activity.append(muscles.process(block))
        bursts += muscles.take_bursts()
    temperature = SkinTemperature()
    skin = [
        temperature.process(block)
        for block in simulated_blocks("thermal", scenario, start_s=START_S, seed=seed)
    ]
    return Session(
        scenario,
        condition.name,
        _joined(units),
        tuple(movements),
        _joined(activity),
        tuple(bursts),
        _joined(skin),
    )


def fused(
    session: Session, kinds: frozenset[Kind] = MODALITIES["all"], settings: FusionSettings | None = None
) -> Outcome:
    """Fuse a session as if only the devices of these kinds had been there."""
    fusion = Fusion(session.units.spec if Kind.CAMERA in kinds else None, settings)
    if Kind.CAMERA in kinds:
        fusion.push_camera(session.units, session.movements)
    if Kind.EMG in kinds:
        fusion.push_emg(session.activity, session.bursts)
    if Kind.THERMAL in kinds:
        fusion.push_thermal(session.skin)
    began_s = time.thread_time()
    said = fusion.drain(flush=True)
    took_s = time.thread_time() - began_s
    rows = said.valence
    return Outcome(
        session,
        rows.timestamps - START_S,
        rows.column("valence").astype(np.float64),
        rows.column("standard_error").astype(np.float64),
        tuple(said.events),
        1e3 * took_s / max(len(rows), 1),
    )


def _filmed(scenario: Scenario, seed: int, poor: bool) -> Iterator[Block]:
    """The camera's blocks; poor pictures are a quarter as large and pass through the hard clips' camera."""
    if not poor:
        yield from simulated_blocks(
            "camera", scenario, start_s=START_S, seed=seed, rate_hz=CAMERA_RATE_HZ, noise_grey_levels=1.2
        )
        return
    blocks = simulated_blocks(
        "camera",
        scenario,
        start_s=START_S,
        seed=seed,
        rate_hz=CAMERA_RATE_HZ,
        size_px=POOR_SIZE_PX,
        noise_grey_levels=0.0,
        encode=False,
    )
    lens, rng = Camera(np.random.default_rng([seed, 9]), hard=True), np.random.default_rng([seed, 10])
    for block in blocks:
        moments = (block.timestamps - START_S).tolist()
        frames = tuple(lens.film(frame, t, rng) for frame, t in zip(block.data, moments, strict=True))
        yield Block(block.spec, block.timestamps, frames, block.first)


def _joined(blocks: list[Block]) -> Block:
    kept = [block for block in blocks if len(block)]
    stamps = np.concatenate([block.timestamps for block in kept])
    return Block(kept[0].spec, stamps, np.concatenate([block.array for block in kept]), kept[0].first)
