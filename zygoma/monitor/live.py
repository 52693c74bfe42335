"""The monitor of one run: feed, candidates, hub and server, put together beside an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fastapi import APIRouter

from acquisition.clock import Clock, lsl_clock
from acquisition.session import SessionPaths
from zygoma.monitor.access import Access
from zygoma.monitor.candidates import Candidates, DecisionFile
from zygoma.monitor.feed import Feed
from zygoma.monitor.hub import Hub
from zygoma.monitor.routes import page_router, static_files
from zygoma.monitor.server import DEFAULT_PORT, MonitorServer, build_app
from zygoma.state import Snapshot


@dataclass(frozen=True)
class MonitorOptions:
    """How the page is served; see `Access`."""

    port: int = DEFAULT_PORT
    access: Access = field(default_factory=Access.on_this_machine)


class Monitor:
    """Serves the page of a run; use as a context manager.

    `feed` is the onlooker that the engine is given.

    Args:
        options: See `MonitorOptions`.
        paths: Tells the recording that decisions are put beside; while there is none they go into a file of
            their own in `recordings`.
        recordings: See `paths`.
        clock: The LSL clock.
    """

    def __init__(
        self,
        options: MonitorOptions,
        *,
        paths: Callable[[], SessionPaths | None] = lambda: None,
        recordings: Path = Path("recordings"),
        clock: Clock = lsl_clock,
    ) -> None:
        self.options = options
        self.feed = Feed()
        apart = recordings / "decisions" / f"decisions-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
        self.candidates = Candidates(DecisionFile(lambda: decision_path(paths(), apart)))
        self.server: MonitorServer | None = None
        self.hub: Hub | None = None
        self._clock = clock

    def serve(
        self,
        snapshot: Callable[[], Snapshot],
        mark: Callable[[str], float],
        routers: Sequence[APIRouter] = (),
    ) -> MonitorServer:
        """Start the server.

        Args:
            snapshot: Asks the engine for its state.
            mark: Puts an operator's note on LSL and into the recording.
            routers: Further paths, for the guided session.
        """
        access = self.options.access
        self.hub = Hub(
            self.feed,
            self.candidates,
            snapshot,
            self._clock,
            viewers_limit=access.viewers_limit,
            session=bool(routers),
        )
        app = build_app(access, [page_router(self.hub, mark, self._clock), *routers])
        app.mount("/static", static_files())
        self.server = MonitorServer(app, access, port=self.options.port)
        self.server.start()
        return self.server

    def close(self) -> None:
        """Stop serving and finish the file of decisions."""
        if self.server is not None:
            self.server.stop()
        self.candidates.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def decision_path(paths: SessionPaths | None, apart: Path) -> Path:
    """Where decisions go: beside the recording, without one to `apart`."""
    return apart if paths is None else paths.folder / f"{paths.stem}_decisions.jsonl"
