import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyxdf

from acquisition.clock import ManualClock
from acquisition.recorder import DiskFull, Recorder, RecordingFailed
from acquisition.recording import Recording
from acquisition.session import SessionExists, SessionInfo, SessionPaths, file_facts, new_run, spec_from_dict
from acquisition.stream import Block, FrameFormat, InvalidSignal, ZygomaError
from acquisition.xdf_reader import XdfFile
from tests.acquisition.runs import (
    CAMERA,
    EMG,
    SPECS,
    START_S,
    TASK,
    THERMAL,
    VALENCE,
    blocks,
    joined,
    of,
    record,
)


@pytest.fixture
def clock():
    return ManualClock(START_S)


def emg(first, count=10, spec=EMG):
    return Block(
        spec, START_S + np.arange(first, first + count) / 1000, np.ones((count, 4), np.float32), first
    )


def test_a_run_has_its_files_and_a_sidecar_that_vouches_for_them(tmp_path, clock):
    paths = record(tmp_path, clock, blocks())
    names = sorted(file.name.removeprefix(paths.stem) for file in paths.folder.iterdir())
    assert names == [".xdf", "_camera.mkv", "_session.json", "_thermal.mkv"]
    info = SessionInfo.load(paths.sidecar)
    assert info.state == "complete" and info.ended >= info.started
    assert paths.folder.stat().st_mode & 0o077 == 0, "faces are their owner's alone"
    assert info.consent_scope == "analysis only"
    assert info.files == file_facts(f for f in paths.folder.iterdir() if f != paths.sidecar)
    recorded = [spec_from_dict(device) for device in info.devices]
    assert [spec for spec in recorded if spec.name != "zygoma_incidents"] == list(SPECS)


def test_pyxdf_finds_every_stream_and_the_exact_stamps(tmp_path, clock):
    made = blocks()
    paths = record(tmp_path, clock, made)
    streams, _ = pyxdf.load_xdf(paths.xdf)
    by_name = {stream["info"]["name"][0]: stream for stream in streams}
    assert set(by_name) == {
        "zygoma_incidents",
        "Amplifier",
        "Webcam_index",
        "Lepton_index",
        "Task",
        "Valence",
    }
    # What follows the pictures keeps their stamps: evened out, lost frames would move it by half a second.
    for name, spec in (("Webcam_index", CAMERA), ("Lepton_index", THERMAL), ("Valence", VALENCE)):
        stamps, numbers, _ = joined(of(spec, made))
        np.testing.assert_array_equal(by_name[name]["time_stamps"], stamps)
        if name.endswith("_index"):
            np.testing.assert_array_equal(by_name[name]["time_series"][:, 0], numbers)
    assert [text for (text,) in by_name["Task"]["time_series"]] == ["begin", "smile — ü", '{"json": "too"}']
    incidents = [json.loads(text) for (text,) in by_name["zygoma_incidents"]["time_series"]]
    lost = {i["stream"]: i["lost"] for i in incidents if i["kind"] == "lost_samples"}
    assert lost == {"Amplifier": 7, "Webcam": 2, "Valence": 2}


def test_an_existing_run_is_never_overwritten(tmp_path, clock):
    paths = record(tmp_path, clock, blocks(0.1))
    before = {file: file.read_bytes() for file in paths.folder.iterdir()}
    with pytest.raises(SessionExists, match="new_run"):
        Recorder(paths, clock=clock)
    assert before == {file: file.read_bytes() for file in paths.folder.iterdir()}


def test_a_frame_file_in_the_way_stops_the_recording_and_stays(tmp_path, clock):
    paths = new_run(tmp_path, "01", "01", "demo")
    in_the_way = paths.frames(CAMERA.kind)
    in_the_way.write_bytes(b"mine")
    recorder = Recorder(paths, clock=clock)
    recorder.write(emg(0))
    recorder.add_stream(CAMERA)
    with pytest.raises(RecordingFailed, match="check the disk"):
        recorder.close()
    assert in_the_way.read_bytes() == b"mine"
    assert XdfFile(paths.xdf).closed_properly


def test_streams_may_come_late_and_markers_and_incidents_are_stamped(tmp_path, clock):
    paths = SessionPaths(tmp_path, "02", "01", "late", 4)  # by hand, without new_run
    with Recorder(paths, clock=clock) as recorder:
        recorder.write(emg(0))
        clock.sleep(30.0)
        recorder.marker("one")
        recorder.marker("two")
        recorder.incident("device_lost", stream="Webcam", seconds=1.5)
        recorder.write(Block(TASK, np.array([clock()]), ("late",), 0))
        recorder.set_calibration({"mvc_uv": 250.0})
    recording = Recording(paths.xdf)
    assert [spec.name for spec in recording.specs] == ["Amplifier", "zygoma_markers", "Task"]
    marks = [(block.timestamps[0], block.data) for block in recording.blocks("zygoma_markers")]
    assert [texts for _, texts in marks] == [("one",), ("two",)]
    assert marks[0][0] == START_S + 30.0 and marks[0][0] < marks[1][0] < START_S + 30.001
    (incident,) = recording.incidents
    assert (incident.kind, incident.time_s) == ("device_lost", START_S + 30.0)
    assert incident.details == {"stream": "Webcam", "seconds": 1.5}
    assert SessionInfo.load(paths.sidecar).calibration == {"mvc_uv": 250.0}


def test_two_cameras_get_a_file_each(tmp_path, clock):
    second = replace(CAMERA, name="Other", source_id="camera-2")
    paths = new_run(tmp_path, "01", "01", "demo")
    with Recorder(paths, clock=clock) as recorder:
        for k in range(3):
            for spec in (CAMERA, second):
                recorder.write(Block(spec, np.array([START_S + k]), (b"%d" % k + spec.name.encode(),), k))
    recording = Recording(paths.xdf)
    for spec in (CAMERA, second):
        got = [block.data[0] for block in recording.blocks(spec)]
        assert got == [b"%d" % k + spec.name.encode() for k in range(3)]
    assert len(list(paths.folder.glob("*.mkv"))) == 2


def test_two_boards_of_one_name_keep_their_own_numbers(tmp_path, clock):
    second = replace(EMG, source_id="emg-2")
    paths = new_run(tmp_path, "01", "01", "demo")
    with Recorder(paths, clock=clock) as recorder:
        for spec, lost in ((EMG, 0), (second, 5)):
            recorder.write(emg(0, spec=spec))
            later = emg(15, spec=spec)
            recorder.write(Block(spec, later.timestamps, later.array, 10 + lost))
    recording = Recording(paths.xdf)
    assert recording.numbers(EMG).tolist() == [*range(20)]
    assert recording.numbers(second).tolist() == [*range(10), *range(15, 25)]


def test_the_owner_of_an_array_may_go_on_writing_into_it(tmp_path, clock):
    paths = new_run(tmp_path, "01", "01", "demo")
    stamps, values = START_S + np.arange(10) / 1000, np.ones((10, 4), np.float32)
    with Recorder(paths, clock=clock) as recorder:
        recorder.write(Block(EMG, stamps, values, 0))
        values[:] = stamps[:] = -1
    (block,) = Recording(paths.xdf).blocks(EMG)
    assert np.all(block.array == 1) and block.timestamps[0] == START_S


@pytest.mark.parametrize(
    "block",
    [
        Block(TASK, np.zeros(1), (b"bytes",), 0),
        Block(CAMERA, np.zeros(1), (np.zeros((48, 64, 3), np.uint8),), 0),
        Block(CAMERA, np.zeros(1), (b"",), 0),
        Block(THERMAL, np.zeros(1), np.zeros((1, 194), np.float32), 0),
        Block(EMG, np.zeros(1), ("text",), 0),
        Block(replace(EMG, channels=EMG.channels[:3]), np.zeros(1), np.zeros((1, 3), np.float32), 0),
        Block(replace(CAMERA, frame=FrameFormat(32, 24, "MJPG")), np.zeros(1), (b"jpeg",), 0),
    ],
)
def test_what_a_stream_was_not_announced_to_be_is_refused_at_once(block, tmp_path, clock):
    paths = new_run(tmp_path, "01", "01", "demo")
    with Recorder(paths, clock=clock) as recorder:
        for spec in SPECS:
            recorder.add_stream(spec)
        with pytest.raises(InvalidSignal, match="restart it"):
            recorder.write(block)
        recorder.write(emg(0))
    assert len(Recording(paths.xdf).timestamps(EMG)) == 10


class Slow:
    """Room on the disk as told by the test; the recorder's thread waits here until let go."""

    def __init__(self):
        self.free = 10**12
        self.hold = threading.Event()
        self.hold.set()

    def __call__(self, folder):
        self.hold.wait(10)
        return self.free


def test_a_slow_disk_never_blocks_and_nothing_is_lost(tmp_path, clock):
    disk = Slow()
    paths = new_run(tmp_path, "01", "01", "demo")
    recorder = Recorder(paths, clock=clock, free_bytes=disk)
    disk.hold.clear()
    clock.sleep(2.0)
    for k in range(500):
        recorder.write(emg(10 * k))
    status = recorder.status()
    assert 400 < status.queued_blocks <= 502 and status.queued_bytes >= 400 * 160
    disk.hold.set()
    recorder.close()
    assert recorder.status().queued_blocks == 0
    assert len(Recording(paths.xdf).timestamps(EMG)) == 5000


def test_the_status_tells_an_operator_how_it_goes(tmp_path, clock):
    paths, recorder = record(tmp_path, clock, blocks(), close=False)
    recorder.close()
    clock.sleep(3.0)
    status = recorder.status()
    assert status.seconds == pytest.approx(3.0)
    assert status.bytes_by_file == {
        file.name: file.stat().st_size for file in paths.folder.iterdir() if file != paths.sidecar
    }
    assert status.samples_by_stream["Amplifier"] == 2000 and status.lost_by_stream["Amplifier"] == 7
    assert status.free_bytes > 0 and status.stopped == ""


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never happened")


def test_a_filling_disk_warns_then_stops_safely(tmp_path, clock):
    disk = Slow()
    disk.free = 6 * 10**9
    paths, recorder = record(tmp_path, clock, blocks(0.5), close=False, free_bytes=disk)
    assert not recorder.status().disk_warning
    disk.free = 4 * 10**9
    clock.sleep(2.0)
    recorder.marker("still recording")
    wait_for(lambda: recorder.status().disk_warning)
    disk.free = 9 * 10**8
    clock.sleep(2.0)
    wait_for(lambda: recorder.status().stopped)
    with pytest.raises(DiskFull, match="make room"):
        recorder.write(emg(10_000))
    with pytest.raises(DiskFull):
        recorder.marker("too late")
    with pytest.raises(DiskFull):
        recorder.close()
    recording = Recording(paths.xdf)
    assert recording.xdf.closed_properly
    assert recording.incidents[-1].kind == "recording_stopped"
    assert next(recording.blocks("zygoma_markers")).data == ("still recording",)
    info = SessionInfo.load(paths.sidecar)
    assert "make room" in info.notes[-1] and len(info.files) == 3


def test_an_error_of_the_disk_surfaces_at_the_next_call(tmp_path, clock):
    paths = new_run(tmp_path, "01", "01", "demo")
    recorder = Recorder(paths, clock=clock)
    recorder.write(emg(0))
    wait_for(lambda: recorder.status().samples_by_stream.get("Amplifier") == 10)

    def refuse(*args):
        raise OSError(5, "Input/output error")

    recorder._xdf.write = refuse
    recorder.write(emg(10))
    wait_for(lambda: recorder.status().stopped)
    with pytest.raises(RecordingFailed, match="Input/output error"):
        recorder.write(emg(20))
    with pytest.raises(ZygomaError):
        recorder.close()
    assert len(Recording(paths.xdf).timestamps(EMG)) == 10


def test_the_status_is_told_while_the_files_are_hashed(tmp_path, clock, monkeypatch):
    _, recorder = record(tmp_path, clock, (), close=False)
    told = []

    def hashing(paths):
        watcher = threading.Thread(target=lambda: told.append(recorder.status()), daemon=True)
        watcher.start()
        watcher.join(10)
        return file_facts(paths)

    monkeypatch.setattr("acquisition.recorder.file_facts", hashing)
    recorder.close()
    assert len(told) == 1


def test_after_close_nothing_is_taken(tmp_path, clock):
    _, recorder = record(tmp_path, clock, (), close=False)
    recorder.close()
    recorder.close()
    with pytest.raises(RecordingFailed, match="closed"):
        recorder.write(emg(0))


def test_many_threads_may_write_at_once(tmp_path, clock):
    specs = [replace(VALENCE, name=f"v{n}", source_id=f"v{n}") for n in range(4)]
    paths = new_run(tmp_path, "01", "01", "demo")
    with Recorder(paths, clock=clock) as recorder:

        def run(spec):
            for k in range(200):
                recorder.write(Block(spec, np.array([START_S + k]), np.full((1, 2), k, np.float32), k))

        threads = [threading.Thread(target=run, args=(spec,)) for spec in specs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    recording = Recording(paths.xdf)
    for spec in specs:
        got = [block.array[0, 0] for block in recording.blocks(spec)]
        assert got == list(range(200))


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from acquisition.recorder import Recorder
from acquisition.session import new_run
from acquisition.stream import Block
from tests.acquisition.runs import CAMERA, EMG, THERMAL
recorder = Recorder(new_run(Path(sys.argv[1]), "01", "01", "killed"), clock=time.monotonic)
start = time.monotonic()
for k in range(10**9):
    while time.monotonic() < start + k / 60:
        time.sleep(0.002)
    stamp = time.monotonic()
    recorder.write(Block(EMG, stamp + np.arange(16) / 1000, np.full((16, 4), k, np.float32), 16 * k))
    recorder.write(Block(CAMERA, np.array([stamp]), (b"%d" % k + bytes(20000),), k))
    if k % 6 == 0:
        recorder.write(Block(THERMAL, np.array([stamp]), np.full((1, 194), k, np.int16), k // 6))
    print(stamp, flush=True)
"""


def test_a_kill_costs_less_than_a_second_of_every_stream(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd(), env=os.environ) as process:
        for _ in range(100):
            process.stdout.readline()
        process.kill()
        told = process.stdout.read().split()
    (xdf,) = tmp_path.rglob("*.xdf")
    recording = Recording(xdf)
    assert len(recording.specs) == 3
    for spec in recording.specs:
        stamps = recording.timestamps(spec)
        assert len(stamps) > 10
        assert not told or float(told[-1]) - stamps[-1] < 1.0
    frames = [block.data[0].rstrip(b"\0") for block in recording.blocks(CAMERA)]
    assert frames == [b"%d" % k for k in range(len(frames))]
    assert SessionInfo.load(xdf.with_name(f"{xdf.stem}_session.json")).state == "recording"
