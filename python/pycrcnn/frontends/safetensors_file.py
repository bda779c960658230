"""safetensors files, with a description of the layers that their tensors belong to.

The description is JSON: ``{"input_shape": [1, 28, 28], "layers": [...]}``, or the list of layers alone. A layer is an
object with a ``type`` and fields as :class:`pycrcnn.models.Layer` has them, but where that has an array, a text is the
name of a tensor. A layer with a ``name`` finds ``<name>.weight``, ``<name>.bias`` and a batch normalisation's
``<name>.running_mean`` and ``<name>.running_var`` by itself, so the state of a PyTorch network can be used as it is.

The description is looked for in this order: the argument `architecture`; the file's own metadata, as the networks of
`pycrcnn.models` have it; a JSON file of the same name beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import FormatError, InvalidTypeError, InvalidValueError
from pycrcnn.models import Layer

__all__ = ["layers_of"]

Tensors = Mapping[str, NDArray[Any]]

#: Fields that hold arrays, and what PyTorch calls them in the state of a network.
_ARRAYS = {
    "weight": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "variance": "running_var",
    "coefficients": "coefficients",
    "recurrent": "recurrent",
}
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}


def layers_of(path: str | os.PathLike[str], architecture: Any = None) -> tuple[tuple[Layer, ...], Any]:
    """The layers of a safetensors file, and the shape of one image where the description has it, else None.

    Raises
    ------
    FormatError
        The file or its description is not as expected; the message says which.
    InvalidValueError
        There is no description.
    OSError
        A file cannot be read.
    """
    path = Path(path)
    tensors, metadata = _read(path)
    description, shape = _description(path, architecture, metadata)
    if isinstance(description, Mapping):
        shape = description.get("input_shape", shape)
        description = description.get("layers")
    if isinstance(description, str | bytes) or not isinstance(description, Sequence):
        raise FormatError(f"{path}: the architecture is no list of layers")
    return tuple(_layer(each, tensors, path, 0) for each in description), shape


def _read(path: Path) -> tuple[Tensors, Mapping[str, str]]:
    from safetensors import SafetensorError, deserialize, safe_open  # not needed by clients

    data = path.read_bytes()
    try:
        tensors = {name: _array(name, **tensor) for name, tensor in deserialize(data)}  # type: ignore[no-untyped-call]
        with safe_open(path, framework="numpy") as file:
            return tensors, file.metadata() or {}
    except SafetensorError as error:
        raise FormatError(f"{path}: not a safetensors file ({error})") from error


def _array(name: str, dtype: str, shape: Sequence[int], data: bytes, **_: Any) -> NDArray[Any]:
    if dtype == "BF16":  # the upper halves of single-precision numbers
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype not in _DTYPES:
        raise FormatError(f"tensor {name!r} is of {dtype}; save it as floating-point numbers")
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)


def _description(path: Path, architecture: Any, metadata: Mapping[str, str]) -> tuple[Any, Any]:
    """The layers or the object that has them, and the shape where it stands apart."""
    if isinstance(architecture, str | os.PathLike):
        return _json(Path(architecture).read_bytes(), f"{architecture}"), None
    if architecture is not None:
        if not isinstance(architecture, Mapping | Sequence):
            raise InvalidTypeError(f"architecture: a JSON file or a list of layers is needed, not {architecture!r}")
        return architecture, None
    if "architecture" in metadata:
        shape = metadata.get("input_shape")
        where = f"the metadata of {path}"
        return _json(metadata["architecture"], where), None if shape is None else _json(shape, where)
    beside = path.with_suffix(".json")
    if beside.exists():
        return _json(beside.read_bytes(), str(beside)), None
    raise InvalidValueError(
        f"architecture: {path} holds tensors only; describe its layers by architecture=[...] or in {beside.name}"
    )


def _json(text: str | bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is not JSON: {error}") from None


def _layer(description: Any, tensors: Tensors, path: Path, depth: int) -> Layer:
    if not isinstance(description, Mapping) or depth > 64:
        raise FormatError(f"{path}: {description!r} in the architecture is no layer, or lies too deep in others")
    layer = dict(description)
    for branch in ("body", "shortcut"):
        if isinstance(layer.get(branch), list | tuple):
            layer[branch] = [_layer(each, tensors, path, depth + 1) for each in layer[branch]]
    for field, suffix in _ARRAYS.items():
        name = layer.get(field, f"{layer['name']}.{suffix}" if "name" in layer else None)
        if isinstance(name, str) and (name in tensors or field in layer):
            if name not in tensors:
                raise FormatError(f"{path}: it has no tensor {name!r}, which the architecture names")
            layer[field] = tensors[name]
    return cast(Layer, layer)
