"""Capacity on paper: what measured figures come to for many nodes, and what is used up first.

Every resource bounds the rate of requests (operational analysis: Denning and Buzen, 1978): cores, HTTP processes, the
link that requests and answers take, the link that key sets come over. The lowest bound is the capacity, and its
resource is what breaks first. How many requests find their keys on a node follows Che's approximation of a cache that
evicts what was used longest ago (Che, Tung and Wang, 2002), for the caches of all nodes as one: key sets have a home.
Latency against load is simulated, see `pycrcnn.cluster.simulation`.

The head is in the path of no request and is not part of this; nor is the internal network between nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pycrcnn.cluster.simulation import Workload, popularity
from pycrcnn.errors import FormatError

__all__ = ["Capacity", "Measured", "Site", "capacity", "hit_rate", "with_front", "workload"]

_HOUR, _MILLION = 3_600.0, 1_000_000


@dataclass(frozen=True)
class Measured:
    """What was measured, of one network.

    Attributes
    ----------
    evaluate_s : float
        Seconds of an evaluation on one core, re-randomisation included where it was measured with it.
    prepare_s : float
        To make a key set ready.
    front_s : float
        Seconds of a core that the HTTP process takes for a request; with what the client took on the same machine.
    engine_s : float
        That a cluster adds to a request.
    bytes_up, bytes_down, bytes_keys, bytes_ready : int
        Of a request, an answer, a key set on its way, a key set in memory.
    """

    evaluate_s: float
    prepare_s: float
    front_s: float
    bytes_up: int
    bytes_down: int
    bytes_keys: int
    bytes_ready: int
    engine_s: float = 0.0

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Measured:
        """From what benches write with ``--json``: ``latency``, ``service``, ``cluster``, all of one network.

        A later row is taken where two say the same.

        Raises
        ------
        FormatError
            Something that is needed is not in the rows, or they are of several networks.
        """
        found: dict[str, float] = {}
        networks = set()
        for row in rows:
            networks |= {row["network"]} if "network" in row else set()
            found |= _figures(row)
        if len(networks) > 1:
            raise FormatError(f"the rows are of several networks: {', '.join(sorted(map(str, networks)))}")
        missing = [one.name for one in fields(cls) if one.name not in found and one.name != "engine_s"]
        if missing:
            raise FormatError(
                f"{', '.join(missing)}: not in the rows; give the files that `pycrcnn bench latency`, `pycrcnn bench "
                "service` and `pycrcnn bench cluster` write with --json for one network"
            )
        if not all(isinstance(value, int | float) and math.isfinite(value) and value >= 0 for value in found.values()):
            raise FormatError("the rows hold figures that are no numbers from 0")
        return cls(**found)  # type: ignore[arg-type]


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The figures of one row, under this module's names."""
    if "network" not in row:
        return {}  # of something else than evaluations
    named = {one.name: row[one.name] for one in fields(Measured) if one.name in row}
    name = str(row.get("name", ""))
    if name == "latency":
        named["prepare_s"] = max(0.0, row["first_evaluate_s"] - row["evaluate_s"])
    elif name.startswith("service, ") and "served_per_s" in row:
        named["front_s"] = max(0.0, row["threads"] * (1 / row["served_per_s"] - 1 / row["in_process_per_s"]))
    return named


@dataclass(frozen=True)
class Site:
    """What is assumed.

    Attributes
    ----------
    nodes, cores : int
        Nodes that evaluate, and cores of each.
    memory : float
        Bytes of a node for key sets that are ready.
    front_processes : int
        HTTP processes, each with a core of its own.
    front_link, key_link : float
        Bytes a second that all requests and answers, and all key sets on their way to nodes, may take.
    clients : int
    skew : float
        Exponent of Zipf's law for how often clients ask; 0: all alike.
    price : float
        Of a core for an hour.
    """

    nodes: int = 1
    cores: int = 8
    memory: float = 4e9
    front_processes: int = 1
    front_link: float = 1.25e9
    key_link: float = 1.25e9
    clients: int = 1_000
    skew: float = 0.0
    price: float = 0.0

    def cached(self, measured: Measured) -> int:
        """Key sets that a node keeps ready; one always."""
        return max(1, int(self.memory // max(1, measured.bytes_ready)))


@dataclass(frozen=True)
class Capacity:
    """What a site can do.

    Attributes
    ----------
    bounds : mapping of str to float
        Requests a second that each resource has room for.
    requests_per_s : float
        The lowest of them.
    first : str
        Its resource: what breaks first. ``"key memory"`` where cores are the limit because they make keys ready, that
        there was no room for, longer than they evaluate.
    hit_rate : float
        Requests that find their keys on a node.
    keys_held : int
        Key sets that are ready, on all nodes.
    http_bytes_per_s, key_bytes_per_s : float
        That travel at that rate.
    front_processes_needed : int
        HTTP processes for which cores would be the limit.
    per_hour, per_million : float
        The price of an hour, and of a million requests at that rate.
    """

    nodes: int
    bounds: Mapping[str, float]
    requests_per_s: float
    first: str
    hit_rate: float
    keys_held: int
    http_bytes_per_s: float
    key_bytes_per_s: float
    front_processes_needed: int
    per_hour: float
    per_million: float


def hit_rate(cached: int, clients: int, skew: float) -> float:
    """The part of the requests that find their keys in a cache of some key sets: Che's approximation.

    Examples
    --------
    >>> hit_rate(20, 100, 0.0)
    0.2
    >>> hit_rate(100, 100, 1.0)
    1.0
    """
    if cached >= clients:
        return 1.0
    shares = popularity(clients, skew)
    # A client's keys are still there if it came back within the time in which as many others came as there is room.
    low, high = 0.0, 1.0
    while (1 - np.exp(-shares * high)).sum() < cached:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - np.exp(-shares * middle)).sum() < cached else (low, middle)
    return round(float((shares * (1 - np.exp(-shares * high))).sum()), 12)


def capacity(measured: Measured, site: Site) -> Capacity:
    """What a site can do, and what breaks first."""
    hits = hit_rate(site.nodes * site.cached(measured), site.clients, site.skew)
    misses = 1 - hits
    fetch = measured.bytes_keys / site.key_link
    on_core = measured.evaluate_s + misses * (measured.prepare_s + fetch)
    travel = measured.bytes_up + measured.bytes_down
    bounds = {
        "cores": site.nodes * site.cores / on_core,
        "HTTP processes": site.front_processes / measured.front_s if measured.front_s else math.inf,
        "HTTP link": site.front_link / travel if travel else math.inf,
        "key link": site.key_link / (misses * measured.bytes_keys) if misses * measured.bytes_keys else math.inf,
    }
    first = min(bounds, key=lambda name: bounds[name])
    rate = bounds[first]
    if first == "cores" and on_core > 2 * measured.evaluate_s:
        first = "key memory"  # cores spend more time on keys that had to go than on evaluations
    per_hour = site.price * (site.nodes * site.cores + site.front_processes)
    return Capacity(
        nodes=site.nodes,
        bounds=bounds,
        requests_per_s=rate,
        first=first,
        hit_rate=hits,
        keys_held=min(site.clients, site.nodes * site.cached(measured)),
        http_bytes_per_s=rate * travel,
        key_bytes_per_s=rate * misses * measured.bytes_keys,
        front_processes_needed=max(1, math.ceil(bounds["cores"] * measured.front_s)),
        per_hour=per_hour,
        per_million=per_hour / (rate * _HOUR) * _MILLION,
    )


def workload(measured: Measured, site: Site, load: float) -> Workload:
    """What is simulated of a site at a part of its capacity."""
    return Workload(
        nodes=site.nodes,
        cores=site.cores,
        evaluate=measured.evaluate_s,
        rate=load * capacity(measured, site).requests_per_s,
        front=measured.front_s,
        front_processes=site.front_processes,
        engine=measured.engine_s,
        prepare=measured.prepare_s,
        fetch=measured.bytes_keys / site.key_link,
        cached=site.cached(measured),
        clients=site.clients,
        skew=site.skew,
    )


def with_front(measured: Measured, site: Site) -> Site:
    """The same site with as many HTTP processes as it takes for cores to be the limit."""
    return replace(site, front_processes=capacity(measured, site).front_processes_needed)
