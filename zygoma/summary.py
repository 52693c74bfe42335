"""What an analysis of a recording did: the numbers that terminal, report and ``summary.json`` tell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fusion.events import FaceEvent
from processing.face_quality import FLAG_WORDS, FaceFlag
from processing.neutral import Neutral

LEAST_FLAGGED_SHARE = 0.005
"""A doubt about fewer frames than this is not worth a sentence in the summary."""


@dataclass
class Summary:
    """What an analysis did."""

    folder: Path
    label: str
    seconds: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    frames_with_face: int = 0
    usable_share: float = float("nan")
    """Share of the camera frames in which a micro-expression could have been seen."""
    events: list[FaceEvent] = field(default_factory=list)
    quality_words: dict[str, str] = field(default_factory=dict)
    shortfalls: list[str] = field(default_factory=list)
    """A sentence per file that is cut off or damaged: what is missing of it."""
    flagged: Counter[FaceFlag] = field(default_factory=Counter)
    neutral: Neutral | None = None

    @property
    def face_share(self) -> float:
        """Share of camera frames in which a face was found; NaN without frames."""
        return self.frames_with_face / self.frames if self.frames else float("nan")

    def face_words(self) -> dict[str, str]:
        """What spoke against the picture of the face, and in how many of its frames; empty if nothing did."""
        told = [
            f"{FLAG_WORDS[flag].partition(':')[0]} in {100 * count / self.frames:.0f} % of the frames"
            for flag, count in sorted(self.flagged.items())
            if count >= LEAST_FLAGGED_SHARE * self.frames
        ]
        return {"face": "; ".join(told)} if told else {}

    def to_dict(self) -> dict[str, object]:
        """For ``--json``."""
        counts: dict[str, int] = {}
        for event in self.events:
            counts[event.trial_type] = counts.get(event.trial_type, 0) + 1
        return {
            "folder": str(self.folder),
            "seconds": self.seconds,
            "rows": self.rows,
            "frames": self.frames,
            "face_share": None if not self.frames else self.face_share,
            "usable_share": None if not self.frames else self.usable_share,
            "events": counts,
            "quality": self.quality_words,
            "missing": self.shortfalls,
        }
