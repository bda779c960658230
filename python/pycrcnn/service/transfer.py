"""What travelled between a client and a service, and what took how long."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["PAPER_BANDWIDTH", "Transfer", "server_seconds"]

#: Bits a second of the connection in the paper's measurements.
PAPER_BANDWIDTH = 72.2e6


@dataclass
class Transfer:
    """Bytes and seconds, added up over requests.

    Attributes
    ----------
    bytes_up, bytes_down : int
        Of bodies.
    key_bytes : int
        Of key sets, which are sent once.
    client : float
        Seconds of encryption and decryption.
    keygen : float
        Seconds of key generation.
    server : dict of str to float
        Seconds by phase, as the service says: ``queue``, ``read``, ``evaluate``, ``write``.
    request : float
        Seconds from a request to its whole answer.
    retried : int
        Requests that were sent again.
    """

    bytes_up: int = 0
    bytes_down: int = 0
    key_bytes: int = 0
    client: float = 0.0
    keygen: float = 0.0
    server: dict[str, float] = field(default_factory=dict)
    request: float = 0.0
    retried: int = 0

    @property
    def travel(self) -> float:
        """Seconds of requests in which the service did not work on them, as far as it says."""
        return max(0.0, self.request - sum(self.server.values()))

    def travel_at(self, bits_per_second: float = PAPER_BANDWIDTH) -> float:
        """Seconds that the bodies would take on a connection of this bandwidth, the paper's where none is given."""
        return 8 * (self.bytes_up + self.bytes_down) / bits_per_second

    def add_server(self, header: str | None) -> None:
        """Add what a ``Server-Timing`` header says."""
        for phase, seconds in server_seconds(header).items():
            self.server[phase] = self.server.get(phase, 0.0) + seconds


def server_seconds(header: str | None) -> dict[str, float]:
    """Seconds by phase of a ``Server-Timing`` header; what is not understood is left out.

    Examples
    --------
    >>> server_seconds("queue;dur=0.5, evaluate;dur=37")
    {'queue': 0.0005, 'evaluate': 0.037}
    """
    found = re.findall(r"([a-z]{1,20});dur=(\d{1,12}(?:\.\d{1,12})?)", (header or "")[:1000])
    return {phase: float(milliseconds) / 1e3 for phase, milliseconds in found}
