"""Clients' evaluation keys, kept under the BLAKE2b-256 of their bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import threading
import time
from dataclasses import dataclass

from pycrcnn.program import EvaluationKeys
from pycrcnn.server.plane.blobs import Blobs
from pycrcnn.server.plane.recent import Recent
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.plane.registry import Registry

__all__ = ["KeyRecord", "KeyStore"]

_LOGGER = logging.getLogger("pycrcnn.server")
_DAY = 86_400.0
#: A key's last use is written down this often at most.
_TOUCH = 3_600.0


@dataclass(frozen=True)
class KeyRecord:
    """What is known of a key set.

    Attributes
    ----------
    id : str
        BLAKE2b-256 of the bytes, in hexadecimal digits.
    program : str
        The program that it is for.
    bytes : int
    owner : str
        Who brought it.
    used : float
        When it was used last, in seconds since 1970.
    """

    id: str
    program: str
    bytes: int
    owner: str
    used: float


class KeyStore:
    """Key sets on disk or in an object store, some of them ready for use in memory.

    Parameters
    ----------
    blobs : Blobs
        Where they are kept.
    registry : Registry
        The programs that they may be for.
    days : float
        After their last use they are forgotten.
    most_bytes, per_owner, prepared_bytes : int
        Limits: bytes of all, key sets of one owner, bytes of those in memory.
    """

    def __init__(
        self, blobs: Blobs, registry: Registry, *, days: float, most_bytes: int, per_owner: int, prepared_bytes: int
    ) -> None:
        self._blobs, self._registry = blobs, registry
        self._lifetime = days * _DAY
        self._most_bytes, self._per_owner = most_bytes, per_owner
        self._lock = threading.Lock()
        self._prepared: Recent[EvaluationKeys] = Recent(prepared_bytes)
        self._records: dict[str, KeyRecord] = {}
        names = set(blobs.names())
        for name in names:
            stem, _, kind = name.partition(".")
            record = self._read(stem) if kind == "json" and f"{stem}.keys" in names else None
            if record is not None:
                self._records[stem] = record
            elif kind != "json" and f"{stem}.json" not in names:
                blobs.delete(name)  # of an upload that was cut off

    def _read(self, identity: str) -> KeyRecord | None:
        data = self._blobs.get(f"{identity}.json")
        try:
            return None if data is None else KeyRecord(**json.loads(data))
        except (ValueError, TypeError):
            _LOGGER.warning("the record of key set %s is damaged", identity)
            return None

    @property
    def nbytes(self) -> int:
        """Of all key sets."""
        return sum(record.bytes for record in list(self._records.values()))

    @property
    def count(self) -> int:
        """Of all key sets."""
        return len(self._records)

    @property
    def prepared_count(self) -> int:
        """Of those that are ready in memory."""
        return len(self._prepared)

    def expires(self, record: KeyRecord) -> float:
        """When it will be forgotten, in seconds since 1970, if it is not used before."""
        return record.used + self._lifetime

    def put(self, data: bytes, owner: str) -> tuple[KeyRecord, bool]:
        """Keep a key set.

        Returns
        -------
        record : KeyRecord
        new : bool
            Whether it was not there before.

        Raises
        ------
        FormatError, KeyMismatchError, MissingKeyError
            The bytes are no key set, or not one for the program that they name.
        Refusal
            ``unprocessable``: an unknown program. ``too-many-requests``: the owner has too many.
            ``insufficient-storage``: the quota or the disk is full.
        """
        keys = EvaluationKeys.from_bytes(data)
        identity = hashlib.blake2b(data, digest_size=32).hexdigest()
        with self._lock:
            known = self._find(identity)
            if known is not None:
                return self._touched(known), False
        self._check_room(owner, len(data))
        prepared, size = self._made_ready(keys)
        record = KeyRecord(identity, keys.program, len(data), owner, time.time())
        with self._lock:
            self._blobs.put(f"{identity}.keys", data)
            self._blobs.put(f"{identity}.json", json.dumps(dataclasses.asdict(record)).encode())
            self._records[identity] = record
            self._prepared.put(identity, prepared, size)
        return record, True

    def _check_room(self, owner: str, size: int) -> None:
        self.expire()
        own = sum(record.owner == owner for record in list(self._records.values()))
        if own >= self._per_owner:
            raise Refusal(
                "too-many-requests", f"{own} key sets of yours are here already; DELETE those you no longer need", 60.0
            )
        if self.nbytes + size > self._most_bytes:
            raise Refusal("insufficient-storage", "the room for keys is used up; come back later", 60.0)

    def _made_ready(self, keys: EvaluationKeys) -> tuple[EvaluationKeys, int]:
        """Keys that have been checked by expanding them, and their bytes in memory."""
        try:
            program = self._registry.shelf.program(keys.program)
        except Refusal:
            raise Refusal("unprocessable", "the keys are for a program that is not offered here") from None
        return keys, keys.prepared(program.native, keys.program, 0).nbytes + keys.nbytes

    def _find(self, identity: str) -> KeyRecord | None:
        record = self._records.get(identity)
        if record is None and len(identity) == 64 and (record := self._read(identity)) is not None:
            self._records[identity] = record  # another process brought it to the shared store
        if record is not None and self.expires(record) < time.time():
            self._forget(identity)
            return None
        return record

    def _touched(self, record: KeyRecord) -> KeyRecord:
        now = time.time()
        if now - record.used < _TOUCH:
            return record
        record = self._records[record.id] = dataclasses.replace(record, used=now)
        try:
            self._blobs.put(f"{record.id}.json", json.dumps(dataclasses.asdict(record)).encode())
        except Refusal:
            _LOGGER.warning("the disk is full: the last use of key set %s is not written down", record.id)
        return record

    def record(self, identity: str, owner: str | None = None) -> KeyRecord:
        """What is known of a key set.

        Parameters
        ----------
        identity : str
        owner : str, optional
            Only if it is theirs.

        Raises
        ------
        Refusal
            ``not-found``: it never was here, or it has expired.
        """
        with self._lock:
            record = self._find(identity)
        if record is None or (owner is not None and record.owner != owner):
            raise Refusal("not-found", "there is no key set of this id, or it has expired: PUT /v1/keys brings it back")
        return record

    def used(self, identity: str) -> None:
        """Note that a key set is used.

        Raises
        ------
        Refusal
            ``not-found``.
        """
        record = self.record(identity)
        with self._lock:
            self._touched(record)

    def prepared(self, identity: str) -> EvaluationKeys:
        """A key set ready for use.

        Raises
        ------
        Refusal
            ``not-found``.
        """
        self.used(identity)
        return self._prepared.get(identity, lambda: self._made_ready(EvaluationKeys.from_bytes(self.data(identity))))

    def data(self, identity: str) -> bytes:
        """The bytes of a key set.

        Raises
        ------
        Refusal
            ``not-found``: they are gone, or others than were brought.
        """
        data = self._blobs.get(f"{identity}.keys")
        if data is None or hashlib.blake2b(data, digest_size=32).hexdigest() != identity:
            self._drop(identity)
            raise Refusal("not-found", "the key set is damaged or gone: PUT /v1/keys brings it back")
        return data

    def delete(self, identity: str, owner: str) -> None:
        """Forget a key set of an owner."""
        self.record(identity, owner)
        self._drop(identity)

    def _drop(self, identity: str) -> None:
        with self._lock:
            self._forget(identity)

    def _forget(self, identity: str) -> None:
        self._records.pop(identity, None)
        self._prepared.forget(identity)
        self._blobs.delete(f"{identity}.json")
        self._blobs.delete(f"{identity}.keys")

    def expire(self) -> None:
        """Forget what has not been used for too long."""
        now = time.time()
        with self._lock:
            for record in list(self._records.values()):
                if self.expires(record) < now:
                    self._forget(record.id)
