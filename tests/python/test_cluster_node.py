"""What a node keeps ready: bounded, fetched once, and held against its identity."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import pycrcnn
from pycrcnn.cluster.node import Node, NodeLimits
from pycrcnn.errors import FormatError, KeyMismatchError
from pycrcnn.program import Keys, Program
from pycrcnn.server.plane.recent import Counts, Recent
from pycrcnn.server.plane.refusals import Refusal
from service import IMAGES, SHAPE, network


@pytest.fixture(scope="module")
def program() -> Program:
    return pycrcnn.compile(network(), SHAPE, layout="packed", calibration=IMAGES)


def identity_of(keys: Keys) -> tuple[str, bytes]:
    data = keys.evaluation.to_bytes()
    return hashlib.blake2b(data, digest_size=32).hexdigest(), data


def test_what_was_used_last_stays_and_bytes_and_number_are_bounded() -> None:
    recent: Recent[str] = Recent(10)
    for name, size in [("a", 4), ("b", 4)]:
        assert recent.get(name, lambda name=name, size=size: (name.upper(), size)) == name.upper()  # type: ignore[misc]
    assert recent.get("a", lambda: ("never", 0)) == "A"
    recent.put("c", "C", 6)
    assert (list(recent), recent.nbytes, recent.counts) == (["a", "c"], 10, Counts(hits=1, misses=2, evicted=1))
    recent.put("large", "L", 11)  # alone it may be too large
    assert (list(recent), recent.nbytes) == (["large"], 11)
    recent.forget("large")
    assert (len(recent), recent.nbytes) == (0, 0)
    few: Recent[int] = Recent(1000, most=2)
    for i in range(5):
        few.put(str(i), i, 1)
    assert list(few) == ["3", "4"]


def test_what_many_ask_for_is_made_once_and_again_after_a_failure() -> None:
    recent: Recent[int] = Recent(10)
    made, go = [], threading.Event()

    def make() -> tuple[int, int]:
        go.wait(10)
        made.append(1)
        if len(made) == 1:
            raise ValueError("the first attempt fails")
        return 7, 1

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(recent.get, "x", make) for _ in range(8)]
        go.set()
        failures = [one.exception() for one in asked]
    assert sum(isinstance(failure, ValueError) for failure in failures) == 1
    assert len(made) == 2
    assert {one.result() for one, failure in zip(asked, failures, strict=True) if failure is None} == {7}


def test_a_node_fetches_once_and_answers(program: Program) -> None:
    node, fetched = Node(), []

    def fetch(data: bytes) -> Any:
        def bring() -> bytes:
            fetched.append(len(data))
            return data

        return bring

    keys = program.keygen()
    identity, data = identity_of(keys)
    for _ in range(3):
        found = node.program(program.program_id, fetch(program.to_bytes()))
        ready = node.evaluation_keys(identity, found, fetch(data))
        answer = node.answer(found, ready, keys.encrypt(IMAGES[:1]), 1.0)
    clear = program.predict(IMAGES[:1])
    assert np.abs(keys.decrypt(answer) - clear).max() <= program.flooded_error(1.0)
    assert len(fetched) == 2
    assert (node.keys.counts, node.programs.counts) == (Counts(hits=2, misses=1), Counts(hits=2, misses=1))


def test_a_node_keeps_no_more_keys_than_it_may(program: Program) -> None:
    node = Node(NodeLimits(keys=2))
    users = [identity_of(program.keygen()) for _ in range(3)]
    for identity, data in users:
        node.evaluation_keys(identity, program, lambda data=data: data)  # type: ignore[misc]
    assert list(node.keys) == [identity for identity, _ in users[1:]]
    assert node.keys.counts.evicted == 1


def test_a_node_takes_nothing_for_what_it_is_not(program: Program) -> None:
    node = Node()
    identity, data = identity_of(program.keygen())
    other = pycrcnn.compile(network(2), SHAPE, layout="packed", calibration=IMAGES)
    with pytest.raises(Refusal, match="not where it should be") as absent:
        node.program(program.program_id, lambda: None)
    assert absent.value.code == "not-found"
    with pytest.raises(Refusal, match="another program's"):
        node.program(program.program_id, other.to_bytes)
    with pytest.raises(FormatError):
        node.program(program.program_id, lambda: program.to_bytes()[:-9])
    with pytest.raises(Refusal, match="PUT /v1/keys"):
        node.evaluation_keys(identity, program, lambda: data[:-1] + bytes([data[-1] ^ 1]))
    strange, strange_data = identity_of(other.keygen())
    with pytest.raises(KeyMismatchError):
        node.evaluation_keys(strange, program, lambda: strange_data)
    assert len(node.keys) == len(node.programs) == 0
