"""Networks too deep for one modulus, in parts: between two of them the client decrypts, squares and encrypts again.

This is PyCrCNN's ``RencryptionLayer`` as two parties play it. It is interactive: every refresh is a round trip in which
the client has to take part, and it shows the client the values of an inner layer, which say more about the weights than
answers do. The server learns no more than without it.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn import _native
from pycrcnn.errors import FormatError, InvalidValueError, UnsupportedError
from pycrcnn.frontends import describe
from pycrcnn.frontends.fields import whole_number
from pycrcnn.program.client import ClientProgram, Keys
from pycrcnn.program.compiling import PRECISION, Choice, check_security, examples_for
from pycrcnn.program.encrypted import Answer, EncryptedImages, EvaluationKeys
from pycrcnn.program.expectation import error_of, repeated
from pycrcnn.program.explanation import Explanation
from pycrcnn.program.program import Mode, Program

__all__ = [
    "InteractiveClient",
    "InteractiveExplanation",
    "InteractiveKeys",
    "InteractiveProgram",
    "compile_interactive",
]

#: Ways to cut that are tried for each number of parts, the most even first.
_CHOICES = 8

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class InteractiveExplanation:
    """The plans of the parts, and what a refresh costs. ``print`` shows them, :meth:`as_dict` gives plain data.

    Attributes
    ----------
    stages : tuple of Explanation
    error : float
        The largest error of an answer that is to be expected, after all parts.
    """

    stages: tuple[Explanation, ...]
    error: float

    @property
    def refreshes(self) -> int:
        """Round trips in which the client decrypts, squares and encrypts again."""
        return len(self.stages) - 1

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        stages = [stage.as_dict() for stage in self.stages]
        return {"interactive": True, "refreshes": self.refreshes, "error": self.error, "stages": stages}

    def __str__(self) -> str:
        trips = f"{self.refreshes} refresh" + ("es" if self.refreshes != 1 else "")
        head = f"INTERACTIVE: {trips} by the client, who sees the values between the parts; error {self.error:.2g}"
        parts = (f"part {number}\n{stage}" for number, stage in enumerate(self.stages, 1))
        return head + "\n\n" + "\n\n-- refresh: the client decrypts, squares, encrypts --\n\n".join(parts)

    def _repr_html_(self) -> str:
        refresh = "<p>refresh: the client decrypts, squares, encrypts</p>"
        head = f"<p>interactive, {self.refreshes} refreshes by the client; error {self.error:.2g}</p>"
        return head + refresh.join(stage._repr_html_() for stage in self.stages)


@dataclass(frozen=True)
class InteractiveClient:
    """What a client knows of an interactive program; it has no weights.

    Attributes
    ----------
    stages : tuple of ClientProgram
        One for each part.
    """

    stages: tuple[ClientProgram, ...]

    def keygen(self) -> InteractiveKeys:
        """Fresh keys for every part."""
        return InteractiveKeys(tuple(stage.keygen() for stage in self.stages))

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write ``stage-1.client``, ``stage-2.client`` and so on."""
        for path, stage in _files(directory, self.stages, "client"):
            stage.save(path)

    @classmethod
    def load(cls, directory: str | os.PathLike[str], threads: int = 0) -> InteractiveClient:
        """Read the files of :meth:`save`.

        Raises
        ------
        FormatError
            A file is missing, damaged, or does not take what the one before it gives.
        """
        client = cls(tuple(ClientProgram.load(path, threads) for path in _found(directory, "client")))
        client.check()
        return client

    def check(self) -> None:
        """Check that each part takes what the one before it gives.

        Raises
        ------
        FormatError
            It does not.
        """
        for number, (one, other) in enumerate(itertools.pairwise(self.stages), 1):
            if one.output_shape != other.input_shape:
                raise FormatError(
                    f"stage {number} gives {list(one.output_shape)} and stage {number + 1} takes "
                    f"{list(other.input_shape)}: they are of different programs"
                )


@dataclass(frozen=True)
class InteractiveKeys:
    """A client's keys for every part of an interactive program.

    Attributes
    ----------
    stages : tuple of Keys
    """

    stages: tuple[Keys, ...] = field(repr=False)

    @property
    def evaluation(self) -> tuple[EvaluationKeys, ...]:
        """What the server computes with, part by part."""
        return tuple(stage.evaluation for stage in self.stages)

    def encrypt(self, images: ArrayLike) -> EncryptedImages:
        """Encrypt images for the first part."""
        return self.stages[0].encrypt(images)

    def refresh(self, stage: int, answer: Answer) -> EncryptedImages:
        """Decrypt what part number `stage` (from 0) answered, square it, and encrypt it for the next part.

        Raises
        ------
        InvalidValueError
            There is no part after it: its answer is decrypted.
        """
        whole_number("stage", stage, 0, len(self.stages) - 1)
        if stage + 1 == len(self.stages):
            raise InvalidValueError(f"stage {stage} is the last: decrypt its answer")
        return self.stages[stage + 1].encrypt(np.square(self.stages[stage].decrypt_raw(answer)))

    def decrypt(self, answer: Answer) -> NDArray[np.float64]:
        """Decrypt what the last part answered; as :meth:`Keys.decrypt`."""
        return self.stages[-1].decrypt(answer)

    def converse(self, images: ArrayLike, run: Callable[[int, EncryptedImages], Answer]) -> NDArray[np.float64]:
        """The client's side of a whole conversation.

        Parameters
        ----------
        images : array_like, shape [n, *input_shape]
        run : callable
            The server: takes the number of a part and encrypted images, returns that part's answer.
        """
        message = self.encrypt(images)
        for stage in range(len(self.stages) - 1):
            message = self.refresh(stage, run(stage, message))
        return self.decrypt(run(len(self.stages) - 1, message))

    def save(self, directory: str | os.PathLike[str], passphrase: str | None = None) -> None:
        """Write the keys of each part into folders ``stage-1``, ``stage-2`` and so on; see :meth:`Keys.save`."""
        for number, stage in enumerate(self.stages, 1):
            stage.save(Path(directory) / f"stage-{number}", passphrase)

    @classmethod
    def load(
        cls, client: InteractiveClient, directory: str | os.PathLike[str], passphrase: str | None = None
    ) -> InteractiveKeys:
        """Read the folders of :meth:`save`."""
        folders = (Path(directory) / f"stage-{number}" for number in itertools.count(1))
        pairs = zip(client.stages, folders, strict=False)
        return cls(tuple(Keys.load(stage, folder, passphrase) for stage, folder in pairs))


@dataclass(frozen=True)
class InteractiveProgram:
    """A network in parts, each a :class:`Program`, with a refresh by the client between one and the next.

    Attributes
    ----------
    stages : tuple of Program
    error : float
        The largest error of an answer that is to be expected.
    """

    stages: tuple[Program, ...]
    error: float

    @property
    def client(self) -> InteractiveClient:
        """What a client needs: no weights."""
        return InteractiveClient(tuple(stage.client for stage in self.stages))

    def keygen(self) -> InteractiveKeys:
        """Fresh keys for every part."""
        return self.client.keygen()

    def run(self, stage: int, images: EncryptedImages, evaluation: Sequence[EvaluationKeys]) -> Answer:
        """The server: evaluate part number `stage` (from 0) with the keys of a client; as :meth:`Program.run`."""
        whole_number("stage", stage, 0, len(self.stages) - 1)
        return self.stages[stage].run(images, evaluation[stage])

    def predict(self, images: ArrayLike, mode: Mode = "clear") -> NDArray[np.float64]:
        """Answers to images; the modes are those of :meth:`Program.predict`."""
        if mode == "encrypted":
            keys = self.keygen()
            return keys.converse(images, lambda stage, message: self.run(stage, message, keys.evaluation))
        values = self.stages[0].predict(images, mode)
        for stage in self.stages[1:]:
            values = stage.predict(np.square(values), mode)
        return values

    def explain(self) -> InteractiveExplanation:
        """The plans of all parts."""
        return InteractiveExplanation(tuple(stage.explain() for stage in self.stages), self.error)

    def flooded_error(self, flooding: float = 1.0) -> float:
        """The largest error to be expected of an answer where a server floods those of every part.

        See :meth:`Program.rerandomize`.
        """
        return self.stages[-1].flooded_error(flooding)

    def plot(self) -> Any:
        """The plans of all parts, one below the other, as a matplotlib figure; see :mod:`pycrcnn.viz`."""
        from pycrcnn.viz import overview  # matplotlib is optional, and takes its time

        return overview(self.explain())

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write ``stage-1.program``, ``stage-2.program`` and so on: the server's files."""
        for path, stage in _files(directory, self.stages, "program"):
            stage.save(path)

    @classmethod
    def load(cls, directory: str | os.PathLike[str], threads: int = 0) -> InteractiveProgram:
        """Read the files of :meth:`save`.

        Raises
        ------
        FormatError
            A file is missing, damaged, or does not take what the one before it gives.
        """
        stages = [Program.load(path, threads) for path in _found(directory, "program")]
        InteractiveClient(tuple(stage.client for stage in stages)).check()
        # The error of the whole is kept with its last part.
        return cls(tuple(stages), stages[-1].error)


def compile_interactive(
    model: Any,
    input_shape: Sequence[int] | None = None,
    *,
    architecture: Any = None,
    layout: Literal["auto", "packed", "batched"] = "auto",
    batch: int = 1,
    security: int = 128,
    precision: int | None = None,
    calibration: ArrayLike | None = None,
    cuts: Sequence[int] | None = None,
    threads: int = 0,
) -> InteractiveProgram:
    """Compile a network that is too deep for :func:`compile`, in parts between which the client refreshes.

    A part ends before a square: the client decrypts, squares in clear, and encrypts again, so that the square takes no
    level either.

    Parameters
    ----------
    cuts : sequence of int, optional
        Before which of the network's squares (from 1, in the order of evaluation) a part ends. If not given: as few
        parts as fit, and of those the most even.
    model, input_shape, architecture, layout, batch, security, precision, calibration, threads
        As for :func:`compile`; the layouts of CKKS only.

    Raises
    ------
    UnsupportedError
        Not even single layers fit; or as :func:`compile`.
    InvalidValueError
        The cuts are not ascending numbers of squares; or as :func:`compile`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> layers = [{"type": "linear", "weight": rng.normal(size=(3, 4))}, {"type": "square"},
    ...           {"type": "linear", "weight": rng.normal(size=(2, 3))}]
    >>> program = compile_interactive(layers, (4,), cuts=[1])
    >>> x = rng.uniform(0, 1, (5, 4))
    >>> bool(np.allclose(program.predict(x, "encrypted"), program.predict(x), atol=program.explain().error))
    True
    """
    described = describe(model, input_shape, architecture)
    network = described.network
    if layout not in ("auto", "packed", "batched"):
        raise InvalidValueError(f"layout {layout!r}: choose 'auto', 'packed' or 'batched'")
    check_security(security)
    batch = whole_number("batch", batch, 1, 2**31 - 1)
    bits = whole_number("precision", PRECISION["ckks"] if precision is None else precision, 1, 30)
    examples = examples_for(calibration, model, tuple(network.input_shape))
    form = _native.NormalForm(network, examples.reshape(-1), threads)

    def stages(positions: Sequence[int]) -> tuple[Program, ...]:
        parts = form.split(list(positions))
        natives = [Choice(part, batch, security, bits, threads).of(layout) for part in parts]
        heads = [()] * (len(parts) - 1) + [described.client_head]
        clients = (
            ClientProgram(native.client(), head, 0.0, threads) for native, head in zip(natives, heads, strict=True)
        )
        return tuple(
            Program(part.network(), native, client, security)
            for part, native, client in zip(parts, natives, clients, strict=True)
        )

    found = stages(cuts) if cuts is not None else _fewest(form.squares, stages)
    return _with_errors(found, examples)


def _fewest(squares: int, stages: Callable[[Sequence[int]], tuple[Program, ...]]) -> tuple[Program, ...]:
    """As few parts as fit; of as many the most even."""
    refusal: UnsupportedError | None = None
    for refreshes in range(squares + 1):
        choices = sorted(
            itertools.combinations(range(1, squares + 1), refreshes), key=lambda cuts: _depth(cuts, squares)
        )
        for positions in choices[:_CHOICES]:
            try:
                return stages(positions)
            except UnsupportedError as error:
                refusal = error
    raise refusal or UnsupportedError("the network has no layers")


def _depth(cuts: Sequence[int], squares: int) -> int:
    """Affine maps of the longest part."""
    return max(end - start for start, end in itertools.pairwise([0, *cuts, squares + 1]))


def _with_errors(stages: tuple[Program, ...], examples: NDArray[np.float64]) -> InteractiveProgram:
    """Every part with the error that is to be expected after it, by simulating all, and what flooding adds."""
    still = _expected_errors(stages, examples, [0.0] * len(stages))
    flooded = _expected_errors(stages, examples, still)
    programs = tuple(
        replace(
            stage,
            client=replace(stage.client, error=error),
            carried=math.sqrt(max(0.0, with_flooding**2 - error**2)),
        )
        for stage, error, with_flooding in zip(stages, still, flooded, strict=True)
    )
    return InteractiveProgram(programs, still[-1])


def _expected_errors(
    stages: Sequence[Program], examples: NDArray[np.float64], flooding: Sequence[float]
) -> list[float]:
    """The error that is to be expected after each part, where answers are flooded with noise of deviations."""
    rng = np.random.default_rng(0)
    noisy = exact = repeated(examples)
    errors: list[float] = []
    squares = 0
    for index, stage in enumerate(stages):
        if index:
            noisy, exact = np.square(noisy + rng.normal(0, flooding[index - 1], noisy.shape)), np.square(exact)
        squares += stage.native.squares() + (index > 0)
        noisy = stage.native.simulate(noisy, seed=index, threads=stage.threads)
        exact = stage.network.evaluate(exact, stage.threads)
        errors.append(error_of(noisy - exact, examples, squares, stage.native, stage.network))
    return errors


def _files(directory: str | os.PathLike[str], stages: Sequence[_Part], kind: str) -> Iterator[tuple[Path, _Part]]:
    """Where each part is written; parts of an earlier writing beyond the last are removed."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(len(stages) + 1):
        stale = folder / f"stage-{number}.{kind}"
        if not stale.exists():
            break
        stale.unlink()
    for number, stage in enumerate(stages, 1):
        yield folder / f"stage-{number}.{kind}", stage


def _found(directory: str | os.PathLike[str], kind: str) -> list[Path]:
    paths = (Path(directory) / f"stage-{number}.{kind}" for number in itertools.count(1))
    found = list(itertools.takewhile(Path.exists, paths))
    if not found:
        raise FormatError(f"{os.fspath(directory)} has no stage-1.{kind}: it is no folder of an interactive program")
    return found
