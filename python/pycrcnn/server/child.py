"""The service as a child process: for programs that bring their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType

from pycrcnn import _native
from pycrcnn.errors import BackendError, ServiceError

__all__ = ["ChildService"]

#: Seconds until it must answer, and those that it may take to end.
_START, _END = 120.0, 30.0
_LIMIT = 1 << 16


class ChildService:
    """``pycrcnn serve`` in a process of its own, on a free port of loopback. It ends when this process does, however
    that ends: it reads from a pipe that only this process holds.

    Parameters
    ----------
    models : Path
        The directory of models; the package's own are not offered.
    state : Path
    settings : str
        More of `pycrcnn.server.Settings`, by name.

    Attributes
    ----------
    url : str
    process : subprocess.Popen

    Raises
    ------
    BackendError
        It does not start; the message has its last words.
    """

    def __init__(self, models: Path, state: Path, **settings: str) -> None:
        options = ["--port", "0", "--models", str(models), "--state", str(state), "--until-stdin-ends"]
        chosen = {"shipped_models": "false", "log_level": "warning", **settings}
        environment = {**os.environ, **{f"PYCRCNN_{name.upper()}": value for name, value in chosen.items()}}
        self.process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-m", "pycrcnn.cli", "serve", *options],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._said: deque[str] = deque(maxlen=5)
        self._known = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._await()
        except BaseException:
            self.stop()
            raise

    def _read(self) -> None:
        """What it says, to its end: a full pipe would stop it."""
        for line in self.process.stderr or ():
            if line.startswith("pycrcnn: http"):
                self.url = line.split()[1]
                self._known.set()
            else:
                self._said.append(line.strip())
        self._known.set()

    def _await(self) -> None:
        deadline = time.monotonic() + _START
        self._known.wait(_START)
        while self.url and self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(ServiceError):
                _native.Http(self.url, retries=0).send("GET", "/readyz", _LIMIT)
                return
            time.sleep(0.02)
        self._reader.join(1.0)
        raise BackendError(f"the service did not start: {' '.join(self._said) or 'it does not answer on loopback'}")

    def stop(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> ChildService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
