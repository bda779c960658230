"""A socket, an ASGI server, and signals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

from fastapi import FastAPI

from pycrcnn.errors import MissingPackageError
from pycrcnn.server.app import create_app
from pycrcnn.server.logs import configure
from pycrcnn.server.settings import Settings

__all__ = ["serve"]

_LOGGER = logging.getLogger("pycrcnn.server")
#: Milliseconds that a client may take for the head of a request.
_HEAD = 15_000


def serve(settings: Settings, *, until_stdin_ends: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; then finish what runs, and park the rest.

    Port 0 takes a free port, which is logged.

    Parameters
    ----------
    settings : Settings
    until_stdin_ends : bool
        Stop at the end of standard input too: a pipe from a process ends with it, however it ends.
    """
    if until_stdin_ends:
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    configure(settings.log_level)
    if settings.port == 0:
        settings = settings.model_copy(update={"port": _free_port(settings.host)})
    app = create_app(settings)
    scheme = "https" if settings.tls_certificate else "http"
    _LOGGER.info("listening", extra={"fields": {"url": f"{scheme}://{settings.host}:{settings.port}"}})
    print(f"pycrcnn: {scheme}://{settings.host}:{settings.port}", file=sys.stderr, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_granian(app, settings) if settings.server == "granian" else _uvicorn(app, settings))


def _stop_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


async def _granian(app: FastAPI, settings: Settings) -> None:
    try:
        from granian.constants import HTTPModes, Interfaces
        from granian.http import HTTP1Settings
        from granian.server.embed import Server
    except ImportError as error:
        raise MissingPackageError("granian is missing: pip install 'pycrcnn[server]'") from error
    server = Server(
        app,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEAD),
        websockets=False,
        log_enabled=False,
        ssl_cert=settings.tls_certificate,
        ssl_key=settings.tls_key,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    await server.serve()


async def _uvicorn(app: FastAPI, settings: Settings) -> None:
    try:
        import uvicorn
    except ImportError as error:
        raise MissingPackageError("uvicorn is missing: pip install uvicorn") from error
    options: dict[str, Any] = {"ssl_certfile": settings.tls_certificate, "ssl_keyfile": settings.tls_key}
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_keep_alive=75,
        **(options if settings.tls_certificate else {}),
    )
    await uvicorn.Server(config).serve()
