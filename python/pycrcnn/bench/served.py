"""A program served by a process of its own, on loopback."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pycrcnn import datasets
from pycrcnn.bench.measuring import network
from pycrcnn.program import Program, compile  # noqa: A004
from pycrcnn.server.child import ChildService
from pycrcnn.server.plane.published import publish

__all__ = ["Served", "packed", "serving"]


def packed(name: str) -> tuple[Program, NDArray[np.float64]]:
    """A network in the packed layout, and the first of its test images, ``[1, *input_shape]``."""
    model = network(name)
    examples, _ = datasets.load(model.dataset, "train")
    program = compile(model, layout="packed", calibration=model.normalise(examples[:500]))
    pixels, _ = datasets.load(model.dataset, "test")
    return program, model.normalise(pixels[:1])


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
