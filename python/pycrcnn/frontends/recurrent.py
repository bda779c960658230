"""Recurrent layers, written out step by step as residual layers, and the parts of tensors that steps take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pycrcnn import _native
from pycrcnn.errors import ShapeError, UnsupportedError
from pycrcnn.frontends.fields import MOST, Fields, whole_number

__all__ = ["sliced", "unrolled"]

#: Steps; a step lies in the shortcut of the next one, and this is how deep residual layers may lie in one another.
_MOST_STEPS = 17


def unrolled(fields: Fields, shape: Sequence[int]) -> list[dict[str, Any]]:
    """The layers that compute the last state of a recurrent layer on values ``[steps, inputs]``.

    h_t = f(W x_t + b + U h_{t-1}), with h_0 = 0: the polynomial f of a sum of two branches from the input, of which one
    holds all earlier steps. Every step takes as many levels as f and two matrices do.
    """
    weight, recurrent = fields.array("weight", 2), fields.array("recurrent", 2)
    hidden, inputs = weight.shape
    if recurrent.shape != (hidden, hidden):
        raise ShapeError(
            f"layer {fields.name}: its recurrent weights are of shape {list(recurrent.shape)}, "
            f"[{hidden}, {hidden}] is needed"
        )
    if len(shape) != 2 or shape[1] != inputs:
        raise ShapeError(f"layer {fields.name} takes values of shape [steps, {inputs}], got {list(shape)}")
    if shape[0] > _MOST_STEPS:
        raise UnsupportedError(
            f"layer {fields.name} has {shape[0]} steps, more than {_MOST_STEPS}: let each take more values"
        )
    bias = fields.bias()
    function = {"type": "polynomial", "coefficients": fields.vector("coefficients", np.array([0.0, 0.0, 1.0]))}
    layers: list[dict[str, Any]] = []
    for step in range(shape[0]):
        taken: list[dict[str, Any]] = [
            {"type": "slice", "axis": 0, "start": step, "stop": step + 1},
            {"type": "flatten"},
            {"type": "linear", "weight": weight, "bias": bias},
        ]
        if layers:
            before = [*layers, {"type": "linear", "weight": recurrent}]
            taken = [{"type": "residual", "body": taken, "shortcut": before}]
        layers = [*taken, function]
    return layers


def sliced(fields: Fields, shape: Sequence[int]) -> list[_native.AffineMap]:
    """Positions ``start`` to ``stop``, ``step`` apart, along one axis."""
    axis = whole_number(fields.label("axis"), fields.get("axis"), -len(shape), len(shape) - 1) % max(1, len(shape))
    start, step = fields.whole("start", 0, 0), fields.whole("step", 1, 1)
    stop = whole_number(fields.label("stop"), fields.get("stop", shape[axis]), 0, MOST)
    positions = range(start, min(stop, shape[axis]), step)
    if not positions:
        raise ShapeError(f"layer {fields.name} takes nothing of the {shape[axis]} values along axis {axis}")
    before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    # The mean of one value is the value.
    chosen = [(position, position + 1, 1) for position in positions]
    taken = _native.AffineMap.average_spans([before, shape[axis], after], chosen, [(i, i + 1, 1) for i in range(after)])
    return [taken.reshaped(list(shape), [*shape[:axis], len(positions), *shape[axis + 1 :]])]
