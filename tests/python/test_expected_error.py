"""The error that a program states: never below the largest of many answers, and at most four times as much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given

import pycrcnn
from pycrcnn.errors import UnsupportedError
from pycrcnn.program import InteractiveProgram, Program
from random_networks import Array, Layers, images_for, networks, some

Case = tuple[Layers, tuple[int, int, int], int]

#: Images under one key.
IMAGES_A_KEY = 8


def largest_error(program: Program, images: Array) -> float:
    """Of encrypted answers, eight images under a key."""
    clear, found = program.predict(images), 0.0
    for start in range(0, len(images), IMAGES_A_KEY):
        own = slice(start, start + IMAGES_A_KEY)
        found = max(found, float(np.abs(program.predict(images[own], "encrypted") - clear[own]).max()))
    return found


def some_images(shape: tuple[int, ...], seed: int, count: int = 1000) -> tuple[Array, Array]:
    """Images to predict errors by, and others to measure them on."""
    images = images_for(shape, seed, 512 + count)
    return images[:512], images[512:]


@some(5)
@given(networks())
def test_packed_answers_err_as_foretold(case: Case) -> None:
    layers, shape, seed = case
    calibration, images = some_images(shape, seed, 256)
    program = pycrcnn.compile(layers, shape, layout="packed", calibration=calibration)
    measured = largest_error(program, images)
    assert measured <= program.error <= 4 * measured


@some(12)
@given(networks())
def test_whole_batches_err_as_foretold(case: Case) -> None:
    layers, shape, seed = case
    program = pycrcnn.compile(layers, shape, layout="batched", calibration=images_for(shape, seed, 512))
    images = images_for(shape, seed + 1, program.capacity)
    clear = program.predict(images).reshape(-1)
    # Under three keys, simulated: the noise of encryption has the same deviation, and another largest each time.
    measured = max(np.abs(program.native.simulate(images.reshape(-1), key) - clear).max() for key in (1, 2, 3))
    assert measured <= program.error <= 4 * measured


@some(16)
@given(networks())
def test_simulated_answers_err_as_foretold(case: Case) -> None:
    layers, shape, seed = case
    calibration, images = some_images(shape, seed)
    program = pycrcnn.compile(layers, shape, layout="packed", calibration=calibration)
    measured = np.abs(program.predict(images, "simulate") - program.predict(images)).max()
    assert measured <= program.error <= 4 * measured


@some(10)
@given(networks())
def test_integers_err_as_foretold(case: Case) -> None:
    layers, shape, seed = case
    calibration, images = some_images(shape, seed)
    try:
        program = pycrcnn.compile(layers, shape, scheme="bfv", layout="packed", calibration=calibration)
    except UnsupportedError:
        assume(False)
    # They are the encrypted answers, digit for digit.
    measured = np.abs(program.predict(images, "simulate") - program.predict(images)).max()
    assert measured <= program.error <= 4 * measured


def errors_of_parts(program: InteractiveProgram, images: Array, flooding: float | None) -> list[float]:
    """The largest error of what each part answers, by a server that floods or does not, a conversation for each key."""
    errors = [0.0] * len(program.stages)
    for exact in np.split(images, len(images) // IMAGES_A_KEY):
        keys = program.keygen()
        message = keys.encrypt(exact)
        for index, stage in enumerate(program.stages):
            answer = program.run(index, message, keys.evaluation)
            if flooding is not None:
                answer = stage.rerandomize(answer, keys.evaluation[index], flooding)
            exact = stage.predict(np.square(exact) if index else exact)
            error = np.abs(keys.stages[index].decrypt_raw(answer) - exact).max()
            errors[index] = max(errors[index], float(error))
            if index + 1 < len(program.stages):
                message = keys.refresh(index, answer)
    return errors


@pytest.mark.parametrize("flooding", [None, 0.25, 1.0])
def test_the_parts_of_a_conversation_err_as_foretold(flooding: float | None) -> None:
    rng = np.random.default_rng(5)
    layers: Layers = [{"type": "linear", "weight": rng.normal(size=(8, 16)) / 4, "bias": rng.normal(size=8) / 4}]
    for _ in range(3):
        layers += [{"type": "square"}, {"type": "linear", "weight": rng.normal(size=(8, 8)) / 3}]
    calibration = images_for((16,), 5, 512)
    program = pycrcnn.compile_interactive(layers, (16,), layout="packed", calibration=calibration, cuts=[1, 3])
    # By the same images: after three squares the largest of a few hundred others may be thrice as large or a third.
    measured = errors_of_parts(program, calibration[:256], flooding)
    # Five deviations of flooding are counted, and the largest of two thousand numbers is about three and a half.
    most = 4 if flooding is None else 4 * 5 / 3.5
    for stage, own in zip(program.stages, measured, strict=True):
        assert own <= stage.flooded_error(flooding or 0.0) <= most * own
    assert program.flooded_error(flooding or 0.0) == program.stages[-1].flooded_error(flooding or 0.0)
    # What is flooded on the way counts.
    assert program.stages[-1].carried > program.stages[0].carried == 0
