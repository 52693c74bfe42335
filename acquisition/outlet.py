"""Sends the blocks of one stream over Lab Streaming Layer, with the stamps they were captured at."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, Self

import numpy as np
import pylsl

from acquisition import network
from acquisition.lsl_metadata import COUNTER_LABEL, to_stream_info
from acquisition.stream import Block, Kind, SampleType, StreamSpec

_ASSUMED_RATE_HZ = 60.0
_BUFFER_IN_SAMPLES = 1  # lsl_transport_options_t: transp_bufsize_samples


class LslOutlet:
    """Announces a stream and sends its blocks; readers are found and served in the background.

    The stream can be found as soon as the outlet is made. Use as a context manager.
    """

    def __init__(self, spec: StreamSpec, chunk_size: int = 0, buffer_s: float | None = None) -> None:
        """Announce `spec`.

        Args:
            spec: The stream. Its `source_id` must be stable per device, so that readers recover.
            chunk_size: Samples sent at once; 0 sends each push at once.
            buffer_s: What is kept for a reader that falls behind; older samples are lost to it (it counts
                them). Left out: 2 s of frames, 60 s of anything else.

        Raises:
            ValueError: The spec cannot be announced: no name or source id, quotes in them (liblsl could not
                find the stream again after a restart), or as `to_stream_info` says.
        """
        for text in (spec.name, spec.source_id):
            if not text or "'" in text or '"' in text:
                raise ValueError(f"a stream needs a name and a source id without quotes, got {text!r}")
        network.ensure_configured()
        if buffer_s is None:
            buffer_s = network.usual_buffer_s(spec.kind)
        samples = max(math.ceil(buffer_s * (spec.rate_hz or _ASSUMED_RATE_HZ)), 8)
        self.spec = spec
        self._counted = COUNTER_LABEL in spec.labels
        self._outlet: Any = pylsl.StreamOutlet(to_stream_info(spec), chunk_size, samples, _BUFFER_IN_SAMPLES)

    def push(self, block: Block) -> None:
        """Send a block; returns at once, whether or not anyone reads.

        Raises:
            ValueError: The block has another layout than the stream, or stamps that LSL cannot carry.
        """
        if self._outlet is None:
            raise ValueError(f"outlet {self.spec.name} is closed")
        if not len(block):
            return
        stamps = block.timestamps.tolist()
        # LSL reads 0 as "now" and -1 as "one period later".
        if wrong := [stamp for stamp in stamps if not 0.0 < stamp < math.inf]:
            raise ValueError(f"{self.spec.name}: stamps on LSL are positive seconds, got {wrong[0]}")
        if self.spec.dtype is SampleType.STRING:
            self._outlet.push_chunk(self._texts(block), stamps)
            return
        data = np.ascontiguousarray(block.array, dtype=self.spec.dtype.value)
        if data.shape[1] != self.spec.channel_count:
            raise ValueError(
                f"{self.spec.name}: {data.shape[1]} columns pushed, {self.spec.channel_count} announced"
            )
        self._outlet.push_chunk(data, stamps)

    def _texts(self, block: Block) -> list[Any]:
        if isinstance(block.data, np.ndarray) or not isinstance(block.data[0], (bytes, str)):
            raise ValueError(
                f"{self.spec.name} announces texts or JPEG bytes, not arrays; encode frames first"
            )
        if self.spec.kind is not Kind.CAMERA or not self._counted:
            return list(block.data)
        values: list[Any] = []
        for number, jpeg in enumerate(block.data, start=block.first):
            pair = {COUNTER_LABEL: str(number)}
            values += [pair.get(label, jpeg) for label in self.spec.labels]
        return values

    @property
    def have_consumers(self) -> bool:
        """Whether anyone reads this stream now."""
        return self._outlet is not None and bool(self._outlet.have_consumers())

    def wait_for_consumers(self, timeout_s: float) -> bool:
        """Wait until someone reads this stream; False when nobody came in time."""
        return self._outlet is not None and bool(self._outlet.wait_for_consumers(timeout_s))

    def close(self) -> None:
        """Stop announcing; readers wait for the stream to come back."""
        self._outlet = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
