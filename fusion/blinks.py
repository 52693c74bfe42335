"""Blinks from the closure of the eyelids."""

from __future__ import annotations

import math
from collections.abc import Sequence

from acquisition.stream import StreamSpec
from fusion.atlas import muscles_of
from fusion.events import FaceEvent
from fusion.explanation import main_branches
from processing.findings import Burst, Movement, Side

BLINK_MARGIN_S = 0.1
"""The corrugator's electrodes feel a blink this much before and after the camera sees it, at most."""

_KEEP_S = 32.0


class Blinks:
    """Finds blinks in the eyelids' closure (``blink_left``, ``blink_right``, 0-1).

    A closure of more than `longest_s` is not a blink (AU43, eyes closed) and makes no event, but it does veto
    like one.
    """

    def __init__(self, spec: StreamSpec, on: float = 0.35, off: float = 0.2, longest_s: float = 0.6) -> None:
        labels = spec.labels
        self._left = labels.index("blink_left") if "blink_left" in labels else -1
        self._right = labels.index("blink_right") if "blink_right" in labels else -1
        self._on, self._off, self._longest_s = on, off, longest_s
        self._number = 0
        self.reset()

    def reset(self) -> None:
        """Forget the past; ids go on counting."""
        self._quiet_s = math.nan
        self._onset_s = math.nan
        self._apex_s = math.nan
        self._peak = self._peak_left = self._peak_right = 0.0
        self.recent: list[tuple[float, float]] = []

    def step(self, time_s: float, row: Sequence[float] | None) -> FaceEvent | None:
        """Take the row at `time_s` and return the blink that ended with it, if one did."""
        left = row[self._left] if row is not None and self._left >= 0 else 0.0
        right = row[self._right] if row is not None and self._right >= 0 else 0.0
        left, right = (left if left > 0.0 else 0.0), (right if right > 0.0 else 0.0)
        closure = max(left, right)
        if math.isnan(self._onset_s):
            if closure <= self._on:
                if closure < self._off or math.isnan(self._quiet_s):
                    self._quiet_s = time_s
                return None
            self._onset_s = self._quiet_s if time_s - self._quiet_s < 0.2 else time_s
            self._peak = self._peak_left = self._peak_right = 0.0
        if closure > self._peak:
            self._peak, self._apex_s = closure, time_s
        self._peak_left, self._peak_right = max(left, self._peak_left), max(right, self._peak_right)
        if closure >= self._off:
            return None
        return self._close(time_s)

    def _close(self, time_s: float) -> FaceEvent | None:
        onset, self._onset_s, self._quiet_s = self._onset_s, math.nan, time_s
        self.recent = [span for span in self.recent if span[1] > time_s - _KEEP_S] + [(onset, time_s)]
        if time_s - onset > self._longest_s:
            return None
        self._number += 1
        total = self._peak_left + self._peak_right
        asymmetry = (self._peak_left - self._peak_right) / total if total > 0.0 else 0.0
        side: Side = "both" if abs(asymmetry) < 0.5 else ("left" if asymmetry > 0 else "right")
        return FaceEvent(
            onset=onset,
            duration=time_s - onset,
            trial_type="blink",
            apex=self._apex_s,
            action_units=(45,),
            side=side,
            asymmetry=asymmetry,
            muscles=muscles_of(45),
            nerve_branches=main_branches([45]),
            confidence=min(1.0, self._peak),
            id=f"blink-{self._number}",
            explanation=f"eyelids closed and opened within {1000 * (time_s - onset):.0f} ms: a blink",
        )

    def overlaps(self, start_s: float, end_s: float) -> bool:
        """Whether an eyelid was closing, closed or opening between two moments of the last half minute."""
        if not math.isnan(self._onset_s) and self._onset_s < end_s:
            return True
        return any(onset < end_s and offset > start_s for onset, offset in self.recent)


def is_blink(blinks: Blinks, channel: str, activity: Burst | Movement) -> bool:
    """Whether what a channel felt is a blink's: the corrugator contracts with the lids (section 5)."""
    return channel.startswith("COR") and blinks.overlaps(activity.onset_s - 0.1, activity.offset_s + 0.05)
