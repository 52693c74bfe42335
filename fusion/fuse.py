"""Event-time fusion: camera, EMG and thermal findings in, valence and events out.

The result depends on the stamps of what came in, never on the order or the size of the pieces in which it
arrived: live, replayed and offline runs of the same session agree bit for bit.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from acquisition.stream import Block, Kind, StreamSpec, empty_block
from fusion.blinks import BLINK_MARGIN_S, Blinks, is_blink
from fusion.emg_evidence import UNIT_OF_PREFIX, EmgEvidence, channel_parts
from fusion.events import FaceEvent
from fusion.macro_expressions import MacroExpressions, MacroSettings
from fusion.micro_expressions import MicroExpressions, MicroSettings
from fusion.neutral import NeutralFace
from fusion.speech import LOWER_FACE_UNITS, Speech
from fusion.timeline import Timeline
from fusion.valence import ValenceFilter, valence_stream_spec
from fusion.valence_weights import ValenceWeights
from fusion.witness import UnitWitness
from processing.findings import Burst, Movement

EMG_LAG_S = 0.030
"""A picture is fused with the EMG from this long before it: the muscle fires before the skin moves."""

THERMAL_LAG_S = 0.25
"""A picture is fused with the skin's temperature from this long before it; the skin takes seconds anyway."""

ALL_ALIVE = frozenset({Kind.CAMERA, Kind.EMG, Kind.THERMAL})

_EMG_KINDS = frozenset({Kind.EMG, Kind.MUSCLE_ACTIVITY})
_CAMERA_KINDS = frozenset({Kind.CAMERA, Kind.ACTION_UNITS, Kind.FACE_MOTION})
_THERMAL_KINDS = frozenset({Kind.THERMAL, Kind.SKIN_TEMPERATURE})
_THERMAL_MOTION_HZ = 25.0
_FACE_GAP_S = 1.0


@dataclass(frozen=True)
class FusionSettings:
    """How the modalities come together.

    Attributes:
        micro, macro: See `MicroSettings` and `MacroSettings`.
        emg_lag_s, thermal_lag_s: How far behind the picture the row lies that is fused with it.
        emg_max_age_s, thermal_max_age_s: An older row no longer holds.
        camera_gap_s: This long after the last picture, EMG goes on by itself.
        emg_only_period_s: It then gives valence at its own rows, at least this far apart.
    """

    micro: MicroSettings = field(default_factory=MicroSettings)
    macro: MacroSettings = field(default_factory=MacroSettings)
    emg_lag_s: float = EMG_LAG_S
    thermal_lag_s: float = THERMAL_LAG_S
    emg_max_age_s: float = 0.10
    thermal_max_age_s: float = 1.5
    camera_gap_s: float = 0.25
    emg_only_period_s: float = 0.02


@dataclass(frozen=True)
class Fused:
    """What one `Fusion.drain` brought.

    Attributes:
        valence: New rows of the Valence stream, possibly none.
        events: Expressions, micro-expressions and blinks that are decided, in order of decision.
        provisional: Micro-expressions that have reached their apex and may still be withdrawn; a decided
            event of the same id replaces each.
    """

    valence: Block
    events: list[FaceEvent]
    provisional: list[FaceEvent]


class Fusion:
    """Merges what the processors found, in event time.

    A camera row at stamp t is fused with the newest EMG row at or before t - 30 ms and the newest thermal row
    at or before t - 250 ms. While a modality is alive, the row waits until that modality has come that far.

    Args:
        action_units_spec: The ActionUnits stream, None when there is no camera.
        settings: See `FusionSettings`.
        calibration: The person's weights and neutral face.
        source_id: Of the Valence stream.
    """

    def __init__(
        self,
        action_units_spec: StreamSpec | None = None,
        settings: FusionSettings | None = None,
        calibration: ValenceWeights | None = None,
        source_id: str = "zygoma-valence",
    ) -> None:
        self.settings = settings or FusionSettings()
        self.calibration = calibration or ValenceWeights()
        self._units_spec = action_units_spec
        rate_hz = action_units_spec.rate_hz if action_units_spec is not None else 0.0
        self.valence_spec = valence_stream_spec(rate_hz, source_id)
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        spec = self._units_spec
        self._valence = ValenceFilter(action_units=spec, weights=self.calibration)
        self._face = spec.labels.index("face") if spec is not None and "face" in spec.labels else -1
        self._neutral = NeutralFace(spec, self.calibration.neutral) if spec is not None else None
        self._speech = Speech(spec)
        self._macro = MacroExpressions(spec, self.settings.macro, self._speech) if spec is not None else None
        self._blinks = Blinks(spec) if spec is not None else None
        self._emg = Timeline()
        self._thermal = Timeline()
        self._evidence = EmgEvidence(self._emg, self._is_habit)
        self._witness = UnitWitness(spec)
        self._micro = MicroExpressions(
            self._macro, self._blinks, self._evidence, self._speech, self._witness, self.settings.micro
        )
        self._emg_spec: StreamSpec | None = None
        self._thermal_spec: StreamSpec | None = None
        self._pictures: list[tuple[float, np.ndarray]] = []
        self._picture = 0
        self._movements: list[tuple[float, int, bool, int, Movement]] = []
        self._arrivals = itertools.count()  # a movement may be taken back in the frame that confirmed it
        self._thermal_movements: list[tuple[float, int, Movement]] = []
        self._time_s = -math.inf
        self._camera_s = math.nan
        self._rows = 0

    @property
    def dropped(self) -> Counter[str]:
        """Candidates that were let go, counted by veto (``weak``: too little evidence)."""
        return self._micro.dropped

    def push_camera(self, action_units: Block, movements: Sequence[Movement] = ()) -> None:
        """Take rows of action units and the movements that were found by their last stamp.

        The movements of a row may also come later by `push_movements`, before the next row.
        """
        if self._units_spec is None:
            raise ValueError("this fusion was built without a camera; give it the ActionUnits spec")
        array = action_units.array
        for index, stamp in enumerate(action_units.timestamps.tolist()):
            self._pictures.append((stamp, array[index]))
        self.push_movements(movements)

    def push_movements(self, movements: Sequence[Movement]) -> None:
        """Take movements of the skin; each counts from the row after the one it was found in."""
        for movement in movements:
            key = movement.found_s, movement.id, not movement.provisional, next(self._arrivals)
            heapq.heappush(self._movements, (*key, movement))

    def push_emg(self, activity: Block, bursts: Sequence[Burst] = ()) -> None:
        """Take rows of muscle activity and the bursts that ended by their last stamp."""
        if self._emg_spec is None or self._emg_spec.labels != activity.spec.labels:
            self._emg_spec = activity.spec
            self._valence.bind(activity.spec)
            self._evidence.bind(activity.spec)
        self._emg.extend(activity)
        for burst in bursts:
            self._evidence.add_burst(burst)

    def push_thermal(self, skin: Block, movements: Sequence[Movement] = ()) -> None:
        """Take rows of skin temperature.

        Movements seen by the thermal camera support a micro-expression only at 25 Hz or more; at 9 Hz a
        micro-expression is at most two frames, so they are ignored.
        """
        if self._thermal_spec is None or self._thermal_spec.labels != skin.spec.labels:
            self._thermal_spec = skin.spec
            self._valence.bind(skin.spec)
        self._thermal.extend(skin)
        if skin.spec.pace_hz >= _THERMAL_MOTION_HZ:
            for movement in movements:
                if not movement.provisional:
                    heapq.heappush(self._thermal_movements, (movement.found_s, movement.id, movement))

    def drain(self, alive: frozenset[Kind] = ALL_ALIVE, flush: bool = False) -> Fused:
        """Fuse whatever is ready.

        Args:
            alive: Modalities that are delivering; only they are waited for. A modality that falls silent must
                be left out by the caller, whose clock alone can tell.
            flush: The recording is over: wait for nothing and close open events.
        """
        alive = frozenset() if flush else alive
        settings = self.settings
        stamps: list[float] = []
        rows: list[tuple[float, ...]] = []
        events: list[FaceEvent] = []
        provisional: list[FaceEvent] = []
        while True:
            picture_s = self._next_picture_s()
            felt_s = self._next_emg_s()
            if math.isfinite(picture_s):
                if not self._ready(picture_s, alive):
                    break
                # Without pictures for a while, EMG bridges the gap by itself.
                alone = felt_s < picture_s - settings.emg_lag_s
            elif alive & _CAMERA_KINDS and self._units_spec is not None:
                break
            elif math.isfinite(felt_s):
                alone = True
            else:
                break
            if alone:
                moment_s = felt_s
                estimate = self._feel(moment_s, events)
            else:
                moment_s = picture_s
                estimate = self._see(moment_s, self._take_picture(), events, provisional)
            if moment_s > self._time_s:
                self._time_s = moment_s
                stamps.append(moment_s)
                rows.append(estimate)
        if flush:
            events += self._finish()
        self._forget()
        return Fused(self._block(stamps, rows), events, provisional)

    # One moment

    def _see(
        self, time_s: float, row: np.ndarray, events: list[FaceEvent], provisional: list[FaceEvent]
    ) -> tuple[float, ...]:
        """A picture, with the EMG and the temperature that belong to it."""
        settings = self.settings
        assert self._neutral is not None and self._macro is not None and self._blinks is not None
        if time_s - self._camera_s > _FACE_GAP_S:
            events += self._micro.step(self._camera_s, self._camera_s, flush=True)
            events += self._macro.flush()
            self._macro.reset()
            self._blinks.reset()
            self._witness.reset()
            self._micro.reset()
        self._camera_s = time_s
        seen: list[float] | None = None
        if self._face < 0 or row[self._face] > 0.5:
            seen = self._neutral.relative(time_s, row).tolist()
        felt_s = time_s - settings.emg_lag_s
        felt = self._emg.newest(felt_s, settings.emg_max_age_s)
        blink = self._blinks.step(time_s, seen)
        # The lid's muscle is ahead of the lid, and its trace outlasts it by the envelope's delay.
        blinking = self._blinks.overlaps(felt_s - BLINK_MARGIN_S, felt_s + BLINK_MARGIN_S)
        estimate = self._valence.update(
            time_s,
            seen,
            felt,
            self._warmth(time_s),
            blinking=blinking,
            twitching=self._micro.under_way(time_s),
        )
        self._speech.see(time_s, seen)
        self._witness.see(time_s, seen)
        events += self._macro.step(time_s, seen)
        if blink is not None:
            events.append(blink)
        # Those found in this very frame come after its valence went out: they belong to the next row.
        while self._movements and self._movements[0][0] < time_s:
            movement = heapq.heappop(self._movements)[-1]
            self._micro.add_movement(movement)
            if movement.provisional:
                event = self._micro.provisional(movement, felt_s)
                if event is not None:
                    provisional.append(event)
        while self._thermal_movements and self._thermal_movements[0][0] <= time_s:
            self._micro.add_thermal_movement(heapq.heappop(self._thermal_movements)[-1])
        events += self._micro.step(time_s, felt_s)
        return estimate

    def _feel(self, time_s: float, events: list[FaceEvent]) -> tuple[float, ...]:
        """EMG alone, without a picture."""
        felt = self._emg.newest(time_s, self.settings.emg_max_age_s)
        estimate = self._valence.update(time_s, None, felt, self._warmth(time_s))
        events += self._micro.step(time_s, time_s)
        return estimate

    def _warmth(self, time_s: float) -> list[float] | None:
        return self._thermal.newest(time_s - self.settings.thermal_lag_s, self.settings.thermal_max_age_s)

    def _is_habit(self, burst: Burst, at_s: float) -> bool:
        """Whether a burst was a blink's, or a syllable's while nobody speaks at the time in question."""
        if self._blinks is not None and is_blink(self._blinks, burst.channel, burst):
            return True
        if UNIT_OF_PREFIX.get(channel_parts(burst.channel)[0]) not in LOWER_FACE_UNITS:
            return False
        return self._speech.goes_on(burst.onset_s) and not self._speech.goes_on(at_s)

    def _finish(self) -> list[FaceEvent]:
        while self._movements:
            self._micro.add_movement(heapq.heappop(self._movements)[-1])
        events = self._micro.step(self._time_s, math.inf, flush=True)
        if self._macro is not None:
            events += self._macro.flush()
        return events

    # Order of moments

    def _next_picture_s(self) -> float:
        return self._pictures[self._picture][0] if self._picture < len(self._pictures) else math.inf

    def _take_picture(self) -> np.ndarray:
        row = self._pictures[self._picture][1]
        self._picture += 1
        return row

    def _next_emg_s(self) -> float:
        """Stamp of the next EMG row that stands for itself; infinity if none does."""
        if not math.isfinite(self._time_s):
            before_any = self._pictures or self._emg_spec is None
            return math.inf if before_any else self._emg.after(-math.inf)
        # A little less than the period, so that a 100 Hz stream gives every second row.
        period_s = self.settings.emg_only_period_s - 0.004
        camera_s = self._camera_s + self.settings.camera_gap_s if math.isfinite(self._camera_s) else -math.inf
        return self._emg.after(max(self._time_s + period_s, camera_s))

    def _ready(self, time_s: float, alive: frozenset[Kind]) -> bool:
        settings = self.settings
        if alive & _EMG_KINDS and self._emg.watermark_s < time_s - settings.emg_lag_s:
            return False
        return not (alive & _THERMAL_KINDS and self._thermal.watermark_s < time_s - settings.thermal_lag_s)

    # Housekeeping

    def _forget(self) -> None:
        if self._picture:
            del self._pictures[: self._picture]
            self._picture = 0
        if math.isfinite(self._time_s):
            self._emg.forget_before(self._time_s - 5.0)
            self._thermal.forget_before(self._time_s - 5.0)

    def _block(self, stamps: list[float], rows: list[tuple[float, ...]]) -> Block:
        if not rows:
            return empty_block(self.valence_spec, self._rows)
        block = Block(self.valence_spec, np.array(stamps), np.array(rows, dtype=np.float32), self._rows)
        self._rows = block.end
        return block
