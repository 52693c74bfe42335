"""Stimulus files: only what the protocol names, only from the protocol's own folder."""

from __future__ import annotations

from pathlib import Path

from acquisition.stream import InvalidSignal

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


def stimulus_path(folder: Path, file: str | None) -> Path | None:
    """The file of a stimulus; None for an external program.

    Args:
        folder: Of the protocol.
        file: As the protocol names it.

    Raises:
        InvalidSignal: It lies outside the protocol's folder (links are followed), or is not there.
    """
    if file is None:
        return None
    folder = folder.resolve()
    try:
        path = (folder / file).resolve()
        inside, there = path.is_relative_to(folder), path.is_file()
    except (OSError, ValueError):
        inside = there = False
    if not inside:
        raise InvalidSignal(f"{file!r} is not inside the protocol's folder; put it there")
    if not there:
        raise InvalidSignal(f"{file!r} is not there; put the file into {folder}")
    return path
