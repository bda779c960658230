"""The service's place in a cluster: joined, watched, and joined again where the evaluators have gone.

A process is part of one node, and Ray ends it with that node. So where the head is lost with all that it knew, the
service ends too (status 1), and whatever supervises it starts it again; what it keeps on disk is whole at any moment.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pycrcnn.cluster.deployment import EVALUATOR, evaluators
from pycrcnn.cluster.runtime import imported
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.settings import Settings

__all__ = ["Connection", "Joined", "Lost"]

_LOGGER = logging.getLogger("pycrcnn.cluster")
#: Seconds between two looks at the cluster; without a reply after which the log says so; and that calls into
#: it may take to end before the connection is closed.
_PERIOD, _SILENCE, _LEAVING = 1.0, 10.0, 2.0
#: Seconds after which a client may come back.
_RETRY_AFTER = 5.0


class Lost(Exception):  # noqa: N818 - it says what happened
    """The cluster that a call went to is no longer the one that the service is joined to."""


class Joined:
    """One connection to one cluster, until it is lost.

    Attributes
    ----------
    handle : ray.serve.handle.DeploymentHandle
    replicas : int
        That run, when it was looked last.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.replicas = 0
        self._calls = 0
        self._lost = False
        self._changed = threading.Condition()

    @property
    def lost(self) -> bool:
        """Whether there is no use in asking it any more."""
        return self._lost

    @contextlib.contextmanager
    def call(self) -> Iterator[Any]:
        """The handle, for a short call; the connection is not closed meanwhile.

        Raises
        ------
        Lost
        """
        with self._changed:
            if self._lost:
                raise Lost
            self._calls += 1
        try:
            yield self.handle
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def lose(self) -> None:
        """Let nobody call any more, and wait for those who do."""
        with self._changed:
            self._lost = True
            self._changed.wait_for(lambda: self._calls == 0, _LEAVING)


def _listens(address: str) -> None:
    """Ask whether there is a head at all: Ray itself would try for most of a minute.

    Raises
    ------
    OSError
        There is none.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), 5.0).close()


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
        self._joined: Joined | None = None
        self._why = "the cluster has not been joined yet"
        self._away_since = time.monotonic()
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._keep, name="cluster", daemon=True)

    def start(self, told: Callable[[int], None]) -> None:
        """Begin to join; `told` hears of the number of replicas whenever that changes."""
        self._told = told
        self._thread.start()

    def stop(self) -> None:
        """Leave; the evaluators stay, and keep what they hold for whoever comes back."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(30.0)

    def joined(self) -> Joined:
        """The connection, once there is a replica that evaluates.

        Raises
        ------
        Refusal
            ``unavailable``: there has been none for `ray_patience` seconds.
        """
        with self._changed:
            left = self._away_since + self._settings.ray_patience - time.monotonic()
            self._changed.wait_for(lambda: self._ready() is not None or self._stopped.is_set(), max(0.0, left))
            found = self._ready()
            if found is None or self._stopped.is_set():
                raise self.unavailable()
            return found

    @property
    def ready(self) -> bool:
        """Whether there is a replica that evaluates."""
        return self._ready() is not None

    @property
    def replicas(self) -> int:
        """That run."""
        joined = self._joined
        return 0 if joined is None else joined.replicas

    def _ready(self) -> Joined | None:
        joined = self._joined
        return joined if joined is not None and joined.replicas and not joined.lost else None

    def unavailable(self) -> Refusal:
        """What a client is told while nothing evaluates."""
        return Refusal("unavailable", "no node evaluates at the moment; come back later", _RETRY_AFTER)

    # The thread

    def _keep(self) -> None:
        while not self._stopped.is_set():
            try:
                self._join()
                self._watch()
            except Exception as error:  # whatever Ray raises where the cluster is away: it is tried again
                self._say(f"{type(error).__name__}: {error}")
            self._leave()
            self._stopped.wait(_PERIOD)

    def _join(self) -> None:
        ray, settings = self._ray, self._settings
        if not ray.is_initialized():
            _listens(settings.ray_address)
            ray.init(
                address=settings.ray_address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False
            )
        for name in ("ray", "ray.serve"):
            logging.getLogger(name).setLevel(logging.WARNING)
        ray.serve.start(proxy_location="Disabled")
        threading.Thread(target=self._deploy, name="deploy", daemon=True).start()

    def _deploy(self) -> None:
        """Returns when all replicas run, which may be never: a node may be missing."""
        try:
            self._ray.serve.run(evaluators(self._settings), name=self._settings.ray_app, route_prefix=None)
        except Exception as error:
            self._say(f"the evaluators could not be deployed: {type(error).__name__}: {error}")

    def _watch(self) -> None:
        """Look from time to time; returns when the service stops.

        Raises
        ------
        RayError, RuntimeError
            The evaluators are no longer deployed, or the cluster is no longer the one that was joined.
        """
        while not self._stopped.wait(_PERIOD if self._ready() else _PERIOD / 4):
            found = self._looked()
            if found is None and self._joined is not None:
                raise RuntimeError("the evaluators are not deployed any more")
            if found is None:
                continue
            replicas, why = found
            if why:
                self._say(why)
            if replicas and self._joined is None:
                handle = self._ray.serve.get_deployment_handle(EVALUATOR, self._settings.ray_app)
                with self._changed:
                    self._joined = Joined(handle)
            self._count(replicas)

    def _looked(self) -> tuple[int, str] | None:
        """Replicas that run, and what is wrong; None where nothing is deployed.

        While the head is away Ray waits, and replicas go on. Either the head comes back with what it knew (where that
        is kept outside of it), or after a minute the nodes end, and this process with its own.
        """
        found: list[Any] = []

        def look() -> None:
            try:
                found.append(self._ray.serve.status())
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=look, name="look", daemon=True)
        thread.start()
        while thread.is_alive() and not self._stopped.is_set():
            thread.join(_SILENCE)
            if thread.is_alive():
                self._say(f"its head has said nothing for {_SILENCE:.0f} seconds")
        if not found:
            return 0, ""
        if isinstance(found[0], Exception):
            raise found[0]
        app = found[0].applications.get(self._settings.ray_app)
        deployment = app and app.deployments.get(EVALUATOR)
        if deployment is None:
            return None
        replicas = sum(count for state, count in deployment.replica_states.items() if state == "RUNNING")
        return replicas, deployment.message if not replicas else ""

    def _count(self, replicas: int) -> None:
        with self._changed:
            joined = self._joined
            if joined is None or joined.replicas == replicas:
                return
            joined.replicas = replicas
            if not replicas:
                self._away_since = time.monotonic()
            self._changed.notify_all()
        _LOGGER.info("evaluators", extra={"fields": {"replicas": replicas}})
        self._told(replicas)

    def _leave(self) -> None:
        with self._changed:
            joined, self._joined = self._joined, None
            self._away_since = time.monotonic()
        if joined is not None:
            joined.lose()
        if not self._stopped.is_set():
            self._told(0)
        with contextlib.suppress(Exception):  # a connection that is broken already
            self._ray.shutdown()

    def _say(self, why: str) -> None:
        """Into the log, once for each reason."""
        if why != self._why:
            self._why = why
            _LOGGER.warning("the cluster: %s", why)
