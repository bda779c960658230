"""Bytes under names in an object store. Credentials come from the environment (``AWS_*``) and from nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pycrcnn.errors import InvalidValueError, MissingPackageError
from pycrcnn.server.plane.refusals import Refusal

__all__ = ["ObjectBlobs", "bucket_of", "open_store"]


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
    return _obstore().store.S3Store(bucket, prefix=prefix or None)


class ObjectBlobs:
    """Objects of one bucket."""

    def __init__(self, url: str) -> None:
        self._store = open_store(url)

    def put(self, name: str, data: bytes) -> None:
        """Keep bytes, in place of those that were there."""
        try:
            self._store.put(name, data)
        except OSError as error:
            raise _unreachable(error) from error

    def get(self, name: str, limit: int | None = None) -> bytes | None:
        """The bytes, or None."""
        try:
            found = self._store.get(name)
            if limit is not None and found.meta["size"] > limit:
                raise Refusal(
                    "payload-too-large", f"the object has {found.meta['size']} bytes; at most {limit} are taken"
                )
            return bytes(found.bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreachable(error) from error

    def delete(self, name: str) -> None:
        """Forget them, if they are there."""
        try:
            self._store.delete(name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unreachable(error) from error

    def names(self) -> Iterator[str]:
        """All names."""
        for page in self._store.list():
            for found in page:
                yield found["path"]


def _unreachable(error: OSError) -> Refusal:
    return Refusal("unavailable", f"the object store does not answer ({type(error).__name__}); come back later", 5.0)
