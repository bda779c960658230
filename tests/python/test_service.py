"""The service's protocol in one process: models, keys, predictions, problems."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr, ValidationError

import pycrcnn
from pycrcnn._storage import pack
from pycrcnn.program import Answer, ClientProgram, EncryptedImages
from pycrcnn.server import Settings
from pycrcnn.server.plane.engine import Engine
from service import BINARY, IMAGES, SHAPE, User, network, problem, published, service

LAYOUTS = [("packed", 3), ("packed", 1), ("batched", 3), ("per-value", 3)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def http(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with service(models, tmp_path_factory.mktemp("state")) as client:
        yield client


@pytest.fixture(scope="module")
def user(http: Any) -> User:
    return User.of(http)


def clear_answer(last_layer: int, images: Any) -> Any:
    layers = network()[: last_layer + 1]
    program = pycrcnn.compile(layers, SHAPE, layout="per-value")
    return program.predict(images)


# What is offered


def test_a_model_says_all_that_a_client_needs(http: Any) -> None:
    assert http.get("/v1/models").json() == {
        "models": [{"name": "small", "description": "a small network", "input_shape": [1, 6, 6], "output_shape": [3]}]
    }
    entry = http.get("/v1/models/small").json()
    assert entry["classes"] == ["a", "b", "c"]
    assert entry["pixels"] == {"scale": 1 / 255, "offset": 0.0}
    assert [(layer["index"], layer["kind"]) for layer in entry["layers"]] == [
        (0, "conv2d"),
        (1, "square"),
        (2, "flatten"),
        (3, "linear"),
    ]
    assert entry["layers"][1]["output_shape"] == [2, 2, 2]
    for program, (layout, last) in zip(entry["programs"], LAYOUTS, strict=True):
        assert (program["layout"], program["first_layer"], program["last_layer"]) == (layout, 0, last)
        assert program["modality"] == ("recall" if last == 3 else "features")
        assert abs(sum(program["prime_bits"]) - program["modulus_bits"]) < len(program["prime_bits"])
        assert program["security_bits"] == 128
        assert program["scheme"] == ("BFV" if layout == "per-value" else "CKKS")
        assert (program["mask_bits"] > 8) == (layout == "per-value")
        assert min(program["capacity"], program["bytes_up"], program["bytes_down"]) > 0


def test_the_clients_part_never_changes(http: Any) -> None:
    [program, *_] = http.get("/v1/models/small").json()["programs"]
    response = http.get(f"/v1/programs/{program['id']}/client")
    assert ClientProgram.from_bytes(response.content).native.program == program["id"]
    assert "immutable" in response.headers["cache-control"]
    again = http.get(f"/v1/programs/{program['id']}/client", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(("layout", "last_layer"), LAYOUTS)
def test_encrypted_answers_are_the_clear_ones(http: Any, layout: str, last_layer: int) -> None:
    user = User.of(http, layout, last_layer)
    expected = clear_answer(last_layer, IMAGES)
    tolerance = max(user.program["error"], 1e-6)
    binary = user.predict()
    assert binary.status_code == 200, binary.text
    np.testing.assert_allclose(user.decrypted(binary.content), expected, atol=tolerance)
    phases = [entry.split(";")[0] for entry in binary.headers["server-timing"].split(", ")]
    assert phases == ["queue", "read", "evaluate", "write"]
    document = user.predict_json().json()
    answer = Answer(tuple(map(base64.b64decode, document["ciphertexts"])), document["images"])
    np.testing.assert_allclose(user.keys.decrypt(answer), expected, atol=tolerance)


def test_layers_stand_for_a_program_where_only_one_computes_them(http: Any) -> None:
    user = User.of(http, "packed", 1)
    body = user.encrypted().to_bytes()
    query = {"layers": "0,1", "keys": user.key_id}
    response = http.post("/v1/models/small/predict", params=query, content=body, headers=BINARY)
    assert user.decrypted(response.content).shape == (3, 2, 2, 2)
    query["layers"] = "0,3"
    problem(http.post("/v1/models/small/predict", params=query, content=body, headers=BINARY), 422, "unprocessable")


# Keys


def test_keys_are_kept_under_their_hash(http: Any) -> None:
    user = User.of(http)
    data = user.keys.evaluation.to_bytes()
    response = user.bring_keys()
    assert response.status_code == 200
    known = response.json()
    assert known["id"] == hashlib.blake2b(data, digest_size=32).hexdigest()
    assert (known["program"], known["bytes"]) == (user.program["id"], len(data))
    assert http.get(f"/v1/keys/{known['id']}").json() == known
    assert http.delete(f"/v1/keys/{known['id']}").status_code == 204
    problem(http.get(f"/v1/keys/{known['id']}"), 404, "not-found")
    problem(user.predict(), 404, "not-found")
    assert user.bring_keys().status_code == 201
    assert user.predict().status_code == 200


def test_keys_survive_a_restart(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path) as http:
        user = User.of(http)
    (tmp_path / "keys" / f"{'0' * 64}.keys").write_bytes(b"of an upload that was cut off")
    with service(models, tmp_path) as http:
        user.http = http
        assert user.predict().status_code == 200
        assert len(list((tmp_path / "keys").iterdir())) == 2


def test_damaged_keys_are_asked_for_again(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path) as http:
        user = User.of(http)
    path = tmp_path / "keys" / f"{user.key_id}.keys"
    path.write_bytes(path.read_bytes()[:-1])
    with service(models, tmp_path) as http:
        user.http = http
        problem(user.predict(), 404, "not-found")
        assert user.bring_keys().status_code == 201
        assert user.predict().status_code == 200


def test_keys_that_nobody_uses_expire(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path, key_days=1e-9) as http:
        user = User.of(http)
        problem(http.get(f"/v1/keys/{user.key_id}"), 404, "not-found")
        problem(user.predict(), 404, "not-found")


def test_the_room_for_keys_is_bounded(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path / "a", keys_per_client=1) as http:
        user = User.of(http)
        other = user.part.keygen().evaluation.to_bytes()
        problem(http.put("/v1/keys", content=other, headers=BINARY), 429, "too-many-requests")
        assert http.delete(f"/v1/keys/{user.key_id}").status_code == 204
        assert http.put("/v1/keys", content=other, headers=BINARY).status_code == 201
    with service(models, tmp_path / "b", keys_bytes=1000) as http:
        problem(http.put("/v1/keys", content=other, headers=BINARY), 507, "insufficient-storage")


def test_only_some_keys_stay_in_memory(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path, prepared_bytes=1) as http:
        users = [User.of(http), User.of(http)]
        for _ in range(2):
            for user in users:
                assert user.predict().status_code == 200
        assert "pycrcnn_key_sets_ready 1.0" in http.get("/metrics").text


def test_a_secret_key_is_refused_and_not_kept(http: Any, user: User) -> None:
    secret = pack("secret key", {"program": user.program["id"]}, user.keys.secret.to_secret_bytes())
    document = problem(http.put("/v1/keys", content=secret, headers=BINARY), 422, "unprocessable")
    assert "secret key" in document["detail"]


def test_what_is_no_key_set_is_refused(http: Any, user: User) -> None:
    def refused(data: bytes, status: int, code: str) -> None:
        problem(http.put("/v1/keys", content=data, headers=BINARY), status, code)

    data = user.keys.evaluation.to_bytes()
    refused(b"", 400, "malformed")
    refused(data[:-1], 400, "malformed")
    refused(data[: len(data) // 2] + b"\0" + data[len(data) // 2 + 1 :], 400, "malformed")
    refused(user.keys.public.to_bytes(), 400, "malformed")
    refused(pack("evaluation keys", {"program": "0" * 64}, data[200:]), 422, "unprocessable")
    problem(http.put("/v1/keys", content=data, headers={"content-type": "text/plain"}), 415, "unsupported-media-type")


# Requests that are not granted


def test_what_is_no_prediction_is_refused(http: Any, user: User) -> None:
    body = user.encrypted().to_bytes()

    def refused(
        status: int, code: str, content: Any = body, headers: Any = BINARY, name: str = "small", **query: Any
    ) -> None:
        path = f"/v1/models/{name}/predict"
        params = {name: value for name, value in {**user.query, **query}.items() if value is not None}
        problem(http.post(path, params=params, content=content, headers=headers), status, code)

    refused(400, "malformed", b"")
    refused(400, "malformed", body[:-1])
    refused(422, "unprocessable", keys=None)
    refused(422, "unprocessable", program=None)
    refused(422, "unprocessable", program="xyz")
    refused(422, "unprocessable", program="0" * 64)
    refused(404, "not-found", keys="0" * 64)
    refused(404, "not-found", name="large")
    refused(415, "unsupported-media-type", headers={"content-type": "image/png"})
    refused(400, "malformed", b"{", {"content-type": "application/json"})
    refused(400, "malformed", b"[" * 100_000, {"content-type": "application/json"})
    refused(422, "unprocessable", b"[]", {"content-type": "application/json"})
    refused(422, "unprocessable", b'{"images": "1", "ciphertexts": ["AA=="]}', {"content-type": "application/json"})
    refused(400, "malformed", b'{"images": 1, "ciphertexts": ["?"]}', {"content-type": "application/json"})
    refused(400, "malformed", EncryptedImages((b"nonsense",), 1).to_bytes())
    refused(400, "malformed", EncryptedImages((b"",), 5).to_bytes())
    refused(413, "payload-too-large", EncryptedImages((b"",), 10**6).to_bytes())
    refused(413, "payload-too-large", EncryptedImages((bytes(10**6), b"", b""), 3).to_bytes())
    batched = User.of(http, "batched")
    refused(422, "unprocessable", keys=batched.key_id)
    refused(413, "payload-too-large", batched.encrypted(IMAGES[:1]).to_bytes())
    features = User.of(http, "packed", 1)
    refused(422, "parameters-mismatch", features.encrypted().to_bytes())


def test_large_bodies_are_refused_before_they_are_read(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path, max_body_bytes=10**6, max_json_bytes=10**6, max_bodies_bytes=10**5) as http:
        for method, path in (("PUT", "/v1/keys"), ("POST", "/compute"), ("POST", "/invocations")):
            large = {**BINARY, "content-length": str(10**12)}
            problem(http.request(method, path, content=b"", headers=large), 413, "payload-too-large")
            chunked = (bytes(10**4) for _ in range(20))
            problem(http.request(method, path, content=chunked, headers=BINARY), 503, "unavailable")
    with service(models, tmp_path, max_body_bytes=10**6) as http:
        chunked = (bytes(10**4) for _ in range(101))
        problem(http.put("/v1/keys", content=chunked, headers=BINARY), 413, "payload-too-large")
        cut = {**BINARY, "content-length": "100"}
        problem(http.put("/v1/keys", content=b"x", headers=cut), 400, "malformed")


def test_routes_that_are_not_there(http: Any) -> None:
    problem(http.get("/v2"), 404, "not-found")
    problem(http.get("/v1/models/large"), 404, "not-found")
    problem(http.get("/v1/models/" + "x" * 100), 422, "unprocessable")
    problem(http.get("/v1/programs/" + "0" * 64 + "/client"), 404, "not-found")
    problem(http.patch("/v1/models"), 405, "method-not-allowed")


def test_what_fails_inside_is_said_without_detail(models: Path, tmp_path: Path) -> None:
    class Broken(Engine):
        def evaluate(self, *_: Any) -> Answer:
            raise ZeroDivisionError("a secret of the service")

    with service(models, tmp_path, Broken()) as http:
        document = problem(User.of(http).predict(), 500, "internal")
        assert "secret" not in json.dumps(document)


# Who may call


def test_bearer_keys(models: Path, tmp_path: Path) -> None:
    keys = (SecretStr("first"), SecretStr("second"))
    with service(models, tmp_path, api_keys=keys) as http:
        for headers in ({}, {"authorization": "Bearer third"}, {"authorization": "Basic first"}):
            refused = http.get("/v1/models", headers=headers)
            problem(refused, 401, "unauthorized")
            assert refused.headers["www-authenticate"] == "Bearer"
        problem(http.post("/compute", content=b"{}"), 401, "unauthorized")
        assert http.get("/livez").status_code == 200
        http.headers["authorization"] = "Bearer first"
        user = User.of(http)
        assert user.predict().status_code == 200
        job = http.post(
            "/v1/jobs", params={"model": "small", **user.query}, content=user.encrypted().to_bytes(), headers=BINARY
        ).json()
        http.headers["authorization"] = "Bearer second"
        problem(http.get(f"/v1/jobs/{job['id']}"), 404, "not-found")
        problem(http.delete(f"/v1/keys/{user.key_id}"), 404, "not-found")


def test_the_service_does_not_listen_beyond_loopback_by_itself() -> None:
    assert Settings().loopback
    assert Settings(host="::1").loopback
    for host in ("0.0.0.0", "192.168.1.1", "example.org", "::"):
        with pytest.raises(ValidationError, match="loopback"):
            Settings(host=host)
        assert not Settings(host=host, allow_insecure_listen=True).loopback
    with pytest.raises(ValidationError, match="go together"):
        Settings(tls_certificate=Path("a.pem"))


# Operation


def test_health_and_figures(http: Any, user: User) -> None:
    assert http.get("/livez").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {"status": "ready", "models": {"small": "ready"}, "queue": 0}
    assert http.get("/ping").status_code == 200
    assert user.predict().status_code == 200
    page = http.get("/metrics").text
    assert 'pycrcnn_requests_total{route="/v1/models/{name}/predict",status="200"}' in page
    assert 'pycrcnn_evaluation_seconds_count{layout="packed",model="small"}' in page
    assert 'pycrcnn_phase_seconds_count{phase="evaluate"}' in page
    assert user.key_id not in page
    assert http.get("/docs").status_code == 200


def test_a_service_that_stops_takes_nothing_more(models: Path, tmp_path: Path) -> None:
    with service(models, tmp_path) as http:
        user = User.of(http)
        plane = http.app.state.plane
        plane.stop()
        problem(http.get("/readyz"), 503, "unavailable")
        problem(http.get("/ping"), 503, "unavailable")
        problem(user.predict(), 503, "unavailable")
