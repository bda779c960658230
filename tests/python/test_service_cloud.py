"""The paper's cloud: payloads in an object store, a SageMaker container, a Lambda function in front of it."""

from __future__ import annotations

import base64
import json
import os
import runpy
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import with_keys
from pycrcnn import models
from pycrcnn.errors import ServiceError
from pycrcnn.network.client.main import remote_execution_aws
from pycrcnn.pyfhel import Pyfhel
from pycrcnn.server import sagemaker
from pycrcnn.server.plane.objects import ObjectBlobs
from s3_server import S3Server
from service import User, problem, published, service
from serving import Served
from test_service_legacy import decrypted, payload


def lambda_handler() -> Any:
    """The function's file stands alone, as Lambda loads it."""
    path = Path(__file__).parents[2] / "packaging" / "aws_lambda" / "handler.py"
    return runpy.run_path(str(path))["handler"]


handler = lambda_handler()


@pytest.fixture(scope="module")
def HE() -> Pyfhel:
    return with_keys(65537, 1024)


@pytest.fixture(scope="module")
def question(HE: Pyfhel) -> tuple[Any, bytes]:
    """The last layer of the network on one image: what is expected, and the request."""
    layer = models.load("fashion-5layer").layers[-1]
    inputs = np.random.default_rng(3).integers(-8, 8, (1, layer["weight"].shape[1])) / 8
    expected = inputs @ layer["weight"].T + layer["bias"]
    return expected, json.dumps(payload(HE, inputs, layers=[5])).encode()


class Stored:
    """An answer that was fetched from the object store."""

    status_code = 200
    text = ""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def json(self) -> Any:
        return json.loads(self.data)


def test_payloads_by_reference(store: S3Server, tmp_path: Path, HE: Pyfhel, question: Any) -> None:
    expected, body = question
    objects = ObjectBlobs(f"s3://{store.bucket}")
    options: dict[str, Any] = {"shipped_models": True, "exchange": f"s3://{store.bucket}"}
    with service(None, tmp_path / "state", **options) as http:
        objects.put("input/input_payload_1616161616.5", body)
        reference = {"bucket": store.bucket, "key": "input/input_payload_1616161616.5"}
        reply = http.post("/invocations", json=reference)
        assert reply.json() == {"bucket": store.bucket, "key": "output/output_payload_1616161616.5"}
        assert list(objects.names()) == ["output/output_payload_1616161616.5"]
        data = objects.get(reply.json()["key"])
        assert data is not None
        np.testing.assert_allclose(decrypted(HE, Stored(data)), expected, atol=1e-4)
        objects.delete(reply.json()["key"])
        problem(http.post("/invocations", json=reference), 404, "not-found")
        for wrong in ({"bucket": "another"}, {"key": "output/x"}, {"key": "input/../secret"}):
            problem(http.post("/invocations", json={**reference, **wrong}), 422, "unprocessable")
        objects.put("input/nonsense", b"nonsense")
        nonsense = json.dumps(json.dumps({"bucket": store.bucket, "key": "input/nonsense", "ak": "x", "sk": "y"}))
        problem(http.post("/invocations", content=nonsense), 400, "malformed")
    with service(None, tmp_path / "state", **options, max_json_bytes=5000) as http:
        objects.put("input/large", bytes(5001))
        problem(http.post("/invocations", json={**reference, "key": "input/large"}), 413, "payload-too-large")


def test_keys_in_an_object_store_outlive_the_machine(store: S3Server, tmp_path: Path) -> None:
    directory = published(tmp_path / "models")
    url = f"s3://{store.bucket}/keys"
    with service(directory, tmp_path / "first", key_store=url) as http:
        user = User.of(http)
        assert user.predict().status_code == 200
    with service(directory, tmp_path / "second", key_store=url) as http:
        user.http = http
        assert user.predict().status_code == 200
        assert http.delete(f"/v1/keys/{user.key_id}").status_code == 204
        problem(user.predict(), 404, "not-found")
    assert list(ObjectBlobs(f"s3://{store.bucket}").names()) == []


def test_a_store_that_does_not_answer_is_no_fault_of_the_client(
    store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with service(None, tmp_path / "state", exchange=f"s3://{store.bucket}") as http:
        problem(http.post("/invocations", json={"bucket": store.bucket, "key": "input/x"}), 503, "unavailable")


def test_remote_execution_through_a_real_object_store(
    store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyCrCNN's client with credentials of its own, the service with those of its environment."""
    models_directory = tmp_path / "models"
    models_directory.mkdir()
    shutil.copy(Path(models.__file__).parent / "fashion-5layer.safetensors", models_directory)
    layer = models.load("fashion-5layer").layers[-1]
    inputs = np.random.default_rng(3).integers(-8, 8, (2, layer["weight"].shape[1])) / 8
    objects = ObjectBlobs(f"s3://{store.bucket}")
    options = ("--models", str(models_directory), "--state", str(tmp_path / "state"))
    with Served(*options, PYCRCNN_EXCHANGE=f"s3://{store.bucket}") as process:
        credentials = [store.environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")]
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        parameters = {
            "address": process.url,
            "encryption_parameters": [{"m": 1024, "p": 65537, "sec": 128, "base": 2}],
            "net": "fashion-5layer",
            "layers": [5],
            "ak": credentials[0],
            "sk": credentials[1],
            "bk": store.bucket,
        }
        expected = inputs @ layer["weight"].T + layer["bias"]
        np.testing.assert_allclose(remote_execution_aws(inputs, parameters), expected, atol=1e-4)
        assert list(objects.names()) == []
        with pytest.raises(ServiceError) as refused:
            remote_execution_aws(inputs, {**parameters, "net": "lenet"})
        assert (refused.value.code, refused.value.status) == ("not-found", 404)
        assert list(objects.names()) == []
        assert not any(credential in process.errors() for credential in credentials)


# SageMaker


def entry_point(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYCRCNN_SAGEMAKER_ROOT": str(root)}
    arguments = [sys.executable, "-m", "pycrcnn.server.sagemaker", command]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_container_trains_and_serves(tmp_path: Path, HE: Pyfhel, question: Any, monkeypatch: Any) -> None:
    expected, body = question
    assert entry_point(tmp_path, "train").returncode == 0
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["fashion-5layer.safetensors"]
    environment = {"PYCRCNN_SAGEMAKER_ROOT": str(tmp_path), "PYCRCNN_HOST": "127.0.0.1", "PYCRCNN_PORT": "0"}
    module = ("-m", "pycrcnn.server.sagemaker")
    with Served(command=(*module, "serve"), PYCRCNN_STATE=str(tmp_path / "state"), **environment) as process:
        assert process.http.get("/ping").status_code == 200
        reply = process.http.post("/invocations", content=body, headers={"content-type": "application/json"})
        np.testing.assert_allclose(decrypted(HE, reply), expected, atol=1e-4)
        monkeypatch.setenv("PYCRCNN_ENDPOINT_URL", f"{process.url}/compute")
        event = {"body": base64.b64encode(body).decode(), "isBase64Encoded": True, "headers": {"Host": "x"}}
        answer = handler(event)
        assert (answer["statusCode"], answer["headers"]["content-type"]) == (200, "application/json")
        np.testing.assert_allclose(decrypted(HE, Stored(answer["body"])), expected, atol=1e-4)
        assert process.stop() == 0


def test_training_stores_what_it_is_given(tmp_path: Path) -> None:
    published(tmp_path / "input" / "data" / "training")
    assert entry_point(tmp_path, "train").returncode == 0
    assert (tmp_path / "model" / "small" / "model.json").exists()


def test_training_that_fails_says_why(tmp_path: Path) -> None:
    configuration = tmp_path / "input" / "config"
    configuration.mkdir(parents=True)
    (configuration / "hyperparameters.json").write_text('{"model": "lenet"}')
    assert entry_point(tmp_path, "train").returncode == 1
    assert "lenet" in (tmp_path / "output" / "failure").read_text()
    training = tmp_path / "input" / "data" / "training"
    training.mkdir(parents=True)
    (training / "x.safetensors").write_bytes(b"nonsense")
    assert entry_point(tmp_path, "train").returncode == 1
    assert entry_point(tmp_path, "evaluate").returncode == 2


def test_a_container_listens_where_sagemaker_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCRCNN_SAGEMAKER_ROOT", str(tmp_path))
    settings = sagemaker.served()
    assert (settings.host, settings.port, settings.shipped_models) == ("0.0.0.0", 8080, True)


# Lambda


def test_lambda_passes_problems_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["authorization"] == "Bearer key"
            self.send_response(422)
            self.send_header("content-type", "application/problem+json")
            self.end_headers()
            self.wfile.write(b'{"code": "unprocessable"}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PYCRCNN_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}/compute")
        answer = handler({"body": "{}", "headers": {"Authorization": "Bearer key"}})
        assert (answer["statusCode"], json.loads(answer["body"])) == (422, {"code": "unprocessable"})
        server.shutdown()
    assert handler({"body": "{}"})["statusCode"] == 503
    assert handler({"body": "?", "isBase64Encoded": True})["statusCode"] == 400
    monkeypatch.setenv("PYCRCNN_ENDPOINT_URL", "file:///etc/passwd")
    assert handler({"body": "{}"})["statusCode"] == 500
    monkeypatch.delenv("PYCRCNN_ENDPOINT_URL")
    assert handler({"body": None})["statusCode"] == 500


class Endpoint(BaseHTTPRequestHandler):
    """What boto3 talks to: hands the body to a service, and wraps its refusals as SageMaker does."""

    http: Any

    def do_POST(self) -> None:
        assert self.path == "/endpoints/pycrcnn/invocations"
        assert self.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKEXAMPLE/")
        body = self.rfile.read(int(self.headers["content-length"]))
        reply = self.http.post("/invocations", content=body, headers={"content-type": self.headers["content-type"]})
        status, data = reply.status_code, reply.content
        if status != 200:
            error = {"Message": "the model failed", "OriginalStatusCode": status, "OriginalMessage": reply.text}
            status, data = 424, json.dumps(error).encode()
        self.send_response(status)
        if status != 200:
            self.send_header("x-amzn-errortype", "ModelError")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def test_lambda_reaches_a_sagemaker_endpoint(
    tmp_path: Path, HE: Pyfhel, question: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, body = question
    environment = {
        "AWS_ACCESS_KEY_ID": "AKEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-environment",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "PYCRCNN_SAGEMAKER_ENDPOINT": "pycrcnn",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with service(None, tmp_path, shipped_models=True) as http, HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        http.app.state.plane.registry.stop()
        Endpoint.http = http
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", f"http://127.0.0.1:{server.server_port}")
        answer = handler({"body": base64.b64encode(body).decode(), "isBase64Encoded": True})
        assert (answer["statusCode"], answer["headers"]["content-type"]) == (200, "application/json")
        np.testing.assert_allclose(decrypted(HE, Stored(answer["body"])), expected, atol=1e-4)
        refused = handler({"body": "{}"})
        assert (refused["statusCode"], json.loads(refused["body"])["code"]) == (400, "malformed")
        server.shutdown()
    assert handler({"body": "{}"})["statusCode"] == 503


def test_the_container_files_name_what_is_there() -> None:
    directory = Path(__file__).parents[2] / "packaging" / "container"
    assert "pycrcnn.server.sagemaker" in (directory / "Dockerfile").read_text()
    assert "packaging/container/Dockerfile" in (directory / "compose.yaml").read_text()
