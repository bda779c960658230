"""The deployment ``Evaluator``: a replica evaluates, with programs and keys that it fetches where it has them not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pycrcnn._native import Cancellation
from pycrcnn.cluster.messages import STRANGE, Question, Reply, release
from pycrcnn.cluster.node import Node, NodeLimits
from pycrcnn.cluster.runtime import resolved
from pycrcnn.errors import CancelledError, PyCrCNNError
from pycrcnn.program import EncryptedImages
from pycrcnn.server.plane.blobs import Blobs
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Evaluator"]

_LOGGER = logging.getLogger("pycrcnn.cluster")


class Evaluator:
    """One replica.

    Parameters
    ----------
    version : str
        Of the server that deployed it.
    limits : NodeLimits
    threads : int
        Of an evaluation.
    slots : int
        Evaluations side by side.
    flooding : float
        Of the noise of replies, see `pycrcnn.Program.rerandomize`.
    key_store : str, optional
        ``s3://bucket/prefix`` that this node reaches itself: keys are read from there and not from the server.

    Raises
    ------
    Refusal
        This node has another version of the package.
    """

    def __init__(
        self, version: str, limits: NodeLimits, threads: int, slots: int, flooding: float, key_store: str | None = None
    ) -> None:
        if version != release():
            raise _strange(version)
        self._node = Node(limits, threads)
        self._flooding = flooding
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="evaluate")
        self._blobs = _blobs(key_store)

    async def evaluate(self, question: Question, images: bytes, references: Sequence[Any]) -> bytes:
        """The reply to one part of encrypted images.

        Parameters
        ----------
        question : Question
        images : bytes
            As `EncryptedImages.parts` has them.
        references : sequence of ray.ObjectRef
            To the program's bytes and to those of the keys; none of keys where the node reads them itself.
        """
        cancellation = Cancellation()
        work = asyncio.get_running_loop().run_in_executor(
            self._pool, self._reply, question, images, references, cancellation
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            cancellation.cancel()  # the server has: its client has gone
            raise

    def counts(self) -> dict[str, int]:
        """What the node holds, and how often it did not."""
        keys = self._node.keys
        return {
            "keys": len(keys),
            "key_bytes": keys.nbytes,
            "hits": keys.counts.hits,
            "misses": keys.counts.misses,
            "evicted": keys.counts.evicted,
        }

    def _reply(self, question: Question, images: bytes, references: Sequence[Any], cancellation: Cancellation) -> bytes:
        try:
            if question["version"] != release():
                raise _strange(question["version"])
            if cancellation.cancelled:
                raise CancelledError("nobody waits for it any more")
            with cancellation:
                return self._answered(question, images, references).to_bytes()
        except PyCrCNNError as error:
            after = error.retry_after if isinstance(error, Refusal) else None
            return Reply(error=(error.code, str(error)), retry_after=after).to_bytes()
        except Exception:
            _LOGGER.exception("an evaluation failed")
            return Reply(error=("internal", "the evaluation failed inside a replica; its log says why")).to_bytes()

    def _answered(self, question: Question, images: bytes, references: Sequence[Any]) -> Reply:
        start = time.perf_counter()
        fetched = 0.0

        def timed(fetch: Callable[[], bytes | None]) -> Callable[[], bytes | None]:
            def bring() -> bytes | None:
                nonlocal fetched
                since = time.perf_counter()
                data = fetch()
                fetched += time.perf_counter() - since
                return data

            return bring

        hit = question["keys"] in self._node.keys
        program = self._node.program(question["program"], timed(lambda: resolved(references[0])))
        keys = self._node.evaluation_keys(question["keys"], program, timed(lambda: self._keys(question, references)))
        ready = time.perf_counter()
        answer = self._node.answer(program, keys, EncryptedImages((images,), question["images"]), self._flooding)
        return Reply(
            answer.parts[0],
            hit=hit,
            fetch=fetched,
            prepare=ready - start - fetched,
            evaluate=time.perf_counter() - ready,
        )

    def _keys(self, question: Question, references: Sequence[Any]) -> bytes | None:
        if self._blobs is not None:
            return self._blobs.get(f"{question['keys']}.keys")
        return resolved(references[1])


def _blobs(key_store: str | None) -> Blobs | None:
    if key_store is None:
        return None
    from pycrcnn.server.plane.objects import ObjectBlobs

    return ObjectBlobs(key_store)


def _strange(version: str) -> Refusal:
    return Refusal(STRANGE, f"the server has pycrcnn {version}, this node {release()}: install the same on all nodes")
