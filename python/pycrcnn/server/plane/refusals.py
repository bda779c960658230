"""What the service refuses, with a stable code."""

from __future__ import annotations

from pycrcnn.errors import PyCrCNNError

__all__ = ["Refusal"]


class Refusal(PyCrCNNError):  # noqa: N818 - it is no fault of the service
    """A request that is understood and not granted.

    Parameters
    ----------
    code : str
        What stands in the answer: ``"not-found"``, ``"conflict"``, ``"not-ready"``, ``"payload-too-large"``,
        ``"malformed"``, ``"unprocessable"``, ``"too-many-requests"``, ``"unavailable"``, ``"insufficient-storage"``...
    message : str
        What was wrong and what to do; it holds nothing of the user's data.
    retry_after : float, optional
        Seconds after which another attempt may succeed.
    """

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, code)
        self.retry_after = retry_after
