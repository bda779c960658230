"""What every route needs of the application."""

from __future__ import annotations

from typing import Annotated, TypeAlias, cast

from fastapi import Depends, Path, Request

from pycrcnn.server.bodies import Bodies
from pycrcnn.server.metrics import Metrics
from pycrcnn.server.plane.service import DataPlane

__all__ = ["BodiesOf", "Identity", "MetricsOf", "ModelName", "Owner", "Plane"]

# Coroutines, though they wait for nothing: FastAPI calls plain functions in another thread.


async def _plane(request: Request) -> DataPlane:
    return cast(DataPlane, request.app.state.plane)


async def _bodies(request: Request) -> Bodies:
    return cast(Bodies, request.app.state.bodies)


async def _metrics(request: Request) -> Metrics:
    return cast(Metrics, request.app.state.metrics)


async def _owner(request: Request) -> str | None:
    return cast("str | None", request.app.state.access.owner(request))


Plane: TypeAlias = Annotated[DataPlane, Depends(_plane)]
BodiesOf: TypeAlias = Annotated[Bodies, Depends(_bodies)]
MetricsOf: TypeAlias = Annotated[Metrics, Depends(_metrics)]
#: A name for the API key of the request; None where the service has no API keys. Whoever has none is refused.
Owner: TypeAlias = Annotated["str | None", Depends(_owner)]

ModelName: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Identity: TypeAlias = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="64 hexadecimal digits")]
