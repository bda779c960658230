"""PyCrCNN's own protocol, and payloads by reference."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import with_keys
from pycrcnn import _native, models
from pycrcnn._values import PyCtxt
from pycrcnn.crypto.crypto import decrypt_matrix, encrypt_matrix
from pycrcnn.network.server import main
from pycrcnn.network.server.executer import perform_computation
from pycrcnn.pyfhel import Pyfhel
from service import problem, service

PARAMETERS = {"m": 1024, "p": 65537, "sec": 128, "base": 2}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The layers of the models that come with the package, none of them compiled."""
    client = service(None, tmp_path_factory.mktemp("state"), shipped_models=True, max_compute_bytes=10**9)
    client.app.state.plane.registry.stop()
    with client:
        yield client


@pytest.fixture(scope="module")
def HE() -> Pyfhel:
    return with_keys(PARAMETERS["p"], PARAMETERS["m"])


def leaves(encrypted: Any) -> Any:
    if isinstance(encrypted, PyCtxt):
        return base64.b64encode(encrypted.to_bytes()).decode()
    return [leaves(item) for item in encrypted]


def ciphertexts(HE: Pyfhel, nested: Any) -> Any:
    if isinstance(nested, str):
        return PyCtxt(pyfhel=HE).from_bytes(base64.b64decode(nested))
    return [ciphertexts(HE, item) for item in nested]


def decrypted(HE: Pyfhel, response: Any) -> Any:
    assert response.status_code == 200, response.text
    return decrypt_matrix(HE, np.array(ciphertexts(HE, response.json()["data"]), dtype=object))


def payload(HE: Pyfhel, data: Any, **fields: Any) -> dict[str, Any]:
    chosen = {"encryption_parameters": [PARAMETERS], "net": "fashion-5layer", "address": "http://x", "max_threads": 2}
    return {**chosen, "data": leaves(encrypt_matrix(HE, data)), **fields}


@pytest.fixture(scope="module")
def values(HE: Pyfhel) -> tuple[Any, Any, dict[str, Any]]:
    """The last layer of the network on two images: few values, so that it is quick."""
    layer = models.load("fashion-5layer").layers[-1]
    inputs = np.random.default_rng(3).integers(-8, 8, (2, layer["weight"].shape[1])) / 8
    expected = inputs @ layer["weight"].T + layer["bias"]
    return inputs, expected, payload(HE, inputs, layers=[5])


def test_the_server_works(http: Any) -> None:
    response = http.get("/")
    assert (response.status_code, response.text) == (200, "Server Works!")


def test_json_and_json_in_json_are_computed(http: Any, HE: Pyfhel, values: Any) -> None:
    _, expected, body = values
    for content in (json.dumps(body), json.dumps(json.dumps(body))):
        response = http.post("/compute", content=content, headers={"content-type": "application/json"})
        np.testing.assert_allclose(decrypted(HE, response), expected, atol=1e-4)
    renamed = {name: value for name, value in body.items() if name != "net"} | {"model": "fashion-5layer"}
    np.testing.assert_allclose(decrypted(HE, http.post("/compute", json=renamed)), expected, atol=1e-4)
    np.testing.assert_allclose(decrypted(HE, http.post("/invocations", json=body)), expected, atol=1e-4)


def test_squares_work_with_the_clients_evaluation_keys(http: Any) -> None:
    HE = with_keys(65537, 2048)
    inputs = np.random.default_rng(4).integers(-8, 8, (1, 100)) / 8
    keys = base64.b64encode(HE.to_bytes_relinKey()).decode()
    body = payload(HE, inputs, net="mnist-cryptonets", layers=[4], evaluation_keys=keys)
    body["encryption_parameters"] = [{**PARAMETERS, "m": 2048}]
    np.testing.assert_allclose(decrypted(HE, http.post("/compute", json=body)), inputs**2, atol=1e-6)


def test_answers_are_rerandomized_under_the_clients_public_key(http: Any, values: Any) -> None:
    inputs, expected, _ = values
    HE = with_keys(PARAMETERS["p"], 2048)
    body = payload(HE, inputs, layers=[5], encryption_parameters=[{**PARAMETERS, "m": 2048}])
    engine = HE._require_engine()
    secret = engine.require_secret_key("the test")

    def keyed(data: bytes) -> dict[str, Any]:
        return {**body, "public_key": base64.b64encode(data).decode()}

    def budget(response: Any) -> int:
        answers = np.array(ciphertexts(HE, response.json()["data"]), dtype=object)
        return min(HE.noiseLevel(answer) for answer in answers.flat)

    key = _native.public_key_set(engine.context, secret)
    bare, hidden = (http.post("/compute", json=sent) for sent in (body, keyed(key)))
    for response in (bare, hidden):
        np.testing.assert_allclose(decrypted(HE, response), expected, atol=1e-4)
    assert 0 < budget(hidden) <= 3 < budget(bare)  # all that was left is spent on flooding
    assert http.post("/compute", json=keyed(key)).json() != hidden.json()
    assert http.post("/compute", json=body).json() == bare.json()
    problem(http.post("/compute", json={**body, "public_key": "AAAA"}), 400, "malformed")
    problem(http.post("/compute", json=keyed(secret.to_secret_bytes())), 400, "malformed")
    small = with_keys(PARAMETERS["p"], PARAMETERS["m"])
    engine = small._require_engine()
    key = _native.public_key_set(engine.context, engine.require_secret_key("the test"))
    assert http.post("/compute", json=keyed(key)).json()["code"] == "parameters-mismatch"
    # The smallest parameters have no room: that is said, and PyCrCNN's client does not ask for it there.
    assert not engine.evaluator.rerandomizes
    body = payload(small, inputs, layers=[5])
    problem(http.post("/compute", json=keyed(key)), 422, "unsupported")


def test_a_service_may_answer_nobody_without_a_public_key(values: Any, tmp_path: Path) -> None:
    inputs, expected, _ = values
    HE = with_keys(PARAMETERS["p"], 2048)
    engine = HE._require_engine()
    key = _native.public_key_set(engine.context, engine.require_secret_key("the test"))
    body = payload(HE, inputs, layers=[5], encryption_parameters=[{**PARAMETERS, "m": 2048}])
    strict = service(None, tmp_path, shipped_models=True, public_key_required=True)
    strict.app.state.plane.registry.stop()
    with strict:
        for path in ("/compute", "/invocations"):
            assert "public_key" in problem(strict.post(path, json=body), 422, "missing-key")["detail"]
            answer = strict.post(path, json={**body, "public_key": base64.b64encode(key).decode()})
            np.testing.assert_allclose(decrypted(HE, answer), expected, atol=1e-4)


def test_leaves_in_seals_own_format(http: Any, HE: Pyfhel, values: Any) -> None:
    inputs, expected, body = values
    encrypted = encrypt_matrix(HE, inputs)
    plain = [[base64.b64encode(c._handle.to_bytes()).decode() for c in row] for row in encrypted]
    response = http.post("/compute", json={**body, "data": plain})
    assert base64.b64decode(response.json()["data"][0][0])[:2] == b"\x5e\xa1"
    np.testing.assert_allclose(decrypted(HE, response), expected, atol=1e-4)


def test_the_executer_is_what_the_server_computes(HE: Pyfhel, values: Any) -> None:
    inputs, expected, _ = values
    server = Pyfhel()
    server.contextGen(PARAMETERS["p"], PARAMETERS["m"])
    answer = perform_computation(server, encrypt_matrix(HE, inputs), models.load("fashion-5layer"), [5])
    np.testing.assert_allclose(decrypt_matrix(HE, answer), expected, atol=1e-4)


def test_what_is_no_request_is_refused(http: Any, HE: Pyfhel, values: Any) -> None:
    _, _, body = values

    def refused(status: int, code: str, **changed: Any) -> None:
        content = {name: value for name, value in {**body, **changed}.items() if value is not None}
        problem(http.post("/compute", json=content), status, code)

    refused(404, "not-found", net="lenet")
    refused(404, "not-found", net="../../etc/passwd")
    refused(400, "malformed", net=None)
    refused(400, "malformed", net=7)
    refused(400, "malformed", layers=[6])
    refused(400, "malformed", layers=[-1])
    refused(400, "malformed", layers=["0"])
    refused(400, "malformed", layers=10**400)
    refused(400, "malformed", data=None)
    refused(400, "malformed", data=[["?"]])
    refused(400, "malformed", data=[[base64.b64encode(b"nonsense").decode()] * 72])
    refused(400, "malformed", encryption_parameters=[])
    refused(400, "malformed", encryption_parameters=[{"m": 1024}])
    refused(400, "malformed", encryption_parameters=[{"p": 65537, "m": 2048}])
    for wrong in ({"m": 1000}, {"m": "1024"}, {"p": 0}, {"p": 2**70}, {"sec": 3}, {"base": 1}, {"fracDigits": 10**9}):
        response = http.post("/compute", json={**body, "encryption_parameters": [{**PARAMETERS, **wrong}]})
        assert response.status_code == 422, response.text
    refused(422, "shape-mismatch", layers=[0])
    refused(400, "malformed", evaluation_keys="AAAA")
    problem(http.post("/compute", content=b"\xff\x00"), 400, "malformed")
    problem(http.post("/compute", content=b'"' + b"\\u005b" * 1000), 400, "malformed")
    problem(http.post("/invocations", json={"bucket": "b", "key": "input/x"}), 422, "unprocessable")


def test_what_would_take_too_much_memory_is_refused_before_it_is_computed(http: Any, HE: Pyfhel) -> None:
    [leaf] = leaves(encrypt_matrix(HE, [1.0]))
    parameters = [{**PARAMETERS, "m": 32768}]
    body = {**payload(HE, [1.0]), "encryption_parameters": parameters, "data": [[[[leaf] * 28] * 28]], "layers": [0]}
    problem(http.post("/compute", json=body), 413, "payload-too-large")


def test_a_model_that_is_being_compiled_says_so(http: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycrcnn.server.routes.models._PATIENCE", 0.0)
    problem(http.get("/v1/models/fashion-5layer"), 503, "unavailable")
    assert http.get("/readyz").json()["models"]["fashion-5layer"] == "compiling"


def test_the_server_has_its_old_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCRCNN_STATE", str(tmp_path))
    monkeypatch.setenv("PYCRCNN_SHIPPED_MODELS", "false")
    served: list[Any] = []
    monkeypatch.setattr("pycrcnn.server.listening.serve", served.append)
    main.main()
    assert [(settings.host, settings.port) for settings in served] == [("127.0.0.1", 5000)]
    assert {"/compute", "/"} <= set(main.create_app().openapi()["paths"])
