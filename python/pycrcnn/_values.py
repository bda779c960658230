"""Single ciphertexts and plaintexts: the elements of the object arrays that layers take and give."""

from __future__ import annotations

import enum
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pycrcnn import _native
from pycrcnn._storage import is_packed, pack, read_file, unpack, write_file
from pycrcnn.errors import FormatError, InvalidTypeError, InvalidValueError, MissingKeyError

if TYPE_CHECKING:
    from pycrcnn._engine import Engine
    from pycrcnn._engine.encryption import Encryption

__all__ = ["Encoding", "PyCtxt", "PyPtxt"]


class Encoding(enum.Enum):
    """How a number became a plaintext.

    Examples
    --------
    >>> Encoding.of("float"), Encoding.of(int)
    (<Encoding.FRACTIONAL: 'fractional'>, <Encoding.INTEGER: 'integer'>)
    """

    #: BFV: the digits of a real number are the coefficients (the paper's encoding)
    FRACTIONAL = "fractional"
    #: BFV: the digits of a whole number are the coefficients
    INTEGER = "integer"
    #: BFV: a whole number modulo p is the constant coefficient, that is, stands in every slot
    SCALAR = "scalar"
    #: BFV: whole numbers modulo p stand in the slots
    BATCH = "batch"
    #: CKKS: a real number stands in every slot
    CKKS = "ckks"

    @classmethod
    def of(cls, name: Any) -> Encoding:
        """The encoding that a name of Pyfhel's stands for: ``"float"``, ``int``, ``"batch"``, ..."""
        if isinstance(name, Encoding):
            return name
        text = name.__name__ if isinstance(name, type) else str(name)
        aliases = {"float": "fractional", "frac": "fractional", "int": "integer", "array": "batch", "list": "batch"}
        text = aliases.get(text.lower(), text.lower())
        try:
            return cls(text)
        except ValueError:
            choices = sorted([*aliases, *(e.value for e in cls)])
            raise InvalidValueError(f"encoding: {name!r} is none of {', '.join(choices)}") from None


class PyPtxt:
    """An encoded number. Made by ``encodeFrac``, ``encodeInt``, ``encode_matrix``."""

    __slots__ = ("_encoding", "_engine", "_handle")

    def __init__(self, engine: Encryption, handle: _native.Plaintext, encoding: Encoding) -> None:
        self._engine: Any = engine
        self._handle = handle
        self._encoding = encoding

    @property
    def encoding(self) -> Encoding:
        """How the number was encoded."""
        return self._encoding

    def __repr__(self) -> str:
        return f"<PyPtxt, {self._encoding.value}>"

    def __reduce__(self) -> Any:
        raise InvalidTypeError("a PyPtxt is not pickled: keep the number and encode it again")


class PyCtxt:
    """An encrypted number.

    Supports ``+``, ``-`` and ``*`` with ciphertexts, plaintexts and numbers, and ``** 2``. Object arrays of
    them can be indexed, sliced, reshaped, padded with 0, summed and given to every layer.

    Parameters
    ----------
    copy_ctxt : PyCtxt, optional
        A ciphertext to copy.
    pyfhel : Pyfhel, optional
        The object whose parameters the ciphertext has.
    fileName : str or Path, optional
        A file to load, saved by :meth:`save`.
    encoding : str, type or Encoding, optional
        The encoding of the number in that file; files of this package say it themselves.

    Notes
    -----
    A ciphertext that is loaded without a ``pyfhel`` keeps its bytes and takes the parameters of the object
    that first uses it.
    """

    __slots__ = ("_divisor", "_encoding", "_engine", "_handle", "_key_id", "_pending")

    def __init__(
        self, copy_ctxt: PyCtxt | None = None, pyfhel: Any = None, fileName: Any = None, encoding: Any = None
    ) -> None:
        self._engine: Any = None  # an Engine, once parameters are known
        self._handle: _native.Ciphertext | None = None
        self._pending: bytes | None = None
        self._encoding = Encoding.FRACTIONAL if encoding is None else Encoding.of(encoding)
        self._divisor = 1
        self._key_id: str | None = None
        if copy_ctxt is not None:
            self._assign(copy_ctxt)
        if pyfhel is not None:
            self._pyfhel = pyfhel
        if fileName is not None:
            self.load(fileName, encoding)

    @classmethod
    def _make(
        cls, engine: Encryption, handle: _native.Ciphertext, encoding: Encoding, divisor: int, key_id: str | None
    ) -> PyCtxt:
        made = cls.__new__(cls)
        made._engine, made._handle, made._pending = engine, handle, None
        made._encoding, made._divisor, made._key_id = encoding, divisor, key_id
        return made

    def _assign(self, other: PyCtxt) -> None:
        """Becomes a copy of another ciphertext (whose data is immutable and shared)."""
        self._engine, self._handle, self._pending = other._engine, other._handle, other._pending
        self._encoding, self._divisor, self._key_id = other._encoding, other._divisor, other._key_id

    def _bind(self, engine: Encryption) -> _native.Ciphertext:
        """The native ciphertext, parsed for the engine's parameters where only bytes were loaded."""
        if self._handle is None:
            if self._pending is None:
                raise InvalidValueError("this PyCtxt is empty: load a ciphertext into it or make one by encrypting")
            self._handle = _native.Ciphertext.from_bytes(engine.context, self._pending)
            self._pending = None
        if self._engine is None:
            self._engine = engine
        return self._handle

    @property
    def _pyfhel(self) -> Any:
        return self._engine

    @_pyfhel.setter
    def _pyfhel(self, pyfhel: Any) -> None:
        engine: Engine = pyfhel._engine
        if self._pending is None and self._handle is None:
            self._engine = engine
        else:
            self._bind(engine)

    @property
    def encoding(self) -> Encoding:
        """How the number was encoded."""
        return self._encoding

    @property
    def divisor(self) -> int:
        """The ciphertext holds this many times the number: average pooling of whole numbers leaves it."""
        return self._divisor

    def size(self) -> int:
        """Number of polynomials: 2 when fresh, 3 after a square that was not relinearised."""
        return self._bind(self._require_engine()).size

    def _require_engine(self) -> Engine:
        if self._engine is None:
            raise MissingKeyError(
                "this ciphertext was loaded without parameters; give PyCtxt the argument pyfhel, or use it through "
                "the Pyfhel object's own methods"
            )
        engine: Engine = self._engine
        return engine

    # Bytes and files

    def to_bytes(self) -> bytes:
        """Bytes for :meth:`from_bytes`: what the number needs, then the ciphertext in SEAL's format."""
        if self._handle is None and self._pending is None:
            raise InvalidValueError("this PyCtxt is empty: there is nothing to save")
        header = {"encoding": self._encoding.value, "divisor": self._divisor, "key": self._key_id}
        payload = self._handle.to_bytes() if self._handle is not None else self._pending
        return pack("ciphertext", header, payload or b"")

    def from_bytes(self, data: bytes, encoding: Any = None) -> PyCtxt:
        """Takes a ciphertext from bytes of :meth:`to_bytes`, or of SEAL's own.

        Parameters
        ----------
        data : bytes
            The bytes.
        encoding : str, type or Encoding, optional
            ``"float"``, ``"int"`` or ``"batch"``; needed only for SEAL's bytes.

        Returns
        -------
        PyCtxt
            This object.
        """
        data = bytes(data)
        found: Encoding = self._encoding if encoding is None else Encoding.of(encoding)
        divisor: Any = 1
        key_id: Any = None
        if is_packed(data):
            header, data = unpack("ciphertext", data)
            found, divisor, key_id = Encoding.of(header.get("encoding")), header.get("divisor"), header.get("key")
            if not isinstance(divisor, int) or divisor < 1 or not isinstance(key_id, str | None):
                raise FormatError("the header of the ciphertext has a wrong divisor or key")
        self._encoding, self._divisor, self._key_id = found, divisor, key_id
        self._handle, self._pending = None, data
        if self._engine is not None:
            self._bind(self._engine)
        return self

    def save(self, fileName: str | Path) -> None:
        """Writes the ciphertext to a file."""
        write_file(fileName, self.to_bytes())

    def load(self, fileName: str | Path, encoding: Any = None) -> PyCtxt:
        """Reads a ciphertext from a file of :meth:`save`; see :meth:`from_bytes`."""
        return self.from_bytes(read_file(fileName), encoding)

    # Arithmetic

    def _combine(self, operation: str, other: Any, *, reflected: bool = False) -> Any:
        if not isinstance(other, PyCtxt | PyPtxt | Real | np.generic):
            return NotImplemented
        engine = self._engine or (other._engine if isinstance(other, PyCtxt | PyPtxt) else None)
        return (engine or self._require_engine()).combine(operation, self, other, reflected=reflected)

    def __add__(self, other: Any) -> Any:
        return self._combine("add", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._combine("sub", other)

    def __rsub__(self, other: Any) -> Any:
        return self._combine("sub", other, reflected=True)

    def __mul__(self, other: Any) -> Any:
        return self._combine("multiply", other)

    __rmul__ = __mul__

    def __neg__(self) -> PyCtxt:
        return self._require_engine().negate(self)

    def __pos__(self) -> PyCtxt:
        return PyCtxt(self)

    def __pow__(self, exponent: int) -> PyCtxt:
        return self._require_engine().power(self, exponent)

    def __copy__(self) -> PyCtxt:
        return PyCtxt(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> PyCtxt:
        return PyCtxt(self)

    def __float__(self) -> float:
        raise InvalidTypeError("an encrypted number has no value here: decrypt it first (decryptFrac, decrypt_matrix)")

    def __reduce__(self) -> Any:
        return _load_ciphertext, (self.to_bytes(),)

    def __repr__(self) -> str:
        if self._handle is None:
            return (
                "<PyCtxt, empty>" if self._pending is None else f"<PyCtxt, {len(self._pending)} bytes, no parameters>"
            )
        return f"<PyCtxt, {self._encoding.value}, {self._handle.size} polynomials>"


def _load_ciphertext(data: bytes) -> PyCtxt:
    return PyCtxt().from_bytes(data)
