"""Publishing a device that comes and goes: its stream stays, and what it cannot have sent is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acquisition.clock import ManualClock, lsl_clock
from acquisition.inlet import LslInlet
from acquisition.network import resolve
from acquisition.stream import (
    Block,
    Channel,
    DeviceLost,
    DeviceNotFound,
    EndOfStream,
    FrameFormat,
    Kind,
    OpenedSource,
    SampleType,
    StreamSpec,
    empty_block,
)
from zygoma.publish import FIRST_RETRY_S, LAST_RETRY_S, Renumbering, publish

RATE_HZ = 25.0
CAMERA = StreamSpec(
    "comes and goes",
    Kind.CAMERA,
    (Channel("jpeg"), Channel("frame_number")),
    RATE_HZ,
    SampleType.STRING,
    "comes-and-goes",
    FrameFormat(8, 6, "MJPG"),
)


class Unplugged(OpenedSource):
    """A camera that gives `frames` pictures each time it is open, and `absences` times is not there again."""

    def __init__(self, clock: ManualClock, frames: int, absences: int, specs: list[StreamSpec]) -> None:
        self.clock, self.frames, self.absences = clock, frames, absences
        self.specs = specs
        self.opened_s: list[float] = []
        self.is_open = False
        self._given = 0

    @property
    def spec(self) -> StreamSpec:
        return self.specs[0]

    def open(self) -> None:
        self.opened_s.append(self.clock())
        if 1 < len(self.opened_s) <= 1 + self.absences:
            raise DeviceNotFound("It is not plugged in.")
        if len(self.opened_s) > 1 and len(self.specs) > 1:
            self.specs.pop(0)
        self.is_open, self._given = True, 0

    def read(self, timeout_s: float) -> Block:
        if not self.is_open:
            raise EndOfStream("It is over.")
        if self._given == self.frames:
            raise DeviceLost("It was pulled out.")
        self.clock.sleep(1 / RATE_HZ)
        self._given += 1
        return Block(self.spec, np.array([self.clock()]), (b"\xff\xd8picture",), self._given - 1)

    def close(self) -> None:
        self.is_open = False


def test_a_lost_device_keeps_its_stream_and_its_readers_know_what_they_missed():
    clock = ManualClock(lsl_clock())
    source = Unplugged(clock, frames=5, absences=1, specs=[CAMERA])
    inlets: list[LslInlet] = []
    blocks: list[Block] = []
    told: list[str] = []

    def listen(sentence: str) -> None:
        # Said once the stream is there, before its first frame.
        (spec,) = resolve(Kind.CAMERA, name=CAMERA.name, timeout_s=10.0)
        inlets.append(LslInlet(spec, clock=clock))
        inlets[0].open()

    def read_up_to(count: int) -> None:
        while sum(map(len, blocks)) < count:
            blocks.append(inlets[0].read(10.0))
            assert len(blocks[-1]), "a frame was lost on the way"

    def sleep(seconds: float) -> None:
        read_up_to(5)
        clock.sleep(seconds)
        blocks.append(inlets[0].read(0.0))

    def all_has_arrived() -> bool:
        if len(source.opened_s) < 3 or source._given < source.frames:
            return False
        # An outlet that closes takes along what has not left it yet.
        read_up_to(10)
        return True

    published = publish(source, until=all_has_arrived, on_notice=listen, on_loss=told.append, sleep=sleep)
    inlets[0].close()
    assert published == 10
    numbers = [number for block in blocks for number in range(block.first, block.end)]
    stamps = np.concatenate([block.timestamps for block in blocks])
    # Frame numbers go on as if the camera had counted through its absence.
    np.testing.assert_array_equal(numbers, np.rint((stamps - stamps[0]) * RATE_HZ))
    missing = numbers[5] - numbers[4] - 1
    assert missing > RATE_HZ * FIRST_RETRY_S
    assert [sentence.partition(" after")[0] for sentence in told] == [
        "It was pulled out.",
        "It is not plugged in. It is tried again until it is back.",
        "'comes and goes' is back",
    ]
    assert f"{missing} samples are missing" in told[-1]
    incidents = inlets[0].take_incidents()
    assert [incident.kind for incident in incidents] == ["silence", "reconnected"]
    assert incidents[1].lost == missing == inlets[0].health.lost


@pytest.mark.parametrize(
    ("rate_hz", "said"), [(0.0, "what it sent meanwhile is missing."), (5.0, "1 sample is missing.")]
)
def test_what_is_missing_is_counted_only_where_a_rate_tells(rate_hz: float, said: str):
    spec = StreamSpec("s", Kind.MARKERS, (Channel("marker"),), rate_hz, SampleType.STRING, "s")
    numbering = Renumbering(spec)
    numbering.numbered(Block(spec, np.array([1.0]), ("begin",), 0))
    back = Block(spec, np.array([1.4]), ("end",), 0)
    assert numbering.resume(back).endswith(f"is back after 0.4 s; {said}")
    assert numbering.numbered(back).first == 2  # a gap either way


def test_attempts_become_rarer_and_end_when_asked():
    clock = ManualClock(lsl_clock())
    source = Unplugged(clock, frames=1, absences=10**6, specs=[CAMERA])
    told: list[str] = []
    publish(
        source,
        until=lambda: clock() - source.opened_s[0] > 120.0,
        on_loss=told.append,
        sleep=clock.sleep,
    )
    waits_s = np.diff(source.opened_s[1:])
    np.testing.assert_allclose(
        waits_s[:3], [2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S, 8 * FIRST_RETRY_S], atol=0.2
    )
    np.testing.assert_allclose(waits_s[4:], LAST_RETRY_S, atol=0.2)
    assert clock() - source.opened_s[0] < 121.0
    # A reason is told once, however often it holds.
    assert len(told) == 2
    assert not source.is_open


def test_a_device_that_comes_back_as_another_is_waited_for():
    clock = ManualClock(lsl_clock())
    other = replace(CAMERA, frame=FrameFormat(4, 3, "MJPG"))
    source = Unplugged(clock, frames=2, absences=0, specs=[CAMERA, other, CAMERA])
    told: list[str] = []
    published = publish(
        source, until=lambda: len(source.opened_s) == 3, on_loss=told.append, sleep=clock.sleep
    )
    assert published == 2
    assert "came back with 4 x 3" in told[1]


def test_a_device_that_is_not_there_at_first_is_an_error():
    class Absent(Unplugged):
        def open(self) -> None:
            raise DeviceNotFound("There is no camera.")

    with pytest.raises(DeviceNotFound, match="no camera"):
        publish(Absent(ManualClock(), 1, 0, [CAMERA]))


def test_a_source_with_an_end_ends():
    clock = ManualClock(lsl_clock())

    class File(Unplugged):
        def read(self, timeout_s: float) -> Block:
            if self._given == self.frames:
                raise EndOfStream("It is over.")
            return super().read(timeout_s) if self._given % 2 else self._skip()

        def _skip(self) -> Block:
            self._given += 1
            return empty_block(self.spec)

    told: list[str] = []
    assert publish(File(clock, 4, 0, [CAMERA]), on_notice=told.append) == 2
    assert told[-1] == "'comes and goes' has ended after 2 samples"
