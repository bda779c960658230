"""Files of a folder or objects of a bucket, under names with slashes."""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from pycrcnn.errors import FormatError, InvalidValueError
from pycrcnn.server.plane.blobs import write_durably
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Prefix", "open_prefix"]

_T = TypeVar("_T")
_LOCK, _MARK_BYTES = ".batch.lock", 64
#: What `write_durably` leaves of a write that was cut off.
_CUT_OFF = re.compile(r"\..+\.[0-9a-f]{8}")


class Prefix(Protocol):
    """Where files lie. Calls come from several threads.

    Attributes
    ----------
    url : str
        The address that `open_prefix` takes, the same from every directory.
    """

    url: str

    def listed(self) -> dict[str, float]:
        """All names, and when each was written, in seconds since 1970."""

    def get(self, name: str, limit: int) -> bytes | None:
        """The bytes, or None; see :meth:`read`."""

    def read(self, name: str, limit: int, make: Callable[[BinaryIO], _T]) -> _T | None:
        """What is made of a file that is open at its beginning, or None where there is none.

        Raises
        ------
        FormatError, Refusal
            There are more than `limit`. ``unavailable``: they cannot be read at the moment.
        """

    def put(self, name: str, data: bytes) -> None:
        """Write bytes: all or nothing."""

    def held(self) -> AbstractContextManager[None]:
        """Where this run alone writes, as far as that can be made sure of."""

    def mark(self) -> str:
        """What tells the place that a run holds from others that have the same address on other machines."""


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns failures of a disk into a refusal, all but the absence of a file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Refusal("unavailable", f"{name}: {error.strerror or error}", 5.0) from error


class _Folder:
    """Files of a directory and of those in it. Symbolic links and what begins with a dot are not seen."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self.url = str(self._directory)

    def listed(self) -> dict[str, float]:
        found = {}
        with _readable(str(self._directory)):
            for folder, folders, files in os.walk(self._directory):
                folders[:] = [name for name in folders if not name.startswith(".")]
                for name in files:
                    path = Path(folder, name)
                    if not name.startswith(".") and not path.is_symlink():
                        found[path.relative_to(self._directory).as_posix()] = path.stat().st_mtime
        return found

    def get(self, name: str, limit: int) -> bytes | None:
        return self.read(name, limit, lambda file: file.read())

    def read(self, name: str, limit: int, make: Callable[[BinaryIO], _T]) -> _T | None:
        path = self._directory / name
        try:
            with _readable(name), path.open("rb") as file:
                if os.fstat(file.fileno()).st_size > limit:
                    raise FormatError(f"{name} has more than {limit} bytes", "too-large")
                return make(file)
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        path = self._directory / name
        with _readable(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, data)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A lock that ends with the process; what an earlier run left half written is removed under it."""
        import fcntl  # not on every system that a client may have

        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refusal("conflict", f"another run writes to {self._directory}; wait for it, or stop it") from None
            lock.truncate(0)
            lock.write(secrets.token_hex(8))
            lock.flush()
            os.fsync(lock.fileno())
            for path in self._directory.rglob(".*"):
                if _CUT_OFF.fullmatch(path.name):
                    path.unlink(missing_ok=True)
            yield

    def mark(self) -> str:
        """What the run that holds it has written into its lock."""
        return (self.get(_LOCK, _MARK_BYTES) or b"").decode(errors="replace")


class _Bucket:
    """Objects under a prefix of a bucket. Each appears whole or not at all."""

    def __init__(self, url: str) -> None:
        from pycrcnn.server.plane.objects import ObjectBlobs  # obstore is optional

        self._objects, self.url = ObjectBlobs(url), url

    def listed(self) -> dict[str, float]:
        return dict(self._objects.listed())

    def get(self, name: str, limit: int) -> bytes | None:
        return self._objects.get(name, limit)

    def read(self, name: str, limit: int, make: Callable[[BinaryIO], _T]) -> _T | None:
        data = self.get(name, limit)
        return None if data is None else make(io.BytesIO(data))

    def put(self, name: str, data: bytes) -> None:
        self._objects.put(name, data)

    def held(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()  # two runs at once cost work, and answers are whole all the same

    def mark(self) -> str:
        return ""  # a bucket is the same from everywhere


def open_prefix(url: str) -> Prefix:
    """A local folder, or ``s3://bucket/prefix``.

    Raises
    ------
    InvalidValueError
        Another kind of address.
    MissingPackageError
        An object store needs ``pip install 'pycrcnn[objects]'``.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        return _Folder(Path(url))
    if scheme != "s3":
        raise InvalidValueError(f"{url!r}: a folder or s3://bucket/prefix is needed")
    return _Bucket(url)
