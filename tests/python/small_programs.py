"""A small network compiled in every layout, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pycrcnn
from pycrcnn.program import Program

__all__ = [
    "COMPILE",
    "IMAGES",
    "SHAPE",
    "Layers",
    "batched",
    "exact",
    "largest_error",
    "packed",
    "per_value",
    "small_network",
]

SHAPE = (1, 6, 6)
IMAGES = np.random.default_rng(0).uniform(0, 1, (3, *SHAPE))
Layers = list[dict[str, Any]]


def small_network(seed: int = 1) -> Layers:
    rng = np.random.default_rng(seed)
    return [
        {"type": "conv2d", "weight": rng.normal(size=(2, 1, 3, 3)), "bias": rng.normal(size=2), "stride": (3, 3)},
        {"type": "square"},
        {"type": "avg_pool2d", "kernel": (2, 2)},
        {"type": "flatten"},
        {"type": "linear", "weight": rng.normal(size=(3, 2)), "bias": rng.normal(size=3)},
    ]


def batched(layers: Any = None, **options: Any) -> Program:
    layers = small_network() if layers is None else layers
    return pycrcnn.compile(layers, **{"input_shape": SHAPE, "calibration": IMAGES, "layout": "batched", **options})


def packed(layers: Any = None, **options: Any) -> Program:
    return batched(layers, **{"layout": "packed", **options})


def per_value(layers: Any = None, **options: Any) -> Program:
    layers = small_network() if layers is None else layers
    return pycrcnn.compile(layers, **{"input_shape": SHAPE, "layout": "per-value", **options})


def exact(layers: Any = None, **options: Any) -> Program:
    return packed(layers, **{"scheme": "bfv", "precision": 12, **options})


COMPILE: dict[str, Callable[..., Program]] = {
    "packed": packed,
    "exact": exact,
    "batched": batched,
    "per-value": per_value,
}


def largest_error(program: Program, images: Any) -> tuple[float, float]:
    """Of the encrypted answers, and the largest answer."""
    clear, encrypted = program.predict(images), program.predict(images, mode="encrypted")
    assert encrypted.shape == clear.shape
    return float(np.abs(encrypted - clear).max()), float(np.abs(clear).max())
