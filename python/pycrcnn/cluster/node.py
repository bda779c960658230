"""What a process that evaluates for others keeps ready: programs, and clients' evaluation keys.

Both come as bytes from somewhere else, and only where they are not here yet; they are parsed in safe Rust and held
against their identities, so that wherever they come from they are those that were asked for.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from pycrcnn.program import Answer, EncryptedImages, EvaluationKeys, Program
from pycrcnn.server.plane.engine import reply_of
from pycrcnn.server.plane.recent import Recent
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Fetch", "Node", "NodeLimits"]

#: Brings bytes; None where they are not there.
Fetch = Callable[[], "bytes | memoryview | None"]


@dataclass(frozen=True)
class NodeLimits:
    """What is kept ready, at most.

    Attributes
    ----------
    programs_bytes, keys_bytes : int
        Memory of programs and of key sets; one of each is always kept.
    keys : int, optional
        Number of key sets; as many as the bytes allow, if not given.
    """

    programs_bytes: int = 2_000_000_000
    keys_bytes: int = 4_000_000_000
    keys: int | None = None


class Node:
    """Programs and key sets ready for use; those that were used last stay. Calls come from several threads.

    Parameters
    ----------
    limits : NodeLimits
    threads : int
        Of an evaluation, and of what makes keys ready.

    Attributes
    ----------
    programs, keys : Recent
        What is held, and counts of hits and misses.
    """

    def __init__(self, limits: NodeLimits | None = None, threads: int = 1) -> None:
        limits = limits or NodeLimits()
        self.programs: Recent[Program] = Recent(limits.programs_bytes)
        self.keys: Recent[EvaluationKeys] = Recent(limits.keys_bytes, limits.keys)
        self._threads = threads

    def program(self, identity: str, fetch: Fetch) -> Program:
        """A program, fetched where it is not here.

        Parameters
        ----------
        identity : str
            As `Program.program_id` gives it.
        fetch : callable
            Brings what `Program.to_bytes` gave.

        Raises
        ------
        Refusal
            ``not-found``: it is not there, or the bytes are another program's.
        FormatError
            The bytes are damaged, or of another version.
        """

        def make() -> tuple[Program, int]:
            data = _fetched(fetch, "program")
            program = Program.from_bytes(data, self._threads)
            if program.program_id != identity:
                raise Refusal("not-found", f"the bytes that came for program {identity[:12]} are another program's")
            return program, max(program.explain().memory_bytes, len(data))

        return self.programs.get(identity, make)

    def evaluation_keys(self, identity: str, program: Program, fetch: Fetch) -> EvaluationKeys:
        """A key set, fetched and made ready where it is not here.

        Parameters
        ----------
        identity : str
            BLAKE2b-256 of the bytes, in hexadecimal digits.
        program : Program
            That they are for.
        fetch : callable
            Brings what `EvaluationKeys.to_bytes` gave.

        Raises
        ------
        Refusal
            ``not-found``: it is not there, or the bytes are other ones.
        FormatError, KeyMismatchError
            The bytes are no key set, or one for another program.
        """

        def make() -> tuple[EvaluationKeys, int]:
            data = _fetched(fetch, "key set")
            if hashlib.blake2b(data, digest_size=32).hexdigest() != identity:
                raise Refusal("not-found", "the key set is damaged or gone: PUT /v1/keys brings it back")
            keys = EvaluationKeys.from_bytes(data)
            prepared = keys.prepared(program.native, program.program_id, self._threads)
            return keys, prepared.nbytes + keys.nbytes

        return self.keys.get(identity, make)

    def answer(self, program: Program, keys: EvaluationKeys, images: EncryptedImages, flooding: float) -> Answer:
        """What leaves the service for encrypted images: evaluated and re-randomised."""
        own = dataclasses.replace(program, client=dataclasses.replace(program.client, threads=self._threads))
        return reply_of(own, images, keys, flooding)


def _fetched(fetch: Fetch, what: str) -> bytes:
    data = fetch()
    if data is None:
        raise Refusal("not-found", f"the {what} is not where it should be; it was deleted, or never kept")
    return bytes(data)
