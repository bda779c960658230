"""Memory of evaluations: those that run side by side fit into what the service may take."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["Memory", "machine_memory"]

#: What a container may use (version 2 of control groups).
_CGROUP = Path("/sys/fs/cgroup/memory.max")
#: Seconds between two looks at whether what waits is still wanted.
_LOOK = 0.1


def machine_memory() -> int:
    """Bytes that this machine has, or that its container may use."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # no such limit, or the word "max"
        found = min(found, int(_CGROUP.read_text()))
    return found


class Memory:
    """Bytes that are lent in the order in which they were asked for.

    Parameters
    ----------
    total : int
        That may be lent at a time. Who needs more has all of it.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def lent(self, size: int, wanted: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Wait for some bytes, and have them within.

        Parameters
        ----------
        size : int
        wanted : callable
            Is called now and then while it waits. It may raise, which ends the wait.
        """
        size = min(size, self.total)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._free < size:
                    self._changed.wait(_LOOK)
                    wanted()
                self._free -= size
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
