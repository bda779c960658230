"""The client's side: questions written under a prefix, answers read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn.bulk.layout import Question, answers_in, identity, key_set
from pycrcnn.bulk.prefix import Prefix
from pycrcnn.errors import InvalidValueError, PyCrCNNError
from pycrcnn.program import Answer, Keys

__all__ = ["ask", "read_answers"]

#: Bytes of an answer that are read.
_LIMIT = 1 << 32


def ask(prefix: Prefix, keys: Keys, images: NDArray[Any], name: str, count: int) -> list[Question]:
    """Encrypt images into files of some, and put them under a prefix with the key set.

    Parameters
    ----------
    prefix : Prefix
    keys : Keys
    images : ndarray, shape [n, *input_shape]
    name : str
        Of the files, before a number.
    count : int
        Images of a file, the last one excepted. A multiple of `ClientProgram.capacity` leaves no ciphertext half empty.

    Raises
    ------
    InvalidValueError
        The name cannot stand in a file's name, or no image would be in a file.
    """
    if count < 1:
        raise InvalidValueError(f"{count} images a file: at least 1 is needed")
    data = keys.evaluation.to_bytes()
    own = identity(data)
    starts = range(0, len(images), count)
    questions = [Question(own, f"{name}-{i:06d}") for i in range(len(starts))]
    if not all(question.valid for question in questions):
        raise InvalidValueError(f"{name!r}: letters, digits, '.', '_' and '-' are possible, at most 120")
    prefix.put(key_set(own), data)
    for question, start in zip(questions, starts, strict=True):
        prefix.put(question.path, keys.encrypt(images[start : start + count]).to_bytes())
    return questions


def read_answers(
    prefix: Prefix, keys: Keys, *, raw: bool = False
) -> Iterator[tuple[str, NDArray[np.float64] | PyCrCNNError]]:
    """The answers under a prefix to questions of a key set, by name: decrypted, or what was wrong with one.

    Parameters
    ----------
    prefix : Prefix
    keys : Keys
    raw : bool
        As `Keys.decrypt_raw` gives them, which must not be shown to others.
    """
    decrypt = keys.decrypt_raw if raw else keys.decrypt
    own = identity(keys.evaluation.to_bytes())
    for question in answers_in(prefix.listed()):
        data = prefix.get(question.answer, _LIMIT) if question.keys == own else None
        if data is not None:
            try:
                yield question.name, decrypt(Answer.from_bytes(data))
            except PyCrCNNError as error:
                yield question.name, error
