"""The engine that evaluates on a cluster."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from pycrcnn.cluster.connection import Connection
from pycrcnn.cluster.deployment import places
from pycrcnn.cluster.messages import LOST, STRANGE, Question, Reply, release
from pycrcnn.cluster.runtime import imported
from pycrcnn.errors import PyCrCNNError
from pycrcnn.program import Answer, EncryptedImages
from pycrcnn.server.plane.catalogue import ProgramEntry
from pycrcnn.server.plane.engine import Engine
from pycrcnn.server.plane.keys import KeyStore
from pycrcnn.server.plane.recent import Recent
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.plane.registry import Registry
from pycrcnn.server.settings import Settings

__all__ = ["RayEngine"]

_LOGGER = logging.getLogger("pycrcnn.cluster")
#: Attempts at one part of a request, and the seconds after the first after which there is none any more.
_ATTEMPTS, _TRYING = 4, 60.0
#: Seconds between the first two attempts; twice as long between the next.
_PAUSE = 0.1
_FIGURES = (
    *("replicas", "parts", "retries", "key_hits", "key_misses"),
    *("fetch_seconds", "prepare_seconds", "evaluate_seconds", "away_seconds"),
)
#: Seconds between two looks whether somebody still waits.
_LOOK = 0.05
#: Bytes of keys a second that are brought to a node and made ready there: what a miss costs (``pycrcnn bench cluster``
#: measured 26 MB in 0.29 s).
_KEY_BYTES_PER_SECOND = 90e6


class RayEngine(Engine):
    """Evaluates in the replicas of a Ray Serve deployment.

    Parameters
    ----------
    settings : Settings
    registry : Registry
    keys : KeyStore
    """

    def __init__(self, settings: Settings, registry: Registry, keys: KeyStore) -> None:
        self._ray = imported()
        self._failures = (self._ray.exceptions.RayError, self._ray.serve.exceptions.RayServeException)
        self._settings, self._registry, self._keys = settings, registry, keys
        self._connection = Connection(settings)
        self._references: Recent[Any] = Recent(settings.ray_object_bytes)
        self._figures = dict.fromkeys(_FIGURES, 0.0)
        self._lock = threading.Lock()

    def start(self, resized: Callable[[int], None]) -> None:
        """See :class:`~pycrcnn.server.plane.engine.Engine`."""
        self._connection.start(lambda replicas: resized(places(self._settings, replicas)))

    def stop(self) -> None:
        """See :class:`~pycrcnn.server.plane.engine.Engine`."""
        self._connection.stop()

    @property
    def ready(self) -> bool:
        """See :class:`~pycrcnn.server.plane.engine.Engine`."""
        return self._connection.ready

    def figures(self) -> dict[str, float]:
        """Replicas that run; parts that were answered, attempts that failed, key sets that a replica had and had not;
        the replicas' seconds (programs and keys that came, were made ready, evaluations), and those of whole calls.
        """
        return {**self._figures, "replicas": self._connection.replicas}

    def _count(self, **added: float) -> None:
        with self._lock:
            for name, value in added.items():
                self._figures[name] += value

    def evaluate(
        self, program: str, keys: str, images: EncryptedImages, threads: int, progress: Callable[[float], None]
    ) -> Answer:
        """See :class:`~pycrcnn.server.plane.engine.Engine`; `threads` are the replica's own.

        Raises
        ------
        Refusal
            ``unavailable``: nothing evaluates, or attempts failed for as long as that is worth trying.
        """
        entry = self._registry.shelf[program].entry
        self._keys.used(keys)
        parts = images.split(entry.capacity)
        answers = []
        for i, part in enumerate(parts):
            done = i / len(parts)
            count = min(entry.capacity, images.images - i * entry.capacity)
            question = _question(entry, keys, count)
            answers.append(self._answered(question, part, lambda done=done: progress(done)))  # type: ignore[misc]
        return Answer(tuple(answers), images.images)

    def _answered(self, question: Question, part: bytes, look: Callable[[], None]) -> bytes:
        """One part of an answer, from as many attempts as it takes and are worth it."""
        begun = time.monotonic()
        for attempt in range(_ATTEMPTS):
            asked = time.monotonic()
            handle = self._connection.handle()
            try:
                reply = self._asked(handle, question, part, look)
            except self._failures as error:
                why = f"{type(error).__name__}"  # a replica or its node has died: others compute it
            else:
                failure = reply.failure()
                if failure is None:
                    self._count(
                        parts=1,
                        key_hits=reply.hit,
                        key_misses=not reply.hit,
                        fetch_seconds=reply.fetch,
                        prepare_seconds=reply.prepare,
                        evaluate_seconds=reply.evaluate,
                        away_seconds=time.monotonic() - asked,
                    )
                    return reply.answer
                if not self._worth_trying(question, failure):
                    raise failure
                why = str(failure)
            self._count(retries=1)
            _LOGGER.warning("attempt %d at a part failed: %s", attempt + 1, why)
            if time.monotonic() - begun > _TRYING:
                break
            time.sleep(_PAUSE * 2**attempt)
        raise self._connection.unavailable()

    def _worth_trying(self, question: Question, failure: PyCrCNNError) -> bool:
        """Whether another attempt may succeed."""
        if failure.code == LOST:
            self._references.forget(question["program"])
            self._references.forget(question["keys"])
        return failure.code in (LOST, STRANGE)

    def _asked(self, handle: Any, question: Question, part: bytes, look: Callable[[], None]) -> Reply:
        response = handle.remote(question, part, self._referred(question))
        try:
            while True:
                look()
                try:
                    return Reply.from_bytes(response.result(timeout_s=_LOOK))
                except TimeoutError:
                    continue
        except BaseException:
            with contextlib.suppress(Exception):  # no harm where it has ended, and none where the cluster has
                response.cancel()
            raise

    def _referred(self, question: Question) -> list[Any]:
        """References to the bytes of program and keys, which go into the object store of this node once."""
        path = self._registry.shelf[question["program"]].path
        program = self._references.get(question["program"], lambda: self._put(path.read_bytes()))
        if self._settings.ray_shared_keys:
            return [program]
        identity = question["keys"]
        return [program, self._references.get(identity, lambda: self._put(self._keys.data(identity)))]

    def _put(self, data: bytes) -> tuple[Any, int]:
        try:
            return self._ray.put(data), len(data)
        except self._ray.exceptions.ObjectStoreFullError as error:
            raise Refusal("unavailable", "the cluster's object store is full; come back later", 5.0) from error


def _question(entry: ProgramEntry, keys: str, images: int) -> Question:
    patient = entry.seconds < entry.key_bytes / _KEY_BYTES_PER_SECOND
    return Question(version=release(), program=entry.id, keys=keys, images=images, patient=patient)
