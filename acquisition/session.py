"""Where a run lands on disk and what is known about it: BIDS-like names and the `_session.json` sidecar.

A run is reserved by creating its sidecar exclusively, so two recorders never share a run and nothing that
was recorded is ever overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from acquisition.stream import (
    Channel,
    FrameFormat,
    InvalidSignal,
    Kind,
    SampleType,
    StreamSpec,
    ZygomaError,
)

PSEUDONYM = re.compile(r"(?=.*[0-9])[A-Za-z0-9]{1,32}")
"""Letters and digits (a BIDS label) with at least one digit, so that a plain name is not taken for a code."""

LABEL = re.compile(r"[A-Za-z0-9]{1,64}")
"""A BIDS label: letters and digits only, since ``-`` and ``_`` separate the parts of a file name."""

RECORDED_WITH = ("zygoma", "pylsl", "numpy", "av", "brainflow", "mediapipe", "opencv-python")
"""Distributions whose versions a session names."""

_STEM = re.compile(
    r"sub-(?P<subject>[A-Za-z0-9]+)_ses-(?P<session>[A-Za-z0-9]+)_task-(?P<task>[A-Za-z0-9]+)_run-(?P<run>\d+)"
)


class SessionExists(ZygomaError):
    """A file of a new run is already there; nothing is overwritten."""


@dataclass(frozen=True)
class SessionPaths:
    """The files of one run: ``recordings/sub-01/ses-01/sub-01_ses-01_task-NAME_run-001.*``.

    Attributes:
        root: The recordings folder.
        subject, session, task: BIDS labels (without ``sub-`` ...); `subject` is a pseudonym.
        run: Run number, 1-based.
    """

    root: Path
    subject: str
    session: str
    task: str
    run: int

    def __post_init__(self) -> None:
        check_pseudonym(self.subject)
        for what, label in (("session", self.session), ("task", self.task)):
            if not LABEL.fullmatch(label):
                raise ValueError(f"{what} {label!r} must be letters and digits only, for example 'smile2'")
        if self.run < 1:
            raise ValueError(f"run {self.run} must be 1 or more")

    @property
    def folder(self) -> Path:
        return self.root / f"sub-{self.subject}" / f"ses-{self.session}"

    @property
    def stem(self) -> str:
        return f"sub-{self.subject}_ses-{self.session}_task-{self.task}_run-{self.run:03d}"

    @property
    def xdf(self) -> Path:
        return self.folder / f"{self.stem}.xdf"

    @property
    def sidecar(self) -> Path:
        """The run's `_session.json`."""
        return self.folder / f"{self.stem}_session.json"

    def make_folder(self) -> None:
        """Make the session's folder, open to its owner alone (it shows faces), unless it is there already."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def frames(self, kind: Kind, number: int = 1) -> Path:
        """The Matroska file of the `number`-th stream of a kind: ``_camera.mkv``, ``_camera2.mkv`` ..."""
        return self.folder / f"{self.stem}_{kind.lower()}{number if number > 1 else ''}.mkv"

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read the parts back from any file of a run.

        Raises:
            ValueError: The name does not follow the pattern.
        """
        match = _STEM.match(path.name)
        if match is None:
            raise ValueError(f"{path.name} is not named sub-*_ses-*_task-*_run-*")
        return cls(path.parents[2], match["subject"], match["session"], match["task"], int(match["run"]))


def check_pseudonym(subject: str) -> str:
    """Return `subject` if it can be a participant's code.

    Raises:
        ValueError: It is not letters and digits with at least one digit.
    """
    if not PSEUDONYM.fullmatch(subject):
        raise ValueError(
            f"subject {subject!r} must be a code of letters and digits with at least one digit, for example"
            " '01' or 'P07'; do not use a person's name"
        )
    return subject


@dataclass(frozen=True)
class SessionInfo:
    """What a session's sidecar says. Plain JSON values only.

    Attributes:
        subject, session, task, run: As in `SessionPaths`.
        started, ended: ISO 8601 with time zone; `ended` is empty until the run is closed.
        state: ``recording``, ``complete`` or ``repaired``.
        protocol: Name or text of the protocol that ran, empty for a free recording.
        consent_scope: What the participant allowed, e.g. ``analysis only``, ``sharing of derived data``.
        consent_version: Of the consent form.
        devices: One spec per stream, as `spec_to_dict` gives it.
        software: Version of each distribution that took part.
        calibration: Values measured before or during the run (neutral, rest, maximum ...), see
            `zygoma.calibration`.
        guided: What a guided session did: its outcome, steps, overrides with their reasons, showings.
        files: Per file name ``{"bytes": int, "sha256": str}``, filled in at close.
        notes: Anything to add, e.g. what a repair did.
    """

    subject: str
    session: str
    task: str
    run: int
    started: str = ""
    ended: str = ""
    state: str = "recording"
    protocol: str = ""
    consent_scope: str = ""
    consent_version: str = ""
    devices: tuple[Mapping[str, Any], ...] = ()
    software: Mapping[str, str] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    guided: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write the sidecar so that a reader sees the old or the new text, never half of one."""
        text = json.dumps(self.__dict__, indent=2, ensure_ascii=False, default=_as_json) + "\n"
        write_atomically(path, text.encode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a sidecar; keys that this version does not know are left out.

        Raises:
            InvalidSignal: The file is not a session's sidecar.
        """
        try:
            values = json.loads(path.read_bytes())
            known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
            for name in ("devices", "notes"):
                known[name] = tuple(known.get(name, ()))
            return cls(**known)
        except (ValueError, TypeError) as error:
            raise InvalidSignal(
                f"{path} is not a session sidecar ({error}); open the .xdf instead"
            ) from error


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in a session sidecar")


def new_run(
    root: Path,
    subject: str,
    session: str,
    task: str,
    *,
    protocol: str = "",
    consent_scope: str = "",
    consent_version: str = "",
    calibration: Mapping[str, Any] | None = None,
) -> SessionPaths:
    """Reserve the next free run: makes the folder and, exclusively, the run's sidecar.

    Raises:
        ValueError: A label does not fit the naming pattern.
    """
    wanted = SessionPaths(root, subject, session, task, 1)
    wanted.make_folder()
    prefix = wanted.stem.removesuffix("001")
    taken = (_STEM.match(path.name) for path in wanted.folder.glob(f"{prefix}*"))
    run = 1 + max((int(match["run"]) for match in taken if match), default=0)
    while True:
        paths = replace(wanted, run=run)
        try:
            paths.sidecar.touch(exist_ok=False)
        except FileExistsError:
            run += 1
            continue
        SessionInfo(
            subject,
            session,
            task,
            run,
            started=now_iso(),
            protocol=protocol,
            consent_scope=consent_scope,
            consent_version=consent_version,
            software=software_versions(),
            calibration=dict(calibration or {}),
        ).save(paths.sidecar)
        return paths


def now_iso() -> str:
    """The wall clock as ISO 8601 in local time with its offset."""
    return datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")


def software_versions() -> dict[str, str]:
    """Versions of Python, the operating system and those of `RECORDED_WITH` that are installed."""
    versions = {"python": platform.python_version(), "system": platform.platform()}
    for name in RECORDED_WITH:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def file_facts(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of each file, by file name."""
    facts: dict[str, dict[str, Any]] = {}
    for path in paths:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        facts[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    return facts


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step that survives a power cut (write, fsync, rename, fsync)."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (a rename lives in the folder, not in the file)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def spec_to_dict(spec: StreamSpec) -> dict[str, Any]:
    """A spec as JSON values; `spec_from_dict` gives the equal spec back."""
    return {
        "name": spec.name,
        "kind": spec.kind.value,
        "source_id": spec.source_id,
        "rate_hz": spec.rate_hz,
        "dtype": spec.dtype.value,
        "channels": [
            {"label": channel.label, "unit": channel.unit, "kind": channel.kind} for channel in spec.channels
        ],
        "frame": None
        if spec.frame is None
        else {"width": spec.frame.width, "height": spec.frame.height, "codec": spec.frame.codec},
        "metadata": dict(spec.metadata),
    }


def spec_from_dict(values: Mapping[str, Any]) -> StreamSpec:
    """The spec that `spec_to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError: `values` is not such a dictionary.
    """
    return StreamSpec(
        name=values["name"],
        kind=Kind(values["kind"]),
        channels=tuple(Channel(**channel) for channel in values["channels"]),
        rate_hz=float(values["rate_hz"]),
        dtype=SampleType(values["dtype"]),
        source_id=values["source_id"],
        frame=None if values["frame"] is None else FrameFormat(**values["frame"]),
        metadata=values["metadata"],
    )
