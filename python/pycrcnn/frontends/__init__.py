"""What `pycrcnn.compile` takes as a model: one file a source, each of which turns its source into the same layers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycrcnn import _native
from pycrcnn.errors import InvalidTypeError, InvalidValueError, ShapeError, UnsupportedError
from pycrcnn.frontends import onnx_file, safetensors_file
from pycrcnn.frontends.fields import image_shape
from pycrcnn.frontends.head import ClientLayer
from pycrcnn.frontends.layers import native_network
from pycrcnn.models import Layer, Model

__all__ = ["Described", "describe"]

#: Files that are read by unpickling, which runs code that they bring along, and archives of such.
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib", ".pt2", ".npy")


@dataclass(frozen=True)
class Described:
    """A model in the form that every source is turned into.

    Attributes
    ----------
    layers : tuple of Layer
        All of them.
    network : _native.Network
        Those that are evaluated on ciphertexts.
    client_head : tuple of ClientLayer
        The last ones, which the client computes after decryption.
    """

    layers: tuple[Layer, ...]
    network: _native.Network
    client_head: tuple[ClientLayer, ...]


def describe(model: Any, input_shape: Any = None, architecture: Any = None) -> Described:
    """A model from any source.

    Parameters
    ----------
    model
        As `pycrcnn.compile` takes it.
    input_shape : sequence of int, optional
        Of one image; needed where the model does not say it.
    architecture : path or list of layers, optional
        Of a safetensors file.

    Raises
    ------
    UnsupportedLayerError, UnsupportedError, FormatError, MissingPackageError
        The model cannot be evaluated on ciphertexts, or not be read; the message says what to do.
    InvalidTypeError, InvalidValueError, ShapeError
        It is no model, or does not fit the shape.
    """
    given = None if input_shape is None else image_shape(input_shape)
    suffix = Path(model).suffix.lower() if isinstance(model, str | os.PathLike) else None
    if architecture is not None and suffix != ".safetensors":
        raise InvalidValueError("architecture: it goes with a safetensors file; leave it out")
    torch = sys.modules.get("torch")
    layers: Sequence[Layer]
    own: Any = None
    if isinstance(model, Model):
        layers, own = model.layers, model.input_shape
    elif suffix == ".safetensors":
        layers, own = safetensors_file.layers_of(model, architecture)
    elif suffix == ".onnx":
        layers, own = onnx_file.layers_of(model, given)
    elif suffix in _PICKLED:
        raise UnsupportedError(
            f"model: {model} is not opened, because unpickling runs code from the file. Make the nn.Module, "
            "load_state_dict(torch.load(path, weights_only=True)), and give that; or save it as safetensors or ONNX"
        )
    elif suffix is not None:
        raise InvalidValueError(
            f"model: {model!r} is no .onnx or .safetensors file; pycrcnn.models.load(...) takes names"
        )
    elif torch is not None and isinstance(model, torch.nn.Module):
        from pycrcnn.frontends import torch_module

        layers = torch_module.layers_of(model, _needed(given))
    elif isinstance(model, Sequence) and not isinstance(model, bytes | Mapping):
        layers = model
    else:
        raise InvalidTypeError(
            "model: pycrcnn.models.load(...), a torch.nn.Module, the path of an .onnx or .safetensors file, or a list "
            f"of layers is needed, not {type(model).__name__}"
        )
    if given is not None and own is not None and given != image_shape(own):
        raise ShapeError(f"input_shape: the model takes images of shape {list(own)}, got {list(given)}")
    network, head = native_network(layers, _needed(given if own is None else image_shape(own)))
    return Described(tuple(layers), network, head)


def _needed(shape: tuple[int, ...] | None) -> tuple[int, ...]:
    if shape is None:
        raise InvalidValueError("input_shape: give the shape of one image, such as (1, 28, 28)")
    return shape
