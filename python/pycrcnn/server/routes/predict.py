"""Evaluation while the client waits."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from pycrcnn._native import Cancellation
from pycrcnn.program import Answer
from pycrcnn.server.plane.job import Job
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.plane.service import DataPlane
from pycrcnn.server.problems import documented
from pycrcnn.server.routes.context import BodiesOf, MetricsOf, ModelName, Owner, Plane
from pycrcnn.server.routes.job_state import JobState
from pycrcnn.server.routes.leaving import while_there
from pycrcnn.server.routes.messages import (
    BINARY,
    JSON,
    REQUEST_BODY,
    SERVER_TIMING,
    JsonAnswer,
    Question,
    Selected,
    answered,
    asked,
    server_timing,
)

__all__ = ["IdempotencyKey", "router"]

router = APIRouter(prefix="/v1", tags=["predictions"])

IdempotencyKey = Annotated[
    "str | None",
    Header(
        min_length=1,
        max_length=200,
        description="The same key and the same request are computed once, however often they are sent",
    ),
]
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "model": JsonAnswer,
        "description": "Encrypted answers in the form of the request: "
        "`pycrcnn.program.Answer.to_bytes()`, or JSON with base64",
        "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}, JSON: {}},
        "headers": SERVER_TIMING,
    },
    202: {
        "model": JobState,
        "description": "It takes longer than a client may wait, and has become a job: where there is an "
        "Idempotency-Key",
        "headers": {"Location": {"description": "The job's path", "schema": {"type": "string"}}},
    },
}


@router.post(
    "/models/{name}/predict",
    summary="Evaluate encrypted images",
    response_class=Response,
    openapi_extra=REQUEST_BODY,
    responses=_ANSWER | documented(400, 401, 404, 408, 409, 413, 415, 422, 429, 503, 507),
)
async def predict(
    name: ModelName,
    request: Request,
    plane: Plane,
    bodies: BodiesOf,
    metrics: MetricsOf,
    owner: Owner,
    selection: Selected,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Wait for the answer; for long work `POST /v1/jobs` gives a place to ask for it later. A client that closes the
    connection has what it asked for stopped: at once, or, with an Idempotency-Key, if it does not come back soon.
    """
    received = time.perf_counter()
    async with asked(request, name, selection, plane, bodies, owner) as question:
        phases = {"read": time.perf_counter() - received}
        try:
            if idempotency_key is None:
                found, spent = await _computed(request, plane, question)
            else:
                submit = functools.partial(plane.jobs.submit, durable=False)
                job = await asyncio.to_thread(submit, question.order, question.images, idempotency_key)
                if not await _finished(request, plane, job):
                    state = JobState.of(job)
                    return JSONResponse(state.model_dump(mode="json"), 202, {"Location": state.location})
                found = await asyncio.to_thread(plane.jobs.result, job.id, question.order.owner)
                spent = {"queue": job.queued, "evaluate": job.evaluated}
        except asyncio.CancelledError:
            if plane.accepting:
                raise  # the client has gone
            raise Refusal("unavailable", "the service is being stopped; send the request again", 5.0) from None
        start = time.perf_counter()
        response = answered(found, question.binary)
        phases |= {**spent, "write": time.perf_counter() - start}
    for phase, seconds in phases.items():
        metrics.phases.labels(phase).observe(seconds)
    response.headers.update(server_timing(phases))
    return response


async def _computed(request: Request, plane: DataPlane, question: Question) -> tuple[Answer | bytes, dict[str, float]]:
    """The answer, and seconds by phase; what the client no longer waits for is stopped."""
    cancellation = Cancellation()
    try:
        work = plane.predict(question.order, question.images, cancellation)
        prediction = await while_there(request, asyncio.wrap_future(work))
    finally:
        cancellation.cancel()  # no harm where it has ended
    return prediction.answer, {"queue": prediction.queued, "evaluate": prediction.evaluated}


async def _finished(request: Request, plane: DataPlane, job: Job) -> bool:
    """Waits for a job; False where it takes longer than a client may wait, and is computed without one."""
    if job.status not in ("queued", "running"):
        return True
    with plane.jobs.awaited(job):
        waiting = asyncio.shield(asyncio.wrap_future(job.finished))
        try:
            await asyncio.wait_for(while_there(request, waiting), plane.settings.predict_seconds)
        except asyncio.TimeoutError:
            job.durable = True
            return False
    return True
