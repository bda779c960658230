"""What all benches share: networks by short name, times, memory, the machine."""

from __future__ import annotations

import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pycrcnn import _native, models
from pycrcnn.errors import InvalidValueError
from pycrcnn.program import EncryptedImages, EvaluationKeys, Program

__all__ = [
    "circumstances",
    "network",
    "peak_rss_mb",
    "predictions",
    "process_rss_mb",
    "server_rss_mb",
    "short_name",
    "summary",
    "timed",
]

_NETWORKS = {
    "5layer": "fashion-5layer",
    "6layer": "fashion-6layer",
    "cryptonets": "mnist-cryptonets",
    "lenet1": "mnist-lenet1",
    "lenet5": "mnist-lenet5",
    "cifar": "fashion-cifar",
    "2conv": "fashion-2conv",
    "recurrent": "mnist-recurrent",
}
_Result = TypeVar("_Result")


def network(name: str) -> models.Model:
    """The shipped model behind a bench's short name."""
    if name not in _NETWORKS:
        raise InvalidValueError(f"--network {name}: choose one of {', '.join(_NETWORKS)}")
    return models.load(_NETWORKS[name])


def short_name(model: str) -> str:
    """What benches call a shipped model."""
    return next(short for short, name in _NETWORKS.items() if name == model)


def timed(repeats: int, work: Callable[[], _Result]) -> tuple[list[float], _Result]:
    """The seconds of each of some runs, and the last one's result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return seconds, result


def summary(name: str, seconds: list[float]) -> dict[str, float]:
    """Median, smallest and largest, under the field names of the JSON."""
    return {name: statistics.median(seconds), f"{name}_min": min(seconds), f"{name}_max": max(seconds)}


def circumstances(threads: int) -> dict[str, Any]:
    """What a figure depends on besides the code."""
    return {"threads": threads, "backend": _native.backend(), "machine": _machine()}


def peak_rss_mb() -> float:
    """The largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def server_rss_mb(program: Program, images: EncryptedImages, evaluation: EvaluationKeys) -> tuple[float, float]:
    """The largest resident sizes of a process that answers with ``pycrcnn run``, and of one that only imports it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        program.save(path / "program")
        evaluation.save(path / "evaluation.key")
        images.save(path / "images")
        files = [str(path / name) for name in ("program", "evaluation.key", "images")]
        answer = process_rss_mb("-m", "pycrcnn.cli", "run", *files, "--output", str(path / "answer"), "--threads", "1")
        return answer, process_rss_mb("-c", "import pycrcnn.cli, pycrcnn.commands.run_command")


def process_rss_mb(*arguments: str) -> float:
    """The largest resident size of a process of this interpreter with these arguments, in MB."""
    # A process of its own asks for the size, because what a process has waited for is remembered as the largest of all.
    ask = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", ask, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this interpreter
    return int(done.stdout.split()[-1]) * 1024 / 1e6


def predictions(
    program: Program, images: EncryptedImages, evaluation: EvaluationKeys, seconds: float, max_error: float
) -> dict[str, float]:
    """What `explain` predicts of a run on one core, and what part that is of what was measured."""
    explanation = program.explain()
    server, idle = server_rss_mb(program, images, evaluation)
    return {
        "predicted_evaluate_s": explanation.seconds,
        "predicted_seconds_ratio": explanation.seconds / seconds,
        "server_rss_mb": server,
        "predicted_memory_mb": explanation.memory_bytes / 1e6,
        "predicted_memory_ratio": explanation.memory_bytes / 1e6 / (server - idle),
        "predicted_error": explanation.error,
        "predicted_error_ratio": explanation.error / max_error if max_error > 0 else float("inf"),
    }


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    processors = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = processors[0] if processors else platform.processor()
    return f"{name}, {len(processors) or '?'} cores, {platform.system()} {platform.machine()}"
