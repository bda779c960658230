"""What the testers read: parameters, model and one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pycrcnn import datasets, models
from pycrcnn._arrays import Numbers
from pycrcnn.errors import FormatError, InvalidValueError
from pycrcnn.pyfhel import Pyfhel

__all__ = ["chosen_layers", "dataset_images", "load_model", "pyfhel_from"]


def pyfhel_from(parameters: Mapping[str, Any], threads: int = 0) -> Pyfhel:
    """A Pyfhel object with keys from one entry of ``encryption_parameters``."""
    if not isinstance(parameters, Mapping) or "p" not in parameters:
        raise FormatError('encryption_parameters: a list of objects with "m", "p", "sec", "base" is needed')
    HE = Pyfhel()
    HE.threads = threads
    HE.contextGen(
        p=parameters["p"],
        m=parameters.get("m", 2048),
        sec=parameters.get("sec", 128),
        base=parameters.get("base", 2),
        intDigits=parameters.get("intDigits", 64),
        fracDigits=parameters.get("fracDigits", 32),
    )
    HE.keyGen()
    HE.relinKeyGen()
    return HE


def load_model(path: str | Path) -> Any:
    """A network from a file.

    Parameters
    ----------
    path : str or Path
        A ``.safetensors`` file (see :mod:`pycrcnn.models`), or what ``torch.save`` wrote of an ``nn.Sequential``.

    Returns
    -------
    pycrcnn.models.Model or torch.nn.Sequential
    """
    if Path(path).suffix == ".safetensors":
        return models.read(path)
    from pycrcnn.net_builder.pytorch_net import load_net

    return load_net(path)


def chosen_layers(net: Any, layers: Sequence[int] | None) -> Any:
    """The layers of a network from the smallest to the largest number given, inclusive; all for none."""
    if not layers:
        return net
    if isinstance(net, models.Model):
        net = net.layers
    return net[min(layers) : max(layers) + 1]


def dataset_images(name: str, count: int = 1) -> Numbers:
    """The first images of a test set, ``[count, 1, 28, 28]``, from 0 to 1."""
    known = {"mnist": "mnist", "fashionmnist": "fashion-mnist"}.get(name.lower().replace("-", ""))
    if known is None:
        raise InvalidValueError(f"dataset: {name!r} is none of MNIST, FashionMNIST")
    images, _ = datasets.load(known, "test")
    return images[:count].astype(np.float64).reshape(-1, 1, 28, 28) / 255
