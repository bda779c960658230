"""The README's Python runs, top to bottom, as a reader would type it."""

import re
from pathlib import Path

import pytest

from pycrcnn.errors import SecurityWarning

README = Path(__file__).parents[2] / "README.md"


def test_python_blocks_run(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    with pytest.warns(SecurityWarning, match="m = 4096"):  # the page says so
        exec(compile("\n".join(blocks), str(README), "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out == "Ankle boot\n" * 2
