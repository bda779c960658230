"""Evaluation that the client asks for and fetches later."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from pycrcnn.server.problems import documented
from pycrcnn.server.routes.context import BodiesOf, Owner, Plane
from pycrcnn.server.routes.job_state import JobState
from pycrcnn.server.routes.messages import (
    BINARY,
    JSON,
    REQUEST_BODY,
    SERVER_TIMING,
    JsonAnswer,
    Selected,
    answered,
    asked,
    server_timing,
)
from pycrcnn.server.routes.predict import IdempotencyKey

__all__ = ["router"]

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
JobIdentity = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="32 hexadecimal digits")]
_RESULT: dict[int | str, dict[str, Any]] = {
    200: {
        "model": JsonAnswer,
        "description": "As a prediction is answered: bytes, or JSON where `Accept` asks for it",
        "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}, JSON: {}},
        "headers": SERVER_TIMING,
    }
}


@router.post(
    "",
    summary="Ask for an evaluation",
    status_code=202,
    openapi_extra=REQUEST_BODY,
    responses=documented(400, 401, 404, 408, 409, 413, 415, 422, 503, 507),
)
async def create_job(
    request: Request,
    response: Response,
    plane: Plane,
    bodies: BodiesOf,
    owner: Owner,
    model: Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")],
    selection: Selected,
    idempotency_key: IdempotencyKey = None,
) -> JobState:
    """The answer is computed even if the service is stopped in between, and kept for a stated time."""
    async with asked(request, model, selection, plane, bodies, owner) as question:
        job = await asyncio.to_thread(plane.jobs.submit, question.order, question.images, idempotency_key)
    state = JobState.of(job)
    response.headers["Location"] = state.location
    return state


@router.get("/{identity}", summary="How far a job is", responses=documented(401, 404, 422))
async def get_job(identity: JobIdentity, plane: Plane, owner: Owner) -> JobState:
    """Status and progress, from 0 to 1."""
    return JobState.of(plane.jobs.get(identity, owner or ""))


@router.get(
    "/{identity}/result",
    summary="The answer of a job",
    response_class=Response,
    responses=_RESULT | documented(401, 404, 409, 422),
)
async def get_result(identity: JobIdentity, request: Request, plane: Plane, owner: Owner) -> Response:
    """409 `not-ready` with Retry-After while it is not done; the error of a job that failed."""
    data = await asyncio.to_thread(plane.jobs.result, identity, owner or "")
    job = plane.jobs.get(identity, owner or "")
    timing = server_timing({"queue": job.queued, "evaluate": job.evaluated})
    return answered(data, JSON not in request.headers.get("accept", ""), timing)


@router.delete(
    "",
    summary="Cancel what a request with an Idempotency-Key began",
    status_code=204,
    responses=documented(401, 404, 422),
)
async def cancel_request(
    plane: Plane,
    owner: Owner,
    keys: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$", description="The key set's id")],
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
) -> None:
    """For a client that gives up a prediction while it waits: it knows no other name of it."""
    await asyncio.to_thread(plane.jobs.cancel_begun, owner or "", keys, idempotency_key)


@router.delete("/{identity}", summary="Cancel a job", status_code=204, responses=documented(401, 404, 422))
async def cancel_job(identity: JobIdentity, plane: Plane, owner: Owner) -> None:
    """What is computed already is dropped."""
    await asyncio.to_thread(plane.jobs.cancel, identity, owner or "")
