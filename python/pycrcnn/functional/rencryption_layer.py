"""Re-encryption: a full noise budget, for tests of parameters where the secret key is at hand."""

from __future__ import annotations

from typing import Any

from pycrcnn._arrays import as_tensor
from pycrcnn._engine import engine_of

__all__ = ["RencryptionLayer"]


class RencryptionLayer:
    """Decrypts each value and encrypts it again.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys, the secret key among them.
    """

    def __init__(self, HE: Any) -> None:
        self.HE = HE

    def __call__(self, image: Any) -> Any:
        """The same values in fresh ciphertexts."""
        return engine_of(self.HE).refresh(as_tensor(image, "image"))
