"""The simulated cluster agrees with closed forms where there are any, and with common sense where there are none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pycrcnn import cli
from pycrcnn.cluster.capacity import Measured, Site, capacity, hit_rate, with_front, workload
from pycrcnn.cluster.simulation import Workload, popularity, simulate
from pycrcnn.errors import FormatError

MEASURED = Measured(
    evaluate_s=0.02,
    prepare_s=0.3,
    front_s=0.004,
    bytes_up=180_000,
    bytes_down=70_000,
    bytes_keys=26_000_000,
    bytes_ready=132_000_000,
    engine_s=0.005,
)
LATENCY = {
    "name": "latency",
    "network": "cryptonets",
    "evaluate_s": 0.02,
    "first_evaluate_s": 0.32,
    "bytes_up": 180_000,
    "bytes_down": 70_000,
    "bytes_keys": 26_000_000,
    "bytes_ready": 132_000_000,
}
SERVICE = {
    "name": "service, 16 clients",
    "network": "cryptonets",
    "threads": 2,
    "served_per_s": 70.0,
    "in_process_per_s": 80.0,
}
MESSAGES = {"name": "PyCrCNN's messages", "bytes_up": 36_000_000}


# Queues


def erlang_c(servers: int, offered: float) -> float:
    """The probability that an arrival waits, M/M/c (Erlang, 1917), by the recursion of Erlang's B."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


@pytest.mark.parametrize(("cores", "load"), [(1, 0.5), (1, 0.8), (4, 0.8), (16, 0.9)])
def test_exponential_times_wait_as_erlang_says(cores: int, load: float) -> None:
    found = simulate(Workload(1, cores, 1.0, load * cores, exponential=True), 100_000, seed=1)
    expected = erlang_c(cores, load * cores) / (cores * (1 - load))
    assert found.waited == pytest.approx(expected, rel=0.12)
    assert found.mean == pytest.approx(1 + expected, rel=0.05)
    assert found.served_per_s == pytest.approx(load * cores, rel=0.02)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_equal_times_wait_as_pollaczek_and_khinchine_say(load: float) -> None:
    expected = load / 2 / (1 - load)  # M/D/1
    on_a_core = simulate(Workload(1, 1, 1.0, load), 100_000, seed=2)
    assert on_a_core.waited == pytest.approx(expected, rel=0.08)
    in_front = simulate(Workload(1, 1000, 1e-9, load, front=1.0), 100_000, seed=2)
    assert in_front.waited == pytest.approx(expected, rel=0.08)


def test_nothing_waits_where_nothing_is_asked() -> None:
    work = Workload(2, 2, 0.02, 0.001, front=0.004, engine=0.005, clients=2, cached=2)
    found = simulate(work, 1_000)
    assert (found.p50, found.p99) == pytest.approx((0.029, 0.029))
    assert (found.waited, found.hit_rate) == (pytest.approx(0, abs=1e-9), 1.0)


def test_a_queue_without_bound_serves_what_it_can() -> None:
    found = simulate(Workload(2, 2, 0.1, 80.0), 20_000)
    assert found.served_per_s == pytest.approx(40, rel=0.05)
    assert found.p99 > 50


def test_the_slow_link_bounds_what_misses() -> None:
    # Nobody's keys are ever there: each request takes the link for a tenth of a second, whatever the cores do.
    work = Workload(10, 8, 0.01, 100.0, fetch=0.1, clients=100_000, cached=1)
    found = simulate(work, 5_000)
    assert found.hit_rate < 0.01
    assert found.served_per_s == pytest.approx(10, rel=0.05)


def test_latency_grows_with_load_and_falls_with_nodes() -> None:
    site = Site(nodes=10, front_processes=100)
    seconds = [simulate(workload(MEASURED, site, load), 20_000).p99 for load in (0.3, 0.6, 0.9)]
    assert seconds == sorted(seconds)
    rate = workload(MEASURED, site, 0.9).rate
    wider = dataclasses.replace(workload(MEASURED, dataclasses.replace(site, nodes=20), 0.9), rate=rate)
    assert simulate(wider, 20_000).p99 < seconds[-1]


def test_the_same_seed_gives_the_same_figures() -> None:
    work = workload(MEASURED, Site(nodes=3), 0.8)
    assert simulate(work, 2_000, seed=7) == simulate(work, 2_000, seed=7) != simulate(work, 2_000, seed=8)


# Caches


@pytest.mark.parametrize(
    ("cached", "clients", "skew"), [(20, 100, 0.0), (20, 100, 0.8), (50, 1000, 1.0), (99, 100, 1.2)]
)
def test_caches_hit_as_che_says(cached: int, clients: int, skew: float) -> None:
    work = Workload(1, 64, 1e-9, 1.0, cached=cached, clients=clients, skew=skew)
    assert simulate(work, 60_000, seed=3).hit_rate == pytest.approx(hit_rate(cached, clients, skew), abs=0.02)


def test_hit_rates_at_their_ends() -> None:
    assert hit_rate(5, 5, 1.0) == hit_rate(6, 5, 1.0) == 1.0
    assert hit_rate(250, 1000, 0.0) == pytest.approx(0.25)
    rates = [hit_rate(cached, 1000, 0.9) for cached in (1, 10, 100, 500, 999)]
    assert rates == sorted(rates)
    assert popularity(1000, 1.1).sum() == pytest.approx(1)
    assert (np.diff(popularity(1000, 1.1)) < 0).all()


# Bounds


def test_what_breaks_first() -> None:
    site = Site(nodes=1, cores=8, clients=30, front_processes=4)
    assert site.cached(MEASURED) == 30
    found = capacity(MEASURED, site)
    assert (found.first, found.requests_per_s, found.hit_rate) == ("cores", pytest.approx(8 / 0.02), 1.0)
    assert found.http_bytes_per_s == pytest.approx(400 * 250_000)
    assert (found.key_bytes_per_s, found.keys_held, found.front_processes_needed) == (0.0, 30, 2)

    def first(**changes: Any) -> str:
        return capacity(MEASURED, dataclasses.replace(site, **changes)).first

    assert first(front_processes=1) == "HTTP processes"
    assert first(front_link=1e7) == "HTTP link"
    assert first(clients=1000) == "key memory"
    assert first(clients=1000, key_link=1e8) == "key link"
    assert with_front(MEASURED, site).front_processes == 2


def test_more_of_anything_is_never_worse() -> None:
    site = Site(nodes=4, clients=500)
    base = capacity(MEASURED, site).requests_per_s
    for change in (
        {"nodes": 8},
        {"cores": 16},
        {"memory": 8e9},
        {"front_processes": 2},
        {"key_link": 2e9},
        {"skew": 1.0},
    ):
        assert capacity(MEASURED, dataclasses.replace(site, **change)).requests_per_s >= base, change  # type: ignore[arg-type]
    assert capacity(MEASURED, dataclasses.replace(site, clients=5000)).requests_per_s <= base


def test_cost() -> None:
    found = capacity(MEASURED, Site(nodes=10, cores=8, clients=10, front_processes=20, price=0.05))
    assert found.first == "cores"
    assert found.per_hour == pytest.approx(0.05 * 100)
    assert found.per_million == pytest.approx(5 / (4000 * 3600) * 1e6)


# What it is fed with


def test_figures_come_from_rows_of_benches() -> None:
    found = Measured.of_rows([LATENCY, MESSAGES, SERVICE])
    assert found.prepare_s == pytest.approx(0.3)
    assert found.front_s == pytest.approx(2 * (1 / 70 - 1 / 80))
    assert (found.bytes_up, found.engine_s) == (180_000, 0.0)
    again = {"name": "cluster", "network": "cryptonets", "evaluate_s": 0.025, "engine_s": 0.01, "prepare_s": 0.2}
    found = Measured.of_rows([LATENCY, SERVICE, again])
    assert (found.evaluate_s, found.engine_s, found.prepare_s, found.bytes_keys) == (0.025, 0.01, 0.2, 26_000_000)
    with pytest.raises(FormatError, match="front_s: not in the rows"):
        Measured.of_rows([LATENCY])
    with pytest.raises(FormatError, match="several networks: cryptonets, lenet1"):
        Measured.of_rows([LATENCY, {**SERVICE, "network": "lenet1"}])
    with pytest.raises(FormatError, match="no numbers"):
        Measured.of_rows([{**LATENCY, "bytes_up": "many"}, SERVICE])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latency.json").write_text(json.dumps(LATENCY))
    (tmp_path / "service.json").write_text(json.dumps([SERVICE, MESSAGES]))
    files = [str(tmp_path / name) for name in ("latency.json", "service.json")]
    command = [
        "capacity",
        "--measured",
        *files,
        "--nodes",
        "1,10",
        "--requests",
        "2000",
        "--json",
        str(tmp_path / "out"),
    ]
    assert cli.main([*command, "--price", "0.04", "--clients", "200"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("A simulation, fed by measured figures; nothing of it is measured.")
    assert "key memory" in out
    found = json.loads((tmp_path / "out").read_text())
    assert [row["nodes"] for row in found["capacity"]] == [1, 10]
    assert {row["clients"] for row in found["hit_rate"]} == {20, 200, 2000, 20000}
    assert len(found["latency"]) == 10
    one, ten = found["capacity"]
    assert one["requests_per_s"] < ten["requests_per_s"]
    assert (one["first"], ten["hit_rate"]) == ("key memory", 1.0)
    for row in found["latency"]:
        assert 0 < row["p50"] <= row["p99"]
    for more in (["--nodes", "0"], ["--nodes", "x"], ["--cores", "0"], ["--price", "-1"], ["--measured", "/nowhere"]):
        assert cli.main([*command, *more]) == 1
    (tmp_path / "latency.json").write_text("[1]")
    assert cli.main(command) == 1
    assert "rows of a bench are needed" in capsys.readouterr().err
