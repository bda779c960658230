"""Layers and operators on ciphertexts: a layer call on an array is one call of the native module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pycrcnn import _native
from pycrcnn._arrays import Objects, objects_from
from pycrcnn._engine.alignment import Alignment
from pycrcnn._engine.interface import check_shape
from pycrcnn._values import Encoding, PyCtxt, PyPtxt
from pycrcnn.errors import InvalidValueError, OperandError

__all__ = ["Engine"]


class Engine(Alignment):
    """All that can be done with the ciphertexts of one BFV or CKKS instance; see :class:`Encryption`."""

    # Layers

    def affine(self, affine_map: _native.AffineMap, images: Any) -> Objects:
        """Maps each image of a batch of ciphertexts, in one native call."""
        array = np.asarray(images, dtype=object)
        check_shape(affine_map, array.shape)
        inputs, encoding, divisor, key_id = self._aligned(list(array.flat))
        weight_scale, rescale = self._weight_scale(inputs)
        handles = _native.affine(
            self.context, self.encoder(encoding), affine_map, inputs, divisor, weight_scale, self.threads
        )
        if rescale:
            handles = self._rescaled(handles)
        kept = 1 if encoding is Encoding.CKKS else divisor
        wrapped = [PyCtxt._make(self, handle, encoding, kept, key_id) for handle in handles]
        return objects_from(wrapped, (array.shape[0], *affine_map.output_shape))

    def average(self, build: Callable[[float], _native.AffineMap], area: int, images: Any) -> Objects:
        """Averages over windows.

        The fractional encoding multiplies by 1/area. Whole numbers have no 1/area, and in CKKS it would cost a
        level: there the windows are summed, and the ciphertexts remember what to divide by.
        """
        array = np.asarray(images, dtype=object)
        inputs, encoding, divisor, key_id = self._aligned(list(array.flat))
        by_sums = encoding is not Encoding.FRACTIONAL
        affine_map = build(1.0 if by_sums else 1 / area)
        handles = _native.affine(self.context, self.encoder(encoding), affine_map, inputs, 1, 1.0, self.threads)
        kept = divisor * area if by_sums else divisor
        wrapped = [PyCtxt._make(self, handle, encoding, kept, key_id) for handle in handles]
        return objects_from(wrapped, (array.shape[0], *affine_map.output_shape))

    def square(self, values: Any) -> Objects:
        """Squares each value, relinearises where there is a key for it, and rescales (CKKS)."""
        array = np.asarray(values, dtype=object)
        items = list(array.flat)
        at = [i for i, item in enumerate(items) if isinstance(item, PyCtxt)]
        ciphertexts = self._bound([items[i] for i in at])
        squares = self._reduced(self.evaluator.square([c._bind(self) for c in ciphertexts], self.threads))
        result: list[Any] = [item if isinstance(item, PyCtxt) else item * item for item in items]
        for i, c, handle in zip(at, ciphertexts, squares, strict=True):
            result[i] = PyCtxt._make(self, handle, c._encoding, c._divisor**2, c._key_id)
        return objects_from(result, array.shape)

    def refresh(self, values: Any) -> Objects:
        """Decrypts and encrypts again: a full noise budget, for whoever holds the secret key."""
        array = np.asarray(values, dtype=object)
        first = next((c for c in array.flat if isinstance(c, PyCtxt)), None)
        encoding = first._encoding if first is not None else self.default
        numbers = self.decrypt(array)
        if encoding in (Encoding.INTEGER, Encoding.SCALAR):
            numbers = np.rint(numbers)
        return self.encrypt(numbers, encoding)

    # Single ciphertexts

    def negate(self, a: PyCtxt) -> PyCtxt:
        """-a."""
        [handle] = self.evaluator.negate([self._bound([a])[0]._bind(self)], self.threads)
        return PyCtxt._make(self, handle, a._encoding, a._divisor, a._key_id)

    def power(self, a: PyCtxt, exponent: int) -> PyCtxt:
        """The power: a multiplied by itself."""
        if isinstance(exponent, bool) or not isinstance(exponent, int | np.integer) or exponent < 1:
            raise InvalidValueError(f"exponent: {exponent!r} is not a whole number from 1 up")
        result, base, left = None, a, int(exponent)
        while True:
            if left & 1:
                result = base if result is None else self.combine("multiply", result, base)
            left >>= 1
            if not left:
                return PyCtxt(result)
            [base] = self.square([base])

    def combine(self, operation: str, a: PyCtxt, b: Any, *, reflected: bool = False) -> PyCtxt:
        """A + b, a - b (b - a where reflected) or a * b for a ciphertext, plaintext or number b."""
        if isinstance(b, PyCtxt):
            return self._combine_ciphertexts(operation, a, b)
        if operation == "sub":
            left = self.negate(a) if reflected else a
            return self._combine_plain("add", left, b) if reflected else self._combine_plain("sub", left, b)
        return self._combine_plain(operation, a, b)

    def _combine_ciphertexts(self, operation: str, a: PyCtxt, b: PyCtxt) -> PyCtxt:
        if operation == "multiply":
            self._bound([a, b])
            self._same_encoding([a, b])
            x, y = self._same_level([a._bind(self), b._bind(self)])
            [handle] = self._reduced(self.evaluator.multiply([x], [y], self.threads))
            return PyCtxt._make(self, handle, a._encoding, a._divisor * b._divisor, a._key_id or b._key_id)
        [x, y], encoding, divisor, key_id = self._aligned_ciphertexts([a, b])
        method = self.evaluator.add if operation == "add" else self.evaluator.sub
        [total] = method([x], [y], self.threads)
        return PyCtxt._make(self, total, encoding, divisor, key_id)

    def _combine_plain(self, operation: str, a: PyCtxt, b: Any) -> PyCtxt:
        handle = self._bound([a])[0]._bind(self)
        if isinstance(b, PyPtxt) and b._encoding is not a._encoding:
            raise OperandError(f"a {a._encoding.value} ciphertext does not mix with a {b._encoding.value} plaintext")
        if a._encoding is Encoding.CKKS:
            return self._combine_constant(operation, a, self._number(b))
        factor = 1 if operation == "multiply" else a._divisor
        if isinstance(b, PyPtxt) and factor == 1:
            plaintext = b._handle
        else:
            [plaintext], _ = self._plaintexts([self._number(b) * factor], a._encoding)
        method = getattr(self.evaluator, f"{operation}_plain")
        [result] = method([handle], [plaintext], self.threads)
        return PyCtxt._make(self, result, a._encoding, a._divisor, a._key_id)

    def _combine_constant(self, operation: str, a: PyCtxt, number: float) -> PyCtxt:
        """CKKS: with a number, as an affine map of one value."""
        if operation == "multiply":
            product = _native.AffineMap.linear(np.array([[number]], float), None)
            [[result]] = self.affine(product, objects_from([a], (1, 1)))
            return result  # type: ignore[no-any-return]
        # A product by 1 at scale 1 costs no level.
        shift = _native.AffineMap.linear(np.ones((1, 1)), np.array([number if operation == "add" else -number], float))
        handle = a._bind(self)
        [sum_] = _native.affine(
            self.context, self.encoder(a._encoding), shift, [handle], a._divisor, float(a._divisor), self.threads
        )
        return PyCtxt._make(self, sum_.with_scale(handle.scale), a._encoding, a._divisor, a._key_id)
