"""A publisher killed in mid-stream and started again: the inlet goes on and knows what it missed."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from acquisition.clock import lsl_clock
from acquisition.inlet import LslInlet
from acquisition.network import resolve
from acquisition.stream import Kind

# Sends a camera and an EMG stream until it is killed; EMG channel 0 counts samples by the clock, so that
# the truth about what was lost is in the data.
PUBLISHER = """
import sys, time
import numpy as np
from acquisition.clock import lsl_clock
from acquisition.outlet import LslOutlet
from acquisition.stream import Block, Channel, FrameFormat, Kind, SampleType, StreamSpec

start_s = float(sys.argv[1])
emg = StreamSpec("emg", Kind.EMG, (Channel("ZYG_L", "microvolts", "EMG"),), 500.0, SampleType.FLOAT32,
                 "emg-r")
cam = StreamSpec("cam", Kind.CAMERA, (Channel("jpeg"), Channel("frame_number")), 25.0, SampleType.STRING,
                 "cam-r", FrameFormat(8, 6, "MJPG"))
with LslOutlet(emg) as emg_out, LslOutlet(cam) as cam_out:
    due, frame = int((lsl_clock() - start_s) * 25) + 1, 0
    while True:
        time.sleep(max(start_s + due / 25 - lsl_clock(), 0))
        index = np.arange(due * 20, due * 20 + 20)
        emg_out.push(Block(emg, start_s + index / 500, index[:, None].astype(np.float32), 0))
        cam_out.push(Block(cam, np.array([start_s + due / 25]), (str(due).encode(),), frame))
        due, frame = due + 1, frame + 1
"""


def start(start_s: float) -> subprocess.Popen[bytes]:
    import acquisition

    env = {**os.environ, "PYTHONPATH": str(Path(acquisition.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", PUBLISHER, str(start_s)], env=env)


def collect(inlet: LslInlet, count: int) -> list:
    blocks = []
    deadline_s = lsl_clock() + 30.0
    while sum(map(len, blocks)) < count:
        assert lsl_clock() < deadline_s, inlet.health
        blocks.append(inlet.read(0.2))
    return [block for block in blocks if len(block)]


def test_a_killed_publisher_comes_back():
    start_s = lsl_clock()
    publisher = start(start_s)
    try:
        (emg_spec,) = resolve(kind=Kind.EMG, source_id="emg-r", timeout_s=20.0)
        (cam_spec,) = resolve(kind=Kind.CAMERA, source_id="cam-r", timeout_s=20.0)
        with LslInlet(emg_spec) as emg, LslInlet(cam_spec) as cam:
            emg_blocks, cam_blocks = collect(emg, 100), collect(cam, 5)
            publisher.send_signal(signal.SIGKILL)
            publisher.wait()
            # Nothing comes any more, and that is told.
            while not (told := emg.take_incidents()):
                emg_blocks.append(emg.read(0.2))
                cam_blocks.append(cam.read(0.0))
            assert [incident.kind for incident in told] == ["silence"]
            publisher = start(start_s)
            emg_blocks += collect(emg, 200)
            cam_blocks += collect(cam, 20)
            emg_health, cam_health = emg.health, cam.health
            (back,) = [i for i in emg.take_incidents() if i.kind == "reconnected"]
            (cam_back,) = [i for i in cam.take_incidents() if i.kind == "reconnected"]
    finally:
        publisher.kill()
        publisher.wait()
    truth = np.concatenate([block.array[:, 0] for block in emg_blocks if len(block)])
    numbers = np.concatenate([block.first + np.arange(len(block)) for block in emg_blocks if len(block)])
    # Nothing twice, nothing out of order, and the running number jumps by exactly what was never received.
    np.testing.assert_array_equal(numbers - numbers[0], truth - truth[0])
    assert emg_health.lost == numbers[-1] - numbers[0] + 1 - len(numbers)
    assert emg_health.reconnects == 1
    assert back.lost == emg_health.lost
    assert back.seconds > 1.0
    assert "restarted" in back.sentence
    # The camera's count began at 0 again; its numbers go on by the time.
    times = np.concatenate([block.timestamps for block in cam_blocks])
    frames = np.concatenate([block.first + np.arange(len(block)) for block in cam_blocks])
    assert (np.diff(frames) > 0).all()
    np.testing.assert_array_equal(frames - frames[0], np.rint((times - times[0]) * 25))
    assert cam_health.lost == cam_back.lost > 20
    payload = [int(jpeg) for block in cam_blocks for jpeg in block.data]
    assert all(b > a for a, b in itertools.pairwise(payload))
