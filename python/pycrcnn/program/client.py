"""The client's side of a program: keys, encryption, decryption. It has no weights."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn import _native
from pycrcnn._storage import pack, read_file, unpack, write_file
from pycrcnn.errors import (
    FormatError,
    InvalidTypeError,
    KeyMismatchError,
    PassphraseError,
    ShapeError,
    UnsupportedError,
)
from pycrcnn.frontends.fields import real_array
from pycrcnn.frontends.head import ClientLayer
from pycrcnn.program.encrypted import Answer, EncryptedImages, EvaluationKeys

__all__ = ["ClientProgram", "Keys", "PublicKey", "checked_images"]


@dataclass(frozen=True)
class ClientProgram:
    """What a client knows of a program: parameters, and where values lie. It has no weights and no keys.

    Attributes
    ----------
    native : _native.Client
    client_head : tuple of ClientLayer
        The model's last layers, such as a softmax, that the client computes on what it has decrypted.
    error : float
        The largest error that is to be expected of an answer.
    threads : int
        Threads of every call; 0 stands for all cores.
    """

    native: _native.Client = field(repr=False)
    client_head: tuple[ClientLayer, ...] = ()
    error: float = 0.0
    threads: int = 0

    @property
    def layout(self) -> str:
        """``"packed"``, ``"batched"`` or ``"per-value"``."""
        return self.native.layout

    @property
    def scheme(self) -> str:
        """``"ckks"`` or ``"bfv"``."""
        return self.context.scheme

    @property
    def capacity(self) -> int:
        """Images that one run takes."""
        return self.native.capacity

    @property
    def context(self) -> _native.Context:
        """The encryption parameters."""
        return self.native.context

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image."""
        return tuple(self.native.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one answer, before `client_head`."""
        return tuple(self.native.output_shape)

    @property
    def program_id(self) -> str:
        """What tells the program from others: 64 hexadecimal digits."""
        return self.native.program

    def keygen(self) -> Keys:
        """Fresh keys for the program."""
        secret, public, key_set = self.native.generate_keys(self.threads)
        return Keys(self, secret, PublicKey(self, public), EvaluationKeys(key_set, self.program_id))

    def encrypted(self, images: ArrayLike, key: _native.SecretKey | _native.PublicKey) -> EncryptedImages:
        """Images encrypted with either key; see :meth:`Keys.encrypt`."""
        values = checked_images(images, self.input_shape)
        parts = np.split(values, range(self.capacity, len(values), self.capacity))
        encrypted = (self.native.encrypt(key, part.reshape(-1), self.threads) for part in parts)
        return EncryptedImages(tuple(encrypted), len(values))

    def with_head(self, answers: NDArray[Any]) -> NDArray[Any]:
        """What the client makes of decrypted answers ``[n, *output_shape]``."""
        for layer in self.client_head:
            answers = layer(answers)
        return answers

    def to_bytes(self) -> bytes:
        """The client's part as bytes."""
        head = [[layer.kind, layer.axis, layer.keepdims] for layer in self.client_head]
        return pack("client", {"head": head, "error": self.error}, self.native.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes, threads: int = 0) -> ClientProgram:
        """What :meth:`to_bytes` wrote.

        Raises
        ------
        FormatError
            The bytes hold something else, are damaged, or of another version.
        """
        header, payload = unpack("client", data)
        match header:
            case {"error": int(error) | float(error)} if error >= 0:
                return cls(_native.Client.from_bytes(payload), read_head(header), float(error), threads)
            case _:
                raise FormatError("the client's part does not say which error is to be expected; get it again")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the client's part to a file."""
        write_file(os.fspath(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str], threads: int = 0) -> ClientProgram:
        """Read it from a file of :meth:`save`."""
        return cls.from_bytes(read_file(os.fspath(path)), threads)

    @property
    def summary(self) -> str:
        """Layout, scheme, degree and shapes in one line.

        Such as ``packed CKKS, N = 8192, [1, 28, 28] -> [10]``.
        """
        shapes = f"{list(self.input_shape)} -> {list(self.output_shape)}"
        return f"{self.layout} {self.scheme.upper()}, N = {self.context.degree}, {shapes}"

    def __repr__(self) -> str:
        return f"ClientProgram({self.summary})"

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError("a client is not pickled: to_bytes() and save() write it")


def read_head(header: dict[str, Any]) -> tuple[ClientLayer, ...]:
    """The client's layers as the header of a file names them."""
    head = header.get("head")
    known = ("softmax", "log_softmax", "sigmoid", "argmax")
    if not isinstance(head, list):
        raise FormatError("the header does not list the client's layers")
    layers = []
    for entry in head:
        match entry:
            case [str(kind), int(axis), bool(keepdims)] if kind in known and axis >= 0:
                layers.append(ClientLayer(kind, axis, keepdims))
            case _:
                raise FormatError(f"the header names {entry!r} as a layer of the client, which is none")
    return tuple(layers)


@dataclass(frozen=True)
class PublicKey:
    """Encrypts images for the owner of the secret key, and cannot decrypt them."""

    client: ClientProgram = field(repr=False)
    native: _native.PublicKey = field(repr=False)

    def encrypt(self, images: ArrayLike) -> EncryptedImages:
        """Encrypt images, as :meth:`Keys.encrypt` does, in twice the bytes."""
        return self.client.encrypted(images, self.native)

    def to_bytes(self) -> bytes:
        """The key as bytes."""
        return pack("public key", {"program": self.client.program_id}, self.native.to_bytes())

    @classmethod
    def from_bytes(cls, client: ClientProgram, data: bytes) -> PublicKey:
        """What :meth:`to_bytes` wrote."""
        payload = _of_program("public key", client, data)
        return cls(client, _native.PublicKey.from_bytes(client.context, payload))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key to a file."""
        write_file(os.fspath(path), self.to_bytes())

    @classmethod
    def load(cls, client: ClientProgram, path: str | os.PathLike[str]) -> PublicKey:
        """Read the key from a file of :meth:`save`."""
        return cls.from_bytes(client, read_file(os.fspath(path)))

    def __repr__(self) -> str:
        return f"PublicKey({self.client.summary})"

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError("a public key is not pickled: to_bytes() and save() write it")


#: The files of :meth:`Keys.save`.
SECRET, PUBLIC, EVALUATION = "secret.key", "public.key", "evaluation.key"


@dataclass(frozen=True)
class Keys:
    """A client's keys for a program. Neither printed nor pickled.

    Attributes
    ----------
    client : ClientProgram
    secret : _native.SecretKey
        Encrypts and decrypts; it stays with the client.
    public : PublicKey
        Encrypts; for a device that may not decrypt.
    evaluation : EvaluationKeys
        The key set for the server: what it computes with, and a public key.
    """

    client: ClientProgram = field(repr=False)
    secret: _native.SecretKey = field(repr=False)
    public: PublicKey = field(repr=False)
    evaluation: EvaluationKeys = field(repr=False)

    def encrypt(self, images: ArrayLike) -> EncryptedImages:
        """Encrypt images, as many in one part as the program takes in one run.

        Parameters
        ----------
        images : array_like, shape [n, *input_shape]

        Raises
        ------
        ShapeError, EncodingError, InvalidTypeError
            The images have another shape, or hold numbers that cannot be encoded.
        """
        return self.client.encrypted(images, self.secret)

    def decrypt(self, answer: Answer) -> NDArray[np.float64]:
        """Decrypt answers, rounded so that they may be shown to others.

        What CKKS decrypts carries the noise of encryption, from which whoever also has the ciphertexts can learn the
        secret key (Li and Micciancio, Eurocrypt 2021). Answers are therefore rounded to multiples of the largest power
        of two that is at most `ClientProgram.error`: about four deviations of the noise or more. BFV decrypts exactly,
        and its answers are left as they are.

        Returns
        -------
        ndarray of float64, shape [n, *output_shape], or what `ClientProgram.client_head` makes of it

        Raises
        ------
        NoiseBudgetError
            Noise has made the answer undecryptable, numbers have outgrown the parameters, or the keys are other ones.
        KeyMismatchError
            The answer is of another program.
        FormatError
            The bytes are damaged.
        InvalidTypeError
            They are no answer.
        """
        client = self.client
        values = self._values(answer)
        if client.error > 0 and client.context.scheme == "ckks":
            grid = 2.0 ** math.floor(math.log2(client.error))
            values = np.round(values / grid) * grid
        return client.with_head(values)

    def decrypt_raw(self, answer: Answer) -> NDArray[np.float64]:
        """Decrypt answers with all their digits, noise included: for the key's owner alone, see :meth:`decrypt`."""
        return self.client.with_head(self._values(answer))

    def noise_budget(self, message: EncryptedImages) -> int:
        """Bits of noise budget of the worst ciphertext of encrypted images, or of an :class:`Answer` to them.

        Raises
        ------
        UnsupportedError
            The scheme is CKKS, which has none.
        FormatError, KeyMismatchError
            The bytes are damaged, or belong to another program.
        """
        client = self.client
        answers, parts = isinstance(message, Answer), message.split(client.capacity)
        return min(client.native.noise_budget(self.secret, part, answers, client.threads) for part in parts)

    def _values(self, answer: Answer) -> NDArray[np.float64]:
        if not isinstance(answer, Answer):
            raise InvalidTypeError(f"an answer is needed, as program.run gives it, not {type(answer).__name__}")
        client = self.client
        parts = answer.split(client.capacity)
        values = np.concatenate(
            [
                client.native.decrypt(self.secret, part, count, client.threads)
                for part, count in zip(parts, _counts(answer.images, client.capacity), strict=True)
            ]
        )
        return values.reshape(answer.images, *client.output_shape)

    def save(self, directory: str | os.PathLike[str], passphrase: str | None = None) -> None:
        """Write three files: `secret.key` (only its owner may read it), `public.key`, `evaluation.key`.

        Parameters
        ----------
        directory : path
            Made where it does not exist.
        passphrase : str, optional
            Lock the secret key under it (Argon2id and XChaCha20-Poly1305).
        """
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        header: dict[str, Any] = {"program": self.client.program_id, "locked": passphrase is not None}
        if passphrase is None:
            payload = self.secret.to_secret_bytes()
        else:
            payload = self.secret.to_locked_bytes(passphrase, self.client.program_id.encode())
        write_file(path / SECRET, pack("secret key", header, payload), secret=True)
        self.public.save(path / PUBLIC)
        self.evaluation.save(path / EVALUATION)

    @classmethod
    def load(cls, client: ClientProgram, directory: str | os.PathLike[str], passphrase: str | None = None) -> Keys:
        """Read the keys from a directory of :meth:`save`.

        Raises
        ------
        PassphraseError
            The secret key is locked, and no passphrase or another one is given.
        KeyMismatchError
            They are for another program than the client's.
        FormatError
            A file holds something else, or is damaged.
        OSError
            A file cannot be read.
        """
        path = Path(directory)
        data = read_file(path / SECRET)
        payload = _of_program("secret key", client, data)
        if not unpack("secret key", data)[0].get("locked", False):
            secret = _native.SecretKey.from_bytes(client.context, payload)
        elif passphrase is None:
            raise PassphraseError(f"{path / SECRET} is locked: give the passphrase that it was saved with")
        else:
            purpose = client.program_id.encode()
            secret = _native.SecretKey.from_locked_bytes(client.context, payload, passphrase, purpose)
        return cls(client, secret, PublicKey.load(client, path / PUBLIC), EvaluationKeys.load(path / EVALUATION))

    def __repr__(self) -> str:
        return f"Keys({self.client.summary})"

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError("keys are not pickled: save() writes them where only their owner can read the secret")


def checked_images(images: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Images ``[n, *shape]`` in double precision."""
    values = real_array("images", images)
    if values.ndim != len(shape) + 1 or values.shape[1:] != shape or len(values) == 0:
        raise ShapeError(f"images: an array [n, {', '.join(map(str, shape))}] is needed, got {list(values.shape)}")
    return values


def _counts(images: int, capacity: int) -> Iterator[int]:
    for start in range(0, images, capacity):
        yield min(capacity, images - start)


def _of_program(kind: str, client: ClientProgram, data: bytes) -> bytes:
    """The payload of a file that names the program that it is for."""
    header, payload = unpack(kind, data)
    if header.get("program") != client.program_id:
        raise KeyMismatchError(f"the {kind} is for another program; load it with that one's client, or generate keys")
    return payload
