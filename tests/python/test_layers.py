"""Layers on the first generation's ciphertexts, against a convolution written out as loops."""

# ruff: noqa: PT009, PT027 - some tests are written as PyCrCNN's users write theirs, with unittest

from __future__ import annotations

import unittest
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import with_keys
from pycrcnn.convolutional import convolutional_layer as conv
from pycrcnn.convolutional.convolutional_layer import Conv1d, Conv2d, ConvolutionalLayer
from pycrcnn.crypto import crypto as cr
from pycrcnn.errors import EncodingError, InvalidTypeError, InvalidValueError, KeyMismatchError, ShapeError
from pycrcnn.functional import average_pool as avg
from pycrcnn.functional.average_pool import AveragePoolLayer
from pycrcnn.functional.flatten_layer import FlattenLayer
from pycrcnn.functional.padding import apply_padding
from pycrcnn.functional.rencryption_layer import RencryptionLayer
from pycrcnn.functional.square_layer import SquareLayer, square, square2d
from pycrcnn.he.HE import MockHE
from pycrcnn.linear.linear_layer import LinearLayer, linear_multiply
from pycrcnn.pyfhel import PyCtxt, Pyfhel

Array = NDArray[np.float64]


def convolved(images: Array, weights: Array, stride: Any = (1, 1), padding: Any = (0, 0), bias: Any = None) -> Array:
    """The definition of a convolution, tap by tap."""
    padded = np.pad(images, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    filters, _, height, width = weights.shape
    rows = (padded.shape[2] - height) // stride[0] + 1
    columns = (padded.shape[3] - width) // stride[1] + 1
    result = np.zeros((len(images), filters, rows, columns))
    for y in range(rows):
        for x in range(columns):
            window = padded[:, :, y * stride[0] : y * stride[0] + height, x * stride[1] : x * stride[1] + width]
            result[:, :, y, x] = np.tensordot(window, weights, ([1, 2, 3], [1, 2, 3]))
    return result if bias is None else result + np.asarray(bias)[:, None, None]


class ConvolutionTests(unittest.TestCase):
    """The way PyCrCNN's own users write their tests."""

    def setUp(self) -> None:
        self.HE = with_keys(65537)
        self.HE.relinKeyGen(20, 100)
        rng = np.random.default_rng(7)
        self.image = rng.integers(-2, 3, (2, 2, 5, 4)).astype(float)
        self.weights = rng.normal(size=(3, 2, 3, 2))

    def test_weights_and_bias_are_encoded(self) -> None:
        layer = ConvolutionalLayer(self.HE, np.array([[[[1, 0], [-2, 0.5]]]]), stride=(2, 2), bias=np.array([3]))
        self.assertEqual(self.HE.decodeFrac(layer.weights[0][0][1][0]), -2)
        self.assertEqual(self.HE.decodeFrac(layer.weights[0][0][1][1]), 0.5)
        self.assertEqual(self.HE.decodeFrac(layer.bias[0]), 3)
        self.assertEqual(layer.stride, (2, 2))
        self.assertIsNone(ConvolutionalLayer(self.HE, self.weights).bias)
        self.assertTrue(
            np.allclose(cr.decode_matrix(self.HE, ConvolutionalLayer(self.HE, self.weights).weights), self.weights)
        )

    def test_a_convolution_is_a_convolution(self) -> None:
        encrypted = cr.encrypt_matrix(self.HE, self.image)
        for stride, padding, bias in [
            ((1, 1), (0, 0), None),
            ((1, 2), (1, 0), [3, -4, 0.5]),
            ((2, 1), (2, 3), [0, 0, 1]),
        ]:
            layer = ConvolutionalLayer(self.HE, self.weights, stride=stride, padding=padding, bias=bias)
            result = cr.decrypt_matrix(self.HE, layer(encrypted))
            expected = convolved(self.image, self.weights, stride, padding, bias)
            self.assertEqual(result.shape, expected.shape)
            self.assertTrue(np.allclose(result, expected, atol=1e-6))

    def test_whole_weights_are_exact(self) -> None:
        result = cr.decrypt_matrix(
            self.HE, ConvolutionalLayer(self.HE, np.rint(self.weights * 2))(cr.encrypt_matrix(self.HE, self.image))
        )
        np.testing.assert_array_equal(result, convolved(self.image, np.rint(self.weights * 2)))

    def test_one_image_and_one_filter(self) -> None:
        image, filter_matrix = np.arange(12.0).reshape(3, 4), np.array([[1.0, 0.0], [0.0, -1.0]])
        encrypted, encoded = cr.encrypt_matrix(self.HE, image), cr.encode_matrix(self.HE, filter_matrix)
        result = conv.convolute2d(encrypted, encoded, (1, 1))
        self.assertEqual(self.HE.decryptFrac(result[0][2]), image[0, 2] - image[1, 3])
        self.assertEqual(result.shape, (2, 3))
        signal = conv.convolute1d(encrypted[0], cr.encode_matrix(self.HE, [1, 2]), 2)
        self.assertEqual([self.HE.decryptFrac(c) for c in signal], [2, 8])

    def test_integer_ciphertexts_take_whole_weights(self) -> None:
        encrypted = np.array([[[[self.HE.encryptInt(v) for v in (3, -4, 5)]]]])
        result = ConvolutionalLayer(self.HE, [[[[2, -1]]]], bias=[7])(encrypted)
        self.assertEqual([self.HE.decryptInt(c) for c in result.flat], [17, -6])
        averaged = AveragePoolLayer(self.HE, (1, 2))(encrypted)
        self.assertEqual([self.HE.decryptInt(c) for c in averaged.flat], [-0.5, 0.5])
        self.assertEqual(self.HE.decryptInt(averaged.flat[0] + self.HE.encryptInt(4)), 3.5)
        with self.assertRaises(EncodingError):
            ConvolutionalLayer(self.HE, [[[[0.5]]]])(encrypted)


def test_one_dimension_pads_and_strides(fractional: Pyfhel, rng: np.random.Generator) -> None:
    signals, weights = rng.normal(size=(2, 3, 7)), rng.normal(size=(4, 3, 3))
    layer = Conv1d(fractional, weights, stride=2, padding=1, bias=[1, 2, 3, 4])
    result = cr.decrypt_matrix(fractional, layer(cr.encrypt_matrix(fractional, signals)))
    expected = convolved(signals[:, :, None], weights[:, :, None], (1, 2), (0, 1), [1, 2, 3, 4])[:, :, 0]
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_zero_weights_are_weights(fractional: Pyfhel) -> None:
    encrypted = cr.encrypt_matrix(fractional, np.ones((1, 1, 2, 2)))
    layer = ConvolutionalLayer(fractional, np.zeros((2, 1, 2, 2)), bias=[0, 5])
    result = layer(encrypted)
    np.testing.assert_array_equal(cr.decrypt_matrix(fractional, result), [[[[0]], [[5]]]])
    assert fractional.noiseLevel(result[0, 0, 0, 0]) > 0


def test_images_smaller_than_2x2(fractional: Pyfhel) -> None:
    encrypted = cr.encrypt_matrix(fractional, [[[[3.0]]]])
    assert fractional.decryptFrac(ConvolutionalLayer(fractional, [[[[2.0]]]])(encrypted)[0, 0, 0, 0]) == 6
    padded = ConvolutionalLayer(fractional, np.ones((1, 1, 3, 3)), padding=(1, 1))(encrypted)
    assert fractional.decryptFrac(padded[0, 0, 0, 0]) == 3
    assert fractional.decryptFrac(AveragePoolLayer(fractional, 1)(encrypted)[0, 0, 0, 0]) == 3


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, (1, 1), (0, 0)), ((2, 3), (1, 2), (1, 0)), (3, 2, 1)])
def test_pooling_counts_padded_zeros(
    fractional: Pyfhel, rng: np.random.Generator, kernel: Any, stride: Any, padding: Any
) -> None:
    images = rng.normal(size=(2, 2, 4, 5))
    layer = AveragePoolLayer(fractional, kernel_size=kernel, stride=stride, padding=padding)
    result = cr.decrypt_matrix(fractional, layer(cr.encrypt_matrix(fractional, images)))
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    filters = np.zeros((2, 2, *size))
    filters[0, 0] = filters[1, 1] = 1 / np.prod(size)
    pair = lambda v: (v, v) if isinstance(v, int) else v  # noqa: E731
    np.testing.assert_allclose(result, convolved(images, filters, pair(stride), pair(padding)), atol=1e-6)


def test_pooling_one_image(fractional: Pyfhel) -> None:
    image = np.arange(9.0).reshape(3, 3)
    result = avg._avg(fractional, cr.encrypt_matrix(fractional, image), kernel_size=(2, 2), stride=(1, 1))
    np.testing.assert_allclose(cr.decrypt_matrix(fractional, result), [[2, 3], [5, 6]], atol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 2), (2, 1, 2, 2)])
def test_squares_of_any_rank(fractional: Pyfhel, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    values = np.rint(rng.normal(size=shape) * 4) / 2
    encrypted = cr.encrypt_matrix(fractional, values)
    np.testing.assert_allclose(cr.decrypt_matrix(fractional, square(fractional, encrypted)), values**2, atol=1e-6)
    np.testing.assert_allclose(cr.decrypt_matrix(fractional, SquareLayer(fractional)(encrypted)), values**2, atol=1e-6)
    np.testing.assert_array_equal(cr.decrypt_matrix(fractional, encrypted), values)


def test_linear(fractional: Pyfhel, rng: np.random.Generator) -> None:
    values, weights, bias = rng.normal(size=(3, 5)), rng.normal(size=(2, 5)), rng.normal(size=2)
    encrypted = cr.encrypt_matrix(fractional, values)
    result = LinearLayer(fractional, weights.tolist(), bias)(encrypted)
    np.testing.assert_allclose(cr.decrypt_matrix(fractional, result), values @ weights.T + bias, atol=1e-6)
    without = LinearLayer(fractional, cr.encode_matrix(fractional, weights))(encrypted)
    np.testing.assert_allclose(cr.decrypt_matrix(fractional, without), values @ weights.T, atol=1e-6)


def test_names_of_early_scripts(fractional: Pyfhel) -> None:
    row, square_matrix = np.array([6.0, -0.5]), np.array([[9.0, -4.0], [0.25, 2.0]])
    assert cr.decode_vector(fractional, cr.encode_vector(fractional, row)).tolist() == row.tolist()
    for encode, encrypt, decrypt in [
        (cr.encode_matrix_2x2, cr.encrypt_matrix_2x2, cr.decrypt_matrix_2x2),
        (cr.encode_matrix_2d, cr.encrypt_matrix_2d, cr.decrypt_matrix_2d),
    ]:
        encrypted = encrypt(fractional, square_matrix)
        np.testing.assert_array_equal(decrypt(fractional, encrypted), square_matrix)
        np.testing.assert_array_equal(cr.decode_matrix_2d(fractional, encode(fractional, square_matrix)), square_matrix)
        product = linear_multiply(fractional, encrypted, encode(fractional, np.array([[1, 4], [-2, 0], [0, 8]])))
        np.testing.assert_array_equal(decrypt(fractional, product), [[-7, -18, -32], [8.25, -0.5, 16]])
        np.testing.assert_array_equal(decrypt(fractional, square2d(fractional, encrypted)), square_matrix**2)
    pooled = avg.avg_pool2d(fractional, cr.encrypt_matrix(fractional, [[[[8, 4, 0], [-4, 0, 20]]]]), 2, 1)
    np.testing.assert_array_equal(cr.decrypt_matrix(fractional, pooled), [[[[2, 6]]]])
    whole = avg._avg(fractional, cr.encrypt_matrix_2x2(fractional, square_matrix), 1, 2)
    np.testing.assert_array_equal(cr.decrypt_matrix_2x2(fractional, whole), [[9]])


def test_weights_can_be_exchanged_as_a_whole(fractional: Pyfhel) -> None:
    layer = LinearLayer(fractional, [[1, 2]], [0])
    encrypted = cr.encrypt_matrix(fractional, [[3, 4]])
    assert fractional.decryptFrac(layer(encrypted)[0, 0]) == 11
    layer.weights, layer.bias = [[2, 0]], [5]
    assert fractional.decryptFrac(layer(encrypted)[0, 0]) == 11
    with pytest.raises(ValueError, match="read-only"):
        layer.weights[0, 0] = fractional.encodeFrac(1)


def test_flatten_and_reencrypt(fractional: Pyfhel) -> None:
    values = np.arange(8.0).reshape(2, 1, 2, 2)
    encrypted = cr.encrypt_matrix(fractional, values)
    flat = FlattenLayer()(encrypted)
    assert flat.shape == (2, 4)
    assert FlattenLayer()(encrypted[:, 0]).shape == (2, 4)
    tired = SquareLayer(fractional)(flat)
    fresh = RencryptionLayer(fractional)(tired)
    assert fractional.noiseLevel(fresh[0, 0]) > fractional.noiseLevel(tired[0, 0])
    np.testing.assert_allclose(cr.decrypt_matrix(fractional, fresh), values.reshape(2, 4) ** 2, atol=1e-6)


def test_arrays_of_ciphertexts_are_arrays(fractional: Pyfhel) -> None:
    HE, values = fractional, np.arange(12.0).reshape(3, 4)
    encrypted = cr.encrypt_matrix(HE, values)
    assert encrypted.dtype == object
    assert isinstance(encrypted[0][0], PyCtxt)
    both = {
        "row": encrypted[1],
        "slice": encrypted[:, 1:3],
        "reshape": encrypted.reshape(2, 6),
        "sum of columns": np.sum(encrypted, axis=0),
        "sum": np.sum([encrypted, encrypted], axis=0),
        "plus array": encrypted + values,
        "array plus": values + encrypted,
        "times number": encrypted * 2,
        "padded": np.pad(encrypted, 1, constant_values=0),
        "concatenated": np.concatenate([encrypted, encrypted]),
    }
    plain = {
        "row": values[1],
        "slice": values[:, 1:3],
        "reshape": values.reshape(2, 6),
        "sum of columns": values.sum(axis=0),
        "sum": 2 * values,
        "plus array": 2 * values,
        "array plus": 2 * values,
        "times number": 2 * values,
        "padded": np.pad(values, 1),
        "concatenated": np.concatenate([values, values]),
    }
    for name, result in both.items():
        np.testing.assert_allclose(cr.decrypt_matrix(HE, result), plain[name], atol=1e-6, err_msg=name)
    assert HE.decryptFrac(encrypted.sum()) == 66


def test_layers_take_padding_among_ciphertexts(fractional: Pyfhel) -> None:
    HE, values, weights = fractional, np.arange(4.0).reshape(1, 1, 2, 2), np.ones((1, 1, 2, 2))
    padded = apply_padding(cr.encrypt_matrix(HE, values), (1, 0))
    assert padded.shape == (1, 1, 4, 2)
    result = cr.decrypt_matrix(HE, ConvolutionalLayer(HE, weights)(padded))
    np.testing.assert_allclose(result, convolved(values, weights, padding=(1, 0)), atol=1e-6)
    with_constant = np.pad(cr.encrypt_matrix(HE, values), ((0, 0), (0, 0), (0, 0), (0, 2)), constant_values=3)
    plain = np.pad(values, ((0, 0), (0, 0), (0, 0), (0, 2)), constant_values=3)
    result = cr.decrypt_matrix(HE, ConvolutionalLayer(HE, weights)(with_constant))
    np.testing.assert_allclose(result, convolved(plain, weights), atol=1e-6)
    np.testing.assert_allclose(
        cr.decrypt_matrix(HE, square(HE, padded)), np.pad(values, ((0, 0), (0, 0), (1, 1), (0, 0))) ** 2
    )


def test_ciphertexts_of_different_sizes_go_through_one_layer() -> None:
    HE = with_keys(257, 4096)
    a, b = HE.encryptFrac(3), HE.encryptFrac(2)
    result = LinearLayer(HE, [[1, 2]])(np.array([[HE.square(a), b]]))
    assert HE.decryptFrac(result[0, 0]) == 13


def test_shapes_that_do_not_fit_are_named(fractional: Pyfhel) -> None:
    encrypted = cr.encrypt_matrix(fractional, np.ones((1, 1, 3, 3)))
    cases: list[tuple[Any, str]] = [
        (lambda: ConvolutionalLayer(fractional, np.ones((1, 2, 2)))(encrypted), r"\[filters, channels, y, x\]"),
        (lambda: ConvolutionalLayer(fractional, np.ones((1, 2, 2, 2)))(encrypted), "conv2d"),
        (lambda: ConvolutionalLayer(fractional, np.ones((1, 1, 4, 4)))(encrypted), "conv2d"),
        (
            lambda: ConvolutionalLayer(fractional, np.ones((1, 1, 2, 2)), bias=[1, 2]),
            "one value for each of the 1 filters",
        ),
        (lambda: ConvolutionalLayer(fractional, np.ones((1, 1, 2, 2)))(encrypted[0]), "4-D"),
        (lambda: ConvolutionalLayer(fractional, np.ones((1, 1, 2, 2)))(encrypted[:0]), "4-D"),
        (lambda: ConvolutionalLayer(fractional, [[[[1, 2], [3]]]]), "different lengths"),
        (lambda: LinearLayer(fractional, np.ones((2, 8)))(FlattenLayer()(encrypted)), r"\(8,\), not \(9,\)"),
        (lambda: AveragePoolLayer(fractional, 5)(encrypted), "conv2d"),
        (lambda: FlattenLayer()(encrypted[0, 0, 0]), "4-D or 3-D"),
        (lambda: conv.convolute2d(encrypted, np.ones((2, 2)), 1), "rank 2"),
        (lambda: apply_padding([1], (1, 1)), "at least 2 axes"),
    ]
    for call, message in cases:
        with pytest.raises(ShapeError, match=message):
            call()


def test_wrong_values_are_named(fractional: Pyfhel) -> None:
    weights = np.ones((1, 1, 1, 1))
    with pytest.raises(InvalidTypeError, match="dtype"):
        ConvolutionalLayer(fractional, weights.astype(str))
    with pytest.raises(InvalidTypeError, match="dtype"):
        cr.encrypt_matrix(fractional, np.array([1j]))
    with pytest.raises(InvalidTypeError, match="dtype"):
        cr.encrypt_matrix(fractional, np.array([None, "a"], dtype=object))
    with pytest.raises(EncodingError, match=r"nan at index \(0, 1\)"):
        cr.encrypt_matrix(fractional, [[1, np.nan]])
    with pytest.raises(EncodingError, match="1e\\+30|integer"):
        cr.encrypt_matrix(fractional, [1, 1e30])
    with pytest.raises(InvalidValueError, match="stride"):
        ConvolutionalLayer(fractional, weights, stride=0)
    with pytest.raises(InvalidTypeError, match="padding"):
        ConvolutionalLayer(fractional, weights, padding=(1, 2, 3))
    with pytest.raises(InvalidTypeError, match="not encrypted"):
        LinearLayer(fractional, [[1]])(np.ones((1, 1)))
    with pytest.raises(InvalidTypeError, match="PyPtxt"):
        cr.decode_matrix(fractional, np.ones(2))
    with pytest.raises(InvalidTypeError, match="HE"):
        ConvolutionalLayer(None, weights)
    with pytest.raises(InvalidTypeError, match="decrypt it first"):
        np.array([fractional.encryptFrac(1)], dtype=float)


def test_ciphertexts_of_two_keys_in_one_array(fractional: Pyfhel) -> None:
    mixed = np.array([[fractional.encryptFrac(1), with_keys().encryptFrac(1)]])
    for call in (lambda: LinearLayer(fractional, [[1, 1]])(mixed), lambda: cr.decrypt_matrix(fractional, mixed)):
        with pytest.raises(KeyMismatchError, match="different keys"):
            call()


def test_a_plain_run_is_the_same_network(rng: np.random.Generator) -> None:
    HE, images, weights = MockHE(), rng.normal(size=(2, 2, 6, 6)), rng.normal(size=(4, 1, 3, 3))
    grouped = Conv2d(HE, weights, groups=2, dilation=2)(images)
    spread = np.zeros((4, 2, 5, 5))
    for f in range(4):
        spread[f, f // 2, ::2, ::2] = weights[f, 0]
    np.testing.assert_allclose(grouped, convolved(images, spread))
