"""Errors as ``application/problem+json`` (RFC 9457), each with a stable code."""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from pycrcnn.errors import FormatError, PyCrCNNError

__all__ = ["Problem", "add_handlers", "documented", "problem"]

_LOGGER = logging.getLogger("pycrcnn.server")
_TITLES = {
    400: "Malformed request",
    401: "Unauthorized",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    413: "Payload too large",
    415: "Unsupported media type",
    422: "Unprocessable request",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
    507: "Insufficient storage",
}
_STATUSES = {
    "malformed": 400,
    "unauthorized": 401,
    "not-found": 404,
    "method-not-allowed": 405,
    "timeout": 408,
    "conflict": 409,
    "not-ready": 409,
    "payload-too-large": 413,
    "too-large": 413,
    "unsupported-media-type": 415,
    "too-many-requests": 429,
    "internal": 500,
    "seal": 500,
    "entropy": 503,
    "unavailable": 503,
    "insufficient-storage": 507,
}
_CODES = {
    400: "malformed",
    401: "unauthorized",
    404: "not-found",
    405: "method-not-allowed",
    413: "payload-too-large",
    415: "unsupported-media-type",
}


class Problem(BaseModel):
    """An error. `code` is stable; `detail` is for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str


def problem(error: PyCrCNNError) -> JSONResponse:
    """The answer that stands for an error."""
    status = _STATUSES.get(error.code, 400 if isinstance(error, FormatError) else 422)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    retry_after = getattr(error, "retry_after", None)
    if retry_after is None and status == 503:
        retry_after = 5.0
    if retry_after is not None:
        headers["Retry-After"] = str(math.ceil(retry_after))
    return _response(status, error.code, str(error), headers)


def _response(status: int, code: str, detail: str, headers: Any = None) -> JSONResponse:
    title = _TITLES.get(status, "Error")
    content = Problem(title=title, status=status, detail=detail, code=code).model_dump()
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def add_handlers(app: FastAPI) -> None:
    """Answer every error of an application as a problem."""

    @app.exception_handler(PyCrCNNError)
    async def refused(request: Request, error: PyCrCNNError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        places = sorted({".".join(map(str, found["loc"])) + ": " + found["msg"] for found in error.errors()})
        return _response(422, "unprocessable", "; ".join(places)[:500])

    @app.exception_handler(HTTPException)
    async def refused_by_routing(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "unprocessable")
        return _response(error.status_code, code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        _LOGGER.error("%s %s failed", request.method, request.scope.get("path"), exc_info=error)
        return _response(500, "internal", "the service failed; its log says why")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems of a route for its OpenAPI document."""
    example = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _TITLES[status], "model": Problem, "content": example} for status in statuses}
