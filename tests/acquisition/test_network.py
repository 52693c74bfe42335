"""Discovery: by kind, name and source id, on this machine only, with errors that list what is there."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pylsl
import pytest

from acquisition import network
from acquisition.lsl_metadata import to_stream_info
from acquisition.outlet import LslOutlet
from acquisition.stream import (
    Channel,
    DeviceNotFound,
    InvalidSignal,
    Kind,
    SampleType,
    StreamSpec,
    ZygomaError,
)


def marker_spec(name: str, kind: Kind = Kind.MARKERS) -> StreamSpec:
    return StreamSpec(
        name, kind, (Channel("text"),), 0.0, SampleType.STRING, f"net-{name}", metadata={"a": "1"}
    )


def emg_spec(name: str) -> StreamSpec:
    channels = (Channel("ZYG_L", "microvolts", "EMG"),)
    return StreamSpec(name, Kind.EMG, channels, 1000 / 3, SampleType.FLOAT32, f"net-{name}")


def test_streams_are_found_with_their_descriptions():
    marker, emg = marker_spec("find-m"), emg_spec("find-e")
    with LslOutlet(marker), LslOutlet(emg):
        assert network.resolve(minimum=2) == [emg, marker]
        assert network.resolve(kind=Kind.EMG) == [emg]
        assert network.resolve(name="find-m") == [marker]
        assert network.resolve(source_id="net-find-e", kind=Kind.EMG) == [emg]
        assert network.resolve(minimum=0, timeout_s=0.3) == [emg, marker]
        with LslOutlet(marker_spec("find-n")):
            found = network.resolve(kind=Kind.MARKERS, minimum=0)
        assert [spec.name for spec in found] == ["find-m", "find-n"]


def test_what_is_missing_is_told_with_what_is_there():
    with (
        LslOutlet(emg_spec("alone")),
        pytest.raises(DeviceNotFound, match=r"No Camera stream .* alone \(EMG\)"),
    ):
        network.resolve(kind=Kind.CAMERA, timeout_s=0.25)
    with pytest.raises(DeviceNotFound, match="found: none"):
        network.resolve(name="quo'te", timeout_s=0.25)


def test_more_streams_than_liblsl_has_ports_are_found():
    outlets = [LslOutlet(marker_spec(f"many-{index}")) for index in range(40)]
    try:
        assert len(network.resolve(kind=Kind.MARKERS, minimum=40, timeout_s=5.0)) == 40
    finally:
        for outlet in outlets:
            outlet.close()


def test_unreadable_streams_are_listed_with_the_reason():
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo("odd", "Gaze", 2, 60.0, "float32", "odd-1"))
    with network.StreamWatcher() as watcher:
        found = _until(lambda: [s for s in watcher.found() if s.name == "odd"])
        assert found[0].spec is None
        assert "Gaze" in found[0].problem
        assert found[0].host == socket.gethostname()
        assert watcher.specs() == []
    with pytest.raises(InvalidSignal, match="Gaze"):
        network.resolve(name="odd")
    del outlet


def test_the_watcher_sees_streams_come_and_go():
    with network.StreamWatcher(forget_after_s=0.8) as watcher:
        assert watcher.specs() == []
        spec = emg_spec("late")
        with LslOutlet(spec):
            assert _until(watcher.specs) == [spec]
            assert watcher.specs() == [spec]
        _until(lambda: not watcher.specs())
    assert watcher.specs() == []


def test_a_stream_that_does_not_answer_at_once_is_asked_again(monkeypatch):
    answers = iter([DeviceNotFound("busy")])
    ask = network.full_info

    def busy_at_first(info):
        for refusal in answers:
            raise refusal
        return ask(info)

    monkeypatch.setattr(network, "full_info", busy_at_first)
    spec = emg_spec("busy")
    with LslOutlet(spec), network.StreamWatcher() as watcher:
        (found,) = _until(watcher.found)
        assert (found.spec, found.problem) == (None, "busy")
        assert watcher.specs() == [spec]


def _until(question, seconds: float = 10.0):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


def test_the_network_is_chosen_once():
    network.configure(lan=False)  # again the same: nothing to do
    with LslOutlet(marker_spec("used")), pytest.raises(ZygomaError, match="before the first"):
        network.configure(lan=True)
    assert not network.reaches_lan()


def test_configuration_in_a_fresh_process(tmp_path):
    """The LAN leaves a user's own LSL configuration alone; this machine only is set before first use."""
    program = (
        "from acquisition import network; import pylsl;"
        "pylsl.util.set_config_content = lambda text: print('SET', 'ResolveScope = machine' in text);"
        "network.configure(lan=True); network.configure(lan=True); print(network.reaches_lan());"
        "network.configure(lan=False); print(network.reaches_lan())"
    )
    config = tmp_path / "lsl_api.cfg"
    config.write_text("[lab]\nSessionID = mine\n")
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(LSLAPICFG=config),
    )
    assert done.stdout.split() == ["True", "SET", "True", "False"]


def _environment(**extra: object) -> dict[str, str]:
    import os
    from pathlib import Path

    root = str(Path(network.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, **{key: str(value) for key, value in extra.items()}}


def test_a_name_cannot_smuggle_a_query():
    assert network.predicate(None, "a' or '1'='1", None) == "name=\"a' or '1'='1\""
    with pytest.raises(ValueError, match="quotes"):
        network.predicate(None, "'\"", None)


def test_a_stream_that_ended_while_it_was_looked_at():
    info = to_stream_info(marker_spec("gone"))
    with pytest.raises(DeviceNotFound, match="gone"):
        network.full_info(info, timeout_s=0.05)
