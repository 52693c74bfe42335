"""What the live engine knows at this moment, as plain values for a display to read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from acquisition.inlet import Incident, StreamHealth
from acquisition.recorder import RecorderStatus
from acquisition.stream import Block, Kind, StreamSpec
from fusion.events import FaceEvent
from processing.emg_quality import ChannelQuality

EVENTS_KEPT = 200
INCIDENTS_KEPT = 100
LATENCIES_KEPT = 1024


class Onlooker(Protocol):
    """Is shown what the engine handles, from its input threads; every method must return at once."""

    def block(self, block: Block) -> None:
        """A block of any input or derived stream."""

    def face(self, kind: Kind, stamp_s: float, points_px: NDArray[np.floating] | None) -> None:
        """The camera or thermal picture of this stamp was measured.

        Args:
            kind: Of the picture.
            stamp_s: Of the picture.
            points_px: The face mesh [478, 2 or more] in its pixels, None without a face.
        """

    def event(self, event: FaceEvent) -> None:
        """An event was confirmed."""


@dataclass(frozen=True)
class StreamState:
    """One input stream as an operator sees it."""

    spec: StreamSpec
    health: StreamHealth

    @property
    def origin(self) -> str:
        """``simulated``, ``replay`` or ``device``."""
        for origin in ("simulated", "replay"):
            if self.spec.metadata.get(origin, "").lower() in {"true", "1"}:
                return origin
        return "device"


@dataclass(frozen=True)
class Latency:
    """Capture-to-output delay over the last frames, milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    frames: int


@dataclass(frozen=True)
class Snapshot:
    """A consistent copy of `LiveState` for one redraw.

    Attributes:
        rows: Newest row of each derived stream, by kind: channel label -> value.
        events: Newest last.
        latency: Camera stamp to valence on the outlet; None before the first frame.
        skipped: Camera frames left out because the face chain fell behind.
    """

    now_s: float
    started_s: float
    streams: tuple[StreamState, ...]
    rows: dict[Kind, dict[str, float]]
    quality_words: dict[str, str]
    events: tuple[FaceEvent, ...]
    incidents: tuple[Incident, ...]
    latency: Latency | None
    skipped: int
    recording: RecorderStatus | None
    emg_quality: dict[str, ChannelQuality] = field(default_factory=dict)


@dataclass
class LiveState:
    """Mutable side of `Snapshot`; written by the engine's threads under its lock."""

    rows: dict[Kind, tuple[StreamSpec, NDArray[np.float32]]] = field(default_factory=dict)
    events: deque[FaceEvent] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    incidents: deque[Incident] = field(default_factory=lambda: deque(maxlen=INCIDENTS_KEPT))
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    skipped: int = 0

    def labelled_rows(self) -> dict[Kind, dict[str, float]]:
        """Newest rows with their channel labels."""
        return {
            kind: dict(zip(spec.labels, (float(value) for value in row), strict=True))
            for kind, (spec, row) in self.rows.items()
        }

    def latency(self) -> Latency | None:
        """Percentiles over the kept latencies."""
        if not self.latencies_s:
            return None
        p50, p95, p99 = np.percentile(np.array(self.latencies_s) * 1e3, [50, 95, 99])
        return Latency(float(p50), float(p95), float(p99), len(self.latencies_s))
