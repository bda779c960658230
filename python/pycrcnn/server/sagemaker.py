"""A container's entry point as Amazon SageMaker runs it: ``python -m pycrcnn.server.sagemaker serve``, or ``train``.

SageMaker's directories lie under ``/opt/ml`` (the environment variable ``PYCRCNN_SAGEMAKER_ROOT`` puts them elsewhere):

| directory | what |
| --- | --- |
| ``model`` | what ``serve`` serves and ``train`` leaves: ``.safetensors`` and ``.program`` files, published models |
| ``input/data/training`` | where ``train`` finds the model; without it the package's own is taken |
| ``input/config/hyperparameters.json`` | ``{"model": name}``: which of the package's own |
| ``output/failure`` | why ``train`` failed |

Training is the paper's mock: the model is trained already, and only stored.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pycrcnn import models
from pycrcnn.errors import InvalidValueError, PyCrCNNError
from pycrcnn.server.listening import serve
from pycrcnn.server.settings import Settings

__all__ = ["main", "root", "served", "train"]

_PORT = 8080
_SERVED = (".safetensors", ".program")


def root() -> Path:
    """The directory that SageMaker mounts."""
    return Path(os.environ.get("PYCRCNN_SAGEMAKER_ROOT", "/opt/ml"))


def served() -> Settings:
    """Settings of a container: port 8080 of every address of the container, the models of ``model``."""
    directory = root() / "model"
    directory.mkdir(parents=True, exist_ok=True)
    own = any(directory.iterdir())
    port = int(os.environ.get("PYCRCNN_PORT", _PORT))
    host = os.environ.get("PYCRCNN_HOST", "0.0.0.0")  # noqa: S104 - the container's own network, as the contract has it
    return Settings(
        host=host, port=port, allow_insecure_listen=True, models=directory if own else None, shipped_models=not own
    )


def train() -> Path:
    """Store the model that is to be served.

    Returns
    -------
    Path
        Of the stored file or directory.

    Raises
    ------
    FormatError, InvalidValueError
        What was given is no model.
    """
    target, given = root() / "model", root() / "input" / "data" / "training"
    target.mkdir(parents=True, exist_ok=True)
    stored = []
    for path in sorted(given.iterdir()) if given.is_dir() else ():
        if path.suffix == ".safetensors":
            models.read(path)  # nothing is stored that cannot be served
        if path.suffix in _SERVED:
            stored.append(Path(shutil.copy2(path, target)))
        elif (path / "model.json").is_file():
            stored.append(shutil.copytree(path, target / path.name, dirs_exist_ok=True))
    if stored:
        return stored[-1]
    name = _hyperparameters().get("model", "fashion-5layer")
    if name not in models.names() or name.endswith("-plain"):
        raise InvalidValueError(f"hyperparameter model: {name!r} does not come with the package")
    return Path(shutil.copy2(Path(models.__file__).parent / f"{name}.safetensors", target))


def _hyperparameters() -> dict[str, str]:
    path = root() / "input" / "config" / "hyperparameters.json"
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise InvalidValueError(f"{path} is not JSON: {error}") from None
    return values if isinstance(values, dict) else {}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve or train; the exit status."""
    command = list(sys.argv[1:] if argv is None else argv)
    if command == ["serve"]:
        serve(served())
        return 0
    if command != ["train"]:
        print("usage: python -m pycrcnn.server.sagemaker serve|train", file=sys.stderr)
        return 2
    try:
        print(f"stored {train()}")
    except (PyCrCNNError, OSError) as error:
        failure = root() / "output" / "failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(str(error))
        print(f"pycrcnn: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
