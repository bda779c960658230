"""The ASGI application."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from pycrcnn.server.access import Access
from pycrcnn.server.bodies import Bodies, Drained
from pycrcnn.server.logs import Observed
from pycrcnn.server.metrics import Metrics
from pycrcnn.server.plane.engine import Engine
from pycrcnn.server.plane.service import DataPlane
from pycrcnn.server.problems import add_handlers
from pycrcnn.server.routes import ROUTERS
from pycrcnn.server.settings import Settings

__all__ = ["create_app"]

_DESCRIPTION = """\
Convolutional neural networks on encrypted images: the client encrypts, this service computes on ciphertexts and never
sees an image, the client decrypts the answer. `pycrcnn.Client` speaks this protocol.

1. `GET /v1/models/{name}` says which programs there are, and what each needs.
2. `GET /v1/programs/{id}/client` gives the parameters, from which the client makes its keys.
3. `PUT /v1/keys` brings the evaluation keys, once.
4. `POST /v1/models/{name}/predict` takes ciphertexts and answers with ciphertexts; `POST /v1/jobs` does so later.
"""


def create_app(settings: Settings | None = None, engine: Engine | None = None) -> FastAPI:
    """The service as an ASGI application.

    Parameters
    ----------
    settings : Settings, optional
        From the environment, if not given.
    engine : Engine, optional
        Evaluates in place of this process.
    """
    settings = settings or Settings()
    metrics = Metrics()
    plane = DataPlane(settings, engine, metrics.evaluated)
    metrics.watch(plane)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        plane.start()
        yield
        await asyncio.to_thread(plane.stop)

    app = FastAPI(
        title="pycrcnn",
        version=importlib.metadata.version("pycrcnn"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.plane, app.state.metrics = plane, metrics
    app.state.bodies, app.state.access = Bodies(settings), Access(settings.api_keys)
    add_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(Drained)
    app.add_middleware(Observed, metrics=metrics)
    return app
