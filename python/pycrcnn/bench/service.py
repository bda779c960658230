"""The service and its clients on loopback: what HTTP costs over calling a program in process."""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pycrcnn import models
from pycrcnn._native import ComputeRequest, compute_reply
from pycrcnn.bench.measuring import circumstances, peak_rss_mb, process_rss_mb, summary, timed
from pycrcnn.bench.served import Served, packed, serving
from pycrcnn.crypto.crypto import encrypt_matrix
from pycrcnn.errors import BackendError
from pycrcnn.program import Answer, EncryptedImages, Keys, Program
from pycrcnn.pyfhel import Pyfhel
from pycrcnn.server.plane.queue import cores

__all__ = ["measure"]

_CLIENTS = 16
_SECONDS, _ROUNDS = 1.0, 12
#: Bits in a second of the paper's link.
_LINK = 72.2e6
_BINARY, _JSON = "application/octet-stream", "application/json"
#: A small device: it makes keys, sends those that the server needs, and classifies one image.
_DEVICE = """
import sys, numpy, pycrcnn
with pycrcnn.Client(sys.argv[1]) as client:
    client.predict(numpy.load(sys.argv[2]))
"""


def _call(connection: http.client.HTTPConnection, method: str, path: str, body: bytes, kind: str) -> bytes:
    connection.request(method, path, body, {"content-type": kind})
    response = connection.getresponse()
    data = response.read()
    if response.status not in (200, 201):
        raise BackendError(f"{method} {path.split('?')[0]}: {response.status} {data[:200]!r}")
    return data


def _in_process(program: Program, keys: Keys, question: EncryptedImages) -> bytes:
    """What the service does, without it."""
    answer = program.run(question, keys.evaluation)
    return program.rerandomize(answer, keys.evaluation).to_bytes()


def _throughput(clients: int, work: Any) -> tuple[float, list[float]]:
    """Calls in a second of some clients side by side, and how long each took."""
    deadline = time.perf_counter() + _SECONDS

    def client(_: int) -> list[float]:
        call = work()
        seconds = []
        while (start := time.perf_counter()) < deadline:
            call()
            seconds.append(time.perf_counter() - start)
        return seconds

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(client, range(clients)))
    every = [seconds for one in each for seconds in one]
    return len(every) / (time.perf_counter() - start), every


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Time single requests in both forms, sixteen clients at once, and PyCrCNN's messages; a small device's memory."""
    program, image = packed(arguments.network)
    keys = program.keygen()
    question = keys.encrypt(image)
    body = question.to_bytes()
    _in_process(program, keys, question)
    results = []
    with serving(program) as service:
        connection = service.connection()
        identity = json.loads(_call(connection, "PUT", "/v1/keys", keys.evaluation.to_bytes(), _BINARY))["id"]
        path = f"/v1/models/model/predict?program={program.program_id}&keys={identity}"
        texts = [base64.b64encode(part).decode() for part in question.parts]
        as_json = json.dumps({"images": 1, "ciphertexts": texts}).encode()
        results.append(_single(arguments, program, keys, question, connection, path, body, as_json, image))
        results.append(_sustained(arguments, program, keys, question, service, path, body))
        results.append(_device(arguments, service, image))
    results.append(_messages(arguments))
    return results


def _single(
    arguments: argparse.Namespace,
    program: Program,
    keys: Keys,
    question: EncryptedImages,
    connection: http.client.HTTPConnection,
    path: str,
    body: bytes,
    as_json: bytes,
    image: Any,
) -> dict[str, Any]:
    """The three ways in turn, so that each sees the same machine."""

    def whole_trip() -> Any:
        asked = keys.encrypt(image).to_bytes()
        return keys.decrypt(Answer.from_bytes(_call(connection, "POST", path, asked, _BINARY)))

    repeats = max(30, arguments.repeats)
    inside, binary, text, whole = [], [], [], []
    answer = b""
    for _ in range(repeats):
        inside += timed(1, lambda: _in_process(program, keys, question))[0]
        seconds, answer = timed(1, lambda: _call(connection, "POST", path, body, _BINARY))
        binary += seconds
        text += timed(1, lambda: _call(connection, "POST", path, as_json, _JSON))[0]
        whole += timed(1, whole_trip)[0]
    transfer = 8 * (len(body) + len(answer)) / _LINK
    return {
        "name": "service, one request",
        "network": arguments.network,
        **circumstances(0),
        **summary("in_process_s", inside),
        **summary("binary_s", binary),
        **summary("json_s", text),
        "binary_overhead_ms": 1e3 * (statistics.median(binary) - statistics.median(inside)),
        "json_overhead_ms": 1e3 * (statistics.median(text) - statistics.median(inside)),
        "bytes_up": len(body),
        "bytes_down": len(answer),
        "bytes_keys": len(keys.evaluation.to_bytes()),
        "transfer_at_72.2_Mb_s": transfer,
        "round_trip_at_72.2_Mb_s": statistics.median(whole) + transfer,
    }


def _sustained(
    arguments: argparse.Namespace,
    program: Program,
    keys: Keys,
    question: EncryptedImages,
    service: Served,
    path: str,
    body: bytes,
) -> dict[str, Any]:
    """Sixteen clients at once and as many threads as cores in process, in turn, so that both see the same machine."""
    single = Program.from_bytes(program.to_bytes(), threads=1)

    def caller() -> Any:
        connection = service.connection()
        return lambda: _call(connection, "POST", path, body, _BINARY)

    inside, served, shares, seconds = [], [], [], []
    for _ in range(_ROUNDS):
        inside.append(_throughput(cores(), lambda: lambda: _in_process(single, keys, question))[0])
        rate, each = _throughput(_CLIENTS, caller)
        served.append(rate)
        shares.append(rate / inside[-1])
        seconds += each
    fair = _CLIENTS / statistics.median(served)
    return {
        "name": f"service, {_CLIENTS} clients",
        "network": arguments.network,
        **circumstances(cores()),
        **summary("in_process_per_s", inside),
        **summary("served_per_s", served),
        **summary("share", shares),
        "p50_s": float(np.quantile(seconds, 0.5)),
        "p99_s": float(np.quantile(seconds, 0.99)),
        "p99_of_fair_share": float(np.quantile(seconds, 0.99)) / fair,
    }


def _device(arguments: argparse.Namespace, service: Served, image: Any) -> dict[str, Any]:
    """The memory of a client's process from its start to the class of one image."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, image)
        size = process_rss_mb("-c", _DEVICE, service.url, file.name)
    return {"name": "service, a small device", "network": arguments.network, **circumstances(0), "peak_rss_mb": size}


def _messages(arguments: argparse.Namespace) -> dict[str, Any]:
    """PyCrCNN's protocol: an image of 784 ciphertexts is parsed, and an answer of ten is written."""
    HE = Pyfhel()
    HE.contextGen(p=100_000_007, m=2048)
    HE.keyGen()
    image = encrypt_matrix(HE, models.load("fashion-5layer").normalise(np.zeros((1, 28, 28))))
    leaves = [[[[base64.b64encode(c.to_bytes()).decode() for c in row] for row in rows] for rows in image[0]]]
    fields = {"encryption_parameters": [{"m": 2048, "p": 100_000_007, "sec": 128, "base": 2}], "net": "fashion-5layer"}
    body = json.dumps(json.dumps({**fields, "data": leaves})).encode()
    context = HE._require_engine().context

    def parse() -> Any:
        return ComputeRequest.from_bytes(body, 1000).ciphertexts(context, 10**9)

    parsing, (handles, header) = timed(arguments.repeats, parse)
    writing, reply = timed(arguments.repeats, lambda: compute_reply(handles[:10], [1, 10], header))
    return {
        "name": "PyCrCNN's messages",
        **circumstances(0),
        "bytes_up": len(body),
        "bytes_down": len(reply),
        **summary("parse_s", parsing),
        **summary("write_s", writing),
        "together_s": statistics.median(parsing) + statistics.median(writing),
        "peak_rss_mb": peak_rss_mb(),
    }
