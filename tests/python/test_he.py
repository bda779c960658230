"""The second generation's classes, each through the same tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conftest import quietly
from pycrcnn.convolutional.convolutional_layer import Conv1d, Conv2d
from pycrcnn.crypto.crypto import decrypt_matrix, encrypt_matrix
from pycrcnn.errors import (
    EncodingError,
    InvalidValueError,
    KeyMismatchError,
    MissingKeyError,
    NoiseBudgetError,
    ParameterError,
    UnsupportedError,
)
from pycrcnn.functional.average_pool import AveragePoolLayer
from pycrcnn.functional.rencryption_layer import RencryptionLayer
from pycrcnn.functional.square_layer import SquareLayer
from pycrcnn.he.HE import BFVPyfhel, BFVPyfhel_Fractional, CKKSPyfhel, CKKSTenSEAL, MockHE
from pycrcnn.linear.linear_layer import LinearLayer


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 1, 2), (1, 2, 2, 2)])
def test_arrays_of_any_rank_come_back(HE: Any, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape) - 3
    encoded, encrypted = HE.encode_matrix(values), HE.encrypt_matrix(values)
    assert encoded.shape == encrypted.shape == shape
    np.testing.assert_allclose(HE.decode_matrix(encoded), values, atol=1e-3)
    np.testing.assert_allclose(HE.decrypt_matrix(encrypted), values, atol=1e-3)
    np.testing.assert_allclose(decrypt_matrix(HE, encrypt_matrix(HE, values)), values, atol=1e-3)
    first = (0,) * len(shape)
    assert HE.decode(encoded[first]) == pytest.approx(-3, abs=1e-3)
    assert HE.decrypt(encrypted[first]) == pytest.approx(-3, abs=1e-3)


def test_single_values(HE: Any) -> None:
    assert HE.decode(HE.encode(7)) == pytest.approx(7, abs=1e-3)
    assert HE.decode(HE.encode_number(7)) == pytest.approx(7, abs=1e-3)
    assert HE.decrypt(HE.power(HE.encrypt(-3), 2)) == pytest.approx(9, abs=1e-2)
    a, b = HE.encrypt(5), HE.encrypt(-2)
    for result, expected in [(a + b, 3), (a - b, 7), (a + 4, 9), (2 - a, -3), (a * 3, 15), (a * b, -10)]:
        assert HE.decrypt(result) == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("method", ["encode", "decode", "encrypt", "decrypt"])
def test_methods_for_one_value_refuse_arrays(HE: Any, method: str) -> None:
    with pytest.raises(TypeError):
        getattr(HE, method)(np.array([1, 2]))


def test_a_network_of_whole_numbers(HE: Any, rng: np.random.Generator) -> None:
    images = rng.integers(-3, 4, (2, 1, 6, 6))
    weights, bias = rng.integers(-2, 3, (2, 1, 3, 3)), [1, -2]
    linear = rng.integers(-2, 3, (3, 8))
    layers = lambda he: [  # noqa: E731
        Conv2d(he, weights, stride=(1, 1), padding=(0, 0), bias=bias),
        AveragePoolLayer(he, 2, 2),
        SquareLayer(he),
    ]
    plain, encrypted = images, HE.encrypt_matrix(images)
    for plain_layer, layer in zip(layers(MockHE()), layers(HE), strict=True):
        plain, encrypted = plain_layer(plain), layer(encrypted)
        np.testing.assert_allclose(HE.decrypt_matrix(encrypted), plain, atol=0.02)
    flat = encrypted.reshape(2, -1)
    result = HE.decrypt_matrix(LinearLayer(HE, linear, [1, 0, -1])(flat))
    np.testing.assert_allclose(
        result, LinearLayer(MockHE(), linear, [1, 0, -1])(plain.reshape(2, -1)), rtol=1e-2, atol=0.1
    )


def test_one_dimension(HE: Any) -> None:
    layer = Conv1d(HE, [[[1, -2, 3]]], stride=2, padding=2, bias=[4])
    result = HE.decrypt_matrix(layer(HE.encrypt_matrix([[[1, 2, 3, 4]]])))
    np.testing.assert_allclose(result, [[[7, 10, -1]]], atol=1e-2)


def test_results_of_different_depth_add_up(HE: Any) -> None:
    """A branch around a layer, as in a residual network."""
    x = HE.encrypt_matrix([[2, -1]])
    averaged = AveragePoolLayer(HE, (1, 2), 1)(x.reshape(1, 1, 1, 2)).reshape(1, 1)
    result = HE.decrypt_matrix(LinearLayer(HE, [[3, 1]])(x) + averaged + x[:, :1])
    np.testing.assert_allclose(result, [[7.5]], atol=1e-2)


ENCRYPTED: dict[str, Callable[[], Any]] = {
    "BFVPyfhel": lambda: quietly(BFVPyfhel, m=4096),
    "BFVPyfhel_Fractional": lambda: quietly(BFVPyfhel_Fractional, 4096, 65537),
    "CKKSPyfhel": lambda: CKKSPyfhel(m=8192, scale=2**30, qi=[60, 30, 30, 60]),
}


@pytest.mark.parametrize("make", ENCRYPTED.values(), ids=ENCRYPTED)
def test_a_server_evaluates_and_cannot_decrypt(make: Callable[[], Any]) -> None:
    client, server = make(), make()
    client.generate_keys()
    client.generate_relin_keys()
    assert isinstance(client.get_public_key(), bytes)
    server.load_public_key(client.get_public_key())
    server.load_relin_key(client.get_relin_key())
    x = client.encrypt_matrix([[1, 2]])
    y = SquareLayer(server)(LinearLayer(server, [[3, 4]], [1])(x)) + server.encrypt(5)
    assert client.decrypt(y[0, 0]) == pytest.approx(149, rel=1e-3)
    for call in (server.decrypt_matrix, RencryptionLayer(server)):
        with pytest.raises(MissingKeyError, match="secret key"):
            call(y)
    stranger = make()
    stranger.generate_keys()
    with pytest.raises(KeyMismatchError):
        stranger.decrypt(y[0, 0])


def test_missing_keys_are_named() -> None:
    HE = CKKSPyfhel(m=8192, scale=2**30, qi=[60, 30, 30, 60])
    for call in (HE.get_public_key, HE.get_relin_key, lambda: HE.encrypt(1), HE.generate_relin_keys):
        with pytest.raises(MissingKeyError):
            call()
    bfv = quietly(BFVPyfhel)
    assert bfv.decode(bfv.encode(3)) == 3
    other = quietly(BFVPyfhel)
    other.generate_keys()
    assert bfv.noise_budget(other.encrypt(1)) == "Can't get NB without secret key."
    server = CKKSPyfhel(m=8192, scale=2**30, qi=[60, 30, 30, 60])
    client = CKKSPyfhel(m=8192, scale=2**30, qi=[60, 30, 30, 60])
    client.generate_keys()
    server.load_public_key(client.get_public_key())
    with pytest.raises(MissingKeyError, match="relinearisation"):
        server.power(client.encrypt(2), 2)


def test_noise_budgets() -> None:
    HE = quietly(BFVPyfhel)
    HE.generate_keys()
    fresh = HE.encrypt(1)
    assert 0 < HE.noise_budget(fresh * 1000) < HE.noise_budget(fresh)
    assert CKKSPyfhel.noise_budget(HE, fresh) is None
    assert MockHE().noise_budget(1) is None


def test_only_squares_in_ckks() -> None:
    HE = CKKSTenSEAL(m=8192, scale=2**30, qi=[60, 30, 30, 60])
    with pytest.raises(NotImplementedError, match="Only square"):
        HE.power(1.0, 3)
    with pytest.raises(TypeError):
        HE.power(np.ones(2), 2)


def test_ckks_says_when_its_levels_are_used_up() -> None:
    HE = CKKSPyfhel(m=4096, scale=2**30, qi=[35, 30, 35])
    HE.generate_keys()
    one = HE.power(HE.encrypt(1), 2)
    with pytest.raises(NoiseBudgetError, match="modulus chain"):
        LinearLayer(HE, [[1.0]])(np.array([[one]]))


def test_whole_numbers_must_be_whole_and_fit() -> None:
    HE = quietly(BFVPyfhel, p_bits=None, p=101)
    HE.generate_keys()
    with pytest.raises(EncodingError, match="whole number"):
        HE.encrypt(0.5)
    with pytest.raises(EncodingError, match="larger plaintext modulus"):
        HE.encrypt_matrix([1, 51])
    with pytest.raises(EncodingError):
        LinearLayer(HE, [[0.5]])(HE.encrypt_matrix([[1]]))
    with pytest.raises(InvalidValueError, match="p_bits"):
        BFVPyfhel(p_bits=None)


def test_averages_of_whole_numbers_are_not_zero() -> None:
    """Upstream encoded 1/4 as 0."""
    HE = quietly(BFVPyfhel)
    HE.generate_keys()
    pooled = AveragePoolLayer(HE, 2)(HE.encrypt_matrix([[[[1, 2], [4, 8]]]]))
    assert HE.decrypt(pooled[0, 0, 0, 0]) == 3.75
    twice = AveragePoolLayer(HE, (1, 1))(pooled)
    shifted = LinearLayer(HE, [[2]], [10])(twice.reshape(1, 1))
    assert HE.decrypt(shifted[0, 0]) == 17.5
    with pytest.raises(EncodingError):
        HE.encrypt(HE.decrypt(pooled[0, 0, 0, 0]))


def test_threads_are_a_setting(HE: Any) -> None:
    if isinstance(HE, MockHE):
        with pytest.raises(UnsupportedError):
            _ = HE.threads
        return
    HE.threads = 1
    assert HE.decrypt(HE.encrypt(2)) == pytest.approx(2, abs=1e-3)
    with pytest.raises(InvalidValueError):
        HE.threads = -1
    HE.threads = 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: BFVPyfhel(m=0),
        lambda: BFVPyfhel(m=-2048),
        lambda: BFVPyfhel(m=3000),
        lambda: BFVPyfhel(sec=80),
        lambda: BFVPyfhel(p_bits=70),
        lambda: BFVPyfhel(p_bits=None, p=-5),
        lambda: BFVPyfhel_Fractional(2048, 1),
        lambda: CKKSPyfhel(m=0),
        lambda: CKKSPyfhel(qi=[60]),
        lambda: CKKSPyfhel(qi=[60, -3, 60]),
        lambda: CKKSPyfhel(qi=[60, 80]),
        lambda: CKKSPyfhel(m=1024, qi=[5, 5, 5]),
        lambda: CKKSPyfhel(scale=0),
        lambda: CKKSPyfhel(scale=float("nan")),
    ],
)
def test_unusable_parameters(make: Callable[[], Any]) -> None:
    with pytest.raises((ParameterError, InvalidValueError)):
        quietly(make)
