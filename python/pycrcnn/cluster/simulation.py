"""A cluster, simulated event by event: requests, keys in caches, the link that keys come over.

Requests arrive as a Poisson process, each of a client drawn by popularity (Zipf's law; 0 for all alike). One of the
HTTP processes handles it, then it goes to the node that the client's keys are at home at. If all of that node's cores
are busy, it waits there for one turn where an evaluation is shorter than it takes to bring the keys elsewhere; or else
it goes to the first of the next few nodes that has an idle core, or, if none has, to where the fewest wait
(`pycrcnn.cluster.routing` does it so). A core that takes it up has the keys at hand, or fetches them over the one link
that all nodes share, first come, first served, and makes them ready, while the core waits. A node keeps the keys that
were used last (LRU). Evaluations take the measured seconds, always (they hardly vary), or exponentially distributed
ones, for comparison with closed forms.

For one node and keys at hand this is the queue M/D/c, or M/M/c with exponential times (Kleinrock, Queueing Systems I,
1975).
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Simulated", "Workload", "popularity", "simulate"]

#: Nodes that a request may go to: its home and those after it.
_CANDIDATES = 8
#: The part of the requests that is left out of the figures, while queues and caches fill.
_WARM_UP = 0.2


@dataclass(frozen=True)
class Workload:
    """What is simulated.

    Attributes
    ----------
    nodes, cores : int
        Nodes, and cores of each.
    evaluate, front, engine, prepare : float
        Seconds of an evaluation on its core, of an HTTP process for each request, on the way to a node and back, and of
        making a key set ready.
    fetch : float
        Seconds that a key set takes of the link that keys come over.
    front_processes : int
    cached : int
        Key sets that a node keeps ready.
    clients : int
    skew : float
        Exponent of the clients' popularity.
    rate : float
        Requests a second.
    exponential : bool
        Whether evaluations take exponentially distributed seconds.
    """

    nodes: int
    cores: int
    evaluate: float
    rate: float
    front: float = 0.0
    front_processes: int = 1
    engine: float = 0.0
    prepare: float = 0.0
    fetch: float = 0.0
    cached: int = 1
    clients: int = 1
    skew: float = 0.0
    exponential: bool = False


@dataclass(frozen=True)
class Simulated:
    """What came of it, after the warm-up.

    Attributes
    ----------
    p50, p99, mean : float
        Seconds from a request's arrival to its answer.
    waited : float
        Mean seconds in queues: of the HTTP processes and of the nodes.
    hit_rate : float
        Requests whose keys were on their node.
    served_per_s : float
        Answers a second, of all; less than the rate where queues grow without bound.
    """

    p50: float
    p99: float
    mean: float
    waited: float
    hit_rate: float
    served_per_s: float


def popularity(clients: int, skew: float) -> NDArray[np.float64]:
    """The part of the requests that each client sends, the busiest first: Zipf's law.

    Examples
    --------
    >>> popularity(4, 0.0).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    weights: NDArray[np.float64] = np.arange(1, clients + 1, dtype=np.float64) ** -skew
    weights /= weights.sum()
    return weights


@dataclass
class _Node:
    idle: int
    #: requests that wait: when they came, and which they are
    queue: deque[tuple[float, int]] = field(default_factory=deque)
    #: when each key set that it keeps is ready
    keys: OrderedDict[int, float] = field(default_factory=OrderedDict)


class _Cluster:
    def __init__(
        self, work: Workload, homes: NDArray[np.int64], clients: NDArray[np.int64], seconds: NDArray[np.float64]
    ) -> None:
        self._work, self._homes, self._clients, self._seconds = work, homes, clients, seconds
        self.nodes = [_Node(work.cores) for _ in range(work.nodes)]
        self._link_free = 0.0
        self.running: list[tuple[float, int, int]] = []
        self.waited = np.zeros(len(clients))
        self.hits = np.zeros(len(clients), dtype=bool)
        # At the beginning each node has the busiest of the clients that are at home at it, as after a long time.
        for client in range(work.clients - 1, -1, -1):
            self._hold(self.nodes[homes[client]], client, 0.0)

    def _hold(self, node: _Node, client: int, ready: float) -> None:
        node.keys[client] = ready
        node.keys.move_to_end(client)
        if len(node.keys) > self._work.cached:
            node.keys.popitem(last=False)

    def _candidates(self, client: int) -> Iterator[int]:
        """A client's home, and where its requests go from there: for each client in another order."""
        nodes = self._work.nodes
        step = 1 + client % nodes
        while math.gcd(step, nodes) > 1:
            step += 1
        home = int(self._homes[client])
        return ((home + i * step) % nodes for i in range(min(_CANDIDATES, nodes)))

    def arrive(self, now: float, request: int) -> None:
        work = self._work
        candidates = tuple(self._candidates(int(self._clients[request])))
        home = self.nodes[candidates[0]]
        patient = work.evaluate < work.fetch + work.prepare and len(home.queue) < work.cores
        best = next((i for i in candidates[: 1 if patient else None] if self.nodes[i].idle), None)
        if best is not None:
            self._start(now, request, best)
            return
        best = candidates[0] if patient else min(candidates, key=lambda i: len(self.nodes[i].queue))
        self.nodes[best].queue.append((now, request))

    def _start(self, now: float, request: int, at: int) -> None:
        work, node, client = self._work, self.nodes[at], int(self._clients[request])
        node.idle -= 1
        ready = node.keys.get(client)
        self.hits[request] = ready is not None
        if ready is None:
            self._link_free = max(now, self._link_free) + work.fetch
            ready = self._link_free + work.prepare
        self._hold(node, client, ready)
        heapq.heappush(self.running, (max(now, ready) + self._seconds[request], request, at))

    def finish(self) -> tuple[float, int]:
        now, request, at = heapq.heappop(self.running)
        node = self.nodes[at]
        node.idle += 1
        if node.queue:
            since, following = node.queue.popleft()
            self.waited[following] = now - since
            self._start(now, following, at)
        return now, request


def simulate(work: Workload, requests: int, seed: int = 0) -> Simulated:
    """Simulate some requests.

    Parameters
    ----------
    work : Workload
    requests : int
        100 for each core at least, for a stationary state; ten times as many for a 99th percentile.
    seed : int
        The same seed gives the same figures.
    """
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / work.rate, requests))
    shares = np.cumsum(popularity(work.clients, work.skew))
    clients = np.minimum(np.searchsorted(shares, rng.random(requests)), work.clients - 1)
    seconds = rng.exponential(work.evaluate, requests) if work.exponential else np.full(requests, work.evaluate)
    dispatched = _through_front(arrivals, work.front, work.front_processes) + work.engine / 2
    homes = rng.integers(0, work.nodes, work.clients)
    cluster = _Cluster(work, homes, clients, seconds)
    ended = np.empty(requests)
    for request, now in enumerate(dispatched):
        while cluster.running and cluster.running[0][0] <= now:
            end, done = cluster.finish()
            ended[done] = end
        cluster.arrive(now, request)
    while cluster.running:
        end, done = cluster.finish()
        ended[done] = end
    kept = slice(int(_WARM_UP * requests), None)
    latency = (ended + work.engine / 2 - arrivals)[kept]
    in_front = dispatched - work.engine / 2 - arrivals - work.front
    return Simulated(
        p50=float(np.quantile(latency, 0.5)),
        p99=float(np.quantile(latency, 0.99)),
        mean=float(latency.mean()),
        waited=float((cluster.waited + in_front)[kept].mean()),
        hit_rate=float(cluster.hits[kept].mean()),
        served_per_s=requests / float(ended.max()),
    )


def _through_front(arrivals: NDArray[np.float64], seconds: float, processes: int) -> NDArray[np.float64]:
    """When each request has been handled, first come, first served."""
    if seconds == 0:
        return arrivals
    free = [0.0] * processes
    handled: NDArray[np.float64] = np.empty(len(arrivals))
    for i, now in enumerate(arrivals):
        handled[i] = max(now, heapq.heappop(free)) + seconds
        heapq.heappush(free, float(handled[i]))
    return handled
