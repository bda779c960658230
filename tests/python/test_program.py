"""Compiled programs: encrypted answers are the clear ones, and nobody holds what is not his."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any, Literal

import numpy as np
import pytest

import pycrcnn
from pycrcnn import _native, models
from pycrcnn.errors import (
    FormatError,
    MissingKeyError,
    NoiseBudgetError,
    OperandError,
    SecurityWarning,
    UnsupportedError,
)
from pycrcnn.program import ClientProgram, EncryptedImages, EvaluationKeys, FractionalParameters, Keys, Program
from small_programs import (
    COMPILE,
    IMAGES,
    SHAPE,
    Layers,
    batched,
    largest_error,
    packed,
    per_value,
    small_network,
)

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
