"""Compiled programs on disk, some of them ready in memory."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from pycrcnn.program import Program
from pycrcnn.server.plane.catalogue import ProgramEntry
from pycrcnn.server.plane.recent import Recent
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Shelf", "Shelved", "entry_in"]


@dataclass(frozen=True)
class Shelved:
    """A program's file, what clients are told of it, and the client's part."""

    path: Path
    entry: ProgramEntry
    client: bytes
    memory: int

    @classmethod
    def of(cls, path: Path, program: Program, entry: ProgramEntry) -> Shelved:
        """A program that has just been read from its file."""
        memory = max(program.explain().memory_bytes, path.stat().st_size)
        return cls(path, entry, program.client.to_bytes(), memory)

    def note(self) -> bytes:
        """What can be written beside the file, so that it need not be read to be offered."""
        fields = {"entry": dataclasses.asdict(self.entry), "client": self.client.hex(), "memory": self.memory}
        return json.dumps(fields).encode()

    @classmethod
    def noted(cls, path: Path, note: bytes) -> Shelved:
        """What :meth:`note` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            It is something else.
        """
        fields = json.loads(note)
        return cls(path, entry_in(fields["entry"]), bytes.fromhex(fields["client"]), int(fields["memory"]))


def entry_in(fields: dict[str, object]) -> ProgramEntry:
    """An entry from its JSON, whose lists are tuples here."""
    return ProgramEntry(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})  # type: ignore[arg-type]


class Shelf:
    """Programs by identity; those that were used last are ready in memory.

    Parameters
    ----------
    most_bytes : int
        Memory that they may take; one is always kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self._shelved: dict[str, Shelved] = {}
        self._ready: Recent[Program] = Recent(most_bytes)

    def put(self, shelved: Shelved) -> None:
        """Offer a program."""
        self._shelved[shelved.entry.id] = shelved

    def __getitem__(self, identity: str) -> Shelved:
        """A program's entry and client's part.

        Raises
        ------
        Refusal
            ``not-found``.
        """
        found = self._shelved.get(identity)
        if found is None:
            raise Refusal("not-found", "there is no program of this id; GET /v1/models/{name} lists a model's programs")
        return found

    def program(self, identity: str) -> Program:
        """A program, read from its file where it is not in memory.

        Raises
        ------
        Refusal
            ``not-found``.
        """
        shelved = self[identity]
        return self._ready.get(identity, lambda: (Program.load(shelved.path), shelved.memory))

    @property
    def ready(self) -> tuple[str, ...]:
        """The identities of those that are ready in memory."""
        return tuple(self._ready)
