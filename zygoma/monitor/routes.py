"""The monitor's paths: its pages and files, the WebSocket, candidates and markers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from acquisition.clock import Clock
from acquisition.stream import DeviceNotFound
from zygoma.monitor.access import MESSAGE_LIMIT_BYTES, OperatorOnly, Role, connection_role
from zygoma.monitor.anatomy import anatomy
from zygoma.monitor.candidates import MOMENTS, NOTE_LENGTH
from zygoma.monitor.hub import Hub, Viewer

STATIC = Path(__file__).parent / "static"
CHART_WHEEL = "youplot"
CHART_FILES = ("uplot.iife.min.js", "uplot.min.css")
MARKER_LENGTH = 200
MALFORMED_LIMIT = 3
"""Messages that make no sense before a page is dropped."""

POLICY_VIOLATION, TRY_LATER, TOO_BIG = 1008, 1013, 1009


class Decision(BaseModel):
    """What the operator says about a candidate."""

    verdict: str = Field(max_length=16)
    note: str = Field(default="", max_length=NOTE_LENGTH)


class Marker(BaseModel):
    """A note that is stamped on arrival."""

    text: str = Field(min_length=1, max_length=MARKER_LENGTH)


def chart_folder() -> Path:
    """Where the installed chart library keeps its assets; found without importing it.

    Raises:
        DeviceNotFound: It is not installed.
    """
    try:
        files = metadata.files(CHART_WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == CHART_FILES[0]:
            return Path(str(file.locate())).parent
    raise DeviceNotFound(f"The charts are missing: pip install {CHART_WHEEL}")


def page_router(hub: Hub, mark: Callable[[str], float], clock: Clock) -> APIRouter:
    """All paths of the monitor.

    Args:
        hub: Serves the pages.
        mark: Puts an operator's note on LSL and into the recording; returns its stamp.
        clock: The LSL clock.
    """
    router = APIRouter()
    charts = chart_folder()

    @router.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @router.get("/view", include_in_schema=False)
    async def view() -> FileResponse:
        return FileResponse(STATIC / "view.html")

    @router.get("/charts/{name}")
    async def chart_file(name: str) -> FileResponse:
        if name not in CHART_FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(charts / name)

    @router.get("/api/anatomy")
    async def anatomy_of_the_face() -> dict[str, Any]:
        return anatomy()

    @router.get("/api/candidates")
    async def candidates() -> list[dict[str, Any]]:
        return hub.candidates.records()

    @router.get("/api/candidates/{identity}/{moment}.jpg")
    async def thumbnail(identity: str, moment: str) -> Response:
        jpeg = hub.candidates.thumbnail(identity, moment) if moment in MOMENTS else None
        if jpeg is None:
            raise HTTPException(404, "no such picture")
        return Response(jpeg, media_type="image/jpeg")

    @router.post("/api/candidates/{identity}", dependencies=[OperatorOnly])
    async def decide(identity: str, decision: Decision) -> dict[str, Any]:
        try:
            record = await asyncio.to_thread(
                hub.candidates.decide, identity, decision.verdict, decision.note.strip(), clock()
            )
        except KeyError:
            raise HTTPException(404, "no such candidate") from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        except OSError as error:
            raise HTTPException(507, f"The decision could not be saved: {error}") from None
        hub.tell_candidate(record)
        return record

    @router.post("/api/markers", dependencies=[OperatorOnly])
    async def marker(marker: Marker) -> dict[str, Any]:
        text = " ".join(marker.text.split())
        if not text:
            raise HTTPException(422, "an empty note says nothing")
        return {"time": await asyncio.to_thread(mark, text), "text": text}

    @router.websocket("/ws")
    async def socket(websocket: WebSocket, role: Annotated[Role, Depends(connection_role)]) -> None:
        await websocket.accept()
        viewer = hub.join(websocket)
        if viewer is None:
            await websocket.close(TRY_LATER, "too many viewers")
            return
        listening = asyncio.create_task(_listen(websocket, hub, viewer))
        sending = asyncio.create_task(hub.serve(viewer))
        try:
            await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, sending):
                task.cancel()
            hub.leave(viewer)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await websocket.close(TRY_LATER)

    return router


def static_files() -> StaticFiles:
    """The page's own files."""
    return StaticFiles(directory=STATIC)


async def _listen(websocket: WebSocket, hub: Hub, viewer: Viewer) -> None:
    """Read what a page says; it may only report what it has drawn. Everything else goes over /api."""
    malformed = 0
    while malformed < MALFORMED_LIMIT:
        try:
            text = await websocket.receive_text()
        except (WebSocketDisconnect, RuntimeError):
            return
        except KeyError:
            malformed += 1  # A binary message.
            continue
        if len(text) > MESSAGE_LIMIT_BYTES:
            await websocket.close(TOO_BIG)
            return
        stamp_s = _drawn(text)
        if stamp_s is None:
            malformed += 1
        else:
            hub.drawn(viewer, stamp_s)
    await websocket.close(POLICY_VIOLATION, "malformed messages")


def _drawn(text: str) -> float | None:
    """Stamp of a ``{"kind": "drawn", "stamp": ...}`` message; None when it is not one."""
    try:
        message = json.loads(text)
        if message["kind"] != "drawn" or isinstance(message["stamp"], bool):
            return None
        return float(message["stamp"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
