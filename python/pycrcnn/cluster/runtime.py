"""Ray itself: an optional package, imported here and nowhere else at first, and told to be quiet."""

from __future__ import annotations

import os
import warnings
from typing import Any

from pycrcnn.errors import MissingPackageError

__all__ = ["imported"]

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
