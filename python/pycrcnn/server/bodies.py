"""Bodies of requests: bounded before they are read, and while they are."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.settings import Settings

__all__ = ["Bodies", "Drained", "media_type"]

#: Seconds that a body may be slow for.
_PATIENCE = 10.0
#: The most bytes of a refused body that are read all the same, and the seconds that this may take.
_DRAINED, _DRAINED_SECONDS = 1 << 20, 1.0


def media_type(request: Request) -> str:
    """The media type of a body, without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


class Bodies:
    """Reads bodies, of which all together may take some memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held = 0

    @asynccontextmanager
    async def body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """The body of a request; inside of the context it counts as memory in use.

        Raises
        ------
        Refusal
            ``payload-too-large``; ``timeout``: it comes too slowly; ``unavailable``: other bodies take all memory;
            ``malformed``: the client has gone.
        """
        declared = _declared(request)
        if declared is not None and declared > limit:
            raise Refusal("payload-too-large", f"the body has {declared} bytes; at most {limit} are taken here")
        held = 0
        chunks: list[bytes] = []
        try:
            async for chunk in self._chunks(request):
                held += len(chunk)
                self._held += len(chunk)
                if held > limit:
                    raise Refusal("payload-too-large", f"the body has more than {limit} bytes, which are taken here")
                if self._held > self._settings.max_bodies_bytes:
                    raise Refusal("unavailable", "too many large requests are being read; come back later", 2.0)
                chunks.append(chunk)
            if declared is not None and held != declared:
                raise Refusal("malformed", f"the body was cut off after {held} of {declared} bytes")
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._held -= held

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        stream = request.stream().__aiter__()
        start, received = time.monotonic(), 0
        while True:
            try:
                chunk = await asyncio.wait_for(anext(stream), self._settings.body_seconds)
            except StopAsyncIteration:
                return
            except asyncio.TimeoutError:
                raise Refusal("timeout", "the body stopped coming; send the request again") from None
            except ClientDisconnect:
                raise Refusal("malformed", "the connection was closed before the body had come") from None
            received += len(chunk)
            seconds = time.monotonic() - start
            if seconds > _PATIENCE and received < self._settings.body_bytes_per_second * (seconds - _PATIENCE):
                raise Refusal("timeout", "the body comes too slowly; send the request again") from None
            yield chunk


def _declared(request: Request) -> int | None:
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refusal("malformed", "Content-Length is no number")
    return int(text)


class Drained:
    """Reads the rest of a small body before a request is refused, so that the connection can be used again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        unread = True

        async def receiving() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def drain() -> None:
            read = 0
            while unread and read <= _DRAINED:
                read += len((await receiving()).get("body", b""))

        async def sending(message: Message) -> None:
            length = dict(scope["headers"]).get(b"content-length", b"0")
            if message["type"] == "http.response.start" and unread and length.isdigit() and int(length) <= _DRAINED:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(drain(), _DRAINED_SECONDS)
            await send(message)

        await self._app(scope, receiving, sending)
