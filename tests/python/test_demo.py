"""The demo says what it measured, on Fashion-MNIST and without it, by a server that ends with it."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pycrcnn import cli, datasets, demo
from pycrcnn.demo.measurement import Measurement
from pycrcnn.demo.subject import Subject, fashion_mnist, handwritten_digits

TITLES = {"Per value": "per-value", "Packed": "packed", "Batched": "batched"}


@dataclasses.dataclass
class Recorded:
    subjects: list[Subject]
    measurements: list[Measurement]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """What a run of the demo measures, besides what it prints."""
    seen = Recorded([], [])
    measure = demo.measure

    def record(subject: Subject, *args: object) -> Measurement:
        seen.subjects.append(subject)
        seen.measurements.append(measure(subject, *args))  # type: ignore[arg-type]
        return seen.measurements[-1]

    monkeypatch.setattr(demo, "measure", record)
    return seen


@pytest.fixture
def no_fashion_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(datasets, "search_path", lambda: [tmp_path])


def shown(page: str, label: str) -> list[str]:
    """The rows with a label, each on one line."""
    rows = re.findall(rf"^{label:<11}(.*\n(?: {{11}}.*\n)*)", page, re.MULTILINE)
    return [" ".join(row.split()) for row in rows]


def sections(page: str) -> dict[str, str]:
    """The page's parts by layout, and the table at its end."""
    parts = re.split(rf"^(?=(?:{'|'.join(TITLES)}): |layout  )", page, flags=re.MULTILINE)[1:]
    return {TITLES.get(part.split(":")[0], "table"): part for part in parts}


def check_page(page: str, recorded: Recorded) -> None:
    """Every number on the page is the one that was measured."""
    found = sections(page)
    assert [*found] == [*(measured.layout for measured in recorded.measurements), "table"]
    for subject, measured in zip(recorded.subjects, recorded.measurements, strict=True):
        section, figures, count = found[measured.layout], measured.figures, measured.images
        seconds = figures.seconds
        assert shown(section, "client")[0].startswith(
            ", ".join(f"{name} {seconds[name]:.3f} s" for name in ("keygen", "encrypt", "decrypt"))
        )
        assert shown(section, "server")[0].startswith(f"{figures.server[0]:.3f} s")
        assert shown(section, "transfer")[0].startswith(f"{seconds['transfer']:.3f} s on loopback")
        up, down = figures.bytes_up / 1e6, figures.bytes_down / 1e6
        assert shown(section, "bytes") == [f"{up:.2f} MB up, {down:.2f} MB down"]
        assert shown(section, "keys")[0].startswith(f"{figures.key_bytes / 1e6:.2f} MB")
        error = np.abs(measured.encrypted - measured.clear).max()
        assert shown(section, "error")[0].startswith(f"{error:.2g} at most")
        rows = re.findall(r"^(\d+) +(.+?) {2,}(.+?) {2,}(.+?) {2,}(right|wrong)", section, re.MULTILINE)
        names = np.array(subject.classes)
        assert [row[:4] for row in rows] == [
            (str(i), *names[[subject.labels[i], measured.clear[i].argmax(), measured.encrypted[i].argmax()]])
            for i in range(min(count, 10))
        ]
        for row in rows:
            assert (row[4] == "right") == (row[1] == row[3])
        accuracy = [(a.argmax(1) == subject.labels[:count]).mean() for a in (measured.encrypted, measured.clear)]
        if count > 10:
            assert shown(section, "accuracy")[0].startswith(
                f"{accuracy[0]:.2%} encrypted, {accuracy[1]:.2%} in clear; same class for {measured.agreement:.2%}"
            )
        if measured.layout == "per-value":
            assert figures.budget is not None
            fresh, left = figures.budget
            assert shown(section, "noise")[0].startswith(f"{fresh} bits of noise budget fresh, {left} in the answer")
            assert 0 < left < fresh
        [line] = [line for line in found["table"].splitlines() if line.startswith(measured.layout)]
        spent = (seconds["encrypt"] + seconds["decrypt"], seconds["transfer"], sum(figures.server))
        assert line.split() == [
            measured.layout,
            f"{count:,}",
            f"{accuracy[0]:.1%}",
            f"{measured.agreement:.1%}",
            f"{error:.1e}",
            *(f"{number:.3f}" for number in spent),
            *(f"{number:.2f}" for number in (up, down)),
        ]


def test_fashion_mnist_in_three_layouts(capsys, recorded):
    assert cli.main(["demo"]) == 0
    page = capsys.readouterr().out
    check_page(page, recorded)
    per_value, packed, batched = recorded.measurements
    assert (per_value.images, packed.images, batched.images) == (1, 10, batched.published.program.capacity)
    assert per_value.max_error <= 0.0043
    for measured in recorded.measurements:
        assert list(measured.encrypted[:1].argmax(1)) == list(measured.clear[:1].argmax(1)) == [9]
        assert measured.max_error <= 2 * measured.published.program.flooded_error()
        assert measured.agreement > 0.995
        assert measured.figures.server[0] > 0
    assert "Ankle boot" in page
    assert all(len(line) <= 100 and line.isascii() for line in page.splitlines())
    # The paper's parameters, between the two limits: a note, not a warning on the way.
    security, *_ = shown(page, "security")
    assert "2018 Homomorphic Encryption Standard: at most 109 bits, met" in security
    assert "2024 guideline: at most 106 bits, exceeded by 3" in security
    [note] = shown(page, "note")
    assert note.startswith("m = 4096 with a coefficient modulus of 109 bits is below 128-bit security")
    # The server has gone with the demo.
    [server] = shown(page, "server")[:1]
    assert gone(int(re.match(r"process (\d+)", server)[1]))


@pytest.mark.usefixtures("no_fashion_mnist")
def test_digits_where_there_is_no_fashion_mnist(capsys, recorded):
    pytest.importorskip("sklearn")
    assert cli.main(["demo", "--images", "3"]) == 0
    page = capsys.readouterr().out
    note = " ".join(page.split())
    assert "Fashion-MNIST was not found" in note
    assert "pycrcnn datasets download fashion-mnist" in note
    check_page(page, recorded)
    per_value, packed, batched = recorded.measurements
    subject = recorded.subjects[0]
    assert (per_value.images, packed.images, batched.images) == (3, 3, min(batched.published.program.capacity, 500))
    assert subject.model.accuracy > 0.95
    assert (batched.clear.argmax(1) == subject.labels[: batched.images]).mean() > 0.95
    assert per_value.agreement == packed.agreement == 1
    assert batched.agreement > 0.99


@pytest.mark.usefixtures("no_fashion_mnist")
def test_without_any_images(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert cli.main(["demo"]) == 1
    error = capsys.readouterr().err
    assert "pycrcnn datasets download fashion-mnist" in error
    assert "pip install 'pycrcnn[demo]'" in error


@pytest.mark.parametrize("missing", ["fastapi", "granian"])
def test_without_the_packages_of_a_server(missing, tmp_path):
    """In one sentence; granian is missed by the server's own process."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{missing!r}] = None\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pycrcnn.cli", "demo", "--layout", "packed"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "pip install 'pycrcnn[server]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def gone(process: int) -> bool:
    """Whether a process has ended, waited for or not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_a_demo_that_is_killed(how, tmp_path):
    command = [sys.executable, "-u", "-m", "pycrcnn.cli", "demo", "--layout", "per-value", "--images", "9"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as run:
        server = 0
        while not server:
            line = run.stdout.readline()
            assert line, "the demo has ended"
            found = re.match(r"server +process (\d+)", line)
            server = int(found[1]) if found else 0
        while not list(tmp_path.glob("pycrcnn-client-*/order.json")):  # the client is about to ask
            time.sleep(0.02)
        assert not gone(server)
        run.send_signal(how)
        run.wait(60)
        deadline = time.monotonic() + 30
        while not gone(server) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert gone(server)
        if how == signal.SIGTERM:
            assert list(tmp_path.iterdir()) == []
            assert run.returncode == 128 + signal.SIGTERM


def test_subjects_are_tested_on_images_that_trained_nothing():
    subject = fashion_mnist()
    assert subject.examples.shape == (2000, 1, 28, 28)
    pytest.importorskip("sklearn")
    subject = handwritten_digits("nothing is missing.")
    assert (len(subject.pixels), len(subject.examples)) == (500, 1297)
    again = handwritten_digits("nothing is missing.")
    for layer, same in zip(subject.model.layers, again.model.layers, strict=True):
        np.testing.assert_array_equal(layer.get("weight", 0), same.get("weight", 0))


@pytest.mark.parametrize(
    "arguments", [["--images", "0"], ["--images", "few"], ["--threads", "-1"], ["--layout", "both"]]
)
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", *arguments])
    assert arguments[0] in capsys.readouterr().err
