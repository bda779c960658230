"""Compile a network for encrypted images, encrypt, run, decrypt.

A :class:`Program` holds weights and public parameters: it is what a server needs. :class:`Keys` hold the secret key and
stay with the client. What travels between them is bytes.

Examples
--------
>>> from pycrcnn import models
>>> model = models.load("fashion-6layer")
>>> images = np.random.default_rng(0).uniform(0, 1, (3, 1, 28, 28))
>>> program = compile(model, layout="batched", calibration=images)
>>> keys = program.keygen()
>>> answer = program.run(keys.encrypt(images))
>>> keys.decrypt(answer).shape
(3, 10)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn import _native
from pycrcnn.errors import FormatError, InvalidTypeError, InvalidValueError, ShapeError, UnsupportedError
from pycrcnn.frontends import describe
from pycrcnn.frontends.fields import real_array, whole_number
from pycrcnn.frontends.head import ClientLayer
from pycrcnn.models import Layer, Model
from pycrcnn.pyfhel._parameters import checked_degree, checked_integer, warn_if_insecure, whole_modulus

__all__ = ["Answer", "EncryptedImages", "FractionalParameters", "Keys", "Program", "compile"]

Layout = Literal["batched", "per-value"]

#: More threads than any machine has; the native code refuses absurd numbers below that.
_MOST_THREADS = 2**31 - 1


@dataclass(frozen=True)
class FractionalParameters:
    """BFV with fractional encoding, as in the paper: the parameters of the per-value layout.

    Attributes
    ----------
    m : int
        Polynomial degree, 1024 to 32768. All of the standard coefficient modulus for `m` carries data.
    p : int
        Plaintext modulus.
    base : int
        Of the digits that encode a number.
    integer_digits, fraction_digits : int
        How many digits an encoded number may have.
    """

    m: int = 4096
    p: int = 100_000_007
    base: int = 2
    integer_digits: int = 64
    fraction_digits: int = 32


@dataclass(frozen=True)
class EncryptedImages:
    """Packed ciphertexts of some images, one element of `parts` for each run of the program."""

    parts: tuple[bytes, ...] = field(repr=False)
    images: int

    @property
    def nbytes(self) -> int:
        """Bytes that travel to the server."""
        return sum(map(len, self.parts))

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        raise UnsupportedError("encrypted images are no array: run them through a program and decrypt its answer")


@dataclass(frozen=True)
class Answer(EncryptedImages):
    """Packed ciphertexts of the answers."""


def compile(  # noqa: A001 - the field's word for it
    model: Model | Sequence[Layer] | str | os.PathLike[str] | Any,
    input_shape: Sequence[int] | None = None,
    *,
    architecture: str | os.PathLike[str] | Sequence[Layer] | None = None,
    layout: Layout = "batched",
    security: int = 128,
    precision: int = 12,
    calibration: ArrayLike | None = None,
    parameters: FractionalParameters | None = None,
    fused: bool = True,
    threads: int = 0,
) -> Program:
    """Compile a network.

    Parameters
    ----------
    model : Model, torch.nn.Module, path, or sequence of Layer
        A network of `pycrcnn.models`; a PyTorch module whose `forward` torch.fx can trace, taken in evaluation mode;
        the path of an ONNX file (it needs ``pycrcnn[onnx]``) or of a safetensors file; or layers as
        `pycrcnn.models.Layer` describes them. Nothing is ever unpickled.

        These can be evaluated: convolutions (1-d and 2-d, with padding, stride, dilation, groups), average pooling
        (adaptive too), fully connected layers, batch normalisation by its running statistics, flattening and reshaping
        of each image, zero padding, sums of branches, arithmetic with constants, squares and other polynomials of one
        tensor (`pycrcnn.nn.Square`, `pycrcnn.nn.Polynomial`, or written out in `forward`). Dropout does nothing.
        Softmax, log-softmax, sigmoid and argmax may be the last layers: the client computes them after decryption
        (`Program.client_head`).
    input_shape : sequence of int, optional
        Of one image, such as channels, height, width; needed where the model does not say it.
    architecture : path or sequence of Layer, optional
        The layers of a safetensors file, with names of tensors where `pycrcnn.models.Layer` has arrays, or a JSON file
        that lists them; see `pycrcnn.frontends.safetensors_file`.
    layout : {"batched", "per-value"}
        ``"batched"``: CKKS, one value of many images in a ciphertext, for throughput; parameters are chosen.
        ``"per-value"``: BFV, one value of one image in a ciphertext, the paper's layout.
    security : {128, 192, 256}
        Bits of security.
    precision : int
        Batched: bits of precision of every value.
    calibration : array_like, shape [n, *input_shape], optional
        Batched: examples by which the ranges of values are known; needed there.
    parameters : FractionalParameters, optional
        Per-value: the encryption parameters.
    fused : bool
        Per-value: join layers where that is cheaper; otherwise every layer is computed on its own, as PyCrCNN does.
    threads : int
        Threads of every call; 0 stands for all cores.

    Raises
    ------
    UnsupportedLayerError
        A layer cannot be evaluated on ciphertexts; the message names it and says what to use in its place.
    UnsupportedError, FormatError, MissingPackageError
        The model cannot be followed or read, or has more of something than the layout takes.
    ParameterError, InvalidValueError, InvalidTypeError, ShapeError
        The arguments do not fit.

    Warns
    -----
    SecurityWarning
        The per-value parameters are below the security asked for.
    """
    described = describe(model, input_shape, architecture)
    network, head = described.network, described.client_head
    shape = tuple(network.input_shape)
    whole_number("threads", threads, 0, _MOST_THREADS)
    if security not in (128, 192, 256):
        raise InvalidValueError(f"security = {security!r} is not usable: choose 128, 192 or 256 bits")
    if layout == "batched":
        if calibration is None:
            raise InvalidValueError("calibration: the batched layout needs example images to know the ranges of values")
        if parameters is not None:
            raise InvalidValueError("parameters: the batched layout chooses its own; leave them out")
        whole_number("precision", precision, 1, 30)
        examples = _images(calibration, shape)
        batched = _native.BatchedProgram(network, examples.reshape(-1), security, precision, threads)
        return Program(network, batched, batched.context, "batched", batched.capacity, threads, head)
    if layout == "per-value":
        chosen = parameters or FractionalParameters()
        context = _fractional_context(chosen, security)
        encoder = _native.FractionalEncoder(context, chosen.base, chosen.integer_digits, chosen.fraction_digits)
        per_value = _native.PerValueProgram(_native.Evaluator(context), encoder, network, fused)
        return Program(network, per_value, context, "per-value", 1, threads, head)
    raise InvalidValueError(f"layout {layout!r}: choose 'batched' or 'per-value'")


@dataclass(frozen=True)
class Program:
    """A compiled network: weights and public parameters, no key. Made by :func:`compile`.

    Attributes
    ----------
    network : _native.Network
        The network in clear.
    context : _native.Context
        The encryption parameters.
    layout : str
        How values lie in ciphertexts.
    capacity : int
        Images that one run takes.
    threads : int
        Threads of every call; 0 stands for all cores.
    client_head : tuple of ClientLayer
        The model's last layers, such as a softmax, that the client computes on what it has decrypted.
    """

    network: _native.Network
    native: _native.BatchedProgram | _native.PerValueProgram = field(repr=False)
    context: _native.Context
    layout: Layout
    capacity: int
    threads: int = 0
    client_head: tuple[ClientLayer, ...] = ()

    def keygen(self) -> Keys:
        """Fresh keys for the program's parameters."""
        secret, _ = _native.generate_keys(self.context)
        return Keys(self, secret)

    def run(self, images: EncryptedImages) -> Answer:
        """Evaluate the network on encrypted images.

        Raises
        ------
        FormatError, KeyMismatchError, ShapeError
            The bytes are damaged or were made for another program.
        InvalidTypeError
            They are no encrypted images.
        """
        if not isinstance(images, EncryptedImages) or isinstance(images, Answer):
            raise InvalidTypeError(f"images as keys.encrypt gives them are needed, not {type(images).__name__}")
        return Answer(tuple(self._run(part) for part in _parts(images, self.capacity)), images.images)

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError("a program is not pickled: compile it where it runs")

    def _run(self, part: bytes) -> bytes:
        answer = self.native.run(self.native.unpack(part, self.threads), self.threads)
        return self.native.pack(answer, self.threads)

    def predict(self, images: ArrayLike, mode: Literal["clear", "encrypted"] = "clear") -> NDArray[np.float64]:
        """Answers to images, computed in clear, or encrypted with keys made for this one call.

        Parameters
        ----------
        images : array_like, shape [n, *input_shape]
        mode : {"clear", "encrypted"}

        Returns
        -------
        ndarray of float64, shape [n, *output_shape], or what `client_head` makes of it
        """
        if mode == "encrypted":
            keys = self.keygen()
            return keys.decrypt(self.run(keys.encrypt(images)))
        if mode != "clear":
            raise InvalidValueError(f"mode {mode!r}: choose 'clear' or 'encrypted'")
        values = _images(images, tuple(self.network.input_shape))
        answers = self.network.evaluate(values.reshape(-1), self.threads)
        return self._with_head(answers.reshape(len(values), *self.network.output_shape))

    def _with_head(self, answers: NDArray[Any]) -> NDArray[Any]:
        """What the client makes of decrypted answers."""
        for layer in self.client_head:
            answers = layer(answers)
        return answers


@dataclass(frozen=True)
class Keys:
    """The client's side of a program: it encrypts and decrypts. Neither printed nor pickled."""

    program: Program = field(repr=False)
    secret: _native.SecretKey = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError("keys are not pickled: the secret key stays in the process that made it")

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
        program = self.program
        values = _images(images, tuple(program.network.input_shape))
        parts = np.split(values, range(program.capacity, len(values), program.capacity))
        encrypted = (program.native.encrypt(self.secret, part.reshape(-1), program.threads) for part in parts)
        return EncryptedImages(tuple(encrypted), len(values))

    def decrypt(self, answer: Answer) -> NDArray[np.float64]:
        """Decrypt answers.

        Returns
        -------
        ndarray of float64, shape [n, *output_shape], or what `Program.client_head` makes of it

        Raises
        ------
        NoiseBudgetError
            Noise has made the answer undecryptable, numbers have outgrown the parameters, or the keys are other ones.
        FormatError
            The bytes are damaged.
        InvalidTypeError
            They are no answer.
        """
        if not isinstance(answer, Answer):
            raise InvalidTypeError(f"an answer is needed, as program.run gives it, not {type(answer).__name__}")
        program = self.program
        parts = _parts(answer, program.capacity)
        answers = []
        for start, part in zip(range(0, answer.images, program.capacity), parts, strict=True):
            ciphertexts = program.native.unpack(part, program.threads)
            if len(ciphertexts) != np.prod(program.network.output_shape):
                raise FormatError(f"the answer has {len(ciphertexts)} ciphertexts; was it made by another program?")
            count = min(program.capacity, answer.images - start)
            if isinstance(program.native, _native.BatchedProgram):
                answers.append(program.native.decrypt(self.secret, ciphertexts, count, program.threads))
            else:
                answers.append(program.native.decrypt(self.secret, ciphertexts, program.threads))
        return program._with_head(np.concatenate(answers).reshape(answer.images, *program.network.output_shape))


def _images(images: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    values = real_array("images", images)
    if values.ndim != len(shape) + 1 or values.shape[1:] != shape or len(values) == 0:
        raise ShapeError(f"images: an array [n, {', '.join(map(str, shape))}] is needed, got {list(values.shape)}")
    return values


def _parts(encrypted: EncryptedImages, capacity: int) -> tuple[bytes, ...]:
    """The parts, if they are as many as the images need."""
    images = whole_number("images", encrypted.images, 1, 2**63 - 1)
    parts = encrypted.parts
    if not isinstance(parts, tuple) or not all(isinstance(part, bytes) for part in parts):
        raise InvalidTypeError("parts: a tuple of bytes is needed")
    if len(parts) != -(-images // capacity):
        raise FormatError(f"{images} images in {len(parts)} parts of at most {capacity}: some are missing or too many")
    return parts


def _fractional_context(parameters: FractionalParameters, security: int) -> _native.Context:
    if not isinstance(parameters, FractionalParameters):
        raise InvalidTypeError(f"parameters: pycrcnn.FractionalParameters are needed, not {parameters!r}")
    checked_degree(parameters.m)
    checked_integer("p", parameters.p, 2, 2**61 - 1)
    checked_integer("base", parameters.base, 2, 2**31)
    checked_integer("integer_digits", parameters.integer_digits, 1, parameters.m)
    checked_integer("fraction_digits", parameters.fraction_digits, 1, parameters.m)
    context = _native.Context.bfv(parameters.m, whole_modulus(parameters.m, 128), parameters.p)
    warn_if_insecure(context, security)
    return context
