"""The notebooks run, on sizes that keep their point, and what is stored in them looks as it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(name: str) -> None:
    command = [sys.executable, FOLDER / "execute.py", "--reduced", name]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]


@pytest.mark.parametrize("name", NAMES)
def test_stored_outputs(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < 300_000
    notebook: Any = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "?" in notebook.cells[0].source
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any("image/png" in output.get("data", {}) for output in code[-1].outputs)
    sys.path.insert(0, str(FOLDER))
    try:
        from execute import strange
    finally:
        sys.path.remove(str(FOLDER))
    assert strange(notebook) == []
    assert [output.output_type for cell in code for output in cell.outputs if output.output_type == "error"] == []


def test_all_are_there() -> None:
    assert [name[:2] for name in NAMES] == [f"{number:02}" for number in range(len(NAMES))]
