"""Encrypted layers compute what plain ones do, whatever their shapes and options."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import second_generation, with_keys
from pycrcnn.convolutional.convolutional_layer import Conv1d, ConvolutionalLayer
from pycrcnn.crypto.crypto import decrypt_matrix, encrypt_matrix
from pycrcnn.functional.average_pool import AveragePoolLayer
from pycrcnn.he.HE import MockHE
from pycrcnn.linear.linear_layer import LinearLayer

FRACTIONAL, WHOLE = with_keys(p=65537, m=1024 * 2), second_generation("BFVPyfhel")

quick = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32 - 1)
small = st.integers(1, 3)


def assert_same(make: Any, shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for HE, values in [
        (FRACTIONAL, rng.normal(size=shape) * 10.0 ** rng.integers(-3, 3)),
        (WHOLE, rng.integers(-9, 10, shape)),
    ]:
        result = decrypt_matrix(HE, make(HE)(encrypt_matrix(HE, values)))
        expected = make(MockHE())(values)
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-5)


@quick
@given(n=st.integers(1, 2), c=small, filters=small, kernel=st.tuples(small, small), stride=st.tuples(small, small),
       padding=st.tuples(st.integers(0, 2), st.integers(0, 2)), extra=st.tuples(st.integers(0, 2), st.integers(0, 2)),
       bias=st.booleans(), seed=seeds)  # fmt: skip
def test_convolutions(
    n: int, c: int, filters: int, kernel: Any, stride: Any, padding: Any, extra: Any, bias: bool, seed: int
) -> None:
    weights = np.random.default_rng(seed).integers(-3, 4, (filters, c, *kernel))
    shape = (n, c, kernel[0] + extra[0], kernel[1] + extra[1])
    offsets = np.arange(filters) - 1 if bias else None
    assert_same(lambda HE: ConvolutionalLayer(HE, weights, stride, padding, offsets), shape, seed)


@quick
@given(kernel=small, stride=small, padding=st.integers(0, 2), extra=st.integers(0, 3), seed=seeds)
def test_one_dimensional_convolutions(kernel: int, stride: int, padding: int, extra: int, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(-3, 4, (2, 2, kernel))
    assert_same(lambda HE: Conv1d(HE, weights, stride, padding, [1, -1]), (1, 2, kernel + extra), seed)


@quick
@given(kernel=st.tuples(small, small), stride=st.tuples(small, small), padding=st.integers(0, 1), seed=seeds)
def test_average_pools(kernel: Any, stride: Any, padding: int, seed: int) -> None:
    shape = (1, 2, kernel[0] + 1, kernel[1] + 2)
    assert_same(lambda HE: AveragePoolLayer(HE, kernel, stride, (padding, padding)), shape, seed)


@quick
@given(n=small, inputs=st.integers(1, 6), outputs=small, seed=seeds)
def test_linear_layers(n: int, inputs: int, outputs: int, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(-3, 4, (outputs, inputs))
    assert_same(lambda HE: LinearLayer(HE, weights, np.arange(outputs)), (n, inputs), seed)


@quick
@given(st.lists(st.floats(-(2.0**30), 2.0**30, allow_subnormal=False), min_size=1, max_size=8))
def test_real_numbers_come_back(values: list[float]) -> None:
    np.testing.assert_allclose(
        decrypt_matrix(FRACTIONAL, encrypt_matrix(FRACTIONAL, values)), values, rtol=1e-12, atol=2**-32
    )


@quick
@given(st.lists(st.integers(-(2**18), 2**18), min_size=1, max_size=8))
def test_whole_numbers_come_back(values: list[int]) -> None:
    np.testing.assert_array_equal(WHOLE.decrypt_matrix(WHOLE.encrypt_matrix(values)), values)
