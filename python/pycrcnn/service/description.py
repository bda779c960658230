"""What a service says of its models. It comes from outside: everything is checked before it is used."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pycrcnn.errors import FormatError

__all__ = ["Description", "Offer", "Pixels", "read_json"]

_LAYOUTS = ("packed", "batched", "per-value")
_MODALITIES = ("recall", "features", "interactive")
_MOST = 10_000  # entries of a list
_LONGEST = 10_000  # characters of a text


def read_json(data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    FormatError
        The bytes are none.
    """
    try:
        value = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FormatError(f"the service did not answer with JSON: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"the service answered with {type(value).__name__} where an object is needed")
    return value


@dataclass(frozen=True)
class Pixels:
    """From grey values to what the model takes: ``scale * x + offset``."""

    scale: float
    offset: float


@dataclass(frozen=True)
class Offer:
    """A program that a service runs.

    Attributes
    ----------
    id : str
        The program's identity, 64 hexadecimal digits.
    layout : str
        ``"packed"``, ``"batched"`` or ``"per-value"``.
    modality : str
        ``"recall"``: all layers. ``"features"``: layers up to `last_layer`. ``"interactive"``: a part of several,
        between which the client refreshes.
    first_layer, last_layer : int
    capacity : int
        Images of one run.
    bytes_up, bytes_down : int
        Of one run.
    key_bytes : int
        Of the key set, sent once.
    seconds : float
        Expected of one run on one core; 0 where the service does not say.
    error : float
        The largest error to be expected of an answer, flooding included: of a part, that of the parts before it too.
    stage, stages : int
        Which part it is, from 0, and of how many.
    """

    id: str
    layout: str
    modality: str
    first_layer: int
    last_layer: int
    capacity: int
    bytes_up: int
    bytes_down: int
    key_bytes: int
    seconds: float
    error: float
    stage: int = 0
    stages: int = 1


@dataclass(frozen=True)
class Description:
    """A model on offer.

    Attributes
    ----------
    name, description : str
    input_shape, output_shape : tuple of int
        Of one image and of one answer of all layers.
    classes : tuple of str
        Names of the outputs; empty where they have none.
    pixels : Pixels or None
        What makes an image of grey values into an input, where the service says it.
    programs : tuple of Offer
    """

    name: str
    description: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    classes: tuple[str, ...]
    pixels: Pixels | None
    programs: tuple[Offer, ...]

    @classmethod
    def from_json(cls, data: bytes) -> Description:
        """What ``GET /v1/models/{name}`` answers.

        Raises
        ------
        FormatError
            Something is missing, or not what it should be.
        """
        found = read_json(data)
        pixels = found.get("pixels")
        return cls(
            name=_text(found, "name"),
            description=_text(found, "description"),
            input_shape=_shape(found, "input_shape"),
            output_shape=_shape(found, "output_shape"),
            classes=tuple(_each(found, "classes", lambda name: isinstance(name, str) and len(name) <= _LONGEST)),
            pixels=None if pixels is None else Pixels(_number(pixels, "scale"), _number(pixels, "offset")),
            programs=tuple(_offer(entry) for entry in _each(found, "programs", lambda _: True)),
        )

    def conversations(self) -> Iterator[tuple[Offer, ...]]:
        """The interactive programs, each as its parts in their order."""
        parts = sorted(
            (offer for offer in self.programs if offer.stages > 1),
            key=lambda offer: (offer.layout, offer.last_layer, offer.stages, offer.stage),
        )
        for key, group in itertools.groupby(parts, lambda offer: (offer.layout, offer.last_layer, offer.stages)):
            offers = tuple(group)
            if [offer.stage for offer in offers] != list(range(key[2])):
                raise FormatError("the service offers an interactive program of which parts are missing")
            yield offers


def _offer(found: Any) -> Offer:
    offer = Offer(
        id=_text(found, "id"),
        layout=_text(found, "layout"),
        modality=_text(found, "modality"),
        error=_number(found, "error"),
        seconds=_number(found, "seconds"),
        **{name: _count(found, name) for name in ("first_layer", "last_layer", "bytes_up", "bytes_down", "key_bytes")},
        capacity=_count(found, "capacity"),
        **{name: _count(found, name) for name in ("stage", "stages") if name in found},
    )
    known = offer.layout in _LAYOUTS and offer.modality in _MODALITIES and offer.capacity > 0
    known = known and offer.stage < offer.stages and (offer.stages > 1) == (offer.modality == "interactive")
    if not known or not re.fullmatch("[0-9a-f]{64}", offer.id) or offer.error < 0:
        raise FormatError(f"the service offers a program that is none: {str(found)[:200]}")
    return offer


def _field(found: Any, name: str, sound: Callable[[Any], bool]) -> Any:
    value = found.get(name) if isinstance(found, dict) else None
    if isinstance(value, bool) or value is None or not sound(value):
        raise FormatError(f"the service's description has no usable {name!r}: {str(value)[:100]}")
    return value


def _text(found: Any, name: str) -> str:
    return str(_field(found, name, lambda value: isinstance(value, str) and len(value) <= _LONGEST))


def _number(found: Any, name: str) -> float:
    return float(_field(found, name, lambda value: isinstance(value, int | float) and math.isfinite(value)))


def _count(found: Any, name: str) -> int:
    return int(_field(found, name, lambda value: isinstance(value, int) and 0 <= value < 1 << 48))


def _each(found: Any, name: str, sound: Callable[[Any], bool]) -> list[Any]:
    def whole(value: Any) -> bool:
        return isinstance(value, list) and len(value) <= _MOST and all(map(sound, value))

    return list(_field(found, name, whole))


def _shape(found: Any, name: str) -> tuple[int, ...]:
    return tuple(_each(found, name, lambda n: isinstance(n, int) and not isinstance(n, bool) and 0 < n < 1 << 32))
