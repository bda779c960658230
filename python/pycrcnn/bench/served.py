"""A program served by a process of its own, on loopback."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pycrcnn.program import Program
from pycrcnn.server.child import ChildService
from pycrcnn.server.plane.published import publish

__all__ = ["Served", "serving"]


class Served:
    """A service, and connections to it that are closed together: it stops only when none is open.

    Attributes
    ----------
    url : str
    process : int
        Its id.
    """

    def __init__(self, service: ChildService) -> None:
        self.url, self.process = service.url, service.process.pid
        self._open: list[http.client.HTTPConnection] = []

    def connection(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self.url.rsplit(":", 1)[1]), timeout=60)
        connection.connect()
        self._open.append(connection)
        return connection

    def close(self) -> None:
        """Close all connections."""
        for connection in self._open:
            connection.close()


@contextmanager
def serving(program: Program, **settings: str) -> Iterator[Served]:
    """A service that offers one program as the model ``model``; `settings` are more of `pycrcnn.server.Settings`."""
    with tempfile.TemporaryDirectory() as directory:
        models, state = Path(directory) / "models", Path(directory) / "state"
        publish(models, "model", [(program, 0)])
        with ChildService(models, state, **settings) as service, contextlib.closing(Served(service)) as served:
            yield served
