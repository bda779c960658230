"""What a client holds a service's parameters against."""

from __future__ import annotations

import warnings

from pycrcnn import _native
from pycrcnn.errors import ParameterError, SecurityWarning
from pycrcnn.program.client import ClientProgram

__all__ = ["check_security"]


def check_security(program: ClientProgram) -> None:
    """Hold parameters against the tables: the service may offer others than it should.

    Raises
    ------
    ParameterError
        They are below 128 bits by both publications. Between the two there is a :class:`SecurityWarning`.
    """
    context = program.context
    limits = [limit for limit in _native.security_limits(context.degree, 128) if limit]
    if context.modulus_bits > max(limits, default=0):
        raise ParameterError(
            f"the service's parameters, N = {context.degree} with a modulus of {context.modulus_bits} bits, are below "
            f"128-bit security: the limit is {max(limits, default=0)} bits; nothing was encrypted",
            "insecure",
        )
    if context.modulus_bits > min(limits):
        warnings.warn(
            f"the service's parameters, N = {context.degree} with a modulus of {context.modulus_bits} bits, are within "
            f"the limit of 2018 ({max(limits)} bits) and beyond that of 2024 ({min(limits)})",
            SecurityWarning,
            stacklevel=3,
        )
