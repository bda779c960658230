"""Bytes under names, on disk: written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Blobs", "DiskBlobs", "full_disk_refused", "write_durably"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Blobs(Protocol):
    """Where bytes are kept under names. A name that is there holds whole bytes, also after a crash."""

    def put(self, name: str, data: bytes) -> None:
        """Keep bytes, in place of those that were there."""

    def get(self, name: str) -> bytes | None:
        """The bytes, or None."""

    def delete(self, name: str) -> None:
        """Forget them, if they are there."""

    def names(self) -> Iterator[str]:
        """All names."""


@contextlib.contextmanager
def full_disk_refused() -> Iterator[None]:
    """Turns a full disk into a refusal that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise Refusal("insufficient-storage", "the service's disk is full; come back later", 60.0) from None


def write_durably(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file so that after a crash there is the old one or the new one.

    Parameters
    ----------
    path : Path
    data : bytes
    sync : bool
        Whether this holds after a power failure too, which costs milliseconds, or only after a crash of the process.

    Raises
    ------
    Refusal
        ``insufficient-storage``: the disk is full; the old file is still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with full_disk_refused():
        try:
            with temporary.open("wb") as file:
                file.write(data)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
            if not sync:
                return
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        finally:
            temporary.unlink(missing_ok=True)


class DiskBlobs:
    """Files of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in directory.glob(".*"):  # of a write that was cut off
            leftover.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name")
        return self._directory / name

    def put(self, name: str, data: bytes) -> None:
        """Keep bytes, in place of those that were there."""
        write_durably(self._path(name), data)

    def get(self, name: str) -> bytes | None:
        """The bytes, or None."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Forget them, if they are there."""
        self._path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """All names."""
        return (path.name for path in self._directory.iterdir() if not path.name.startswith("."))
