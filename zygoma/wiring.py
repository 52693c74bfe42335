"""The wiring wizard: a person makes faces, and which EMG channel is which muscle and side comes out.

Each pose is compared with the rest just before it. A channel belongs to the muscle whose pose lifts it most
and to the side whose one-sided pose lifts it more; all channels are assigned together, so that no muscle is
given twice (linear assignment). What moves with nothing is dead or not on a face.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.markup import escape
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from acquisition.clock import lsl_clock
from acquisition.inlet import LslInlet
from acquisition.network import configure, resolve
from acquisition.stream import Block, InvalidSignal, Kind, Source, StreamSpec
from hardware.brainflow_board import TIMING_RATE_HZ, BrainFlowBoard, channel_count
from processing.emg import MuscleActivity
from processing.emg_quality import spoken_name
from zygoma.channel_names import channel_numbers
from zygoma.options import console, print_json

ANSWER_DB = 8.0
"""A channel that no pose lifts this far above rest is not on a muscle that was asked for."""

SURE_DB = 3.0
"""Contrast between muscles, or sides, below which the answer is a guess and said to be one."""

READY_S = 1.5
"""Time to read an instruction and follow it, before the pose counts."""

_LONGEST_SILENCE_S = 3.0


@dataclass(frozen=True)
class Pose:
    """One thing the person is asked to do.

    Attributes:
        key: Short name in results.
        instruction: What to say.
        labels: Channels that it should lift; empty for rest.
        seconds: How long it is held and measured.
    """

    key: str
    instruction: str
    labels: tuple[str, ...]
    seconds: float = 3.0


POSES = (
    Pose("rest", "Relax your face and look straight ahead.", (), 4.0),
    Pose("smile", "Smile broadly, and hold.", ("ZYG_L", "ZYG_R")),
    Pose("frown", "Relax ... now frown: draw your eyebrows together, and hold.", ("COR_L", "COR_R")),
    Pose("left corner", "Relax ... now raise only the LEFT corner of your mouth.", ("ZYG_L",)),
    Pose("right corner", "Relax ... now raise only the RIGHT corner of your mouth.", ("ZYG_R",)),
    Pose("left eye", "Relax ... now squeeze only your LEFT eye shut.", ("COR_L",)),
    Pose("right eye", "Relax ... now squeeze only your RIGHT eye shut.", ("COR_R",)),
)
"""Left and right are the person's own. One-sided frowns are beyond most people, squeezing an eye is not."""

LABELS = ("ZYG_L", "ZYG_R", "COR_L", "COR_R")


@dataclass(frozen=True)
class ChannelWiring:
    """What one channel turned out to be.

    Attributes:
        name: Its label in the stream.
        number: Its number on the board, or in the stream where that is not known, counted from 0.
        label: muscle_side that was found; empty when there is none.
        lift_db: By pose, level over rest, decibels (NaN where the signal was not usable).
        contrast_db: How clear muscle and side are: the weaker of the two contrasts; NaN without a label.
        problem: What to do about it, in a sentence; empty when all is well.
    """

    name: str
    number: int
    label: str
    lift_db: Mapping[str, float]
    contrast_db: float
    problem: str = ""


@dataclass(frozen=True)
class Wiring:
    """What all channels turned out to be.

    Attributes:
        channels: In the order of the stream.
        by_number: Channels are told to the program by number (a board) rather than by name (a file).
    """

    channels: tuple[ChannelWiring, ...]
    by_number: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """Muscles that no channel was found on."""
        found = {channel.label for channel in self.channels}
        return tuple(label for label in LABELS if label not in found)

    @property
    def swapped(self) -> tuple[tuple[str, str], ...]:
        """Pairs (name in the stream, muscle it is on) where the name says another muscle or side."""
        return tuple(
            (channel.name, channel.label)
            for channel in self.channels
            if channel.label and channel.name in LABELS and channel.name != channel.label
        )

    @property
    def good(self) -> bool:
        """Muscles were found, clearly, and every channel named after one is on it."""
        named = [channel for channel in self.channels if channel.label or channel.name in LABELS]
        return bool(named) and not any(channel.problem for channel in named)

    @property
    def options(self) -> tuple[str, ...]:
        """Options that set the names right, wherever ``--channel`` is taken."""
        return tuple(
            f"--channel {channel.number if self.by_number else channel.name}={channel.label}"
            for channel in self.channels
            if channel.label
        )


def find_wiring(spec: StreamSpec, recorded: Sequence[tuple[Pose, Sequence[Block]]]) -> Wiring:
    """Which channel is which, from the EMG of each pose.

    Args:
        spec: The EMG stream.
        recorded: Poses, the rest first, each with the blocks that came while it was asked for and held.
            Everything but the last `Pose.seconds` of a stretch is time to react.

    Raises:
        InvalidSignal: There was no rest, or nothing usable in it.
    """
    lifts = _lifts(spec, recorded)
    poses = [pose for pose, _ in recorded if pose.labels]
    # Score of giving a channel a label: what its poses lift above what the others do.
    scores = np.zeros((len(spec.channels), len(LABELS)))
    for c, name in enumerate(spec.labels):
        for k, label in enumerate(LABELS):
            scores[c, k] = sum(_contrasts(lifts[name], label, poses))
    dead = np.array([max(_usable(lifts[name].values()), default=0.0) < ANSWER_DB for name in spec.labels])
    scores[dead] = -1000.0
    rows, columns = linear_sum_assignment(-scores)
    given = {int(c): LABELS[k] for c, k in zip(rows, columns, strict=True) if not dead[c]}
    numbers = channel_numbers(spec)
    channels = []
    for c, name in enumerate(spec.labels):
        label = given.get(c, "")
        contrast_db = min(_contrasts(lifts[name], label, poses)) if label else math.nan
        if label and contrast_db < -SURE_DB:
            label, contrast_db = "", math.nan
        channels.append(
            ChannelWiring(
                name=name,
                number=numbers[c],
                label=label,
                lift_db=lifts[name],
                contrast_db=contrast_db,
                problem=_problem(name, label, contrast_db, lifts[name]),
            )
        )
    return Wiring(tuple(channels), by_number="channel_numbers" in spec.metadata)


def _lifts(spec: StreamSpec, recorded: Sequence[tuple[Pose, Sequence[Block]]]) -> dict[str, dict[str, float]]:
    """Level over rest in decibels, by channel and pose."""
    activity = MuscleActivity()
    levels: dict[str, dict[str, float]] = {label: {} for label in spec.labels}
    for pose, blocks in recorded:
        rows = [activity.process(block) for block in blocks]
        stamps = np.concatenate([row.timestamps for row in rows]) if rows else np.empty(0)
        held = stamps > stamps[-1] - pose.seconds if len(stamps) else np.zeros(0, dtype=bool)
        for label in spec.labels:
            level = math.nan
            if held.any():
                envelope_uv = np.concatenate([row.column(f"{label}_slow_uv") for row in rows])[held]
                # A pose is rarely held from end to end: its better part counts. Rest is what most of it is.
                level = float(np.quantile(envelope_uv, 0.75 if pose.labels else 0.5))
            levels[label][pose.key] = level
    rests = [pose.key for pose, _ in recorded if not pose.labels]
    if not rests or not any(_usable(level[rests[0]] for level in levels.values())):
        raise InvalidSignal("No EMG came while the face was at rest: check that the EMG stream runs.")
    return {
        label: {
            pose.key: 20 * math.log10(level[pose.key] / level[rests[0]])
            if level[pose.key] > 0 and level[rests[0]] > 0
            else math.nan
            for pose, _ in recorded
            if pose.labels
        }
        for label, level in levels.items()
    }


def _contrasts(lift_db: Mapping[str, float], label: str, poses: Sequence[Pose]) -> tuple[float, float]:
    """How much better `label` fits than another muscle, and than the other side, decibels.

    Compared are the two-sided poses of this muscle and of the others, and its two one-sided poses.
    """
    muscle = label.partition("_")[0]

    def best(wanted: Callable[[Pose], bool]) -> float:
        return max(_usable(lift_db.get(pose.key, math.nan) for pose in poses if wanted(pose)), default=0.0)

    def of(pose: Pose, prefix: str) -> bool:
        return all(name.startswith(prefix) for name in pose.labels)

    mine = best(lambda pose: len(pose.labels) > 1 and of(pose, muscle))
    others = best(lambda pose: len(pose.labels) > 1 and not of(pose, muscle))
    this_side = best(lambda pose: pose.labels == (label,))
    other_side = best(lambda pose: len(pose.labels) == 1 and of(pose, muscle) and pose.labels != (label,))
    return mine - others, this_side - other_side


def _usable(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _problem(name: str, label: str, contrast_db: float, lift_db: Mapping[str, float]) -> str:
    spoken = spoken_name(name)
    if not label:
        strongest = max(_usable(lift_db.values()), default=0.0)
        if strongest < ANSWER_DB:
            return f"{spoken} answers to no pose: check its electrodes, or leave this channel out"
        return f"{spoken} answers to poses of muscles that other channels show better: leave it out"
    if name in LABELS and name != label:
        return f"{spoken} is on the {spoken_name(label)}: swap the leads, or use the options below"
    if contrast_db < SURE_DB:
        return f"{spoken} answers to both muscles or sides alike: move its electrodes apart, or pose again"
    return ""


# ---------------------------------------------------------------------------------------------- terminal


def record_pose(source: Source, pose: Pose) -> list[Block]:
    """Read `source` for as long as a pose takes, by the stamps of its samples.

    Raises:
        InvalidSignal: Nothing came for 3 s.
    """
    blocks: list[Block] = []
    start_s = math.nan
    silent_s = 0.0
    while True:
        block = source.read(0.2)
        if not len(block):
            silent_s += 0.2
            if silent_s >= _LONGEST_SILENCE_S:
                raise InvalidSignal(
                    f"{source.spec.name} sends nothing: check that the device runs, then start again."
                )
            continue
        silent_s = 0.0
        blocks.append(block)
        if math.isnan(start_s):
            start_s = float(block.timestamps[0])
        if block.timestamps[-1] - start_s >= READY_S + pose.seconds:
            return blocks


def pose_and_find(
    source: Source, say: Callable[[str], None], poses: Sequence[Pose] = POSES
) -> tuple[Wiring, dict[str, str]]:
    """Lead a person through the poses; returns what was found and the quality of each channel in words.

    Args:
        source: The opened EMG stream.
        say: Gives an instruction.
        poses: What to ask for, the rest first.
    """
    recorded = []
    quality = MuscleActivity()
    for pose in poses:
        say(pose.instruction)
        blocks = record_pose(source, pose)
        for block in blocks:
            quality.process(block)
        recorded.append((pose, blocks))
    return find_wiring(source.spec, recorded), quality.quality_words()


def stream_source(name: str | None, *, lan: bool) -> Source:
    """The EMG stream on the network.

    Raises:
        DeviceNotFound: There is none.
    """
    configure(lan)
    return LslInlet(resolve(Kind.EMG, name=name, timeout_s=5.0)[0])


def board_source(device: str, parameters: Mapping[str, str]) -> Source:
    """A BrainFlow board with all its EMG channels, each under its number, so that none is left out unseen.

    Raises:
        DeviceNotFound, InvalidSignal: There is no such board, or it has no EMG.
    """
    every = {f"channel {index}": index for index in range(channel_count(device, parameters))}
    return BrainFlowBoard(device, clock=lsl_clock, channels=every, parameters=parameters)


def run_wiring(source: Source, *, as_json: bool = False) -> bool:
    """`zygoma wiring`: listen to the EMG of `source`, ask for poses, print the channel map.

    Returns:
        Whether every channel is on the muscle its name says.
    """
    number = 0

    def say(instruction: str) -> None:
        nonlocal number
        number += 1
        if not as_json:
            console.print(f"[bold]{number} of {len(POSES)}[/bold]  {instruction}", highlight=False)

    source.open()
    try:
        wiring, quality = pose_and_find(source, say)
        spec = source.spec
    finally:
        source.close()
    if as_json:
        channels = [_plain(asdict(channel)) for channel in wiring.channels]
        print_json({"channels": channels, "options": wiring.options, "missing": wiring.missing,
                    "good": wiring.good})  # fmt: skip
    else:
        print_wiring(wiring, quality)
        if spec.rate_hz < TIMING_RATE_HZ:
            console.print(
                f"{escape(spec.name)} has {spec.rate_hz:g} Hz: good for slow valence, too slow for the "
                f"timing of micro-expressions ({TIMING_RATE_HZ:g} Hz at least, 1000 Hz advised).",
                highlight=False,
            )
    return wiring.good


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """As JSON has it: no NaN."""
    return {
        key: _plain(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and math.isnan(value)
        else value
        for key, value in values.items()
    }


def print_wiring(wiring: Wiring, quality: Mapping[str, str]) -> None:
    """The channel map, what is wrong with it, and the options that set it right."""
    keys = list(wiring.channels[0].lift_db)
    table = Table(title="Level over rest, dB", box=None)
    for heading in ("number", "channel", *keys, "is on"):
        table.add_column(heading, justify="left" if heading in ("channel", "is on") else "right")
    for channel in wiring.channels:
        values = [channel.lift_db[key] for key in keys]
        top = max(_usable(values), default=math.nan)
        cells = [
            "-" if math.isnan(value) else f"[bold]{value:.0f}[/bold]" if value == top else f"{value:.0f}"
            for value in values
        ]
        found = spoken_name(channel.label) if channel.label else "[red]nothing[/red]"
        table.add_row(str(channel.number), escape(channel.name), *cells, found)
    console.print(table)
    for channel in wiring.channels:
        if channel.problem:
            console.print(f"[yellow]{escape(channel.problem)}.[/yellow]", highlight=False)
        words = quality.get(channel.name, "")
        if words and not words.endswith(": good"):
            console.print(escape(f"{words}."), highlight=False)
    if wiring.missing:
        names = ", ".join(spoken_name(label) for label in wiring.missing)
        console.print(f"No channel is on: {names}.", highlight=False)
    if all(channel.name == channel.label for channel in wiring.channels):
        console.print("[green]Every channel is on the muscle its name says.[/green]", highlight=False)
    elif wiring.options:
        console.print(
            "Give these to 'zygoma publish emg', 'live', 'session', 'record' or 'analyze': "
            f"{escape(' '.join(wiring.options))}",
            highlight=False,
            soft_wrap=True,
        )
