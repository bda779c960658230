"""Encryption parameters: the choice of primes, and the warning where security is below what was asked for."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from pycrcnn import _native
from pycrcnn.errors import ParameterError, SecurityWarning

__all__ = ["warn_if_insecure", "whole_modulus"]

#: The fast kernels take primes below 2^50.
_KERNEL_BITS = 49
_PACKAGE = str(Path(__file__).parent.parent)


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
    primes = _native.bfv_default_primes(degree, security)
    if primes is None:
        raise ParameterError(
            f"m = {degree} with sec = {security} has no parameters: choose m from 1024, 2048, 4096, 8192, 16384, 32768 "
            "and sec from 128, 192, 256"
        )
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
        f"{guideline} by the 2024 guideline (ePrint 2024/463)",
        SecurityWarning,
        stacklevel=depth + 1,
    )
