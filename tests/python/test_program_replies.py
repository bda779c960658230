"""What a server's reply tells, and what a user may show of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pycrcnn.errors import (
    InvalidTypeError,
    InvalidValueError,
)
from pycrcnn.program import ClientProgram
from small_programs import (
    COMPILE,
    IMAGES,
    per_value,
)


@pytest.mark.parametrize("layout", COMPILE)
def test_replies_are_rerandomised_and_keep_their_answers(layout: str) -> None:
    program = COMPILE[layout]()
    keys = program.keygen()
    answer = program.run(keys.encrypt(IMAGES), keys.evaluation)
    hidden = program.rerandomize(answer, keys.evaluation)
    again = program.rerandomize(answer, keys.evaluation)
    assert all(a != b for a, b in zip(hidden.parts, again.parts, strict=True))
    assert hidden.nbytes <= answer.nbytes
    clear = program.predict(IMAGES)
    if layout in ("exact", "per-value"):
        assert np.array_equal(keys.decrypt_raw(hidden), keys.decrypt_raw(answer))
        assert layout == "exact" or hidden.nbytes < answer.nbytes
        with pytest.raises(InvalidValueError, match="all the noise budget"):
            program.rerandomize(answer, keys.evaluation, 2.0)
    else:
        assert np.abs(keys.decrypt_raw(hidden) - clear).max() <= program.flooded_error()
        deviation = np.std(keys.decrypt_raw(hidden) - clear)
        assert program.error / 4 < deviation < 4 * program.error  # nine values
        assert (
            np.abs(keys.decrypt_raw(program.rerandomize(answer, keys.evaluation, 0.0)) - clear).max() <= program.error
        )
        for flooding in (1e9, -1.0, float("nan")):
            with pytest.raises(InvalidValueError, match="ask for less"):
                program.rerandomize(answer, keys.evaluation, flooding)
    with pytest.raises(InvalidTypeError, match=r"program\.run"):
        program.rerandomize(keys.encrypt(IMAGES), keys.evaluation)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"keys\.evaluation"):
        program.rerandomize(answer, keys.public)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["packed", "batched"])
def test_answers_are_rounded_unless_the_raw_ones_are_asked_for(layout: str, tmp_path: Path) -> None:
    program = COMPILE[layout]()
    program.client.save(tmp_path / "client")
    keys = ClientProgram.load(tmp_path / "client").keygen()
    answer = program.run(keys.encrypt(IMAGES), keys.evaluation)
    rounded, raw = keys.decrypt(answer), keys.decrypt_raw(answer)
    grid = 2.0 ** np.floor(np.log2(program.error))
    assert np.array_equal(rounded, np.round(raw / grid) * grid)
    assert not np.array_equal(rounded, raw)
    assert np.abs(rounded - program.predict(IMAGES)).max() <= program.error + grid / 2
    # Answers that are exact are left as they are.
    exact = per_value()
    keys = exact.keygen()
    answer = exact.run(keys.encrypt(IMAGES[:1]))
    assert np.array_equal(keys.decrypt(answer), keys.decrypt_raw(answer))
