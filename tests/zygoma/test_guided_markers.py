"""Markers of another program over real LSL, sent as `examples/psychopy_markers.py` sends them."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acquisition.recording import Recording
from acquisition.stream import Kind
from tests.zygoma.guided_stage import EXAMPLES
from zygoma.engine import Engine
from zygoma.guided.protocol import Protocol
from zygoma.guided.session import GuidedSession
from zygoma.guided.steps import StepKind

LIMIT_S = 60.0

pytestmark = pytest.mark.timeout(150)


def psychopy_example() -> Any:
    spec = importlib.util.spec_from_file_location("psychopy_markers", EXAMPLES / "psychopy_markers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_another_program_says_when_its_stimulus_is_on_the_screen(tmp_path: Path) -> None:
    protocol = Protocol.model_validate(
        {
            "task": "films",
            "participant": {"pseudonym": "P07"},
            "consent": {"scope": "analysis only", "version": "1"},
            "devices": [{"kind": "Markers"}],
            "self_report": {"scales": []},
            "blocks": [
                {
                    "id": "films",
                    "pause_s": 0,
                    "stimuli": [
                        {"id": "film1", "intended": "happiness", "duration_s": 30, "external": "PsychoPy"}
                    ],
                }
            ],
        }
    )
    session = GuidedSession(protocol, tmp_path, needs_page=False)

    def wait_for(condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < end_s, session.view()
            session.tick()
            time.sleep(0.01)

    example = psychopy_example()
    with Engine(onlooker=session) as engine:
        session.attach(engine)
        markers = example.Markers()
        wait_for(lambda: "next" in session.view().commands)
        assert session.view().checks[0].detail == "PsychoPy markers"
        session.command("next")
        while session.view().kind is not StepKind.STIMULUS:
            session.command("override", "only markers are tested")
        session.command("next")
        wait_for(lambda: session.view().part == "external")
        example.show(markers, "film1", 0.3)
        wait_for(lambda: session.closed)
        session.close()

    (showing,) = session.flow.showings
    assert showing.problems == []
    assert 0.25 < showing.end_s - showing.onset_s < LIMIT_S
    assert session.flow.outcome == "completed"
    assert session.paths is not None
    said = [
        (text, float(stamp))
        for block in Recording(session.paths.xdf).merged([Kind.MARKERS])
        for text, stamp in zip(block.data, block.timestamps, strict=True)
    ]
    times = dict(said)
    # Recorded as it came, with the very stamps that the flow went by.
    assert times["StimOn film1"] == pytest.approx(showing.onset_s, abs=1e-6)
    assert times["StimOff film1"] == pytest.approx(showing.end_s, abs=1e-6)
    assert times["SessionStart/P07"] < times["BlockStart/films"] < times["StimOn film1"]
    assert "StimOn/film1" not in times
