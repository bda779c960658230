"""Training: what is promised about the loop, the options and the recipes, on tasks of seconds."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pycrcnn
from pycrcnn import datasets, models, train
from pycrcnn.errors import InvalidTypeError, InvalidValueError, ShapeError, UnsupportedLayerError
from pycrcnn.nn import Blend, Recurrent, Square

RNG = np.random.default_rng(11)
IMAGES = RNG.normal(size=(400, 2))
#: Inside a circle or outside: no affine map can tell.
LABELS = ((IMAGES**2).sum(1) < 1.4).astype(int)
QUICK = train.Options(epochs=15, batch=20, learning_rate=0.02)


def circle(seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 4), Square(), nn.Linear(4, 2))


def weights(network: Any) -> Any:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_a_square_learns_what_an_affine_map_cannot() -> None:
    network = circle()
    history = train.fit(network, IMAGES, LABELS, QUICK, test=(IMAGES[:100], LABELS[:100]))
    assert [epoch.epoch for epoch in history.epochs] == list(range(1, 16))
    assert history.test_accuracy == train.accuracy(network, IMAGES[:100], LABELS[:100]) > 0.95
    assert not network.training
    affine = nn.Sequential(nn.Linear(2, 2))
    train.fit(affine, IMAGES, LABELS, QUICK)
    assert train.accuracy(affine, IMAGES, LABELS) < 0.7


def test_a_seed_fixes_everything_and_leaves_torch_alone() -> None:
    networks = [circle() for _ in range(3)]
    state = torch.random.get_rng_state()
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        network.insert(2, nn.Dropout(0.2))
        train.fit(network, IMAGES, LABELS, dataclasses.replace(QUICK, epochs=2), seed=seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(weights(networks[0]), weights(networks[1]))
    assert not torch.equal(weights(networks[0]), weights(networks[2]))


def test_the_range_penalty_keeps_inputs_of_squares_calm() -> None:
    def largest(penalty: float) -> float:
        network = circle()
        options = dataclasses.replace(QUICK, range_penalty=penalty, calm_range=0.5)
        train.fit(network, IMAGES, LABELS, options)
        assert not network[1]._forward_pre_hooks
        return float(network[0](torch.from_numpy(IMAGES).float()).detach().abs().max())

    assert largest(1.0) < 0.5 * largest(0.0)


def test_weights_on_a_grid_stay_on_it() -> None:
    network = circle()
    train.fit(network, IMAGES, LABELS, dataclasses.replace(QUICK, fraction_bits=3))
    assert not (weights(network) * 8 % 1).any()
    assert train.accuracy(network, IMAGES, LABELS) > 0.85
    assert type(network[0]) is nn.Linear


def test_a_teacher_is_followed() -> None:
    class Teacher(nn.Module):
        def forward(self, x: Any) -> Any:
            inside = 4 * (1.4 - x.square().sum(1))
            return torch.stack([-inside, inside], 1)

    network = circle()
    wrong = 1 - LABELS  # what is learnt, is learnt from the teacher
    train.fit(network, IMAGES, wrong, dataclasses.replace(QUICK, distillation=1.0), teacher=Teacher())
    assert train.accuracy(network, IMAGES, LABELS) > 0.9


def test_images_are_shifted_and_mirrored_each_its_own_way() -> None:
    seen: list[Any] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(25, 2)

        def forward(self, x: Any) -> Any:
            if self.training:
                seen.append(x.clone())
            return self.last(x.flatten(1))

    image = np.zeros((1, 1, 5, 5))
    image[0, 0, 2, 1], image[0, 0, 2, 2] = 1, 2
    options = train.Options(epochs=1, batch=300, shift=1, flip=True)
    train.fit(Watching(), np.repeat(image, 300, axis=0), np.zeros(300), options)
    variants = {tuple(map(tuple, each[0].int().tolist())) for each in seen[0]}
    expected = set()
    for picture in (image[0, 0], image[0, 0, :, ::-1]):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                expected.add(tuple(map(tuple, np.roll(picture, (dy, dx), (0, 1)).astype(int).tolist())))
    assert variants == expected
    # What is moved out of the picture does not come in on the other side.
    image = np.zeros((40, 1, 5, 5))
    image[:, :, :, 0] = 1
    train.fit(Watching(), image, np.zeros(40), train.Options(epochs=1, batch=40, shift=1))
    assert not seen[1][..., 2:].any()


def test_the_learning_rate_rises_and_falls() -> None:
    options = train.Options(epochs=10, batch=400, learning_rate=0.1, warmup=0.3)
    rates = [epoch.learning_rate for epoch in train.fit(circle(), IMAGES, LABELS, options).epochs]
    np.testing.assert_allclose(rates[:4], [0.025, 0.05, 0.075, 0.1])
    np.testing.assert_allclose(rates[3:], 0.05 * (1 + np.cos(np.pi * np.arange(7) / 7)))


def test_divergence_is_said() -> None:
    with pytest.raises(InvalidValueError, match=r"diverged in epoch 1: lower learning_rate"):
        train.fit(circle(), 1e30 * IMAGES, LABELS, QUICK)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("net", IMAGES, LABELS), InvalidTypeError, "network: a torch.nn.Module is needed, not str"),
        ((circle(), IMAGES, LABELS[:-1]), ShapeError, "as many labels as images"),
        ((circle(), IMAGES[:, :1], LABELS), ShapeError, r"does not take values of shape \[400, 1\]"),
        ((circle(), IMAGES, LABELS + 1), InvalidValueError, "from 0 to 1 are needed"),
        ((circle(), IMAGES, LABELS * 0.5), InvalidValueError, "whole numbers"),
        ((nn.Flatten(0), IMAGES, LABELS), ShapeError, "one logit a class"),
    ],
)
def test_arguments_that_do_not_fit(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        train.fit(*arguments, QUICK)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("epochs", 0, InvalidValueError),
        ("epochs", 1.0, InvalidTypeError),
        ("batch", True, InvalidTypeError),
        ("learning_rate", -1.0, InvalidValueError),
        ("learning_rate", float("nan"), InvalidValueError),
        ("distillation", 2, InvalidValueError),
        ("fraction_bits", -1, InvalidValueError),
        ("flip", 1, InvalidTypeError),
    ],
)
def test_options_that_are_none(field: str, value: Any, error: Any) -> None:
    with pytest.raises(error, match=field):
        train.Options(**{field: value})


def test_a_recipe_makes_what_compiles_and_is_saved(tmp_path: Any) -> None:
    trained = train.run("fashion-5layer", seed=7, epochs=1, images=3000)
    model = trained.model
    assert trained.start is not None
    assert trained.start.model.name == "fashion-5layer-plain"
    assert [layer["type"] for layer in model.layers] == [
        layer["type"] for layer in models.load("fashion-5layer").layers
    ]
    assert model.training["command"] == "python training/train.py fashion-5layer --seed 7 --epochs 1 --images 3000"
    assert model.training["log"] == [[trained.history.epochs[0].loss, model.accuracy]]
    pixels, labels = datasets.load("fashion-mnist", "test")
    images = model.normalise(pixels[:500])
    program = pycrcnn.compile(model, layout="packed", calibration=images[:50])
    clear = program.predict(images)
    with torch.no_grad():
        expected = trained.network.double()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(clear, expected, atol=1e-9)
    assert abs((clear.argmax(1) == labels[:500]).mean() - model.accuracy) < 0.06
    models.save(model, tmp_path / "mine.safetensors")
    again = models.read(tmp_path / "mine.safetensors")
    assert again.training == model.training
    np.testing.assert_array_equal(
        pycrcnn.compile(again, layout="packed", calibration=images[:50]).predict(images), clear
    )


def test_recipes_are_those_of_the_shipped_networks() -> None:
    assert set(models.names()) == set(train.names())
    for name in train.names():
        made, shipped = train.recipe(name), models.load(name)
        assert (made.dataset, made.input_shape) == (shipped.dataset, shipped.input_shape)
        assert shipped.scale == 1 / made.divisor
        assert shipped.fraction_bits == made.options.fraction_bits
    with pytest.raises(InvalidValueError, match="unknown network 'x'"):
        train.run("x")


def test_torch_is_asked_for_where_it_is_missing() -> None:
    code = """
import sys
sys.modules["torch"] = None
from pycrcnn import train
train.Options()
try:
    train.fit
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "pycrcnn.train needs PyTorch: pip install 'pycrcnn[train]'\n"


def test_layers_are_replaced_little_by_little() -> None:
    class Ring(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(2, 8), nn.Linear(8, 2)

        def forward(self, x: Any) -> Any:
            return self.last(torch.relu_(self.first(x)))

    torch.manual_seed(4)
    plain = Ring()
    train.fit(plain, IMAGES, LABELS, QUICK)
    blended = pycrcnn.approximate(plain, "polynomial", 2, IMAGES, gradual=True).model
    x = torch.from_numpy(IMAGES).float()
    with torch.no_grad():
        assert torch.equal(blended(x), plain(x))
    with pytest.raises(UnsupportedLayerError, match="replaced by 0% only.*pycrcnn.train.fit"):
        pycrcnn.compile(blended, (2,))
    shares: list[float] = []
    blend = next(module for module in blended.modules() if isinstance(module, Blend))
    blend.register_forward_pre_hook(lambda module, _: shares.append(module.share))
    options = dataclasses.replace(QUICK, epochs=4, replacement=0.5)
    train.fit(blended, IMAGES, LABELS, options, teacher=plain)
    steps = shares[1:]  # the first call checks the images
    np.testing.assert_allclose(steps[:40], np.arange(40) / 40)
    assert set(steps[40:]) == {1.0}
    assert not any(isinstance(module, Blend) for module in blended.modules())
    assert train.accuracy(blended, IMAGES, LABELS) > train.accuracy(plain, IMAGES, LABELS) - 0.02
    program = pycrcnn.compile(blended, (2,), calibration=IMAGES[:50])
    with torch.no_grad():
        np.testing.assert_allclose(program.predict(IMAGES[:9]), blended(x[:9]).numpy(), atol=1e-4)


def test_a_recurrent_network_learns_an_order() -> None:
    """Which of two pulses came first; sums over the steps cannot tell."""
    early, late = RNG.integers(0, 3, 300), RNG.integers(3, 6, 300)
    swapped = RNG.integers(0, 2, 300)
    images = np.zeros((300, 1, 6, 2))
    images[range(300), 0, early, swapped] = images[range(300), 0, late, 1 - swapped] = 1
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (6, 2)), Recurrent(2, 6), nn.Linear(6, 2))
    options = train.Options(epochs=25, batch=30, learning_rate=0.02, gradient_norm=1.0)
    train.fit(network, images, swapped, options)
    assert train.accuracy(network, images, swapped) > 0.98
