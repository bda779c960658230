"""What comes in is bounded: nesting, numbers, levels, decompression, header fields; and clients take turns."""

from __future__ import annotations

import base64
import json
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import with_keys
from pycrcnn.program import Answer, EncryptedImages
from pycrcnn.server.plane.engine import Engine, InProcessEngine
from pycrcnn.server.plane.memory import Memory
from service import BINARY, IMAGES, User, problem, published, service
from serving import Served, eventually
from test_service_legacy import payload

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def http(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    limits = {"max_images": 4, "max_ciphertexts": 100, "shipped_models": True}
    client = service(models, tmp_path_factory.mktemp("state"), **limits)
    client.app.state.plane.registry.stop()
    with client:
        yield client


@pytest.fixture(scope="module")
def user(http: Any) -> User:
    return User.of(http)


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_nesting(http: Any, user: User, bracket: str) -> None:
    deep = bracket * 200_000
    predict = f"/v1/models/small/predict?program={user.program['id']}&keys={user.key_id}"
    for path, body in (
        ("/compute", f'{{"net": "fashion-5layer", "data": {deep}'),
        ("/compute", json.dumps(f'{{"data": ["AA=="], "net": {deep}')),
        ("/invocations", deep),
        (predict, f'{{"images": 1, "ciphertexts": {deep}'),
    ):
        problem(http.post(path, content=body, headers=JSON), 400, "malformed")


def test_numbers_of_images_and_ciphertexts(http: Any, user: User) -> None:
    images = np.zeros((5, 1, 6, 6))
    problem(user.predict(images), 413, "payload-too-large")
    problem(user.predict_json(images), 413, "payload-too-large")
    assert user.predict(images[:4]).status_code == 200
    leaves = [["AA=="] * 101]
    fields = {"encryption_parameters": [{"m": 1024, "p": 65537}], "net": "fashion-5layer", "data": leaves}
    problem(http.post("/compute", json=fields), 413, "too-large")
    parts = user.encrypted(IMAGES).parts
    for wrong in (EncryptedImages(parts[:2], 3), EncryptedImages(parts * 2, 3), EncryptedImages(parts[:1], 2)):
        answer = http.post("/v1/models/small/predict", params=user.query, content=wrong.to_bytes(), headers=BINARY)
        assert answer.status_code in (400, 413, 422), answer.text


@pytest.mark.parametrize("layout", ["packed", "batched", "per-value"])
def test_levels(http: Any, layout: str) -> None:
    """What the service has answered is addressed to the same program, and lies at another level."""
    user = User.of(http, layout)
    answer = Answer.from_bytes(user.predict(IMAGES[:1]).content)
    again = EncryptedImages(answer.parts, 1).to_bytes()
    refused = http.post("/v1/models/small/predict", params=user.query, content=again, headers=BINARY)
    assert refused.status_code in (400, 422), refused.text
    assert refused.json()["code"] not in ("internal", "seal")


def zstd_zeros(blocks: int) -> bytes:
    """A frame of zstd (RFC 8878) that stands for 128 kB of zeros a block: four bytes each."""
    size = 1 << 17
    middle, last = (struct.pack("<I", size << 3 | 1 << 1 | end)[:3] + b"\0" for end in (0, 1))
    return b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(17 - 10) << 3]) + middle * (blocks - 1) + last


def test_decompression(tmp_path: Path) -> None:
    """A gigabyte of zeros in 32 kB, where a ciphertext is expected and where a key is."""
    HE = with_keys(65537, 1024)
    frame = zstd_zeros(8192)
    bomb = struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 0, 2, 0, 16 + len(frame)) + frame
    text = base64.b64encode(bomb).decode()
    sound = payload(HE, np.zeros((1, 4)), net="tiny", layers=[1])
    assert bomb[:6] in base64.b64decode(sound["data"][0][0])  # SEAL's header as it is
    metadata = {
        "name": "tiny",
        "architecture": [{"type": "flatten"}, {"type": "linear", "weight": "w", "bias": "b"}],
        "input_shape": [1, 2, 2],
        "normalisation": {"scale": 1 / 255, "offset": 0.0},
        "dataset": "mnist",
        "accuracy": 0.5,
        "largest_magnitudes": [1.0, 1.0, 4.0],
        "command": "none",
        "torch": "none",
    }
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    tensors = {"w": np.ones((2, 4), np.float32), "b": np.zeros(2, np.float32)}
    models = tmp_path / "models"
    models.mkdir()
    save_file(tensors, models / "tiny.safetensors", metadata=texts)
    with Served("--models", str(models), "--state", str(tmp_path / "state")) as process:
        eventually(lambda: process.http.get("/readyz").json()["models"]["tiny"] == "ready")
        assert process.http.post("/compute", json=sound).status_code == 200
        before = process.peak_mb()
        for body in (
            {**sound, "data": [[text] * 4]},
            {**sound, "evaluation_keys": base64.b64encode(struct.pack("<QQ", len(bomb), 0) + bomb).decode()},
            {**sound, "public_key": text},
        ):
            refused = process.http.post("/compute", json=body)
            assert refused.status_code in (400, 413, 422), refused.text
        assert process.http.put("/v1/keys", content=bomb, headers=BINARY).status_code == 400
        assert process.peak_mb() < before + 60


def test_header_fields(models: Path, tmp_path: Path) -> None:
    with Served("--models", str(models), "--state", str(tmp_path)) as process:
        for headers in ({"x-long": "x" * 10**6}, {f"x-{i}": "y" for i in range(5000)}):
            refused = process.http.get("/livez", headers=headers)
            assert 400 <= refused.status_code < 500
        assert process.http.get("/livez").status_code == 200


class Ordered(Engine):
    """Evaluates one thing after the other, once it may, and knows whose it was."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.order: list[str] = []
        self.inner: Any = None

    def evaluate(
        self, program: str, keys: str, images: EncryptedImages, threads: int, progress: Callable[[float], None]
    ) -> Answer:
        assert self.may.wait(30)
        self.order.append(keys)
        return self.inner.evaluate(program, keys, images, threads, progress)


def test_whoever_asks_much_does_not_hold_up_the_others(models: Path, tmp_path: Path) -> None:
    engine = Ordered()
    http = service(models, tmp_path, engine, workers=1)
    plane = http.app.state.plane
    engine.inner = InProcessEngine(plane.registry, plane.keys, Memory(10**10))
    with http, ThreadPoolExecutor(20) as pool:
        greedy, *others = (User.of(http) for _ in range(4))
        many = [pool.submit(greedy.predict, IMAGES[:1]) for _ in range(12)]
        eventually(lambda: plane.queue.depth == 11)
        few = [pool.submit(user.predict, IMAGES[:1]) for user in others]
        eventually(lambda: plane.queue.depth == 14)
        engine.may.set()
        assert {answer.result(60).status_code for answer in [*many, *few]} == {200}
    # One of the greedy client's was running, and one more had its turn.
    assert sorted(engine.order[1:5], key=[greedy.key_id, *(user.key_id for user in others)].index) == [
        greedy.key_id,
        *(user.key_id for user in others),
    ]
