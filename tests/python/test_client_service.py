"""The client and PyCrCNN's remote execution against the real service, on a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from obstore.store import MemoryStore

import pycrcnn
from listening import Listening
from pycrcnn import models
from pycrcnn.errors import FormatError, ServiceError, UnsupportedError
from pycrcnn.network.client import main as remote
from pycrcnn.network.client.main import remote_execution_aws, remote_execution_rest
from pycrcnn.server import create_app, publish
from pycrcnn.service import client as client_module
from service import IMAGES, network, published, settings

CLEAR = pycrcnn.compile(network(), IMAGES.shape[1:], calibration=IMAGES)
EXACT = pycrcnn.compile(network(), IMAGES.shape[1:], calibration=IMAGES, scheme="bfv")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    directory = published(tmp_path_factory.mktemp("models"))
    publish(directory, "exact", [(EXACT, 3)])
    listening = Listening(create_app(settings(directory, tmp_path_factory.mktemp("state"))))
    yield listening
    listening.stop()


@pytest.mark.parametrize("layout", ["packed", "batched", "per-value"])
def test_predictions(service: Listening, layout: str) -> None:
    with pycrcnn.Client(service.url, model="small", layout=layout) as client:
        answers = client.predict(IMAGES)
        error = client.offer(len(IMAGES)).error
        assert np.abs(answers - CLEAR.predict(IMAGES)).max() <= max(7 * error, 1e-6)
        assert client.transfer.request > 0
        assert client.description.classes == ("a", "b", "c")
        client.forget()


def test_packed_bfv_is_exact(service: Listening) -> None:
    with pycrcnn.Client(service.url, model="exact") as client:
        offer = client.offer(len(IMAGES))
        assert (offer.layout, EXACT.scheme) == ("packed", "bfv")
        np.testing.assert_array_equal(client.predict(IMAGES), EXACT.predict(IMAGES, mode="simulate"))
        np.testing.assert_array_equal(client.predict(IMAGES, raw=True), EXACT.predict(IMAGES, mode="simulate"))
        keys = client.keys(offer)
        question = keys.encrypt(IMAGES)
        fresh, left = keys.noise_budget(question), keys.noise_budget(client.evaluate(question, offer))
        assert fresh > left > 0
        # Whoever has the public key alone encrypts, and the answer is the same.
        answer = client.evaluate(keys.public.encrypt(IMAGES), offer)
        np.testing.assert_array_equal(keys.decrypt(answer), EXACT.predict(IMAGES, mode="simulate"))


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_batches_are_cut_where_a_run_is_full(service: Listening, monkeypatch: pytest.MonkeyPatch, beyond: int) -> None:
    with pycrcnn.Client(service.url, model="small", layout="batched") as client:
        offer = client.offer()
        many = np.random.default_rng(1).uniform(0, 1, (2 * offer.capacity + beyond, *IMAGES.shape[1:]))
        expected = CLEAR.predict(many)
        told = []
        for limit, requests in ((1 << 30, 1), (offer.bytes_up, 2 + (beyond > 0))):
            monkeypatch.setattr(client_module, "_PART_LIMIT", limit)
            evaluate = client.evaluate
            monkeypatch.setattr(client, "evaluate", lambda *a, e=evaluate: (told.append(a), e(*a))[1])
            answers = client.predict(many)
            monkeypatch.setattr(client, "evaluate", evaluate)
            assert answers.shape == expected.shape
            assert np.abs(answers - expected).max() <= 7 * offer.error
            assert len(told) == requests
            told.clear()


def test_ckks_has_no_noise_budget(service: Listening) -> None:
    packed = pycrcnn.Client(service.url, model="small", layout="packed")
    with packed as client, pytest.raises(UnsupportedError, match="noise_budget"):
        client.keys().noise_budget(client.keys().encrypt(IMAGES))


def test_features(service: Listening) -> None:
    expected = pycrcnn.compile(network()[:2], IMAGES.shape[1:], calibration=IMAGES)
    with pycrcnn.Client(service.url, model="small") as client:
        features = client.features(IMAGES, layer=1)
        assert features.shape == (3, 2, 2, 2)
        assert np.abs(features - expected.predict(IMAGES)).max() <= 7 * client.offer(3, layer=1).error
        with pytest.raises(UnsupportedError, match="offers no such program"):
            client.features(IMAGES, layer=2)


def test_what_the_service_refuses(service: Listening) -> None:
    with pytest.raises(ServiceError) as refused:
        pycrcnn.Client(service.url, model="large").predict(IMAGES)
    assert (refused.value.code, refused.value.status) == ("not-found", 404)


# PyCrCNN's remote execution.

PARAMETERS = {"m": 1024, "p": 65537, "sec": 128, "base": 2}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """The layers of the models that come with the package, none of them compiled."""
    app = create_app(settings(None, tmp_path_factory.mktemp("state"), shipped_models=True))
    listening = Listening(app)
    app.state.plane.registry.stop()
    yield listening
    listening.stop()


def test_remote_execution_over_rest(shipped: Listening) -> None:
    layer = models.load("fashion-5layer").layers[-1]
    inputs = np.random.default_rng(3).integers(-8, 8, (2, layer["weight"].shape[1])) / 8
    parameters = {
        "address": shipped.url,
        "encryption_parameters": [PARAMETERS],
        "net": "fashion-5layer",
        "layers": [5],
        "max_threads": 2,
    }
    expected = inputs @ layer["weight"].T + layer["bias"]
    np.testing.assert_allclose(remote_execution_rest(inputs, parameters), expected, atol=1e-4)
    whole = {**parameters, "address": f"{shipped.url}/compute/"}
    np.testing.assert_allclose(remote_execution_rest(inputs, whole), expected, atol=1e-4)
    # A square, which PyCrCNN's server could not compute.
    squared = {
        **parameters,
        "net": "mnist-cryptonets",
        "layers": [4],
        "encryption_parameters": [{**PARAMETERS, "m": 2048}],
    }
    inputs = np.random.default_rng(4).integers(-8, 8, (1, 100)) / 8
    np.testing.assert_allclose(remote_execution_rest(inputs, squared), inputs**2, atol=1e-6)
    with pytest.raises(ServiceError) as refused:
        remote_execution_rest(inputs, {**parameters, "net": "lenet"})
    assert refused.value.status == 404
    for missing in ("address", "encryption_parameters"):
        with pytest.raises(FormatError, match=missing):
            remote_execution_rest(inputs, {name: parameters[name] for name in parameters if name != missing})


@pytest.mark.parametrize("reply", ["{}", "[]", "7", '{"data": 7}', '{"data": ["?"]}', '{"data": [[[[["AA=="]]]]]}'])
def test_replies_that_are_none(monkeypatch: pytest.MonkeyPatch, reply: str) -> None:
    class Http:
        def __init__(self, *_: Any) -> None: ...

        def send(self, *_: Any) -> dict[str, bytes]:
            return {"body": reply.encode()}

    monkeypatch.setattr(remote._native, "Http", Http)
    parameters = {"address": "http://x", "encryption_parameters": [PARAMETERS], "net": "n", "layers": [0]}
    with pytest.raises(FormatError):
        remote_execution_rest([[0.5]], parameters)


def test_remote_execution_by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is obstore's in memory, and the server is this function."""
    store = MemoryStore()
    seen: list[bytes] = []

    class Http:
        def __init__(self, url: str, *_: Any) -> None:
            assert url == "https://gateway.example"

        def send(self, method: str, path: str, limit: int, body: list[bytes], content_type: str) -> dict[str, bytes]:
            assert (method, path, content_type) == ("POST", "/stage/compute", "application/json")
            reference = json.loads(body[0])
            assert reference["bucket"] == "bucket"
            payload = bytes(store.get(reference["key"]).bytes())
            seen.extend([body[0], payload])
            store.put("output/1", json.dumps({"data": json.loads(payload)["data"]}).encode())
            return {"body": b'{"bucket": "bucket", "key": "output/1"}'}

    monkeypatch.setattr(remote._native, "Http", Http)
    monkeypatch.setattr(remote, "_bucket", lambda parameters: store)
    parameters = {
        "address": "https://gateway.example/stage/compute",
        "encryption_parameters": [{**PARAMETERS, "m": 2048}],
        "net": "identity",
        "layers": [0],
        "ak": "access key",
        "sk": "a secret",
        "bk": "bucket",
    }
    np.testing.assert_allclose(remote_execution_aws([[0.5, -2.0]], parameters), [[0.5, -2.0]])
    assert not [found for page in store.list() for found in page]
    assert json.loads(seen[1]).keys() == {
        "encryption_parameters",
        "net",
        "layers",
        "evaluation_keys",
        "public_key",
        "data",
    }
    assert not any(secret in text for text in seen for secret in (b"a secret", b"access key"))
    assert base64.b64decode(json.loads(seen[1])["evaluation_keys"])
