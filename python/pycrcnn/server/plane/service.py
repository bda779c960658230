"""The data plane put together."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from pycrcnn._native import Cancellation
from pycrcnn.errors import CancelledError
from pycrcnn.program import Answer, EncryptedImages
from pycrcnn.server.plane.blobs import Blobs, DiskBlobs
from pycrcnn.server.plane.catalogue import ProgramEntry
from pycrcnn.server.plane.engine import Engine, InProcessEngine
from pycrcnn.server.plane.exchange import Exchange
from pycrcnn.server.plane.job import Order
from pycrcnn.server.plane.jobs import Jobs
from pycrcnn.server.plane.keys import KeyStore
from pycrcnn.server.plane.legacy import LegacyCompute
from pycrcnn.server.plane.memory import Memory
from pycrcnn.server.plane.queue import FairQueue
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.plane.registry import Registry
from pycrcnn.server.settings import Settings

__all__ = ["DataPlane", "Prediction"]

#: Seconds between two rounds of forgetting what has expired.
_HOUSEKEEPING = 60.0
#: A ciphertext under a public key is twice as large as one under a secret key; headers come on top.
_PUBLIC_KEY_FACTOR, _SLACK = 2, 65_536


@dataclass(frozen=True)
class Prediction:
    """An answer, and the seconds that it waited and took."""

    answer: Answer
    queued: float
    evaluated: float


class DataPlane:
    """Models, keys, evaluation and jobs of one service.

    Parameters
    ----------
    settings : Settings
    engine : Engine, optional
        Evaluates in place of this process.
    evaluated : callable, optional
        Is told model, layout and seconds of each evaluation.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine | None = None,
        evaluated: Callable[[str, str, float], None] = lambda model, layout, seconds: None,
    ) -> None:
        self.settings = settings
        self._evaluated = evaluated
        state = settings.state
        self.registry = Registry(
            settings.models,
            settings.shipped_models,
            state / "programs",
            flooding=settings.flooding,
            most_bytes=settings.programs_bytes,
            memory=settings.memory_bytes,
        )
        self.keys = KeyStore(
            _key_blobs(settings),
            self.registry,
            days=settings.key_days,
            most_bytes=settings.keys_bytes,
            per_owner=settings.keys_per_client,
            prepared_bytes=settings.prepared_bytes,
        )
        self.engine = engine or _engine(settings, self.registry, self.keys)
        self.queue = FairQueue(settings.workers, settings.threads, settings.queue, settings.queue_per_client)
        self.jobs = Jobs(
            state / "jobs",
            self.queue,
            self.engine,
            hours=settings.result_hours,
            most=settings.jobs,
            most_bytes=settings.jobs_bytes,
            done=lambda order, seconds: self._report(order, seconds),
        )
        self.legacy = LegacyCompute(
            self.registry,
            settings.max_ciphertexts,
            settings.max_compute_bytes,
            public_key_required=settings.public_key_required,
        )
        self._exchange = settings.exchange and Exchange(settings.exchange, self.legacy, settings.max_json_bytes)
        self._stopped = threading.Event()
        self.accepting = False

    def start(self) -> None:
        """Begin to compile, and take up jobs again."""
        self.registry.start()
        self.engine.start(self.queue.resize)
        self.jobs.start()
        threading.Thread(target=self._keep_house, name="housekeeping", daemon=True).start()
        self.accepting = True

    def stop(self) -> None:
        """Finish what runs, as far as the grace goes; the rest of the jobs waits on disk for the next start."""
        self.accepting = False
        self._stopped.set()
        self.registry.stop()
        self.queue.close(self.settings.grace_seconds)
        self.engine.stop()

    def _keep_house(self) -> None:
        while not self._stopped.wait(_HOUSEKEEPING):
            self.keys.expire()
            self.jobs.expire()

    def _report(self, order: Order, seconds: float) -> None:
        self._evaluated(order.model, self.registry.shelf[order.program].entry.layout, seconds)

    def most_bytes(self, entry: ProgramEntry, images: int | None = None) -> int:
        """The largest request that a program can take."""
        most = self.settings.max_images if images is None else min(images, self.settings.max_images)
        runs = -(-most // entry.capacity)
        return min(self.settings.max_body_bytes, runs * (_PUBLIC_KEY_FACTOR * entry.bytes_up + _SLACK))

    def order(
        self, model: str, program: str | None, layers: tuple[int, int] | None, keys: str, owner: str | None
    ) -> tuple[Order, ProgramEntry]:
        """What a request asks for, its names resolved.

        Parameters
        ----------
        model, program, layers, keys
            As the request has them.
        owner : str, optional
            Whose API key it brought; without one the key set stands for its owner.

        Raises
        ------
        Refusal
            ``not-found``, ``unprocessable``.
        """
        entry = self.registry.offered(model, program, layers)
        record = self.keys.record(keys)
        if record.program != entry.id:
            raise Refusal("unprocessable", "the key set is for another program; PUT /v1/keys one for this program")
        return Order(model, entry.id, keys, owner or "", owner or keys), entry

    def check(self, entry: ProgramEntry, images: EncryptedImages) -> None:
        """Refuse what a program cannot take, before it waits for its turn."""
        if images.images > self.settings.max_images:
            raise Refusal("payload-too-large", f"at most {self.settings.max_images} images are taken at a time")
        parts = images.split(entry.capacity)
        if any(len(part) > _PUBLIC_KEY_FACTOR * entry.bytes_up + _SLACK for part in parts):
            raise Refusal("payload-too-large", f"a part has more than its {entry.bytes_up} bytes")

    def predict(self, order: Order, images: EncryptedImages, cancellation: Cancellation) -> Future[Prediction]:
        """Evaluate when its turn comes, and stop where it is cancelled.

        Raises
        ------
        Refusal
            ``too-many-requests``, ``unavailable``.
        """
        submitted = time.perf_counter()

        def wanted(part: float) -> None:
            if cancellation.cancelled:
                raise CancelledError("nobody waits for the answer any more")

        def work(threads: int) -> Prediction:
            start = time.perf_counter()
            with cancellation:
                answer = self.engine.evaluate(order.program, order.keys, images, threads, wanted)
            seconds = time.perf_counter() - start
            self._report(order, seconds)
            return Prediction(answer, start - submitted, seconds)

        return self.queue.submit(order.client, work)

    def invoke(self, reference: tuple[str, str] | None, body: bytes, threads: int) -> bytes:
        """Answer a request of PyCrCNN's protocol whose payload lies in the object store, or is the body itself.

        Raises
        ------
        Refusal
            As :meth:`LegacyCompute.compute` and :meth:`Exchange.answer`.
        """
        if reference is None:
            return self.legacy.compute(body, threads)
        if not self._exchange:
            raise Refusal("unprocessable", "the service has no object store: send the payload itself")
        return json.dumps(self._exchange.answer(*reference, threads)).encode()


def _engine(settings: Settings, registry: Registry, keys: KeyStore) -> Engine:
    if settings.engine == "process":
        return InProcessEngine(registry, keys, Memory(settings.memory_bytes), settings.flooding)
    from pycrcnn.cluster.engine import RayEngine

    return RayEngine(settings, registry, keys)


def _key_blobs(settings: Settings) -> Blobs:
    if settings.key_store is None:
        return DiskBlobs(settings.state / "keys")
    from pycrcnn.server.plane.objects import ObjectBlobs

    return ObjectBlobs(settings.key_store)
