"""One line of JSON for each request, without anything of its content; and the counts of `metrics`."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pycrcnn.server.metrics import Metrics

__all__ = ["JsonLines", "Observed", "configure"]

_LOGGER = logging.getLogger("pycrcnn.server.access")


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(level: str) -> None:
    """Log as lines of JSON to the standard error stream."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class Observed:
    """Counts and logs each request under the pattern of its route, so that no identity gets into either."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, received, sent, start = 0, 0, 0, time.perf_counter()

        async def receiving() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.received.labels(route).inc(received)
            self._metrics.sent.labels(route).inc(sent)
            fields = {
                "method": scope["method"] if scope["method"].isalpha() else "?",
                "route": route,
                "status": status,
                "received": received,
                "sent": sent,
                "seconds": round(time.perf_counter() - start, 6),
            }
            _LOGGER.info("request", extra={"fields": fields})
