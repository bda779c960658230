"""The class `Pyfhel`: BFV with the fractional encoder behind the methods of Pyfhel 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pycrcnn import _native
from pycrcnn._engine import Encoder, Engine
from pycrcnn._engine.encryption import checked_threads
from pycrcnn._storage import pack, read_file, unpack, write_file
from pycrcnn._values import Encoding, PyCtxt, PyPtxt
from pycrcnn.errors import (
    FormatError,
    InvalidTypeError,
    OperandError,
    ParameterError,
    UnsupportedError,
)
from pycrcnn.pyfhel._parameters import checked_integer, checked_security, warn_if_insecure, whole_modulus

__all__ = ["Pyfhel"]

_FIELDS = ("p", "m", "flagBatching", "base", "sec", "intDigits", "fracDigits")
#: Smallest and largest values of the parameters that are numbers.
_RANGES = [
    ("p", 2, 2**60),
    ("m", 1024, 32768),
    ("base", 2, 2**31),
    ("sec", 128, 256),
    ("intDigits", 1, 32768),
    ("fracDigits", 1, 32768),
]


class Pyfhel:
    """Parameters and keys of BFV, and everything that Pyfhel 2 does with single numbers.

    The whole coefficient modulus carries data. So no relinearisation is possible, and none is needed: a square
    stays a ciphertext of three polynomials, and everything works on those.

    Parameters
    ----------
    context_params : dict, optional
        Arguments for :meth:`contextGen`.
    key_gen : bool, optional
        Whether to make keys as well.

    Attributes
    ----------
    threads : int
        Threads that layers are spread over; 0, the default, stands for all cores.

    Examples
    --------
    >>> import warnings
    >>> warnings.simplefilter("ignore")
    >>> HE = Pyfhel()
    >>> HE.contextGen(p=65537, m=2048)
    >>> HE.keyGen()
    >>> a, b = HE.encryptFrac(1.5), HE.encryptFrac(-2.25)
    >>> HE.decryptFrac(a + b), HE.decryptFrac(a * b)
    (-0.75, -3.375)
    """

    def __init__(self, context_params: dict[str, Any] | None = None, key_gen: bool = False) -> None:
        self._engine: Engine | None = None
        self._fields: dict[str, Any] = {}
        self._threads = 0
        if context_params is not None:
            self.contextGen(**context_params)
            if key_gen:
                self.keyGen()

    def __repr__(self) -> str:
        if self._engine is None:
            return "<Pyfhel, no parameters>"
        keys = [
            name
            for name, key in [("secret", self._engine.secret_key), ("public", self._engine.public_key)]
            if key is not None
        ]
        f = self._fields
        return (
            f"<Pyfhel, p={f['p']}, m={f['m']}, base={f['base']}, sec={f['sec']}, "
            f"digits={f['intDigits']}i.{f['fracDigits']}f, keys: {', '.join(keys) or 'none'}>"
        )

    def __reduce__(self) -> Any:
        raise InvalidTypeError(
            "a Pyfhel object holds keys and is not pickled: use saveContext and savepublicKey (and savesecretKey for "
            "whoever may decrypt)"
        )

    @property
    def threads(self) -> int:
        """Threads that work is spread over; 0 stands for all cores."""
        return self._threads

    @threads.setter
    def threads(self, threads: int) -> None:
        self._threads = checked_threads(threads)
        if self._engine is not None:
            self._engine.threads = threads

    # Parameters

    def contextGen(
        self,
        p: int,
        m: int = 2048,
        flagBatching: bool = False,
        base: int = 2,
        sec: int = 128,
        intDigits: int = 64,
        fracDigits: int = 32,
    ) -> None:
        """Sets the encryption parameters; keys that were there are dropped.

        Parameters
        ----------
        p : int
            Plaintext modulus, any whole number from 2; a prime congruent to 1 modulo 2 m allows batching.
        m : int, optional
            Degree of the polynomials: 1024, 2048, 4096, 8192, 16384 or 32768.
        flagBatching : bool, optional
            Whether ``encodeBatch`` is wanted.
        base : int, optional
            Base of the digits of encoded numbers.
        sec : int, optional
            Security level in bits: 128, 192 or 256; it chooses the coefficient modulus.
        intDigits, fracDigits : int, optional
            Coefficients for the digits before and after the point.

        Raises
        ------
        ParameterError
            For parameters that do not exist or do not fit together.

        Warns
        -----
        SecurityWarning
            Where the coefficient modulus is above the smaller of the published limits: SEAL's historical
            defaults, which are used here, are by a few bits.
        """
        fields = dict(zip(_FIELDS, (p, m, bool(flagBatching), base, sec, intDigits, fracDigits), strict=True))
        self._set_context(fields, whole_modulus(m, sec))

    def _set_context(self, fields: dict[str, Any], moduli: list[int]) -> None:
        for name, low, high in _RANGES:
            fields[name] = checked_integer(name, fields[name], low, high)
        checked_security(fields["sec"])
        context = _native.Context.bfv(fields["m"], moduli, fields["p"], False)
        digits = (fields["base"], fields["intDigits"], fields["fracDigits"])
        encoders: dict[Encoding, Encoder] = {
            Encoding.FRACTIONAL: _native.FractionalEncoder(context, *digits),
            Encoding.INTEGER: _native.IntegerEncoder(context, fields["base"]),
        }
        if fields["flagBatching"]:
            encoders[Encoding.BATCH] = _native.BatchEncoder(context)
        warn_if_insecure(context, fields["sec"])
        self._engine = Engine(context, encoders, Encoding.FRACTIONAL, self._threads)
        self._fields = fields

    def _require_engine(self) -> Engine:
        if self._engine is None:
            raise ParameterError("there are no encryption parameters yet: call contextGen(p, m) first")
        return self._engine

    def batchEnabled(self) -> bool:
        """Whether batch encoding is available."""
        return Encoding.BATCH in self._require_engine().encoders

    def getp(self) -> int:
        """Plaintext modulus."""
        return int(self._field("p"))

    def getm(self) -> int:
        """Degree of the polynomials."""
        return int(self._field("m"))

    def getbase(self) -> int:
        """Base of the digits of encoded numbers."""
        return int(self._field("base"))

    def getsec(self) -> int:
        """Security level asked for, in bits."""
        return int(self._field("sec"))

    def getintDigits(self) -> int:
        """Coefficients for digits before the point."""
        return int(self._field("intDigits"))

    def getfracDigits(self) -> int:
        """Coefficients for digits after the point."""
        return int(self._field("fracDigits"))

    def getflagBatching(self) -> bool:
        """Whether batch encoding was asked for."""
        return bool(self._field("flagBatching"))

    def _field(self, name: str) -> Any:
        self._require_engine()
        return self._fields[name]

    # Keys

    def keyGen(self) -> None:
        """Makes a secret key and a public key."""
        self._require_engine().generate_keys()

    def relinKeyGen(self, bitCount: int = 60, size: int = 3) -> None:
        """Accepted for scripts that call it: squares need no relinearisation here.

        Raises
        ------
        MissingKeyError
            Before :meth:`keyGen`, as in Pyfhel.
        """
        self._require_engine().require_secret_key("making a relinearisation key")

    def is_publicKey_empty(self) -> bool:
        """Whether there is no public key."""
        return self._require_engine().public_key is None

    def is_secretKey_empty(self) -> bool:
        """Whether there is no secret key."""
        return self._require_engine().secret_key is None

    # One number

    def encodeFrac(self, value: float) -> PyPtxt:
        """Encodes a real number."""
        return self._encode(value, Encoding.FRACTIONAL)

    def encodeInt(self, value: int) -> PyPtxt:
        """Encodes a whole number."""
        return self._encode(value, Encoding.INTEGER)

    def encodeBatch(self, values: Any) -> PyPtxt:
        """Encodes up to m whole numbers into the slots of one plaintext."""
        return self._require_engine().encode(values, Encoding.BATCH).item()  # type: ignore[no-any-return]

    def encode(self, value: Any) -> PyPtxt:
        """Encodes a number by its type: whole, real, or a list of whole numbers."""
        return self._encode(value, self._encoding_for(value))

    def encryptFrac(self, value: float) -> PyCtxt:
        """Encrypts a real number."""
        return self._encrypt(value, Encoding.FRACTIONAL)

    def encryptInt(self, value: int) -> PyCtxt:
        """Encrypts a whole number."""
        return self._encrypt(value, Encoding.INTEGER)

    def encryptBatch(self, values: Any) -> PyCtxt:
        """Encrypts up to m whole numbers in the slots of one ciphertext."""
        return self._require_engine().encrypt(values, Encoding.BATCH).item()  # type: ignore[no-any-return]

    def encryptPtxt(self, ptxt: PyPtxt) -> PyCtxt:
        """Encrypts a plaintext."""
        engine = self._require_engine()
        if not isinstance(ptxt, PyPtxt):
            raise InvalidTypeError(f"a plaintext (PyPtxt) is needed, not {type(ptxt).__name__}")
        [handle] = engine.encrypt_plaintexts([ptxt._handle])
        return PyCtxt._make(engine, handle, ptxt._encoding, 1, engine.key_id)

    def encrypt(self, value: Any) -> PyCtxt:
        """Encrypts a plaintext, or a number by its type."""
        if isinstance(value, PyPtxt):
            return self.encryptPtxt(value)
        return self._encrypt(value, self._encoding_for(value))

    def decodeFrac(self, ptxt: PyPtxt) -> float:
        """The real number of a plaintext."""
        return float(self._decode(ptxt, Encoding.FRACTIONAL))

    def decodeInt(self, ptxt: PyPtxt) -> int:
        """The whole number of a plaintext."""
        return int(self._decode(ptxt, Encoding.INTEGER))

    def decodeBatch(self, ptxt: PyPtxt) -> list[int]:
        """The whole numbers in the slots of a plaintext."""
        return [int(x) for x in self._decode(ptxt, Encoding.BATCH)]

    def decode(self, ptxt: PyPtxt) -> Any:
        """What a plaintext holds, by its encoding."""
        by_encoding = {Encoding.INTEGER: self.decodeInt, Encoding.BATCH: self.decodeBatch}
        return by_encoding.get(getattr(ptxt, "encoding", None), self.decodeFrac)(ptxt)  # type: ignore[arg-type]

    def decryptFrac(self, ctxt: PyCtxt) -> float:
        """The real number of a ciphertext.

        Raises
        ------
        NoiseBudgetError
            Where the noise has used up the budget: the answer would be wrong.
        """
        return float(self._decrypt(ctxt, Encoding.FRACTIONAL))

    def decryptInt(self, ctxt: PyCtxt) -> int | float:
        """The whole number of a ciphertext; a fraction where whole numbers were averaged."""
        value = self._decrypt(ctxt, Encoding.INTEGER)
        return int(value) if value == int(value) else float(value)

    def decryptBatch(self, ctxt: PyCtxt) -> list[int]:
        """The whole numbers in the slots of a ciphertext."""
        return [int(x) for x in self._decrypt(ctxt, Encoding.BATCH)]

    def decrypt(self, ctxt: PyCtxt) -> Any:
        """What a ciphertext holds, by its encoding."""
        by_encoding = {Encoding.INTEGER: self.decryptInt, Encoding.BATCH: self.decryptBatch}
        return by_encoding.get(getattr(ctxt, "encoding", None), self.decryptFrac)(ctxt)  # type: ignore[arg-type]

    def noiseLevel(self, ctxt: PyCtxt) -> int:
        """Invariant noise budget in bits; needs the secret key. At 0 a ciphertext cannot be decrypted."""
        if not isinstance(ctxt, PyCtxt):
            raise InvalidTypeError(f"a ciphertext (PyCtxt) is needed, not {type(ctxt).__name__}")
        return int(self._require_engine().noise_budget([ctxt])[0])

    @staticmethod
    def _encoding_for(value: Any) -> Encoding:
        if isinstance(value, list | tuple | np.ndarray):
            return Encoding.BATCH
        return Encoding.INTEGER if isinstance(value, int | np.integer) else Encoding.FRACTIONAL

    def _encode(self, value: Any, encoding: Encoding) -> PyPtxt:
        return self._require_engine().encode(_single(value, encoding), encoding).item()  # type: ignore[no-any-return]

    def _encrypt(self, value: Any, encoding: Encoding) -> PyCtxt:
        return self._require_engine().encrypt(_single(value, encoding), encoding).item()  # type: ignore[no-any-return]

    def _decode(self, ptxt: PyPtxt, encoding: Encoding) -> Any:
        engine = self._require_engine()
        if not isinstance(ptxt, PyPtxt):
            raise InvalidTypeError(f"a plaintext (PyPtxt) is needed, not {type(ptxt).__name__}")
        _check_encoding(ptxt.encoding, encoding)
        return engine.decode([ptxt])[0]

    def _decrypt(self, ctxt: PyCtxt, encoding: Encoding) -> Any:
        engine = self._require_engine()
        if not isinstance(ctxt, PyCtxt):
            raise InvalidTypeError(f"a ciphertext (PyCtxt) is needed, not {type(ctxt).__name__}")
        _check_encoding(ctxt.encoding, encoding)
        return engine.decrypt([ctxt])[0]

    # Operations

    def add(self, ctxt: PyCtxt, other: Any, in_new_ctxt: bool = True) -> PyCtxt:
        """The sum ctxt + other, for a ciphertext, plaintext or number.

        Parameters
        ----------
        ctxt : PyCtxt
            The left operand.
        other : PyCtxt, PyPtxt or number
            The right operand.
        in_new_ctxt : bool, optional
            False overwrites `ctxt` with the result, as Pyfhel 2 did unless told otherwise.

        Returns
        -------
        PyCtxt
            The result.
        """
        return self._apply("add", ctxt, other, in_new_ctxt)

    def sub(self, ctxt: PyCtxt, other: Any, in_new_ctxt: bool = True) -> PyCtxt:
        """The difference ctxt - other; see :meth:`add`."""
        return self._apply("sub", ctxt, other, in_new_ctxt)

    def multiply(self, ctxt: PyCtxt, other: Any, in_new_ctxt: bool = True) -> PyCtxt:
        """The product ctxt * other; see :meth:`add`."""
        return self._apply("multiply", ctxt, other, in_new_ctxt)

    add_plain = add
    sub_plain = sub
    multiply_plain = multiply

    def negate(self, ctxt: PyCtxt, in_new_ctxt: bool = True) -> PyCtxt:
        """-ctxt; see :meth:`add`."""
        return self._store(ctxt, self._require_engine().negate(ctxt), in_new_ctxt)

    def square(self, ctxt: PyCtxt, in_new_ctxt: bool = True) -> PyCtxt:
        """The square ctxt * ctxt; see :meth:`add`."""
        return self.power(ctxt, 2, in_new_ctxt)

    def power(self, ctxt: PyCtxt, expon: int, in_new_ctxt: bool = True) -> PyCtxt:
        """The power: ctxt multiplied by itself; see :meth:`add`.

        Raises
        ------
        InvalidTypeError
            For an array: scripts rely on the TypeError to go one dimension deeper.
        """
        if not isinstance(ctxt, PyCtxt):
            raise InvalidTypeError(f"a ciphertext (PyCtxt) is needed, not {type(ctxt).__name__}")
        return self._store(ctxt, self._require_engine().power(ctxt, expon), in_new_ctxt)

    def relinearize(self, ctxt: PyCtxt) -> PyCtxt:
        """The ciphertext as it is: these parameters keep no prime for key switching."""
        if not isinstance(ctxt, PyCtxt):
            raise InvalidTypeError(f"a ciphertext (PyCtxt) is needed, not {type(ctxt).__name__}")
        return ctxt

    def _apply(self, operation: str, ctxt: PyCtxt, other: Any, in_new_ctxt: bool) -> PyCtxt:
        if not isinstance(ctxt, PyCtxt) or isinstance(other, np.ndarray | list | tuple):
            raise InvalidTypeError("a ciphertext and a ciphertext, plaintext or number are needed; arrays take + - *")
        return self._store(ctxt, self._require_engine().combine(operation, ctxt, other), in_new_ctxt)

    @staticmethod
    def _store(ctxt: PyCtxt, result: PyCtxt, in_new_ctxt: bool) -> PyCtxt:
        if in_new_ctxt:
            return result
        ctxt._assign(result)
        return ctxt

    # Bytes and files

    def to_bytes_context(self) -> bytes:
        """The parameters, for :meth:`from_bytes_context`."""
        return pack("context", {**self._fields, "moduli": self._require_engine().context.moduli})

    def from_bytes_context(self, data: bytes) -> None:
        """Takes parameters; keys that were there are dropped."""
        header, _ = unpack("context", data)
        moduli = header.pop("moduli", None)
        whole = all(isinstance(header.get(name), int) for name in _FIELDS)
        if not whole or not isinstance(moduli, list) or not all(isinstance(q, int) and 0 < q < 2**61 for q in moduli):
            raise FormatError("the context lacks a parameter or has one of a wrong type")
        self._set_context({name: header[name] for name in _FIELDS}, moduli)

    def to_bytes_publicKey(self) -> bytes:
        """The public key."""
        return self._require_engine().save_public_key()

    def from_bytes_publicKey(self, data: bytes) -> None:
        """Takes a public key."""
        self._require_engine().load_public_key(data)

    def to_bytes_secretKey(self) -> bytes:
        """The secret key: keep it to yourself."""
        engine = self._require_engine()
        return engine.pack_key("secret key", engine.require_secret_key("saving the secret key").to_secret_bytes())

    def from_bytes_secretKey(self, data: bytes) -> None:
        """Takes a secret key."""
        engine = self._require_engine()
        engine.secret_key = engine.unpack_key("secret key", data, _native.SecretKey.from_bytes)

    def to_bytes_relinKey(self) -> bytes:
        """What stands for a relinearisation key: these parameters need none."""
        return self._require_engine().pack_key("relinearisation key")

    def from_bytes_relinKey(self, data: bytes) -> None:
        """Takes what :meth:`to_bytes_relinKey` gave."""

        def nothing(context: _native.Context, payload: bytes) -> None:
            if payload:
                raise UnsupportedError("these parameters set no prime aside and take no relinearisation key")

        self._require_engine().unpack_key("relinearisation key", data, nothing)

    def saveContext(self, fileName: str | Path) -> None:
        """Writes the parameters to a file."""
        write_file(fileName, self.to_bytes_context())

    def restoreContext(self, fileName: str | Path) -> None:
        """Reads the parameters from a file."""
        self.from_bytes_context(read_file(fileName))

    def savepublicKey(self, fileName: str | Path) -> None:
        """Writes the public key to a file."""
        write_file(fileName, self.to_bytes_publicKey())

    def restorepublicKey(self, fileName: str | Path) -> None:
        """Reads the public key from a file."""
        self.from_bytes_publicKey(read_file(fileName))

    def savesecretKey(self, fileName: str | Path) -> None:
        """Writes the secret key to a file that only its owner can read."""
        write_file(fileName, self.to_bytes_secretKey(), secret=True)

    def restoresecretKey(self, fileName: str | Path) -> None:
        """Reads the secret key from a file."""
        self.from_bytes_secretKey(read_file(fileName))

    def saverelinKey(self, fileName: str | Path) -> None:
        """Writes what stands for the relinearisation key to a file."""
        write_file(fileName, self.to_bytes_relinKey())

    def restorerelinKey(self, fileName: str | Path) -> None:
        """Reads what stands for the relinearisation key from a file."""
        self.from_bytes_relinKey(read_file(fileName))


def _single(value: Any, encoding: Encoding) -> Any:
    """The value itself, if it is one number (or, for a batch, many)."""
    if encoding is not Encoding.BATCH and np.ndim(value) != 0:
        raise InvalidTypeError("one number is needed; for an array use pycrcnn.crypto.crypto's encrypt_matrix")
    return value


def _check_encoding(have: Encoding, wanted: Encoding) -> None:
    if have is not wanted:
        raise OperandError(
            f"the number has the {have.value} encoding, not the {wanted.value} one: use the method that fits"
        )
