"""The warning where parameters are below the security that was asked for."""

from __future__ import annotations

import warnings

import pytest

from pycrcnn.errors import SecurityWarning
from pycrcnn.he.HE import BFVPyfhel, CKKSPyfhel
from pycrcnn.pyfhel import Pyfhel


def test_the_warning_gives_both_limits_and_points_at_the_caller() -> None:
    with pytest.warns(
        SecurityWarning, match=r"m = 2048 .*54 bits is below 128-bit.*54 bits by the 2018.*53 by the 2024"
    ) as caught:
        Pyfhel().contextGen(65537)
    assert caught[0].filename == __file__


def test_other_security_levels_have_their_own_limits() -> None:
    with pytest.warns(SecurityWarning, match=r"192-bit security: the limit is 75 bits .* and 73 by"):
        Pyfhel().contextGen(65537, m=4096, sec=192)
    with pytest.warns(SecurityWarning, match="54 bits"):
        BFVPyfhel()


def test_parameters_within_the_limits_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CKKSPyfhel(m=8192, scale=2**30, qi=[40, 30, 30, 40])
