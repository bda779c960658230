"""Things made ready in memory, of which those that were used last are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Counts", "Recent"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Counts:
    """How often something was there already (`hits`), was not (`misses`), and had to go (`evicted`)."""

    hits: int = 0
    misses: int = 0
    evicted: int = 0


class Recent(Generic[_T]):
    """Things by identity, bounded in bytes and in number; one is always kept. Calls come from several threads.

    Parameters
    ----------
    most_bytes : int
    most : int, optional
        How many; as many as the bytes allow, if not given.
    """

    def __init__(self, most_bytes: int, most: int | None = None) -> None:
        self._most_bytes, self._most = most_bytes, most
        self._held: OrderedDict[str, tuple[_T, int]] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._bytes = 0
        self.counts = Counts()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._held))

    def __len__(self) -> int:
        return len(self._held)

    @property
    def nbytes(self) -> int:
        """Of all that is kept."""
        return self._bytes

    def get(self, identity: str, make: Callable[[], tuple[_T, int]]) -> _T:
        """The thing of an identity, made where it is not there: once, however many ask for it meanwhile.

        Parameters
        ----------
        identity : str
        make : callable
            Gives the thing and its bytes. What it raises goes to whoever asked.
        """
        with self._lock:
            if (found := self._find(identity)) is not None:
                return found
            making = self._making.setdefault(identity, threading.Lock())
        with making:
            with self._lock:
                if (found := self._find(identity)) is not None:
                    return found
            try:
                made, size = make()
            except BaseException:
                with self._lock:
                    self._making.pop(identity, None)
                raise
            with self._lock:
                self._making.pop(identity, None)
                self.counts = Counts(self.counts.hits, self.counts.misses + 1, self.counts.evicted)
                self._keep(identity, made, size)
            return made

    def _find(self, identity: str) -> _T | None:
        held = self._held.get(identity)
        if held is None:
            return None
        self._held.move_to_end(identity)
        self.counts = Counts(self.counts.hits + 1, self.counts.misses, self.counts.evicted)
        return held[0]

    def put(self, identity: str, thing: _T, size: int) -> None:
        """Keep a thing that has been made elsewhere."""
        with self._lock:
            self._keep(identity, thing, size)

    def _keep(self, identity: str, thing: _T, size: int) -> None:
        self._drop(identity)
        self._held[identity] = thing, size
        self._bytes += size
        while len(self._held) > 1 and (self._bytes > self._most_bytes or len(self._held) > (self._most or len(self))):
            self._drop(next(iter(self._held)))
            self.counts = Counts(self.counts.hits, self.counts.misses, self.counts.evicted + 1)

    def _drop(self, identity: str) -> None:
        _, size = self._held.pop(identity, (None, 0))
        self._bytes -= size

    def forget(self, identity: str) -> None:
        """Drop a thing, if it is there."""
        with self._lock:
            self._drop(identity)
