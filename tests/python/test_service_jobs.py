"""Jobs: computed once, kept, taken up again after a restart."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pycrcnn.program import Answer, EncryptedImages
from pycrcnn.server.plane.engine import Engine, InProcessEngine
from pycrcnn.server.plane.memory import Memory
from pycrcnn.server.plane.queue import FairQueue
from pycrcnn.server.plane.refusals import Refusal
from service import BINARY, IMAGES, User, problem, published, service


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("models"))


class Counting(Engine):
    """Evaluates as the service does, once it may, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.may = threading.Event()
        self.may.set()
        self.inner: Any = None

    def evaluate(
        self, program: str, keys: str, images: EncryptedImages, threads: int, progress: Callable[[float], None]
    ) -> Answer:
        self.calls += 1
        progress(0.5)
        assert self.may.wait(30)
        return self.inner.evaluate(program, keys, images, threads, progress)


def counted(models: Path, state: Path, **options: Any) -> tuple[Any, Counting]:
    engine = Counting()
    http = service(models, state, engine, **options)
    plane = http.app.state.plane
    engine.inner = InProcessEngine(plane.registry, plane.keys, Memory(10**10))
    return http, engine


def create(user: User, body: bytes, key: str | None = None) -> Any:
    headers = BINARY if key is None else {**BINARY, "idempotency-key": key}
    return user.http.post("/v1/jobs", params={"model": "small", **user.query}, content=body, headers=headers)


def finished(http: Any, job: str) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        state = http.get(f"/v1/jobs/{job}").json()
        if state["status"] not in ("queued", "running"):
            return state
        time.sleep(0.01)
    raise AssertionError("the job has not ended")


def test_a_job_is_computed_and_its_answer_fetched_later(models: Path, tmp_path: Path) -> None:
    http, engine = counted(models, tmp_path)
    with http:
        user = User.of(http)
        engine.may.clear()
        response = create(user, user.encrypted().to_bytes())
        assert response.status_code == 202
        job = response.json()
        assert response.headers["location"] == f"/v1/jobs/{job['id']}"
        assert job["created"] < job["expires"]
        while http.get(f"/v1/jobs/{job['id']}").json()["progress"] != 0.5:
            time.sleep(0.01)
        refused = http.get(f"/v1/jobs/{job['id']}/result")
        problem(refused, 409, "not-ready")
        assert int(refused.headers["retry-after"]) >= 1
        engine.may.set()
        assert finished(http, job["id"])["status"] == "done"
        result = http.get(f"/v1/jobs/{job['id']}/result")
        answers = user.decrypted(result.content)
        np.testing.assert_array_equal(answers, user.decrypted(http.get(f"/v1/jobs/{job['id']}/result").content))
        document = http.get(f"/v1/jobs/{job['id']}/result", headers={"accept": "application/json"}).json()
        assert tuple(map(base64.b64decode, document["ciphertexts"])) == Answer.from_bytes(result.content).parts
        assert http.delete(f"/v1/jobs/{job['id']}").status_code == 204
        problem(http.get(f"/v1/jobs/{job['id']}/result"), 409, "conflict")
        problem(http.get("/v1/jobs/" + "0" * 32), 404, "not-found")


def test_an_idempotency_key_is_computed_once(models: Path, tmp_path: Path) -> None:
    http, engine = counted(models, tmp_path)
    with http:
        user = User.of(http)
        body = user.encrypted().to_bytes()
        headers = {**BINARY, "idempotency-key": "a key"}

        def predict(content: bytes = body) -> Any:
            return http.post("/v1/models/small/predict", params=user.query, content=content, headers=headers)

        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(lambda _: predict(), range(8)))
        assert {response.status_code for response in responses} == {200}
        assert len({response.content for response in responses}) == 1
        assert engine.calls == 1
        job = create(user, body, "a key").json()
        assert job["status"] == "done"
        problem(predict(user.encrypted().to_bytes()), 409, "conflict")
    http, engine = counted(models, tmp_path)
    with http:
        user.http = http
        again = predict()
        assert again.content == responses[0].content
        assert engine.calls == 0


def test_idempotency_keys_of_different_users_do_not_meet(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path) as http:
        users = [User.of(http), User.of(http)]
        jobs = [create(user, user.encrypted().to_bytes(), "the same").json()["id"] for user in users]
        assert jobs[0] != jobs[1]


def test_what_was_not_done_is_computed_after_a_restart(models: Path, tmp_path: Path) -> None:
    http, engine = counted(models, tmp_path, workers=1, grace_seconds=0.1)
    with http:
        user = User.of(http)
        engine.may.clear()
        bodies = [user.encrypted(IMAGES[i : i + 1]).to_bytes() for i in range(3)]
        jobs = [create(user, body, f"job {i}").json()["id"] for i, body in enumerate(bodies)]
    # The first was running, the others waited, when the grace was over.
    stopped, (http, engine) = engine, counted(models, tmp_path)
    with http:
        user.http = http
        for job in jobs:
            assert finished(http, job)["status"] == "done"
        assert [create(user, body, f"job {i}").json()["id"] for i, body in enumerate(bodies)] == jobs
        assert engine.calls == 3
        assert user.decrypted(http.get(f"/v1/jobs/{jobs[2]}/result").content).shape == (1, 3)
    stopped.may.set()


def test_jobs_are_cancelled_whether_they_wait_or_run(models: Path, tmp_path: Path) -> None:
    http, engine = counted(models, tmp_path, workers=1)
    with http:
        user = User.of(http)
        engine.may.clear()
        running, waiting = (create(user, user.encrypted().to_bytes()).json()["id"] for _ in range(2))
        for job in (waiting, running):
            assert http.delete(f"/v1/jobs/{job}").status_code == 204
            assert http.get(f"/v1/jobs/{job}").json()["status"] == "cancelled"
        engine.may.set()
        last = create(user, user.encrypted().to_bytes()).json()["id"]
        assert finished(http, last)["status"] == "done"
        assert engine.calls == 2
        assert http.get(f"/v1/jobs/{running}").json()["status"] == "cancelled"
        assert [path.name for path in (tmp_path / "jobs" / running).iterdir()] == ["job.json"]


def test_a_job_that_fails_says_why(models: Path, tmp_path: Path) -> None:
    http, engine = counted(models, tmp_path)
    with http:
        user = User.of(http)
        nonsense = EncryptedImages((b"nonsense",), 1).to_bytes()
        job = create(user, nonsense).json()
        assert finished(http, job["id"])["status"] == "failed"
        problem(http.get(f"/v1/jobs/{job['id']}/result"), 400, "malformed")
        engine.inner = None
        job = create(user, user.encrypted().to_bytes()).json()
        assert finished(http, job["id"])["status"] == "failed"
        problem(http.get(f"/v1/jobs/{job['id']}/result"), 500, "internal")


def test_the_room_for_jobs_is_bounded_and_comes_back(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path / "a", jobs=1, result_hours=0.5 / 3600) as http:
        user = User.of(http)
        job = create(user, user.encrypted().to_bytes()).json()["id"]
        finished(http, job)
        problem(create(user, user.encrypted().to_bytes()), 503, "unavailable")
        time.sleep(0.6)
        problem(http.get(f"/v1/jobs/{job}"), 404, "not-found")
        assert create(user, user.encrypted().to_bytes()).status_code == 202
    with service(models, tmp_path / "b", jobs_bytes=1000) as http:
        user = User.of(http)
        problem(create(user, user.encrypted().to_bytes()), 507, "insufficient-storage")


def test_a_result_that_was_cut_off_is_computed_again(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path) as http:
        user = User.of(http)
        body = user.encrypted().to_bytes()
        job = create(user, body, "a key").json()["id"]
        finished(http, job)
    result = tmp_path / "jobs" / job / "result"
    result.write_bytes(result.read_bytes()[:-1])
    with service(models, tmp_path) as http:
        user.http = http
        problem(http.get(f"/v1/jobs/{job}"), 404, "not-found")
        assert create(user, body, "a key").json()["id"] == job
        assert finished(http, job)["status"] == "done"


def test_damaged_jobs_are_dropped(models: Path, tmp_path: Path) -> None:
    for name, content in (("a", None), ("b", b"{"), ("c", json.dumps({"order": {}}).encode())):
        (tmp_path / "jobs" / name).mkdir(parents=True)
        if content is not None:
            (tmp_path / "jobs" / name / "job.json").write_bytes(content)
    with service(models, tmp_path) as http:
        assert http.get("/readyz").status_code == 200
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [".secret"]


# The queue


def test_clients_take_turns() -> None:
    queue = FairQueue(workers=1, threads=1)
    may, order = threading.Event(), []
    started = threading.Event()

    def first(threads: int) -> None:
        started.set()
        may.wait(10)

    blocking = queue.submit("greedy", first)
    assert started.wait(10)
    futures = [
        queue.submit(name, lambda threads, name=name: order.append(name)) for name in ["greedy"] * 5 + ["a", "b"]
    ]
    may.set()
    for future in [blocking, *futures]:
        future.result(10)
    assert order == ["greedy", "a", "b", "greedy", "greedy", "greedy", "greedy"]
    assert queue.close(10)


class Blocked:
    """A queue whose only worker is busy until it is released."""

    def __init__(self, **limits: int) -> None:
        self.queue = FairQueue(workers=1, threads=1, **limits)
        self._may = threading.Event()
        self.blocking = self.queue.submit("blocking", lambda threads: self._may.wait(10))
        while self.queue.depth:
            time.sleep(0.001)

    def refused(self, client: str, **options: bool) -> str:
        """The code with which a piece of work is refused at once."""
        with pytest.raises(Refusal) as refused:
            self.queue.submit(client, lambda threads: client, **options)
        assert refused.value.retry_after is not None
        return refused.value.code

    def release(self) -> None:
        self._may.set()
        assert self.blocking.result(10)


def test_the_queue_is_bounded() -> None:
    blocked = Blocked(limit=3, per_client=2)
    waiting = [blocked.queue.submit(name, lambda threads: None) for name in ("a", "a", "b")]
    assert blocked.refused("a") == "too-many-requests"
    assert blocked.refused("b") == "unavailable"
    assert not blocked.queue.close(0.01)
    assert all(future.cancelled() for future in waiting)
    assert blocked.refused("a") == "unavailable"
    blocked.release()


def test_a_full_queue_is_shared_between_clients() -> None:
    blocked = Blocked(limit=6, per_client=6)
    queue = blocked.queue
    greedy = [queue.submit("greedy", lambda threads: "greedy") for _ in range(6)]
    others = [queue.submit(name, lambda threads, name=name: name) for name in ("a", "b", "a", "b")]
    # The newest of whoever has most make room, and are told when to come back.
    told = [future.exception(10) for future in greedy[2:]]
    assert [error.code for error in told if isinstance(error, Refusal)] == ["unavailable"] * 4
    assert queue.depth == 6
    assert [blocked.refused(name) for name in ("greedy", "a", "b")] == ["unavailable"] * 3
    one_of_two = queue.submit("c", lambda threads: "c")
    assert isinstance(greedy[1].exception(10), Refusal)
    blocked.release()
    assert [future.result(10) for future in (greedy[0], *others, one_of_two)] == ["greedy", "a", "b", "a", "b", "c"]
    assert queue.close(10)


def test_jobs_take_no_room_of_those_who_wait() -> None:
    blocked = Blocked(limit=1, per_client=1)
    jobs = [blocked.queue.submit("a", lambda threads: "job", bounded=False) for _ in range(3)]
    waiting = blocked.queue.submit("a", lambda threads: "waiting")
    assert blocked.refused("a") == "too-many-requests"
    assert blocked.refused("b") == "unavailable"
    more = blocked.queue.submit("b", lambda threads: "job", bounded=False)
    blocked.release()
    assert [future.result(10) for future in (*jobs, waiting, more)] == ["job"] * 3 + ["waiting", "job"]
    assert blocked.queue.close(10)


def test_an_only_request_has_all_cores_and_many_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycrcnn.server.plane.queue.cores", lambda: 4)
    queue = FairQueue(workers=4)
    assert queue.submit("a", lambda threads: threads).result(10) == 4
    barrier = threading.Barrier(4)
    futures = [queue.submit("a", lambda threads: (barrier.wait(10), threads)[1]) for _ in range(4)]
    assert sum(future.result(10) for future in futures) <= 9
    assert queue.close(10)
