"""Evaluation while the client waits."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from pycrcnn.program import Answer
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.problems import documented
from pycrcnn.server.routes.context import BodiesOf, MetricsOf, ModelName, Owner, Plane
from pycrcnn.server.routes.messages import BINARY, JSON, REQUEST_BODY, JsonAnswer, Selection, answered, asked

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
        "headers": {
            "Server-Timing": {
                "description": "Milliseconds of queue, read, evaluate, write",
                "schema": {"type": "string"},
            }
        },
    }
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
    selection: Annotated[Selection, Depends()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Wait for the answer; for long work `POST /v1/jobs` gives a place to ask for it later."""
    received = time.perf_counter()
    async with asked(request, name, selection, plane, bodies, owner) as question:
        phases = {"read": time.perf_counter() - received}
        try:
            if idempotency_key is not None:
                submit = functools.partial(plane.jobs.submit, durable=False)
                job = await asyncio.to_thread(submit, question.order, question.images, idempotency_key)
                if job.status != "done":
                    await asyncio.shield(asyncio.wrap_future(job.finished))
                found: Answer | bytes = await asyncio.to_thread(plane.jobs.result, job.id, question.order.owner)
                phases |= {"queue": job.queued, "evaluate": job.evaluated}
            else:
                prediction = await asyncio.wrap_future(plane.predict(question.order, question.images))
                found = prediction.answer
                phases |= {"queue": prediction.queued, "evaluate": prediction.evaluated}
        except asyncio.CancelledError:
            if plane.accepting:
                raise  # the client has gone
            raise Refusal("unavailable", "the service is being stopped; send the request again", 5.0) from None
        start = time.perf_counter()
        response = answered(found, question.binary)
        phases["write"] = time.perf_counter() - start
    for phase, seconds in phases.items():
        metrics.phases.labels(phase).observe(seconds)
    timing = ", ".join(f"{phase};dur={1e3 * phases[phase]:.3f}" for phase in ("queue", "read", "evaluate", "write"))
    response.headers["Server-Timing"] = timing
    return response
