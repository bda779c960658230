"""Model cards say what the shipped files are, and what was measured of just these files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pycrcnn import models
from pycrcnn.errors import InvalidValueError
from pycrcnn.models import cards

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
MEASURED: dict[str, Any] = json.loads(cards.MEASURED.read_text())
ENCRYPTABLE = [name for name in models.names() if not name.endswith("-plain")]
HOW = "python training/measure.py"


def test_every_network_has_a_card() -> None:
    assert set(cards.ABOUT) == set(models.names())
    assert set(MEASURED) == set(ENCRYPTABLE)
    with pytest.raises(InvalidValueError, match="unknown model 'x'"):
        models.card("x")


def test_the_page_is_written_anew() -> None:
    assert PAGE.read_text() == cards.page(), f"{HOW} --write-only"


@pytest.mark.parametrize("name", ENCRYPTABLE)
def test_what_was_measured_is_the_shipped_file(name: str) -> None:
    measured, model = MEASURED[name], models.load(name)
    assert measured["sha256"] == cards.digest(name), f"{HOW} {name}"
    layouts = {layout: measured[layout] for layout in ("batched", "packed", "per-value")}
    fitting = {layout: figures for layout, figures in layouts.items() if "accuracy" in figures}
    # Nothing but what cannot be compiled is left out.
    assert all(figures["does_not_fit"] for layout, figures in layouts.items() if layout not in fitting)
    assert "packed" in fitting
    assert ("batched" in fitting) == (name != "mnist-recurrent")  # more squares than the batched layout takes
    for layout, figures in fitting.items():
        assert figures["agreement_images"] == (10_000 if layout == "batched" else 1_000)
        # Encrypted equal to clear within 0.1 %.
        assert figures["accuracy"] == pytest.approx(figures["accuracy_clear"], abs=0.001)
        assert figures["agreement"] >= 0.999
    if "batched" in fitting:
        assert fitting["batched"]["accuracy_clear"] == pytest.approx(model.accuracy, abs=1e-9)
        assert fitting["batched"]["security_bits"] >= 128
    if "per-value" in fitting:
        assert fitting["per-value"]["encrypted_equal_simulated"]
    one = measured["latency"]
    assert one["agreement"] == 1
    assert min(fitting["packed"]["security_bits"], one["security_bits"]) >= 128


def test_accuracies_asked_for_hold_encrypted() -> None:
    goals = {
        "fashion-5layer": 0.80,
        "fashion-6layer": 0.765,
        "fashion-2conv": 0.91,
        "mnist-cryptonets": 0.99,
        "mnist-lenet5": 0.99,
    }
    for name, goal in goals.items():
        assert MEASURED[name]["batched"]["accuracy"] >= goal, name


@pytest.mark.parametrize("name", models.names())
def test_a_card_states_the_metadata(name: str) -> None:
    model, card = models.load(name), models.card(name)
    assert card.startswith(f"## {name}\n")
    assert f"{model.accuracy:.2%} of 10,000 test images" in card
    assert f"`{model.training['command']}`" in card
    if log := model.training.get("log"):
        assert log[-1][1] == model.accuracy
        assert f"{100 * log[0][1]:.2f}, " in card
