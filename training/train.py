"""Train the networks that ship with pycrcnn and write them as safetensors.

    python training/train.py                     # all of them
    python training/train.py fashion-5layer      # one, and what it starts from

Needs ``pip install 'pycrcnn[train]'`` and the data sets (see `pycrcnn.datasets`). One seed fixes initialisation and
the order of the images, so a run can be repeated. What is stated is the accuracy on the test split after the last
epoch; no epoch is picked by it.

A network that will run on encrypted images may use only additions and multiplications. As in the paper, it is made in
two steps: a plain network with ReLU and max pooling is trained, then ReLU becomes a square, max pooling becomes
average pooling, and the network is trained again from the plain one's weights.

The fractional encoder turns a number into its binary digits, and each product of two numbers adds up about as many
products of digits as the sparser of them has nonzero digits. So the numbers are kept short, which costs almost no
accuracy and keeps those sums below the plaintext modulus: for the approximated networks pixels are divided by 256, not
by 255, and weights are trained as multiples of a power of two (straight-through, Bengio et al. 2013).
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pycrcnn import datasets, models

log = logging.getLogger("train")

MODELS = Path(__file__).resolve().parents[1] / "python" / "pycrcnn" / "models"
BATCH = 64
LEARNING_RATE = 1e-3
CALM_RANGE = 4.0
"""Inputs of a square beyond this magnitude are penalised: a square doubles the digits that the encoding has to hold."""


class Square(nn.Module):
    """x -> x^2."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - PyTorch's own
        return x * x


class Grid(nn.Module):
    """Rounds to multiples of 2^-bits; gradients pass as if nothing had been rounded."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.step = 2.0**-bits

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - PyTorch's own
        return x + (torch.round(x / self.step) * self.step - x).detach()


def five_layer(activation: type[nn.Module], pool: type[nn.Module]) -> nn.Sequential:
    """The paper's 5-layer network."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, stride=3),
        activation(),
        pool(kernel_size=3, stride=3),
        nn.Flatten(),
        nn.Linear(144, 72),
        nn.Linear(72, 10),
    )


def six_layer(pool: type[nn.Module]) -> nn.Sequential:
    """The paper's 6-layer network, which has no activation."""
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3),
        pool(kernel_size=2, stride=3),
        nn.Conv2d(8, 16, kernel_size=3, stride=2),
        pool(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(64, 16),
        nn.Linear(16, 10),
    )


def cryptonets() -> nn.Sequential:
    """The network of CryptoNets (Gilad-Bachrach et al., ICML 2016), in its form for inference."""
    return nn.Sequential(
        nn.Conv2d(1, 5, kernel_size=5, stride=2, padding=1),
        Square(),
        nn.Flatten(),
        nn.Linear(845, 100),
        Square(),
        nn.Linear(100, 10),
    )


def lenet_1() -> nn.Sequential:
    """LeNet-1 (LeCun et al., 1989) with one square; everything behind that is one matrix."""
    return nn.Sequential(
        nn.Conv2d(1, 4, kernel_size=5),
        nn.BatchNorm2d(4),
        Square(),
        nn.AvgPool2d(2, 2),
        nn.Conv2d(4, 12, kernel_size=5),
        nn.AvgPool2d(2, 2),
        nn.Flatten(),
        nn.Linear(192, 10),
    )


def lenet_5() -> nn.Sequential:
    """Two convolutions and two squares, after LeNet-5 (LeCun et al., 1998); strides in place of pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=5, stride=2, padding=1),
        nn.BatchNorm2d(8),
        Square(),
        nn.Conv2d(8, 16, kernel_size=5, stride=2, padding=1),
        nn.BatchNorm2d(16),
        Square(),
        nn.Flatten(),
        nn.Linear(576, 10),
    )


def three_convolutions() -> nn.Sequential:
    """A network in the shape of CIFAR-10: three channels of 32 x 32, three convolutions, three squares."""
    return nn.Sequential(
        nn.Conv2d(3, 16, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        Square(),
        nn.Conv2d(16, 16, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        Square(),
        nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        Square(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


@dataclass(frozen=True)
class Recipe:
    """How one network is made."""

    build: Callable[[], nn.Sequential]
    dataset: str
    start: str | None = None
    """The network whose weights this one starts from."""
    epochs: int = 20
    divisor: int = 255
    """A pixel enters divided by this. By 256, it has eight binary digits; by 255, as many as the encoding keeps."""
    fraction_bits: int | None = None
    """Weights are multiples of 2^-fraction_bits."""
    shift: int = 0
    """Images are moved by up to this many pixels, another way for each batch."""
    range_penalty: float = 0.01
    """What is added to the loss for the squared excess of a square's inputs over the calm range."""
    input_shape: tuple[int, int, int] = (1, 28, 28)
    """Channels, height, width: images stand in the middle of zeros, the same in every channel."""


RECIPES = {
    "fashion-5layer-plain": Recipe(lambda: five_layer(nn.ReLU, nn.MaxPool2d), "fashion-mnist"),
    "fashion-5layer": Recipe(
        lambda: five_layer(Square, nn.AvgPool2d),
        "fashion-mnist",
        start="fashion-5layer-plain",
        divisor=256,
        fraction_bits=4,
    ),
    "fashion-6layer-plain": Recipe(lambda: six_layer(nn.MaxPool2d), "fashion-mnist"),
    "fashion-6layer": Recipe(
        lambda: six_layer(nn.AvgPool2d),
        "fashion-mnist",
        start="fashion-6layer-plain",
        divisor=256,
        fraction_bits=6,
    ),
    "mnist-cryptonets": Recipe(cryptonets, "mnist", shift=1),
    "mnist-lenet1": Recipe(lenet_1, "mnist", epochs=12, shift=1),
    "mnist-lenet5": Recipe(lenet_5, "mnist", epochs=12, shift=1),
    "fashion-cifar": Recipe(
        three_convolutions, "fashion-mnist", epochs=14, range_penalty=0.08, shift=1, input_shape=(3, 32, 32)
    ),
}


def tensors(recipe: Recipe, split: datasets.Split) -> tuple[Tensor, Tensor]:
    """Images as float32 [n, channels, height, width] in [0, 1], and labels."""
    images, labels = datasets.load(recipe.dataset, split)
    scaled = models.placed(images.astype("float32") / recipe.divisor, recipe.input_shape)
    return torch.from_numpy(scaled), torch.from_numpy(labels.astype("int64"))


def accuracy(net: nn.Sequential, images: Tensor, labels: Tensor) -> float:
    """The share of images whose largest logit is the label's, computed in double precision."""
    with torch.no_grad():
        logits = torch.cat([net.double()(batch.double()) for batch in images.split(1000)])
    net.float()
    return float((logits.argmax(1) == labels).double().mean())


def magnitudes(net: nn.Sequential, images: Tensor) -> list[float]:
    """The largest magnitude of the input and of each layer's output."""
    largest = [0.0] * (len(net) + 1)
    with torch.no_grad():
        for x in images.split(1000):
            largest[0] = max(largest[0], x.abs().max().item())
            for i, layer in enumerate(net, start=1):
                x = layer(x)
                largest[i] = max(largest[i], x.abs().max().item())
    return largest


def forward(net: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """The logits, and the penalty for what goes into squares outside the calm range."""
    penalty = x.new_zeros(())
    for layer in net:
        if isinstance(layer, Square):
            penalty = penalty + functional.relu(x.abs() - CALM_RANGE).square().sum() / len(x)
        x = layer(x)
    return x, penalty


@contextmanager
def on_grid(net: nn.Sequential, bits: int) -> Iterator[None]:
    """Keep every weight and bias a multiple of 2^-bits, during and after."""
    parameters = [(layer, name) for layer in net for name, _ in layer.named_parameters()]
    for layer, name in parameters:
        parametrize.register_parametrization(layer, name, Grid(bits))
    yield
    for layer, name in parameters:
        parametrize.remove_parametrizations(layer, name)


def folded(net: nn.Sequential) -> nn.Sequential:
    """The network with batch normalisation, as it is in inference, multiplied into the convolutions before it."""
    layers: list[nn.Module] = []
    for layer in net.eval():
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def train(net: nn.Sequential, recipe: Recipe, generator: torch.Generator) -> None:
    """Adam with a cosine schedule on the training split."""
    images, labels = tensors(recipe, "train")
    test_images, test_labels = tensors(recipe, "test")
    steps = recipe.epochs * -(-len(images) // BATCH)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(1, recipe.epochs + 1):
        started, total = time.monotonic(), 0.0
        net.train()
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            x = images[batch]
            if recipe.shift:
                dy, dx = torch.randint(-recipe.shift, recipe.shift + 1, (2,), generator=generator).tolist()
                x = x.roll((dy, dx), (2, 3))
            logits, penalty = forward(net, x)
            loss = functional.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            (loss + recipe.range_penalty * penalty).backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        net.eval()
        log.info(
            "epoch %2d: loss %.4f, test accuracy %.2f %% (%.1f s)",
            epoch,
            total / len(images),
            100 * accuracy(net, test_images, test_labels),
            time.monotonic() - started,
        )


def architecture(net: nn.Sequential) -> list[dict[str, object]]:
    """The layers as the metadata of the weights describes them."""

    def pair(value: int | tuple[int, int]) -> list[int]:
        return [value, value] if isinstance(value, int) else list(value)

    layers: list[dict[str, object]] = []
    for name, layer in net.named_children():
        parameters = {"weight": f"{name}.weight", "bias": f"{name}.bias"}
        match layer:
            case nn.Conv2d():
                geometry = {"stride": pair(layer.stride), "padding": pair(layer.padding)}
                layers.append({"type": "conv2d", **geometry, **parameters})
            case nn.AvgPool2d() | nn.MaxPool2d():
                kind = "avg_pool2d" if isinstance(layer, nn.AvgPool2d) else "max_pool2d"
                layers.append({"type": kind, "kernel": pair(layer.kernel_size), "stride": pair(layer.stride)})
            case nn.Linear():
                layers.append({"type": "linear", **parameters})
            case Square() | nn.ReLU() | nn.Flatten():
                layers.append({"type": type(layer).__name__.lower()})
            case _:
                raise TypeError(f"no description for {layer}")
    return layers


def with_starts(names: Iterable[str]) -> list[str]:
    """`names`, each after the network that it starts from."""
    order: dict[str, None] = {}
    for name in names:
        start = RECIPES[name].start
        order.update(dict.fromkeys([start, name] if start else [name]))
    return list(order)


def make(name: str, directory: Path, seed: int) -> None:
    """Train one network and write its file."""
    recipe = RECIPES[name]
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = recipe.build()
    if recipe.start:
        net.load_state_dict(load_file(directory / f"{recipe.start}.safetensors"))
    log.info("%s", name)
    if recipe.fraction_bits is None:
        train(net, recipe, generator)
    else:
        with on_grid(net, recipe.fraction_bits):
            train(net, recipe, generator)
    net = folded(net)
    test_images, test_labels = tensors(recipe, "test")
    metadata = {
        "name": name,
        "architecture": json.dumps(architecture(net)),
        "input_shape": json.dumps(recipe.input_shape),
        "normalisation": json.dumps({"scale": 1 / recipe.divisor, "offset": 0.0}),
        "dataset": recipe.dataset,
        "accuracy": json.dumps(accuracy(net, test_images, test_labels)),
        "largest_magnitudes": json.dumps(magnitudes(net, tensors(recipe, "train")[0])),
        "seed": json.dumps(seed),
        "command": f"python training/train.py {name} --seed {seed}",
        "torch": torch.__version__,
    }
    if recipe.fraction_bits is not None:
        metadata["fraction_bits"] = json.dumps(recipe.fraction_bits)
    log.info("%s: test accuracy %s, largest magnitudes %s", name, metadata["accuracy"], metadata["largest_magnitudes"])
    save_file(net.state_dict(), directory / f"{name}.safetensors", metadata=metadata)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; default: all")
    parser.add_argument("--directory", type=Path, default=MODELS, help="where the files go")
    parser.add_argument("--seed", type=int, default=2023)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(RECIPES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(arguments.threads)
    for name in with_starts(arguments.names or RECIPES):
        make(name, arguments.directory, arguments.seed)


if __name__ == "__main__":
    main()
