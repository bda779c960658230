"""The command ``pycrcnn publish``: a model for the directory of ``pycrcnn serve``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pycrcnn import models
from pycrcnn.commands import read_array
from pycrcnn.errors import InvalidValueError, MissingPackageError
from pycrcnn.frontends import describe
from pycrcnn.program import InteractiveProgram, Program, compile, compile_interactive  # noqa: A004

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", help="name of a model that comes with the package, or an .onnx or .safetensors file")
    parser.add_argument("--models", type=Path, required=True, help="directory of `pycrcnn serve --models`")
    parser.add_argument("--name", help="as clients ask for it (default: the model's)")
    parser.add_argument("--description", default="", help="for people")
    parser.add_argument("--classes", default="", help="names of the classes, with commas between them")
    parser.add_argument("--input-shape", help="of one image, such as 1,28,28, where the file does not say it")
    parser.add_argument("--architecture", type=Path, help="JSON file with the layers of a safetensors file")
    parser.add_argument("--layouts", default="packed,batched", help="default: packed,batched")
    parser.add_argument(
        "--interactive",
        action="store_true",
        help="cut a model that is too deep into parts; clients refresh in between (`pycrcnn predict --interactive`)",
    )
    parser.add_argument("--features", default="", help="numbers of layers, from 0, whose outputs are offered too")
    parser.add_argument("--calibration", type=Path, help=".npy file of example images")


def run(arguments: argparse.Namespace) -> int:
    """Compile and write."""
    try:
        from pycrcnn.server.plane.catalogue import Pixels, layer_entries
        from pycrcnn.server.plane.published import publish
    except ImportError as error:
        raise MissingPackageError("publishing needs more packages: pip install 'pycrcnn[server]'") from error
    given = arguments.input_shape and tuple(map(int, arguments.input_shape.split(",")))
    model = models.load(arguments.model) if arguments.model in models.names() else arguments.model
    described = describe(model, given, arguments.architecture)
    shape = tuple(described.network.input_shape)
    calibration = arguments.calibration and read_array(arguments.calibration)
    last = len(described.layers) - len(described.client_head) - 1
    features = [int(index) for index in arguments.features.split(",") if index]
    if any(not 0 <= index < last for index in features):
        raise InvalidValueError(f"--features: numbers of layers from 0 to {last - 1} are needed")
    programs: list[tuple[Program | InteractiveProgram, int]] = []
    for layout in arguments.layouts.split(","):
        for index in [*features, last]:
            layers = list(described.layers[: index + 1] if index < last else described.layers)
            options = {"layout": layout, "calibration": calibration}
            whole = arguments.interactive and index == last
            programs.append(((compile_interactive if whole else compile)(layers, shape, **options), index))
    target = publish(
        arguments.models,
        arguments.name or Path(arguments.model).stem,
        programs,
        description=arguments.description,
        pixels=Pixels(model.scale, model.offset) if isinstance(model, models.Model) else None,
        classes=[name for name in arguments.classes.split(",") if name],
        layers=layer_entries(described.layers[: last + 1], shape),
    )
    print(target)
    return 0
