"""The words on the marker stream: what the session says, and what it understands of other programs."""

from __future__ import annotations

import json
import re
from typing import Literal, NamedTuple

MARKER_CHARACTERS = 4096
"""A longer text is not looked at."""

_STIMULUS = re.compile(
    r"^\s*stim(?:ulus)?[ _-]?(?P<what>onset|on|start|offset|off|end|stop)\b"
    r"[\s:/=,_-]*(?P<id>[A-Za-z0-9_.-]*)\s*$",
    re.IGNORECASE,
)
_ON = frozenset({"on", "onset", "start"})


class StimulusMarker(NamedTuple):
    """A stimulus began or ended; `id` is empty where the program does not tell which."""

    what: Literal["on", "off"]
    id: str


def marker(word: str, *parts: str | int) -> str:
    """A marker text: ``StimOn/joy1``, ``BlockStart/happy``, ``RestEnd``."""
    return "/".join([word, *map(str, parts)])


def understand(text: str) -> StimulusMarker | None:
    """What a marker says about a stimulus; None when it is about something else.

    ``StimOn``, ``StimOff``, ``StimOnset``, ``stim_on`` and the like, alone or with the stimulus's id behind
    a space or one of ``: / = , _ -``, and JSON objects with the word under ``event``, ``marker``,
    ``trial_type`` or ``name`` and the id under ``id`` or ``stimulus``.
    """
    if len(text) > MARKER_CHARACTERS:
        return None
    if text.lstrip().startswith("{"):
        return _from_json(text)
    # \b does not end a word before "_", so that "stim_on_joy1" needs the separator to be a space.
    match = _STIMULUS.match(re.sub(r"(?i)^(\s*stim(?:ulus)?[ _-]?(?:onset|on|offset|off))_", r"\1 ", text))
    if match is None:
        return None
    return StimulusMarker("on" if match["what"].lower() in _ON else "off", match["id"])


def _from_json(text: str) -> StimulusMarker | None:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    word = next((values[key] for key in ("event", "marker", "trial_type", "name") if key in values), None)
    if not isinstance(word, str) or word.lstrip().startswith("{"):
        return None
    found = understand(word)
    if found is None:
        return None
    stimulus = values.get("id", values.get("stimulus", found.id))
    return StimulusMarker(found.what, stimulus if isinstance(stimulus, str) else found.id)
