from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import pyxdf
from hypothesis import given, settings
from hypothesis import strategies as st

from acquisition.clock import ManualClock
from acquisition.recorded import FramesLost, on_this_clock
from acquisition.recorder import Recorder
from acquisition.recording import Recording, find_xdf
from acquisition.session import new_run
from acquisition.stream import Block, DeviceNotFound, Kind
from acquisition.xdf_header import header_of
from acquisition.xdf_writer import XdfWriter
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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = blocks()
    paths = record(tmp_path_factory.mktemp("run"), ManualClock(START_S), made)
    return paths, made


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_stream_comes_back_as_it_was(spec, run):
    paths, made = run
    recording = Recording(paths.xdf)
    assert recording.spec(spec.source_id) == spec
    got, expected = joined(recording.blocks(spec)), joined(of(spec, made))
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        if isinstance(theirs, np.ndarray):
            assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@settings(max_examples=10, deadline=None)
@given(chunk=st.integers(1, 3000))
def test_any_chunk_gives_the_same_samples_and_no_gap_is_inside_a_block(spec, run, chunk):
    paths, made = run
    many = list(Recording(paths.xdf).blocks(spec, chunk))
    for ours, theirs in zip(joined(many), joined(of(spec, made)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for block in many:
        assert 1 <= len(block) <= chunk
        assert np.all(np.diff(block.timestamps) > 0)
    jumps = [b.first - a.end for a, b in pairwise(many) if b.first != a.end]
    assert jumps == {"Amplifier": [7], "Webcam": [2], "Valence": [2]}.get(spec.name, [])


def test_it_opens_by_folder_file_or_sidecar(run, tmp_path):
    paths, _ = run
    assert find_xdf(paths.folder) == find_xdf(paths.sidecar) == find_xdf(paths.xdf) == paths.xdf
    for missing in (tmp_path, tmp_path / "no.xdf", tmp_path / "no_session.json"):
        with pytest.raises(DeviceNotFound, match="give a session folder"):
            Recording(missing)
    for name in ("a.xdf", "b.xdf"):
        (tmp_path / name).write_bytes(b"XDF:")
    with pytest.raises(DeviceNotFound, match=r"a\.xdf, b\.xdf"):
        Recording(tmp_path)


def test_it_tells_start_length_session_and_incidents(run):
    paths, made = run
    recording = Recording(paths.folder)
    first, last = min(b.timestamps[0] for b in made), max(b.timestamps[-1] for b in made)
    assert (recording.start_s, recording.end_s, recording.duration_s) == (first, last, last - first)
    assert recording.session.subject == "01"
    assert sorted((i.kind, i.details["stream"], i.details["lost"]) for i in recording.incidents) == [
        ("lost_samples", "Amplifier", 7),
        ("lost_samples", "Valence", 2),
        ("lost_samples", "Webcam", 2),
    ]
    assert not recording.ignored and not recording.damage
    with pytest.raises(DeviceNotFound, match="Webcam"):
        recording.spec("nothing")


def test_merged_blocks_come_in_the_order_of_their_ends(run):
    paths, made = run
    recording = Recording(paths.xdf)
    merged = list(recording.merged())
    ends = [block.timestamps[-1] for block in merged]
    assert ends == sorted(ends)
    assert {block.spec.name for block in merged} == {spec.name for spec in SPECS}
    for spec in SPECS:
        for ours, theirs in zip(joined(of(spec, merged)), joined(of(spec, made)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert all(len(block) == 1 for block in merged if block.spec != EMG)
    assert {len(block) for block in merged if block.spec == EMG} == {10}
    few = list(recording.merged({Kind.EMG, Kind.CAMERA}, chunk={Kind.EMG: 100}))
    assert {block.spec.name for block in few} == {"Amplifier", "Webcam"}
    assert max(len(block) for block in few) == 100


def test_a_stretch_can_be_read_by_time(run):
    paths, _ = run
    recording = Recording(paths.xdf)
    start_s, stop_s = START_S + 0.5, START_S + 1.25
    for spec in (EMG, CAMERA, THERMAL):
        stamps, numbers, data = joined(recording.blocks(spec, start_s=start_s, stop_s=stop_s))
        whole = joined(recording.blocks(spec))
        inside = (whole[0] >= start_s) & (whole[0] < stop_s)
        np.testing.assert_array_equal(stamps, whole[0][inside])
        np.testing.assert_array_equal(numbers, whole[1][inside])
        expected = (
            whole[2][inside] if isinstance(whole[2], np.ndarray) else np.array(whole[2], object)[inside]
        )
        np.testing.assert_array_equal(np.array(data, dtype=np.array(expected).dtype), expected)
    assert not list(recording.blocks(EMG, start_s=stop_s, stop_s=start_s))
    with pytest.raises(ValueError, match="chunk"):
        next(recording.blocks(EMG, 0))


def test_a_stream_whose_numbers_begin_late_or_restart_keeps_them(tmp_path):
    made = [
        Block(TASK, np.array([START_S + k]), (str(k),), first) for k, first in enumerate((40, 41, 50, 0, 1))
    ]
    recording = Recording(record(tmp_path, ManualClock(START_S), made).xdf)
    np.testing.assert_array_equal(recording.numbers(TASK), [40, 41, 50, 0, 1])
    assert [i.details["lost"] for i in recording.incidents] == [8, 0]


def test_two_markers_at_one_instant_are_both_there_in_order(tmp_path):
    stamps = np.array([START_S])
    paths = record(
        tmp_path, ManualClock(START_S), [Block(TASK, stamps, ("a",), 0), Block(TASK, stamps, ("b",), 1)]
    )
    got = list(Recording(paths.xdf).blocks(TASK, 10))
    assert [(block.data, block.first) for block in got] == [(("a",), 0), (("b",), 1)]


def test_a_missing_frame_file_leaves_out_its_stream_and_says_so(tmp_path):
    paths = record(tmp_path, ManualClock(START_S), blocks(0.3))
    paths.frames(Kind.CAMERA).unlink()
    recording = Recording(paths.xdf)
    assert CAMERA not in recording.specs and THERMAL in recording.specs
    assert "put it beside" in recording.ignored["Webcam_index"]
    assert recording.shortfalls == [recording.ignored["Webcam_index"]]


def test_a_frame_file_cut_off_gives_the_frames_that_are_there(tmp_path):
    made = blocks(1.0)
    paths = record(tmp_path, ManualClock(START_S), made)
    file = paths.frames(Kind.CAMERA)
    content = file.read_bytes()
    frames = joined(of(CAMERA, made))
    file.write_bytes(content[: len(content) // 2])
    recording = Recording(paths.xdf)
    stamps, numbers, data = joined(recording.blocks(CAMERA))
    assert 5 < len(data) < 20
    assert data == frames[2][: len(data)]
    np.testing.assert_array_equal(stamps, frames[0][: len(data)])
    np.testing.assert_array_equal(numbers, frames[1][: len(data)])
    (told,) = recording.shortfalls
    assert f"{len(frames[2]) - len(data)} of its {len(frames[2])} frames" in told


@pytest.mark.parametrize("left", ["nothing", "header", "noise", "another file"])
def test_a_frame_file_without_any_frame_is_an_error_that_says_what_to_do(tmp_path, left):
    paths = record(tmp_path, ManualClock(START_S), blocks(0.3))
    file = paths.frames(Kind.CAMERA)
    content = file.read_bytes()
    noise = np.random.default_rng(0).bytes(len(content))
    file.write_bytes(
        {"nothing": b"", "header": content[:300], "noise": noise, "another file": b"%PDF-1.7" * 40}[left]
    )
    with pytest.raises(
        FramesLost, match=f"none of its 9 frames.*{file.name}|{file.name}.*none of its 9 frames"
    ):
        Recording(paths.xdf)
    file.unlink()
    assert THERMAL in Recording(paths.xdf).specs


@pytest.mark.parametrize("spec", [CAMERA, THERMAL], ids=lambda spec: spec.name)
@pytest.mark.parametrize("chunk", [1, 7])
def test_a_hole_in_a_frame_file_costs_the_frames_in_it_and_no_other(tmp_path, spec, chunk):
    made = blocks(2.0)
    paths = record(tmp_path, ManualClock(START_S), made)
    file = paths.frames(spec.kind)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = bytes(1500)
    file.write_bytes(content)
    recording = Recording(paths.xdf)
    assert not recording.shortfalls  # Reading tells.
    stamps, numbers, data = joined(recording.blocks(spec, chunk))
    true_stamps, true_numbers, true_data = joined(of(spec, made))
    kept = np.isin(true_numbers, numbers)
    lost = np.count_nonzero(~kept)
    assert 1 <= lost <= 6
    np.testing.assert_array_equal(stamps, true_stamps[kept])
    whole = [
        np.array_equal(got, true_data[np.flatnonzero(true_numbers == number)[0]])
        for got, number in zip(data, numbers, strict=True)
    ]
    # The hole may begin inside a JPEG, which the decoder then refuses; temperatures carry checksums.
    assert whole.count(False) <= (spec == CAMERA)
    for _ in range(2):  # Read twice, told once.
        assert [f"{lost} of its {len(kept)} frames" in told for told in recording.shortfalls] == [True]
        joined(recording.blocks(spec, chunk))


# ------------------------------------------------------------------------------ other programs' files


def foreign(path, spec, stamps, values, offsets=()):
    with XdfWriter(path, clock=ManualClock()) as writer:
        texts = isinstance(values, list)
        xdf_format = "string" if texts else {"f": "float32", "i": "int16"}[values.dtype.kind]
        count = len(values[0]) if texts else values.shape[1]
        stream = writer.add_stream(header_of(spec), xdf_format, count)
        for collected_s, offset_s in offsets:
            writer.clock_offset(stream, collected_s, offset_s)
        (writer.write_strings if texts else writer.write)(stream, stamps, values)


def test_gaps_of_other_recorders_are_seen_from_the_stamps(tmp_path):
    stamps = START_S + np.arange(1000) / EMG.rate_hz
    stamps[600:] += 50 / EMG.rate_hz
    foreign(tmp_path / "a.xdf", EMG, stamps, np.zeros((1000, 4), np.float32))
    many = list(Recording(tmp_path / "a.xdf").blocks(EMG, 1000))
    assert [(block.first, len(block)) for block in many] == [(0, 600), (650, 400)]
    np.testing.assert_array_equal(np.concatenate([block.timestamps for block in many]), stamps)


def test_samples_out_of_order_are_left_out(tmp_path):
    stamps = START_S + np.arange(100) / EMG.rate_hz
    stamps[50] = stamps[40]
    values = np.repeat(np.arange(100, dtype=np.float32)[:, None], 4, axis=1)
    foreign(tmp_path / "a.xdf", EMG, stamps, values)
    _, _, data = joined(Recording(tmp_path / "a.xdf").blocks(EMG))
    assert 50.0 not in data and len(data) == 99 and data[50, 0] == 51


def test_frames_that_another_recorder_put_into_the_xdf_are_frames_all_the_same(tmp_path):
    camera = [b"\xff\xd8\x00\x80" + bytes([k]) for k in range(6)]
    counter = [7, 8, 9, 12, 13, 14]
    rows = [(jpeg, str(n).encode()) for jpeg, n in zip(camera, counter, strict=True)]
    foreign(tmp_path / "a.xdf", CAMERA, START_S + np.array(counter) / 30, rows)
    recording = Recording(tmp_path / "a.xdf")
    assert recording.specs == (CAMERA,)
    stamps, numbers, data = joined(recording.blocks(CAMERA))
    assert data == camera and numbers.tolist() == counter
    np.testing.assert_array_equal(stamps, START_S + np.array(counter) / 30)


def test_the_thermal_counter_of_another_recorder_is_unwrapped(tmp_path):
    counter = np.array([32766, 32767, 0, 3], np.int16)
    values = np.zeros((4, 194), np.int16)
    values[:, 192] = counter
    foreign(tmp_path / "a.xdf", THERMAL, START_S + np.array([0, 1, 2, 5]) / 9, values)
    assert Recording(tmp_path / "a.xdf").numbers(THERMAL).tolist() == [32766, 32767, 32768, 32771]


def test_streams_that_are_not_understood_are_told_not_fatal(tmp_path):
    path = tmp_path / "a.xdf"
    foreign(path, EMG, np.array([1.0]), np.zeros((1, 4), np.float32))
    content = path.read_bytes().replace(b"<type>EMG</type>", b"<type>EEG</type>")
    path.write_bytes(content)
    recording = Recording(path)
    assert recording.specs == () and "'EEG'" in recording.ignored["Amplifier"]
    assert (recording.start_s, recording.duration_s, list(recording.merged())) == (0.0, 0.0, [])


def test_stamps_of_another_machine_are_brought_to_this_clock(tmp_path):
    stamps = START_S + np.arange(600) / EMG.rate_hz * 100
    times = START_S + np.arange(0, 60, 5.0)
    offsets = 500.0 + 1e-5 * (times - START_S)
    offsets[3] += 0.02  # one answer that came late
    moved = on_this_clock(stamps, list(zip(times, offsets, strict=True)))
    np.testing.assert_allclose(moved, stamps + 500.0 + 1e-5 * (stamps - START_S), atol=1e-5)
    same = on_this_clock(stamps, [(t, 3e-5) for t in times])
    assert same is stamps
    assert on_this_clock(stamps, []) is stamps
    np.testing.assert_allclose(on_this_clock(stamps, [(START_S, 2.0)]), stamps + 2.0)


@pytest.mark.parametrize("reset_s", [0.0, 4700.0, -900.0])
def test_clocks_are_brought_together_as_pyxdf_does_even_if_one_was_set_anew(reset_s, tmp_path):
    random = np.random.default_rng(0)
    true_s = np.arange(0, 600, 0.05)
    asked_s = np.arange(0, 600, 5.0)

    def theirs(seconds):
        return START_S + 500.0 + seconds * (1 - 2e-5) + np.where(seconds >= 300.0, reset_s, 0.0)

    offsets = START_S + asked_s - theirs(asked_s) + random.exponential(2e-4, len(asked_s))
    path = tmp_path / "a.xdf"
    spec = replace(VALENCE, rate_hz=20.0)
    values = np.zeros((len(true_s), 2), np.float32)
    foreign(path, spec, theirs(true_s), values, zip(theirs(asked_s), offsets, strict=True))
    got = Recording(path).timestamps(spec)
    np.testing.assert_allclose(got, START_S + true_s, atol=1e-3, rtol=0)
    ((other,), _) = pyxdf.load_xdf(path, dejitter_timestamps=False)
    np.testing.assert_allclose(got, other["time_stamps"], atol=1e-3, rtol=0)


def test_pyxdf_finds_the_gap_of_lost_emg_where_it_was(tmp_path):
    stamps = START_S + np.arange(4000) / 1000.0
    kept = np.flatnonzero((np.arange(4000) < 1500) | (np.arange(4000) >= 1700))
    spec = replace(EMG, rate_hz=1000.0)
    paths = new_run(tmp_path, "01", "01", "demo", consent_scope="analysis only")
    recorder = Recorder(paths, clock=ManualClock(START_S))
    recorder.add_stream(spec)
    for part in (kept[:1500], kept[1500:]):
        recorder.write(Block(spec, stamps[part], np.zeros((len(part), 4), np.float32), int(part[0])))
    recorder.close()
    (emg,) = [s for s in pyxdf.load_xdf(paths.xdf)[0] if s["info"]["type"] == ["EMG"]]
    steps = np.diff(emg["time_stamps"])
    assert np.argmax(steps) == 1499 and steps[1499] == pytest.approx(0.201, abs=1e-6)
    np.testing.assert_allclose(np.delete(steps, 1499), 0.001, atol=1e-6)


@pytest.mark.parametrize("cut", [1, 9, 40, 150, 400, 1500, 5000])
def test_a_recording_cut_off_opens_with_what_is_left(cut, run, tmp_path):
    paths, made = run
    for file in paths.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / paths.xdf.name
    path.write_bytes(path.read_bytes()[:-cut])
    recording = Recording(path)
    assert recording.damage and recording.damage[-1].at_end
    for spec in recording.specs:
        whole = joined(of(spec, made))
        if not len(recording.timestamps(spec)):
            continue
        for ours, theirs in zip(joined(recording.blocks(spec)), whole, strict=True):
            np.testing.assert_array_equal(ours, theirs[: len(ours)])


def test_a_frame_that_vanishes_is_told(tmp_path):
    paths = record(tmp_path, ManualClock(START_S), blocks(0.5))
    recording = Recording(paths.xdf)
    paths.frames(Kind.CAMERA).write_bytes(b"")
    assert not list(recording.blocks(CAMERA))
    assert "15 of its 15 frames" in recording.shortfalls[0]
