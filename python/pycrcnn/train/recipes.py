"""How each network that comes with the package is made.

A network that will run on encrypted images may use only additions and multiplications. The paper makes it in two steps
(section IV): a plain network with ReLU and max pooling is trained, then ReLU becomes a square, max pooling becomes
average pooling, and the network is trained again from the plain one's weights.

The fractional encoder turns a number into its binary digits, and each product of two numbers adds up about as many
products of digits as the sparser of them has nonzero digits. So the numbers are kept short, which costs almost no
accuracy and keeps those sums below the plaintext modulus: for the approximated networks pixels are divided by 256, not
by 255, and weights are trained as multiples of a power of two.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pycrcnn import datasets, models
from pycrcnn.approximation import approximate
from pycrcnn.errors import InvalidValueError
from pycrcnn.models.conversion import from_torch
from pycrcnn.train import networks
from pycrcnn.train.fitting import accuracy, fit
from pycrcnn.train.history import History
from pycrcnn.train.options import Options

__all__ = ["Recipe", "Trained", "names", "recipe", "run"]

_log = logging.getLogger("pycrcnn")


@dataclass(frozen=True)
class Recipe:
    """How one network is made.

    Attributes
    ----------
    dataset : str
        For `pycrcnn.datasets.load`.
    build : callable, optional
        Makes the network, with initial weights.
    start : str, optional
        In its place: the network whose approximation this one is, with whose weights it starts.
    options : Options
    divisor : int
        A pixel enters divided by this. By 256, it has eight binary digits; by 255, as many as the encoding keeps.
    input_shape : tuple of int
        Channels, height, width: images stand in the middle of zeros, the same in every channel.
    """

    dataset: str
    build: Callable[[], nn.Sequential] | None = None
    start: str | None = None
    options: Options = field(default_factory=Options)
    divisor: int = 255
    input_shape: tuple[int, int, int] = (1, 28, 28)


_RECIPES = {
    "fashion-5layer-plain": Recipe("fashion-mnist", networks.five_layer),
    "fashion-5layer": Recipe(
        "fashion-mnist", start="fashion-5layer-plain", divisor=256, options=Options(fraction_bits=4)
    ),
    "fashion-6layer-plain": Recipe("fashion-mnist", networks.six_layer),
    "fashion-6layer": Recipe(
        "fashion-mnist", start="fashion-6layer-plain", divisor=256, options=Options(fraction_bits=6)
    ),
    "mnist-cryptonets": Recipe("mnist", networks.cryptonets, options=Options(shift=1)),
    "mnist-lenet1": Recipe("mnist", networks.lenet_1, options=Options(epochs=12, shift=1)),
    "mnist-lenet5": Recipe("mnist", networks.lenet_5, options=Options(epochs=12, shift=1)),
    "fashion-2conv": Recipe(
        "fashion-mnist",
        networks.two_convolutions,
        options=Options(epochs=40, batch=128, learning_rate=3e-3, warmup=0.1, gradient_norm=5.0, shift=1, flip=True),
    ),
    "fashion-cifar": Recipe(
        "fashion-mnist",
        networks.three_convolutions,
        options=Options(epochs=14, range_penalty=0.08, shift=1),
        input_shape=(3, 32, 32),
    ),
    "mnist-recurrent": Recipe(
        "mnist",
        networks.recurrent,
        options=Options(epochs=25, batch=128, learning_rate=3e-3, warmup=0.1, gradient_norm=1.0, shift=1),
        input_shape=(1, 30, 28),
    ),
}


@dataclass(frozen=True)
class Trained:
    """A network that was trained by a recipe.

    Attributes
    ----------
    model : pycrcnn.models.Model
        Its layers and what is known about it; for `pycrcnn.compile` and `pycrcnn.models.save`.
    network : torch.nn.Module
        The same, in evaluation mode.
    history : History
    start : Trained or None
        The plain network that it was approximated from.
    """

    model: models.Model
    network: nn.Sequential = field(repr=False)
    history: History = field(repr=False)
    start: Trained | None = field(default=None, repr=False)


def names() -> tuple[str, ...]:
    """The networks that :func:`run` makes."""
    return tuple(_RECIPES)


def recipe(name: str) -> Recipe:
    """How a network is made.

    Raises
    ------
    InvalidValueError
        There is no recipe of this name.
    """
    if name not in _RECIPES:
        raise InvalidValueError(f"unknown network {name!r}: choose one of {', '.join(_RECIPES)}")
    return _RECIPES[name]


def run(
    name: str,
    seed: int = 2023,
    *,
    start: Trained | None = None,
    epochs: int | None = None,
    images: int | None = None,
    progress: bool = False,
) -> Trained:
    """Train one of the networks that come with the package.

    The paper's are ``fashion-5layer-plain`` and ``fashion-6layer-plain``, and approximated ``fashion-5layer`` and
    ``fashion-6layer``.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    seed : int
        Of everything that is random.
    start : Trained, optional
        The plain network to start from, where the recipe has one; it is trained with the same seed if not given.
    epochs : int, optional
        Others than the recipe's.
    images : int, optional
        Train on the first so many images only.
    progress : bool
        Show a progress bar (tqdm).

    Returns
    -------
    Trained

    Raises
    ------
    InvalidValueError
        There is no recipe of this name.
    FileNotFoundError
        The data set is not there; the message says how to get it.
    """
    made = recipe(name)
    options = made.options if epochs is None else replace(made.options, epochs=epochs)
    training, test = _examples(made, "train", images), _examples(made, "test")
    if made.start is not None and start is None:
        start = run(made.start, seed, epochs=epochs, images=images, progress=progress)
    network = _initial(made, start, seed)
    given = {"seed": seed, "epochs": epochs, "images": images}
    chosen = [f"--{key} {value}" for key, value in given.items() if value is not None]
    _log.info("%s, seed %d", name, seed)
    history = fit(network, *training, options, test=test, seed=seed, progress=progress)
    model = from_torch(
        network,
        made.input_shape,
        name=name,
        dataset=made.dataset,
        accuracy=accuracy(network, *test),
        scale=1 / made.divisor,
        fraction_bits=options.fraction_bits,
        examples=training[0],
        training={
            "command": " ".join([f"python training/train.py {name}", *chosen]),
            "seed": seed,
            "torch": torch.__version__,
            "options": asdict(options),
            "log": [[epoch.loss, epoch.test_accuracy] for epoch in history.epochs],
        },
    )
    return Trained(model, network, history, start)


def _initial(made: Recipe, start: Trained | None, seed: int) -> Any:
    if start is not None:
        return approximate(copy.deepcopy(start.network)).model
    if made.build is None:
        raise InvalidValueError("the recipe has neither a network to build nor one to start from")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return made.build()


def _examples(made: Recipe, split: datasets.Split, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Images as float32 [n, channels, height, width] in [0, 1], and labels."""
    images, labels = datasets.load(made.dataset, split)
    scaled = models.placed(images[:count].astype("float32") / made.divisor, made.input_shape)
    return torch.from_numpy(scaled), torch.from_numpy(labels[:count].astype("int64"))
