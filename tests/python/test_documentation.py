"""The documentation builds without a warning, its code runs, its names exist, and no error is missing in it."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pycrcnn
from pycrcnn import cli, errors

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = [*sorted((DOCS / "guides").glob("*.md")), DOCS / "errors.md"]
PACKAGE = Path(pycrcnn.__file__).parent


def resolve(name: str) -> Any:
    """What a dotted name stands for."""
    parts = name.split(".")
    thing: Any = importlib.import_module(parts[0])
    for i, part in enumerate(parts[1:], 2):
        try:
            thing = getattr(thing, part)
        except AttributeError:
            thing = importlib.import_module(".".join(parts[:i]))
    return thing


def rows(page: Path, title: str) -> list[list[str]]:
    """The cells of a section's table."""
    section = page.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        tmp_path / "trees",
        DOCS,
        tmp_path / "html",
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    page = (tmp_path / "html" / "reference" / "program.html").read_text()
    assert 'id="pycrcnn.Program.run"' in page


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_names_on_a_page_exist(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"`(pycrcnn(?:\.\w+)+)", text):
        if not name.endswith((".nn", "_NAME")):
            resolve(name)


def test_every_extra_is_on_the_first_page() -> None:
    text = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]\n")[1].split("\n\n")[0]
    extras = set(re.findall(r"^(\w+) =", text, re.MULTILINE))
    listed = [row[0] for row in rows(DOCS / "guides" / "start.md", "Install")]
    assert set(re.findall(r"`(\w+)`", " ".join(listed))) == extras


def test_every_row_of_the_migration_tables_names_something_of_ours() -> None:
    page = DOCS / "guides" / "migration.md"
    for library in ("TenSEAL", "Concrete ML", "Orion"):
        found = rows(page, library)
        assert len(found) >= 7
        assert [ours for _, ours in found if "`pycrcnn." not in ours] in ([], ["the layers of `torch.nn` themselves"])


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_code_on_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    exec(compile("\n".join(blocks), str(page), "exec"), {"__name__": "guide"})


def test_the_commands_on_a_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYCRCNN_PASSPHRASE", "")
    np.save("images.npy", np.zeros((1, 1, 28, 28)))
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", (DOCS / "guides" / "keys-and-files.md").read_text(), re.MULTILINE | re.DOTALL
    )
    commands = "".join(blocks).splitlines()
    assert len(commands) == 5
    for command in commands:
        assert cli.main(shlex.split(command)[1:]) == 0, command
    assert np.load("answers.npy").shape == (1, 10)


def exception_classes() -> dict[str, type[errors.PyCrCNNError]]:
    """Every exception class of the package that users can catch, by name."""
    importlib.import_module("pycrcnn.datasets")
    found: dict[str, type[errors.PyCrCNNError]] = {}
    waiting: list[type[errors.PyCrCNNError]] = [errors.PyCrCNNError]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting += kind.__subclasses__()
    return {name: kind for name, kind in found.items() if kind.__module__ in ("pycrcnn.errors", "pycrcnn.datasets")}


def python_codes() -> set[str]:
    """Codes that stand in the package's Python: defaults of classes, and those that are given where one is raised."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            given: list[ast.expr] = []
            if isinstance(node, ast.AnnAssign | ast.Assign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if (
                    any(isinstance(target, ast.Name) and target.id == "default_code" for target in targets)
                    and node.value
                ):
                    given = [node.value]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == "Refusal":
                    given = node.args[:1]
                elif node.func.id.endswith("Error"):
                    given = node.args[1:2] + [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            found |= {
                value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)
            }
    return found


def rust_codes() -> set[str]:
    sources = (path.read_text() for path in (ROOT / "src" / "error").glob("*.rs"))
    return {code for source in sources for code in re.findall(r'(?:Error|Self)::\w+[^=\n]*=> "([a-z-]+)",', source)}


def test_every_code_has_a_remedy_and_no_other() -> None:
    from pycrcnn.server import problems

    ours = {code.strip("`"): kind.strip("`") for code, kind, _ in rows(DOCS / "errors.md", "Raised by the package")}
    service = {code.strip("`"): int(status) for code, status, _ in rows(DOCS / "errors.md", "Refusals of a service")}
    assert not ours.keys() & service.keys()
    known = python_codes() | rust_codes() | set(problems._STATUSES) | set(problems._CODES.values()) | {"unprocessable"}
    assert known == ours.keys() | service.keys()
    assert all(remedy for *_, remedy in rows(DOCS / "errors.md", "Raised by the package"))

    classes = exception_classes()
    assert set(classes) == set(ours.values()) - {"KeyboardInterrupt"}
    for kind in classes.values():
        assert ours[kind.default_code] in (kind.__name__, *(base.__name__ for base in kind.__mro__[1:2]))
    for code, kind in errors._CLASSES.items():
        assert ours[code] == kind.__name__
    for code, status in service.items():
        error = errors.PyCrCNNError("no", code)
        assert problems.problem(error).status_code == status
    own = {
        code: problems.problem(classes[name]("no", code)).status_code for code, name in ours.items() if name in classes
    }
    text = (DOCS / "errors.md").read_text()
    exceptions = {
        code: int(status)
        for code, status in re.findall(r"`([a-z-]+)` \((\d{3})\)", text.split("Codes of the first")[1])
    }
    assert {code: status for code, status in own.items() if code in exceptions} == exceptions
    for code, status in own.items():
        if code not in exceptions:
            assert status == (400 if issubclass(classes[ours[code]], errors.FormatError) else 422)
