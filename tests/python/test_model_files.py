"""PyTorch networks as models, and models as files: what comes back computes what went in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pycrcnn
from pycrcnn import models
from pycrcnn.errors import InvalidTypeError, UnsupportedLayerError
from pycrcnn.frontends import describe
from pycrcnn.nn import Polynomial, Recurrent, Square

RNG = np.random.default_rng(21)
IMAGES = RNG.normal(size=(6, 1, 6, 6))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(2, 2, 3, padding="same", bias=False), nn.BatchNorm2d(2), Square())
        self.last = nn.Linear(72, 3)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        return self.last((x + self.body(x)).flatten(1))


NETWORKS = {
    "normalised": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        Polynomial((0.1, 0.5, 0.25), trainable=True),
        nn.AvgPool2d(2, 2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(16, 8),
        nn.BatchNorm1d(8, affine=False),
        Square(),
        nn.Linear(8, 3, bias=False),
        nn.Softmax(dim=1),
    ),
    "recurrent": lambda: nn.Sequential(nn.Flatten(), nn.Unflatten(1, (3, 12)), Recurrent(12, 4), nn.Linear(4, 3)),
    "residual": Residual,
    "grouped": lambda: nn.Sequential(
        nn.ZeroPad2d((0, 1, 1, 0)),
        nn.Conv2d(1, 4, (2, 3), stride=(2, 1), dilation=(1, 2)),
        nn.Conv2d(4, 4, 2, groups=2),
        nn.AdaptiveAvgPool2d((2, None)),
        Square(),
        nn.Flatten(),
    ),
    "signal": lambda: nn.Sequential(
        nn.Flatten(2), nn.Conv1d(1, 2, 5, stride=3, padding=2), Square(), nn.AvgPool1d(2), nn.Flatten()
    ),
}


def network(name: str, precision: Any = torch.float32) -> Any:
    """A network in a state as if it had been trained."""
    torch.manual_seed(8)
    made = NETWORKS[name]()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return made.to(precision).eval()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=["single", "double"])
def test_a_file_computes_what_the_network_does(name: str, precision: Any, tmp_path: Path) -> None:
    trained = network(name, precision)
    model = models.from_torch(
        trained, (1, 6, 6), name="mine", scale=0.5, offset=-1, training={"seed": 3, "log": [[0.5, 0.9]]}
    )
    assert "batch_norm" not in str([layer["type"] for layer in model.layers])
    path = tmp_path / "mine.safetensors"
    models.save(model, path)
    again = models.read(path)
    assert (again.name, again.scale, again.offset, again.training) == ("mine", 0.5, -1, model.training)
    assert math.isnan(again.accuracy)
    with torch.no_grad():
        expected = trained(torch.from_numpy(IMAGES).to(precision)).numpy()
    for source in (model, again, path):
        described = describe(source)
        answers = described.network.evaluate(IMAGES.reshape(-1)).reshape(len(IMAGES), -1)
        for layer in described.client_head:
            answers = layer(answers)
        tolerance = 1e-12 if precision == torch.float64 else 2e-5
        np.testing.assert_allclose(answers, expected, rtol=tolerance, atol=tolerance)
    # Single precision stays single in the file, but for what is folded in double.
    assert path.stat().st_size < 4000 + 4 * (1 + (precision == torch.float64)) * sum(
        parameter.numel() for parameter in trained.parameters()
    )


@pytest.mark.parametrize("name", ["fashion-5layer-plain", "mnist-lenet5"])
def test_shipped_networks_are_saved_as_they_are(name: str, tmp_path: Path) -> None:
    model = models.load(name)
    models.save(model, tmp_path / "copy.safetensors")
    copy = models.read(tmp_path / "copy.safetensors")
    assert copy.card == model.card
    assert copy.largest_magnitudes == model.largest_magnitudes
    for layer, original in zip(copy.layers, model.layers, strict=True):
        assert layer.keys() == original.keys()
        for field, value in original.items():
            np.testing.assert_array_equal(layer[field], value)  # type: ignore[literal-required]


def test_magnitudes_are_those_of_the_layers_that_are_left() -> None:
    trained = network("normalised")
    model = models.from_torch(trained, (1, 6, 6), name="mine", examples=IMAGES)
    assert len(model.largest_magnitudes) == len(model.layers) + 1
    x, largest = torch.from_numpy(IMAGES).float(), [np.abs(IMAGES).max()]
    with torch.no_grad():
        for layer in trained:
            x = layer(x)
            if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.Dropout):
                largest.append(float(x.abs().max()))
            elif not isinstance(layer, nn.Dropout):
                largest[-1] = float(x.abs().max())
    np.testing.assert_allclose(model.largest_magnitudes, largest, rtol=1e-6)


def test_plain_networks_are_described_for_comparison_only() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    model = models.from_torch(plain, (1, 6, 6), name="plain")
    assert [layer["type"] for layer in model.layers] == ["conv2d", "relu", "max_pool2d", "flatten", "linear"]
    for source in (model, plain):
        with pytest.raises(UnsupportedLayerError, match=r"1.*relu.*Square|1 \(ReLU\).*Square"):
            pycrcnn.compile(source, (1, 6, 6))
    with pytest.raises(UnsupportedLayerError, match="pads, dilates or rounds up"):
        models.from_torch(nn.Sequential(nn.MaxPool2d(2, padding=1)), (1, 6, 6), name="plain")
    with pytest.raises(InvalidTypeError, match=r"a torch\.nn\.Module is needed, not str"):
        models.from_torch("plain", (1, 6, 6), name="plain")
