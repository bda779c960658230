"""One layout's run: client and server apart, bytes in between, everything timed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from pycrcnn import _native
from pycrcnn.demo.subject import Subject
from pycrcnn.errors import SecurityWarning
from pycrcnn.program import EncryptedImages, FractionalParameters, Keys, Program, compile  # noqa: A004
from pycrcnn.program.program import Layout

__all__ = ["SECURITY", "Measurement", "measure"]

#: Bits of security that are asked for.
SECURITY = 128

#: Bytes of a ciphertext to look at.
_EXCERPT = 4096

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Measurement:
    """What one run gave and what it cost.

    Attributes
    ----------
    program : Program
        What the server held: weights and public parameters.
    fractional : FractionalParameters or None
        The per-value layout's parameters.
    clear, encrypted : ndarray of float64, shape [n, classes]
        The network's answers to the first n test images, in clear and decrypted.
    seconds : dict of str to float
        ``keygen``, ``encrypt``, ``decrypt`` of the client, ``evaluate`` of the server, each of all images together.
    bytes_up, bytes_down : int
        What travelled.
    budget : tuple of int or None
        BFV: bits of noise budget of the worst ciphertext, fresh and in the answer.
    excerpt : bytes
        The beginning of the first image's ciphertexts' bytes, as the server gets them.
    warnings : tuple of str
        What there is to say about the parameters' security.
    """

    program: Program
    fractional: FractionalParameters | None
    clear: NDArray[np.float64]
    encrypted: NDArray[np.float64]
    seconds: dict[str, float]
    bytes_up: int
    bytes_down: int
    budget: tuple[int, int] | None
    excerpt: bytes = field(repr=False)
    warnings: tuple[str, ...]

    @property
    def images(self) -> int:
        """How many images were classified."""
        return len(self.encrypted)

    @property
    def max_error(self) -> float:
        """The largest difference between an encrypted and a clear answer."""
        return float(np.abs(self.encrypted - self.clear).max())

    @property
    def images_per_second(self) -> float:
        """What the server evaluates, from bytes to bytes."""
        return self.images / self.seconds["evaluate"]

    @property
    def agreement(self) -> float:
        """The part of the images whose encrypted class is the clear one."""
        return float((self.encrypted.argmax(1) == self.clear.argmax(1)).mean())


def measure(subject: Subject, layout: Layout, images: int | None, threads: int) -> Measurement:
    """Encrypt the first test images, evaluate, decrypt.

    Parameters
    ----------
    subject : Subject
        The network and the images.
    layout : {"per-value", "batched"}
        How values lie in ciphertexts.
    images : int or None
        How many; None for as many as the program takes in one run. No more than there are.
    threads : int
        Threads of every call; 0 for all cores.
    """
    fractional = FractionalParameters() if layout == "per-value" else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SecurityWarning)
        program = compile(
            subject.model,
            layout=layout,
            security=SECURITY,
            calibration=subject.examples,
            parameters=fractional,
            threads=threads,
        )
    values = subject.model.normalise(subject.pixels[: program.capacity if images is None else images])
    clear = program.predict(values)

    seconds: dict[str, float] = {}
    client = _timed(seconds, "keygen", program.keygen)
    question = _timed(seconds, "encrypt", client.encrypt, values)

    # The server: the program, which was compiled before there was a key, and the bytes that came.
    answer = _timed(seconds, "evaluate", program.run, question, client.evaluation)

    encrypted = _timed(seconds, "decrypt", client.decrypt_raw, answer)
    budget = _budget(program.native, client, question) if isinstance(program.native, _native.PerValueProgram) else None
    return Measurement(
        program=program,
        fractional=fractional,
        clear=clear,
        encrypted=encrypted,
        seconds=seconds,
        bytes_up=question.nbytes,
        bytes_down=answer.nbytes,
        budget=budget,
        excerpt=question.parts[0][:_EXCERPT],
        warnings=tuple(str(warning.message) for warning in caught),
    )


def _timed(
    seconds: dict[str, float],
    name: str,
    work: Callable[_Arguments, _Result],
    *args: _Arguments.args,
    **kwargs: _Arguments.kwargs,
) -> _Result:
    """What `work` gives; its seconds are added to `name`'s."""
    start = time.perf_counter()
    result = work(*args, **kwargs)
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
    return result


def _budget(native: _native.PerValueProgram, client: Keys, question: EncryptedImages) -> tuple[int, int]:
    """Bits of noise budget of the worst ciphertext, fresh and in the answer: only who has the secret key can tell."""
    steps = [native.noise_budgets(client.secret, part, client.client.threads) for part in question.parts]
    return min(budgets[0][1] for budgets in steps), min(budgets[-1][1] for budgets in steps)
