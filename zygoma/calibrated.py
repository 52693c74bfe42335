"""The pipeline of a run in which a calibration becomes known: from one stamp on, it is measured with it.

Before that stamp the processors know nobody; at it they start anew with the person's neutral, muscles and
weights. The stamp is in the manifest, so that an analysis or a replay changes at the same sample and gives
the same events.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, Kind, StreamSpec
from fusion.events import FaceEvent
from fusion.fuse import Fused
from processing.camera import Faces
from processing.emg_quality import ChannelQuality
from processing.findings import Burst
from processing.neutral import Neutral
from zygoma.calibration import Calibration
from zygoma.pipeline import SENSOR_KINDS, Pipeline, PipelineSettings

CALIBRATED = "-calibrated"
"""Behind the ids of events after the change: both parts of a session count from the beginning."""


class CalibratedPipeline:
    """A `Pipeline` that may change to a calibrated one at a stamp, once.

    What comes out after the change depends on nothing before it, so that it does not matter that a recording
    begins later than the run it was made in.

    Args:
        specs: As for `Pipeline`.
        settings: As for `Pipeline`; a calibration in them holds from the start.
    """

    def __init__(self, specs: Mapping[Kind, StreamSpec], settings: PipelineSettings | None = None) -> None:
        self.settings = settings or PipelineSettings()
        self._before = Pipeline(specs, self.settings)
        self._after: Pipeline | None = None
        self._from_s = math.inf
        self._changed: set[Kind] = set()
        self._before_over = False
        self._rows = 0
        self._emg_rows = 0
        self._emg_first: int | None = None
        self._lock = Lock()

    @property
    def specs(self) -> dict[Kind, StreamSpec]:
        """The sensor streams, by kind."""
        return self._before.specs

    def attach(self, spec: StreamSpec) -> StreamSpec:
        """See `Pipeline.attach`."""
        with self._lock:
            output = self._before.attach(spec)
            if self._after is not None:
                self._after.attach(spec)
            return output

    def prepare(self, calibration: Calibration) -> Pipeline:
        """The pipeline to change to; building it takes a moment, so that `change` need not."""
        after = Pipeline({}, replace(self.settings, rest=None, calibration=calibration.for_pipeline()))
        for spec in list(self._before.specs.values()):
            after.attach(spec)
        return after

    def change(self, after: Pipeline, from_s: float) -> None:
        """Measure with `after` (from `prepare`) whatever has a stamp of `from_s` or later.

        Args:
            after: What to change to.
            from_s: Must not lie before a stamp that was measured already.

        Raises:
            ValueError: It has changed before.
        """
        with self._lock:
            if self._after is not None:
                raise ValueError("a pipeline changes its calibration once")
            for spec in self._before.specs.values():
                if spec.kind not in after.specs:
                    after.attach(spec)
            self._after, self._from_s = after, from_s

    def pieces(self, block: Block) -> Iterator[Block]:
        """`block`, in two pieces if the change lies inside it; feed each by itself."""
        cut = int(np.searchsorted(block.timestamps, self._from_s))
        if 0 < cut < len(block):
            yield block[:cut]
            yield block[cut:]
        else:
            yield block

    def _of(self, block: Block) -> Pipeline:
        if self._after is None or not len(block) or block.timestamps[0] < self._from_s:
            return self._before
        return self._after

    def _stage(self, block: Block) -> Pipeline:
        stage = self._of(block)
        if stage is self._after:
            self._changed.add(block.spec.kind)
        return stage

    def look(self, frame: Block) -> Block:
        """See `Pipeline.look`; not while `change` is being called."""
        return self._of(frame).look(frame)

    def face(self, frame: Block) -> Faces:
        """See `Pipeline.face`."""
        return self._stage(frame).face(frame)

    def follow(self, faces: Faces) -> None:
        """See `Pipeline.follow`."""
        self._stage(faces.action_units).follow(faces)

    def emg(self, block: Block) -> tuple[Block, Sequence[Burst]]:
        """See `Pipeline.emg`; `block` is one of `pieces`."""
        stage = self._stage(block)
        if stage is self._before:
            activity, bursts = stage.emg(block)
            self._emg_rows = activity.end
            return activity, bursts
        # Rows lie on a grid of sample numbers, which count from another sample in a recording or a replay.
        if self._emg_first is None:
            self._emg_first = block.first
        activity, bursts = stage.emg(_numbered_from(block, block.first - self._emg_first))
        return _numbered_from(activity, self._emg_rows + activity.first), bursts

    def thermal(self, block: Block) -> Block:
        """See `Pipeline.thermal`; `block` is one of `pieces`."""
        return self._stage(block).thermal(block)

    def drain(self, alive: frozenset[Kind], *, flush: bool = False) -> Fused:
        """See `Pipeline.drain`."""
        after = self._after
        if after is None:
            return self._numbered([self._before.drain(alive, flush=flush)])
        fused: list[Fused] = []
        if not self._before_over:
            # The part before is closed once a stream has come to the change, and no other that delivers is
            # still on its way. (None at all delivers before the first samples.)
            changed = self._changed_kinds()
            over = flush or (bool(changed) and not (alive & set(self._before.specs)) - changed)
            fused.append(self._before.drain(frozenset() if over else alive, flush=over))
            self._before_over = over
        if self._before_over:
            fused.append(_renamed(after.drain(alive, flush=flush)))
        return self._numbered(fused)

    def _changed_kinds(self) -> set[Kind]:
        return {kind for kind in SENSOR_KINDS if kind in self._changed}

    def _numbered(self, fused: list[Fused]) -> Fused:
        """One result with the valence rows counted through."""
        blocks = [each.valence for each in fused if len(each.valence)] or [fused[-1].valence]
        stamps = np.concatenate([block.timestamps for block in blocks])
        rows = np.concatenate([block.array for block in blocks])
        valence = Block(blocks[-1].spec, stamps, rows, self._rows)
        self._rows = valence.end
        return Fused(
            valence,
            [event for each in fused for event in each.events],
            [event for each in fused for event in each.provisional],
        )

    def _present(self, kind: Kind) -> Pipeline:
        return self._after if self._after is not None and kind in self._changed else self._before

    @property
    def neutral(self) -> Neutral | None:
        """See `Pipeline.neutral`."""
        return self._present(Kind.CAMERA).neutral

    @property
    def usable_share(self) -> float:
        """Share of the frames in which brief movements of the skin could be told; NaN before the first."""
        stages = [each for each in (self._before, self._after) if each is not None]
        usable, followed = np.sum([each.followed_frames for each in stages], axis=0).tolist()
        return float(usable / followed) if followed else math.nan

    def quality_words(self) -> dict[str, str]:
        """See `Pipeline.quality_words`."""
        return self._present(Kind.EMG).quality_words()

    def thermal_words(self) -> dict[str, str]:
        """See `Pipeline.thermal_words`."""
        return self._present(Kind.THERMAL).thermal_words()

    def emg_quality(self) -> dict[str, ChannelQuality]:
        """See `Pipeline.emg_quality`."""
        return self._present(Kind.EMG).emg_quality()

    def thermal_landmarks_px(self) -> NDArray[np.float64] | None:
        """See `Pipeline.thermal_landmarks_px`."""
        return self._present(Kind.THERMAL).thermal_landmarks_px()

    def close(self) -> None:
        """See `Pipeline.close`."""
        self._before.close()
        if self._after is not None:
            self._after.close()


def _numbered_from(block: Block, first: int) -> Block:
    return Block(block.spec, block.timestamps, block.data, first)


def _renamed(fused: Fused) -> Fused:
    def renamed(event: FaceEvent) -> FaceEvent:
        masked_by = None if event.masked_by is None else event.masked_by + CALIBRATED
        return replace(event, id=event.id + CALIBRATED, masked_by=masked_by)

    return Fused(fused.valence, [*map(renamed, fused.events)], [*map(renamed, fused.provisional)])
