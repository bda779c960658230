"""Whole numbers that the native module is given itself: negative or absurd ones are typed errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pycrcnn import _native
from pycrcnn.errors import InvalidValueError, PyCrCNNError

ABSURD = [-1, -(2**70), 2**70]

CONTEXT = _native.Context.bfv(1024, _native.create_primes(1024, [27]), 257)
ENCODER = _native.FractionalEncoder(CONTEXT, 2, 64, 32)
EVALUATOR = _native.Evaluator(CONTEXT)
ZEROS = [EVALUATOR.zero(1, 1.0)] * 2
LINEAR = _native.AffineMap.linear(np.ones((1, 2)), None)
NETWORK = _native.Network([2], [("linear", LINEAR)])
IMAGE = np.ones(2)


@pytest.mark.parametrize("threads", [*ABSURD, 2**20])
@pytest.mark.parametrize(
    "call",
    [
        lambda threads: EVALUATOR.add(ZEROS, ZEROS, threads=threads),
        lambda threads: EVALUATOR.square(ZEROS, threads=threads),
        lambda threads: EVALUATOR.mod_switch(ZEROS, 1, threads=threads),
        lambda threads: LINEAR.apply(IMAGE, threads=threads),
        lambda threads: _native.affine(CONTEXT, ENCODER, LINEAR, ZEROS, threads=threads),
        lambda threads: NETWORK.evaluate(IMAGE, threads=threads),
        lambda threads: _native.NormalForm(NETWORK, IMAGE, threads=threads),
        lambda threads: _native.Program.from_bytes(b"", threads=threads),
        lambda threads: _native.Program.batched(_native.NormalForm(NETWORK, IMAGE), threads=threads),
        lambda threads: _native.Program.packed(_native.NormalForm(NETWORK, IMAGE), threads=threads),
    ],
)
def test_threads(call: Callable[[int], object], threads: int) -> None:
    with pytest.raises(InvalidValueError, match=r"^threads: .*0 stands for all cores"):
        call(threads)


@pytest.mark.parametrize("number", ABSURD)
@pytest.mark.parametrize(
    "call",
    [
        lambda n: _native.Context.bfv(n, [65537], 257),
        lambda n: _native.Context.bfv(1024, [n], 257),
        lambda n: _native.Context.ckks(1024, [n]),
        lambda n: _native.create_primes(1024, [n]),
        lambda n: _native.bfv_default_primes(n, 128),
        lambda n: _native.security_limits(1024, n),
        lambda n: _native.FractionalEncoder(CONTEXT, 2, n, 32),
        lambda n: _native.IntegerEncoder(CONTEXT, n),
        lambda n: EVALUATOR.mod_switch(ZEROS, n),
        lambda n: EVALUATOR.zero(n, 1.0),
        lambda n: _native.AffineMap.flatten([n]),
        lambda n: _native.AffineMap.pad2d([1, 2, 2], [[n, 0], [0, 0]]),
        lambda n: _native.AffineMap.conv2d([1, 2, 2], np.ones((1, 1, 1, 1)), None, [1, n]),
        lambda n: _native.Network([n], []),
        lambda n: _native.Program.batched(_native.NormalForm(NETWORK, IMAGE), security=n),
    ],
)
def test_counts(call: Callable[[int], object], number: int) -> None:
    with pytest.raises(PyCrCNNError, match="out of range"):
        call(number)


def test_what_is_no_number_or_of_another_length_stays_a_type_error() -> None:
    with pytest.raises(TypeError):
        EVALUATOR.add(ZEROS, ZEROS, threads="two")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        EVALUATOR.zero(1.5, 1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sequence of length 2"):
        _native.AffineMap.conv2d([1, 2, 2], np.ones((1, 1, 1, 1)), None, [1, 1, 1])
