"""One layout's run: a client process asks the server process, and everything is measured."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pycrcnn.demo.customer import Figures, Order
from pycrcnn.demo.provider import Published
from pycrcnn.demo.subject import Subject
from pycrcnn.errors import BackendError

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """What one run gave and what it cost.

    Attributes
    ----------
    published : Published
        What the server holds.
    clear, encrypted : ndarray of float64, shape [n, classes]
        The network's answers to the first n test images, in clear and decrypted.
    figures : Figures
        What the client process measured.
    """

    published: Published
    clear: NDArray[np.float64]
    encrypted: NDArray[np.float64]
    figures: Figures

    @property
    def layout(self) -> str:
        """How values lie in ciphertexts."""
        return self.published.program.layout

    @property
    def images(self) -> int:
        """How many images were classified."""
        return len(self.encrypted)

    @property
    def max_error(self) -> float:
        """The largest difference between an encrypted and a clear answer."""
        return float(np.abs(self.encrypted - self.clear).max())

    @property
    def agreement(self) -> float:
        """The part of the images whose encrypted class is the clear one."""
        return float((self.encrypted.argmax(1) == self.clear.argmax(1)).mean())


def measure(subject: Subject, published: Published, url: str, images: int | None, threads: int) -> Measurement:
    """Let a client process ask for the first test images.

    Parameters
    ----------
    subject : Subject
        The network and the images.
    published : Published
        The program to ask for.
    url : str
        The server's.
    images : int or None
        How many; None for as many as the program takes in one run. No more than there are.
    threads : int
        Threads of the client's calls; 0 for all cores.

    Raises
    ------
    BackendError
        The client process failed; the message has its last words.
    """
    program = published.program
    values = subject.model.normalise(subject.pixels[: program.capacity if images is None else images])
    with tempfile.TemporaryDirectory(prefix="pycrcnn-client-") as directory:
        order = Order(url, subject.model.name, program.layout, threads).write(Path(directory), values)
        command = [sys.executable, "-m", "pycrcnn.demo.customer", str(order)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own
        if done.returncode:
            raise BackendError(f"the client process failed: {(done.stderr.splitlines() or ['it was killed'])[-1]}")
        encrypted, figures = Figures.read(Path(directory))
    return Measurement(published, program.predict(values), encrypted, figures)
