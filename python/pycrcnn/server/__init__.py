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

from pycrcnn.errors import MissingPackageError

try:
    from pycrcnn.server.app import create_app
    from pycrcnn.server.plane.published import publish
    from pycrcnn.server.settings import Settings
except ImportError as error:
    if (error.name or "").startswith("pycrcnn"):
        raise
    raise MissingPackageError(f"the service needs {error.name}: pip install 'pycrcnn[server]'") from error

__all__ = ["Settings", "create_app", "publish"]
