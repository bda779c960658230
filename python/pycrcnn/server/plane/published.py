"""Models as files: a directory with ``model.json`` and compiled programs, weights included.

``model.json`` holds what clients are told of the model, and for each program its file::

    {"name", "description", "classes": [..], "pixels": {"scale", "offset"} or null,
     "layers": [{"index", "kind", "output_shape"}],
     "programs": [{"file", "first_layer", "last_layer", "stage", "stages"}]}

The parts of an interactive program are programs that say which of how many they are.

A ``.program`` file alone, of :meth:`pycrcnn.Program.save`, is a model of one program.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pycrcnn.errors import FormatError, InvalidValueError
from pycrcnn.program import InteractiveProgram, Program
from pycrcnn.server.plane.blobs import write_durably
from pycrcnn.server.plane.catalogue import LayerEntry, Modality, ModelEntry, Pixels, ProgramEntry, program_entry
from pycrcnn.server.plane.shelf import Shelved

__all__ = ["NAME", "publish", "read_published"]

#: What a model's name may look like: it stands in URLs.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise InvalidValueError(f"name {name!r}: letters, digits, '.', '_' and '-' are possible, at most 64")
    return name


def publish(
    directory: str | Path,
    name: str,
    programs: Sequence[tuple[Program | InteractiveProgram, int]],
    *,
    description: str = "",
    classes: Sequence[str] = (),
    pixels: Pixels | None = None,
    layers: Sequence[LayerEntry] = (),
) -> Path:
    """Write a model for a service's directory of models.

    Parameters
    ----------
    directory : path
        That of ``pycrcnn serve --models``.
    name : str
        As clients will ask for it.
    programs : sequence of (Program or InteractiveProgram, int)
        Programs with the number of the last layer that each computes, from 0.
    description : str
    classes : sequence of str
        What the values of an answer stand for.
    pixels : Pixels, optional
        How pixels enter the network.
    layers : sequence of LayerEntry
        See `pycrcnn.server.plane.catalogue.layer_entries`.

    Returns
    -------
    Path
        The model's own directory.

    Raises
    ------
    InvalidValueError
        No program, a name that cannot stand in a URL, or a program whose answers are not to be trusted.
    """
    if not programs:
        raise InvalidValueError("programs: at least one is needed")
    parts = [part for program, last_layer in programs for part in _parts(program, last_layer)]
    for _, program, last_layer, _, _ in parts:
        if not math.isfinite(program.error):
            raise InvalidValueError(
                f"the {program.layout} program up to layer {last_layer}: the digits of its answers outgrow the "
                "plaintext modulus; compile it with a larger p or fewer layers"
            )
    target = Path(directory) / _checked_name(name)
    target.mkdir(parents=True, exist_ok=True)
    listed = []
    for file, program, last_layer, stage, stages in parts:
        write_durably(target / file, program.to_bytes())
        listed.append({"file": file, "first_layer": 0, "last_layer": last_layer, "stage": stage, "stages": stages})
    document = {
        "name": name,
        "description": description,
        "classes": list(classes),
        "pixels": None if pixels is None else asdict(pixels),
        "layers": [asdict(layer) for layer in layers],
        "programs": listed,
    }
    write_durably(target / "model.json", (json.dumps(document, indent=1) + "\n").encode())
    return target


def _parts(program: Program | InteractiveProgram, last_layer: int) -> Iterator[tuple[str, Program, int, int, int]]:
    """File, program, last layer, number of the part and of all parts."""
    if isinstance(program, Program):
        yield f"{program.layout}-{last_layer}.program", program, last_layer, 0, 1
        return
    for stage, part in enumerate(program.stages):
        file = f"{part.layout}-{last_layer}-stage-{stage + 1}.program"
        yield file, part, last_layer, stage, len(program.stages)


def read_published(path: Path, flooding: float) -> tuple[ModelEntry, list[Shelved]]:
    """A model's entry and its programs, whose replies are flooded with noise of a strength.

    Raises
    ------
    FormatError
        The files are not as :func:`publish` writes them.
    """
    if path.suffix == ".program":
        document: Any = {"name": path.stem, "programs": [{"file": path.name, "first_layer": 0, "last_layer": 0}]}
        directory = path.parent
    else:
        directory = path
        try:
            document = json.loads((path / "model.json").read_text())
        except ValueError as error:
            raise FormatError(f"{path / 'model.json'} is not JSON: {error}") from None
    try:
        return _entry(document, directory, flooding)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise FormatError(f"{path}: it does not describe a model ({type(error).__name__}: {error})") from error


def _entry(document: Any, directory: Path, flooding: float) -> tuple[ModelEntry, list[Shelved]]:
    layers = tuple(
        LayerEntry(int(layer["index"]), str(layer["kind"]), tuple(map(int, layer["output_shape"])))
        for layer in document.get("layers", ())
    )
    last = max((int(described["last_layer"]) for described in document["programs"]), default=0)
    last = layers[-1].index if layers else last
    programs: list[Shelved] = []
    parts: list[Program] = []
    for described in document["programs"]:
        file, own = str(described["file"]), int(described["last_layer"])
        if Path(file).name != file:
            raise ValueError(f"file {file!r} is not in the model's directory")
        program = Program.load(directory / file)
        stage, stages = int(described.get("stage", 0)), int(described.get("stages", 1))
        modality: Modality = "interactive" if stages > 1 else "recall" if own == last else "features"
        entry = program_entry(program, int(described["first_layer"]), own, modality, flooding, stage, stages)
        programs.append(Shelved.of(directory / file, program, entry))
        parts.append(program)
    if not programs:
        raise ValueError("it lists no program")
    _check_stages([(shelved.entry, part) for shelved, part in zip(programs, parts, strict=True)])
    whole = [shelved.entry for shelved in programs if shelved.entry.last_layer == last] or [programs[0].entry]
    pixels = document.get("pixels")
    model = ModelEntry(
        name=_checked_name(str(document["name"])),
        description=str(document.get("description", "")),
        input_shape=parts[0].client.input_shape,
        output_shape=whole[-1].output_shape,
        classes=tuple(map(str, document.get("classes", ()))),
        pixels=None if pixels is None else Pixels(float(pixels["scale"]), float(pixels["offset"])),
        layers=layers,
        programs=tuple(shelved.entry for shelved in programs),
    )
    return model, programs


def _check_stages(programs: Sequence[tuple[ProgramEntry, Program]]) -> None:
    """Refuse interactive programs of which a part is missing, or does not take what the one before it gives."""
    interactive = [(entry, program) for entry, program in programs if entry.stages > 1]
    for key, group in itertools.groupby(interactive, lambda one: (one[0].layout, one[0].last_layer, one[0].stages)):
        parts = list(group)
        if [entry.stage for entry, _ in parts] != list(range(key[2])):
            raise ValueError(f"of the {key[2]} parts up to layer {key[1]} not all are there, in their order")
        for (_, one), (_, other) in itertools.pairwise(parts):
            if one.client.output_shape != other.client.input_shape:
                raise ValueError("a part of an interactive program does not take what the one before it gives")
