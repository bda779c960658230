"""What a server's reply tells, and what a user may show of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pycrcnn.errors import (
    InvalidTypeError,
    InvalidValueError,
    UnsupportedError,
)
from pycrcnn.program import ClientProgram, FractionalParameters, Program
from small_programs import (
    COMPILE,
    IMAGES,
    SHAPE,
    batched,
    per_value,
    small_network,
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


def test_a_chosen_plaintext_modulus_hides_digits_and_noise_alike(tmp_path: Path) -> None:
    program = per_value(calibration=IMAGES)
    plan = program.explain()
    assert f"digits hidden  by {plan.mask_bits:.1f} bits" in str(plan)
    keys = program.keygen()
    answer = program.run(keys.encrypt(IMAGES), keys.evaluation)
    # A budget of b bits hides noise by b - 4; two are kept for other images and keys.
    assert plan.mask_bits >= 8
    assert abs(keys.noise_budget(answer) - 6 - plan.mask_bits) <= 5
    assert program.error < 1e-6
    program.save(tmp_path / "program")
    assert Program.load(tmp_path / "program").explain().mask_bits == plan.mask_bits
    # More room hides more, too little hides nothing, and answers are the same.
    barely = FractionalParameters(p=5 * program.native.largest_digit())
    small = per_value(calibration=IMAGES, parameters=barely)
    larger = per_value(calibration=IMAGES, parameters=FractionalParameters(m=8192, p=None))
    assert larger.explain().mask_bits > plan.mask_bits + 8
    assert small.explain().mask_bits == 0.0
    for other in (larger, small):
        assert np.array_equal(other.predict(IMAGES, mode="simulate"), program.predict(IMAGES, mode="simulate"))


def test_no_plaintext_modulus_has_room() -> None:
    with pytest.raises(UnsupportedError, match="no room at m = 1024; choose a larger m"):
        per_value(parameters=FractionalParameters(m=1024, p=None))
    # Where nobody asks for one, the paper's is taken, and the error says whether that does.
    numbers = [{"type": "linear", "weight": np.full((1, 36), 2.0**60 + 2.0**30)}, {"type": "square"}]
    program = per_value([{"type": "flatten"}, *numbers, {"type": "square"}, {"type": "square"}])
    assert program.explain().plain_moduli == (100_000_007,)
    assert program.error == np.inf


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


def test_what_hides_a_whole_batch_is_as_small_as_it_is_said_to_be() -> None:
    """Also where the modulus is dropped under ciphertexts of five polynomials, whose rounding is uneven over slots."""
    rng = np.random.default_rng(3)
    more = [{"type": "square"}, {"type": "linear", "weight": rng.normal(size=(2, 3)), "bias": rng.normal(size=2)}]
    program = batched([*small_network(), *more])
    keys = program.keygen()
    images = rng.uniform(0, 1, (program.capacity, *SHAPE))
    answer = program.run(keys.encrypt(images), keys.evaluation)
    shown = keys.decrypt_raw(answer)
    sizes = set()
    for flooding in 2.0 ** np.arange(4, -13, -1):
        hidden = program.rerandomize(answer, keys.evaluation, flooding)
        added = keys.decrypt_raw(hidden) - shown
        assert np.abs(added).max() <= 6 * flooding * program.error
        assert np.std(added) == pytest.approx(flooding * program.error, rel=0.1)
        sizes.add(hidden.nbytes)
    assert len(sizes) == 2  # little flooding leaves no room for the rounding
