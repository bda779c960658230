"""Values of a traced network: what each is made of, as layers from the input on.

A front end walks through its source's graph with these values in the place of tensors. A value is a polynomial of the
output of a :class:`Node`, and a node is one layer after another node, so the layers of any value form a chain. Sums of
two chains become residual layers: the branches from the node at which they part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import UnsupportedLayerError
from pycrcnn.frontends.layers import native_network
from pycrcnn.models import Layer

__all__ = ["Graph", "Node", "Value", "added", "multiplied"]

Coefficients = tuple[float, ...]

_IDENTITY: Coefficients = (0.0, 1.0)
#: The highest power, and the most layers when the shared parts of branches are written out.
_HIGHEST_POWER = 1000
_MOST_LAYERS = 4096


class Node:
    """A layer and the node before it; the input has neither."""

    __slots__ = ("depth", "layer", "layers", "parent")

    def __init__(self, parent: Node | None = None, layer: Layer | None = None, layers: int = 1) -> None:
        self.parent = parent
        self.layer = layer
        self.depth: int = parent.depth + 1 if parent else 0
        self.layers: int = parent.layers + layers if parent else 0

    def after(self, ancestor: Node | None) -> list[Layer]:
        """The layers that lead here from an ancestor; from the input where that is None."""
        layers: list[Layer] = []
        node: Node | None = self
        while node is not None and node is not ancestor:
            if node.layer is not None:
                layers.append(node.layer)
            node = node.parent
        return layers[::-1]


class Graph:
    """One traced network.

    Attributes
    ----------
    input_shape : tuple of int
        Of one image.
    place : str
        The name of the layer that is being traced, for the layers made there and for messages.
    image : Value
        The input.
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.input_shape = input_shape
        self.place = "input"
        self.image = Value(self, Node())

    def refuse(self, reason: str, replacement: str) -> UnsupportedLayerError:
        """The error that says why the layer in place cannot be evaluated, and what to do."""
        message = f"layer {self.place}: {reason}; {replacement}"
        return UnsupportedLayerError(message, layer=self.place, replacement=replacement)


class Value:
    """A polynomial, by default x itself, of the output x of a node."""

    def __init__(self, graph: Graph, base: Node, coefficients: Coefficients = _IDENTITY) -> None:
        self.graph = graph
        self._base = base
        self._coefficients = coefficients
        self._place = graph.place

    def then(self, kind: str, **fields: Any) -> Value:
        """The output of a layer of a kind on this value; fields that are None are left out."""
        layer = {"type": kind, "name": self.graph.place, **{k: v for k, v in fields.items() if v is not None}}
        return Value(self.graph, Node(self._node(), cast(Layer, layer)))

    def layers(self) -> tuple[Layer, ...]:
        """All layers from the input to this value, at least one."""
        return tuple(self._node().after(None)) or (Layer(type="identity", name="input"),)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image's value; it takes to build the network up to here."""
        return tuple(native_network(self.layers(), self.graph.input_shape)[0].output_shape)

    def plus(self, other: Any) -> Value:
        """The sum with another value, a number or an array that does not change the shape."""
        if not isinstance(other, Value):
            number, array = _number_or_array(other)
            if array is not None:
                return self.then("scale", bias=array)
            return self._with((self._coefficients[0] + number, *self._coefficients[1:]))
        common = self._over_common_base(other)
        if common is None:
            return self._residual(other)
        base, left, right = common
        length = max(len(left), len(right))
        padded = [np.pad(side, (0, length - len(side))) for side in (left, right)]
        return Value(self.graph, base, _trimmed(padded[0] + padded[1]))

    def times(self, other: Any) -> Value:
        """The product by another value, a number or an array that does not change the shape."""
        if not isinstance(other, Value):
            number, array = _number_or_array(other)
            if array is not None:
                return self.then("scale", weight=array)
            return self._with(_trimmed(np.multiply(self._coefficients, number)))
        if other is self:
            return self.power(2)
        common = self._over_common_base(other)
        if common is None:
            raise self.graph.refuse(
                "it multiplies two values that are no polynomials of the same one",
                "replace it by a sum, or by a polynomial of one value, and retrain",
            )
        base, left, right = common
        self._check_power(len(left) + len(right) - 2)
        return Value(self.graph, base, _trimmed(np.convolve(left, right)))

    def negative(self) -> Value:
        """The value times -1."""
        return self.times(-1.0)

    def power(self, exponent: Any) -> Value:
        """The value to the power of a whole number from 1 on."""
        number, array = (0.0, None) if isinstance(exponent, Value) else _number_or_array(exponent)
        if array is not None or number < 1 or number != int(number):
            reason = f"an exponent of {number:g}" if number else "an exponent that is not one whole number"
            raise self.graph.refuse(reason, "replace it by a whole one from 1 on, and retrain")
        self._check_power(int(number))
        # A power of what is a polynomial already stays two activations, as it is written.
        base, inner = (self._base, self._coefficients) if len(self._coefficients) <= 2 else (self._node(), _IDENTITY)
        powers: NDArray[np.float64] = np.ones(1)
        for _ in range(int(number)):
            powers = np.convolve(powers, inner)
        return Value(self.graph, base, _trimmed(powers))

    def _with(self, coefficients: Coefficients) -> Value:
        return Value(self.graph, self._base, coefficients)

    def _check_power(self, power: int) -> None:
        if power > _HIGHEST_POWER:
            reason = f"a polynomial of degree {power}"
            raise self.graph.refuse(reason, f"replace it by one of degree {_HIGHEST_POWER} at most, and retrain")

    def _node(self) -> Node:
        """The node whose output this value is; made at the first call, and the value's base from then on."""
        if self._coefficients != _IDENTITY:
            layer: dict[str, Any] = {"type": "square", "name": self._place}
            if self._coefficients != (0.0, 0.0, 1.0):
                layer.update(type="polynomial", coefficients=list(self._coefficients))
            self._base, self._coefficients = Node(self._base, cast(Layer, layer)), _IDENTITY
        return self._base

    def _over_common_base(self, other: Value) -> tuple[Node, Coefficients, Coefficients] | None:
        """Both values as polynomials of the output of one node, if they are."""
        left, right = self._as_polynomials(), other._as_polynomials()
        for base, coefficients in left:
            for other_base, other_coefficients in right:
                if base is other_base:
                    return base, coefficients, other_coefficients
        return None

    def _as_polynomials(self) -> list[tuple[Node, Coefficients]]:
        """The value as a polynomial of its base, and of the nodes before that while they are polynomials themselves."""
        base, coefficients = self._base, self._coefficients
        found = [(base, coefficients)]
        while base.parent and base.layer and base.layer["type"] in ("square", "polynomial"):
            inner = base.layer.get("coefficients", (0.0, 0.0, 1.0))
            if (len(inner) - 1) * (len(coefficients) - 1) > _HIGHEST_POWER:
                break
            composed: NDArray[np.float64] = np.zeros(1)
            for coefficient in reversed(coefficients):
                composed = np.convolve(composed, inner)
                composed[0] += coefficient
            base, coefficients = base.parent, _trimmed(composed)
            found.append((base, coefficients))
        return found

    def _residual(self, other: Value) -> Value:
        body, shortcut = self._node(), other._node()
        fork, right = body, shortcut
        while fork is not right:
            if fork.depth < right.depth:
                fork, right = right, fork
            fork = cast(Node, fork.parent)  # the input is an ancestor of all
        branches = body.layers + shortcut.layers - 2 * fork.layers
        if fork.layers + branches > _MOST_LAYERS:
            reason = f"with the branches that it joins, the network has more than {_MOST_LAYERS} layers"
            raise self.graph.refuse(reason, "let fewer branches share their layers")
        layer = {
            "type": "residual",
            "name": self.graph.place,
            "body": body.after(fork),
            "shortcut": shortcut.after(fork),
        }
        if not layer["body"]:  # x + f(x) is f(x) + x
            layer.update(body=layer["shortcut"], shortcut=[])
        return Value(self.graph, Node(fork, cast(Layer, layer), branches + 1))


def added(a: Any, b: Any) -> Value:
    """The sum of a value and another or a constant, in either order."""
    value: Value
    value, other = (a, b) if isinstance(a, Value) else (b, a)
    return value.plus(other)


def multiplied(a: Any, b: Any) -> Value:
    """The product of a value and another or a constant, in either order."""
    value: Value
    value, other = (a, b) if isinstance(a, Value) else (b, a)
    return value.times(other)


def _number_or_array(constant: Any) -> tuple[float, NDArray[np.float64] | None]:
    array: NDArray[np.float64] = np.asarray(constant, np.float64)
    return (float(array.reshape(-1)[0]), None) if array.size == 1 else (0.0, array)


def _trimmed(coefficients: Sequence[float] | NDArray[np.float64]) -> Coefficients:
    """Without zeros at the end, but for the constant and the slope."""
    values = [float(coefficient) for coefficient in coefficients]
    while len(values) > 2 and values[-1] == 0.0:
        values.pop()
    return tuple(values + [0.0] * (2 - len(values)))
