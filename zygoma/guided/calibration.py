"""What is kept of the rest and the poses of a guided session, and the calibration that is made of it.

The raw signals are measured again, with the person's own neutral and rest known, instead of trusting what the
live processors said before they knew the person. Pictures stay in memory and are dropped afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from acquisition.stream import Block, InvalidSignal, Kind, StreamSpec
from fusion.valence_weights import Span, ValenceWeights
from processing.camera import CameraChain
from processing.emg import Baseline, MuscleActivity
from processing.emg_quality import spoken_name
from processing.neutral import Neutral
from zygoma.calibration import Calibration
from zygoma.guided.steps import Muscle
from zygoma.muscle_calibration import Contraction, MuscleCalibration, measure_mvc

PICTURE_RATE_HZ = 5.0
"""Pictures kept: plenty for a median and a held pose."""

PICTURES_KEPT = 2000
EMG_KEPT_S = 900.0
"""A calibration longer than this begins to forget its start."""

LEAST_FACE_SHARE = 0.9
LARGEST_HEAD_SPREAD_DEG = 4.0
LARGEST_EXPRESSION = 0.35
LARGEST_ACTIVE_SHARE = 0.1
"""Of a rest: more is no rest. The head's spread is that of the middle 80 % of its angles."""

ACTIVE_RATIO = 3.0
"""A muscle is active where its envelope is this many times that of the quiet quarter."""

_LOOKED_AT = {"AU12": "a smile", "AU4": "a frown", "AU1": "raised brows", "AU26": "an open mouth"}


@dataclass
class Collected:
    """The streams of a calibration, in order of arrival.

    Attributes:
        emg: Raw blocks of the EMG stream.
        pictures: Camera blocks of one frame each, thinned to `PICTURE_RATE_HZ`.
        rows: Derived ActionUnits and MuscleActivity blocks.
    """

    emg: list[Block] = field(default_factory=list)
    pictures: list[Block] = field(default_factory=list)
    rows: list[Block] = field(default_factory=list)


class Collector:
    """Keeps what a calibration needs while it is switched on; an `Onlooker` of the engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: Collected | None = None

    def start(self) -> None:
        """Keep from now on, with nothing of before."""
        with self._lock:
            self._kept = Collected()

    def stop(self) -> None:
        """Keep nothing any more and forget the pictures."""
        with self._lock:
            self._kept = None

    def collected(self) -> Collected:
        """What there is so far."""
        with self._lock:
            kept = self._kept or Collected()
            return Collected(list(kept.emg), list(kept.pictures), list(kept.rows))

    def block(self, block: Block) -> None:
        """See `Onlooker.block`."""
        with self._lock:
            kept = self._kept
            if kept is None or not len(block):
                return
            kind = block.spec.kind
            if kind is Kind.EMG:
                kept.emg.append(block)
                if block.timestamps[-1] - kept.emg[0].timestamps[0] > EMG_KEPT_S:
                    del kept.emg[0]
            elif kind is Kind.CAMERA:
                self._thin(kept.pictures, block)
            elif kind in (Kind.ACTION_UNITS, Kind.MUSCLE_ACTIVITY):
                kept.rows.append(block)

    def face(self, kind: Kind, stamp_s: float, points_px: NDArray[np.floating] | None) -> None:
        """See `Onlooker.face`: the rows of action units say it all."""

    def event(self, event: object) -> None:
        """See `Onlooker.event`: nothing of it is needed."""

    @staticmethod
    def _thin(pictures: list[Block], block: Block) -> None:
        for index in range(len(block)):
            frame = block[index : index + 1]
            # Half a frame of a 60 Hz camera: stamps tremble.
            due_s = pictures[-1].timestamps[0] + 1.0 / PICTURE_RATE_HZ - 0.008 if pictures else -np.inf
            if frame.timestamps[0] >= due_s:
                pictures.append(frame)
        del pictures[:-PICTURES_KEPT]


# -- rest ------------------------------------------------------------------------------------------------


def judge_rest(rows: Sequence[Block], rest: Span, kinds: Sequence[Kind]) -> tuple[list[str], list[str]]:
    """Whether a stretch was rest, by the live measurements.

    Args:
        rows: ActionUnits and MuscleActivity blocks.
        rest: Start and end, seconds of the stamps.
        kinds: Of Camera and EMG, those the session needs.

    Returns:
        Problems, one sentence each (none: it was rest), and what was found.
    """
    problems: list[str] = []
    findings: list[str] = []
    for kind, derived, judge in (
        (Kind.CAMERA, Kind.ACTION_UNITS, _judge_face),
        (Kind.EMG, Kind.MUSCLE_ACTIVITY, _judge_muscles),
    ):
        if kind not in kinds:
            continue
        spec, table = _table(rows, derived, rest)
        if spec is None:
            problems.append(f"The {kind} stream brought nothing in the rest: check the device.")
            continue
        judge(spec, table, problems, findings)
    return problems, findings


def _table(rows: Sequence[Block], kind: Kind, span: Span) -> tuple[StreamSpec | None, NDArray[np.float64]]:
    found = [block for block in rows if block.spec.kind is kind]
    if not found:
        return None, np.empty((0, 0))
    stamps = np.concatenate([block.timestamps for block in found])
    table = np.concatenate([block.array for block in found]).astype(np.float64)
    table = table[(stamps >= span[0]) & (stamps <= span[1])]
    return (found[0].spec if len(table) else None), table


def _judge_face(
    spec: StreamSpec, table: NDArray[np.float64], problems: list[str], findings: list[str]
) -> None:
    face = table[:, spec.labels.index("face")] > 0.5
    share = float(face.mean())
    findings.append(f"Face in {share:.0%} of {len(table)} frames.")
    if share < LEAST_FACE_SHARE:
        problems.append(f"The face was found in {share:.0%} of the frames only: sit upright, add light.")
    if not face.any():
        return
    seen = table[face]
    for angle in ("yaw_deg", "pitch_deg"):
        low, high = np.nanpercentile(seen[:, spec.labels.index(angle)], (10, 90))
        if high - low > LARGEST_HEAD_SPREAD_DEG:
            problems.append(f"The head turned by {high - low:.0f} degrees: ask to keep it still.")
            break
    for label, words in _LOOKED_AT.items():
        values = seen[:, spec.labels.index(label)]
        if np.nanpercentile(values, 90) - np.nanmedian(values) > LARGEST_EXPRESSION:
            problems.append(f"There was {words} in the rest: ask for a relaxed face.")


def _judge_muscles(
    spec: StreamSpec, table: NDArray[np.float64], problems: list[str], findings: list[str]
) -> None:
    for label in spec.labels:
        if not label.endswith("_envelope_uv"):
            continue
        channel = label.removesuffix("_envelope_uv")
        name = spoken_name(channel)
        quality = table[:, spec.labels.index(f"{channel}_quality")]
        envelope_uv = table[:, spec.labels.index(f"{channel}_envelope_uv")]
        level_uv = float(np.nanmedian(envelope_uv))
        # Against the rest's own quiet moments: the live baseline may not know the person yet.
        active = float(np.mean(envelope_uv > ACTIVE_RATIO * np.nanpercentile(envelope_uv, 25)))
        findings.append(f"{name}: {level_uv:.1f} µV at rest.")
        if active > LARGEST_ACTIVE_SHARE:
            problems.append(f"The {name} was active for {active:.0%} of the rest: ask for a relaxed face.")
        if np.nanmean(quality > 0.0) < LEAST_FACE_SHARE:
            problems.append(f"The {name} gave no usable signal for a part of the rest: check its electrode.")


# -- maximum ---------------------------------------------------------------------------------------------


def measure_maximum(
    emg: Sequence[Block], attempts: dict[Muscle, Sequence[Span]], rest: Span | None
) -> MuscleCalibration:
    """Rest and maximum of the channels of the muscles posed so far.

    Args:
        emg: Raw blocks from the rest on.
        attempts: When each muscle was posed.
        rest: None when there was none.

    Raises:
        InvalidSignal: No EMG, or no channel over a muscle that was posed.
    """
    if not emg:
        raise InvalidSignal("There is no EMG to measure from: check that the EMG stream runs.")
    labels = emg[0].spec.labels
    contractions = []
    for muscle, spans in attempts.items():
        channels = tuple(label for label in labels if label.startswith(muscle))
        if not channels:
            raise InvalidSignal(
                f"No EMG channel lies over {muscle}; the stream has {', '.join(labels)}: name them with "
                "--channel."
            )
        contractions += [Contraction(channels, start_s, end_s) for start_s, end_s in spans]
    return measure_mvc(emg, contractions, rest=rest)


def best_attempt(maxima: MuscleCalibration, muscle: Muscle, spans: Sequence[Span]) -> Span | None:
    """The attempt in which the muscle's channels reached most on average; None without any."""
    attempts = [m.attempts_uv for label, m in maxima.maxima.items() if label.startswith(muscle)]
    if not attempts or not spans:
        return None
    # Of redone attempts all were measured; they are in order.
    means = np.nan_to_num(np.array(attempts), nan=-1.0).mean(axis=0)
    return spans[int(np.argmax(means))]


# -- the whole -------------------------------------------------------------------------------------------


def measure(
    collected: Collected,
    rest: Span | None,
    attempts: dict[Muscle, Sequence[Span]],
    chain: Callable[..., CameraChain] = CameraChain,
) -> Calibration:
    """The calibration of a person from the rest and the poses.

    Args:
        collected: Streams from the rest on.
        rest: When the face rested; None when that was left out, and then nothing can be measured.
        attempts: When each muscle was posed; a muscle that was not may be missing.
        chain: Makes the camera processor.

    Raises:
        InvalidSignal: There was no rest, or no face or EMG in it.
    """
    if rest is None:
        raise InvalidSignal("There was no rest baseline: redo it, or go on without a calibration.")
    baselines: dict[str, Baseline] = {}
    poses: dict[Muscle, Span | None] = {}
    rows: list[Block] = []
    if collected.emg:
        muscles = measure_maximum(collected.emg, attempts, rest)
        baselines = dict(muscles.baselines)
        activity = MuscleActivity(calibration=baselines)
        rows += [activity.process(block) for block in collected.emg]
        poses = {muscle: best_attempt(muscles, muscle, spans) for muscle, spans in attempts.items()}
    neutral = None
    if collected.pictures:
        neutral = measure_neutral(collected.pictures, rest, chain)
        rows += _action_units(collected.pictures, neutral, chain)
    if neutral is None and not baselines:
        raise InvalidSignal("Neither camera nor EMG brought anything in the rest: check the devices.")
    weights = ValenceWeights.fit(rows, rest=rest, smile=poses.get("ZYG"), frown=poses.get("COR"))
    return Calibration(neutral, baselines, weights, rest)


def measure_neutral(pictures: Sequence[Block], rest: Span, chain: Callable[..., CameraChain]) -> Neutral:
    """The face at rest.

    Raises:
        InvalidSignal: No face in the pictures of the rest.
    """
    inside = [block for block in pictures if rest[0] <= block.timestamps[0] <= rest[1]]
    if len(inside) < 3:
        raise InvalidSignal("There are hardly any pictures of the rest: check the camera and redo it.")
    # The frame after the rest's end is what closes it.
    until_s = float((inside[-2].timestamps[0] + inside[-1].timestamps[0]) / 2)
    with chain(rest=(rest[0], until_s)) as camera:
        seen = 0
        for block in _counted(inside):
            seen += int(camera.find_faces(block).action_units.column("face")[0] > 0.5)
        neutral = camera.neutral
    if neutral is None or seen < LEAST_FACE_SHARE * len(inside) / 2:
        raise InvalidSignal(
            f"A face was found in {seen} of {len(inside)} pictures of the rest: add light and redo it."
        )
    return neutral


def _action_units(
    pictures: Sequence[Block], neutral: Neutral, chain: Callable[..., CameraChain]
) -> list[Block]:
    with chain(neutral=neutral) as camera:
        return [camera.find_faces(block).action_units for block in _counted(pictures)]


def _counted(pictures: Sequence[Block]) -> list[Block]:
    """The pictures numbered through: those left out on purpose are no gap."""
    return [Block(block.spec, block.timestamps, block.data, number) for number, block in enumerate(pictures)]
