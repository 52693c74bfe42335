"""Compile and load everything the live engine runs before the first real sample arrives.

Numba compiles on first use (and keeps the result on disk); without this the first frames of a session
would wait for the compiler and be lost to the display.
"""

from __future__ import annotations

import numpy as np

from acquisition.stream import Block, Channel, FrameFormat, Kind, SampleType, StreamSpec
from zygoma.pipeline import Pipeline

FRAMES = 6
EMG_RATE_HZ = 1000.0
THERMAL_SHAPE = (120, 160)


def warm_up_simulation() -> None:
    """Compile what the simulated person's devices run, so that their processes find it on disk."""
    from hardware.simulated import Scenario
    from zygoma.simulation import simulated_blocks

    scenario = Scenario.neutral(seed=0, duration_s=1.0)
    for device in ("camera", "emg", "thermal"):
        simulated_blocks(device, scenario, limit=1)


def warm_up() -> None:
    """Run a throw-away pipeline over a portrait, one second of noise and a blank thermal picture."""
    camera, emg, thermal = _camera_blocks(), _emg_blocks(), _thermal_blocks()
    pipeline = Pipeline({block.spec.kind: block.spec for block in (camera[0], emg[0], thermal[0])})
    alive = frozenset(pipeline.specs)
    for block in emg:
        pipeline.emg(block)
    for block in thermal:
        pipeline.thermal(block)
    for block in camera:
        faces = pipeline.face(block)
        pipeline.drain(alive)
        pipeline.follow(faces)
    pipeline.drain(frozenset(), flush=True)
    pipeline.close()


def _camera_blocks() -> list[Block]:
    import cv2
    from skimage.data import astronaut

    # A portrait fills the frame, so that landmarks, motion and spotting are all reached.
    picture = cv2.resize(astronaut()[:240, 100:420, ::-1], (640, 480))
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    channels = (Channel("jpeg"), Channel("frame_number"))
    spec = StreamSpec(
        "warm-up camera",
        Kind.CAMERA,
        channels,
        30.0,
        SampleType.STRING,
        "warm-up-camera",
        FrameFormat(640, 480, "MJPG"),
    )
    return [Block(spec, np.array([1.0 + index / 30]), (jpeg,), index) for index in range(FRAMES)]


def _emg_blocks() -> list[Block]:
    labels = ("ZYG_L", "ZYG_R", "COR_L", "COR_R")
    spec = StreamSpec(
        "warm-up EMG",
        Kind.EMG,
        tuple(Channel(label, "microvolts", "EMG") for label in labels),
        EMG_RATE_HZ,
        SampleType.FLOAT32,
        "warm-up-emg",
    )
    count = int(EMG_RATE_HZ)
    noise = np.random.default_rng(0).normal(0, 2, (count, len(labels))).astype(np.float32)
    return [Block(spec, 0.5 + np.arange(count) / EMG_RATE_HZ, noise, 0)]


def _thermal_blocks() -> list[Block]:
    height, width = THERMAL_SHAPE
    spec = StreamSpec(
        "warm-up thermal",
        Kind.THERMAL,
        (Channel("frame_number"), Channel("ffc")),
        0.0,
        SampleType.INT16,
        "warm-up-thermal",
        FrameFormat(width, height, "centi_celsius"),
    )
    values = np.full((2, height * width + 2), 2200, dtype=np.int16)
    values[:, -2:] = [[0, 0], [1, 0]]
    return [Block(spec, np.array([0.9, 1.02]), values, 0)]
