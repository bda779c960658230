"""How the evaluators are deployed: replicas, cores, autoscaling, routing."""

from __future__ import annotations

from typing import Any

from pycrcnn.cluster.evaluator import Evaluator
from pycrcnn.cluster.messages import release
from pycrcnn.cluster.node import NodeLimits
from pycrcnn.cluster.runtime import imported
from pycrcnn.server.settings import Settings

__all__ = ["EVALUATOR", "evaluators", "places"]

EVALUATOR = "Evaluator"
#: Pieces of work that are given out for each that is evaluated at a time: the next is there when one has ended.
_AHEAD = 2
#: Requests that a replica does not refuse: what is given out is bounded before it comes here, and Serve would look for
#: a replica with room by asking and waiting.
_MOST = 1_000
_QUIET = {"log_level": "WARNING", "enable_access_log": False}


def places(settings: Settings, replicas: int) -> int:
    """Pieces of work that some replicas can take: twice what they do at a time, so that autoscaling sees a demand."""
    return max(1, replicas) * settings.ray_slots * _AHEAD


def evaluators(settings: Settings) -> Any:
    """The deployment, bound to its arguments: a Serve application, or a part of one.

    A replica takes `ray_threads` cores for each of its `ray_slots` evaluations side by side. There are as many replicas
    as the requests that run or wait need, between `ray_min_replicas` and `ray_max_replicas`.
    """
    serve = imported().serve
    from ray.serve.config import RequestRouterConfig

    from pycrcnn.cluster.routing import KeyAffinity

    slots = settings.ray_slots
    deployment = serve.deployment(Evaluator).options(
        name=EVALUATOR,
        ray_actor_options={"num_cpus": settings.ray_threads * slots},
        max_ongoing_requests=_MOST,
        autoscaling_config={
            "min_replicas": settings.ray_min_replicas,
            "max_replicas": settings.ray_max_replicas,
            "target_ongoing_requests": slots,
            "look_back_period_s": 15,
            "upscale_delay_s": 5,
            "downscale_delay_s": 300,
        },
        request_router_config=RequestRouterConfig(
            request_router_class=KeyAffinity, request_router_kwargs={"slots": slots}
        ),
        health_check_period_s=5,
        health_check_timeout_s=30,
        graceful_shutdown_timeout_s=settings.grace_seconds,
        logging_config=_QUIET,
    )
    limits = NodeLimits(settings.programs_bytes, settings.prepared_bytes, settings.ray_keys)
    key_store = settings.key_store if settings.ray_shared_keys else None
    return deployment.bind(release(), limits, settings.ray_threads, slots, settings.flooding, key_store)
