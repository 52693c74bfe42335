"""The wiring wizard finds muscles and sides, swapped and dead channels, on the simulated person."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

import zygoma.wiring as wiring_module
from acquisition.clock import ManualClock
from acquisition.stream import Block, Channel, InvalidSignal, Kind, OpenedSource, SampleType, StreamSpec
from hardware.simulated import Scenario, ScriptedEvent
from hardware.simulated.emg import SimulatedEmg
from zygoma.wiring import (
    POSES,
    READY_S,
    Pose,
    Wiring,
    board_source,
    pose_and_find,
    print_wiring,
    record_pose,
)

UNITS = {
    "smile": ({12: 1.0, 6: 0.6}, "both"),
    "frown": ({4: 1.0}, "both"),
    "left corner": ({12: 0.7}, "left"),
    "right corner": ({12: 0.7}, "right"),
    "left eye": ({43: 1.0, 7: 0.8}, "left"),
    "right eye": ({43: 1.0, 7: 0.8}, "right"),
}


def obedient_person() -> Scenario:
    """Does what the wizard asks for, when it asks."""
    events, at_s = [], 0.0
    for pose in POSES:
        if pose.key in UNITS:
            units, side = UNITS[pose.key]
            events.append(
                ScriptedEvent(
                    f"macro-{pose.key}", "macro_expression", at_s + 0.5, at_s + 1.0, at_s + READY_S + 2.9,
                    at_s + READY_S + 3.2, units, side,  # type: ignore[arg-type]
                )
            )  # fmt: skip
        at_s += READY_S + pose.seconds + 0.01
    return Scenario(duration_s=at_s + 2.0, events=tuple(events), seed=5)


class Rewired(OpenedSource):
    """The simulated amplifier with its leads plugged in another order, and other names."""

    def __init__(self, order: tuple[int, ...], labels: tuple[str, ...], metadata: dict[str, str]) -> None:
        clock = ManualClock(50.0)
        self._source = SimulatedEmg(obedient_person(), clock=clock, sleep=clock.sleep, loop=False)
        self._order = order
        channels = tuple(Channel(label, "microvolts", "EMG") for label in labels)
        self.spec = StreamSpec(
            "rig", Kind.EMG, channels, 1000.0, SampleType.FLOAT32, "rig", metadata=metadata
        )

    def open(self) -> None:
        self._source.open()

    def close(self) -> None:
        self._source.close()

    def read(self, timeout_s: float) -> Block:
        block = self._source.read(timeout_s)
        noise = np.random.default_rng(block.first).normal(0, 2, (len(block), 1)).astype(np.float32)
        columns = np.hstack([block.array, noise])[:, list(self._order)]
        return Block(self.spec, block.timestamps, columns, block.first)


def wire(
    order: tuple[int, ...], labels: tuple[str, ...], metadata: dict[str, str] | None = None
) -> tuple[Wiring, dict[str, str]]:
    said: list[str] = []
    with Rewired(order, labels, metadata or {}) as source:
        result = pose_and_find(source, said.append)
    assert said == [pose.instruction for pose in POSES]
    return result


def test_a_well_wired_face_is_confirmed() -> None:
    found, quality = wire((0, 1, 2, 3), ("ZYG_L", "ZYG_R", "COR_L", "COR_R"))
    assert [channel.label for channel in found.channels] == ["ZYG_L", "ZYG_R", "COR_L", "COR_R"]
    assert found.good and found.swapped == () and found.missing == ()
    assert min(channel.contrast_db for channel in found.channels) > 3.0
    assert set(quality) == {channel.name for channel in found.channels}


def test_swapped_and_dead_channels_are_found() -> None:
    found, _ = wire((2, 1, 4, 3), ("ZYG_L", "ZYG_R", "COR_L", "COR_R"))
    assert [channel.label for channel in found.channels] == ["COR_L", "ZYG_R", "", "COR_R"]
    assert found.swapped == (("ZYG_L", "COR_L"),) and found.missing == ("ZYG_L",) and not found.good
    assert "swap the leads" in found.channels[0].problem
    assert "answers to no pose" in found.channels[2].problem
    found, _ = wire((1, 0, 2, 3), ("ZYG_L", "ZYG_R", "COR_L", "COR_R"))
    assert found.swapped == (("ZYG_L", "ZYG_R"), ("ZYG_R", "ZYG_L"))


def test_a_board_is_told_by_number_and_a_file_by_name() -> None:
    names = ("ch1", "ch2", "ch3", "ch4", "ch5")
    found, quality = wire((4, 3, 0, 2, 1), names, {"channel_numbers": "2,3,4,5,7"})
    assert found.options == (
        "--channel 3=COR_R", "--channel 4=ZYG_L", "--channel 5=COR_L", "--channel 7=ZYG_R",
    )  # fmt: skip
    assert found.good, "a lead that nobody uses is no fault"
    assert Wiring(found.channels, by_number=False).options[0] == "--channel ch2=COR_R"
    page = Console(file=io.StringIO(), width=160)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring_module, "console", page)
        print_wiring(found, quality)
    text = page.file.getvalue()  # type: ignore[attr-defined]
    assert "corrugator right" in text and "ch1 answers to no pose" in text and "--channel 7=ZYG_R" in text


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    source = Rewired((0, 1, 2, 3), ("ZYG_L", "ZYG_R", "COR_L", "COR_R"), {"channel_numbers": "0,1,2,3"})
    assert wiring_module.run_wiring(source, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["good"] and told["options"][0] == "--channel 0=ZYG_L"
    assert told["channels"][2]["lift_db"]["frown"] > 15


def test_silence_is_told() -> None:
    class Silent(Rewired):
        def read(self, timeout_s: float) -> Block:
            return super().read(timeout_s)[:0]

    with (
        Silent((0,), ("ZYG_L",), {}) as source,
        pytest.raises(InvalidSignal, match="sends nothing"),
    ):
        record_pose(source, Pose("rest", "", (), 1.0))


def test_a_board_is_tried_with_all_its_channels() -> None:
    source = board_source("synthetic", {})
    assert source.spec.labels[:2] == ("channel 0", "channel 1") and len(source.spec.channels) == 16
    assert source.spec.metadata["channel_numbers"].startswith("0,1,2,")
