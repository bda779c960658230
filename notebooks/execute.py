"""Execute notebooks: ``python notebooks/execute.py [NAME ...]`` writes them anew with their outputs.

The first code cell of a notebook holds its sizes. Its metadata may hold smaller ones under ``reduced``, which take
their place with ``--reduced``: the same point in less time, for the tests. Nothing is written then.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

__all__ = ["NOTEBOOKS", "execute", "strange"]

FOLDER = Path(__file__).parent
NOTEBOOKS = tuple(sorted(path.stem for path in FOLDER.glob("[0-9][0-9]-*.ipynb")))

#: Paths of one machine have no place in an output, and neither has what should not have happened.
_STRANGE = re.compile(r"(?:^|[\s\"'(=])(/(?:work|root|home|tmp|usr|opt|var|mnt|Users)/\S*)|(\w*Warning: )|(Traceback)")


def execute(name: str, reduced: bool = False) -> Any:
    """A notebook after its execution.

    Parameters
    ----------
    name : str
        One of `NOTEBOOKS`.
    reduced : bool
        With the smaller sizes.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell failed.
    """
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    if reduced:
        cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
        cell.source += "\n" + "\n".join(f"{key} = {value!r}" for key, value in cell.metadata.get("reduced", {}).items())
    with TemporaryDirectory() as folder:
        # Sockets in a folder of its own instead of ports that all users of the machine can reach.
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
        client = NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False, config=config)
        client.execute(cwd=FOLDER)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def strange(notebook: Any) -> list[str]:
    """What no output of a notebook should hold: paths of a machine, warnings, tracebacks."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            shown = [output.get("text", ""), *output.get("data", {}).values()]
            texts = [text for text in shown if isinstance(text, str) and not text.startswith("iVBOR")]
            found += [match.group().strip() for text in texts for match in _STRANGE.finditer(text)]
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NOTEBOOKS)}; all where none is given")
    parser.add_argument("--reduced", action="store_true", help="on smaller sizes; nothing is written")
    arguments = parser.parse_args()
    for name in arguments.names or NOTEBOOKS:
        notebook = execute(name, arguments.reduced)
        if found := strange(notebook):
            parser.error(f"{name}: its outputs hold {', '.join(found)}")
        if not arguments.reduced:
            nbformat.write(notebook, FOLDER / f"{name}.ipynb")
        print(name)


if __name__ == "__main__":
    main()
