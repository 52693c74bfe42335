"""A person's neutral face as a file, so that one rest serves many recordings of the same person.

The file is a calibration with nothing but the neutral in it (`zygoma.calibration`); a session whose manifest
holds a calibration serves as well.
"""

from __future__ import annotations

import json
from pathlib import Path

from acquisition.session import write_atomically
from acquisition.stream import DeviceNotFound, InvalidSignal
from processing.neutral import Neutral
from zygoma.calibration import Calibration, load_calibration


def save_neutral(path: Path, neutral: Neutral | None) -> None:
    """Write a neutral; the file appears under its name only when it is whole.

    Raises:
        InvalidSignal: There is no neutral, because no face was seen.
    """
    if neutral is None:
        raise InvalidSignal(f"No face was seen, so {path} was not written: check the camera and its light.")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(Calibration(neutral=neutral).to_json()) + "\n").encode())


def load_neutral(path: Path) -> Neutral:
    """The neutral in a file that `save_neutral` wrote, or in a calibrated session.

    Args:
        path: The file; or a session folder, ``.xdf`` or ``_session.json``.

    Raises:
        DeviceNotFound: No such file, or no neutral in it.
        InvalidSignal: It is damaged.
    """
    if not path.exists():
        raise DeviceNotFound(f"{path} does not exist: write one with 'zygoma analyze --save-neutral'.")
    if path.is_dir() or path.suffix.lower() == ".xdf" or path.name.endswith("_session.json"):
        found = load_calibration(path)
    else:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise InvalidSignal(f"{path} is no neutral face ({error}): save one again.") from error
        if not isinstance(values, dict):
            raise InvalidSignal(f"{path} is no neutral face: save one again with --save-neutral.")
        found = Calibration.from_json(values)
    if found.neutral is None:
        raise DeviceNotFound(f"{path} holds no neutral face: measure one with the camera on.")
    return found.neutral


def calibration_from(path: Path | None) -> dict[str, Neutral]:
    """What ``--neutral`` adds to a pipeline's calibration; nothing without it."""
    return {} if path is None else {"neutral": load_neutral(path)}
