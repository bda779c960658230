"""The service in a process of its own, on loopback."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pycrcnn.errors import BackendError
from pycrcnn.program import Program
from pycrcnn.server.plane.published import publish

__all__ = ["Service", "serving"]


class Service:
    """``pycrcnn serve`` on a free port, with the directories ``models`` and ``state`` below the one given."""

    def __init__(self, directory: Path, **settings: str) -> None:
        command = [sys.executable, "-m", "pycrcnn.cli", "serve", "--port", "0", "--models", str(directory / "models")]
        environment = {**os.environ, "PYCRCNN_SHIPPED_MODELS": "false", "PYCRCNN_STATE": str(directory / "state")}
        environment.update({"PYCRCNN_LOG_LEVEL": "warning", **settings})
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)  # noqa: S603 - our own
        self.connections: list[http.client.HTTPConnection] = []
        self.port = self._port()
        self.log = threading.Thread(target=self.process.communicate, daemon=True)
        self.log.start()

    def _port(self) -> int:
        """Where it listens; its other warnings are passed over."""
        for line in self.process.stderr or ():
            if line.startswith("pycrcnn: http"):
                return int(line.rsplit(":", 1)[1])
        raise BackendError("the service did not start; `pycrcnn serve` says why")

    def connection(self) -> http.client.HTTPConnection:
        """A connection of one's own, as soon as the service answers."""
        for _ in range(500):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                connection.connect()
            except OSError:
                time.sleep(0.02)
            else:
                self.connections.append(connection)
                return connection
        raise BackendError("the service does not answer on loopback")

    def stop(self) -> None:
        """As an operator does."""
        for connection in self.connections:
            connection.close()
        self.process.send_signal(signal.SIGTERM)
        self.log.join(60)


@contextmanager
def serving(program: Program, **settings: str) -> Iterator[Service]:
    """A service that offers one program as the model ``model``, with settings as environment variables."""
    with tempfile.TemporaryDirectory() as directory:
        publish(Path(directory) / "models", "model", [(program, 0)])
        service = Service(Path(directory), **settings)
        try:
            yield service
        finally:
            service.stop()
