"""Offline analysis: a session or separate files go through the live pipeline as fast as the machine allows.

The camera dominates the cost. Its frames are decoded ahead on one thread, searched for the face on a second
and measured on a third; the small streams are processed in between, in event-time order.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from acquisition.recording import Recording, find_xdf
from acquisition.session import write_atomically
from acquisition.stream import Block, EndOfStream, InvalidSignal, Kind, Source, StreamSpec
from fusion.events import FaceEvent
from fusion.valence_observations import one_muscle_words
from hardware.emg_readers import choose_columns
from processing.camera import Faces, predecoded
from processing.face_quality import flags_in
from zygoma.ahead import FACES_AHEAD, FRAMES_AHEAD, Blocks, ahead
from zygoma.calibrated import CalibratedPipeline
from zygoma.calibration import Calibration, session_calibration
from zygoma.pipeline import SENSOR_KINDS, PipelineSettings
from zygoma.report import write_report
from zygoma.summary import Summary
from zygoma.tables import TableWriter, write_events

TABLE_NAMES = {
    Kind.ACTION_UNITS: "action_units.parquet",
    Kind.MUSCLE_ACTIVITY: "muscle_activity.parquet",
    Kind.SKIN_TEMPERATURE: "skin_temperature.parquet",
    Kind.VALENCE: "valence.parquet",
}


@dataclass(frozen=True)
class Inputs:
    """What is analysed: the sensor streams with an iterator over the blocks of each.

    Attributes:
        blocks: Per kind, its blocks in order.
        specs: Per kind, its stream.
        start_s: Stamp that is time 0 in the files written.
        duration_s: For the progress bar; NaN when not known.
        label: What the report is headed with.
        calibration: Of the person, measured in this very session; None without.
        markers: What stimulus programs and the operator noted, as stamp and text.
        shortfalls: Tells, once all is read, which files gave less than they should, a sentence each.
    """

    specs: Mapping[Kind, StreamSpec]
    blocks: Mapping[Kind, Iterator[Block]]
    start_s: float
    duration_s: float
    label: str
    calibration: Calibration | None = None
    markers: Sequence[tuple[float, str]] = ()
    shortfalls: Callable[[], list[str]] = list


def session_inputs(path: Path) -> Inputs:
    """The sensor streams of a recorded session (folder, .xdf or _session.json).

    Raises:
        InvalidSignal: No camera, EMG or thermal stream in it.
        FramesLost: Its camera's or thermal camera's file gives back no frame at all.
    """
    recording = Recording(path)
    specs: dict[Kind, StreamSpec] = {}
    for spec in recording.specs:
        if spec.kind in SENSOR_KINDS:
            specs.setdefault(spec.kind, spec)
    if not specs:
        found = ", ".join(f"{spec.name} ({spec.kind})" for spec in recording.specs) or "none"
        raise InvalidSignal(
            f"{path} holds no camera, EMG or thermal stream to analyse; its streams: {found}."
        )
    blocks = {kind: iter(recording.blocks(spec)) for kind, spec in specs.items()}
    return Inputs(
        specs,
        blocks,
        recording.start_s,
        recording.duration_s,
        recording.path.stem,
        session_calibration(recording.session),
        _markers(recording),
        lambda: recording.shortfalls,
    )


def _markers(recording: Recording) -> list[tuple[float, str]]:
    streams = [spec for spec in recording.specs if spec.kind is Kind.MARKERS]
    blocks = (block for spec in streams for block in recording.blocks(spec))
    return sorted(
        (float(stamp_s), str(text))
        for block in blocks
        for stamp_s, text in zip(block.timestamps, block.data, strict=True)
    )


def source_inputs(sources: Mapping[Kind, Source], stack: ExitStack, label: str) -> Inputs:
    """Separate files, each with its own time that starts at 0 together with the others.

    Args:
        sources: File sources by kind; opened here and closed by `stack`.
    """
    for source in sources.values():
        source.open()
        stack.callback(source.close)
    known = [length_s for source in sources.values() if (length_s := getattr(source, "duration_s", None))]
    return Inputs(
        {kind: source.spec for kind, source in sources.items()},
        {kind: _until_end(source) for kind, source in sources.items()},
        0.0,
        max(known) if known else float("nan"),
        label,
        shortfalls=lambda: [
            told for source in sources.values() if (told := getattr(source, "shortfall", ""))
        ],
    )


def with_recording(inputs: Inputs, kind: Kind, path: Path) -> Inputs:
    """`inputs` with the `kind` stream of a recording added, the recording's start at time 0.

    Raises:
        InvalidSignal: No such stream in it.
    """
    recorded = session_inputs(path)
    if kind not in recorded.specs:
        found = ", ".join(recorded.specs)
        raise InvalidSignal(f"{path} holds no {kind} stream; it has {found}.")
    shifted = (
        Block(block.spec, block.timestamps - recorded.start_s, block.data, block.first)
        for block in recorded.blocks[kind]
    )
    return replace(
        inputs,
        specs={**inputs.specs, kind: recorded.specs[kind]},
        blocks={**inputs.blocks, kind: shifted},
        markers=[
            *inputs.markers,
            *((stamp_s - recorded.start_s, text) for stamp_s, text in recorded.markers),
        ],
        shortfalls=lambda: [*inputs.shortfalls(), *recorded.shortfalls()],
    )


def with_channels(inputs: Inputs, channels: Mapping[str, str], path: Path) -> Inputs:
    """`inputs` with the recorded EMG channels under the names of muscles, as `hardware.emg_file` has them.

    Args:
        inputs: With an EMG stream of a recording.
        channels: Name in the recording -> muscle_side; empty leaves all as they are.
        path: Of the recording, for messages.

    Raises:
        InvalidSignal: No such channel, or no EMG at all.
    """
    if not channels:
        return inputs
    spec = inputs.specs.get(Kind.EMG)
    if spec is None:
        raise InvalidSignal(f"{path} holds no EMG stream: leave --channel out.")
    chosen = choose_columns(spec.labels, channels, path)
    columns = list(chosen)
    labels = tuple(replace(spec.channels[index], label=label) for index, label in chosen.items())
    named = replace(spec, channels=labels)
    blocks = (
        Block(named, block.timestamps, block.array[:, columns], block.first)
        for block in inputs.blocks[Kind.EMG]
    )
    return replace(
        inputs, specs={**inputs.specs, Kind.EMG: named}, blocks={**inputs.blocks, Kind.EMG: blocks}
    )


def _until_end(source: Source) -> Iterator[Block]:
    while True:
        try:
            block = source.read(0.0)
        except EndOfStream:
            return
        if len(block):
            yield block


def seen_ahead(frames: Blocks, look: Callable[[Block], Block] | None, mirrored: bool = False) -> Blocks:
    """The same single frames, decoded ahead and, if `look` is given, with the face looked for ahead.

    Args:
        frames: Camera blocks of one frame.
        look: `Pipeline.look` of the pipeline that is to measure them.
        mirrored: See `merged`.
    """
    decoded = ahead(frames, lambda frame: predecoded(frame, mirrored), FRAMES_AHEAD)
    return decoded if look is None else ahead(decoded, look, FACES_AHEAD)


def _single_frames(blocks: Iterator[Block]) -> Blocks:
    for block in blocks:
        for index in range(len(block)):
            yield block[index : index + 1]


def merged(
    inputs: Inputs, mirrored: bool = False, look: Callable[[Block], Block] | None = None
) -> Generator[tuple[Kind, Block], None, None]:
    """All blocks in the order in which they would have arrived: by the stamp of their last sample.

    Args:
        inputs: The streams.
        mirrored: The camera's frames are mirrored, whatever its stream says.
        look: See `seen_ahead`.
    """

    def keyed(order: int, kind: Kind, blocks: Iterator[Block]) -> Iterator[tuple[float, int, Kind, Block]]:
        for block in blocks:
            yield float(block.timestamps[-1]), order, kind, block

    streams = []
    for order, (kind, blocks) in enumerate(inputs.blocks.items()):
        if kind is Kind.CAMERA:
            blocks = seen_ahead(_single_frames(blocks), look, mirrored)
        streams.append(keyed(order, kind, blocks))
    for _, _, kind, block in heapq.merge(*streams, key=lambda item: item[:2]):
        yield kind, block


def analyze(
    inputs: Inputs,
    folder: Path,
    settings: PipelineSettings | None = None,
    *,
    on_time: Callable[[float], None] = lambda time_s: None,
) -> Summary:
    """Run the pipeline over `inputs` and write every derivative file into `folder`.

    Args:
        inputs: From `session_inputs` or `source_inputs`.
        folder: Created if needed. Derivatives in it are replaced, and tables of streams that are not analysed
            now are removed: what lies there belongs together.
        settings: As live. `rest` is relative to the recording's start, as on the command line. With a rest
            the calibration measured in the session is not used; what else is given wins over its part of it.
        on_time: Called with the seconds done so far.

    Raises:
        InvalidSignal: The whole of `rest` lies behind the recording's end; no table is written.
    """
    settings = settings or PipelineSettings()
    measured = None if settings.rest else inputs.calibration
    if measured is not None:
        given = settings.calibration
        measured = replace(
            measured,
            neutral=given.get("neutral", measured.neutral),
            muscles=given.get("emg", measured.muscles),
            weights=given.get("valence", measured.weights),
        )
    if settings.rest is not None:
        rest = (settings.rest[0] + inputs.start_s, settings.rest[1] + inputs.start_s)
        settings = replace(settings, rest=rest)
    folder.mkdir(parents=True, exist_ok=True)
    summary = Summary(folder, inputs.label)
    with (
        closing(CalibratedPipeline(inputs.specs, settings)) as pipeline,
        _Writers(folder, inputs) as writers,
        # Closed before the pipeline that looks ahead.
        closing(merged(inputs, settings.mirrored, pipeline.look)) as blocks,
    ):
        if measured is not None:
            from_s = inputs.start_s if measured.from_s is None else measured.from_s
            pipeline.change(pipeline.prepare(measured), from_s)
        alive = frozenset(inputs.specs)
        for kind, block in blocks:
            found: Faces | None = None
            if kind is Kind.CAMERA:
                found = pipeline.face(block)
                rows = found.action_units
                faces = int(np.count_nonzero(rows.column("face") > 0))
                summary.frames += len(rows)
                summary.frames_with_face += faces
                for value in rows.column("flags").tolist():
                    summary.flagged.update(flags_in(value))
                # Offline every frame is measured; the column is there because a live run may skip some.
                writers.add(rows, {"skipped": np.zeros(len(rows), dtype=np.float32)})
            else:
                for piece in pipeline.pieces(block):
                    writers.add(pipeline.emg(piece)[0] if kind is Kind.EMG else pipeline.thermal(piece))
            fused = pipeline.drain(alive)
            writers.add(fused.valence)
            summary.events += fused.events
            if found is not None:
                pipeline.follow(found)
            summary.seconds = max(summary.seconds, float(block.timestamps[-1]) - inputs.start_s)
            on_time(summary.seconds)
        if settings.rest is not None and settings.rest[0] - inputs.start_s >= summary.seconds:
            begin_s, end_s = (stamp_s - inputs.start_s for stamp_s in settings.rest)
            raise InvalidSignal(
                f"The rest from {begin_s:g} to {end_s:g} s lies behind the end of {inputs.label}, which "
                f"lasts {summary.seconds:.1f} s: give --rest in seconds since its beginning."
            )
        fused = pipeline.drain(frozenset(), flush=True)
        writers.add(fused.valence)
        summary.events += fused.events
        summary.quality_words = {
            **{
                spec.name: spec.metadata["notes"]
                for spec in inputs.specs.values()
                if "notes" in spec.metadata
            },
            **pipeline.quality_words(),
            **_valence_words(inputs),
            **pipeline.thermal_words(),
            **summary.face_words(),
        }
        summary.shortfalls = inputs.shortfalls()
        summary.neutral = pipeline.neutral
        summary.usable_share = pipeline.usable_share
        summary.rows = writers.close()
    summary.events += [
        FaceEvent(stamp_s, 0.0, "marker", stamp_s, confidence=1.0, id=f"marker-{number}", explanation=text)
        for number, (stamp_s, text) in enumerate(inputs.markers, start=1)
    ]
    for name in set(TABLE_NAMES.values()) - set(summary.rows):
        (folder / name).unlink(missing_ok=True)
    write_events(folder, summary.events, inputs.start_s)
    write_report(folder, summary, inputs.start_s)
    write_atomically(folder / "summary.json", (json.dumps(summary.to_dict(), indent=2) + "\n").encode())
    return summary


def _valence_words(inputs: Inputs) -> dict[str, str]:
    """What valence lacks, under ``valence``; empty when the EMG has both muscles, or there is none."""
    spec = inputs.specs.get(Kind.EMG)
    words = one_muscle_words(spec.labels) if spec is not None else ""
    return {"valence": words} if words else {}


class _Writers:
    """One `TableWriter` per derived stream that actually occurs; left with an error, no half table stays."""

    def __init__(self, folder: Path, inputs: Inputs) -> None:
        self._folder = folder
        self._start_s = inputs.start_s
        self._writers: dict[Kind, TableWriter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            for writer in self._writers.values():
                writer.abandon()

    def add(self, block: Block, extra: Mapping[str, np.ndarray] | None = None) -> None:
        writer = self._writers.get(block.spec.kind)
        if writer is None:
            path = self._folder / TABLE_NAMES[block.spec.kind]
            units = dict.fromkeys(extra or {}, "none")
            writer = self._writers[block.spec.kind] = TableWriter(path, self._start_s, units)
        writer.add(block, extra)

    def close(self) -> dict[str, int]:
        return {writer.close().name: writer.rows for writer in self._writers.values()}


def default_folder(session: Path) -> Path:
    """Where the derivatives of a session go: ``derivatives/`` in its folder.

    A folder with several runs keeps them apart: ``derivatives/<run>/``.
    """
    xdf = find_xdf(session)
    folder = xdf.parent / "derivatives"
    return folder if len(list(xdf.parent.glob("*.xdf"))) == 1 else folder / xdf.stem
