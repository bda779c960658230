"""What can be chosen about a training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pycrcnn.errors import InvalidTypeError, InvalidValueError

__all__ = ["Options"]

#: Numbers by field: the smallest and the largest.
_BOUNDS: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-12, 1e3),
    "weight_decay": (0.0, 1e3),
    "warmup": (0.0, 1.0),
    "gradient_norm": (1e-12, math.inf),
    "label_smoothing": (0.0, 1.0),
    "range_penalty": (0.0, math.inf),
    "replacement": (0.0, 1.0),
    "calm_range": (0.0, math.inf),
    "distillation": (0.0, 1.0),
    "temperature": (1e-3, 1e3),
}
_WHOLE = {"epochs": (1, 100_000), "batch": (1, 2**31 - 1), "shift": (0, 1000), "fraction_bits": (0, 52)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How :func:`pycrcnn.train.fit` trains.

    Attributes
    ----------
    epochs : int
        Passes over the images.
    batch : int
        Images a step.
    learning_rate : float
        Of AdamW, at its highest; a cosine takes it to 0 at the end.
    weight_decay : float
        Of AdamW.
    warmup : float
        The share of the steps over which the learning rate rises from 0 first; 0 to 1.
    gradient_norm : float, optional
        Longer gradients are shortened to this length.
    label_smoothing : float
        The share of each label that is spread over all classes; 0 to 1.
    shift : int
        Each image is moved by up to this many pixels along its last two axes, zeros coming in.
    flip : bool
        Half of the images are mirrored along their last axis.
    range_penalty, calm_range : float
        What is added to the loss for the squared excess of the inputs of `pycrcnn.nn.Square` and
        `pycrcnn.nn.Polynomial` over the calm range, summed over the values of an image. Squares double the digits that
        an encoding has to hold, and polynomials are fitted to a range.
    replacement : float
        The share of the steps over which each `pycrcnn.nn.Blend` goes from the original layer to its replacement, which
        then stands alone; 0 to 1.
    distillation : float
        With a teacher: the part of the loss that is the divergence from its answers (Hinton et al. 2015); 0 to 1.
    temperature : float
        By which the logits of both are divided for that.
    fraction_bits : int, optional
        Weights and biases are kept multiples of 2^-fraction_bits, during and after training, which keeps their
        fractional encodings short; gradients pass as if nothing had been rounded (Bengio et al. 2013).

    Raises
    ------
    InvalidTypeError, InvalidValueError
        A field is no number, or outside its range.
    """

    epochs: int = 20
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: float = 0.0
    gradient_norm: float | None = None
    label_smoothing: float = 0.0
    shift: int = 0
    flip: bool = False
    range_penalty: float = 0.01
    calm_range: float = 4.0
    replacement: float = 0.5
    distillation: float = 0.5
    temperature: float = 2.0
    fraction_bits: int | None = None

    def __post_init__(self) -> None:
        for name, bounds in {**_WHOLE, **_BOUNDS}.items():
            value = getattr(self, name)
            if name in ("fraction_bits", "gradient_norm") and value is None:
                continue
            whole = name in _WHOLE
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise InvalidTypeError(f"{name}: a {'whole ' * whole}number is needed, not {value!r}")
            if not bounds[0] <= value <= bounds[1]:
                raise InvalidValueError(f"{name} = {value} is not usable: from {bounds[0]:g} to {bounds[1]:g}")
        if not isinstance(self.flip, bool):
            raise InvalidTypeError(f"flip: True or False is needed, not {self.flip!r}")
