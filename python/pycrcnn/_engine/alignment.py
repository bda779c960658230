"""Bringing ciphertexts together: one level, one scale, one divisor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pycrcnn import _native
from pycrcnn._arrays import as_numbers
from pycrcnn._engine.encryption import Encryption
from pycrcnn._values import Encoding, PyCtxt, PyPtxt
from pycrcnn.errors import InvalidTypeError, MissingKeyError, NoiseBudgetError, OperandError

__all__ = ["Alignment"]

#: Bits that a CKKS result at the last level keeps for the size of its numbers.
_INTEGER_BITS = 10
#: Scales closer than this are taken as equal: the error lies far below CKKS's own.
_SCALE_TOLERANCE = 2.0**-30


class Alignment(Encryption):
    """What operations on several ciphertexts need first."""

    def _number(self, value: Any) -> float:
        """A plaintext or number as a Python number; whole ones stay exact."""
        if isinstance(value, PyPtxt):
            return self.decode([value])[0].item()  # type: ignore[no-any-return]
        return int(value) if isinstance(value, int | np.integer) else float(as_numbers(value, "operand"))

    def _aligned(self, items: list[Any]) -> tuple[list[_native.Ciphertext | None], Encoding, int, str | None]:
        """Ciphertexts and numbers as native ciphertexts that go together; None stands for zero."""
        ciphertexts = [item for item in items if isinstance(item, PyCtxt)]
        if not ciphertexts:
            raise InvalidTypeError("an array of numbers is not encrypted; encrypt it with encrypt_matrix first")
        handles, encoding, divisor, key_id = self._aligned_ciphertexts(ciphertexts)
        remaining, like = iter(handles), handles[0]
        aligned = [
            next(remaining) if isinstance(item, PyCtxt) else self._constant(item, encoding, divisor, like)
            for item in items
        ]
        return aligned, encoding, divisor, key_id

    def _aligned_ciphertexts(
        self, ciphertexts: list[PyCtxt]
    ) -> tuple[list[_native.Ciphertext], Encoding, int, str | None]:
        """Native ciphertexts of one encoding, at one level, scale and divisor."""
        self._bound(ciphertexts)
        encoding = self._same_encoding(ciphertexts)
        divisor = math.lcm(*(c._divisor for c in ciphertexts))
        handles = [self._times(c, divisor // c._divisor) for c in ciphertexts]
        key_id = next((c._key_id for c in ciphertexts if c._key_id), self.key_id)
        return self._matched(handles), encoding, divisor, key_id

    def _times(self, ciphertext: PyCtxt, factor: int) -> _native.Ciphertext:
        handle = ciphertext._bind(self)
        if factor == 1:
            return handle
        product = _native.AffineMap.linear(np.array([[float(factor)]]), None)
        [handle] = _native.affine(
            self.context, self.encoder(ciphertext._encoding), product, [handle], 1, 1.0, self.threads
        )
        return handle

    def _same_level(self, handles: list[_native.Ciphertext]) -> list[_native.Ciphertext]:
        primes = min((h.primes for h in handles), default=0)
        return [self._at_level(h, primes) for h in handles]

    def _at_level(self, handle: _native.Ciphertext, primes: int) -> _native.Ciphertext:
        return handle if handle.primes == primes else self.evaluator.mod_switch([handle], primes, self.threads)[0]

    def _matched(self, handles: list[_native.Ciphertext]) -> list[_native.Ciphertext]:
        """The same ciphertexts at one level and, in CKKS, one scale."""
        if self.context.scheme != "ckks" or not handles:
            return self._same_level(handles)
        lowest = min(handles, key=lambda h: h.primes)
        if any(h.primes == lowest.primes and not _same(h.scale, lowest.scale) for h in handles):
            if lowest.primes == 1:
                raise OperandError("scales differ and no level is left to match them; choose a longer modulus chain")
            return [self._rescaled_to(h, lowest.primes - 1, self.ckks_scale) for h in handles]
        return [
            self._at_level(h, lowest.primes).with_scale(lowest.scale)
            if _same(h.scale, lowest.scale)
            else self._rescaled_to(h, lowest.primes, lowest.scale)
            for h in handles
        ]

    def _rescaled_to(self, handle: _native.Ciphertext, primes: int, scale: float) -> _native.Ciphertext:
        """CKKS: the same numbers at a lower level and another scale, through a product by 1 and a rescaling."""
        above = self._at_level(handle, primes + 1)
        one = _native.AffineMap.linear(np.ones((1, 1)), None)
        weight_scale = scale * self.context.moduli[primes] / above.scale
        product = _native.affine(self.context, self.encoder(Encoding.CKKS), one, [above], 1, weight_scale, self.threads)
        return self.evaluator.rescale(product, self.threads)[0].with_scale(scale)

    def _constant(
        self, item: Any, encoding: Encoding, divisor: int, like: _native.Ciphertext
    ) -> _native.Ciphertext | None:
        """A number among ciphertexts as a (transparent) ciphertext; None for zero."""
        number = self._number(item)
        if number == 0:
            return None
        constant = _native.AffineMap.linear(np.zeros((1, 1)), np.array([number], float))
        scale = like.scale if encoding is Encoding.CKKS else 1.0
        zero = self.evaluator.zero(like.primes, 1.0)
        [handle] = _native.affine(
            self.context,
            self.encoder(encoding),
            constant,
            [zero],
            divisor,
            scale * divisor if scale != 1.0 else 1.0,
            self.threads,
        )
        return handle.with_scale(like.scale)

    # CKKS's scales

    def _weight_scale(self, inputs: list[_native.Ciphertext | None]) -> tuple[float, bool]:
        """The scale for the weights of a map, and whether a rescaling follows.

        With a level to spend the scale is such that after the rescaling by its prime the result has the
        encoder's scale again. At the last level the product has to fit the prime that is left.
        """
        first = next((h for h in inputs if h is not None), None)
        if self.context.scheme != "ckks" or first is None:
            return 1.0, False
        last = self.context.moduli[first.primes - 1]
        if first.primes > 1:
            return self.ckks_scale * last / first.scale, True
        bits = math.floor(math.log2(last) - math.log2(first.scale)) - _INTEGER_BITS
        if bits < _INTEGER_BITS:
            raise NoiseBudgetError(
                "no level is left for another layer; choose parameters with a longer modulus chain (qi)",
                code="level-exhausted",
            )
        return 2.0 ** min(bits, math.log2(self.ckks_scale)), False

    def _rescaled(self, handles: list[_native.Ciphertext]) -> list[_native.Ciphertext]:
        scale = self.ckks_scale
        rescaled = self.evaluator.rescale(handles, self.threads)
        return [h.with_scale(scale) if _same(h.scale, scale) else h for h in rescaled]

    def _reduced(self, products: list[_native.Ciphertext]) -> list[_native.Ciphertext]:
        """Products of ciphertexts, relinearised where there is a key, and rescaled (CKKS)."""
        keys = self.evaluation_keys
        if keys is not None and keys.relinearization:
            products = self.evaluator.relinearize(products, keys, self.threads)
        elif self.context.scheme == "ckks":
            raise MissingKeyError("a product of CKKS ciphertexts needs a relinearisation key; call relinKeyGen() first")
        return self._rescaled(products) if self.context.scheme == "ckks" else products


def _same(left: float, right: float) -> bool:
    """Whether two scales are equal but for rounding."""
    return abs(left / right - 1) < _SCALE_TOLERANCE
