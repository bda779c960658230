"""The demo says what it measured, on Fashion-MNIST and without it."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from pycrcnn import _native, cli, datasets, demo
from pycrcnn.demo.measurement import Measurement
from pycrcnn.demo.subject import Subject, fashion_mnist, handwritten_digits
from pycrcnn.program import Keys


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


def check_page(page: str, recorded: Recorded) -> None:
    """Every number on the page is the one that was measured."""
    sections = re.split(r"^(?=Per value|Batched)", page, flags=re.MULTILINE)[1:]
    for subject, measured, section in zip(recorded.subjects, recorded.measurements, sections, strict=True):
        seconds, count = measured.seconds, measured.images
        assert shown(section, "client") == [
            ", ".join(f"{name} {seconds[name]:.3f} s" for name in ("keygen", "encrypt", "decrypt"))
        ]
        assert shown(section, "server") == [", ".join(f"{name} {seconds[name]:.3f} s" for name in ("evaluate",))]
        assert shown(section, "bytes")[0].startswith(
            f"{measured.bytes_up / 1e6:.2f} MB up, {measured.bytes_down / 1e6:.2f} MB down"
        )
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
        if measured.program.layout == "batched":
            accuracy = [(a.argmax(1) == subject.labels[:count]).mean() for a in (measured.encrypted, measured.clear)]
            assert shown(section, "accuracy")[0].startswith(
                f"{accuracy[0]:.2%} encrypted, {accuracy[1]:.2%} in clear; same class for {measured.agreement:.2%}"
            )
            assert f"{count / seconds['evaluate']:,.0f} images/s evaluated" in shown(section, "speed")[0]
        else:
            assert measured.budget is not None
            fresh, left = measured.budget
            assert shown(section, "noise")[0].startswith(f"{left} bits of noise budget left of {fresh} fresh")
            assert 0 < left < fresh


def test_fashion_mnist_one_by_one(capsys, recorded):
    assert cli.main(["demo", "--layout", "per-value", "--images", "2"]) == 0
    page = capsys.readouterr().out
    check_page(page, recorded)
    [measured] = recorded.measurements
    assert measured.images == 2
    assert measured.max_error <= 0.0043
    assert list(measured.encrypted.argmax(1)) == list(measured.clear.argmax(1)) == [9, 2]
    assert "Ankle boot" in page
    # The paper's parameters, between the two limits: a note, not a warning on the way.
    [security] = shown(page, "security")
    assert "2018 Homomorphic Encryption Standard: at most 109 bits, met" in security
    assert "2024 guideline: at most 106 bits, exceeded by 3" in security
    assert shown(page, "note")[0].startswith(
        "m = 4096 with a coefficient modulus of 109 bits is below 128-bit security"
    )


def test_fashion_mnist_batched(capsys, recorded):
    assert cli.main(["demo", "--layout", "batched"]) == 0
    page = capsys.readouterr().out
    check_page(page, recorded)
    [measured] = recorded.measurements
    assert measured.images == measured.program.capacity >= 1024
    assert measured.agreement > 0.995
    assert not shown(page, "note")


@pytest.mark.usefixtures("no_fashion_mnist")
def test_digits_where_there_is_no_fashion_mnist(capsys, recorded):
    pytest.importorskip("sklearn")
    assert cli.main(["demo", "--images", "3"]) == 0
    page = capsys.readouterr().out
    note = " ".join(page.split())
    assert "Fashion-MNIST was not found" in note
    assert "pycrcnn datasets download fashion-mnist" in note
    check_page(page, recorded)
    per_value, batched = recorded.measurements
    subject = recorded.subjects[0]
    assert (per_value.images, batched.images) == (3, min(batched.program.capacity, 500))
    assert subject.model.accuracy > 0.95
    assert (batched.clear.argmax(1) == subject.labels[: batched.images]).mean() > 0.95
    assert per_value.agreement == 1
    assert batched.agreement > 0.99


@pytest.mark.usefixtures("no_fashion_mnist")
def test_without_any_images(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert cli.main(["demo"]) == 1
    error = capsys.readouterr().err
    assert "pycrcnn datasets download fashion-mnist" in error
    assert "pip install 'pycrcnn[demo]'" in error


def test_the_server_holds_no_key(recorded, capsys):
    assert cli.main(["demo", "--layout", "batched"]) == 0
    program = recorded.measurements[0].program
    held = {item.name: getattr(program, item.name) for item in dataclasses.fields(program)}
    assert not any(isinstance(value, _native.SecretKey | Keys) for value in held.values())
    assert f"Program({', '.join(f'{name}: {type(value).__name__}' for name, value in held.items())})" in " ".join(
        capsys.readouterr().out.split()
    )


def test_no_line_is_too_long(capsys, recorded):
    assert cli.main(["demo", "--layout", "per-value"]) == 0
    assert all(len(line) <= 100 and line.isascii() for line in capsys.readouterr().out.splitlines())


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
    "arguments", [["--images", "0"], ["--images", "few"], ["--threads", "-1"], ["--layout", "packed"]]
)
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", *arguments])
    assert arguments[0] in capsys.readouterr().err
