"""To which replica a request goes: to one that holds its keys already, where that is quicker.

Every key set has its order of replicas, by a hash of both (rendezvous hashing: Thaler and Ravishankar, 1998): each
server finds the same one without asking, and when a replica goes, only its own key sets move. A replica that is busy
passes work on to the next of that order, so a key set that is asked for often spreads over as many as it needs
(hashing with bounded loads: Mirrokni, Thorup and Zadimoghaddam, 2018).

Serve's own multiplexing finds replicas by what they report that they hold, and lets a request wait a second for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from pycrcnn.cluster.runtime import imported

imported()

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica  # noqa: E402 - after its settings

__all__ = ["KeyAffinity", "ranked"]


def ranked(keys: str, replicas: Sequence[str]) -> list[int]:
    """The positions of replicas in the order in which a key set asks them."""

    def weight(i: int) -> bytes:
        return hashlib.blake2b(f"{keys}:{replicas[i]}".encode(), digest_size=8).digest()

    return sorted(range(len(replicas)), key=weight)


class KeyAffinity(RequestRouter):  # type: ignore[misc]
    """Serve's interface to the above."""

    def initialize_state(self, slots: int = 1) -> None:
        """Take what the deployment was configured with: evaluations that a replica does side by side."""
        self._slots = slots

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks of replicas, of which Serve takes the first that has room.

        A patient request (an evaluation that is shorter than its keys take to come) waits for one turn of its first
        replica before it goes to another; any other goes to the first that is idle. Where none is, the one with the
        least to do takes it.
        """
        question: Any = pending_request.args[0] if pending_request is not None and pending_request.args else None
        if not isinstance(question, dict):
            return [list(candidate_replicas)]
        names = [replica.replica_id.unique_id for replica in candidate_replicas]
        order = [candidate_replicas[i] for i in ranked(question["keys"], names)]
        home = [replica for replica in order[:1] if question["patient"] and self._load(replica) < 2 * self._slots]
        idle = [replica for replica in order if self._load(replica) < self._slots]
        return [[replica] for replica in dict.fromkeys([*home, *idle, *sorted(order, key=self._load)])]

    def _load(self, replica: RunningReplica) -> int:
        """Requests that a replica has, as far as this server knows; 0 where it does not know."""
        return self.replica_queue_len_cache.get(replica.replica_id) or 0
