"""The build backend (PEP 517, PEP 660): maturin, once the tools that SEAL's C++ needs are there.

Building takes a Rust toolchain, a C++ compiler, CMake and libclang. Where pip can supply one of them, it does (CMake
and libclang are on PyPI); where it cannot, the build stops at once with one sentence that says what to install, in
place of pages of compiler output.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_LIBCLANG_DIRECTORIES = (
    "usr/lib/llvm*/lib",
    "usr/lib/llvm/*/lib*",
    "usr/lib/*-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/local/lib",
)
_LIBCLANG_MACOS = ("opt/homebrew/opt/llvm/lib", "usr/local/opt/llvm/lib", "Library/Developer/CommandLineTools/usr/lib")

# Each hook delegates to maturin's own of the same name; maturin is imported late, so that an environment whose tools
# are missing hears about the tools first.


def get_requires_for_build_wheel(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """CMake and libclang from PyPI, where the system has none."""
    _check_toolchain()
    requires = []
    if not shutil.which("cmake"):
        requires.append("cmake<4")
    if not _has_libclang():
        requires.append("libclang")
    return requires


def get_requires_for_build_editable(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """As for a wheel."""
    return get_requires_for_build_wheel(config_settings)


def get_requires_for_build_sdist(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """Nothing is compiled for a source distribution."""
    return []


def build_wheel(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel and return its file name."""
    _prepare()
    import maturin

    name: str = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name


def build_editable(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build an editable wheel and return its file name."""
    _prepare()
    import maturin

    name: str = maturin.build_editable(wheel_directory, config_settings, metadata_directory)
    return name


def build_sdist(sdist_directory: str, config_settings: Mapping[str, Any] | None = None) -> str:
    """Build a source distribution and return its file name."""
    import maturin

    name: str = maturin.build_sdist(sdist_directory, config_settings)
    return name


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Mapping[str, Any] | None = None) -> str:
    """Write the metadata and return the name of its directory."""
    _prepare()
    import maturin

    name: str = maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)
    return name


def prepare_metadata_for_build_editable(
    metadata_directory: str, config_settings: Mapping[str, Any] | None = None
) -> str:
    """As for a wheel."""
    return prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def _prepare() -> None:
    """Check the tools, and say where they are to those who would not find them."""
    _check_toolchain()
    if not shutil.which("cmake"):
        raise _missing("CMake", "cmake")
    # CMake 4 refuses the compression libraries that SEAL bundles unless it is told this; earlier versions ignore it.
    os.environ.setdefault("CMAKE_POLICY_VERSION_MINIMUM", "3.5")
    if not _has_libclang():
        wheel = importlib.util.find_spec("clang")
        directories = [Path(path) / "native" for path in (wheel.submodule_search_locations or [])] if wheel else []
        if not directories:
            raise _missing("libclang", "libclang-dev")
        os.environ["LIBCLANG_PATH"] = str(directories[0])


def _check_toolchain() -> None:
    """Stop when what pip cannot supply is missing."""
    needed = re.search(r'^rust-version = "(.+)"', (_ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    minimum = needed.group(1) if needed else ""
    if not shutil.which("cargo") or not shutil.which("rustc"):
        raise SystemExit(f"Building pycrcnn needs Rust {minimum} or newer, which was not found; see https://rustup.rs.")
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True)  # noqa: S607 - on PATH
    found = re.search(r"(\d+)\.(\d+)", rustc.stdout)
    if needed and found and tuple(map(int, found.groups())) < tuple(map(int, minimum.split("."))):
        raise SystemExit(f"Building pycrcnn needs Rust {minimum} or newer and found {found[0]}; run `rustup update`.")
    if not any(map(shutil.which, filter(None, (os.environ.get("CXX", "").split(" ")[0], "c++", "g++", "clang++")))):
        raise _missing("a C++17 compiler", "g++")
    if not any(map(shutil.which, ("make", "gmake", "ninja"))):
        raise _missing("make", "make")


def _has_libclang() -> bool:
    """Whether bindgen will find libclang by itself."""
    return "LIBCLANG_PATH" in os.environ or ctypes.util.find_library("clang") is not None or any(_libclang_files())


def _libclang_files() -> Iterator[Path]:
    for directory in _LIBCLANG_DIRECTORIES:
        yield from Path("/").glob(f"{directory}/libclang[.-]*so*")
    for directory in _LIBCLANG_MACOS:
        yield from Path("/").glob(f"{directory}/libclang.dylib")


def _missing(tool: str, package: str) -> SystemExit:
    """One sentence, which pip shows as the reason of the failure."""
    return SystemExit(
        f"Building pycrcnn needs {tool}, which was not found; install it, "
        f"on Debian and Ubuntu by `apt-get install {package}`."
    )
