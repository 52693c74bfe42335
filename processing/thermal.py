"""Skin temperature of nine face regions from a radiometric thermal stream, and what it says of muscles.

Temperature follows muscle work and blood over seconds: it gives arousal (nose tip) and warming of muscles,
never valence and, at 9 Hz, never a micro-expression. A value that cannot be trusted is NaN, with a reason.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, StreamSpec
from processing.findings import Movement
from processing.thermal_checks import PixelCheck, PixelFaults, Shutter, ShutterWatch, WarmUpWatch
from processing.thermal_face import FindFace, packaged_face_finder
from processing.thermal_features import Baseline, RegionReader, SlopeWindow, column_means, misread_variance
from processing.thermal_mapping import ThermalMapping
from processing.thermal_model import (
    COMMON,
    FEATURES,
    MuscleWarming,
    Reason,
    ThermalEvent,
    ThermalSettings,
    muscle_warming,
    quality_words,
    skin_spec,
)
from processing.thermal_motion import ThermalMotion
from processing.thermal_regions import OUTER_EYE_CORNERS, REFERENCE, REGIONS
from processing.thermal_tracking import FaceTracker, Registration

__all__ = [
    "MuscleWarming",
    "Reason",
    "SkinTemperature",
    "ThermalEvent",
    "ThermalSettings",
    "muscle_warming",
]


WARMING_UP = ("warming up", "the camera is warming up")
"""The event and the reason of a picture that drifts as a whole."""


_REGISTRATION_SHARE = 0.35
"""Of the registration's residual, which noise and warming raise as well, what is misplacement."""

_IS_REFERENCE = np.arange(len(REGIONS)) == REFERENCE


@dataclass
class _Row:
    """One output row under construction."""

    values: NDArray[np.float32]
    reason: Reason = Reason.NONE
    text: str = ""
    faults: list[str] = field(default_factory=list)


class SkinTemperature:
    """Thermal frames in, one row of region temperatures per frame out (a `Processor`).

    The delta, slope and arousal of every region but the forehead are those of its temperature minus the
    forehead's, which cancels the drift of the camera; the forehead's own are its raw ones, carried over FFC
    steps by what the whole face stepped. ``_minus_forehead_celsius`` is the plain difference.

    Lost frames interrupt the slopes; a pause of a minute or a stream that starts again resets everything.

    Args:
        find_face: Finds the 478-point face mesh in a rendering, see `FindFace`; None loads the packaged model
            when the first face is looked for.
        rest: (start, end) in the seconds of the stamps: the baseline is the mean over it. None: over the
            first stable stretch.
        settings: See `ThermalSettings`.
        mapping: From the visible camera's pixels to those of this one; makes `carry_over` work.
    """

    def __init__(
        self,
        find_face: FindFace | None = None,
        rest: tuple[float, float] | None = None,
        settings: ThermalSettings | None = None,
        mapping: ThermalMapping | None = None,
    ) -> None:
        self.settings = settings or ThermalSettings()
        self.mapping = mapping
        self._rest = rest
        self._tracker = FaceTracker(find_face or packaged_face_finder())
        self._input: StreamSpec | None = None
        self._output: StreamSpec | None = None
        self._columns: dict[str, int] = {}
        self._reasons: tuple[str, ...] = ()
        self._carried: tuple[tuple[float, NDArray[np.float64]], ...] = ()
        self.reset()

    def spec_for(self, input_spec: StreamSpec) -> StreamSpec:
        """The stream that `process` makes of `input_spec`.

        Raises:
            InvalidSignal: Not a thermal stream in degrees Celsius, or not of the mapping's proportions.
        """
        if self.mapping is not None and input_spec.frame is not None:
            size = (input_spec.frame.width, input_spec.frame.height)
            self.mapping = self.mapping.for_sizes(self.mapping.camera_size, size)
        return skin_spec(input_spec, self.mapping)

    def carry_over(
        self, points_px: NDArray[np.floating[Any]], time_s: float, picture_size: tuple[int, int]
    ) -> None:
        """Take the face as the visible camera saw it, for when it is not found in the thermal picture.

        May be called from another thread than `process`. A thermal frame uses the newest face of
        `ThermalSettings.carry_lag_s` before it, or older: by then a visible frame has been measured, so that
        the result depends on the stamps alone.

        Args:
            points_px: The face mesh [478, 2 or 3] in pixels of the visible picture.
            time_s: Stamp of that picture.
            picture_size: Its width and height.

        Raises:
            InvalidSignal: The mapping was made with a camera of other proportions.
        """
        if self.mapping is None or (self._carried and time_s <= self._carried[-1][0]):
            return
        mapping = self.mapping.for_sizes(picture_size, self.mapping.thermal_size)
        # One assignment: the other thread sees the old faces or the new ones.
        self._carried = (*self._carried[-31:], (time_s, mapping.to_thermal(points_px)))

    def _carried_px(self, time_s: float) -> NDArray[np.float64] | None:
        newest_s = time_s - self.settings.carry_lag_s
        oldest_s = newest_s - self.settings.carry_max_age_s
        faces = (face for stamp_s, face in reversed(self._carried) if oldest_s <= stamp_s <= newest_s)
        return next(faces, None)

    def reset(self) -> None:
        """Forget face, baseline and camera state, as for a new stream."""
        settings = self.settings
        count = len(REGIONS)
        self._tracker.reset()
        self._pixels: PixelCheck | None = None
        self._shutter = ShutterWatch(settings.hold_off_s)
        self._warm_up = WarmUpWatch()
        self._reader = RegionReader()
        self._slopes = SlopeWindow(settings.slope_window_s, count)
        self._baseline = Baseline(self._rest, settings.baseline_s, count)
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=5)
        self._carry = ""
        self._step_variance = 0.0
        self._frames = 0
        self._waited_since_s = float("nan")
        self._is_settled = False
        self._told_of_drift = False
        self._expected: int | None = None
        self._expected_number = -1
        self._last_s = -np.inf
        self._last_shutter = Shutter.OPEN
        self._last_faults = ""
        self._had_face = False
        self._events: list[ThermalEvent] = []
        self._carried = ()
        self._motion = ThermalMotion()
        self._movements: list[Movement] = []
        self._counts = Counter[Reason]()

    def process(self, block: Block) -> Block:
        """One row per frame; `reasons` then tells why values are missing.

        Raises:
            InvalidSignal: See `spec_for`.
        """
        if self._output is None or block.spec != self._input:
            if self._input is not None:
                self.reset()
            self._input, self._output = block.spec, self.spec_for(block.spec)
            self._columns = {label: i for i, label in enumerate(self._output.labels)}
        frame_format = block.spec.frame
        assert frame_format is not None
        shape = (frame_format.height, frame_format.width)
        pixel_count = block.spec.pixel_count
        labels = block.spec.labels
        numbers = block.column("frame_number") if "frame_number" in labels else None
        flags = block.column("ffc") if "ffc" in labels else None
        rows = np.full((len(block), self._output.channel_count), np.nan, dtype=np.float32)
        reasons = []
        lost = self._continues(block)
        for i, time_s in enumerate(block.timestamps.tolist()):
            frame = block.array[i, :pixel_count].reshape(shape)
            lost = lost or self._number_jumps(None if numbers is None else int(numbers[i]))
            flagged = bool(flags is not None and flags[i] > 0)
            row = _Row(rows[i])
            self._frame(row, frame, time_s, flagged, lost)
            reasons.append(row.text)
            lost = False
        self._reasons = tuple(reasons)
        return Block(self._output, block.timestamps, rows, block.first)

    def reasons(self) -> tuple[str, ...]:
        """For each row of the last block why values are missing or doubtful; empty when they are not."""
        return self._reasons

    def events(self) -> tuple[ThermalEvent, ...]:
        """What happened to the signal since the last call: FFC, face found or lost, dead pixels, baseline."""
        events, self._events = tuple(self._events), []
        return events

    def take_movements(self) -> tuple[Movement, ...]:
        """Brief movements of the skin since the last call; none from a camera below 25 Hz."""
        movements, self._movements = tuple(self._movements), []
        return movements

    def quality_words(self) -> str:
        """What spoke against the signal so far, in words an assistant can act on; empty without a frame."""
        return quality_words(self._counts, self._frames, self.faults)

    @property
    def faults(self) -> PixelFaults:
        """Dead pixels, rows and columns of the camera as known so far."""
        return self._pixels.faults if self._pixels is not None else PixelFaults((), (), (), 0.0)

    @property
    def landmarks_px(self) -> NDArray[np.float64] | None:
        """The face mesh [478, 2] registered to the last frame, for a display; None without a face."""
        return self._tracker.landmarks_px

    # -- one frame -----------------------------------------------------------------------------------------

    def _frame(self, row: _Row, frame: NDArray[np.int16], time_s: float, flagged: bool, lost: bool) -> None:
        if self._pixels is None or self._pixels.valid.shape != frame.shape:
            self._pixels = PixelCheck(*frame.shape)
        self._frames += 1
        self._last_s = time_s
        if lost:
            self._slopes.clear()
            self._motion.reset()
        shutter = self._shutter.update(time_s, flagged, frame, lost)
        self._put(row, "ffc", 1.0 if shutter is Shutter.CLOSED else 0.0)
        if self._frames <= self.settings.start_up_frames:
            self._finish(row, Reason.START_UP, "the first frames of a camera are stale")
            return
        if self._shut(row, shutter, time_s):
            return
        celsius = self._pixels.clean(frame)
        self._report_faults(time_s)
        if self._pixels.valid.mean() < self.settings.min_valid:
            self._finish(row, Reason.IMPLAUSIBLE, "most of the picture carries no temperature")
            return
        drift = self._warm_up.update(time_s, celsius)
        self._put(row, "camera_drift_celsius_per_s", drift)
        settled = self._settled(time_s, drift)
        registration = self._tracker.follow(celsius, time_s, self._carried_px(time_s))
        self._put(row, "registration_correlation", self._tracker.correlation)
        if registration is None:
            self._motion.reset()
            self._without_face(row, time_s)
            return
        self._watch_motion(registration, time_s)
        self._measure(row, celsius, registration, time_s, settled)

    def _shut(self, row: _Row, shutter: Shutter, time_s: float) -> bool:
        """Handle a closed shutter and the time after it; True when the frame is not used."""
        if shutter is Shutter.OPEN:
            self._last_shutter = shutter
            return False
        if shutter is Shutter.CLOSED and self._last_shutter is not Shutter.CLOSED:
            self._events.append(ThermalEvent(time_s, "ffc", "the camera closed its shutter to calibrate"))
            self._carry = "ffc"
            self._step_variance += self.settings.ffc_residual_celsius**2
            self._slopes.clear()
            self._motion.reset()
            self._warm_up.restart()
            self._baseline.interrupt(time_s)
        self._last_shutter = shutter
        if shutter is Shutter.CLOSED:
            self._finish(row, Reason.SHUTTER, "the camera calibrates itself (FFC)")
        else:
            self._finish(row, Reason.HOLD_OFF, "the camera settles after calibrating itself (FFC)")
        return True

    def _settled(self, time_s: float, drift: float) -> bool:
        if np.isnan(self._waited_since_s):
            self._waited_since_s = time_s
        if time_s - self._waited_since_s > self.settings.max_wait_s:
            return True
        if not np.isnan(drift):
            self._is_settled = bool(abs(drift) <= self.settings.max_drift_celsius_per_s)
            self._counts[Reason.WARMING_UP] += not self._is_settled
            if self._is_settled is self._told_of_drift:
                self._told_of_drift = not self._is_settled
                kind, text = ("settled", "the camera has settled") if self._is_settled else WARMING_UP
                self._events.append(ThermalEvent(time_s, kind, f"{text} ({drift:+.2f} degC/s)"))
        return self._is_settled

    def _without_face(self, row: _Row, time_s: float) -> None:
        self._slopes.clear()
        self._baseline.interrupt(time_s)
        if self._had_face:
            self._events.append(ThermalEvent(time_s, "face lost", "the face turned away or left the picture"))
        if self._tracker.has_keyframe:
            correlation = self._tracker.correlation
            text = f"the face turned away or left the picture (correlation {correlation:.2f})"
            self._finish(row, Reason.FACE_LOST, text)
        else:
            self._finish(row, Reason.NO_FACE, "no frontal face found in the thermal picture")
        self._had_face = False

    def _measure(
        self,
        row: _Row,
        celsius: NDArray[np.float32],
        registration: Registration,
        time_s: float,
        settled: bool,
    ) -> None:
        assert self._pixels is not None
        reader, keyframe = self._reader, registration.keyframe
        reader.read(
            celsius,
            self._pixels.valid,
            keyframe.samples,
            keyframe.depths_px,
            registration.placement,
            registration.shifts_px,
        )
        trusted = np.where(reader.valid >= self.settings.min_valid, reader.mean, np.nan)
        if not self._had_face:
            self._had_face = True
            self._events.append(ThermalEvent(time_s, "face found", "the face is tracked"))
        if registration.renewed:
            self._slopes.clear()
            if self._recent:
                self._carry = "keyframe"
        if self._carry:
            self._carry_over(trusted)
        self._recent.append(trusted)
        signal = trusted - trusted[REFERENCE]
        signal[REFERENCE] = trusted[REFERENCE]
        self._baseline.push(time_s, signal, settled)
        self._slopes.push(time_s, signal)
        delta = signal - self._baseline.level if self._baseline.ready else np.full(len(REGIONS), np.nan)
        delta_se = self._delta_se(registration, delta)
        doubtful = delta_se > self.settings.max_delta_se_celsius
        delta = np.where(doubtful, np.nan, delta)
        self._put_regions(row, trusted, delta, delta_se)
        residual_px = math.hypot(registration.residual_px, self._mapping_px(registration))
        self._put(row, "registration_residual_px", residual_px)
        self._put(row, "carried_over", float(registration.carried))
        self._put_arousal(row, delta, delta_se)
        faulty = [name for name, value in zip(REGIONS, trusted, strict=True) if np.isnan(value)]
        if faulty:
            row.faults.append(f"covered (glasses, hair), dead or out of the picture: {', '.join(faulty)}")
        doubted = [name for name, doubt in zip(REGIONS, doubtful & ~np.isnan(trusted), strict=True) if doubt]
        if doubted:
            row.faults.append(f"too uncertain (a turned head, glasses): {', '.join(doubted)}")
        if not settled:
            self._finish(row, Reason.WARMING_UP, WARMING_UP[1])
        elif not self._baseline.ready:
            self._finish(row, Reason.NO_BASELINE, "the baseline is not there yet")
        else:
            self._finish(row, Reason.NONE, "")

    def _watch_motion(self, registration: Registration, time_s: float) -> None:
        if registration.renewed:
            self._motion.reset()
        eyes = registration.keyframe.landmarks_px[list(OUTER_EYE_CORNERS)]
        self._movements += self._motion.update(
            time_s, registration.shifts_px, float(np.hypot(*(eyes[1] - eyes[0]))), registration.correlation
        )

    def _carry_over(self, trusted: NDArray[np.float64]) -> None:
        """Keep deltas continuous over a step that is the camera's (FFC) or the keyframe's, not the skin's."""
        before = column_means(self._recent)
        step = trusted - before
        if self._carry == "ffc":
            # One offset for the whole picture: it cancels in all differences to the forehead.
            known = step[np.isfinite(step)]
            offset = np.zeros(len(REGIONS))
            offset[REFERENCE] = float(np.median(known)) if known.size else 0.0
        else:
            offset = step - step[REFERENCE]
            offset[REFERENCE] = step[REFERENCE]
        self._baseline.shift(offset)
        self._recent.clear()
        self._carry = ""

    def _delta_se(self, registration: Registration, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Noise, registration, the region's place, error of the baseline, steps carried over."""
        keyframe = registration.keyframe
        moved_px = math.hypot(
            _REGISTRATION_SHARE * registration.residual_px,
            registration.turned_px,
            self._mapping_px(registration),
        )
        variance = (keyframe.steepness * moved_px) ** 2
        variance += np.where(_IS_REFERENCE, 0.0, variance[REFERENCE])
        for error in (self._slopes.scatter, self._baseline.level_se):
            variance += np.where(np.isnan(error), 0.0, error**2)
        variance += misread_variance(delta, keyframe.misread)
        return np.asarray(np.sqrt(variance + self._step_variance))

    def _mapping_px(self, registration: Registration) -> float:
        """Residual of the mapping where the regions were placed by it alone."""
        placed = registration.carried and registration.renewed and self.mapping is not None
        return self.mapping.residual_px if placed and self.mapping else 0.0

    # -- output --------------------------------------------------------------------------------------------

    def _put(self, row: _Row, label: str, value: float) -> None:
        row.values[self._columns[label]] = value

    def _put_regions(
        self,
        row: _Row,
        trusted: NDArray[np.float64],
        delta: NDArray[np.float64],
        delta_se: NDArray[np.float64],
    ) -> None:
        reader, slopes = self._reader, self._slopes
        good = np.isfinite(trusted)
        minus = trusted - trusted[REFERENCE]
        features = (trusted, delta, np.where(good, slopes.slope, np.nan), minus, reader.valid)
        first = len(REGIONS) * len(FEATURES)
        row.values[:first] = np.column_stack(features).ravel()
        extras = (reader.p10, reader.p90, delta_se, slopes.slope_se)
        start = first + len(COMMON)
        table = np.where(good[:, None], np.column_stack(extras), np.nan)
        table[:, 2] = np.where(np.isfinite(delta), table[:, 2], np.nan)
        row.values[start : start + table.size] = table.ravel()
        for pair in ("cheek", "periorbital"):
            left, right = REGIONS.index(f"{pair}_left"), REGIONS.index(f"{pair}_right")
            self._put(row, f"{pair}_left_minus_right_celsius", trusted[left] - trusted[right])

    def _put_arousal(self, row: _Row, delta: NDArray[np.float64], delta_se: NDArray[np.float64]) -> None:
        """Cooling of the nose tip, led by its slope: skin answers its blood supply with a lag."""
        nose = REGIONS.index("nose_tip")
        lag_s, scale = self.settings.arousal_lag_s, self.settings.arousal_celsius
        supply = delta[nose] + lag_s * self._slopes.slope[nose]
        self._put(row, "arousal", -supply / scale)
        if np.isfinite(supply):
            self._put(
                row, "arousal_se", np.hypot(delta_se[nose], lag_s * self._slopes.slope_se[nose]) / scale
            )

    def _finish(self, row: _Row, reason: Reason, text: str) -> None:
        row.reason = reason
        # Warming up goes unsaid in the row of a frame that has a worse fault: `_settled` counts it.
        self._counts[reason] += reason is not Reason.WARMING_UP
        row.text = "; ".join([text, *row.faults] if text else row.faults)
        self._put(row, "reason", float(reason))

    # -- continuity ----------------------------------------------------------------------------------------

    def _continues(self, block: Block) -> bool:
        """Whether frames were lost before the block; starts anew where the stream does."""
        expected, self._expected = self._expected, block.end
        if not len(block):
            # An empty block says nothing of where the stream is.
            self._expected = expected
            return False
        if expected is None:
            return False
        start_s = float(block.timestamps[0])
        if block.first < expected or not 0 < start_s - self._last_s < self.settings.forget_s:
            self.reset()
            self._expected = block.end
            return False
        return block.first > expected

    def _number_jumps(self, number: int | None) -> bool:
        if number is None:
            return False
        jumps = self._expected_number >= 0 and number != self._expected_number
        self._expected_number = (number + 1) % 32768
        return jumps

    def _report_faults(self, time_s: float) -> None:
        assert self._pixels is not None
        if self._frames % 10:
            return
        text = str(self._pixels.faults)
        if text != (self._last_faults or str(PixelFaults((), (), (), 0.0))):
            self._events.append(ThermalEvent(time_s, "pixels", text))
        self._last_faults = text
