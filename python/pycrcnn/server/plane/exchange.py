"""Payloads by reference to an object store, as in the paper: the client puts its payload under ``input/``, the service
reads it, puts the answer under ``output/`` and deletes the payload; the client fetches the answer and deletes it.
"""

from __future__ import annotations

import json
import time
from typing import Any

from pycrcnn.server.plane.legacy import LegacyCompute
from pycrcnn.server.plane.objects import ObjectBlobs, bucket_of
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Exchange", "reference_in"]

_INPUT, _OUTPUT = "input/", "output/"


def reference_in(body: bytes) -> tuple[str, str] | None:
    """Bucket and key of a request that names its payload in place of bringing it; None where it brings it."""
    if len(body) > 4096:
        return None
    try:
        message: Any = json.loads(body)
        message = json.loads(message) if isinstance(message, str) else message
    except (ValueError, RecursionError):
        return None
    match message:
        case {"bucket": str(bucket), "key": str(key)}:
            return bucket, key
    return None


class Exchange:
    """The one bucket that payloads may lie in.

    Parameters
    ----------
    url : str
        ``s3://bucket``.
    compute : LegacyCompute
    limit : int
        Bytes of a payload.
    """

    def __init__(self, url: str, compute: LegacyCompute, limit: int) -> None:
        self._bucket, prefix = bucket_of(url)
        if prefix:
            raise Refusal("unprocessable", f"exchange: a whole bucket is needed, not {url}")
        self._objects, self._compute, self._limit = ObjectBlobs(url), compute, limit

    def answer(self, bucket: str, key: str, threads: int) -> dict[str, str]:
        """Compute what a payload asks for, and say where the answer is.

        Raises
        ------
        Refusal
            ``unprocessable``: another bucket, or a key that is no payload's. ``not-found``: there is no such payload.
        """
        if bucket != self._bucket or not key.startswith(_INPUT) or ".." in key:
            raise Refusal("unprocessable", f"payloads are taken from {_INPUT}... in the service's own bucket only")
        payload = self._objects.get(key, self._limit)
        if payload is None:
            raise Refusal("not-found", "there is no payload under this key")
        answer = self._compute.compute(payload, threads)
        name = key.removeprefix(_INPUT).replace("input", "output", 1) or f"output_payload_{time.time()}"
        output = f"{_OUTPUT}{name}"
        self._objects.put(output, answer)
        self._objects.delete(key)
        return {"bucket": bucket, "key": output}
