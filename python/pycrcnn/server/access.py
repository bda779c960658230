"""Who may call: bearer keys, if the service has any."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from fastapi import Request
from pydantic import SecretStr

from pycrcnn.server.plane.refusals import Refusal

__all__ = ["Access"]


class Access:
    """Compares bearer keys by their hashes, all of them each time, so that time tells nothing of them."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self._digests = [hashlib.sha256(key.get_secret_value().encode()).digest() for key in keys]

    def owner(self, request: Request) -> str | None:
        """Who calls: a name for the key that was brought; None where the service has no keys.

        Raises
        ------
        Refusal
            ``unauthorized``.
        """
        if not self._digests:
            return None
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(key.strip().encode()).digest()
        known = [hmac.compare_digest(digest, own) for own in self._digests]
        if scheme.lower() != "bearer" or not any(known):
            raise Refusal("unauthorized", "an API key is needed: Authorization: Bearer KEY")
        return digest.hex()[:16]
