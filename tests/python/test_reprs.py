"""What a notebook shows of an object that a cell ends with: what it is, in a line or a table, and no secret."""

from __future__ import annotations

import numpy as np
import pytest

import pycrcnn
from pycrcnn import models

SHAPE = (4,)
LAYERS = [
    {"type": "linear", "weight": np.ones((3, 4))},
    {"type": "square"},
    {"type": "linear", "weight": np.ones((2, 3))},
]
IMAGES = np.random.default_rng(0).uniform(0, 1, (8, *SHAPE))


@pytest.fixture(scope="module")
def program() -> pycrcnn.Program:
    return pycrcnn.compile(LAYERS, SHAPE, layout="batched", calibration=IMAGES)


def test_programs_and_keys_say_what_they_are_for(program: pycrcnn.Program) -> None:
    keys = program.keygen()
    summary = f"batched CKKS, N = {program.context.degree}, [4] -> [2]"
    shown = [repr(thing) for thing in (program, program.client, keys, keys.public)]
    assert shown == [f"{name}({summary})" for name in ("Program", "ClientProgram", "Keys", "PublicKey")]


def test_a_program_is_shown_as_its_plan(program: pycrcnn.Program) -> None:
    assert program._repr_html_() == program.explain()._repr_html_()
    assert "<td>square</td>" in program._repr_html_()


def test_an_interactive_plan_shows_all_of_its_parts() -> None:
    program = pycrcnn.compile_interactive(LAYERS, SHAPE, layout="batched", calibration=IMAGES, cuts=[1])
    table = program.explain()._repr_html_()
    assert table.count("refresh: the client decrypts") == 1
    assert table.count("expected error") == 2


def test_a_model_is_shown_without_its_weights() -> None:
    model = models.load("fashion-5layer")
    assert repr(model) == (
        "Model('fashion-5layer': [1, 28, 28], conv2d, square, avg_pool2d, flatten, linear, linear; "
        f"{model.accuracy:.2%} of fashion-mnist)"
    )
    table = model._repr_html_()
    assert "weight [16, 1, 3, 3]" in table
    assert len(table) < 2000
