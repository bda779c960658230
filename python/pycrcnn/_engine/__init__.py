"""What every layer calls: parameters, keys and encoders of one scheme, and arithmetic on object arrays.

| module | what it knows |
| --- | --- |
| `interface` | what a layer needs; `ClearEngine` does it on plain numbers |
| `encryption` | keys, encoders, numbers in and out |
| `alignment` | ciphertexts of different levels, scales and divisors |
| `engine` | layers and operators |
"""

from __future__ import annotations

from typing import Any

from pycrcnn._engine.encryption import Encoder
from pycrcnn._engine.engine import Engine
from pycrcnn._engine.interface import ClearEngine, LayerEngine
from pycrcnn._values import PyCtxt, PyPtxt
from pycrcnn.errors import InvalidTypeError, ParameterError

__all__ = ["ClearEngine", "Encoder", "Engine", "LayerEngine", "engine_behind", "engine_of"]

_CLEAR = ClearEngine()


def engine_of(HE: Any) -> LayerEngine:
    """The engine behind the `HE` object that is every layer's first argument.

    Raises
    ------
    ParameterError
        Where the object has no parameters yet.
    InvalidTypeError
        Where it is no such object.
    """
    if getattr(HE, "_plain", False):
        return _CLEAR
    try:
        engine = HE._engine
    except AttributeError:
        raise InvalidTypeError(
            f"HE: a Pyfhel object or one of pycrcnn.he.HE's classes is needed, not {type(HE).__name__}"
        ) from None
    if engine is None:
        raise ParameterError("HE has no encryption parameters yet: call contextGen(p, m) first")
    return engine  # type: ignore[no-any-return]


def engine_behind(*arrays: Any) -> LayerEngine:
    """The engine of the first ciphertext or plaintext in some arrays; plain arithmetic where there is none."""
    for array in arrays:
        for item in array.flat if array.dtype == object else ():
            if isinstance(item, PyCtxt | PyPtxt) and item._engine is not None:
                return item._engine  # type: ignore[no-any-return]
    return _CLEAR
