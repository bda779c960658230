"""The exceptions that the package raises.

Every exception derives from :class:`PyCrCNNError` and from the builtin that Python users expect for
such a failure, says what was wrong and what to do, and carries a stable ``code`` for programs.

Examples
--------
>>> from pycrcnn.errors import PyCrCNNError, ShapeError
>>> issubclass(ShapeError, ValueError) and issubclass(ShapeError, PyCrCNNError)
True
>>> ShapeError("a 4-D array is needed").code
'shape-mismatch'
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BackendError",
    "CancelledError",
    "EncodingError",
    "FormatError",
    "InvalidTypeError",
    "InvalidValueError",
    "KeyMismatchError",
    "MissingKeyError",
    "MissingPackageError",
    "NoiseBudgetError",
    "OperandError",
    "OutOfReachError",
    "ParameterError",
    "PassphraseError",
    "PyCrCNNError",
    "SecurityWarning",
    "ServiceError",
    "ShapeError",
    "UnsupportedError",
    "UnsupportedLayerError",
]


class PyCrCNNError(Exception):
    """Base class of all exceptions of the package.

    Parameters
    ----------
    message : str
        What was wrong, and what to do.
    code : str, optional
        A stable identifier; each class has a default.
    """

    default_code: ClassVar[str] = "error"

    def __init__(self, message: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.code = code if code is not None else self.default_code


class InvalidValueError(PyCrCNNError, ValueError):
    """An argument has an unusable value."""

    default_code = "invalid-argument"


class InvalidTypeError(PyCrCNNError, TypeError):
    """An argument has an unusable type, or an array an unusable dtype."""

    default_code = "invalid-type"


class ShapeError(PyCrCNNError, ValueError):
    """Array shapes do not fit together."""

    default_code = "shape-mismatch"


class EncodingError(PyCrCNNError, ValueError):
    """A number cannot be encoded: NaN, infinite, too large, or not of the encoder's kind."""

    default_code = "unencodable"


class ParameterError(PyCrCNNError, ValueError):
    """Encryption parameters are unusable or below the security asked for."""

    default_code = "invalid-parameters"


class KeyMismatchError(PyCrCNNError, ValueError):
    """Objects of different parameters or keys were mixed."""

    default_code = "parameters-mismatch"


class MissingKeyError(PyCrCNNError, RuntimeError):
    """A key that the operation needs is not there."""

    default_code = "missing-key"


class PassphraseError(PyCrCNNError, ValueError):
    """A secret key is locked, and the passphrase is missing or another one."""

    default_code = "wrong-passphrase"


class MissingPackageError(PyCrCNNError, ImportError):
    """An optional package that the operation needs is not installed; the message says how to."""

    default_code = "missing-package"


class OperandError(PyCrCNNError, ValueError):
    """Ciphertexts at different levels, forms, sizes or scales were combined."""

    default_code = "operand-mismatch"


class NoiseBudgetError(PyCrCNNError, ArithmeticError):
    """Noise budget, levels or scale are used up: the result cannot be decrypted."""

    default_code = "noise-budget-exhausted"


class FormatError(PyCrCNNError, ValueError):
    """Bytes or JSON from outside are malformed or too large."""

    default_code = "malformed"


class UnsupportedError(PyCrCNNError, TypeError, NotImplementedError):
    """The operation does not exist for this object."""

    default_code = "unsupported"


class UnsupportedLayerError(UnsupportedError):
    """A layer of a model cannot be evaluated on ciphertexts.

    Attributes
    ----------
    layer : str
        Its name: qualified as PyTorch knows it, or that of the node of an ONNX graph.
    replacement : str
        What to use in its place.
    """

    default_code = "unsupported-layer"

    def __init__(self, message: str = "", code: str | None = None, *, layer: str = "", replacement: str = "") -> None:
        super().__init__(message, code)
        self.layer = layer
        self.replacement = replacement


class OutOfReachError(UnsupportedError):
    """No secure parameters have room for a network; the message says what would fit.

    Attributes
    ----------
    layer : str
        The first layer for which there is no room, or the layer whose tensor is too large; empty where it is not known.
    figures : dict of str to int
        By the error's `code`. All but ``"too-wide"``: how many affine `maps` there are, the `precision` asked for, the
        `degree` of the ring without room, and how many `fitting_maps` from the first would fit, or at which
        `fitting_precision` all of them (None where at none). ``"too-deep"``: the modulus of `needed_bits`, `bits_each`
        map and square, of which `degree` allows `limit_bits` at `security`. ``"too-fine"``: scales of `scale_bits`
        take a prime of `prime_bits`, where kernels take `widest_prime_bits`. ``"too-long"`` (BFV): integers of
        `integer_bits` (or None), of which there may be `longest_integer_bits`, and the modulus as above.
        ``"too-wide"``: the layer's `inputs` and `outputs`, the `slots` of each of the `images` in a ciphertext of
        `degree`, and by how many `times` the tensor exceeds them.
    """

    default_code = "too-deep"

    def __init__(self, message: str = "", code: str | None = None) -> None:
        super().__init__(message, code)
        self.layer = ""
        self.figures: dict[str, int | None] = {}


class BackendError(PyCrCNNError, RuntimeError):
    """A failure inside Microsoft SEAL or the machine's own resources."""

    default_code = "seal"


class CancelledError(PyCrCNNError, RuntimeError):
    """The work was stopped before it had ended, because nobody wants its result any more."""

    default_code = "interrupted"


class ServiceError(PyCrCNNError, ConnectionError):
    """A service refused a request for a reason of its own, or cannot be reached.

    Attributes
    ----------
    status : int
        HTTP's; 0 where there was no reply.
    """

    default_code = "connection"

    def __init__(self, message: str = "", code: str | None = None, *, status: int = 0) -> None:
        super().__init__(message, code)
        self.status = status


#: The class that a code stands for, where a service gives one that this package raises itself.
_CLASSES: dict[str, type[PyCrCNNError]] = {
    **{
        kind.default_code: kind
        for kind in (
            InvalidValueError,
            InvalidTypeError,
            ShapeError,
            EncodingError,
            ParameterError,
            KeyMismatchError,
            MissingKeyError,
            OperandError,
            NoiseBudgetError,
            FormatError,
            UnsupportedError,
        )
    },
    **dict.fromkeys(("invalid-degree", "invalid-modulus", "primes-exhausted", "insecure"), ParameterError),
    **dict.fromkeys(("level-exhausted", "scale-out-of-range"), NoiseBudgetError),
    **dict.fromkeys(("too-large", "secret-key"), FormatError),
}


def of_service(status: int, code: str, detail: str) -> PyCrCNNError:
    """The exception that a service's refusal stands for: that of its code, or :class:`ServiceError`.

    Examples
    --------
    >>> of_service(422, "shape-mismatch", "10 values, not 12")
    ShapeError('10 values, not 12')
    >>> of_service(503, "unavailable", "come back later").status
    503
    """
    kind = _CLASSES.get(code)
    if kind is None:
        return ServiceError(detail, code or "service", status=status)
    return kind(detail, code)


class SecurityWarning(UserWarning):
    """Encryption parameters are below the security asked for; they run all the same."""
