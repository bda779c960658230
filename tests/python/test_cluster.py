"""The service on a cluster of real Ray processes: two nodes of one core each, beside a head that evaluates nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

import serving
from pycrcnn.cluster.local import LocalCluster
from pycrcnn.program import Answer
from service import BINARY, IMAGES, User, problem, programs, published
from serving import Served

CLEAR = programs()[0][0].predict(IMAGES)
#: Key sets that a replica keeps ready.
KEPT = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def served(cluster: LocalCluster, models: Path, state: Path, ready: str = "/readyz", **settings: str) -> Served:
    chosen = {
        "RAY_MIN_REPLICAS": "2",
        "RAY_MAX_REPLICAS": "2",
        "RAY_KEYS": str(KEPT),
        "RAY_SILENCE": "10",
        "LOG_LEVEL": "warning",
        **settings,
    }
    environment = {f"PYCRCNN_{name}": value for name, value in chosen.items()}
    options = ("--models", str(models), "--state", str(state), "--engine", "ray", "--address", cluster.address)
    return Served(*options, ready=ready, **environment)


@pytest.fixture(scope="module")
def running(cluster: LocalCluster, models: Path, state: Path) -> Iterator[Served]:
    with served(cluster, models, state, ready="/livez") as service:
        eventually(lambda: figure(service, "replicas") == 2)
        yield service


@pytest.fixture(scope="module")
def user(running: Served) -> User:
    return User.of(running.http)


def eventually(condition: Callable[[], Any]) -> Any:
    """What a condition gives, once it is something: processes start slowly on a machine that is busy."""
    return serving.eventually(condition, 180)


def figure(service: Served, name: str) -> float:
    [line] = [
        line for line in service.http.get("/metrics").text.splitlines() if line.startswith(f"pycrcnn_engine_{name} ")
    ]
    return float(line.split()[1])


def right(user: User, response: Any, images: slice = slice(None)) -> None:
    """Asserts that a response is the answer to some of the images, once."""
    assert response.status_code == 200, response.text
    answer = user.decrypted(response.content)
    assert answer.shape == CLEAR[images].shape
    assert np.abs(answer - CLEAR[images]).max() <= 6 * user.part.error + 1e-6


@pytest.mark.parametrize("layout", ["packed", "batched", "per-value"])
def test_every_layout_is_answered_as_in_process(running: Served, layout: str) -> None:
    user = User.of(running.http, layout)
    right(user, user.predict())


def test_requests_as_json_and_jobs_with_progress(running: Served, user: User) -> None:
    right_json = user.predict_json()
    assert right_json.status_code == 200, right_json.text
    body = user.encrypted().to_bytes()
    job = running.http.post("/v1/jobs", params={"model": "small", **user.query}, content=body, headers=BINARY).json()
    done = eventually(lambda: (found := state_of(running.http, job["id"]))["status"] == "done" and found)
    assert done["progress"] == 1.0
    right(user, running.http.get(f"/v1/jobs/{job['id']}/result"))


def state_of(http: Any, job: str) -> Any:
    return http.get(f"/v1/jobs/{job}").json()


def test_errors_come_as_from_this_process(running: Served, user: User) -> None:
    whole = user.encrypted().to_bytes()
    damaged = whole[:-9] + bytes(9)
    response = running.http.post("/v1/models/small/predict", params=user.query, content=damaged, headers=BINARY)
    assert (response.status_code, response.json()["code"]) == (400, "malformed")


def test_more_clients_than_a_replica_keeps_keys_of_are_all_answered(running: Served) -> None:
    before = figure(running, "key_misses")
    users = [User.of(running.http) for _ in range(2 * KEPT + 2)]
    for _ in range(2):
        for one in users:
            right(one, one.predict(IMAGES[:1]), slice(1))
    misses = figure(running, "key_misses") - before
    assert len(users) <= misses  # each at least once, and some again: two replicas keep no more than four
    assert misses > len(users) or figure(running, "key_hits") > 0


def test_a_job_that_is_cancelled_ends(running: Served, user: User) -> None:
    body = user.encrypted(np.concatenate([IMAGES] * 40)).to_bytes()
    job = running.http.post("/v1/jobs", params={"model": "small", **user.query}, content=body, headers=BINARY).json()
    eventually(lambda: state_of(running.http, job["id"])["progress"] > 0)
    assert running.http.delete(f"/v1/jobs/{job['id']}").status_code == 204
    eventually(lambda: "pycrcnn_evaluations_running 0.0" in running.http.get("/metrics").text)
    assert state_of(running.http, job["id"])["status"] == "cancelled"
    assert state_of(running.http, job["id"])["progress"] < 1


def test_a_node_that_is_lost_under_load_costs_no_answer(running: Served, cluster: LocalCluster, user: User) -> None:
    body, lost = user.encrypted(IMAGES[:1]).to_bytes(), threading.Event()
    after = 20

    def ask(_: int) -> list[bytes]:
        """Until the node is gone, and some times after that."""
        answers, left = [], after
        with httpx2.Client(base_url=running.url, timeout=120) as http:
            while left:
                left -= lost.is_set()
                response = http.post("/v1/models/small/predict", params=user.query, content=body, headers=BINARY)
                assert response.status_code == 200, response.text
                answers.append(response.content)
        return answers

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, i) for i in range(3)]
        time.sleep(0.5)
        try:
            cluster.kill()
        finally:
            lost.set()
        answers = [answer for one in asking for answer in one.result(180)]
    assert len(answers) >= 3 * after
    for answer in answers:
        decrypted = user.keys.decrypt(Answer.from_bytes(answer))
        assert np.abs(decrypted - CLEAR[:1]).max() <= 6 * user.part.error + 1e-6
    eventually(lambda: figure(running, "replicas") == 1)
    cluster.add()
    eventually(lambda: figure(running, "replicas") == 2)


def test_a_head_that_is_lost_costs_neither_jobs_nor_keys_nor_results(
    running: Served, cluster: LocalCluster, user: User, models: Path, state: Path
) -> None:
    """Last: the service ends with its node, is started again, as its supervisor would, and goes on."""
    query = {"model": "small", **user.query}
    body = user.encrypted().to_bytes()
    done = running.http.post("/v1/jobs", params=query, content=body, headers=BINARY).json()["id"]
    eventually(lambda: state_of(running.http, done)["status"] == "done")
    many = user.encrypted(np.concatenate([IMAGES] * 10)).to_bytes()
    open_ = running.http.post("/v1/jobs", params=query, content=many, headers=BINARY).json()["id"]
    eventually(lambda: state_of(running.http, open_)["progress"] > 0)
    cluster.kill_head()
    assert running.process.wait(180) != 0
    with served(cluster, models, state, ready="/livez", RAY_PATIENCE="0") as again:
        # Without a cluster it gives what it has, takes jobs, and refuses what it cannot do.
        user = User(again.http, user.program, user.part, user.keys, user.key_id)
        assert again.http.get("/readyz").status_code == 503
        problem(user.predict(), 503, "unavailable")
        right(user, again.http.get(f"/v1/jobs/{done}/result"))
        late = again.http.post("/v1/jobs", params=query, content=body, headers=BINARY).json()["id"]
        assert state_of(again.http, open_)["status"] in ("queued", "running")
        cluster.restart_head()
        for job in (late, open_):
            eventually(lambda job=job: state_of(again.http, job)["status"] == "done")
        right(user, again.http.get(f"/v1/jobs/{late}/result"))
        answer = user.decrypted(again.http.get(f"/v1/jobs/{open_}/result").content)
        assert np.abs(answer - np.concatenate([CLEAR] * 10)).max() <= 6 * user.part.error + 1e-6
        right(user, user.predict())
    assert again.process.returncode == 0
