"""Models and programs on offer: what a client needs to make keys and encrypt, and nothing of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pycrcnn.frontends import describe
from pycrcnn.models import Model
from pycrcnn.program import Program

__all__ = ["LayerEntry", "ModelEntry", "Pixels", "ProgramEntry", "layer_entries", "program_entry"]

Modality = Literal["recall", "features", "interactive"]


@dataclass(frozen=True)
class Pixels:
    """How a pixel from 0 to 255 enters the network: ``scale * pixel + offset``."""

    scale: float
    offset: float


@dataclass(frozen=True)
class LayerEntry:
    """One layer: its number from 0, its kind, and the shape of its output."""

    index: int
    kind: str
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class ProgramEntry:
    """One program: a run of layers in one layout with its encryption parameters.

    Attributes
    ----------
    id : str
        The program's identity, 64 hexadecimal digits.
    modality : {"recall", "features", "interactive"}
        All layers; or those up to `last_layer`, whose outputs the client feeds to layers of its own; or one part of
        several, between which the client refreshes, see `pycrcnn.compile_interactive`.
    first_layer, last_layer : int
        Inclusive.
    prime_bits : list of int
        Of the coefficient modulus, the key-switching prime (if any) last.
    capacity : int
        Images of one run, each run one part of a request.
    bytes_up, bytes_down : int
        Of the parts of one run.
    keys, key_bytes : int
        Evaluation keys, and their bytes.
    seconds : float
        Predicted for one run on one core; 0 where it is not predicted.
    error : float
        The largest error to be expected of an answer, flooding included: of a part, that of the parts before it too.
    head : list of str
        Layers that the client computes after decryption.
    stage, stages : int
        Which part it is, from 0, and of how many: those of the same layers and layout.
    mask_bits : float
        Per-value: the bits by which answers hide their digits, see `pycrcnn.program.Explanation`.
    """

    id: str
    layout: str
    modality: Modality
    first_layer: int
    last_layer: int
    scheme: str
    degree: int
    prime_bits: tuple[int, ...]
    modulus_bits: int
    security_bits: int
    capacity: int
    bytes_up: int
    bytes_down: int
    keys: int
    key_bytes: int
    seconds: float
    error: float
    output_shape: tuple[int, ...]
    head: tuple[str, ...] = ()
    stage: int = 0
    stages: int = 1
    mask_bits: float = 0.0


@dataclass(frozen=True)
class ModelEntry:
    """One model with all programs that it is offered in."""

    name: str
    description: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    classes: tuple[str, ...]
    pixels: Pixels | None
    layers: tuple[LayerEntry, ...]
    programs: tuple[ProgramEntry, ...]


def layer_entries(layers: Sequence[Any], input_shape: Sequence[int]) -> tuple[LayerEntry, ...]:
    """The layers of a model, as `pycrcnn.models.Layer` describes them."""
    entries = []
    for index, layer in enumerate(layers):
        network = describe(list(layers[: index + 1]), input_shape).network
        entries.append(LayerEntry(index, layer["type"], tuple(network.output_shape)))
    return tuple(entries)


def program_entry(
    program: Program,
    first_layer: int,
    last_layer: int,
    modality: Modality,
    flooding: float,
    stage: int = 0,
    stages: int = 1,
) -> ProgramEntry:
    """What a client is told of a program whose replies are flooded with noise of a strength."""
    plan = program.explain()
    return ProgramEntry(
        id=program.program_id,
        layout=program.layout,
        modality=modality,
        first_layer=first_layer,
        last_layer=last_layer,
        scheme=plan.scheme,
        degree=plan.degree,
        prime_bits=plan.prime_bits,
        modulus_bits=plan.modulus_bits,
        security_bits=plan.security,
        capacity=plan.images,
        bytes_up=plan.bytes_up,
        bytes_down=plan.bytes_down,
        keys=plan.keys,
        key_bytes=plan.key_bytes,
        seconds=plan.seconds,
        error=program.flooded_error(flooding),
        output_shape=program.client.output_shape,
        head=plan.client_head,
        stage=stage,
        stages=stages,
        mask_bits=plan.mask_bits,
    )


def model_entry(model: Model, classes: Sequence[str], programs: Sequence[ProgramEntry]) -> ModelEntry:
    """What a client is told of a model that comes as layers."""
    layers = layer_entries(model.layers, model.input_shape)
    return ModelEntry(
        name=model.name,
        description=model.card.splitlines()[0],
        input_shape=model.input_shape,
        output_shape=layers[-1].output_shape,
        classes=tuple(classes),
        pixels=Pixels(model.scale, model.offset),
        layers=layers,
        programs=tuple(programs),
    )
