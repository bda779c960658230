"""The server's side of a program: weights and public parameters, no key."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn import _native
from pycrcnn._storage import pack, read_file, unpack, write_file
from pycrcnn.errors import FormatError, InvalidTypeError, InvalidValueError, UnsupportedError
from pycrcnn.frontends.head import ClientLayer
from pycrcnn.program.client import ClientProgram, Keys, checked_images, read_head
from pycrcnn.program.encrypted import Answer, EncryptedImages, EvaluationKeys
from pycrcnn.program.explanation import Explanation, Step

__all__ = ["Layout", "Mode", "Program"]

Layout = Literal["packed", "batched", "per-value"]
Mode = Literal["clear", "simulate", "encrypted"]


@dataclass(frozen=True)
class Program:
    """A compiled network: weights and public parameters, no key. Made by :func:`pycrcnn.compile`.

    Attributes
    ----------
    network : _native.Network
        The network in clear.
    native : _native.Program
        What runs.
    client : ClientProgram
        What a client needs of it; without weights, to be saved and given away.
    security : int
        Bits of security that were asked for.
    carried : float
        Of a part of an interactive program: the largest error to be expected of what enters it where the answers of
        the parts before it are flooded, at a flooding of 1, see :meth:`rerandomize`.
    """

    network: _native.Network
    native: _native.Program = field(repr=False)
    client: ClientProgram
    security: int
    carried: float = 0.0

    @property
    def layout(self) -> str:
        """``"packed"``, ``"batched"`` or ``"per-value"``."""
        return self.client.layout

    @property
    def scheme(self) -> str:
        """``"ckks"`` or ``"bfv"``."""
        return self.client.scheme

    @property
    def capacity(self) -> int:
        """Images that one run takes."""
        return self.client.capacity

    @property
    def context(self) -> _native.Context:
        """The encryption parameters."""
        return self.client.context

    @property
    def client_head(self) -> tuple[ClientLayer, ...]:
        """The model's last layers, such as a softmax, that the client computes on what it has decrypted."""
        return self.client.client_head

    @property
    def threads(self) -> int:
        """Threads of every call; 0 stands for all cores."""
        return self.client.threads

    @property
    def program_id(self) -> str:
        """What tells the program from others: 64 hexadecimal digits, the same in the client's part."""
        return self.client.program_id

    @property
    def error(self) -> float:
        """The largest error that is to be expected of an answer."""
        return self.client.error

    def keygen(self) -> Keys:
        """Fresh keys for the program, as its client makes them."""
        return self.client.keygen()

    def run(self, images: EncryptedImages, evaluation: EvaluationKeys | None = None) -> Answer:
        """Evaluate the network on encrypted images.

        Parameters
        ----------
        images : EncryptedImages
            As a client's keys encrypt them.
        evaluation : EvaluationKeys, optional
            The client's key set; the packed layout needs it.

        Raises
        ------
        MissingKeyError
            Evaluation keys are needed, or the one for a rotation is missing.
        FormatError, KeyMismatchError, ShapeError
            The bytes are damaged or were made for another program.
        InvalidTypeError
            They are no encrypted images.
        """
        if not isinstance(images, EncryptedImages) or isinstance(images, Answer):
            raise InvalidTypeError(f"images as keys.encrypt gives them are needed, not {type(images).__name__}")
        if evaluation is not None and not isinstance(evaluation, EvaluationKeys):
            raise InvalidTypeError(f"evaluation: keys.evaluation is needed, not {type(evaluation).__name__}")
        parts = images.split(self.capacity)
        keys = None if evaluation is None else evaluation.prepared(self.native, self.program_id, self.threads)
        return Answer(tuple(self.native.run(part, keys, self.threads) for part in parts), images.images)

    def rerandomize(self, answer: Answer, evaluation: EvaluationKeys, flooding: float | None = None) -> Answer:
        """What a server does to an answer before it leaves, so that nothing but the answer tells of the weights.

        Encryptions of zero under the client's public key make the ciphertexts pseudo-random, noise flooding hides
        their noise, and the modulus is dropped to the smallest that holds them. BFV floods with all the noise budget
        that is left, and answers stay exact; packed programs leave little of it (`explain` says how much: of b bits,
        b - 4 hide the noise), the per-value layout leaves more. There the digits of an answer, which are sums of
        products of digits of weights, come under a mask that stands for zero, as large as the plaintext modulus has
        room for (`explain` gives its bits). The CKKS layouts pay in precision where the answers
        lie, and flood all else with what the modulus has room for.

        Parameters
        ----------
        answer : Answer
            As :meth:`run` gives it.
        evaluation : EvaluationKeys
            The client's key set, with its public key.
        flooding : float, optional
            CKKS: the standard deviation of what is added to each value of an answer, in units of :attr:`error`; 1 where
            it is not given. With noise of deviation e, an answer of n values is within the statistical distance
            ``sqrt(n) * e / (2 * flooding * error)`` of one with other noise as small; the noise of the shipped models
            has a deviation of a sixth of their error or less. See :meth:`flooded_error` for what it costs.

        Raises
        ------
        InvalidValueError
            The modulus has no room for such flooding, or the layout takes none.
        FormatError, KeyMismatchError, ShapeError, InvalidTypeError
            The bytes are damaged, or were made for another program, or are no answer.
        """
        if not isinstance(answer, Answer):
            raise InvalidTypeError(f"an answer is needed, as program.run gives it, not {type(answer).__name__}")
        if not isinstance(evaluation, EvaluationKeys):
            raise InvalidTypeError(f"evaluation: keys.evaluation is needed, not {type(evaluation).__name__}")
        keys = evaluation.prepared(self.native, self.program_id, self.threads)
        if self.scheme == "bfv" and flooding is not None:
            raise InvalidValueError("flooding: BFV floods with all the noise budget; give none")
        deviation = None if self.scheme == "bfv" else self.error * (1.0 if flooding is None else flooding)
        parts = answer.split(self.capacity)
        hidden = tuple(self.native.rerandomize(part, keys, deviation, self.threads) for part in parts)
        return Answer(hidden, answer.images)

    def flooded_error(self, flooding: float = 1.0) -> float:
        """The largest error to be expected of an answer that :meth:`rerandomize` flooded: five deviations more.

        Of a part of an interactive program: where the parts before it were flooded as much.
        """
        if self.scheme == "bfv":
            return self.error
        return math.hypot(self.error * (1 + 5 * flooding), flooding * self.carried)

    def predict(self, images: ArrayLike, mode: Mode = "clear") -> NDArray[np.float64]:
        """Answers to images.

        Parameters
        ----------
        images : array_like, shape [n, *input_shape]
        mode : {"clear", "simulate", "encrypted"}
            ``"clear"``: in double precision. ``"simulate"``: what encryption would answer, computed in clear: with its
            rounding of weights and, in the CKKS layouts, noise of the same deviation (nothing is encrypted); with BFV
            it is what encryption answers, digit for digit.
            ``"encrypted"``: encrypted with keys made for this one call.

        Returns
        -------
        ndarray of float64, shape [n, *output_shape], or what `client_head` makes of it
        """
        if mode == "encrypted":
            keys = self.keygen()
            return keys.decrypt_raw(self.run(keys.encrypt(images), keys.evaluation))
        values = checked_images(images, tuple(self.network.input_shape))
        if mode == "clear":
            answers = self.network.evaluate(values.reshape(-1), self.threads)
        elif mode == "simulate":
            answers = self.native.simulate(values.reshape(-1), threads=self.threads)
        else:
            raise InvalidValueError(f"mode {mode!r}: choose 'clear', 'simulate' or 'encrypted'")
        return self.client.with_head(answers.reshape(len(values), *self.network.output_shape))

    def explain(self) -> Explanation:
        """The plan: parameters, steps, keys, bytes, and the error and time that are to be expected."""
        context = self.context
        limits = [limit for limit in _native.security_limits(context.degree, self.security) if limit]
        report = self.native.explain()
        steps = tuple(Step(**step) for step in report.pop("steps"))
        plain_moduli = tuple(report.pop("plain_moduli", ()))
        return Explanation(
            layout=self.layout,
            scheme=context.scheme.upper(),
            degree=context.degree,
            prime_bits=tuple(q.bit_length() for q in context.moduli),
            modulus_bits=context.modulus_bits,
            limit_bits=min(limits, default=0),
            security=self.security,
            images=self.capacity,
            error=self.error,
            steps=steps,
            client_head=tuple(layer.kind for layer in self.client_head),
            plain_moduli=plain_moduli,
            **report,
        )

    def plot(self) -> Any:
        """The plan on one page, as a matplotlib figure; see :mod:`pycrcnn.viz`.

        Raises
        ------
        MissingPackageError
            It needs ``pip install 'pycrcnn[plot]'``.
        """
        from pycrcnn.viz import overview  # matplotlib is optional, and takes its time

        return overview(self.explain())

    def to_bytes(self) -> bytes:
        """The program, weights included: the server's file."""
        network, native = self.network.to_bytes(), self.native.to_bytes()
        head = [[layer.kind, layer.axis, layer.keepdims] for layer in self.client_head]
        header = {
            "head": head,
            "security": self.security,
            "error": self.error,
            "carried": self.carried,
            "lengths": [len(network), len(native)],
        }
        return pack("program", header, network + native)

    @classmethod
    def from_bytes(cls, data: bytes, threads: int = 0) -> Program:
        """What :meth:`to_bytes` wrote.

        Raises
        ------
        FormatError
            The bytes hold something else, are damaged, or of another version.
        """
        header, payload = unpack("program", data)
        match header:
            case {
                "security": int(security),
                "error": float(error),
                "lengths": [int(first), int(second)],
            } if first >= 0 and second >= 0 and first + second == len(payload) and error >= 0:
                pass
            case _:
                raise FormatError(f"the header of the program is damaged: {json.dumps(header)[:200]}")
        carried = header.get("carried", 0.0)  # programs that are no parts may be older than it
        if not isinstance(carried, float) or not carried >= 0:
            raise FormatError(f"the header of the program is damaged: {json.dumps(header)[:200]}")
        network = _native.Network.from_bytes(payload[:first])
        native = _native.Program.from_bytes(payload[first:], threads)
        client = ClientProgram(native.client(), read_head(header), error, threads)
        if list(network.input_shape) != list(client.input_shape):
            raise FormatError("the program and its network take images of different shapes: the file is damaged")
        return cls(network, native, client, security, carried)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the server's file."""
        write_file(os.fspath(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str], threads: int = 0) -> Program:
        """Read a program from a file of :meth:`save`."""
        return cls.from_bytes(read_file(os.fspath(path)), threads)

    def __repr__(self) -> str:
        return f"Program({self.client.summary})"

    def _repr_html_(self) -> str:
        return self.explain()._repr_html_()

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError("a program is not pickled: to_bytes() and save() write it")
