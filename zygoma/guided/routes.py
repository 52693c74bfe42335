"""Paths of the guided session: the operator's panel, the participant's page, and what both ask for.

The monitor's `Guard` stands in front of every one of them: what lies below ``/participant`` is for the bearer
of the participant's token and for the operator, who alone may command. What the participant's page sends (a
painted stimulus, a form) is taken only when it is awaited.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Body, HTTPException
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from acquisition.stream import DeviceNotFound, InvalidSignal
from zygoma.guided.screen import screen
from zygoma.guided.steps import NotNow, View
from zygoma.guided.stimuli import MEDIA_TYPES, stimulus_path
from zygoma.guided.words import REASON_CHARACTERS
from zygoma.monitor.access import OperatorOnly

if TYPE_CHECKING:
    from zygoma.guided.session import GuidedSession

STATIC_TYPES = {
    "icon.svg": "image/svg+xml",
    "operator.js": "text/javascript",
    "participant.js": "text/javascript",
    "form.js": "text/javascript",
    "manikin.js": "text/javascript",
    "operator.css": "text/css",
    "participant.css": "text/css",
}
"""The only files that are served, with their types."""


class Command(BaseModel):
    """What an operator does, with a reason or remark where one is needed."""

    model_config = ConfigDict(extra="forbid")

    name: Literal["next", "redo", "override", "abort", "note"]
    text: str = Field(default="", max_length=REASON_CHARACTERS)


class Shown(BaseModel):
    """The participant page has painted this stimulus."""

    model_config = ConfigDict(extra="forbid")

    stimulus: str = Field(max_length=64)


def session_router(session: GuidedSession) -> APIRouter:
    """The routes of one session, to be served beside the monitor's."""
    router = APIRouter()

    @router.get("/session")
    def operator_page() -> Response:
        return _page("operator.html")

    @router.get("/participant")
    def participant_page() -> Response:
        return _page("participant.html")

    @router.get("/participant/static/{name}")
    def static_file(name: str) -> Response:
        if name not in STATIC_TYPES:
            raise HTTPException(404, "There is no such file.")
        return Response(_static(name), media_type=STATIC_TYPES[name])

    @router.get("/api/session/view")
    def view() -> dict[str, Any]:
        return {
            **view_record(session.view()),
            "participant": session.protocol.participant.pseudonym,
            "task": session.protocol.task,
            "steps": [step.title for step in session.flow.steps],
            "picture": session.picture[0],
            "recording_state": session.recording_state(),
            "summary": session.read_summary(),
        }

    @router.get("/api/session/picture")
    def picture() -> Response:
        number, jpeg = session.picture
        if not number:
            raise HTTPException(404, "There is no picture of the camera yet.")
        return Response(jpeg, media_type="image/jpeg")

    @router.get("/participant/screen")
    def participant_screen() -> dict[str, Any]:
        session.page_seen()
        return screen(session.protocol, session.view())

    @router.get("/participant/stimulus/{stimulus_id}")
    def stimulus_file(stimulus_id: str) -> FileResponse:
        try:
            path = stimulus_path(session.protocol.folder, session.protocol.stimulus(stimulus_id).file)
        except (DeviceNotFound, InvalidSignal) as error:
            raise HTTPException(404, str(error)) from None
        if path is None:
            raise HTTPException(404, "Another program shows this stimulus.")
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix.lower()])

    @router.post("/api/session/command", dependencies=[OperatorOnly])
    def command(body: Command) -> dict[str, Any]:
        try:
            session.command(body.name, body.text)
        except NotNow as error:
            raise HTTPException(409, str(error)) from None
        return view_record(session.view())

    @router.post("/participant/shown")
    def shown(body: Shown) -> dict[str, bool]:
        session.shown(body.stimulus)
        return {"ok": True}

    @router.post("/participant/report")
    def report(body: dict[str, Any] = Body()) -> dict[str, bool]:  # noqa: B008  (FastAPI reads it so)
        try:
            session.report(body)
        except InvalidSignal as error:
            raise HTTPException(422, str(error)) from None
        except NotNow as error:
            raise HTTPException(409, str(error)) from None
        return {"ok": True}

    return router


def view_record(view: View) -> dict[str, Any]:
    """A view in JSON's types, for the operator's page."""
    record = {
        name: getattr(view, name) for name in view.__dataclass_fields__ if name not in ("block", "stimulus")
    }
    return {
        **record,
        "block": None if view.block is None else view.block.id,
        "stimulus": None
        if view.stimulus is None
        else {"id": view.stimulus.id, "intended": view.stimulus.intended, "medium": view.stimulus.medium},
        "checks": [asdict(check) for check in view.checks],
        "log": [asdict(entry) for entry in view.log],
    }


def _static(name: str) -> bytes:
    owner = "zygoma.monitor" if name == "icon.svg" else "zygoma.guided"
    return files(owner).joinpath("static", name).read_bytes()


def _page(name: str) -> Response:
    return Response(_static(name), media_type="text/html; charset=utf-8")
