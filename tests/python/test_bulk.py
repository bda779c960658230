"""``pycrcnn batch`` answers encrypted files: whole or not at all, each failure by itself, on after an interruption."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pycrcnn import cli
from pycrcnn.bulk.customer import ask, read_answers
from pycrcnn.bulk.evaluate import Done, KeySets
from pycrcnn.bulk.layout import Question, identity, outstanding, questions_in
from pycrcnn.bulk.prefix import open_prefix
from pycrcnn.bulk.report import Failure, Report
from pycrcnn.bulk.running import Run
from pycrcnn.errors import FormatError, InvalidValueError, NoiseBudgetError, PyCrCNNError
from pycrcnn.program import Keys, Program
from pycrcnn.server.plane.refusals import Refusal
from s3_server import S3Server
from service import IMAGES, SHAPE, published

MANY = np.random.default_rng(5).uniform(0, 1, (12, *SHAPE))


@dataclass(frozen=True)
class Offered:
    """A directory of models, and a client of one of its programs."""

    models: Path
    program: Program
    keys: Keys

    @property
    def id(self) -> str:
        return identity(self.keys.evaluation.to_bytes())

    def near(self, answers: Any, images: Any) -> None:
        np.testing.assert_allclose(answers, self.program.predict(images), atol=7 * self.program.error)


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Offered:
    models = published(tmp_path_factory.mktemp("models"))
    program = Program.load(models / "small" / "packed-3.program")
    return Offered(models, program, program.client.keygen())


@pytest.fixture
def asked(offered: Offered, tmp_path: Path) -> Path:
    """A folder of twelve images in six files."""
    ask(open_prefix(str(tmp_path / "in")), offered.keys, MANY, "x", 2)
    return tmp_path / "in"


def arguments(offered: Offered, asked: object, answers: object, *more: str) -> list[str]:
    state = str(offered.models.parent / "state")
    return [
        *("batch", "--model", "small", "--models", str(offered.models), "--state", state),
        *("--input", str(asked), "--output", str(answers), *more),
    ]


def batch(offered: Offered, asked: object, answers: object, *more: str) -> int:
    return cli.main(arguments(offered, asked, answers, *more))


def report(answers: Path) -> Any:
    return json.loads((answers / "report.json").read_text())


def answers_of(offered: Offered, prefix: object) -> dict[str, Any]:
    return dict(read_answers(open_prefix(str(prefix)), offered.keys))


# From end to end


def test_a_folder_is_answered_once(
    offered: Offered, asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (asked / "notes.txt").write_text("not a question")
    (asked / offered.id / "draft.images~").write_bytes(b"nor this")
    out = tmp_path / "out"
    assert batch(offered, asked, out) == 0
    found = report(out)
    assert (found["files"], found["answered"], found["images"], found["left"]) == (6, 6, 12, 0)
    assert (found["failures"], found["stopped"], found["done_before"]) == ([], None, 0)
    assert found["images_per_s"] == pytest.approx(12 / found["seconds"])
    assert found["bytes_in"] == sum(path.stat().st_size for path in (asked / offered.id).glob("*.images"))
    answers = answers_of(offered, out)
    assert list(answers) == [f"x-{i:06d}" for i in range(6)]
    offered.near(np.concatenate(list(answers.values())), MANY)
    # They are hidden as a service's replies are: no two runs give the same bytes.
    first = out / offered.id / "x-000000.answer"
    before = first.read_bytes()
    assert batch(offered, asked, out) == 0
    assert first.read_bytes() == before
    assert (report(out)["done_before"], report(out)["answered"]) == (6, 0)
    # A question that is newer than its answer is answered again.
    later = first.stat().st_mtime + 5
    os.utime(asked / offered.id / "x-000000.images", (later, later))
    assert batch(offered, asked, out) == 0
    assert report(out)["answered"] == 1
    assert first.read_bytes() != before
    assert "12" in capsys.readouterr().out


def test_two_clients_and_three_layouts(offered: Offered, tmp_path: Path) -> None:
    programs = [Program.load(path) for path in sorted(offered.models.glob("small/*-3.program"))]
    clients = [Offered(offered.models, program, program.client.keygen()) for program in (*programs, programs[1])]
    assert [client.program.layout for client in clients] == ["batched", "packed", "per-value", "packed"]
    for client in clients:
        ask(open_prefix(str(tmp_path / "in")), client.keys, IMAGES, "x", 3)
    assert batch(offered, tmp_path / "in", tmp_path / "out", "--workers", "2", "--threads", "2") == 0
    for client in clients:
        client.near(answers_of(client, tmp_path / "out")["x-000000"], IMAGES)


def test_the_commands_of_a_client(
    offered: Offered, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    offered.program.client.save("client")
    offered.keys.save("keys")
    np.save("pictures.npy", MANY[:5])
    assert cli.main(["encrypt", "client", "keys", "pictures.npy", "--output", "in", "--files-of", "2"]) == 0
    assert batch(offered, "in", "out") == 0
    assert cli.main(["decrypt", "client", "keys", "out", "--output", "answers"]) == 0
    found = [np.load(path) for path in sorted(Path("answers").iterdir())]
    assert [len(answers) for answers in found] == [2, 2, 1]
    offered.near(np.concatenate(found), MANY[:5])
    next(Path("out").glob("*/*.answer")).write_bytes(b"damaged")
    assert cli.main(["decrypt", "client", "keys", "out", "--output", "again"]) == 1
    assert len(list(Path("again").iterdir())) == 2
    assert "not a encrypted answers" in capsys.readouterr().err
    public = ["encrypt", "client", "keys/public.key", "pictures.npy", "--output", "in", "--files-of"]
    assert cli.main([*public, "2"]) == 1
    assert "the directory of `pycrcnn keygen`" in capsys.readouterr().err
    assert cli.main(["encrypt", "client", "keys", "pictures.npy", "--output", "in", "--files-of", "0"]) == 1


# Failures


def test_bad_files_are_reported_by_code_and_the_rest_goes_on(
    offered: Offered, asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = asked / offered.id
    good = (own / "x-000000.images").read_bytes()
    (own / "a-nonsense.images").write_bytes(b"nonsense")
    (own / "b-cut-off.images").write_bytes(good[:-1])
    (own / "c-empty.images").write_bytes(b"")
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    (own / "d-flipped.images").write_bytes(flipped)
    (own / "e-secret.images").write_bytes(_secret(offered, tmp_path))
    nowhere = "0" * 64
    for folder in (nowhere, "f" * 64):
        (asked / folder).mkdir()
        shutil.copy(own / "x-000000.images", asked / folder / "x.images")
    (asked / f"{'f' * 64}.keys").write_bytes((asked / f"{offered.id}.keys").read_bytes())
    other = Program.load(offered.models / "small" / "batched-3.program")
    ask(open_prefix(str(asked)), other.client.keygen(), IMAGES, "other", 3)
    shutil.copy(own / "x-000000.images", next(path for path in asked.glob("*/other-000000.images")).parent / "y.images")
    out = tmp_path / "out"
    assert batch(offered, asked, out) == 3
    found = report(out)
    assert (found["files"], found["answered"], found["left"]) == (15, 7, 0)
    codes = {Path(failure["file"]).stem: failure["code"] for failure in found["failures"]}
    assert codes.pop("y") in ("malformed", "parameters-mismatch")
    codes_of_x = sorted(
        (failure["file"][0], failure["code"]) for failure in found["failures"] if "/x.i" in failure["file"]
    )
    assert codes_of_x == [("0", "missing-key"), ("f", "malformed")]
    assert codes.pop("x") in ("missing-key", "malformed")
    assert codes == {
        "a-nonsense": "malformed",
        "b-cut-off": "malformed",
        "c-empty": "malformed",
        "d-flipped": "malformed",
        "e-secret": "secret-key",
    }
    assert sum(found["failures_by_code"].values()) == 8
    assert "malformed  " in capsys.readouterr().out
    assert len(list(out.glob("*/*.answer"))) == 7
    # They are tried again the next time, and what has been put right is answered.
    (own / "a-nonsense.images").write_bytes(good)
    assert batch(offered, asked, out) == 3
    assert (report(out)["answered"], report(out)["done_before"]) == (1, 7)


def _secret(offered: Offered, tmp_path: Path) -> bytes:
    offered.keys.save(tmp_path / "secret")
    return (tmp_path / "secret" / "secret.key").read_bytes()


def test_keys_of_another_model_and_keys_of_another_client(offered: Offered, tmp_path: Path, asked: Path) -> None:
    stranger = Program.load(offered.models / "small" / "packed-1.program")
    directory = tmp_path / "models"
    directory.mkdir()
    shutil.copy(offered.models / "small" / "packed-3.program", directory / "small.program")
    ask(open_prefix(str(asked)), stranger.client.keygen(), IMAGES, "x", 3)
    other = Offered(directory, offered.program, offered.program.client.keygen())
    (asked / other.id).mkdir()
    (asked / f"{other.id}.keys").write_bytes(other.keys.evaluation.to_bytes())
    shutil.copy(asked / offered.id / "x-000000.images", asked / other.id / "mixed-up.images")
    assert batch(other, asked, tmp_path / "out") == 3
    assert report(tmp_path / "out")["failures_by_code"] == {"unprocessable": 1}
    # Computed with other keys than it was encrypted under: that nobody sees but who decrypts.
    answer = answers_of(other, tmp_path / "out")["mixed-up"]
    if not isinstance(answer, NoiseBudgetError):
        assert np.abs(answer - offered.program.predict(MANY[:2])).max() > 100 * offered.program.error


def test_keys_may_lie_elsewhere(offered: Offered, asked: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (asked / f"{offered.id}.keys").rename(tmp_path / "keys" / f"{offered.id}.keys")
    assert batch(offered, asked, tmp_path / "out") == 3
    assert report(tmp_path / "out")["failures_by_code"] == {"missing-key": 6}
    assert batch(offered, asked, tmp_path / "out", "--keys", str(tmp_path / "keys")) == 0


def test_bad_arguments(offered: Offered, asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    for more, said in (
        (["--model", "large"], "choose one of small, fashion-2conv"),
        (["--workers", "-1"], "--workers: 0 or more"),
        (["--threads", "0"], "--threads: 1 or more"),
        (["--shared"], "--engine ray"),
        (["--input", "ftp://host/x"], "a folder or s3://bucket/prefix is needed"),
        (["--input", "s3:///x"], "s3://bucket"),
    ):
        assert batch(offered, asked, out, *more) == 1
        assert said in capsys.readouterr().err
    assert batch(offered, tmp_path / "nothing", out) == 0
    assert report(tmp_path / "out")["files"] == 0


# Interruptions


def test_a_run_that_is_killed_goes_on_where_it_was(offered: Offered, tmp_path: Path) -> None:
    ask(open_prefix(str(tmp_path / "in")), offered.keys, np.tile(MANY, (6, 1, 1, 1)), "x", 1)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pycrcnn.cli", *arguments(offered, tmp_path / "in", out, "--workers", "1")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while len(list(out.glob("*/*.answer"))) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    before = {path.name: path.read_bytes() for path in out.glob("*/*.answer")}
    assert 3 <= len(before) < 72
    for answer in answers_of(offered, out).values():
        assert not isinstance(answer, PyCrCNNError)
    (out / offered.id / ".x-000070.answer.0123abcd").write_bytes(b"of a write that was cut off")
    assert batch(offered, tmp_path / "in", out) == 0
    assert (report(out)["done_before"], report(out)["answered"]) == (len(before), 72 - len(before))
    assert not list(out.glob("*/.*"))
    for name, data in before.items():
        assert (out / offered.id / name).read_bytes() == data
    answers = answers_of(offered, out)
    offered.near(np.concatenate(list(answers.values())), np.tile(MANY, (6, 1, 1, 1)))


def test_two_runs_do_not_write_to_one_folder(offered: Offered, asked: Path, tmp_path: Path, capsys: Any) -> None:
    with open_prefix(str(tmp_path / "out")).held():
        assert batch(offered, asked, tmp_path / "out") == 1
    assert "another run writes to" in capsys.readouterr().err
    assert batch(offered, asked, tmp_path / "out") == 0


class Flaky:
    """A prefix or an evaluator that fails as it is told."""

    url = "nowhere"

    def __init__(self, *failures: PyCrCNNError | BaseException, questions: int = 1, lanes: int = 1) -> None:
        self.failures = list(failures)
        self.names = {Question("0" * 64, f"x-{i}").path: 1.0 for i in range(questions)}
        self.lanes, self.stopped, self.written = lanes, False, dict[str, bytes]()
        self.tried = 0

    def listed(self) -> dict[str, float]:
        return self.names

    def get(self, name: str, limit: int) -> bytes | None:
        return b"question"

    def read(self, name: str, limit: int, make: Any) -> Any:
        return make(io.BytesIO(b"question"))

    def put(self, name: str, data: bytes) -> None:
        self.written[name] = data

    def held(self) -> Any:
        return open_prefix("s3://bucket").held()

    def mark(self) -> str:
        return ""

    def answer(self, question: Question) -> Done:
        self.tried += 1
        if self.failures:
            raise self.failures.pop(0)
        return Done(1, 8, 6)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        pass


def flaky_run(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.setattr("pycrcnn.bulk.running._PAUSE", 0.001)
    found = Report("m", "in", "out", "process")
    Run(flaky, flaky, flaky)(found, lambda count: lambda done: None)
    assert flaky.stopped
    return found


def away() -> Refusal:
    return Refusal("unavailable", "it is away")


def test_what_is_away_for_a_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    flaky = Flaky(away(), away())
    found = flaky_run(flaky, monkeypatch)
    assert (found.answered, found.status, flaky.tried) == (1, 0, 3)


def test_what_is_away_for_good_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    flaky = Flaky(*(away() for _ in range(100)), questions=20)
    found = flaky_run(flaky, monkeypatch)
    assert flaky.tried == 9  # three questions, three times
    assert (found.status, found.left, found.by_code) == (1, 17, {"unavailable": 3})
    assert found.stopped is not None
    assert "run it again to go on" in found.table()
    assert json.loads(flaky.written["report.json"])["stopped"]["code"] == "unavailable"


def test_a_full_disk_ends_the_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = flaky_run(Flaky(Refusal("insufficient-storage", "full"), questions=5), monkeypatch)
    assert (found.status, found.left) == (1, 4)


def test_a_fault_of_the_package_is_one_files_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    found = flaky_run(Flaky(ZeroDivisionError("a bug"), questions=3), monkeypatch)
    assert (found.status, found.answered, found.by_code) == (3, 2, {"internal": 1})


def test_ctrl_c_ends_a_run_and_leaves_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    flaky = Flaky(KeyboardInterrupt(), questions=5)
    with pytest.raises(KeyboardInterrupt):
        flaky_run(flaky, monkeypatch)
    assert json.loads(flaky.written["report.json"])["left"] == 5


# An object store


def test_an_object_store_on_both_sides(offered: Offered, store: S3Server, tmp_path: Path) -> None:
    asked, answers = f"s3://{store.bucket}/in", f"s3://{store.bucket}/out/today"
    ask(open_prefix(asked), offered.keys, MANY[:4], "x", 2)
    assert batch(offered, asked, answers) == 0
    written = open_prefix(answers)
    found = written.get("report.json", 10**6)
    assert found is not None
    assert json.loads(found)["answered"] == 2
    offered.near(np.concatenate(list(answers_of(offered, answers).values())), MANY[:4])
    assert batch(offered, asked, answers) == 0
    assert json.loads(written.get("report.json", 10**6) or b"")["done_before"] == 2
    ask(open_prefix(asked), offered.keys, MANY[4:6], "y", 1)
    assert batch(offered, asked, tmp_path / "out") == 0
    assert report(tmp_path / "out")["answered"] == 4


def test_an_object_store_that_is_away(
    offered: Offered, asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    assert batch(offered, "s3://bucket/in", tmp_path / "out") == 1
    assert "the object store does not answer" in capsys.readouterr().err


# Pieces


def test_names_that_are_no_questions_are_left_alone() -> None:
    own = "a" * 64
    good = [f"{own}/x.images", f"{own}/9-b_c.d.images"]
    bad = [
        f"{own}/.x.images",
        f"{own}/x",
        f"{own}/a/x.images",
        "x.images",
        f"{own.upper()}/x.images",
        f"{own}/..images",
    ]
    bad += [f"{own}/{'x' * 129}.images", f"{own}/x.images\n", f"../{own}/x.images"]
    assert [question.path for question in questions_in(dict.fromkeys(good + bad, 0.0))] == sorted(good)


def test_what_is_outstanding() -> None:
    questions = [Question("a" * 64, name) for name in "xyz"]
    asked = {question.path: 10.0 for question in questions}
    answered = {questions[0].answer: 10.0, questions[1].answer: 9.0, f"{'b' * 64}/z.answer": 20.0}
    assert outstanding(questions, asked, answered) == questions[1:]


def test_a_folder_shows_no_links_and_reads_no_more_than_asked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(b"12345")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "file").write_bytes(b"12345")
    (tmp_path / "in" / ".hidden").mkdir()
    (tmp_path / "in" / ".hidden" / "x").write_bytes(b"")
    prefix = open_prefix(str(tmp_path / "in"))
    assert list(prefix.listed()) == ["file"]
    assert prefix.get("file", 5) == b"12345"
    assert prefix.get("gone", 5) is None
    with pytest.raises(FormatError, match="more than 4 bytes"):
        prefix.get("file", 4)
    with pytest.raises(Refusal, match="directory"):
        prefix.get(".", 5)


def test_a_bad_key_set_is_read_once(offered: Offered, tmp_path: Path) -> None:
    prefix = open_prefix(str(tmp_path))
    sets = KeySets(prefix, {offered.program.program_id: None}, 10**6)
    name = f"{'0' * 64}.keys"
    (tmp_path / name).write_bytes(b"nonsense")
    for _ in range(2):
        with pytest.raises(FormatError, match="not the hash of its bytes"):
            sets.program("0" * 64)
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(InvalidValueError, match="possible, at most"):
        ask(prefix, offered.keys, IMAGES, "a b", 1)


def test_the_table_names_ten_failures() -> None:
    failures = [Failure(f"{i}.images", "malformed", "no") for i in range(12)]
    table = Report("m", "i", "o", "process", files=12, failures=failures).table()
    assert "... and 2 more in the report" in table
    assert "9.images" in table
    assert "10.images" not in table


def test_a_client_needs_no_web_framework() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('fastapi', 'pydantic', 'pydantic_settings', 'ray')));"
        "import pycrcnn.commands.encrypt_command, pycrcnn.commands.decrypt_command, pycrcnn.commands.batch_command"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    code = "import sys; sys.modules['fastapi'] = None; from pycrcnn.server import create_app"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "MissingPackageError: the service needs fastapi: pip install 'pycrcnn[server]'" in done.stderr
