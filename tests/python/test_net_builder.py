"""PyTorch networks become encoded layers that compute the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import clear_network
from conftest import with_keys
from pycrcnn import models
from pycrcnn.crypto.crypto import decode_matrix, decrypt_matrix, encrypt_matrix
from pycrcnn.errors import InvalidTypeError, InvalidValueError, UnsupportedError
from pycrcnn.functional.flatten_layer import FlattenLayer
from pycrcnn.functional.rencryption_layer import RencryptionLayer
from pycrcnn.he.HE import MockHE
from pycrcnn.model.sequential import Sequential
from pycrcnn.net_builder import pytorch_net
from pycrcnn.net_builder.encoded_net_builder import build_from_pytorch
from pycrcnn.pyfhel import Pyfhel


class Square(nn.Module):
    """What PyCrCNN's users define."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x**2


#: What the order of summation may change where a sum cancels: 18 products of numbers below 5 and 0.5, k eps sum |w x|.
ROUNDING = 18 * np.finfo(float).eps * 18 * 5 * 0.5

torch.manual_seed(1)


def network() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 2, kernel_size=3, stride=2, padding=1),
        Square(),
        nn.AvgPool2d(kernel_size=2),
        nn.Dropout(),
        nn.Flatten(),
        nn.Sequential(nn.Linear(2 * 2 * 2, 4), nn.Identity()),
        nn.Linear(4, 3, bias=False),
    ).eval()


def test_plain_layers_compute_what_torch_computes(rng: np.random.Generator) -> None:
    images = rng.normal(size=(2, 1, 8, 8))
    expected = network().double()(torch.tensor(images)).detach().numpy()
    values: Any = images
    for layer in build_from_pytorch(MockHE(), network().double()):
        values = layer(values)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    np.testing.assert_allclose(Sequential(MockHE(), network().double())(images), expected, rtol=1e-12)


def test_encrypted_layers_compute_what_torch_computes(rng: np.random.Generator) -> None:
    HE = with_keys(p=100000007, m=4096)
    images = rng.normal(size=(1, 1, 8, 8))
    model = Sequential(HE, network())
    result = decrypt_matrix(HE, model(encrypt_matrix(HE, torch.tensor(images))))
    np.testing.assert_allclose(result, network()(torch.tensor(images).float()).detach().numpy(), atol=1e-4)


def test_layers_keep_the_attributes_of_their_originals(fractional: Pyfhel) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, kernel_size=5),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(64, 8),
        nn.Conv2d(1, 1, bias=False, kernel_size=3, stride=2),
    )
    layers = build_from_pytorch(fractional, net, [2])
    assert isinstance(layers[2], RencryptionLayer)
    assert isinstance(layers[3], FlattenLayer)
    assert (layers[1].kernel_size, layers[1].stride) == ((2, 2), (2, 2))
    assert layers[5].stride == (2, 2)
    assert layers[5].bias is None
    for original, layer in [(net[0], layers[0]), (net[3], layers[4])]:
        assert np.allclose(original.weight.detach(), decode_matrix(fractional, layer.weights))
        assert np.allclose(original.bias.detach(), decode_matrix(fractional, layer.bias))
    with pytest.raises(InvalidValueError, match="rencrypt_positions"):
        build_from_pytorch(fractional, net, [7])
    assert isinstance(build_from_pytorch(fractional, net[:2], 1)[1], RencryptionLayer)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(0, 1), dilation=(2, 1), groups=2),
        nn.Conv2d(2, 3, 3, padding="same"),
        nn.Conv2d(2, 3, 3, padding="valid"),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.AvgPool2d((2, 3)),
    ],
)
def test_options_of_layers(layer: nn.Module, rng: np.random.Generator) -> None:
    images = rng.normal(size=(2, 2, 7, 8))
    [encoded] = build_from_pytorch(MockHE(), nn.Sequential(layer.double()))
    np.testing.assert_allclose(encoded(images), layer(torch.tensor(images)).detach().numpy(), rtol=1e-12, atol=ROUNDING)


def test_one_dimensional_convolutions(rng: np.random.Generator) -> None:
    signals, layer = rng.normal(size=(2, 2, 9)), nn.Conv1d(2, 3, 3, stride=2, padding=2).double()
    [encoded] = build_from_pytorch(MockHE(), [layer])
    np.testing.assert_allclose(
        encoded(signals), layer(torch.tensor(signals)).detach().numpy(), rtol=1e-12, atol=ROUNDING
    )


@pytest.mark.parametrize(
    ("layer", "advice"),
    [
        (nn.ReLU(), "use a Square layer"),
        (nn.MaxPool2d(2), "use AvgPool2d"),
        (nn.Softmax(dim=1), "leave it out"),
        (nn.Tanh(), "these can: "),
        (nn.AvgPool2d(2, ceil_mode=True), "ceil_mode"),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), "count_include_pad"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), "padding_mode"),
        (nn.Conv2d(1, 1, 2, padding="same"), "odd kernels"),
        (nn.Flatten(start_dim=2), "start_dim"),
    ],
)
def test_what_cannot_be_encrypted_is_named_with_advice(layer: nn.Module, advice: str) -> None:
    with pytest.raises(UnsupportedError, match=advice):
        build_from_pytorch(MockHE(), nn.Sequential(layer))


def test_a_single_layer_is_no_network() -> None:
    with pytest.raises(InvalidTypeError, match="Sequential"):
        build_from_pytorch(MockHE(), nn.Linear(1, 1))


def test_the_packages_own_models_build_too(rng: np.random.Generator) -> None:
    model = models.load("fashion-6layer")
    images = rng.random((1, *model.input_shape))
    values: Any = images
    for layer in build_from_pytorch(MockHE(), model):
        values = layer(values)
    np.testing.assert_allclose(values, clear_network.evaluate(model.layers, images), rtol=1e-9)
    with pytest.raises(UnsupportedError, match="without -plain"):
        build_from_pytorch(MockHE(), models.load("fashion-6layer-plain"))


def test_debug_prints_layers_and_noise_budgets(capsys: pytest.CaptureFixture[str], fractional: Pyfhel) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    Sequential(fractional, net)(encrypt_matrix(fractional, np.ones((1, 1, 2, 2))), debug=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Passed layer: FlattenLayer"
    assert lines[1].startswith("Noise Budget: ")
    assert lines[2] == "Passed layer: LinearLayer"
    Sequential(MockHE(), net)(np.ones((1, 1, 2, 2)), debug=True)
    assert "Noise Budget: None" in capsys.readouterr().out


def test_whole_networks_are_saved_and_loaded_without_running_their_code(tmp_path: Path) -> None:
    pytorch_net.save_net(network(), tmp_path / "net.pt")
    loaded = pytorch_net.load_net(tmp_path / "net.pt", Square)
    assert [type(layer).__name__ for layer in loaded] == [type(layer).__name__ for layer in network()]
    with pytest.raises(InvalidTypeError, match="net.pt"):
        pytorch_net.load_net(tmp_path / "net.pt")


def test_training_helpers(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    labels = torch.arange(64) % 2
    images = torch.rand(64, 1, 4, 4) / 2 + labels.reshape(-1, 1, 1, 1) / 2
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    pytorch_net.train_net(net, 60, [(images, labels)], lr=0.05)
    assert capsys.readouterr().out.count("epoch:") == 60
    assert pytorch_net.get_num_correct(pytorch_net.use_net(net, images), labels) >= 60


def test_torch_is_not_imported_by_the_package() -> None:
    modules = [
        "pycrcnn.model.sequential",
        "pycrcnn.net_builder.pytorch_net",
        "pycrcnn.parameters_tester.param_tester_json",
        "pycrcnn.parameters_tester.param_tester_cli",
        "pycrcnn.local_execution.local_execution",
    ]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
