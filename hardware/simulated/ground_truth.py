"""Tells what the simulated person really did: one JSON object per scripted event, at its onset."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from acquisition.stream import Block, Channel, EndOfStream, Kind, SampleType, StreamSpec, empty_block
from hardware.simulated.playback import Playback, SimulatedDevice
from hardware.simulated.scripted_event import ScriptedEvent


def event_record(event: ScriptedEvent, start_s: float, prefix: str = "") -> dict[str, Any]:
    """One event as JSON values with times on the clock whose reading at the scenario's t = 0 was `start_s`.

    Keys follow `FaceEvents` where the meaning is the same (``onset``, ``apex``, ``duration``, ``trial_type``,
    ``action_units`` as ``4+7``, ``side``, ``category``, ``emotions``, ``masked_by``, ``id``), with the
    intensities under ``intensities`` and the rest of the script's fields beside them.
    """
    return {
        "id": prefix + event.id,
        "trial_type": event.trial_type,
        "onset": start_s + event.onset_s,
        "apex": start_s + event.apex_s,
        "release": start_s + event.release_s,
        "offset": start_s + event.offset_s,
        "duration": event.duration_s,
        "action_units": "+".join(str(au) for au in sorted(event.action_units)),
        "intensities": {str(au): value for au, value in sorted(event.action_units.items())},
        "side": event.side,
        "amplitude_px": event.amplitude_px,
        "category": event.category,
        "valence": event.valence,
        "arousal": event.arousal,
        "emotions": [event.emotion] if event.emotion else [],
        "masked_by": prefix + event.masked_by if event.masked_by else "",
    }


@dataclass(eq=False, repr=False)
class GroundTruth(SimulatedDevice):
    """String stream of the scripted events, each sent at its onset.

    In a loop, the ids of later passes begin with ``p1-``, ``p2-`` ...
    """

    name: str = "zygoma simulated ground truth"

    def __post_init__(self) -> None:
        self.spec = StreamSpec(
            name=self.name,
            kind=Kind.GROUND_TRUTH,
            channels=(Channel("event", kind="Markers"),),
            rate_hz=0.0,
            dtype=SampleType.STRING,
            source_id=f"zygoma-simulated-ground-truth-{self.scenario.seed}",
            metadata=self.facts("simulated person"),
        )
        self._script: Iterator[tuple[float, dict[str, Any]]] = iter(())
        self._pending: tuple[float, dict[str, Any]] | None = None
        self._sent = 0

    def open(self) -> None:
        super().open()
        self._script = self._told(self.playback)
        self._pending = next(self._script, None)
        self._sent = 0

    def read(self, timeout_s: float) -> Block:
        """Wait for the next onset; events whose onsets have passed come together.

        Raises:
            EndOfStream: The last event was told and the scenario does not loop.
        """
        playback = self.playback
        if self._pending is None:
            raise EndOfStream("Every event of the simulated scenario has been told.")
        if not playback.wait_until(self._pending[0], timeout_s):
            return empty_block(self.spec, self._sent)
        now_s = self.clock()
        stamps: list[float] = []
        texts: list[str] = []
        while self._pending is not None and self._pending[0] <= now_s:
            onset_s, record = self._pending
            # Stamps increase strictly even if two events begin together.
            stamps.append(max(onset_s, math.nextafter(stamps[-1], math.inf)) if stamps else onset_s)
            texts.append(json.dumps(record))
            self._pending = next(self._script, None)
        first, self._sent = self._sent, self._sent + len(texts)
        return Block(self.spec, np.array(stamps), tuple(texts), first)

    def close(self) -> None:
        super().close()
        self._pending = None

    def _told(self, playback: Playback) -> Iterator[tuple[float, dict[str, Any]]]:
        number = 0
        while number == 0 or (self.loop and self.scenario.events):
            start_s = playback.start_s + number * self.scenario.duration_s
            for event in playback.scenario(number).events:
                yield start_s + event.onset_s, event_record(event, start_s, f"p{number}-" if number else "")
            number += 1
