"""Stimulus files: only what the protocol names, only from the protocol's own folder."""

from __future__ import annotations

from pathlib import Path

from acquisition.stream import DeviceNotFound, InvalidSignal
from zygoma.guided.protocol import Protocol, Stimulus

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".ogv": "video/ogg",
}
"""What a file is served as; never guessed from its content."""


def stimulus_path(protocol: Protocol, stimulus: Stimulus) -> Path | None:
    """The file of a stimulus; None for an external program.

    Raises:
        InvalidSignal: It lies outside the protocol's folder (links are followed), or is not there.
    """
    if stimulus.file is None:
        return None
    folder = protocol.folder.resolve()
    try:
        path = (folder / stimulus.file).resolve()
        inside, there = path.is_relative_to(folder), path.is_file()
    except (OSError, ValueError):
        inside = there = False
    if not inside:
        raise InvalidSignal(f"{stimulus.file!r} is not inside the protocol's folder; put it there")
    if not there:
        raise InvalidSignal(f"{stimulus.file!r} is not there; put the file into {folder}")
    return path


def find_stimulus(protocol: Protocol, stimulus_id: str) -> Stimulus:
    """The stimulus with that id.

    Raises:
        DeviceNotFound: The protocol has none.
    """
    for stimulus in protocol.stimuli():
        if stimulus.id == stimulus_id:
            return stimulus
    raise DeviceNotFound(f"The protocol has no stimulus {stimulus_id[:64]!r}.")
