"""Arguments and the fields of layers, read with checks whose messages name them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import InvalidTypeError, InvalidValueError, ParameterError, ShapeError
from pycrcnn.pyfhel._parameters import checked_integer

__all__ = ["MOST", "Fields", "image_shape", "real_array", "whole_number"]

#: The most values that a tensor may have, and the largest stride, kernel or padding.
MOST = 2**31 - 1


def whole_number(name: str, value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`; otherwise InvalidTypeError or InvalidValueError."""
    try:
        return checked_integer(name, value, low, high)
    except ParameterError as error:
        raise InvalidValueError(str(error)) from None


def real_array(name: str, values: Any) -> NDArray[np.float64]:
    """A contiguous array of doubles from anything that NumPy reads as booleans, integers or floats.

    Tensors of torch are taken from any device, of any real type, and without their gradients.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        values = _plain_tensor(name, values, torch)
    try:
        array = np.asanyarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidTypeError(f"{name}: an array of real numbers is needed ({error})") from error
    if array.dtype.name == "bfloat16":  # NumPy knows it where the package ml_dtypes is there
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise InvalidTypeError(f"{name}: an array of real numbers is needed, not of {array.dtype}")
    if np.ma.is_masked(array):
        raise InvalidValueError(f"{name}: some values are masked; fill them first")
    # What is beyond doubles becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(np.asarray(array), dtype=np.float64)


def _plain_tensor(name: str, tensor: Any, torch: Any) -> NDArray[Any]:
    if tensor.is_quantized or tensor.is_complex() or tensor.layout != torch.strided or tensor.is_meta:
        kind = "without values" if tensor.is_meta else f"of {tensor.dtype}, {tensor.layout}"
        raise InvalidTypeError(f"{name}: a dense tensor of real numbers is needed, not one {kind}")
    array: NDArray[Any] = tensor.detach().to("cpu", torch.float64).numpy()
    return array


def image_shape(shape: Any) -> tuple[int, ...]:
    """The shape of one image, checked."""
    if isinstance(shape, str | bytes) or not isinstance(shape, Sequence):
        raise InvalidTypeError(f"input_shape: a tuple such as (1, 28, 28) is needed, not {shape!r}")
    checked = tuple(whole_number("input_shape", length, 1, MOST) for length in shape)
    if math.prod(checked) > MOST:
        raise ShapeError(f"input_shape: {list(checked)} has more than {MOST} values")
    return checked


class Fields:
    """The fields of one layer.

    Parameters
    ----------
    layer : mapping
        As `pycrcnn.models.Layer` describes it.
    name : str
        What messages call the layer.
    """

    def __init__(self, layer: Mapping[str, Any], name: str) -> None:
        self._layer = layer
        self.name = name

    def get(self, field: str, default: Any = None) -> Any:
        """The field as it stands, or the default where it is missing or None."""
        value = self._layer.get(field)
        return default if value is None else value

    def label(self, field: str) -> str:
        """What messages call a field."""
        return f"layer {self.name}: {field}"

    def array(self, field: str, rank: int | None = None) -> NDArray[np.float64]:
        """Real numbers, of a rank."""
        array = real_array(self.label(field), self._layer[field])
        if rank is not None and array.ndim != rank:
            raise ShapeError(f"layer {self.name}: its {field} has {array.ndim} dimensions, {rank} are needed")
        return array

    def vector(self, field: str, default: NDArray[np.float64]) -> NDArray[np.float64]:
        """Real numbers in one row, or the default."""
        return default if self.get(field) is None else self.array(field, 1)

    def bias(self) -> NDArray[np.float64] | None:
        """The bias, which is optional."""
        return None if self.get("bias") is None else self.array("bias", 1)

    def whole(self, field: str, default: int, low: int) -> int:
        """One whole number."""
        return whole_number(self.label(field), self.get(field, default), low, MOST)

    def whole_numbers(self, field: str, count: int, default: int | Sequence[int], low: int) -> list[int]:
        """A whole number for each of `count` axes; a single one stands for all."""
        return self.each(field, self.get(field, default), count, low)

    def each(self, field: str, value: Any, count: int, low: int) -> list[int]:
        """As `whole_numbers`, of a value that was got already."""
        numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * count
        if len(numbers) != count:
            needed = "a number or a pair of numbers" if count == 2 else "a number"
            raise InvalidValueError(f"{self.label(field)} {value!r} is not {needed}")
        return [whole_number(self.label(field), number, low, MOST) for number in numbers]

    def flag(self, field: str, default: bool) -> bool:
        """True or False."""
        value = self.get(field, default)
        if not isinstance(value, bool | np.bool_):
            raise InvalidTypeError(f"{self.label(field)}: True or False is needed, not {value!r}")
        return bool(value)

    def real(self, field: str, default: float) -> float:
        """One real number."""
        value = real_array(self.label(field), self.get(field, default))
        if value.size != 1:
            raise InvalidTypeError(f"{self.label(field)}: one number is needed, not {value.size}")
        return float(value.reshape(-1)[0])
