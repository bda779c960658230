"""Long work: the client makes jobs of it, follows them through lost connections, and stops what nobody waits for."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pycrcnn
from listening import Listening
from pycrcnn import _native
from pycrcnn.errors import CancelledError, FormatError, ServiceError
from pycrcnn.program import Answer, EncryptedImages
from pycrcnn.server import create_app
from pycrcnn.server.plane import jobs
from pycrcnn.server.plane.engine import Engine, InProcessEngine
from pycrcnn.server.plane.memory import Memory
from service import BINARY, IMAGES, User, network, published, settings
from serving import Served, eventually
from small_service import SmallService

CLEAR = pycrcnn.compile(network(), IMAGES.shape[1:], calibration=IMAGES).predict(IMAGES)


class Held(Engine):
    """Evaluates as the service does, once it may; what it waits in ends when the work is cancelled."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.may.set()
        self.started = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.inner: Any = None

    def evaluate(
        self, program: str, keys: str, images: EncryptedImages, threads: int, progress: Callable[[float], None]
    ) -> Answer:
        self.started.release()
        try:
            while not self.may.wait(0.01):
                progress(0.5)
                KEYS.encrypt(IMAGES)  # what is computed looks whether it is still wanted
        except CancelledError:
            self.stopped.release()
            raise
        return self.inner.evaluate(program, keys, images, threads, progress)


PROGRAM = pycrcnn.compile(network(), IMAGES.shape[1:], layout="per-value")
KEYS = PROGRAM.keygen()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("models"))


@pytest.fixture
def held(models: Path, tmp_path: Path) -> Iterator[tuple[Listening, Held, Any]]:
    engine = Held()
    app = create_app(settings(models, tmp_path, predict_seconds=0.3), engine)
    plane = app.state.plane
    engine.inner = InProcessEngine(plane.registry, plane.keys, Memory(10**10))
    listening = Listening(app)
    yield listening, engine, plane
    engine.may.set()
    listening.stop()


def statuses(plane: Any) -> dict[str, int]:
    return {status: count for status, count in plane.jobs.counts() if count}


def test_long_work_is_a_job(held: tuple[Listening, Held, Any]) -> None:
    listening, engine, plane = held
    with pycrcnn.Client(listening.url, jobs_from=0.0, layout="batched") as client:
        offer = client.offer(3)
        assert offer.seconds > 0
        engine.may.clear()
        told: list[float] = []
        keys = client.keys(offer)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(client.evaluate, keys.encrypt(IMAGES), offer, told.append)
            eventually(lambda: 0.5 in told)
            assert statuses(plane) == {"running": 1}
            engine.may.set()
            answers = keys.decrypt(asked.result(60))
        assert np.abs(answers - CLEAR).max() <= 7 * offer.error
        assert told[-1] == 1.0
        assert statuses(plane) == {"done": 1}
        assert client.transfer.server["evaluate"] > 0
        assert client.transfer.request > client.transfer.server["evaluate"]


def test_an_interrupted_client_cancels_its_job(held: tuple[Listening, Held, Any]) -> None:
    listening, engine, plane = held
    with pycrcnn.Client(listening.url, jobs_from=0.0, layout="packed") as client:
        engine.may.clear()

        def interrupt(part: float) -> None:
            if part == 0.5:
                raise KeyboardInterrupt

        question = client.keys().encrypt(IMAGES)
        with pytest.raises(KeyboardInterrupt):
            client.evaluate(question, progress=interrupt)
        assert engine.stopped.acquire(timeout=30)
        assert statuses(plane) == {"cancelled": 1}
        engine.may.set()
        assert np.abs(client.predict(IMAGES) - CLEAR).max() <= 7 * client.offer(3).error


def test_an_interrupted_prediction_is_cancelled_at_once(held: tuple[Listening, Held, Any]) -> None:
    listening, engine, plane = held
    plane.settings.__dict__["predict_seconds"] = 60.0
    with pycrcnn.Client(listening.url, layout="packed") as client:
        client.predict(IMAGES)
        assert engine.started.acquire(timeout=30)
        engine.may.clear()

        def interrupt() -> None:
            engine.started.acquire(timeout=30)
            signal.raise_signal(signal.SIGINT)

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            client.predict(IMAGES)
        interrupting.join()
        assert engine.stopped.acquire(timeout=10)  # what is only abandoned goes on for half a minute
        assert statuses(plane) == {"done": 1, "cancelled": 1}


def test_a_prediction_that_takes_long_becomes_a_job(held: tuple[Listening, Held, Any]) -> None:
    listening, engine, plane = held
    with pycrcnn.Client(listening.url, layout="packed") as client:
        engine.may.clear()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(client.predict, IMAGES)
            eventually(lambda: any(job.durable for job in plane.jobs.all()))
            assert statuses(plane) == {"running": 1}
            engine.may.set()
            assert np.abs(asked.result(60) - CLEAR).max() <= 7 * client.offer(3).error


def left(listening: Listening, user: User, **headers: str) -> None:
    """Asks, and closes the connection before the answer."""
    host, port = listening.url.split("//")[1].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    path = f"/v1/models/small/predict?program={user.program['id']}&keys={user.key_id}"
    connection.request("POST", path, user.encrypted().to_bytes(), {**BINARY, **headers})
    time.sleep(0.1)
    connection.close()


def test_a_client_that_leaves_has_its_work_stopped(
    held: tuple[Listening, Held, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    listening, engine, plane = held
    user = User.of(listening.http)
    engine.may.clear()
    left(listening, user)
    assert engine.started.acquire(timeout=30)
    assert engine.stopped.acquire(timeout=30)
    eventually(lambda: plane.queue.running == 0)
    # Who may come back with an Idempotency-Key finds the work going on for a while.
    monkeypatch.setattr(jobs, "_ABANDONED", 0.2)
    plane.settings.__dict__["predict_seconds"] = 60.0
    left(listening, user, **{"idempotency-key": "a key"})
    assert engine.started.acquire(timeout=30)
    assert engine.stopped.acquire(timeout=30)
    eventually(lambda: statuses(plane) == {})
    engine.may.set()
    assert user.predict(**{"idempotency-key": "another"}).status_code == 200


def test_a_waiting_client_that_leaves_is_never_computed(held: tuple[Listening, Held, Any]) -> None:
    listening, engine, plane = held
    user = User.of(listening.http)
    engine.may.clear()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(user.predict, IMAGES) for _ in range(2)]
        for _ in running:
            assert engine.started.acquire(timeout=30)
        left(listening, user)
        engine.may.set()
        assert [answer.result(60).status_code for answer in running] == [200, 200]
    eventually(lambda: plane.queue.depth == plane.queue.running == 0)
    assert not engine.started.acquire(timeout=0.1)


def test_cancelled_work_ends_wherever_it_is() -> None:
    cancellation = _native.Cancellation()
    with cancellation:
        question = KEYS.encrypt(IMAGES[:1])
        answer = PROGRAM.run(question)
        cancellation.cancel()
        assert cancellation.cancelled
        works: list[Callable[[], Any]] = [
            lambda: KEYS.encrypt(IMAGES),
            lambda: PROGRAM.run(question),
            lambda: PROGRAM.rerandomize(answer, KEYS.evaluation),
            lambda: KEYS.decrypt(answer),
        ]
        for work in works:
            with pytest.raises(CancelledError) as cancelled:
                work()
            assert cancelled.value.code == "interrupted"
            with _native.Cancellation():  # the innermost counts
                work()
    assert KEYS.decrypt(answer).shape == (1, 3)


def test_a_job_outlives_the_service_that_it_was_given_to(tmp_path: Path) -> None:
    """The service is killed while it computes, and started again; the client only sees that it took longer."""
    rng = np.random.default_rng(5)
    layers: list[dict[str, Any]] = [
        {"type": "conv2d", "weight": rng.integers(-4, 5, (4, 1, 5, 5)) / 4, "bias": np.zeros(4)},
        {"type": "square"},
        {"type": "flatten"},
        {"type": "linear", "weight": rng.integers(-4, 5, (10, 576)) / 4, "bias": np.zeros(10)},
    ]
    program = pycrcnn.compile(layers, (1, 16, 16), layout="per-value")
    program.save(tmp_path / "long.program")
    options = ("--models", str(tmp_path), "--state", str(tmp_path / "state"), "--threads", "1")
    images = rng.integers(0, 5, (2, 1, 16, 16)) / 4
    with (
        Served(*options) as first,
        pycrcnn.Client(first.url, jobs_from=0.0, retries=1) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        begun = threading.Event()
        asked = pool.submit(
            client.evaluate, client.keys().encrypt(images), progress=lambda part: begun.set() if part else None
        )
        assert begun.wait(60)
        first.kill()
        with Served(*options, command=("-m", "pycrcnn.cli", "serve", "--port", str(first.port))):
            answers = client.keys().decrypt(asked.result(120))
    np.testing.assert_allclose(answers, program.predict(images), atol=1e-3)


@pytest.mark.parametrize("location", [None, "/v1/jobs/1", "https://elsewhere/v1/jobs/" + "0" * 32])
def test_jobs_that_are_nowhere(location: str | None) -> None:
    program = pycrcnn.compile(network(), IMAGES.shape[1:], calibration=IMAGES, layout="packed")
    with SmallService(program) as service, pycrcnn.Client(service.url) as client:
        client.predict(IMAGES)
        headers = {} if location is None else {"Location": location}
        service.faults = [lambda handler: (handler.answer(b"{}", 202, "application/json", **headers), True)[1]]
        with pytest.raises(FormatError, match="does not say where"):
            client.predict(IMAGES)
        path = "/v1/jobs/" + "0" * 32
        service.faults = [
            lambda handler: (handler.answer(b"{}", 202, "application/json", Location=path), True)[1],
            lambda handler: (handler.problem(404, "not-found"), True)[1],
        ]
        with pytest.raises(ServiceError) as refused:
            client.predict(IMAGES)
        assert refused.value.status == 404
