"""A job of a service: followed until it is done, through lost connections, and cancelled when nobody waits any more."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from typing import Any

from pycrcnn import _native
from pycrcnn.errors import FormatError, PyCrCNNError, ServiceError
from pycrcnn.service.description import read_json

__all__ = ["RemoteJob"]

_STATE_LIMIT = 1 << 16
#: Seconds between two looks: a part of the time that the job has taken, within these bounds.
_SOONEST, _LATEST, _PART = 0.05, 2.0, 0.05
_UNFINISHED = ("queued", "running")


class RemoteJob:
    """A job under the address that the service gave it.

    Parameters
    ----------
    http : _native.Http
    location : str or None
        The header ``Location`` of the answer that began it.
    patience : float
        Seconds for which the service may be out of reach: it takes its jobs up again when it has been restarted.

    Raises
    ------
    FormatError
        The service does not say where the job is.
    """

    def __init__(self, http: _native.Http, location: str | None, patience: float) -> None:
        if not re.fullmatch("/v1/jobs/[0-9a-f]{32}", location or ""):
            raise FormatError("the service began a job and does not say where it is")
        self._http, self._path, self._patience = http, str(location), patience

    def wait(self, limit: int, progress: Callable[[float], None]) -> dict[str, Any]:
        """The reply with the result, once there is one.

        Whatever ends the waiting otherwise, such as Ctrl-C, cancels the job.

        Parameters
        ----------
        limit : int
            Bytes that the result may have.
        progress : callable
            Is told which part of the work, from 0 to 1, is done. It may raise.

        Raises
        ------
        ServiceError
            The service is out of reach for longer than the patience, or the job was cancelled.
        PyCrCNNError
            The job failed; with the code of what made it fail.
        """
        begun = time.monotonic()
        try:
            while True:
                state = self._state()
                part = state.get("progress")
                progress(min(1.0, max(0.0, float(part))) if isinstance(part, int | float) else 0.0)
                if state.get("status") not in _UNFINISHED:
                    return self._reached("GET", f"{self._path}/result", limit)
                time.sleep(min(_LATEST, max(_SOONEST, _PART * (time.monotonic() - begun))))
        except PyCrCNNError:
            raise
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Ask the service to stop, if it can be reached."""
        with contextlib.suppress(PyCrCNNError):
            self._http.send("DELETE", self._path, _STATE_LIMIT)

    def _state(self) -> dict[str, Any]:
        return read_json(self._reached("GET", self._path, _STATE_LIMIT)["body"])

    def _reached(self, method: str, path: str, limit: int) -> dict[str, Any]:
        """A reply, from a service that may be out of reach for a while."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._http.send(method, path, limit)
            except ServiceError as error:
                if error.status != 0 or time.monotonic() > deadline:
                    raise
                time.sleep(_LATEST)
