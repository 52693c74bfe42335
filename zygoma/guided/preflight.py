"""The checklist before a recording: what is red holds the session up until it is mended or overridden."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from acquisition.recorder import DISK_STOP_BYTES, DISK_WARNING_BYTES
from acquisition.stream import Kind
from zygoma.guided.protocol import Device, Protocol

SILENT_S = 3.0
"""A required stream without a sample for so long counts as lost."""

RATE_SHARE = 0.95
"""Of the minimum rate that is enough: a measured rate trembles."""

FACE_CONFIDENCE = 0.5


@dataclass(frozen=True)
class Check:
    """One line of the checklist.

    Attributes:
        label: What is checked.
        ok: Green.
        detail: What was found, and what to do where it is not green.
        required: False is shown but holds nothing up.
    """

    label: str
    ok: bool
    detail: str
    required: bool = True


@dataclass(frozen=True)
class StreamFacts:
    """What is known of a stream that is on the network."""

    name: str
    kind: Kind
    rate_hz: float
    age_s: float
    received: int


@dataclass(frozen=True)
class Facts:
    """What the checklist is made from.

    Attributes:
        streams: Those the engine listens to.
        face_confidence: Of the newest frame, NaN without one.
        emg_words: Sentence per EMG channel, as `MuscleActivity.quality_words`.
        free_bytes: On the disk of the recordings.
        participant_page: Whether it is open; None where none is needed.
    """

    streams: Sequence[StreamFacts] = ()
    face_confidence: float = math.nan
    emg_words: Mapping[str, str] = field(default_factory=dict)
    free_bytes: int = DISK_WARNING_BYTES
    participant_page: bool | None = None


@dataclass(frozen=True)
class Health:
    """What the flow is told on every tick.

    Attributes:
        checks: The checklist.
        lost: Required kinds that are missing or silent.
        participant_page: Whether a participant page confirms what it shows.
    """

    checks: tuple[Check, ...] = ()
    lost: tuple[str, ...] = ()
    participant_page: bool = False


def examine(protocol: Protocol, facts: Facts) -> Health:
    """The checklist of a protocol, given the facts of this moment."""
    checks = [_device(device, facts) for device in protocol.devices]
    lost = tuple(
        str(device.kind)
        for device in protocol.devices
        if device.required and device.kind is not Kind.MARKERS and _alive(device, facts) is None
    )
    if protocol.wants(Kind.CAMERA):
        checks.append(_face(facts.face_confidence))
    checks += [_emg(label, words) for label, words in facts.emg_words.items()]
    checks.append(_disk(facts.free_bytes))
    if facts.participant_page is not None:
        here = facts.participant_page
        detail = "open" if here else "open /participant on the participant's screen, full screen"
        checks.append(Check("Participant page", here, detail))
    return Health(tuple(checks), lost, bool(facts.participant_page))


def _matching(device: Device, facts: Facts) -> list[StreamFacts]:
    return [
        stream
        for stream in facts.streams
        if stream.kind is device.kind and (device.name is None or stream.name == device.name)
    ]


def _alive(device: Device, facts: Facts) -> StreamFacts | None:
    return next((stream for stream in _matching(device, facts) if stream.age_s < SILENT_S), None)


def _device(device: Device, facts: Facts) -> Check:
    label = f"{device.kind} stream" if device.name is None else f"{device.kind} stream {device.name}"
    found = _matching(device, facts)
    if not found:
        detail = f"not there: start it, for example with 'zygoma publish {str(device.kind).lower()}'"
        if device.kind is Kind.MARKERS:
            detail = "not there: start the stimulus program"
        return Check(label, False, detail, device.required)
    if device.kind is Kind.MARKERS:
        return Check(label, True, found[0].name, device.required)
    stream = _alive(device, facts)
    if stream is None:
        return Check(label, False, f"{found[0].name} is silent: check the device", device.required)
    wanted_hz = device.minimum_rate_hz
    if wanted_hz and not stream.rate_hz >= RATE_SHARE * wanted_hz:
        if math.isnan(stream.rate_hz):
            return Check(label, False, "measuring its rate ...", device.required)
        detail = (
            f"{stream.rate_hz:.1f} Hz instead of at least {wanted_hz:g} Hz: close other programs, add light"
        )
        return Check(label, False, detail, device.required)
    rate = "" if math.isnan(stream.rate_hz) else f", {stream.rate_hz:.1f} Hz"
    return Check(label, True, f"{stream.name}{rate}", device.required)


def _face(confidence: float) -> Check:
    if confidence >= FACE_CONFIDENCE:
        return Check("Face", True, f"found with confidence {confidence:.2f}")
    return Check("Face", False, "not found: the face should fill a third of the picture, lit from the front")


def _emg(label: str, words: str) -> Check:
    # The words are ours (`processing.emg_quality`): "zygomaticus left: good".
    finding = words.partition(": ")[2] or words
    return Check(f"EMG {label}", finding.startswith("good"), finding)


def _disk(free_bytes: int) -> Check:
    free_gb = free_bytes / 1e9
    if free_bytes < DISK_WARNING_BYTES:
        stop = f"recording stops at {DISK_STOP_BYTES / 1e9:.0f} GB"
        return Check("Disk", False, f"only {free_gb:.1f} GB are free, {stop}: make room")
    return Check("Disk", True, f"{free_gb:.0f} GB are free")
