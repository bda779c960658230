"""The last layers that no polynomial can be: the client computes them on what it has decrypted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import InvalidValueError, ShapeError, UnsupportedError
from pycrcnn.frontends.fields import Fields

__all__ = ["HEADS", "ClientLayer", "client_head"]

#: Kinds of layers that the client computes, and their fields.
HEADS = {"softmax": ("axis",), "log_softmax": ("axis",), "sigmoid": (), "argmax": ("axis", "keepdims")}


@dataclass(frozen=True)
class ClientLayer:
    """A layer that the client computes after decryption.

    Attributes
    ----------
    kind : {"softmax", "log_softmax", "sigmoid", "argmax"}
    axis : int
        Of an answer without its batch axis; `sigmoid` has none.
    keepdims : bool
        Of `argmax`.

    Examples
    --------
    >>> ClientLayer("argmax")(np.array([[1.0, 3.0, 2.0]]))
    array([1])
    """

    kind: str
    axis: int = 0
    keepdims: bool = False

    def __call__(self, answers: NDArray[np.float64]) -> NDArray[Any]:
        """The layer's output for answers ``[n, *shape]``; whole numbers for `argmax`."""
        if self.kind == "sigmoid":
            return 0.5 + 0.5 * np.tanh(0.5 * answers)
        axis = self.axis + 1
        if self.kind == "argmax":
            return np.asarray(answers.argmax(axis, keepdims=self.keepdims))
        shifted: NDArray[np.float64] = answers - answers.max(axis, keepdims=True)
        logarithms: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
        return logarithms if self.kind == "log_softmax" else np.exp(logarithms)


def client_head(layers: Sequence[tuple[str, Mapping[str, Any]]], shape: tuple[int, ...]) -> tuple[ClientLayer, ...]:
    """The layers that the client computes on answers of a shape, given with their names."""
    head: list[ClientLayer] = []
    for name, layer in layers:
        fields, kind = Fields(layer, name), layer["type"]
        if head and head[-1].kind == "argmax":
            raise UnsupportedError(f"layer {name} comes after an argmax; leave it out")
        if kind == "sigmoid":
            head.append(ClientLayer(kind))
            continue
        axis = fields.get("axis", -1)
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise InvalidValueError(f"{fields.label('axis')} {axis!r} is not a whole number")
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(f"layer {name} works along axis {axis}, which an answer of shape {list(shape)} has not")
        head.append(ClientLayer(kind, axis % len(shape), fields.flag("keepdims", False)))
    return tuple(head)
