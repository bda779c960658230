"""The per-value layout: its parameters, and a plaintext modulus with room to hide what answers hold besides numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pycrcnn import _native
from pycrcnn.errors import InvalidTypeError, NoiseBudgetError, UnsupportedError
from pycrcnn.pyfhel._parameters import checked_degree, checked_integer, warn_if_insecure, whole_modulus

__all__ = ["EXACT_EXAMPLES", "FractionalParameters", "compile_per_value"]

#: Examples by which digits and errors are predicted.
EXACT_EXAMPLES = 8

#: The paper's plaintext modulus.
_PAPERS = 100_000_007
#: The largest plaintext modulus is 1 more than 2 to this power.
_MOST_BITS = 59
#: Bits of noise budget that re-randomised answers keep: flooding is q / 16.
_FLOODED = 4
#: Bits of noise budget that may be lost with another image or other keys.
_MARGIN = 2


@dataclass(frozen=True)
class FractionalParameters:
    """BFV with fractional encoding, as in the paper: the parameters of the per-value layout.

    Attributes
    ----------
    m : int
        Polynomial degree, 1024 to 32768. All of the standard coefficient modulus for `m` carries data.
    p : int or None
        Plaintext modulus. None: chosen so that re-randomised answers hide digits and noise by about as many bits.
    base : int
        Of the digits that encode a number.
    integer_digits, fraction_digits : int
        How many digits an encoded number may have.
    """

    m: int = 4096
    p: int | None = _PAPERS
    base: int = 2
    integer_digits: int = 64
    fraction_digits: int = 32


def compile_per_value(
    network: _native.Network,
    examples: NDArray[np.float64],
    parameters: FractionalParameters | None,
    security: int,
    fused: bool,
    threads: int,
) -> tuple[_native.Program, float]:
    """Compile for the per-value layout; see `pycrcnn.compile`.

    Parameters
    ----------
    network : _native.Network
    examples : ndarray of float64, shape [n, *input_shape]
        Of at least one image.
    parameters : FractionalParameters, optional
        Without them: those of the paper, but for the plaintext modulus, where there is room for a better one.
    security : {128, 192, 256}
    fused : bool
    threads : int

    Returns
    -------
    program : _native.Program
    error : float
        The largest error to be expected; infinite where digits outgrow the plaintext modulus.

    Raises
    ------
    UnsupportedError
        The network does not fit at all, or a plaintext modulus is to be chosen and there is none.
    """
    given = FractionalParameters() if parameters is None else parameters
    context = _context(given, security)
    digits = given.base, given.integer_digits, given.fraction_digits
    native = _native.Program.per_value(context, network, examples.reshape(-1), *digits, fused, threads)
    if parameters is None or parameters.p is None:
        p = _plain_modulus(native, given, examples[:1], threads)
        if p is not None:
            native = native.with_plain_modulus(p, threads)
        elif parameters is not None:
            raise UnsupportedError(
                f"p: digits of up to {native.largest_digit()} and their noise leave no room at m = {given.m}; choose a "
                "larger m, or a network whose weights have fewer digits"
            )
    return native, _error(native, network, examples, given.fraction_digits, threads)


def _plain_modulus(
    native: _native.Program, given: FractionalParameters, image: NDArray[np.float64], threads: int
) -> int | None:
    """The plaintext modulus with which answers hide digits and noise alike; None where none has room for the answers.

    A mask has half of the room that a modulus of 8 (b + 1) times the largest digit leaves, and grows with it. The noise
    budget falls by a bit for each bit of the modulus, and by another for each square. So one measurement says where
    the two meet.
    """
    least = math.ceil(math.log2(8 * (given.base + 1) * max(native.largest_digit(), 1)))
    if least > _MOST_BITS:
        return None
    budget = _noise_budget(native.with_plain_modulus(2**least + 1, threads), image, threads)
    spare = budget - _FLOODED - _MARGIN
    if spare < 0:
        return None
    return int(2 ** min(least + spare // (native.squares() + 2), _MOST_BITS)) + 1


def _noise_budget(native: _native.Program, image: NDArray[np.float64], threads: int) -> int:
    """Bits that the answer to an image has left, measured with keys made for this."""
    client = native.client()
    secret, _, _ = client.generate_keys(threads)
    answer = native.run(client.encrypt(secret, image.reshape(-1), threads), threads=threads)
    return client.noise_budget(secret, answer, True, threads)


def _error(
    native: _native.Program,
    network: _native.Network,
    examples: NDArray[np.float64],
    fraction_digits: int,
    threads: int,
) -> float:
    """The error to be expected by that of some examples in the exact simulator; infinite where digits outgrow `p`."""
    some = examples.reshape(-1)
    try:
        answers = native.simulate(some, threads=threads)
    except NoiseBudgetError:
        return math.inf
    largest = float(np.abs(answers - network.evaluate(some, threads)).max(initial=0.0))
    return max(_native.ERROR_MARGIN * largest, 2.0**-fraction_digits)


def _context(parameters: FractionalParameters, security: int) -> _native.Context:
    if not isinstance(parameters, FractionalParameters):
        raise InvalidTypeError(f"parameters: pycrcnn.FractionalParameters are needed, not {parameters!r}")
    checked_degree(parameters.m)
    p = _PAPERS if parameters.p is None else checked_integer("p", parameters.p, 2, 2**61 - 1)
    checked_integer("base", parameters.base, 2, 2**31)
    checked_integer("integer_digits", parameters.integer_digits, 1, parameters.m)
    checked_integer("fraction_digits", parameters.fraction_digits, 1, parameters.m)
    context = _native.Context.bfv(parameters.m, whole_modulus(parameters.m, 128), p)
    warn_if_insecure(context, security)
    return context
