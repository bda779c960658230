"""Arrays of numbers and arrays of objects: what comes in is checked here, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import EncodingError, InvalidTypeError, InvalidValueError, ShapeError

__all__ = ["Numbers", "Objects", "as_integers", "as_numbers", "as_pair", "as_tensor", "objects_from"]

Numbers: TypeAlias = NDArray[np.float64]
#: An array whose elements are ciphertexts or plaintexts, and here and there a number (padding).
Objects: TypeAlias = NDArray[np.object_]


def as_tensor(values: Any, name: str = "values") -> NDArray[Any]:
    """NumPy's view of an array, a nested list or a torch tensor, of any dtype."""
    if hasattr(values, "detach"):  # a torch tensor that may require gradients or lie on a GPU
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"{name}: rows of different lengths do not make an array ({error})") from None


def as_numbers(values: Any, name: str = "values") -> Numbers:
    """Real, finite numbers in double precision.

    Raises
    ------
    InvalidTypeError
        For text, complex numbers and objects.
    EncodingError
        For NaN and infinities.
    ShapeError
        For ragged nested lists.
    """
    array = as_tensor(values, name)
    if array.dtype.kind not in "biuf":
        raise InvalidTypeError(
            f"{name}: an array of real numbers is needed, not of dtype {array.dtype}; convert it with .astype(float)"
        )
    numbers = np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)
    finite = np.isfinite(numbers)
    if not finite.all():
        where = np.unravel_index(int(np.argmin(finite)), numbers.shape)
        index = tuple(int(i) for i in where)
        raise EncodingError(f"{name}: {numbers[where]} at index {index} cannot be encoded; remove NaN and infinities")
    return numbers


def as_integers(values: Any, name: str = "values") -> NDArray[np.int64]:
    """Whole numbers that fit 64 bits with a sign.

    Raises
    ------
    EncodingError
        For a fraction or a number that is too large; otherwise as :func:`as_numbers`.
    """
    array = as_tensor(values, name)
    if array.dtype.kind in "bi" or (
        array.dtype.kind == "u" and (array.size == 0 or array.max() <= np.iinfo(np.int64).max)
    ):
        return np.ascontiguousarray(array, dtype=np.int64).reshape(array.shape)
    numbers = as_numbers(array, name)
    whole = (numbers == np.rint(numbers)) & (np.abs(numbers) < 2.0**63)
    if not whole.all():
        where = np.unravel_index(int(np.argmin(whole)), numbers.shape)
        raise EncodingError(
            f"{name}: {numbers[where]} is not a whole number of 64 bits; scale and round it first, "
            "or use fractional BFV or CKKS"
        )
    return numbers.astype(np.int64)


def as_pair(value: Any, name: str, minimum: int) -> tuple[int, int]:
    """Two whole numbers from one or two, as torch takes strides and paddings.

    Examples
    --------
    >>> as_pair(2, "stride", 1)
    (2, 2)
    >>> as_pair((1, 3), "stride", 1)
    (1, 3)
    """
    given = np.asarray(value)
    if given.dtype.kind not in "iu" or given.size not in (1, 2) or given.ndim > 1:
        raise InvalidTypeError(f"{name}: a whole number or a pair of them is needed, not {value!r}")
    first, last = int(given.flat[0]), int(given.flat[-1])
    if min(first, last) < minimum:
        raise InvalidValueError(f"{name}: {value!r} is below {minimum}")
    return first, last


def objects_from(items: Sequence[Any], shape: tuple[int, ...]) -> Objects:
    """An object array of a shape around existing objects."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)
