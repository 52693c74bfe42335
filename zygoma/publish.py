"""Carry any source onto LSL: the device side of the system, one process per device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from acquisition.outlet import LslOutlet
from acquisition.stream import DeviceLost, EndOfStream, Source

READ_TIMEOUT_S = 0.2


def publish(
    source: Source,
    *,
    until: Callable[[], bool] = lambda: False,
    on_notice: Callable[[str], None] = lambda sentence: None,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Read `source` and push what it gives to an LSL outlet until it ends or `until` says so.

    Args:
        source: Any source; opened and closed here.
        until: Asked after each block.
        on_notice: Receives one sentence per thing worth telling.
        name: Another stream name than the source's own.
        metadata: Facts to add to the stream's own.

    Returns:
        Number of samples published.

    Raises:
        DeviceNotFound, DeviceLost, InvalidSignal: From the source.
    """
    published = 0
    source.open()
    try:
        # Only after open is the spec complete: boards and cameras measure their rate there.
        spec = source.spec if name is None else replace(source.spec, name=name)
        spec = replace(spec, metadata={**spec.metadata, **(metadata or {})})
        with LslOutlet(spec) as outlet:
            on_notice(f"{spec.kind} stream '{spec.name}' is on LSL ({spec.source_id})")
            for note in getattr(source, "notes", ()):
                on_notice(note)
            while not until():
                try:
                    block = source.read(READ_TIMEOUT_S)
                except EndOfStream:
                    on_notice(f"'{spec.name}' has ended after {published} samples")
                    break
                except DeviceLost as error:
                    on_notice(str(error))
                    raise
                if len(block):
                    outlet.push(block)
                    published += len(block)
    finally:
        source.close()
    return published
