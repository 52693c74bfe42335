"""Who may talk to the monitor: every request passes `Guard` before any route sees it.

On this machine alone no password is needed, but a web page from elsewhere that the same browser shows must
not get through (Host and Origin are checked). Towards a network a random token is needed on top.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from fastapi import Depends, HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acquisition.stream import DeviceNotFound

MESSAGE_LIMIT_BYTES = 64 * 1024
"""Longest request body or WebSocket message that is read; a page has nothing longer to say."""

VIEWERS_LIMIT = 8
"""Pages that may watch at once."""

ROLE_KEY = "zygoma.role"
TOKEN_BYTES = 24
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Role(StrEnum):
    """What a connection may do: everything, watch the monitor, or be the participant's page of a session."""

    OPERATOR = "operator"
    VIEWER = "viewer"
    PARTICIPANT = "participant"

    @property
    def cookie(self) -> str:
        """Name of the cookie its token is kept in; a browser may have those of several."""
        return f"zygoma_{self}"


PARTICIPANT_PATH = "/participant"
"""All that the participant's page is and asks for lies below it; nothing of the monitor does."""


@dataclass(frozen=True)
class Access:
    """How the monitor may be reached.

    Attributes:
        host: Address to bind.
        token: Needed by operators when the network is let in; None on this machine alone.
        view_token: Lets a second display watch and do nothing else.
        participant_token: Lets the participant's page show and answer what the session asks, nothing else.
        certificate, key: PEM files for TLS; None speaks plain HTTP.
        message_limit_bytes, viewers_limit: See the constants of these names.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    view_token: str | None = None
    participant_token: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES
    viewers_limit: int = VIEWERS_LIMIT

    def __post_init__(self) -> None:
        if self.token is None and not _is_loopback(self.host):
            raise ValueError(f"the monitor needs a token to be reached from {self.host}")
        if (self.certificate is None) != (self.key is None):
            raise DeviceNotFound("TLS needs both files: give --tls-cert and --tls-key.")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise DeviceNotFound(f"{path} is not a file: give the PEM files to --tls-cert and --tls-key.")

    @classmethod
    def on_this_machine(cls, **options: Any) -> Access:
        """Reachable from this machine only; the default."""
        return cls(**options)

    @classmethod
    def on_the_network(cls, **options: Any) -> Access:
        """Reachable from the local network with fresh random tokens."""
        token, view_token, participant_token = (secrets.token_urlsafe(TOKEN_BYTES) for _ in range(3))
        return cls("0.0.0.0", token, view_token, participant_token, **options)

    @property
    def scheme(self) -> str:
        """``https`` with TLS, else ``http``."""
        return "http" if self.certificate is None else "https"

    def role_of(self, token: str) -> Role | None:
        """Whose token it is; None when it opens nothing. Compared in constant time."""
        found = None
        for role, own in (
            (Role.OPERATOR, self.token),
            (Role.VIEWER, self.view_token),
            (Role.PARTICIPANT, self.participant_token),
        ):
            if own is not None and secrets.compare_digest(token.encode(), own.encode()):
                found = role
        return found

    def role_for(self, path: str, tokens: Iterable[str]) -> Role | None:
        """What the bearer of `tokens` may do at `path`; None when nothing."""
        if self.token is None:
            return Role.OPERATOR
        roles = {self.role_of(token) for token in tokens}
        below = path == PARTICIPANT_PATH or path.startswith(f"{PARTICIPANT_PATH}/")
        wanted = (Role.OPERATOR, Role.PARTICIPANT if below else Role.VIEWER)
        return next((role for role in wanted if role in roles), None)

    def accepts_host(self, host: str) -> bool:
        """Whether a Host header names this server: an address, or ``localhost``, never a foreign name.

        A name that an attacker's DNS lets point here (rebinding) is what this keeps out.
        """
        name = _host_name(host)
        if name is None:
            return False
        if self.token is None:
            return name in _LOOPBACK_NAMES
        if name == "localhost":
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def accepts_origin(self, origin: str | None, host: str) -> bool:
        """Whether a request with this Origin header comes from a page of this very server.

        Programs other than browsers send none; browsers always do where it matters.
        """
        return origin is None or origin == f"{self.scheme}://{host}"


def _is_loopback(host: str) -> bool:
    return host in _LOOPBACK_NAMES


def _host_name(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        # `port` raises on nonsense, which is why it is asked for.
        if parts.port is not None and parts.port <= 0:
            return None
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return parts.hostname


def security_headers(host: str) -> dict[str, str]:
    """Headers of every answer: the page may run and reach nothing but this server's own files."""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "media-src": "'self' blob:",
        "font-src": "'self'",
        # Older browsers do not count a WebSocket as 'self'.
        "connect-src": f"'self' ws://{host} wss://{host}",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Cache-Control": "no-store",
    }


class Guard:
    """ASGI middleware that lets through what `Access` allows and limits the size of what is sent in.

    Args:
        app: The application behind it.
        access: See `Access`.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        host = headers.get("host", "")
        refusal = self._refusal(scope, headers, host)
        if refusal is None:
            role = self._access.role_for(scope["path"], _tokens(scope, headers))
            if role is None:
                refusal = (401, "Open the address that zygoma printed when it started: it carries the token.")
            else:
                scope[ROLE_KEY] = role
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, refused=refusal is not None)
        elif refusal is not None:
            await _answer(send, *refusal, headers=security_headers(host) if refusal[0] != 400 else {})
        elif self._access.token is not None and "token" in _query(scope):
            await self._keep_token(scope, send, security_headers(host))
        else:
            await self._http(scope, receive, send, headers, host)

    def _refusal(self, scope: Scope, headers: Mapping[str, str], host: str) -> tuple[int, str] | None:
        if not self._access.accepts_host(host):
            return 400, "This server does not go by that name."
        if not self._access.accepts_origin(headers.get("origin"), host):
            return 403, "Another site's page may not use this server."
        changes = scope["type"] == "http" and scope["method"] not in _SAFE_METHODS
        if changes and headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return 403, "Another site's page may not use this server."
        return None

    async def _keep_token(self, scope: Scope, send: Send, headers: Mapping[str, str]) -> None:
        """Move the token from the address, where it could be read over a shoulder, into a cookie."""
        query = _query(scope)
        token = query.pop("token")[0]
        # Quoted, and with one slash at its start: it stays an address on this server.
        target = (
            "/" + quote(scope["path"].lstrip("/")) + (f"?{urlencode(query, doseq=True)}" if query else "")
        )
        changed = {**headers, "Location": target}
        role = self._access.role_of(token)
        if role is not None:
            secure = "; Secure" if self._access.certificate is not None else ""
            changed["Set-Cookie"] = f"{role.cookie}={token}; Path=/; HttpOnly; SameSite=Strict{secure}"
        await _answer(send, 303, "", headers=changed)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, *, refused: bool) -> None:
        if refused:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "not allowed"})
            return
        await self._app(scope, receive, send)

    async def _http(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str], host: str
    ) -> None:
        limit = self._access.message_limit_bytes
        length = headers.get("content-length", "0")
        extra = security_headers(host)
        if not length.isdigit() or int(length) > limit:
            await _answer(send, 413, f"Send at most {limit} bytes.", headers=extra)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, f"Send at most {limit} bytes.")
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message.get("headers", [])}
                message["headers"] = [
                    *message.get("headers", []),
                    *(pair for pair in _encoded(extra) if pair[0].lower() not in own),
                ]
            await send(message)

        await self._app(scope, limited, guarded)


def connection_role(connection: HTTPConnection) -> Role:
    """FastAPI dependency: what the asker may do. `Guard` has refused everyone who may do nothing."""
    role = connection.scope.get(ROLE_KEY)
    if role is None:
        raise HTTPException(401, "This request did not come through the monitor's guard.")
    return cast(Role, role)


def require_operator(role: Annotated[Role, Depends(connection_role)]) -> Role:
    """FastAPI dependency of every route that changes something."""
    if role is not Role.OPERATOR:
        raise HTTPException(403, "This display may watch only.")
    return role


OperatorOnly = Depends(require_operator)
"""``dependencies=[OperatorOnly]`` on a route or router."""


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _tokens(scope: Scope, headers: Mapping[str, str]) -> list[str]:
    """The tokens of a request: in the address printed at the start, afterwards in cookies."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        cookies = SimpleCookie()
    kept = [cookies[role.cookie].value for role in Role if role.cookie in cookies]
    return [*_query(scope).get("token", []), *kept]


async def _answer(send: Send, status: int, detail: str, *, headers: Mapping[str, str]) -> None:
    body = json.dumps({"detail": detail}).encode()
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*start, *_encoded(headers)]})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
