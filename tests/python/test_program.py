"""Compiled programs: encrypted answers are the clear ones, and whatever is wrong is said so."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import pycrcnn
from pycrcnn import _native, models
from pycrcnn.errors import (
    EncodingError,
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    KeyMismatchError,
    MissingKeyError,
    NoiseBudgetError,
    OperandError,
    OutOfReachError,
    ParameterError,
    PassphraseError,
    PyCrCNNError,
    SecurityWarning,
    ShapeError,
    UnsupportedError,
)
from pycrcnn.program import Answer, ClientProgram, EncryptedImages, EvaluationKeys, FractionalParameters, Keys, Program

SHAPE = (1, 6, 6)
IMAGES = np.random.default_rng(0).uniform(0, 1, (3, *SHAPE))
Layers = list[dict[str, Any]]


def small_network(seed: int = 1) -> Layers:
    rng = np.random.default_rng(seed)
    return [
        {"type": "conv2d", "weight": rng.normal(size=(2, 1, 3, 3)), "bias": rng.normal(size=2), "stride": (3, 3)},
        {"type": "square"},
        {"type": "avg_pool2d", "kernel": (2, 2)},
        {"type": "flatten"},
        {"type": "linear", "weight": rng.normal(size=(3, 2)), "bias": rng.normal(size=3)},
    ]


def batched(layers: Any = None, **options: Any) -> Program:
    layers = small_network() if layers is None else layers
    return pycrcnn.compile(layers, **{"input_shape": SHAPE, "calibration": IMAGES, "layout": "batched", **options})


def packed(layers: Any = None, **options: Any) -> Program:
    return batched(layers, **{"layout": "packed", **options})


def per_value(layers: Any = None, **options: Any) -> Program:
    layers = small_network() if layers is None else layers
    return pycrcnn.compile(layers, **{"input_shape": SHAPE, "layout": "per-value", **options})


def exact(layers: Any = None, **options: Any) -> Program:
    return packed(layers, **{"scheme": "bfv", "precision": 12, **options})


COMPILE: dict[str, Callable[..., Program]] = {
    "packed": packed,
    "exact": exact,
    "batched": batched,
    "per-value": per_value,
}


@pytest.fixture(scope="module", params=list(COMPILE))
def both(request: pytest.FixtureRequest) -> tuple[Program, Keys]:
    """A program of each layout with keys."""
    program = COMPILE[request.param]()
    return program, program.keygen()


def largest_error(program: Program, images: Any) -> tuple[float, float]:
    """Of the encrypted answers, and the largest answer."""
    clear, encrypted = program.predict(images), program.predict(images, mode="encrypted")
    assert encrypted.shape == clear.shape
    return float(np.abs(encrypted - clear).max()), float(np.abs(clear).max())


# Encrypted answers are the clear ones.


@pytest.mark.parametrize("name", ["fashion-5layer", "fashion-6layer", "mnist-cryptonets"])
@pytest.mark.parametrize("layout", ["packed", "batched"])
def test_shipped_models(name: str, layout: Literal["packed", "batched"], rng: np.random.Generator) -> None:
    model = models.load(name)
    images = model.normalise(rng.integers(0, 256, (5, 28, 28)))
    program = pycrcnn.compile(model, layout=layout, calibration=images, precision=12)
    error, largest = largest_error(program, images)
    assert error < 2**-9 * largest


@pytest.mark.parametrize("name", ["fashion-5layer", "fashion-6layer"])
@pytest.mark.parametrize("fused", [False, True])
def test_shipped_models_per_value(name: str, fused: bool, rng: np.random.Generator) -> None:
    model = models.load(name)
    images = model.normalise(rng.integers(0, 256, (1, 28, 28)))
    program = pycrcnn.compile(model, layout="per-value", fused=fused)
    error, _ = largest_error(program, images)
    # Weights of at most 32 binary fraction digits; the paper's error is 0.0043.
    assert error < 1e-5


def test_every_slot_answers_for_its_own_image(rng: np.random.Generator) -> None:
    program = batched()
    images = rng.uniform(0, 1, (program.capacity, *SHAPE))
    error, largest = largest_error(program, images)
    assert error < 2**-9 * largest


def test_more_images_than_fit_one_run(rng: np.random.Generator) -> None:
    layers = [{"type": "linear", "weight": rng.normal(size=(2, 3))}]
    program = pycrcnn.compile(layers, (3,), layout="batched", calibration=rng.normal(size=(4, 3)))
    images = rng.uniform(-1, 1, (2 * program.capacity + 3, 3))
    keys = program.keygen()
    encrypted = keys.encrypt(images)
    assert (len(encrypted.parts), encrypted.images) == (3, len(images))
    assert encrypted.nbytes == sum(map(len, encrypted.parts))
    decrypted = keys.decrypt(program.run(encrypted))
    np.testing.assert_allclose(decrypted, program.predict(images), atol=2**-8)


@pytest.mark.parametrize("layout", COMPILE)
@pytest.mark.parametrize(
    "layers",
    [
        [{"type": "flatten"}],
        [{"type": "square"}],
        [{"type": "conv2d", "weight": np.zeros((2, 1, 3, 3))}, {"type": "square"}],
        [{"type": "conv2d", "weight": np.eye(4, dtype=np.float32).reshape(4, 1, 2, 2), "padding": 1, "dilation": 2}],
        [{"type": "avg_pool2d", "kernel": 2, "padding": (1, 1)}],
    ],
)
def test_unusual_networks(layout: str, layers: Layers) -> None:
    error, _ = largest_error(COMPILE[layout](layers), IMAGES)
    assert error < 2**-10


def test_fused_layers_need_no_larger_plaintext_modulus(rng: np.random.Generator) -> None:
    model = models.load("fashion-5layer")
    images = model.normalise(rng.integers(0, 256, (1, 28, 28)))
    parameters = FractionalParameters(p=3_000_000)
    fused = pycrcnn.compile(model, layout="per-value", parameters=parameters)
    assert largest_error(fused, images)[0] < 1e-5
    layers = pycrcnn.compile(model, layout="per-value", parameters=parameters, fused=False)
    with pytest.raises(NoiseBudgetError, match="outgrown the plaintext modulus 3000000"):
        layers.predict(images, mode="encrypted")


# Who holds what.


def test_keys_are_neither_shown_nor_pickled(both: tuple[Program, Keys]) -> None:
    _, keys = both
    assert repr(keys) == f"Keys({keys.client.summary})"
    assert repr(keys.secret) == "SecretKey(..)"
    assert str(keys.secret) == "SecretKey(..)"
    for refused in (keys, keys.secret):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="not pickled"):
                attempt(refused)


def test_a_program_reaches_no_secret_key(both: tuple[Program, Keys]) -> None:
    program, keys = both
    program.run(keys.encrypt(IMAGES), keys.evaluation)
    seen: dict[int, Any] = {}

    def walk(value: Any) -> None:
        if id(value) in seen or isinstance(value, int | float | str | bytes):
            return
        seen[id(value)] = value
        assert not isinstance(value, _native.SecretKey | Keys)
        for name in dir(value):
            attribute = None if name.startswith("__") else getattr(value, name)
            if attribute is not None and not callable(attribute):
                walk(attribute)

    walk(program)
    assert {type(value) for value in seen.values()} >= {Program, _native.Network, _native.Context, type(program.native)}
    with pytest.raises(UnsupportedError, match="to_bytes"):
        pickle.dumps(program)


def test_ciphertexts_are_no_arrays_and_print_short(both: tuple[Program, Keys]) -> None:
    program, keys = both
    images = keys.encrypt(IMAGES)
    answer = program.run(images, keys.evaluation)
    assert (repr(images), repr(answer)) == ("EncryptedImages(images=3)", "Answer(images=3)")
    assert pickle.loads(pickle.dumps(answer)) == answer
    for encrypted in (images, answer):
        for attempt in (np.asarray, np.array, lambda array: np.add(array, 1), lambda array: np.asarray(array, float)):
            with pytest.raises(UnsupportedError, match="decrypt its answer"):
                attempt(encrypted)


def test_parameters_below_the_security_asked_for_warn_with_both_limits() -> None:
    with pytest.warns(SecurityWarning, match=r"limit is 109 bits by the 2018 .* 106 by the 2024"):
        per_value(parameters=FractionalParameters(m=4096))
    with pytest.warns(SecurityWarning, match=r"below 256-bit security: the limit is 58 bits .* and 56"):
        per_value(security=256)
    for security in (128, 192, 256):
        context = batched(security=security).context
        limits = [limit for limit in _native.security_limits(context.degree, security) if limit]
        assert context.modulus_bits <= min(limits)


# Bad input: networks and parameters.

CONV = {"type": "conv2d", "weight": np.ones((1, 1, 2, 2))}


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (None, InvalidTypeError, r"models\.load"),
        ("fashion-5layer", InvalidValueError, r"models\.load"),
        ([], InvalidValueError, "at least one layer"),
        ([1], InvalidTypeError, "layer 0: a dictionary"),
        ([{}], InvalidTypeError, "layer 0: a dictionary"),
        ([{"type": "relu"}], UnsupportedError, "0 relu .*replace it by a square"),
        ([{"type": "max_pool2d", "kernel": (2, 2)}], UnsupportedError, "average pooling"),
        ([{"type": "lstm"}], UnsupportedError, "0 lstm .*replace it by"),
        ([{"type": ["conv2d"]}], InvalidTypeError, "not a text"),
        ([{"type": "conv2d"}], InvalidValueError, "weight is missing"),
        ([{"type": "avg_pool2d"}], InvalidValueError, "kernel is missing"),
        ([{**CONV, "weight": np.ones((2, 2))}], ShapeError, "2 dimensions, 4 are needed"),
        ([{**CONV, "weight": np.ones((1, 1, 2, 2), complex)}], InvalidTypeError, "complex128"),
        ([{**CONV, "weight": np.full((1, 1, 2, 2), "1")}], InvalidTypeError, "real numbers"),
        ([{**CONV, "weight": np.full((1, 1, 2, 2), np.nan)}], InvalidValueError, "NaN at flat index 0"),
        ([{**CONV, "bias": np.array([np.inf])}], InvalidValueError, "inf at flat index 0"),
        ([{**CONV, "bias": np.ones(2)}], ShapeError, "bias of 1"),
        ([{**CONV, "weight": np.ones((1, 3, 2, 2))}], ShapeError, "3 channels"),
        ([{**CONV, "weight": np.ones((1, 1, 9, 9))}], ShapeError, "reaches the kernel"),
        ([{**CONV, "stride": (0, 1)}], InvalidValueError, "stride = 0"),
        ([{**CONV, "stride": -1}], InvalidValueError, "stride = -1"),
        ([{**CONV, "stride": 1.5}], InvalidTypeError, "whole number"),
        ([{**CONV, "stride": (1, 1, 1)}], InvalidValueError, "pair"),
        ([{**CONV, "padding": (2**63, 0)}], InvalidValueError, "padding"),
        ([{**CONV, "padding": (2**30, 0)}], FormatError, "limit"),
        ([{**CONV, "paddings": 1}], UnsupportedError, "paddings is not known"),
        ([{"type": "avg_pool2d", "kernel": 0}], InvalidValueError, "kernel = 0"),
        ([{"type": "flatten"}, {"type": "avg_pool2d", "kernel": 2}], ShapeError, "1 avg_pool2d takes images"),
        ([{"type": "linear", "weight": np.ones((2, 36))}], ShapeError, "put a flatten layer before it"),
        ([{"type": "flatten"}, {"type": "linear", "weight": np.ones((2, 35))}], ShapeError, "layer 1 linear takes"),
    ],
)
@pytest.mark.parametrize("layout", COMPILE)
def test_networks_that_cannot_be_compiled(layout: str, layers: Any, error: type[PyCrCNNError], message: str) -> None:
    make = (lambda: pycrcnn.compile(None, SHAPE)) if layers is None else (lambda: COMPILE[layout](layers))
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("layout", COMPILE)
def test_networks_with_too_many_squares(layout: str) -> None:
    message = "71 affine maps with squares between them" if layout in ("packed", "exact") else "70 squares"
    with pytest.raises(UnsupportedError, match=message):
        COMPILE[layout]([{"type": "square"}] * 70)


def test_networks_out_of_reach_say_what_would_fit() -> None:
    with pytest.raises(OutOfReachError, match="room for .* maps, up to layer .*, and for all of them at") as deep:
        packed([{"type": "square"}] * 12, precision=20)
    figures = deep.value.figures
    assert (deep.value.code, figures["maps"], figures["degree"]) == ("too-deep", 13, 32768)
    assert (figures["needed_bits"] or 0) > (figures["limit_bits"] or 0)
    packed([{"type": "square"}] * 12, precision=figures["fitting_precision"])
    packed([{"type": "square"}] * ((figures["fitting_maps"] or 0) - 1), precision=20)
    with pytest.raises(OutOfReachError):
        packed([{"type": "square"}] * (figures["fitting_maps"] or 0), precision=20)
    with pytest.raises(OutOfReachError, match=r"layer .* takes 70000 values to 2, .* 5 times fewer values") as wide:
        packed(
            [{"type": "linear", "weight": np.ones((2, 70_000))}],
            input_shape=(70_000,),
            calibration=np.ones((1, 70_000)),
        )
    assert (wide.value.code, wide.value.figures["inputs"], wide.value.figures["slots"]) == ("too-wide", 70_000, 16384)
    assert wide.value.layer == "0 linear"


def test_the_layer_beyond_which_there_is_no_room_is_named() -> None:
    half = {"type": "linear", "weight": np.eye(4) / 2}
    layers = [{"type": "square"} if i % 2 else {**half, "name": f"dense{i}"} for i in range(41)]
    options: dict[str, Any] = {"precision": 20, "input_shape": (4,), "calibration": np.eye(4)}
    with pytest.raises(OutOfReachError) as deep:
        packed(layers, **options)
    fitting = deep.value.figures["fitting_maps"] or 0
    assert deep.value.layer == f"dense{2 * fitting} linear"
    packed(layers[: 2 * fitting - 1], **options)


@pytest.mark.parametrize("layout", ["packed", "batched"])
def test_plans_name_the_layers_of_each_matrix(layout: str) -> None:
    steps = COMPILE[layout](small_network()).explain().steps
    named = [step.layers for step in steps if step.kind.startswith("linear")]
    assert ", ".join(named).split(", ") == [
        f"{index} {layer['type']}" for index, layer in enumerate(small_network()) if layer["type"] != "square"
    ]


@pytest.mark.parametrize("layers", [small_network(), [*small_network(), {"type": "square"}]])
def test_packed_replies_have_one_prime_that_is_full(layers: Layers) -> None:
    program = packed(layers)
    explanation = program.explain()
    # Two polynomials modulo the first prime, which has room for the scale, the sign and a headroom of four bits.
    assert explanation.bytes_down == 2 * explanation.degree * explanation.prime_bits[0] // 8
    assert explanation.prime_bits[0] == explanation.steps[-1].scale_bits + 5
    keys = program.keygen()
    answer = program.run(keys.encrypt(IMAGES[:1]), keys.evaluation)
    assert answer.nbytes == pytest.approx(explanation.bytes_down, abs=300)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layout": "slots"}, InvalidValueError, "choose 'auto', 'packed', 'batched' or 'per-value'"),
        ({"batch": 0}, InvalidValueError, "batch = 0"),
        ({"input_shape": None}, InvalidValueError, r"such as \(1, 28, 28\)"),
        ({"input_shape": 6}, InvalidTypeError, r"such as \(1, 28, 28\)"),
        ({"input_shape": "166"}, InvalidTypeError, r"such as \(1, 28, 28\)"),
        ({"input_shape": (1, -6, 6)}, InvalidValueError, "input_shape = -6"),
        ({"input_shape": (1, 0, 6)}, InvalidValueError, "input_shape = 0"),
        ({"input_shape": (1, 6.0, 6)}, InvalidTypeError, "whole number"),
        ({"input_shape": (2**70, 6, 6)}, InvalidValueError, "input_shape"),
        ({"input_shape": (2**20, 2**20, 6)}, ShapeError, "input_shape"),
        ({"security": 100}, InvalidValueError, "128, 192 or 256"),
        ({"security": "128"}, InvalidValueError, "128, 192 or 256"),
        ({"threads": -1}, InvalidValueError, "threads = -1"),
        ({"threads": 2**70}, InvalidValueError, "threads"),
        ({"threads": 1.5}, InvalidTypeError, "threads: a whole number"),
    ],
)
@pytest.mark.parametrize("layout", COMPILE)
def test_arguments_of_every_layout(
    layout: str, options: dict[str, Any], error: type[PyCrCNNError], message: str
) -> None:
    with pytest.raises(error, match=message):
        COMPILE[layout](**options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"calibration": IMAGES[0]}, ShapeError, r"\[n, 1, 6, 6\]"),
        ({"calibration": IMAGES[:0]}, ShapeError, r"\[n, 1, 6, 6\]"),
        ({"calibration": IMAGES * np.nan}, EncodingError, "clean the data"),
        ({"calibration": IMAGES * 1e145}, UnsupportedError, "ask for less precision"),
        ({"calibration": IMAGES * 1e200}, UnsupportedError, "scale the images or the weights down"),
        ({"precision": 0}, InvalidValueError, "from 1 to 30"),
        ({"precision": 31}, InvalidValueError, "from 1 to 30"),
        ({"precision": 12.0}, InvalidTypeError, "whole number"),
        ({"parameters": FractionalParameters()}, InvalidValueError, "chooses its own"),
        ({"threads": 10**6}, InvalidValueError, "0 stands for all cores"),
    ],
)
def test_arguments_of_the_batched_layout(options: dict[str, Any], error: type[PyCrCNNError], message: str) -> None:
    with pytest.raises(error, match=message):
        batched(**options)


@pytest.mark.parametrize("name", ["m", "p", "base", "integer_digits", "fraction_digits"])
def test_fractional_parameters(name: str) -> None:
    for value in (0, -1, 2**70):
        with pytest.raises(ParameterError, match=f"{name} = {value}"):
            per_value(parameters=FractionalParameters(**{name: value}))
    for value in (1.5, "4096"):
        with pytest.raises(InvalidTypeError, match=f"{name}: a whole number"):
            per_value(parameters=FractionalParameters(**{name: value}))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"parameters": 4096}, InvalidTypeError, "FractionalParameters"),
        ({"parameters": FractionalParameters(m=4095)}, ParameterError, "power of two"),
        ({"parameters": FractionalParameters(integer_digits=4080)}, InvalidValueError, "do not fit"),
        ({"layers": [{**CONV, "weight": np.full((1, 1, 2, 2), 1e30)}]}, EncodingError, "scale the data down"),
    ],
)
def test_arguments_of_the_per_value_layout(options: dict[str, Any], error: type[PyCrCNNError], message: str) -> None:
    with pytest.raises(error, match=message):
        per_value(**options)


# Bad input: images, bytes, keys.


@pytest.mark.parametrize(
    ("images", "error"),
    [
        (IMAGES[0], ShapeError),
        (np.zeros((1, 1, 6, 7)), ShapeError),
        (IMAGES[:0], ShapeError),
        (IMAGES * np.nan, EncodingError),
        (IMAGES * np.inf, EncodingError),
        (IMAGES * 1e60, EncodingError),
        (IMAGES * 1j, InvalidTypeError),
        (np.full((1, *SHAPE), "1"), InvalidTypeError),
        (np.full((1, *SHAPE), None), InvalidTypeError),
        (np.zeros((1, *SHAPE), "datetime64[s]"), InvalidTypeError),
        (np.ma.masked_array(IMAGES, IMAGES > 0.5), InvalidValueError),
        ([[1, 2], [3]], InvalidTypeError),
        (None, InvalidTypeError),
        (EncryptedImages((), 0), InvalidTypeError),
    ],
)
def test_images_that_cannot_be_encrypted(both: tuple[Program, Keys], images: Any, error: type[PyCrCNNError]) -> None:
    with pytest.raises(error):
        both[1].encrypt(images)


def test_other_real_dtypes_are_taken(both: tuple[Program, Keys]) -> None:
    program, keys = both
    for dtype in (bool, np.uint8, np.int16, np.float32, ">f8"):
        images = (IMAGES > 0.5).astype(dtype)[:1, :, ::-1]
        decrypted = keys.decrypt(program.run(keys.encrypt(images), keys.evaluation))
        np.testing.assert_allclose(decrypted, program.predict(np.array(images, float)), rtol=0, atol=0.05)


def damaged(part: bytes) -> list[bytes]:
    flips = [bytes([*part[:at], part[at] ^ 1, *part[at + 1 :]]) for at in (*range(64), 5000, len(part) - 1)]
    return [b"", b"x", part[:-1], part[1:], part[: len(part) // 2], part + b"x", part + part, *flips]


def test_damaged_bytes(both: tuple[Program, Keys]) -> None:
    program, keys = both
    images = keys.encrypt(IMAGES)
    answer = program.run(images, keys.evaluation)
    for part in damaged(images.parts[0]):
        with pytest.raises(FormatError, match=r"(?s)malformed.*(checksum|bytes)"):
            program.run(EncryptedImages((part, *images.parts[1:]), 3), keys.evaluation)
    for part in damaged(answer.parts[0]):
        with pytest.raises(FormatError, match=r"(?s)malformed.*(checksum|bytes)"):
            keys.decrypt(Answer((part, *answer.parts[1:]), 3))


def test_things_that_are_no_ciphertexts(both: tuple[Program, Keys]) -> None:
    program, keys = both
    images = keys.encrypt(IMAGES)
    answer = program.run(images, keys.evaluation)
    for value in (IMAGES, images.parts[0], images.parts, None, answer):
        with pytest.raises(InvalidTypeError, match=r"keys\.encrypt"):
            program.run(value, keys.evaluation)  # type: ignore[arg-type]
    for value in (IMAGES, answer.parts[0], answer.parts, None, images):
        with pytest.raises(InvalidTypeError, match=r"program\.run"):
            keys.decrypt(value)  # type: ignore[arg-type]
    for parts, count, error in [
        (answer.parts, 10**6, FormatError),
        ((), 3, FormatError),
        (answer.parts * 2, 3, FormatError),
        (answer.parts, 0, InvalidValueError),
        (answer.parts, -3, InvalidValueError),
        (answer.parts, 3.0, InvalidTypeError),
        (["x"] * len(answer.parts), 3, InvalidTypeError),
    ]:
        with pytest.raises(error):
            keys.decrypt(Answer(parts, count))  # type: ignore[arg-type]
        with pytest.raises(error):
            program.run(EncryptedImages(parts, count), keys.evaluation)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", COMPILE)
def test_programs_and_keys_of_others(layout: str) -> None:
    program, other = COMPILE[layout](), COMPILE[layout](small_network()[:2])
    keys, other_keys = program.keygen(), other.keygen()
    # The same parameters with another network, or other parameters.
    with pytest.raises((KeyMismatchError, FormatError), match="other encryption parameters|another program"):
        keys.decrypt(other.run(other_keys.encrypt(IMAGES[:1]), other_keys.evaluation))
    # An answer, taken for images.
    answer = program.run(keys.encrypt(IMAGES[:1]), keys.evaluation)
    with pytest.raises((OperandError, ShapeError), match="differ|ciphertext"):
        program.run(EncryptedImages(answer.parts, 1), keys.evaluation)
    # The right parameters, but another key.
    with pytest.raises(NoiseBudgetError):
        program.keygen().decrypt(answer)
    # A key, images and answers of the other layout.
    strange = COMPILE["per-value" if layout == "batched" else "batched"]()
    strange_keys = strange.keygen()
    for mixed in (
        lambda: dataclasses.replace(keys, secret=strange_keys.secret).encrypt(IMAGES[:1]),
        lambda: dataclasses.replace(keys, secret=strange_keys.secret).decrypt(answer),
        lambda: program.run(strange_keys.encrypt(IMAGES[:1]), keys.evaluation),
        lambda: keys.decrypt(strange.run(strange_keys.encrypt(IMAGES[:1]), strange_keys.evaluation)),
    ):
        with pytest.raises(KeyMismatchError, match="other encryption parameters|another program"):
            mixed()
    with pytest.raises(InvalidValueError, match="'clear', 'simulate' or 'encrypted'"):
        program.predict(IMAGES, mode="simulated")  # type: ignore[arg-type]


# Files.


@pytest.mark.parametrize("layout", COMPILE)
def test_programs_clients_and_keys_come_back_from_files(layout: str, tmp_path: Path) -> None:
    head = [] if layout == "per-value" else [{"type": "softmax"}]
    program = COMPILE[layout]([*small_network(), *head])
    program.save(tmp_path / "program")
    program.client.save(tmp_path / "client")
    server, client = Program.load(tmp_path / "program"), ClientProgram.load(tmp_path / "client")
    client.keygen().save(tmp_path / "keys")
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["evaluation.key", "public.key", "secret.key"]
    assert (tmp_path / "keys" / "secret.key").stat().st_mode & 0o777 == 0o600
    keys = Keys.load(client, tmp_path / "keys")
    for encrypt in (keys.encrypt, keys.public.encrypt):
        encrypt(IMAGES).save(tmp_path / "images")
        answer = server.run(
            EncryptedImages.load(tmp_path / "images"), EvaluationKeys.load(tmp_path / "keys" / "evaluation.key")
        )
        answer.save(tmp_path / "answer")
        decrypted = keys.decrypt(Answer.load(tmp_path / "answer"))
        np.testing.assert_allclose(decrypted, program.predict(IMAGES), rtol=0, atol=0.05)
    np.testing.assert_array_equal(server.predict(IMAGES), program.predict(IMAGES))
    assert server.error == program.error
    assert server.explain().degree == program.context.degree
    # No weight is in what the client holds.
    weights = b"".join(np.asarray(layer["weight"]).tobytes() for layer in small_network() if "weight" in layer)
    assert len((tmp_path / "client").read_bytes()) < 2000
    assert weights[:8] not in (tmp_path / "client").read_bytes()
    for path, read in [
        ("program", Program.load),
        ("client", ClientProgram.load),
        ("images", EncryptedImages.load),
        ("keys/evaluation.key", EvaluationKeys.load),
    ]:
        data = (tmp_path / path).read_bytes()
        for broken in (b"", data[:10], b"x" + data[1:], data[:7] + b"\x09" + data[8:]):
            (tmp_path / "broken").write_bytes(broken)
            with pytest.raises(FormatError):
                read(tmp_path / "broken")
    with pytest.raises(FormatError):
        Program.load(tmp_path / "client")
    other = COMPILE[layout](small_network(seed=2)).client
    with pytest.raises(KeyMismatchError, match="another program"):
        Keys.load(other, tmp_path / "keys")


def test_secret_keys_under_a_passphrase(tmp_path: Path) -> None:
    program = packed()
    keys = program.keygen()
    answer = program.run(keys.encrypt(IMAGES), keys.evaluation)
    keys.save(tmp_path, "correct horse")
    assert keys.secret.to_secret_bytes()[40:80] not in (tmp_path / "secret.key").read_bytes()
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    loaded = Keys.load(program.client, tmp_path, "correct horse")
    assert np.array_equal(loaded.decrypt_raw(answer), keys.decrypt_raw(answer))
    for passphrase, message in [(None, "is locked"), ("wrong horse", "is not the one"), ("correct horse ", "is not")]:
        with pytest.raises(PassphraseError, match=message) as refused:
            Keys.load(program.client, tmp_path, passphrase)
        assert refused.value.code == "wrong-passphrase"
    with pytest.raises(InvalidValueError, match="passphrase: it is empty"):
        keys.save(tmp_path / "empty", "")
    locked = (tmp_path / "secret.key").read_bytes()
    for at in (-1, -len(locked) // 2):
        changed = bytearray(locked)
        changed[at] ^= 1
        (tmp_path / "secret.key").write_bytes(changed)
        with pytest.raises(PassphraseError, match="the file was changed"):
            Keys.load(program.client, tmp_path, "correct horse")
    (tmp_path / "secret.key").write_bytes(locked[: locked.index(b"pyclock") + 30])
    with pytest.raises(FormatError, match="end early"):
        Keys.load(program.client, tmp_path, "correct horse")


def test_packed_programs_need_their_own_keys() -> None:
    program, other = packed(), packed(small_network(seed=2))
    keys = program.keygen()
    images = keys.encrypt(IMAGES)
    with pytest.raises(MissingKeyError, match=r"give keys\.evaluation"):
        program.run(images)
    with pytest.raises(KeyMismatchError, match="another program"):
        program.run(images, other.keygen().evaluation)
    with pytest.raises(KeyMismatchError, match="another program"):
        other.run(images, other.keygen().evaluation)
    with pytest.raises(InvalidTypeError, match=r"keys\.evaluation"):
        program.run(images, keys)  # type: ignore[arg-type]
    none = EvaluationKeys(b"", program.program_id)
    with pytest.raises(FormatError, match="no key set"):
        program.run(images, none)
    forged = EvaluationKeys(other.keygen().evaluation.data, program.program_id)
    try:
        wrong = keys.decrypt(program.run(images, forged))  # keys under another secret
    except PyCrCNNError:
        pass
    else:
        assert np.abs(wrong - program.predict(IMAGES)).max() > 1


@pytest.mark.parametrize("layout", COMPILE)
def test_key_sets_are_checked_and_no_secret_key_is_taken_for_one(layout: str, tmp_path: Path) -> None:
    program = COMPILE[layout]()
    keys = program.keygen()
    images = keys.encrypt(IMAGES)
    keys.save(tmp_path)
    with pytest.raises(FormatError, match=r"secret key .*generate new keys") as refused:
        EvaluationKeys.load(tmp_path / "secret.key")
    assert refused.value.code == "secret-key"
    data = keys.evaluation.data
    for broken in (
        b"",
        keys.secret.to_secret_bytes(),
        data[:-1],
        data[:79],
        data[:100] + b"x" + data[101:],
        data + b"x",
    ):
        with pytest.raises(FormatError, match="key set"):
            program.run(images, EvaluationKeys(broken, program.program_id))
    with pytest.raises(KeyMismatchError, match="another program"):
        program.run(images, EvaluationKeys(data, "0" * 64))
    assert abs(len(data) - program.explain().key_bytes) < 1000


# What a server's reply tells.


@pytest.mark.parametrize("layout", COMPILE)
def test_replies_are_rerandomised_and_keep_their_answers(layout: str) -> None:
    program = COMPILE[layout]()
    keys = program.keygen()
    answer = program.run(keys.encrypt(IMAGES), keys.evaluation)
    hidden = program.rerandomize(answer, keys.evaluation)
    again = program.rerandomize(answer, keys.evaluation)
    assert all(a != b for a, b in zip(hidden.parts, again.parts, strict=True))
    assert hidden.nbytes <= answer.nbytes
    clear = program.predict(IMAGES)
    if layout in ("exact", "per-value"):
        assert np.array_equal(keys.decrypt_raw(hidden), keys.decrypt_raw(answer))
        assert layout == "exact" or hidden.nbytes < answer.nbytes
        with pytest.raises(InvalidValueError, match="all the noise budget"):
            program.rerandomize(answer, keys.evaluation, 2.0)
    else:
        assert np.abs(keys.decrypt_raw(hidden) - clear).max() <= program.flooded_error()
        deviation = np.std(keys.decrypt_raw(hidden) - clear)
        assert program.error / 4 < deviation < 4 * program.error  # nine values
        assert (
            np.abs(keys.decrypt_raw(program.rerandomize(answer, keys.evaluation, 0.0)) - clear).max() <= program.error
        )
        for flooding in (1e9, -1.0, float("nan")):
            with pytest.raises(InvalidValueError, match="ask for less"):
                program.rerandomize(answer, keys.evaluation, flooding)
    with pytest.raises(InvalidTypeError, match=r"program\.run"):
        program.rerandomize(keys.encrypt(IMAGES), keys.evaluation)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"keys\.evaluation"):
        program.rerandomize(answer, keys.public)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["packed", "batched"])
def test_answers_are_rounded_unless_the_raw_ones_are_asked_for(layout: str, tmp_path: Path) -> None:
    program = COMPILE[layout]()
    program.client.save(tmp_path / "client")
    keys = ClientProgram.load(tmp_path / "client").keygen()
    answer = program.run(keys.encrypt(IMAGES), keys.evaluation)
    rounded, raw = keys.decrypt(answer), keys.decrypt_raw(answer)
    grid = 2.0 ** np.floor(np.log2(program.error))
    assert np.array_equal(rounded, np.round(raw / grid) * grid)
    assert not np.array_equal(rounded, raw)
    assert np.abs(rounded - program.predict(IMAGES)).max() <= program.error + grid / 2
    # Answers that are exact are left as they are.
    exact = per_value()
    keys = exact.keygen()
    answer = exact.run(keys.encrypt(IMAGES[:1]))
    assert np.array_equal(keys.decrypt(answer), keys.decrypt_raw(answer))


# Choices.


def test_auto_takes_the_packed_layout_for_one_image_and_the_batched_one_for_thousands() -> None:
    model = models.load("fashion-5layer")
    assert pycrcnn.compile(model).layout == "packed"
    assert pycrcnn.compile(model, batch=100_000).layout == "batched"
    with pytest.warns(SecurityWarning):
        assert pycrcnn.compile(model, parameters=FractionalParameters()).layout == "per-value"


def test_several_images_share_a_ciphertext(rng: np.random.Generator) -> None:
    program = packed(batch=4)
    assert program.capacity > 1
    images = rng.uniform(0, 1, (2 * program.capacity - 1, *SHAPE))
    error, _ = largest_error(program, images)
    assert error <= program.error


def test_keys_levels_and_versions_that_do_not_fit() -> None:
    program = packed()
    keys = program.keygen()
    images = keys.encrypt(IMAGES[:1])
    # A network without a rotation, in the same ring: its key set has the relinearization key alone.
    point = {"type": "conv2d", "weight": np.ones((1, 1, 1, 1))}
    still = packed([point, {"type": "square"}, point])
    assert (still.context.moduli, still.explain().keys) == (program.context.moduli, 1)
    without = EvaluationKeys(still.keygen().evaluation.data, program.program_id)
    with pytest.raises(MissingKeyError, match="the Galois key of the rotation by"):
        program.run(images, without)
    # An answer has fewer primes than an image.
    answer = program.run(images, keys.evaluation)
    with pytest.raises(OperandError, match="levels"):
        program.run(EncryptedImages(answer.parts, 1), keys.evaluation)
    for data, read in [
        (program.to_bytes(), Program.from_bytes),
        (program.client.to_bytes(), ClientProgram.from_bytes),
        (keys.evaluation.to_bytes(), EvaluationKeys.from_bytes),
        (images.to_bytes(), EncryptedImages.from_bytes),
    ]:
        with pytest.raises(FormatError, match="has format version 2"):
            read(data[:7] + b"\x02" + data[8:])


@pytest.mark.parametrize("layout", COMPILE)
def test_simulated_answers_are_as_far_off_as_encrypted_ones(layout: str) -> None:
    program = COMPILE[layout]()
    clear = program.predict(IMAGES)
    simulated = np.abs(program.predict(IMAGES, mode="simulate") - clear).max()
    encrypted = np.abs(program.predict(IMAGES, mode="encrypted") - clear).max()
    if layout in ("exact", "per-value"):
        assert simulated == encrypted
    else:
        assert simulated <= program.error
        assert encrypted <= program.error


def test_explanations_are_shown_and_are_data() -> None:
    for layout, make in COMPILE.items():
        program = make()
        explanation = program.explain()
        data = json.loads(json.dumps(explanation.as_dict()))
        assert data["layout"] == ("packed" if layout == "exact" else layout)
        assert data["degree"] == program.context.degree
        assert data["seconds"] > 0
        assert data["memory_bytes"] > 0
        assert str(explanation.degree) in str(explanation)
        assert "<table>" in explanation._repr_html_()
        keys = program.keygen()
        images = keys.encrypt(IMAGES[: program.capacity])
        answer = program.run(images, keys.evaluation)
        for size, predicted in [(images.nbytes, explanation.bytes_up), (answer.nbytes, explanation.bytes_down)]:
            assert predicted * len(images.parts) <= size <= 1.05 * predicted * len(images.parts) + 200
        assert abs(keys.evaluation.nbytes - explanation.key_bytes) <= 0.05 * explanation.key_bytes + 200


# Wrong answers are detected where the secret key is.


def test_an_exhausted_noise_budget() -> None:
    for layers, parameters in [
        ([{"type": "square"}] * 3, FractionalParameters()),
        (small_network(), FractionalParameters(m=1024, p=65_537)),
        (small_network(), FractionalParameters(m=2048, p=2**30)),
    ]:
        with pytest.raises(NoiseBudgetError, match="choose a larger polynomial degree"):
            per_value(layers, parameters=parameters).predict(IMAGES[:1], mode="encrypted")


def test_digits_that_outgrow_the_plaintext_modulus() -> None:
    with pytest.raises(NoiseBudgetError, match="outgrown the plaintext modulus 257; choose a larger one"):
        per_value(parameters=FractionalParameters(p=257)).predict(IMAGES, mode="encrypted")


def test_ckks_results_that_outgrow_their_modulus(rng: np.random.Generator) -> None:
    program = batched()
    for images in (IMAGES * 1000, IMAGES * 1e6, IMAGES * 1e15):
        with pytest.raises(NoiseBudgetError, match="outgrown its modulus"):
            program.predict(images, mode="encrypted")
    # One image among many is enough.
    images = rng.uniform(0, 1, (program.capacity, *SHAPE))
    images[7] *= 1e4
    with pytest.raises(NoiseBudgetError, match="outgrown its modulus"):
        program.predict(images, mode="encrypted")


# Backends.

CHILD = """
import json, pathlib, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from pycrcnn.program import EncryptedImages, Keys
from test_program import COMPILE, IMAGES
for layout, compile in COMPILE.items():
    directory = pathlib.Path(sys.argv[2])
    program = compile()
    keys = Keys.load(program.client, directory / layout)
    answer = keys.decrypt(program.run(EncryptedImages.load(directory / f"{layout}.images"), keys.evaluation))
    own = keys.decrypt(program.run(keys.encrypt(IMAGES), keys.evaluation))
    assert np.abs(own - answer).max() < 0.05
    print(json.dumps(answer.tolist()))
"""


def run_child(backend: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYCRCNN_BACKEND": backend}
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_every_backend_gives_the_same_answers(tmp_path: Path) -> None:
    expected = {}
    for layout, make in COMPILE.items():
        program = make()
        keys = program.keygen()
        images = keys.encrypt(IMAGES)
        keys.save(tmp_path / layout)
        images.save(tmp_path / f"{layout}.images")
        expected[layout] = keys.decrypt(program.run(images, keys.evaluation))
    for backend in ("portable", "avx2", "avx512"):
        child = run_child(backend, str(tmp_path))
        if "is not available" in child.stderr and backend != "portable":
            continue
        assert child.returncode == 0, child.stderr
        for layout, line in zip(expected, child.stdout.splitlines(), strict=True):
            assert np.array_equal(json.loads(line), expected[layout]), (backend, layout)


def test_an_unknown_backend_is_an_error_that_lists_the_choices(tmp_path: Path) -> None:
    child = run_child("neon", str(tmp_path))
    assert child.returncode == 1
    last = child.stderr.strip().splitlines()[-1]
    assert last.startswith('pycrcnn.errors.InvalidValueError: backend "neon" is not available: choose one of [')
    assert "portable" in last
