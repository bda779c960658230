"""Models and programs on offer."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from pycrcnn.server.plane.catalogue import ModelEntry
from pycrcnn.server.problems import documented
from pycrcnn.server.routes.context import Identity, ModelName, Owner, Plane

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["models"])
#: Seconds that a client waits for a model that is being compiled.
_PATIENCE = 10.0


class ModelSummary(BaseModel):
    """One model in the list of all."""

    name: str
    description: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


class ModelList(BaseModel):
    """All models."""

    models: list[ModelSummary]


@router.get("/models", summary="All models", responses=documented(401))
async def list_models(plane: Plane, owner: Owner) -> ModelList:
    """Name, description and shapes of each model."""
    fields = ("name", "description", "input_shape", "output_shape")
    entries = plane.registry.entries()
    return ModelList(models=[ModelSummary(**{name: getattr(entry, name) for name in fields}) for entry in entries])


@router.get("/models/{name}", summary="One model", responses=documented(401, 404, 422, 503))
async def get_model(name: ModelName, plane: Plane, owner: Owner) -> ModelEntry:
    """All that a client needs to make keys and encrypt, and nothing of the weights."""
    return await asyncio.to_thread(plane.registry.model, name, _PATIENCE)


@router.get(
    "/programs/{identity}/client",
    summary="The client's part of a program",
    response_class=Response,
    responses={
        200: {"description": "The bytes of the client's part", "content": {"application/octet-stream": {}}},
        304: {"description": "It has not changed: it never does"},
        **documented(401, 404, 422),
    },
)
async def get_client_part(identity: Identity, request: Request, plane: Plane, owner: Owner) -> Response:
    """Parameters and where values lie; the client makes its keys of it."""
    data = plane.registry.shelf[identity].client
    tag = f'"{identity}"'
    headers = {"ETag": tag, "Cache-Control": "public, max-age=31536000, immutable"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type="application/octet-stream")
