from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pylsl
import pytest

from acquisition.clock import lsl_clock
from acquisition.inlet import Incident
from acquisition.network import find_infos
from acquisition.stream import Block, InvalidSignal
from zygoma.readers import GAP_DIGEST_S, GapDigest, StreamReaders


def gap(time_s: float, lost: int) -> Incident:
    return Incident(time_s, "gap", lost, lost / 30, f"Camera lost {lost} samples.")


def test_the_first_gap_is_told_at_once_and_the_following_ones_together() -> None:
    digest = GapDigest("Camera")
    assert digest.told([gap(1.0, 2)], 1.0) == [gap(1.0, 2)]
    assert digest.told([gap(2.0, 1)], 2.0) == []
    assert digest.told([gap(3.0, 4), gap(3.5, 1)], 3.5) == []
    (told,) = digest.told([], 1.0 + GAP_DIGEST_S)
    assert told.lost == 6
    assert told.sentence == "Camera lost 6 samples in 3 gaps."
    assert digest.told([], 20.0) == []


def test_anything_but_a_gap_is_never_held_back() -> None:
    digest = GapDigest("Camera")
    digest.told([gap(1.0, 2)], 1.0)
    silence = Incident(2.0, "silence", 0, 1.0, "Camera has sent nothing for 1.0 s.")
    assert digest.told([gap(2.0, 1), silence], 2.0) == [silence]


def foreign_outlet(name: str, unit: str = "microvolts", label: str = "ZYG_L") -> pylsl.StreamOutlet:
    """Of another program: many leave the source id empty, some forget the unit."""
    info = pylsl.StreamInfo(name, "EMG", 1, 50.0, "float32", "")
    channel = info.desc().append_child("channels").append_child("channel")
    channel.append_child_value("label", label)
    channel.append_child_value("unit", unit)
    return pylsl.StreamOutlet(info)


def test_a_stream_that_makes_no_sense_ends_alone_and_one_that_cannot_be_read_is_told_once() -> None:
    told: list[Incident] = []
    received: list[Block] = []

    def refuse(block: Block) -> None:
        raise InvalidSignal("This makes no sense.")

    readers = StreamReaders(
        lambda spec: refuse if spec.name == "bad" else received.append,
        on_incident=told.append,
        clock=lsl_clock,
    )
    outlets = [foreign_outlet("good"), foreign_outlet("bad"), foreign_outlet("unitless", "")]
    readers.start()
    end_s = lsl_clock() + 30.0
    while not (len(told) > 1 and len(received) > 20) and lsl_clock() < end_s:
        for outlet in outlets:
            outlet.push_sample([0.0])
        time.sleep(0.02)
    assert readers.running
    readers.stop()
    readers.raise_failure()
    # A busy machine may also make gaps.
    said = [(incident.kind, incident.sentence[:20]) for incident in told if incident.kind != "gap"]
    assert sorted(said) == [("lost", "This makes no sense."), ("refused", "EMG stream 'unitless")]
    assert {each.spec.name for each in received} == {"good"}


@pytest.mark.parametrize("label", ["ZYG_L", "COR_R"])
def test_a_stream_without_a_source_id_is_read_again_when_it_is_back_as_it_was(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def look(*what: Any) -> list[Any]:
        looked.append(len(infos := find_infos(*what)))
        return infos

    monkeypatch.setattr("zygoma.readers.find_infos", look)
    told: list[Incident] = []
    received: list[Block] = []
    readers = StreamReaders(lambda spec: received.append, on_incident=told.append, clock=lsl_clock)
    readers.start()

    def wait_until(enough: Callable[[], bool], outlet: pylsl.StreamOutlet | None = None) -> None:
        end_s = lsl_clock() + 40.0
        while not enough():
            assert lsl_clock() < end_s, told
            if outlet is not None:
                outlet.push_sample([0.0])
            time.sleep(0.02)

    outlet = foreign_outlet("comes back")
    wait_until(lambda: len(received) > 10, outlet)
    del outlet
    wait_until(lambda: any(incident.kind == "lost" for incident in told))
    wait_until(lambda: looked.count(0) >= 2)
    before = len(received)
    outlet = foreign_outlet("comes back", label=label)
    if label == "ZYG_L":
        wait_until(lambda: len(received) > before + 10, outlet)
    else:
        wait_until(lambda: sum(incident.kind == "lost" for incident in told) == 2, outlet)
    assert readers.running
    readers.stop()
    readers.raise_failure()
    (health,) = (inlet.health for inlet in readers.inlets.values())
    if label != "ZYG_L":
        assert "COR_R" in told[-1].sentence
        return
    assert [i.kind for i in told if i.kind in ("lost", "reconnected")] == ["lost", "reconnected"]
    last, first = received[before - 1], received[before]
    away_s = first.timestamps[0] - last.timestamps[-1]
    assert first.first - last.end == max(round(away_s * 50.0) - 1, 1)
    # The accounts go on as well.
    assert health.reconnects == 1 and health.lost >= first.first - last.end
    assert health.received >= sum(map(len, received))
