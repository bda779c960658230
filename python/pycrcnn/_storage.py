"""The package's own file format: a line of JSON that says what it is, then the object's bytes.

``b"PYCRCNN" + version (1 byte) + length of the header (4 bytes, little endian) + header (JSON) + payload``

The payload of a key or ciphertext is Microsoft SEAL's format. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pycrcnn.errors import FormatError

__all__ = ["head", "is_packed", "pack", "read_file", "read_header", "unpack", "write_file"]

_MAGIC = b"PYCRCNN"
_VERSION = 1
_PREFIX = len(_MAGIC) + 5
_MAX_HEADER = 1 << 16
_MAX_FILE = 1 << 32


def head(kind: str, header: Mapping[str, Any]) -> bytes:
    """What stands before the payload of an object of a kind."""
    text = json.dumps({"kind": kind, **header}, separators=(",", ":")).encode()
    return _MAGIC + bytes([_VERSION]) + len(text).to_bytes(4, "little") + text


def pack(kind: str, header: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """Bytes of an object of a kind.

    Examples
    --------
    >>> unpack("note", pack("note", {"text": "hello"}, b"..."))
    ({'text': 'hello'}, b'...')
    """
    return head(kind, header) + payload


def is_packed(data: bytes) -> bool:
    """Whether bytes start as this format does."""
    return data.startswith(_MAGIC)


def unpack(kind: str, data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and payload of an object of a kind.

    Raises
    ------
    FormatError
        Where the bytes are something else, damaged, or of a newer version.
    """
    file = io.BytesIO(data)
    header = read_header(kind, file, len(data))
    return header, data[file.tell() :]


def read_header(kind: str, file: BinaryIO, size: int) -> dict[str, Any]:
    """The header of an object of a kind, read from a file of `size` bytes; what follows in it is the payload.

    Raises
    ------
    FormatError
        As :func:`unpack`.
    """
    start = file.read(_PREFIX)
    if not is_packed(start) or len(start) < _PREFIX:
        raise FormatError(f"these {size} bytes are not a {kind} of pycrcnn")
    if start[len(_MAGIC)] != _VERSION:
        raise FormatError(f"the {kind} has format version {start[len(_MAGIC)]}; this release reads version {_VERSION}")
    length = int.from_bytes(start[len(_MAGIC) + 1 :], "little")
    if length > min(_MAX_HEADER, size - _PREFIX):
        raise FormatError(f"the header of the {kind} is cut off or too long ({length} bytes)")
    try:
        header = json.loads(file.read(length))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FormatError(f"the header of the {kind} is not JSON: {error}") from None
    if isinstance(header, dict) and kind != "secret key" and header.get("kind") == "secret key":
        raise FormatError(
            f"these bytes hold a secret key where a {kind} is needed; if they have travelled, generate new keys",
            code="secret-key",
        )
    if not isinstance(header, dict) or header.pop("kind", None) != kind:
        raise FormatError(f"these bytes hold another object than a {kind}")
    return header


def write_file(path: str | Path, data: bytes, *, secret: bool = False) -> None:
    """Writes a file; a secret one is readable by its owner only."""
    path = Path(path)
    if secret:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
    path.write_bytes(data)


def read_file(path: str | Path) -> bytes:
    """Reads a file of at most 4 GiB."""
    path = Path(path)
    if path.stat().st_size > _MAX_FILE:
        raise FormatError(f"{path} is larger than {_MAX_FILE} bytes", code="too-large")
    return path.read_bytes()
