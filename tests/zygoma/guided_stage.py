"""A guided session without devices, for tests of its routes and pages: the flow on a hand-wound clock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from acquisition.clock import ManualClock
from zygoma.guided.flow import Flow
from zygoma.guided.preflight import Check, Health
from zygoma.guided.protocol import Protocol
from zygoma.guided.routes import session_router
from zygoma.guided.self_report import parse_report
from zygoma.guided.session import GuidedSession
from zygoma.guided.steps import StepKind, View
from zygoma.monitor.access import Access
from zygoma.monitor.server import MonitorServer, build_app

EXAMPLES = Path(__file__).parents[2] / "examples"
GREEN = Health((Check("Camera stream", True, "there"),), participant_page=True)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    # The pages need nothing from outside.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def browser_path() -> str:
    """An installed browser; the test is skipped, or fails where it is required, without one."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is not None:
        return found
    told = f"no browser among {', '.join(BROWSERS)}: install one with 'sudo apt-get install chromium'"
    if os.environ.get("ZYGOMA_BROWSER_TESTS") == "required":
        pytest.fail(told)
    pytest.skip(told)


class FlowOnly:
    """The side of a `GuidedSession` that the routes use, without devices."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.clock = ManualClock()
        self.flow = Flow(protocol, self.clock)
        self.summary: dict[str, Any] = {}
        self.pages_seen = 0
        self.picture: tuple[int, bytes] = (0, b"")

    def view(self) -> View:
        return self.flow.view()

    def read_summary(self) -> dict[str, Any]:
        return self.summary

    def recording_state(self) -> dict[str, Any]:
        return {}

    def page_seen(self) -> None:
        self.pages_seen += 1

    def shown(self, stimulus: str) -> None:
        self.flow.shown(stimulus)

    def command(self, name: str, text: str = "") -> None:
        self.flow.command(name, text)

    def report(self, values: Any) -> None:
        self.flow.report(parse_report(values, self.protocol.self_report.scales))

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.05)):
            self.clock.now_s += 0.05
            self.flow.tick(GREEN)

    def go_to(self, kind: StepKind) -> None:
        """Override everything up to a step."""
        self.flow.tick(GREEN)
        while self.flow.step.kind is not kind:
            if self.flow.step.kind is StepKind.STIMULUS:
                self.flow.next() if self.flow.view().phase == "waiting" else self.wait(0.5)
                self.flow.shown(self.flow.step.stimulus.id)  # type: ignore[union-attr]
            else:
                self.flow.override("test")


@contextmanager
def served(session: FlowOnly, access: Access) -> Iterator[MonitorServer]:
    """The session's routes on a real server behind the real guard."""
    app = build_app(access, [session_router(cast(GuidedSession, session))])
    with MonitorServer(app, access, port=0) as server:
        yield server
