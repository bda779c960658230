"""Encrypted images and answers on the wire: bytes, or JSON with base64."""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pycrcnn.program import Answer, EncryptedImages
from pycrcnn.server.bodies import Bodies, media_type
from pycrcnn.server.plane.job import Order
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.plane.service import DataPlane

__all__ = [
    "BINARY",
    "JSON",
    "REQUEST_BODY",
    "SERVER_TIMING",
    "JsonAnswer",
    "Question",
    "Selected",
    "answered",
    "asked",
    "server_timing",
]

BINARY, JSON = "application/octet-stream", "application/json"
#: Bytes of JSON that are parsed at once.
_LARGE = 1 << 20
_IDENTITY = r"^[0-9a-f]{64}$"


class JsonQuestion(BaseModel):
    """Encrypted images in JSON. What stands in the query need not stand here."""

    model_config = ConfigDict(extra="forbid", strict=True)

    program: str | None = Field(None, pattern=_IDENTITY, description="The program's id")
    keys: str | None = Field(None, pattern=_IDENTITY, description="The key set's id")
    layers: tuple[int, int] | None = Field(
        None, strict=False, description="First and last layer, where only one program computes them"
    )
    images: int = Field(ge=1, description="How many images there are")
    ciphertexts: list[str] = Field(min_length=1, description="Base64 of each run's part")


class JsonAnswer(BaseModel):
    """Encrypted answers in JSON."""

    images: int
    ciphertexts: list[str]


REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            BINARY: {
                "schema": {"type": "string", "format": "binary"},
                "description": "`pycrcnn.program.EncryptedImages.to_bytes()`",
            },
            JSON: {
                "schema": JsonQuestion.model_json_schema(),
                "example": {"program": "0f" * 32, "keys": "a1" * 32, "images": 1, "ciphertexts": ["UFlDUkNOTg..."]},
            },
        },
    }
}


SERVER_TIMING: dict[str, Any] = {
    "Server-Timing": {"description": "Milliseconds of queue, read, evaluate, write", "schema": {"type": "string"}}
}


@dataclass(frozen=True)
class Selection:
    """Which program and which keys, as the query says it."""

    program: str | None
    keys: str | None
    layers: str | None

    def pair(self) -> tuple[int, int] | None:
        """First and last layer."""
        if self.layers is None:
            return None
        first, _, last = self.layers.partition(",")
        return int(first), int(last)


async def _selection(
    program: Annotated[str | None, Query(pattern=_IDENTITY, description="The program's id")] = None,
    keys: Annotated[str | None, Query(pattern=_IDENTITY, description="The key set's id")] = None,
    layers: Annotated[
        str | None,
        Query(pattern=r"^\d{1,4},\d{1,4}$", description="FIRST,LAST in place of the program, where it is unambiguous"),
    ] = None,
) -> Selection:
    return Selection(program, keys, layers)


Selected: TypeAlias = Annotated[Selection, Depends(_selection)]


@dataclass(frozen=True)
class Question:
    """An order, its images, and the form that the answer must have."""

    order: Order
    images: EncryptedImages
    binary: bool


@asynccontextmanager
async def asked(
    request: Request, model: str, selection: Selection, plane: DataPlane, bodies: Bodies, owner: str | None
) -> AsyncIterator[Question]:
    """What a request asks for, read and checked."""
    kind = media_type(request)
    if kind == BINARY:
        if selection.keys is None:
            raise Refusal("unprocessable", "say which key set: keys=ID")
        chosen = selection.program, selection.pair(), selection.keys
        order, entry = await asyncio.to_thread(plane.order, model, *chosen, owner)
        async with bodies.body(request, plane.most_bytes(entry)) as body:
            images = EncryptedImages.from_bytes(body)
            plane.check(entry, images)
            yield Question(order, images, True)
    elif kind == JSON:
        async with bodies.body(request, plane.settings.max_json_bytes) as body:
            # What takes long must not hold up other requests.
            question, parts = await asyncio.to_thread(_read, body) if len(body) > _LARGE else _read(body)
            keys = question.keys or selection.keys
            if keys is None:
                raise Refusal("unprocessable", "say which key set: keys=ID")
            program, layers = question.program or selection.program, question.layers or selection.pair()
            order, entry = await asyncio.to_thread(plane.order, model, program, layers, keys, owner)
            images = EncryptedImages(parts, question.images)
            plane.check(entry, images)
            yield Question(order, images, False)
    else:
        raise Refusal("unsupported-media-type", f"encrypted images are sent as {BINARY} or {JSON}")


def _read(body: bytes) -> tuple[JsonQuestion, tuple[bytes, ...]]:
    question = _parsed(body)
    return question, tuple(map(_decoded, question.ciphertexts))


def _parsed(body: bytes) -> JsonQuestion:
    try:
        return JsonQuestion.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        malformed = any(item["type"] == "json_invalid" for item in found)
        text = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in itertools.islice(found, 5))
        raise Refusal("malformed" if malformed else "unprocessable", text[:500]) from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("malformed", "ciphertexts: a part is no base64") from None


def server_timing(phases: dict[str, float]) -> dict[str, str]:
    """The header that tells what took how long, in milliseconds."""
    known = (phase for phase in ("queue", "read", "evaluate", "write") if phase in phases)
    return {"Server-Timing": ", ".join(f"{phase};dur={1e3 * phases[phase]:.3f}" for phase in known)}


def answered(answer: Answer | bytes, binary: bool, headers: dict[str, str] | None = None) -> Response:
    """An answer in the form that the question had."""
    if binary:
        data = answer if isinstance(answer, bytes) else answer.to_bytes()
        return Response(data, headers=headers, media_type=BINARY)
    whole = Answer.from_bytes(answer) if isinstance(answer, bytes) else answer
    texts = ",".join('"' + base64.b64encode(part).decode() + '"' for part in whole.parts)
    return Response(f'{{"images":{whole.images},"ciphertexts":[{texts}]}}', headers=headers, media_type=JSON)
