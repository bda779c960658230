"""A real S3 server on loopback: the binary of the crate s3s-fs, built where it is not there yet."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["S3Server", "s3_server"]

_TOOLS = Path(__file__).parents[2] / "target" / "tools"
_VERSION = "0.14.1"


@dataclass(frozen=True)
class S3Server:
    """One bucket, and the environment that leads to it."""

    bucket: str
    environment: dict[str, str]


def _binary() -> Path:
    path = _TOOLS / "bin" / "s3s-fs"
    if not path.exists():
        command = ["cargo", "install", f"s3s-fs@{_VERSION}", "--locked", "--features", "binary", "--root", str(_TOOLS)]
        subprocess.run([*command, "--target-dir", str(_TOOLS / "target")], check=True)
    return path


@contextlib.contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    """Starts the server on an empty bucket."""
    bucket, key, secret = "payloads", "AKEXAMPLE", "a-secret-of-the-environment"
    (directory / bucket).mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port), "--access-key", key, "--secret-key", secret]
    process = subprocess.Popen(
        [_binary(), *options, directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ}
    )
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        environment = {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }
        yield S3Server(bucket, environment)
    finally:
        process.kill()
        process.wait(60)
