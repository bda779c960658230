"""The packed layout of BFV: what is decrypted is what integers give, digit for digit."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pycrcnn
from pycrcnn import cli, datasets, models
from pycrcnn.errors import (
    FormatError,
    InvalidValueError,
    KeyMismatchError,
    MissingKeyError,
    NoiseBudgetError,
    OutOfReachError,
)
from pycrcnn.program import Answer, ClientProgram, EncryptedImages, EvaluationKeys, Keys, Program
from small_programs import IMAGES, SHAPE, packed


def exact(layers: Any = None, **options: Any) -> Program:
    return packed(layers, **{"scheme": "bfv", **options})


@pytest.mark.parametrize("name", ["fashion-5layer", "mnist-lenet1"])
def test_real_images_are_classified_exactly(name: str) -> None:
    model = models.load(name)
    training, _ = datasets.load(model.dataset, "train")
    images, _ = datasets.load(model.dataset, "test")
    program = pycrcnn.compile(model, scheme="bfv", calibration=model.normalise(training[:200]))
    assert (program.layout, program.scheme) == ("packed", "bfv")
    pictures = model.normalise(images[:4])
    simulated = program.predict(pictures, mode="simulate")
    keys = program.keygen()
    answer = program.run(keys.encrypt(pictures), keys.evaluation)
    np.testing.assert_array_equal(keys.decrypt(answer), simulated)
    clear = program.predict(pictures)
    np.testing.assert_array_equal(simulated.argmax(1), clear.argmax(1))
    assert np.abs(simulated - clear).max() <= program.error
    explanation = program.explain()
    assert explanation.modulus_bits <= explanation.limit_bits
    assert len(answer.parts[0]) == pytest.approx(explanation.bytes_down, rel=0.02)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    precision=st.integers(3, 9),
    channels=st.integers(1, 3),
    stride=st.integers(1, 2),
    activation=st.sampled_from(["square", "quadratic"]),
    count=st.integers(1, 3),
)
def test_random_networks(seed: int, precision: int, channels: int, stride: int, activation: str, count: int) -> None:
    rng = np.random.default_rng(seed)
    quadratic = {"type": "polynomial", "coefficients": tuple(rng.normal(size=3))}
    convolution = {"type": "conv2d", "weight": rng.normal(size=(channels, 1, 2, 2)), "stride": (stride, stride)}
    outputs = channels * (5 if stride == 1 else 3) ** 2
    layers = [
        convolution,
        {"type": "square"} if activation == "square" else quadratic,
        {"type": "flatten"},
        {"type": "linear", "weight": rng.normal(size=(2, outputs)), "bias": rng.normal(size=2)},
    ]
    images = rng.normal(size=(count, *SHAPE))
    program = exact(layers, calibration=images, precision=precision, batch=count)
    simulated = program.predict(images, mode="simulate")
    np.testing.assert_array_equal(program.predict(images, mode="encrypted"), simulated)
    assert np.abs(simulated - program.predict(images)).max() <= program.error


def test_both_rows_and_further_runs_hold_images() -> None:
    program = exact()
    assert program.capacity == 2
    images = np.random.default_rng(1).uniform(0, 1, (5, *SHAPE))
    keys = program.keygen()
    encrypted = keys.public.encrypt(images)
    assert len(encrypted.parts) == 3
    answer = program.run(encrypted, keys.evaluation)
    np.testing.assert_array_equal(keys.decrypt(answer), program.predict(images, mode="simulate"))
    assert exact(batch=64).capacity > 2


def test_randomised_answers_stay_exact() -> None:
    program = exact(precision=12)
    keys = program.keygen()
    answer = program.run(keys.encrypt(IMAGES), keys.evaluation)
    hidden = program.rerandomize(answer, keys.evaluation)
    assert hidden.parts[0] != answer.parts[0]
    np.testing.assert_array_equal(keys.decrypt(hidden), keys.decrypt(answer))
    assert program.flooded_error() == program.error
    with pytest.raises(InvalidValueError, match="BFV floods with all"):
        program.rerandomize(answer, keys.evaluation, 1.0)


def test_precision_buys_smaller_errors() -> None:
    errors = [exact(precision=bits).error for bits in (4, 8, 12)]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_the_plan_is_explained() -> None:
    explanation = exact(precision=12).explain()
    assert explanation.scheme == "BFV"
    product = np.prod([float(t) for t in explanation.plain_moduli])
    assert product > 2**20
    assert all(t % (2 * explanation.degree) == 1 for t in explanation.plain_moduli)
    budgets = [explanation.fresh_noise_budget, *(step.noise_budget for step in explanation.steps)]
    assert all(before >= after > 0 for before, after in itertools.pairwise(budgets))
    assert explanation.reply_noise_budget > 0
    text = str(explanation)
    for shown in ("plaintext moduli", "bits fresh", f"{budgets[1]} bits"):
        assert shown in text
    assert "plaintext moduli" in explanation._repr_html_()
    assert explanation.as_dict()["plain_moduli"] == explanation.plain_moduli


def test_files_and_the_command_line(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(3).integers(0, 256, (2, 1, 28, 28)) / 256)
    program, client, keys = (str(tmp_path / name) for name in ("program", "client", "keys"))

    def pycrcnn_(*arguments: str | Path) -> None:
        assert cli.main([str(argument) for argument in arguments]) == 0

    pycrcnn_("compile", "fashion-5layer", "--scheme", "bfv", "--output", program, "--client", client)
    pycrcnn_("keygen", client, "--output", keys)
    pycrcnn_("encrypt", client, keys, tmp_path / "images.npy", "--output", tmp_path / "images.encrypted")
    evaluation = f"{keys}/evaluation.key"
    pycrcnn_("run", program, evaluation, tmp_path / "images.encrypted", "--output", tmp_path / "answer")
    pycrcnn_("decrypt", client, keys, tmp_path / "answer", "--output", tmp_path / "answer.npy")
    pycrcnn_("explain", program)
    loaded = Program.load(program)
    assert loaded.scheme == ClientProgram.load(client).scheme == "bfv"
    expected = loaded.predict(np.load(tmp_path / "images.npy"), mode="simulate")
    np.testing.assert_array_equal(np.load(tmp_path / "answer.npy"), expected)


def test_programs_keys_and_messages_of_other_schemes_are_refused(tmp_path: Path) -> None:
    program, other = exact(), exact(scheme="ckks")
    keys, foreign = program.keygen(), other.keygen()
    encrypted = keys.encrypt(IMAGES)
    with pytest.raises(MissingKeyError, match=r"keys\.evaluation"):
        program.run(encrypted)
    with pytest.raises(KeyMismatchError, match="another program"):
        program.run(encrypted, foreign.evaluation)
    renamed = EvaluationKeys(foreign.evaluation.data, keys.evaluation.program)
    with pytest.raises(KeyMismatchError):
        program.run(encrypted, renamed)
    with pytest.raises((KeyMismatchError, FormatError)):
        program.run(foreign.encrypt(IMAGES), keys.evaluation)
    with pytest.raises((KeyMismatchError, FormatError)):
        other.run(encrypted, foreign.evaluation)
    with pytest.raises((KeyMismatchError, NoiseBudgetError)):
        program.keygen().decrypt(program.run(encrypted, keys.evaluation))
    keys.save(tmp_path)
    with pytest.raises(KeyMismatchError, match="another program"):
        Keys.load(other.client, tmp_path)
    header = Program.from_bytes(program.to_bytes())
    assert header.scheme == "bfv"


def test_cut_and_mixed_messages_are_refused() -> None:
    program = exact(precision=12)
    assert len(program.explain().plain_moduli) > 1
    keys = program.keygen()
    encrypted = keys.encrypt(IMAGES[:1])
    answer = program.run(encrypted, keys.evaluation)
    part = encrypted.parts[0]
    for damaged in (part[:-1], part + b"\0", part[: len(part) // 2], b"", part[:8], part[:39]):
        with pytest.raises((FormatError, KeyMismatchError)):
            program.run(EncryptedImages((damaged,), 1), keys.evaluation)
        with pytest.raises((FormatError, KeyMismatchError)):
            keys.decrypt(Answer((damaged,), 1))
    # The ciphertext of one plaintext modulus twice.
    length = 8 + int.from_bytes(part[44:52], "little")
    twice = part[:44] + part[44 : 44 + length] * len(program.explain().plain_moduli)
    with pytest.raises((FormatError, KeyMismatchError)):
        program.run(EncryptedImages((twice,), 1), keys.evaluation)
    assert keys.decrypt(answer).shape == (1, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scheme": "bgv"}, InvalidValueError, "choose 'ckks' or 'bfv'"),
        ({"layout": "batched"}, InvalidValueError, "the batched layout is CKKS"),
        ({"precision": 31}, InvalidValueError, "precision = 31"),
        (
            {"layers": [{"type": "square"}] * 4, "security": 256, "precision": 28},
            OutOfReachError,
            "at 18 bits there is room for all",
        ),
    ],
)
def test_what_cannot_be_compiled(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        exact(**options)


def test_images_far_beyond_the_examples_are_seen() -> None:
    program = exact()
    with pytest.raises(NoiseBudgetError, match="calibration"):
        program.predict(1000 * IMAGES, mode="encrypted")


def test_latency_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pycrcnn.bench import latency

    monkeypatch.setattr(latency, "_IMAGES", 2)
    arguments = argparse.Namespace(network="5layer", scheme="bfv", threads=0, repeats=1)
    result = latency.measure(arguments)
    assert result["scheme"] == "BFV"
    assert result["max_error"] <= result["predicted_error"]
    assert result["agreement"] == 1.0
