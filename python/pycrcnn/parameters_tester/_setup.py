"""What the testers read: parameters, model and one image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pycrcnn._arrays import Numbers
from pycrcnn.errors import FormatError, InvalidValueError
from pycrcnn.pyfhel import Pyfhel

__all__ = ["dataset_images", "load_model", "make_HE"]

_DATASETS = {"mnist": "mnist", "fashionmnist": "fashion_mnist", "fashion-mnist": "fashion_mnist"}


def make_HE(parameters: Mapping[str, Any], threads: int = 0) -> Pyfhel:
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
    """A network that ``torch.save`` wrote; see :func:`pycrcnn.net_builder.pytorch_net.load_net`."""
    from pycrcnn.net_builder.pytorch_net import load_net

    return load_net(path)


def dataset_images(name: str, count: int = 1) -> Numbers:
    """The first images of a test set, ``[count, 1, 28, 28]``, from 0 to 1."""
    from pycrcnn import datasets

    known = _DATASETS.get(name.lower())
    if known is None:
        raise InvalidValueError(f"dataset: {name!r} is none of MNIST, FashionMNIST")
    images, _ = getattr(datasets, known)("test")
    images = np.asarray(images[:count])
    scale = 255 if images.dtype.kind == "u" else 1
    return (images.astype(np.float64) / scale).reshape(-1, 1, 28, 28)
