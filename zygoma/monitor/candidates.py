"""The list of expressions that were flagged, with pictures, and what the operator decided about each.

Decisions are appended, one JSON object per line, to a file beside the recording (or, without a recording, to
one of its own that is made with the first decision). Nothing that was written is ever changed: a change of
mind is another line.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from fusion.events import FaceEvent
from zygoma.monitor.feed import Feed, Picture
from zygoma.shown import EXPRESSION_TYPES

MOMENTS = ("onset", "apex", "offset")
VERDICTS = ("confirmed", "rejected", "open")
"""``open`` takes a verdict back."""

CANDIDATES_KEPT = 300
NOTE_LENGTH = 500
THUMBNAIL_PX = 144
PICTURES_LATE_S = 4.0
"""So long the pictures of an event are waited for."""

_LOOK_AGAIN_S = 0.1
_MARGIN = 0.18
_QUALITY = 82


@dataclass(eq=False)
class Candidate:
    """One flagged expression.

    Attributes:
        thumbnails: JPEG of the face at each of `MOMENTS`, as far as pictures were there.
        verdict: One of `VERDICTS`.
        note: The operator's remark.
    """

    event: FaceEvent
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    verdict: str = "open"
    note: str = ""

    def record(self) -> dict[str, Any]:
        """For the page."""
        return {
            **self.event.to_dict(),
            "verdict": self.verdict,
            "note": self.note,
            "thumbnails": sorted(self.thumbnails),
        }


class DecisionFile:
    """Appends decisions to a new file; the file is made with the first one.

    Args:
        where: Tells where decisions belong now: another answer begins another file. When the file exists
            already, ``-2``, ``-3`` ... is put behind its name.
    """

    def __init__(self, where: Callable[[], Path]) -> None:
        self._where = where
        self._belongs: Path | None = None
        self._file: TextIO | None = None

    @property
    def name(self) -> str:
        """Of the file in use, or of the one to be made."""
        return Path(self._file.name).name if self._file is not None else self._where().name

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line and hand it to the disk.

        Raises:
            OSError: The disk refuses.
        """
        belongs = self._where()
        if self._file is None or belongs != self._belongs:
            self.close()
            self._file, self._belongs = _create(belongs), belongs
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _create(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    stem, number = path.stem, 1
    while True:
        try:
            return path.open("x", encoding="utf-8")
        except FileExistsError:
            number += 1
            path = path.with_stem(f"{stem}-{number}")


class Candidates:
    """All candidates of a run; may be used from any thread.

    Args:
        decisions: Where verdicts and notes go.
        kept: How many candidates are kept for the page; older ones leave it (not their decisions).

    Attributes:
        on_pictures: Called, from a thread of its own, with the record of a candidate that has got pictures.
    """

    def __init__(self, decisions: DecisionFile, kept: int = CANDIDATES_KEPT) -> None:
        self.decisions = decisions
        self.on_pictures: Callable[[dict[str, Any]], None] = lambda record: None
        self._kept = kept
        self._lock = threading.Lock()
        # Apart from the list, so that a slow disk holds up no event of the engine.
        self._deciding = threading.Lock()
        self._by_id: dict[str, Candidate] = {}
        self._closing = threading.Event()
        self._worker = ThreadPoolExecutor(1, "zygoma-thumbnails")

    def add(self, event: FaceEvent, feed: Feed) -> Candidate | None:
        """Take an event if it is one to judge; its pictures are cut out in the background."""
        if event.trial_type not in EXPRESSION_TYPES:
            return None
        candidate = Candidate(event)
        with self._lock:
            self._by_id[event.id] = candidate
            while len(self._by_id) > self._kept:
                del self._by_id[next(iter(self._by_id))]
        self._worker.submit(self._cut_out, candidate, feed, time.monotonic() + PICTURES_LATE_S)
        return candidate

    def _cut_out(self, candidate: Candidate, feed: Feed, deadline_s: float) -> None:
        event = candidate.event
        # Muscles can be ahead of a camera that lags.
        while not feed.has_pictures_until(event.offset) and time.monotonic() < deadline_s:
            if self._closing.wait(_LOOK_AGAIN_S):
                return
        times_s = (event.onset, event.apex, event.offset)
        found = {moment: feed.picture_at(time_s) for moment, time_s in zip(MOMENTS, times_s, strict=True)}
        pictures = {moment: picture for moment, picture in found.items() if picture is not None}
        candidate.thumbnails.update(_thumbnails(pictures))
        if candidate.thumbnails:
            self.on_pictures(candidate.record())

    def records(self) -> list[dict[str, Any]]:
        """All candidates, oldest first, for a page that has just been opened."""
        with self._lock:
            return [candidate.record() for candidate in self._by_id.values()]

    def thumbnail(self, identity: str, moment: str) -> bytes | None:
        """JPEG of a candidate's face; None when there is none."""
        candidate = self._by_id.get(identity)
        return None if candidate is None else candidate.thumbnails.get(moment)

    def decide(self, identity: str, verdict: str, note: str, now_s: float) -> dict[str, Any]:
        """Store a verdict and a note.

        Returns:
            The candidate as it is now.

        Raises:
            KeyError: No such candidate.
            ValueError: No such verdict, or a note that is too long.
            OSError: The disk refuses; nothing has changed.
        """
        if verdict not in VERDICTS:
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}, not {verdict!r}")
        if len(note) > NOTE_LENGTH:
            raise ValueError(f"a note has at most {NOTE_LENGTH} characters")
        with self._deciding:
            candidate = self._by_id[identity]
            self.decisions.append(
                {
                    "decided": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "lsl_time_s": now_s,
                    "id": identity,
                    "verdict": verdict,
                    "note": note,
                    "event": candidate.event.to_dict(),
                }
            )
            candidate.verdict, candidate.note = verdict, note
            return candidate.record()

    def close(self) -> None:
        """Wait for no more pictures and close the file."""
        self._closing.set()
        self._worker.shutdown()
        self.decisions.close()


def _thumbnails(pictures: Mapping[str, Picture]) -> dict[str, bytes]:
    """Small JPEGs of the face in each picture."""
    thumbnails: dict[str, bytes] = {}
    # All three moments share one frame around the face, so that only the face moves between them.
    points = [picture.points_px[:, :2] for picture in pictures.values() if picture.points_px is not None]
    box = np.concatenate(points) if points else None
    for moment, picture in pictures.items():
        pixels = cv2.imdecode(np.frombuffer(picture.jpeg, dtype=np.uint8), cv2.IMREAD_COLOR_BGR)
        if pixels is None:
            continue
        height, width = pixels.shape[:2]
        if box is not None:
            low, high = box.min(axis=0), box.max(axis=0)
            centre, half = (low + high) / 2, float(max(high - low)) * (0.5 + _MARGIN)
            x0, y0 = (max(int(value), 0) for value in centre - half)
            x1, y1 = min(int(centre[0] + half), width), min(int(centre[1] + half), height)
            if x1 - x0 > 8 and y1 - y0 > 8:
                pixels = pixels[y0:y1, x0:x1]
        scale = THUMBNAIL_PX / max(pixels.shape[:2])
        small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        done, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if done:
            thumbnails[moment] = jpeg.tobytes()
    return thumbnails
