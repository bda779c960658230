"""Networks in parts: encrypted answers are the clear ones, and what is interactive says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pycrcnn
from pycrcnn.errors import FormatError, InvalidValueError, KeyMismatchError, UnsupportedError
from pycrcnn.program import InteractiveClient, InteractiveKeys, InteractiveProgram

RNG = np.random.default_rng(11)
IMAGES = RNG.uniform(0, 1, (4, 1, 6, 6))


def deep(squares: int) -> list[dict[str, Any]]:
    """A linear layer, then squares with linear layers between them; on the images every layer gives at most 1."""
    rng = np.random.default_rng(squares)
    layers: list[dict[str, Any]] = [{"type": "flatten"}]
    values = IMAGES.reshape(len(IMAGES), -1)
    for index in range(squares + 1):
        if index:
            layers.append({"type": "square"})
            values = np.square(values)
        weight, bias = rng.normal(size=(8, values.shape[1])), rng.normal(size=8)
        largest = np.abs(values @ weight.T + bias).max()
        layers.append({"type": "linear", "weight": weight / largest, "bias": bias / largest})
        values = (values @ weight.T + bias) / largest
    return layers


@pytest.fixture(scope="module")
def program() -> InteractiveProgram:
    return pycrcnn.compile_interactive(deep(2), (1, 6, 6), layout="packed", calibration=IMAGES, cuts=[2])


def test_what_is_too_deep_gets_as_few_parts_as_fit() -> None:
    options: dict[str, Any] = {"layout": "packed", "calibration": IMAGES, "security": 256, "precision": 22}
    with pytest.raises(UnsupportedError, match="refresh"):
        pycrcnn.compile(deep(7), (1, 6, 6), **options)
    program = pycrcnn.compile_interactive(deep(7), (1, 6, 6), **options)
    depths = [sum(step.kind == "square" for step in stage.explain().steps) for stage in program.stages]
    assert depths == [3, 3]
    clear = program.predict(IMAGES)
    assert np.abs(program.predict(IMAGES, "simulate") - clear).max() <= program.error < 1e-3 * np.abs(clear).max()


def test_encrypted_and_simulated_answers_are_the_clear_ones(program: InteractiveProgram) -> None:
    clear = program.predict(IMAGES)
    for mode in ("simulate", "encrypted"):
        assert np.abs(program.predict(IMAGES, mode) - clear).max() <= program.error  # type: ignore[arg-type]
    assert program.error < 0.05 * np.abs(clear).max()


@pytest.mark.parametrize("layout", ["packed", "batched", "auto"])
def test_cuts_and_layouts_do_not_change_the_answer(layout: Any) -> None:
    whole = pycrcnn.compile(deep(2), (1, 6, 6), layout=layout, calibration=IMAGES)
    parts = pycrcnn.compile_interactive(deep(2), (1, 6, 6), layout=layout, calibration=IMAGES, cuts=[1, 2])
    assert len(parts.stages) == 3
    np.testing.assert_allclose(parts.predict(IMAGES), whole.predict(IMAGES), rtol=1e-9)
    answers = parts.predict(IMAGES, "encrypted")
    assert np.abs(answers - whole.predict(IMAGES)).max() <= parts.error


def test_a_network_that_fits_is_one_part() -> None:
    assert len(pycrcnn.compile_interactive(deep(1), (1, 6, 6), calibration=IMAGES).stages) == 1


def test_a_softmax_is_the_clients_after_the_last_part() -> None:
    layers = [*deep(1), {"type": "softmax"}]
    program = pycrcnn.compile_interactive(layers, (1, 6, 6), calibration=IMAGES, cuts=[1])
    assert not program.stages[0].client_head
    np.testing.assert_allclose(program.predict(IMAGES, "encrypted").sum(axis=1), 1)


def test_explanations_say_that_it_is_interactive(program: InteractiveProgram) -> None:
    explanation = program.explain()
    assert str(explanation).startswith("INTERACTIVE: 1 refresh by the client")
    plan = explanation.as_dict()
    assert plan["interactive"] is True
    assert plan["refreshes"] == 1
    assert len(plan["stages"]) == 2


def test_server_and_client_come_back_from_their_files(program: InteractiveProgram, tmp_path: Path) -> None:
    program.save(tmp_path / "server")
    program.client.save(tmp_path / "client")
    client = InteractiveClient.load(tmp_path / "client")
    client.keygen().save(tmp_path / "keys")
    keys = InteractiveKeys.load(client, tmp_path / "keys")
    server = InteractiveProgram.load(tmp_path / "server")
    assert server.error == program.error
    answers = keys.converse(IMAGES, lambda stage, message: server.run(stage, message, keys.evaluation))
    assert np.abs(answers - program.predict(IMAGES)).max() <= program.error


def test_fewer_parts_leave_no_file_of_more(tmp_path: Path) -> None:
    for cuts in ([1, 2], [1]):
        pycrcnn.compile_interactive(deep(2), (1, 6, 6), calibration=IMAGES, cuts=cuts).save(tmp_path)
    assert len(InteractiveProgram.load(tmp_path).stages) == 2


def test_what_does_not_fit_together_is_refused(program: InteractiveProgram, tmp_path: Path) -> None:
    keys = program.keygen()
    answer = program.run(0, keys.encrypt(IMAGES), keys.evaluation)
    with pytest.raises(KeyMismatchError):
        keys.decrypt(answer)
    with pytest.raises(KeyMismatchError):
        program.run(1, keys.encrypt(IMAGES), keys.evaluation)
    with pytest.raises(InvalidValueError, match="last"):
        keys.refresh(1, answer)
    with pytest.raises(InvalidValueError):
        program.run(2, keys.encrypt(IMAGES), keys.evaluation)
    with pytest.raises(FormatError, match="no folder"):
        InteractiveProgram.load(tmp_path)
    program.client.stages[0].save(tmp_path / "stage-1.client")
    program.client.stages[0].save(tmp_path / "stage-2.client")
    with pytest.raises(FormatError, match="different programs"):
        InteractiveClient.load(tmp_path)


@pytest.mark.parametrize(
    "options", [{"cuts": [0]}, {"cuts": [3]}, {"cuts": [2, 1]}, {"layout": "per-value"}, {"security": 100}]
)
def test_unusable_arguments_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        pycrcnn.compile_interactive(deep(2), (1, 6, 6), calibration=IMAGES, **options)
