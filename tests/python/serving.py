"""The service as a process of its own, on a socket."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

__all__ = ["Served", "eventually"]


def eventually(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What a condition gives, once it is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


class Served:
    """``pycrcnn serve`` on a free port of loopback, until it is stopped or killed."""

    def __init__(
        self,
        *options: str,
        before: tuple[str, ...] = (),
        command: tuple[str, ...] = ("-m", "pycrcnn.cli", "serve", "--port", "0"),
        verify: Any = True,
        ready: str = "/readyz",
        **environment: str,
    ) -> None:
        environment = {**os.environ, "PYCRCNN_SHIPPED_MODELS": "false", **environment}
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen([*before, sys.executable, *command, *options], stderr=self.log, env=environment)
        self.url = self._url()
        self.host, port = self.url.split("//")[1].split(":")
        self.port = int(port)
        self.http: Any = httpx2.Client(base_url=self.url, timeout=60, verify=verify)
        self._ready(ready)

    def errors(self) -> str:
        """What it has logged."""
        self.log.seek(0)
        return self.log.read().decode()

    def _url(self) -> str:
        for _ in range(3000):
            for line in self.errors().splitlines():
                if line.startswith("pycrcnn: http"):
                    return line.split()[1]
            assert self.process.poll() is None, self.errors()
            time.sleep(0.02)
        raise AssertionError(self.errors())

    def _ready(self, path: str) -> None:
        for _ in range(3000):
            with contextlib.suppress(httpx2.TransportError):
                if self.http.get(path).status_code == 200:
                    return
            assert self.process.poll() is None, self.errors()
            time.sleep(0.02)
        raise AssertionError(self.errors())

    def resident_mb(self) -> float:
        """Resident memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def peak_mb(self) -> float:
        """The most that it has had resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6

    def kill(self) -> None:
        """As a crash."""
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        """As an operator does; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.http.close()
        return self.process.wait(60)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.log.close()
