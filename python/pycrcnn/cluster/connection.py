"""The service's place in a cluster: joined once, and watched.

A process is part of one node of one cluster for as long as it lives, and Ray may end it when that node ends. So where
the head is away for too long, the service ends too (status 1), and whatever supervises it starts it again; what it
keeps on disk is whole at any moment.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from pycrcnn.cluster.deployment import EVALUATOR, evaluators
from pycrcnn.cluster.runtime import imported
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.settings import Settings

__all__ = ["Connection"]

_LOGGER = logging.getLogger("pycrcnn.cluster")
#: Seconds between two looks at the cluster, and those that a head may take to accept a connection.
_PERIOD, _CONNECT = 1.0, 5.0
#: Seconds that a head may listen and say nothing: a busy one may take long, one that is new never answers.
_DUMB = 60.0
#: Seconds after which a client may come back.
_RETRY_AFTER = 5.0


class Connection:
    """Joins a cluster, deploys the evaluators, and watches both from a thread of its own.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._told: Callable[[int], None] = lambda replicas: None
        self._ray = imported()
        self._handle: Any = None
        #: Whether this is a replica of the same application, which is part of the cluster already.
        self._inside = bool(self._ray.is_initialized())
        self._why = ""
        self._away_since = time.monotonic()
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._keep, name="cluster", daemon=True)
        #: Replicas that run.
        self.replicas = 0

    def start(self, told: Callable[[int], None]) -> None:
        """Begin to join; `told` hears of the number of replicas whenever that changes."""
        self._told = told
        self._thread.start()

    def stop(self) -> None:
        """Leave; the evaluators stay, and keep what they hold for whoever comes back."""
        with self._changed:
            self._stopped.set()
            self._changed.notify_all()
        self._thread.join(2 * _CONNECT)
        if not self._inside:
            self._ray.shutdown()

    @property
    def ready(self) -> bool:
        """Whether there is a replica that evaluates."""
        return self.replicas > 0 and not self._stopped.is_set()

    def handle(self) -> Any:
        """The handle of the method that evaluates (`ray.serve.handle.DeploymentHandle`), once there is a replica.

        Raises
        ------
        Refusal
            ``unavailable``: there has been none for `ray_patience` seconds.
        """
        with self._changed:
            left = self._away_since + self._settings.ray_patience - time.monotonic()
            self._changed.wait_for(lambda: self.ready or self._stopped.is_set(), max(0.0, left))
            if not self.ready:
                raise self.unavailable()
            return self._handle

    def unavailable(self) -> Refusal:
        """What a client is told while nothing evaluates."""
        return Refusal("unavailable", "no node evaluates at the moment; come back later", _RETRY_AFTER)

    # The thread

    def _keep(self) -> None:
        while not self._stopped.is_set():
            try:
                self._join()
            except Exception as error:  # whatever Ray raises where the cluster is away: it is tried again
                self._say(f"it cannot be joined: {type(error).__name__}: {error}")
                self._stopped.wait(_PERIOD)
            else:
                self._watch()
                return

    def _join(self) -> None:
        ray, address = self._ray, self._settings.ray_address
        if self._inside:
            return
        if not ray.is_initialized():
            _listens(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
        for name in ("ray", "ray.serve"):
            logging.getLogger(name).setLevel(logging.WARNING)
        ray.serve.start(proxy_location="Disabled")
        self._deploy()

    def _deploy(self) -> None:
        """Deploy them, in a thread: the call returns when all replicas run, and a node may be missing for long."""

        def deploy() -> None:
            while not self._stopped.is_set():
                try:
                    self._ray.serve.run(evaluators(self._settings), name=self._settings.ray_app, route_prefix=None)
                except Exception as error:
                    self._say(f"the evaluators could not be deployed: {type(error).__name__}: {error}")
                    self._stopped.wait(_PERIOD)
                else:
                    return

        self._deploying = threading.Thread(target=deploy, name="deploy", daemon=True)
        self._deploying.start()

    def _watch(self) -> None:
        """Look from time to time until the service stops; end the process where there has been nothing to see."""
        seen = time.monotonic()
        while not self._stopped.wait(_PERIOD):
            found = self._looked(seen)
            if self._stopped.is_set():
                return
            if isinstance(found, Exception):
                self._say(f"{type(found).__name__}: {found}")
                if self._gone(seen):
                    _LOGGER.error("the head is gone: the service ends, to be started again")
                    logging.shutdown()
                    os._exit(1)  # as Ray does where it sees that first; a connection without a cluster has no other end
                continue
            seen = time.monotonic()
            if found is None and not self._inside and not self._deploying.is_alive():
                self._deploy()  # somebody has taken them away
            replicas, handle, why = found or (0, None, "")
            if why:
                self._say(why)
            self._count(replicas, handle)

    def _gone(self, seen: float) -> bool:
        """Whether the head has been away for too long: or, where it listens and says nothing, may be another one."""
        silent = time.monotonic() - seen
        try:
            _listens(self._settings.ray_address)
        except OSError:
            return silent > self._settings.ray_silence
        return silent > max(_DUMB, self._settings.ray_silence)

    def _looked(self, seen: float) -> Any:
        """Replicas, the deployment's handle and what is wrong; None where there is none; or an exception that came.

        While the head is away Ray waits, and replicas go on. Either the head comes back with what it knew (where that
        is kept outside of it), or after a minute its nodes end.
        """
        found: list[Any] = []

        def look() -> None:
            try:
                found.append(self._look())
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=look, name="look", daemon=True)
        thread.start()
        thread.join(_PERIOD)
        while thread.is_alive() and not self._stopped.is_set() and not self._gone(seen):
            thread.join(_PERIOD)
        return found[0] if found else TimeoutError("the head says nothing")

    def _look(self) -> tuple[int, Any, str] | None:
        app = self._settings.ray_app
        found = self._ray.serve.status().applications.get(app)
        deployment = found and found.deployments.get(EVALUATOR)
        if deployment is None:
            return None
        replicas = sum(count for state, count in deployment.replica_states.items() if state == "RUNNING")
        handle = self._handle or self._ray.serve.get_deployment_handle(EVALUATOR, app).evaluate
        return replicas, handle, "" if replicas else deployment.message

    def _count(self, replicas: int, handle: Any) -> None:
        if self.replicas == replicas:
            return
        with self._changed:
            self._handle = handle
            if not replicas:
                self._away_since = time.monotonic()
            self.replicas = replicas
            self._changed.notify_all()
        _LOGGER.info("evaluators", extra={"fields": {"replicas": replicas}})
        self._told(replicas)

    def _say(self, why: str) -> None:
        """Into the log, once for each reason."""
        if why != self._why:
            self._why = why
            _LOGGER.warning("the cluster: %s", why)


def _listens(address: str) -> None:
    """Ask whether there is a head at all: Ray itself would try for most of a minute.

    Raises
    ------
    OSError
        There is none.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), _CONNECT).close()
