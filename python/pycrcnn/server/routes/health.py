"""Health, readiness, metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.plane.registry import State
from pycrcnn.server.problems import documented
from pycrcnn.server.routes.context import MetricsOf, Plane

__all__ = ["router"]

router = APIRouter(tags=["operation"])


class Alive(BaseModel):
    """The process answers."""

    status: str = "alive"


class Ready(BaseModel):
    """Requests are taken. A model that is still being compiled answers 503 with Retry-After."""

    status: str = "ready"
    models: dict[str, State]
    queue: int


@router.get("/livez", summary="Whether the process answers")
async def livez() -> Alive:
    """Always."""
    return Alive()


@router.get("/readyz", summary="Whether requests are taken", responses=documented(503))
async def readyz(plane: Plane) -> Ready:
    """503 while the service starts or stops, while nothing evaluates, and while its queue is full."""
    if not plane.accepting or not plane.engine.ready or plane.queue.depth >= plane.settings.queue:
        raise Refusal("unavailable", "the service takes no requests at the moment", 1.0)
    return Ready(models=plane.registry.states(), queue=plane.queue.depth)


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(metrics: MetricsOf) -> Response:
    """Queue, seconds by phase, bytes, by route and model."""
    return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)
