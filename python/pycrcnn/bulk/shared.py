"""Prefixes that the nodes of a cluster read and write themselves.

A node gets their addresses, and opens them with credentials of its own. Buckets are the same from everywhere; a folder
may be missing on a node, or be another one under the same path, such as a mount point without its mount. So a node
writes only where it sees the mark of the run, and what it does not find the run looks for itself.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from pycrcnn.bulk.evaluate import Done, Places
from pycrcnn.bulk.layout import Question
from pycrcnn.bulk.prefix import Prefix, open_prefix
from pycrcnn.errors import PyCrCNNError
from pycrcnn.program import EncryptedImages
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["UNSEEN", "SharedPlaces", "not_seen"]

#: The code of a node that does not find a question.
UNSEEN = "unseen"
_ADVICE = "every node needs it under the same path; mount it there, or leave --shared out"


@dataclass(frozen=True)
class SharedPlaces:
    """Places as they travel to a node.

    Attributes
    ----------
    asked, answers : str
        Addresses of the prefixes.
    limit : int
        Bytes of a question.
    mark : str
        Of the prefix of the answers, as the run sees it.
    """

    asked: str
    answers: str
    limit: int
    mark: str

    @classmethod
    def of(cls, places: Places) -> SharedPlaces:
        """Those of a run that holds the prefix of the answers."""
        return cls(places.asked.url, places.answers.url, places.limit, places.answers.mark())

    def answer(self, question: Question, compute: Callable[[EncryptedImages], bytes]) -> Done:
        """On a node: see `Places.answer`.

        Raises
        ------
        Refusal
            ``unavailable``: the node does not reach the prefixes. `UNSEEN`: it does not find the question.
        """
        places = self._opened()
        self._held(places.answers)

        def computed(images: EncryptedImages) -> bytes:
            answer = compute(images)
            self._held(places.answers)  # still
            return answer

        try:
            return places.answer(question, EncryptedImages.read, computed)
        except Refusal as error:
            if error.code != "not-found":
                raise
            raise Refusal(UNSEEN, f"the node {platform.node()} does not see {question.path}") from error

    def _opened(self) -> Places:
        try:
            return _places(self.asked, self.answers, self.limit)
        except PyCrCNNError as error:
            raise Refusal("unavailable", f"the node {platform.node()} cannot open the prefixes: {error}") from error

    def _held(self, answers: Prefix) -> None:
        if answers.mark() != self.mark:
            raise Refusal("unavailable", f"the node {platform.node()} does not see {self.answers}: {_ADVICE}")


def not_seen(places: Places, question: Question, why: str) -> Refusal:
    """What it means that a node does not find a question, by whether the run does."""
    if places.asked.get(question.path, places.limit) is None:
        return Refusal("not-found", "the file has gone since the run began")
    return Refusal("unavailable", f"{why} under {places.asked.url}: {_ADVICE}")


@lru_cache(maxsize=1)
def _places(asked: str, answers: str, limit: int) -> Places:
    """Prefixes stay open from one question to the next."""
    return Places(open_prefix(asked), open_prefix(answers), limit)
