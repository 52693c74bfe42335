"""The protocol of a session: a TOML file, checked to the last key before anything is recorded.

Whatever is wrong with it is told as one sentence per mistake, with the place in the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from acquisition.session import LABEL, check_pseudonym
from acquisition.stream import DeviceNotFound, InvalidSignal, Kind
from zygoma.guided.stimuli import stimulus_path

Emotion = Literal["happiness", "surprise", "anger", "fear", "disgust", "sadness"]
Intended = Literal[
    "happiness", "surprise", "anger", "fear", "disgust", "sadness", "positive", "negative", "neutral"
]
"""What a stimulus is chosen to elicit: one of the six emotions, a valence, or nothing."""

Scale = Literal["valence", "arousal", "emotions", "text"]
"""A part of the self-report form."""

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Seconds = Annotated[float, Field(allow_inf_nan=False)]

PROTOCOL_BYTES = 1_000_000
"""A longer file is no protocol."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".ogv", ".m4v"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Participant(_Strict):
    """Who takes part, under a pseudonym."""

    pseudonym: str

    @field_validator("pseudonym")
    @classmethod
    def _code(cls, value: str) -> str:
        return check_pseudonym(value)


class Consent(_Strict):
    """What the participant allowed, and in which version of the consent form."""

    scope: str = Field(min_length=1, max_length=500)
    version: str = Field(min_length=1, max_length=50)


class Device(_Strict):
    """A stream that the session needs.

    Attributes:
        kind: ``Camera``, ``EMG``, ``Thermal`` or ``Markers``.
        minimum_rate_hz: Its measured rate must not be lower; 0 asks for nothing.
        required: False shows it on the checklist without holding anything up.
        name: Only the stream of that name, where there are several.
    """

    kind: Kind
    minimum_rate_hz: Seconds = Field(default=0.0, ge=0, le=100_000)
    required: bool = True
    name: str | None = None

    @field_validator("kind")
    @classmethod
    def _from_outside(cls, kind: Kind) -> Kind:
        if kind not in (Kind.CAMERA, Kind.EMG, Kind.THERMAL, Kind.MARKERS):
            raise ValueError("a device is of kind Camera, EMG, Thermal or Markers")
        return kind


class Stimulus(_Strict):
    """One thing that is shown, by the participant page (`file`) or by another program (`external`).

    Attributes:
        id: Letters, digits, ``_``, ``-`` and ``.``; it is in the markers.
        intended: What it is to elicit.
        duration_s: How long it is shown; for an external program, how long its end is waited for.
        file: Image or video in the protocol's folder.
        external: Name of the program that shows it and sends ``StimOn`` / ``StimOff``; zygoma starts nothing.
    """

    id: Identifier
    intended: Intended
    duration_s: Seconds = Field(gt=0, le=3600)
    file: str | None = None
    external: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.file is None) == (self.external is None):
            raise ValueError("a stimulus has either a file or an external program")
        if self.file is not None and Path(self.file).suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            known = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
            raise ValueError(f"{self.file!r} is neither a picture nor a video that a browser shows ({known})")
        return self

    @property
    def medium(self) -> Literal["image", "video", "external"]:
        """Who shows it and how."""
        if self.file is None:
            return "external"
        return "image" if Path(self.file).suffix.lower() in IMAGE_SUFFIXES else "video"


class StimulusBlock(_Strict):
    """Stimuli that follow each other, after the operator has begun them.

    Attributes:
        id: In the markers.
        instruction: What the participant reads before it.
        pause_s: Fixation cross before each stimulus.
        stimuli: In order.
    """

    id: Identifier
    instruction: str = Field(default="", max_length=1000)
    pause_s: Seconds = Field(default=2.0, ge=0, le=600)
    stimuli: tuple[Stimulus, ...] = Field(min_length=1)


class SelfReportScales(_Strict):
    """The form after each stimulus; `scales` may be empty, then there is none."""

    scales: tuple[Scale, ...] = ("valence", "arousal", "emotions", "text")


class Mvc(_Strict):
    """Posed maximal smiles and frowns, which %MVC is relative to.

    Attributes:
        repetitions: Of each; the best counts. 0 leaves the step out.
        contract_s, relax_s: How long each is held, and the rest after it.
    """

    repetitions: int = Field(default=3, ge=0, le=10)
    contract_s: Seconds = Field(default=3.0, ge=1, le=30)
    relax_s: Seconds = Field(default=4.0, ge=0.5, le=60)


class Protocol(_Strict):
    """A whole session.

    Attributes:
        task: BIDS label of the recording.
        session: BIDS label of the visit.
        baseline_s: Length of the rest baseline.
        folder: Where the protocol file is; stimulus files are in it.
    """

    task: str
    session: str = "01"
    participant: Participant
    consent: Consent
    devices: tuple[Device, ...] = Field(min_length=1)
    baseline_s: Seconds = Field(default=30.0, ge=2, le=600)
    mvc: Mvc = Mvc()
    self_report: SelfReportScales = SelfReportScales()
    blocks: tuple[StimulusBlock, ...] = Field(min_length=1)
    folder: Path = Field(default=Path(), exclude=True)

    @field_validator("task", "session")
    @classmethod
    def _label(cls, value: str) -> str:
        if not LABEL.fullmatch(value):
            raise ValueError(f"{value!r} must be letters and digits only, for example 'elicitation'")
        return value

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        for what, names in (
            ("block", [block.id for block in self.blocks]),
            ("stimulus", [stimulus.id for stimulus in self.stimuli()]),
            ("device", [f"{device.kind} {device.name or ''}".strip() for device in self.devices]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is there twice")
        return self

    def stimuli(self) -> Iterator[Stimulus]:
        """All stimuli in order."""
        return (stimulus for block in self.blocks for stimulus in block.stimuli)

    def stimulus(self, stimulus_id: str) -> Stimulus:
        """The stimulus with that id.

        Raises:
            DeviceNotFound: There is none.
        """
        for stimulus in self.stimuli():
            if stimulus.id == stimulus_id:
                return stimulus
        raise DeviceNotFound(f"The protocol has no stimulus {stimulus_id[:64]!r}.")

    def wants(self, kind: Kind) -> bool:
        """Whether a device of that kind is part of the session."""
        return any(device.kind is kind for device in self.devices)


def load_protocol(path: Path) -> Protocol:
    """Read and check a protocol.

    Raises:
        InvalidSignal: It cannot be read, is not TOML, or has mistakes; the message has one line per mistake.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(PROTOCOL_BYTES + 1)
    except OSError as error:
        raise InvalidSignal(f"{path} cannot be read ({error.strerror}): give a protocol file.") from None
    if len(content) > PROTOCOL_BYTES:
        raise InvalidSignal(f"{path} is longer than {PROTOCOL_BYTES} bytes: that is no protocol.")
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSignal(f"{path} is not TOML: {error}.") from None
    return parse_protocol(values, path)


def parse_protocol(values: dict[str, Any], path: Path) -> Protocol:
    """The protocol of the tables of a TOML file.

    Args:
        values: As `tomllib` gives them.
        path: Of the file, for messages and the stimuli beside it.

    Raises:
        InvalidSignal: Mistakes, one line each; a stimulus file that is not there is one too.
    """
    if "folder" in values:
        raise InvalidSignal(f"{path}: folder: this key is not known; leave it out.")
    try:
        protocol = Protocol.model_validate({**values, "folder": path.parent.resolve()})
    except ValidationError as error:
        lines = [f"{path}: {_sentence(mistake)}" for mistake in error.errors(include_url=False)]
        raise InvalidSignal("\n".join(lines)) from None
    problems = []
    for block_number, block in enumerate(protocol.blocks):
        for number, stimulus in enumerate(block.stimuli):
            try:
                stimulus_path(protocol.folder, stimulus.file)
            except InvalidSignal as error:
                problems.append(f"{path}: blocks[{block_number}].stimuli[{number}].file: {error}")
    if problems:
        raise InvalidSignal("\n".join(problems))
    return protocol


def _sentence(mistake: Any) -> str:
    """One of pydantic's mistakes as ``place: what is wrong.``"""
    place = ""
    for part in mistake["loc"]:
        if isinstance(part, int):
            place += f"[{part}]"
            continue
        # TOML allows quoted keys with anything in them; a mistake stays one line.
        key = part if part.isidentifier() else repr(part)
        place += f".{key}" if place else key
    kind = mistake["type"]
    if kind == "extra_forbidden":
        what = "this key is not known; leave it out"
    elif kind == "missing":
        what = "this key is missing"
    elif kind == "value_error":
        what = str(mistake["ctx"]["error"])
    else:
        shown = repr(mistake["input"])
        what = f"{mistake['msg']}, got {shown if len(shown) <= 60 else shown[:57] + '...'}"
    return f"{place or 'the file'}: {what}."
