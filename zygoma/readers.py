"""Threads that read LSL streams: one watches for streams, one per stream reads it and hands its blocks on."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from acquisition.clock import Clock
from acquisition.inlet import Incident, LslInlet
from acquisition.network import FoundStream, StreamWatcher, find_infos
from acquisition.stream import Block, DeviceLost, DeviceNotFound, InvalidSignal, Kind, StreamSpec, ZygomaError
from zygoma.channel_names import name_channels, under_names

READ_TIMEOUT_S = 0.1
WATCH_INTERVAL_S = 0.25
GAP_DIGEST_S = 5.0
FRAMES_WAITING = 32


class GapDigest:
    """Lets the first gap of a stream through and sums up those that follow, so that no one is flooded."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._held: list[Incident] = []
        self._told_s = -math.inf

    def told(self, incidents: Sequence[Incident], now_s: float) -> list[Incident]:
        """What to tell at `now_s`, given what has just happened."""
        telling = [incident for incident in incidents if incident.kind != "gap"]
        self._held += [incident for incident in incidents if incident.kind == "gap"]
        if self._held and now_s - self._told_s >= GAP_DIGEST_S:
            telling.append(self._summary())
            self._held.clear()
            self._told_s = now_s
        return telling

    def _summary(self) -> Incident:
        if len(self._held) == 1:
            return self._held[0]
        last = self._held[-1]
        lost = sum(incident.lost for incident in self._held)
        seconds = sum(incident.seconds for incident in self._held)
        sentence = f"{self._name} lost {lost} samples in {len(self._held)} gaps."
        return Incident(last.time_s, "gap", lost, seconds, sentence)


StreamKey: TypeAlias = tuple[Kind, str, str]


def key_of(spec: StreamSpec) -> StreamKey:
    """What tells a stream from all others: many programs leave the source id empty."""
    return spec.kind, spec.name, spec.source_id


class StreamReaders:
    """Reads every stream that `attach` accepts, from the moment it appears until `stop`.

    Args:
        attach: Called once per new stream, when its inlet is open and its full description known. Returns
            what its blocks are handed to (called in the stream's own thread), or None to leave it alone.
        on_incident: Told what was lost, refused or came back.
        on_tick: Called about four times a second by the watching thread.
        clock: The LSL clock.
        wanted: Asked before an inlet is opened, with the short description that discovery gives.
        channels: EMG channel -> muscle_side, see `zygoma.channel_names`.
    """

    def __init__(
        self,
        attach: Callable[[StreamSpec], Callable[[Block], None] | None],
        *,
        on_incident: Callable[[Incident], None],
        clock: Clock,
        wanted: Callable[[StreamSpec], bool] = lambda spec: True,
        on_tick: Callable[[], None] = lambda: None,
        channels: Mapping[str, str] | None = None,
    ) -> None:
        self.inlets: dict[StreamKey, LslInlet] = {}
        self._attach = attach
        self._wanted = wanted
        self._on_incident = on_incident
        self._on_tick = on_tick
        self._channels = channels or {}
        self._clock = clock
        self._left_alone: set[StreamKey] = set()
        self._unreadable: set[str] = set()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None

    @property
    def running(self) -> bool:
        """False once `stop` was called or a thread failed."""
        return not self._stop.is_set()

    def start(self) -> None:
        """Begin to watch."""
        self._spawn(self._watch, "zygoma-watch")

    def stop(self) -> None:
        """End all threads and release the streams."""
        self._stop.set()
        for thread in list(self._threads):
            thread.join()
        for inlet in self.inlets.values():
            inlet.close()

    def raise_failure(self) -> None:
        """Re-raise what ended a thread, if anything did."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def tell(self, kind: str, sentence: str) -> None:
        """Report something that is not a loss of samples."""
        self._on_incident(Incident(self._clock(), kind, 0, 0.0, sentence))

    def _spawn(self, work: Callable[[], None], name: str) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                # Kept for the main thread, which ends the run with it.
                self._failure = error
                self._stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(self) -> None:
        with StreamWatcher() as watcher:
            while self.running:
                for stream in watcher.found():
                    if stream.spec is None:
                        self._tell_problem(stream)
                    elif (key := key_of(stream.spec)) not in self.inlets and key not in self._left_alone:
                        self._consider(stream.spec)
                self._on_tick()
                self._stop.wait(WATCH_INTERVAL_S)

    def _tell_problem(self, stream: FoundStream) -> None:
        """Say once why a stream cannot be read; one that is only slow to answer is asked again."""
        if stream.answered and stream.uid not in self._unreadable:
            self._unreadable.add(stream.uid)
            self.tell("refused", stream.problem)

    def _consider(self, spec: StreamSpec) -> None:
        handle = None
        if self._wanted(spec):
            inlet = LslInlet(spec, clock=self._clock)
            try:
                inlet.open()
                named = name_channels(inlet.spec, self._channels)
                handle = self._attach(named)
                if handle is not None and named is not inlet.spec:
                    handle = under_names(named, handle)
            except ZygomaError as error:
                self.tell("refused", str(error))
            if handle is None:
                inlet.close()
        if handle is None:
            self._left_alone.add(key_of(spec))
            return
        self.inlets[key_of(spec)] = inlet
        self._spawn(lambda: self._read(inlet, handle), f"zygoma-{spec.kind}")

    def _read(self, inlet: LslInlet, handle: Callable[[Block], None]) -> None:
        digest = GapDigest(inlet.spec.name)
        gone = False
        while self.running:
            try:
                if gone:
                    if not self._is_back(inlet):
                        return
                    gone = False
                block = inlet.read(READ_TIMEOUT_S)
                for incident in digest.told(inlet.take_incidents(), self._clock()):
                    self._on_incident(incident)
                if len(block):
                    handle(block)
            except DeviceLost as error:
                self.tell("lost", str(error))
                gone = True
                inlet.close()
            except InvalidSignal as error:
                # One stream that makes no sense ends alone; the others go on.
                self.tell("lost", str(error))
                return

    def _is_back(self, inlet: LslInlet) -> bool:
        """Open a lost stream anew once it is there; liblsl does so by itself only where a source id tells it.

        Returns:
            Whether it is open; False when reading ends.

        Raises:
            InvalidSignal: It came back with another layout.
        """
        spec = inlet.spec
        while self.running:
            # Looked for briefly first, so that the end of the run need not wait for it.
            if find_infos(spec.kind, spec.name, spec.source_id or None, 1, WATCH_INTERVAL_S):
                with contextlib.suppress(DeviceNotFound):
                    inlet.reopen()
                    return True
            self._stop.wait(WATCH_INTERVAL_S)
        return False


class FrameQueue:
    """Hands frames from the thread that decodes them to the one that measures them, in order.

    Two threads, so that one frame is decoded while the one before is still measured: at 60 frames/s there
    is no time for one after the other.

    Args:
        measure: Called with each frame and the number of frames that wait behind it.
    """

    def __init__(self, measure: Callable[[Block, int], None]) -> None:
        self._measure = measure
        self._frames: queue.Queue[Block | None] = queue.Queue(FRAMES_WAITING)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="zygoma-face", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """False once measuring failed or `finish` was called."""
        return self._thread.is_alive()

    def put(self, frame: Block) -> None:
        """Queue a frame; waits while the queue is full, gives up when measuring has ended."""
        while self.running:
            try:
                self._frames.put(frame, timeout=READ_TIMEOUT_S)
                return
            except queue.Full:
                continue

    def finish(self) -> None:
        """Measure what waits, then end."""
        while self.running:
            try:
                self._frames.put(None, timeout=READ_TIMEOUT_S)
                break
            except queue.Full:
                continue
        self._thread.join()

    def raise_failure(self) -> None:
        """Re-raise what ended the measuring, if anything did."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _work(self) -> None:
        try:
            while (frame := self._frames.get()) is not None:
                self._measure(frame, self._frames.qsize())
        except BaseException as error:
            # Kept for the main thread, which ends the run with it.
            self._failure = error
