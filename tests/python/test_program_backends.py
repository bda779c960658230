"""Every backend that the machine has gives the same answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from small_programs import (
    COMPILE,
    IMAGES,
)

CHILD = """
import json, pathlib, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from pycrcnn.program import EncryptedImages, Keys
from small_programs import COMPILE, IMAGES
for layout, compile in COMPILE.items():
    directory = pathlib.Path(sys.argv[2])
    program = compile()
    keys = Keys.load(program.client, directory / layout)
    answer = keys.decrypt(program.run(EncryptedImages.load(directory / f"{layout}.images"), keys.evaluation))
    own = keys.decrypt(program.run(keys.encrypt(IMAGES), keys.evaluation))
    assert np.abs(own - answer).max() < 0.05
    print(json.dumps(answer.tolist()))
"""


def run_child(backend: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYCRCNN_BACKEND": backend}
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_every_backend_gives_the_same_answers(tmp_path: Path) -> None:
    expected = {}
    for layout, make in COMPILE.items():
        program = make()
        keys = program.keygen()
        images = keys.encrypt(IMAGES)
        keys.save(tmp_path / layout)
        images.save(tmp_path / f"{layout}.images")
        expected[layout] = keys.decrypt(program.run(images, keys.evaluation))
    for backend in ("portable", "avx2", "avx512"):
        child = run_child(backend, str(tmp_path))
        if "is not available" in child.stderr and backend != "portable":
            continue
        assert child.returncode == 0, child.stderr
        for layout, line in zip(expected, child.stdout.splitlines(), strict=True):
            assert np.array_equal(json.loads(line), expected[layout]), (backend, layout)


def test_an_unknown_backend_is_an_error_that_lists_the_choices(tmp_path: Path) -> None:
    child = run_child("neon", str(tmp_path))
    assert child.returncode == 1
    last = child.stderr.strip().splitlines()[-1]
    assert last.startswith('pycrcnn.errors.InvalidValueError: backend "neon" is not available: choose one of [')
    assert "portable" in last
