from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from acquisition.stream import Block, Kind
from fusion.events import FaceEvent
from processing.face_quality import FaceFlag
from tests.processing.portraits import camera_spec, portrait
from zygoma.cli import app
from zygoma.pipeline import Pipeline, PipelineSettings
from zygoma.summary import Summary

SPEC = camera_spec("BGR8")


def run(pipeline: Pipeline, frames: int) -> list[FaceEvent]:
    """A portrait in good light, and in bad light from the first second on."""
    bright = np.ascontiguousarray(portrait()[..., ::-1])
    dark = (bright * 0.25).astype(np.uint8)
    events: list[FaceEvent] = []
    for index in range(frames):
        frame = bright if index < 30 else dark
        faces = pipeline.face(Block(SPEC, np.array([5.0 + index / 30]), (frame,), index))
        events += pipeline.drain(frozenset({Kind.CAMERA})).events
        pipeline.follow(faces)
    return [*events, *pipeline.drain(frozenset(), flush=True).events]


def test_bad_light_becomes_a_quality_event_with_its_end() -> None:
    with closing(Pipeline({Kind.CAMERA: SPEC}, PipelineSettings(mirrored=True))) as pipeline:
        doubts = [event for event in run(pipeline, 55) if event.trial_type == "quality"]
        assert pipeline.neutral is not None
    told = {event.vetoes: event for event in doubts}
    assert set(told) == {(name, part) for name in ("mirrored", "low_light") for part in ("begins", "ends")}
    dark = told["low_light", "ends"]
    assert dark.onset == pytest.approx(6.0, abs=0.1)
    assert dark.duration == pytest.approx(0.8, abs=0.1)
    assert len({event.id for event in doubts}) == 4


def test_the_summary_says_what_spoke_against_the_picture(tmp_path: Path) -> None:
    summary = Summary(tmp_path, "x", frames=1000)
    assert summary.face_words() == {}
    summary.flagged = Counter({FaceFlag.LOW_LIGHT: 250, FaceFlag.LOST: 2})
    assert summary.face_words() == {"face": "too dark in 25 % of the frames"}


def test_only_a_camera_is_mirrored() -> None:
    asked = CliRunner().invoke(app, ["publish", "emg", "--simulate", "--mirrored"])
    assert asked.exit_code == 2
