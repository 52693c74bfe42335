"""Carry any source onto LSL: the device side of the system, one process per device.

A device that is lost (unplugged, out of battery) keeps its stream: it is opened again as soon as it is back,
and readers find the samples that went missing meanwhile in the numbers and stamps of those that follow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from acquisition.clock import Sleep
from acquisition.outlet import LslOutlet
from acquisition.stream import (
    Block,
    DeviceLost,
    DeviceNotFound,
    EndOfStream,
    InvalidSignal,
    Source,
    StreamSpec,
)

READ_TIMEOUT_S = 0.2
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 8.0


def publish(
    source: Source,
    *,
    until: Callable[[], bool] = lambda: False,
    on_notice: Callable[[str], None] = lambda sentence: None,
    on_loss: Callable[[str], None] | None = None,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    sleep: Sleep = time.sleep,
) -> int:
    """Read `source` and push what it gives to an LSL outlet until it ends or `until` says so.

    Args:
        source: Any source; opened and closed here.
        until: Asked after each block, and while waiting for a lost device.
        on_notice: Receives one sentence per thing worth telling.
        on_loss: Receives those about a lost device instead, when given.
        name: Another stream name than the source's own.
        metadata: Facts to add to the stream's own.
        sleep: Waits between attempts to open a lost device again.

    Returns:
        Number of samples published.

    Raises:
        DeviceNotFound, DeviceLost, InvalidSignal: From the source when it is first opened, and
            InvalidSignal from reading it.
    """
    published = 0
    on_loss = on_loss or on_notice
    source.open()
    try:
        # Only after open is the spec complete: boards and cameras measure their rate there.
        spec = source.spec if name is None else replace(source.spec, name=name)
        spec = replace(spec, metadata={**spec.metadata, **(metadata or {})})
        numbering = Renumbering(spec)
        with LslOutlet(spec) as outlet:
            on_notice(f"{spec.kind} stream '{spec.name}' is on LSL ({spec.source_id})")
            for note in getattr(source, "notes", ()):
                on_notice(note)
            while not until():
                try:
                    block = source.read(READ_TIMEOUT_S)
                except EndOfStream:
                    on_notice(f"'{spec.name}' has ended after {published} samples")
                    if shortfall := getattr(source, "shortfall", ""):
                        on_loss(shortfall)
                    break
                except DeviceLost as error:
                    on_loss(str(error))
                    _reopen(source, spec, until=until, on_loss=on_loss, sleep=sleep)
                    numbering.interrupted = True
                    continue
                if len(block):
                    if numbering.interrupted:
                        on_loss(numbering.resume(block))
                    outlet.push(numbering.numbered(block))
                    published += len(block)
    finally:
        source.close()
    return published


def _reopen(
    source: Source,
    spec: StreamSpec,
    *,
    until: Callable[[], bool],
    on_loss: Callable[[str], None],
    sleep: Sleep,
) -> None:
    """Try to open `source` again until it is what it was, or `until` says so; each new reason is told once.

    The attempts become rarer: a device that others wait for must not be hammered.
    """
    retry_s, told = FIRST_RETRY_S, ""
    while True:
        source.close()
        waited_s = 0.0
        while waited_s < retry_s:
            if until():
                return
            sleep(READ_TIMEOUT_S)
            waited_s += READ_TIMEOUT_S
        retry_s = min(2 * retry_s, LAST_RETRY_S)
        try:
            source.open()
            _check_layout(source.spec, spec)
            return
        except (DeviceNotFound, DeviceLost, InvalidSignal) as error:
            if str(error) != told:
                told = str(error)
                on_loss(f"{told} It is tried again until it is back.")


def _check_layout(found: StreamSpec, announced: StreamSpec) -> None:
    if (found.labels, found.dtype, found.frame) == (announced.labels, announced.dtype, announced.frame):
        return
    given = ", ".join(found.labels) if found.frame is None else f"{found.frame.width} x {found.frame.height}"
    raise InvalidSignal(
        f"'{announced.name}' came back with {given}, which is not what its stream was announced with: "
        "plug it in as it was, or end this and publish it anew."
    )


class Renumbering:
    """Running numbers that go on where a source was lost, with what it cannot have sent meanwhile counted.

    Attributes:
        interrupted: The source was lost; `resume` is to be asked before the next block is numbered.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._name = spec.name
        self._rate_hz = spec.pace_hz
        self._shift = 0
        self._end = 0
        self._last_s = float("nan")
        self.interrupted = False

    def resume(self, block: Block) -> str:
        """Number the samples from `block` on as those after a loss; returns what is to be told."""
        self.interrupted = False
        if self._end == 0:
            return f"'{self._name}' is back."
        away_s = float(block.timestamps[0]) - self._last_s
        lost = max(round(away_s * self._rate_hz) - 1, 1)
        self._shift = self._end + lost - block.first
        back = f"'{self._name}' is back after {away_s:.1f} s"
        if not self._rate_hz:
            return f"{back}; what it sent meanwhile is missing."
        return f"{back}; {lost} sample{' is' if lost == 1 else 's are'} missing."

    def numbered(self, block: Block) -> Block:
        """`block` with the numbers that its samples have in the stream."""
        self._end = block.end + self._shift
        self._last_s = float(block.timestamps[-1])
        return replace(block, first=block.first + self._shift) if self._shift else block
