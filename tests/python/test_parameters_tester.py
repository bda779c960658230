"""The parameter tester and local execution."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from conftest import quietly, with_keys
from pycrcnn.crypto.crypto import encrypt_matrix
from pycrcnn.errors import FormatError, InvalidTypeError, InvalidValueError, ShapeError
from pycrcnn.he.HE import MockHE
from pycrcnn.local_execution.local_execution import local_execution
from pycrcnn.net_builder.encoded_net_builder import build_from_pytorch
from pycrcnn.parameters_tester import param_tester_cli, param_tester_json
from pycrcnn.parameters_tester.param_tester_cli import get_max_error, get_min_noise
from pycrcnn.parameters_tester.utils import utils
from pycrcnn.pyfhel import Pyfhel


class Square(nn.Module):
    def forward(self, x: Any) -> Any:
        return x**2


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 1, 2, stride=2), Square(), nn.Flatten(), nn.Linear(4, 2)).eval()


CASE = {"m": 4096, "p": 65537, "sec": 128, "base": 2}
HOPELESS = {"m": 1024, "p": 65537, "sec": 128, "base": 2}
IMAGES = np.linspace(-1, 1, 16).reshape(1, 1, 4, 4)


def plain(net: nn.Sequential, images: Any = IMAGES) -> Any:
    values = images
    for layer in build_from_pytorch(MockHE(), net):
        values = layer(values)
    return values


def test_the_largest_error_and_where_it_is(fractional: Pyfhel) -> None:
    values = np.array([[1, 2, 3], [1, 3, 4], [1, 3, 4]])
    encrypted = encrypt_matrix(fractional, values)
    encrypted[2][0] = fractional.encryptFrac(-1)
    assert get_max_error(fractional, values, encrypted) == (2, (2, 0))
    with pytest.raises(ShapeError):
        get_max_error(fractional, values[0], encrypted)


def test_the_smallest_noise_budget(fractional: Pyfhel) -> None:
    encrypted = encrypt_matrix(fractional, [[1, 2], [3, 4]])
    encrypted[0][1] = encrypted[0][1] * fractional.encryptFrac(2)
    assert get_min_noise(fractional, encrypted) == fractional.noiseLevel(encrypted[0][1])
    with pytest.raises(InvalidTypeError):
        get_min_noise(MockHE(), np.ones(2))


def test_both_networks_run_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    HE, net = with_keys(65537, 4096), network()
    layers = build_from_pytorch(HE, net, [2])
    assert utils.test_net(HE, net, layers, IMAGES, verbose=True) < 1e-3
    printed = capsys.readouterr().out
    assert "SquareLayer: min noise" in printed
    assert "Rencryption" not in printed


def test_results_are_rows_of_measures(tmp_path: Path) -> None:
    parameters = {
        "encryption_parameters": [{**CASE, "rencrypt_positions": [1]}, HOPELESS],
        "debug": "y",
        "max_threads": 2,
    }
    results = quietly(
        param_tester_json.param_test, parameters, net=network(), images=IMAGES, results_path=tmp_path / "results.json"
    )
    assert json.loads((tmp_path / "results.json").read_text()) == results
    (case, error, rows), (_, hopeless, _) = results
    assert case == parameters["encryption_parameters"][0]  # type: ignore[index]
    assert error["final_max_error"] < 1e-3
    assert hopeless == {"final_max_error": None}
    names = [row["layer_name"] for row in rows]
    assert names == ["start", "ConvolutionalLayer", "RencryptionLayer", "SquareLayer", "FlattenLayer", "LinearLayer"]
    fields = {"layer_name", "min_noise", "max_error", "max_error_position", "cipher_value", "plain_value"}
    assert all(set(row) == fields for row in rows)
    assert rows[2]["min_noise"] > rows[1]["min_noise"] > rows[3]["min_noise"] > 0
    assert abs(rows[5]["cipher_value"] - rows[5]["plain_value"]) == pytest.approx(rows[5]["max_error"])


def test_parameters_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parameters.json").write_text(json.dumps({"encryption_parameters": [CASE], "layers": [0, 1]}))
    assert param_tester_json.get_parameter("layers") == [0, 1]
    [[_, error]] = quietly(param_tester_json.param_test, net=network(), images=IMAGES)
    assert error["final_max_error"] < 1e-3
    (tmp_path / "parameters.json").rename(tmp_path / "encryption_parameters.json")
    assert param_tester_json.get_parameter("layers") == [0, 1]
    for wrong in ("no json", "[]", '{"encryption_parameters": 1}'):
        (tmp_path / "parameters.json").write_text(wrong)
        with pytest.raises(FormatError):
            param_tester_json.param_test(net=network(), images=IMAGES)


def test_the_questions_in_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter(["4096", "65537", "", "", "y", "", "257", "128", "2", "n", "y", "1 2"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    errors = quietly(param_tester_cli.param_test, nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), IMAGES)
    assert len(errors) == 2
    assert max(errors) < 1e-3
    assert "(2048, 257, 128, 2)" in capsys.readouterr().out


@pytest.mark.parametrize("threads", [1, 2])
def test_local_execution(threads: int, capsys: pytest.CaptureFixture[str]) -> None:
    net = network()
    parameters = {"encryption_parameters": [CASE], "layers": [0, 1, 3], "max_threads": threads}
    images = np.concatenate([IMAGES, -IMAGES, IMAGES / 2])
    result = quietly(local_execution, images, parameters, net=net, debug=True)
    np.testing.assert_allclose(result, plain(net, images), atol=1e-3)
    assert capsys.readouterr().out.startswith("Passed layer: ConvolutionalLayer\nNoise Budget: ")
    first = quietly(local_execution, images, {**parameters, "layers": [0]}, net=net)
    np.testing.assert_allclose(first, plain(net[:1], images), atol=1e-6)


def test_local_execution_reads_the_packages_models(tmp_path: Path) -> None:
    from pycrcnn import models

    path = Path(models.__file__).parent / "fashion-5layer.safetensors"
    model = models.read(path)
    images = np.zeros((1, *model.input_shape))
    images[0, 0, 10:18, 10:18] = 0.5
    parameters = {"encryption_parameters": [{"m": 2048, "p": 257}], "model_path": str(path), "layers": [0]}
    result = quietly(local_execution, images, parameters)
    np.testing.assert_allclose(result, build_from_pytorch(MockHE(), model)[0](images), atol=1e-6)


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(FormatError, match="encryption_parameters"):
        local_execution(IMAGES, {}, net=network())
    with pytest.raises(FormatError, match='"p"'):
        local_execution(IMAGES, {"encryption_parameters": [{"m": 2048}]}, net=network())
    with pytest.raises(InvalidValueError, match="CIFAR"):
        param_tester_json.param_test({"encryption_parameters": [CASE], "dataset": "CIFAR"}, net=network())


def test_a_script_with_a_square_of_its_own(tmp_path: Path) -> None:
    """The network is saved and loaded whole, by a script that defines one of its layers."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import warnings
            import numpy as np
            import torch
            from torch import nn
            from pycrcnn.local_execution.local_execution import local_execution

            warnings.simplefilter("ignore")

            class Square(nn.Module):
                def forward(self, x):
                    return x ** 2

            net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), Square()).eval()
            torch.save(net, "model.pt")
            images = np.array([[[[0.5, -1.0], [2.0, 0.25]]]])
            parameters = {"encryption_parameters": [{"m": 4096, "p": 65537, "sec": 128, "base": 2}], "max_threads": 2}
            result = local_execution(images, parameters)
            expected = net(torch.tensor(images).float()).detach().numpy()
            assert np.allclose(result, expected, atol=1e-4), (result, expected)
        """)
    )
    subprocess.run([sys.executable, script.name], cwd=tmp_path, check=True, timeout=300)
