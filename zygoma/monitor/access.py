"""Who may talk to the monitor: every request passes `Guard` before any route sees it.

On this machine alone no password is needed, but a web page from elsewhere that the same browser shows must
not get through (Host and Origin are checked). Towards a network a random token is needed on top.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import Depends, HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acquisition.stream import DeviceNotFound

MESSAGE_LIMIT_BYTES = 64 * 1024
"""Longest request body or WebSocket message that is read; a page has nothing longer to say."""

VIEWERS_LIMIT = 8
"""Pages that may watch at once."""

COOKIE = "zygoma_token"
ROLE_KEY = "zygoma.role"
TOKEN_BYTES = 24
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Role(StrEnum):
    """What a connection may do."""

    OPERATOR = "operator"
    VIEWER = "viewer"


@dataclass(frozen=True)
class Access:
    """How the monitor may be reached.

    Attributes:
        host: Address to bind.
        token: Needed by operators when the network is let in; None on this machine alone.
        view_token: Lets a second display watch and do nothing else.
        certificate, key: PEM files for TLS; None speaks plain HTTP.
        message_limit_bytes, viewers_limit: See the constants of these names.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    view_token: str | None = None
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
        return cls(
            host="0.0.0.0",
            token=secrets.token_urlsafe(TOKEN_BYTES),
            view_token=secrets.token_urlsafe(TOKEN_BYTES),
            **options,
        )

    @property
    def scheme(self) -> str:
        """``https`` with TLS, else ``http``."""
        return "http" if self.certificate is None else "https"

    def role_of(self, token: str | None) -> Role | None:
        """What the bearer of `token` may do; None when it opens nothing. Compared in constant time."""
        if self.token is None:
            return Role.OPERATOR
        given = (token or "").encode()
        operator = secrets.compare_digest(given, self.token.encode())
        viewer = secrets.compare_digest(given, (self.view_token or self.token).encode())
        if operator:
            return Role.OPERATOR
        return Role.VIEWER if viewer else None

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
            role = self._access.role_of(_token(scope, headers))
            if role is None:
                refusal = (401, "Open the address that zygoma printed when it started: it carries the token.")
            else:
                scope[ROLE_KEY] = role
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, refused=refusal is not None)
        elif refusal is not None:
            await _answer(send, *refusal, headers=security_headers(host) if refusal[0] != 400 else {})
        elif self._access.token is not None and "token" in _query(scope):
            await _keep_token(
                scope, send, security_headers(host), secure=self._access.certificate is not None
            )
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


def _token(scope: Scope, headers: Mapping[str, str]) -> str | None:
    """The token of a request: in the address printed at the start, afterwards in a cookie."""
    given = _query(scope).get("token")
    if given:
        return given[0]
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie is not None else None


async def _keep_token(scope: Scope, send: Send, headers: Mapping[str, str], *, secure: bool) -> None:
    """Move the token from the address, where it could be read over a shoulder, into a cookie."""
    query = _query(scope)
    token = query.pop("token")[0]
    path = scope["path"] if not scope["path"].startswith("//") else "/"
    target = path + (f"?{urlencode(query, doseq=True)}" if query else "")
    cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
    await _answer(send, 303, "", headers={**headers, "Location": target, "Set-Cookie": cookie})


async def _answer(send: Send, status: int, detail: str, *, headers: Mapping[str, str]) -> None:
    body = json.dumps({"detail": detail}).encode()
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*start, *_encoded(headers)]})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
