"""Memory of evaluations: lent in turn, never more than there is; what never fits is not offered."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from pycrcnn.server.plane.memory import Memory, machine_memory
from service import problem, published, service
from serving import eventually


def test_memory_is_lent_in_turn() -> None:
    memory, order = Memory(10), []
    may = {name: threading.Event() for name in ("first", "large", "small")}

    def take(name: str, size: int) -> None:
        with memory.lent(size):
            order.append(name)
            assert may[name].wait(10)

    threads = []
    for name, size in (("first", 6), ("large", 8), ("small", 3)):
        thread = threading.Thread(target=take, args=(name, size))
        thread.start()
        threads.append(thread)
        eventually(lambda: order[:1] == ["first"], 10)
        if name != "first":  # it waits, though the small one would fit: the large one came before it
            eventually(lambda: len(memory._waiting) == len(threads) - 1, 10)
    assert order == ["first"]
    may["first"].set()
    eventually(lambda: order == ["first", "large"], 10)
    may["large"].set()
    eventually(lambda: order == ["first", "large", "small"], 10)
    may["small"].set()
    for thread in threads:
        thread.join(10)
    with memory.lent(10**9):  # more than there is: all of it
        pass


def test_what_is_no_longer_wanted_waits_no_longer() -> None:
    memory = Memory(10)

    def wanted() -> None:
        raise KeyboardInterrupt

    with memory.lent(6):
        with pytest.raises(KeyboardInterrupt), memory.lent(6, wanted):
            pytest.fail("there was no memory")
        with memory.lent(4):
            pass


def test_what_needs_more_memory_than_there_is_is_not_offered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    models = published(tmp_path / "models")
    with service(models, tmp_path / "all") as http:
        offered = http.get("/v1/models/small").json()["programs"]
        memory = {identity: http.app.state.plane.registry.shelf[identity].memory for identity in _ids(offered)}
    limit = sorted(memory.values())[1]
    with caplog.at_level(logging.WARNING), service(models, tmp_path / "some", memory_bytes=limit) as http:
        fitting = _ids(http.get("/v1/models/small").json()["programs"])
        assert fitting == [identity for identity in memory if memory[identity] <= limit]
        assert 0 < len(fitting) < len(offered)
        [other] = [identity for identity in memory if memory[identity] == max(memory.values())]
        problem(http.get(f"/v1/programs/{other}/client"), 404, "not-found")
    assert "not offered: it takes" in caplog.text
    with service(models, tmp_path / "none", memory_bytes=1) as http:
        assert http.get("/v1/models/small").json()["programs"] == []
    assert machine_memory() > 10**8


def _ids(programs: list[dict[str, str]]) -> list[str]:
    return [program["id"] for program in programs]
