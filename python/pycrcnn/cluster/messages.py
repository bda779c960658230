"""What a server asks of a replica, and the reply.

A question is a small dictionary of strings and numbers beside the ciphertexts, which are bytes and travel raw: Ray
pickles no ``bytes``. A reply is bytes in the package's own format. So nothing that came from a client is unpickled, and
an error comes as its code and message.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TypedDict

from pycrcnn._storage import pack, unpack
from pycrcnn.errors import CancelledError, PyCrCNNError, ServiceError, of_service
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["LOST", "STRANGE", "Question", "Reply", "release"]

#: Codes between a server and its replicas: an object that was referred to is gone; another version asks.
LOST, STRANGE = "lost-reference", "another-version"
_KIND = "reply"


def release() -> str:
    """The package's version: server and replicas must have the same."""
    return version("pycrcnn")


class Question(TypedDict):
    """What is to be computed; the ciphertexts stand beside it."""

    version: str
    program: str
    keys: str
    images: int
    #: whether it waits for a replica that has the keys rather than go to an idle one
    patient: bool


@dataclass(frozen=True)
class Reply:
    """What came of a question.

    Attributes
    ----------
    answer : bytes
        One part of an answer; empty where there was an error.
    error : tuple of str and str, optional
        Code and message.
    retry_after : float, optional
    hit : bool
        Whether the replica had the keys already.
    fetch, prepare, evaluate : float
        Seconds until keys and program were there and ready, and of the evaluation.
    """

    answer: bytes = b""
    error: tuple[str, str] | None = None
    retry_after: float | None = None
    hit: bool = True
    fetch: float = 0.0
    prepare: float = 0.0
    evaluate: float = 0.0

    def to_bytes(self) -> bytes:
        """For the way back."""
        fields = ("error", "retry_after", "hit", "fetch", "prepare", "evaluate")
        return pack(_KIND, {name: getattr(self, name) for name in fields}, self.answer)

    @classmethod
    def from_bytes(cls, data: bytes) -> Reply:
        """What :meth:`to_bytes` wrote.

        Raises
        ------
        FormatError
            It is something else.
        """
        fields, answer = unpack(_KIND, data)
        error = fields.pop("error")
        return cls(answer, None if error is None else (error[0], error[1]), **fields)

    def failure(self) -> PyCrCNNError | None:
        """The exception that the error stands for, of the class that it had; None where there was none."""
        if self.error is None:
            return None
        code, message = self.error
        if code == CancelledError.default_code:
            return CancelledError(message)
        known = of_service(0, code, message)
        return Refusal(code, message, self.retry_after) if isinstance(known, ServiceError) else known
