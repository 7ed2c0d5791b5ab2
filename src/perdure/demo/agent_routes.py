"""The routes of the agent page: begin a run, list the runs, follow the log of one."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, StringConstraints
from starlette.requests import Request

from perdure.resumable.anthropic import replay_options

from .agent import AgentRuns
from .names import RunStreamName

MAX_PROMPT_CHARACTERS: Final = 2000

_NO_STORE: Final = {"cache-control": "no-store"}


class RunRequest(BaseModel):
    """What the agent is to do."""

    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PROMPT_CHARACTERS)]


def agent_routes(runs: AgentRuns) -> APIRouter:
    """The routes over `runs`."""
    routes = APIRouter(prefix="/api/agent/runs")

    @routes.post("")
    async def start(request: RunRequest) -> Response:
        return JSONResponse({"id": await runs.start(request.prompt)}, status_code=201, headers=_NO_STORE)

    @routes.get("")
    async def listed() -> Response:
        return JSONResponse({"runs": await runs.listed()}, headers=_NO_STORE)

    @routes.get("/{run_id}/events")
    async def events(request: Request, name: RunStreamName) -> Response:
        if not await runs.exists(name):
            raise HTTPException(404, "there is no such run")
        from_seq_num = replay_options(request)["from_seq_num"] or 0
        if not await runs.has_more(name, from_seq_num):
            return Response(status_code=204, headers=_NO_STORE)
        body = runs.follow(name, from_seq_num)
        return StreamingResponse(body, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    return routes
