"""Evaluation keys: brought once, named by their hash."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from pycrcnn.server.bodies import media_type
from pycrcnn.server.plane.keys import KeyRecord
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.problems import documented
from pycrcnn.server.routes.context import BodiesOf, Identity, Owner, Plane

__all__ = ["router"]

router = APIRouter(prefix="/v1/keys", tags=["keys"])
_BINARY = "application/octet-stream"
_SECRET = b'"kind":"secret key"'
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A key set, as `pycrcnn.program.EvaluationKeys.to_bytes()` gives it. A secret key is refused.",
        "content": {_BINARY: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class KeySet(BaseModel):
    """What is known of a key set."""

    id: str
    program: str
    bytes: int
    expires: datetime


_KNOWN: dict[int | str, dict[str, Any]] = {200: {"model": KeySet, "description": "It was there already"}}


def _shown(plane: Plane, record: KeyRecord) -> KeySet:
    expires = datetime.fromtimestamp(plane.keys.expires(record), timezone.utc).replace(microsecond=0)
    return KeySet(id=record.id, program=record.program, bytes=record.bytes, expires=expires)


def _anonymous(request: Request) -> str:
    """Who brings keys without an API key: limits hold for each address."""
    return request.client.host if request.client else ""


@router.put(
    "",
    summary="Bring a key set",
    response_model=KeySet,
    status_code=201,
    openapi_extra=_BODY,
    responses=_KNOWN | documented(400, 401, 408, 413, 415, 422, 429, 503, 507),
)
async def put_keys(request: Request, response: Response, plane: Plane, bodies: BodiesOf, owner: Owner) -> KeySet:
    """The service checks the keys and keeps them under their BLAKE2b-256 hash, which requests name."""
    if media_type(request) != _BINARY:
        raise Refusal("unsupported-media-type", f"a key set is sent as {_BINARY}")
    async with bodies.body(request, plane.settings.max_body_bytes) as body:
        if _SECRET in body[:256]:
            raise Refusal("unprocessable", "this is a secret key, which never leaves its client; it was not kept")
        record, new = await asyncio.to_thread(plane.keys.put, body, owner or _anonymous(request))
    response.status_code = 201 if new else 200
    return _shown(plane, record)


@router.get("/{identity}", summary="What is known of a key set", responses=documented(401, 404, 422))
async def get_keys(identity: Identity, plane: Plane, owner: Owner) -> KeySet:
    """Whether the service has a key set, and until when."""
    return _shown(plane, await asyncio.to_thread(plane.keys.record, identity, owner))


@router.delete("/{identity}", summary="Forget a key set", status_code=204, responses=documented(401, 404, 422))
async def delete_keys(identity: Identity, request: Request, plane: Plane, owner: Owner) -> None:
    """Only whoever brought a key set can have it forgotten."""
    await asyncio.to_thread(plane.keys.delete, identity, owner or _anonymous(request))
