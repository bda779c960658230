"""The build backend: what it asks pip for, and what it says when a tool is missing."""

import os
import runpy
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

BACKEND = Path(__file__).parents[2] / "packaging" / "pycrcnn_build.py"


@pytest.fixture
def backend(monkeypatch):
    """The backend's names, on a machine with the tools given."""

    def load(tools, rustc="rustc 1.99.0 (0123456 2030-01-01)", libclang=None):
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.delenv("LIBCLANG_PATH", raising=False)
        monkeypatch.setenv("CMAKE_POLICY_VERSION_MINIMUM", "3.5")
        monkeypatch.setattr(shutil, "which", lambda tool: f"/bin/{tool}" if tool in tools else None)
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=rustc))
        monkeypatch.setattr("ctypes.util.find_library", lambda _: libclang)
        monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        return SimpleNamespace(**runpy.run_path(str(BACKEND)))

    return load


ALL = {"cargo", "rustc", "c++", "make", "cmake"}


def test_nothing_is_asked_for_where_nothing_is_missing(backend):
    assert backend(ALL, libclang="libclang.so.1").get_requires_for_build_wheel() == []


def test_pip_supplies_cmake_and_libclang(backend):
    assert backend(ALL - {"cmake"}).get_requires_for_build_wheel() == ["cmake<4", "libclang"]
    assert backend(ALL - {"cmake"}).get_requires_for_build_editable() == ["cmake<4", "libclang"]


def test_a_source_distribution_needs_no_tools(backend):
    assert backend(set()).get_requires_for_build_sdist() == []


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("cargo", r"Building pycrcnn needs Rust [\d.]+ or newer, which was not found; see https://rustup\.rs\."),
        (
            "c++",
            r"Building pycrcnn needs a C\+\+17 compiler, which was not found; install it, .*`apt-get install g\+\+`\.",
        ),
        ("make", r"Building pycrcnn needs make, which was not found; install it, .*`apt-get install make`\."),
    ],
)
def test_what_pip_cannot_supply_is_named_in_one_sentence(backend, missing, sentence):
    with pytest.raises(SystemExit, match=f"^{sentence}$"):
        backend(ALL - {missing}).get_requires_for_build_wheel()


def test_an_old_compiler_is_named(backend):
    with pytest.raises(SystemExit, match=r"needs Rust 1\.\d+ or newer and found 1\.70; run `rustup update`"):
        backend(ALL, rustc="rustc 1.70.0 (90c541806 2023-05-31)").get_requires_for_build_wheel()


def test_without_isolation_missing_tools_are_named_too(backend, tmp_path):
    with pytest.raises(SystemExit, match="needs CMake, which was not found"):
        backend(ALL - {"cmake"}).build_wheel(str(tmp_path))
    with pytest.raises(SystemExit, match="needs libclang, which was not found"):
        backend(ALL).build_wheel(str(tmp_path))
    assert list(os.scandir(tmp_path)) == []
