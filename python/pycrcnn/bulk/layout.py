"""Names under a prefix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["REPORT", "Question", "answers_in", "identity", "key_set", "outstanding", "questions_in"]

REPORT = "report.json"
_ID, _NAME = r"[0-9a-f]{64}", r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_QUESTION = re.compile(rf"({_ID})/({_NAME})\.images")
_ANSWER = re.compile(rf"({_ID})/({_NAME})\.answer")


@dataclass(frozen=True, order=True)
class Question:
    """Encrypted images under a prefix: the key set that they belong to, and their name."""

    keys: str
    name: str

    @property
    def valid(self) -> bool:
        """Whether it would be found under its path."""
        return _QUESTION.fullmatch(self.path) is not None

    @property
    def path(self) -> str:
        """Of the encrypted images, under the input's prefix."""
        return f"{self.keys}/{self.name}.images"

    @property
    def answer(self) -> str:
        """Of the answer, under the output's prefix."""
        return f"{self.keys}/{self.name}.answer"


def key_set(keys: str) -> str:
    """The name of a key set."""
    return f"{keys}.keys"


def identity(data: bytes) -> str:
    """What a key set is called: BLAKE2b-256 of its bytes.

    Examples
    --------
    >>> identity(b"")[:8]
    '0e5751c0'
    """
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _matching(pattern: re.Pattern[str], names: Mapping[str, float]) -> list[Question]:
    found = (pattern.fullmatch(name) for name in names)
    return sorted(Question(*match.groups()) for match in found if match)


def questions_in(names: Mapping[str, float]) -> list[Question]:
    """The questions among names, those under one key set together.

    Examples
    --------
    >>> [question.name for question in questions_in({f"{'0' * 64}/b.images": 0.0, "notes.txt": 0.0})]
    ['b']
    """
    return _matching(_QUESTION, names)


def answers_in(names: Mapping[str, float]) -> list[Question]:
    """The questions to which there are answers among names."""
    return _matching(_ANSWER, names)


def outstanding(questions: list[Question], asked: Mapping[str, float], answered: Mapping[str, float]) -> list[Question]:
    """Questions without an answer, or with one that is older than the question.

    Parameters
    ----------
    questions : list of Question
    asked, answered : mapping of str to float
        Names under the prefixes of input and output, and when each was written, in seconds since 1970.
    """
    never = float("-inf")
    return [question for question in questions if answered.get(question.answer, never) < asked[question.path]]
