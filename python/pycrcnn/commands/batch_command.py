"""The command ``pycrcnn batch``: encrypted files of a folder or an object store are answered, resumably."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycrcnn._bars import bar
from pycrcnn.errors import InvalidValueError, MissingPackageError

if TYPE_CHECKING:
    from pycrcnn.bulk.evaluate import Evaluator, Places
    from pycrcnn.server.settings import Settings

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Answer the encrypted files under a prefix, a folder or s3://bucket/prefix: ID.keys and ID/NAME.images, as "
        "`pycrcnn encrypt --files-of` writes them. What has an answer is not computed again."
    )
    parser.add_argument(
        "--model", required=True, help="name of a model of --models, or one that comes with the package"
    )
    parser.add_argument("--input", required=True, help="prefix of the encrypted images")
    parser.add_argument("--output", required=True, help="prefix for ID/NAME.answer and report.json")
    parser.add_argument("--keys", help="prefix of the key sets, such as a service's key store (default: the input's)")
    parser.add_argument("--models", type=Path, help="directory of models, as `pycrcnn publish` writes them")
    parser.add_argument("--state", type=Path, help="directory for compiled programs, as of `pycrcnn serve`")
    parser.add_argument("--engine", choices=("process", "ray"), default="process", help="default: process")
    parser.add_argument("--address", help="of a Ray cluster (default: what RAY_ADDRESS says, or one on this machine)")
    parser.add_argument(
        "--shared",
        action="store_true",
        help="Ray: nodes read questions and write answers themselves; folders are on all of them, under the same path",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        help="files side by side (default: one a core; Ray: two a core of the cluster; --shared: one)",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of an evaluation (default: 1)")
    parser.epilog = "Exit status: 0 all have answers; 3 some failed, see report.json; 1 the run ended early."


def run(arguments: argparse.Namespace) -> int:
    """Answer, print a table, write the report."""
    try:
        from pydantic import ValidationError

        from pycrcnn.bulk.evaluate import Places
        from pycrcnn.bulk.prefix import open_prefix
        from pycrcnn.bulk.report import Report
        from pycrcnn.bulk.running import Run
        from pycrcnn.server.settings import Settings
    except ImportError as error:
        raise MissingPackageError("batches need more packages: pip install 'pycrcnn[server]'") from error
    if arguments.workers < 0 or arguments.threads < 1:
        raise InvalidValueError("--workers: 0 or more, --threads: 1 or more is needed")
    if arguments.shared and arguments.engine != "ray":
        raise InvalidValueError("--shared: only the nodes of --engine ray can share prefixes")
    given: dict[str, Any] = {
        name: value for name in ("models", "state") if (value := getattr(arguments, name)) is not None
    }
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise InvalidValueError(f"settings: {error}") from None
    places = Places(open_prefix(arguments.input), open_prefix(arguments.output), settings.max_body_bytes)
    report = Report(arguments.model, arguments.input, arguments.output, arguments.engine)
    with contextlib.ExitStack() as stack:

        def begin(count: int) -> Callable[[float], None]:
            if not sys.stderr.isatty() or importlib.util.find_spec("tqdm") is None:
                return lambda done: None
            shown = stack.enter_context(bar("client", total=count, unit="file"))
            return lambda done: shown.update(int(done) - shown.n)

        evaluator = _evaluator(arguments, settings, places)
        try:
            Run(places.asked, places.answers, evaluator)(report, begin)
        finally:
            evaluator.close()
    print(report.table())
    return report.status


def _evaluator(arguments: argparse.Namespace, settings: Settings, places: Places) -> Evaluator:
    from pycrcnn.bulk.evaluate import InProcess, KeySets
    from pycrcnn.bulk.prefix import open_prefix
    from pycrcnn.cluster.node import NodeLimits
    from pycrcnn.server.plane.queue import cores

    programs = _programs(arguments.model, settings)
    key_sets = KeySets(open_prefix(arguments.keys or arguments.input), programs, settings.max_body_bytes)
    limits = NodeLimits(settings.programs_bytes, settings.prepared_bytes)
    lanes, threads = arguments.workers, arguments.threads
    if arguments.engine == "process":
        return InProcess(programs, key_sets, places, settings.flooding, lanes or cores(), threads, limits)
    from pycrcnn.bulk.tasks import RayTasks

    where = (arguments.address, programs, key_sets, places)
    return RayTasks(*where, settings.flooding, lanes, threads, limits, arguments.shared)


def _programs(model: str, settings: Settings) -> dict[str, Path]:
    """The files of a model's programs, by identity; compiled where they are not yet."""
    from pycrcnn import models
    from pycrcnn.server.plane.registry import Registry

    shipped = model if settings.shipped_models and model in models.names() else False
    registry = Registry(settings.models, shipped, settings.state / "programs", flooding=settings.flooding)
    if model not in registry.states():
        names = [*registry.states(), *(name for name in models.names() if settings.shipped_models)]
        raise InvalidValueError(f"--model {model}: choose one of {', '.join(names) or 'those in --models'}")
    registry.start()
    try:
        entry = registry.model(model, patience=threading.TIMEOUT_MAX)
    finally:
        registry.stop()
    if not entry.programs:
        raise InvalidValueError(f"--model {model}: none of its programs could be compiled; the log says why")
    return {program.id: registry.shelf[program.id].path for program in entry.programs}
