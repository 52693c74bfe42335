"""What the full camera chain costs over MediaPipe's bare FaceLandmarker, on the same frames in the same run.

The frames are the simulated person's, decoded beforehand for both. The chain runs on threads as in an
analysis: landmarks are found while the frames before are measured. Short stretches of one and the other
alternate, so that a machine that changes its speed does so for both.
"""

from __future__ import annotations

import time

import cv2
import numpy as np
from rich.table import Table

from acquisition.stream import Block, Kind
from hardware.simulated import Scenario
from zygoma.analyze import seen_ahead
from zygoma.bench.face_landmarker import BareLandmarker
from zygoma.options import errors
from zygoma.pipeline import Pipeline
from zygoma.simulation import simulated_blocks

RATE_HZ = 30.0
STRETCH = 60


def simulated_frames(count: int, *, seed: int = 5) -> list[Block]:
    """`count` single-frame BGR blocks of the demo scenario, its expressions included."""
    scenario = Scenario.demo(seed=seed, duration_s=max(count / RATE_HZ + 2, 20.0))
    blocks = simulated_blocks("camera", scenario, seed=seed, rate_hz=RATE_HZ, encode=False, limit=count)
    return [block[index : index + 1] for block in blocks for index in range(len(block))][:count]


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure and print; returns ``fps``, ``face_landmarker_fps`` and ``ratio_to_face_landmarker``."""
    frames = simulated_frames(300 if quick else 900)
    pipeline = Pipeline({Kind.CAMERA: frames[0].spec})
    alive = frozenset({Kind.CAMERA})
    chain_s = bare_s = 0.0
    measured = 0
    with BareLandmarker() as landmarker:
        for start in range(0, len(frames), STRETCH):
            stretch = frames[start : start + STRETCH]
            began = time.perf_counter()
            for block in seen_ahead((block for block in stretch), pipeline.look):
                faces = pipeline.face(block)
                pipeline.drain(alive)
                pipeline.follow(faces)
            between = time.perf_counter()
            for block in stretch:
                # Colour conversion is part of using FaceLandmarker on what a camera or a file gives.
                picture = cv2.cvtColor(np.asarray(block.data[0]), cv2.COLOR_BGR2RGB)
                landmarker.find(np.asarray(picture, dtype=np.uint8), float(block.timestamps[0]))
            ended = time.perf_counter()
            if start:  # The first stretch compiles and warms up.
                chain_s += between - began
                bare_s += ended - between
                measured += len(stretch)
    pipeline.close()
    fps, bare_fps = measured / chain_s, measured / bare_s
    table = Table(title=f"Camera chain, {measured} VGA frames")
    for heading in ("what", "frames/s", "ratio"):
        table.add_column(heading)
    table.add_row("FaceLandmarker alone", f"{bare_fps:.1f}", "1.00")
    table.add_row("zygoma: landmarks, AUs, motion, spotting, valence", f"{fps:.1f}", f"{fps / bare_fps:.2f}")
    errors.print(table)
    return {
        "fps": round(fps, 2),
        "face_landmarker_fps": round(bare_fps, 2),
        "ratio_to_face_landmarker": round(fps / bare_fps, 3),
    }
