"""Models of a service: published, compiled in the background, kept."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import pycrcnn
import pycrcnn.models
from pycrcnn import models
from pycrcnn.cli import main
from pycrcnn.errors import FormatError, InvalidValueError
from pycrcnn.server.plane.compiling import _fingerprint, offers
from pycrcnn.server.plane.published import publish
from service import User, service

SHIPPED = Path(pycrcnn.models.__file__).parent


def test_a_model_is_published_from_the_command_line(tmp_path: Path) -> None:
    command = ["publish", "fashion-6layer", "--models", str(tmp_path / "models"), "--name", "mine"]
    options = ["--layouts", "packed", "--features", "1", "--classes", "a,b", "--description", "of mine"]
    assert main([*command, *options]) == 0
    with service(tmp_path / "models", tmp_path / "state") as http:
        entry = http.get("/v1/models/mine").json()
        assert (entry["description"], entry["classes"]) == ("of mine", ["a", "b"])
        assert entry["pixels"]["scale"] > 0
        assert [layer["kind"] for layer in entry["layers"]][:2] == ["conv2d", "avg_pool2d"]
        offered = [(program["modality"], program["last_layer"]) for program in entry["programs"]]
        assert offered == [("features", 1), ("recall", 6)]
    assert main([*command, "--features", "6"]) == 1


def test_weights_are_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(SHIPPED / "fashion-6layer.safetensors", models)

    def entry() -> Any:
        with service(models, tmp_path / "state") as http:
            while (response := http.get("/v1/models/fashion-6layer")).status_code == 503:
                time.sleep(0.1)
            return response.json()

    first = entry()
    assert {program["layout"] for program in first["programs"]} == {"packed", "batched", "per-value"}
    assert {program["last_layer"] for program in first["programs"]} >= {0, 1, 2, 6}
    assert first["classes"][9] == "Ankle boot"

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("it was compiled before")

    monkeypatch.setattr("pycrcnn.server.plane.compiling.compile", refused)
    again = entry()
    for program in [*first["programs"], *again["programs"]]:
        del program["seconds"]
    assert again == first


def test_one_program_alone_is_a_model(tmp_path: Path) -> None:
    layers = [{"type": "linear", "weight": [[1.0, 2.0], [3.0, 4.0]]}]
    program = pycrcnn.compile(layers, (2,), layout="batched", calibration=[[1.0, 1.0]])
    (tmp_path / "models").mkdir()
    program.save(tmp_path / "models" / "alone.program")
    with service(tmp_path / "models", tmp_path / "state") as http:
        user = User.of(http, "batched", 0, "alone")
        assert (user.program["modality"], user.program["id"]) == ("recall", program.program_id)


def test_programs_leave_memory_when_others_are_needed(tmp_path: Path) -> None:
    layers = [{"type": "linear", "weight": [[1.0, 2.0], [3.0, 4.0]]}]
    (tmp_path / "models").mkdir()
    for factor in (1.0, 2.0):
        program = pycrcnn.compile(layers, (2,), layout="packed", calibration=[[factor, factor]])
        program.save(tmp_path / "models" / f"times-{factor}.program")
    with service(tmp_path / "models", tmp_path / "state", programs_bytes=0) as http:
        shelf = http.app.state.plane.registry.shelf
        identities = [http.get(f"/v1/models/times-{factor}").json()["programs"][0]["id"] for factor in (1.0, 2.0)]
        for identity in identities * 2:
            assert shelf.program(identity).program_id == identity
            assert shelf.program(identity) is shelf.program(identity)
            assert shelf.ready == (identity,)


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        "{}",
        json.dumps({"name": "x", "programs": []}),
        json.dumps({"name": "../x", "programs": [{"file": "a.program", "first_layer": 0, "last_layer": 0}]}),
        json.dumps({"name": "x", "programs": [{"file": "../a.program", "first_layer": 0, "last_layer": 0}]}),
    ],
)
def test_a_directory_that_holds_something_else_is_named(tmp_path: Path, document: str) -> None:
    (tmp_path / "models" / "x").mkdir(parents=True)
    (tmp_path / "models" / "x" / "model.json").write_text(document)
    with pytest.raises(FormatError, match="model"):
        service(tmp_path / "models", tmp_path / "state")


def test_programs_without_right_answers_are_not_published(tmp_path: Path) -> None:
    model = models.load("fashion-5layer")
    parameters = pycrcnn.FractionalParameters(m=2048, p=32)
    program = pycrcnn.compile(model, layout="per-value", parameters=parameters)
    assert program.error == float("inf")
    with pytest.raises(InvalidValueError, match="outgrow the plaintext modulus"):
        publish(tmp_path / "models", "small", [(program, 5)])
    assert not (tmp_path / "models").exists()


def test_what_was_compiled_before_is_known_by_every_number() -> None:
    """A recurrent layer has more arrays than one, and long ones."""
    model = models.load("mnist-recurrent")
    offer = next(iter(offers(model)))
    known = _fingerprint(model, offer, None, 1.0)
    assert known == _fingerprint(models.load("mnist-recurrent"), offer, None, 1.0)
    for index, layer in enumerate(model.layers):
        for name, array in layer.items():
            if isinstance(array, np.ndarray):
                changed = array.copy()
                changed.flat[array.size // 2] += 1e-9
                layers = list(model.layers)
                layers[index] = cast(models.Layer, {**layer, name: changed})
                assert _fingerprint(replace(model, layers=tuple(layers)), offer, None, 1.0) != known, name
