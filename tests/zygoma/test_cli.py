from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import CliRunner

from acquisition.clock import ManualClock
from acquisition.stream import Kind
from tests.acquisition.runs import START_S, blocks, record
from zygoma.cli import app, main

COMMANDS = [
    command.name or command.callback.__name__ for command in app.registered_commands if command.callback
]


def test_the_commands_of_this_version_are_there() -> None:
    assert set(COMMANDS) >= {
        *("demo", "devices", "publish", "live", "record"),
        *("replay", "analyze", "atlas", "bench", "doctor", "repair"),
        *("au-table", "reliability"),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: zygoma {command}" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze"],
        ["analyze", "--camera", "x.mp4", "--rest", "5:2"],
        ["analyze", "--emg", "x.csv", "--channel", "EMG1"],
        ["publish", "camera", "--simulate", "--device", "0"],
        ["publish", "oven"],
        ["demo", "--seconds", "-1"],
        ["demo", "--rate", "0"],
        ["publish", "camera", "--simulate", "--rate", "-5"],
        ["live", "--record", "--subject", "Anna"],
        ["record", "--task", "two words"],
        ["record", "--session", "../../etc"],
    ],
)
def test_a_wrong_call_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


Complaint: TypeAlias = Callable[..., str]


@pytest.fixture
def complaint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complaint:
    """Runs a command that fails; returns what it says about it."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["zygoma", *arguments])
        monkeypatch.setattr("zygoma.signals.unwind_when_ended", lambda: None)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["analyze", "--camera", "no_such_file.mp4"], "no_such_file.mp4"),
        (["publish", "emg", "--file", "no_such_file.csv"], "no_such_file.csv"),
        (["publish", "emg"], "--device"),
        (["publish", "camera", "--device", "97"], "97"),
        (["atlas", "AU99"], "AU99"),
        (["atlas", "AU12", "--svg", "/dev/null/map.svg"], "/dev/null"),
        (["record", "--seconds", "1", "--recordings", "/dev/null/here"], "/dev/null"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence_and_exit_code_1(
    arguments: list[str], words: str, complaint: Complaint
) -> None:
    told = complaint(*arguments)
    assert words in told
    assert told.count("\n") == 1


def test_a_text_that_is_no_video_is_refused(tmp_path: Path, complaint: Complaint) -> None:
    (tmp_path / "face.mp4").write_text("this is not a video")
    assert "face.mp4" in complaint("analyze", "--camera", str(tmp_path / "face.mp4"))


@pytest.mark.parametrize("command", [["analyze"], ["replay", "--headless"]])
def test_a_session_whose_film_is_destroyed_is_refused(
    command: list[str], tmp_path: Path, complaint: Complaint
) -> None:
    paths = record(tmp_path, ManualClock(START_S), blocks(0.3))
    film = paths.frames(Kind.CAMERA)
    film.write_bytes(film.read_bytes()[:300])
    told = complaint(command[0], str(paths.xdf.parent), *command[1:])
    assert "none of its 9 frames can be read" in told
    assert told.count("\n") == 1
    assert not (paths.xdf.parent / "derivatives").exists()


def test_a_film_that_is_cut_off_is_read_as_far_as_it_goes_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [block for block in blocks(1.0) if block.spec.kind in (Kind.CAMERA, Kind.MARKERS)]
    paths = record(tmp_path, ManualClock(START_S), made)
    film = paths.frames(Kind.CAMERA)
    film.write_bytes(film.read_bytes()[:-9000])
    result = CliRunner().invoke(app, ["replay", str(paths.xdf), "--headless"])
    assert result.exit_code == 0
    assert "of its 28 frames cannot be read and count as lost" in result.stderr


def test_a_terminal_that_is_closed_ends_a_device_in_order() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zygoma", "publish", "emg", "--simulate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "is on LSL" in process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told


def test_a_device_ends_with_the_program_it_belongs_to() -> None:
    script = (
        "import os, signal; from zygoma.demo import start_publisher\n"
        "print(start_publisher(['emg', '--simulate']).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    device = int(result.stdout)
    end_s = time.monotonic() + 60
    while Path(f"/proc/{device}/stat").exists() and " Z " not in Path(f"/proc/{device}/stat").read_text():
        assert time.monotonic() < end_s
        time.sleep(0.1)


def test_what_runs_in_a_with_ends_when_a_command_is_asked_to_end() -> None:
    script = (
        "import os, signal, time; from zygoma.signals import unwind_when_ended; unwind_when_ended()\n"
        "try: os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)\n"
        "finally: print('left in order', flush=True)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (128 + signal.SIGTERM, "left in order\n")
