"""How every experiment runs: what is missing is computed, one result after the other, with the duration said before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pycrcnn._bars import bar
from pycrcnn.bench.measuring import circumstances
from pycrcnn.experiments.results import Results, Value

__all__ = ["CIRCUMSTANCES", "Options", "Task", "complete", "spoken"]

#: Columns that every table ends with.
CIRCUMSTANCES = ("threads", "backend", "machine", "seconds", "finished")


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Attributes
    ----------
    out : Path
        Directory of the results.
    quick : bool
        Reduced sizes.
    threads : int
        Threads of every call; 0 stands for all cores.
    """

    out: Path
    quick: bool = False
    threads: int = 0


@dataclass(frozen=True)
class Task:
    """One row of results to come.

    Attributes
    ----------
    key : mapping
        The key columns.
    seconds : float
        What it is expected to take, as it did on two cores of a machine with AVX-512.
    work : callable
        Computes the other columns, but for the circumstances.
    """

    key: Mapping[str, Value]
    seconds: float
    work: Callable[[], Mapping[str, Value]]


def complete(name: str, results: Results, tasks: Iterable[Task], options: Options) -> None:
    """Compute what is not there yet, and say before how long that will take."""
    tasks = list(tasks)
    missing = [task for task in tasks if task.key not in results]
    if not missing:
        print(f"{name}: all {len(tasks)} results are in {results.path}")
        return
    duration = spoken(sum(task.seconds for task in missing))
    print(f"{name}: {len(missing)} of {len(tasks)} results to compute, about {duration} on two cores", flush=True)
    surroundings = circumstances(options.threads)
    for task in _shown(missing, name):
        start = time.perf_counter()
        values = task.work()
        elapsed = round(time.perf_counter() - start, 3)
        finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
        results.append({**task.key, **values, **surroundings, "seconds": elapsed, "finished": finished})


def spoken(seconds: float) -> str:
    """A duration for people.

    Examples
    --------
    >>> spoken(12.4), spoken(200), spoken(5400)
    ('12 seconds', '3 minutes', '1 h 30 min')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _shown(tasks: list[Task], name: str) -> Iterable[Task]:
    progress: Iterable[Task] = bar("experiments", tasks, desc=name, unit="result")
    return progress
