"""Clients that leave before they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request

from pycrcnn.server.plane.refusals import Refusal

__all__ = ["while_there"]

_T = TypeVar("_T")


async def while_there(request: Request, work: Awaitable[_T]) -> _T:
    """What comes of the work, which is cancelled when the client closes the connection.

    Raises
    ------
    Refusal
        ``malformed``: the client has gone; nobody reads it.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refusal("malformed", "the connection was closed before the answer had come")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
