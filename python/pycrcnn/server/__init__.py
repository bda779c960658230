"""The service: encrypted inference over HTTP. It needs ``pip install 'pycrcnn[server]'``.

``pycrcnn serve`` starts it; :func:`create_app` makes the ASGI application for a server of your own::

    from pycrcnn.server import Settings, create_app

    app = create_app(Settings(models="models"))

================================================= ============================================================
module                                            what it knows
================================================= ============================================================
`plane`                                           models, keys, evaluation, jobs; no transport
`routes`                                          HTTP on one side, the plane on the other, nothing in between
`app`                                             the application
`problems`, `bodies`, `access`, `metrics`, `logs` errors, request bodies, API keys, Prometheus, logs
`listening`                                       a socket, granian or uvicorn, signals
`sagemaker`                                       the entry point of a SageMaker container
================================================= ============================================================
"""

import importlib
from typing import TYPE_CHECKING, Any

from pycrcnn.errors import MissingPackageError

if TYPE_CHECKING:
    from pycrcnn.server.app import create_app
    from pycrcnn.server.plane.published import publish
    from pycrcnn.server.settings import Settings

__all__ = ["Settings", "create_app", "publish"]

#: Imported when they are asked for: `plane` stores bytes for clients and nodes too, which need no web framework.
_HOMES = {
    "Settings": "pycrcnn.server.settings",
    "create_app": "pycrcnn.server.app",
    "publish": "pycrcnn.server.plane.published",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ImportError as error:
        if (error.name or "").startswith("pycrcnn"):
            raise
        raise MissingPackageError(f"the service needs {error.name}: pip install 'pycrcnn[server]'") from error
