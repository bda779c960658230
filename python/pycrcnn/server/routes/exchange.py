"""Amazon SageMaker's contract: ``GET /ping`` and ``POST /invocations``, whose payload may be a reference."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from pycrcnn.server.plane.exchange import reference_in
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.problems import documented
from pycrcnn.server.routes.context import BodiesOf, Owner, Plane

__all__ = ["router"]

router = APIRouter(tags=["SageMaker"])
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "As `POST /compute` takes it, or where it lies in the object store",
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {"bucket": "my-bucket", "key": "input/input_payload_1616161616"},
            }
        },
    }
}


@router.get("/ping", summary="Whether requests are taken", response_class=Response, responses=documented(503))
async def ping(plane: Plane) -> Response:
    """200 once the service takes requests."""
    if not plane.accepting:
        raise Refusal("unavailable", "the service takes no requests at the moment", 1.0)
    return Response()


@router.post(
    "/invocations",
    summary="Evaluate layers, inline or by reference",
    response_class=Response,
    openapi_extra=_BODY,
    responses=documented(400, 401, 404, 408, 413, 422, 429, 503),
)
async def invoke(request: Request, plane: Plane, bodies: BodiesOf, owner: Owner) -> Response:
    """A reference `{"bucket", "key"}` is answered by one: the answer lies under `output/`."""
    address = request.client.host if request.client else ""
    async with bodies.body(request, plane.settings.max_json_bytes) as body:
        work = plane.queue.submit(owner or address, lambda threads: plane.invoke(reference_in(body), body, threads))
        return Response(await asyncio.wrap_future(work), media_type="application/json")
