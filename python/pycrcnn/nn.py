"""Activations that can be evaluated on ciphertexts, as PyTorch modules to train with.

Importing this module does not import torch; using one of its classes does.

Examples
--------
>>> import pycrcnn.nn
>>> sorted(pycrcnn.nn.__all__)
['Polynomial', 'Square']
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycrcnn.errors import InvalidValueError, MissingPackageError

__all__ = ["Polynomial", "Square"]  # noqa: F822 - made when they are asked for


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

    for cls in (Square, Polynomial):
        cls.__qualname__ = cls.__name__
    return {"Square": Square, "Polynomial": Polynomial}
