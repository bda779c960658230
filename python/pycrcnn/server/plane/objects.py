"""Bytes under names in an object store. Credentials come from the environment (``AWS_*``) and from nowhere else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from pycrcnn.errors import InvalidValueError, MissingPackageError
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["ObjectBlobs", "bucket_of", "open_store"]

_LOGGER = logging.getLogger("pycrcnn.server")


def _obstore() -> Any:
    try:
        import obstore
        import obstore.store
    except ImportError as error:
        raise MissingPackageError("an object store needs obstore: pip install 'pycrcnn[objects]'") from error
    return obstore


def bucket_of(url: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise InvalidValueError(f"{url!r}: s3://bucket or s3://bucket/prefix is needed")
    return parts.netloc, parts.path.strip("/")


def open_store(url: str) -> Any:
    """A bucket, or a part of one."""
    bucket, prefix = bucket_of(url)
    retries = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
    return _obstore().store.S3Store(bucket, prefix=prefix or None, retry_config=retries)


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Turns failures of the store into a refusal, all but the absence of an object."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, BaseError) as error:
        _LOGGER.error("the object store fails: %s", type(error).__name__)
        raise Refusal("unavailable", "the object store does not answer; come back later", 5.0) from error


class ObjectBlobs:
    """Objects of one bucket."""

    def __init__(self, url: str) -> None:
        self._store = open_store(url)

    def put(self, name: str, data: bytes) -> None:
        """Keep bytes, in place of those that were there."""
        with _answering():
            self._store.put(name, data)

    def get(self, name: str, limit: int | None = None) -> bytes | None:
        """The bytes, or None."""
        try:
            with _answering():
                found = self._store.get(name)
                if limit is not None and found.meta["size"] > limit:
                    raise Refusal("payload-too-large", f"the object has more than {limit} bytes")
                return bytes(found.bytes())
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Forget them, if they are there."""
        with contextlib.suppress(FileNotFoundError), _answering():
            self._store.delete(name)

    def names(self) -> Iterator[str]:
        """All names."""
        return (name for name, _ in self.listed())

    def listed(self) -> Iterator[tuple[str, float]]:
        """All names, and when each was written, in seconds since 1970."""
        with _answering():
            for page in self._store.list():
                yield from ((found["path"], found["last_modified"].timestamp()) for found in page)
