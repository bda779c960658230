"""A small service for tests: one model of a few layers in all layouts, no socket."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray

import pycrcnn
from pycrcnn.program import Answer, ClientProgram, EncryptedImages, Keys, Program
from pycrcnn.server import Settings, create_app, publish
from pycrcnn.server.plane.catalogue import Pixels, layer_entries

SHAPE = (1, 6, 6)
IMAGES = np.random.default_rng(0).uniform(0, 1, (3, *SHAPE))
BINARY = {"content-type": "application/octet-stream"}


def network(seed: int = 1) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {"type": "conv2d", "weight": rng.normal(size=(2, 1, 3, 3)), "bias": rng.normal(size=2), "stride": (3, 3)},
        {"type": "square"},
        {"type": "flatten"},
        {"type": "linear", "weight": rng.normal(size=(3, 8)), "bias": rng.normal(size=3)},
    ]


def programs() -> list[tuple[Program, int]]:
    layers = network()
    options: dict[str, Any] = {"input_shape": SHAPE, "calibration": IMAGES}
    return [
        (pycrcnn.compile(layers, layout="packed", **options), 3),
        (pycrcnn.compile(layers[:2], layout="packed", **options), 1),
        (pycrcnn.compile(layers, layout="batched", **options), 3),
        (pycrcnn.compile(layers, SHAPE, layout="per-value"), 3),
    ]


def published(directory: Path) -> Path:
    """A directory of models with one model, `small`."""
    publish(
        directory,
        "small",
        programs(),
        description="a small network",
        classes=("a", "b", "c"),
        pixels=Pixels(1 / 255, 0.0),
        layers=layer_entries(network(), SHAPE),
    )
    return directory


def settings(models: Path | None, state: Path, **options: Any) -> Settings:
    return Settings(**{"models": models, "state": state, "shipped_models": False, "workers": 2, **options})


def service(models: Path | None, state: Path, engine: Any = None, **options: Any) -> TestClient:
    """A client of a service without a socket; used as a context manager, it starts and stops it."""
    return TestClient(create_app(settings(models, state, **options), engine), raise_server_exceptions=False)


@dataclass
class User:
    """What a client of the protocol does, step by step."""

    http: Any
    program: dict[str, Any]
    part: ClientProgram
    keys: Keys
    key_id: str = ""

    @classmethod
    def of(cls, http: Any, layout: str = "packed", last_layer: int = 3, model: str = "small") -> User:
        model_entry = http.get(f"/v1/models/{model}").json()
        [program] = [p for p in model_entry["programs"] if (p["layout"], p["last_layer"]) == (layout, last_layer)]
        part = ClientProgram.from_bytes(http.get(f"/v1/programs/{program['id']}/client").content)
        user = cls(http, program, part, part.keygen())
        user.bring_keys()
        return user

    def bring_keys(self) -> Any:
        response = self.http.put("/v1/keys", content=self.keys.evaluation.to_bytes(), headers=BINARY)
        assert response.status_code in (200, 201), response.text
        self.key_id = response.json()["id"]
        return response

    @property
    def query(self) -> dict[str, str]:
        return {"program": self.program["id"], "keys": self.key_id}

    def encrypted(self, images: Any = IMAGES) -> EncryptedImages:
        return self.keys.encrypt(images)

    def predict(self, images: Any = IMAGES, **headers: str) -> Any:
        body = self.encrypted(images).to_bytes()
        return self.http.post(
            "/v1/models/small/predict", params=self.query, content=body, headers={**BINARY, **headers}
        )

    def predict_json(self, images: Any = IMAGES) -> Any:
        encrypted = self.encrypted(images)
        texts = [base64.b64encode(part).decode() for part in encrypted.parts]
        body = {**self.query, "images": encrypted.images, "ciphertexts": texts}
        return self.http.post("/v1/models/small/predict", json=body)

    def decrypted(self, data: bytes) -> NDArray[np.float64]:
        return self.keys.decrypt(Answer.from_bytes(data))


def problem(response: Any, status: int, code: str) -> Any:
    """Asserts that a response is a certain problem, and gives it."""
    assert response.headers["content-type"] == "application/problem+json", (response.status_code, response.text[:300])
    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code), document
    assert document["title"]
    assert document["detail"]
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    return document
