"""What is known about each network that comes with the package, as Markdown.

Facts come from two files: the network's own, with what its training wrote, and ``measured.json``, which
``python training/measure.py`` writes: what the benches measured of each, and of which file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pycrcnn._quantities import bytes_text, seconds_text
from pycrcnn.models import Layer, Model, load, names

__all__ = ["ABOUT", "MEASURED", "card", "digest", "page"]

_DIRECTORY = Path(__file__).parent
MEASURED = _DIRECTORY / "measured.json"

#: Processes that ran or waited before a measurement, at the most, for a machine that has nothing else to do: the
#: measurement before it counts as one.
_IDLE = 1.5

#: What each is, in a sentence.
ABOUT = {
    "fashion-2conv": "Designed for encryption: strides in place of pooling, two polynomials of degree 2 that were "
    "trained with the weights, and one matrix behind them.",
    "fashion-5layer": "The paper's 5-layer network (Disabato et al. 2020, section V) after approximation: trained as "
    "`fashion-5layer-plain`, then again with a square and average pooling.",
    "fashion-5layer-plain": "The paper's 5-layer network before approximation; it cannot be evaluated on ciphertexts.",
    "fashion-6layer": "The paper's 6-layer network (Disabato et al. 2020, section V) after approximation: trained as "
    "`fashion-6layer-plain`, then again with average pooling. It has no activation.",
    "fashion-6layer-plain": "The paper's 6-layer network before approximation; it cannot be evaluated on ciphertexts.",
    "fashion-cifar": "A network in the shape of CIFAR-10, on Fashion-MNIST in the middle of 3 x 32 x 32: three "
    "convolutions with squares behind them.",
    "mnist-cryptonets": "The network of CryptoNets (Gilad-Bachrach et al. 2016) in its form for inference.",
    "mnist-lenet1": "LeNet-1 (LeCun et al. 1989), PyCrCNN's example, with one square.",
    "mnist-lenet5": "Two convolutions and two squares, after LeNet-5 (LeCun et al. 1998).",
    "mnist-recurrent": "A recurrent network with a polynomial cell, the paper's future work: six rows of the image (30 "
    "with its margin) are a time step, and there are as many steps as the levels of N = 16384 allow.",
}


def card(name: str) -> str:
    """The model card of a network that comes with the package: what it is, what it was measured to do and to cost.

    Raises
    ------
    InvalidValueError
        There is no network of this name.

    Examples
    --------
    >>> print(card("fashion-5layer").splitlines()[0])
    ## fashion-5layer
    """
    model = load(name)
    rows = "\n".join(f"| {what} | {text} |" for what, text in _rows(model))
    return f"## {name}\n\n{ABOUT[name]}\n\n| | |\n| --- | --- |\n{rows}\n"


def page() -> str:
    """All cards, as in ``docs/models.md``."""
    head = (
        "# The networks that come with pycrcnn\n\n"
        "`pycrcnn.models.load(name)` loads one, `pycrcnn.models.card(name)` gives its card. This page is written by\n"
        "`python training/measure.py`, which measures what it says by the commands beside it.\n\n"
    )
    return head + "\n".join(map(card, names()))


def digest(name: str) -> str:
    """The SHA-256 of a network's file, by which a measurement knows what it measured."""
    return hashlib.sha256((_DIRECTORY / f"{name}.safetensors").read_bytes()).hexdigest()


def _rows(model: Model) -> Iterator[tuple[str, str]]:
    yield "input", f"{' x '.join(map(str, model.input_shape))}; a pixel p enters as {_normalisation(model)}"
    yield "layers", ", ".join(map(_described, model.layers))
    grid = "" if model.fraction_bits is None else f", multiples of 1/{2**model.fraction_bits}"
    yield "weights", f"{_weights(model.layers):,}{grid}"
    yield "trained on", f"the 60,000 training images of {model.dataset}"
    plain = f"{model.name}-plain"
    if plain in names():
        yield "accuracy before approximation", f"{load(plain).accuracy:.2%} of 10,000 test images"
    yield "accuracy in clear", f"{model.accuracy:.2%} of 10,000 test images"
    yield from _measured_rows(json.loads(MEASURED.read_text()).get(model.name, {}))
    yield "made by", _made(model.training)
    if log := model.training.get("log"):
        yield "test accuracy by epoch, %", ", ".join(f"{100 * accuracy:.2f}" for _, accuracy in log)


def _measured_rows(measured: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not {"batched", "packed", "per-value", "latency"} <= measured.keys():
        return
    batched, packed, per_value = measured["batched"], measured["packed"], measured["per-value"]
    one = measured["latency"]
    for layout, figures in (("batched", batched), ("packed", packed)):
        if "accuracy" in figures:
            yield f"encrypted, {layout}", f"{_agreement(figures)} (`{figures['command']}`)"
    if "accuracy" in per_value:
        yield (
            "per-value",
            f"{_agreement(per_value)}: by the exact simulator, whose digits "
            f"{per_value['encrypted_images']} truly encrypted images had too (`{per_value['command']}`)",
        )
    yield "parameters, packed", _parameters(one)
    yield (
        "cost, packed: one image in a ciphertext",
        f"evaluate {seconds_text(one['evaluate_s'])} on one thread, encrypt {seconds_text(one['encrypt_s'])}, decrypt "
        f"{seconds_text(one['decrypt_s'])}; {bytes_text(one['bytes_up'])} up, {bytes_text(one['bytes_down'])} down; "
        f"key set {bytes_text(one['bytes_keys'])}, sent once, made in {seconds_text(one['keygen_s'])}; server process "
        f"{one['server_rss_mb']:,.0f} MB; largest error {one['max_error']:.2g} (`{one['command']}`)",
    )
    if "accuracy" in batched:
        yield "parameters, batched", _parameters(batched)
        yield (
            "cost, batched",
            f"{batched['agreement_images']:,} images in {seconds_text(batched['seconds'])} on {batched['threads']} "
            "threads, from pixels to answers: keys, encryption, evaluation, decryption",
        )
    busy = "" if one["load"] < _IDLE else ", beside other work: the times are longer than need be"
    yield "measured on", f"{one['machine']}, {one['backend']}, {measured['date']}{busy}"


def _agreement(figures: Mapping[str, Any]) -> str:
    return (
        f"{figures['accuracy']:.2%} of {figures['agreement_images']:,} test images, the class as in clear for "
        f"{figures['agreement']:.2%} of them; largest error {figures['max_error']:.2g}, largest answer "
        f"{figures['largest_logit']:.3g}"
    )


def _parameters(figures: Mapping[str, Any]) -> str:
    parameters = figures["parameters"]
    primes = "+".join(map(str, parameters["primes"]))
    return (
        f"{figures['scheme']}, N = {parameters['n']}, primes of {primes} = {parameters['q_bits']} bits, "
        f"{figures['security_bits']}-bit security"
    )


def _normalisation(model: Model) -> str:
    return f"p / {1 / model.scale:g}" + (f" + {model.offset:g}" if model.offset else "")


def _made(training: Mapping[str, Any]) -> str:
    torch = f", PyTorch {training['torch']}" if "torch" in training else ""
    # Files without a log are older than the recipes: their images were moved a whole batch at a time, if at all.
    earlier = "" if "log" in training else "an earlier version of "
    return f"{earlier}`{training.get('command', 'unknown')}`{torch}"


def _described(layer: Layer) -> str:
    kind = layer["type"].replace("_", " ")
    match layer["type"]:
        case "conv2d":
            channels, _, height, width = layer["weight"].shape
            stride, padding = (_pair(layer.get(field, default)) for field, default in (("stride", 1), ("padding", 0)))
            return f"{kind} {channels} x {height} x {width} (stride {stride}, padding {padding})"
        case "linear":
            return f"{kind} {len(layer['weight'])}"
        case "recurrent":
            return f"{kind} {len(layer['weight'])} (of {layer['weight'].shape[1]} values a step)"
        case "avg_pool2d" | "max_pool2d":
            return f"{kind} {_pair(layer['kernel'])} (stride {_pair(layer.get('stride', layer['kernel']))})"
        case "reshape":
            return f"{kind} to {' x '.join(map(str, layer['shape']))}"
        case "polynomial":
            terms = [f"{float(c):.4g}{('', ' x', f' x^{power}')[min(power, 2)]}"
                     for power, c in enumerate(layer["coefficients"])]  # fmt: skip
            return f"{kind} {' + '.join(terms).replace('+ -', '- ')}"
        case _:
            return kind


def _pair(value: Any) -> str:
    pair = value if isinstance(value, tuple) else (value, value)
    return " x ".join(map(str, pair)) if len(set(pair)) > 1 else str(pair[0])


def _weights(layers: tuple[Layer, ...]) -> int:
    arrays = ("weight", "recurrent", "bias", "coefficients")
    return sum(math.prod(getattr(layer.get(field), "shape", (0,))) for layer in layers for field in arrays)
