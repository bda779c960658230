"""Questions as tasks of Ray: any node that has room answers, with programs and keys that its processes keep ready.

A task gets references to the bytes of the program and of the key set, which come to a node once, however many of its
processes fetch them; each process makes them ready for itself. Bytes travel raw, nothing that came from a client is
unpickled. Ray runs a task again whose process or node was lost; what is lost all the same is tried again by whoever
asked.

Either this process reads the questions and writes the answers: their bytes travel with tasks and replies, and nodes
need no access to them. Or the prefixes are shared: a task gets the name of a question, the node reads and writes, and
this process has nothing to do but to list and to count. A task that was taken for lost may then write the same answer
as the one in its place: each is whole, and either is right.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

from pycrcnn.bulk.evaluate import Done, KeySets, Places, answer_of
from pycrcnn.bulk.layout import Question
from pycrcnn.bulk.shared import UNSEEN, SharedPlaces, not_seen
from pycrcnn.cluster.messages import LOST, STRANGE, Reply, release
from pycrcnn.cluster.node import Node, NodeLimits
from pycrcnn.cluster.runtime import imported, resolved
from pycrcnn.errors import CancelledError, InvalidValueError, PyCrCNNError
from pycrcnn.program import EncryptedImages
from pycrcnn.server.plane.recent import Recent
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["RayTasks"]

_LOGGER = logging.getLogger("pycrcnn.bulk")
#: How often Ray runs a task whose process or node was lost; questions in flight at most.
_RETRIES, _MOST = 3, 256


class RayTasks:
    """Computes on a cluster.

    Parameters
    ----------
    address : str, optional
        Of the cluster; by default what ``RAY_ADDRESS`` says, or one of this machine alone that ends with this process.
    programs : mapping of str to Path
        The files of the model's programs, by identity.
    key_sets : KeySets
    places : Places
    flooding : float
        See `pycrcnn.Program.rerandomize`.
    lanes : int
        Questions in flight; 0 for as many as the cluster computes at a time, or twice as many where their bytes travel.
    threads : int
        Cores of each.
    limits : NodeLimits
        What a process of a node keeps ready.
    shared : bool
        Whether nodes read questions and write answers themselves.

    Raises
    ------
    MissingPackageError
        Ray is not installed.
    InvalidValueError
        No node has as many cores.
    Refusal
        ``unavailable``: the cluster cannot be reached.
    """

    def __init__(
        self,
        address: str | None,
        programs: Mapping[str, Path],
        key_sets: KeySets,
        places: Places,
        flooding: float,
        lanes: int,
        threads: int,
        limits: NodeLimits,
        shared: bool,
    ) -> None:
        self._ray = ray = imported()
        self._programs, self._key_sets, self._places, self._shared = programs, key_sets, places, shared
        self._arguments = (release(), limits, threads, flooding)
        # Without an address Ray would join whatever cluster was started last on this machine.
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise Refusal("unavailable", f"the cluster cannot be joined: {error}") from error
        cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        if max(cores, default=0) < threads:
            self.close()
            raise InvalidValueError(f"--threads {threads}: the largest node of the cluster has {max(cores, default=0)}")
        # Bytes are on their way while others are computed. A name is there at once, and a task without a place to run
        # costs Ray work: it is offered to one node after the other, over and over.
        ahead = 1 if shared else 2
        self.lanes = lanes or min(_MOST, ahead * sum(count // threads for count in cores))
        self._task = ray.remote(_answer).options(num_cpus=threads, max_retries=_RETRIES)
        self._references: Recent[Any] = Recent(limits.keys_bytes)
        self._flying: set[Any] = set()
        self._stopped = threading.Event()

    def answer(self, question: Question) -> Done:
        """See :class:`~pycrcnn.bulk.evaluate.Evaluator`."""
        if self._shared:
            return Done.from_bytes(self._asked(question, self._shared_places))
        return self._places.answer(question, lambda file: file.read(), lambda data: self._asked(question, data))

    @cached_property
    def _shared_places(self) -> SharedPlaces:
        return SharedPlaces.of(self._places)

    def _asked(self, question: Question, given: bytes | SharedPlaces) -> bytes:
        """What a task replies."""
        keys = question.keys
        program = self._key_sets.program(keys)
        if self._stopped.is_set():
            raise CancelledError("the run was stopped")
        references = [
            self._references.get(program, lambda: self._put(self._programs[program].read_bytes())),
            self._references.get(keys, lambda: self._put(self._key_sets.data(keys))),
        ]
        # References in a list are handed on as they are, and fetched only where their bytes are needed.
        reply = self._reply(self._task.remote(self._arguments, program, question, given, references))
        failure = reply.failure()
        if failure is None:
            return reply.answer
        if failure.code == UNSEEN:
            raise not_seen(self._places, question, str(failure))
        if failure.code == LOST:
            for identity in (program, keys):
                self._references.forget(identity)
        raise Refusal("unavailable", str(failure)) if failure.code in (LOST, STRANGE) else failure

    def _put(self, data: bytes) -> tuple[Any, int]:
        return self._ray.put(data), len(data)

    def _reply(self, reference: Any) -> Reply:
        self._flying.add(reference)
        try:
            return Reply.from_bytes(self._ray.get(reference))
        except self._ray.exceptions.TaskCancelledError:
            raise CancelledError("the run was stopped") from None
        except self._ray.exceptions.RayError as error:
            if self._stopped.is_set():
                raise CancelledError("the run was stopped") from None
            raise Refusal("unavailable", f"the cluster lost the task: {type(error).__name__}: {error}") from error
        finally:
            self._flying.discard(reference)

    def stop(self) -> None:
        """See :class:`~pycrcnn.bulk.evaluate.Evaluator`."""
        self._stopped.set()
        for reference in tuple(self._flying):
            self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """See :class:`~pycrcnn.bulk.evaluate.Evaluator`."""
        self._ray.shutdown()


# On a node


@lru_cache(maxsize=1)
def _node(limits: NodeLimits, threads: int) -> Node:
    """What this process keeps ready, from one task to the next."""
    return Node(limits, threads)


def _answer(
    arguments: tuple[str, NodeLimits, int, float],
    program: str,
    question: Question,
    given: bytes | SharedPlaces,
    references: Sequence[Any],
) -> bytes:
    """A task: the reply to one question, whose bytes are given or lie where this node reads them.

    It holds the answer, or says of one that has been written what was done.
    """
    asked_by, limits, threads, flooding = arguments
    fetch_program, fetch_keys = (partial(resolved, reference) for reference in references)

    def compute(images: EncryptedImages) -> bytes:
        return answer_of(_node(limits, threads), program, fetch_program, question.keys, fetch_keys, images, flooding)

    try:
        if asked_by != release():
            raise Refusal(STRANGE, f"a node has pycrcnn {release()}, the others {asked_by}: install the same on all")
        if isinstance(given, SharedPlaces):
            return Reply(given.answer(question, compute).to_bytes()).to_bytes()
        return Reply(compute(EncryptedImages.from_bytes(given))).to_bytes()
    except PyCrCNNError as error:
        return Reply(error=(error.code, str(error))).to_bytes()
