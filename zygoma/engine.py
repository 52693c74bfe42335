"""The live engine: LSL in, measurements and flags out, with a thread per input stream.

Queues are where the design wants them: lossless to the recorder, newest-wins to the display, and a camera
that outruns the face chain has frames skipped, counted and shown. Losing a modality degrades, never stops.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from acquisition.clock import Clock, lsl_clock
from acquisition.inlet import Incident
from acquisition.outlet import LslOutlet
from acquisition.recorder import MARKERS, DiskFull, Recorder, RecordingFailed
from acquisition.stream import Block, InvalidSignal, Kind, StreamSpec
from fusion.events import FaceEvent, events_stream_spec
from fusion.fuse import Fused
from processing.camera import predecoded
from processing.neutral import Neutral
from zygoma.calibrated import CalibratedPipeline
from zygoma.calibration import Calibration, replayed_calibration
from zygoma.pipeline import SENSOR_KINDS, PipelineSettings
from zygoma.readers import FrameQueue, StreamReaders, key_of
from zygoma.state import LiveState, Onlooker, Snapshot, StreamState

INPUT_KINDS = (*SENSOR_KINDS, Kind.MARKERS, Kind.GROUND_TRUTH)
"""Streams the engine listens to; sensors are measured, the others are recorded and shown."""

FUSION_HORIZON_S = 0.25
"""A sensor that has been silent for this long is not waited for any more."""

CALIBRATION_LEAD_S = 0.25
"""A new calibration holds from this long after it was given: no sample of that time has been measured yet."""

CAMERA_LAG_LIMIT_S = 0.5
"""Frames older than this on arrival are skipped: a live display must not fall behind by minutes."""


@dataclass(frozen=True)
class EngineSettings:
    """What a live run may choose.

    Attributes:
        pipeline: Settings of the processors and of fusion.
        names: Stream name to use for a kind, where several are on the network.
        publish: Put the derived streams on LSL.
        channels: EMG channel -> muscle_side, see `zygoma.channel_names`.
    """

    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    names: Mapping[Kind, str] = field(default_factory=dict)
    publish: bool = True
    channels: Mapping[str, str] = field(default_factory=dict)


class Engine:
    """Runs the pipeline on live streams; use as a context manager.

    Args:
        settings: See `EngineSettings`.
        recorder: Receives every input and derived block, when given.
        on_event: Called with each confirmed event, from an input thread.
        on_incident: Called with each incident of a stream, from an input thread.
        onlooker: Is shown everything that comes in and goes out, as it happens.
        clock: The LSL clock.
    """

    def __init__(
        self,
        settings: EngineSettings | None = None,
        *,
        recorder: Recorder | None = None,
        on_event: Callable[[FaceEvent], None] = lambda event: None,
        on_incident: Callable[[Incident], None] = lambda incident: None,
        onlooker: Onlooker | None = None,
        clock: Clock = lsl_clock,
    ) -> None:
        self.settings = settings or EngineSettings()
        self.recorder = recorder
        self._on_event = on_event
        self._on_incident = on_incident
        self._onlooker = onlooker
        self._clock = clock
        self._publishing = self.settings.publish
        self._pipeline = CalibratedPipeline({}, self.settings.pipeline)
        self._state = LiveState()
        self._state_lock = threading.Lock()
        self._fuse_lock = threading.Lock()
        self._sensors: dict[Kind, StreamSpec] = {}
        self._outlets: dict[Kind, LslOutlet] = {}
        self._attached: list[StreamSpec] = []
        self._frames: FrameQueue | None = None
        self._events_spec = events_stream_spec()
        self._events_sent = 0
        self._marker_lock = threading.Lock()
        self._markers_sent = 0
        self._marked_s = -np.inf
        self._calibrated = False
        self._readers = StreamReaders(
            self._attach,
            wanted=self._wanted,
            on_incident=self._report,
            # Without a camera nothing else drains what waits for a sensor that went silent.
            on_tick=self._fuse,
            clock=clock,
            channels=self.settings.channels,
        )
        self.started_s = clock()

    def __enter__(self) -> Engine:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to look for streams and to process them as they appear."""
        self.started_s = self._clock()
        self._output(self._events_spec)
        self._output(MARKERS)
        self._readers.start()

    def stop(self) -> None:
        """Stop all threads, close what is open in fusion, release streams and the face model."""
        self._readers.stop()
        if self._frames is not None:
            self._frames.finish()
        self._deliver(self._pipeline.drain(frozenset(), flush=True))
        # A note may still be made while the pages are served; it is recorded, and that is all.
        self._publishing = False
        for outlet in self._outlets.values():
            outlet.close()
        self._outlets.clear()
        self._pipeline.close()
        self._readers.raise_failure()
        if self._frames is not None:
            self._frames.raise_failure()

    @property
    def neutral(self) -> Neutral | None:
        """The person's neutral face in use; None without a face so far."""
        return self._pipeline.neutral

    @property
    def running(self) -> bool:
        """False once `stop` was called or a thread failed."""
        return self._readers.running and (self._frames is None or self._frames.running)

    def mark(self, text: str, time_s: float | None = None) -> float:
        """Note `text`: on LSL in the stream `zygoma_markers`, in the recording, and on the display.

        May be called from any thread.

        Args:
            text: What to note.
            time_s: When it happened, LSL clock; None is now.

        Returns:
            The stamp of the note: `time_s`, or just after the note before.
        """
        with self._marker_lock:
            # Two notes at one instant still need stamps in order.
            self._marked_s = max(
                self._clock() if time_s is None else time_s, float(np.nextafter(self._marked_s, np.inf))
            )
            block = Block(MARKERS, np.array([self._marked_s]), (text,), self._markers_sent)
            self._markers_sent += 1
            self._emit(block, row=False)
            return self._marked_s

    def record_to(self, recorder: Recorder) -> None:
        """Begin to record, with the streams there are and those that come."""
        # Set first: a stream that comes in this instant is added by its own thread, at worst by both.
        self.recorder = recorder
        for spec in list(self._attached):
            recorder.add_stream(spec)

    def stop_recording(self) -> None:
        """Let go of the recorder, which its owner then closes; watching goes on."""
        self.recorder = None

    def calibrate(self, calibration: Calibration) -> float:
        """Measure with a person's calibration from now on; the processors start anew with it.

        Returns:
            The stamp from which it holds, LSL clock; it belongs into the recording's manifest.

        Raises:
            ValueError: The run has been calibrated before.
        """
        if self._calibrated:
            raise ValueError("this run has been calibrated before")
        after = self._pipeline.prepare(calibration)
        # Chosen only now: building the processors has taken its time.
        from_s = self._clock() + CALIBRATION_LEAD_S
        self._pipeline.change(after, from_s)
        self._calibrated = True
        return from_s

    # -- streams -------------------------------------------------------------------------------------

    def _wanted(self, spec: StreamSpec) -> bool:
        if spec.kind not in INPUT_KINDS or spec.source_id == MARKERS.source_id:
            # Our own notes are recorded as they are made, without the way over the network.
            return False
        name = self.settings.names.get(spec.kind)
        if name is not None and spec.name != name:
            return False
        chosen = self._sensors.get(spec.kind)
        if chosen is not None:
            words = f"A second {spec.kind} stream '{spec.name}' is not used; '{chosen.name}' is."
            self._readers.tell("unused", words)
        return chosen is None

    def _attach(self, spec: StreamSpec) -> Callable[[Block], None]:
        self._attached.append(spec)
        self._to_disk(lambda recorder: recorder.add_stream(spec))
        if spec.kind not in SENSOR_KINDS:
            return self._keep
        self._output(self._pipeline.attach(spec))
        self._sensors[spec.kind] = spec
        self._adopt_replayed(spec)
        if spec.kind is Kind.CAMERA:
            self._frames = FrameQueue(self._camera)
        step = {Kind.CAMERA: self._decode, Kind.EMG: self._emg, Kind.THERMAL: self._thermal}[spec.kind]

        def record_and_measure(block: Block) -> None:
            # Recorded first: whatever happens in the processors, the input is safe.
            self._keep(block)
            step(block)

        return record_and_measure

    def _adopt_replayed(self, spec: StreamSpec) -> None:
        """What is replayed changes to its calibration where the recorded run did."""
        if self._calibrated or self.settings.pipeline.calibration or self.settings.pipeline.rest:
            return
        try:
            calibration = replayed_calibration(spec)
        except InvalidSignal as error:
            # The stream itself is good.
            self._readers.tell("refused", f"The replay goes on without its calibration: {error}")
            return
        if calibration is not None:
            from_s = -np.inf if calibration.from_s is None else calibration.from_s
            self._pipeline.change(self._pipeline.prepare(calibration), from_s)
            self._calibrated = True

    def _output(self, spec: StreamSpec) -> LslOutlet | None:
        if not self._publishing:
            return None
        outlet = self._outlets.get(spec.kind)
        if outlet is None:
            outlet = self._outlets[spec.kind] = LslOutlet(spec)
        return outlet

    # -- one block of each kind ------------------------------------------------------------------------

    def _decode(self, block: Block) -> None:
        assert self._frames is not None
        for start in range(len(block)):
            self._frames.put(predecoded(block[start : start + 1], self.settings.pipeline.mirrored))

    def _camera(self, frame: Block, waiting: int) -> None:
        if waiting and self._clock() - frame.timestamps[0] > CAMERA_LAG_LIMIT_S:
            with self._state_lock:
                self._state.skipped += 1
            return
        faces = self._pipeline.face(frame)
        self._fuse()
        self._emit(faces.action_units)
        self._show_face(frame, faces.filmed_points(0))
        self._pipeline.follow(faces)

    def _emg(self, block: Block) -> None:
        for piece in self._pipeline.pieces(block):
            activity, _ = self._pipeline.emg(piece)
            self._emit(activity)
        self._fuse()

    def _thermal(self, block: Block) -> None:
        for piece in self._pipeline.pieces(block):
            self._emit(self._pipeline.thermal(piece))
        self._show_face(block, self._pipeline.thermal_landmarks_px())

    def _show_face(self, frames: Block, points_px: NDArray[np.floating] | None) -> None:
        if self._onlooker is not None:
            self._onlooker.face(frames.spec.kind, float(frames.timestamps[-1]), points_px)

    def _alive(self) -> frozenset[Kind]:
        inlets = self._readers.inlets
        return frozenset(
            kind
            for kind, spec in list(self._sensors.items())
            if (inlet := inlets.get(key_of(spec))) is not None and inlet.age_s < FUSION_HORIZON_S
        )

    def _fuse(self) -> None:
        # Drained and delivered under one lock, so that rows leave in the order of their stamps.
        with self._fuse_lock:
            self._deliver(self._pipeline.drain(self._alive()))

    def _deliver(self, fused: Fused) -> None:
        if len(fused.valence):
            self._emit(fused.valence)
            now_s = self._clock()
            with self._state_lock:
                self._state.latencies_s.extend(now_s - stamp for stamp in fused.valence.timestamps)
        if fused.events:
            stamps = np.full(len(fused.events), self._clock())
            stamps += np.arange(len(stamps)) * 1e-6
            texts = tuple(event.to_json() for event in fused.events)
            self._emit(Block(self._events_spec, stamps, texts, self._events_sent), row=False)
            self._events_sent += len(texts)
            with self._state_lock:
                self._state.events.extend(fused.events)
            for event in fused.events:
                if self._onlooker is not None:
                    self._onlooker.event(event)
                self._on_event(event)

    def _emit(self, block: Block, *, row: bool = True) -> None:
        if not len(block):
            return
        outlet = self._output(block.spec)
        if outlet is not None:
            outlet.push(block)
        self._keep(block)
        if row:
            with self._state_lock:
                self._state.rows[block.spec.kind] = (block.spec, block.array[-1].copy())

    # -- telling ---------------------------------------------------------------------------------------

    def _keep(self, block: Block) -> None:
        self._to_disk(lambda recorder: recorder.write(block))
        if self._onlooker is not None:
            self._onlooker.block(block)

    def _to_disk(self, work: Callable[[Recorder], None]) -> None:
        recorder = self.recorder
        if recorder is None:
            return
        try:
            work(recorder)
        except (DiskFull, RecordingFailed) as error:
            # What was written is closed properly; watching goes on without recording.
            self.recorder = None
            self._readers.tell("recording stopped", str(error))

    def _report(self, incident: Incident) -> None:
        with self._state_lock:
            self._state.incidents.append(incident)
        if incident.kind != "gap":  # The recorder sees those in the blocks themselves.
            self._to_disk(lambda recorder: recorder.incident(incident.kind, sentence=incident.sentence))
        self._on_incident(incident)

    def snapshot(self) -> Snapshot:
        """A consistent copy of what is known now."""
        streams = tuple(
            StreamState(inlet.spec, inlet.health) for inlet in list(self._readers.inlets.values())
        )
        recorder = self.recorder  # Another thread may let go of it at any time.
        with self._state_lock:
            return Snapshot(
                now_s=self._clock(),
                started_s=self.started_s,
                streams=streams,
                rows=self._state.labelled_rows(),
                quality_words=self._pipeline.quality_words(),
                emg_quality=self._pipeline.emg_quality(),
                events=tuple(self._state.events),
                incidents=tuple(self._state.incidents),
                latency=self._state.latency(),
                skipped=self._state.skipped,
                recording=None if recorder is None else recorder.status(),
            )
