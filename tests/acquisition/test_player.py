import threading

import numpy as np
import pytest

from acquisition.clock import ManualClock
from acquisition.player import Player
from acquisition.recording import Recording
from acquisition.stream import EndOfStream, Source
from tests.acquisition.runs import CAMERA, EMG, START_S, TASK, THERMAL, blocks, joined, record


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return Recording(record(tmp_path_factory.mktemp("run"), ManualClock(START_S), blocks()).xdf)


def play(source, clock, count=10**9, timeout_s=0.05):
    """Blocks that are not empty, with the time at which each came."""
    got = []
    with source:
        while len(got) < count:
            try:
                block = source.read(timeout_s)
            except EndOfStream:
                break
            if len(block):
                got.append((clock(), block))
    return got


def player_of(recording, **options):
    clock = ManualClock(50_000.25)
    return Player(recording, clock=clock, sleep=clock.sleep, **options), clock


def test_every_recorded_device_is_there_and_nothing_derived(recording):
    player, _ = player_of(recording)
    assert [source.recorded for source in player.sources] == [EMG, CAMERA, THERMAL, TASK]
    for source in player.sources:
        assert isinstance(source, Source)
        spec, recorded = source.spec, source.recorded
        assert spec.source_id == f"{recorded.source_id}-replay"
        assert spec.metadata["replay"] == "true"
        assert spec.metadata["replay_of"] == recording.path.stem
        assert float(spec.metadata["replay_shift_s"]) == player.shift_s
        assert recorded.metadata.items() <= spec.metadata.items()
        assert (spec.name, spec.channels, spec.rate_hz, spec.frame) == (
            recorded.name,
            recorded.channels,
            recorded.rate_hz,
            recorded.frame,
        )


@pytest.mark.parametrize("rate", [1.0, 0.5, 4.0])
def test_samples_come_when_due_moved_by_one_constant(recording, rate):
    for index, spec in enumerate((EMG, CAMERA, THERMAL, TASK)):
        player, clock = player_of(recording, rate=rate)
        source = player.sources[index]
        got = play(source, clock)
        stamps, numbers, data = joined(block for _, block in got)
        recorded = joined(recording.blocks(spec))
        np.testing.assert_array_equal(stamps, recorded[0] + player.shift_s)
        np.testing.assert_array_equal(numbers, recorded[1])
        np.testing.assert_array_equal(data, recorded[2])
        start_s = recording.start_s + player.shift_s
        for now_s, block in got:
            due_s = start_s + (block.timestamps[-1] - start_s) / rate
            assert -1e-9 <= now_s - due_s < 1e-6
        assert all(block.spec == source.spec for _, block in got)


def test_the_shift_keeps_the_low_bits_of_stamps_and_the_lead(recording):
    player, clock = player_of(recording, lead_s=2.0)
    assert player.shift_s * 1024 == round(player.shift_s * 1024)
    assert 0 <= player.shift_s + recording.start_s - (clock() + 2.0) <= 1 / 1024
    # 12345.678 -> 50000: two binary exponents up, so at most two bits of 1e-12 s are rounded away.
    stamps = recording.timestamps(EMG)
    np.testing.assert_allclose(stamps + player.shift_s - player.shift_s, stamps, atol=4e-12, rtol=0)


def test_reading_waits_no_longer_than_asked_and_says_nothing_came(recording):
    player, clock = player_of(recording, lead_s=10.0)
    camera = player.sources[1]
    camera.open()
    before_s = clock()
    block = camera.read(0.25)
    assert len(block) == 0 and block.spec == camera.spec
    assert clock() == before_s + 0.25
    assert len(camera.read(0.0)) == 0 and clock() == before_s + 0.25
    camera.close()
    with pytest.raises(EndOfStream, match="open"):
        camera.read(0.0)


def test_a_source_ends_when_the_whole_recording_does(recording):
    player, clock = player_of(recording)
    task = player.sources[3]
    got = play(task, clock)
    assert [block.data for _, block in got] == [("begin",), ("smile — ü",), ('{"json": "too"}',)]
    assert clock() == pytest.approx(player.due_s(recording.end_s), abs=1e-6)


def test_who_opens_late_gets_what_is_overdue_at_once(recording):
    player, clock = player_of(recording)
    clock.sleep(100.0)
    before_s = clock()
    assert len(play(player.sources[1], clock)) == 58
    assert clock() == before_s


def test_a_loop_goes_on_counting_and_moves_by_its_period(recording):
    player, clock = player_of(recording, loop=True)
    assert player.period_s > recording.duration_s
    emg, camera, _, task = player.sources
    once = len(list(recording.blocks(CAMERA)))
    got = [block for _, block in play(camera, clock, 3 * once)]
    stamps, numbers, data = joined(got)
    assert np.all(np.diff(stamps) > 0)
    assert data == 3 * data[:once]
    np.testing.assert_array_equal(numbers[once : 2 * once] - numbers[:once], 60)
    np.testing.assert_allclose(stamps[2 * once :] - stamps[:once], 2 * player.period_s, atol=1e-9)
    assert camera.spec.metadata["replay_period_s"] == repr(player.period_s)
    # The EMG counts on through the pause as its rate has it: no sample is claimed that was never sent.
    twice = [block for _, block in play(emg, clock, 2 * len(list(recording.blocks(EMG))))]
    stamps, numbers, _ = joined(twice)
    np.testing.assert_allclose(np.diff(numbers), np.diff(stamps) * EMG.rate_hz, atol=8)
    assert numbers[-1] - numbers[2000 - 1] == round(player.period_s * EMG.rate_hz)
    assert [b.first for _, b in play(task, clock, 6)] == list(range(6))


def test_each_source_may_be_read_by_its_own_thread(recording):
    player, clock = player_of(recording, rate=1e6, lead_s=0.0)
    clock.sleep(10.0)
    got = {}

    def run(source):
        got[source.recorded.name] = joined(block for _, block in play(source, clock))

    threads = [threading.Thread(target=run, args=(source,)) for source in player.sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for spec in (EMG, CAMERA, THERMAL, TASK):
        for ours, theirs in zip(got[spec.name][1:], joined(recording.blocks(spec))[1:], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_source_can_be_opened_again(recording):
    player, clock = player_of(recording)
    first, again = play(player.sources[1], clock), play(player.sources[1], clock)
    assert [b.first for _, b in first] == [b.first for _, b in again]


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(recording, rate):
    with pytest.raises(ValueError, match="rate"):
        Player(recording, rate=rate, clock=ManualClock())


def test_streams_without_samples_play_nothing_and_keep_no_reader(tmp_path):
    player, clock = player_of(Recording(record(tmp_path, ManualClock(START_S), ()).xdf), loop=True)
    before_s = clock()
    with player.sources[-1] as task:
        assert len(task.read(0.5)) == 0
    assert clock() == before_s + 0.5
