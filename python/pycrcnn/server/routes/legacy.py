"""PyCrCNN's own protocol: ``GET /`` and ``POST /compute``."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from pycrcnn.server.problems import documented
from pycrcnn.server.routes.context import BodiesOf, Owner, Plane

__all__ = ["computed", "router"]

router = APIRouter(tags=["PyCrCNN's protocol"])
_EXAMPLE = {
    "encryption_parameters": [{"m": 2048, "p": 65537, "sec": 128, "base": 2}],
    "net": "fashion-5layer",
    "layers": [0, 1],
    "data": [[[["XqEQBAEA..."]]]],
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "JSON, or a JSON string that holds JSON; leaves of `data` are base64 of ciphertexts",
        "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
    }
}


@router.get("/", summary="Whether the server works", response_class=PlainTextResponse)
async def works() -> str:
    """What PyCrCNN's server answered."""
    return "Server Works!"


async def computed(request: Request, plane: Plane, bodies: BodiesOf, owner: str | None) -> Response:
    """The answer to a request of PyCrCNN's protocol."""
    address = request.client.host if request.client else ""
    async with bodies.body(request, plane.settings.max_json_bytes) as body:
        work = plane.queue.submit(owner or address, lambda threads: plane.legacy.compute(body, threads))
        return Response(await asyncio.wrap_future(work), media_type="application/json")


@router.post(
    "/compute",
    summary="Evaluate layers on ciphertexts of single values",
    response_class=Response,
    openapi_extra=_BODY,
    responses=documented(400, 401, 404, 408, 413, 422, 429, 503),
)
async def compute(request: Request, plane: Plane, bodies: BodiesOf, owner: Owner) -> Response:
    """The extra field `evaluation_keys` (base64) takes the client's relinearisation key; `public_key` a key set without
    evaluation keys, under which the answer is re-randomised.
    """
    return await computed(request, plane, bodies, owner)
