"""Activations that can be evaluated on ciphertexts, as PyTorch modules to train with.

Importing this module does not import torch; using one of its classes does.

Examples
--------
>>> import pycrcnn.nn
>>> sorted(pycrcnn.nn.__all__)
['Blend', 'Polynomial', 'Recurrent', 'Square']
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pycrcnn.errors import InvalidValueError, MissingPackageError

__all__ = ["Blend", "Polynomial", "Recurrent", "Square"]  # noqa: F822 - made when they are asked for


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals().update(_classes())
    return globals()[name]


def _classes() -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError("pycrcnn.nn needs PyTorch: pip install 'pycrcnn[torch]'") from error

    class Square(torch.nn.Module):  # type: ignore[misc]
        """The square of every value."""

        def forward(self, x: Any) -> Any:
            """x * x."""
            return x * x

    class Polynomial(torch.nn.Module):  # type: ignore[misc]
        """A polynomial of every value.

        Parameters
        ----------
        coefficients : sequence of float
            From the constant upwards: ``(c, b, a)`` stands for ``a x^2 + b x + c``.
        trainable : bool
            Whether the coefficients are parameters, trained with the network.
        """

        def __init__(self, coefficients: Sequence[float], trainable: bool = False) -> None:
            super().__init__()
            values = torch.as_tensor(coefficients, dtype=torch.get_default_dtype()).clone()
            if values.ndim != 1 or len(values) == 0 or not values.isfinite().all():
                raise InvalidValueError(f"coefficients: finite numbers in one row are needed, not {coefficients!r}")
            if trainable:
                self.coefficients = torch.nn.Parameter(values)
            else:
                self.register_buffer("coefficients", values)

        def forward(self, x: Any) -> Any:
            """The polynomial's value, by Horner's rule."""
            value = torch.zeros_like(x)
            for coefficient in self.coefficients.flip(0):
                value = value * x + coefficient
            return value

        def extra_repr(self) -> str:
            """The coefficients, for the module's repr."""
            return f"{self.coefficients.tolist()}"

    class Recurrent(torch.nn.Module):  # type: ignore[misc]
        """A recurrent layer with a polynomial cell: h_t = f(W x_t + b + U h_{t-1}), with h_0 = 0.

        Every step takes two levels of the ciphertexts if f is of degree 2: a few steps, each of several rows of an
        image, are within reach.

        Parameters
        ----------
        inputs, hidden : int
            Values of a step, and of the state.
        coefficients : sequence of float
            Of f, as `Polynomial` has them.
        trainable : bool
            Whether they are trained with the network.
        """

        def __init__(
            self, inputs: int, hidden: int, coefficients: Sequence[float] = (0.0, 0.5, 0.25), trainable: bool = True
        ) -> None:
            super().__init__()
            self.input = torch.nn.Linear(inputs, hidden)
            self.recurrent = torch.nn.Linear(hidden, hidden, bias=False)
            self.activation = Polynomial(coefficients, trainable)

        def forward(self, x: Any) -> Any:
            """The last state ``[n, hidden]`` for values ``[n, steps, inputs]``."""
            state = self.activation(self.input(x[:, 0]))
            for step in range(1, x.shape[1]):
                state = self.activation(self.input(x[:, step]) + self.recurrent(state))
            return state

    class Blend(torch.nn.Module):  # type: ignore[misc]
        """A layer on its way to its replacement: `pycrcnn.train.fit` moves it there, and leaves the replacement.

        Parameters
        ----------
        original : callable
            What stood there.
        replacement : torch.nn.Module
            What will.
        """

        def __init__(self, original: Callable[[Any], Any], replacement: Any) -> None:
            super().__init__()
            self.original = original
            self.replacement = replacement
            self.share = 0.0

        def forward(self, x: Any) -> Any:
            """The mean of both, weighted by `share`, which goes from 0 (the original) to 1."""
            if self.share >= 1:
                return self.replacement(x)
            original = self.original(x.clone())  # which may work in place
            return original if self.share <= 0 else torch.lerp(original, self.replacement(x), self.share)

        def extra_repr(self) -> str:
            """The share, for the module's repr."""
            return f"share={self.share:.3g}"

    classes = {cls.__name__: cls for cls in (Square, Polynomial, Recurrent, Blend)}
    for name, cls in classes.items():
        cls.__qualname__ = name
    return classes
