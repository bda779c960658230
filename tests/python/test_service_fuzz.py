"""Requests that nobody would send: by the OpenAPI document, and by changing good ones."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import pycrcnn.models
from conftest import with_keys
from service import BINARY, User, published
from serving import Served
from test_service_legacy import payload

MUTATIONS = 10_000
#: Statuses that a client's fault may have.
REFUSED = {400, 404, 405, 408, 409, 411, 413, 415, 422, 429, 431}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def schema(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Served("--models", str(models), "--state", str(tmp_path_factory.mktemp("state"))) as process:
        yield schemathesis.openapi.from_url(f"{process.url}/openapi.json")


FUZZED = settings(
    max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def test_every_route_answers_as_its_document_says(schema: Any) -> None:
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 15
    for operation in operations:

        @settings(
            max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        answers()


def test_the_document_is_complete(schema: Any) -> None:
    document = schema.raw_schema
    examples = json.dumps(document["paths"]["/compute"])
    assert "fashion-5layer" in examples
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            for status, response in operation["responses"].items():
                assert status.startswith("2") or status == "304" or "problem+json" in json.dumps(response), path


# Changed requests


PIECES = [b"[", b"]", b'"', b"{", b"\\", b"9" * 20, b"null", b"\xff" * 8]


def changed(rng: np.random.Generator, data: bytes) -> bytes:
    """Bytes with one to three things wrong with them."""
    for _ in range(rng.integers(1, 4)):
        reach = len(data) if rng.random() < 0.3 else min(400, len(data))
        at = int(rng.integers(0, reach + 1))
        match int(rng.integers(0, 6)):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at:]
            case 2:
                data = data[:at] + data[at + int(rng.integers(1, 65)) :]
            case 3:
                data = data[:at] + bytes([int(rng.integers(0, 256))]) + data[at + 1 :]
            case 4:
                data = data[:at] + PIECES[int(rng.integers(0, len(PIECES)))] + data[at:]
            case 5:
                data = data[:at] + data[at : at + 64] * 2 + data[at:]
    return data


def test_ten_thousand_changed_requests_cost_neither_an_error_nor_memory(models: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(2026)
    shutil.copy(Path(pycrcnn.models.__file__).parent / "fashion-5layer.safetensors", models)
    # Keys that pass all checks do not count as growth.
    with Served("--models", str(models), "--state", str(tmp_path), PYCRCNN_PREPARED_BYTES="0") as process:
        while process.http.get("/readyz").json()["models"]["fashion-5layer"] == "compiling":
            time.sleep(0.1)
        user = User.of(process.http)
        HE = with_keys(65537, 1024)
        compute = json.dumps(payload(HE, np.zeros((1, 72)), layers=[5])).encode()
        images = user.encrypted().to_bytes()
        keys = user.keys.evaluation.to_bytes()
        texts = json.dumps({**user.query, "images": 1, "ciphertexts": ["UFlDUkNOTg=="]}).encode()
        predict = f"/v1/models/small/predict?program={user.query['program']}&keys={user.key_id}"
        as_json = {"content-type": "application/json"}
        originals: list[tuple[str, str, bytes, dict[str, str]]] = [
            ("POST", predict, images, BINARY),
            ("POST", predict, texts, as_json),
            ("POST", predict.replace("predict?", "predict?layers=0,3&"), images[:2000], BINARY),
            ("PUT", "/v1/keys", keys[:3000], BINARY),
            ("POST", "/compute", compute[:3000], as_json),
            ("POST", "/compute", json.dumps(json.dumps({"data": [["AA=="]], "net": "x"})).encode(), as_json),
            ("POST", "/invocations", b'{"bucket": "b", "key": "input/k"}', as_json),
        ]
        large = [("PUT", "/v1/keys", keys, BINARY), ("POST", "/compute", compute, as_json)]
        resident = 0.0
        with httpx2.Client(base_url=process.url, timeout=60) as http:
            for number in range(MUTATIONS):
                chosen = large if number % 100 == 0 else originals
                method, path, body, headers = chosen[int(rng.integers(0, len(chosen)))]
                if rng.random() < 0.1:
                    path = "/" + "".join(rng.permutation(list(path[1:])))
                response = http.request(method, path, content=changed(rng, body), headers=headers)
                assert response.status_code in REFUSED | {200, 201}, (response.status_code, path, response.text[:300])
                if response.status_code not in (200, 201):
                    assert response.headers["content-type"] == "application/problem+json"
                    assert response.json()["code"]
                if number == MUTATIONS // 5:
                    resident = process.resident_mb()
        assert process.resident_mb() < 1.1 * resident + 30
        assert user.predict().status_code == 200
