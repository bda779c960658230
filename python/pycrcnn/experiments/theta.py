"""The paper's parameters Theta = (m, p): networks computed exactly in their plaintext rings, and truly encrypted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import pycrcnn
from pycrcnn.crypto.crypto import decrypt_matrix, encrypt_matrix
from pycrcnn.errors import NoiseBudgetError, SecurityWarning
from pycrcnn.experiments.results import Value
from pycrcnn.models import Model
from pycrcnn.net_builder.encoded_net_builder import build_from_pytorch
from pycrcnn.parameters_tester._setup import pyfhel_from
from pycrcnn.program import FractionalParameters, Program

__all__ = ["DEGREES", "FOUR", "MODULI", "Encoded", "Theta", "equal"]

#: The paper's polynomial degrees and plaintext moduli.
DEGREES = (1024, 2048, 4096)
MODULI = (32, 712, 37_780, 130_000, 150_000, 260_000, 520_000, 600_000, 2_100_000, 130_000_000, 150_000_000)


@dataclass(frozen=True)
class Theta:
    """Polynomial degree m and plaintext modulus p; base 2, 64 integer and 32 fraction digits throughout."""

    m: int
    p: int

    def __str__(self) -> str:
        return f"m = {self.m}, p = {self.p:,}"

    @property
    def label(self) -> str:
        r"""Two short lines for an axis.

        Examples
        --------
        >>> Theta(2048, 712).label, Theta(4096, 150_000_000).label
        ('m = 2048\np = 712', 'm = 4096\np = 1.5e8')
        """
        p = str(self.p) if self.p < 100_000 else f"{self.p:.2g}".replace("e+0", "e")
        return f"m = {self.m}\np = {p}"


#: Four sets for which the noise budget of both networks lasts, so that what shows is what p does.
FOUR = (Theta(2048, 32), Theta(2048, 712), Theta(4096, 600_000), Theta(4096, 150_000_000))


@dataclass(frozen=True)
class Encoded:
    """A network, layer by layer, over the fractional encoding of some parameters."""

    model: Model
    theta: Theta
    threads: int = 0

    def program(self) -> Program:
        """The per-value program of the paper's layers, none of them joined."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # the paper's parameters are the subject here
            return pycrcnn.compile(
                self.model,
                layout="per-value",
                parameters=FractionalParameters(self.theta.m, self.theta.p),
                fused=False,
                threads=self.threads,
            )

    def holds(self, images: NDArray[np.float64]) -> bool:
        """Whether no digit of the answers to these images outgrows p."""
        try:
            self.program().native.simulate(images.reshape(-1), threads=self.threads)
        except NoiseBudgetError:
            return False
        return True

    def simulated(self, images: NDArray[np.float64]) -> NDArray[np.float64]:
        """What decryption would give while the noise budget lasts, computed in the plaintext ring.

        Digits that have outgrown p are taken as they come, as PyCrCNN takes them: the answer is then any number,
        infinities among them.

        Returns
        -------
        ndarray of float64, shape [n, *output_shape]
        """
        program = self.program()
        answers = program.native.simulate_unchecked(images.reshape(-1), self.threads)
        return answers.reshape(len(images), *program.client.output_shape)

    def encrypted(self, images: NDArray[np.float64]) -> tuple[NDArray[np.float64] | None, int]:
        """Encrypts images, runs the layers of PyCrCNN's API on the ciphertexts, and decrypts.

        Returns
        -------
        answers : ndarray of float64, shape [n, *output_shape], or None
            None where the noise budget is used up, so that nothing can be decrypted.
        budget : int
            The smallest noise budget of all answers' ciphertexts, in bits.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            HE = pyfhel_from({"m": self.theta.m, "p": self.theta.p}, self.threads)
        values = encrypt_matrix(HE, images)
        for layer in build_from_pytorch(HE, self.model):
            values = layer(values)
        budget = min(int(HE.noiseLevel(value)) for value in values.flat)
        try:
            return np.asarray(decrypt_matrix(HE, values), dtype=np.float64), budget
        except NoiseBudgetError:
            return None, budget

    def compared(
        self, images: NDArray[np.float64], sample: int, expected: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], dict[str, Value]]:
        """The simulated answers to all images, and how they compare.

        Parameters
        ----------
        images : ndarray of float64, shape [n, *input_shape]
        sample : int
            How many of them, the first, are truly encrypted as well.
        expected : ndarray of float64, shape [n, *output_shape]
            What the answers are in clear.
        """
        simulated = self.simulated(images)
        decrypted, budget = self.encrypted(images[:sample])
        with np.errstate(invalid="ignore"):  # infinities
            largest = float(np.abs(simulated - expected).max())
        return simulated, {
            "largest_error": largest,
            "encrypted_images": sample,
            "encrypted_equal_simulated": equal(decrypted, simulated[:sample]),
            "budget_bits": budget,
        }


def equal(decrypted: NDArray[np.float64] | None, simulated: NDArray[np.float64]) -> bool:
    """Whether an encryption gave an answer, and every digit of it is the simulator's."""
    return decrypted is not None and bool(np.array_equal(decrypted, simulated, equal_nan=True))
