"""Who gets in, what is refused, and which headers every answer carries."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from acquisition.stream import DeviceNotFound
from zygoma.monitor.access import Access, OperatorOnly, Role
from zygoma.monitor.server import MonitorServer, bind, build_app

NETWORK = Access(token="operators-token", view_token="viewers-token", participant_token="participants-token")
"""As on a network, but bound to this machine."""


def router() -> APIRouter:
    made = APIRouter()

    @made.get("/thing")
    async def thing() -> dict[str, int]:
        return {"thing": 1}

    @made.post("/thing", dependencies=[OperatorOnly])
    async def change(body: dict[str, str]) -> dict[str, str]:
        return body

    @made.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    return made


def served(access: Access) -> Iterator[httpx.Client]:
    with (
        MonitorServer(build_app(access, [router()]), access, port=0) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client,
    ):
        yield client


@pytest.fixture(scope="module")
def here() -> Iterator[httpx.Client]:
    yield from served(Access.on_this_machine())


@pytest.fixture(scope="module")
def server_on_the_network() -> Iterator[httpx.Client]:
    yield from served(NETWORK)


@pytest.fixture
def network(server_on_the_network: httpx.Client) -> httpx.Client:
    server_on_the_network.cookies.clear()
    return server_on_the_network


def origin_of(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


def test_this_machine_needs_no_password_and_every_answer_carries_the_policy(here: httpx.Client) -> None:
    answer = here.get("/thing")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/nothing"])
def test_there_is_no_api_browser(here: httpx.Client, path: str) -> None:
    assert here.get(path).status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "127.0.0.1:x", "a@127.0.0.1", "[::1"]
)
def test_a_foreign_host_name_is_refused(here: httpx.Client, host: str) -> None:
    assert here.get("/thing", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:9", "[::1]:8765"])
def test_the_names_of_this_machine_are_accepted(here: httpx.Client, host: str) -> None:
    assert here.get("/thing", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_a_page_from_elsewhere_is_refused(here: httpx.Client, origin: str) -> None:
    assert here.post("/thing", json={}, headers={"Origin": origin}).status_code == 403
    assert here.get("/thing", headers={"Origin": origin}).status_code == 403


def test_a_cross_site_request_that_hides_its_origin_is_refused(here: httpx.Client) -> None:
    assert here.post("/thing", json={}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_the_pages_own_requests_pass(here: httpx.Client) -> None:
    answer = here.post("/thing", json={"a": "b"}, headers={"Origin": origin_of(here)})
    assert answer.json() == {"a": "b"}


def test_a_body_that_announces_too_much_is_refused(here: httpx.Client) -> None:
    assert here.post("/thing", content=b"x" * 70_000).status_code == 413


def test_a_body_that_turns_out_too_long_is_refused(here: httpx.Client) -> None:
    assert here.post("/thing", content=(b"x" * 1000 for _ in range(100))).status_code == 413


def test_a_malformed_body_is_refused(here: httpx.Client) -> None:
    answer = here.post("/thing", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_the_network_needs_the_token_once_and_a_cookie_afterwards(network: httpx.Client) -> None:
    assert network.get("/thing").status_code == 401
    assert network.get("/thing?token=wrong").status_code == 401
    first = network.get(f"/thing?token={NETWORK.token}&a=1")
    assert first.status_code == 303
    assert first.headers["location"] == "/thing?a=1"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert network.get("/thing").json() == {"thing": 1}


@pytest.mark.parametrize("path", ["//evil.example/", "/%5Cevil.example", "/%0d%0aSet-Cookie:x", "/%C3%BC%00"])
def test_the_redirect_that_drops_the_token_stays_on_this_server(network: httpx.Client, path: str) -> None:
    location = network.get(f"{origin_of(network)}{path}?token={NETWORK.token}").headers["location"]
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))
    assert location.isascii()
    assert location.isprintable()


def test_a_second_display_may_watch_and_do_nothing_else(network: httpx.Client) -> None:
    assert NETWORK.role_of(NETWORK.view_token or "") is Role.VIEWER
    network.cookies.set(Role.VIEWER.cookie, NETWORK.view_token or "")
    assert network.get("/thing").status_code == 200
    assert network.post("/thing", json={}).status_code == 403


def test_names_that_dns_could_bend_are_refused_on_the_network_too(network: httpx.Client) -> None:
    answer = network.get(f"/thing?token={NETWORK.token}", headers={"Host": "lab.example:8765"})
    assert answer.status_code == 400


def test_a_websocket_needs_the_right_origin_and_the_token(here: httpx.Client, network: httpx.Client) -> None:
    def opens(client: httpx.Client, query: str = "", origin: str | None = None) -> bool:
        address = f"ws://127.0.0.1:{client.base_url.port}/ws{query}"
        try:
            with connect(address, origin=origin):  # type: ignore[arg-type]
                return True
        except InvalidStatus:
            return False

    assert opens(here, origin=origin_of(here))
    assert not opens(here, origin="http://evil.example")
    assert not opens(network)
    assert opens(network, f"?token={NETWORK.token}")


def test_every_run_has_tokens_of_its_own() -> None:
    one, other = Access.on_the_network(), Access.on_the_network()
    tokens = [
        token or ""
        for access in (one, other)
        for token in (access.token, access.view_token, access.participant_token)
    ]
    assert len(set(tokens)) == 6
    assert min(map(len, tokens)) >= 32


@pytest.mark.parametrize("token", ["", "operators-toke", "operators-token ", "ä", "None"])
def test_what_is_no_token_opens_nothing(token: str) -> None:
    assert NETWORK.role_of(token) is None
    assert NETWORK.role_for("/participant", [token]) is None
    assert Access(token="a").role_for("/view", [token]) is None


def test_an_open_network_without_a_token_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="token"):
        Access(host="0.0.0.0")


def test_tls_needs_both_files(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.touch()
    with pytest.raises(DeviceNotFound, match="both files"):
        Access.on_this_machine(certificate=certificate)
    with pytest.raises(DeviceNotFound, match="not a file"):
        Access.on_this_machine(certificate=certificate, key=tmp_path / "missing.pem")


def test_tls_files_that_are_none_are_told_before_anything_is_served(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("not a certificate")
    access = Access.on_this_machine(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    with pytest.raises(DeviceNotFound, match="--tls-cert"), MonitorServer(build_app(access), access, port=0):
        pass


def test_two_monitors_take_two_ports_and_say_where() -> None:
    access = Access.on_this_machine()
    with (
        MonitorServer(build_app(access), access, port=0) as one,
        MonitorServer(build_app(access), access, port=one.port) as other,
    ):
        assert one.port != other.port
        assert other.url == f"http://127.0.0.1:{other.port}/"
        assert other.view_url.endswith("/view")


def test_a_port_that_cannot_be_had_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: tuple[str, int]) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    # The last port there is has none behind it.
    with pytest.raises(DeviceNotFound, match=r"from 65535 to 65535 \(Permission denied\).*--port"):
        bind("127.0.0.1", 65_535)
