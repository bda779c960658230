"""From a trained network to a program: which layout, which parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn import _native
from pycrcnn.errors import InvalidValueError, UnsupportedError
from pycrcnn.frontends import describe
from pycrcnn.frontends.fields import whole_number
from pycrcnn.models import Layer, Model
from pycrcnn.program.calibration import images_like_those_of, synthetic_images
from pycrcnn.program.client import ClientProgram, checked_images
from pycrcnn.program.expectation import expected_error
from pycrcnn.program.fractional import EXACT_EXAMPLES, FractionalParameters, compile_per_value
from pycrcnn.program.program import Program

__all__ = ["compile"]

#: More threads than any machine has; the native code refuses absurd numbers below that.
_MOST_THREADS = 2**31 - 1

#: Bits of precision where the user asks for none: those of BFV stay where they are, those of CKKS meet noise.
PRECISION = {"ckks": 12, "bfv": 8}


def compile(  # noqa: A001 - the field's word for it
    model: Model | Sequence[Layer] | str | os.PathLike[str] | Any,
    input_shape: Sequence[int] | None = None,
    *,
    architecture: str | os.PathLike[str] | Sequence[Layer] | None = None,
    layout: Literal["auto", "packed", "batched", "per-value"] = "auto",
    scheme: Literal["ckks", "bfv"] = "ckks",
    batch: int = 1,
    security: int = 128,
    precision: int | None = None,
    calibration: ArrayLike | None = None,
    parameters: FractionalParameters | None = None,
    fused: bool = True,
    threads: int = 0,
) -> Program:
    """Compile a network.

    Parameters
    ----------
    model : Model, torch.nn.Module, path, or sequence of Layer
        A network of `pycrcnn.models`; a PyTorch module whose `forward` torch.fx can trace, taken in evaluation mode;
        the path of an ONNX file (it needs ``pycrcnn[onnx]``) or of a safetensors file; or layers as
        `pycrcnn.models.Layer` describes them. Nothing is ever unpickled.

        These can be evaluated: convolutions (1-d and 2-d, with padding, stride, dilation, groups), average pooling
        (adaptive too), fully connected layers, batch normalisation by its running statistics, flattening and reshaping
        of each image, zero padding, sums of branches, arithmetic with constants, squares and other polynomials of one
        tensor (`pycrcnn.nn.Square`, `pycrcnn.nn.Polynomial`, or written out in `forward`). Dropout does nothing.
        Softmax, log-softmax, sigmoid and argmax may be the last layers: the client computes them after decryption
        (`Program.client_head`).
    input_shape : sequence of int, optional
        Of one image, such as channels, height, width; needed where the model does not say it.
    architecture : path or sequence of Layer, optional
        The layers of a safetensors file, with names of tensors where `pycrcnn.models.Layer` has arrays, or a JSON file
        that lists them; see `pycrcnn.frontends.safetensors_file`.
    layout : {"auto", "packed", "batched", "per-value"}
        ``"packed"``: a whole image, or several, in the slots of one ciphertext, for the shortest answer.
        ``"batched"``: CKKS, one value of thousands of images in a ciphertext, for throughput.
        ``"per-value"``: BFV, one value of one image in a ciphertext, the paper's layout.
        ``"auto"``: packed or batched, whichever answers `batch` images sooner; per-value where `parameters` are given.
    scheme : {"ckks", "bfv"}
        Of the packed layout (the batched one is always CKKS, the per-value one always BFV). ``"ckks"``: real numbers,
        with a little noise. ``"bfv"``: weights and images are rounded to integers, and what follows is exact: the
        decrypted answer is that of ``predict(mode="simulate")``, digit for digit. It takes longer, since nothing is
        rescaled: answers of dozens of bits are computed modulo several plaintext moduli.
    batch : int
        How many images are to be answered at a time: auto and packed choose by it.
    security : {128, 192, 256}
        Bits of security.
    precision : int, optional
        Bits of precision of every value, relative to the largest of its layer; 1 to 30. CKKS: against noise, 12 if not
        given. Packed BFV: of rounding to integers, 8 if not given. The per-value layout has its `parameters`.
    calibration : array_like, shape [n, *input_shape], optional
        Examples by which errors are predicted and, in the packed and batched layouts, the ranges of values are known.
        Without them synthetic images stand in, with values from 0 to 1, or as a model of `pycrcnn.models` normalises
        pixels; real images are better.
    parameters : FractionalParameters, optional
        Per-value: the encryption parameters. Without them m = 4096, and the plaintext modulus is chosen so that
        re-randomised answers hide digits and noise alike, or is the paper's where the network does not fit.
    fused : bool
        Per-value: join layers where that is cheaper; otherwise every layer is computed on its own, as PyCrCNN does.
    threads : int
        Threads of every call; 0 stands for all cores.

    Raises
    ------
    UnsupportedLayerError
        A layer cannot be evaluated on ciphertexts; the message names it and says what to use in its place.
    UnsupportedError, FormatError, MissingPackageError
        The model cannot be followed or read, or has more of something than the layout takes.
    ParameterError, InvalidValueError, InvalidTypeError, ShapeError
        The arguments do not fit.

    Warns
    -----
    SecurityWarning
        The per-value parameters are below the security asked for.
    """
    described = describe(model, input_shape, architecture)
    network = described.network
    shape = tuple(network.input_shape)
    whole_number("threads", threads, 0, _MOST_THREADS)
    batch = whole_number("batch", batch, 1, 2**31 - 1)
    check_security(security)
    if layout not in ("auto", "packed", "batched", "per-value"):
        raise InvalidValueError(f"layout {layout!r}: choose 'auto', 'packed', 'batched' or 'per-value'")
    if scheme not in ("ckks", "bfv"):
        raise InvalidValueError(f"scheme {scheme!r}: choose 'ckks' or 'bfv'")
    if scheme == "bfv" and layout == "batched":
        raise InvalidValueError("scheme 'bfv': the batched layout is CKKS; choose layout='packed' or 'per-value'")
    if layout == "per-value" or (layout == "auto" and parameters is not None):
        some = examples_for(calibration, model, shape)[:EXACT_EXAMPLES]
        per_value, error = compile_per_value(network, some, parameters, security, fused, threads)
        client = ClientProgram(per_value.client(), described.client_head, error, threads)
        return Program(network, per_value, client, security)
    if parameters is not None:
        raise InvalidValueError(f"parameters: the {layout} layout chooses its own; leave them out")
    bits = whole_number("precision", PRECISION[scheme] if precision is None else precision, 1, 30)
    examples = examples_for(calibration, model, shape)
    normal = _native.NormalForm(network, examples.reshape(-1), threads)
    if scheme == "bfv":
        native = _exact(normal, examples, batch, security, bits, threads)
    else:
        native = Choice(normal, batch, security, bits, threads).of(layout)
    error = expected_error(native, network, examples, threads)
    client = ClientProgram(native.client(), described.client_head, error, threads)
    return Program(network, native, client, security)


def _exact(
    normal: _native.NormalForm,
    examples: NDArray[np.float64],
    batch: int,
    security: int,
    precision: int,
    threads: int,
) -> _native.Program:
    """As many images in a row of slots as pays for the batch."""
    flat = examples.reshape(-1)
    best = _native.Program.exact(normal, flat, security, precision, 1, threads)
    images = 2
    while images < batch:  # two rows
        try:
            candidate = _native.Program.exact(normal, flat, security, precision, images, threads)
        except UnsupportedError:
            break
        if _batch_seconds(candidate, batch) >= _batch_seconds(best, batch):
            break
        best, images = candidate, 2 * images
    return best


def _batch_seconds(program: _native.Program, batch: int) -> float:
    seconds: float = program.explain()["seconds"]
    return seconds * -(-batch // program.client().capacity)


@dataclass(frozen=True)
class Choice:
    """Compiles one network in one layout of CKKS or another."""

    network: _native.NormalForm
    batch: int
    security: int
    precision: int
    threads: int

    def of(self, layout: str) -> _native.Program:
        """The program in a layout, ``"auto"`` among them."""
        if layout == "packed":
            return self.packed()
        if layout == "batched":
            return self.batched()
        try:
            packed = self.packed()
        except UnsupportedError as reason:
            try:
                return self.batched()
            except UnsupportedError:
                raise reason from None
        if self.batch == 1:
            return packed
        try:
            batched = self.batched()
        except UnsupportedError:
            return packed
        return packed if self._seconds(packed) <= self._seconds(batched) else batched

    def packed(self) -> _native.Program:
        """As many images in a ciphertext as pays for the batch."""
        best = self._packed(1)
        images = 2
        while images <= self.batch:
            try:
                candidate = self._packed(images)
            except UnsupportedError:
                break
            if self._seconds(candidate) >= self._seconds(best):
                break
            best, images = candidate, 2 * images
        return best

    def batched(self) -> _native.Program:
        """One value of many images in a ciphertext."""
        return _native.Program.batched(self.network, self.security, self.precision, self.threads)

    def _packed(self, images: int) -> _native.Program:
        return _native.Program.packed(self.network, self.security, self.precision, images, self.threads)

    def _seconds(self, program: _native.Program) -> float:
        """For the whole batch."""
        return _batch_seconds(program, self.batch)


def check_security(security: int) -> None:
    """Refuse a security that there is no table for."""
    if security not in (128, 192, 256):
        raise InvalidValueError(f"security = {security!r} is not usable: choose 128, 192 or 256 bits")


def examples_for(calibration: ArrayLike | None, model: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The user's examples, or synthetic ones in their place."""
    if calibration is not None:
        return checked_images(calibration, shape)
    return images_like_those_of(model) if isinstance(model, Model) else synthetic_images(shape, 0.0, 1.0)
