"""Images to learn the ranges of values from, where the user has given none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pycrcnn.frontends import describe
from pycrcnn.models import Model

__all__ = ["images_like_those_of", "synthetic_images"]

_COUNT = 48
#: Images from which those are taken that real ones are like, and the fewest that will do.
_MANY, _FEWEST = 500, 20


def images_like_those_of(model: Model) -> NDArray[np.float64]:
    """Images that reach what a model's training images reached, layer by layer, and nothing beyond it.

    The model's file says how large the values of each layer became. Of many synthetic images those are taken that stay
    within it: the others would have ranges chosen that no real image fills, which costs precision.

    Returns
    -------
    ndarray of float64, shape [n, *shape]
        The same for every call.
    """
    low, high = model.offset, 255 * model.scale + model.offset
    images = synthetic_images(model.input_shape, low, high, _MANY)
    within = np.ones(len(images), bool)
    values = images
    for layer, largest in zip(model.layers, model.largest_magnitudes[1:], strict=False):
        network = describe([layer], values.shape[1:]).network
        values = network.evaluate(values.reshape(-1)).reshape(len(values), *network.output_shape)
        within &= np.abs(values).reshape(len(values), -1).max(1) <= largest
    return images[within] if within.sum() >= _FEWEST else synthetic_images(model.input_shape, low, high)


def synthetic_images(shape: tuple[int, ...], low: float, high: float, count: int = _COUNT) -> NDArray[np.float64]:
    """Images that reach what real ones of the range ``[low, high]`` reach: strokes, surfaces, edges, stripes, noise.

    The ranges of a network's values depend on what is in the images: noise averages out where a bright stroke does not.
    Two of the images are one colour throughout, which is the most that layers without negative weights can get.

    Parameters
    ----------
    shape : tuple of int
        Of one image.
    low, high : float
        Of the values.
    count : int
        How many, besides the two of one colour.

    Returns
    -------
    ndarray of float64, shape [count + 2, *shape]
        The same for every call.

    Examples
    --------
    >>> images = synthetic_images((1, 8, 8), 0, 1)
    >>> images.shape[1:], float(images.min()), float(images.max())
    ((1, 8, 8), 0.0, 1.0)
    """
    rng = np.random.default_rng(1989)
    images = [np.zeros(shape), np.ones(shape)]
    for index in range(count):
        noise = rng.normal(size=shape)
        for axis in range(max(0, len(shape) - 2), len(shape)):
            for _ in range(index % 6):  # from noise to surfaces as wide as half the image
                noise = (np.roll(noise, 1 << (index % 3), axis) + noise) / 2
        order = noise.argsort(axis=None).argsort().reshape(shape) / max(1, noise.size - 1)
        share = rng.uniform(0.05, 0.95)
        images.append(order if index % 4 == 0 else (order > share).astype(float))
    return low + (high - low) * np.array(images)
