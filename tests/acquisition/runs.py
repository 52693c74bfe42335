"""A small run with every kind of stream, block by block, for the tests of recorder, recording, player."""

import numpy as np

from acquisition.recorder import Recorder
from acquisition.session import new_run
from acquisition.stream import (
    INVALID_CENTI_CELSIUS,
    Block,
    Channel,
    FrameFormat,
    Kind,
    SampleType,
    StreamSpec,
)

EMG = StreamSpec(
    "Amplifier",
    Kind.EMG,
    tuple(Channel(label, "microvolts", "EMG") for label in ("ZYG_L", "ZYG_R", "COR_L", "COR_R")),
    999.9731,
    SampleType.FLOAT32,
    "emg-1",
    metadata={"device": "Board <1> & 2", "notch_hz": "50"},
)
CAMERA = StreamSpec(
    "Webcam",
    Kind.CAMERA,
    (Channel("jpeg"), Channel("frame_number")),
    30.0,
    SampleType.STRING,
    "camera-1",
    FrameFormat(64, 48, "MJPG"),
    {"device": "cam"},
)
THERMAL = StreamSpec(
    "Lepton",
    Kind.THERMAL,
    (Channel("frame_number"), Channel("ffc")),
    0.0,
    SampleType.INT16,
    "thermal-1",
    FrameFormat(16, 12, "centi_celsius"),
    {"radiometric": "true"},
)
TASK = StreamSpec("Task", Kind.MARKERS, (Channel("text"),), 0.0, SampleType.STRING, "task-1")
VALENCE = StreamSpec(
    "Valence",
    Kind.VALENCE,
    (Channel("valence", "normalized"), Channel("quality", "normalized")),
    30.0,
    SampleType.FLOAT32,
    "valence-1",
)
SPECS = (EMG, CAMERA, THERMAL, TASK, VALENCE)
START_S = 12345.678


def blocks(seconds=2.0, seed=0):
    """Blocks of all streams by their last stamps; the EMG loses 7 samples, the camera 2 frames."""
    rng = np.random.default_rng(seed)
    made = []
    first = 0
    for k in range(int(seconds * 100)):
        stamps = START_S + 0.003 + k * 0.01 + np.arange(10) / 1000
        first += 7 if k == 60 else 0
        made.append(Block(EMG, stamps, rng.standard_normal((10, 4), np.float32), first))
        first += 10
    for k in range(int(seconds * 30)):
        if k in (20, 21):
            continue
        stamps = np.array([START_S + k / 30 + rng.uniform(0, 0.005)])
        made.append(Block(CAMERA, stamps, (b"\xff\xd8" + rng.bytes(int(rng.integers(500, 900))),), 500 + k))
        made.append(Block(VALENCE, stamps, rng.standard_normal((1, 2), np.float32), 500 + k))
    for k in range(int(seconds * 9)):
        pixels = rng.integers(2000, 4000, 16 * 12)
        pixels[0] = INVALID_CENTI_CELSIUS
        row = np.concatenate([pixels, [(32760 + k) % 32768, k % 5 == 0]]).astype(np.int16)
        made.append(Block(THERMAL, np.array([START_S + 0.05 + k / 9]), row[None], 32760 + k))
    for k, text in enumerate(("begin", "smile — ü", '{"json": "too"}')):
        made.append(Block(TASK, np.array([START_S + 0.2 + k * 0.4]), (text,), k))
    return sorted(made, key=lambda block: block.timestamps[-1])


def record(root, clock, made, close=True, **options):
    """Record blocks; returns the paths, and the recorder too when it is to stay open."""
    paths = new_run(root, "01", "01", "demo", consent_scope="analysis only")
    recorder = Recorder(paths, clock=clock, **options)
    for spec in SPECS:
        recorder.add_stream(spec)
    for block in made:
        recorder.write(block)
    if close:
        recorder.close()
        return paths
    return paths, recorder


def joined(many):
    """Stamps, numbers and data of several blocks of one stream, end to end."""
    many = list(many)
    stamps = np.concatenate([block.timestamps for block in many])
    numbers = np.concatenate([np.arange(block.first, block.end) for block in many])
    data = [sample for block in many for sample in block.data]
    return stamps, numbers, np.array(data) if isinstance(many[0].data, np.ndarray) else data


def of(spec, made):
    return [block for block in made if block.spec == spec]
