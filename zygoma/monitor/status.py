"""The monitor's slow figures: traffic lights, streams, recording and latencies, as JSON twice a second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acquisition.recorder import DISK_STOP_BYTES
from acquisition.stream import Kind
from processing.emg_quality import ChannelQuality
from processing.emg_settings import stated_rail_uv
from processing.face_quality import flags_in, words
from zygoma.monitor.feed import Picture
from zygoma.state import Snapshot, StreamState

SILENT_S = 1.0
RATE_GOOD, RATE_BAD = 0.95, 0.8
"""Share of the nominal rate that a stream should have, and must have."""

RAILED_WARN, RAILED_BAD = 0.75, 0.9
CONFIDENCE_GOOD, CONFIDENCE_BAD = 0.8, 0.5
DARK, BRIGHT = 50.0, 205.0
"""Mean grey of a picture, 0-255, between which the light is right."""

CLIPPED_WARN = 0.05
VALID_GOOD, VALID_BAD = 0.8, 0.5
_INCIDENTS_SHOWN = 12


def status(
    snapshot: Snapshot,
    *,
    picture: Picture | None,
    peaks_uv: Mapping[str, float],
    displayed_ms: tuple[float, float] | None,
    viewers: int,
    decisions: str,
    session: bool = False,
) -> dict[str, Any]:
    """Everything slow, for the page.

    Args:
        snapshot: Of the engine.
        picture: The newest camera picture, for the light on the face.
        peaks_uv: Largest magnitude of each EMG channel of late, by label.
        displayed_ms: Capture to display, median and 95th percentile, as the pages report it.
        viewers: Pages that watch.
        decisions: File that verdicts go to.
        session: A guided session is served beside the monitor.
    """
    return {
        "kind": "status",
        "now": snapshot.now_s,
        "started": snapshot.started_s,
        "origins": sorted({stream.origin for stream in snapshot.streams} - {"device"}),
        "streams": [_stream(stream) for stream in snapshot.streams],
        "lights": [
            *_camera_lights(snapshot, picture),
            *_thermal_lights(snapshot),
            *_emg_lights(snapshot, peaks_uv),
        ],
        "latency": None if snapshot.latency is None else asdict(snapshot.latency),
        "displayed": None if displayed_ms is None else {"p50_ms": displayed_ms[0], "p95_ms": displayed_ms[1]},
        "skipped": snapshot.skipped,
        "recording": _recording(snapshot),
        "incidents": [
            {"time": incident.time_s, "kind": incident.kind, "sentence": incident.sentence}
            for incident in snapshot.incidents[-_INCIDENTS_SHOWN:]
        ],
        "viewers": viewers,
        "decisions": decisions,
        "session": session,
    }


def _light(identity: str, name: str, light: str, value: str, advice: str = "") -> dict[str, str]:
    return {"id": identity, "name": name, "light": light, "value": value, "words": advice}


def _grade(value: float, good: float, bad: float) -> str:
    """Light of a value that should be at least `good` and must be at least `bad`."""
    if not math.isfinite(value):
        return "off"
    return "good" if value >= good else "doubtful" if value >= bad else "bad"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _stream(stream: StreamState) -> dict[str, Any]:
    spec, health = stream.spec, stream.health
    sensor = spec.kind in (Kind.CAMERA, Kind.EMG, Kind.THERMAL)
    light = "good"
    if sensor:
        silent = not health.age_s <= SILENT_S
        light = "bad" if silent else _rate_light(spec.rate_hz, health.effective_rate_hz)
        if light == "good" and health.lost:
            light = "doubtful"
    return {
        "name": spec.name,
        "kind": spec.kind.value,
        "origin": stream.origin,
        "light": light,
        "nominal_hz": spec.rate_hz,
        "effective_hz": _finite(health.effective_rate_hz),
        "received": health.received,
        "lost": health.lost,
        "gaps": health.gaps,
        "clock_offset_ms": _finite(1000 * health.clock_offset_s),
        "age_s": _finite(health.age_s),
    }


def _rate_light(nominal_hz: float, effective_hz: float) -> str:
    if nominal_hz <= 0 or not math.isfinite(effective_hz):
        return "good"
    return _grade(effective_hz / nominal_hz, RATE_GOOD, RATE_BAD)


def _camera_lights(snapshot: Snapshot, picture: Picture | None) -> list[dict[str, str]]:
    row = snapshot.rows.get(Kind.ACTION_UNITS)
    streams = [stream for stream in snapshot.streams if stream.spec.kind is Kind.CAMERA]
    if not streams:
        return []
    health, nominal_hz = streams[0].health, streams[0].spec.rate_hz
    rate_hz = health.effective_rate_hz
    silent = not health.age_s <= SILENT_S
    rate = f"{rate_hz:.1f} fps" if math.isfinite(rate_hz) else "–"
    lights = [
        _light(
            "camera-rate",
            "frame rate",
            "bad" if silent else _rate_light(nominal_hz, rate_hz),
            f"silent {health.age_s:.0f} s" if silent else rate,
            f"the camera announces {nominal_hz:.0f} fps: more light lets it expose faster",
        )
    ]
    if row is not None:
        confidence = row.get("confidence", math.nan) if row.get("face", 0.0) > 0 else 0.0
        doubts = list(words(flags_in(row.get("flags", math.nan))))
        lights.append(
            _light(
                "camera-face",
                "face",
                _grade(confidence, CONFIDENCE_GOOD, CONFIDENCE_BAD),
                f"{100 * confidence:.0f} %" if math.isfinite(confidence) else "–",
                "; ".join(doubts) or "ask the person to face the camera, nothing in front of the face",
            )
        )
    if picture is not None:
        lights.append(_lighting(picture))
    return lights


def _lighting(picture: Picture) -> dict[str, str]:
    gray: NDArray[Any] | None = cv2.imdecode(
        np.frombuffer(picture.jpeg, dtype=np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8
    )
    if gray is None:
        return _light("camera-light", "lighting", "bad", "–", "the picture cannot be decoded")
    if picture.points_px is not None:
        # What matters is the light on the face, not on the wall behind it.
        points = picture.points_px[:, :2] / 8
        (x0, y0), (x1, y1) = (np.clip(edge(axis=0), 0, None).astype(int) for edge in (points.min, points.max))
        gray = gray[y0 : y1 + 1, x0 : x1 + 1] if y1 > y0 and x1 > x0 else gray
    if not gray.size:
        return _light("camera-light", "lighting", "off", "–")
    mean = float(gray.mean())
    clipped = float(np.mean((gray <= 4) | (gray >= 251)))
    if not DARK * 0.6 <= mean <= 255 - (255 - BRIGHT) * 0.6:
        light = "bad"
    elif not DARK <= mean <= BRIGHT or clipped > CLIPPED_WARN:
        light = "doubtful"
    else:
        light = "good"
    advice = "more light on the face" if mean < DARK else "less light, or a shorter exposure"
    return _light("camera-light", "lighting", light, f"{100 * mean / 255:.0f} %", advice)


def _emg_lights(snapshot: Snapshot, peaks_uv: Mapping[str, float]) -> list[dict[str, str]]:
    rail_uv = next(
        (stated_rail_uv(each.spec) for each in snapshot.streams if each.spec.kind is Kind.EMG), math.nan
    )
    lights = []
    for label, quality in snapshot.emg_quality.items():
        railed = peaks_uv.get(label, 0.0) / rail_uv
        light = quality.light
        advice = snapshot.quality_words.get(label, "").partition(": ")[2]
        if railed > RAILED_WARN:
            light = "bad" if railed > RAILED_BAD else "doubtful"
            advice = f"the signal reaches {100 * railed:.0f} % of the amplifier's range: lower the gain"
        lights.append(_light(f"emg-{label}", label, light, _emg_value(quality), advice))
    return lights


def _emg_value(quality: ChannelQuality) -> str:
    if quality.flat:
        return "flat"
    noise = f"{quality.baseline_uv:.1f} µV" if math.isfinite(quality.baseline_uv) else "–"
    return f"{noise} · line {100 * quality.line_ratio:.0f} %"


def _thermal_lights(snapshot: Snapshot) -> list[dict[str, str]]:
    row = snapshot.rows.get(Kind.SKIN_TEMPERATURE)
    if row is None:
        return []
    if row.get("ffc", 0.0) > 0:
        return [_light("thermal-roi", "skin regions", "doubtful", "FFC", "the camera calibrates itself")]
    shares = [value for label, value in row.items() if label.endswith("_valid")]
    seen = [value for value in shares if math.isfinite(value)]
    found = sum(value >= VALID_BAD for value in seen)
    share = found / len(shares) if shares else math.nan
    return [
        _light(
            "thermal-roi",
            "skin regions",
            _grade(share, VALID_GOOD, VALID_BAD) if seen else "bad",
            f"{found} of {len(shares)}",
            "turn the face to the thermal camera, hair and glasses off the skin",
        )
    ]


def _recording(snapshot: Snapshot) -> dict[str, Any] | None:
    status = snapshot.recording
    if status is None:
        # The engine goes on without its recorder when the disk is full; the operator has to see it.
        ends = [incident for incident in snapshot.incidents if incident.kind == "recording stopped"]
        return {"stopped": ends[-1].sentence} if ends else None
    total = sum(status.bytes_by_file.values())
    pace = total / status.seconds if status.seconds > 2 else 0.0
    room = max(status.free_bytes - DISK_STOP_BYTES, 0)
    return {
        "file": next(iter(status.bytes_by_file), ""),
        "seconds": status.seconds,
        "bytes": total,
        "bytes_per_s": pace,
        "free_bytes": status.free_bytes,
        "seconds_left": room / pace if pace > 0 else None,
        "warning": status.disk_warning,
        "stopped": status.stopped,
        "lost": sum(status.lost_by_stream.values()),
    }
