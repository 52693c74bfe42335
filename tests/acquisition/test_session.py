import hashlib
import json
from dataclasses import replace

import pytest

from acquisition.session import (
    SessionInfo,
    SessionPaths,
    check_pseudonym,
    file_facts,
    new_run,
    spec_from_dict,
    spec_to_dict,
    write_atomically,
)
from acquisition.stream import Channel, FrameFormat, InvalidSignal, Kind, SampleType, StreamSpec


def test_files_follow_the_bids_pattern(tmp_path):
    paths = SessionPaths(tmp_path, "P07", "02", "smile", 3)
    assert paths.xdf == tmp_path / "sub-P07/ses-02/sub-P07_ses-02_task-smile_run-003.xdf"
    assert paths.sidecar.name == "sub-P07_ses-02_task-smile_run-003_session.json"
    assert paths.frames(Kind.CAMERA).name == "sub-P07_ses-02_task-smile_run-003_camera.mkv"
    assert paths.frames(Kind.THERMAL, 2).name == "sub-P07_ses-02_task-smile_run-003_thermal2.mkv"
    for path in (paths.xdf, paths.sidecar, paths.frames(Kind.CAMERA)):
        assert SessionPaths.of(path) == paths


def test_each_run_is_a_new_one_and_an_old_file_of_any_kind_counts(tmp_path):
    first = new_run(tmp_path, "01", "01", "demo")
    second = new_run(tmp_path, "01", "01", "demo")
    assert (first.run, second.run) == (1, 2)
    (first.folder / "sub-01_ses-01_task-demo_run-007_camera.mkv").touch()
    (first.folder / "sub-01_ses-01_task-demo_run-notanumber.xdf").touch()
    assert new_run(tmp_path, "01", "01", "demo").run == 8
    assert new_run(tmp_path, "01", "01", "other").run == 1
    assert new_run(tmp_path, "01", "02", "demo").run == 1


def test_a_run_taken_meanwhile_is_passed_over(tmp_path, monkeypatch):
    new_run(tmp_path, "01", "01", "demo")
    monkeypatch.setattr("pathlib.Path.glob", lambda self, pattern: iter(()))
    assert new_run(tmp_path, "01", "01", "demo").run == 2


@pytest.mark.parametrize("name", ["anna", "Anna Smith", "", "../01", "sub-01", "x" * 32 + "1", "ä1", "01\n"])
def test_names_are_not_taken_for_pseudonyms(name, tmp_path):
    with pytest.raises(ValueError, match="code of letters and digits"):
        check_pseudonym(name)
    with pytest.raises(ValueError, match="code of letters and digits"):
        new_run(tmp_path, name, "01", "demo")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["", "a_b", "a/b", "a-b", ".."])
def test_labels_cannot_leave_the_folder(task, tmp_path):
    with pytest.raises(ValueError, match="letters and digits"):
        new_run(tmp_path, "01", "01", task)


def test_the_sidecar_says_who_when_and_what_was_allowed(tmp_path):
    paths = new_run(
        tmp_path, "01", "01", "demo", protocol="stroop", consent_scope="analysis only", calibration={"mvc": 3}
    )
    info = SessionInfo.load(paths.sidecar)
    assert (info.subject, info.task, info.run, info.state) == ("01", "demo", 1, "recording")
    assert (info.protocol, info.consent_scope, info.calibration) == ("stroop", "analysis only", {"mvc": 3})
    assert info.started[10] == "T" and info.started[-6] in "+-"
    assert {"python", "numpy", "pylsl"} <= set(info.software)


def test_a_sidecar_comes_back_and_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "s.json"
    info = SessionInfo(
        "01", "01", "demo", 1, notes=("ä",), devices=({"name": "x"},), files={"a": {"bytes": 1}}
    )
    info.save(path)
    assert SessionInfo.load(path) == info
    replace(info, state="complete").save(path)
    assert SessionInfo.load(path).state == "complete"
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "of a later version": 1}))
    assert SessionInfo.load(path).subject == "01"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"subject": "01"}'])
def test_what_is_no_sidecar_is_refused_in_one_sentence(text, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(InvalidSignal, match="not a session sidecar"):
        SessionInfo.load(path)


def test_an_interrupted_write_leaves_the_old_text(tmp_path, monkeypatch):
    path = tmp_path / "s.json"
    write_atomically(path, b"old")

    def fail(handle):
        raise OSError("power")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="power"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_files_are_told_by_size_and_hash(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"zygoma")
    assert file_facts([path]) == {"a.bin": {"bytes": 6, "sha256": hashlib.sha256(b"zygoma").hexdigest()}}


@pytest.mark.parametrize(
    "spec",
    [
        StreamSpec(
            "E", Kind.EMG, (Channel("ZYG_L", "microvolts", "EMG"),), 249.97312345678, SampleType.FLOAT32, "e1"
        ),
        StreamSpec(
            "C",
            Kind.CAMERA,
            (Channel("jpeg"), Channel("frame_number")),
            30.0,
            SampleType.STRING,
            "c1",
            FrameFormat(640, 480, "MJPG"),
            {"device": "Ä <cam> & 'quotes'"},
        ),
    ],
)
def test_specs_survive_json(spec):
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec
