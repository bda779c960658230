"""``pycrcnn batch --engine ray``: on a real Ray of this machine, and what is said where there is none."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pycrcnn import cli
from pycrcnn.bulk import shared, tasks
from pycrcnn.bulk.customer import ask
from pycrcnn.bulk.evaluate import Done, Places
from pycrcnn.bulk.layout import Question
from pycrcnn.bulk.prefix import open_prefix
from pycrcnn.bulk.shared import UNSEEN, SharedPlaces, not_seen
from pycrcnn.cluster.local import LocalCluster
from pycrcnn.cluster.messages import LOST, Reply
from pycrcnn.cluster.node import Node, NodeLimits
from pycrcnn.errors import KeyMismatchError, PyCrCNNError
from pycrcnn.program import Answer, Program
from s3_server import S3Server
from service import SHAPE, published
from test_bulk import Offered, answers_of, arguments, report

MANY = np.random.default_rng(6).uniform(0, 1, (60, *SHAPE))
#: Nobody is told of it, and its processes are as important as others on this machine.
QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


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


def test_nodes_read_and_write_and_one_of_them_is_lost(
    offered: Offered, tmp_path: Path, store: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    asked, out = f"s3://{store.bucket}/in", tmp_path / "out"
    ask(open_prefix(asked), offered.keys, MANY, "x", 1)
    open_prefix(asked).put(f"{offered.id}/bad.images", b"nonsense")

    def begun() -> subprocess.Popen[str]:
        """A run that has written three answers."""
        shared = arguments(offered, asked, out, "--engine", "ray", "--shared", "--address", cluster.address)
        command = [sys.executable, "-m", "pycrcnn.cli", *shared]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline, before = time.monotonic() + 120, len(list(out.glob("*/*.answer")))
        while len(list(out.glob("*/*.answer"))) < before + 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return process

    with LocalCluster(2) as cluster:
        first = begun()
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60)
        assert report(out)["left"] > 0
        second = begun()
        cluster.kill()
        _, errors = second.communicate(timeout=120)
    assert second.returncode == 3, errors
    found = report(out)
    assert found["done_before"] >= 3
    assert (found["answered"] + found["done_before"], found["left"]) == (60, 0)
    assert found["failures_by_code"] == {"malformed": 1}
    offered.near(np.concatenate(list(answers_of(offered, out).values())), MANY)
    assert not list(out.glob("*/.*"))


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
    monkeypatch: pytest.MonkeyPatch,
    offered: Offered,
    given: bytes | SharedPlaces,
    asked_by: str = "",
    **bytes_of: Any,
) -> Reply:
    """What a task replies whose references lead to some bytes."""
    kept = {
        "program": offered.program.to_bytes(),
        "keys": offered.keys.evaluation.to_bytes(),
        **bytes_of,
    }
    monkeypatch.setattr(tasks, "resolved", kept.__getitem__)
    monkeypatch.setattr(tasks, "_node", lambda limits, threads: Node(limits, threads))
    arguments = (asked_by or tasks.release(), NodeLimits(), 1, 1.0)
    question = Question(offered.id, "x-000000")
    return Reply.from_bytes(tasks._answer(arguments, offered.program.program_id, question, given, ["program", "keys"]))


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


def test_a_task_reads_and_writes_where_it_sees_what_the_run_sees(
    offered: Offered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, answers = open_prefix(str(tmp_path / "in")), open_prefix(str(tmp_path / "out"))
    (question,) = ask(asked, offered.keys, MANY[:2], "x", 2)
    path = tmp_path / "in" / question.path
    size = path.stat().st_size
    with answers.held():
        places = SharedPlaces.of(Places(asked, answers, size))
        done = Done.from_bytes(answered(monkeypatch, offered, places).answer)
        written = tmp_path / "out" / question.answer
        assert done == Done(2, size, written.stat().st_size)
        offered.near(answers_of(offered, tmp_path / "out")["x-000000"], MANY[:2])
        written.unlink()

        def failure(places: SharedPlaces) -> PyCrCNNError:
            failure = answered(monkeypatch, offered, places).failure()
            assert isinstance(failure, PyCrCNNError)
            return failure

        assert failure(replace(places, limit=size - 1)).code == "too-large"
        for elsewhere in (tmp_path / "nowhere", tmp_path):  # a folder that is not there, and one that is another
            refused = failure(replace(places, answers=str(elsewhere)))
            assert (refused.code, "mount it there" in str(refused)) == ("unavailable", True)
        monkeypatch.setitem(sys.modules, "obstore", None)
        assert "pycrcnn[objects]" in str(failure(replace(places, asked="s3://bucket/in")))
        path.write_bytes(b"nonsense")
        assert failure(places).code == "malformed"
        path.unlink()
        refused = failure(places)
        assert (refused.code, question.path in str(refused)) == (UNSEEN, True)
        assert not_seen(Places(asked, answers, size), question, str(refused)).code == "not-found"
        path.write_bytes(b"nonsense")
        seen = not_seen(Places(asked, answers, size), question, str(refused))
        assert (seen.code, "mount it there" in str(seen)) == ("unavailable", True)
    assert not list(written.parent.iterdir())


class Elsewhere:
    """A prefix of answers that is lost while something is computed."""

    url, marks = "out", ["of the run", ""]

    def mark(self) -> str:
        return self.marks.pop(0)

    def put(self, name: str, data: bytes) -> None:
        raise AssertionError(name)


def test_an_answer_is_not_written_where_the_shared_disk_went_meanwhile(
    offered: Offered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, answers = open_prefix(str(tmp_path)), Elsewhere()
    ask(asked, offered.keys, MANY[:1], "x", 1)
    monkeypatch.setattr(shared, "open_prefix", {"in": asked, "out": answers}.__getitem__)
    failure = answered(monkeypatch, offered, SharedPlaces("in", "out", 10**9, "of the run")).failure()
    assert failure is not None
    assert (failure.code, answers.marks) == ("unavailable", [])


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


class Kept:
    """Prefixes with one question, `data`, whose answer is written or not."""

    url = "here"

    def __init__(self, data: bytes | None) -> None:
        self.data, self.written = data, dict[str, bytes]()

    def get(self, name: str, limit: int) -> bytes | None:
        return self.data

    def read(self, name: str, limit: int, make: Any) -> Any:
        return None if self.data is None else make(io.BytesIO(self.data))

    def put(self, name: str, data: bytes) -> None:
        self.written[name] = data

    def mark(self) -> str:
        return "of the run"


def on(
    ray: FakeRay,
    offered: Offered,
    monkeypatch: pytest.MonkeyPatch,
    kept: Any = None,
    threads: int = 2,
    shared: bool = False,
) -> tasks.RayTasks:
    class Keys:
        def program(self, keys: str) -> str:
            return offered.program.program_id

        def data(self, keys: str) -> bytes:
            return b"keys"

    monkeypatch.setattr(tasks, "imported", lambda: ray)
    paths = {offered.program.program_id: offered.models / "small" / "packed-3.program"}
    places = Places(kept, kept, 10**9)
    return tasks.RayTasks(None, paths, Keys(), places, 1.0, 0, threads, NodeLimits(), shared)  # type: ignore[arg-type]


def test_what_a_cluster_loses_may_be_asked_again(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    question, kept = Question(offered.id, "x"), Kept(b"a question")
    reply = Answer((b"an answer",), 3).to_bytes()
    ray = FakeRay(
        FakeRay.exceptions.RayError("a node died"),
        Reply(error=(LOST, "gone")),
        Reply(error=("another-version", "0.1.0 here")),
        Reply(reply),
        Reply(error=("parameters-mismatch", "no")),
        FakeRay.exceptions.TaskCancelledError(),
    )
    evaluator = on(ray, offered, monkeypatch, kept)
    assert evaluator.lanes == 4  # four cores, two for each question, twice
    for said in ("lost the task", "gone", "0.1.0 here"):
        with pytest.raises(PyCrCNNError, match=said) as refused:
            evaluator.answer(question)
        assert refused.value.code == "unavailable"
    assert evaluator.answer(question) == Done(3, len(b"a question"), len(reply))
    assert kept.written == {question.answer: reply}
    assert ray.stored == 4  # program and keys, and both again after they were lost
    with pytest.raises(KeyMismatchError):
        evaluator.answer(question)
    with pytest.raises(PyCrCNNError, match="stopped"):
        evaluator.answer(question)
    evaluator.stop()
    with pytest.raises(PyCrCNNError, match="stopped"):
        evaluator.answer(question)


def test_what_a_node_does_not_see_the_run_looks_for(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    question, unseen = Question(offered.id, "x"), Reply(error=(UNSEEN, "node 7 does not see it"))
    kept = Kept(b"a question")
    evaluator = on(FakeRay(unseen, unseen, Reply(Done(1, 2, 3).to_bytes())), offered, monkeypatch, kept, shared=True)
    assert evaluator.lanes == 2
    with pytest.raises(PyCrCNNError, match="node 7 does not see it under here: every node needs it") as refused:
        evaluator.answer(question)
    assert refused.value.code == "unavailable"
    kept.data = None
    with pytest.raises(PyCrCNNError, match="gone since the run began") as refused:
        evaluator.answer(question)
    assert refused.value.code == "not-found"
    assert evaluator.answer(question) == Done(1, 2, 3)
    assert kept.written == {}  # it was by a node


def test_a_task_that_fits_no_node(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PyCrCNNError, match="--threads 5: the largest node of the cluster has 4"):
        on(FakeRay(), offered, monkeypatch, threads=5)
