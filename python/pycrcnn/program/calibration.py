"""Images to learn the ranges of values from, where the user has given none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["synthetic_images"]

_COUNT = 48


def synthetic_images(shape: tuple[int, ...], low: float, high: float) -> NDArray[np.float64]:
    """Images that reach what real ones of the range ``[low, high]`` reach: strokes, surfaces, edges, stripes, noise.

    The ranges of a network's values depend on what is in the images: noise averages out where a bright stroke does not.
    Two of the images are one colour throughout, which is the most that layers without negative weights can get.

    Parameters
    ----------
    shape : tuple of int
        Of one image.
    low, high : float
        Of the values.

    Returns
    -------
    ndarray of float64, shape [n, *shape]
        The same for every call.

    Examples
    --------
    >>> images = synthetic_images((1, 8, 8), 0, 1)
    >>> images.shape[1:], float(images.min()), float(images.max())
    ((1, 8, 8), 0.0, 1.0)
    """
    rng = np.random.default_rng(1989)
    images = [np.zeros(shape), np.ones(shape)]
    for index in range(_COUNT):
        noise = rng.normal(size=shape)
        for axis in range(max(0, len(shape) - 2), len(shape)):
            for _ in range(index % 6):  # from noise to surfaces as wide as half the image
                noise = (np.roll(noise, 1 << (index % 3), axis) + noise) / 2
        order = noise.argsort(axis=None).argsort().reshape(shape) / max(1, noise.size - 1)
        share = rng.uniform(0.05, 0.95)
        images.append(order if index % 4 == 0 else (order > share).astype(float))
    return low + (high - low) * np.array(images)
