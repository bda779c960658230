"""``pycrcnn batch --engine ray``: on a real Ray of this machine, and what is said where there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pycrcnn import cli
from pycrcnn.bulk import tasks
from pycrcnn.bulk.customer import ask
from pycrcnn.bulk.prefix import open_prefix
from pycrcnn.cluster.messages import LOST, Reply
from pycrcnn.cluster.node import Node, NodeLimits
from pycrcnn.errors import KeyMismatchError, PyCrCNNError
from pycrcnn.program import Program
from service import SHAPE, published
from test_bulk import Offered, answers_of, arguments, report

MANY = np.random.default_rng(6).uniform(0, 1, (60, *SHAPE))
QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Offered:
    models = published(tmp_path_factory.mktemp("models"))
    program = Program.load(models / "small" / "packed-3.program")
    return Offered(models, program, program.client.keygen())


def descendants(process: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def title(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_files_are_answered_by_tasks_one_of_which_is_killed(offered: Offered, tmp_path: Path) -> None:
    ask(open_prefix(str(tmp_path / "in")), offered.keys, MANY, "x", 1)
    other = Offered(offered.models, offered.program, offered.program.client.keygen())
    ask(open_prefix(str(tmp_path / "in")), other.keys, MANY[:3], "y", 2)
    (tmp_path / "in" / offered.id / "bad.images").write_bytes(b"nonsense")
    (tmp_path / "in" / ("0" * 64)).mkdir()
    (tmp_path / "in" / ("0" * 64) / "x.images").write_bytes(b"whose keys are not there")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pycrcnn.cli", *arguments(offered, tmp_path / "in", out, "--engine", "ray")]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**environment, **QUIET}
    )
    started: list[int] = []
    deadline = time.monotonic() + 120
    while not (workers := [one for one in started if title(one).startswith("ray::_answer")]):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
        started = descendants(process.pid) if list(out.glob("*/*.answer")) else []
    os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3, errors
    found = report(out)
    assert (found["engine"], found["answered"], found["left"]) == ("ray", 62, 0), found
    assert found["failures_by_code"] == {"malformed": 1, "missing-key": 1}
    offered.near(np.concatenate(list(answers_of(offered, out).values())), MANY)
    offered.near(np.concatenate(list(answers_of(other, out).values())), MANY[:3])
    assert [one for one in started if title(one)] == []  # none is left behind


def test_a_cluster_that_is_away(offered: Offered, tmp_path: Path) -> None:
    command = arguments(offered, tmp_path, tmp_path / "out", "--engine", "ray", "--address", "nowhere")
    done = subprocess.run(
        [sys.executable, "-m", "pycrcnn.cli", *command],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **QUIET},
        check=False,
    )
    assert done.returncode == 1
    assert "pycrcnn: the cluster cannot be joined" in done.stderr


def test_without_ray_it_says_what_to_install(
    offered: Offered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(arguments(offered, tmp_path, tmp_path / "out", "--engine", "ray")) == 1
    assert "pip install 'pycrcnn[ray]'" in capsys.readouterr().err


# A task, without Ray


def answered(
    monkeypatch: pytest.MonkeyPatch, offered: Offered, data: bytes, asked_by: str = "", **bytes_of: Any
) -> Reply:
    """What a task replies whose references lead to some bytes."""
    kept = {
        "program": offered.program.to_bytes(),
        "keys": offered.keys.evaluation.to_bytes(),
        **bytes_of,
    }
    monkeypatch.setattr(tasks, "_fetch", lambda name: lambda: kept[name])
    monkeypatch.setattr(tasks, "_node", lambda limits, threads: Node(limits, threads))
    arguments = (asked_by or tasks.release(), NodeLimits(), 1, 1.0)
    return Reply.from_bytes(tasks._answer(arguments, offered.program.program_id, offered.id, data, ["program", "keys"]))


def test_a_task_replies_with_bytes_or_with_a_code(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    question = offered.keys.encrypt(MANY[:1]).to_bytes()
    reply = answered(monkeypatch, offered, question)
    assert (reply.failure(), bool(reply.answer)) == (None, True)

    def code(data: bytes, **changed: Any) -> str:
        failure = answered(monkeypatch, offered, data, **changed).failure()
        assert isinstance(failure, PyCrCNNError)
        return failure.code

    assert code(b"nonsense") == "malformed"
    assert code(question, asked_by="0.0.1") == "another-version"
    assert code(question, keys=b"other bytes") == "not-found"
    assert code(question, program=b"other bytes") == "malformed"
    other = offered.models / "small" / "packed-1.program"
    assert code(question, program=other.read_bytes()) == "not-found"


class FakeRay:
    """As much of Ray as `RayTasks` sees once it has joined; replies are given out in turn."""

    class exceptions:
        class RayError(Exception):
            pass

        class TaskCancelledError(RayError):
            pass

    def __init__(self, *replies: Any) -> None:
        self.replies, self.stored = list(replies), 0

    def init(self, **options: Any) -> None:
        pass

    def nodes(self) -> list[Any]:
        return [{"Alive": True, "Resources": {"CPU": 4.0}}, {"Alive": False, "Resources": {"CPU": 64.0}}]

    def remote(self, function: Any) -> Any:
        class Task:
            def options(self, **options: Any) -> Any:
                return self

            def remote(self, *arguments: Any) -> object:
                return object()

        return Task()

    def put(self, data: bytes) -> object:
        self.stored += 1
        return object()

    def get(self, reference: object) -> Any:
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply.to_bytes()

    def shutdown(self) -> None:
        self.replies.clear()


def on(ray: FakeRay, offered: Offered, monkeypatch: pytest.MonkeyPatch, threads: int = 2) -> tasks.RayTasks:
    class Keys:
        def program(self, keys: str) -> str:
            return offered.program.program_id

        def data(self, keys: str) -> bytes:
            return b"keys"

    monkeypatch.setattr(tasks, "imported", lambda: ray)
    paths = {offered.program.program_id: offered.models / "small" / "packed-3.program"}
    return tasks.RayTasks(None, paths, Keys(), 1.0, 0, threads, NodeLimits())  # type: ignore[arg-type]


def test_what_a_cluster_loses_may_be_asked_again(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    question = offered.keys.encrypt(MANY[:1]).to_bytes()
    ray = FakeRay(
        FakeRay.exceptions.RayError("a node died"),
        Reply(error=(LOST, "gone")),
        Reply(error=("another-version", "0.1.0 here")),
        Reply(b"an answer"),
        Reply(error=("parameters-mismatch", "no")),
        FakeRay.exceptions.TaskCancelledError(),
    )
    evaluator = on(ray, offered, monkeypatch)
    assert evaluator.lanes == 4  # four cores, two for each question, twice
    for said in ("lost the task", "gone", "0.1.0 here"):
        with pytest.raises(PyCrCNNError, match=said) as refused:
            evaluator.answer(offered.id, question)
        assert refused.value.code == "unavailable"
    assert evaluator.answer(offered.id, question) == (b"an answer", 1)
    assert ray.stored == 4  # program and keys, and both again after they were lost
    with pytest.raises(KeyMismatchError):
        evaluator.answer(offered.id, question)
    with pytest.raises(PyCrCNNError, match="stopped"):
        evaluator.answer(offered.id, question)
    evaluator.stop()
    with pytest.raises(PyCrCNNError, match="stopped"):
        evaluator.answer(offered.id, question)


def test_a_task_that_fits_no_node(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PyCrCNNError, match="--threads 5: the largest node of the cluster has 4"):
        on(FakeRay(), offered, monkeypatch, threads=5)
