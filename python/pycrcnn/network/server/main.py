"""PyCrCNN's server: ``POST /compute`` on port 5000, where ``GET /`` answers ``Server Works!``.

It is the service of :mod:`pycrcnn.server`, so everything else that it offers is there too.
"""

from __future__ import annotations

from typing import Any

__all__ = ["create_app", "main"]

#: Where PyCrCNN's server listened.
PORT = 5000


def create_app() -> Any:
    """The service as an ASGI application, with settings from the environment."""
    from pycrcnn.server import create_app

    return create_app()


def main() -> None:
    """Serve on loopback until a signal comes; ``PYCRCNN_*`` sets everything but the port."""
    from pycrcnn.server import Settings
    from pycrcnn.server.listening import serve

    serve(Settings(port=PORT))


if __name__ == "__main__":
    main()
