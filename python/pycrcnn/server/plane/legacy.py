"""PyCrCNN's computation: ciphertexts of single values, layer by layer, with parameters that the client chooses."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from pycrcnn import _native
from pycrcnn._arrays import objects_from
from pycrcnn._values import Encoding, PyCtxt
from pycrcnn.errors import FormatError, MissingKeyError, ShapeError
from pycrcnn.models import Model
from pycrcnn.network.server.executer import perform_computation
from pycrcnn.pyfhel import Pyfhel
from pycrcnn.server.plane.catalogue import layer_entries
from pycrcnn.server.plane.refusals import Refusal
from pycrcnn.server.plane.registry import Registry

__all__ = ["LegacyCompute"]

#: Polynomials of a ciphertext behind a square, which stays as it is.
_POLYNOMIALS = 3
_PARAMETERS: dict[str, Any] = {"p": None, "m": 2048, "base": 2, "sec": 128, "intDigits": 64, "fracDigits": 32}


class LegacyCompute:
    """Answers requests of PyCrCNN's REST protocol.

    Parameters
    ----------
    registry : Registry
        The networks, by name.
    most : int
        Ciphertexts of a request.
    most_bytes : int
        Memory that the values of one layer may take.
    public_key_required : bool
        Refuse requests that bring no public key to re-randomise their answer under.
    """

    def __init__(self, registry: Registry, most: int, most_bytes: int, *, public_key_required: bool = False) -> None:
        self._registry, self._most, self._most_bytes = registry, most, most_bytes
        self._public_key_required = public_key_required

    def compute(self, body: bytes, threads: int) -> bytes:
        """The JSON that answers a request's JSON.

        Raises
        ------
        FormatError, ParameterError, ShapeError, KeyMismatchError
            The request does not hold what it must.
        MissingKeyError
            It brings no public key, and one is required.
        Refusal
            ``not-found``: an unknown network. ``payload-too-large``: the computation would take too much memory.
        """
        request = _native.ComputeRequest.from_bytes(body, self._most, threads)
        if self._public_key_required and request.public_key is None:
            raise MissingKeyError(
                '"public_key": this service re-randomises every answer and needs one; remote_execution_rest of pycrcnn '
                "sends it wherever m is 2048 or more"
            )
        fields = _fields(request)
        model = self._registry.network(_name(fields))
        layers = _layers(fields, len(model.layers))
        HE = _parameters(fields, threads)
        self._check_memory(HE, model, layers, request.shape)
        if request.evaluation_keys is not None:
            HE.from_bytes_relinKey(request.evaluation_keys)
        engine = HE._require_engine()
        handles, header = request.ciphertexts(engine.context, self._most_bytes, threads)
        values = [PyCtxt._make(engine, handle, Encoding.FRACTIONAL, 1, header.key) for handle in handles]
        images = objects_from(values, tuple(request.shape))
        answer = perform_computation(HE, images, model, layers)
        results = [value._bind(engine) for value in answer.flat]
        if request.public_key is not None:
            results = engine.evaluator.rerandomize(results, request.public_key, threads)
        return _native.compute_reply(results, list(answer.shape), header, threads)

    def _check_memory(self, HE: Pyfhel, model: Model, layers: Sequence[int], shape: Sequence[int]) -> None:
        """Refuses what would take too much memory, before anything is computed."""
        entries = layer_entries(model.layers, model.input_shape)
        first = model.input_shape if layers[0] == 0 else entries[layers[0] - 1].output_shape
        if math.prod(shape[1:]) != math.prod(first):
            raise ShapeError(f"data: images of {list(first)} values are needed, got {list(shape[1:])}")
        values = max(math.prod(first), *(math.prod(entries[i].output_shape) for i in layers))
        context = HE._require_engine().context
        size = shape[0] * values * _POLYNOMIALS * len(context.moduli) * context.degree * 8
        if size > self._most_bytes:
            raise Refusal(
                "payload-too-large", f"this takes {size} bytes of memory; at most {self._most_bytes}: send fewer images"
            )


def _fields(request: _native.ComputeRequest) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = json.loads(request.fields)
    except (ValueError, RecursionError):
        raise FormatError("the request's fields are nested too deeply, or a number is too long") from None
    return fields


def _name(fields: dict[str, Any]) -> str:
    name = fields.get("model", fields.get("net"))
    if not isinstance(name, str):
        raise FormatError('the name of the network is missing: "net" or "model"')
    return name


def _layers(fields: dict[str, Any], count: int) -> list[int]:
    """All numbers from the smallest to the largest one given."""
    layers = fields.get("layers")
    if layers is None or layers == []:
        return list(range(count))
    if not isinstance(layers, list) or not all(isinstance(i, int) and 0 <= i < count for i in layers):
        raise FormatError(f'"layers": a list of numbers from 0 to {count - 1} is needed')
    return list(range(min(layers), max(layers) + 1))


def _parameters(fields: dict[str, Any], threads: int) -> Pyfhel:
    """An object with the client's parameters and no keys."""
    cases = fields.get("encryption_parameters")
    case = cases[0] if isinstance(cases, list) and cases else cases
    if not isinstance(case, dict) or "p" not in case:
        raise FormatError('"encryption_parameters": a list of objects with "m", "p", "sec", "base" is needed')
    chosen = {name: case.get(name, default) for name, default in _PARAMETERS.items()}
    HE = Pyfhel()
    HE.threads = threads
    HE.contextGen(**chosen)
    return HE
