"""The commands over files do what the library does, client and server apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pycrcnn
from pycrcnn import cli, datasets, models


def test_a_client_and_a_server_that_share_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
        call("run", "@program", "@keys/evaluation.key", "@encrypted", "--output", "@answer")
        call("decrypt", "@client", "@keys", "@answer", "--output", "@logits.npy")
        logits = np.load(tmp_path / "logits.npy")
        assert np.abs(logits - expected).max() <= plan["error"]


def test_files_that_are_others_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    command = ["compile", "fashion-5layer", "--output", str(tmp_path / "p"), "--client", str(tmp_path / "c")]
    assert cli.main([*command, "--calibration", str(tmp_path / "objects.npy")]) == 1
    assert "no .npy file of numbers" in capsys.readouterr().err
    assert cli.main(["explain", str(tmp_path / "objects.npy")]) == 1
    assert "are not a program" in capsys.readouterr().err
    assert cli.main(["explain", str(tmp_path / "nothing")]) == 1
    assert "No such file" in capsys.readouterr().err
