"""One question: where it lies, which program it is for, and its answer."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from pycrcnn._native import Cancellation
from pycrcnn.bulk.layout import Question, identity, key_set
from pycrcnn.bulk.prefix import Prefix
from pycrcnn.cluster.node import Fetch, Node, NodeLimits
from pycrcnn.errors import CancelledError, FormatError, MissingKeyError, PyCrCNNError
from pycrcnn.program import Answer, EncryptedImages, EvaluationKeys
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Done", "Evaluator", "InProcess", "KeySets", "Places", "answer_of"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Done:
    """What an answered question was: its images, and bytes read and written."""

    images: int
    bytes_in: int
    bytes_out: int

    def to_bytes(self) -> bytes:
        """For the way from a node."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Done:
        """What :meth:`to_bytes` wrote."""
        return cls(**json.loads(data))


@dataclass(frozen=True)
class Places:
    """Where questions lie, and where answers go.

    Attributes
    ----------
    asked, answers : Prefix
    limit : int
        Bytes of a question.
    """

    asked: Prefix
    answers: Prefix
    limit: int

    def answer(self, question: Question, read: Callable[[BinaryIO], _T], compute: Callable[[_T], bytes]) -> Done:
        """Read a question, compute its answer, write it.

        Parameters
        ----------
        question : Question
        read : callable
            Takes the encrypted images from a file.
        compute : callable
            Makes of them the bytes of an answer.

        Raises
        ------
        Refusal
            ``not-found``: the question is not there. ``unavailable``: a prefix is away.
        FormatError
            It has more bytes than the limit.
        """
        found = self.asked.read(question.path, self.limit, lambda file: (read(file), file.seek(0, os.SEEK_END)))
        if found is None:
            raise Refusal("not-found", "the file has gone since the run began")
        images, size = found
        answer = compute(images)
        self.answers.put(question.answer, answer)
        return Done(Answer.from_bytes(answer).images, size, len(answer))


class Evaluator(Protocol):
    """What computes answers. Calls come from several threads.

    Attributes
    ----------
    lanes : int
        How many questions it should be given at a time.
    """

    lanes: int

    def answer(self, question: Question) -> Done:
        """Have a question read, and its answer computed and written."""

    def stop(self) -> None:
        """Give up what is being computed."""

    def close(self) -> None:
        """Let go of what it computes with, once nothing is being computed."""


class KeySets:
    """The key sets of a run: each is read to know its program, and whoever computes may have its bytes.

    Parameters
    ----------
    prefix : Prefix
        Where they lie.
    programs : collection of str
        Identities of the model's programs.
    limit : int
        Bytes of a key set.
    """

    def __init__(self, prefix: Prefix, programs: Mapping[str, object], limit: int) -> None:
        self._prefix, self._programs, self._limit = prefix, programs, limit
        self._known: dict[str, str | PyCrCNNError] = {}
        self._last: tuple[str, bytes] | None = None
        self._lock = threading.Lock()

    def program(self, keys: str) -> str:
        """The program that a key set is for.

        Raises
        ------
        MissingKeyError
            There is no such key set.
        FormatError
            The bytes are no key set, or not those that the name promises.
        Refusal
            ``unprocessable``: it is for a program that the model does not have.
        """
        with self._lock:
            if keys not in self._known:
                try:
                    self._known[keys] = self._checked(keys)
                except PyCrCNNError as error:
                    if error.code == "unavailable":
                        raise
                    self._known[keys] = error  # for all questions under it, which do not read it again
            found = self._known[keys]
        if isinstance(found, PyCrCNNError):
            raise found.with_traceback(None)
        return found

    def _checked(self, keys: str) -> str:
        data = self._read(keys)
        if identity(data) != keys:
            raise FormatError(f"{key_set(keys)} is damaged: its name is not the hash of its bytes; bring it again")
        program = EvaluationKeys.from_bytes(data).program
        if program not in self._programs:
            raise Refusal("unprocessable", f"the key set {keys[:12]} is for program {program[:12]}, not of this model")
        self._last = keys, data
        return program

    def _read(self, keys: str) -> bytes:
        data = self._prefix.get(key_set(keys), self._limit)
        if data is None:
            raise MissingKeyError(f"{key_set(keys)} is not there: bring the key set that the images are encrypted for")
        return data

    def data(self, keys: str) -> bytes:
        """The bytes of a key set, for whoever makes it ready."""
        with self._lock:
            last = self._last
        return last[1] if last is not None and last[0] == keys else self._read(keys)


def answer_of(
    node: Node, program: str, program_data: Fetch, keys: str, key_data: Fetch, images: EncryptedImages, flooding: float
) -> bytes:
    """The answer to encrypted images by what a node keeps ready."""
    own = node.program(program, program_data)
    return node.answer(own, node.evaluation_keys(keys, own, key_data), images, flooding).to_bytes()


class InProcess:
    """Computes in this process, in Rust, without the GIL.

    Parameters
    ----------
    programs : mapping of str to Path
        The files of the model's programs, by identity.
    key_sets : KeySets
    places : Places
    flooding : float
        See `pycrcnn.Program.rerandomize`.
    lanes : int
        Questions side by side.
    threads : int
        Of each.
    limits : NodeLimits
        What is kept ready.
    """

    def __init__(
        self,
        programs: Mapping[str, Path],
        key_sets: KeySets,
        places: Places,
        flooding: float,
        lanes: int,
        threads: int,
        limits: NodeLimits,
    ) -> None:
        self.lanes = lanes
        self._programs, self._key_sets, self._places, self._flooding = programs, key_sets, places, flooding
        self._node = Node(limits, threads)
        self._running: set[Cancellation] = set()
        self._stopped = False

    def answer(self, question: Question) -> Done:
        """See :class:`Evaluator`."""
        keys = question.keys
        program = self._key_sets.program(keys)
        fetch_program, fetch_keys = self._programs[program].read_bytes, lambda: self._key_sets.data(keys)

        def compute(images: EncryptedImages) -> bytes:
            with self._cancellable():
                return answer_of(self._node, program, fetch_program, keys, fetch_keys, images, self._flooding)

        return self._places.answer(question, EncryptedImages.read, compute)

    @contextlib.contextmanager
    def _cancellable(self) -> Iterator[None]:
        cancellation = Cancellation()
        self._running.add(cancellation)
        try:
            if self._stopped:
                raise CancelledError("the run was stopped")
            with cancellation:
                yield
        finally:
            self._running.discard(cancellation)

    def stop(self) -> None:
        """See :class:`Evaluator`."""
        self._stopped = True
        for cancellation in tuple(self._running):
            cancellation.cancel()

    def close(self) -> None:
        """See :class:`Evaluator`: there is nothing to let go of."""
