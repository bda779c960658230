"""What the demo classifies: a trained network, test images that it has never seen, and examples from its training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pycrcnn import datasets, models
from pycrcnn.datasets import DatasetNotFoundError
from pycrcnn.demo import digits

__all__ = ["Subject", "choose", "fashion_mnist", "handwritten_digits"]

#: Training images by which the batched layout knows the ranges of values.
_EXAMPLES = 2000


@dataclass(frozen=True)
class Subject:
    """A network and images for it.

    Attributes
    ----------
    title : str
        Of the data set.
    source : str
        Where images and weights come from.
    model : Model
        The network.
    pixels : ndarray, shape [n, height, width]
        Test images.
    labels : ndarray of int, shape [n]
        Their classes.
    classes : tuple of str
        What the classes stand for.
    examples : ndarray of float64, shape [n, channels, height, width]
        Training images as the network takes them.
    note : str
        What the reader should know; may be empty.
    """

    title: str
    source: str
    model: models.Model
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    examples: NDArray[np.float64]
    note: str = ""


def choose() -> Subject:
    """Fashion-MNIST if it is found, otherwise scikit-learn's digits with a note that says how to get Fashion-MNIST.

    Raises
    ------
    DatasetNotFoundError
        Neither is there; the message says how to get each.
    """
    try:
        return fashion_mnist()
    except DatasetNotFoundError as missing:
        return handwritten_digits(str(missing))


def fashion_mnist() -> Subject:
    """Fashion-MNIST and the paper's 5-layer network.

    Raises
    ------
    DatasetNotFoundError
        The data set is not on the search path.
    """
    name = "fashion-mnist"
    model = models.load("fashion-5layer")
    pixels, labels = datasets.load(name, "test")
    training, _ = datasets.load(name, "train")
    source = f"{len(pixels):,} test images from {datasets.find(name)}"
    examples = model.normalise(training[:_EXAMPLES])
    return Subject("Fashion-MNIST", source, model, pixels, labels, datasets.class_names(name), examples)


def handwritten_digits(missing: str) -> Subject:
    """scikit-learn's digits and a network that is trained on them here and now.

    Parameters
    ----------
    missing : str
        Why they are used and not Fashion-MNIST.

    Raises
    ------
    DatasetNotFoundError
        scikit-learn is not installed.
    """
    try:
        trained = digits.train()
    except ImportError as error:
        raise DatasetNotFoundError(
            f"{missing} In its place the demo takes scikit-learn's digits, and scikit-learn is not installed either: "
            "run `pip install 'pycrcnn[demo]'`."
        ) from error
    note = (
        f"{missing} Until then, here are scikit-learn's handwritten digits, 8 x 8 pixels, with a network of their own."
    )
    learnt = f"the other {len(trained.examples):,} in {trained.seconds:.1f} s just now"
    source = f"{len(trained.pixels)} test images; the network was trained on {learnt}"
    classes = tuple("0123456789")
    return Subject(
        "scikit-learn's digits", source, trained.model, trained.pixels, trained.labels, classes, trained.examples, note
    )
