"""What to use in the place of a layer that cannot be evaluated on ciphertexts."""

from __future__ import annotations

import re

from pycrcnn.errors import UnsupportedLayerError

__all__ = ["unsupported", "unsupported_before_the_end"]

_POLYNOMIAL = "a square (pycrcnn.nn.Square) or a polynomial (pycrcnn.nn.Polynomial), and retrain"
_RECURRENT = "convolutions or fully connected layers; recurrent and attention layers multiply values by values"
_QUANTISED = "its floating-point original: convert the model back, or compile it before it is quantised"
#: By words in the layer's kind, the first that matches; kinds are compared in lower case without underscores.
_ADVICE = (
    (r"quant|qat|intrinsic|integer|qlinear", _QUANTISED),
    (r"lstm|gru|rnn|attention|transformer|embedding|einsum|bmm", _RECURRENT),
    (r"max(pool|imum|1d|2d)|^(a?max|min|minimum|reducemax|topk|lppool|lppool2d)$", "average pooling, and retrain"),
    (r"(layer|group|instance|rms|local.*|lp|l1|l2)norm(alization)?\d?d?$|lrn", "batch normalisation, and retrain"),
    (
        r"lu\d?$|softmax|argmax|sigmoid|tanh|swish|mish|softplus|softsign|softmin|shrink|threshold|clamp|clip|relu",
        _POLYNOMIAL,
    ),
    (r"^(abs|exp|log|sqrt|rsqrt|sin|cos|erf|sign|round|floor|ceil|reciprocal)$", _POLYNOMIAL),
    (r"conv(olution)?transpose|conv3d|pool3d", "a one- or two-dimensional convolution or average pooling"),
)
_OTHERWISE = "convolutions, average pooling, fully connected layers, batch normalisation, squares and polynomials"


def unsupported(layer: str, kind: str, reason: str = "") -> UnsupportedLayerError:
    """The error for a layer of a kind that cannot be evaluated, with what to replace it by.

    >>> print(unsupported("features.1", "MaxPool2d"))
    layer features.1 (MaxPool2d) cannot be evaluated on ciphertexts: replace it by average pooling, and retrain
    """
    plain = kind.lower().replace("_", "")
    advice = next((advice for pattern, advice in _ADVICE if re.search(pattern, plain)), _OTHERWISE)
    called = layer if kind in layer.split() else f"{layer} ({kind})"
    because = f" ({reason})" if reason else ""
    message = f"layer {called} cannot be evaluated on ciphertexts{because}: replace it by {advice}"
    return UnsupportedLayerError(message, layer=layer, replacement=advice)


def unsupported_before_the_end(layer: str) -> UnsupportedLayerError:
    """The error for a layer that the client could compute if it were the last."""
    message = (
        f"layer {layer} can only be the last: the client computes it after decryption. "
        f"Leave it out, or replace it by {_POLYNOMIAL}"
    )
    return UnsupportedLayerError(message, layer=layer, replacement=_POLYNOMIAL)
