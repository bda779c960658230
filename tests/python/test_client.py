"""The client of a service: right answers from one that is honest, and no harm from one that is broken or lies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pycrcnn
from pycrcnn.errors import (
    FormatError,
    InvalidValueError,
    KeyMismatchError,
    ParameterError,
    PyCrCNNError,
    ServiceError,
    ShapeError,
    UnsupportedError,
)
from pycrcnn.program import Keys, Program
from small_programs import COMPILE, IMAGES, small_network
from small_service import SmallService

PROGRAMS = {layout: make() for layout, make in COMPILE.items()}


@pytest.fixture
def service() -> Iterator[SmallService]:
    with SmallService(PROGRAMS["packed"]) as service:
        yield service


def close(answers: Any, program: Program, images: Any = IMAGES) -> None:
    clear = program.predict(images)
    assert answers.shape == clear.shape
    assert np.abs(answers - clear).max() <= max(1.5 * program.flooded_error(), 1e-6)


@pytest.mark.parametrize("layout", COMPILE)
def test_predictions_of_every_layout(layout: str) -> None:
    program = PROGRAMS[layout]
    with SmallService(program) as service, pycrcnn.Client(service.url, model="small") as client:
        close(client.predict(IMAGES), program)
        close(client.predict(IMAGES[0])[None], program, IMAGES[:1])
        close(client.predict(IMAGES, raw=True), program)
        assert [request for request in service.requests if request == ("PUT", "/v1/keys")] == [("PUT", "/v1/keys")]
        assert service.computed == 3
        transfer = client.transfer
        assert 0 < transfer.bytes_down < transfer.bytes_up
        assert transfer.key_bytes > 0
        assert transfer.server == pytest.approx({"queue": 0.003, "evaluate": 0.0075})
        assert transfer.travel_at() == pytest.approx(8 * (transfer.bytes_up + transfer.bytes_down) / 72.2e6)
        client.forget()
        assert not service.keys
    # What the service saw holds neither images nor the secret key.
    assert not any(IMAGES[0].tobytes()[:16] in body for body in service.bodies)


def test_the_layout_is_chosen_by_the_number_of_images() -> None:
    with SmallService(*PROGRAMS.values()) as service, pycrcnn.Client(service.url) as client:
        assert client.offer(100_000).layout == "batched"
        assert pycrcnn.Client(service.url, layout="per-value").offer(100_000).layout == "per-value"
        with pytest.raises(UnsupportedError, match="offers no such program of small; it has: packed recall"):
            client.features(IMAGES, layer=1)
        many = np.random.default_rng(0).uniform(0, 1, (3 * PROGRAMS["batched"].capacity // 2, 1, 6, 6))
        close(client.predict(many, progress=True), PROGRAMS["batched"], many)


def test_features_of_a_layer() -> None:
    program = pycrcnn.compile(small_network()[:3], (1, 6, 6), calibration=IMAGES, layout="packed")
    with SmallService(program, layer=2) as service, pycrcnn.Client(service.url) as client:
        close(client.features(IMAGES, layer=2), program)
        with pytest.raises(UnsupportedError):
            client.predict(IMAGES)


def test_keys_from_earlier_are_used_again(service: SmallService, tmp_path: Path) -> None:
    with pycrcnn.Client(service.url) as client:
        client.predict(IMAGES)
        client.keys().save(tmp_path)
    keys = Keys.load(PROGRAMS["packed"].client, tmp_path)
    with pycrcnn.Client(service.url, keys=keys) as client:
        close(client.predict(IMAGES), PROGRAMS["packed"])
        assert client.transfer.key_bytes == 0
        assert client.transfer.keygen == 0
    assert len(service.keys) == 1


def test_keys_that_have_expired_are_sent_again(service: SmallService) -> None:
    with pycrcnn.Client(service.url) as client:
        client.predict(IMAGES)
        service.keys.clear()
        close(client.predict(IMAGES), PROGRAMS["packed"])
        assert len(service.keys) == 1


def test_api_keys(service: SmallService) -> None:
    service.api_key = "open sesame".replace(" ", "-")
    close(pycrcnn.Client(service.url, api_key="open-sesame").predict(IMAGES), PROGRAMS["packed"])
    with pytest.raises(ServiceError, match="give an API key") as refused:
        pycrcnn.Client(service.url, api_key="wrong").predict(IMAGES)
    assert (refused.value.code, refused.value.status) == ("unauthorized", 401)
    assert isinstance(refused.value, ConnectionError)


def test_asyncio(service: SmallService) -> None:
    client = pycrcnn.Client(service.url)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(client.predict, image) for image in IMAGES))

    close(np.array(asyncio.run(ask())), PROGRAMS["packed"])
    assert len(service.keys) == 1


# A service that is broken, or busy.


def cut(handler: Any) -> bool:
    handler.close_connection = True
    handler.connection.close()
    return True


def cut_in_the_reply(handler: Any) -> bool:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nPYCRCNN")
    return cut(handler)


def busy(status: int) -> Any:
    return lambda handler: handler.problem(status, "too-many-requests", Retry_After="1") or True


@pytest.mark.parametrize("fault", [cut, cut_in_the_reply, busy(429), busy(503)])
def test_requests_are_sent_again(service: SmallService, fault: Any) -> None:
    with pycrcnn.Client(service.url) as client:
        client.predict(IMAGES)
        computed = service.computed
        service.faults = [fault, fault]
        start = time.monotonic()
        close(client.predict(IMAGES), PROGRAMS["packed"])
        assert client.transfer.retried == 2
        assert time.monotonic() - start > (2 if "busy" in repr(fault) else 0.3)
        assert service.computed == computed + 1


def test_an_answer_that_was_lost_is_not_computed_twice(service: SmallService) -> None:
    client = pycrcnn.Client(service.url)
    client.predict(IMAGES)
    computed = service.computed

    def answer_and_cut(handler: Any) -> bool:
        written = handler.wfile
        handler.wfile = open(os.devnull, "wb")  # noqa: SIM115, PTH123
        handler._predict(handler.service.bodies[-1])
        handler.wfile.close()
        handler.wfile = written
        return cut(handler)

    service.faults = [answer_and_cut]
    close(client.predict(IMAGES), PROGRAMS["packed"])
    assert service.computed == computed + 1


def test_a_service_that_stays_busy_or_away(service: SmallService) -> None:
    client = pycrcnn.Client(service.url, retries=1)
    client.predict(IMAGES)
    service.faults = [busy(429)] * 5
    with pytest.raises(ServiceError) as refused:
        client.predict(IMAGES)
    assert refused.value.status == 429
    assert len(service.faults) == 3
    service.faults = [cut] * 9  # the connection that was kept
    service.close()
    with pytest.raises(ServiceError, match="cannot be reached") as away:
        client.predict(IMAGES)
    assert (away.value.code, away.value.status) == ("connection", 0)


def test_a_slow_service_times_out(service: SmallService) -> None:
    client = pycrcnn.Client(service.url, retries=0, timeout=0.5)
    release = threading.Event()
    service.faults = [lambda _: release.wait(10)]
    start = time.monotonic()
    with pytest.raises(ServiceError, match="timeout"):
        client.predict(IMAGES)
    assert time.monotonic() - start < 5
    release.set()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (422, "shape-mismatch", ShapeError),
        (422, "parameters-mismatch", KeyMismatchError),
        (400, "malformed", FormatError),
        (413, "too-large", FormatError),
        (413, "payload-too-large", ServiceError),
        (500, "internal", ServiceError),
        (500, "", ServiceError),
    ],
)
def test_refusals_are_the_exceptions_of_their_codes(
    service: SmallService, status: int, code: str, error: type[PyCrCNNError]
) -> None:
    client = pycrcnn.Client(service.url)
    client.predict(IMAGES)
    service.faults = [lambda handler: handler.problem(status, code, "what was wrong") or True]
    with pytest.raises(PyCrCNNError, match="what was wrong") as refused:
        client.predict(IMAGES)
    assert type(refused.value) is error
    assert refused.value.code == (code or "service")


# A service that lies.


@pytest.mark.parametrize(
    "reply", [b"", b"{}", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"name": 1}', b"x" * (1 << 21), b"null"]
)
def test_descriptions_that_are_none(service: SmallService, reply: bytes) -> None:
    service.change = lambda path, body: reply if path.startswith("/v1/models") else body
    with pytest.raises(FormatError):
        pycrcnn.Client(service.url, model="small").predict(IMAGES)
    with pytest.raises(FormatError):
        pycrcnn.Client(service.url).predict(IMAGES)


@pytest.mark.parametrize(
    "change",
    [
        {"capacity": 0},
        {"capacity": -1},
        {"capacity": True},
        {"capacity": 2**70},
        {"id": "../../etc/passwd"},
        {"id": "0" * 63},
        {"layout": "slots"},
        {"error": -1.0},
        {"error": None},
        {"bytes_down": "many"},
    ],
)
def test_offers_that_are_none(service: SmallService, change: dict[str, Any]) -> None:
    description = service.description()
    description["programs"][0].update(change)
    service.change = lambda path, body: json.dumps(description).encode() if path == "/v1/models/small" else body
    with pytest.raises(FormatError):
        pycrcnn.Client(service.url).predict(IMAGES)


def test_programs_that_were_not_asked_for(service: SmallService) -> None:
    other = COMPILE["packed"](small_network(seed=2))
    flat = COMPILE["per-value"]()
    for data, error in [
        (other.client.to_bytes(), KeyMismatchError),
        (flat.client.to_bytes(), KeyMismatchError),
        (PROGRAMS["packed"].to_bytes(), FormatError),
        (PROGRAMS["packed"].client.to_bytes()[:-1], FormatError),
        (b"\0" * 1000, FormatError),
    ]:
        service.change = lambda path, body, data=data: data if path.startswith("/v1/programs") else body
        with pytest.raises(error):
            pycrcnn.Client(service.url).predict(IMAGES)
    assert not service.keys


def test_parameters_that_are_not_secure() -> None:
    # 109 bits at N = 2048: half of what the standard asks for.
    primes = pycrcnn._native.create_primes(2048, [36, 36, 37])
    context = pycrcnn._native.Context.bfv(2048, primes, 65537)
    recipe = PROGRAMS["per-value"]
    native = pycrcnn._native.Program.per_value(context, recipe.network, IMAGES.reshape(-1))
    program = Program(
        recipe.network, native, pycrcnn.program.ClientProgram(native.client(), error=recipe.error), recipe.security
    )
    with SmallService(program) as service, pytest.raises(ParameterError, match="128-bit security") as refused:
        pycrcnn.Client(service.url).predict(IMAGES)
    assert refused.value.code == "insecure"
    assert not service.keys


def test_answers_that_are_none(service: SmallService) -> None:
    program = PROGRAMS["packed"]
    client = pycrcnn.Client(service.url)
    client.predict(IMAGES)
    keys = client.keys()
    answers = program.run(keys.encrypt(IMAGES[:2]), keys.evaluation)
    flipped = bytearray(program.run(keys.encrypt(IMAGES), keys.evaluation).to_bytes())
    flipped[-100] ^= 1
    for reply in (b"", b"PYCRCNN", b"x" * 1000, answers.to_bytes(), keys.encrypt(IMAGES).to_bytes(), bytes(flipped)):
        service.change = lambda path, body, reply=reply: reply if path.endswith("predict") else body
        with pytest.raises(FormatError):
            client.predict(IMAGES)
    service.change = lambda path, body: b"\0" * (1 << 26) if path.endswith("predict") else body
    with pytest.raises(FormatError, match="exceeds the limit") as refused:
        client.predict(IMAGES)
    assert refused.value.code == "too-large"


# What the user gives.


def test_bad_arguments(service: SmallService) -> None:
    client = pycrcnn.Client(service.url)
    for images in (np.zeros((3, 2, 6, 6)), np.zeros(36), np.zeros((0, 1, 6, 6))):
        with pytest.raises(ShapeError):
            client.predict(images)
    for arguments in ({"layout": "slots"}, {"timeout": 0.0}, {"timeout": float("nan")}, {"api_key": "a b"}):
        with pytest.raises(InvalidValueError):
            pycrcnn.Client(service.url, **arguments)  # type: ignore[arg-type]
    for url in ("", "localhost:80", "file:///etc/passwd"):
        with pytest.raises(InvalidValueError, match="url"):
            pycrcnn.Client(url)
    with pytest.raises(ServiceError, match="there is no"):
        pycrcnn.Client(service.url, model="../../livez").predict(IMAGES)
    assert repr(client) == "Client(model='small')"


INTERRUPTED = """
import sys, pycrcnn, numpy as np
print("ready", flush=True)
pycrcnn.Client(sys.argv[1]).predict(np.zeros((1, 1, 6, 6)))
"""


def test_ctrl_c_stops_a_request_that_waits(service: SmallService) -> None:
    release, asked = threading.Event(), threading.Event()
    service.faults = [lambda _: asked.set() or release.wait(30)]
    command = [sys.executable, "-c", INTERRUPTED, service.url]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert asked.wait(60)
    start = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert time.monotonic() - start < 10
    assert "KeyboardInterrupt" in errors
    release.set()


def test_the_service_of_the_tests_speaks_http(service: SmallService) -> None:
    with urllib.request.urlopen(service.url + "/v1/models") as reply:
        assert json.load(reply) == {"models": [{"name": "small"}]}


THIN = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("safetensors", "torch", "onnx", "fastapi", "tqdm", "PIL", "pydantic", "obstore"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
import numpy as np, pycrcnn
from pycrcnn.commands import predict_command
with pycrcnn.Client(sys.argv[1]) as client:
    print(client.predict(np.zeros((1, 6, 6))).shape)
heavy = ("safetensors", "torch", "onnx", "fastapi", "PIL")
assert not [name for name in sys.modules if name.split(".")[0] in heavy]
"""


def test_a_client_needs_numpy_and_nothing_else(service: SmallService) -> None:
    child = subprocess.run(
        [sys.executable, "-c", THIN, service.url], capture_output=True, text=True, check=False, timeout=60
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout == "(3,)\n"
