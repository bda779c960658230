"""Encryption parameters: the choice of primes, and the warning where security is below what was asked for."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from pycrcnn import _native
from pycrcnn.errors import InvalidTypeError, ParameterError, SecurityWarning

__all__ = ["checked_degree", "checked_integer", "checked_security", "warn_if_insecure", "whole_modulus"]

#: The fast kernels take primes below 2^50.
_KERNEL_BITS = 49
#: The smallest and the largest polynomial degree.
_DEGREES = (1024, 32768)
_PACKAGE = str(Path(__file__).parent.parent)


def checked_integer(name: str, value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`.

    Raises
    ------
    InvalidTypeError
        For anything but a whole number.
    ParameterError
        For one outside the range.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InvalidTypeError(f"{name}: a whole number is needed, not {value!r}")
    if not low <= value <= high:
        raise ParameterError(f"{name} = {value} is not usable: choose a whole number from {low} to {high}")
    return int(value)


def checked_degree(m: Any) -> int:
    """A polynomial degree that there are parameters for."""
    if checked_integer("m", m, *_DEGREES) & (m - 1):
        raise ParameterError(f"m = {m} is not usable: choose a power of two from {_DEGREES[0]} to {_DEGREES[1]}")
    return int(m)


def checked_security(sec: Any) -> int:
    """A security level that there are tables for."""
    if sec not in (128, 192, 256):
        raise ParameterError(f"sec = {sec!r} is not usable: choose 128, 192 or 256 bits")
    return int(sec)


def whole_modulus(degree: int, security: int) -> list[int]:
    """The primes of a BFV context that uses all of its modulus for data.

    As many bits as SEAL's default for the degree and security level. SEAL's own primes where all of them are
    below 2^50, otherwise smaller primes with the same number of bits in all.

    Examples
    --------
    >>> [q.bit_length() for q in whole_modulus(4096, 128)]
    [36, 36, 37]
    >>> [q.bit_length() for q in whole_modulus(2048, 128)]
    [27, 27]
    """
    primes = _native.bfv_default_primes(checked_degree(degree), checked_security(security))
    if primes is None:
        raise ParameterError(f"m = {degree} with sec = {security} has no parameters: choose another pair")
    if all(q.bit_length() <= _KERNEL_BITS for q in primes):
        return primes
    total = sum(q.bit_length() for q in primes)
    count = -(-total // _KERNEL_BITS)
    return _native.create_primes(degree, [(total + i) // count for i in range(count)])


def warn_if_insecure(context: _native.Context, security: int) -> None:
    """Warns with both published limits where the coefficient modulus is above the smaller of them."""
    standard, guideline = _native.security_limits(context.degree, security)
    limits = [limit for limit in (standard, guideline) if limit is not None]
    if limits and context.modulus_bits <= min(limits):
        return
    depth = 1
    while sys._getframe(depth).f_code.co_filename.startswith(_PACKAGE):
        depth += 1
    warnings.warn(
        f"m = {context.degree} with a coefficient modulus of {context.modulus_bits} bits is below {security}-bit "
        f"security: the limit is {standard} bits by the 2018 Homomorphic Encryption Standard and "
        f"{guideline or 'none given'} by the 2024 guideline (ePrint 2024/463)",
        SecurityWarning,
        stacklevel=depth + 1,
    )
