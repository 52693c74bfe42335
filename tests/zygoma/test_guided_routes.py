"""The pages' routes behind the monitor's guard: what is served, what is taken, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fusion.tables import EMOTIONS
from tests.zygoma.guided_stage import EXAMPLES, GREEN, FlowOnly, served
from zygoma.guided.protocol import load_protocol
from zygoma.guided.routes import STATIC_TYPES
from zygoma.guided.steps import StepKind
from zygoma.monitor.access import MESSAGE_LIMIT_BYTES, Access

FORM: dict[str, Any] = {"valence": 8, "arousal": 4, "emotions": dict.fromkeys(EMOTIONS, 1), "text": "fine"}


@pytest.fixture
def session() -> FlowOnly:
    return FlowOnly(load_protocol(EXAMPLES / "protocol-short.toml"))


@contextmanager
def client_of(session: FlowOnly, access: Access) -> Iterator[httpx.Client]:
    with (
        served(session, access) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30.0) as client,
    ):
        yield client


@pytest.fixture
def client(session: FlowOnly) -> Iterator[httpx.Client]:
    with client_of(session, Access.on_this_machine()) as client:
        yield client


def test_both_pages_and_their_files_come_without_foreign_addresses(client: httpx.Client) -> None:
    for page in ("/session", "/participant"):
        answer = client.get(page)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http" not in answer.text, "nothing is loaded from elsewhere"
        assert "style=" not in answer.text and "onclick" not in answer.text
    for name, kind in STATIC_TYPES.items():
        answer = client.get(f"/participant/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    "path",
    [
        "/participant/static/..%2f..%2fprotocol.py",
        "/participant/static/%2e%2e/flow.py",
        "/participant/static/participant.html",
        "/participant/static/",
        "/participant/stimulus/..%2f..%2fpyproject.toml",
        "/participant/stimulus/stimuli%2fsunny.png",
        "/participant/stimulus/%2fetc%2fpasswd",
        "/participant/stimulus/sunny%00",
        "/participant/stimulus/" + "x" * 3000,
    ],
)
def test_only_what_the_protocol_names_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_stimulus_is_served_as_what_it_is(client: httpx.Client) -> None:
    answer = client.get("/participant/stimulus/sunny")
    assert answer.content == (EXAMPLES / "stimuli" / "sunny.png").read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_stimulus_that_became_a_link_to_elsewhere_is_not_served(tmp_path: Path) -> None:
    text = (EXAMPLES / "protocol-short.toml").read_text()
    (tmp_path / "stimuli").mkdir()
    for name in ("sunny.png", "storm.png"):
        (tmp_path / "stimuli" / name).write_bytes(b"picture")
    (tmp_path / "p.toml").write_text(text)
    session = FlowOnly(load_protocol(tmp_path / "p.toml"))
    (tmp_path / "stimuli" / "sunny.png").unlink()
    (tmp_path / "stimuli" / "sunny.png").symlink_to("/etc/hostname")
    with client_of(session, Access.on_this_machine()) as client:
        assert client.get("/participant/stimulus/sunny").status_code == 404
        assert client.get("/participant/stimulus/storm").status_code == 200


def test_commands_go_to_the_flow_and_refusals_come_back_as_a_sentence(
    client: httpx.Client, session: FlowOnly
) -> None:
    refused = client.post("/api/session/command", json={"name": "next"})
    assert refused.status_code == 409
    assert "Not ready" in refused.json()["detail"]
    session.flow.tick(GREEN)
    assert client.post("/api/session/command", json={"name": "next"}).json()["kind"] == "rest"
    assert client.post("/api/session/command", json={"name": "override", "text": " "}).status_code == 409
    done = client.post("/api/session/command", json={"name": "abort", "text": "unwell"})
    assert done.json()["outcome"] == "aborted: unwell"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("api/session/command", b"not json"),
        ("api/session/command", b'{"name": "halt"}'),
        ("api/session/command", b'{"name": "__init__"}'),
        ("api/session/command", b'{"name": "next", "more": 1}'),
        ("api/session/command", b'{"name": "note", "text": "' + b"x" * 501 + b'"}'),
        ("api/session/command", b"[" * 20000),
        ("participant/shown", b'{"stimulus": 7}'),
        ("participant/shown", b'{"stimulus": "' + b"x" * 65 + b'"}'),
        ("participant/report", b"[]"),
        ("participant/report", b'{"valence": 99}'),
        ("participant/report", b'{"valence": NaN}'),
        ("participant/report", b"\xff\xfe"),
    ],
)
def test_malformed_messages_are_refused(
    client: httpx.Client, session: FlowOnly, path: str, body: bytes
) -> None:
    headers = {"content-type": "application/json"}
    before = session.view()
    answer = client.post(f"/{path}", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert session.view() == before


def test_oversized_messages_are_refused(client: httpx.Client) -> None:
    body = b'{"text": "' + b"x" * MESSAGE_LIMIT_BYTES + b'"}'
    answer = client.post("/participant/report", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_another_site_can_neither_command_nor_answer(client: httpx.Client, session: FlowOnly) -> None:
    session.flow.tick(GREEN)
    for path in ("/api/session/command", "/participant/report", "/participant/shown"):
        answer = client.post(path, json={"name": "next"}, headers={"origin": "https://example.org"})
        assert answer.status_code == 403
    assert session.view().kind is StepKind.PREFLIGHT
    assert client.get("/session", headers={"host": "example.org"}).status_code == 400


def test_the_participants_page_may_answer_the_form_and_nothing_else(session: FlowOnly) -> None:
    access = Access.on_the_network()
    session.go_to(StepKind.REPORT)
    with client_of(session, access) as client:
        assert client.get("/session").status_code == 401
        assert client.get("/participant").status_code == 401
        assert client.get(f"/participant?token={access.participant_token}").status_code == 303
        assert client.get("/participant").status_code == 200
        assert client.get("/participant/screen").json()["show"] == "form"
        for path in ("/session", "/api/session/view", "/participantx"):
            assert client.get(path).status_code == 401
        assert client.post("/api/session/command", json={"name": "redo"}).status_code == 401
        assert client.post("/participant/report", json=FORM).status_code == 200
    assert session.flow.reports[0].report is not None


def test_a_second_display_sees_the_operators_panel_but_neither_commands_nor_answers(
    session: FlowOnly,
) -> None:
    access = Access.on_the_network()
    session.go_to(StepKind.REPORT)
    with client_of(session, access) as client:
        client.get(f"/session?token={access.view_token}")
        assert client.get("/api/session/view").status_code == 200
        assert client.post("/api/session/command", json={"name": "redo"}).status_code == 403
        assert client.get("/participant/screen").status_code == 401
        assert client.post("/participant/report", json=FORM).status_code == 401
        # The operator's own browser may open any of the addresses and stays the operator's.
        client.get(f"/session?token={access.token}")
        client.get(f"/participant?token={access.participant_token}")
        assert client.get("/participant/screen").status_code == 200
        assert client.post("/api/session/command", json={"name": "note", "text": "x"}).status_code == 200
    assert not session.flow.reports


def test_the_screen_of_the_participant_follows_the_flow(client: httpx.Client, session: FlowOnly) -> None:
    def screen() -> dict[str, Any]:
        return dict(client.get("/participant/screen").json())

    assert screen()["show"] == "text"
    assert session.pages_seen == 1
    session.flow.tick(GREEN)
    session.flow.next()
    assert screen()["show"] == "cross"
    session.go_to(StepKind.MVC)
    session.flow.next()
    session.wait(2.5)
    assert (screen()["show"], screen()["pose"], screen()["part"]) == ("pose", "smile", "contract")
    session.go_to(StepKind.LATENCY)
    session.flow.override("test")
    assert screen()["next"]["id"] == "sunny"
    session.flow.next()
    session.wait(0.6)
    assert screen()["stimulus"] == {"id": "sunny", "medium": "image", "duration_s": 2.5}
    client.post("/participant/shown", json={"stimulus": "sunny"})
    assert session.view().part == "show"
    session.wait(2.6)
    form = screen()
    assert form["show"] == "form"
    assert form["emotions"] == list(EMOTIONS)
    assert form["next"]["id"] == "storm"
    refused = client.post("/participant/report", json={"valence": 5})
    assert refused.status_code == 422
    assert "arousal" in refused.json()["detail"]
    assert client.post("/participant/report", json=FORM).status_code == 200
    assert client.post("/participant/report", json=FORM).status_code == 409
    assert "operator" not in client.get("/participant/screen").text


def test_the_operator_sees_everything(client: httpx.Client, session: FlowOnly) -> None:
    session.flow.tick(GREEN)
    view = client.get("/api/session/view").json()
    assert view["participant"] == "sim01"
    assert view["steps"][:2] == ["Checklist", "Rest baseline"]
    assert client.get("/api/session/picture").status_code == 404
    session.picture = (7, b"\xff\xd8 newest")
    assert client.get("/api/session/view").json()["picture"] == 7
    picture = client.get("/api/session/picture")
    assert (picture.content, picture.headers["content-type"]) == (b"\xff\xd8 newest", "image/jpeg")
    assert view["checks"][0] == {"label": "Camera stream", "ok": True, "detail": "there", "required": True}
    assert "next" in view["commands"]
