from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from acquisition.inlet import Incident, StreamHealth
from acquisition.stream import Channel, FrameFormat, Kind, SampleType, StreamSpec
from fusion.events import FaceEvent
from processing.face_quality import FaceFlag
from zygoma.state import Latency, Snapshot, StreamState
from zygoma.terminal import bar, number, view

CAMERA = StreamSpec(
    "Simulated camera",
    Kind.CAMERA,
    (Channel("jpeg"), Channel("frame_number")),
    30.0,
    SampleType.STRING,
    "cam",
    FrameFormat(640, 480, "MJPG"),
    {"simulated": "true"},
)
HEALTH = StreamHealth(900, 3, 1, 0, 0, 30.0, 0.02, 0.0, 100.0)


def rendered(snapshot: Snapshot) -> str:
    console = Console(width=150, height=50, record=True, force_terminal=True, file=io.StringIO())
    console.print(view(snapshot, height=50), height=50)
    return console.export_text()


def snapshot(**changes: object) -> Snapshot:
    values: dict[str, object] = {
        "now_s": 130.0,
        "started_s": 100.0,
        "streams": (StreamState(CAMERA, HEALTH),),
        "rows": {
            Kind.ACTION_UNITS: {
                "face": 1.0,
                "AU12": 0.6,
                "AU12_left": 0.9,
                "AU12_right": 0.3,
                "AU12_se": 0.05,
            },
            Kind.VALENCE: {"valence": 0.42, "standard_error": 0.11, "share_camera": 0.7, "share_emg": 0.3},
        },
        "quality_words": {},
        "events": (
            FaceEvent(
                120.0,
                0.133,
                "micro_expression",
                120.06,
                (4,),
                "left",
                category="negative",
                explanation="left corrugator supercilii contracted",
            ),
        ),
        "incidents": (Incident(125.0, "gap", 3, 0.1, "3 frames of Simulated camera were lost."),),
        "latency": Latency(15.0, 17.0, 21.0, 900),
        "skipped": 0,
        "recording": None,
    }
    return Snapshot(**{**values, **changes})  # type: ignore[arg-type]


def test_everything_an_operator_needs_is_on_the_screen() -> None:
    text = rendered(snapshot())
    for wanted in (
        "SIMULATED",
        "AU12",
        "0.60 ±0.05 D",
        "+0.42 ±0.11",
        "camera 70 %",
        "133",
        "left corrugator",
        "3 lost",
        "3 frames of Simulated camera were lost.",
        "p50 15 ms",
        "1 micro-expressions",
    ):
        assert wanted in text, wanted


def test_nothing_known_is_shown_as_such() -> None:
    text = rendered(snapshot(streams=(), rows={}, events=(), incidents=(), latency=None))
    assert "no streams yet" in text
    assert "no face" in text
    assert "nan" not in text


def test_a_silent_stream_is_named() -> None:
    silent = StreamHealth(900, 0, 0, 0, 0, 30.0, 4.2, 0.0, 100.0)
    assert "silent for 4.2 s" in rendered(snapshot(streams=(StreamState(CAMERA, silent),)))


@pytest.mark.parametrize("value", [0.0, 0.04, 0.5, 0.99, 1.0, 3.0, -1.0, math.nan])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_bar_always_has_its_width(value: float, reverse: bool) -> None:
    assert len(bar(value, 10, reverse=reverse)) == 10


def test_an_unknown_number_is_a_dash() -> None:
    assert number(math.nan, ".2f").strip() == "–"
    assert number(0.5, ".2f") == "0.50"
    assert number(-0.2, "+z.0f") == "+0"


def test_what_speaks_against_the_picture_is_said() -> None:
    def shown(flags: FaceFlag) -> str:
        return rendered(snapshot(rows={Kind.ACTION_UNITS: {"face": 1.0, "flags": float(flags)}}))

    assert "too dark: light the face from the front" in shown(FaceFlag.LOW_LIGHT)
    assert "glasses suspected; too dark" in shown(FaceFlag.LOW_LIGHT | FaceFlag.GLASSES)
