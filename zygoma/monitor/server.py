"""The monitor's web server: one thread with uvicorn, the page's files, and the routers it is given.

Paths are shared out: ``/``, ``/view``, ``/ws``, ``/static`` and ``/api/...`` belong to the monitor;
``/session`` and ``/api/session/...`` to a session's operator, ``/participant...`` to its participant.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI

from acquisition.stream import DeviceNotFound
from zygoma.monitor.access import Access, Guard

DEFAULT_PORT = 8765
PORTS_TRIED = 20
PORTS = 65_536
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0


def build_app(access: Access, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The application with its guard in front; `routers` serve what the page and others ask for."""
    app = FastAPI(title="zygoma", docs_url=None, redoc_url=None, openapi_url=None)
    for router in routers:
        app.include_router(router)
    app.add_middleware(Guard, access=access)
    return app


class MonitorServer:
    """Serves an application from a thread of its own; use as a context manager.

    Args:
        app: See `build_app`.
        access: See `Access`.
        port: First port to try; 0 takes any free one.
    """

    def __init__(self, app: FastAPI, access: Access, *, port: int = DEFAULT_PORT) -> None:
        self.access = access
        self._socket = bind(access.host, port)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            # Messages to the page are compressed pictures and noise: deflate would only cost.
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_max_size=access.message_limit_bytes,
            limit_concurrency=64,
            timeout_graceful_shutdown=1,
            ssl_certfile=access.certificate,
            ssl_keyfile=access.key,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="zygoma-monitor", daemon=True)

    def _serve(self) -> None:
        # Unreadable TLS files end it; `start` then says so.
        with contextlib.suppress(OSError):
            asyncio.run(self._server.serve(sockets=[self._socket]))

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """What to open in the browser; with the operator's token when there is one."""
        return self.address("/", self.access.token)

    @property
    def view_url(self) -> str:
        """The read-only page for a second display."""
        return self.address("/view", self.access.view_token)

    def address(self, path: str, token: str | None) -> str:
        """What to open for `path`, with `token` where one is needed."""
        host = "127.0.0.1" if self.access.token is None else lan_address()
        query = "" if token is None else f"?token={token}"
        return f"{self.access.scheme}://{host}:{self.port}{path}{query}"

    def start(self) -> None:
        """Serve from now on; returns when requests are answered.

        Raises:
            DeviceNotFound: The server did not come up (unreadable TLS files, for instance).
        """
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(START_TIMEOUT_S / 0.02)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                break
            waited.wait(0.02)
        self.stop()
        raise DeviceNotFound(
            "The monitor page could not be served: check the files of --tls-cert and --tls-key."
        )

    def stop(self) -> None:
        """Close every connection and the port."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)
        self._socket.close()

    def __enter__(self) -> MonitorServer:
        self.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on `port` or the next free one.

    Raises:
        DeviceNotFound: None of them is free.
    """
    candidates = range(port, min(port + PORTS_TRIED, PORTS)) if port else range(1)
    reason = ""
    for candidate in candidates:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)
            continue
        listener.listen(64)
        listener.setblocking(False)
        return listener
    raise DeviceNotFound(
        f"The page gets no port from {candidates[0]} to {candidates[-1]} ({reason}): give another by --port."
    )


def lan_address() -> str:
    """This machine's address towards its network, without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Choosing a route for UDP sends no packet; the address is of the documentation range.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
