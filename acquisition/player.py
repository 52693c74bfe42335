"""A recorded run as if its devices were there again: one source per recorded device, paced by the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from acquisition.clock import Clock, Sleep, lsl_clock
from acquisition.recording import Recording
from acquisition.stream import Block, EndOfStream, Kind, OpenedSource, StreamSpec, empty_block

PLAYED_KINDS = frozenset({Kind.CAMERA, Kind.EMG, Kind.THERMAL, Kind.MARKERS, Kind.GROUND_TRUTH})
"""What devices and operators gave; derived streams are computed again."""

_GRID_HZ = 1024.0
_PAUSE_S = 0.1


class Player:
    """Plays a recording.

    All stamps move by one constant, so that every relation in time stays as recorded; the constant is a
    whole number of 1/1024 s, which keeps their low bits unless a stamp grows beyond a power of two.

    Args:
        recording: What to play.
        rate: Seconds of recording per second of clock. It changes the pace, never the stamps' distances.
        loop: Begin again at the end, moved on by `period_s`.
        clock, sleep: Pace; the first sample is due `lead_s` after the player was made.
        lead_s: Time for consumers to get ready, in seconds.

    Attributes:
        sources: One per recorded input stream; each may be read by a thread of its own.
        shift_s: Added to every recorded stamp (in the n-th loop plus n times `period_s`).
        period_s: Length of a loop: the recording and one sample interval, or 0.1 s, after it.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        rate: float = 1.0,
        loop: bool = False,
        clock: Clock = lsl_clock,
        sleep: Sleep = time.sleep,
        lead_s: float = 0.5,
    ) -> None:
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"rate {rate} must be above 0")
        self.recording = recording
        self.rate = rate
        self.loop = loop
        self.clock = clock
        self.sleep = sleep
        self.shift_s = _on_grid(clock() + lead_s - recording.start_s)
        specs = [spec for spec in recording.specs if spec.kind in PLAYED_KINDS]
        pause_s = max((1 / spec.rate_hz for spec in specs if spec.rate_hz), default=_PAUSE_S)
        self.period_s = _on_grid(recording.duration_s + pause_s)
        self.sources = tuple(ReplaySource(self, spec) for spec in specs)

    def due_s(self, recorded_s: float, loop: int = 0) -> float:
        """When, on the clock, a sample with that recorded stamp is delivered in that loop."""
        start_s = self.recording.start_s
        return start_s + self.shift_s + (recorded_s - start_s + loop * self.period_s) / self.rate


class ReplaySource(OpenedSource):
    """One recorded stream as a `Source`; made by `Player`.

    Its spec is the recorded one with ``-replay`` behind the source id and ``replay``, ``replay_of``,
    ``replay_shift_s``, ``replay_session`` (the run's ``_session.json``, which holds its calibration) and for
    loops ``replay_period_s`` in its metadata. It ends when the whole recording ends, even where its own
    stream ended earlier.
    """

    def __init__(self, player: Player, recorded: StreamSpec) -> None:
        self._player = player
        self.recorded = recorded
        facts = {
            **recorded.metadata,
            "replay": "true",
            "replay_of": player.recording.path.stem,
            "replay_shift_s": repr(player.shift_s),
            "replay_session": str(_sidecar(player.recording.path)),
        }
        if player.loop:
            facts["replay_period_s"] = repr(player.period_s)
        source_id = f"{recorded.source_id or recorded.name}-replay"
        self._spec = replace(recorded, source_id=source_id, metadata=facts)
        self._blocks: Iterator[tuple[float, Block]] | None = None
        self._pending: tuple[float, Block] | None = None
        self._next_number = 0

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    def open(self) -> None:
        """Begin at the recording's start; what is overdue by then comes at once."""
        self._pending = None
        self._next_number = 0
        self._blocks = self._played()

    def read(self, timeout_s: float) -> Block:
        """The next block once it is due, an empty one when that takes longer than `timeout_s`.

        Raises:
            EndOfStream: The recording is over (never in a loop).
        """
        if self._blocks is None:
            raise EndOfStream(f"the replay of {self._spec.name} is not open: call open() first")
        player = self._player
        if self._pending is None:
            self._pending = next(self._blocks, None)
        if self._pending is None:
            end_s = math.inf if player.loop else player.due_s(player.recording.end_s)
            if not self._wait_until(end_s, timeout_s):
                return empty_block(self._spec, self._next_number)
            raise EndOfStream(f"the replay of {self._spec.name} is over: use loop to begin again")
        due_s, block = self._pending
        if not self._wait_until(due_s, timeout_s):
            return empty_block(self._spec, self._next_number)
        self._pending = None
        self._next_number = block.end
        return block

    def close(self) -> None:
        self._blocks = None

    def _wait_until(self, due_s: float, timeout_s: float) -> bool:
        wait_s = due_s - self._player.clock()
        if wait_s > 0:
            self._player.sleep(min(wait_s, max(timeout_s, 0.0)))
        return wait_s <= max(timeout_s, 0.0)

    def _played(self) -> Iterator[tuple[float, Block]]:
        player, recorded = self._player, self.recorded
        numbers = player.recording.numbers(recorded)
        if not len(numbers):
            return
        # A regular stream goes on counting through the pause between two loops, frames and texts do not.
        per_loop = int(numbers.max() - numbers.min()) + 1
        if recorded.rate_hz and recorded.kind is not Kind.CAMERA:
            per_loop = max(per_loop, round(player.period_s * recorded.rate_hz))
        loop = 0
        while loop == 0 or player.loop:
            shift_s = player.shift_s + loop * player.period_s
            for block in player.recording.blocks(recorded):
                stamps = block.timestamps + shift_s
                due_s = player.due_s(float(block.timestamps[-1]), loop)
                yield due_s, Block(self._spec, stamps, block.data, block.first + loop * per_loop)
            loop += 1


def _sidecar(xdf: Path) -> Path:
    return xdf.with_name(f"{xdf.stem}_session.json").resolve()


def _on_grid(seconds: float) -> float:
    return float(np.ceil(seconds * _GRID_HZ) / _GRID_HZ)
