"""Networks as safetensors files: the tensors by layer, and everything else as JSON in the metadata.

An entry of the metadata's ``architecture`` is a layer as `pycrcnn.models.Layer` describes it, with the names of tensors
in the place of arrays. Nothing is unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import FormatError
from pycrcnn.models import Layer, Model

__all__ = ["read", "save"]

Tensors = Mapping[str, NDArray[Any]]

#: Fields that hold arrays.
ARRAYS = ("weight", "recurrent", "bias", "mean", "variance", "coefficients")
#: Fields that hold a number for each axis, or one for all; from which value on.
_SIZES = {"stride": 1, "dilation": 1, "kernel": 1, "padding": 0}
_RANKS = {"conv1d": 3, "conv2d": 4, "linear": 2, "recurrent": 2}
#: Of plain networks, which cannot be evaluated on ciphertexts.
_PLAIN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "relu": ((), ()),
    "max_pool2d": (("kernel",), ("stride",)),
}
_DEEPEST = 64


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a network to a safetensors file, which :func:`read` and `pycrcnn.compile` take.

    Weights that single precision holds are written so.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from safetensors.numpy import save as serialised

    tensors: dict[str, NDArray[Any]] = {}
    architecture = [_description(layer, f"{index}", tensors) for index, layer in enumerate(model.layers)]
    metadata = {
        "name": model.name,
        "architecture": json.dumps(architecture),
        "input_shape": json.dumps(model.input_shape),
        "normalisation": json.dumps({"scale": model.scale, "offset": model.offset}),
        "dataset": model.dataset,
        "accuracy": json.dumps(model.accuracy),
        "largest_magnitudes": json.dumps(model.largest_magnitudes),
        **{key: value if isinstance(value, str) else json.dumps(value) for key, value in model.training.items()},
    }
    if model.fraction_bits is not None:
        metadata["fraction_bits"] = json.dumps(model.fraction_bits)
    Path(path).write_bytes(serialised(tensors, metadata))


def _description(layer: Mapping[str, Any], place: str, tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """A layer with names in the place of its arrays, which are added to the tensors."""
    described: dict[str, Any] = {}
    for field, value in layer.items():
        if field in ARRAYS:
            array = np.ascontiguousarray(value, np.float64)
            single = array.astype(np.float32)
            described[field] = f"{place}.{field}"
            tensors[described[field]] = single if np.array_equal(single, array) else array
        elif field in ("body", "shortcut"):
            branch = enumerate(value)
            described[field] = [_description(inner, f"{place}.{field}.{index}", tensors) for index, inner in branch]
        else:
            described[field] = value
    return described


def read(path: str | os.PathLike[str]) -> Model:
    """A network from a safetensors file that :func:`save` wrote.

    Raises
    ------
    FormatError
        The file, its metadata or a tensor is not as expected; the message says which.
    OSError
        It cannot be read.
    """
    from safetensors import SafetensorError, safe_open  # not needed by clients

    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise FormatError(f"{path}: not a safetensors file ({error})") from error
    try:
        return _model(metadata, tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FormatError(f"{path}: the metadata does not describe a network: {detail}") from error


_TRAINING = ("seed", "options", "log")


def _model(metadata: Mapping[str, str], tensors: Tensors) -> Model:
    channels, height, width = json.loads(metadata["input_shape"])
    normalisation = json.loads(metadata["normalisation"])
    training = {key: metadata[key] for key in ("command", "torch") if key in metadata}
    training.update({key: json.loads(metadata[key]) for key in _TRAINING if key in metadata})
    return Model(
        name=metadata["name"],
        input_shape=(channels, height, width),
        layers=tuple(_layer(description, tensors, 0) for description in json.loads(metadata["architecture"])),
        dataset=metadata["dataset"],
        accuracy=json.loads(metadata["accuracy"]),
        scale=normalisation["scale"],
        offset=normalisation["offset"],
        fraction_bits=json.loads(metadata.get("fraction_bits", "null")),
        largest_magnitudes=tuple(json.loads(metadata["largest_magnitudes"])),
        training=training,
    )


def _layer(description: Mapping[str, Any], tensors: Tensors, depth: int) -> Layer:
    from pycrcnn.frontends.layers import fields_of

    kind = description["type"]
    known = _PLAIN.get(kind) or fields_of(kind)
    if known is None:
        raise ValueError(f"unknown layer type {kind!r}")
    if depth > _DEEPEST:
        raise ValueError(f"layers lie more than {_DEEPEST} deep in one another")
    required, optional = known
    missing, unknown = set(required) - set(description), set(description) - {"type", "name", *required, *optional}
    if missing or unknown:
        raise ValueError(f"{kind}: {f'{min(missing)} is missing' if missing else f'{min(unknown)} is not known'}")
    layer: dict[str, Any] = {}
    for field, value in description.items():
        if field in ARRAYS:
            layer[field] = _tensor(value, tensors)
        elif field in ("body", "shortcut"):
            layer[field] = tuple(_layer(inner, tensors, depth + 1) for inner in value)
        else:
            layer[field] = _sizes(kind, field, value)
    _check_shapes(kind, layer)
    return cast(Layer, layer)


def _check_shapes(kind: str, layer: Mapping[str, Any]) -> None:
    if kind not in _RANKS:
        return
    weight, bias = layer["weight"], layer.get("bias")
    if weight.ndim != _RANKS[kind] or (bias is not None and bias.shape != weight.shape[:1]):
        raise ValueError(f"{kind} with weight {weight.shape} and bias {None if bias is None else bias.shape}")


def _tensor(name: str, tensors: Tensors) -> NDArray[np.float64]:
    array = tensors[name].astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"tensor {name!r} holds values that are not finite")
    array.flags.writeable = False
    return array


def _sizes(kind: str, field: str, value: Any) -> Any:
    """As it stands, lists as tuples; sizes of windows are one whole number, or one for each axis."""
    numbers = value if isinstance(value, list) else [value]
    if field in _SIZES and kind.endswith(("1d", "2d")) and not isinstance(value, str):
        whole = all(isinstance(number, int) and number >= _SIZES[field] for number in numbers)
        if not whole or (isinstance(value, list) and len(value) != int(kind[-2])):
            raise ValueError(f"{field} {value!r} is not one or {kind[-2]} whole numbers from {_SIZES[field]} on")
    return tuple(numbers) if isinstance(value, list) else value
