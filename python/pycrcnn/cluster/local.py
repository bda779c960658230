"""A cluster of processes on this machine: for tests and measurements, which want nodes that can be lost."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from types import TracebackType
from typing import Any

from pycrcnn.cluster.runtime import imported

__all__ = ["LocalCluster"]

#: Loopback; where 127.0.0.1 stands in an address, Ray on Linux takes the machine's address for it.
_LOOPBACK = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
_STORE = 150_000_000


class LocalCluster:
    """A head that evaluates nothing, and nodes that do, each a set of processes. They end with the context.

    Parameters
    ----------
    nodes : int
    cpus : int
        Of each node.
    store : int
        Bytes of the object store of each node and of the head.

    Attributes
    ----------
    address : str
        ``HOST:PORT`` of the head; it stays the same when the head is restarted.
    """

    def __init__(self, nodes: int, cpus: int = 1, store: int = _STORE) -> None:
        imported()
        from ray.cluster_utils import Cluster

        self._cpus, self._count = cpus, nodes
        self._directory = tempfile.mkdtemp(prefix="ray-")
        with socket.create_server((_LOOPBACK, 0)) as probe:
            port = probe.getsockname()[1]
        self.address = f"{_LOOPBACK}:{port}"
        # A short path: sockets have their names in it.
        self._common: dict[str, Any] = {
            "node_ip_address": _LOOPBACK,
            "object_store_memory": store,
            "temp_dir": self._directory,
            "include_dashboard": False,
            "include_log_monitor": False,
            "no_monitor": True,
        }
        self._port = port
        self._cluster = Cluster(initialize_head=False)
        self._nodes: list[Any] = []
        try:
            self._start_head()
            for _ in range(nodes):
                self.add()
        except BaseException:
            self.close()
            raise

    def _start_head(self) -> None:
        self._cluster.add_node(num_cpus=0, gcs_server_port=self._port, **self._common)

    def add(self) -> None:
        """One node more."""
        self._nodes.append(self._cluster.add_node(num_cpus=self._cpus, **self._common))

    def kill(self) -> None:
        """Lose the node that was added first, as a crash loses it."""
        self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)

    def kill_head(self) -> None:
        """Lose the head."""
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)

    def restart_head(self) -> None:
        """Start a head that knows nothing of the one before, and the nodes anew, as their supervisors would."""
        while self._nodes:
            self.kill()
        self._start_head()
        for _ in range(self._count):
            self.add()

    def close(self) -> None:
        """End all processes."""
        self._cluster.shutdown()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
