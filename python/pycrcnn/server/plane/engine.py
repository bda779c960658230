"""Evaluation. An engine is named by what it needs: identities and ciphertexts; it may run anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from pycrcnn.program import Answer, EncryptedImages, EvaluationKeys, Program
from pycrcnn.server.plane.keys import KeyStore
from pycrcnn.server.plane.memory import Memory
from pycrcnn.server.plane.registry import Registry

__all__ = ["Engine", "InProcessEngine", "reply_of"]


class Engine(Protocol):
    """What evaluates programs. Calls come from several threads at a time."""

    def start(self, resized: Callable[[int], None]) -> None:
        """Make ready, without waiting for it: by itself an engine is ready.

        Parameters
        ----------
        resized : callable
            Is told how many pieces of work the engine can take at a time, whenever that changes.
        """
        return

    def stop(self) -> None:
        """Evaluate nothing more."""
        return

    @property
    def ready(self) -> bool:
        """Whether something evaluates at this moment."""
        return True

    def figures(self) -> dict[str, float]:
        """What is to be seen of it besides what every service shows, by name."""
        return {}

    def evaluate(
        self, program: str, keys: str, images: EncryptedImages, threads: int, progress: Callable[[float], None]
    ) -> Answer:
        """The answer to encrypted images.

        Parameters
        ----------
        program, keys : str
            Identities of a program and of a key set for it.
        images : EncryptedImages
        threads : int
            That it may use.
        progress : callable
            Is told from time to time which part of the work, from 0 to 1, is done. It may raise, which ends the work.

        Raises
        ------
        Refusal
            ``unavailable``: it may succeed later.
        """
        ...


class InProcessEngine(Engine):
    """Evaluates in this process: in Rust, without the GIL."""

    def __init__(self, registry: Registry, keys: KeyStore, memory: Memory, flooding: float = 1.0) -> None:
        self._registry, self._keys, self._memory, self._flooding = registry, keys, memory, flooding

    def evaluate(
        self, program: str, keys: str, images: EncryptedImages, threads: int, progress: Callable[[float], None]
    ) -> Answer:
        """See :class:`Engine`."""
        found = self._registry.shelf.program(program)
        own = dataclasses.replace(found, client=dataclasses.replace(found.client, threads=threads))
        prepared = self._keys.prepared(keys)
        needed = self._registry.shelf[program].memory
        parts = images.split(own.capacity)
        answers: list[bytes] = []
        for i, part in enumerate(parts):
            done = i / len(parts)
            progress(done)
            question = EncryptedImages((part,), min(own.capacity, images.images - i * own.capacity))
            with self._memory.lent(needed, lambda done=done: progress(done)):  # type: ignore[misc]
                answers += reply_of(own, question, prepared, self._flooding).parts
        return Answer(tuple(answers), images.images)


def reply_of(program: Program, images: EncryptedImages, keys: EvaluationKeys, flooding: float) -> Answer:
    """What leaves the service for one run: re-randomised, so that it tells nothing of the weights but the answer."""
    answer = program.run(images, keys)
    return program.rerandomize(answer, keys, None if program.scheme == "bfv" else flooding)
