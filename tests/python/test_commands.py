"""The commands over files do what the library does, client and server apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pycrcnn
from pycrcnn import cli, datasets, models


def test_a_client_and_a_server_that_share_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCRCNN_PASSPHRASE", "correct horse")
    model = models.load("fashion-5layer")
    images = model.normalise(datasets.load("fashion-mnist", "test")[0][:3])
    np.save(tmp_path / "images.npy", images)

    def call(*arguments: str) -> None:
        paths = [str(tmp_path / argument[1:]) if argument.startswith("@") else argument for argument in arguments]
        assert cli.main(paths) == 0

    call("compile", "fashion-5layer", "--calibration", "@images.npy", "--output", "@program", "--client", "@client")
    assert "packed, 1 image a run" in capsys.readouterr().out
    call("explain", "@program", "--json", "@plan.json")
    plan = json.loads((tmp_path / "plan.json").read_text())
    call("keygen", "@client", "--output", "@keys")
    expected = pycrcnn.compile(model, calibration=images).predict(images)
    for keys in ("@keys", "@keys/public.key"):
        call("encrypt", "@client", keys, "@images.npy", "--output", "@encrypted")
        call("run", "@program", "@keys/evaluation.key", "@encrypted", "--output", "@answer", "--bare")
        call("decrypt", "@client", "@keys", "@answer", "--output", "@logits.npy", "--raw")
        logits = np.load(tmp_path / "logits.npy")
        assert np.abs(logits - expected).max() <= plan["error"]
    call("run", "@program", "@keys/evaluation.key", "@encrypted", "--output", "@answer")
    call("decrypt", "@client", "@keys", "@answer", "--output", "@logits.npy")
    monkeypatch.delenv("PYCRCNN_PASSPHRASE")
    arguments = [str(tmp_path / name) for name in ("client", "keys", "answer", "logits.npy")]
    assert cli.main(["decrypt", *arguments[:3], "--output", arguments[3]]) == 1
    assert "is locked: give the passphrase" in capsys.readouterr().err
    flooded = np.abs(np.load(tmp_path / "logits.npy") - expected)
    assert plan["error"] / 4 < flooded.max() <= 7 * plan["error"]


def test_parts_of_an_interactive_program_with_a_refresh_between_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    images = rng.uniform(0, 1, (2, 6))
    layers: list[dict[str, object]] = [{"type": "linear", "weight": rng.normal(size=(6, 6)) / 3}]
    layers += [{"type": "square"}, {"type": "linear", "weight": rng.normal(size=(6, 6)) / 3}]
    program = pycrcnn.compile_interactive(layers, (6,), calibration=images, cuts=[1])
    server, client, keys = tmp_path / "server", tmp_path / "client", tmp_path / "keys"
    program.save(server)
    program.client.save(client)
    np.save(tmp_path / "images.npy", images)

    def call(*arguments: object) -> None:
        assert cli.main([str(argument) for argument in arguments]) == 0

    call("keygen", client, "--output", keys)
    message, answer = tmp_path / "message", tmp_path / "answer"
    call("encrypt", client / "stage-1.client", keys / "stage-1", tmp_path / "images.npy", "--output", message)
    call("run", server / "stage-1.program", keys / "stage-1/evaluation.key", message, "--bare", "--output", answer)
    call("refresh", client, keys, answer, "--stage", 1, "--output", message)
    call("run", server / "stage-2.program", keys / "stage-2/evaluation.key", message, "--bare", "--output", answer)
    call("decrypt", client / "stage-2.client", keys / "stage-2", answer, "--raw", "--output", tmp_path / "answers.npy")
    assert np.abs(np.load(tmp_path / "answers.npy") - program.predict(images)).max() <= program.error
    call("explain", server, "--json", tmp_path / "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text())["refreshes"] == 1
    call("compile", "fashion-6layer", "--interactive", "--output", tmp_path / "s", "--client", tmp_path / "c")
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["stage-1.program"]


def test_files_that_are_others_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    command = ["compile", "fashion-5layer", "--output", str(tmp_path / "p"), "--client", str(tmp_path / "c")]
    assert cli.main([*command, "--calibration", str(tmp_path / "objects.npy")]) == 1
    assert "no .npy file of numbers" in capsys.readouterr().err
    assert cli.main(["explain", str(tmp_path / "objects.npy")]) == 1
    assert "are not a program" in capsys.readouterr().err
    assert cli.main(["explain", str(tmp_path / "nothing")]) == 1
    assert "No such file" in capsys.readouterr().err
