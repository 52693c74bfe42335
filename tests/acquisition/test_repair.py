import json
import os

import numpy as np
import pytest
import pyxdf

from acquisition.clock import ManualClock
from acquisition.recorder import Recorder
from acquisition.recording import Recording
from acquisition.repair import StillRecording, repair
from acquisition.session import SessionInfo, file_facts, new_run
from acquisition.stream import DeviceNotFound, InvalidSignal, Kind
from acquisition.xdf_reader import XdfFile
from tests.acquisition.runs import CAMERA, EMG, START_S, blocks, joined, of, record


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = blocks(1.0)
    return record(tmp_path_factory.mktemp("run"), ManualClock(START_S), made), made


@pytest.fixture
def killed(run, tmp_path):
    """A copy of the run as a kill would leave it: files cut short and a sidecar that knows no end."""
    paths, made = run
    for name, content in files_of(paths.folder).items():
        (tmp_path / name).write_bytes(content)
    sidecar = tmp_path / paths.sidecar.name
    facts = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**facts, "state": "recording", "ended": "", "files": {}}))
    for kind in (Kind.CAMERA, Kind.THERMAL):
        path = tmp_path / paths.frames(kind).name
        os.truncate(path, int(path.stat().st_size * 0.8))
    xdf = tmp_path / paths.xdf.name
    os.truncate(xdf, int(xdf.stat().st_size * 0.9))
    return xdf, made


def test_a_whole_recording_is_left_alone(run):
    paths, _ = run
    before = files_of(paths.folder)
    report = repair(paths.folder)
    assert not report.changed and report.sentence.endswith("nothing to repair.")
    assert files_of(paths.folder) == before


def test_a_killed_recording_becomes_whole_and_nothing_is_thrown_away(killed):
    xdf, made = killed
    before = files_of(xdf.parent)
    left = [(spec, joined(Recording(xdf).blocks(spec))) for spec in Recording(xdf).specs]
    report = repair(xdf)
    after = files_of(xdf.parent)
    assert sorted(file.suffix for file in report.repaired) == [".mkv", ".mkv", ".xdf"]
    for name, content in before.items():
        if not name.endswith("_session.json"):
            assert after[f"{name}.damaged"] == content
    assert set(after) == set(before) | {f"{n}.damaged" for n in before if not n.endswith("_session.json")}
    assert "half chunk" in report.sentence and "whole frames" in report.sentence
    assert report.dropped_bytes > 0
    assert XdfFile(xdf).closed_properly
    recording = Recording(xdf)
    for spec, samples in left:
        assert len(samples[0]) > 0
        for ours, theirs, all_of_it in zip(
            joined(recording.blocks(spec)), samples, joined(of(spec, made)), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
            np.testing.assert_array_equal(ours, all_of_it[: len(ours)])
    info = SessionInfo.load(xdf.with_name(f"{xdf.stem}_session.json"))
    assert info.state == "repaired" and info.ended and report.sentence in info.notes[-1]
    assert info.files == file_facts([xdf, *xdf.parent.glob("*.mkv")])
    for stream in pyxdf.load_xdf(xdf)[0]:
        footer = stream["footer"]["info"]
        assert int(footer["sample_count"][0]) == len(stream["time_stamps"])


def test_a_second_repair_changes_nothing(killed):
    xdf, _ = killed
    repair(xdf)
    before = files_of(xdf.parent)
    assert not repair(xdf).changed
    assert files_of(xdf.parent) == before


def test_repairing_another_cut_keeps_both_damaged_files(killed):
    xdf, _ = killed
    repair(xdf)
    os.truncate(xdf, xdf.stat().st_size - 30)
    report = repair(xdf)
    assert [file.name for file in report.kept] == [f"{xdf.name}.damaged2"]


def test_every_cut_of_the_last_chunks_can_be_repaired(run, tmp_path):
    paths, made = run
    whole = paths.xdf.read_bytes()
    emg = joined(of(EMG, made))
    path = tmp_path / "a.xdf"
    for cut in [*range(1, 60), *range(60, 3000, 97)]:
        path.write_bytes(whole[:-cut])
        report = repair(path)
        assert report.changed or cut == 20  # the last boundary alone is not missed
        xdf = XdfFile(path)
        assert xdf.closed_properly
        (stream,) = (s for s in xdf.streams if s.name == "Amplifier")
        np.testing.assert_array_equal(xdf.numbers(stream), emg[2][: len(stream)])
        np.testing.assert_array_equal(stream.timestamps, emg[0][: len(stream)])
        for kept in report.kept:
            assert kept.read_bytes() == whole[:-cut]
            kept.unlink()


def test_damage_in_the_middle_costs_only_its_stretch(run, tmp_path):
    paths, _ = run
    content = bytearray(paths.xdf.read_bytes())
    # A boundary that lies behind the damage lets reading go on.
    path = tmp_path / "a.xdf"
    xdf = XdfFile(paths.xdf)
    path.write_bytes(content)
    middle = content.index(b"smile")
    content[middle - 15] = 99
    path.write_bytes(content)
    before = sum(len(stream) for stream in xdf.streams)
    report = repair(path)
    after = sum(len(stream) for stream in XdfFile(path).streams)
    assert 0 < after < before and report.dropped_bytes > 0
    assert XdfFile(path).closed_properly


def test_a_recorder_that_died_while_hashing_is_completed(run, tmp_path):
    paths, _ = run
    for name, content in files_of(paths.folder).items():
        (tmp_path / name).write_bytes(content)
    sidecar = tmp_path / paths.sidecar.name
    facts = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**facts, "state": "recording", "ended": "", "files": {}}))
    report = repair(tmp_path)
    assert not report.changed
    assert len(SessionInfo.load(sidecar).files) == 3


def test_a_recording_that_still_runs_is_not_touched(tmp_path):
    paths = new_run(tmp_path, "01", "01", "demo")
    with Recorder(paths, clock=ManualClock(START_S)) as recorder:
        for block in blocks(0.2):
            recorder.write(block)
        with pytest.raises(StillRecording, match="stop the recording"):
            repair(paths.xdf)
    assert not repair(paths.xdf).changed
    assert not list(paths.folder.glob("*.damaged"))


def test_an_interrupted_repair_leaves_the_recording_as_it_was(killed, monkeypatch):
    xdf, _ = killed
    before = files_of(xdf.parent)

    def fail(handle):
        raise OSError("power")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="power"):
        repair(xdf)
    monkeypatch.undo()
    after = files_of(xdf.parent)
    assert {name: after[name] for name in before} == before
    assert repair(xdf).changed


def test_without_hard_links_the_damaged_file_is_copied(killed, monkeypatch):
    xdf, _ = killed
    before = xdf.read_bytes()

    def refuse(*args):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    repair(xdf)
    assert xdf.with_name(f"{xdf.name}.damaged").read_bytes() == before


def test_what_is_no_recording_is_told(tmp_path):
    with pytest.raises(DeviceNotFound, match="give a session folder"):
        repair(tmp_path)
    path = tmp_path / "a.xdf"
    path.write_bytes(b"not xdf")
    with pytest.raises(InvalidSignal, match="begin"):
        repair(path)


def test_an_xdf_of_another_program_needs_no_sidecar(killed):
    xdf, _ = killed
    xdf.with_name(f"{xdf.stem}_session.json").unlink()
    for file in xdf.parent.glob("*.mkv"):
        file.unlink()
    report = repair(xdf)
    assert report.changed and "missing" in report.sentence
    assert CAMERA not in Recording(xdf).specs
