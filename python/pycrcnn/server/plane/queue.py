"""A bounded queue that is fair between clients, and the threads that work it off."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from pycrcnn.server.plane.refusals import Refusal

__all__ = ["FairQueue", "cores"]

_T = TypeVar("_T")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Task:
    work: Callable[[int], Any]
    future: Future[Any]
    bounded: bool


class FairQueue:
    """Work of many clients: each gets its turn and its share of the room, however much the others have queued.

    Where there is no more room, a client that has less waiting than another takes the place of that one's newest
    (the longest queue is shortened first: Suter et al., "Buffer management schemes for supporting TCP in gigabit
    routers with per-flow queueing", 1999).

    Parameters
    ----------
    workers : int
        Threads that work it off; 0 for as many as there are cores.
    threads : int
        What a piece of work is told to use; 0 for its share of the cores at that moment.
    limit, per_client : int
        Pieces of bounded work that may wait, of all clients and of one.
    """

    def __init__(self, workers: int = 0, threads: int = 0, limit: int = 256, per_client: int = 64) -> None:
        self.workers = 0
        self._threads = threads
        self._limit, self._per_client = limit, per_client
        self._waiting: OrderedDict[str, deque[_Task]] = OrderedDict()
        self._count = 0
        self._bounded: Counter[str] = Counter()
        self._running = 0
        self._closed = False
        self._changed = threading.Condition()
        self._pool: list[threading.Thread] = []
        #: Seconds that recent work took: what tells a client when to come back.
        self._recent = 0.1
        self.resize(workers or cores())

    def resize(self, workers: int) -> None:
        """Let another number of pieces of work run at a time; what runs goes on."""
        with self._changed:
            self.workers = workers
            while not self._closed and len(self._pool) < workers:
                thread = threading.Thread(target=self._work, name=f"evaluate-{len(self._pool)}", daemon=True)
                self._pool.append(thread)
                thread.start()
            self._changed.notify_all()

    @property
    def depth(self) -> int:
        """Pieces of work that wait."""
        return self._count

    @property
    def running(self) -> int:
        """Pieces of work that run."""
        return self._running

    def submit(self, client: str, work: Callable[[int], _T], *, bounded: bool = True) -> Future[_T]:
        """Queue a piece of work, which is called with the number of threads that it may use.

        Parameters
        ----------
        client : str
            Whose it is: clients take turns.
        work : callable
        bounded : bool
            Whether it counts against the limits. Jobs do not: their number is bounded where they are kept.

        Raises
        ------
        Refusal
            ``too-many-requests``: the client has too much waiting. ``unavailable``: there is too much waiting, or the
            service is being stopped. The future has it too, where others need the room more.
        """
        task = _Task(work, Future(), bounded)
        displaced: _Task | None = None
        with self._changed:
            if self._closed:
                raise Refusal("unavailable", "the service is being stopped; come back later", 5.0)
            if bounded:
                displaced = self._room_for(client)
                self._bounded[client] += 1
            self._waiting.setdefault(client, deque()).append(task)
            self._count += 1
            self._changed.notify()
        if displaced is not None and displaced.future.set_running_or_notify_cancel():
            displaced.future.set_exception(self._full())
        return task.future

    def _room_for(self, client: str) -> _Task | None:
        """Whom one more piece of work of a client takes the place of, if of anybody."""
        own = self._bounded[client]
        if own >= self._per_client:
            raise Refusal("too-many-requests", f"{own} requests of yours are waiting already", self._patience(own))
        if self._bounded.total() < self._limit:
            return None
        longest, most = self._bounded.most_common(1)[0]
        if most <= own + 1:
            raise self._full()
        waiting = self._waiting[longest]
        last = next(i for i in reversed(range(len(waiting))) if waiting[i].bounded)
        displaced = waiting[last]
        del waiting[last]
        self._taken(longest, displaced)
        return displaced

    def _taken(self, client: str, task: _Task) -> None:
        """Counts a piece of work that waits no longer."""
        if not self._waiting[client]:
            del self._waiting[client]
        self._count -= 1
        if task.bounded:
            self._bounded[client] -= 1
            if not self._bounded[client]:
                del self._bounded[client]

    def _full(self) -> Refusal:
        return Refusal("unavailable", f"{self._limit} requests are waiting already", self._patience(self._limit))

    def _patience(self, waiting: int) -> float:
        return min(600.0, max(1.0, waiting * self._recent / self.workers))

    def _next(self) -> _Task | None:
        """The first piece of work of the client whose turn it is, who goes to the end of the line."""
        with self._changed:
            while not self._waiting or self._running >= self.workers:
                if self._closed:
                    return None
                self._changed.wait()
            client = next(iter(self._waiting))
            task = self._waiting[client].popleft()
            self._waiting.move_to_end(client)
            self._taken(client, task)
            self._running += 1
            return task

    def _share(self) -> int:
        """Threads for a piece of work: all cores where nothing else is to be done, one where every worker is busy."""
        if self._threads:
            return self._threads
        return max(1, cores() // min(self.workers, max(1, self._running + self._count)))

    def _work(self) -> None:
        while (task := self._next()) is not None:
            start = time.perf_counter()
            try:
                if task.future.set_running_or_notify_cancel():
                    result = task.work(self._share())
                    task.future.set_result(result)
            except BaseException as error:
                task.future.set_exception(error)
            finally:
                with self._changed:
                    self._running -= 1
                    self._recent = 0.9 * self._recent + 0.1 * (time.perf_counter() - start)
                    self._changed.notify_all()
            del task  # with it goes what the work holds, such as a body

    def close(self, grace: float) -> bool:
        """Take nothing more in, drop what waits, and wait for what runs.

        Returns
        -------
        bool
            Whether all that ran has ended within `grace` seconds.
        """
        deadline = time.monotonic() + grace
        with self._changed:
            self._closed = True
            dropped = [task for own in self._waiting.values() for task in own]
            self._waiting.clear()
            self._bounded.clear()
            self._count = 0
            self._changed.notify_all()
        for task in dropped:
            task.future.cancel()
        for thread in self._pool:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._pool)
