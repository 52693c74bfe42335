"""The latency check: how old valence is when it goes out, and how long a marker takes over LSL."""

from __future__ import annotations

from acquisition import network
from acquisition.clock import Clock
from acquisition.inlet import LslInlet
from acquisition.recorder import MARKERS
from acquisition.stream import DeviceNotFound, Kind
from zygoma.engine import Engine

PROBES = 5
PROBE_TIMEOUT_S = 1.0
LARGEST_VALENCE_MS = 150.0
LARGEST_MARKER_MS = 50.0
"""Limits for the 95th percentile of valence and for the slowest marker."""


def measure_latency(engine: Engine, clock: Clock) -> tuple[list[str], list[str]]:
    """Problems (none: all is well) and findings of the check; takes about a second."""
    problems: list[str] = []
    findings: list[str] = []
    latency = engine.snapshot().latency
    if latency is not None:
        findings.append(f"Capture to valence: p95 {latency.p95_ms:.0f} ms over {latency.frames} frames.")
        if latency.p95_ms > LARGEST_VALENCE_MS:
            problems.append(
                f"Valence comes {latency.p95_ms:.0f} ms after the picture (95 % of frames): close other "
                "programs or lower the camera's rate."
            )
    try:
        markers_ms = _marker_delays_ms(engine, clock)
    except DeviceNotFound as error:
        return [*problems, f"The session's own markers do not come back: {error}"], findings
    if len(markers_ms) < PROBES:
        problems.append(f"Only {len(markers_ms)} of {PROBES} markers came back over LSL: check the firewall.")
    if markers_ms:
        findings.append(f"Markers over LSL: at most {max(markers_ms):.1f} ms.")
        if max(markers_ms) > LARGEST_MARKER_MS:
            problems.append(f"A marker took {max(markers_ms):.0f} ms over LSL: close other programs.")
    return problems, findings


def _marker_delays_ms(engine: Engine, clock: Clock) -> list[float]:
    """Milliseconds from a marker's stamp to its arrival, of those that came back."""
    (spec, *_) = network.resolve(kind=Kind.MARKERS, source_id=MARKERS.source_id)
    delays_ms: list[float] = []
    with LslInlet(spec, clock=clock) as inlet:
        for number in range(PROBES):
            text = f"LatencyProbe/{number + 1}"
            stamp_s = engine.mark(text)
            while clock() < stamp_s + PROBE_TIMEOUT_S:
                if text in inlet.read(0.1).data:
                    delays_ms.append(1e3 * (clock() - stamp_s))
                    break
    return delays_ms
