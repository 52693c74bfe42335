"""Sends the feed to every page that watches, each at the pace it can take.

Pictures are newest-wins: a page that has not drawn the last ones gets no further ones until it has. Rows are
kept for it for two seconds. A page that takes nothing at all for some seconds is dropped; the engine never
notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import numpy as np

from acquisition.clock import Clock
from acquisition.recorder import MARKERS
from acquisition.stream import StreamSpec
from fusion.events import FaceEvent
from zygoma.monitor.candidates import Candidates
from zygoma.monitor.feed import Feed, picture_message, text_record
from zygoma.monitor.status import status
from zygoma.state import Snapshot

UPDATES_HZ = 25.0
STATUS_HZ = 2.0
PICTURES_AT_MOST_HZ = 31.0
"""Cameras faster than this are shown with pictures left out."""

PACKETS_KEPT = 50
"""Row messages, two seconds of them, that a slow page may catch up with."""

MESSAGES_WAITING = 500
PICTURES_IN_FLIGHT = 2
FORGET_PICTURE_S = 2.0
"""A picture that was not reported drawn after this long no longer holds the next one back."""

STALLED_S = 5.0
LATENCIES_KEPT = 750


class Page(Protocol):
    """The sending half of a WebSocket."""

    def send_bytes(self, data: bytes) -> Awaitable[None]: ...
    def send_text(self, data: str) -> Awaitable[None]: ...


class Viewer:
    """One page and what waits for it.

    Args:
        page: Where messages go.
        first_packet: Number of the first row message it is to get.
    """

    def __init__(self, page: Page, first_packet: int) -> None:
        self.waiting: deque[str | bytes] = deque(maxlen=MESSAGES_WAITING)
        self.next_packet = first_packet
        self.thermal_s = -np.inf
        self.picture_s = -np.inf
        self.in_flight: dict[float, float] = {}
        self.sending_since_s: float | None = None
        self.wake = asyncio.Event()
        self.page = page

    def tell(self, message: str | bytes) -> None:
        """Queue a message that is not to be missed."""
        self.waiting.append(message)
        self.wake.set()


class Hub:
    """Knows the viewers; lives in the server's event loop.

    Args:
        feed: What is sent.
        candidates: The list of expressions.
        snapshot: Asks the engine for its state.
        clock: The LSL clock.
        viewers_limit: How many pages may watch.
        session: A guided session is served beside the monitor.
    """

    def __init__(
        self,
        feed: Feed,
        candidates: Candidates,
        snapshot: Callable[[], Snapshot],
        clock: Clock,
        *,
        viewers_limit: int,
        session: bool = False,
    ) -> None:
        self.feed = feed
        self.candidates = candidates
        self.display_latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._snapshot = snapshot
        self._clock = clock
        self._limit = viewers_limit
        self._session = session
        self._viewers: dict[Viewer, asyncio.Task[None]] = {}
        self._packets: deque[bytes] = deque(maxlen=PACKETS_KEPT)
        self._packets_made = 0
        self._thermal: tuple[float, bytes] | None = None
        self._picture: tuple[float, bytes] | None = None
        self._texts_seen = 0
        self._specs: tuple[StreamSpec, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pump: asyncio.Task[None] | None = None
        feed.on_picture = self._picture_came
        feed.on_event = self._event_came
        candidates.on_pictures = self._candidate_changed

    @property
    def viewers(self) -> int:
        """Pages that watch now."""
        return len(self._viewers)

    # -- from the engine's threads ---------------------------------------------------------------------------

    def _picture_came(self) -> None:
        if self._viewers:
            self._call(self._offer_picture)

    def _event_came(self, event: FaceEvent, feed: Feed) -> None:
        candidate = self.candidates.add(event, feed)
        if self._viewers:
            record = event.to_dict() if candidate is None else candidate.record()
            listed = candidate is not None
            message = {"kind": "event", "now": self._clock(), "listed": listed, "event": record}
            self._call(self.tell, message)

    def _candidate_changed(self, record: Mapping[str, Any]) -> None:
        if self._viewers:
            self._call(self.tell_candidate, record)

    def _call(self, work: Callable[..., None], *arguments: Any) -> None:
        loop = self._loop
        if loop is not None:
            # The server may have ended in this instant.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(work, *arguments)

    # -- in the event loop -----------------------------------------------------------------------------------

    def join(self, page: Page) -> Viewer | None:
        """Begin to send to a page; None when there are too many."""
        if len(self._viewers) >= self._limit:
            return None
        self._loop = asyncio.get_running_loop()
        self._make_packet()  # Those who watch get what came until now as rows, the new page as history.
        viewer = Viewer(page, self._packets_made)
        self._greet(viewer)
        self._viewers[viewer] = asyncio.create_task(self._send(viewer))
        self._offer_picture()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Stop sending to a page."""
        task = self._viewers.pop(viewer, None)
        if task is not None:
            task.cancel()

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a JSON message to all pages."""
        text = _json(message)
        for viewer in self._viewers:
            viewer.tell(text)

    def tell_candidate(self, record: Mapping[str, Any]) -> None:
        """Send a candidate as it is now to all pages."""
        self.tell({"kind": "candidate", "event": record})

    def drawn(self, viewer: Viewer, stamp_s: float) -> None:
        """A page reports that it has drawn the picture of this stamp."""
        if viewer.in_flight.pop(stamp_s, None) is not None:
            self.display_latencies_s.append(self._clock() - stamp_s)
            viewer.wake.set()

    def displayed_ms(self) -> tuple[float, float] | None:
        """Capture to display: median and 95th percentile of the last pictures, the report's way included."""
        if not self.display_latencies_s:
            return None
        p50, p95 = np.percentile(np.array(self.display_latencies_s) * 1e3, [50, 95])
        return float(p50), float(p95)

    def _greet(self, viewer: Viewer) -> None:
        """Everything a page begins with, whether it is new, reloaded, or back after a broken connection."""
        viewer.tell(_json({"kind": "layout", "streams": self.feed.layout()}))
        _, texts = self.feed.texts_since(0)
        greeting = {
            "kind": "greeting",
            "candidates": self.candidates.records(),
            "events": [event.to_dict() for event in self.feed.recent_events()],
            "markers": [text_record(text, MARKERS.source_id) for text in texts],
        }
        viewer.tell(_json(greeting))
        history = self.feed.history()
        if history is not None:
            viewer.tell(history)

    def _status(self) -> str:
        message = status(
            self._snapshot(),
            picture=self.feed.newest(),
            peaks_uv=self.feed.peaks_uv,
            displayed_ms=self.displayed_ms(),
            viewers=self.viewers,
            decisions=self.candidates.decisions.name,
            session=self._session,
        )
        return _json(message)

    async def _run(self) -> None:
        """The clock of all updates while anyone watches."""
        loop = asyncio.get_running_loop()
        # What came while nobody watched is in the greeting.
        due_s = status_s = loop.time()
        self._texts_seen, _ = self.feed.texts_since(0)
        while self._viewers:
            try:
                self._update()
                if loop.time() >= status_s:
                    status_s = loop.time() + 1 / STATUS_HZ
                    text = self._status()
                    for viewer in self._viewers:
                        viewer.tell(text)
                    self._drop_stalled()
            except Exception as error:
                # One odd stream must not stop the page for all the others.
                sentence = f"The monitor cannot show everything ({type(error).__name__}: {error})."
                self.tell({"kind": "problem", "sentence": sentence})
            due_s = max(due_s + 1 / UPDATES_HZ, loop.time())
            await asyncio.sleep(due_s - loop.time())

    def _update(self) -> None:
        if self.feed.specs() != self._specs:
            self._specs = self.feed.specs()
            self.tell({"kind": "layout", "streams": self.feed.layout()})
        fresh = self._make_packet()
        thermal = self.feed.thermal_message(-np.inf if self._thermal is None else self._thermal[0])
        if thermal is not None:
            self._thermal = thermal
        self._texts_seen, texts = self.feed.texts_since(self._texts_seen)
        if texts:
            records = [text_record(text, MARKERS.source_id) for text in texts]
            self.tell({"kind": "markers", "markers": records})
        if fresh or thermal is not None:
            for viewer in self._viewers:
                viewer.wake.set()

    def _make_packet(self) -> bool:
        packet = self.feed.take_rows()
        if packet is not None:
            self._packets.append(packet)
            self._packets_made += 1
        return packet is not None

    def _offer_picture(self) -> None:
        picture = self.feed.newest()
        if picture is None:
            return
        last_s = -np.inf if self._picture is None else self._picture[0]
        if 0 <= picture.stamp_s - last_s < 1 / PICTURES_AT_MOST_HZ:
            return
        self._picture = picture.stamp_s, picture_message(picture, self._clock())
        for viewer in self._viewers:
            viewer.wake.set()

    def _drop_stalled(self) -> None:
        now_s = self._clock()
        for viewer, task in list(self._viewers.items()):
            if viewer.sending_since_s is not None and now_s - viewer.sending_since_s > STALLED_S:
                task.cancel()

    async def serve(self, viewer: Viewer) -> None:
        """Return when sending to a page has ended: it went away, or it stalled."""
        task = self._viewers.get(viewer)
        if task is not None:
            await asyncio.wait([task])

    async def _send(self, viewer: Viewer) -> None:
        while True:
            await viewer.wake.wait()
            viewer.wake.clear()
            for message in self._take(viewer):
                viewer.sending_since_s = self._clock()
                if isinstance(message, str):
                    await viewer.page.send_text(message)
                else:
                    await viewer.page.send_bytes(message)
            viewer.sending_since_s = None

    def _take(self, viewer: Viewer) -> list[str | bytes]:
        """What a page gets now, pictures first: they age fastest."""
        messages: list[str | bytes] = []
        if self._picture is not None and self._picture[0] != viewer.picture_s:
            now_s = self._clock()
            viewer.in_flight = {
                stamp_s: sent_s
                for stamp_s, sent_s in viewer.in_flight.items()
                if now_s - sent_s < FORGET_PICTURE_S
            }
            if len(viewer.in_flight) < PICTURES_IN_FLIGHT:
                viewer.picture_s, message = self._picture
                viewer.in_flight[viewer.picture_s] = now_s
                messages.append(message)
        while viewer.waiting:
            messages.append(viewer.waiting.popleft())
        fresh = min(self._packets_made - viewer.next_packet, len(self._packets))
        messages += [self._packets[index] for index in range(len(self._packets) - fresh, len(self._packets))]
        viewer.next_packet = self._packets_made
        if self._thermal is not None and self._thermal[0] != viewer.thermal_s:
            viewer.thermal_s, message = self._thermal
            messages.append(message)
        return messages


def _json(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
