"""Clusters of one-core nodes: requests and files a second, latency, a node that is lost, more keys than a node keeps.

All processes share this machine: nodes, head, the HTTP process and the clients, which only send bytes that were
encrypted before. Every answer is decrypted and compared with that of the clear network.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import json
import os
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from pycrcnn.bench import bulk
from pycrcnn.bench.measuring import circumstances, summary, timed
from pycrcnn.bench.served import Served, packed, serving
from pycrcnn.cluster.local import LocalCluster
from pycrcnn.errors import ServiceError
from pycrcnn.program import Answer, EncryptedImages, EvaluationKeys, Keys, Program
from pycrcnn.server.plane.engine import reply_of

__all__ = ["measure"]

_BINARY = {"Content-Type": "application/octet-stream"}
#: Of the rows: requests that a node is lost among, clients with keys of their own, and key sets that a replica keeps.
_REQUESTS, _USERS, _KEPT = 500, 100, 20
_CLIENTS, _ROUNDS, _SECONDS, _WARM = 4, 3, 6.0, 20


@dataclass
class _User:
    """A client's keys, its request's bytes, and where it goes."""

    keys: Keys
    body: bytes
    clear: Any
    error: float
    path: str = ""

    @classmethod
    def of(cls, program: Program, image: Any) -> _User:
        keys = program.keygen()
        return cls(keys, keys.encrypt(image).to_bytes(), program.predict(image), program.flooded_error(1.0))

    def bring(self, connection: http.client.HTTPConnection) -> None:
        data = self.keys.evaluation.to_bytes()
        identity = json.loads(_call(connection, "PUT", "/v1/keys", data))["id"]
        self.path = f"/v1/models/model/predict?program={self.keys.evaluation.program}&keys={identity}"

    def ask(self, connection: http.client.HTTPConnection) -> bytes:
        return _call(connection, "POST", self.path, self.body)

    def right(self, answer: bytes) -> bool:
        return bool(np.abs(self.keys.decrypt(Answer.from_bytes(answer)) - self.clear).max() <= self.error)


def _call(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    connection.request(method, path, body, _BINARY)
    response = connection.getresponse()
    data = response.read()
    if response.status >= 300:
        raise ServiceError(data.decode(errors="replace")[:300], status=response.status)
    return data


@contextmanager
def _clustered(program: Program, nodes: int, **settings: str) -> Iterator[tuple[LocalCluster, Served]]:
    """The service on a cluster of some one-core nodes, all of whose replicas run."""
    store = 600_000_000
    with LocalCluster(nodes, store=store) as cluster:
        chosen = {
            "engine": "ray",
            "ray_address": cluster.address,
            "ray_min_replicas": str(nodes),
            "ray_max_replicas": str(nodes),
            "ray_object_bytes": str(store // 2),
            "ray_silence": "20",
            "keys_per_client": str(10 * _USERS),
            "queue": str(_REQUESTS),
            **settings,
        }
        with serving(program, **chosen) as service:
            _await(lambda: _figures(service)["replicas"] == nodes)
            yield cluster, service


def _await(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServiceError("the cluster is not what it should be by now")
        time.sleep(0.1)


def _figures(service: Served) -> dict[str, float]:
    """What the service says of its engine."""
    connection = service.connection()
    prefix = "pycrcnn_engine_"
    lines = _call(connection, "GET", "/metrics").decode().splitlines()
    return {line.split()[0][len(prefix) :]: float(line.split()[1]) for line in lines if line.startswith(prefix)}


def _rate(service: Served, user: _User, seconds: float = _SECONDS) -> float:
    """Requests a second of some clients that each wait for their answer."""
    ends = time.perf_counter() + seconds

    def ask(connection: http.client.HTTPConnection) -> int:
        done = 0
        while time.perf_counter() < ends:
            user.ask(connection)
            done += 1
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        done = sum(pool.map(ask, [service.connection() for _ in range(_CLIENTS)]))
    return done / (time.perf_counter() - start)


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Two nodes against one, with requests and with files; one request there and in a service's process; two trials."""
    program, image = packed(arguments.network)
    results = [_latency(arguments, program, image)]
    results.append(_scaling(arguments, program, image))
    results.append(bulk.measure(arguments))
    results.append(_lost_node(arguments, program, image))
    results.append(_many_keys(arguments, program, image))
    return results


def _row(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    return {"name": f"cluster, {name}", "network": arguments.network, **circumstances(1)}


def _latency(arguments: argparse.Namespace, program: Program, image: Any) -> dict[str, Any]:
    """One request at a time: on a node of a cluster, and in a service that evaluates itself, in turn."""
    user, other = _User.of(program, image), _User.of(program, image)
    repeats = max(30, arguments.repeats)
    with serving(program, workers="1", threads="1") as alone, _clustered(program, 1) as (_, service):
        here, there = alone.connection(), service.connection()
        other.bring(here)
        user.bring(there)
        ready = _prepared(program, user.keys.evaluation)
        first, _ = timed(1, lambda: user.ask(there))
        first_figures = _figures(service)
        for _ in range(_WARM):
            other.ask(here)
            user.ask(there)
        before = _figures(service)
        front = _core_seconds(service)
        inside, outside = [], []
        for _ in range(repeats):
            inside += timed(1, lambda: other.ask(here))[0]
            seconds, answer = timed(1, lambda: user.ask(there))
            outside += seconds
        front = _core_seconds(service) - front
        after = _figures(service)
    each = {name: (after[name] - before[name]) / repeats for name in ("evaluate_seconds", "away_seconds")}
    return {
        **_row("one request", arguments),
        **summary("process_s", inside),
        **summary("cluster_s", outside),
        "added_ms": 1e3 * (statistics.median(outside) - statistics.median(inside)),
        "first_s": first[0],
        "evaluate_s": each["evaluate_seconds"],
        "engine_s": each["away_seconds"] - each["evaluate_seconds"],
        "front_s": front / repeats,
        "fetch_s": first_figures["fetch_seconds"],
        "prepare_s": first_figures["prepare_seconds"],
        "bytes_up": len(user.body),
        "bytes_down": len(answer),
        "bytes_keys": len(user.keys.evaluation.to_bytes()),
        "bytes_ready": ready,
        "right": user.right(answer),
    }


def _core_seconds(service: Served) -> float:
    """Of the HTTP process so far, user and system (proc(5))."""
    fields = Path(f"/proc/{service.process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _prepared(program: Program, keys: EvaluationKeys) -> int:
    """Bytes of a key set that is ready for use, its own included."""
    return keys.prepared(program.native, program.program_id, 1).nbytes + keys.nbytes


def _scaling(arguments: argparse.Namespace, program: Program, image: Any) -> dict[str, Any]:
    """Two nodes and one in turn, so that both see the same machine; and what two bare processes get out of it, which
    share its memory as the nodes do, and have no HTTP process, head and clients beside them.
    """
    one, two, ratios = [], [], []
    user, other = _User.of(program, image), _User.of(program, image)
    with _clustered(program, 1) as (_, alone), _clustered(program, 2) as (_, service):
        user.bring(alone.connection())
        other.bring(service.connection())
        for target, asker in ((alone, user), (service, other)):
            _rate(target, asker, 3.0)
        front = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(_ROUNDS):
            one.append(_rate(alone, user))
            two.append(_rate(service, other))
            ratios.append(two[-1] / one[-1])
    spent = resource.getrusage(resource.RUSAGE_SELF)
    clients = spent.ru_utime + spent.ru_stime - front.ru_utime - front.ru_stime
    bare = _bare(program, user)
    return {
        **_row(f"{_CLIENTS} clients", arguments),
        **summary("one_node_per_s", one),
        **summary("two_nodes_per_s", two),
        **summary("ratio", ratios),
        **summary("bare_ratio", bare),
        "ratio_of_bare": statistics.median(ratios) / statistics.median(bare),
        "client_s": clients / (_SECONDS * (sum(one) + sum(two))),
    }


def _bare(program: Program, user: _User) -> list[float]:
    """How many times as much two processes evaluate as one, round by round."""
    with tempfile.TemporaryDirectory() as directory, ProcessPoolExecutor(2, get_context("spawn")) as pool:
        program.save(Path(directory) / "program")
        user.keys.evaluation.save(Path(directory) / "keys")
        (Path(directory) / "question").write_bytes(user.body)

        def evaluated(processes: int, seconds: float = _SECONDS / 2) -> float:
            return sum(pool.map(_evaluated, [directory] * processes, [seconds] * processes))

        evaluated(2)
        return [1 / evaluated(1) * evaluated(2) for _ in range(_ROUNDS)]


def _evaluated(directory: str, seconds: float) -> float:
    """Evaluations a second in a process of its own."""
    program, keys, question = _loaded(directory)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        reply_of(program, question, keys, 1.0)
        done += 1
    return done / (time.perf_counter() - start)


@functools.cache
def _loaded(directory: str) -> tuple[Program, EvaluationKeys, EncryptedImages]:
    path = Path(directory)
    program, keys = Program.load(path / "program", threads=1), EvaluationKeys.load(path / "keys")
    return program, keys, EncryptedImages.load(path / "question")


def _lost_node(arguments: argparse.Namespace, program: Program, image: Any) -> dict[str, Any]:
    """Requests of some clients, a node killed when half of them are answered."""
    user = _User.of(program, image)
    half = threading.Event()
    answers: list[bytes] = []
    seconds: list[float] = []

    def ask(connection: http.client.HTTPConnection) -> None:
        for _ in range(_REQUESTS // _CLIENTS):
            spent, answer = timed(1, lambda: user.ask(connection))
            answers.append(answer)
            seconds.extend(spent)
            if len(answers) >= _REQUESTS // 2:
                half.set()

    with _clustered(program, 2) as (cluster, service):
        user.bring(service.connection())
        with ThreadPoolExecutor(_CLIENTS) as pool:
            start = time.perf_counter()
            asking = [pool.submit(ask, service.connection()) for _ in range(_CLIENTS)]
            half.wait(60)
            cluster.kill()
            for one in asking:
                one.result()
            whole = time.perf_counter() - start
        retries = _figures(service)["retries"]
    return {
        **_row(f"{_REQUESTS} requests, one of two nodes killed", arguments),
        "answers": len(answers),
        "right": sum(user.right(answer) for answer in answers),
        "retries": retries,
        "seconds": whole,
        **summary("request_s", seconds),
    }


def _many_keys(arguments: argparse.Namespace, program: Program, image: Any) -> dict[str, Any]:
    """Clients with keys of their own, in an order in which some come more often than others, and two small caches."""
    users = [_User.of(program, image) for _ in range(_USERS)]
    weights = 1 / np.arange(1, _USERS + 1)
    rng = np.random.default_rng(1)
    order = [*range(_USERS), *rng.choice(_USERS, 3 * _USERS, p=weights / weights.sum())]
    lock, waiting, right = threading.Lock(), list(reversed(order)), []

    def ask(connection: http.client.HTTPConnection) -> None:
        while True:
            with lock:
                if not waiting:
                    return
                user = users[waiting.pop()]
            right.append(user.right(user.ask(connection)))

    with _clustered(program, 2, ray_keys=str(_KEPT)) as (_, service):
        connection = service.connection()
        for user in users:
            user.bring(connection)
        start = time.perf_counter()
        with ThreadPoolExecutor(_CLIENTS) as pool:
            list(pool.map(ask, [service.connection() for _ in range(_CLIENTS)]))
        whole = time.perf_counter() - start
        figures = _figures(service)
    hits, misses = figures["key_hits"], figures["key_misses"]
    return {
        **_row(f"{_USERS} clients' keys, {_KEPT} kept a replica", arguments),
        "requests": len(order),
        "answers": len(right),
        "right": sum(right),
        "hits": hits,
        "misses": misses,
        "hit_rate": hits / (hits + misses),
        "miss_fetch_s": figures["fetch_seconds"] / misses,
        "miss_prepare_s": figures["prepare_seconds"] / misses,
        "seconds": whole,
    }
