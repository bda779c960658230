"""The native network, from Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pycrcnn import _native


def scale(factor: float) -> _native.AffineMap:
    return _native.AffineMap.linear(np.diag([factor, factor]))


def test_residual_blocks_add_their_branches() -> None:
    inner = ([("square", [0.0, 0.0, 1.0])], [("twice", scale(2.0))])
    network = _native.Network([2], [("half", scale(0.5)), ("outer", ([("inner", inner)], []))])
    assert network.output_shape == [2]
    np.testing.assert_array_equal(network.evaluate(np.array([2.0, -4.0])), [4.0, -2.0])


def test_branches_that_do_not_meet_are_refused() -> None:
    narrow = _native.AffineMap.linear(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"shortcut of layer 0 \(block\)"):
        _native.Network([2], [("block", ([], [("narrow", narrow)]))])


def test_blocks_nested_too_deep_are_refused() -> None:
    block: Any = []
    for _ in range(100_000):
        block = [("block", (block, []))]
    with pytest.raises(ValueError, match="deep in one another"):
        _native.Network([2], block)
    # Take it apart by hand: CPython would free it recursively.
    while block:
        block = block[0][1][0]
