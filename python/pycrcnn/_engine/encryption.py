"""Parameters, keys, and arrays of numbers in and out of plaintexts and ciphertexts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from pycrcnn import _native
from pycrcnn._arrays import Numbers, Objects, as_integers, as_numbers, as_tensor, objects_from
from pycrcnn._storage import pack, unpack
from pycrcnn._values import Encoding, PyCtxt, PyPtxt
from pycrcnn.errors import (
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    KeyMismatchError,
    MissingKeyError,
    OperandError,
    UnsupportedError,
)

__all__ = ["Encoder", "Encryption", "checked_threads"]

Encoder: TypeAlias = (
    _native.FractionalEncoder
    | _native.IntegerEncoder
    | _native.ScalarEncoder
    | _native.BatchEncoder
    | _native.CkksEncoder
)

Key = TypeVar("Key")


def checked_threads(threads: int) -> int:
    """A number of threads; 0 stands for all cores."""
    if threads < 0:
        raise InvalidValueError(f"threads: {threads} is below 0; 0 stands for all cores")
    return threads


class Encryption:
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
        self.threads = checked_threads(threads)
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

    def pack_key(self, kind: str, payload: bytes = b"") -> bytes:
        """Bytes of a key, with the name of the pair that it belongs to."""
        return pack(kind, {"key": self.key_id}, payload)

    def unpack_key(self, kind: str, data: bytes, read: Callable[[_native.Context, bytes], Key]) -> Key:
        """A key from bytes of :meth:`pack_key`; once it is read, keys of another pair are dropped.

        Raises
        ------
        FormatError
            Where the bytes are something else, or for other parameters.
        """
        header, payload = unpack(kind, bytes(data))
        key_id = header.get("key")
        if not isinstance(key_id, str | None):
            raise FormatError(f"the header of the {kind} has a wrong key")
        key = read(self.context, payload)
        if key_id != self.key_id:
            self.secret_key = self.public_key = self.evaluation_keys = None
            self.key_id = key_id
        return key

    def load_public_key(self, data: bytes) -> None:
        """Takes the public key of :meth:`save_public_key`."""
        self.public_key = self.unpack_key("public key", data, _native.PublicKey.from_bytes)

    def save_public_key(self) -> bytes:
        """The public key.

        Raises
        ------
        MissingKeyError
            Where there is none.
        """
        if self.public_key is None:
            raise MissingKeyError("there is no public key yet: generate keys first")
        return self.pack_key("public key", self.public_key.to_bytes())

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

    # Ciphertexts

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
