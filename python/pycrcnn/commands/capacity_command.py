"""The command ``pycrcnn capacity``: a simulation of many machines, fed by what was measured on one."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pycrcnn.cluster.capacity import Capacity, Measured, Site, capacity, hit_rate, with_front, workload
from pycrcnn.cluster.simulation import simulate
from pycrcnn.errors import FormatError, InvalidValueError

__all__ = ["add_arguments", "run"]

#: Of the number of clients: for how many the hit rate is told.
_PARTS = (0.1, 1, 10, 100)
_LOADS = (0.5, 0.7, 0.8, 0.9, 0.95)
#: Simulated for each core at least, so that queues become what they stay.
_EACH_CORE = 20
_BITS = 1e9 / 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Simulate a cluster, fed by measured figures: requests a second, keys, bytes, cost, latency against load, and "
        "what breaks first. Nothing of it is measured."
    )
    parser.add_argument(
        "--measured",
        type=Path,
        nargs="+",
        required=True,
        help="files of `pycrcnn bench latency`, `bench service`, `bench cluster` with --json, of one network",
    )
    parser.add_argument("--nodes", default="1,10,100,1000", help="numbers of nodes (default: 1,10,100,1000)")
    parser.add_argument("--cores", type=int, default=8, help="of a node (default: 8)")
    parser.add_argument("--clients", type=int, default=1000, help="that ask, each with keys of its own (default: 1000)")
    parser.add_argument("--skew", type=float, default=0.0, help="exponent of Zipf's law for clients (default: 0)")
    parser.add_argument("--memory", type=float, default=4.0, help="GB of a node for keys that are ready (default: 4)")
    parser.add_argument("--http-processes", type=int, default=0, help="default: as many as the cores need")
    parser.add_argument("--http-link", type=float, default=10.0, help="Gb/s of all requests and answers (default: 10)")
    parser.add_argument("--key-link", type=float, default=10.0, help="Gb/s that keys come over (default: 10)")
    parser.add_argument("--price", type=float, default=0.0, help="of a core for an hour, in any currency")
    parser.add_argument("--requests", type=int, default=20_000, help="simulated for each load (default: 20000)")
    parser.add_argument("--json", type=Path, help="write the results to this file")


def run(arguments: argparse.Namespace) -> int:
    """Simulate, print, and write the results where asked."""
    measured = Measured.of_rows(row for path in arguments.measured for row in _rows(path))
    bounded = ("cores", "clients", "memory", "http_link", "key_link", "requests")
    if any(getattr(arguments, name) <= 0 for name in bounded) or min(arguments.http_processes, arguments.price) < 0:
        raise InvalidValueError("cores, clients, memory, links and requests are more than 0, the rest is not less")
    sites = [
        Site(
            nodes,
            arguments.cores,
            arguments.memory * 1e9,
            max(1, arguments.http_processes),
            arguments.http_link * _BITS,
            arguments.key_link * _BITS,
            arguments.clients,
            arguments.skew,
            arguments.price,
        )
        for nodes in _numbers("nodes", arguments.nodes)
    ]
    if not arguments.http_processes:
        sites = [with_front(measured, site) for site in sites]
    found = {
        "simulation": "fed by measured figures; nothing of it is measured",
        "measured": dataclasses.asdict(measured),
        "capacity": [_described(measured, site) for site in sites],
        "hit_rate": [
            {"nodes": site.nodes, "clients": count, "hit_rate": _hits(measured, site, count)}
            for site in sites
            for count in (int(arguments.clients * part) for part in _PARTS if arguments.clients * part >= 1)
        ],
        "latency": [
            {"nodes": site.nodes, "load": load, **_simulated(measured, site, load, arguments.requests)}
            for site in sites
            for load in _LOADS
        ],
    }
    print("\n".join(_tables(found, arguments)))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _rows(path: Path) -> Sequence[Any]:
    try:
        rows = json.loads(path.read_text())
    except ValueError as error:
        raise FormatError(f"{path} is not JSON: {error}") from None
    rows = rows if isinstance(rows, list) else [rows]
    if not all(isinstance(row, dict) for row in rows):
        raise FormatError(f"{path}: rows of a bench are needed, as --json writes them")
    return rows


def _numbers(name: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or max(numbers) > 10**7:
        raise InvalidValueError(f"--{name} {text}: whole numbers from 1 to 10,000,000 are needed, with commas between")
    return numbers


def _described(measured: Measured, site: Site) -> dict[str, Any]:
    found: Capacity = capacity(measured, site)
    return {**dataclasses.asdict(found), "front_processes": site.front_processes, "clients": site.clients}


def _hits(measured: Measured, site: Site, clients: int) -> float:
    return hit_rate(site.nodes * site.cached(measured), clients, site.skew)


def _simulated(measured: Measured, site: Site, load: float, requests: int) -> dict[str, Any]:
    most = max(requests, _EACH_CORE * site.nodes * site.cores)
    return dataclasses.asdict(simulate(workload(measured, site, load), most))


def _tables(found: dict[str, Any], arguments: argparse.Namespace) -> list[str]:
    lines = [f"A simulation, {found['simulation']}.", ""]
    lines.append(
        f"{'nodes':>6}{'requests/s':>12}  {'breaks first':<15}{'HTTP':>5}{'hits':>7}{'keys ready':>12}"
        f"{'HTTP MB/s':>11}{'keys MB/s':>11}" + (f"{'an hour':>10}{'a million':>11}" if arguments.price else "")
    )
    for row in found["capacity"]:
        cost = f"{row['per_hour']:>10.2f}{row['per_million']:>11.3f}" if arguments.price else ""
        lines.append(
            f"{row['nodes']:>6}{row['requests_per_s']:>12,.0f}  {row['first']:<15}{row['front_processes']:>5}"
            f"{row['hit_rate']:>7.1%}{row['keys_held']:>12,}{row['http_bytes_per_s'] / 1e6:>11,.1f}"
            f"{row['key_bytes_per_s'] / 1e6:>11,.1f}{cost}"
        )
    counts = sorted({row["clients"] for row in found["hit_rate"]})
    lines += ["", "requests that find their keys on a node, by number of clients"]
    lines.append(f"{'nodes':>6}" + "".join(f"{count:>12,}" for count in counts))
    for nodes in dict.fromkeys(row["nodes"] for row in found["hit_rate"]):
        rates = {row["clients"]: row["hit_rate"] for row in found["hit_rate"] if row["nodes"] == nodes}
        lines.append(f"{nodes:>6}" + "".join(f"{rates[count]:>12.1%}" for count in counts))
    lines += ["", "99th percentile of the seconds to an answer, by the part of the capacity that is asked for"]
    lines.append(f"{'nodes':>6}" + "".join(f"{load:>12.0%}" for load in _LOADS))
    for nodes in dict.fromkeys(row["nodes"] for row in found["latency"]):
        seconds = [row["p99"] for row in found["latency"] if row["nodes"] == nodes]
        lines.append(f"{nodes:>6}" + "".join(f"{value:>12.3f}" for value in seconds))
    return lines
