"""The service as a process: crashes, stops, a full disk, broken and slow clients, many clients."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

import pycrcnn
from pycrcnn.cli import main
from pycrcnn.errors import ServiceError
from pycrcnn.server import publish
from service import BINARY, IMAGES, SHAPE, User, network, problem, published
from serving import Served, eventually


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small`, and `long`, whose evaluation takes a second or so."""
    directory = published(tmp_path_factory.mktemp("models"))
    rng = np.random.default_rng(5)
    layers: list[dict[str, Any]] = [
        {"type": "conv2d", "weight": rng.integers(-4, 5, (8, 1, 5, 5)) / 4, "bias": np.zeros(8)},
        {"type": "square"},
        {"type": "flatten"},
        {"type": "linear", "weight": rng.integers(-4, 5, (10, 1152)) / 4, "bias": np.zeros(10)},
    ]
    program = pycrcnn.compile(layers, (1, 16, 16), layout="per-value")
    publish(directory, "long", [(program, 3)])
    return directory


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    state = tmp_path_factory.mktemp("state")
    limits = {"PYCRCNN_BODY_SECONDS": "1", "PYCRCNN_MAX_JSON_BYTES": "2000000"}
    with Served("--models", str(models), "--state", str(state), **limits) as process:
        yield process


def job_of(user: User, model: str, body: bytes, key: str) -> Any:
    headers = {**BINARY, "idempotency-key": key}
    return user.http.post("/v1/jobs", params={"model": model, **user.query}, content=body, headers=headers)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_nothing_is_lost_or_doubled_by_a_crash_or_a_stop(models: Path, tmp_path: Path, how: str) -> None:
    options = ("--models", str(models), "--state", str(tmp_path), "--workers", "1", "--threads", "1")
    images = np.random.default_rng(1).integers(0, 5, (3, 1, 16, 16)) / 4
    with Served(*options, PYCRCNN_GRACE_SECONDS="0.1") as process:
        user = User.of(process.http, "per-value", 3, "long")
        bodies = [user.encrypted(images[i : i + 1]).to_bytes() for i in range(3)]
        jobs = [job_of(user, "long", body, f"job {i}").json()["id"] for i, body in enumerate(bodies)]
        eventually(lambda: process.http.get(f"/v1/jobs/{jobs[0]}").json()["status"] != "queued")
        getattr(process, how)()
    with Served(*options) as process:
        user.http = process.http
        # The client tries again, as if its first attempts had been lost: it finds the same jobs, and no others.
        again = [job_of(user, "long", body, f"job {i}").json()["id"] for i, body in enumerate(bodies)]
        assert again == jobs
        eventually(lambda: all(process.http.get(f"/v1/jobs/{job}").json()["status"] == "done" for job in jobs))
        expected = user_program(models).predict(images)
        for i, job in enumerate(jobs):
            answer = user.decrypted(process.http.get(f"/v1/jobs/{job}/result").content)
            np.testing.assert_allclose(answer, expected[i : i + 1], atol=1e-3)
        assert len([path for path in (tmp_path / "jobs").iterdir() if path.is_dir()]) == 3
        assert process.stop() == 0


def user_program(models: Path) -> pycrcnn.Program:
    return pycrcnn.Program.load(models / "long" / "per-value-3.program")


def test_a_full_disk_refuses_what_is_new_and_keeps_what_is_there(models: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    mount = f'mount -t tmpfs -o size=12m none {state} && exec "$@"'
    before = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    with Served("--models", str(models), "--state", str(state), before=before) as process:
        user = User.of(process.http)
        body = user.encrypted().to_bytes()
        path = job_of(user, "small", body, "first").headers["location"]
        eventually(lambda: process.http.get(path).json()["status"] == "done")
        filler = Path(f"/proc/{process.process.pid}/root{state}/filler")
        with pytest.raises(OSError, match="space"):
            filler.write_bytes(bytes(13_000_000))
        other = user.part.keygen().evaluation.to_bytes()
        problem(process.http.put("/v1/keys", content=other, headers=BINARY), 507, "insufficient-storage")
        problem(job_of(user, "small", body, "second"), 507, "insufficient-storage")
        assert user.predict().status_code == 200
        assert user.decrypted(process.http.get(f"{path}/result").content).shape == (3, 3)
        filler.unlink()
        assert process.http.put("/v1/keys", content=other, headers=BINARY).status_code == 201


# Clients that misbehave


def raw(served: Served, *pieces: bytes, pause: float = 0.0, close: bool = False) -> bytes:
    """What the service answers to bytes on a connection of their own."""
    with socket.create_connection((served.host, served.port), timeout=30) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            if close:
                return b""
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
                if b"\r\n\r\n" in received and len(received) > 100:
                    break
            return received
        except (ConnectionError, TimeoutError):
            return b""


def head(path: str, length: int | str, method: str = "PUT") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n"
        f"content-length: {length}\r\n\r\n"
    ).encode()


def test_broken_clients_do_no_harm(served: Served) -> None:
    user = User.of(served.http)
    for _ in range(20):
        raw(served, head("/v1/keys", 10**6), bytes(1000), close=True)
        raw(served, b"GET /livez HTTP/1.1\r\nhost: ", close=True)
    assert b" 413 " in raw(served, head("/v1/keys", 10**15))
    assert b" 400 " in raw(served, head("/v1/keys", "-1"))
    raw(served, b"\x16\x03\x01nonsense\r\n\r\n")
    raw(served, b"GET /" + b"x" * 10**6 + b" HTTP/1.1\r\n\r\n")
    raw(served, b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 10**5 + b"\r\n")
    assert user.predict().status_code == 200
    assert served.process.poll() is None


def test_slow_clients_are_given_up_and_hold_nobody_up(served: Served) -> None:
    user = User.of(served.http)
    with ThreadPoolExecutor(20) as pool:
        slow = [pool.submit(raw, served, head("/v1/keys", 10**6), b"x") for _ in range(20)]
        start = time.monotonic()
        assert user.predict().status_code == 200
        assert served.http.get("/livez").status_code == 200
        prompt = time.monotonic() - start
        answers = [future.result() for future in slow]
    assert all(b" 408 " in answer for answer in answers), answers
    assert prompt < time.monotonic() - start


def test_work_of_a_client_that_has_gone_is_stopped(models: Path, tmp_path: Path) -> None:
    """In the middle of an evaluation: none of them is counted as done."""
    with Served("--models", str(models), "--state", str(tmp_path), "--threads", "1") as process:
        user = User.of(process.http, "per-value", 3, "long")
        body = user.encrypted(np.zeros((4, 1, 16, 16))).to_bytes()

        def gauge(name: str) -> list[float]:
            lines = process.http.get("/metrics").text.splitlines()
            return [float(line.split()[1]) for line in lines if line.startswith(f"pycrcnn_{name}")]

        with socket.create_connection((process.host, process.port), timeout=30) as connection:
            query = f"program={user.program['id']}&keys={user.key_id}"
            connection.sendall(head(f"/v1/models/long/predict?{query}", len(body), "POST") + body)
            eventually(lambda: gauge("evaluations_running") == [1.0])
        eventually(lambda: gauge("evaluations_running") == [0.0])
        assert gauge("evaluation_seconds_count") == []
        body = user.encrypted(np.zeros((1, 1, 16, 16))).to_bytes()
        answer = process.http.post("/v1/models/long/predict", params=user.query, content=body, headers=BINARY)
        assert answer.status_code == 200
        assert gauge("evaluation_seconds_count") == [1.0]


def test_fifty_clients_at_once_are_answered_or_told_when_to_come_back(models: Path, tmp_path: Path) -> None:
    """Five users with ten clients each, who come back until they have had four answers each."""
    limits = {"PYCRCNN_QUEUE": "10", "PYCRCNN_QUEUE_PER_CLIENT": "8", "PYCRCNN_WORKERS": "2"}
    with Served("--models", str(models), "--state", str(tmp_path), **limits) as process:
        users = [User.of(process.http) for _ in range(5)]
        answers: list[tuple[int, int]] = []
        barrier = threading.Barrier(50)

        def client(number: int) -> None:
            user = users[number % 5]
            body = user.encrypted().to_bytes()
            with httpx2.Client(base_url=process.url, timeout=60) as http:
                barrier.wait(60)
                served = 0
                while served < 4:
                    response = http.post("/v1/models/small/predict", params=user.query, content=body, headers=BINARY)
                    answers.append((number % 5, response.status_code))
                    if response.status_code == 200:
                        assert user.decrypted(response.content).shape == (3, 3)
                        served += 1
                    else:
                        code = {429: "too-many-requests", 503: "unavailable"}[response.status_code]
                        problem(response, response.status_code, code)
                        time.sleep(0.05)  # sooner than told, so that the queue stays full

        with ThreadPoolExecutor(50) as pool:
            list(pool.map(client, range(50)))
        served = [name for name, status in answers if status == 200]
        assert [served.count(user) for user in range(5)] == [40] * 5
        assert len(served) < len(answers)
        # While all of them want something, each has its share of the answers.
        first = [served[:100].count(user) for user in range(5)]
        assert min(first) * 3 >= max(first), first


def test_uvicorn_serves_the_same(models: Path, tmp_path: Path) -> None:
    with Served("--models", str(models), "--state", str(tmp_path), "--server", "uvicorn") as process:
        assert User.of(process.http).predict().status_code == 200
        assert process.stop() in (0, -signal.SIGTERM)  # it stops first, then dies of the signal


def test_tls(models: Path, tmp_path: Path) -> None:
    certificate, key = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run([*request, *names, *files], check=True, capture_output=True)
    options = ("--tls-certificate", certificate, "--tls-key", key, "--models", str(models), "--state", str(tmp_path))
    with Served(*options, verify=ssl.create_default_context(cafile=certificate)) as process:
        assert process.url.startswith("https://")
        assert User.of(process.http).predict().status_code == 200
        with pycrcnn.Client(process.url, model="small", ca=certificate) as client:
            expected = pycrcnn.compile(network(), SHAPE, calibration=IMAGES).predict(IMAGES)
            assert np.abs(client.predict(IMAGES) - expected).max() <= 7 * client.offer(3).error
        images = tmp_path / "images.npy"
        np.save(images, IMAGES)
        assert main(["predict", "--url", process.url, "--model", "small", "--ca", certificate, str(images)]) == 0
        # Without the certificate nothing is sent, and neither to a service of another name.
        for url, ca in ((process.url, None), (process.url.replace("127.0.0.1", "localhost"), certificate)):
            with pytest.raises(ServiceError) as refused:
                pycrcnn.Client(url, ca=ca, retries=0).models()
            assert (refused.value.code, refused.value.status) == ("connection", 0)


def test_what_cannot_be_served_is_said_in_one_line(tmp_path: Path) -> None:
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert main(["serve", "--models", str(tmp_path / "nowhere"), "--state", str(tmp_path)]) == 1


def test_the_log_has_a_line_a_request_and_nothing_of_its_content(models: Path, tmp_path: Path) -> None:
    with Served("--models", str(models), "--state", str(tmp_path)) as process:
        user = User.of(process.http)
        user.predict()
        process.http.get(f"/v1/keys/{user.key_id}", headers={"x-name": "somebody"})
        process.stop()
        lines = [json.loads(line) for line in process.errors().splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["message"] == "request"]
    assert [line["route"] for line in requests][-2:] == ["/v1/models/{name}/predict", "/v1/keys/{identity}"]
    assert requests[-2]["received"] > 1000
    assert user.key_id not in json.dumps(lines)
