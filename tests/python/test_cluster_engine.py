"""The engine's and a replica's behaviour when things go wrong, without processes: what Ray does is played."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import inspect
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import pycrcnn
from pycrcnn.cluster import evaluator as evaluator_module
from pycrcnn.cluster.engine import RayEngine
from pycrcnn.cluster.evaluator import Evaluator
from pycrcnn.cluster.messages import Question, Reply, release
from pycrcnn.cluster.node import NodeLimits
from pycrcnn.cluster.routing import ranked
from pycrcnn.cluster.runtime import imported
from pycrcnn.errors import CancelledError, FormatError, KeyMismatchError, ServiceError
from pycrcnn.program import EncryptedImages, Program
from pycrcnn.server import Settings
from pycrcnn.server.plane.blobs import DiskBlobs
from pycrcnn.server.plane.engine import Engine, InProcessEngine
from pycrcnn.server.plane.keys import KeyStore
from pycrcnn.server.plane.memory import Memory
from pycrcnn.server.plane.objects import ObjectBlobs
from pycrcnn.server.plane.queue import FairQueue
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.plane.registry import Registry
from s3_server import s3_server
from service import BINARY, IMAGES, User, programs, published, service, settings
from serving import eventually

ray = imported()


@pytest.fixture(scope="module")
def program() -> Program:
    return programs()[0][0]


@pytest.fixture(scope="module")
def keys(program: Program) -> pycrcnn.program.Keys:
    return program.keygen()


def identity(keys: Any) -> str:
    return hashlib.blake2b(keys.evaluation.to_bytes(), digest_size=32).hexdigest()


class Response:
    """What a handle's call gives: a reply, or what is raised in its place."""

    def __init__(self, outcome: Callable[[], bytes]) -> None:
        self.outcome, self.cancelled = outcome, False

    def result(self, timeout_s: float) -> bytes:
        return self.outcome()

    def cancel(self) -> None:
        self.cancelled = True


class Played:
    """A connection to a cluster that answers with outcomes in turn; `remote` as the handle of a method has it."""

    def __init__(self, evaluator: Evaluator, *outcomes: Any) -> None:
        self.evaluator, self.outcomes = evaluator, list(outcomes)
        self.asked: list[tuple[Question, list[Any]]] = []
        self.responses: list[Response] = []
        self.replicas = 1

    def remote(self, question: Question, part: bytes, references: list[Any]) -> Response:
        self.asked.append((question, references))
        outcome = self.outcomes.pop(0) if self.outcomes else None

        def come() -> bytes:
            if isinstance(outcome, BaseException):
                raise outcome
            if isinstance(outcome, bytes):
                return outcome
            return asyncio.run(self.evaluator.evaluate(question, part, references))

        self.responses.append(Response(come))
        return self.responses[-1]

    def handle(self) -> Played:
        return self

    def unavailable(self) -> Refusal:
        return Refusal("unavailable", "no node evaluates at the moment; come back later", 5.0)


class Setup:
    """An engine whose cluster is played, with one model and one key set."""

    def __init__(self, tmp_path: Path, program: Program, keys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        models = tmp_path / "models"
        models.mkdir()
        program.save(models / "small.program")
        self.registry = Registry(models, False, tmp_path / "programs")
        self.store = KeyStore(
            DiskBlobs(tmp_path / "keys"), self.registry, days=1, most_bytes=10**9, per_owner=9, prepared_bytes=0
        )
        self.keys, self.program = keys, program
        self.record, _ = self.store.put(keys.evaluation.to_bytes(), "somebody")
        self.puts: list[bytes] = []
        monkeypatch.setattr(ray, "put", self._put)
        monkeypatch.setattr(evaluator_module, "resolved", lambda reference: reference)
        self.evaluator = Evaluator(release(), NodeLimits(), 1, 1, 1.0)
        self.engine = RayEngine(settings(models, tmp_path, engine="ray"), self.registry, self.store)

    def _put(self, data: bytes) -> bytes:
        self.puts.append(data)
        return data

    def play(self, *outcomes: Any) -> Played:
        played = Played(self.evaluator, *outcomes)
        self.engine._connection = played  # type: ignore[assignment]
        return played

    def evaluate(self, images: Any = IMAGES, progress: Callable[[float], None] = lambda part: None) -> Any:
        question = self.keys.encrypt(images)
        return self.keys.decrypt(self.engine.evaluate(self.program.program_id, self.record.id, question, 1, progress))


@pytest.fixture
def setup(tmp_path: Path, program: Program, keys: Any, monkeypatch: pytest.MonkeyPatch) -> Setup:
    return Setup(tmp_path, program, keys, monkeypatch)


def died() -> Exception:
    return ray.exceptions.ActorDiedError()  # type: ignore[no-any-return]


def test_what_a_replica_computes_is_the_answer_and_bytes_travel_once(setup: Setup) -> None:
    played = setup.play()
    images = np.concatenate([IMAGES] * 4)
    clear = setup.program.predict(images)
    told: list[float] = []
    assert np.abs(setup.evaluate(images, told.append) - clear).max() <= setup.program.flooded_error(1.0)
    parts = -(-len(images) // setup.program.capacity)
    assert len(played.asked) == parts
    assert sorted(set(told)) == [i / parts for i in range(parts)]
    setup.evaluate()
    assert len(setup.puts) == 2  # the program and the keys
    figures = setup.engine.figures()
    assert (figures["key_misses"], figures["key_hits"]) == (1, len(played.asked) - 1)
    assert figures["parts"] == len(played.asked)


def test_a_replica_that_dies_is_replaced_by_another(setup: Setup) -> None:
    played = setup.play(died(), ray.serve.exceptions.DeploymentUnavailableError(None))
    assert np.abs(setup.evaluate() - setup.program.predict(IMAGES)).max() <= setup.program.flooded_error(1.0)
    assert len(played.asked) >= 3
    assert setup.engine.figures()["retries"] == 2


def test_attempts_are_bounded_and_end_in_a_typed_refusal(setup: Setup) -> None:
    played = setup.play(*[died() for _ in range(100)])
    with pytest.raises(Refusal, match="no node evaluates") as refusal:
        setup.evaluate()
    assert (refusal.value.code, refusal.value.retry_after) == ("unavailable", 5.0)
    assert len(played.asked) == 4


def test_what_the_object_store_lost_is_put_again(setup: Setup) -> None:
    lost = Reply(error=("lost-reference", "gone")).to_bytes()
    played = setup.play(None, lost)
    setup.evaluate(IMAGES[:1])
    setup.evaluate(IMAGES[:1])
    assert len(setup.puts) == 4  # both once more
    assert len(played.asked) == 3


def test_a_replica_of_another_version_answers_nothing(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match=r"the server has pycrcnn 0\.0\.1, this node .*install the same"):
        Evaluator("0.0.1", NodeLimits(), 1, 1, 1.0)
    played = setup.play()
    monkeypatch.setattr("pycrcnn.cluster.engine.release", lambda: "0.0.1")
    with pytest.raises(Refusal) as refusal:
        setup.evaluate(IMAGES[:1])
    assert refusal.value.code == "unavailable"
    assert len(played.asked) == 4


def test_errors_of_a_replica_keep_class_code_and_message(setup: Setup) -> None:
    setup.play()
    question = setup.keys.encrypt(IMAGES)
    damaged = EncryptedImages(tuple(part[:-7] for part in question.parts), question.images)
    with pytest.raises(FormatError):
        setup.engine.evaluate(setup.program.program_id, setup.record.id, damaged, 1, lambda part: None)
    for error in (KeyMismatchError("another's"), FormatError("x", "too-large"), Refusal("not-found", "none", 3.0)):
        after = getattr(error, "retry_after", None)
        again = Reply.from_bytes(Reply(error=(error.code, str(error)), retry_after=after).to_bytes()).failure()
        assert (type(again), again.code, str(again)) == (type(error), error.code, str(error))  # type: ignore[union-attr]
        assert not isinstance(again, ServiceError)
    setup.play(Reply(error=("internal", "its log says why")).to_bytes())
    with pytest.raises(Refusal, match="its log") as internal:
        setup.evaluate()
    assert internal.value.code == "internal"


def test_a_key_set_that_is_gone_is_asked_for_again_and_a_program_too(setup: Setup) -> None:
    setup.play()
    [path] = (setup.registry.shelf[setup.program.program_id].path,)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        setup.evaluate()
    setup.store.delete(setup.record.id, "somebody")
    with pytest.raises(Refusal, match="PUT /v1/keys") as gone:
        setup.evaluate()
    assert gone.value.code == "not-found"


def test_who_no_longer_waits_has_the_call_cancelled(setup: Setup) -> None:
    played = setup.play(*[TimeoutError() for _ in range(9)])

    def gone(part: float) -> None:
        if played.responses:
            raise CancelledError("nobody waits")

    with pytest.raises(CancelledError):
        setup.evaluate(progress=gone)
    assert played.responses[-1].cancelled


def test_a_cancelled_call_ends_the_evaluation_inside_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a second of work on two kinds of layers is stopped in the middle, and its thread is free again."""
    rng = np.random.default_rng(1)
    layers = [
        {"type": "linear", "weight": rng.integers(-4, 5, (400, 64)) / 4.0},
        {"type": "square"},
        {"type": "linear", "weight": rng.integers(-4, 5, (3, 400)) / 4.0},
    ]
    program = pycrcnn.compile(layers, (64,), layout="per-value")
    keys = program.keygen()
    monkeypatch.setattr(evaluator_module, "resolved", lambda reference: reference)
    replica = Evaluator(release(), NodeLimits(), 1, 1, 1.0)
    question = Question(version=release(), program=program.program_id, keys=identity(keys), images=1, patient=True)
    [part] = keys.encrypt(np.ones((1, 64))).parts
    references = [program.to_bytes(), keys.evaluation.to_bytes()]

    async def ask() -> bytes:
        return await replica.evaluate(question, part, references)

    async def cancelled() -> None:
        start = time.perf_counter()
        await ask()
        whole = time.perf_counter() - start
        task = asyncio.ensure_future(ask())
        await asyncio.sleep(whole / 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wrap_future(replica._pool.submit(lambda: None))  # its only thread is free

    errors: list[str] = []
    monkeypatch.setattr(evaluator_module, "Reply", lambda *_, error=None, **__: Said(errors, error))
    asyncio.run(cancelled())
    assert errors == ["interrupted"]


class Said:
    """A reply of which only the code of an error is kept."""

    def __init__(self, errors: list[str], error: tuple[str, str] | None) -> None:
        errors.extend([] if error is None else [error[0]])

    def to_bytes(self) -> bytes:
        return b""


def test_a_key_set_has_its_order_of_replicas_and_keeps_it_when_others_go() -> None:
    replicas = [f"replica-{i}" for i in range(10)]
    homes = {f"key-{i}": replicas[ranked(f"key-{i}", replicas)[0]] for i in range(1000)}
    shares = [sum(home == replica for home in homes.values()) for replica in replicas]
    assert min(shares) > 60
    rest = replicas[1:]
    moved = [key for key, home in homes.items() if rest[ranked(key, rest)[0]] != home]
    assert {homes[key] for key in moved} == {replicas[0]}  # only those of the one that has gone


def test_a_queue_gives_out_as_many_pieces_as_it_is_told() -> None:
    queue = FairQueue(workers=1)
    running: list[int] = []
    go = threading.Event()

    def work(threads: int) -> None:
        running.append(1)
        go.wait(30)

    futures = [queue.submit("client", work) for _ in range(10)]

    def settled(count: int) -> bool:
        deadline = time.monotonic() + 10
        while queue.running != count and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        return queue.running == count

    assert settled(1)
    queue.resize(4)
    assert settled(4)
    queue.resize(2)
    go.set()
    for future in futures:
        future.result(30)
    assert queue.close(10)
    assert len(running) == 10


_WITHOUT = """
import sys
sys.modules["ray"] = None
import pycrcnn, pycrcnn.cluster, pycrcnn.cluster.node, pycrcnn.server, pycrcnn.server.plane.service
from pycrcnn import cli
assert not any(name.split(".")[0] == "ray" for name, module in sys.modules.items() if module)
sys.exit(cli.main(["serve", "--port", "0", "--engine", "ray", "--state", sys.argv[1]]))
"""


def test_without_ray_nothing_imports_it_and_the_command_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "pip install 'pycrcnn[ray]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_that_serves_itself_does_not_import_ray(tmp_path: Path) -> None:
    code = "import sys; from pycrcnn.server import create_app, Settings; "
    code += "create_app(Settings(state=sys.argv[1], shipped_models=False)); assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)


def test_the_example_for_serve_deploy_is_what_the_builder_takes() -> None:
    text = Path(__file__).parents[2].joinpath("packaging", "cluster", "serve.yaml").read_text()
    [app] = yaml.safe_load(text)["applications"]
    module, _, name = app["import_path"].partition(":")
    builder = getattr(importlib.import_module(module), name)
    # Serve asks the class of the annotation.
    [parameter] = inspect.signature(builder).parameters.values()
    arguments = parameter.annotation(**app["args"])
    assert isinstance(builder(arguments), ray.serve.Application)
    with pytest.raises(ValueError, match="replicas"):
        parameter.annotation(**{**app["args"], "replicas": 3})


def test_jobs_wait_while_nothing_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycrcnn.server.plane.jobs._RETRY", 0.05)

    class Away(Engine):
        """Nothing evaluates at first."""

        inner: Any = None
        refused = 0

        def evaluate(self, *arguments: Any) -> Any:
            if self.refused < 3:
                self.refused += 1
                raise Refusal("unavailable", "no node evaluates at the moment", 5.0)
            return self.inner.evaluate(*arguments)

    engine = Away()
    with service(published(tmp_path / "models"), tmp_path / "state", engine) as http:
        plane = http.app.state.plane
        engine.inner = InProcessEngine(plane.registry, plane.keys, Memory(10**10))
        user = User.of(http)
        body = user.encrypted().to_bytes()
        job = http.post("/v1/jobs", params={"model": "small", **user.query}, content=body, headers=BINARY).json()["id"]
        eventually(lambda: http.get(f"/v1/jobs/{job}").json()["status"] == "done")
        assert engine.refused == 3
        answer = user.decrypted(http.get(f"/v1/jobs/{job}/result").content)
        assert np.abs(answer - programs()[0][0].predict(IMAGES)).max() <= 6 * user.part.error


def test_nodes_that_reach_the_key_store_read_keys_there(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(tmp_path / "s3") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = f"s3://{server.bucket}/keys"
        ObjectBlobs(url).put(f"{setup.record.id}.keys", setup.keys.evaluation.to_bytes())
        setup.engine._settings = settings(None, tmp_path, key_store=url, ray_shared_keys=True)
        setup.evaluator = Evaluator(release(), NodeLimits(), 1, 1, 1.0, url)
        setup.play()
        setup.evaluate()
        assert len(setup.puts) == 1  # the program only
        replica = Evaluator(release(), NodeLimits(), 1, 1, 1.0, url)
    setup.evaluator = replica  # which has nothing yet, and whose store is away
    setup.play()
    monkeypatch.setattr("pycrcnn.server.plane.objects.timedelta", lambda seconds: timedelta(seconds=1))
    with pytest.raises(Refusal, match="object store does not answer") as away:
        setup.evaluate()
    assert away.value.code == "unavailable"


def test_settings_of_a_cluster_are_held_against_each_other() -> None:
    with pytest.raises(ValueError, match="ray_max_replicas must be at least"):
        Settings(ray_min_replicas=3, ray_max_replicas=2)
    with pytest.raises(ValueError, match="needs key_store"):
        Settings(ray_shared_keys=True)
