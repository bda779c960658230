"""What every layer calls: parameters, keys and encoders of one scheme, and arithmetic on object arrays.

A layer call on an array of ciphertexts is one call of the native module. :class:`Engine` does it for
BFV and CKKS, :class:`ClearEngine` for plain numbers.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np

from pycrcnn import _native
from pycrcnn._arrays import Numbers, Objects, as_integers, as_numbers, as_tensor, objects_from
from pycrcnn._values import Encoding, PyCtxt, PyPtxt
from pycrcnn.errors import (
    InvalidTypeError,
    InvalidValueError,
    KeyMismatchError,
    MissingKeyError,
    NoiseBudgetError,
    OperandError,
    ParameterError,
    ShapeError,
    UnsupportedError,
)

__all__ = ["ClearEngine", "Encoder", "Engine", "LayerEngine", "engine_behind", "engine_of"]

Encoder: TypeAlias = (
    _native.FractionalEncoder
    | _native.IntegerEncoder
    | _native.ScalarEncoder
    | _native.BatchEncoder
    | _native.CkksEncoder
)

#: Bits that a CKKS result at the last level keeps for the size of its numbers.
_INTEGER_BITS = 10
#: Scales closer than this are taken as equal: the error lies far below CKKS's own.
_SCALE_TOLERANCE = 2.0**-30


class LayerEngine(Protocol):
    """What layers and matrix functions need of an engine."""

    def encode(self, values: Any) -> Any:
        """Encodes each number of an array."""

    def decode(self, values: Any) -> Any:
        """The numbers of an array of plaintexts."""

    def encrypt(self, values: Any) -> Any:
        """Encrypts each number of an array."""

    def decrypt(self, values: Any) -> Any:
        """The numbers of an array of ciphertexts."""

    def affine(self, affine_map: _native.AffineMap, images: Any) -> Any:
        """Maps each image of a batch."""

    def average(self, build: Callable[[float], _native.AffineMap], area: int, images: Any) -> Any:
        """Averages over windows of `area` values; `build(w)` maps by window sums times w."""

    def square(self, values: Any) -> Any:
        """Squares each value."""

    def refresh(self, values: Any) -> Any:
        """Decrypts and encrypts again."""

    def numbers(self, values: Any, name: str) -> Numbers:
        """The numbers behind encoded or plain values."""


class ClearEngine:
    """The same layers on plain numbers."""

    def encode(self, values: Any) -> Any:
        """The values themselves."""
        return as_tensor(values)

    decode = encrypt = decrypt = encode

    def affine(self, affine_map: _native.AffineMap, images: Any) -> Numbers:
        """Maps each image of a batch."""
        values = as_numbers(images, "images")
        _check_shape(affine_map, values.shape)
        return affine_map.apply(values.reshape(-1)).reshape(values.shape[0], *affine_map.output_shape)

    def average(self, build: Callable[[float], _native.AffineMap], area: int, images: Any) -> Numbers:
        """Averages over windows."""
        return self.affine(build(1 / area), images)

    def square(self, values: Any) -> Numbers:
        """Squares each value."""
        return np.square(as_numbers(values))

    def refresh(self, values: Any) -> Numbers:
        """The values themselves."""
        return as_numbers(values)

    def numbers(self, values: Any, name: str) -> Numbers:
        """The values themselves."""
        return as_numbers(values, name)


class Engine:
    """Parameters, keys and encoders of one BFV or CKKS instance.

    Parameters
    ----------
    context : _native.Context
        The parameters.
    encoders : Mapping[Encoding, encoder]
        The encoders that the parameters allow.
    default : Encoding
        The one that arrays of numbers get.
    threads : int, optional
        Threads that work is spread over; 0 stands for all cores.
    """

    def __init__(
        self, context: _native.Context, encoders: Mapping[Encoding, Encoder], default: Encoding, threads: int = 0
    ) -> None:
        self.context = context
        self.encoders = dict(encoders)
        self.default = default
        self.evaluator = _native.Evaluator(context)
        self.threads = threads
        self.secret_key: _native.SecretKey | None = None
        self.public_key: _native.PublicKey | None = None
        self.evaluation_keys: _native.EvaluationKeys | None = None
        self.key_id: str | None = None

    # Keys

    def generate_keys(self) -> None:
        """Makes a secret and a public key, in place of those that were there."""
        self.secret_key, self.public_key = _native.generate_keys(self.context)
        self.evaluation_keys = None
        self.key_id = secrets.token_hex(8)

    def generate_evaluation_keys(self, steps: Iterable[int] | None = None) -> None:
        """Makes the relinearisation key, and rotation keys for `steps`, as far as the parameters have room."""
        secret_key = self.require_secret_key("making a relinearisation key")
        self.evaluation_keys = _native.generate_evaluation_keys(self.context, secret_key, list(steps or ()))

    def adopt_key_id(self, key_id: str | None) -> None:
        """Prepares for a key that is loaded: keys of another pair than its are dropped."""
        if key_id != self.key_id:
            self.secret_key = self.public_key = self.evaluation_keys = None
            self.key_id = key_id

    def require_secret_key(self, purpose: str) -> _native.SecretKey:
        """The secret key.

        Raises
        ------
        MissingKeyError
            Where there is none.
        """
        if self.secret_key is None:
            raise MissingKeyError(
                f"{purpose} needs the secret key, and this object has none; call keyGen() or restore the secret key"
            )
        return self.secret_key

    # Numbers

    def encoder(self, encoding: Encoding) -> Encoder:
        """The encoder of a kind.

        Raises
        ------
        UnsupportedError
            Where the parameters do not allow it.
        """
        try:
            return self.encoders[encoding]
        except KeyError:
            have = ", ".join(e.value for e in self.encoders)
            raise UnsupportedError(f"these parameters have no {encoding.value} encoding, only {have}") from None

    @property
    def ckks_scale(self) -> float:
        """The scale of fresh CKKS ciphertexts."""
        encoder = self.encoder(Encoding.CKKS)
        return encoder.scale if isinstance(encoder, _native.CkksEncoder) else 1.0

    def _plaintexts(self, values: Any, encoding: Encoding) -> tuple[list[_native.Plaintext], tuple[int, ...]]:
        encoder = self.encoder(encoding)
        if isinstance(encoder, _native.FractionalEncoder | _native.CkksEncoder):
            numbers = as_numbers(values)
            return encoder.encode(numbers.reshape(-1)), numbers.shape
        integers = as_integers(values)
        if isinstance(encoder, _native.BatchEncoder):
            return [encoder.encode(integers.reshape(-1))], ()
        return encoder.encode(integers.reshape(-1)), integers.shape

    def encode(self, values: Any, encoding: Encoding | None = None) -> Objects:
        """Encodes each number of an array; a batch encoding makes one plaintext of all."""
        encoding = encoding or self.default
        handles, shape = self._plaintexts(values, encoding)
        return objects_from([PyPtxt(self, handle, encoding) for handle in handles], shape)

    def encrypt(self, values: Any, encoding: Encoding | None = None) -> Objects:
        """Encrypts each number of an array, with the secret key where it is there (less noise)."""
        encoding = encoding or self.default
        handles, shape = self._plaintexts(values, encoding)
        return objects_from([self._wrap(c, encoding) for c in self.encrypt_plaintexts(handles)], shape)

    def encrypt_plaintexts(self, handles: list[_native.Plaintext]) -> list[_native.Ciphertext]:
        """Encrypts plaintexts, with the secret key where it is there.

        Raises
        ------
        MissingKeyError
            Where there is neither a secret nor a public key.
        """
        key = self.secret_key or self.public_key
        if key is None:
            raise MissingKeyError("encrypting needs a public or secret key; call keyGen() or restore one")
        return _native.encrypt(self.context, key, handles, self.threads)

    def decode(self, values: Any) -> Numbers:
        """The numbers of an array of plaintexts."""
        array = np.asarray(values, dtype=object)
        plaintexts = list(array.flat)
        for item in plaintexts:
            if not isinstance(item, PyPtxt):
                raise InvalidTypeError(f"decoding needs plaintexts (PyPtxt), not {type(item).__name__}")
        encodings = [p._encoding for p in plaintexts]
        return self._decoded([p._handle for p in plaintexts], encodings, [1] * len(plaintexts), array.shape)

    def decrypt(self, values: Any) -> Numbers:
        """The numbers of an array of ciphertexts; numbers among them (padding) stay.

        Raises
        ------
        MissingKeyError
            Without the secret key.
        NoiseBudgetError
            Where the noise has used up the budget of a ciphertext.
        """
        secret_key = self.require_secret_key("decrypting")
        array = np.asarray(values, dtype=object)
        items = list(array.flat)
        at = [i for i, item in enumerate(items) if isinstance(item, PyCtxt)]
        ciphertexts = self._bound([items[i] for i in at])
        handles = _native.decrypt(self.context, secret_key, [c._bind(self) for c in ciphertexts], self.threads)
        decoded = self._decoded(
            handles, [c._encoding for c in ciphertexts], [c._divisor for c in ciphertexts], (len(at),)
        )
        if len(at) == len(items):
            return decoded.reshape(array.shape + decoded.shape[1:])
        numbers = np.zeros(len(items))
        numbers[at] = decoded
        constants = [i for i, item in enumerate(items) if not isinstance(item, PyCtxt)]
        numbers[constants] = as_numbers([items[i] for i in constants])
        return numbers.reshape(array.shape)

    def _decoded(
        self, handles: list[_native.Plaintext], encodings: list[Encoding], divisors: list[int], shape: tuple[int, ...]
    ) -> Numbers:
        kinds = set(encodings) or {self.default}
        if len(kinds) > 1:
            raise OperandError(f"one array holds encodings {sorted(e.value for e in kinds)}; take them apart first")
        encoder = self.encoder(kinds.pop())
        if isinstance(encoder, _native.BatchEncoder):
            slots = [encoder.decode(handle) for handle in handles]
            return np.asarray(np.array(slots) / np.array(divisors)[:, None]).reshape(*shape, -1)
        numbers: Any = encoder.decode(handles)
        if any(d != 1 for d in divisors):
            numbers = numbers / np.array(divisors, dtype=float)
        return numbers.reshape(shape)  # type: ignore[no-any-return]

    def noise_budget(self, values: Any) -> Any:
        """Bits of noise budget of each ciphertext (BFV)."""
        secret_key = self.require_secret_key("measuring the noise budget")
        array = np.asarray(values, dtype=object)
        handles = [c._bind(self) for c in self._bound(list(array.flat))]
        return np.array(_native.noise_budget(self.context, secret_key, handles, self.threads)).reshape(array.shape)

    def numbers(self, values: Any, name: str) -> Numbers:
        """The numbers behind encoded or plain values."""
        array = as_tensor(values, name)
        if array.dtype == object and any(isinstance(x, PyPtxt) for x in array.flat):
            return np.asarray(self.decode(array), dtype=np.float64)
        return as_numbers(array, name)

    # Layers

    def affine(self, affine_map: _native.AffineMap, images: Any) -> Objects:
        """Maps each image of a batch of ciphertexts, in one native call."""
        array = np.asarray(images, dtype=object)
        _check_shape(affine_map, array.shape)
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

    def _number(self, value: Any) -> float:
        """A plaintext or number as a Python number; whole ones stay exact."""
        if isinstance(value, PyPtxt):
            return self.decode([value])[0].item()  # type: ignore[no-any-return]
        return int(value) if isinstance(value, int | np.integer) else float(as_numbers(value, "operand"))

    # Bringing ciphertexts together

    def _wrap(self, handle: _native.Ciphertext, encoding: Encoding) -> PyCtxt:
        return PyCtxt._make(self, handle, encoding, 1, self.key_id)

    def _bound(self, ciphertexts: list[Any]) -> list[PyCtxt]:
        """The same ciphertexts, checked to belong to these parameters and to one key."""
        keys = {self.key_id} - {None}
        for item in ciphertexts:
            if not isinstance(item, PyCtxt):
                raise InvalidTypeError(f"a ciphertext (PyCtxt) is needed, not {type(item).__name__}; encrypt it first")
            if not item._bind(self).belongs_to(self.context):
                raise KeyMismatchError("a ciphertext was made for other encryption parameters than this object's")
            keys |= {item._key_id} - {None}
        if len(keys) > 1:
            raise KeyMismatchError("ciphertexts under different keys do not mix; encrypt all with one key pair")
        return ciphertexts

    def _same_encoding(self, ciphertexts: list[PyCtxt]) -> Encoding:
        encodings = {c._encoding for c in ciphertexts} or {self.default}
        if len(encodings) > 1:
            raise OperandError(
                f"ciphertexts with encodings {sorted(e.value for e in encodings)} do not mix; encrypt all in one way"
            )
        return encodings.pop()

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


def _check_shape(affine_map: _native.AffineMap, shape: tuple[int, ...]) -> None:
    if shape[1:] != tuple(affine_map.input_shape):
        raise ShapeError(
            f"the layer takes images of shape {tuple(affine_map.input_shape)}, not {shape[1:]} (the first axis, "
            f"{shape[0]}, is the batch)"
        )


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
                return item._engine
    return _CLEAR
