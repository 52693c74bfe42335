"""The monitor's paths through the real server, fed by hand: files, candidates, markers, the WebSocket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from acquisition.stream import DeviceNotFound
from fusion.events import FaceEvent
from zygoma.monitor.access import MESSAGE_LIMIT_BYTES, Access
from zygoma.monitor.live import Monitor, MonitorOptions
from zygoma.monitor.routes import chart_folder
from zygoma.state import Snapshot

VIEWERS = 3


@dataclass
class Served:
    monitor: Monitor
    client: httpx.Client
    recordings: Path
    notes: list[str] = field(default_factory=list)

    def socket(self) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.client.base_url.port}/ws")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = MonitorOptions(port=0, access=Access.on_this_machine(viewers_limit=VIEWERS))
    recordings = tmp_path_factory.mktemp("recordings")
    with Monitor(options, recordings=recordings) as monitor:
        notes: list[str] = []

        def mark(text: str) -> float:
            notes.append(text)
            return 12.5

        server = monitor.serve(lambda: Snapshot(10.0, 5.0, (), {}, {}, (), (), None, 0, None), mark)
        event = FaceEvent(9.0, 0.2, "micro_expression", 9.1, (4,), id="m 1 ü")
        monitor.feed.event(event)
        with httpx.Client(base_url=server.url) as client:
            yield Served(monitor, client, recordings, notes)


@pytest.mark.parametrize(
    "path", ["/", "/view", "/static/main.js", "/static/monitor.css", "/charts/uplot.iife.min.js"]
)
def test_the_page_and_its_files_are_served(served: Served, path: str) -> None:
    answer = served.client.get(path)
    assert answer.status_code == 200
    assert "content-security-policy" in answer.headers


def test_the_page_asks_nothing_of_any_other_server(served: Served) -> None:
    for path in ("/", "/view", "/static/monitor.css"):
        assert "//" not in served.client.get(path).text.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/..%5cserver.py",
        "/static//etc/passwd",
        "/charts/../__init__.py",
        "/charts/..%2f__init__.py",
        "/charts/__init__.py",
        "/api/candidates/..%2f..%2fetc/apex.jpg",
        "/api/candidates/m1/..%2fapex.jpg",
    ],
)
def test_no_path_leads_out_of_the_served_files(served: Served, path: str) -> None:
    # A raw request, for clients tidy such paths up before they send them.
    with socket.create_connection(("127.0.0.1", served.client.base_url.port or 0)) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        status = raw.makefile("rb").readline()
    assert b" 404 " in status or b" 400 " in status


def test_a_verdict_is_kept_and_told_to_every_page(served: Served) -> None:
    path = "/api/candidates/m%201%20%C3%BC"
    with served.socket() as page:
        answer = served.client.post(path, json={"verdict": "confirmed", "note": " a smile "})
        assert answer.json()["verdict"] == "confirmed"
        while True:
            message = page.recv(timeout=10)
            if isinstance(message, str) and json.loads(message)["kind"] == "candidate":
                break
    assert served.client.get("/api/candidates").json()[0]["note"] == "a smile"
    (file,) = served.recordings.rglob(served.monitor.candidates.decisions.name)
    assert json.loads(file.read_text().splitlines()[-1])["id"] == "m 1 ü"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/candidates/none", {"verdict": "confirmed"}, 404),
        ("/api/candidates/m%201%20%C3%BC", {"verdict": "perhaps"}, 422),
        ("/api/candidates/m%201%20%C3%BC", {"verdict": "open", "note": "x" * 600}, 422),
        ("/api/candidates/m%201%20%C3%BC", ["confirmed"], 422),
        ("/api/markers", {"text": ""}, 422),
        ("/api/markers", {"text": "   "}, 422),
        ("/api/markers", {"text": "x" * 300}, 422),
        ("/api/markers", {"text": 5}, 422),
    ],
)
def test_what_makes_no_sense_is_refused(served: Served, path: str, body: object, status: int) -> None:
    before = list(served.notes)
    assert served.client.post(path, json=body).status_code == status
    assert served.notes == before


def test_a_note_is_stamped_by_the_engine(served: Served) -> None:
    answer = served.client.post("/api/markers", json={"text": " participant\n coughs "})
    assert answer.json() == {"time": 12.5, "text": "participant coughs"}
    assert served.notes[-1] == "participant coughs"


@pytest.mark.parametrize(
    "messages",
    [
        ["x" * (MESSAGE_LIMIT_BYTES + 1)],
        ["{", "[]", "null"],
        [b"\x00", b"\x01", b"\x02"],
        ['{"kind": "drawn"}', '{"kind": "drawn", "stamp": "now"}', '{"kind": "drop table"}'],
        ["[" * 20_000] * 3,
    ],
    ids=["oversized", "not messages", "binary", "wrong fields", "nested"],
)
def test_a_page_that_talks_nonsense_is_dropped(served: Served, messages: list[str | bytes]) -> None:
    with served.socket() as page:
        for message in messages:
            page.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                page.recv(timeout=10)
    assert served.client.get("/").status_code == 200


def test_there_is_a_limit_to_viewers(served: Served) -> None:
    with ExitStack() as stack:
        for _ in range(VIEWERS):
            stack.enter_context(served.socket()).recv(timeout=10)
        late = stack.enter_context(served.socket())
        with pytest.raises(ConnectionClosed):
            late.recv(timeout=10)


def test_missing_charts_are_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zygoma.monitor.routes.CHART_WHEEL", "no-such-wheel")
    with pytest.raises(DeviceNotFound, match="pip install no-such-wheel"):
        chart_folder()


def test_the_charts_are_the_installed_wheels_own() -> None:
    assert "site-packages" in chart_folder().parts
    page_files = Path(chart_folder.__code__.co_filename).parent / "static"
    assert not list(page_files.rglob("*plot*.js"))
