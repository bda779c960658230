"""The provider's part of the demo: it compiles the network in each layout and publishes it for its server."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pycrcnn.demo.subject import Subject
from pycrcnn.errors import SecurityWarning
from pycrcnn.program import FractionalParameters, Program, compile  # noqa: A004 - the field's word for it
from pycrcnn.program.program import Layout

__all__ = ["SECURITY", "Published", "publish"]

#: Bits of security that are asked for.
SECURITY = 128


@dataclass(frozen=True)
class Published:
    """A program that the server offers.

    Attributes
    ----------
    program : Program
        Weights and public parameters, no key.
    fractional : FractionalParameters or None
        The per-value layout's parameters.
    seconds : float
        Of compiling.
    warnings : tuple of str
        What there is to say about the parameters' security.
    """

    program: Program
    fractional: FractionalParameters | None
    seconds: float
    warnings: tuple[str, ...]


def publish(subject: Subject, layouts: Sequence[Layout], directory: Path, threads: int) -> list[Published]:
    """Compile, and write the model into the directory of models of a server.

    Raises
    ------
    MissingPackageError
        The server's packages are not installed.
    """
    from pycrcnn import server
    from pycrcnn.server.plane.catalogue import Pixels, layer_entries

    model, last = subject.model, len(subject.model.layers) - 1
    published = [_compiled(subject, layout, threads) for layout in layouts]
    server.publish(
        directory,
        model.name,
        [(one.program, last) for one in published],
        classes=subject.classes,
        pixels=Pixels(model.scale, model.offset),
        layers=layer_entries(model.layers, model.input_shape),
    )
    return published


def _compiled(subject: Subject, layout: Layout, threads: int) -> Published:
    fractional = FractionalParameters() if layout == "per-value" else None
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SecurityWarning)
        program = compile(
            subject.model,
            layout=layout,
            security=SECURITY,
            calibration=subject.examples,
            parameters=fractional,
            threads=threads,
        )
    seconds = time.perf_counter() - start
    return Published(program, fractional, seconds, tuple(str(warning.message) for warning in caught))
