"""What all benches share: networks by short name, times, memory, the machine."""

from __future__ import annotations

import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pycrcnn import _native, models
from pycrcnn.errors import InvalidValueError

__all__ = ["circumstances", "network", "peak_rss_mb", "summary", "timed"]

_NETWORKS = {
    "5layer": "fashion-5layer",
    "6layer": "fashion-6layer",
    "cryptonets": "mnist-cryptonets",
    "lenet1": "mnist-lenet1",
    "lenet5": "mnist-lenet5",
    "cifar": "fashion-cifar",
}
_Result = TypeVar("_Result")


def network(name: str) -> models.Model:
    """The shipped model behind a bench's short name."""
    if name not in _NETWORKS:
        raise InvalidValueError(f"--network {name}: choose one of {', '.join(_NETWORKS)}")
    return models.load(_NETWORKS[name])


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


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    processors = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = processors[0] if processors else platform.processor()
    return f"{name}, {len(processors) or '?'} cores, {platform.system()} {platform.machine()}"
