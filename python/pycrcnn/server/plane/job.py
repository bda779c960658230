"""An order, and the job that it becomes."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from pycrcnn._native import Cancellation

__all__ = ["Job", "Order", "Status"]

Status = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Order:
    """What is to be computed, and for whom."""

    model: str
    program: str
    keys: str
    owner: str
    #: whose turn in the queue it takes
    client: str


@dataclass
class Job:
    """An order that is kept."""

    id: str
    order: Order
    fingerprint: str
    created: float
    expires: float
    status: Status = "queued"
    error: dict[str, str] | None = None
    #: seconds that it waited and was evaluated
    queued: float = 0.0
    evaluated: float = 0.0
    #: bytes of the result
    size: int = 0
    progress: float = 0.0
    #: Whether it is computed although nobody waits for it, and outlives a power failure.
    durable: bool = True
    #: requests that wait for it
    waiting: int = 0
    finished: Future[bytes] = field(default_factory=Future, repr=False)
    cancellation: Cancellation = field(default_factory=Cancellation, repr=False)

    def document(self) -> bytes:
        """What is written down of it."""
        kept = ("id", "fingerprint", "created", "expires", "status", "error", "queued", "evaluated", "size")
        return json.dumps(
            {"order": dataclasses.asdict(self.order), **{name: getattr(self, name) for name in kept}}
        ).encode()

    @classmethod
    def read(cls, data: bytes) -> Job:
        """What :meth:`document` wrote."""
        fields = json.loads(data)
        return cls(order=Order(**fields.pop("order")), **fields)
