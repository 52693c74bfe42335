"""What processors find in one modality: movements of the face's skin and bursts of a muscle.

Both are evidence, not conclusions; `fusion` turns them into candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["left", "right", "both"]
"""The subject's own left and right; ``both`` also for regions on the midline."""


@dataclass(frozen=True)
class Movement:
    """A brief movement of one face region, from onset through apex to offset.

    Attributes:
        id: Running number within the spotter.
        region: Region name without its side, e.g. ``inner_brow``, ``lip_corner``.
        side: Whose side moved; both sides moving together are one movement with side ``both``.
        onset_s, apex_s, offset_s: LSL seconds, back-dated to the movement itself. A provisional movement
            has no offset yet (NaN).
        found_s: Stamp of the frame at which it was decided (latency = found_s - offset_s).
        dx_px, dy_px: Displacement at the apex at an inter-ocular distance of 100 px, head motion removed;
            x grows to the picture's right, y downward.
        z: Peak over the trailing robust noise scale of the region.
        noise_px: That noise scale.
        asymmetry: (left - right) / (left + right) of the peak displacement, -1..1; 0 for midline regions.
        action_units: AUs that move this region in this direction, best first; those of `pattern` lead.
        pattern: The one or two AUs whose movement over the whole face it follows best.
        log_likelihood_ratio: Natural log of P(evidence | micro-movement) / P(evidence | none).
        quality: 0-1, of the frames it was seen in.
        vetoes: Why it may not be an expression (``blink``, ``head``, ``speech``, ``gaze``, ``flicker``,
            ``sniff``, ``ripple``), or ``faint``: too little to be told by itself; empty for a clean one.
        provisional: True at the apex, False once the offset confirmed it.
    """

    id: int
    region: str
    side: Side
    onset_s: float
    apex_s: float
    offset_s: float
    found_s: float
    dx_px: float
    dy_px: float
    z: float
    noise_px: float
    asymmetry: float
    action_units: tuple[int, ...]
    log_likelihood_ratio: float
    quality: float
    vetoes: tuple[str, ...] = ()
    provisional: bool = False
    pattern: tuple[int, ...] = ()

    @property
    def amplitude_px(self) -> float:
        """Length of the displacement at the apex, px at an inter-ocular distance of 100 px."""
        return float((self.dx_px**2 + self.dy_px**2) ** 0.5)


@dataclass(frozen=True)
class Burst:
    """A stretch of muscle activity in one EMG channel.

    Attributes:
        channel: Label of the EMG channel, muscle_side, e.g. ``COR_L``.
        onset_s, peak_s, offset_s: LSL seconds, back-dated for the filters' delay.
        found_s: Stamp of the sample at which the offset was decided.
        peak_z: Peak of the fast envelope in baseline standard deviations of its log.
        mean_z: Mean over the burst.
        peak_uv: Peak of the fast envelope, microvolts.
        quality: 0-1, of the channel during the burst.
    """

    channel: str
    onset_s: float
    peak_s: float
    offset_s: float
    found_s: float
    peak_z: float
    mean_z: float
    peak_uv: float
    quality: float
