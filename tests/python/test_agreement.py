"""Encrypted answers name the class that the clear network names, for every network that is shipped."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

import pycrcnn
from pycrcnn import datasets, models
from pycrcnn.errors import UnsupportedError

NETWORKS = [name for name in models.names() if not name.endswith("-plain")]
IMAGES = 24
#: More squares than the batched layout takes, and seconds an image.
RECURRENT = "mnist-recurrent"


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layout", ["packed", "batched"])
def test_encrypted_classes_are_the_clear_ones(name: str, layout: Literal["packed", "batched"]) -> None:
    model = models.load(name)
    if name == RECURRENT and layout == "batched":
        with pytest.raises(UnsupportedError, match="use a network with at most 3"):
            pycrcnn.compile(model, layout=layout)
        return
    examples, _ = datasets.load(model.dataset, "train")
    pixels, _ = datasets.load(model.dataset, "test")
    images = model.normalise(pixels[: 3 if name == RECURRENT else IMAGES])
    program = pycrcnn.compile(model, layout=layout, calibration=model.normalise(examples[:300]))
    clear, encrypted = program.predict(images), program.predict(images, mode="encrypted")
    assert (encrypted.argmax(1) == clear.argmax(1)).all()
    # A class is safe where the largest answer is ahead of the second by more than errors can take away.
    error = np.abs(encrypted - clear).max()
    assert error <= program.error
    assert program.error < 0.01 * np.abs(clear).max()
