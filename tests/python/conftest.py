"""Parameters and keys that tests share; small ones, so that the suite is quick."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pycrcnn.errors import SecurityWarning
from pycrcnn.he.HE import BFVPyfhel, BFVPyfhel_Fractional, CKKSPyfhel, MockHE
from pycrcnn.program import Keys, Program
from pycrcnn.pyfhel import Pyfhel
from s3_server import S3Server, s3_server
from small_programs import COMPILE


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job is started with Ctrl-C ignored, and so would be every child that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Upstream's default parameters are a bit or two above the published limits: test_security has its own eye on that.
    config.addinivalue_line("filterwarnings", "ignore::pycrcnn.errors.SecurityWarning")


def quietly(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return make(*args, **kwargs)


def with_keys(p: int = 65537, m: int = 2048, **options: Any) -> Pyfhel:
    HE = Pyfhel()
    quietly(HE.contextGen, p, m, **options)
    HE.keyGen()
    return HE


@pytest.fixture(scope="session")
def fractional() -> Pyfhel:
    """The first generation's object: m = 2048 leaves room for one layer of weights or one square."""
    return with_keys()


@pytest.fixture(scope="session")
def batching() -> Pyfhel:
    return with_keys(p=12289, m=1024, flagBatching=True)


def second_generation(name: str) -> Any:
    make: Callable[[], Any] = {
        "MockHE": MockHE,
        "BFVPyfhel": lambda: quietly(BFVPyfhel, m=4096),
        "BFVPyfhel_Fractional": lambda: quietly(BFVPyfhel_Fractional, 4096, 65537),
        "CKKSPyfhel": lambda: CKKSPyfhel(m=8192, scale=2**30, qi=[60, 30, 30, 60]),
    }[name]
    HE = make()
    HE.generate_keys()
    HE.generate_relin_keys()
    return HE


@pytest.fixture(scope="session", params=["MockHE", "BFVPyfhel", "BFVPyfhel_Fractional", "CKKSPyfhel"])
def HE(request: pytest.FixtureRequest) -> Any:
    """One object of each class of the second generation."""
    return second_generation(request.param)


@pytest.fixture(scope="session", params=list(COMPILE))
def both(request: pytest.FixtureRequest) -> tuple[Program, Keys]:
    """A program of each layout with keys."""
    program = COMPILE[request.param]()
    return program, program.keygen()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A real S3 server, which the environment names."""
    with s3_server(tmp_path / "s3") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2024)
