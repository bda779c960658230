"""What ``serve run`` and ``serve deploy`` take: the whole service as one Serve application.

``serve run pycrcnn.cluster.app:build models=/srv/models state=/srv/state``, or a file as
``packaging/cluster/serve.yaml`` with ``import_path: pycrcnn.cluster.app:build`` and the settings under ``args``.

Serve's proxies take the requests, one replica of `Service` is the FastAPI application, and those of `Evaluator`
compute. There is one `Service`, because jobs lie in its `state`: a disk of the node that it runs on.
``pycrcnn serve --engine ray`` has no proxy in between and is the quicker of the two.
"""

from typing import Any

from fastapi import FastAPI

from pycrcnn.cluster.deployment import evaluators
from pycrcnn.cluster.runtime import imported
from pycrcnn.server.app import create_app
from pycrcnn.server.settings import Settings

__all__ = ["Service", "build"]

_MOST = 1_000


class Service:
    """The FastAPI application in a replica.

    Parameters
    ----------
    settings : Settings
    evaluators : ray.serve.handle.DeploymentHandle
        Those of the same application, which the engine finds by its name.
    """

    def __init__(self, settings: Settings, evaluators: Any) -> None:
        self._settings = settings

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Serve asks for it when the replica starts."""
        app = imported().serve.get_replica_context().app_name
        return create_app(self._settings.model_copy(update={"engine": "ray", "ray_app": app}))


# Serve looks at the annotation itself, so it must be the class and not its name.
def build(args: Settings) -> Any:
    """The application.

    Parameters
    ----------
    args : Settings
        Where to listen is Serve's to know; the rest holds.
    """
    serve = imported().serve
    service = serve.deployment(serve.ingress()(Service)).options(
        name="Service",
        num_replicas=1,
        max_ongoing_requests=_MOST,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=args.grace_seconds,
    )
    return service.bind(args, evaluators(args))
