"""Receives one Lab Streaming Layer stream as gap-free blocks and keeps account of all that went missing."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from acquisition import network
from acquisition.clock import Clock, lsl_clock
from acquisition.gaps import Gap, SampleNumbers
from acquisition.lsl_metadata import THERMAL_COUNTER_MODULUS, Announced, read_stream_info
from acquisition.stream import (
    FRAME_KINDS,
    FRAME_PACED_KINDS,
    Block,
    DeviceLost,
    DeviceNotFound,
    InvalidSignal,
    Kind,
    OpenedSource,
    Samples,
    SampleType,
    StreamSpec,
    empty_block,
)

SILENCE_S = 1.0
"""A stream that should flow and has not for so long is silent."""

FIRST_SAMPLE_S = 5.0
"""A device may announce itself this long before its first sample: boards and replays get ready meanwhile."""

_SLICE_S = 0.2  # longest single wait inside liblsl, so that close() and Ctrl-C are answered
_RATE_WINDOW_S = 10.0
_SAME_HOST_OFFSET_S = 0.05  # clocks of one machine agree far better than this
_OFFSET_SLEW = 2e-4  # crystals differ by less; faster changes would bend time
_OFFSET_INTERVAL_S = 1.0
_MAX_PULL_BYTES = 4_000_000


@dataclass(frozen=True)
class Incident:
    """Something that happened to a stream.

    Attributes:
        time_s: When, LSL clock of this machine.
        kind: ``gap`` (samples missing), ``silence`` (nothing for `SILENCE_S`), ``reconnected`` (flows again
            after a silence or a restart of its source), ``overflow`` (this reader was too slow).
        lost: Samples that are missing.
        seconds: How long they last; for a silence, how long it lasts so far.
        sentence: All that for a person.
    """

    time_s: float
    kind: str
    lost: int
    seconds: float
    sentence: str


@dataclass(frozen=True)
class StreamHealth:
    """State of a stream since its inlet was opened.

    Attributes:
        received: Samples delivered.
        lost: Samples that went missing.
        gaps: Places where they did.
        reconnects: Times the stream came back.
        dropped_disordered: Samples received and left out, because their stamp was not later than the one
            before, or not a number, or their frame was the frame before again, or held no picture.
        effective_rate_hz: Rate of the last 10 s by the stamps; NaN while unknown.
        age_s: Age of the newest sample; NaN before the first.
        clock_offset_s: Added to the stamps to bring them to this machine's clock; 0 for its own streams.
        last_stamp_s: Stamp of the newest sample on this machine's clock; NaN before the first.
    """

    received: int
    lost: int
    gaps: int
    reconnects: int
    dropped_disordered: int
    effective_rate_hz: float
    age_s: float
    clock_offset_s: float
    last_stamp_s: float


class LslInlet(OpenedSource):
    """A `Source` that reads one stream from the network.

    `read` gives one gap-free block at a time and may run in a thread of its own: it releases the GIL while
    it waits. A source that dies and comes back (same source id) is picked up again, and `Block.first` jumps
    by what was lost meanwhile; it never goes backwards.
    """

    def __init__(
        self,
        spec: StreamSpec,
        *,
        clock: Clock = lsl_clock,
        buffer_s: float | None = None,
        open_timeout_s: float = 5.0,
    ) -> None:
        """Prepare to read the stream that `spec` describes (as from `network.resolve`).

        Args:
            spec: The stream; found by kind, name and source id.
            clock: Seconds on the LSL clock.
            buffer_s: What is kept when `read` is called too seldom; older samples are lost and counted.
                Left out: 2 s of frames, 60 s of anything else.
            open_timeout_s: How long `open` waits for the stream to appear.
        """
        self._spec = spec
        self._clock = clock
        self._buffer_s = network.usual_buffer_s(spec.kind) if buffer_s is None else buffer_s
        self._open_timeout_s = open_timeout_s
        self._steady = spec.kind in FRAME_KINDS or spec.rate_hz > 0
        self._reading = threading.Lock()
        self._inlet: Any = None
        self._closing = False
        self._reset()

    def _reset(self) -> None:
        self._announced: Announced | None = None
        self._uid = ""
        self._numbers = SampleNumbers(0.0)
        self._pending: deque[Block] = deque()
        self._incidents: deque[Incident] = deque(maxlen=10_000)
        self._recent: deque[tuple[float, int]] = deque()
        self._received = self._lost = self._gaps = self._reconnects = self._dropped = 0
        self._remote = False
        self._offset_s = 0.0
        self._offset_asked_s = -math.inf
        self._last_s = math.nan
        self._arrival_s = math.nan
        self._silent = False
        self._reopened = False

    @property
    def spec(self) -> StreamSpec:
        """The stream."""
        return self._spec

    # ------------------------------------------------------------------------------------ open and close

    def open(self) -> None:
        """Find the stream and subscribe to it.

        Raises:
            DeviceNotFound: It is not there; the message lists the streams that are.
            InvalidSignal: It is there with another layout than `spec`.
        """
        if self._inlet is not None:
            return
        self._reset()
        announced = self._subscribe()
        spec = self._spec
        modulus = (
            THERMAL_COUNTER_MODULUS if spec.kind is Kind.THERMAL and announced.wire.counter >= 0 else None
        )
        self._numbers = SampleNumbers(
            spec.rate_hz, counter_modulus=modulus, variable_rate=spec.kind in FRAME_PACED_KINDS
        )

    def reopen(self) -> None:
        """Subscribe anew after `DeviceLost`: numbers and accounts go on, with what was missed counted.

        Raises:
            DeviceNotFound, InvalidSignal: As `open`.
        """
        self.close()
        self._subscribe()
        self._reopened = self._received > 0

    def _subscribe(self) -> Announced:
        network.ensure_configured()
        spec = self._spec
        # By name too: some programs give all their streams one source id, and liblsl reconnects by both.
        sought = (spec.kind, spec.name, spec.source_id or None)
        infos = network.find_infos(*sought, 1, self._open_timeout_s)
        if not infos:
            raise DeviceNotFound(network.not_found_sentence(*sought))
        # liblsl counts in seconds, or in hundreds of samples; irregular frames come at 60 Hz at most.
        buffer = max(math.ceil(self._buffer_s) if spec.rate_hz else round(0.6 * self._buffer_s), 1)
        inlet = pylsl.StreamInlet(infos[0], buffer, recover=bool(spec.source_id), as_numpy=True)
        try:
            info = inlet.info(self._open_timeout_s)
            self._announced = read_stream_info(info)
            self._check_layout(self._announced.spec)
            inlet.open_stream(self._open_timeout_s)
            self._uid = info.uid()
            self._remote = self._is_remote(inlet, info.hostname())
        except (pylsl.util.TimeoutError, pylsl.util.LostError):
            raise DeviceNotFound(
                f"Stream {spec.name!r} was announced but does not answer; check that its program still runs."
            ) from None
        wire = self._announced.wire
        self._max_samples = (
            64 if wire.format == "string" else min(max(_MAX_PULL_BYTES // (8 * wire.channel_count), 4), 4096)
        )
        self._arrival_s = self._clock()
        self._closing = False
        self._inlet = inlet
        return self._announced

    def _check_layout(self, found: StreamSpec) -> None:
        own = self._spec
        if (found.labels, found.dtype, found.frame) != (own.labels, own.dtype, own.frame):
            raise InvalidSignal(
                f"Stream {own.name!r} now has {found.labels} ({found.dtype}, {found.frame}) instead of "
                f"{own.labels} ({own.dtype}, {own.frame}); look for it again."
            )

    def _is_remote(self, inlet: Any, hostname: str) -> bool:
        """Whether the stream comes from another machine's clock.

        Names alone do not tell: two machines may share one. Their clocks, started at boot, do not agree.
        """
        if not network.reaches_lan():
            return False
        offset_s = float(inlet.time_correction(self._open_timeout_s))
        if hostname == network.this_host() and abs(offset_s) < _SAME_HOST_OFFSET_S:
            return False
        self._offset_s = offset_s
        self._offset_asked_s = self._clock()
        return True

    def close(self) -> None:
        """Unsubscribe; a `read` in another thread ends first."""
        self._closing = True
        with self._reading:
            self._inlet = None
            self._pending.clear()

    # ------------------------------------------------------------------------------------ reading

    def read(self, timeout_s: float) -> Block:
        """Return the next block without a gap inside, empty if nothing came in `timeout_s` seconds.

        Raises:
            DeviceLost: The source died and, having no source id, cannot be recognised when it comes back.
            InvalidSignal: It came back with other channels, or sends a frame number that is none.
        """
        with self._reading:
            deadline_s = time.monotonic() + timeout_s
            wait_s = timeout_s
            while True:
                if self._pending:
                    return self._pending.popleft()
                if self._inlet is None or self._closing:
                    raise DeviceLost(f"Stream {self._spec.name!r} is not open; open it before reading.")
                self._pull(min(max(wait_s, 0.0), _SLICE_S))
                if self._pending:
                    continue
                self._note_silence()
                wait_s = deadline_s - time.monotonic()
                if wait_s <= 0 or timeout_s <= 0:
                    return empty_block(self._spec, self._numbers.next_number)

    def _pull(self, wait_s: float) -> None:
        try:
            values, stamps = self._inlet.pull_chunk(wait_s, self._max_samples, min_samples=1)
        except pylsl.util.LostError:
            raise DeviceLost(
                f"Stream {self._spec.name!r} ended; restart its publisher, and it is read again."
            ) from None
        if not len(stamps):
            return
        now_s = self._clock()
        restarted = self._reopened or self._has_restarted(now_s - self._arrival_s)
        self._reopened = False
        self._accept(values, self._on_this_clock(stamps, now_s), now_s, restarted)

    def _accept(self, values: Any, stamps: NDArray[np.float64], now_s: float, restarted: bool) -> None:
        assert self._announced is not None
        wire = self._announced.wire
        if self._spec.kind is Kind.CAMERA:
            # A sample without a picture is a lost frame, and becomes a gap as any other.
            there = values[:, wire.jpeg].astype(bool)
            values, stamps = values[there], stamps[there]
            self._dropped += int(np.count_nonzero(~there))
        counter = self._counter(values, wire.counter)
        numbering = self._numbers.number(stamps, counter, restarted=restarted)
        self._dropped += numbering.dropped
        if numbering.kept is not None:
            values, stamps = values[numbering.kept], stamps[numbering.kept]
        if not numbering.runs:
            return
        resumed = self._silent and self._received > 0
        if resumed or restarted:
            self._note_return(numbering.gaps, stamps, now_s, restarted)
        for gap in numbering.gaps:
            self._note_gap(gap, now_s, quiet=(resumed or restarted) and gap.index == 0)
        self._silent = False
        self._arrival_s = now_s
        for run in numbering.runs:
            part = slice(run.start, run.stop)
            data = self._samples(values[part])
            self._pending.append(Block(self._spec, stamps[part], data, run.first))
        self._received += len(stamps)
        self._last_s = float(stamps[-1])
        self._recent.append((self._last_s, len(stamps)))
        while len(self._recent) > 2 and self._recent[0][0] < self._last_s - _RATE_WINDOW_S:
            self._recent.popleft()

    def _counter(self, values: Any, column: int) -> NDArray[np.int64] | None:
        if column < 0:
            return None
        try:
            return np.array([int(value) for value in values[:, column]], dtype=np.int64)
        except (ValueError, OverflowError):
            raise InvalidSignal(
                f"Stream {self._spec.name!r} sends {values[0, column]!r} as frame number; it must be decimal."
            ) from None

    def _samples(self, values: Any) -> Samples:
        assert self._announced is not None
        wire = self._announced.wire
        if self._spec.dtype is not SampleType.STRING:
            return wire.convert(values, self._spec.dtype)
        if self._spec.kind is Kind.CAMERA:
            return tuple(values[:, wire.jpeg].tolist())
        if wire.format != "string":
            return tuple("\t".join(f"{value:.15g}" for value in row) for row in values.tolist())
        return tuple("\t".join(_decoded(value) for value in row) for row in values.tolist())

    def _on_this_clock(self, stamps: NDArray[np.float64], now_s: float) -> NDArray[np.float64]:
        if not self._remote:
            return stamps  # untouched, so that a replay on this machine is exact to the bit
        elapsed_s = now_s - self._offset_asked_s
        if elapsed_s >= _OFFSET_INTERVAL_S:
            try:
                measured_s = float(self._inlet.time_correction(0.001))
            except (pylsl.util.TimeoutError, pylsl.util.LostError):
                measured_s = self._offset_s
            self._offset_s = slewed(self._offset_s, measured_s, elapsed_s)
            self._offset_asked_s = now_s
        return stamps + self._offset_s

    def _has_restarted(self, away_s: float) -> bool:
        """Whether the source is a new one since samples stopped coming.

        liblsl reconnects without a word and goes on showing the old description, so the network is asked;
        that takes a tenth of a second and is done only after a pause that a restart would have made.
        """
        if not self._steady or not self._received:
            return False
        period_s = self._numbers.period_s
        if not self._silent and away_s < 0.5 + (5 * period_s if period_s > 0 else 0.0):
            return False
        infos = network.find_infos(self._spec.kind, self._spec.name, self._spec.source_id or None, 1, 0.5)
        if not infos or infos[0].uid() == self._uid:
            return False
        self._uid = infos[0].uid()
        self._describe_anew(infos[0])
        return True

    def _describe_anew(self, info: Any) -> None:
        """Learn how a source sends since it was restarted: liblsl checks no more than the number of channels.

        Raises:
            InvalidSignal: They mean something else now, so that going on would swap muscles.
        """
        try:
            announced = read_stream_info(network.full_info(info))
        except DeviceNotFound:
            return  # gone again
        if announced.spec.labels != self._spec.labels:
            self._inlet = None
            raise InvalidSignal(
                f"Stream {self._spec.name!r} came back with {', '.join(announced.spec.labels)} instead of "
                f"{', '.join(self._spec.labels)}; restart it as it was, or begin a new run."
            )
        self._announced = announced

    # ------------------------------------------------------------------------------------ accounts

    def _note_silence(self) -> None:
        away_s = self._clock() - self._arrival_s
        patience_s = SILENCE_S if self._received else FIRST_SAMPLE_S
        if self._silent or not self._steady or away_s <= patience_s:
            return
        self._silent = True
        since = "since it was opened" if not self._received else f"for {away_s:.1f} s"
        self._note("silence", 0, away_s, f"{self._spec.name} has sent nothing {since}; check its device.")

    def _note_return(
        self, gaps: tuple[Gap, ...], stamps: NDArray[np.float64], now_s: float, restarted: bool
    ) -> None:
        self._reconnects += 1
        lost = sum(gap.lost for gap in gaps if gap.index == 0)
        seconds = float(stamps[0]) - self._last_s
        how = "was restarted and is back" if restarted else "is back"
        missing = f"{lost} samples are missing" if self._steady else "what it sent meanwhile is missing"
        sentence = f"{self._spec.name} {how} after {seconds:.1f} s; {missing}."
        self._note("reconnected", lost, seconds, sentence, now_s)

    def _note_gap(self, gap: Gap, now_s: float, *, quiet: bool) -> None:
        self._gaps += 1
        self._lost += gap.lost
        if quiet:
            return  # told as "reconnected"
        name = self._spec.name
        # Samples that are old when they arrive were waiting in a buffer that ran over.
        if now_s - gap.stamp_s > max(0.5 * self._buffer_s, 0.5):
            sentence = f"{name}: {gap.lost} samples were overwritten because they were not read in time."
            self._note("overflow", gap.lost, gap.seconds, sentence, now_s)
        else:
            self._note("gap", gap.lost, gap.seconds, f"{name} lost {gap.lost} samples.", now_s)

    def _note(self, kind: str, lost: int, seconds: float, sentence: str, now_s: float | None = None) -> None:
        time_s = self._clock() if now_s is None else now_s
        self._incidents.append(Incident(time_s, kind, lost, seconds, sentence))

    def take_incidents(self) -> list[Incident]:
        """What happened since the last call, oldest first. Safe from any thread."""
        taken = []
        while self._incidents:
            taken.append(self._incidents.popleft())
        return taken

    @property
    def age_s(self) -> float:
        """`StreamHealth.age_s` alone, cheap enough to ask for with every sample."""
        return self._clock() - self._last_s

    @property
    def health(self) -> StreamHealth:
        """The accounts so far. Safe from any thread."""
        recent = tuple(self._recent)
        rate_hz = math.nan
        if len(recent) > 1 and recent[-1][0] > recent[0][0]:
            rate_hz = sum(count for _, count in recent[1:]) / (recent[-1][0] - recent[0][0])
        return StreamHealth(
            received=self._received,
            lost=self._lost,
            gaps=self._gaps,
            reconnects=self._reconnects,
            dropped_disordered=self._dropped,
            effective_rate_hz=rate_hz,
            age_s=self.age_s,
            clock_offset_s=self._offset_s,
            last_stamp_s=self._last_s,
        )


def slewed(offset_s: float, measured_s: float, elapsed_s: float) -> float:
    """Move a clock offset towards its new measurement, slowly enough to keep stamps in order.

    A difference no drift explains (a clock was set, a machine rebooted) is taken over at once.
    """
    difference_s = measured_s - offset_s
    if abs(difference_s) > _SAME_HOST_OFFSET_S:
        return measured_s
    limit_s = _OFFSET_SLEW * elapsed_s
    return offset_s + min(max(difference_s, -limit_s), limit_s)


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
