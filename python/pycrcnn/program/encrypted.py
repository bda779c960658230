"""What travels between client and server: images, answers, evaluation keys. Each is bytes, and none holds a secret."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, NoReturn, TypeVar

from numpy.typing import NDArray

from pycrcnn import _native
from pycrcnn._storage import head, pack, read_file, read_header, unpack, write_file
from pycrcnn.errors import FormatError, InvalidTypeError, KeyMismatchError, UnsupportedError
from pycrcnn.frontends.fields import whole_number

__all__ = ["Answer", "EncryptedImages", "EvaluationKeys"]

_Encrypted = TypeVar("_Encrypted", bound="EncryptedImages")


@dataclass(frozen=True)
class EncryptedImages:
    """Packed ciphertexts of some images, one element of `parts` for each run of the program."""

    _KIND: ClassVar[str] = "encrypted images"

    parts: tuple[bytes, ...] = field(repr=False)
    images: int

    @property
    def nbytes(self) -> int:
        """Bytes that travel."""
        return sum(map(len, self.parts))

    def to_bytes(self) -> bytes:
        """Everything as bytes, for a file or a message."""
        header = {"images": self.images, "lengths": [len(part) for part in self.parts]}
        return pack(self._KIND, header, b"".join(self.parts))

    @classmethod
    def from_bytes(cls: type[_Encrypted], data: bytes) -> _Encrypted:
        """What :meth:`to_bytes` wrote; the ciphertexts are checked where they are used.

        Raises
        ------
        FormatError
            The bytes hold something else, or are damaged.
        """
        return cls.read(io.BytesIO(data))

    @classmethod
    def read(cls: type[_Encrypted], file: BinaryIO) -> _Encrypted:
        """What :meth:`to_bytes` wrote, from a file that is open at its beginning: each part straight into its place.

        Raises
        ------
        FormatError
            As :meth:`from_bytes`.
        """
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        header = read_header(cls._KIND, file, size)
        images, lengths = header.get("images"), header.get("lengths")
        whole = isinstance(images, int) and images > 0 and isinstance(lengths, list)
        if (
            not whole
            or not all(isinstance(n, int) and n >= 0 for n in lengths or ())
            or sum(lengths or ()) != size - file.tell()
        ):
            raise FormatError(f"the {cls._KIND} are damaged or cut off; send them again")
        return cls(tuple(file.read(length) for length in lengths or ()), int(images or 0))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them to a file."""
        write_file(os.fspath(path), self.to_bytes())

    @classmethod
    def load(cls: type[_Encrypted], path: str | os.PathLike[str]) -> _Encrypted:
        """Read them from a file of :meth:`save`."""
        return cls.from_bytes(read_file(os.fspath(path)))

    def split(self, capacity: int) -> tuple[bytes, ...]:
        """The parts, if they are as many as the images need at `capacity` images a part."""
        images = whole_number("images", self.images, 1, 2**63 - 1)
        if not isinstance(self.parts, tuple) or not all(isinstance(part, bytes) for part in self.parts):
            raise InvalidTypeError("parts: a tuple of bytes is needed")
        if len(self.parts) != -(-images // capacity):
            raise FormatError(
                f"{images} images in {len(self.parts)} parts of at most {capacity}: some are missing or too many"
            )
        return self.parts

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        raise UnsupportedError("encrypted images are no array: run them through a program and decrypt its answer")


@dataclass(frozen=True)
class Answer(EncryptedImages):
    """Packed ciphertexts of the answers."""

    _KIND: ClassVar[str] = "encrypted answers"


class EvaluationKeys:
    """A client's key set for a server: a public key, and the keys that the server computes with where it needs any.

    They are public, and belong to one client and one program. No secret key is taken for one: the file's kind and
    what is in it both say what they are.

    Parameters
    ----------
    data : bytes
        The key set as it is sent.
    program : str
        Which program they are for.
    """

    def __init__(self, data: bytes, program: str) -> None:
        self.data = data
        self.program = program
        self._prepared: _native.PreparedKeys | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that travel to the server, once."""
        return len(self.data)

    def prepared(self, native: _native.Program, program: str, threads: int) -> _native.PreparedKeys:
        """The keys ready for use by a program; the first call takes the time that it takes to check and expand them.

        Raises
        ------
        KeyMismatchError
            They are for another program.
        FormatError
            The bytes are damaged, or hold something else.
        """
        if self.program != program:
            raise KeyMismatchError(
                "the evaluation keys are for another program: generate keys with this one's client, or run that one"
            )
        if self._prepared is None:
            self._prepared = native.prepare(self.data, threads)
        return self._prepared

    def parts(self) -> list[bytes]:
        """What :meth:`to_bytes` gives, uncopied: one after the other."""
        return [head("evaluation keys", {"program": self.program}), self.data]

    def to_bytes(self) -> bytes:
        """The keys and which program they are for, for a file or a message."""
        return b"".join(self.parts())

    @classmethod
    def from_bytes(cls, data: bytes) -> EvaluationKeys:
        """What :meth:`to_bytes` wrote; the keys are checked where they are used."""
        header, payload = unpack("evaluation keys", data)
        program = header.get("program")
        if not isinstance(program, str):
            raise FormatError("the evaluation keys do not say which program they are for; send them again")
        return cls(payload, program)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them to a file."""
        write_file(os.fspath(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EvaluationKeys:
        """Read them from a file of :meth:`save`."""
        return cls.from_bytes(read_file(os.fspath(path)))

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError("evaluation keys are not pickled: to_bytes() and save() write them")

    def __repr__(self) -> str:
        return f"EvaluationKeys({self.nbytes} bytes)"
