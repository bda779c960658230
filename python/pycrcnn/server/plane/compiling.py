"""Which programs a model is offered in, and compiling them once."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pycrcnn import datasets
from pycrcnn.datasets import DatasetNotFoundError
from pycrcnn.errors import UnsupportedError
from pycrcnn.models import Model
from pycrcnn.program import compile  # noqa: A004 - the field's word for it
from pycrcnn.program.program import Layout
from pycrcnn.server.plane.blobs import write_durably
from pycrcnn.server.plane.catalogue import program_entry
from pycrcnn.server.plane.shelf import Shelved

__all__ = ["Offer", "compiled", "offers"]

_LOGGER = logging.getLogger("pycrcnn.server")
#: Training images by which ranges of values are known.
_EXAMPLES = 500
#: Of how programs are compiled and written; another one makes what was kept before be compiled again.
_EDITION = 2


@dataclass(frozen=True)
class Offer:
    """A run of layers from the first in one layout."""

    layout: Layout
    last_layer: int
    whole: bool

    def of(self, model: Model) -> Model:
        """The layers of it."""
        return dataclasses.replace(model, layers=model.layers[: self.last_layer + 1])


def offers(model: Model) -> Iterator[Offer]:
    """What a model is offered in: recall in the layouts that suit it, then features after each layer, packed.

    The paper's parameters for the per-value layout suit networks whose weights have few fraction digits.
    """
    last = len(model.layers) - 1
    yield Offer("packed", last, True)
    yield Offer("batched", last, True)
    if model.fraction_bits is not None:
        yield Offer("per-value", last, True)
    for index, layer in enumerate(model.layers[:-1]):
        if layer["type"] != "flatten":  # the same values as before it
            yield Offer("packed", index, False)


def _examples(model: Model) -> NDArray[np.float64] | None:
    """Real images, where they are at hand; None lets synthetic ones stand in."""
    try:
        images, _ = datasets.load(model.dataset, "train")
        return model.normalise(images[:_EXAMPLES])
    except (DatasetNotFoundError, ValueError):  # no such data set, or images of another shape
        return None


def _fingerprint(model: Model, offer: Offer, examples: NDArray[np.float64] | None, flooding: float) -> str:
    digest = hashlib.blake2b(digest_size=16)
    version = importlib.metadata.version("pycrcnn")
    _add(
        digest,
        [version, _EDITION, model.name, offer.layout, offer.last_layer, examples is None, flooding, model.layers],
    )
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, value: object) -> None:
    """Add a value to a digest with all that it holds, and where each part ends."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif isinstance(value, Mapping):
        _add(digest, list(value.items()))
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)}]".encode())
        for part in value:
            _add(digest, part)
    else:
        digest.update(f"{value!r};".encode())


def compiled(model: Model, offer: Offer, directory: Path, flooding: float, threads: int = 0) -> Shelved | None:
    """The program of an offer, from the directory where it was compiled before.

    Parameters
    ----------
    model : Model
    offer : Offer
    directory : Path
    flooding : float
        Of the noise of replies, see `pycrcnn.Program.rerandomize`.
    threads : int

    Returns
    -------
    Shelved or None
        None where the layers cannot be compiled in that layout.
    """
    examples = _examples(model)
    path = directory / f"{_fingerprint(model, offer, examples, flooding)}.program"
    note = path.with_suffix(".json")
    if path.exists() and note.exists():
        try:
            return Shelved.noted(path, note.read_bytes())
        except (ValueError, TypeError, KeyError):
            _LOGGER.warning("compiling %s again: its file is damaged", model.name)
    try:
        program = compile(offer.of(model), layout=offer.layout, threads=threads, calibration=examples)
    except UnsupportedError as error:
        _LOGGER.info("%s up to layer %d, %s, is not offered: %s", model.name, offer.last_layer, offer.layout, error)
        return None
    directory.mkdir(parents=True, exist_ok=True)
    write_durably(path, program.to_bytes())
    entry = program_entry(program, 0, offer.last_layer, "recall" if offer.whole else "features", flooding)
    shelved = Shelved.of(path, program, entry)
    write_durably(note, shelved.note())
    return shelved
