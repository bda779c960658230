import subprocess
import sys
from pathlib import Path

import pytest

from pycrcnn import cli, datasets


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert {"demo", "bench", "datasets"} <= set(capsys.readouterr().out.split())


def test_help_imports_no_command():
    code = (
        "import sys, pycrcnn.cli\n"
        "try: pycrcnn.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'sklearn', 'pycrcnn.demo', 'pycrcnn.bench'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_unknown_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["fly"])
    assert "invalid choice: 'fly'" in capsys.readouterr().err


def test_datasets_are_listed(capsys):
    assert cli.main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"fashion-mnist: {datasets.find('fashion-mnist')}"
    assert lines[-1].startswith("looked in: ")


def test_missing_datasets_are_listed_as_such(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "search_path", lambda: [tmp_path])
    assert cli.main(["datasets", "list"]) == 0
    assert "mnist: not found" in capsys.readouterr().out.splitlines()


def test_datasets_are_downloaded(capsys, monkeypatch):
    monkeypatch.setattr(datasets, "download", lambda name: Path("/somewhere") / name)
    assert cli.main(["datasets", "download", "mnist"]) == 0
    assert capsys.readouterr().out == f"mnist: {Path('/somewhere/mnist')}\n"


def test_failures_are_one_line(capsys, monkeypatch):
    def fail(name):
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "download", fail)
    assert cli.main(["datasets", "download", "mnist"]) == 1
    assert capsys.readouterr().err == "pycrcnn: no route to host\n"
