"""Ray itself: an optional package, imported here and nowhere else at first, and told to be quiet; and its objects."""

from __future__ import annotations

import os
import warnings
from typing import Any

from pycrcnn.cluster.messages import LOST
from pycrcnn.errors import MissingPackageError
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["imported", "resolved"]

#: Seconds that an object may take to come.
_FETCH = 60.0

#: Nobody is told of its use; a call after the connection is closed fails and does not start a cluster of its own; what
#: a server asks of the replicas is known after seconds, so that there are soon as many as it needs.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
}


def imported() -> Any:
    """The package ``ray``, with ``ray.serve``.

    Raises
    ------
    MissingPackageError
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using extra keyword arguments on `Field`", DeprecationWarning)
            import ray
            import ray.serve
    except ImportError as error:
        if not (error.name or "").startswith("ray"):
            raise
        raise MissingPackageError("evaluation on a cluster needs Ray: pip install 'pycrcnn[ray]'") from error
    return ray


def resolved(reference: Any) -> bytes:
    """The bytes behind a reference of Ray's.

    Raises
    ------
    Refusal
        They are gone, with those who put them there or by want of room (`pycrcnn.cluster.messages.LOST`).
    """
    import ray  # which this process is a part of

    try:
        return bytes(ray.get(reference, timeout=_FETCH))
    except (ray.exceptions.ObjectLostError, ray.exceptions.GetTimeoutError) as error:
        raise Refusal(LOST, f"what was put into the cluster's object store is gone: {type(error).__name__}") from error
