"""Long work: kept on disk, so that it survives a restart, and computed once.

A job is a directory ``ID/`` of ``request`` and ``job.json``, and ``result`` once it is done. A directory is renamed
into its place when it is whole; what was queued or running when the process ended is queued again when it starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pycrcnn.errors import CancelledError, PyCrCNNError
from pycrcnn.program import EncryptedImages
from pycrcnn.server.plane.blobs import full_disk_refused, write_durably
from pycrcnn.server.plane.engine import Engine
from pycrcnn.server.plane.job import Job, Order, Status
from pycrcnn.server.plane.queue import FairQueue
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Jobs"]

_LOGGER = logging.getLogger("pycrcnn.server")
_HOUR = 3_600.0
#: Seconds until a job is computed again that found the disk full, or nothing that evaluates.
_RETRY = 5.0
#: Seconds after which what nobody waits for is given up: a client that lost its connection is back by then.
_ABANDONED = 30.0


class Jobs:
    """All jobs.

    Parameters
    ----------
    directory : Path
    queue : FairQueue
    engine : Engine
    hours : float
        A job and its result are kept so long.
    most, most_bytes : int
        Limits: jobs that are kept, and the bytes of their requests and results.
    done : callable
        Is told order and seconds of each evaluation.
    """

    def __init__(
        self,
        directory: Path,
        queue: FairQueue,
        engine: Engine,
        *,
        hours: float,
        most: int,
        most_bytes: int,
        done: Callable[[Order, float], None] = lambda order, seconds: None,
    ) -> None:
        self._directory, self._queue, self._engine, self._done = directory, queue, engine, done
        self._lifetime = hours * _HOUR
        self._most, self._most_bytes = most, most_bytes
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._bytes: dict[str, int] = {}
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._secret = self._own_secret(directory / ".secret")
        for leftover in directory.glob(".new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for path in directory.iterdir():
            if path.is_dir():
                self._restore(path)

    @staticmethod
    def _own_secret(path: Path) -> bytes:
        """Makes identities that nobody can guess of idempotency keys that somebody chose."""
        if not path.exists():
            write_durably(path, secrets.token_bytes(32))
            path.chmod(0o600)
        return path.read_bytes()

    def _restore(self, path: Path) -> None:
        try:
            job = Job.read((path / "job.json").read_bytes())
            if job.status == "done" and (path / "result").stat().st_size != job.size:
                raise ValueError("the result was cut off")
        except (OSError, ValueError, TypeError, KeyError):
            _LOGGER.warning("job %s is damaged and is dropped", path.name)
            shutil.rmtree(path, ignore_errors=True)
            return
        self._jobs[job.id] = job
        self._weigh(job)
        if job.status == "done":
            job.progress = 1.0
        elif job.status in ("queued", "running"):
            job.status = "queued"

    def start(self) -> None:
        """Queue what was not done when the process ended."""
        for job in sorted(self._jobs.values(), key=lambda job: job.created):
            if job.status == "queued":
                self._enqueue(job)

    def _weigh(self, job: Job) -> None:
        sizes = [path.stat().st_size for path in (self._directory / job.id).iterdir()]
        self._bytes[job.id] = sum(sizes)

    def _identity(self, order: Order, idempotency_key: str | None) -> str:
        if idempotency_key is None:
            return secrets.token_hex(16)
        return self._begun(order.owner, order.keys, idempotency_key)

    def _begun(self, owner: str, keys: str, idempotency_key: str) -> str:
        """The identity of the job that an idempotency key stands for."""
        text = json.dumps([owner, keys, idempotency_key]).encode()
        return hmac.new(self._secret, text, "sha256").hexdigest()[:32]

    def submit(
        self, order: Order, images: EncryptedImages, idempotency_key: str | None = None, *, durable: bool = True
    ) -> Job:
        """Keep an order and queue it, or find the job that the same idempotency key and order began.

        Parameters
        ----------
        order : Order
        images : EncryptedImages
        idempotency_key : str, optional
        durable : bool
            Whether it is computed although nobody waits for it, and outlives a power failure and not only a crash: not
            where the client waits for the answer.

        Raises
        ------
        Refusal
            ``conflict``: the idempotency key was used for another order. ``insufficient-storage``: there is no room.
            ``unavailable``: too many jobs are kept.
        """
        data = images.to_bytes()
        fingerprint = hashlib.blake2b(
            json.dumps([order.model, order.program, order.keys]).encode() + data, digest_size=32
        ).hexdigest()
        with self._lock:
            self.expire()
            identity = self._identity(order, idempotency_key)
            known = self._jobs.get(identity)
            if known is not None:
                if known.fingerprint != fingerprint:
                    raise Refusal("conflict", "this Idempotency-Key was used for another request; choose a new one")
                known.durable |= durable
                return known
            if len(self._jobs) >= self._most:
                raise Refusal("unavailable", f"{len(self._jobs)} jobs are kept already; come back later", 60.0)
            if sum(self._bytes.values()) + len(data) > self._most_bytes:
                raise Refusal("insufficient-storage", "the room for jobs is used up; come back later", 60.0)
            now = time.time()
            job = Job(identity, order, fingerprint, now, now + self._lifetime, durable=durable)
            self._write_new(job, data)
            self._jobs[identity] = job
            self._bytes[identity] = len(data)
            self._enqueue(job)
        return job

    def _write_new(self, job: Job, data: bytes) -> None:
        new = self._directory / f".new-{job.id}"
        try:
            with full_disk_refused():
                new.mkdir(mode=0o700)
                write_durably(new / "request", data, sync=job.durable)
                write_durably(new / "job.json", job.document(), sync=job.durable)
                new.rename(self._directory / job.id)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def _enqueue(self, job: Job) -> None:
        def dropped(future: Future[None]) -> None:
            # The queue was closed before its turn came. On disk it waits for the next start.
            if future.cancelled() and not job.finished.done():
                job.finished.set_exception(Refusal("unavailable", "the service is being stopped; ask again later", 5.0))

        self._queue.submit(job.order.client, lambda threads: self._run(job, threads), bounded=False).add_done_callback(
            dropped
        )

    def _run(self, job: Job, threads: int) -> None:
        def progress(part: float) -> None:
            job.progress = part
            if job.cancellation.cancelled:
                raise CancelledError("the job was cancelled")

        with self._lock:
            if job.status != "queued":
                return
            job.status = "running"
        start = time.perf_counter()
        job.queued = max(0.0, time.time() - job.created)
        try:
            data = (self._directory / job.id / "request").read_bytes()
            images = EncryptedImages.from_bytes(data)
            with job.cancellation:
                answer = self._engine.evaluate(job.order.program, job.order.keys, images, threads, progress).to_bytes()
            job.evaluated = time.perf_counter() - start
            self._done(job.order, job.evaluated)
            with self._lock:
                progress(1.0)
                write_durably(self._directory / job.id / "result", answer, sync=job.durable)
                job.size = len(answer)
                self._end(job, "done")
            job.finished.set_result(answer)
        except CancelledError:
            pass  # whoever cancelled it has written that down
        except PyCrCNNError as error:
            if error.code in ("insufficient-storage", "unavailable"):
                self._later(job, error)
            else:
                self._fail(job, error)
        except Exception:
            _LOGGER.exception("job %s failed", job.id)
            self._fail(job, PyCrCNNError("the evaluation failed inside the service", "internal"))

    def _later(self, job: Job, why: PyCrCNNError) -> None:
        """Compute a job again that found the disk full or nothing that evaluates: nothing is lost meanwhile."""
        with self._lock:
            if job.status != "running":
                return  # it was cancelled
            job.status = "queued"
        _LOGGER.warning("job %s is computed again later: %s", job.id, why)
        timer = threading.Timer(_RETRY, self._again, [job])
        timer.daemon = True
        timer.start()

    def _again(self, job: Job) -> None:
        # Where the service is being stopped, it waits on disk for the next start.
        with contextlib.suppress(Refusal):
            self._enqueue(job)

    def _fail(self, job: Job, error: PyCrCNNError) -> None:
        with self._lock:
            if job.status == "cancelled":
                return
            job.error = {"code": error.code, "detail": str(error)}
            self._end(job, "failed")
        job.finished.set_exception(error)

    def _end(self, job: Job, status: Status) -> None:
        job.status = status
        write_durably(self._directory / job.id / "job.json", job.document(), sync=job.durable)
        (self._directory / job.id / "request").unlink(missing_ok=True)
        self._weigh(job)

    def get(self, identity: str, owner: str) -> Job:
        """A job of an owner.

        Raises
        ------
        Refusal
            ``not-found``.
        """
        job = self._jobs.get(identity)
        if job is None or job.order.owner != owner or job.expires < time.time():
            raise Refusal("not-found", "there is no job of this id, or its result is no longer kept")
        return job

    def result(self, identity: str, owner: str) -> bytes:
        """The answer of a job that is done.

        Raises
        ------
        Refusal
            ``not-found``; ``not-ready``: it is not done yet; ``conflict``: it was cancelled.
        PyCrCNNError
            It failed; with the code of what made it fail.
        """
        job = self.get(identity, owner)
        if job.status in ("queued", "running"):
            raise Refusal("not-ready", f"the job is {job.status}", 1.0)
        if job.status == "cancelled":
            raise Refusal("conflict", "the job was cancelled")
        if job.status == "failed":
            error = job.error or {}
            raise Refusal(error.get("code", "internal"), error.get("detail", "the job failed"))
        return (self._directory / job.id / "result").read_bytes()

    def cancel(self, identity: str, owner: str) -> None:
        """Cancel a job; what is computed already is dropped."""
        job = self.get(identity, owner)
        with self._lock:
            if job.status == "done":
                (self._directory / job.id / "result").unlink(missing_ok=True)
            if job.status in ("queued", "running", "done"):
                self._end(job, "cancelled")
            job.cancellation.cancel()
        if not job.finished.done():
            job.finished.set_exception(Refusal("conflict", "the job was cancelled"))

    def cancel_begun(self, owner: str, keys: str, idempotency_key: str) -> None:
        """Cancel what an owner's request with an idempotency key began, for a key set.

        Raises
        ------
        Refusal
            ``not-found``: nothing.
        """
        self.cancel(self._begun(owner, keys, idempotency_key), owner)

    @contextlib.contextmanager
    def awaited(self, job: Job) -> Iterator[None]:
        """Where somebody waits for a job; what is not durable is given up some time after the last has gone."""
        with self._lock:
            job.waiting += 1
        try:
            yield
        finally:
            with self._lock:
                job.waiting -= 1
                given_up = self._abandoned(job)
            if given_up:
                timer = threading.Timer(_ABANDONED, self._abandon, [job])
                timer.daemon = True
                timer.start()

    @staticmethod
    def _abandoned(job: Job) -> bool:
        return not job.durable and not job.waiting and job.status in ("queued", "running")

    def _abandon(self, job: Job) -> None:
        """Stop a job and forget it, so that a client who comes back later has it computed anew."""
        with self._lock:
            if self._abandoned(job) and self._jobs.get(job.id) is job:
                job.status = "cancelled"
                job.cancellation.cancel()
                self._forget(job)
                # for whoever came back at this very moment
                job.finished.set_exception(Refusal("unavailable", "the work was given up; send the request again", 1.0))

    def expire(self) -> None:
        """Forget jobs whose time is over, unless they are running."""
        now = time.time()
        with self._lock:
            for job in list(self._jobs.values()):
                if job.expires < now and job.status not in ("queued", "running"):
                    self._forget(job)

    def _forget(self, job: Job) -> None:
        del self._jobs[job.id]
        self._bytes.pop(job.id, None)
        shutil.rmtree(self._directory / job.id, ignore_errors=True)

    def all(self) -> tuple[Job, ...]:
        """Those that are kept."""
        return tuple(self._jobs.values())

    def counts(self) -> Iterator[tuple[Status, int]]:
        """How many there are of each status."""
        statuses = [job.status for job in self.all()]
        names: tuple[Any, ...] = ("queued", "running", "done", "failed", "cancelled")
        return ((name, statuses.count(name)) for name in names)
