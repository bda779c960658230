"""Images, bytes and keys that are not what a program takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from pycrcnn.errors import (
    EncodingError,
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    KeyMismatchError,
    NoiseBudgetError,
    OperandError,
    PyCrCNNError,
    ShapeError,
)
from pycrcnn.program import Answer, EncryptedImages, Keys, Program
from small_programs import (
    COMPILE,
    IMAGES,
    SHAPE,
    small_network,
)


@pytest.mark.parametrize(
    ("images", "error"),
    [
        (IMAGES[0], ShapeError),
        (np.zeros((1, 1, 6, 7)), ShapeError),
        (IMAGES[:0], ShapeError),
        (IMAGES * np.nan, EncodingError),
        (IMAGES * np.inf, EncodingError),
        (IMAGES * 1e60, EncodingError),
        (IMAGES * 1j, InvalidTypeError),
        (np.full((1, *SHAPE), "1"), InvalidTypeError),
        (np.full((1, *SHAPE), None), InvalidTypeError),
        (np.zeros((1, *SHAPE), "datetime64[s]"), InvalidTypeError),
        (np.ma.masked_array(IMAGES, IMAGES > 0.5), InvalidValueError),
        ([[1, 2], [3]], InvalidTypeError),
        (None, InvalidTypeError),
        (EncryptedImages((), 0), InvalidTypeError),
    ],
)
def test_images_that_cannot_be_encrypted(both: tuple[Program, Keys], images: Any, error: type[PyCrCNNError]) -> None:
    with pytest.raises(error):
        both[1].encrypt(images)


def test_other_real_dtypes_are_taken(both: tuple[Program, Keys]) -> None:
    program, keys = both
    for dtype in (bool, np.uint8, np.int16, np.float32, ">f8"):
        images = (IMAGES > 0.5).astype(dtype)[:1, :, ::-1]
        decrypted = keys.decrypt(program.run(keys.encrypt(images), keys.evaluation))
        np.testing.assert_allclose(decrypted, program.predict(np.array(images, float)), rtol=0, atol=0.05)


def damaged(part: bytes) -> list[bytes]:
    flips = [bytes([*part[:at], part[at] ^ 1, *part[at + 1 :]]) for at in (*range(64), 5000, len(part) - 1)]
    return [b"", b"x", part[:-1], part[1:], part[: len(part) // 2], part + b"x", part + part, *flips]


def test_damaged_bytes(both: tuple[Program, Keys]) -> None:
    program, keys = both
    images = keys.encrypt(IMAGES)
    answer = program.run(images, keys.evaluation)
    for part in damaged(images.parts[0]):
        with pytest.raises(FormatError, match=r"(?s)malformed.*(checksum|bytes)"):
            program.run(EncryptedImages((part, *images.parts[1:]), 3), keys.evaluation)
    for part in damaged(answer.parts[0]):
        with pytest.raises(FormatError, match=r"(?s)malformed.*(checksum|bytes)"):
            keys.decrypt(Answer((part, *answer.parts[1:]), 3))


def test_things_that_are_no_ciphertexts(both: tuple[Program, Keys]) -> None:
    program, keys = both
    images = keys.encrypt(IMAGES)
    answer = program.run(images, keys.evaluation)
    for value in (IMAGES, images.parts[0], images.parts, None, answer):
        with pytest.raises(InvalidTypeError, match=r"keys\.encrypt"):
            program.run(value, keys.evaluation)  # type: ignore[arg-type]
    for value in (IMAGES, answer.parts[0], answer.parts, None, images):
        with pytest.raises(InvalidTypeError, match=r"program\.run"):
            keys.decrypt(value)  # type: ignore[arg-type]
    for parts, count, error in [
        (answer.parts, 10**6, FormatError),
        ((), 3, FormatError),
        (answer.parts * 2, 3, FormatError),
        (answer.parts, 0, InvalidValueError),
        (answer.parts, -3, InvalidValueError),
        (answer.parts, 3.0, InvalidTypeError),
        (["x"] * len(answer.parts), 3, InvalidTypeError),
    ]:
        with pytest.raises(error):
            keys.decrypt(Answer(parts, count))  # type: ignore[arg-type]
        with pytest.raises(error):
            program.run(EncryptedImages(parts, count), keys.evaluation)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", COMPILE)
def test_programs_and_keys_of_others(layout: str) -> None:
    program, other = COMPILE[layout](), COMPILE[layout](small_network()[:2])
    keys, other_keys = program.keygen(), other.keygen()
    # The same parameters with another network, or other parameters.
    with pytest.raises((KeyMismatchError, FormatError), match="other encryption parameters|another program"):
        keys.decrypt(other.run(other_keys.encrypt(IMAGES[:1]), other_keys.evaluation))
    # An answer, taken for images.
    answer = program.run(keys.encrypt(IMAGES[:1]), keys.evaluation)
    with pytest.raises((OperandError, ShapeError), match="differ|ciphertext"):
        program.run(EncryptedImages(answer.parts, 1), keys.evaluation)
    # The right parameters, but another key.
    with pytest.raises(NoiseBudgetError):
        program.keygen().decrypt(answer)
    # A key, images and answers of the other layout.
    strange = COMPILE["per-value" if layout == "batched" else "batched"]()
    strange_keys = strange.keygen()
    for mixed in (
        lambda: dataclasses.replace(keys, secret=strange_keys.secret).encrypt(IMAGES[:1]),
        lambda: dataclasses.replace(keys, secret=strange_keys.secret).decrypt(answer),
        lambda: program.run(strange_keys.encrypt(IMAGES[:1]), keys.evaluation),
        lambda: keys.decrypt(strange.run(strange_keys.encrypt(IMAGES[:1]), strange_keys.evaluation)),
    ):
        with pytest.raises(KeyMismatchError, match="other encryption parameters|another program"):
            mixed()
    with pytest.raises(InvalidValueError, match="'clear', 'simulate' or 'encrypted'"):
        program.predict(IMAGES, mode="simulated")  # type: ignore[arg-type]
